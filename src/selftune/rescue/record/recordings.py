"""Where a model's recording is: two rounds of one eval in the home folder, found by the model's name."""

from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from selftune.core.errors import NotFound
from selftune.evaluate.arms import Arm
from selftune.evaluate.results import Result, read_results
from selftune.evaluate.rounds import Round, RoundFolder, eval_folder, sound_rounds
from selftune.models.endpoint import Endpoint
from selftune.prove.plan import Plan

ARM = "recorded"
STEADY, USUAL = "temperature 0", "production"
"""The two rounds: each prompt once at temperature 0, and k times as in production."""
MODEL, KIND, PROMPTS, HEAT, ACCOUNT = "recorded", "recording", "prompts", "temperature", "asked at"
SOURCE, ANSWERS = "imported from", "answers"
"""Of a recording that was imported: files, and a digest of the answers that it has of them."""
SALT = "production"
"""Without it, the first answer at a production temperature of 0 would be that of the other round."""


class Recording(NamedTuple):
    """How a model answered."""

    model: str
    steady: RoundFolder | None
    """None where it was stopped before it began."""
    usual: RoundFolder


def eval_name(model: str) -> str:
    """Return the name of the eval that holds a model's recording."""
    return f"rescue {sha256(model.encode()).hexdigest()[:8]} {model}"


def find_recording(home: Path, model: str) -> Recording:
    """Return the newest recording of a model; one that was stopped counts for what it has.

    Raises:
        NotFound: there is none, or it was stopped before production was recorded.

    """
    usual = find_round_of(home, model, USUAL)
    if usual is None:
        known = ", ".join(recorded_models(home)) or "none"
        raise NotFound(
            f"There is no recording of {model!r}: `selftune rescue record {model}` makes one while "
            "the model still answers, and with --answers of answers that you have. Recorded are: "
            f"{known}."
        )
    return Recording(model, find_round_of(home, model, STEADY, usual.read().facts), usual)


def find_round_of(
    home: Path, model: str, kind: str, other: Mapping[str, str] | None = None
) -> RoundFolder | None:
    """Return the newest round of a kind, a finished one before one that was stopped.

    `other`: facts of the round of the same recording that it must go with: the same prompts were
    asked, and what was imported is from the same import.
    """
    rounds, _ = sound_rounds(eval_folder(home, eval_name(model)))
    found = [(each, each.read()) for each in rounds]
    mine = [
        (folder, one)
        for folder, one in found
        if one.facts.get(MODEL) == model
        and one.facts.get(KIND) == kind
        and (other is None or all(one.facts.get(n) == other.get(n) for n in (PROMPTS, ANSWERS)))
    ]
    whole = [folder for folder, one in mine if one.status == "completed"]
    return next(reversed(whole or [folder for folder, _ in mine]), None)


def recorded_models(home: Path) -> tuple[str, ...]:
    """Return the models that have a recording."""
    found: dict[str, None] = {}
    for folder in sorted(home.glob("evals/rescue-*")):
        for each in sound_rounds(folder)[0]:
            facts = each.read().facts
            if facts.get(KIND) == USUAL:
                found[facts[MODEL]] = None
    return tuple(found)


def recorded_arm(found: Round) -> Arm:
    """Return the arm that asked a recording's questions, so that its answers are found again."""
    record = found.arms[0]
    return Arm(
        name=ARM,
        model=record.model,
        endpoint=Endpoint(model=record.model, base_url=record.place, api_key_variable=""),
        sampling=record.sampling,
        rates=record.rates,
        salt=salt_of(found.facts),
    )


def salt_of(facts: Mapping[str, str]) -> str:
    """Return what tells questions of a round from the same ones of another."""
    return (SALT if facts[KIND] == USUAL else "") + facts.get(ANSWERS, "")


def finished_round(home: Path, plan: Plan, asked: Collection[str]) -> RoundFolder | None:
    """Return the newest round that has all of a plan already.

    `asked` names the arms that would be asked again for an answer that did not come.
    """
    rounds, _ = sound_rounds(eval_folder(home, plan.name))
    for folder in reversed(rounds):
        found = folder.read()
        same = found.facts == plan.facts and found.samples == plan.evaluation.samples
        arms = [(each.name, each.model, each.sampling) for each in found.arms]
        if same and arms == [(each.name, each.model, each.sampling) for each in plan.arms]:
            whole = found.status == "completed" and not any(
                each.state == "unanswered" and each.arm in asked
                for each in read_results(folder.results)
            )
            return folder if whole and list(folder.read_items()) == list(plan.items) else None
    return None


def answers_of(folder: RoundFolder) -> dict[str, list[Result]]:
    """Return the answers of a round by the id of their item, in the order in which they were asked.

    Those that never came are not among them.
    """
    answers = [each for each in read_results(folder.results) if each.state != "unanswered"]
    found: dict[str, list[Result]] = {}
    for result in sorted(answers, key=lambda each: (each.index, each.sample)):
        found.setdefault(result.item, []).append(result)
    return found
