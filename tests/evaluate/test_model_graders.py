"""Graders that ask a model, with a model that says what a test wants."""

from collections.abc import Sequence
from typing import Any

import pytest

from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.records import Usage
from selftune.evaluate.grading import build_scorer, sample_of
from selftune.evaluate.means import Asked, Means, Reply
from selftune.evaluate.scorer import Graded, guarded

USAGE = Usage(prompt_tokens=10, completion_tokens=2)
SCORE = {
    "type": "score_model",
    "model": "judge-1",
    "input": [{"role": "user", "content": "{{ item.truth }} or {{ sample.output_text }}?"}],
}
LABEL = {
    "type": "label_model",
    "model": "judge-1",
    "input": [{"role": "user", "content": {"type": "input_text", "text": "{{ item.truth }}"}}],
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}
JUDGE = {
    "type": "judge",
    "model": "judge-1",
    "rubric": "Is it polite?",
    "question": "{{ item.question }}",
}


class Model:
    """Says what it is told to, one text after another, and keeps what it was asked."""

    def __init__(self, *texts: str, **options: Any) -> None:
        self.texts, self.options, self.asked = list(texts), options, list[Asked]()

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        text = self.texts[min(len(self.asked), len(self.texts)) - 1]
        return Reply(text=text, model=asked.model, usage=USAGE, **self.options)


def graded(grader: dict[str, Any], model: Any, output: str = "an answer") -> Graded:
    item = {"truth": "right", "question": "Well?"}
    return guarded(build_scorer(grader, Means(ask=model)), item, sample_of(output))


@pytest.mark.parametrize(
    ("text", "options", "value", "passed"),
    [
        ('{"steps": [], "result": 0.75}', {}, 0.75, True),
        ('Here:\n```json\n{"result": 0.25}\n```', {}, 0.25, False),
        ("0.5", {}, 0.5, True),
        ('{"result": "0.5"}', {"pass_threshold": 0.6}, 0.5, False),
        ('{"result": 7}', {}, 1.0, True),
        ('{"result": -3}', {"range": [0, 10]}, 0.0, False),
        ('{"result": 6}', {"range": [0, 10]}, 6.0, True),
    ],
)
def test_a_model_scores_within_the_range(
    text: str, options: dict[str, Any], value: float, passed: bool
) -> None:
    found = graded(SCORE | options, Model(text))
    assert (found.status, found.value, found.passed) == ("scored", value, passed)
    assert [(spent.model, spent.usage) for spent in found.spent] == [("judge-1", USAGE)]


@pytest.mark.parametrize("text", ["", "very good", '{"result": true}', '{"result": NaN}', "[1]"])
def test_a_reply_without_a_number_is_errored_and_was_paid_for(text: str) -> None:
    found = graded(SCORE, Model(text))
    assert (found.status, found.fault) == ("errored", "model_grader_parse_error")
    assert found.spent


def test_a_model_that_refuses_or_is_not_there_is_told_apart() -> None:
    refused = graded(SCORE, Model("I will not.", is_refusal=True))
    assert refused.fault == "model_grader_refusal_error"

    def away(_asked: Asked) -> Reply:
        raise Unavailable("The model is away.")

    found = graded(SCORE, away)
    assert (found.fault, found.reason) == ("model_grader_server_error", "The model is away.")
    nothing = guarded(build_scorer(SCORE), {"truth": ""}, sample_of(""))
    assert nothing.fault == "model_grader_server_error"


def test_messages_are_filled_and_sampling_is_passed_on() -> None:
    model = Model("1")
    sampling = {"temperature": 0.2, "max_completions_tokens": 50, "seed": None}
    picture = {"type": "input_image", "image_url": "{{ item.truth }}.png", "detail": "low"}
    parts = [{"type": "input_text", "text": "{{ item.truth }}"}, "and", picture]
    message = {"type": "message", "role": "developer", "content": parts}
    graded(SCORE | {"sampling_params": sampling, "input": [*SCORE["input"], message]}, model)
    [asked] = model.asked
    assert asked.sampling == {"temperature": 0.2, "max_completion_tokens": 50}
    system, first, second = asked.messages
    assert system["role"] == "system"
    assert "0 to 1" in system["content"]
    assert first == {"role": "user", "content": "right or an answer?"}
    assert second["content"] == [
        {"type": "text", "text": "right"},
        {"type": "text", "text": "and"},
        {"type": "image_url", "image_url": {"url": "right.png", "detail": "low"}},
    ]


