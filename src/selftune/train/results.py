"""The result file of a job: one row a step, in OpenAI's columns; of rewards, in those of its events."""

import csv
import io
import json

from sqlalchemy import Connection, select

from selftune.core.records import File, Job, TrainSpec
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
_OF_REWARDS = {
    name: name
    for name in (
        "step",
        "train_mean_reward",
        "full_valid_mean_reward",
        "full_valid_mean_parse_error",
        "completion_tokens_mean",
        "reasoning_tokens_mean",
        "mean_unresponsive_rewards",
    )
}


def result_file(store: Store, connection: Connection, job: Job) -> File:
    """Write a job's metrics into a blob and return the record of the file."""
    rows = connection.execute(
        select(events.c.data)
        .where(events.c.job_id == job.id, events.c.type == "metrics")
        .order_by(events.c.sequence)
    ).scalars()
    is_rewarded = TrainSpec.model_validate(job.spec).method == "reinforcement"
    columns = _OF_REWARDS if is_rewarded else _COLUMNS
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        data = json.loads(row or "{}")
        writer.writerow([data.get(name, "") for name in columns.values()])
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
