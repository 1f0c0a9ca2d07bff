"""promptfoo's results: what `promptfoo eval -o` and `promptfoo export` write, of any version."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.found import (
    Found,
    FoundRound,
    Options,
    Row,
    name_of,
    object_at,
    rows_in,
)
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.promptfoo_config import (
    Prompt,
    models_of,
    prompt_of,
    tests_of,
)
from selftune.evaluate.interchange.promptfoo_evals import evals_of
from selftune.evaluate.interchange.promptfoo_rows import read_rows
from selftune.evaluate.interchange.untrusted import Opened

TOOL = "promptfoo"


def claims(opened: Opened) -> bool:
    """Return whether a file is one of results."""
    if opened.kind == "lines":
        return {"gradingResult", "provider", "prompt"} <= opened.first.keys()
    return opened.kind == "json" and _rows(opened.first) is not None


def read(files: Sequence[Opened], gaps: Gaps, options: Options) -> list[Found]:
    """Return the eval and the round of each file."""
    return [_read(each, gaps, options) for each in files]


def _read(opened: Opened, gaps: Gaps, options: Options) -> Found:
    whole, place = opened.first if opened.kind == "json" else {}, opened.path.name
    placed = [(each.value, each.place) for each in opened.documents]
    if opened.kind == "json":
        placed = [(r, f"{place}: results[{n}]") for n, r in enumerate(_rows(whole) or [], start=1)]
    rows = read_rows(placed, options, gaps)
    if not rows.results:
        raise InvalidInput(f"{opened.path} holds no result of promptfoo that can be used.")
    config = object_at(whole, "config")
    name = name_of(config.get("description"), opened.path.stem)
    facts = {"promptfoo's eval": name_of(whole.get("evalId"), "unknown")}
    if rows.is_timed:
        facts["latency"] = "as promptfoo measured it, waiting included"
    made = FoundRound(
        key=str(whole.get("evalId") or fingerprint([r.model_dump() for r in rows.results])),
        arms=rows.arms,
        graders=rows.graders,
        items=rows.items,
        results=rows.results,
        created_at=_moment(whole, opened.modified),
        samples=rows.samples,
        facts=facts,
    )
    prompts = _prompts(whole, place, gaps)
    tests = tests_of(
        {**config, "tests": list(rows.tests), "defaultTest": None}, opened.path.parent, place, gaps
    )
    models = models_of(config.get("providers"), place, gaps)
    evals = evals_of(name, list(tests), prompts, models, options, gaps) if prompts else []
    return Found(TOOL, name, tuple(evals), (made,))


def _rows(whole: Row) -> list[Any] | None:
    """Return the results, wherever the version has them."""
    for holder in (object_at(whole, "results"), whole):
        found = rows_in(holder.get("results"))
        if found and all("prompt" in each and "provider" in each for each in found):
            return list(holder["results"])
    return None


def _prompts(whole: Row, place: str, gaps: Gaps) -> list[Prompt]:
    """Return the templates of the prompts; a file of rows has none."""
    results = object_at(whole, "results")
    given = rows_in(results.get("prompts")) or rows_in(
        object_at(results, "table", "head").get("prompts")
    )
    if not given:
        gaps.part("the file has no templates of prompts: there is no eval to run", place)
    found: dict[str, Prompt] = {}
    for each in given:
        text = str(each.get("raw") or "")
        label = str(each.get("label") or each.get("display") or "")
        try:
            found.setdefault(text, prompt_of(label, text, len(found) + 1))
        except InvalidInput as error:
            gaps.part(f"prompt: {error.message}", place)
    return list(found.values())


def _moment(whole: Row, otherwise: int) -> int:
    for value in (object_at(whole, "results").get("timestamp"), whole.get("createdAt")):
        if isinstance(value, int) and 0 < value < 2**52:
            return value // 1000
        try:
            return int(datetime.fromisoformat(str(value)).timestamp())
        except (ValueError, OverflowError):
            continue
    return otherwise
