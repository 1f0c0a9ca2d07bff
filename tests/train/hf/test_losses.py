"""How a batch is cut has no influence on the losses, and the losses are what textbooks say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.made_models import make_model
from tests.train.hf.tiny import (
    BATCH,
    EPOCHS,
    RATE,
    WIDE,
    curve,
    examples,
    learner_for,
    order,
    pairs,
    supervised_curve,
)
from tests.train.recorded import RecordedRun
from torch.nn import functional
from transformers import AutoModelForCausalLM

from selftune.train.hf.dpo import Preference, with_reference
from selftune.train.hf.forward import Forward
from selftune.train.hf.learner import Learner, Limit, cut
from selftune.train.hf.objective import Example, Tokens
from selftune.train.hf.rows import Data
from selftune.train.hf.supervised import Supervised

RELATIVE = ABSOLUTE = 1e-5
"""Float32 adds the same numbers in another order."""


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_plain_loop_over_the_whole_batch_has_the_same_losses(
    adapter: str, llama: Path, run: RecordedRun
) -> None:
    """A batch of 8 at once, 8 times 1, packed, and PyTorch's own cross-entropy: one curve."""
    found = supervised_curve(learner_for(llama, run, adapter=adapter), run)
    for limit, packing in ((Limit(1, 100_000), False), (Limit(3, 200), False), (WIDE, True)):
        other = RecordedRun(run.folder / f"{limit.sequences}-{packing}", run.cache)
        learner = learner_for(llama, other, limit, packing=packing, adapter=adapter)
        np.testing.assert_allclose(supervised_curve(learner, other), found, RELATIVE, ABSOLUTE)
    if adapter == "full":
        np.testing.assert_allclose(_plain_losses(llama), found, RELATIVE, ABSOLUTE)
    assert found[-1] < found[0]


@pytest.mark.parametrize("shape", ["llama", "qwen", "gemma"])
def test_scores_are_the_models_own(shape: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path, shape)  # type: ignore[arg-type]  # one of the three
    model = AutoModelForCausalLM.from_pretrained(folder)
    forward = Forward(model, torch.device("cpu"), torch.float32)
    sequences = [one for each in examples((5, 40, 17)) for one in each.sequences]
    assert forward.can_pack()
    for packing in (False, True):
        forward.packing = packing
        for sequence, scores in zip(sequences, forward.scores(sequences), strict=True):
            logits = model(torch.tensor(sequence.ids[None], dtype=torch.long)).logits[0, :-1]
            log_probs = logits.log_softmax(-1)
            spots = np.flatnonzero(sequence.weights[1:])
            expected = log_probs[spots, sequence.ids[1:][spots].astype(np.int64)]
            torch.testing.assert_close(scores.log_probs, expected, rtol=1e-5, atol=1e-5)
            said = log_probs.argmax(-1)[spots].numpy() == sequence.ids[1:][spots]
            assert scores.right.tolist() == said.tolist()


