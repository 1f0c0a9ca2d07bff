"""Reinforcement: answers that the job's grader finds better than others become likelier.

GRPO: Shao et al. 2024 (DeepSeekMath), section 4.1. For each prompt of a step the model answers a few
times; what an answer is worth is its reward against those of its group. With DAPO (Yu et al. 2025)
each token counts the same, the ratio is clipped higher above than below, and there is no penalty for
leaving the base, which is TRL's default too. One update is made of each batch of answers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from selftune.core.errors import InvalidInput, JobFailed
from selftune.train.engine import Resolved, Reward
from selftune.train.hf.choices import Choice, choose
from selftune.train.hf.learner import Learner
from selftune.train.hf.objective import Example, Scores, Totals
from selftune.train.hf.reinforcement_answers import Answer, Answerer, Question, example_of
from selftune.train.hf.reinforcement_metrics import Step, error_metrics, mean_of
from selftune.train.hf.rows import Order, read_rows
from selftune.train.hf.setup import Prepared, Setup

GROUP = 8
"""Answers for a prompt where `compute_multiplier` is 1: TRL's `num_generations`."""
LEAST_GROUP = 2
"""One answer alone is neither better nor worse."""
ANSWER_TOKENS = 512
"""Of an answer where `max_length` was not asked for: about that of TRL and DAPO's short tasks."""
CLIP_BELOW, CLIP_ABOVE = 0.2, 0.28
"""Of the ratio of probabilities; Yu et al. 2025 (DAPO), section 3.1."""
EVALUATIONS = 10
"""Evaluations of a whole training where `eval_interval` was not asked for."""
_HELPLESS_STEPS = 3
"""Steps in a row without any graded answer, before the job is given up."""
_ANSWERS, _EVALUATION = 0, 1
"""Keep the seeds of a step's answers and of an evaluation's apart."""


@dataclass(frozen=True)
class Plan:
    """What is asked, and how often."""

    training: Sequence[Question]
    validation: Sequence[Question]
    order: Order
    group: int
    eval_interval: int
    eval_samples: int


def prepare(setup: Setup) -> Prepared:
    """Read the files, decide, load the model, and say what its answers are worth before training."""
    request = setup.request
    training = _questions(setup, request.training_file, "training")
    validation = []
    if request.validation_file is not None:
        validation = _questions(setup, request.validation_file, "validation")
    choice = _decided(setup, training)
    order = setup.order(len(training), choice)
    group = int(choice.settings["answers"].value)
    plan = Plan(
        training=training,
        validation=validation,
        order=order,
        group=group,
        eval_interval=int(choice.number("eval_interval")),
        eval_samples=int(choice.number("eval_samples")),
    )
    widest = max(training, key=lambda question: question.limit)
    room = widest.limit - len(widest.ids)
    whole = example_of(widest, Answer([0] * room, [0.0] * room, [True] * room), 0.0)
    learner = setup.learner(choice, [Example(whole.sequences * group)])
    answerer = Answerer(learner, setup.renderer, request.response_format)
    objective = Reinforcement(plan, learner, answerer)
    objective.tell_start(setup)
    return Prepared(objective, learner, choice.number("learning_rate"))


