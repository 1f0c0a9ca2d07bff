"""What a report shows of one round or several: figures against arithmetic by hand, and its page."""

import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluate.made_rounds import (
    RATES,
    items,
    result,
    scored_round,
    unanswered,
    write_round,
)

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Usage
from selftune.evaluate.figures import dollars_text, share_text
from selftune.evaluate.report import (
    Report,
    figures,
    read_report,
    to_html,
    to_json,
    to_markdown,
)
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import ArmRecord, RoundFolder, Totals
from selftune.evaluate.scorer import Graded
from selftune.evaluate.write import write_report
from selftune.models.answers import Timing
from selftune.models.prices import Rates

HOSTILE = "<script>alert('x')</script>|`*_[a](javascript:b)"
CONTRAST = 4.5


def table(report: Report) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in figures(report)}


def test_the_arithmetic_of_a_published_report_comes_out_right(tmp_path: Path) -> None:
    """14 of 40 to 31 of 40; 99.8 to 79.8 tokens; 1.61 to 1.06 s, which is 34.2 % less."""

    def rows() -> Iterator[Result]:
        for at in range(40):
            for arm, right, seconds, tokens in (("base", 14, 1.61, 998), ("tuned", 31, 1.06, 798)):
                # 998 tokens in ten answers: eight of 100 and two of 99.
                said = tokens // 10 + (1 if at % 10 < tokens % 10 else 0)
                yield result(
                    arm,
                    at,
                    float(at < right),
                    timing=Timing(answering=seconds, queued=30.0, retrying=12.0),
                    usage=Usage(prompt_tokens=200, completion_tokens=said),
                )

    arms = [
        ArmRecord(name="base", model="gpt-4o-mini", rates=Rates(input=0.15, output=0.6)),
        ArmRecord(name="tuned", model="a-deployment", rates=Rates(input=0.1, output=0.4)),
    ]
    facts = {"training_dollars": "0.50"}
    folder = write_round(tmp_path, items(40), rows(), arms, facts=facts)
    report = read_report(folder, requests_per_day=10_000)
    found = table(report)
    assert found["accuracy (95 % interval)"] == (
        "35.0 % (22.1 - 50.5, n=40)",
        "77.5 % (62.5 - 87.7, n=40)",
    )
    assert found["points"] == ("14.0 of 40", "31.0 of 40")
    assert found["tokens of an answer"] == ("99.8", "79.8 (-20.0 %)")
    assert found["latency, mean"] == ("1.61 s", "1.06 s (-34.2 %)")
    base, tuned = (arm.money for arm in report.arms)
    # 200 tokens at $0.15 and 99.8 at $0.60 a million: $0.00008988 an answer.
    assert base.per_thousand == pytest.approx(1000 * (200 * 0.15 + 99.8 * 0.6) / 1e6)
    assert base.per_year == pytest.approx(10_000 * 365 * (200 * 0.15 + 99.8 * 0.6) / 1e6)
    saved = (200 * 0.15 + 99.8 * 0.6 - 200 * 0.1 - 79.8 * 0.4) / 1e6
    assert tuned.break_even is not None
    assert tuned.break_even.requests == math.ceil(0.5 / saved)
    assert found["training"] == ("", "$0.50")
    assert report.comparisons[0].outcome == "better"


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "unknown"),
        (0, "$0"),
        (0.5, "$0.50"),
        (0.10384, "$0.1038"),
        (0.0000123456, "$0.00001235"),
        (1234.5, "$1,234.50"),
        (0.99999, "$1.00"),
    ],
)
def test_small_amounts_keep_their_digits(dollars: float | None, text: str) -> None:
    assert dollars_text(dollars) == text


def test_what_nobody_knows_is_unknown_and_not_zero(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"usage": None, "timing": None}
    arms = [ArmRecord(name="a", model="m"), ArmRecord(name="b", model="m", rates=RATES)]
    rows = (result(arm, at, 1.0, **bare) for at in range(3) for arm in "ab")
    found = table(read_report(write_round(tmp_path, items(3), rows, arms), requests_per_day=5))
    for name in ("tokens of an answer", "latency, mean", "cost of 1,000 answers"):
        assert found[name] == ("unknown", "unknown")
    assert found["cost of a year, 5 a day"] == ("unknown", "unknown")


