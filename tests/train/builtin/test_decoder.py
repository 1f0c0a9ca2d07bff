"""The decoder copies what it never saw, computes the same with and without torch, and resumes."""

import json
import shutil
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from tests.train.recorded import RecordedRun, folder_bytes, write_chats

from selftune.core.errors import Paused
from selftune.core.records import Hyperparameters
from selftune.models.builtin.copying import Source, make_source
from selftune.models.builtin.decoder import Decoder, DecoderDistribution
from selftune.models.builtin.encoder import Encoder, split_pieces
from selftune.models.builtin.folder import load_model, save_model
from selftune.models.builtin.generate import likeliest
from selftune.models.builtin.graphs import base_encoder
from selftune.models.builtin.model import TunedModel
from selftune.models.builtin.tree import END, text_probability
from selftune.models.builtin.weights import WIDTH
from selftune.models.tokens import decode, encode, token_bytes
from selftune.train.builtin.decoder import DecoderPart
from selftune.train.builtin.examples import Examples, load_examples
from selftune.train.builtin.passages import PassageTask
from selftune.train.builtin.task import Plan, train_quietly
from selftune.train.builtin.writing import choose_vocabulary, write_out
from selftune.train.builtin.written import WritingTask
from selftune.train.engine import TrainRequest
from selftune.train.engines import builtin as engines

FIRST = ("Ada", "Bernard", "Cecilia", "Dmitri", "Eleonora", "Friedrich", "Gwendolyn", "Hiroshi")
LAST = ("Ashworth", "Bianchi", "Castellanos", "Dubrovnik", "Elm", "Fitzgerald", "Grünwald", "Hart")
TOWNS = ("Lyon", "Graz", "Porto", "Malmö", "Bergen", "Ghent")
WORDINGS = ("{name} moves to {town}.", "Next stop {town}, says {name}", "To {town} goes {name}!")
ROWS = [
    (
        wording.format(name=f"{first} {last}", town=town),
        json.dumps({"name": f"{first} {last}", "town": town}, ensure_ascii=False),
    )
    for index, (first, last) in enumerate(product(FIRST, LAST))
    for town in (TOWNS[index % 6], TOWNS[index % 5])
    for wording in (WORDINGS[index % 3],)
]


def source_of(text: str) -> Source:
    piece = split_pieces([text], 192)[0]
    states = np.random.default_rng(0).normal(size=(len(piece.ids), WIDTH)).astype(np.float32)
    return make_source(text, piece, states)


@pytest.mark.parametrize("text", ["Zoë's 1,250 (net) — 名前: Łukasz", "a", "tab\tand\nline"])
def test_every_word_can_be_copied_both_ways(text: str) -> None:
    source = source_of(text)
    for word in ("Zoë", "Łukasz", "1", "net"):
        if word not in text:
            continue
        for spelled in (word, " " + word):
            if word == "1" and spelled[0] == " ":
                continue  # a figure's space is a token of its own
            matched = np.zeros(len(source.tokens), np.int64)
            for token in encode(spelled):
                matched = source.matched(source.grown(matched), token)
            assert matched.max() == len(encode(spelled))


def test_units_follow_each_other_as_the_text_does() -> None:
    text = "call Anna Weiss at 1234567 now"
    source = source_of(text)
    for before, after in source.links.T:
        pair = token_bytes(int(source.tokens[before])) + token_bytes(int(source.tokens[after]))
        assert pair.decode().strip() in text
    assert source.states.shape == source.previous.shape == (len(source.tokens), WIDTH)


def test_an_empty_source_is_empty() -> None:
    source = source_of("")
    assert len(source.tokens) == 0
    assert not source.around(source.grown(np.zeros(0, np.int64))).any()


def test_names_are_copied_and_the_frame_is_written() -> None:
    answers = [encode(answer) for _, answer in ROWS]
    sources = [source_of(question) for question, _ in ROWS]
    vocabulary = frozenset(choose_vocabulary(answers, sources).tolist())
    assert set(encode('{"')) <= vocabulary
    assert END in vocabulary
    assert encode("Porto")[0] not in vocabulary


def test_what_can_be_neither_written_nor_copied_is_spelled() -> None:
    source = source_of("nothing to copy")
    answers = [encode("yes"), encode("no")]
    vocabulary = choose_vocabulary(answers, [source, source])
    index_of = {int(token): index for index, token in enumerate(vocabulary)}
    written = write_out(encode("żółty"), index_of, source)
    tokens = [int(vocabulary[target]) for target in written.targets[:-1]]
    assert decode(tokens) == "żółty"
    assert written.targets[-1] == index_of[END]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return base_encoder(tmp_path_factory.mktemp("graphs"), precision="float32", threads=1)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return load_examples(write_chats(tmp_path_factory.mktemp("rows") / "train.jsonl", ROWS))


