"""What is told of a step of reinforcement, and how much better than others each answer was."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from selftune.train.engine import Reward, RewardMetrics
from selftune.train.hf.reinforcement_answers import Answer

SPREAD = 1e-4
"""Added to a group's standard deviation, as TRL does."""


@dataclass
class Step:
    """What happened in one step."""

    answers: Sequence[Answer] = ()
    rewards: Sequence[Reward] = ()
    groups: int = 0
    alike: int = 0
    """Groups whose answers were all worth the same."""
    ungraded: int = 0
    """Groups with answers that could not be graded."""
    began: float = 0.0
    learning_from: float = 0.0
    timing: dict[str, float] = field(default_factory=dict)

    def count(self, rewards: Sequence[Reward]) -> list[float] | None:
        """Return how much better each answer of a group is; None where that teaches nothing."""
        values = [reward.value for reward in rewards if reward.value is not None]
        if len(values) < len(rewards):
            self.ungraded += 1
            return None
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        if spread < SPREAD:
            self.alike += 1
            return None
        return [(value - mean) / (spread + SPREAD) for value in values]

    def metrics(self, valid: dict[str, Any]) -> RewardMetrics:
        """Return the step in OpenAI's names."""
        count = len(self.rewards)
        errors = Counter(each.error for each in self.rewards if each.error is not None)
        names = sorted({name for each in self.rewards for name in each.scores})
        scores = {name: mean_of([each.scores.get(name) for each in self.rewards]) for name in names}
        found = error_metrics("train", errors, count) | valid.pop("errors", {})
        return RewardMetrics(
            train_mean_reward=mean_of([each.value for each in self.rewards]),
            completion_tokens_mean=sum(len(each.ids) for each in self.answers) / count,
            mean_unresponsive_rewards=sum(each.value is None for each in self.rewards) / count,
            errors=found,
            scores={name: value for name, value in scores.items() if value is not None},
            timing=self.timing,
            **valid,
        )


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known, or None where nothing is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def error_metrics(which: str, errors: Counter[str], count: int) -> dict[str, float]:
    """Return OpenAI's names: how often each error came, and its share."""
    found: dict[str, float] = {}
    for name, times in sorted(errors.items()):
        found[f"{which}_{name}_count"] = float(times)
        found[f"{which}_{name}_mean"] = times / count
    return found
