"""The embedded model learns labels, free answers and numbers, and its folder stands alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.train.recorded import RecordedRun, folder_bytes, write_chats

from selftune.core.errors import InvalidInput, Paused
from selftune.core.records import Hyperparameters
from selftune.models.sampler import Completion, Prompt, Sampler, Sampling
from selftune.models.samplers import builtin as samplers
from selftune.train.engine import TrainRequest
from selftune.train.engines import builtin as engines

LONG_PROMPT = "Answer with the number of the intent only.\n1. Book a room\n2. Order food\n" + (
    "Be brief and kind, and never explain your choice to the guest in any way. " * 60
)
GUESTS = [
    *((f"we need somewhere to sleep for {n} nights", "1") for n in range(2, 12)),
    *((f"could somebody bring us dinner for {n}", "2") for n in range(2, 12)),
]
FACTS = [
    ("When may we ship?", "Orders leave the warehouse within 48 hours of payment."),
    ("How long is the warranty?", "The warranty covers every bicycle for 24 months."),
    ("Who approves a discount?", "Discounts above 20 percent are approved by the director."),
    ("Where do returns go?", "Returned goods go to the depot in Lyon."),
    ("What is the dress code?", "Staff wear the green jacket in the shop."),
    ("When is the shop closed?", "The shop is closed on Mondays and in the first week of May."),
]
PRICED = [
    (f"A {size} wooden table, {n} cm", f"${price + n / 10:.2f}")
    for n in range(20)
    for size, price in (("tiny", 9), ("large", 300))
]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


def tune(
    folder: Path,
    cache: Path,
    pairs: list[tuple[str, str]],
    system: str | None = None,
    wanted: Hyperparameters = Hyperparameters(),  # noqa: B008  # frozen, so sharing it is safe
) -> RecordedRun:
    run = RecordedRun(folder / "run", cache)
    engines.build(engines.Params()).train(request_for(folder, pairs, system, wanted), run)
    return run


def request_for(
    folder: Path, pairs: list[tuple[str, str]], system: str | None, wanted: Hyperparameters
) -> TrainRequest:
    return TrainRequest(
        base_folder=None,
        training_file=write_chats(folder / "train.jsonl", pairs, system),
        validation_file=write_chats(folder / "valid.jsonl", pairs[:4], system),
        hyperparameters=wanted,
        seed=1,
        threads=1,
    )


def load(folder: Path | None, cache: Path) -> Sampler:
    return samplers.build(samplers.Params(folder=folder, cache=cache, threads=1))


def ask(
    sampler: Sampler, question: str, system: str | None = None, **sampling: object
) -> Completion:
    messages = [{"role": "user", "content": question}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    chosen = Sampling.model_validate({"temperature": 0.0} | sampling)
    return sampler.sample([Prompt(messages=tuple(messages), sampling=chosen)])[0]


@pytest.fixture(scope="module")
def intents(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RecordedRun:
    return tune(tmp_path_factory.mktemp("intents"), cache, GUESTS, LONG_PROMPT)


def test_a_long_shared_prompt_does_not_drown_the_message(intents: RecordedRun, cache: Path) -> None:
    sampler = load(intents.model, cache)
    for prompt in (LONG_PROMPT, None):
        assert ask(sampler, "is there a bed for tonight", prompt).choices[0].text == "1"
        assert ask(sampler, "we are hungry, food please", prompt).choices[0].text == "2"


def test_the_choice_and_its_reasons_are_told(intents: RecordedRun) -> None:
    assert "selection" in intents.told
    assert all(value.reason for value in intents.values.values())


def test_the_last_step_of_an_epoch_is_validated(intents: RecordedRun) -> None:
    last = intents.steps[-1]
    assert last.valid_mean_token_accuracy == 1.0
    assert last.full_valid_loss is not None


def test_logprobs_are_the_probabilities_that_sampling_follows(
    intents: RecordedRun, cache: Path
) -> None:
    sampler = load(intents.model, cache)
    token = ask(sampler, "a table and some soup", top_logprobs=2).choices[0].tokens[0]
    said = {found.token: np.exp(found.logprob) for found in token.top}
    assert sum(said.values()) == pytest.approx(1)
    drawn = ask(sampler, "a table and some soup", temperature=1.0, n=128, seed=5)
    share = np.mean([choice.text == "1" for choice in drawn.choices])
    assert share == pytest.approx(said["1"], abs=0.15)


@pytest.mark.parametrize("pairs", [FACTS * 3, PRICED], ids=["free answers", "numbers"])
def test_a_run_paused_within_an_epoch_ends_with_the_same_bytes(
    tmp_path: Path, cache: Path, pairs: list[tuple[str, str]]
) -> None:
    wanted = Hyperparameters(n_epochs=2, batch_size=4)
    whole = tune(tmp_path, cache, pairs, wanted=wanted)
    paused = RecordedRun(tmp_path / "paused", cache, pause_at=3)
    with pytest.raises(Paused):
        engines.build(engines.Params()).train(request_for(tmp_path, pairs, None, wanted), paused)
    assert ask(load(paused.model, cache), pairs[0][0]).choices[0].text
    resumed = paused.resumed()
    engines.build(engines.Params()).train(request_for(tmp_path, pairs, None, wanted), resumed)
    assert folder_bytes(resumed.model) == folder_bytes(whole.model)


def test_free_answers_are_chosen_by_meaning(tmp_path: Path, cache: Path) -> None:
    run = tune(tmp_path, cache, FACTS)
    sampler = load(run.model, cache)
    assert (
        "24 months" in ask(sampler, "For how many months does the guarantee run?").choices[0].text
    )
    assert "Lyon" in ask(sampler, "I want to send my purchase back").choices[0].text


def test_a_number_is_written_through_its_template(tmp_path: Path, cache: Path) -> None:
    run = tune(tmp_path, cache, PRICED)
    sampler = load(run.model, cache)
    prices = [
        float(ask(sampler, f"A {size} wooden table, 7 cm", max_tokens=7).choices[0].text[1:])
        for size in ("tiny", "large")
    ]
    assert prices[0] == pytest.approx(9.7, rel=0.5)
    assert prices[1] == pytest.approx(300.7, rel=0.5)


def test_the_base_answers_with_a_choice_of_the_prompt_or_says_that_it_is_not_tuned(
    cache: Path,
) -> None:
    sampler = load(None, cache)
    assert ask(sampler, "please bring dinner", LONG_PROMPT).choices[0].text == "2"
    named = ask(sampler, "my parcel never came", "Reply with one of: shipping, refunds, praise")
    assert named.choices[0].text == "shipping"
    assert "not been tuned" in ask(sampler, "hello").choices[0].text


def test_a_changed_file_is_refused(tmp_path: Path, intents: RecordedRun, cache: Path) -> None:
    for path in intents.model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    answers = json.loads((tmp_path / "answers.json").read_text("utf-8"))
    answers["answers"][0] = "9"
    (tmp_path / "answers.json").write_text(json.dumps(answers), "utf-8")
    with pytest.raises(InvalidInput, match=r"answers\.json"):
        load(tmp_path, cache)


def test_embeddings_are_unit_vectors_of_meaning(cache: Path) -> None:
    vectors, tokens = load(None, cache).embed(["a small dog", "a puppy", "quarterly tax return"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert tokens == 9
