"""Each row of a batch draws as its own parameters say."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from selftune.core.errors import InvalidInput
from selftune.models.hf.sampling import Drawing, Drawn, begin, check_bias, draw
from selftune.models.sampler import Sampling

VOCABULARY = 50
LOGITS = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(4)) * 2


def drawn(found: Drawn | None) -> Drawn:
    assert found is not None
    return found


def many(count: int, **fields: Any) -> list[int]:
    """Draw a first token so many times, in one batch."""
    drawings = [begin(Sampling(seed=number, **fields), 0) for number in range(count)]
    return [drawn(found).id for found in draw(LOGITS.repeat(count, 1), drawings)]


def shares(ids: list[int]) -> np.ndarray:
    return np.bincount(ids, minlength=VOCABULARY) / len(ids)


def furthest(ids: list[int], expected: np.ndarray) -> float:
    """Return the greatest distance in standard deviations of a share from what is expected."""
    deviation = np.sqrt(expected * (1 - expected) / len(ids)) + 1e-4
    return float((np.abs(shares(ids) - expected) / deviation).max())


def test_temperature_one_draws_from_the_models_own_distribution() -> None:
    assert furthest(many(4_000), torch.softmax(LOGITS, 0).numpy()) < 4.5


def test_a_temperature_divides_the_logits() -> None:
    expected = torch.softmax(LOGITS / 0.5, 0).numpy()
    assert furthest(many(4_000, temperature=0.5), expected) < 4.5


def test_top_p_keeps_the_likeliest_tokens_that_reach_it() -> None:
    weights = torch.softmax(LOGITS, 0).numpy()
    order = np.argsort(-weights)
    kept = order[: int(np.searchsorted(np.cumsum(weights[order]), 0.6)) + 1]
    expected = np.zeros(VOCABULARY)
    expected[kept] = weights[kept] / weights[kept].sum()
    ids = many(4_000, top_p=0.6)
    assert set(ids) == set(kept.tolist())
    assert furthest(ids, expected) < 4.5


@pytest.mark.parametrize("top_p", [0.4, 0.999])
def test_a_large_vocabulary_is_drawn_from_as_a_small_one(top_p: float) -> None:
    """Half of the probability is in one token, the rest in thousands that are all alike."""
    logits = torch.zeros(5_000)
    logits[4_321] = np.log(5_000 - 1)
    for fields in ({}, {"top_p": top_p}):
        drawings = [begin(Sampling(seed=number, **fields), 0) for number in range(300)]
        ids = [drawn(found).id for found in draw(logits.repeat(300, 1), drawings)]
        wanted = 300 if fields and top_p < 0.5 else 150
        assert abs(ids.count(4_321) - wanted) <= 35
        others = [each for each in ids if each != 4_321]
        assert len(set(others)) >= 0.9 * len(others)
        assert not others or max(others) - min(others) > 3_000


def test_a_temperature_near_nothing_and_top_p_of_nothing_take_the_likeliest() -> None:
    best = int(LOGITS.argmax())
    assert set(many(50, temperature=1e-8)) == {best}
    assert set(many(50, temperature=1e-300)) == {best}
    assert set(many(50, top_p=0)) == {best}
    assert set(many(50, temperature=0)) == {best}


def test_a_seed_gives_the_same_answer_alone_and_in_company() -> None:
    fields = [{"temperature": 1.3}, {"top_p": 0.9}, {"temperature": 0.0}, {"presence_penalty": 1.0}]
    made = [Sampling(seed=7, **each) for each in fields]
    together = [begin(sampling, 0) for sampling in made]
    alone = [begin(sampling, 0) for sampling in made]
    random = torch.Generator().manual_seed(1)
    for _ in range(30):
        logits = torch.randn(4, VOCABULARY, generator=random) * 2
        company = [drawn(found).id for found in draw(logits, together)]
        single = [drawn(draw(logits[n : n + 1], [alone[n]])[0]).id for n in range(4)]
        assert company == single


def test_the_answers_of_one_prompt_differ() -> None:
    drawings = [begin(Sampling(n=40, seed=1), choice) for choice in range(40)]
    assert len({drawn(found).id for found in draw(LOGITS.repeat(40, 1), drawings)}) > 5


def test_logprobs_are_the_models_own_whatever_the_sampling() -> None:
    own = torch.log_softmax(LOGITS, 0)
    sampling = Sampling(
        temperature=0.3, logit_bias={3: 100}, logprobs=True, top_logprobs=5, seed=1, top_p=0.5
    )
    found = drawn(draw(LOGITS[None], [begin(sampling, 0)])[0])
    assert found.id == 3
    assert found.logprob == pytest.approx(float(own[3]), abs=1e-5)
    best = own.topk(5)
    assert [token for token, _ in found.top] == best.indices.tolist()
    assert [number for _, number in found.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_penalties_follow_openais_formula() -> None:
    """`logit - times * frequency - (times > 0) * presence`, of tokens that the answer has."""
    fields = {"presence_penalty": 0.7, "frequency_penalty": 0.4}
    drawings = [begin(Sampling(seed=number, **fields), 0) for number in range(4_000)]
    for drawing in drawings:
        drawing.used.update([5, 5, 9])
    changed = LOGITS.clone()
    changed[5] -= 2 * 0.4 + 0.7
    changed[9] -= 0.4 + 0.7
    ids = [drawn(found).id for found in draw(LOGITS.repeat(len(drawings), 1), drawings)]
    assert furthest(ids, torch.softmax(changed, 0).numpy()) < 4.5


def test_only_tokens_that_the_bits_allow_are_drawn() -> None:
    drawings = [begin(Sampling(seed=number, temperature=2), 0) for number in range(200)]
    for drawing in drawings:
        drawing.allowed = np.array([1 << 4, 1 << 3], dtype=np.int32)
    ids = {drawn(found).id for found in draw(LOGITS.repeat(200, 1), drawings)}
    assert ids == {4, 35}


def test_tokens_that_the_tokenizer_lacks_are_barred_by_a_grammar() -> None:
    drawing = Drawing(Sampling(temperature=0), np.random.default_rng(0))
    drawing.allowed = np.array([-1], dtype=np.int32)
    best = int(LOGITS[:32].argmax())
    assert drawn(draw(LOGITS[None], [drawing])[0]).id == best


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("fields", [{"temperature": 0}, {"seed": 2}, {"seed": 2, "top_p": 0.5}])
def test_a_row_that_is_not_finite_spoils_no_other(fields: Any, number: float) -> None:
    logits = LOGITS.repeat(2, 1)
    logits[0, 3] = number
    alone = drawn(draw(logits[1:], [begin(Sampling(seed=1), 0)])[0])
    found = draw(logits, [begin(Sampling(**fields), 0), begin(Sampling(seed=1), 0)])
    assert found == [None, alone]


def test_a_bias_for_a_token_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(InvalidInput, match="from 0 to 49"):
        check_bias(Sampling(logit_bias={50: 1.0}), VOCABULARY)
