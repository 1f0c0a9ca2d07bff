"""What a training engine is, and what it is given to report to.

The worker owns jobs, leases and the database; an engine owns the state of a model. They meet here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from selftune.core.records import Hyperparameters, Method, Record, TrainOptions


class TrainRequest(Record):
    """What to train, with every path already resolved on this machine."""

    base_folder: Path | None
    """Folder of the model to continue from, a base or a product of this engine; None starts from
    the engine's own base."""
    base: str = ""
    """Catalogue id of the base that the model comes from in the end."""
    targets: tuple[str, ...] = ()
    """The catalogue's: modules that get adapters; none means the engine's own choice."""
    learning_rate: float | None = None
    """The catalogue's, of this method; None means the engine's own."""
    training_file: Path
    """Validated JSONL of the method's format."""
    validation_file: Path | None = None
    method: Method = "supervised"
    hyperparameters: Hyperparameters
    options: TrainOptions = Field(default_factory=TrainOptions)
    response_format: dict[str, Any] | None = None
    """Reinforcement: the shape that sampled answers are held to."""
    seed: int
    threads: int = 0
    """Processor threads; 0 means all cores."""


class Resolved(Record):
    """One hyperparameter as a number, and why."""

    value: int | float
    reason: str


class Trained(Record):
    """What came out."""

    trained_tokens: int
    """Billable tokens: tokens of the training file times epochs."""
    steps: int


class Sampled(Record):
    """One answer to be graded, with the training row that it answers."""

    item: dict[str, Any]
    """The row's own fields, which graders read as `item`."""
    text: str
    message: dict[str, Any]
    """The assistant's message as OpenAI writes it, tool calls and all."""


class Reward(Record):
    """What an answer is worth; without a value it could not be graded, which is not a zero."""

    value: float | None
    scores: dict[str, float] = Field(default_factory=dict)
    """Of the graders inside a `multi` grader, by name."""
    error: str | None = None
    """Which of OpenAI's error names the failure has, such as `invalid_variable_error`."""
    reason: str | None = None
    """The failure in words."""


class RewardMetrics(Record):
    """One step of reinforcement, in OpenAI's names."""

    train_mean_reward: float | None
    """None where no answer of the step could be graded."""
    full_valid_mean_reward: float | None = None
    full_valid_mean_parse_error: float | None = None
    completion_tokens_mean: float
    reasoning_tokens_mean: float = 0.0
    mean_unresponsive_rewards: float = 0.0
    """Share of answers that could not be graded."""
    errors: dict[str, float] = Field(default_factory=dict)
    """Counts by OpenAI's names, such as `train_invalid_variable_error_count`."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Mean of each grader inside a `multi` grader, by name."""
    timing: dict[str, float] = Field(default_factory=dict)
    """Seconds: `sampling`, `grading`, `training`, `eval`, `full_iteration`."""


class StepMetrics(Record):
    """One optimiser step, in OpenAI's names."""

    step: int
    total_steps: int
    train_loss: float
    train_mean_token_accuracy: float
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None
    reward: RewardMetrics | None = None
    """Only where the method is reinforcement."""


class TrainingRun(Protocol):
    """The engine's only way to the outside.

    What it is told is durable when the call returns; steps, at the latest, with the next checkpoint.
    Calls are idempotent by `key` or `step`: a resumed run may repeat what it already reported and
    nothing is doubled. Every call raises `Interrupted` when the job must stop now, but nothing that
    was learned is lost to a pause: `step` asks for a checkpoint, and that raises `Paused`.
    """

    folder: Path
    """The engine's scratch folder, kept until the job ends; survives kills."""
    cache: Path
    """Folder that all jobs share, for what can be made again."""
    resume: Path | None
    """State folder of the last complete checkpoint of this job, or None at the beginning."""

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        """Log one line of the job's story."""
        ...

    def resolved(self, values: dict[str, Resolved]) -> None:
        """Say which number stands for each hyperparameter, once, before the first step."""
        ...

    def step(self, metrics: StepMetrics) -> bool:
        """Report one optimiser step; True asks for a checkpoint now, because the job is to pause."""
        ...

    def checkpoint(
        self,
        metrics: StepMetrics,
        epoch: int,
        save_model: Callable[[Path], None] | None,
        save_state: Callable[[Path], None],
    ) -> None:
        """Keep a complete state.

        `epoch` counts from one; at a pause it is the one under way. `save_model` writes a servable
        model folder (None keeps the state only), `save_state` what resuming needs; each gets an
        empty folder, renamed in place when whole. Of a reinforcement's checkpoints those with the
        highest `full_valid_mean_reward` are kept, of others the latest.
        """
        ...

    def grade(self, answers: Sequence[Sampled]) -> list[Reward]:
        """Return what each answer is worth by the job's grader, in order; reinforcement only."""
        ...

    def check(self) -> None:
        """Raise `Paused`, `Cancelled` or `LeaseLost` if the job must stop; cheap, call it often."""
        ...


class Engine(Protocol):
    """Trains one method on one family of models. Deterministic: same request, same bytes.

    An engine module in `train/engines/` has `Params` (a frozen record, unknown fields refused)
    and `build(params) -> Engine`.
    """

    def train(self, request: TrainRequest, run: TrainingRun) -> Trained:
        """Train to the end, continuing from `run.resume` when there is one.

        The last checkpoint's model folder is the product. A resumed run ends with the same bytes
        as one that was never interrupted.

        Raises:
            JobFailed: the data cannot be trained on; with OpenAI's code, message and param.
            Interrupted: passed through from the run.

        """
        ...
