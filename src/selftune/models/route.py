"""The way to a URL: host, port, TLS, and the proxy that the environment names for it."""

import base64
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from selftune.core.errors import InvalidInput

_PORTS = {"http": 80, "https": 443}


class Hop(NamedTuple):
    """A machine to connect to."""

    host: str
    port: int


class Proxy(NamedTuple):
    """A machine that passes requests on."""

    hop: Hop
    authorization: str | None


class Route(NamedTuple):
    """Where requests of one URL go."""

    hop: Hop
    is_secure: bool
    place: str
    """Host and port."""
    host: str
    """What the header `Host` says: without the port where that is the usual one."""
    target: str
    """What the first line of the request names: a path, or for a plain proxy the whole URL."""
    proxy: Proxy | None
    authorization: str | None
    """Of a name and password in the URL."""


def route_to(url: str) -> Route:
    """Return the way to a URL, through the proxy that the environment names for it.

    Raises:
        InvalidInput: the URL or the proxy's is not valid.

    """
    parts, hop = check_address(url)
    is_secure = parts.scheme == "https"
    host = f"[{hop.host}]" if ":" in hop.host else hop.host
    place = f"{host}:{hop.port}"
    if hop.port != _PORTS[parts.scheme]:
        host = place
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    proxy = _proxy_for(parts, host)
    if proxy is not None and not is_secure:
        target = f"http://{host}{target}"
    if not target.isascii():
        raise InvalidInput(f"The path {parts.path!r} has characters that must be written as %XX.")
    return Route(hop, is_secure, place, host, target, proxy, _authorization(parts))


def check_address(url: str) -> tuple[SplitResult, Hop]:
    """Return a URL's parts and the machine that it names.

    Raises:
        InvalidInput: it is no URL of the web, or has characters that none can have.

    """
    if not (url.isprintable() and " " not in url):
        raise InvalidInput(f"The address {url!r} has characters that must be written as %XX.")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        shown = url.rpartition("@")[2]  # without a name and password
        raise InvalidInput(f"The address {shown!r} must begin with http:// or https://.")
    return parts, _hop(parts)


def _hop(parts: SplitResult) -> Hop:
    try:
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port or _PORTS[parts.scheme]
    except ValueError as error:  # UnicodeError is one
        raise InvalidInput(f"The address {_shown(parts)!r} is not valid: {error}.") from error
    if not host:
        raise InvalidInput(f"The address {_shown(parts)!r} names no host.")
    return Hop(host, port)


def _proxy_for(parts: SplitResult, host: str) -> Proxy | None:
    from urllib.request import getproxies, proxy_bypass  # slow to import

    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass(host):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme != "http":
        raise InvalidInput(
            f"The proxy {_shown(proxy)!r} of the environment speaks {proxy.scheme}; "
            "only proxies with http:// can be used here. NO_PROXY names hosts that need none."
        )
    return Proxy(_hop(proxy), _authorization(proxy))


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _shown(parts: SplitResult) -> str:
    """Return a URL without the name and password that it may hold."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
