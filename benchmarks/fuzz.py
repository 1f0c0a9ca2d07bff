"""Requests that a program made up from OpenAI's API description, good and bad, against a real server.

`PYTHONPATH=. python benchmarks/fuzz.py` sends at least 5,000 and writes `results/fuzz.json`. No
answer may be a server error, and every answer must be as described. The description is the reduced
one of `tests/wire/spec`, aimed: it names models and files that exist, so that requests get further
than a 404.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from benchmarks.machine import machine
from benchmarks.serving import serving
from tests.wire.spec.mistakes import STREAMS, UNDESCRIBED, repaired
from tests.wire.spec.operations import shape
from tests.wire.spec.reduce import REDUCED

from selftune.store.accounts import DEFAULT_PROJECT

LEAST_REQUESTS = 5000
CHECKS = ("not_a_server_error", "response_schema_conformance", "content_type_conformance")
FILES, MODELS = 8, 2
"""Fuzzing deletes some of what it is given."""
MOST_FAULTS = 50
_ALSO_BODIES = ("ResponseProperties", "ModelResponseProperties")
"""Schemas of bodies whose names do not say so."""
RESULTS = Path(__file__).parent / "results" / "fuzz.json"
_RUN = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


@dataclass(frozen=True)
class Plan:
    """How much to send."""

    examples: int
    """Drawn for each operation."""
    phases: tuple[str, ...] = ("coverage", "fuzzing")
    """`coverage` goes through the borders of every schema, `fuzzing` draws at random."""
    seed: int = 1


@dataclass
class Outcome:
    """What was answered. `faults` is empty when all was well."""

    statuses: Counter[str] = field(default_factory=Counter)
    asked: set[str] = field(default_factory=set)
    """Operations."""
    answered: set[str] = field(default_factory=set)
    """Operations that did it at least once: the others only refused."""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def fuzz(url: str, key: str, plan: Plan) -> Outcome:
    """Send what the plan says; the server is not the same afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        document, report = folder / "openapi.json", folder / "report.ndjson"
        document.write_text(json.dumps(_aimed(_things(url, key))), encoding="utf-8")
        command = [
            *(sys.executable, "-c", _RUN, "run", str(document), "--url", url),
            *("--header", f"Authorization: Bearer {key}"),
            *("--checks", ",".join(CHECKS), "--phases", ",".join(plan.phases)),
            *("--max-examples", str(plan.examples), "--seed", str(plan.seed)),
            *("--no-shrink", "--continue-on-failure", "--max-failures", str(MOST_FAULTS)),
            *("--report-ndjson-path", str(report)),
        ]
        started = time.monotonic()
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        outcome = Outcome(seconds=round(time.monotonic() - started, 1))
        if not report.exists():
            raise RuntimeError(run.stdout + run.stderr)
        for line in report.read_text(encoding="utf-8").splitlines():
            _count(json.loads(line), outcome)
    return outcome


def _count(event: dict[str, Any], outcome: Outcome) -> None:
    for name in ("NonFatalError", "FatalError"):
        if name in event:
            outcome.faults.append(json.dumps(event[name])[:1000])
    recorder = event.get("ScenarioFinished", {}).get("recorder", {})
    for case, interaction in recorder.get("interactions", {}).items():
        response = interaction["response"]
        status = "no answer" if response is None else str(response["status_code"])
        outcome.statuses[status] += 1
        outcome.asked.add(recorder["label"])
        if status in ("200", "201"):
            outcome.answered.add(recorder["label"])
        failed = [
            json.dumps(check)[:1000]
            for check in recorder["checks"].get(case, ())
            if check["status"] == "failure"
        ]
        if failed or not status.isdigit() or int(status) >= 500:
            outcome.faults.append(f"{recorder['label']} answered {status}: {failed}")


def _things(url: str, key: str) -> dict[str, list[str]]:
    """Make files, models and checkpoints; return what exists, by the names that stand for it."""
    roles = ("user", "assistant")
    rows = [
        {"messages": [{"role": role, "content": f"{role} {n}"} for role in roles]}
        for n in range(10)
    ]
    content = "\n".join(map(json.dumps, rows))
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}) as client:
        files = [
            client.post(
                "files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", content)}
            ).json()["id"]
            for _ in range(FILES)
        ]
        checkpoints = [name for _ in range(MODELS) for name in _tune(client, files[0])]
        said = {"model": "selftune/fake", "messages": [{"role": "user", "content": "a"}]}
        asked = {"model": "selftune/fake", "input": "a"}
        stored = {
            "completion_id": ("chat/completions", said | {"store": True}),
            "response_id": ("responses", asked),
        }
        made = {
            name: [client.post(path, json=body).json()["id"] for _ in range(FILES)]
            for name, (path, body) in stored.items()
        }
        evals = _evals(client)
    return (
        made
        | evals
        | {
            "model": ["selftune/fake", *checkpoints],
            "fine_tuned_model_checkpoint": checkpoints,
            "training_file": files,
            "validation_file": files,
            "project_ids": [DEFAULT_PROJECT],
        }
    )


