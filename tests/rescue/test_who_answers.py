"""Who answers: every kind of switch, with every way in which either side can fail."""

import asyncio
import itertools
import json
import logging
from collections import Counter
from typing import Any, Literal, NamedTuple

import pytest
from starlette.types import Message, Receive, Scope, Send

from selftune.api.context import Context
from selftune.api.upstream import cutover
from selftune.api.upstream.account import Upstream
from selftune.api.upstream.cutover import Cutover
from selftune.core.errors import Unavailable
from selftune.models.exchange import NeverSent, Unheard
from selftune.models.forward import Outgoing
from selftune.models.passage import Head
from selftune.models.profiles import Profile
from selftune.models.relay import Relay
from selftune.models.switches import Switch, add_switch
from selftune.serve.client import ServingClient
from selftune.store.accounts import default_identity
from selftune.store.completions import StoredChoice, StoredCompletion, save_completion
from selftune.store.store import Store

MODEL, OURS = "ft:gpt-4o-mini-2024-07-18:acme:support:AbC", "ours"
Way = Literal["answers", "refuses", "no key", "is busy", "fails", "is away", "hangs", "breaks off"]
WAYS: tuple[Way, ...] = Way.__args__  # type: ignore[attr-defined]
STATUS = {
    "answers": 200, "refuses": 400, "no key": 401, "is busy": 429, "fails": 500, "breaks off": 200,
}  # fmt: skip
TARGETS = ("upstream", "shadow", "canary", "replacement")


class Case(NamedTuple):
    """A switch, and what either side does."""

    to: str
    falls_back: bool
    backs_up: bool
    upstream: Way
    replacement: Way


class Told(NamedTuple):
    """What the caller reads, and who was asked for it."""

    status: int
    by: str
    body: bytes
    is_whole: bool
    asked: Counter[str]


class _Answer:
    """An answer of upstream, as far as it goes."""

    def __init__(self, way: Way) -> None:
        self.head: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self.head.set_result(Head(STATUS[way], []))
        self.is_complete = False
        self._is_cut, self._todo = way == "breaks off", [b"word"]

    async def read(self) -> bytes:
        if not self._todo:
            raise Unheard("cut")
        self.is_complete = not self._is_cut
        return self._todo.pop()

    def end(self) -> None:
        return


