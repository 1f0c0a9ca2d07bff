"""The records that stages hand to each other: frozen, strict about unknown fields.

They carry no behaviour beyond what follows from their own fields. Time is integer Unix seconds.
Wire formats (OpenAI's JSON) are made from them in `api/*/wire.py` and nowhere else.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
EventLevel = Literal["info", "warn", "error"]
EventType = Literal["message", "metrics", "moderation_checks"]
JobStatus = Literal[
    "validating_files", "queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"
]
FileStatus = Literal["uploaded", "processed", "error"]
Method = Literal["supervised", "dpo", "reinforcement"]


class Record(BaseModel):
    """Immutable, and strict about unknown fields. Its validator is built when it is first used."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class File(Record):
    """An uploaded or produced file; its bytes are the blob with this SHA-256."""

    id: str
    project_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    created_at: int
    expires_at: int | None = None
    status: FileStatus = "processed"
    status_details: str | None = None


class Upload(Record):
    """A large file that arrives in parts."""

    id: str
    project_id: str
    filename: str
    purpose: str
    bytes: int
    mime_type: str
    created_at: int
    expires_at: int
    status: Literal["pending", "completed", "cancelled", "expired"] = "pending"
    file_id: str | None = None
    file_expires_after: int | None = None


class UploadPart(Record):
    """One part of an upload."""

    id: str
    upload_id: str
    bytes: int
    sha256: str
    created_at: int


class Hyperparameters(Record):
    """What the caller asked for; `auto` is decided by the engine, with a reason."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] = "auto"
    beta: Auto | Annotated[float, Field(gt=0, le=2)] = "auto"
    """DPO: how strongly the model is held to where it started."""
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"
    """Reinforcement; kept and echoed: open models have no such switch."""
    compute_multiplier: Auto | Annotated[float, Field(gt=1e-5, le=10)] = "auto"
    """Reinforcement: multiplies how many answers are tried for each prompt."""
    eval_interval: Auto | Annotated[int, Field(ge=1)] = "auto"
    """Reinforcement: steps between two evaluations on the validation file."""
    eval_samples: Auto | Annotated[int, Field(ge=1)] = "auto"
    """Reinforcement: answers for each prompt of an evaluation."""


class TrainOptions(Record):
    """What OpenAI's API has no words for; all of it is decided by the engine where it is `auto`."""

    adapter: Literal["auto", "lora", "qlora", "full"] = "auto"
    """What is trained: low-rank adapters, the same on a 4-bit base, or every weight."""
    rank: Auto | Annotated[int, Field(ge=1, le=512)] = "auto"
    """Rank of the adapters."""
    alpha: Auto | Annotated[float, Field(gt=0)] = "auto"
    """Scale of the adapters is alpha / rank."""
    max_length: Auto | Annotated[int, Field(ge=8)] = "auto"
    """Tokens of the longest sequence; the rest of a longer one is cut from its end."""
    micro_batch: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Sequences that go through the model at once; has no influence on the result."""
    packing: Auto | bool = "auto"
    """Whether sequences are put one after the other instead of being padded."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the base's weights and of the arithmetic; adapters are always float32."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """How many GPUs to train on; without GPUs, processes that share the batch."""


class TrainSpec(Record):
    """Everything that decides one training job: same spec, same bytes."""

    model: str
    """Name the caller used, resolved to a dated snapshot where there is one."""
    base: str
    """The catalogue id or `ft:` model that really trains."""
    engine: str
    """Plugin in `train/engines` that runs it."""
    method: Method = "supervised"
    training_file: str
    validation_file: str | None = None
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)
    options: TrainOptions = Field(default_factory=TrainOptions)
    grader: dict[str, Any] | None = None
    """Reinforcement: what an answer is worth, in OpenAI's JSON."""
    response_format: dict[str, Any] | None = None
    """Reinforcement: the shape that answers are held to while they are sampled."""
    method_given: bool = True
    """False when the caller used only the legacy top-level `hyperparameters`."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)]
    suffix: str | None = None
    integrations: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, str] | None = None


class JobError(Record):
    """Why a job failed, in OpenAI's words."""

    code: str
    message: str
    param: str | None = None


class Job(Record):
    """One piece of work outside the server process, of any kind."""

    id: str
    project_id: str
    kind: str
    status: JobStatus
    priority: int = 0
    spec: dict[str, Any]
    """The kind's own spec, e.g. a `TrainSpec` as JSON."""
    state: dict[str, Any] = Field(default_factory=dict)
    """What the work has found so far: resolved hyperparameters, trained tokens, results."""
    metadata: dict[str, str] | None = None
    error: JobError | None = None
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    attempts: int = 0
    seconds_used: float = 0.0
    """How long it has run, all attempts together."""
    devices: int = 0
    """GPUs that it needs where the machine has any."""
    device_memory: int | None = None
    """MiB that it needs on each GPU; None means all that the GPU has."""


class Event(Record):
    """One line of a job's log. `key` is unique in the job, so that a repeat is not an event."""

    id: str
    job_id: str
    sequence: int
    key: str
    created_at: int
    level: EventLevel = "info"
    message: str
    type: EventType = "message"
    data: dict[str, Any] | None = None


class Checkpoint(Record):
    """A complete state of a model in training, on disk before this record exists."""

    id: str
    job_id: str
    step: int
    epoch: int
    created_at: int
    model: str
    """Name that serves it: `ft:…:ckpt-step-N`, or the final model's own name."""
    folder: str
    """Relative to the home folder."""
    metrics: dict[str, float]


class Model(Record):
    """A model that can be served: a base of the catalogue or the product of a job."""

    id: str
    project_id: str | None
    """None for bases, which every project sees."""
    base: str
    engine: str
    folder: str | None
    """Relative to the home folder; None for a base."""
    job_id: str | None
    created_at: int
    shutdown_date: str | None = None


class Permission(Record):
    """Another project of the organisation may use a checkpoint."""

    id: str
    model: str
    project_id: str
    created_at: int


class Identity(Record):
    """Who is calling: what a key stands for."""

    key_id: str
    organization_id: str
    organization: str
    """The organisation's slug."""
    project_id: str
    is_admin: bool = False


class Usage(Record):
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Tokens of the prompt that the endpoint had read before, and bills as cached."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Scored(Record):
    """One example's outcome. A failure to score is not a score of zero."""

    status: Literal["scored", "errored", "skipped"]
    value: float | None = None
    """What was measured: a share, or an error."""
    credit: float | None = None
    """What it is worth, from 0 to 1; absent, the value itself."""
    passed: bool | None = None
    reason: str | None = None