def _evals(client: httpx.Client) -> dict[str, list[str]]:
    """Make an eval and runs of it."""
    check = {"type": "string_check", "name": "a", "operation": "eq", "reference": "a"}
    config = {"type": "custom", "item_schema": {}}
    body = {"data_source_config": config, "testing_criteria": [check | {"input": "a"}]}
    eval_id = client.post("evals", json=body).json()["id"]
    source = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}]}}
    runs = [
        client.post(f"evals/{eval_id}/runs", json={"data_source": source}).json()["id"]
        for _ in range(FILES)
    ]
    return {"eval_id": [eval_id], "run_id": runs}


def _tune(client: httpx.Client, training_file: str) -> Iterator[str]:
    numbers = {"n_epochs": 2}
    body = {"model": "selftune/fake", "training_file": training_file, "hyperparameters": numbers}
    path = "fine_tuning/jobs/" + client.post("fine_tuning/jobs", json=body).json()["id"]
    while (status := client.get(path).json()["status"]) != "succeeded":
        assert status != "failed"
        time.sleep(0.1)
    for checkpoint in client.get(f"{path}/checkpoints").json()["data"]:
        yield checkpoint["fine_tuned_model_checkpoint"]


def _aimed(things: dict[str, list[str]]) -> dict[str, Any]:
    """Return the description with what exists as choices, and with what it leaves unsaid."""
    text = REDUCED.read_text(encoding="utf-8")
    document = repaired(yaml.load(text, Loader=yaml.CSafeLoader))
    refusal = {"$ref": "#/components/schemas/ErrorResponse"}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            answers = operation["responses"]
            answers.pop("400", None)  # where these are described, they are without their envelope
            answers.pop("404", None)
            answers["default"] = {
                "description": "Refused",
                "content": {"application/json": {"schema": refusal}},
            }
            if (method, shape(path)) in UNDESCRIBED:
                answers["200"]["content"] = {"application/octet-stream": {}}
            streams = "stream" in _properties(document, operation)
            if streams or (method, shape(path)) in STREAMS:  # `test_openapi.py` checks chunks
                answers["200"]["content"]["text/event-stream"] = {}
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in things:
                    parameter["schema"] = _choice(things[parameter["name"]])
    for name, schema in document["components"]["schemas"].items():
        is_body = name.startswith("Create") and name.endswith("Request")
        if is_body or name in _ALSO_BODIES:
            for owner in (schema, *schema.get("allOf", ())):
                _aim(owner.get("properties", {}), things)
    return document


def _properties(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """Return what a body that is described under a name may have."""
    content = operation.get("requestBody", {}).get("content", {})
    name = content.get("application/json", {}).get("schema", {}).get("$ref", "").split("/")[-1]
    schema = document["components"]["schemas"].get(name, {})
    parts = (schema, *schema.get("allOf", ()))
    return {key: value for part in parts for key, value in part.get("properties", {}).items()}


def _aim(properties: dict[str, Any], things: dict[str, list[str]]) -> None:
    for name in properties.keys() & things.keys():
        if properties[name].get("type") == "array":
            properties[name]["items"] = _choice(things[name])
        else:
            properties[name] = _choice(things[name])


def _choice(values: list[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def main() -> int:
    """Start a server, send, write the result."""
    plan = Plan(examples=60)
    with serving() as server:
        outcome = fuzz(server.url, server.key, plan)
    sent = outcome.statuses.total()
    report = {
        "what": "requests made up from OpenAI's API description against a real server",
        "requests": sent,
        "statuses": dict(sorted(outcome.statuses.items())),
        "operations": len(outcome.asked),
        "operations_that_only_refused": sorted(outcome.asked - outcome.answered),
        "checks": CHECKS,
        "seed": plan.seed,
        "seconds": outcome.seconds,
        "faults": outcome.faults,
        "machine": machine(),
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 0 if sent >= LEAST_REQUESTS and not outcome.faults else 1


if __name__ == "__main__":
    sys.exit(main())
