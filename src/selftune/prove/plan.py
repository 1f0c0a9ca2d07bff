"""An eval file -> the plan of a round: which questions, whom, and how to judge."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.runfile import EvaluationSection
from selftune.data.read import ReadOptions, read_lines, read_rows, told
from selftune.data.sources.source import located
from selftune.evaluate.arms import Arm
from selftune.evaluate.evalfile import EvalFile, Limits, Model
from selftune.evaluate.grading import check_graders
from selftune.evaluate.items import Item, given_items, to_items
from selftune.models.endpoint import Endpoint
from selftune.models.messages import SYSTEM_ROLES, content_text
from selftune.models.profiles import find_profile
from selftune.prove.home import Home


@dataclass(frozen=True)
class Plan:
    """One round to be run."""

    name: str
    """Of the eval."""
    items: Iterable[Item]
    arms: tuple[Arm, ...]
    evaluation: EvaluationSection
    limits: Limits = field(default_factory=Limits)
    fresh: bool = False
    """Ask anew what earlier rounds asked."""
    goes_on: bool = False
    """Go on with a finished round of the same plan too: models of this machine, which other plans ask
    anew, are asked what they did not answer."""
    notes: dict[str, str] = field(default_factory=dict)
    """What is special about an arm, by its name."""
    facts: dict[str, str] = field(default_factory=dict)
    losses: tuple[tuple[float, float], ...] = ()


def plan_of(spec: EvalFile, folder: Path, home: Home) -> Plan:
    """Return the plan of an eval file; relative paths begin at `folder`.

    Raises:
        InvalidInput: two models have one name, a file of examples cannot be used, or a grader is none.
        NotFound: a model of this machine is not there.

    """
    section = spec.evaluation
    check_graders(section.graders)
    words = {"temperature": section.temperature, "max_tokens": section.max_tokens}
    usual = {name: value for name, value in words.items() if value is not None}
    arms = tuple(_arm(model, folder, home, usual) for model in spec.models)
    names = [arm.name for arm in arms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"Two models are called {twice!r}: give each a `name` of its own.")
    return Plan(
        name=spec.name,
        items=_unseen(_items(spec, folder), arms),
        arms=arms,
        evaluation=section,
        limits=spec.limits,
        notes={
            arm.name: f"{model.n_examples} examples before each question"
            for arm, model in zip(arms, spec.models, strict=True)
            if model.examples is not None
        },
    )


def _arm(model: Model, folder: Path, home: Home, usual: dict[str, Any]) -> Arm:
    endpoint = _endpoint(model, home)
    if endpoint is None:
        home.find(model.model)
    return Arm(
        name=model.name or model.model,
        model=model.model,
        endpoint=endpoint,
        system=model.system,
        examples=() if model.examples is None else _examples(model, folder),
        sampling=usual | model.sampling,
        rates=home.rates(model.model, endpoint),
    )


def _endpoint(model: Model, home: Home) -> Endpoint | None:
    """Return where a model answers; None is this machine."""
    if model.profile is not None:
        if {"base_url", "api_key_variable"} & model.model_fields_set:
            raise InvalidInput(
                f"{model.model!r}: a profile has its own base_url and api_key_variable."
            )
        profile = find_profile(home.settings.root, model.profile)
        return Endpoint(model=model.model, profile=profile)
    if model.base_url is not None:
        return Endpoint(
            model=model.model, base_url=model.base_url, api_key_variable=model.api_key_variable
        )
    return home.place(model.model)


def _examples(model: Model, folder: Path) -> tuple[dict[str, Any], ...]:
    """Return the messages of the first chats of a file, without system messages."""
    rows = read_rows(located(folder, str(model.examples)), ReadOptions(limit=model.n_examples))
    chats = [row.get("messages") for row in rows]
    if not all(isinstance(chat, list) for chat in chats):
        raise InvalidInput(f"{model.examples!r} must hold chats: rows with a list of messages.")
    said = (message for chat in chats for message in chat or ())
    return tuple(message for message in said if message.get("role") not in SYSTEM_ROLES)


def _unseen(items: Iterable[Item], arms: Sequence[Arm]) -> Iterator[Item]:
    """Yield items, of which none is an example that a model is shown with its answer."""
    shown = {asked: arm.name for arm in arms if arm.examples for asked in _questions(arm.examples)}
    for item in items:
        for asked in _questions(item.messages[-1:]) if shown else ():
            if asked in shown:
                raise InvalidInput(
                    f"Test row {item.index} is among the examples of {shown[asked]!r}, with its "
                    "answer: take the examples from other rows."
                )
        yield item


def _questions(messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    said = (message for message in messages if message.get("role") == "user")
    return (content_text(message).strip() for message in said)


def _items(spec: EvalFile, folder: Path) -> Iterator[Item]:
    rows = _rows(located(folder, spec.data.file), spec.data.limit)
    if spec.models:
        yield from to_items(rows, spec.evaluation)
    else:
        yield from given_items(rows, spec.evaluation)


def _rows(source: str | Path, limit: int | None) -> Iterator[dict[str, Any]]:
    """Yield rows one by one: a large file is not held."""
    for line in read_lines(source, ReadOptions(limit=limit)):
        if line.row is None:
            raise InvalidInput(told([line.problem] if line.problem is not None else []))
        yield line.row


def with_models(spec: EvalFile, names: Sequence[str], base_url: str | None) -> EvalFile:
    """Return an eval file that asks further models by name."""
    more = tuple(Model(model=name, base_url=base_url) for name in names)
    return spec.model_copy(update={"models": (*spec.models, *more)})
