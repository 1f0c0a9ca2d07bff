"""One run of a verb that asks a teacher: its folder, its money, and what it could not finish."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.records import Record
from selftune.data.synthesis.budget import Account, Budget, Spent, most_tokens
from selftune.data.synthesis.journal import Journal
from selftune.models.answers import Answer, Question
from selftune.models.asking import Limits, ask
from selftune.models.batching import Waiting, ask_by_batch, portions
from selftune.models.endpoint import Endpoint, address_of, base_url_of

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and how many there are."""
_REJECTIONS = 10
"""So many requests refused as wrong, none accepted: the rest would be refused too."""


class Asking(Record):
    """How a teacher or a student is asked."""

    endpoint: Endpoint
    max_tokens: Annotated[int, Field(ge=1)] = 4096
    """Most tokens of one answer, thinking included; the budget's worst case."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Absent, what the endpoint does by default: some models accept nothing else."""
    json_mode: Literal["schema", "object"] = "schema"
    """How structured answers are asked for: by a JSON schema, or only as JSON."""


class Means(Record):
    """What a run may use, none of which changes what it asks."""

    limits: Limits = Limits()
    budget: Budget = Budget()
    is_batch: bool = False
    """Ask through the Batch API: cheaper, within a day."""
    poll_seconds: Annotated[float, Field(ge=0)] = 30.0


def body_of(
    asking: Asking, messages: Sequence[dict[str, Any]], schema: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a request in OpenAI's shape."""
    body: dict[str, Any] = {"model": asking.endpoint.model, "messages": list(messages)}
    body[_limit_field(asking.endpoint)] = asking.max_tokens
    if asking.temperature is not None:
        body["temperature"] = asking.temperature
    if schema is not None and asking.json_mode == "object":
        body["response_format"] = {"type": "json_object"}
    elif schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        }
    return body


def _limit_field(endpoint: Endpoint) -> str:
    """Return the limit's name: OpenAI's newer models refuse the old one, many servers the new."""
    url = base_url_of(endpoint) or "api.openai.com"
    is_new = any(host in url for host in ("api.openai.com", "openai.azure.com"))
    return "max_completion_tokens" if is_new else "max_tokens"


class Run:
    """A run under way. `stopped` says why it ends before everything is asked."""

    def __init__(
        self, folder: Path, plan: dict[str, Any], means: Means, progress: Progress
    ) -> None:
        self.folder = folder
        self.means = means
        self.progress = progress
        self.journal = Journal(folder, plan | {"batch": means.is_batch})
        self.account = Account(self.journal, means.budget, is_batch=means.is_batch)
        self.stopped: str | None = None
        self.accepted = False
        """Whether the endpoint has answered anything, so that it knows what is asked of it."""
        self.fresh = 0
        """Answers that this process got; the others were there before."""

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    def ask(
        self, endpoint: Endpoint, questions: Sequence[Question], what: str
    ) -> dict[str, Answer]:
        """Return the answers by their questions' keys; a question without one is missing.

        Raises:
            SelftuneError: asking on is useless: a wrong key, model, address or request.

        """
        self.account.check_price(endpoint.model)
        unique = {asked.key: asked for asked in questions}
        if self.means.is_batch:
            self._finish_batches(endpoint, what)
        found = self._known(unique)
        self.accepted = self.accepted or bool(found)
        missing = [asked for key, asked in unique.items() if key not in found]
        if missing and self.stopped is None:
            once = _Once(self, found, missing, what, len(unique))
            try:
                (once.by_batch if self.means.is_batch else once.now)(endpoint)
            except sqlite3.OperationalError as error:
                raise Unavailable(
                    f"{str(self.journal.path)!r} cannot be written: {error}. Make room, then run "
                    "the same again."
                ) from error
        return found

    def spent(self) -> Spent:
        """Return what the run has used, earlier processes included."""
        return self.account.spent()

    def _known(self, questions: Iterable[str]) -> dict[str, Answer]:
        answers = ((key, self.journal.answer(key)) for key in questions)
        return {key: answer for key, answer in answers if answer is not None}

    def _finish_batches(self, endpoint: Endpoint, what: str) -> None:
        for key, questions in self.journal.open_batches():
            if questions[0].body["model"] == endpoint.model:
                self.collect_batch(endpoint, key, questions, what)

    def collect_batch(
        self, endpoint: Endpoint, key: str, questions: Sequence[Question], what: str
    ) -> list[Answer]:
        """Follow a batch to its end and write down its answers, all of them or none."""
        waiting = Waiting(
            self.means.poll_seconds, lambda done, total: self.progress(what, done, total)
        )
        answers = ask_by_batch(endpoint, key, questions, self.journal, waiting)
        with self.journal.together():
            for asked, answer in zip(questions, answers, strict=True):
                self.account.settle(asked, answer)
            self.journal.end_batch(key)
        self.account.reload()
        return answers


