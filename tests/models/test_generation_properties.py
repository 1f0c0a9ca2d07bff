"""The token-level distributions are exact, and sampling does what OpenAI's parameters say."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from selftune.models.builtin.generate import LONGEST, generate, likeliest
from selftune.models.builtin.mixture import Mixture
from selftune.models.builtin.tree import (
    END,
    AnswerDistribution,
    Distribution,
    Paths,
    text_probability,
)
from selftune.models.sampler import Alternative, Choice, Sampling, Token
from selftune.models.tokens import decode, encode, token_bytes

Answers = dict[str, float]
"""Each text's probability."""
Rule = tuple[float, float]
"""Temperature and top_p."""
PIECES = ["a", "b", "ab", " the", " cat", "!", "\n", "é", "漢字", "👩‍🚀", "🦀", "<|endoftext|>"]
"""Texts of these share beginnings, split characters over tokens and look like special tokens."""
DRAWS_PER_SEED, SEEDS = 128, 16
SURE = 25.0
"""A right sampler is refused with a probability below exp(-SURE)."""

properties = settings(max_examples=75, deadline=None, derandomize=True)
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
weights = st.one_of(st.integers(1, 100).map(float), st.sampled_from([1e-12, 1e-300]))


@st.composite
def answer_sets(draw: st.DrawFn, *, with_zeros: bool = True, least: int = 1) -> Answers:
    """Return different texts and probabilities, some of them tiny or zero."""
    chosen = draw(st.lists(texts, min_size=least, max_size=8, unique=True))
    kinds = st.one_of(weights, st.just(0.0)) if with_zeros else st.integers(1, 100).map(float)
    drawn = draw(st.lists(kinds, min_size=len(chosen), max_size=len(chosen)))
    assume(sum(drawn) >= 1)
    return {text: weight / sum(drawn) for text, weight in zip(chosen, drawn, strict=True)}


def distribution(answers: Answers) -> AnswerDistribution:
    return Paths(list(answers)).with_probabilities(np.array(list(answers.values())))


def path(text: str) -> tuple[int, ...]:
    return (*encode(text), END)


def reachable(asked: Distribution) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
    """Give every prefix that can be written, with what follows it."""
    waiting: list[tuple[tuple[int, ...], object]] = [((), asked.start())]
    while waiting:
        prefix, state = waiting.pop()
        tokens, probabilities = asked.following(state)
        yield prefix, tokens, probabilities
        for token in tokens.tolist():
            after = None if token == END else asked.advance(state, token)
            if after is not None:
                waiting.append(((*prefix, token), after))


def chances(asked: Distribution) -> dict[tuple[int, ...], float]:
    """Return the product of the probabilities along each path, as `following` gives them."""
    products: dict[tuple[int, ...], float] = {(): 1.0}
    for prefix, tokens, probabilities in reachable(asked):
        for token, probability in zip(tokens.tolist(), probabilities.tolist(), strict=True):
            products[*prefix, token] = products[prefix] * probability
    return {tokens: chance for tokens, chance in products.items() if tokens[-1:] == (END,)}


def check_prefixes(asked: Distribution) -> None:
    for _, tokens, probabilities in reachable(asked):
        assert np.all(np.diff(tokens) > 0)
        assert len(tokens) == len(probabilities) > 0
        assert np.all(probabilities >= 0)
        assert abs(probabilities.sum() - 1) < 1e-9


@properties
@given(answer_sets())
def test_the_tokens_of_an_answer_multiply_to_its_probability(answers: Answers) -> None:
    asked = distribution(answers)
    check_prefixes(asked)
    found = chances(asked)
    assert set(found) == {path(text) for text in answers}
    for text, probability in answers.items():
        assert found[path(text)] == pytest.approx(probability, rel=1e-9, abs=1e-12)
        assert text_probability(asked, text) == found[path(text)]


@properties
@given(answer_sets(), texts)
def test_a_text_that_is_no_answer_has_no_probability(answers: Answers, text: str) -> None:
    assume(text not in answers)
    assert text_probability(distribution(answers), text) == 0


