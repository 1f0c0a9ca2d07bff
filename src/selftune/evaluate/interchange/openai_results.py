"""Runs of OpenAI's Evals API -> rounds."""

import json
import re
from collections.abc import Sequence
from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.found import (
    OPENAI,
    FoundRound,
    Options,
    Row,
    name_of,
    object_at,
    rows_in,
    usage_of,
)
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.openai_objects import position
from selftune.evaluate.interchange.questions import named, plain_messages, usable
from selftune.evaluate.interchange.scores import score_of, state_of
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import ArmRecord
from selftune.evaluate.scorer import Graded

Placed = tuple[Row, str]
_UUID = re.compile(r"-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
_FINISHES = {"length": "cut", "max_tokens": "cut", "content_filter": "refused"}


def grader_name(name: Any) -> str:
    """Return a grader's name as it was given; the API puts a random id behind it."""
    return name_of(_UUID.sub("", str(name or "")), "grader")


def sampling_of(run: Row) -> Row:
    """Return a run's sampling in the words of the chat API."""
    given = object_at(run, "data_source", "sampling_params")
    words = {key: value for key, value in given.items() if value is not None}
    limit = words.pop("max_completions_tokens", None)
    if limit is not None:
        words.setdefault("max_completion_tokens", limit)
    shape = object_at(words.pop("text", None), "format")
    if shape.get("type") == "json_schema":
        inner = {key: value for key, value in shape.items() if key != "type"}
        words["response_format"] = {"type": "json_schema", "json_schema": inner}
    elif shape.get("type") == "json_object":
        words["response_format"] = shape
    tools = [_chat_tool(tool) for tool in rows_in(words.pop("tools", None))]
    return words | ({"tools": tools} if tools else {})


def usable_items(placed: Sequence[Placed], options: Options, gaps: Gaps) -> list[Placed]:
    """Return output items in the order of their data source; others become gaps."""
    found = [
        (item, place)
        for item, place in placed
        if usable(item.get("datasource_item", item.get("item")), options.id_field, place, gaps)
    ]
    return [p for _, p in sorted(enumerate(found), key=lambda e: (position(e[1][0], e[0]), e[0]))]


def round_of(
    run: Row, placed: Sequence[Placed], criteria: Sequence[Row], options: Options, gaps: Gaps
) -> FoundRound:
    """Return a run of the API with its output items."""
    placed = usable_items(placed, options, gaps)
    model = _model_of(run, placed)
    names = named([item["datasource_item"] for item, _ in placed], options.id_field)
    graders = tuple(criteria) or _unknown_graders(placed)
    items, results = [], []
    for number, ((item, _), name) in enumerate(zip(placed, names, strict=True), start=1):
        sample = object_at(item, "sample")
        items.append(
            Item(
                index=number,
                id=name,
                item=item["datasource_item"],
                messages=_asked(sample.get("input")),
            )
        )
        results.append(_result(item, sample, model, items[-1], graders))
    status, reason = _ending(run, len(placed))
    return FoundRound(
        key=str(run.get("id") or fingerprint([item.get("id") for item, _ in placed])),
        arms=(
            ArmRecord(
                name=model,
                model=model,
                place=OPENAI,
                note=name_of(run.get("name"), ""),
                sampling=sampling_of(run),
            ),
        ),
        graders=graders,
        items=tuple(items),
        results=tuple(results),
        created_at=_time(run.get("created_at")) or 0,
        status="completed" if status else "stopped",
        reason=reason,
        facts={"OpenAI's run": name_of(run.get("id"), "unknown")},
    )


def exported_round(
    run: str, placed: Sequence[Placed], modified: int, options: Options, gaps: Gaps
) -> FoundRound:
    """Return a run of the dashboard's export, which says nothing of prompts, model and graders.

    It does not say when it was made either: `modified`, of the file, stands for it.
    """
    placed = usable_items(placed, options, gaps)
    names = named([row["item"] for row, _ in placed], options.id_field)
    graders = sorted({str(name) for row, _ in placed for name in row["grades"]})
    arm = name_of(run, "unknown run")
    items, results = [], []
    for number, ((row, _), name) in enumerate(zip(placed, names, strict=True), start=1):
        sample, passes = object_at(row, "sample"), object_at(row, "passes")
        items.append(Item(index=number, id=name, item=row["item"]))
        scores = tuple(
            score_of(row["grades"].get(each), _truth(passes.get(each))) for each in graders
        )
        reason = _error_of(sample)
        results.append(
            Result(
                index=number,
                item=name,
                arm=arm,
                state="unanswered" if reason else state_of(scores),
                output=_said(sample.get("outputs")),
                finish=_finish(sample, bool(reason)),
                reason=reason,
                scores=() if reason else scores,
                usage=_usage(sample.get("token_usage")),
            )
        )
    return FoundRound(
        key=run,
        arms=(ArmRecord(name=arm, model="unknown", place=OPENAI),),
        graders=tuple({"type": "imported", "name": grader_name(name)} for name in graders),
        items=tuple(items),
        results=tuple(results),
        created_at=modified,
        facts={"OpenAI's run": arm},
    )


def _result(item: Row, sample: Row, arm: str, asked: Item, graders: Sequence[Row]) -> Result:
    entries = {str(each.get("name")): each for each in rows_in(item.get("results"))}
    plain = {grader_name(name): entry for name, entry in entries.items()}
    scores = tuple(
        _graded(entries.get(str(g.get("id"))) or plain.get(g["name"]), g) for g in graders
    )
    reason = _error_of(sample)
    output = _said(sample.get("output"))
    is_unanswered = bool(reason) and not output
    return Result(
        index=asked.index,
        item=asked.id,
        arm=arm,
        state="unanswered" if is_unanswered else state_of(scores),
        output=output,
        finish=_finish(sample, is_unanswered),
        reason=reason,
        model=name_of(sample.get("model"), ""),
        scores=() if is_unanswered else scores,
        usage=_usage(sample.get("usage")),
    )


def _graded(entry: Row | None, grader: Row) -> Graded:
    if entry is None:
        return score_of(None, reason="the run has no result of this grader")
    bounds = grader.get("range")
    scale = (0.0, 1.0)
    if isinstance(bounds, list) and len(bounds) == 2 and score_of(bounds[0]).value is not None:
        scale = (float(bounds[0]), score_of(bounds[1]).value or 0.0)
    return score_of(entry.get("score"), _truth(entry.get("passed")), bounds=scale)


def _unknown_graders(placed: Sequence[Placed]) -> tuple[Row, ...]:
    found = {
        grader_name(entry.get("name")): name_of(entry.get("type"), "imported")
        for item, _ in placed
        for entry in rows_in(item.get("results"))
    }
    return tuple({"type": kind, "name": name} for name, kind in found.items())


def _ending(run: Row, count: int) -> tuple[bool, str]:
    """Return whether a run is complete, and what is missing."""
    total = object_at(run, "result_counts").get("total")
    if run and run.get("status") not in ("completed", None):
        said = object_at(run, "error").get("message")
        return False, name_of(f"{run['status']}: {said}" if said else run["status"], "stopped")
    if isinstance(total, int) and total > count:
        return False, f"the files hold {count:,} of {total:,} output items"
    return True, ""


def _model_of(run: Row, placed: Sequence[Placed]) -> str:
    sampled = (object_at(item, "sample").get("model") for item, _ in placed)
    given = object_at(run, "data_source").get("model") or run.get("model")
    return name_of(given or next((model for model in sampled if model), None), "unknown")


def _asked(messages: Any) -> tuple[Row, ...]:
    try:
        return plain_messages(messages)
    except InvalidInput:
        return ()


def _said(outputs: Any) -> str:
    """Return the last text of the output messages; what is no text is shown as JSON."""
    messages = rows_in(outputs)
    content = messages[-1].get("content") if messages else outputs
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = "".join(str(part.get("text") or "") for part in rows_in(content))
    if content is None or isinstance(content, str):
        return content or ""
    return json.dumps(content, ensure_ascii=False) if content else ""


def _error_of(sample: Row) -> str:
    error = sample.get("error")
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    return str(error)[:2_000] if error else ""


def _finish(sample: Row, is_unanswered: bool) -> str:
    if is_unanswered:
        return "failed"
    return _FINISHES.get(str(sample.get("finish_reason")), "answered")


def _usage(usage: Any) -> Any:
    given = usage if isinstance(usage, dict) else {}
    return usage_of(
        given.get("prompt_tokens"), given.get("completion_tokens"), given.get("cached_tokens")
    )


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _time(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**40 else None


def _chat_tool(tool: Row) -> Row:
    """Return a tool of the Responses API as the chat API has it."""
    if tool.get("type") == "function" and "function" not in tool:
        inner = {key: value for key, value in tool.items() if key != "type"}
        return {"type": "function", "function": inner}
    return tool
