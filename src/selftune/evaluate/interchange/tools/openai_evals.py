"""OpenAI's Evals API: evals, runs and output items, and the rows that the dashboard exports."""

from collections.abc import Sequence
from typing import Any

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput
from selftune.evaluate.evalfile import Model
from selftune.evaluate.interchange.criteria import checked_graders, without_null
from selftune.evaluate.interchange.found import (
    OPENAI,
    Found,
    FoundEval,
    Options,
    Row,
    different,
    name_of,
    object_at,
    rows_in,
)
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.openai_objects import Objects, collect, holds_objects
from selftune.evaluate.interchange.openai_results import (
    exported_round,
    grader_name,
    round_of,
    sampling_of,
    usable_items,
)
from selftune.evaluate.interchange.questions import (
    Question,
    lay_out,
    named,
    plain_messages,
    usable,
)
from selftune.evaluate.interchange.untrusted import Opened

TOOL = "OpenAI"
Placed = tuple[Row, str]


def claims(opened: Opened) -> bool:
    """Return whether there is an object of the Evals API in a file."""
    return opened.kind in ("json", "lines") and holds_objects(opened.documents)


def read(files: Sequence[Opened], gaps: Gaps, options: Options) -> list[Found]:
    """Return each eval with its runs."""
    objects = collect((document for each in files for document in each.documents), gaps)
    for run in objects.items:
        objects.runs.setdefault(run, {"id": run, "eval_id": _eval_of(objects.items[run])})
    alone = next(iter(objects.evals)) if len(objects.evals) == 1 else ""
    by_eval: dict[str, list[Row]] = {id: [] for id in objects.evals}
    for run_object in objects.runs.values():
        by_eval.setdefault(str(run_object.get("eval_id") or alone), []).append(run_object)
    found = [_found(id, runs, objects, gaps, options) for id, runs in by_eval.items()]
    if objects.exported:
        modified = max(each.modified for each in files)
        found.append(_exported(objects, modified, gaps, options))
    if not found:
        raise InvalidInput(
            f"{files[0].path} holds rows of data and no eval: give the eval's definition too."
        )
    return found


def _found(id: str, runs: list[Row], objects: Objects, gaps: Gaps, options: Options) -> Found:
    definition = objects.evals.get(id, {})
    name = name_of(definition.get("name"), id or "OpenAI eval")
    if not definition:
        gaps.part(
            f"eval {id!r} is not among the files: its runs become rounds, and there is no eval to "
            "run. Add what GET /evals/{id} answers"
        )
    criteria = _criteria(definition)
    runs = sorted(runs, key=lambda run: (str(run.get("created_at")), str(run.get("id"))))
    rounds = [
        round_of(run, list(objects.items[str(run["id"])].values()), criteria, options, gaps)
        for run in runs
        if str(run.get("id")) in objects.items
    ]
    for run in runs:
        if str(run.get("id")) not in objects.items:
            gaps.note(
                f"run {name_of(run.get('id'), 'unknown')} has no output items among the files: it "
                "makes no round"
            )
    evals = (_eval(name, definition, runs, objects, gaps, options),) if definition else ()
    kept = tuple(each for each in rounds if each.items)
    return Found(TOOL, name, tuple(each for each in evals if each is not None), kept)


def _eval(
    name: str, definition: Row, runs: list[Row], objects: Objects, gaps: Gaps, options: Options
) -> FoundEval | None:
    criteria = definition.get("testing_criteria")
    graders = checked_graders(
        [
            (
                {k: v for k, v in each.items() if k != "id"}
                | {"name": grader_name(each.get("name"))},
                f"{name}: testing_criteria[{number}]",
            )
            for number, each in enumerate(rows_in(criteria), start=1)
        ],
        gaps,
    )
    template, path = _template(runs, gaps)
    questions = _questions(runs, objects, path, template is None, gaps, options)
    if not questions:
        gaps.part(
            f"eval {name!r}: its questions are not among the files. Add its output items, or the "
            "JSONL file of its data source"
        )
        return None
    layout = lay_out(questions, template, options.id_field, gaps)
    if not layout.rows:
        return None
    is_given = any("sample" in row for row in layout.rows)
    return FoundEval(
        name=name,
        rows=layout.rows,
        evaluation={**layout.evaluation, **({} if is_given else _common(runs))},
        graders=graders,
        models=() if is_given else _models(runs, gaps),
        description=f"Imported from OpenAI: {name_of(definition.get('id'), 'a definition')}.",
    )