class Reinforcement:
    """The objective of a file of prompts with a grader."""

    measures: tuple[str, ...] = ("right", "weight", "clipped")

    def __init__(self, plan: Plan, learner: Learner, answerer: Answerer) -> None:
        self._plan, self._learner, self._answerer = plan, learner, answerer
        order = plan.order
        self.total_steps = order.total_steps
        self.trained_tokens = order.n_epochs * sum(len(each.ids) for each in plan.training)
        self._step = Step()
        self._helpless = 0

    def batch(self, step: int) -> Sequence[Example]:
        """Ask and grade; return the answers of groups in which some were better than others.

        Raises:
            JobFailed: nothing can be graded.

        """
        plan, began = self._plan, perf_counter()
        rows = plan.order.batch(step)
        group = range(plan.group)
        asked = [
            (
                plan.training[row],
                [(plan.order.seed, _ANSWERS, step, row, sample) for sample in group],
            )
            for row in rows
        ]
        groups = self._answerer.answers(asked)
        answered = perf_counter()
        questions = [plan.training[row] for row in rows for _ in group]
        answers = [answer for each in groups for answer in each]
        rewards = self._graded(questions, answers)
        now = Step(answers, rewards, groups=len(rows), began=began)
        now.timing = {"sampling": answered - began, "grading": perf_counter() - answered}
        self._check_hope(rewards)
        found = []
        for start in range(0, len(answers), plan.group):
            part = slice(start, start + plan.group)
            advantages = now.count(rewards[part])
            if advantages is not None:
                for each in zip(questions[part], answers[part], advantages, strict=True):
                    found.append(example_of(*each))
        self._step, now.learning_from = now, perf_counter()
        return found

    def weight(self, batch: Sequence[Example]) -> float:
        """Return how many tokens are learned from: each counts the same."""
        return float(sum(len(example.facts) - 1 for example in batch)) or 1.0

    def losses(
        self, examples: Sequence[Example], scores: Sequence[tuple[Scores, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the clipped gains, with the sign of a loss."""
        flat = [score for (score,) in scores]
        log_probs = torch.cat([one.log_probs for one in flat])
        facts = [example.facts for example in examples]
        before = torch.tensor(
            [value for _, *values in facts for value in values], device=log_probs.device
        )
        advantages = torch.cat(
            [torch.full_like(one.weights, fact[0]) for one, fact in zip(flat, facts, strict=True)]
        )
        ratio = torch.exp(log_probs - before)
        clipped = ratio.clamp(1 - CLIP_BELOW, 1 + CLIP_ABOVE)
        gains = torch.minimum(ratio * advantages, clipped * advantages)
        is_clipped = (gains < ratio * advantages).float()
        right = torch.cat([one.right for one in flat]).float()
        count = torch.tensor(float(len(gains)), device=gains.device)
        return -gains.sum(), torch.stack([right.sum(), count, is_clipped.sum()])

    def metrics(self, step: int, batch: Sequence[Example], totals: Totals) -> dict[str, Any]:
        """Return rewards, and loss and accuracy of the answers that were learned from."""
        now, weight = self._step, totals["weight"] or 1.0
        now.timing["training"] = perf_counter() - now.learning_from
        valid: dict[str, Any] = {}
        if self.keeps(step):
            started = perf_counter()
            valid = self._evaluated()
            now.timing["eval"] = perf_counter() - started
            self._tell_groups(step, now)
        now.timing["full_iteration"] = perf_counter() - now.began
        return {
            "train_loss": totals["loss"] / weight,
            "train_mean_token_accuracy": min(1.0, totals["right"] / weight),
            "reward": now.metrics(valid),
        }

    def epoch(self, step: int) -> int:
        """Return the epoch that the step belongs to."""
        return self._plan.order.epoch(step)

    def keeps(self, step: int) -> bool:
        """Keep a checkpoint with each evaluation."""
        return step % self._plan.eval_interval == 0 or step == self.total_steps

    def tell_start(self, setup: Setup) -> None:
        """Show a prompt, and what answers are worth before the first step."""
        if setup.run.resume is not None:
            return
        first = self._plan.training[0]
        setup.show(example_of(first, Answer([], [], []), 0.0))
        if self._plan.validation:
            found = self._evaluated()
            mean = found.get("full_valid_mean_reward")
            said = (
                "none could be graded"
                if mean is None
                else f"full validation mean reward={mean:.2f}"
            )
            setup.run.note("baseline", f"Before training: {said}", {**found})

    def _evaluated(self) -> dict[str, Any]:
        """Return the rewards of the validation file; every evaluation draws with the same seeds."""
        plan = self._plan
        if not plan.validation:
            return {}
        samples = range(plan.eval_samples)
        asked = [
            (question, [(plan.order.seed, _EVALUATION, row, sample) for sample in samples])
            for row, question in enumerate(plan.validation)
        ]
        groups = self._answerer.answers(asked)
        questions = [question for question in plan.validation for _ in samples]
        rewards = self._graded(questions, [answer for each in groups for answer in each])
        errors = Counter(reward.error for reward in rewards if reward.error is not None)
        found = error_metrics("valid", errors, len(rewards))
        return {
            "full_valid_mean_reward": mean_of([reward.value for reward in rewards]),
            "full_valid_mean_parse_error": errors["sample_parse_error"] / len(rewards),
            "errors": found,
        }

    def _graded(self, questions: Sequence[Question], answers: Sequence[Answer]) -> list[Reward]:
        """Return the rewards; the first process alone asks the grader."""
        peers, found = self._learner.peers, []
        if peers.is_first:
            pairs = zip(questions, answers, strict=True)
            sampled = [self._answerer.sampled(question, answer) for question, answer in pairs]
            found = self._learner.run.grade(sampled)
        told: list[Reward] = peers.told(found)
        return told

    def _check_hope(self, rewards: Sequence[Reward]) -> None:
        if any(reward.value is not None for reward in rewards):
            self._helpless = 0
            return
        self._helpless += 1
        if self._helpless < min(_HELPLESS_STEPS, self.total_steps):
            return
        first = rewards[0]
        raise JobFailed(
            f"No answer of {self._helpless} steps in a row could be graded "
            f"({first.error}): {first.reason}. Try the grader on an answer with "
            "/v1/fine_tuning/alpha/graders/run.",
            code=first.error or "other_error",
            param="method.reinforcement.grader",
        )

    def _tell_groups(self, step: int, now: "Step") -> None:
        idle = now.alike + now.ungraded
        if idle:
            self._learner.run.note(
                f"groups-{step}",
                f"At step {step} {idle} of {now.groups} prompts taught nothing: all answers to "
                f"{now.alike} were worth the same, and to {now.ungraded} some could not be graded",
                {"step": step, "alike": now.alike, "ungraded": now.ungraded},
            )


def _questions(setup: Setup, path: Path, which: str) -> list[Question]:
    """Return the prompts of a file; `which` is what errors call it.

    Raises:
        JobFailed: none leaves room for an answer.

    """
    asked = setup.request.options.max_length
    longest, found, too_long = setup.max_length, [], 0
    for number, row in enumerate(read_rows(path), 1):
        setup.run.check()
        try:
            ids = setup.renderer.prompt(row["messages"], row.get("tools") or ())
        except InvalidInput as error:
            raise JobFailed(
                f"The job failed due to an invalid {which} file. Example {number}: {error.message}",
                code=f"invalid_{which}_file",
                param=f"{which}_file",
            ) from error
        room = longest if asked != "auto" else len(ids) + ANSWER_TOKENS
        if len(ids) < longest:
            found.append(Question(row, ids, min(longest, room)))
        else:
            too_long += 1
    if not found:
        raise JobFailed(
            f"Every prompt of the {which} file has {longest} tokens or more, which leaves no room for "
            "an answer. Set a larger max_length, or choose a model that reads more.",
            code=f"invalid_{which}_file",
            param=f"{which}_file",
        )
    if too_long:
        setup.run.note(
            f"too-long-{which}",
            f"{too_long} prompts of the {which} file are left out: with {longest} tokens or more they leave no room "
            "for an answer",
        )
    return found


def _decided(setup: Setup, training: Sequence[Question]) -> Choice:
    """Decide every setting, and say which and why."""
    asked = setup.request.hyperparameters
    choice = choose(setup.request, setup.model, [question.limit for question in training])
    order = setup.order(len(training), choice)
    multiplier = 1.0 if asked.compute_multiplier == "auto" else asked.compute_multiplier
    interval = max(1, order.total_steps // EVALUATIONS)
    choice.hyperparameters.update(
        {
            "compute_multiplier": _number(
                asked.compute_multiplier, 1.0, f"{GROUP} answers a prompt"
            ),
            "eval_interval": _number(asked.eval_interval, interval, f"{EVALUATIONS} evaluations"),
            "eval_samples": _number(asked.eval_samples, 1, "an answer for each prompt"),
        }
    )
    group = max(LEAST_GROUP, round(GROUP * multiplier))
    why = f"{GROUP} (TRL's default) times compute_multiplier, {LEAST_GROUP} at least"
    choice.settings["answers"] = Resolved(value=group, reason=why)
    return setup.decide(choice)


def _number(asked: float | str, otherwise: float, why: str) -> Resolved:
    if isinstance(asked, str):
        return Resolved(value=otherwise, reason=f"auto: {why}")
    return Resolved(value=asked, reason="asked for")
