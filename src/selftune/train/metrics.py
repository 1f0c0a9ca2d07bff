"""What is told of a step: its line in the job's log, the data of that event, a checkpoint's metrics.

The texts and names are OpenAI's: programs match on them.
"""

from typing import Any

from selftune.train.engine import RewardMetrics, StepMetrics

_OF_STEP = ("step", "total_steps")


def step_message(metrics: StepMetrics) -> str:
    """Return the line of a step."""
    if metrics.reward is not None:
        return _reward_message(metrics, metrics.reward)
    text = f"Step {metrics.step}/{metrics.total_steps}: training loss={metrics.train_loss:.2f}"
    if metrics.valid_loss is not None:
        text += f", validation loss={metrics.valid_loss:.2f}"
    if metrics.full_valid_loss is not None:
        text += f", full validation loss={metrics.full_valid_loss:.2f}"
    return text


def step_data(metrics: StepMetrics) -> dict[str, Any]:
    """Return the data of a step's event."""
    if metrics.reward is None:
        return metrics.model_dump(exclude_none=True)
    found = metrics.reward
    flat = found.model_dump(exclude_none=True, exclude={"errors", "scores", "timing"})
    return metrics.model_dump(include=set(_OF_STEP)) | {
        **flat,
        "train_loss": metrics.train_loss,
        "errors": {"graders": [found.errors] if found.errors else []},
        "scores": {
            "graders": [found.scores] if found.scores else [],
            "train_reward_mean": found.train_mean_reward,
            "valid_reward_mean": found.full_valid_mean_reward,
        },
        "timing": {"step": found.timing, "graders": []},
    }


def checkpoint_metrics(metrics: StepMetrics) -> dict[str, float]:
    """Return the numbers of a checkpoint."""
    found = metrics.model_dump(exclude_none=True, exclude={"total_steps", "reward"})
    if metrics.reward is None:
        return found
    kept = {"errors", "scores", "timing"}
    return found | metrics.reward.model_dump(exclude_none=True, exclude=kept)


def _reward_message(metrics: StepMetrics, found: RewardMetrics) -> str:
    """Return the line of a reinforcement's step; OpenAI has a space before its first comma."""
    text = f"Step {metrics.step}/{metrics.total_steps} "
    for words, value in (
        ("train mean reward", found.train_mean_reward),
        ("full validation mean reward", found.full_valid_mean_reward),
        ("full validation mean parse error", found.full_valid_mean_parse_error),
    ):
        if value is not None:
            text += f", {words}={value:.2f}"
    return text
