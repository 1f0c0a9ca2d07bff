"""Pass requests on to an account elsewhere as they are, with its key in place of the caller's."""

from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import quote, urlencode

from selftune.models.exchange import NoAnswer, TooSlow, Unheard
from selftune.models.passage import Answer, Headers, Passage
from selftune.models.pool import Pool
from selftune.models.profiles import Profile, need_key
from selftune.models.route import Route, route_to

TIMEOUT_SECONDS = 600.0
"""As long as OpenAI's clients wait."""
_OF_ONE_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade expect".split()
)
"""RFC 9110, 7.6.1: they speak of one connection."""
_OF_THE_CALLER = frozenset(
    b"host content-length authorization api-key openai-organization openai-project cookie "
    b"forwarded via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto "
    b"x-real-ip".split()
)
"""What is said to this server alone: whom the caller is to it, and the way to it."""
_NOT_PASSED_ON = _OF_ONE_HOP | _OF_THE_CALLER
_OF_THE_OTHER = frozenset((b"set-cookie", b"alt-svc", b"strict-transport-security"))
"""What holds for the other server's name: here it would send callers to where nobody listens."""
_OF_THIS_SERVER = frozenset((b"server", b"date"))
"""What this server says itself."""
_NOT_PASSED_BACK = _OF_ONE_HOP | _OF_THE_OTHER | _OF_THIS_SERVER
_OF_DEPLOYMENTS = frozenset((b"/chat/completions", b"/completions", b"/embeddings"))
"""Where Azure's dated API has the model in the path; responses name it in their body there too."""


class Outgoing(NamedTuple):
    """A request to pass on."""

    method: str
    path: bytes
    """Behind the `/v1`, as it came: `/chat/completions`."""
    query: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    """An iterator is sent while it yields."""
    model: str | None = None
    """Named by the body; Azure's dated API may have it in the path."""


class Forwarder:
    """The account that requests are passed on to, and the connections to it."""

    def __init__(self, profile: Profile) -> None:
        """Take a profile.

        Raises:
            InvalidInput: there is no key where one is needed, or the address is not valid.

        """
        self.profile = profile
        self._route = route_to(profile.address)
        self._fixed = _fixed(self._route, profile, need_key(profile))
        self._base = self._route.target.rstrip("/").encode("latin-1")
        self._pool: Pool[Passage] = Pool(self._route, TIMEOUT_SECONDS, self._line)

    async def send(self, request: Outgoing, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
        """Send a request; return its answer, whose head is here.

        A kept connection may have been closed by the other server just now; where no byte came
        back on it, the request is sent once more on a new one.

        Raises:
            NoAnswer: one of its kinds.

        """
        head = self._head(request)
        body = request.body
        if not isinstance(body, bytes):
            return await self._send_along(head, body, timeout_seconds)
        line = self._pool.take_idle()
        if line is not None:
            answer = line.send(head + body, timeout_seconds)
            try:
                return await _begun(answer)
            except TooSlow:
                raise
            except Unheard:
                if answer.was_heard:
                    raise
        line = await self._pool.connect()
        return await _begun(line.send(head + body, timeout_seconds))

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _send_along(
        self, head: bytes, body: AsyncIterator[bytes], timeout_seconds: float
    ) -> Answer:
        """Send a body while it comes; on a new connection, for it could not be sent again."""
        line = await self._pool.connect()
        answer = line.send(head, timeout_seconds, is_whole=False)
        is_chunked = b"\r\ntransfer-encoding: chunked\r\n" in head
        try:
            async for piece in body:
                if answer.head.done():
                    break
                await answer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            else:
                if is_chunked:
                    await answer.write(b"0\r\n\r\n")
                line.end_request()
        except NoAnswer:
            if not answer.head.done():
                raise
        except BaseException:
            answer.end()
            raise
        return await _begun(answer)

    def _line(self) -> Passage:
        return Passage(self._pool.keep, self._pool.forget)

    def _head(self, request: Outgoing) -> bytes:
        named = dict(request.headers)
        lines = [self._first(request), self._fixed]
        not_passed = _NOT_PASSED_ON | _named_by_connection(request.headers)
        for name, value in request.headers:
            if name not in not_passed:
                lines.append(b"%b: %b\r\n" % (name, value))
        if isinstance(request.body, bytes):
            if request.body or request.method not in ("GET", "DELETE"):
                lines.append(b"content-length: %d\r\n" % len(request.body))
        elif (length := named.get(b"content-length", b"")).isdigit():
            lines.append(b"content-length: %b\r\n" % length)
        else:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _first(self, request: Outgoing) -> bytes:
        path, query = request.path, request.query
        if self.profile.api_version is not None:
            if request.model is not None and path in _OF_DEPLOYMENTS:
                path = b"/deployments/" + quote(request.model, safe="").encode() + path
            version = urlencode({"api-version": self.profile.api_version}).encode()
            query = query + b"&" + version if query else version
        target = self._base + path + (b"?" + query if query else b"")
        return b"%b %b HTTP/1.1\r\n" % (request.method.encode(), target)


def passed_back(headers: Headers) -> Headers:
    """Return the headers of an answer that its reader is to see."""
    not_passed = _NOT_PASSED_BACK | _named_by_connection(headers)
    return [pair for pair in headers if pair[0] not in not_passed]


async def _begun(answer: Answer) -> Answer:
    """Wait for the head of an answer; who stops waiting ends the exchange."""
    try:
        await answer.head
    except BaseException:
        answer.end()
        raise
    return answer


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    """Return the headers that those named `Connection` call their own."""
    told = [value.lower() for name, value in headers if name == b"connection"]
    return frozenset(each.strip() for value in told for each in value.split(b","))


def _fixed(route: Route, profile: Profile, key: str) -> bytes:
    """Return the headers that all requests share."""
    is_azure = profile.kind == "azure"
    named = {"host": route.host, "api-key" if is_azure else "authorization": key}
    if not is_azure:
        named["authorization"] = f"Bearer {key}"
    given = {"openai-organization": profile.organization, "openai-project": profile.project}
    named |= {name: value for name, value in given.items() if value is not None}
    if route.proxy is not None and not route.is_secure and route.proxy.authorization:
        named["proxy-authorization"] = route.proxy.authorization
    return "".join(f"{name}: {value}\r\n" for name, value in named.items()).encode("latin-1")