def test_an_answer_that_did_not_come_is_no_wrong_answer(tmp_path: Path) -> None:
    def rows() -> Iterator[Result]:
        for at in range(20):
            yield result("base", at, float(at % 2))
            yield (
                unanswered("tuned", at) if at < 3 else result("tuned", at, None if at < 5 else 1.0)
            )

    report = read_report(write_round(tmp_path, items(20), rows()))
    tuned = report.arms[1].summary
    assert tuned.accuracy is not None
    assert (tuned.accuracy.value, tuned.accuracy.n) == (1.0, 15)
    assert tuned.coverage.model_dump() == {
        "expected": 20,
        "scored": 15,
        "errored": 2,
        "skipped": 0,
        "unanswered": 3,
        "not_asked": 0,
    }
    assert table(report)["answered"][1] == "17 of 20, 2 not scored"
    assert "'tuned': 17 of 20 answered, 15 scored." in report.notes[0]
    assert report.notes[0].endswith("The first one: the endpoint is overloaded")
    assert tuned.most_points == 15


def test_answers_that_were_there_already_are_told_of(tmp_path: Path) -> None:
    rows = (result("base", at, 1.0) for at in range(10))
    folder = write_round(tmp_path, items(10), rows, ["base"], totals=Totals(reused=7))
    assert "already, from earlier starts or rounds: 7." in read_report(folder).notes[0]


def test_a_verdict_names_both_models_even_where_it_cannot_tell(tmp_path: Path) -> None:
    scores = {name: [1.0, 0.0] * 5 for name in ("base", "tuned", "shown")}
    for one in read_report(scored_round(tmp_path, scores)).comparisons:
        assert one.words.startswith(f"Cannot tell whether {one.name!r} is better than 'base': ")


def test_a_round_that_was_stopped_says_so(tmp_path: Path) -> None:
    rows = (result("base", at, 1.0) for at in range(4))
    folder = write_round(tmp_path, items(10), rows, status="stopped", reason="The budget is spent.")
    report = read_report(folder)
    assert report.notes[0].startswith("The round is not whole, it is stopped: The budget is spent.")
    assert [arm.summary.coverage.not_asked for arm in report.arms] == [6, 10]
    assert report.arms[1].summary.accuracy is None
    assert report.comparisons[0].outcome == "cannot tell"
    assert "nothing could be scored" in to_html(report)


def test_latency_has_no_queueing_in_it(tmp_path: Path) -> None:
    seconds = np.random.default_rng(3).lognormal(0, 0.5, 500)
    rows = (
        result(
            "base", at, 1.0, timing=Timing(queued=50, retrying=9, answering=s, first_token=s / 4)
        )
        for at, s in enumerate(seconds.tolist())
    )
    report = read_report(write_round(tmp_path, items(500), rows, ["base"]))
    found = report.arms[0].summary
    assert found.latency is not None
    assert found.first_token is not None
    assert found.latency.p99 == pytest.approx(np.percentile(seconds, 99))
    assert found.first_token.p50 == pytest.approx(np.median(seconds) / 4)
    assert report.arms[0].latency is not None
    assert sum(report.arms[0].latency.counts) == 500
    assert not report.comparisons


def test_weights_make_points(tmp_path: Path) -> None:
    scores: list[float | None] = [1.0, 0.7, 0.0, None]
    folder = scored_round(tmp_path, {"m": scores}, {"weight": [1.0, 2.0, 4.0, 8.0]})
    found = read_report(folder).arms[0].summary
    assert found.points == pytest.approx(2.4)
    assert found.most_points == 7.0


