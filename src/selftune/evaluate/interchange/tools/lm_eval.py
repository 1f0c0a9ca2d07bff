"""lm-evaluation-harness: `results_*.json` with the `samples_*.jsonl` that --log_samples writes."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.criteria import checked_graders
from selftune.evaluate.interchange.found import (
    Found,
    FoundEval,
    FoundRound,
    Options,
    Row,
    count_of,
    name_of,
    object_at,
    rows_in,
)
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.lm_eval_samples import Answered, answered_of, metrics_of
from selftune.evaluate.interchange.questions import Question, lay_out, named, usable
from selftune.evaluate.interchange.scores import score_of, state_of
from selftune.evaluate.interchange.untrusted import Opened
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import ArmRecord

TOOL = "lm-eval"
_SAMPLES = re.compile(r"samples_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")
_FIRST = frozenset(("doc_id", "doc", "resps", "filtered_resps"))
_PLAIN_FILTERS = ("none", "")


def claims(opened: Opened) -> bool:
    """Return whether a file is one of results or of samples."""
    first = opened.first
    if opened.kind == "lines":
        return first.keys() >= _FIRST
    return (
        opened.kind == "json"
        and {"results", "configs"} <= first.keys()
        and (isinstance(first["results"], dict))
    )


def read(files: Sequence[Opened], gaps: Gaps, options: Options) -> list[Found]:
    """Return the eval and the round of each file of samples."""
    results = [each for each in files if each.kind == "json"]
    samples = [each for each in files if each.kind == "lines"]
    if not samples:
        raise InvalidInput(
            f"{files[0].path} has totals and no samples: run lm-eval with --log_samples, and give "
            "the samples_*.jsonl files too."
        )
    return [_read(each, results, gaps, options) for each in samples]


def _read(opened: Opened, results: Sequence[Opened], gaps: Gaps, options: Options) -> Found:
    match = _SAMPLES.fullmatch(opened.path.name)
    task = name_of(match["task"] if match else None, opened.path.stem)
    whole = _results_of(opened, task, match["date"] if match else "", results)
    if not whole:
        gaps.note(
            "no results_*.json of this run is among the files: model and time are unknown",
            opened.path.name,
        )
    rows = [
        (d.value, d.place)
        for d in opened.documents
        if usable(d.value.get("doc"), options.id_field, d.place, gaps)
    ]
    answers = _answers(rows)
    if not answers:
        raise InvalidInput(f"{opened.path} holds no sample that can be used.")
    ids = dict(
        zip(answers, named([a.fields for a in answers.values()], options.id_field), strict=True)
    )
    made = _eval(task, whole, answers, ids, options, gaps)
    return Found(
        TOOL,
        task,
        () if made is None else (made,),
        (_round(task, whole, opened, answers, ids, gaps),),
    )


def _results_of(opened: Opened, task: str, date: str, results: Sequence[Opened]) -> Row:
    """Return the totals of the same run: by folder and date, else the only ones with the task."""
    for each in results:
        if date and each.path.parent == opened.path.parent and date in each.path.name:
            return each.first
    fitting = [each.first for each in results if task in object_at(each.first, "results")]
    return fitting[0] if len(fitting) == 1 else {}


def _answers(rows: Sequence[tuple[Row, str]]) -> dict[str, Answered]:
    """Return one answer for each item; each filter of a task has a row of its own."""
    found: dict[str, Answered] = {}
    for row, place in rows:
        key = str(row.get("doc_id"))
        answer = answered_of(row, place)
        known = found.get(key)
        found[key] = answer if known is None else known.joined(answer)
    return found


def _round(
    task: str,
    whole: Row,
    opened: Opened,
    answers: dict[str, Answered],
    ids: dict[str, str],
    gaps: Gaps,
) -> FoundRound:
    model = name_of(whole.get("model_name") or _argument(whole, "model"), "unknown")
    kept = metrics_of(list(answers.values()), object_at(whole, "higher_is_better", task), gaps)
    items, results = [], []
    for number, (key, answer) in enumerate(answers.items(), start=1):
        missing = score_of(None, reason="the file has no such metric of this sample")
        scores = tuple(answer.scores.get(name, missing) for name in kept)
        items.append(
            Item(index=number, id=ids[key], item=answer.fields, messages=answer.asked or ())
        )
        results.append(
            Result(
                index=number,
                item=ids[key],
                arm=model,
                state=state_of(scores),
                output=answer.output,
                finish="answered",
                scores=scores,
            )
        )
    created = _moment(whole.get("date"), opened.modified)
    return FoundRound(
        key=fingerprint([task, model, created, [r.output for r in results]]),
        arms=(ArmRecord(name=model, model=model, sampling=_sampling(whole, task)),),
        graders=tuple({"type": "lm-eval", "name": name} for name in kept),
        items=tuple(items),
        results=tuple(results),
        created_at=created,
        facts={"lm-eval's task": task},
    )


def _eval(
    task: str,
    whole: Row,
    answers: dict[str, Answered],
    ids: dict[str, str],
    options: Options,
    gaps: Gaps,
) -> FoundEval | None:
    if any(answer.asked is None for answer in answers.values()):
        gaps.part(
            f"task {task!r} compares likelihoods of given answers, and asks no question: it makes a "
            "round and no eval"
        )
        return None
    if any(not answer.is_chat for answer in answers.values()):
        gaps.note("prompts that lm-eval sent as plain text are the user's messages here")
    questions = [
        Question(ids[key], {**answer.fields, "target": answer.target}, answer.place, answer.asked)
        for key, answer in answers.items()
    ]
    layout = lay_out(questions, None, options.id_field, gaps)
    words = _sampling(whole, task)
    evaluation: Row = {key: words[key] for key in ("temperature", "max_tokens") if key in words}
    if "stop" in words:
        gaps.part(f"task {task!r}: `until`: write `stop` under [models.sampling] of each model")
    return FoundEval(
        name=task,
        rows=layout.rows,
        evaluation={**layout.evaluation, **evaluation},
        graders=checked_graders(_graders(task, whole, answers, gaps), gaps),
        description="Imported from lm-eval.",
    )


def _graders(
    task: str, whole: Row, answers: dict[str, Answered], gaps: Gaps
) -> list[tuple[Row, str]]:
    """Return `exact_match` without options or filters as a comparison; the others as gaps."""
    config = object_at(whole, "configs", task)
    known = {str(m.get("metric")): m for m in rows_in(config.get("metric_list"))}
    found: list[tuple[Row, str]] = []
    for name in dict.fromkeys(name for answer in answers.values() for name in answer.scores):
        metric, _, filter_name = name.partition(",")
        options = set(known.get(metric, {"?": 1})) - {"metric", "aggregation", "higher_is_better"}
        is_plain = metric == "exact_match" and filter_name in _PLAIN_FILTERS and not options
        if not is_plain or not all(isinstance(a.target, str) for a in answers.values()):
            gaps.part(
                f"metric {name_of(name, 'metric')!r}: it has its own way to compare; write a "
                "grader under [[evaluation.graders]]"
            )
            continue
        grader = {
            "type": "string_check",
            "name": metric,
            "reference": "{{ item.target }}",
            "operation": "eq",
        }
        found.append((grader, task))
    return found


def _sampling(whole: Row, task: str) -> Row:
    given = object_at(whole, "configs", task, "generation_kwargs")
    words: Row = {}
    if isinstance(given.get("temperature"), int | float) and 0 <= given["temperature"] <= 2:
        words["temperature"] = float(given["temperature"])
    limit = count_of(given.get("max_gen_toks") or given.get("max_tokens"))
    if limit:
        words["max_tokens"] = limit
    if given.get("until"):
        words["stop"] = given["until"]
    return words


def _argument(whole: Row, name: str) -> Any:
    arguments = object_at(whole, "config").get("model_args")
    if isinstance(arguments, dict):
        return arguments.get(name) or arguments.get("pretrained")
    for part in str(arguments or "").split(","):
        key, _, value = part.partition("=")
        if key.strip() in (name, "pretrained"):
            return value.strip()
    return None


def _moment(value: Any, otherwise: int) -> int:
    try:
        return int(datetime.fromtimestamp(float(value), UTC).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return otherwise
