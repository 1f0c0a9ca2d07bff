"""The stand-in is what tests take for the real service: it must be filled, and fail as asked."""

from pathlib import Path

import openai
import pytest
from tests.rescue.stand_in import SMALL, Quirks, stand_in


def test_a_stand_in_is_filled_and_answers_the_official_client(tmp_path: Path) -> None:
    with stand_in(tmp_path, quirks=Quirks(most_listed=7)) as played:
        client = played.client()
        account = played.account
        assert {file.id for file in client.files.list()} == set(account.files)
        assert len(account.files) == SMALL.files
        jobs = list(client.fine_tuning.jobs.list())
        assert [job.id for job in jobs] == list(reversed(account.jobs))
        assert {job.status for job in jobs} == {"succeeded", "failed", "cancelled"}
        events = list(client.fine_tuning.jobs.list_events(account.jobs[0]))
        assert len(events) > 10 * SMALL.steps
        items = [
            item
            for eval_id, run_id in account.runs
            for item in client.evals.runs.output_items.list(run_id, eval_id=eval_id)
        ]
        assert len(items) == SMALL.items
        named = {model.id for model in client.models.list()}
        assert set(account.models) <= named
        batches = [batch.status for batch in client.batches.list()]
        assert batches == ["completed"] * SMALL.batches
        stored = [each.id for each in client.chat.completions.list()]
        assert stored == list(account.completions)
        shared = client.fine_tuning.checkpoints.permissions.list(account.checkpoints[0])
        assert len(shared.data) == 1
        asked = client.chat.completions.create(
            model=account.models[0],
            messages=[{"role": "user", "content": str(items[0].datasource_item["question"])}],
        )
        assert asked.choices[0].message.content == items[0].datasource_item["answer"]


def test_a_stand_in_has_the_quirks_that_it_is_given(tmp_path: Path) -> None:
    with stand_in(tmp_path, quirks=Quirks(no_new_jobs=True)) as played:
        client = played.client(max_retries=0)
        account = played.account
        job = client.fine_tuning.jobs.with_raw_response.retrieve(account.jobs[0])
        assert b'"error": {}' in job.content
        played.quirks.missing.add(account.files[0])
        played.quirks.forbidden.add(account.files[1])
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(account.files[0])
        with pytest.raises(openai.PermissionDeniedError):
            client.files.content(account.files[1])
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=account.files[2])
        assert refused.value.code == "training_not_available"
        played.quirks.fault_share = 1.0
        seen = set()
        for _ in range(20):
            with pytest.raises((openai.APIStatusError, openai.APIConnectionError)) as failed:
                client.files.list()
            seen.add(getattr(failed.value, "status_code", None))
        assert seen == {429, 500, 503, None}
