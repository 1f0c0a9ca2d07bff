"""inspect_ai's logs, `.eval` and `.json`, read without inspect_ai."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.evalfile import Model
from selftune.evaluate.interchange.archive import Archive
from selftune.evaluate.interchange.criteria import checked_graders, without_null
from selftune.evaluate.interchange.found import (
    OPENAI,
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
from selftune.evaluate.interchange.inspect_samples import Sample, sample_of
from selftune.evaluate.interchange.questions import Question, lay_out, named, usable
from selftune.evaluate.interchange.scores import score_of, state_of
from selftune.evaluate.interchange.untrusted import Opened
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import ArmRecord

TOOL = "inspect_ai"
_SAMPLING = ("temperature", "top_p", "max_tokens", "seed", "reasoning_effort", "stop_seqs")
_STARTED = "_journal/start.json"


def claims(opened: Opened) -> bool:
    """Return whether a file is a log."""
    if opened.kind == "zip":
        with Archive(opened.path) as archive:
            return not {"header.json", _STARTED}.isdisjoint(archive.names)
    return opened.kind == "json" and {"eval", "status", "version"} <= opened.first.keys()


def read(files: Sequence[Opened], gaps: Gaps, options: Options) -> list[Found]:
    """Return the eval and the round of each log."""
    return [_read(each, gaps, options) for each in files]


def _read(opened: Opened, gaps: Gaps, options: Options) -> Found:
    log, samples = _parts(opened, gaps, options)
    if not samples:
        raise InvalidInput(f"{opened.path} holds no sample that can be used.")
    spec = object_at(log, "eval")
    name = name_of(spec.get("task"), opened.path.stem)
    order = object_at(spec, "dataset").get("sample_ids")
    places = {str(id): number for number, id in enumerate(order if isinstance(order, list) else ())}
    samples.sort(key=lambda s: (s.epoch, places.get(str(s.fields["sample_id"]), len(places))))
    firsts: dict[str, Sample] = {}
    for sample in samples:
        firsts.setdefault(sample.key, sample)
    ids = dict(
        zip(
            firsts,
            named([s.identity(options.id_field) for s in firsts.values()], options.id_field),
            strict=True,
        )
    )
    graders = list(dict.fromkeys(n for sample in samples for n in sample.scores))
    made = _eval(name, log, list(firsts.values()), ids, gaps, options)
    return Found(
        TOOL,
        name,
        () if made is None else (made,),
        (_round(log, opened, samples, ids, graders),),
    )


def _parts(opened: Opened, gaps: Gaps, options: Options) -> tuple[Row, list[Sample]]:
    """Return the log without its samples, and the samples, each reduced to what is needed."""
    if opened.kind != "zip":
        log, model = opened.first, _model(opened.first)
        given = rows_in(log.get("samples"))
        placed = [(v, f"{opened.path.name}: samples[{n}]") for n, v in enumerate(given, start=1)]
        return log, list(_samples(placed, model, gaps, options))
    with Archive(opened.path) as archive:
        header = "header.json" if "header.json" in archive.names else _STARTED
        log = archive.json(header)
        if not isinstance(log, dict):
            raise InvalidInput(f"{opened.path}: {header} is not an object.")
        if header == _STARTED:
            gaps.note("the log was never finished: it has the samples that were", opened.path.name)
        members = (
            (name, f"{opened.path.name}: {name}")
            for name in archive.names
            if name.startswith("samples/") and name.endswith(".json")
        )
        loaded = _loaded(archive, members, gaps)
        return log, list(_samples(loaded, _model(log), gaps, options))


def _loaded(
    archive: Archive, members: Iterator[tuple[str, str]], gaps: Gaps
) -> Iterator[tuple[Any, str]]:
    for name, place in members:
        try:
            yield archive.json(name), place
        except InvalidInput as error:
            gaps.row(error.message.removeprefix(place).strip(" .:"), place)


def _samples(
    placed: "Iterator[tuple[Any, str]] | Sequence[tuple[Any, str]]",
    model: str,
    gaps: Gaps,
    options: Options,
) -> Iterator[Sample]:
    for value, place in placed:
        if not isinstance(value, dict):
            gaps.row("a sample is not an object", place)
            continue
        sample = sample_of(value, model, place)
        if usable(sample.identity(options.id_field), options.id_field, place, gaps) and usable(
            sample.fields, None, place, gaps
        ):
            yield sample


def _model(log: Row) -> str:
    return str(object_at(log, "eval").get("model") or "")


def _round(
    log: Row, opened: Opened, samples: list[Sample], ids: dict[str, str], graders: list[str]
) -> FoundRound:
    spec = object_at(log, "eval")
    model = name_of(spec.get("model"), "unknown")
    numbers = {key: number for number, key in enumerate(ids, start=1)}
    firsts = {sample.key: sample for sample in reversed(samples)}
    status = log.get("status", "started")
    created = _moment(spec.get("created"), opened.modified)
    return FoundRound(
        key=str(spec.get("eval_id") or spec.get("run_id") or opened.path.name),
        arms=(ArmRecord(name=model, model=model, sampling=_sampling(log)),),
        graders=tuple({"type": TOOL, "name": name_of(name, "scorer")} for name in graders),
        items=tuple(
            Item(
                index=numbers[key], id=id, item=firsts[key].fields, messages=firsts[key].asked or ()
            )
            for key, id in ids.items()
        ),
        results=tuple(_result(s, numbers[s.key], ids[s.key], model, graders) for s in samples),
        created_at=created,
        finished_at=_moment(object_at(log, "stats").get("completed_at"), created),
        status="completed" if status == "success" else "stopped",
        reason="" if status == "success" else name_of(status, "started"),
        samples=1 + max(sample.epoch for sample in samples),
        facts={"inspect_ai's task": name_of(spec.get("task"), "unknown")},
    )


def _result(sample: Sample, number: int, id: str, arm: str, graders: list[str]) -> Result:
    is_unanswered = bool(sample.error) and not sample.scores
    missing = score_of(None, reason="the log has no score of this scorer")
    scores = () if is_unanswered else tuple(sample.scores.get(n, missing) for n in graders)
    return Result(
        index=number,
        item=id,
        arm=arm,
        sample=sample.epoch,
        state="unanswered" if is_unanswered else state_of(scores),
        output=sample.output,
        finish="failed" if is_unanswered else sample.finish,
        reason=sample.error,
        model=sample.model,
        scores=scores,
        usage=sample.usage,
        timing=sample.timing,
    )


def _eval(
    name: str,
    log: Row,
    firsts: list[Sample],
    ids: dict[str, str],
    gaps: Gaps,
    options: Options,
) -> FoundEval | None:
    questions = []
    for sample in firsts:
        if sample.asked is None:
            gaps.row(
                "what was asked is not one chat of text (tools, turns or pictures): the eval lacks "
                "it, the round has it",
                sample.place,
            )
        else:
            questions.append(
                Question(ids[sample.key], sample.fields, sample.place, messages=sample.asked)
            )
    if not questions:
        return None
    layout = lay_out(questions, None, options.id_field, gaps)
    if not layout.rows:
        return None
    epochs = count_of(object_at(log, "eval", "config").get("epochs")) or 1
    several = {"samples": min(epochs, 1000)} if epochs > 1 else {}
    return FoundEval(
        name=name,
        rows=layout.rows,
        evaluation={**layout.evaluation, **several},
        graders=checked_graders(_graders(log, firsts, gaps), gaps),
        models=_models(log, gaps),
        description="Imported from inspect_ai.",
    )


def _graders(log: Row, firsts: list[Sample], gaps: Gaps) -> list[tuple[Row, str]]:
    """Return the scorers that judge alike here: `includes`; the others normalise in their own way."""
    found = []
    for scorer in rows_in(object_at(log, "eval").get("scorers")):
        name = name_of(scorer.get("name"), "scorer").removeprefix("inspect_ai/")
        options = object_at(scorer, "options")
        one_target = all(isinstance(sample.fields.get("target"), str) for sample in firsts)
        if name != "includes" or not one_target or not set(options) <= {"ignore_case"}:
            why = "it has its own way to compare" if one_target else "a sample has several targets"
            gaps.part(f"scorer {name!r}: {why}; write a grader under [[evaluation.graders]]")
            continue
        operation = "like" if options.get("ignore_case") is False else "ilike"
        reference = {"reference": "{{ item.target }}", "operation": operation}
        found.append(({"type": "string_check", "name": name, **reference}, name))
    if not found:
        gaps.part("no scorer has a counterpart: the questions are kept without an eval file")
    return found


def _models(log: Row, gaps: Gaps) -> tuple[Model, ...]:
    model = _model(log)
    if not model.startswith("openai/"):
        gaps.part(f"model {name_of(model, 'unknown')!r}: write under [[models]] where it answers")
        return ()
    given = object_at(log, "eval").get("model_base_url")
    if isinstance(given, str):
        gaps.note(
            f"questions, and the key, go to {name_of(given, 'an address')}: see that you want it"
        )
    return (
        Model(
            model=model.removeprefix("openai/"),
            base_url=given if isinstance(given, str) else OPENAI,
            sampling=without_null(_sampling(log), f"model {model!r}", gaps),
        ),
    )


def _sampling(log: Row) -> Row:
    given = {
        **object_at(log, "plan", "config"),
        **object_at(log, "eval", "model_generate_config"),
    }
    words = {key: given[key] for key in _SAMPLING if given.get(key) is not None}
    if "stop_seqs" in words:
        words["stop"] = words.pop("stop_seqs")
    return words


def _moment(value: Any, otherwise: int) -> int:
    try:
        return int(datetime.fromisoformat(str(value)).timestamp())
    except (ValueError, OverflowError):
        return otherwise