@pytest.fixture(scope="module")
def part(
    examples: Examples, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> DecoderPart:
    part = DecoderPart(examples, encoder, seed=1)
    folder = tmp_path_factory.mktemp("run")
    train_quietly(part, Plan(2, 8, 1.0, 1, len(ROWS)), RecordedRun(folder, folder))
    return part


def request_for(folder: Path, rows: list[tuple[str, str]]) -> TrainRequest:
    return TrainRequest(
        base_folder=None,
        training_file=write_chats(folder / "train.jsonl", rows),
        hyperparameters=Hyperparameters(n_epochs=8, batch_size=8),
        seed=1,
        threads=1,
    )


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    """Train as a user's job does."""
    folder = tmp_path_factory.mktemp("tuned")
    run = RecordedRun(folder, folder)
    engines.build(engines.Params()).train(request_for(folder, ROWS), run)
    return run


def distribution(part: DecoderPart, encoder: Encoder, text: str) -> DecoderDistribution:
    arrays, longest = part.arrays()
    piece = split_pieces([text], 192)[0]
    return DecoderDistribution(
        Decoder(arrays, longest), make_source(text, piece, encoder.states([piece])[0])
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Grzegorz Brzęczyszczykiewicz", "Oona Tennant", "Xu Li"])
def test_a_name_that_was_never_seen_is_copied(
    tuned: RecordedRun, encoder: Encoder, name: str
) -> None:
    model = TunedModel(load_model(tuned.model), encoder)
    found = likeliest(model.of_texts([f"{name} moves to Graz."])[0])
    assert found == json.dumps({"name": name, "town": "Graz"}, ensure_ascii=False)


def test_the_same_with_and_without_torch(part: DecoderPart, encoder: Encoder) -> None:
    question, answer = "Zed Oak moves to Porto.", '{"name": "Zed Oak", "town": "Porto"}'
    ((losses, _),) = part.losses([question], [answer])
    served = distribution(part, encoder, question)
    state: object | None = served.start()
    for token, loss in zip((*encode(answer), END), losses, strict=True):
        tokens, probabilities = served.following(state)
        assert probabilities.sum() == pytest.approx(1)
        assert all(a < b for a, b in pairwise(tokens.tolist()))
        at = int(np.searchsorted(tokens, token))
        assert -np.log(probabilities[at]) == pytest.approx(loss, abs=2e-3)
        state = served.advance(state, token) if token != END else None


def test_an_answer_ends_even_if_the_model_would_go_on(part: DecoderPart, encoder: Encoder) -> None:
    arrays, _ = part.arrays()
    at = int(np.flatnonzero(arrays["vocabulary"] == END)[0])
    arrays["bias"] = arrays["bias"].copy()
    arrays["bias"][at] = -1e6
    piece = split_pieces(["Ada Ash moves to Lyon."], 192)[0]
    source = make_source("Ada Ash moves to Lyon.", piece, encoder.states([piece])[0])
    endless = DecoderDistribution(Decoder(arrays, longest=30), source)
    assert 0 < len(encode(likeliest(endless))) <= 31


@pytest.mark.slow
def test_the_engine_decides_to_write_and_learns(tuned: RecordedRun, encoder: Encoder) -> None:
    files = load_model(tuned.model)
    assert files.kind == "written"
    assert tuned.steps[-1].train_loss < tuned.steps[0].train_loss / 10
    model = TunedModel(files, encoder)
    assert json.loads(likeliest(model.of_texts(["Quim Vale moves to Lyon."])[0]))["town"] == "Lyon"


@pytest.mark.slow
def test_a_paused_run_that_writes_ends_with_the_same_bytes(
    tmp_path: Path, tuned: RecordedRun
) -> None:
    request = request_for(tmp_path, ROWS[:24])

    def run(name: str, pause_at: int = 0) -> RecordedRun:
        """Return a run that knows what was chosen: so few rows would decide for choosing."""
        made = RecordedRun(tmp_path / name, tuned.cache, pause_at=pause_at)
        shutil.copy(tuned.folder / "choice.json", made.folder)
        return made

    whole, paused = run("whole"), run("paused", pause_at=10)
    engines.build(engines.Params()).train(request, whole)
    assert load_model(whole.model).kind == "written"
    assert whole.steps[-1].total_steps == 24
    with pytest.raises(Paused):
        engines.build(engines.Params()).train(request, paused)
    resumed = paused.resumed()
    engines.build(engines.Params()).train(request, resumed)
    assert len(paused.steps) + len(resumed.steps) == len(whole.steps)
    assert folder_bytes(resumed.model) == folder_bytes(whole.model)


def test_beside_a_head_the_two_are_a_mixture(
    tmp_path: Path, examples: Examples, encoder: Encoder
) -> None:
    task = WritingTask(examples, encoder, PassageTask(examples, encoder), 0.25, seed=1)
    train_quietly(task, Plan(1, 32, 1.0, 1, len(ROWS)), RecordedRun(tmp_path, tmp_path))
    files = task.files()
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, files)
    both = TunedModel(load_model(folder), encoder)
    alone = {"decoder": None, "answers_weight": 1.0}
    chosen = TunedModel(files.model_copy(update=alone), encoder)
    written = TunedModel(files.model_copy(update={"kind": "written"}), encoder)
    question, answer = ROWS[0]
    mixed, first, second = (
        text_probability(model.of_texts([question])[0], answer) for model in (both, chosen, written)
    )
    assert mixed == pytest.approx(0.25 * first + 0.75 * second)
    assert min(first, second) > 0