@properties
@given(answer_sets())
def test_no_other_token_leads_on(answers: Answers) -> None:
    asked = distribution(answers)
    state = asked.start()
    tokens, _ = asked.following(state)
    for stranger in {0, 100, int(tokens[-1]) + 1} - set(tokens.tolist()):
        assert asked.advance(state, stranger) is None


@properties
@given(answer_sets(), answer_sets(), st.sampled_from([0.0, 1.0, 0.5, 0.3, 0.999]))
def test_a_mixture_gives_each_text_the_mixed_probability(
    first: Answers, second: Answers, weight: float
) -> None:
    mixed = Mixture(distribution(first), distribution(second), weight)
    check_prefixes(mixed)
    found = chances(mixed)
    for text in {**first, **second}:
        wanted = weight * first.get(text, 0.0) + (1 - weight) * second.get(text, 0.0)
        assert found.get(path(text), 0.0) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        assert text_probability(mixed, text) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert sum(found.values()) == pytest.approx(1, abs=1e-9)


@properties
@given(answer_sets(), answer_sets(), st.integers(0, 99))
def test_a_mixture_with_all_weight_on_one_part_answers_like_it(
    first: Answers, second: Answers, seed: int
) -> None:
    sampling = Sampling(seed=seed, n=3)
    one, other = distribution(first), distribution(second)
    assert generate(Mixture(one, other, 1.0), sampling) == generate(one, sampling)
    assert generate(Mixture(one, other, 0.0), sampling) == generate(other, sampling)


def tempered(
    left: Mapping[tuple[int, ...], float], rule: Rule
) -> dict[tuple[int, ...], float] | None:
    """Return what sampling should give, path by path; None where a cut hangs on rounding."""
    temperature, top_p = rule
    if len(left) == 1 and not next(iter(left)):
        return {(): 1.0}
    masses: defaultdict[int, float] = defaultdict(float)
    for tokens, chance in left.items():
        masses[tokens[0]] += chance
    powers = {token: mass ** (1 / temperature) for token, mass in masses.items() if mass}
    whole = sum(powers.values())
    kept: dict[int, float] = {}
    for token in sorted(powers, key=lambda token: (-powers[token], token)):
        reached = sum(kept.values())
        if abs(reached - top_p) < 1e-6:
            return None
        if reached > top_p:
            break
        kept[token] = powers[token] / whole
    found = {}
    for token, share in kept.items():
        tails = {tokens[1:]: p for tokens, p in left.items() if tokens[0] == token}
        below = tempered(tails, rule)
        if below is None:
            return None
        for tail, chance in below.items():
            found[token, *tail] = chance * share / sum(kept.values())
    return found


RULES = [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.613), (0.7, 0.877), (1.3, 0.0501)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"T={rule[0]}, top_p={rule[1]}")
@settings(max_examples=4, deadline=None, derandomize=True)
@given(answers=answer_sets(with_zeros=False, least=2))
def test_many_draws_agree_with_brute_force(answers: Answers, rule: Rule) -> None:
    expected = tempered({path(text): chance for text, chance in answers.items()}, rule)
    assume(expected is not None)
    assert expected is not None
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        sampling = Sampling(temperature=rule[0], top_p=rule[1], n=DRAWS_PER_SEED, seed=seed)
        seen.update(choice.text for choice in generate(distribution(answers), sampling))
    by_text = {decode(tokens[:-1]): chance for tokens, chance in expected.items()}
    assert set(seen) <= set(by_text)
    assert chi_square(seen, by_text) <= limit(len(by_text) - 1)


def chi_square(seen: Counter[str], expected: Mapping[str, float]) -> float:
    """Return Pearson's statistic, all texts that are hardly ever due counted as one."""
    total = sum(seen.values())
    due = {text: total * chance for text, chance in expected.items()}
    rare = {text for text in due if due[text] < 10}
    groups = [{text} for text in due if text not in rare] + [rare]
    statistic = 0.0
    for group in groups:
        wanted = sum(due[text] for text in group)
        found = sum(seen[text] for text in group)
        statistic += (found - wanted) ** 2 / max(wanted, 1.0) if group else 0.0
    return statistic


