"""Decide for each request who answers it: this server, the account upstream, or one after the other.

Plain ASGI, inside the gate: what is passed on must cost next to nothing.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selftune.api.context import Context
from selftune.api.upstream.account import Upstream
from selftune.api.upstream.asked import (
    COMPARED,
    QUESTIONS,
    RECORDED,
    Asked,
    asked_of,
    conversation_of,
    renamed,
)
from selftune.api.upstream.hearing import Hearing
from selftune.api.upstream.here import Here
from selftune.api.upstream.incoming import body_of, outgoing_of
from selftune.api.upstream.passing import ANSWERED_BY, Passing
from selftune.api.upstream.shadowing import Shadows
from selftune.api.upstream.things import Things
from selftune.api.upstream.within import attempt, replayed
from selftune.api.upstream.witness import Witness
from selftune.core.errors import NotFound
from selftune.core.records import Identity
from selftune.models.forward import Forwarder
from selftune.models.noted import Heard, Note
from selftune.models.switches import TIMEOUT_SECONDS, Followed, Side, Switch
from selftune.store.completions import get_completion

_log = logging.getLogger("selftune.upstream")


class Plan(NamedTuple):
    """Who answers a question."""

    first: Side
    second: Side | None = None
    """Who is asked where the first fails."""
    switch: Switch | None = None

    @property
    def patience(self) -> float:
        """Seconds that who is asked first has to begin."""
        return TIMEOUT_SECONDS if self.switch is None else self.switch.timeout_seconds

    def name(self, asked: Asked, side: Side) -> str:
        """Return what the model is called on a side."""
        other = self.switch.replacement if self.switch is not None else None
        return asked.model if side == "upstream" or other is None else other


class _Question(NamedTuple):
    scope: Scope
    receive: Receive
    send: Send
    body: bytes
    asked: Asked
    hearing: Hearing | None

    @property
    def caller(self) -> Identity:
        identity: Identity = self.scope["selftune.identity"]
        return identity


class Cutover:
    """The middleware."""

    def __init__(
        self, app: ASGIApp, parts: Context, routes: Sequence[BaseRoute], upstream: Upstream
    ) -> None:
        self._app, self._store = app, parts.store
        self._here = Here(parts.store, parts.relay)
        self._switches = Followed(parts.store.root)
        self._passing = Passing(Forwarder(upstream.profile))
        self._things = Things(app, parts, routes, self._passing)
        self._witness = None if upstream.recorder is None else Witness(upstream.recorder)
        self._compared = frozenset() if self._witness is None else COMPARED
        self._recorded = RECORDED if upstream.records else frozenset()
        self._shadows = Shadows(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/v1/"):
            await self._app(scope, receive, send)
        elif scope["method"] == "POST" and path in QUESTIONS:
            await self._question(scope, receive, send)
        else:
            await self._things(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._witness is not None:
            self._witness.start()

        async def told() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":  # before what they ask is closed below
                await self._shadows.close()
            return message

        try:
            await self._app(scope, told, send)
        finally:
            if self._witness is not None:
                await self._witness.close()
            await self._passing.close()

    async def _question(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        asked = asked_of(body)
        if asked is None:  # the refusal of what cannot be read is ours
            await self._app(scope, replayed(body, receive), send)
            return
        caller: Identity = scope["selftune.identity"]
        plan = await self._plan(caller, asked)
        if plan is None:
            await self._app(scope, replayed(body, receive), send)
            return
        name = scope["selftune.request_id"].encode()
        is_shadowed = (
            scope["path"] in self._compared
            and plan.switch is not None
            and asked.previous_response_id is None
            and plan.switch.is_shadowed(name)
        )
        is_recorded = scope["path"] in self._recorded
        hearing = Hearing() if is_recorded or is_shadowed else None
        question = _Question(scope, receive, send, body, asked, hearing)
        side = await self._answer(question, plan)
        if hearing is not None:
            is_kept_already = side == "replacement" and _is_kept(scope["path"], asked)
            heard = hearing.told(side, plan.name(asked, side))
            if heard is not None:
                note = self._note(question, heard)
                note.is_recorded = is_recorded and not is_kept_already
                self._after(question, plan, note, is_shadowed=is_shadowed and side == "upstream")

    async def _plan(self, caller: Identity, asked: Asked) -> Plan | None:
        """Return who answers; None where this is a model of this server alone."""
        switch = self._switches.find(asked.model)
        if switch is None:
            return None if await self._here.answers(caller, asked.model) else Plan("upstream")
        first = switch.side_of(conversation_of(asked) if switch.to == "canary" else b"")
        before = asked.previous_response_id
        if isinstance(before, str) and switch.to != "replacement":  # only who has it can go on
            is_here = await run_in_threadpool(self._has_response, caller, before)
            first = "replacement" if is_here else "upstream"
        if first == "replacement":
            return Plan(first, "upstream" if switch.falls_back else None, switch)
        return Plan(first, "replacement" if switch.backs_up else None, switch)

    def _has_response(self, caller: Identity, name: str) -> bool:
        if "\0" in name:  # which not every database can look up
            return False
        try:
            get_completion(self._store, caller.project_id, "response", name)
        except NotFound:
            return False
        return True

    async def _answer(self, question: _Question, plan: Plan) -> Side:
        """Answer; return who did."""
        may_fail = plan.second is not None
        failed = await self._try(question, plan, plan.first, may_fail=may_fail)
        if failed is None:
            return plan.first
        assert plan.second is not None
        model = question.asked.model
        _log.warning("%s: no answer of %s: %s; %s is asked", model, plan.first, failed, plan.second)
        await self._try(question, plan, plan.second, may_fail=False)
        return plan.second

    async def _try(
        self, question: _Question, plan: Plan, side: Side, *, may_fail: bool
    ) -> str | None:
        scope, receive, send, body, asked, hearing = question
        name = plan.name(asked, side)
        if side == "upstream":
            outgoing = outgoing_of(scope, body, name, is_heard=hearing is not None)
            ends = receive, send
            patience = plan.patience if may_fail else None
            return await self._passing.attempt(scope, ends, outgoing, hearing, patience=patience)
        if name != asked.model:
            body = renamed(body, name)
        told = _saying_who(send if hearing is None else hearing.listen(send))
        again = replayed(body, receive)
        if not may_fail:
            await self._app(dict(scope), again, told)
            return None
        return await attempt(self._app, scope, again, told, plan.patience)

    def _note(self, question: _Question, heard: Heard) -> Note:
        return Note(
            project_id=question.caller.project_id,
            path=question.scope["path"],
            at=self._store.now(),
            request=question.body,
            answer=heard,
        )

    def _after(self, question: _Question, plan: Plan, note: Note, *, is_shadowed: bool) -> None:
        """Tell of an exchange that is over; ask the replacement before, where it has its share."""
        if not is_shadowed:
            if note.is_recorded:
                self._tell(note)
            return
        name = plan.name(question.asked, "replacement")
        body = renamed(question.body, name, stream=False, store=False, stream_options=None)

        def tell(heard: Heard | None) -> None:
            note.shadow, note.is_left_out = heard, heard is None
            self._tell(note)

        self._shadows.ask(question.scope, body, name, tell)

    def _tell(self, note: Note) -> None:
        if self._witness is not None:
            self._witness.tell(note)


def _is_kept(path: str, asked: Asked) -> bool:
    """Return whether this server keeps what it answers anyway: responses, unless told not to."""
    return asked.store is not False if path == "/v1/responses" else bool(asked.store)


def _saying_who(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (ANSWERED_BY, b"replacement")]
            message = {**message, "headers": headers}
        await send(message)

    return told
