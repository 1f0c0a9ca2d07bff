"""A first fine-tune with OpenAI's own client and nothing else: upload, train, follow, chat.

Start `selftune serve`, export the two lines that it prints (OPENAI_BASE_URL and OPENAI_API_KEY), then
`python examples/01_first_finetune.py`. It takes a minute or two on two free cores.
"""

import json
import time
from pathlib import Path

from openai import OpenAI

INTENTS = Path(__file__).parent / "intents"
ENDED = ("succeeded", "failed", "cancelled")

client = OpenAI()

# 1. Upload 400 chats: a vague message, and the number of its intent as the answer.
with (INTENTS / "train.jsonl").open("rb") as rows:
    uploaded = client.files.create(file=rows, purpose="fine-tune")
print(f"{uploaded.id}: {uploaded.bytes} bytes")

# 2. Create the job. The answer comes at once; the server trains in the background.
job = client.fine_tuning.jobs.create(
    model="gpt-4o-mini-2024-07-18", training_file=uploaded.id, suffix="intents", seed=42
)
print(f"{job.id}: {job.status}")

# 3. Follow it. Events come newest first; those not seen yet are printed oldest first.
seen: set[str] = set()
while job.status not in ENDED:
    time.sleep(1)
    job = client.fine_tuning.jobs.retrieve(job.id)
    latest = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    for event in reversed([event for event in latest if event.id not in seen]):
        print(f"  {event.message}")
        seen.add(event.id)
if job.status != "succeeded" or job.fine_tuned_model is None:
    raise SystemExit(f"The job {job.status}: {job.error and job.error.message}")

# 4. Ask the new model what it was not trained on, with the prompt that it was trained with.
prompt = (INTENTS / "prompt.md").read_text(encoding="utf-8").strip()
questions = [json.loads(line)["item"] for line in (INTENTS / "test.jsonl").open(encoding="utf-8")]
right = 0
for question in questions[::10]:
    answer = client.chat.completions.create(
        model=job.fine_tuned_model,
        messages=[
            {"role": "developer", "content": prompt},
            {"role": "user", "content": question["input_text"]},
        ],
        temperature=0,
    )
    said = answer.choices[0].message.content
    right += said == question["correct_label"]
    print(f"{said} (should be {question['correct_label']}): {question['input_text'][:60]}")
print(f"{right} of 10 right by {job.fine_tuned_model}")