def test_numbers_are_measured_by_their_errors(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    truth = random.lognormal(4, 1, 120).round(2)
    guess = (truth * random.lognormal(0, 0.4, 120)).round(2)

    def rows() -> Iterator[Result]:
        for at in range(120):
            error = abs(guess[at] - truth[at])
            score = Graded(
                status="scored", value=error, credit=float(error < 40), passed=bool(error < 40)
            )
            yield result("m", at, 0, output=f"It costs ${guess[at]:,.2f}.", scores=(score,))
        no_number = Graded(status="scored", credit=0.0, passed=False, reason="no number")
        yield result("m", 120, 0, output="I cannot say.", scores=(no_number,))

    columns = {"answer": [*truth.tolist(), 5.5]}
    report = read_report(write_round(tmp_path, items(121, **columns), rows(), ["m"]))
    found = report.arms[0].summary
    gaps = guess - truth
    assert found.numbers is not None
    assert found.numbers.mean_absolute == pytest.approx(np.abs(gaps).mean())
    assert found.numbers.root_mean_square == pytest.approx(math.sqrt((gaps**2).mean()))
    explained = 1 - (gaps**2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert found.numbers.r_squared == pytest.approx(explained)
    assert table(report)["answers without a number"] == ("1",)
    last = report.arms[0].running_error[-1]
    assert last.n == 120
    assert last.mean == pytest.approx(np.abs(gaps).mean())
    assert last.high - last.mean == pytest.approx(
        1.9801 * np.abs(gaps).std(ddof=1) / math.sqrt(120), rel=1e-4
    )
    assert len(report.arms[0].guesses) == 120
    worst = report.arms[0].worst[0]
    assert worst.index == 121  # no number at all is further off than any number


def test_labels_are_counted_against_each_other(tmp_path: Path) -> None:
    right = ["10", "9", "cat"] * 10
    said = ["10", "10", "CAT ", *["9", "9", "a dog"] * 9]

    def rows() -> Iterator[Result]:
        for at in range(30):
            yield result("m", at, float(said[at] == right[at]), output=said[at])

    found = read_report(write_round(tmp_path, items(30, answer=right), rows(), ["m"]))
    matrix = found.arms[0].summary.confusion
    assert matrix is not None
    assert [label.name for label in matrix.labels] == ["9", "10", "cat"]
    assert matrix.matrix == ((9, 1, 0, 0), (9, 1, 0, 0), (0, 0, 1, 9))
    nine, ten, cat = matrix.labels
    assert (nine.recall, nine.precision) == (0.9, 0.5)
    assert (ten.recall, ten.precision) == (0.1, 0.5)
    assert (cat.recall, cat.precision) == (0.1, 1.0)
    told = [(one.right, one.given, one.n) for one in matrix.mistakes]
    assert sorted(told) == [("10", "9", 9), ("9", "10", 1), ("cat", "a dog", 9)]


def test_very_many_labels_have_no_matrix_but_their_mistakes(tmp_path: Path) -> None:
    right = [f"label {at % 60}" for at in range(240)]
    rows = (result("m", at, 0.0, output=f"label {at % 60 // 2}") for at in range(240))
    found = read_report(write_round(tmp_path, items(240, answer=right), rows, ["m"]))
    matrix = found.arms[0].summary.confusion
    assert matrix is not None
    assert matrix.matrix is None
    assert len(matrix.mistakes) == 40
    assert "Commonest mistakes" in to_html(found)


@pytest.mark.parametrize(
    "answers",
    [
        [f"a text of its own, number {at}" for at in range(20)],
        ["x" * 200, "y"] * 10,
        [None, "a"] * 10,
        [{"a": 1}, "b"] * 10,
        ["always the same"] * 20,
    ],
)
def test_answers_that_are_no_labels_are_not_counted_as_such(
    tmp_path: Path, answers: list[Any]
) -> None:
    rows = (result("m", at, 1.0) for at in range(20))
    report = read_report(write_round(tmp_path, items(20, answer=answers), rows, ["m"]))
    assert report.arms[0].summary.confusion is None
    assert report.arms[0].summary.numbers is None


def test_several_answers_to_a_question_are_one_question(tmp_path: Path) -> None:
    passes = [4, 3, 2, 1, 0, 4, 4, 0, 2, 2]

    def rows() -> Iterator[Result]:
        for at, count in enumerate(passes):
            for sample in range(4):
                yield result("m", at, float(sample < count), sample)

    report = read_report(write_round(tmp_path, items(10), rows(), ["m"], samples=4))
    found = report.arms[0].summary
    assert found.accuracy is not None
    assert (found.accuracy.value, found.accuracy.n) == (sum(passes) / 40, 10)
    assert found.repeats is not None
    # Of 4 answers, c pass: at least one of two passes unless both come from the 4 - c others.
    pairs = [1 - math.comb(4 - c, 2) / math.comb(4, 2) for c in passes]
    assert found.repeats.pass_any[2] == pytest.approx(np.mean(pairs))
    both = [math.comb(c, 2) / math.comb(4, 2) for c in passes]
    assert found.repeats.pass_all[2] == pytest.approx(np.mean(both))
    assert found.repeats.pass_all[4] == 0.3
    shares = np.array(passes) / 4
    within = (shares * (1 - shares) * 4 / 3).mean()
    assert found.repeats.spread is not None
    assert found.repeats.spread.within == pytest.approx(within)
    between = shares.var(ddof=1) - within / 4
    assert found.repeats.spread.between == pytest.approx(between)
    pays = found.repeats.spread.samples_that_pay
    assert pays is not None
    error = math.sqrt(between + within / pays)
    assert error <= 1.05 * math.sqrt(between) < math.sqrt(between + within / (pays - 1))
    assert "pass^4: all of 4 answers" in table(report)


def test_older_rounds_are_compared_on_the_questions_that_both_have(tmp_path: Path) -> None:
    old = scored_round(
        tmp_path / "old", {"tuned": [0.0] * 10}, {"id": [f"i{n}" for n in range(10)]}
    )
    new = scored_round(
        tmp_path / "new", {"tuned": [1.0] * 12}, {"id": [f"i{n}" for n in range(11, -1, -1)]}
    )
    report = read_report(new, others=[("tuned", old)])
    names = [arm.summary.name for arm in report.arms]
    assert names == ["tuned", "tuned (old)"]
    found = report.comparisons[0]
    assert found.difference is not None
    assert (found.difference.value, found.difference.n) == (-1.0, 10)
    assert found.only_baseline == tuple(range(3, 13))
    assert found.left_out == 0
    assert "'tuned (old)' was asked 10 of these 12 questions" in report.notes[0]
    assert read_report(new, baseline="tuned (old)", others=[("tuned", old)]).baseline == names[1]
    shown = report.flipped[0][0]
    assert [said.arm for said in shown.answers] == names
    assert shown.id == "i9"


def test_rounds_without_a_common_question_are_refused(tmp_path: Path) -> None:
    old = scored_round(tmp_path / "old", {"m": [0.0]}, {"id": ["other"]})
    new = scored_round(tmp_path / "new", {"m": [1.0]})
    with pytest.raises(InvalidInput, match="no question in common"):
        read_report(new, others=[("m", old)])
    with pytest.raises(NotFound, match="has no model 'x': it has 'm'"):
        read_report(new, others=[("x", new)])


def test_other_graders_are_told(tmp_path: Path) -> None:
    old = scored_round(tmp_path / "old", {"m": [0.0]}, graders=({"type": "regex", "pattern": "a"},))
    new = scored_round(tmp_path / "new", {"m": [1.0]})
    assert "judged by other graders" in read_report(new, others=[("m", old)]).notes[0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (b'{"index": 1}\n', r"results.jsonl', line 1: Field required"),
        (b'{"index":1,"item":"a","arm":"z","state":"scored"}\n', "'z', which was not asked"),
        (b'{"index":9,"item":"a","arm":"m","state":"scored"}\n', "has results of questions"),
    ],
)
def test_damaged_files_are_told_by_file_and_line(tmp_path: Path, damage: bytes, words: str) -> None:
    folder = scored_round(tmp_path, {"m": [1.0]})
    folder.results.write_bytes(damage)
    with pytest.raises(InvalidInput, match=words):
        read_report(folder)


def test_a_line_that_was_cut_is_no_line(tmp_path: Path) -> None:
    folder = scored_round(tmp_path, {"m": [1.0, 1.0, 0.0]})
    folder.results.write_bytes(folder.results.read_bytes()[:-5])
    found = read_report(folder).arms[0].summary
    assert share_text(found.accuracy).startswith("100.0 %")
    assert found.coverage.not_asked == 1


def test_a_later_result_of_the_same_answer_takes_its_place(tmp_path: Path) -> None:
    rows = iter([unanswered("m", 0), result("m", 1, 1.0), result("m", 0, 1.0)])
    found = read_report(write_round(tmp_path, items(2), rows, ["m"])).arms[0].summary
    assert (found.coverage.scored, found.coverage.unanswered) == (2, 0)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    folder = scored_round(tmp_path, {"m": [1.0]})
    folder.items.unlink()
    with pytest.raises(NotFound, match="the round is not whole"):
        read_report(folder)
    with pytest.raises(NotFound, match="There is no round"):
        read_report(RoundFolder(tmp_path / "nowhere"))


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "rect", "line", "circle", "path"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"meta", "br", "rect", "line", "circle", "path"}:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def hostile(tmp_path: Path) -> Report:
    """Return a report in which every text is an attack."""

    def rows() -> Iterator[Result]:
        for at in range(12):
            for arm in ("base", HOSTILE):
                good = (at + len(arm)) % 3 == 0
                score = Graded(status="scored", value=float(good), passed=good, reason=HOSTILE)
                calls = {"tool_calls": [{"function": {"name": HOSTILE}}]}
                yield result(arm, at, 0, output=HOSTILE, scores=(score,), message=calls)

    names = [HOSTILE + str(at % 2) for at in range(12)]
    folder = write_round(
        tmp_path,
        items(12, category=names, question=names, answer=names),
        rows(),
        ["base", HOSTILE],
        eval=HOSTILE,
        facts={HOSTILE: HOSTILE},
        losses=((1.0, 2.0), (2.0, 1.0)),
        graders=({"type": HOSTILE, "reference": "{{ item.answer }}"},),
    )
    return read_report(folder)


