"""Each object of an account as a thing with an end, traces of its use, and what is wrong with it."""

from collections import defaultdict
from collections.abc import Iterator

from selftune.models.listed import base_of, is_tuned, time_of
from selftune.rescue.archive.format import Kind
from selftune.rescue.archive.naming import files_of_batch, files_of_job, files_of_run
from selftune.rescue.inventory import Found, Object, Thing, day_of
from selftune.rescue.shutdowns import Calendar, End

_MOST_TRACES = 5


class _Traces:
    """What names what, newest first."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[int, str]]] = defaultdict(list)

    def add(self, name: object, when: int, what: str) -> None:
        """Note that something named a model or a file."""
        if isinstance(name, str) and name:
            self._found[name].append((when, what))

    def of(self, thing: Thing) -> Thing:
        """Return a thing with the newest of its traces, and how many there are."""
        found = sorted(self._found.get(thing.id, ()), reverse=True)
        shown = (f"{day_of(when)} {what}" if when else what for when, what in found[:_MOST_TRACES])
        return thing.model_copy(update={"used": tuple(shown), "uses": len(found)})


def things_of(found: Found, calendar: Calendar) -> Iterator[Thing]:
    """Yield everything that the account has and that is named one by one."""
    traces = _traces(found)
    return (traces.of(thing) for thing in _all_of(found, calendar))


def _all_of(found: Found, calendar: Calendar) -> Iterator[Thing]:
    yield from _models(found, calendar)
    yield from _jobs(found, calendar)
    for file in found.files:
        expires = time_of(file.get("expires_at"))
        end = End() if expires is None else calendar.of_expiry(expires)
        yield _thing("file", file, end, name=file.get("filename"))
    of_evals = calendar.of_kind("eval")
    for made in found.evals:
        yield _thing("eval", made, of_evals, name=made.get("name"))
    for run in found.runs:
        parent = _text(run, "eval_id")
        yield _thing("eval_run", run, of_evals, name=run.get("name"), parent=parent)
    for batch in found.batches:
        yield _thing("batch", batch, calendar.of_kind("batch"), name=batch.get("endpoint"))
    for completion in found.completions:
        end = calendar.of_completion(_made(completion))
        yield _thing("completion", completion, end, name=completion.get("model"))


def _models(found: Found, calendar: Calendar) -> Iterator[Thing]:
    jobs = _makers(found)
    there = {_id(file) for file in found.files}
    for model in found.models:
        name = _id(model)
        if not is_tuned(name):
            continue
        job = jobs.get(name)
        problems = []
        if job is None:
            if not any(what.startswith(("jobs", "the checkpoints")) for what in found.refused):
                problems.append("no job of this account made it: its training file cannot be told")
        elif _text(job, "training_file") not in there and "files" not in found.refused:
            problems.append(f"its training file {_text(job, 'training_file')} is gone")
        base = base_of(name)
        end = calendar.of_model(base, model)
        yield _thing("model", model, end, name=base, problems=tuple(problems))


def _makers(found: Found) -> dict[str | None, Object]:
    """Return the job of each model and of each checkpoint that is a model, by its name."""
    jobs: dict[str | None, Object] = {}
    for job in found.jobs:
        for checkpoint in found.checkpoints.get(_id(job), ()):
            jobs[_text(checkpoint, "fine_tuned_model_checkpoint")] = job
        jobs[_text(job, "fine_tuned_model")] = job
    return jobs


def _jobs(found: Found, calendar: Calendar) -> Iterator[Thing]:
    end = calendar.of_kind("job")
    known = {_id(model): model for model in found.models}
    for job in found.jobs:
        model = _text(job, "fine_tuned_model")
        problems = []
        if model and model not in known and "models" not in found.refused:
            problems.append(f"its model {model} is gone")
        shown = model or _text(job, "model")
        yield _thing("job", job, end, name=shown, problems=tuple(problems))
        for checkpoint in found.checkpoints.get(_id(job), ()):
            served = _text(checkpoint, "fine_tuned_model_checkpoint")
            base = base_of(_text(job, "model") or "")
            of_model = calendar.of_model(base, known.get(served or model or ""))
            yield _thing("checkpoint", checkpoint, of_model, name=served, parent=_id(job))


def _traces(found: Found) -> _Traces:
    """Note what names models, files and evals."""
    traces = _Traces()
    for completion in found.completions:
        traces.add(completion.get("model"), _made(completion) or 0, "in a stored completion")
    for run in found.runs:
        when, what = _made(run) or 0, f"in the eval run {_id(run)}"
        traces.add(run.get("model"), when, what)
        traces.add(run.get("eval_id"), when, f"run as {_id(run)}")
        for file in files_of_run(run):
            traces.add(file, when, what)
    for batch in found.batches:
        when, what = _made(batch) or 0, f"in the batch {_id(batch)}"
        traces.add(batch.get("model"), when, what)
        for file in files_of_batch(batch):
            traces.add(file, when, what)
    for job in found.jobs:
        when, what = _made(job) or 0, f"in the job {_id(job)}"
        traces.add(job.get("model"), when, f"trained on by {_id(job)}")
        for file in files_of_job(job):
            traces.add(file, when, what)
    return traces


def _thing(
    kind: Kind,
    value: Object,
    end: End,
    *,
    name: object = None,
    parent: str | None = None,
    **rest: tuple[str, ...],
) -> Thing:
    size = value.get("bytes")
    return Thing(
        kind=kind,
        id=_id(value),
        name=name if isinstance(name, str) else "",
        parent=parent,
        purpose=_text(value, "purpose"),
        status=_text(value, "status"),
        created_at=_made(value),
        bytes=size if isinstance(size, int) else None,
        ends_on=end.on,
        why=end.why,
        **rest,
    )


def _id(value: Object) -> str:
    return str(value.get("id"))


def _text(value: Object, name: str) -> str | None:
    found = value.get(name)
    return found if isinstance(found, str) and found else None


def _made(value: Object) -> int | None:
    return time_of(value.get("created_at", value.get("created")))