def test_what_the_item_or_the_answer_says_is_never_a_template() -> None:
    model = Model("1")
    graded(SCORE, model, output="{{ item.truth }}")
    assert model.asked[0].messages[-1]["content"] == "right or {{ item.truth }}?"


@pytest.mark.parametrize(
    ("text", "value"), [('{"result": "good"}', 1.0), ("good", 1.0), ('{"label": "bad"}', 0.0)]
)
def test_a_model_chooses_a_label(text: str, value: float) -> None:
    found = graded(LABEL, Model(text))
    assert (found.value, found.passed) == (value, bool(value))
    assert found.reason == ("good" if value else "bad")


def test_a_label_that_is_none_is_errored() -> None:
    assert graded(LABEL, Model("so so")).fault == "model_grader_parse_error"


def test_a_formula_adds_up_what_its_models_used() -> None:
    graders = {"score": SCORE, "label": LABEL}
    grader = {"type": "multi", "graders": graders, "calculate_output": "(score + label) / 2"}
    found = graded(grader, Model("0.5", "good"))
    assert found.value == 0.75
    assert len(found.spent) == 2


def test_a_judge_scores_from_1_to_5_and_explains() -> None:
    found = graded(JUDGE, Model('{"explanation": "Kind.", "score": 4}'))
    assert (found.value, found.credit, found.passed, found.reason) == (4.0, 0.75, True, "Kind.")
    assert graded(JUDGE, Model('{"score": 6}')).fault == "model_grader_parse_error"


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ("A", "B", 1.0),
        ("B", "A", 0.0),
        ("A", "A", 0.5),
        ("B", "B", 0.5),
        ("tie", "tie", 0.5),
        ("A", "tie", 0.5),
    ],
)
def test_a_judge_compares_in_both_orders(first: str, second: str, value: float) -> None:
    model = Model(f'{{"winner": "{first}"}}', f'{{"winner": "{second}"}}')
    found = graded(JUDGE | {"against": "{{ item.truth }}"}, model)
    assert (found.value, len(found.spent)) == (value, 2)
    asked = [each.messages[-1]["content"] for each in model.asked]
    assert "Answer A:\nan answer\n\nAnswer B:\nright" in asked[0]
    assert "Answer A:\nright\n\nAnswer B:\nan answer" in asked[1]


def test_a_judge_does_not_compare_what_is_the_same() -> None:
    model = Model("")
    found = graded(JUDGE | {"against": "{{ item.truth }}"}, model, output="right")
    assert (found.value, model.asked) == (0.5, [])


def test_one_order_without_an_answer_is_errored() -> None:
    found = graded(JUDGE | {"against": "x"}, Model('{"winner": "A"}', "hm"))
    assert (found.status, len(found.spent)) == ("errored", 2)


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [[1.0, float("cat" in text)] for text in texts]


def test_vectors_compare_meanings() -> None:
    means = Means(embed=embed)
    alike = {"type": "text_similarity", "evaluation_metric": "cosine", "reference": "a cat"}
    assert guarded(build_scorer(alike, means), {}, sample_of("cat")).value == pytest.approx(1)
    assert guarded(build_scorer(alike, means), {}, sample_of("dog")).value == pytest.approx(
        0.5**0.5
    )
    assert guarded(build_scorer(alike, means), {}, sample_of("")).value == 0.0
    near = {"type": "semantic", "references": ["a dog", "a cat"]}
    assert guarded(build_scorer(near, means), {}, sample_of("cat")).passed
    assert not guarded(
        build_scorer(near | {"references": ["dog"]}, means), {}, sample_of("cat")
    ).passed
    empty = guarded(build_scorer(near | {"references": ["{{ item.x }}"]}, means), {"x": ""}, {})
    assert empty.status == "errored"


@pytest.mark.parametrize(
    ("grader", "words"),
    [
        (SCORE | {"range": [1, 0]}, "the first number must be the smaller"),
        (SCORE | {"range": [1]}, "'range'"),
        (SCORE | {"input": []}, "'input'"),
        (SCORE | {"input": [{"role": "user", "content": "{{ truth }}"}]}, "reads 'truth'"),
        (LABEL | {"passing_labels": ["fine"]}, "'fine' is not one of the labels"),
    ],
)
def test_what_is_no_model_grader_is_refused(grader: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        build_scorer(grader)