def test_the_page_holds_no_script_and_asks_nobody(hostile: Report) -> None:
    text = to_html(hostile)
    page = Page(text)
    assert page.open == []
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "a", "form"}
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import", text)
    assert text.count("&lt;script&gt;") > 20


def test_the_page_can_be_read_aloud(hostile: Report) -> None:
    page = Page(to_html(hostile))
    assert [found["lang"] for found in page.all("html")] == ["en"]
    assert len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    pictures = page.all("svg")
    assert len(pictures) >= 5
    assert all(found["role"] == "img" and found["aria-label"] for found in pictures)
    assert "from" in str(pictures[0]["aria-label"])
    assert all("scope" in found for found in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(pictures)


def test_text_stands_out_in_light_and_in_the_dark(hostile: Report) -> None:
    style = to_html(hostile).partition("</style>")[0]
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 3  # light, dark, paper
    for theme in themes:
        colors = dict(re.findall(r"--(\w+): (#[0-9a-f]+)", theme))
        for name in ("ink", "soft", "good", "bad", "unsure"):
            for ground in ("paper", "card"):
                assert contrast(colors[name], colors[ground]) >= CONTRAST, (name, ground)
        for number in range(8):
            assert contrast(colors[f"c{number}"], colors["paper"]) >= 3


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_markdown_shows_hostile_text_as_it_is(hostile: Report) -> None:
    text = to_markdown(hostile)
    assert "<script>" not in text.replace("\\<script\\>", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_json_has_what_the_page_shows(hostile: Report, tmp_path: Path) -> None:
    written = write_report(hostile, tmp_path / "report")
    kept = json.loads(written.json_file.read_text(encoding="utf-8"))
    assert kept == json.loads(to_json(hostile))
    assert kept["comparisons"][0]["verdict"]["words"] == hostile.comparisons[0].words
    assert written.html.read_text(encoding="utf-8") == to_html(hostile)
    assert written.markdown.read_text(encoding="utf-8") == to_markdown(hostile)


def test_the_same_round_gives_the_same_bytes(tmp_path: Path) -> None:
    scores: list[float | None] = [0.1 * (at % 11) for at in range(60)]
    folder = scored_round(tmp_path, {"a": scores, "b": scores[::-1]})
    assert to_html(read_report(folder)) == to_html(read_report(folder))


def test_each_grader_has_a_share_of_its_own(tmp_path: Path) -> None:
    def rows() -> Iterator[Result]:
        for at in range(10):
            pair = (at % 2 == 0, at % 5 == 0)
            scores = tuple(Graded(status="scored", value=float(p), passed=p) for p in pair)
            yield result("m", at, 0, scores=scores)

    graders = ({"type": "starts_with", "name": "greeting"}, {"type": "contains_link"})
    report = read_report(write_round(tmp_path, items(10), rows(), ["m"], graders=graders))
    found = table(report)
    assert found["passes 1. greeting"][0].startswith("50.0 %")
    assert found["passes 2. contains_link"][0].startswith("20.0 %")
    assert found["accuracy (95 % interval)"][0].startswith("10.0 %")


def test_the_worst_failures_are_shown_in_full_worst_first(tmp_path: Path) -> None:
    scores: list[float | None] = [0.7, 0.0, 1.0, 0.4, None]
    weights = [1.0, 1.0, 1.0, 1.0, 1.0]
    report = read_report(scored_round(tmp_path, {"m": scores}, {"weight": weights}))
    assert [shown.index for shown in report.arms[0].worst] == [2, 4, 1]
    long = "word " * 10_000
    rows = iter([result("m", 0, 0.0, output=long)])
    report = read_report(write_round(tmp_path / "long", items(1), rows, ["m"]))
    said = report.arms[0].worst[0].answers[0].output
    assert said.startswith("word word")
    assert said.endswith("and 30,000 characters more")