class _Once:
    """One call of `Run.ask`: the questions that are missing, and the answers that come."""

    def __init__(
        self, run: Run, found: dict[str, Answer], missing: list[Question], what: str, total: int
    ) -> None:
        self._run = run
        self._found = found
        self._missing = missing
        self._what = what
        self._total = total
        self._by_key = {asked.key: asked for asked in missing}
        self._on_their_way = 0
        self._failed: list[Answer] = []
        self._rejected: list[Answer] = []

    def now(self, endpoint: Endpoint) -> None:
        """Ask one by one."""
        try:
            ask(endpoint, self._affordable(), self._take, self._run.means.limits)
        except Unavailable as error:
            self._run.stopped = f"{error.message} Run the same again: no answer is asked for twice."
        self._conclude()

    def by_batch(self, endpoint: Endpoint) -> None:
        """Ask in as few batches as the limits allow."""
        run = self._run
        for portion in portions(self._missing):
            with run.journal.together():
                key = run.journal.begin_batch([asked.key for asked in portion])
                affordable = list(self._begun(portion, key))
                if not affordable:
                    run.journal.end_batch(key)
                    break
            for answer in run.collect_batch(endpoint, key, affordable, self._what):
                self._note(answer)
            if run.stopped is not None:
                break
        self._conclude()

    def _begun(self, portion: Sequence[Question], batch: str) -> Iterator[Question]:
        """Yield the questions that the budget allows, each written down as a part of the batch."""
        for asked in portion:
            if not self._run.account.allows(asked):
                self._run.stopped = self._too_dear(asked)
                return
            self._run.account.begin(asked, batch)
            yield asked

    def _affordable(self) -> Iterator[Question | None]:
        account = self._run.account
        for asked in self._missing:
            while not account.allows(asked):
                if self._on_their_way == 0:
                    self._run.stopped = self._too_dear(asked)
                    return
                yield None  # what is on its way may turn out cheaper than its worst case
            account.begin(asked)
            self._on_their_way += 1
            yield asked

    def _take(self, answer: Answer) -> None:
        self._on_their_way -= 1
        self._run.account.settle(self._by_key[answer.key], answer)
        self._note(answer)
        self._run.progress(self._what, len(self._found), self._total)
        if len(self._rejected) >= _REJECTIONS and not (self._found or self._run.accepted):
            self._conclude()

    def _note(self, answer: Answer) -> None:
        if answer.status == "failed":
            self._failed.append(answer)
            return
        self._run.fresh += 1
        if answer.status == "rejected":
            self._rejected.append(answer)
        else:
            self._found[answer.key] = answer

    def _conclude(self) -> None:
        self._run.accepted = self._run.accepted or bool(self._found)
        if self._rejected and not self._run.accepted:
            body = self._by_key[self._rejected[0].key].body
            remedy = (
                " If it does not know JSON schemas, try --json-mode object."
                if body.get("response_format", {}).get("type") == "json_schema"
                else ""
            )
            raise InvalidInput(
                f"The endpoint refuses every request: {self._rejected[0].reason}{remedy}"
            )
        for answer in self._rejected:  # others were accepted, so it is these questions' own fault
            self._run.journal.keep(answer)
            self._found[answer.key] = answer
        if self._failed and self._run.stopped is None:
            self._run.stopped = (
                f"{len(self._failed)} of {self._total} questions got no answer "
                f"({self._failed[0].reason}). Run the same again: only those are asked."
            )

    def _too_dear(self, asked: Question) -> str:
        spent, budget = self._run.spent(), self._run.means.budget
        used = spent.prompt_tokens + spent.completion_tokens
        parts = []
        if spent.dollars is not None and budget.dollars is not None:
            parts.append(f"${spent.dollars:.4f} of ${budget.dollars:.4f}")
        if budget.tokens is not None:
            parts.append(f"{used:,} of {budget.tokens:,} tokens")
        unheard = (
            f" (and up to {spent.perhaps_tokens:,} tokens by attempts that were never answered)"
            if spent.perhaps_tokens
            else ""
        )
        most = most_tokens(asked)
        dollars = self._run.account.cost(asked.body["model"], most)
        price = "" if dollars is None else f" (${dollars:.4f})"
        return (
            f"The budget is reached: {' and '.join(parts)} used{unheard}, and the next question can "
            f"take up to {sum(most):,} tokens{price}. Run the same with a larger budget to go on."
        )


def plan_of(verb: str, asking: Asking | None, **parts: Any) -> dict[str, Any]:
    """Return what makes a run the same run: its verb, its model, and fingerprints of its parts."""
    plan: dict[str, Any] = {"verb": verb}
    if asking is not None:
        plan |= {
            "model": asking.endpoint.model,
            "address": address_of(asking.endpoint),
            **asking.model_dump(mode="json", exclude={"endpoint"}),
        }
    return plan | {
        name: value if isinstance(value, str | int | float | None) else fingerprint(value)
        for name, value in parts.items()
    }
