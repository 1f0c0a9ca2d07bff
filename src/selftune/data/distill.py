"""A teacher answers given prompts, or completions that are stored already become training rows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row, prompt_text
from selftune.data.synthesis.budget import Spent
from selftune.data.synthesis.chats import (
    Messages,
    answered,
    asked_messages,
    tools_of,
    without_system,
)
from selftune.data.synthesis.journal import NAME
from selftune.data.synthesis.labels import plain_label
from selftune.data.synthesis.novelty import Novelty
from selftune.data.synthesis.outputs import Made, Outcome, write_made, write_report
from selftune.data.synthesis.run import Asking, Means, Progress, Run, body_of, plan_of
from selftune.data.synthesis.terms import terms_note
from selftune.models.answers import Answer, Question, load_json, question
from selftune.models.endpoint import Endpoint
from selftune.models.stored import Stored, logged_completion, plain_message

DISAGREED = "disagreed.jsonl"


class Distillation(Record):
    """What to answer."""

    rows: tuple[Row, ...]
    """Any source; an answer that a row has is not used."""
    test: tuple[Row, ...] = ()
    """Rows whose prompts may not get into the result."""
    system: str | None = None
    """System message for rows that have none."""
    drop_system: bool = False
    """The teacher gets the system message, the training rows do not: the tuned model learns it."""
    answers: Annotated[int, Field(ge=1, le=32)] = 1
    """Times that each prompt is asked; the commonest answer is taken."""
    agreement: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least share of the answers that have to be the commonest one."""


class Distilled(Outcome):
    """What came out."""

    disagreed: int
    """Prompts whose answers did not agree enough; they are in `disagreed.jsonl`."""
    agreement: float | None
    """Mean share of the commonest answer; None where each prompt is asked once."""
    unanswered: int
    """Prompts without a usable answer."""
    left_out: int
    """Prompts that are in the test set, or nearly."""


class _Prompt(NamedTuple):
    """What is asked, from one row."""

    number: int
    messages: Messages
    tools: dict[str, Any]


class _Vote(NamedTuple):
    """One prompt with its answers."""

    prompt: _Prompt
    answers: list[Answer]

    def share(self) -> float:
        """Return how much of the answers the commonest one has."""
        return len(self.commonest()) / len(self.answers)

    def commonest(self) -> list[Answer]:
        """Return the answers that are the commonest one, in the order that they were asked for."""
        forms = [_form(answer) for answer in self.answers]
        winner = Counter(forms).most_common(1)[0][0]
        return [answer for answer, form in zip(self.answers, forms, strict=True) if form == winner]