def test_many_logits_are_computed_in_parts(
    llama: Path, run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learner_for(llama, run)
    rows = examples()
    objective = _supervised(learner)
    whole = learner.learn(objective, rows)
    gradients = [p.grad.clone() for _, p in learner.trainee.parameters() if p.grad is not None]
    monkeypatch.setattr("selftune.train.hf.forward.MOST_LOGITS", 5 * 512)
    parts = learner.learn(objective, rows)
    assert parts == pytest.approx(whole, rel=1e-5)
    for (_, parameter), before in zip(learner.trainee.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, before, rtol=1e-4, atol=1e-6)


def test_a_model_that_mixes_packed_sequences_is_not_packed(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama)
    decoder = model.base_model
    plain = decoder.forward

    def forget(*args: object, position_ids: object = None, **kwargs: object) -> object:
        return plain(*args, **kwargs)

    decoder.forward = forget
    assert not Forward(model, torch.device("cpu"), torch.float32).can_pack()


def test_the_loss_of_preferences_is_the_papers(llama: Path, run: RecordedRun) -> None:
    learner = learner_for(llama, run, adapter="full")
    rows = with_reference(pairs(), learner, run.folder / "reference.npy")
    found = curve(learner, run, Preference(Data(rows, (), order()), learner, 0.5))
    assert found[0] == pytest.approx(np.log(2), abs=1e-6)  # nothing has changed yet
    np.testing.assert_allclose(_plain_preferences(llama, 0.5), found, RELATIVE, ABSOLUTE)
    assert found[-1] < 0.6
    assert run.steps[-1].train_mean_token_accuracy > 0.8
    other = RecordedRun(run.folder / "other", run.cache)
    one = learner_for(llama, other, Limit(2, 100_000), adapter="full")
    rows = with_reference(pairs(), one, other.folder / "reference.npy")
    again = curve(one, other, Preference(Data(rows, (), order()), one, 0.5))
    np.testing.assert_allclose(again, found, RELATIVE, ABSOLUTE)


def test_micro_batches_hold_every_example_once_and_keep_the_limit() -> None:
    rows = examples()
    for limit, packing in ((Limit(3, 120), False), (Limit(64, 150), True)):
        parts = list(cut(rows, limit, packing=packing))
        assert sorted(index for part in parts for index in part) == list(range(len(rows)))
        for part in parts:
            lengths = [rows[index].longest for index in part]
            size = sum(lengths) if packing else max(lengths) * len(part)
            assert len(part) == 1 or (len(part) <= limit.sequences and size <= limit.tokens)


def test_tokens_without_weight_are_not_in_the_loss(llama: Path, run: RecordedRun) -> None:
    learner = learner_for(llama, run)
    [row] = examples((12,))
    nothing = Example((Tokens(row.sequences[0].ids, np.zeros(12, np.float32)),))
    objective = _supervised(learner)
    both = learner.totals(objective, [row, nothing])
    assert both == pytest.approx(learner.totals(objective, [row]))
    assert learner.learn(objective, [nothing])["loss"] == 0


def _supervised(learner: Learner) -> Supervised:
    return Supervised(Data(examples(), (), order()), learner)


def _plain_losses(folder: Path) -> list[float]:
    """Train as anyone would write it: one padded batch, PyTorch's cross-entropy, AdamW."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    rows, found = examples(), []
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.0)
    steps = EPOCHS * len(rows) // BATCH
    for step in range(steps):
        batch = [rows[row].sequences[0] for row in order().batch(step)]
        ids = torch.zeros(len(batch), max(len(one.ids) for one in batch), dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for number, one in enumerate(batch):
            ids[number, : len(one.ids)] = torch.tensor(one.ids)
            learned = torch.tensor(one.weights) > 0
            labels[number, : len(one.ids)][learned] = torch.tensor(one.ids).long()[learned]
        logits = model(ids).logits[:, :-1].flatten(0, 1)
        loss = functional.cross_entropy(logits, labels[:, 1:].flatten())
        found.append(loss.item())
        _step(model, optimizer, loss, RATE * (1 - step / steps))
    return found


def _plain_preferences(folder: Path, beta: float) -> list[float]:
    """Train on pairs as the paper's equation says, pair by pair, beside a second model."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    before = AutoModelForCausalLM.from_pretrained(folder)
    rows, found = pairs(), []
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.0)
    steps = EPOCHS * len(rows) // BATCH
    for step in range(steps):
        losses = []
        for row in order().batch(step):
            chosen, rejected = (
                _log_prob(model, one) - _log_prob(before, one).detach()
                for one in rows[row].sequences
            )
            losses.append(-functional.logsigmoid(beta * (chosen - rejected)))
        loss = torch.stack(losses).mean()
        found.append(loss.item())
        _step(model, optimizer, loss, RATE * (1 - step / steps))
    return found


def _log_prob(model: torch.nn.Module, one: Tokens) -> torch.Tensor:
    ids = torch.tensor(one.ids).long()
    log_probs = model(ids[None]).logits[0, :-1].log_softmax(-1)
    chosen = log_probs.gather(-1, ids[1:, None])[:, 0]
    total: torch.Tensor = (chosen * torch.tensor(one.weights[1:])).sum()
    return total


def _step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor, rate: float
) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch ships no type for it
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