class Both:
    """Both sides, as a case has them."""

    profile = Profile(name="up", base_url="http://127.0.0.1:9/v1")

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.case = Case("upstream", True, False, "answers", "answers")
        self.asked: Counter[str] = Counter()
        serving = ServingClient(store.root / "nowhere", wait_seconds=1, most_waiting=1)
        parts = Context(store, serving, Relay(store.root))
        monkeypatch.setattr(cutover, "Forwarder", lambda _profile: self)
        self._cutover = Cutover(self._replacement, parts, (), Upstream(self.profile))
        self.caller = default_identity(store)

    async def send(self, _request: Outgoing) -> _Answer:
        """Answer as upstream."""
        self.asked["upstream"] += 1
        await self._wait(self.case.upstream)
        if self.case.upstream == "is away":
            raise NeverSent("away")
        return _Answer(self.case.upstream)

    async def ask(self, case: Case, path: str, body: dict[str, Any]) -> Told:
        """Ask as a caller whom a gate stands before."""
        self.case = case
        self.asked.clear()
        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [],
            "selftune.identity": self.caller, "selftune.request_id": "req",
        }  # fmt: skip
        todo = [{"type": "http.request", "body": json.dumps(body).encode()}]
        said: list[Message] = []

        async def receive() -> Message:
            return todo.pop() if todo else await asyncio.Future()

        async def send(message: Message) -> None:
            said.append(message)

        try:
            async with asyncio.timeout(5):
                await self._cutover(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the gate says it, if nothing was said before
            if not said:
                status = 503 if isinstance(error, Unavailable) else 500
                return Told(status, "nobody", b"", True, self.asked)
        begun = [each for each in said if each["type"] == "http.response.start"]
        assert len(begun) == 1
        assert said[0] is begun[0]
        by = dict(begun[0]["headers"])[b"x-selftune-answered-by"].decode()
        text = b"".join(each.get("body", b"") for each in said[1:])
        is_whole = len(said) > 1 and not said[-1].get("more_body", False)
        return Told(begun[0]["status"], by, text, is_whole, self.asked)

    async def _replacement(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert json.loads((await receive())["body"])["model"] == OURS
        self.asked["replacement"] += 1
        way = self.case.replacement
        await self._wait(way)
        if way == "is away":
            raise Unavailable("It is away.")
        await send({"type": "http.response.start", "status": STATUS[way], "headers": []})
        await send({"type": "http.response.body", "body": b"word", "more_body": True})
        if way == "breaks off":
            raise Unavailable("It broke off.")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self, way: Way) -> None:
        if way == "hangs":
            await asyncio.sleep(60)


@pytest.fixture
def both(store: Store, monkeypatch: pytest.MonkeyPatch) -> Both:
    return Both(store, monkeypatch)


def wanted(case: Case) -> tuple[list[str], str, int, bool]:
    """Return who is asked, in order, who answers, and what the caller reads."""
    first, second = "upstream", "replacement"
    may_ask_second = case.backs_up
    if case.to in ("replacement", "canary"):
        first, second, may_ask_second = second, first, case.falls_back
    ways = {"upstream": case.upstream, "replacement": case.replacement}
    is_final = ways[first] in ("answers", "breaks off") or (
        ways[first] == "refuses" and first == "upstream"
    )
    asked = [first] if is_final or not may_ask_second else [first, second]
    last, way = asked[-1], ways[asked[-1]]
    if way == "is away" or (way == "no key" and last == "upstream"):
        return asked, "nobody", 503, True
    return asked, last, STATUS.get(way, 0), way != "breaks off"


def test_each_answer_is_given_once_and_by_the_right_side(
    store: Store, both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "selftune.upstream")  # it has much to say

    async def go() -> None:
        for to, falls_back, backs_up in itertools.product(TARGETS, (True, False), (True, False)):
            percent = 100 if to in ("shadow", "canary") else None
            made = {"falls_back": falls_back, "backs_up": backs_up, "percent": percent}
            times = {"timeout_seconds": 0.01, "switched_at": 1}
            add_switch(
                store.root,
                Switch.model_validate(
                    {"model": MODEL, "to": to, "replacement": OURS} | made | times
                ),
            )
            for up, ours in itertools.product(WAYS, WAYS):
                case = Case(to, falls_back, backs_up, up, ours)
                asked, by, status, is_whole = wanted(case)
                if {"upstream": up, "replacement": ours}[asked[-1]] == "hangs":
                    continue  # the last one who is asked has all the time that it wants
                told = await both.ask(
                    case, "/v1/chat/completions", {"model": MODEL, "messages": []}
                )
                expected = (status, by, b"" if by == "nobody" else b"word", is_whole)
                assert told[:4] == expected, case
                assert told.asked == Counter(asked), case

    asyncio.run(go())


@pytest.mark.parametrize("to", TARGETS)
def test_a_response_is_followed_by_who_has_it(store: Store, both: Both, to: str) -> None:
    percent = 1e-9 if to == "canary" else 100 if to == "shadow" else None
    add_switch(
        store.root,
        Switch.model_validate(
            {"model": MODEL, "to": to, "replacement": OURS, "percent": percent, "switched_at": 1}
        ),
    )
    kept = StoredCompletion(
        id="resp_here",
        project_id=default_identity(store).project_id,
        kind="response",
        model=MODEL,
        created_at=store.now(),
        messages=(),
        choices=(
            StoredChoice(message={"role": "assistant", "content": "a"}, finish_reason="stop"),
        ),
    )
    save_completion(store, kept)

    async def go() -> list[str]:
        case = Case(to, True, False, "answers", "answers")
        body = {"model": MODEL, "input": "more"}
        names = ("resp_here", "resp_there", "\0")
        told = [
            await both.ask(case, "/v1/responses", body | {"previous_response_id": name})
            for name in names
        ]
        return [each.by for each in told]

    others = "replacement" if to == "replacement" else "upstream"
    assert asyncio.run(go()) == ["replacement", others, others]
    both.caller = both.caller.model_copy(update={"project_id": "proj_other"})
    assert asyncio.run(go()) == [others] * 3
