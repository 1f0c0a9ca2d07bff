"""Which files an object names: they may be in no list, and are wanted all the same."""

from selftune.rescue.archive.source import Object


def files_of_job(job: Object) -> list[str]:
    """Return the ids of the files that a job read and wrote."""
    results = job.get("result_files")
    found = [job.get("training_file"), job.get("validation_file")]
    found += results if isinstance(results, list) else []
    return [name for name in found if isinstance(name, str) and name]


def files_of_run(run: Object) -> list[str]:
    """Return the id of the file that a run of an eval read, if it read one."""
    data = run.get("data_source")
    source = data.get("source") if isinstance(data, dict) else None
    name = source.get("id") if isinstance(source, dict) else None
    return [name] if isinstance(name, str) and name else []


def files_of_batch(batch: Object) -> list[str]:
    """Return the ids of the files that a batch read and wrote."""
    names = (batch.get(f"{word}_file_id") for word in ("input", "output", "error"))
    return [name for name in names if isinstance(name, str) and name]