def _questions(
    runs: list[Row],
    objects: Objects,
    path: str | None,
    is_rendered: bool,
    gaps: Gaps,
    options: Options,
) -> list[Question]:
    """Return every item that any run asked, and those of the data source, once each."""
    found: dict[str, Question] = {}
    sources = [_saved(objects.data), *(_written(run) for run in runs)]
    sources += [
        _of_items(usable_items(list(objects.items[str(run["id"])].values()), options, Gaps()))
        for run in reversed(runs)
        if str(run.get("id")) in objects.items
    ]
    asks = any(object_at(run, "data_source").get("type") != "jsonl" for run in runs) or not runs
    for source in sources:
        rows = [each for each in source if usable(each[0], options.id_field, each[2], gaps)]
        names = named([fields for fields, _, _ in rows], options.id_field)
        for (fields, sample, place), id in zip(rows, names, strict=True):
            if id not in found:
                messages = _asked(fields, sample, path, is_rendered)
                given = None if asks else _given(sample)
                found[id] = Question(id, fields, place, messages, given)
    return list(found.values())


Source = list[tuple[Row, Row, str]]
"""Fields, sample and place of each item."""


def _saved(data: list[Placed]) -> Source:
    return [(row["item"], object_at(row, "sample"), place) for row, place in data]


def _written(run: Row) -> Source:
    content = object_at(run, "data_source", "source").get("content")
    id = name_of(run.get("id"), "run")
    return [
        (each.get("item", {}), object_at(each, "sample"), f"{id}: data_source[{number}]")
        for number, each in enumerate(rows_in(content), start=1)
    ]


def _of_items(placed: list[Placed]) -> Source:
    return [(item["datasource_item"], object_at(item, "sample"), place) for item, place in placed]


def _asked(fields: Row, sample: Row, path: str | None, is_rendered: bool) -> tuple[Row, ...] | None:
    """Return what was asked where no template says it: the item's own messages, or the sent ones."""
    value: Any = sample.get("input") if is_rendered and path is None else None
    if path is not None:
        value = fields
        for key in path.split(".")[1:]:
            value = value.get(key) if isinstance(value, dict) else None
    try:
        return None if value is None else plain_messages(value)
    except InvalidInput:
        return None


def _given(sample: Row) -> Row | None:
    if isinstance(sample.get("output_text"), str):
        return sample
    output = rows_in(sample.get("output"))
    said = output[-1].get("content") if output else None
    return {"output_text": said} if isinstance(said, str) else None


def _template(runs: list[Row], gaps: Gaps) -> tuple[tuple[Row, ...] | None, str | None]:
    """Return the last run's prompt: a template, or the path of the messages in the item."""
    given = [each for run in runs if (each := object_at(run, "data_source", "input_messages"))]
    if not given:
        return None, None
    if any(each != given[-1] for each in given):
        gaps.note("the runs have different prompts: the eval file has that of the last run")
    last = given[-1]
    if last.get("type") == "item_reference":
        return None, str(last.get("item_reference") or "")
    try:
        return plain_messages(last.get("template")), None
    except InvalidInput as error:
        gaps.note(f"{error.message.removesuffix('.')}: the questions are what was sent, as text")
        return None, None


def _common(runs: list[Row]) -> dict[str, Any]:
    """Return OpenAI's defaults where a run says nothing."""
    return {"temperature": 1.0, "seed": 42} if runs else {}


def _models(runs: list[Row], gaps: Gaps) -> tuple[Model, ...]:
    """Return each model that was asked, once for each way to ask it."""
    found: dict[str, tuple[str, Row]] = {}
    for run in runs:
        model = object_at(run, "data_source").get("model")
        if isinstance(model, str) and model:
            sampling = without_null(sampling_of(run), f"model {model!r}", gaps)
            found.setdefault(canonical_json([model, sampling]), (model, sampling))
    names = different([name_of(model, "model") for model, _ in found.values()])
    return tuple(
        Model(name=name, model=model, base_url=OPENAI, sampling=sampling)
        for name, (model, sampling) in zip(names, found.values(), strict=True)
    )


def _criteria(definition: Row) -> tuple[Row, ...]:
    found = rows_in(definition.get("testing_criteria"))
    names = different([grader_name(each.get("name")) for each in found])
    return tuple(
        {k: v for k, v in each.items() if v is not None} | {"name": name}
        for each, name in zip(found, names, strict=True)
    )


def _eval_of(items: dict[str, Placed]) -> str:
    return next((str(item.get("eval_id") or "") for item, _ in items.values()), "")


def _exported(objects: Objects, modified: int, gaps: Gaps, options: Options) -> Found:
    gaps.part(
        "rows of the dashboard's export carry no prompts, models and graders: they become rounds, "
        "and there is no eval to run. Add the eval and its runs as the API returns them"
    )
    placed = [row for rows in objects.exported.values() for row in rows]
    if not all(isinstance(row.get("passes"), dict) for row, _ in placed):
        gaps.note("rows without `passes`: a grade of 1 and more counts as passed")
    rounds = [
        exported_round(run, rows, modified, options, gaps) for run, rows in objects.exported.items()
    ]
    return Found(TOOL, "OpenAI export", (), tuple(each for each in rounds if each.items))
