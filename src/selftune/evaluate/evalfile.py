"""The file of `selftune eval run`: what to ask, whom, and how to judge. TOML, checked."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from selftune.core.records import Record
from selftune.core.runfile import EvaluationSection, load_toml


class Data(Record):
    """Where the questions are; a path is relative to the file."""

    file: str
    limit: Annotated[int, Field(ge=1)] | None = None
    """Rows that are asked, from the beginning."""


class Model(Record):
    """One way to answer the questions."""

    name: str | None = None
    """How tables call it; absent, the model's own name."""
    model: str
    base_url: str | None = None
    """An endpoint that speaks OpenAI's API; absent, what `endpoints.toml` of the home folder says of
    the model, else this machine's own models."""
    api_key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key."""
    profile: str | None = None
    """Account of `selftune profiles list` that answers, in place of an address and a key."""
    system: str | None = None
    """System message in place of the items' own."""
    examples: str | None = None
    """File of chats of which some stand before every question (few-shot)."""
    n_examples: Annotated[int, Field(ge=1, le=1000)] = 8
    """How many of them, from the beginning of the file."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Further words of the chat API, over those of the evaluation: `{ reasoning_effort = "low" }`."""


class Limits(Record):
    """How fast, how patiently, and for how much."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most requests on their way to one endpoint; a 429 makes it fewer for a while."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 12
    """Most attempts for one question."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Longest wait for one answer."""
    budget_dollars: Annotated[float, Field(gt=0)] | None = None
    """Stop before more than this is spent; needs prices of all models."""
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    """Stop before more tokens than this are used."""
    stream: bool = False
    """Ask for streams, to measure the time to the first token."""


class EvalFile(Record):
    """One eval."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    data: Data
    models: tuple[Model, ...] = ()
    """The first one is the base that others are compared with."""
    evaluation: EvaluationSection
    limits: Limits = Limits()
    margin: Annotated[float, Field(gt=0)] | None = 0.02
    """Differences below it do not matter: 0.02 is 2 points."""


def load_eval_file(path: Path) -> EvalFile:
    """Read an eval file; raises what `load_toml` raises."""
    return load_toml(path, EvalFile)
