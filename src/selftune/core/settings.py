"""The only reader of environment variables. Each setting: name, default, help.

Precedence everywhere: argument, then spec file, then environment, then default.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from selftune.core.errors import InvalidInput
from selftune.core.records import Record

PREFIX = "SELFTUNE_"


class Settings(Record):
    """What can be set from outside. The field `home` is read from `SELFTUNE_HOME`, and so on."""

    home: Path = Path("~/.selftune")
    """Folder of the database, files, runs and models."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite in the home folder."""
    blobs_url: str = ""
    """fsspec URL of the folder that keeps uploaded bytes; empty means `blobs` in the home folder."""
    host: str = "127.0.0.1"
    """Address the server listens on; loopback by default."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port the server listens on; 0 picks a free one."""
    upstream: str = ""
    """Account of `selftune profiles` that `selftune serve` and the batches of its workers ask for what
    is not here, as with `--upstream`; empty means none."""
    organization: str = "selftune"
    """Slug of the default organisation, part of every fine-tuned model's name."""
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    """How many worker processes the server starts; 0 starts none."""
    lease_seconds: Annotated[float, Field(gt=0.2, le=3600)] = 15.0
    """How long a worker may stay silent before its job is given to another."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    """Largest request body that is not a file upload."""
    max_file_bytes: Annotated[int, Field(ge=1024)] = 512 * 1024 * 1024
    """Largest file; OpenAI's own limit is 512 MB."""
    max_files: Annotated[int, Field(ge=1)] = 100_000
    """Most files a project may keep."""
    max_training_rows: Annotated[int, Field(ge=1)] = 1_000_000
    """Most rows of a training file."""
    max_job_seconds: Annotated[int, Field(ge=1)] = 86_400
    """Longest running time of one job, all its attempts together; pauses do not count."""
    keep_logs_days: Annotated[int, Field(ge=0)] = 30
    """How long the log of a job is kept after its end."""
    keep_completions_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    """How long stored chat completions and responses are kept; OpenAI keeps them for 30 days."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 60_000
    """Requests a project may send in a minute; the rate-limit headers count it down."""
    tokens_per_minute: Annotated[int, Field(ge=1)] = 100_000_000
    """Tokens a project may use in a minute."""
    serving_wait_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Longest wait for a model's answer, or for its next piece, before the caller is told to try
    again."""
    serving_load_seconds: Annotated[float, Field(gt=0)] = 120.0
    """Longest wait for a model that is being loaded; it goes on loading after that."""
    serving_queue: Annotated[int, Field(ge=1)] = 1024
    """Most requests that may wait for the serving process; one more is refused with 429."""
    serving_models: Annotated[int, Field(ge=1)] = 16
    """Most models the serving process keeps in memory."""
    result_file_encoding: Literal["base64", "plain"] = "base64"
    """How `/files/{id}/content` delivers result CSVs: OpenAI's own API answers base64."""
    eval_empties: Literal["described", "null"] = "described"
    """What a run of an eval says where there is no error, no result yet, or no sampling parameter:
    empty values as OpenAI describes them, which strict clients want, or `null` as OpenAI answered."""
    profile: Literal["standard", "spec"] = "standard"
    """`spec` makes ids seeded and accepts the placeholder ids of the SDKs' own tests."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Processor threads a training or serving process may use; 0 means all cores."""
    default_base: str = ""
    """Base that the names of OpenAI's models stand for where you set no alias: a base's id, or `auto`,
    the largest one here that this machine can train; empty means the embedded model."""
    gguf_converter: str = ""
    """llama.cpp's `convert_hf_to_gguf.py`, for exports as GGUF."""
    devices: str = "auto"
    """GPUs that jobs train on: `auto` for all that `nvidia-smi` lists, `none`, or numbers as `0,1`;
    with GiB to use less of a GPU's memory, as in `0:40,1:40`."""
    train_python: str = ""
    """Python that trainings run with, of an environment with selftune and the libraries of its
    engines; empty means the server's own."""
    tensorboard_dir: str = ""
    """Folder where each training is shown to TensorBoard; empty means none."""
    mlflow_uri: str = ""
    """Address of the MLflow that trainings are reported to, as `MLFLOW_TRACKING_URI`; empty means
    none."""
    model_server_home: str = ""
    """Path of the home folder where model servers such as vLLM see it; empty means the same."""
    prices: str = ""
    """TOML file of your own prices, over those that ship; empty means none."""

    @property
    def root(self) -> Path:
        """The home folder, absolute."""
        return self.home.expanduser().absolute()


def load_settings(environ: Mapping[str, str] | None = None, **arguments: object) -> Settings:
    """Read settings from arguments, then the environment, then defaults.

    Raises:
        InvalidInput: a value is not allowed; the message names the variable and the rule.

    """
    source = os.environ if environ is None else environ
    names = Settings.model_fields
    found: dict[str, object] = {
        name: source[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in source
    }
    found.update({name: value for name, value in arguments.items() if value is not None})
    try:
        return Settings.model_validate(found)
    except ValidationError as problem:
        first = problem.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"{PREFIX}{name.upper()} is {found.get(name)!r}: {first['msg']}",
            code="invalid_setting",
            param=name,
        ) from problem


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the environment for a child process that must read the same settings."""
    values = settings.model_dump(mode="json")
    return dict(os.environ) | {PREFIX + name.upper(): str(value) for name, value in values.items()}


def read_variable(name: str) -> str | None:
    """Return one environment variable that is not a setting, such as a parent's message."""
    return os.environ.get(name)


def let_threads_sleep() -> None:
    """Make torch's threads sleep, not spin, while they wait for each other.

    They wait after every operation. Spinning, two trainings on two cores were nine times slower
    than one (docs/log.md). The variable is read when torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def let_trackers_be_quiet() -> None:
    """Keep the libraries of trackers from telling their makers about their use."""
    for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("WANDB_ERROR_REPORTING", "false")):
        os.environ.setdefault(name, value)