def limit(freedom: int) -> float:
    """Return what a chi-square variable exceeds with probability below exp(-SURE).

    The bound is Laurent and Massart's.
    """
    return freedom + 2 * math.sqrt(freedom * SURE) + 2 * SURE


@properties
@given(answer_sets(), st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_a_choice_is_an_answer_token_by_token(
    answers: Answers, seed: int, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, seed=seed, n=4, top_p=0.9)
    for choice in generate(distribution(answers), sampling):
        assert answers[choice.text] > 0
        assert choice.finish_reason == "stop"
        assert [token.id for token in choice.tokens] == encode(choice.text)
        assert "".join(token.text for token in choice.tokens) == choice.text
        assert all(token.bytes == tuple(token_bytes(token.id)) for token in choice.tokens)


@properties
@given(answer_sets(), st.integers(0, 10**6), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 5))
def test_logprobs_are_the_models_own_whatever_the_sampling(
    answers: Answers, seed: int, temperature: float, top: int
) -> None:
    sampling = Sampling(
        temperature=temperature,
        top_p=0.8,
        seed=seed,
        n=2,
        logprobs=True,
        top_logprobs=top,
        presence_penalty=1.0,
        logit_bias={encode("a")[0]: -3.0},
    )
    asked = distribution(answers)
    for choice in generate(asked, sampling):
        state: object = asked.start()
        for token in choice.tokens:
            tokens, probabilities = asked.following(state)
            found = dict(zip(tokens.tolist(), probabilities.tolist(), strict=True))
            assert token.logprob == pytest.approx(math.log(found[token.id]), abs=1e-9)
            check_alternatives(token, found, top)
            state = asked.advance(state, token.id)
        if temperature == 1.0:
            written = math.exp(sum(token.logprob for token in choice.tokens))
            assert written >= answers[choice.text] * (1 - 1e-9)


def check_alternatives(token: Token, found: Mapping[int, float], top: int) -> None:
    wanted = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:top]
    assert [shown.bytes for shown in token.top] == [
        () if other == END else tuple(token_bytes(other)) for other, _ in wanted
    ]
    for shown, (_, probability) in zip(token.top, wanted, strict=True):
        logprob = math.log(probability) if probability else -9999.0
        assert shown.logprob == pytest.approx(logprob, abs=1e-9)
    assert all(isinstance(shown, Alternative) for shown in token.top)


@properties
@given(answer_sets())
def test_greedy_takes_the_likeliest_token_each_time(answers: Answers) -> None:
    written: tuple[int, ...] = ()
    left = {path(text): chance for text, chance in answers.items()}
    while not written or written[-1] != END:
        masses: defaultdict[int, float] = defaultdict(float)
        for tokens, chance in left.items():
            masses[tokens[len(written)]] += chance
        best = max(masses.values())
        close = [token for token in masses if masses[token] > best * (1 - 1e-9) or best == 0]
        assume(len(close) == 1)
        written = (*written, close[0])
        left = {tokens: p for tokens, p in left.items() if tokens[: len(written)] == written}
    asked = distribution(answers)
    assert likeliest(asked) == decode(written[:-1])
    greedy = Sampling(temperature=0, n=3, top_p=0.1)
    assert {choice.text for choice in generate(asked, greedy)} == {likeliest(asked)}


@properties
@given(answer_sets(), answer_sets(), st.sampled_from([0.0, 0.25, 0.75, 1.0]))
def test_greedy_on_a_mixture_gives_a_possible_text(
    first: Answers, second: Answers, weight: float
) -> None:
    mixed = Mixture(distribution(first), distribution(second), weight)
    assert text_probability(mixed, likeliest(mixed)) > 0


