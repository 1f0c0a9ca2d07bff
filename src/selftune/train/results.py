"""The result file of a job: one row a step, in OpenAI's columns."""

import csv
import io
import json

from sqlalchemy import Connection, select

from selftune.core.records import File, Job
from selftune.store.schema import events
from selftune.store.store import Store

FILENAME = "step_metrics.csv"
PURPOSE = "fine-tune-results"
_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


def result_file(store: Store, connection: Connection, job: Job) -> File:
    """Write a job's metrics into a blob and return the record of the file."""
    rows = connection.execute(
        select(events.c.data)
        .where(events.c.job_id == job.id, events.c.type == "metrics")
        .order_by(events.c.sequence)
    ).scalars()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        data = json.loads(row or "{}")
        writer.writerow([data.get(name, "") for name in _COLUMNS.values()])
    with store.blobs.writer() as blob_writer:
        blob_writer.write(text.getvalue().encode())
        blob = blob_writer.commit()
    return File(
        id=store.ids.new("file-"),
        project_id=job.project_id,
        filename=FILENAME,
        purpose=PURPOSE,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
