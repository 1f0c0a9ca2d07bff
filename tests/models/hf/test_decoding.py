"""What a row gets from the batch is what it would get alone, whoever comes and goes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from tests.made_models import Shape, make_model
from tests.models.hf.made_adapters import make_adapter

from selftune.core.errors import SelftuneError
from selftune.models.hf.decoding import Decoder, Row
from selftune.models.hf.loading import Loaded, load_base
from selftune.models.hf.lora import AdapterBank
from selftune.models.hf.network import Network
from selftune.models.hf.sampling import Drawn, begin
from selftune.models.sampler import Sampling


class Answer:
    """A row, and what it was told."""

    def __init__(self, prompt: list[int], tokens: int, **fields: Any) -> None:
        folder = fields.pop("folder", None)
        sampling = Sampling(**{"temperature": 0, **fields})
        self.drawn: list[int] = []
        self.logprobs: list[float] = []
        self.ended: list[SelftuneError | None] = []
        self.fails = False
        self.row = Row(
            list(prompt),
            len(prompt) + tokens,
            begin(sampling, 0),
            self._take,
            self.ended.append,
            folder,
        )

    def _take(self, drawn: Drawn) -> bool:
        if self.fails:
            raise RuntimeError("a text that cannot be read")
        self.drawn.append(drawn.id)
        self.logprobs.append(drawn.logprob)
        return True


def prompts(count: int, longest: int, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, count)
    return [random.integers(10, 500, length).tolist() for length in lengths]


def generated(model: Any, prompt: list[int], tokens: int) -> list[int]:
    """Return what transformers itself answers, with its own cache."""
    found = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        suppress_tokens=None,
        eos_token_id=None,
    )
    return [int(token) for token in found[0, len(prompt) :]]


def network(base: Loaded) -> Network:
    return Network(base, AdapterBank(base.model, room=10_000_000))


def loaded(folder: Path, shape: Shape, **sizes: Any) -> Loaded:
    torch.set_num_threads(1)
    return load_base(make_model(folder / shape, shape, **sizes))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return loaded(tmp_path_factory.mktemp("base"), "llama", context=4096)


@pytest.mark.parametrize("shape", ["llama", "qwen", "gemma"])
def test_rows_that_join_and_leave_get_what_transformers_generates(
    shape: Shape, tmp_path: Path
) -> None:
    """Gemma's window is of 256 tokens, and some rows grow over it, beside others that do not."""
    base = loaded(tmp_path, shape)
    answers = [
        Answer(prompt, tokens)
        for prompt, tokens in zip(prompts(8, 40), [3, 30, 1, 12, 25, 7, 18, 5], strict=True)
    ]
    answers.append(Answer(prompts(1, 2, 5)[0] * 250, 20))
    decoder = Decoder(network(base), room=100_000)
    for answer in answers:
        decoder.add(answer.row)
        decoder.step()
        decoder.step()
    while decoder.step():
        pass
    for answer in answers:
        prompt = answer.row.ids[: -len(answer.drawn)]
        assert answer.drawn == generated(base.model, prompt, len(answer.drawn))
        assert answer.ended == [None]


def test_a_prompt_of_many_pieces_and_a_short_one_beside_it(base: Loaded) -> None:
    long, short = Answer([11, 12] * 1500, 5), Answer([5, 6, 7], 40)
    decoder = Decoder(network(base), room=100_000)
    decoder.add(short.row)
    decoder.step()
    decoder.add(long.row)
    decoder.step()
    assert (len(long.drawn), len(short.drawn)) == (0, 3)
    while decoder.step():
        pass
    for answer in (long, short):
        prompt = answer.row.ids[: -len(answer.drawn)]
        assert answer.drawn == generated(base.model, prompt, len(answer.drawn))


def test_adapters_do_not_touch_their_neighbours(base: Loaded, tmp_path: Path) -> None:
    folders = [None, *(make_adapter(base.folder, tmp_path / str(n), seed=n) for n in range(3))]
    asked = [(prompt, folders[n % 4]) for n, prompt in enumerate(prompts(8, 20))]
    alone = []
    for prompt, folder in asked:
        answer = Answer(prompt, 12, folder=folder)
        run(network(base), [answer])
        alone.append(answer.drawn)
    together = [Answer(prompt, 12, folder=folder) for prompt, folder in asked]
    run(network(base), together)
    assert [answer.drawn for answer in together] == alone
    same = [Answer(asked[0][0], 12, folder=folder) for folder in folders]
    run(network(base), same)
    assert len({tuple(answer.drawn) for answer in same}) == 4


