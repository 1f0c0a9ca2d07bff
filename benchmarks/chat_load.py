"""Measure chat through the whole server: 32 keep-alive clients and one, on a tuned embedded model.

The load generator runs on the same processors as the server. Training rows and questions are
generated here: short messages, 40 labels.
"""

import json
import random
import time
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.serving import WORDS, Serving, measured, serving
from openai import OpenAI

RESULT = Path(__file__).parent / "results" / "chat_load.json"
LABELS, ROWS, REQUESTS = 40, 400, 4000


def message(draw: random.Random, label: int) -> str:
    """Return a short message about one label."""
    return f"{draw.choice(WORDS)} {WORDS[label % 12]} number {label} {draw.choice(WORDS)} please?"


def rows() -> bytes:
    """Return the training file."""
    draw = random.Random(0)
    chats = [
        {
            "messages": [
                {"role": "user", "content": message(draw, index % LABELS)},
                {"role": "assistant", "content": f"label_{index % LABELS}"},
            ]
        }
        for index in range(ROWS)
    ]
    return "\n".join(json.dumps(chat) for chat in chats).encode()


def tune(client: OpenAI) -> str:
    """Train a model and return its name."""
    file = client.files.create(file=("rows.jsonl", rows()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
    while job.status not in ("succeeded", "failed"):
        time.sleep(0.5)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return str(job.fine_tuned_model)


def questions(server: Serving, model: str, clients: int, count: int) -> list[bytes]:
    """Return requests for chat completions."""
    draw = random.Random(clients)
    bodies = [
        {
            "model": model,
            "messages": [{"role": "user", "content": message(draw, n % LABELS)}],
            "temperature": 0,
        }
        for n in range(count)
    ]
    return [
        server.request("POST", "/v1/chat/completions", json.dumps(body).encode()) for body in bodies
    ]


def right(client: OpenAI, model: str, count: int = 2 * LABELS) -> float:
    """Return the share of right answers: what is measured is a model that answers."""
    draw = random.Random(1)
    found = [
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": message(draw, n % LABELS)}],
            temperature=0,
        )
        for n in range(count)
    ]
    wanted = [f"label_{n % LABELS}" for n in range(count)]
    same = [
        done.choices[0].message.content == label for done, label in zip(found, wanted, strict=True)
    ]
    return sum(same) / count


def main() -> None:
    """Start a server, tune, measure, write the result."""
    with serving() as server:
        client = OpenAI(base_url=server.url, api_key=server.key)
        model = tune(client)
        accuracy = right(client, model)
        measured(server.port, questions(server, model, 4, 200), 4)  # warm
        many = measured(server.port, questions(server, model, 32, REQUESTS), 32)
        one = measured(server.port, questions(server, model, 1, 500), 1)
        memory = server.megabytes("VmRSS")
    result = {
        "what": "chat completions of a tuned embedded model through the whole server",
        "right_answers": accuracy,
        "runs": [many, one],
        "api_process_mb": memory,
        "machine": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