@properties
@given(answer_sets(), st.text("ab thecat!\né漢🦀", min_size=1, max_size=3))
def test_a_stop_string_ends_the_answer_before_it(answers: Answers, stop: str) -> None:
    asked = distribution(answers)
    whole = likeliest(asked)
    choice = greedy(asked, stop=(stop,))
    assert choice.text == whole.split(stop)[0]
    assert choice.finish_reason == "stop"
    assert "".join(token.text for token in choice.tokens) == choice.text
    assert [token.id for token in choice.tokens] == encode(whole)[: len(choice.tokens)]


@properties
@given(answer_sets(), st.lists(st.text("ab t!é漢", min_size=1, max_size=3), max_size=4))
def test_no_answer_has_any_of_the_stop_strings(answers: Answers, stops: list[str]) -> None:
    asked = distribution(answers)
    whole = [choice.text for choice in generate(asked, Sampling(seed=1, n=4))]
    cut = generate(asked, Sampling(seed=1, n=4, stop=tuple(stops)))
    for text, choice in zip(whole, cut, strict=True):
        assert text.startswith(choice.text)
        assert not any(stop in choice.text for stop in stops)
        assert (choice.text == text) == (not any(stop in text for stop in stops))


@properties
@given(answer_sets(), st.integers(1, 12))
def test_max_tokens_cuts_after_exactly_so_many(answers: Answers, most: int) -> None:
    asked = distribution(answers)
    whole = encode(likeliest(asked))
    choice = greedy(asked, max_tokens=most)
    assert choice.finish_reason == ("length" if most <= len(whole) else "stop")
    assert [token.id for token in choice.tokens] == whole[:most]
    assert choice.text == decode(whole[:most])
    assert "".join(token.text for token in choice.tokens) == choice.text
    assert choice.text.encode().decode() == choice.text


def test_a_character_cut_in_its_middle_is_still_valid_text() -> None:
    spaceman = "👩‍🚀"
    ids = encode(spaceman)
    cuts = [greedy(distribution({spaceman: 1.0}), max_tokens=n).text for n in range(1, len(ids))]
    assert any(text.endswith("\ufffd") for text in cuts)
    assert all(spaceman.startswith(text.rstrip("\ufffd")) for text in cuts)


def test_an_answer_without_an_end_is_cut() -> None:
    choice = greedy(distribution({" the" * (LONGEST + 5): 1.0}))
    assert (len(choice.tokens), choice.finish_reason) == (LONGEST, "length")


@properties
@given(answer_sets(), st.integers(-(2**63), 2**63 - 1))
def test_the_same_seed_gives_the_same_answers(answers: Answers, seed: int) -> None:
    sampling = Sampling(seed=seed, n=5)
    assert generate(distribution(answers), sampling) == generate(distribution(answers), sampling)


@properties
@given(st.lists(texts, min_size=2, max_size=8, unique=True), st.integers(0, 10**6))
def test_the_choices_of_one_request_are_not_all_the_same(answers: list[str], seed: int) -> None:
    asked = distribution(dict.fromkeys(answers, 1 / len(answers)))
    assert len({choice.text for choice in generate(asked, Sampling(seed=seed, n=64))}) > 1


@properties
@given(answer_sets(with_zeros=False, least=2), st.data())
def test_a_bias_forbids_and_forces(answers: Answers, data: st.DataObject) -> None:
    asked = distribution(answers)
    tokens, _ = asked.following(asked.start())
    assume(len(tokens) > 1)
    token = data.draw(st.sampled_from([found for found in tokens.tolist() if found != END]))
    for temperature in (0.0, 1.0, 2.0):
        forbid, force = (
            Sampling(temperature=temperature, seed=1, n=20, logit_bias={token: bias})
            for bias in (-100.0, 100.0)
        )
        assert token not in {first_token(choice) for choice in generate(asked, forbid)}
        assert {first_token(choice) for choice in generate(asked, force)} == {token}


def first_token(choice: Choice) -> int:
    return choice.tokens[0].id if choice.tokens else END


def greedy(asked: Distribution, **options: object) -> Choice:
    return generate(asked, Sampling.model_validate({"temperature": 0, **options}))[0]