def run(net: Network, answers: list[Answer], room: int = 100_000) -> int:
    """Run to the end, and return the most rows that were in the batch at once."""
    decoder = Decoder(net, room)
    for answer in answers:
        decoder.add(answer.row)
    most = 0
    while decoder.step():
        most = max(most, sum(answer.row.adapter is not None for answer in answers))
    for module in net.loaded.model.modules():
        module._forward_hooks.clear()
    return most


@pytest.mark.parametrize("room", [1, 60, 200])
def test_little_room_changes_when_answers_come_and_not_what_they_are(
    base: Loaded, room: int
) -> None:
    asked = [(prompt, {"seed": n, "temperature": 1.0}) for n, prompt in enumerate(prompts(6, 30))]
    roomy = [Answer(prompt, 25, **fields) for prompt, fields in asked]
    run(network(base), roomy)
    tight = [Answer(prompt, 25, **fields) for prompt, fields in asked]
    run(network(base), tight, room)
    assert [answer.drawn for answer in tight] == [answer.drawn for answer in roomy]
    assert all(answer.ended == [None] for answer in tight)


def test_adapters_that_do_not_fit_at_once_wait_for_each_other(base: Loaded, tmp_path: Path) -> None:
    folders = [make_adapter(base.folder, tmp_path / str(n), seed=n) for n in range(3)]
    roomy = [Answer([5, 6, n], 6, folder=folders[n % 3]) for n in range(6)]
    run(network(base), roomy)
    tight = [Answer([5, 6, n], 6, folder=folders[n % 3]) for n in range(6)]
    run(Network(base, AdapterBank(base.model, room=1)), tight)
    assert [answer.drawn for answer in tight] == [answer.drawn for answer in roomy]


def test_the_answers_of_one_prompt_read_it_once(base: Loaded) -> None:
    read: list[tuple[int, int]] = []

    class Watched(Network):
        def read(self, *arguments: Any, **options: Any) -> torch.Tensor:
            read.append((len(arguments[1]), sum(map(len, arguments[1]))))
            return super().read(*arguments, **options)

    answers = [Answer([9] * 50, 3, seed=n, temperature=1.0) for n in range(4)]
    run(Watched(base, AdapterBank(base.model, 1)), answers)
    assert read == [(1, 50), (4, 4), (4, 4)]


def test_a_row_whose_caller_is_gone_leaves_and_is_told_nothing(base: Loaded) -> None:
    stays, goes, waits = Answer([5, 6], 20), Answer([7] * 9, 20), Answer([8], 20)
    decoder = Decoder(network(base), room=100_000, most_rows=2)
    for answer in (stays, goes, waits):
        decoder.add(answer.row)
    decoder.step()
    goes.row.gone = waits.row.gone = True
    while decoder.step():
        pass
    assert len(goes.drawn) < 3
    assert (waits.drawn, waits.ended, goes.ended) == ([], [], [])
    assert stays.drawn == generated(base.model, [5, 6], 20)


def test_an_answer_that_fails_ends_alone(base: Loaded, tmp_path: Path) -> None:
    fails, stays = Answer([5, 6], 20), Answer([7] * 9, 20)
    lost = Answer([8], 20, folder=tmp_path / "lost")
    fails.fails = True
    run(network(base), [fails, lost, stays])
    assert isinstance(fails.ended[0], SelftuneError)
    assert isinstance(lost.ended[0], SelftuneError)
    assert stays.drawn == generated(base.model, [7] * 9, 20)


def test_a_lack_of_memory_makes_the_batch_smaller(base: Loaded) -> None:
    """The machine's memory is played by a limit on what one pass may read."""

    class Small(Network):
        def read(self, cached: Any, columns: Any, adapters: Any, **options: Any) -> torch.Tensor:
            wide = cached.columns + max(map(len, columns))
            if wide * len(columns) > 120:
                raise torch.OutOfMemoryError("made up")
            return super().read(cached, columns, adapters, **options)

    answers = [Answer(prompt, 20) for prompt in prompts(6, 30)]
    huge = Answer([9] * 150, 3)
    run(Small(base, AdapterBank(base.model, 1)), [*answers, huge])
    for answer in answers:
        prompt = answer.row.ids[: -len(answer.drawn)]
        assert answer.drawn == generated(base.model, prompt, 20)
    assert huge.ended[0] is not None
    assert huge.ended[0].code == "out_of_memory"
