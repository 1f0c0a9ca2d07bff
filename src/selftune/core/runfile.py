"""The file of `selftune run`: TOML, checked, with unknown keys as errors."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from selftune.core.errors import InvalidInput
from selftune.core.records import Hyperparameters, Record, TrainOptions

T = TypeVar("T", bound=Record)


class Template(Record):
    """How a row of fields becomes a chat."""

    system: str | None = None
    user: str
    assistant: str


class DataSection(Record):
    """What to train on and what to test on; paths are relative to the file."""

    training_file: str
    test_file: str | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the rows that is held out when there is no test file."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    limit: Annotated[int, Field(ge=10)] | None = None
    """Rows of the training file that are used, from its beginning."""
    template: Template | None = None


class ModelSection(Record):
    """What to train."""

    base: str = "selftune/minilm"
    profile: str | None = None
    """Provider to train at, of `selftune profiles list`; absent, this machine trains."""
    base_deployment: str | None = None
    """Azure: the deployment that answers for the base."""
    tuned_deployment: str | None = None
    """Azure: the deployment that answers for the new model, made once it is trained."""
    suffix: str | None = None
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 42


class EvaluationSection(Record):
    """What to ask and how to judge."""

    prompt: str | None = None
    """Template of the user's message, for test rows that are not chats."""
    system: str | None = None
    """System message; absent, the one that every training row shares."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    category: str | None = None
    """Field of the item that names its category."""
    weight: str | None = None
    """Field of the item that says how many points it is worth."""
    group: str | None = None
    """Field of the item that names what it belongs to: items of one group are not independent."""
    id: str | None = None
    """Field of the item that names it; absent, its content does."""
    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often each question is asked."""
    seed: int | None = 0
    """Seed of the first sample; the next ones count on. None: the endpoint decides."""
    graders: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


class RunFile(Record):
    """One whole way from data to a proven model."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    data: DataSection
    model: ModelSection = ModelSection()
    hyperparameters: Hyperparameters = Hyperparameters()
    options: TrainOptions = TrainOptions()
    """What OpenAI's API has no words for, such as the rank of adapters."""
    evaluation: EvaluationSection


def load_run_file(path: Path) -> RunFile:
    """Read a run file; raises what `load_toml` raises."""
    return load_toml(path, RunFile)


def load_toml(path: Path, kind: type[T]) -> T:
    """Read a TOML file as a record.

    Raises:
        InvalidInput: it cannot be read or a key is wrong; names the file, the key and the rule.

    """
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as problem:
        unknown = (each for each in problem.errors() if each["type"] == "extra_forbidden")
        first = next(unknown, problem.errors()[0])  # a key that was misspelt is missing as well
        key = ".".join(str(part) for part in first["loc"])
        what = "is not a known key" if first["type"] == "extra_forbidden" else first["msg"]
        raise InvalidInput(f"{path}: {key}: {what}.") from problem