def distill(
    out: Path,
    teacher: Asking,
    wanted: Distillation,
    means: Means | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Distilled:
    """Write the teacher's answers as `train.jsonl` with provenance; return the report.

    Raises:
        SelftuneError: it can never work: a wrong key, model or request, or rows without prompts.

    """
    prompts = _prompts(wanted)
    plan = plan_of("distill", teacher, **wanted.model_dump(mode="json"))
    with Run(out, plan, means or Means(), progress) as run:
        questions = [_questions(teacher, wanted, prompt) for prompt in prompts]
        everything = [asked for several in questions for asked in several]
        found = run.ask(teacher.endpoint, everything, "prompts")
        usable = {key: answer for key, answer in found.items() if answer.status == "answered"}
        votes = [
            _Vote(prompt, [usable[asked.key] for asked in several if asked.key in usable])
            for prompt, several in zip(prompts, questions, strict=True)
        ]
        votes = [vote for vote in votes if vote.answers]
        agreed = [vote for vote in votes if vote.share() >= wanted.agreement]
        disagreed = [vote for vote in votes if vote.share() < wanted.agreement]
        write_made(out, [_made(vote, teacher, wanted) for vote in agreed])
        write_made(out, [_made(vote, teacher, wanted) for vote in disagreed], DISAGREED)
        shares = [vote.share() for vote in votes] if wanted.answers > 1 else []
        outcome = Distilled(
            rows=len(agreed),
            folder=str(out),
            requests=len(found),
            fresh_requests=run.fresh,
            unusable=dict(Counter(a.status for a in found.values() if a.status != "answered")),
            spent=run.spent(),
            note=terms_note(teacher.endpoint),
            stopped=run.stopped,
            disagreed=len(disagreed),
            agreement=sum(shares) / len(shares) if shares else None,
            unanswered=len(prompts) - len(votes),
            left_out=len(wanted.rows) - len(prompts),
        )
        write_report(out, outcome)
        return outcome


def distill_stored(
    out: Path, completions: Iterable[Stored], wanted: Distillation, endpoint: Endpoint | None = None
) -> Distilled:
    """Write stored completions as training rows; nothing is asked and nothing is paid.

    Raises:
        InvalidInput: there are none, or the folder holds another run.

    """
    if (out / NAME).exists():
        raise InvalidInput(f"{str(out)!r} holds a run that asked a teacher: give another --out.")
    listed = list(completions)
    if not listed:
        raise InvalidInput(
            "There are no stored completions: none were stored, or not for this model."
        )
    usable = [
        one
        for one in listed
        if one.messages and (one.answer.get("content") or one.answer.get("tool_calls"))
    ]
    rows = [{"messages": list(one.messages)} for one in usable]
    held = _held(rows, wanted)
    made = [
        Made(
            answered(_trained(list(one.messages), wanted), one.answer, one.tools),
            {"verb": "distill", "teacher": one.model, "stored": one.id, "parents": []},
        )
        for one, is_held in zip(usable, held, strict=True)
        if not is_held
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_made(out, made)
    names = {one.model for one in usable}
    notes = [
        terms_note(Endpoint(model=name, base_url=endpoint.base_url if endpoint else _NOWHERE))
        for name in sorted(names)
    ]
    outcome = Distilled(
        rows=len(made),
        folder=str(out),
        requests=0,
        fresh_requests=0,
        unusable={},
        spent=Spent(
            prompt_tokens=0, completion_tokens=0, perhaps_tokens=0, dollars=0.0, perhaps_dollars=0.0
        ),
        note=next((note for note in notes if note), None),
        disagreed=0,
        agreement=None,
        unanswered=len(listed) - len(usable),
        left_out=sum(held),
    )
    write_report(out, outcome)
    return outcome


def logged_file(path: Path) -> Iterator[Stored]:
    """Yield the completions of an export or log, one JSON object a line.

    Raises:
        InvalidInput: it cannot be read, or a line is no question with its answer.

    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _logged(path, number, line)
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def _logged(path: Path, number: int, line: bytes) -> Stored:
    try:
        entry = load_json(line.decode("utf-8-sig"))
    except ValueError as error:
        raise InvalidInput(f"{path}, line {number} is not JSON: {error}.") from error
    found = logged_completion(entry, str(number)) if isinstance(entry, dict) else None
    if found is None:
        raise InvalidInput(
            f"{path}, line {number} is no stored completion: it needs messages (or input) and "
            "choices, or request and response with them."
        )
    return found


_NOWHERE = "http://localhost"
"""Address for a name whose host is not known, so that only the name counts."""


def _prompts(wanted: Distillation) -> list[_Prompt]:
    """Return what to ask, without what the test set has."""
    held = _held(wanted.rows, wanted)
    prompts = []
    for number, (row, is_held) in enumerate(zip(wanted.rows, held, strict=True), start=1):
        messages = asked_messages(row, wanted.system)
        if not messages:
            raise InvalidInput(f"Row {number} has no prompt: give chats, or a template (--user).")
        if not is_held:
            prompts.append(_Prompt(number, messages, tools_of(row)))
    return prompts


def _held(rows: Sequence[Row], wanted: Distillation) -> list[bool]:
    test = Novelty(prompt_text(row) for row in wanted.test)
    return test.holds([prompt_text(row) for row in rows])


def _questions(teacher: Asking, wanted: Distillation, prompt: _Prompt) -> list[Question]:
    body = body_of(teacher, prompt.messages) | prompt.tools
    return [question(body, sample=sample) for sample in range(wanted.answers)]


def _form(answer: Answer) -> str:
    """Return what makes two answers one: their words; tool calls by name and arguments."""
    return plain_label(answer.text) + canonical_json(answer.message.get("tool_calls") or [])


def _made(vote: _Vote, teacher: Asking, wanted: Distillation) -> Made:
    chosen = vote.commonest()
    first = chosen[0]
    origin = {
        "verb": "distill",
        "teacher": teacher.endpoint.model,
        "answered_by": first.model,
        "request": first.key,
        "agreement": vote.share(),
        "answers": len(vote.answers),
        "parents": [{"row": vote.prompt.number}],
    }
    messages = _trained(vote.prompt.messages, wanted)
    answer = plain_message(first.message)
    if "content" in answer:
        answer["content"] = first.text.strip()
    return Made(answered(messages, answer, vote.prompt.tools), origin)


def _trained(messages: Messages, wanted: Distillation) -> Messages:
    return without_system(messages) if wanted.drop_system else messages
