"""A round as JUnit's XML, which build servers show: a suite for each model, a case for each answer.

A wrong answer is a failure. An answer that did not come, or that no grader could judge, is an error;
a question that was not asked is skipped.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from selftune.evaluate.columns import Arm, Questions, read_arms, read_questions
from selftune.evaluate.items import Item
from selftune.evaluate.results import STATES, Result
from selftune.evaluate.rounds import RoundFolder
from selftune.models.messages import content_text
from selftune.store.whole_files import replacing

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST_LETTERS = 4000
_MOST_NAME = 120


def write_junit(folder: RoundFolder, path: Path) -> None:
    """Write a round as JUnit's XML; a reader sees the old file or the new one, whole.

    Raises:
        NotFound: there is no such round.
        InvalidInput: one of its files is damaged.

    """
    found = folder.read()
    questions = read_questions(folder, found)
    arms = read_arms(folder, found, questions, None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=False) as file:
        head = f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name={_attr(found.eval)}>\n'
        file.write(head.encode())
        for arm in arms.values():
            _write_suite(file, arm, questions)
        file.write(b"</testsuites>\n")


def safe(text: str) -> str:
    """Return text that XML can hold: what it forbids is shown as a code."""
    return _FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _write_suite(file: IO[bytes], arm: Arm, questions: Questions) -> None:
    rows = arm.rows
    states = np.bincount(rows.state, minlength=len(STATES)).tolist()
    count = dict(zip(STATES, states, strict=True))
    missing = np.flatnonzero(~np.isin(np.arange(len(questions)), arm.at))
    numbers = {
        "tests": len(rows.index) + len(missing),
        "failures": int((rows.is_scored & ~rows.passed).sum()),
        "errors": count["errored"] + count["unanswered"],
        "skipped": count["skipped"] + len(missing),
        "time": f"{float(np.nansum(rows.seconds)):.3f}",
    }
    told = " ".join(f'{name}="{value}"' for name, value in numbers.items())
    file.write(f"<testsuite name={_attr(arm.name)} {told}>\n".encode())
    for item, result in _cases(arm, questions):
        file.write(_case(arm.name, item, result).encode())
    file.write(b"</testsuite>\n")


def _cases(arm: Arm, questions: Questions) -> Iterator[tuple[Item, Result | None]]:
    """Yield each question with its answers, in order; None where it was not asked."""
    rows = np.argsort(arm.at, kind="stable")
    starts = np.searchsorted(arm.at[rows], np.arange(len(questions) + 1))
    with questions.path.open("rb") as asked, arm.folder.results.open("rb") as answered:
        for place, offset in enumerate(questions.offset.tolist()):
            asked.seek(offset)
            item = Item.model_validate_json(asked.readline())
            mine = rows[starts[place] : starts[place + 1]]
            if not len(mine):
                yield item, None
            for row in mine:
                answered.seek(int(arm.offset[row]))
                yield item, Result.model_validate_json(answered.readline())


def _case(arm: str, item: Item, result: Result | None) -> str:
    name = item.id if result is None or result.sample == 0 else f"{item.id} #{result.sample + 1}"
    seconds = result.timing.answering if result is not None and result.timing is not None else 0.0
    head = f'<testcase classname={_attr(arm)} name={_attr(name[:_MOST_NAME])} time="{seconds:.3f}"'
    inside = _outcome(item, result)
    return f"{head}>{inside}</testcase>\n" if inside else f"{head}/>\n"


def _outcome(item: Item, result: Result | None) -> str:
    if result is None:
        return '<skipped message="not asked"/>'
    reasons = "; ".join([result.reason, *(score.reason or "" for score in result.scores)]).strip(
        "; "
    )
    if result.state == "skipped":
        return f"<skipped message={_attr(reasons[:_MOST_LETTERS])}/>"
    if result.state != "scored":
        return _element("error", result.state, reasons, _told(item, result))
    if result.passed:
        return ""
    return _element("failure", "wrong", reasons or "a grader did not pass it", _told(item, result))


def _element(tag: str, kind: str, message: str, body: str) -> str:
    head = f"<{tag} type={_attr(kind)} message={_attr(message[:_MOST_LETTERS])}>"
    return f"{head}{escape(safe(body))}</{tag}>"


def _told(item: Item, result: Result) -> str:
    asked = [content_text(message) for message in item.messages if message.get("role") == "user"]
    fields = json.dumps(item.item, ensure_ascii=False)
    parts = {"question": asked[-1] if asked else "", "item": fields, "answer": result.output}
    return "\n".join(f"{name}: {text[:_MOST_LETTERS]}" for name, text in parts.items() if text)


def _attr(text: str) -> str:
    return quoteattr(safe(text))
