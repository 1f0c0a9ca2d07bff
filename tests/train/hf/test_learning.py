"""A tiny model with random weights learns a closed set of labels, and is right on new paraphrases."""

from pathlib import Path

from tests.made_models import make_model
from tests.made_tasks import chat, label_rows, questions, texts, write_rows
from tests.train.recorded import RecordedRun

from selftune.core.records import Hyperparameters, TrainOptions
from selftune.models.sampler import Prompt, Sampling
from selftune.models.samplers import hf as sampler
from selftune.train.engine import TrainRequest
from selftune.train.engines import hf

GREEDY = Sampling(temperature=0, max_tokens=8)


def test_labels_are_right_on_held_out_paraphrases(tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", "llama", texts=texts(), vocabulary=768)
    training, test = questions()
    request = TrainRequest(
        base_folder=base,
        training_file=write_rows(tmp_path / "rows.jsonl", label_rows(training)),
        hyperparameters=Hyperparameters(n_epochs=4, batch_size=16, learning_rate_multiplier=100),
        options=TrainOptions(adapter="full"),
        seed=1,
        threads=1,
    )
    run = RecordedRun(tmp_path / "run", tmp_path / "cache")
    hf.build(hf.Params()).train(request, run)
    shares = []
    for folder in (base, run.model):
        asked = sampler.build(sampler.Params(folder=folder, cache=tmp_path / "cache", threads=1))
        prompts = [Prompt(messages=tuple(chat(each.text)), sampling=GREEDY) for each in test]
        answers = [done.choices[0].text for done in asked.sample(prompts)]
        right = [answer == each.topic for answer, each in zip(answers, test, strict=True)]
        shares.append(sum(right) / len(right))
    assert shares[0] == 0
    assert shares[1] >= 0.95
