"""Keys and passwords in texts, found by their shape or by the word before them.

The shapes are those of detect-secrets, without its entropy detectors, which take every hash for a
secret, and without asking any service whether a key works; `key_shapes.toml` adds newer ones. What
is plainly a placeholder (`sk-your-key`, `AKIAIOSFODNN7EXAMPLE`) is no finding, and keys without a
fixed beginning (Discord, Twilio) only where a word before them says what they are: `api_key=…`,
`password is …`, in English and German. A text has at most one finding of a kind: the first.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, MatchKind
from detect_secrets.filters import heuristic
from detect_secrets.plugins import (
    aws,
    azure_storage_key,
    basic_auth,
    github_token,
    gitlab_token,
    jwt,
    mailchimp,
    openai,
    private_key,
    pypi_token,
    sendgrid,
    slack,
    square_oauth,
    telegram_token,
)
from detect_secrets.plugins.base import RegexBasedDetector

from selftune.data.findings.finding import Finding, Joined, join

RULE = "secret"

_REACH = 4096
"""Characters after an anchor that may belong to the secret; the longest are private keys."""
_MOST_TRIES = 1000
"""Anchors of one kind that are tried in one text, so that no text is slow."""

_LIBRARY: tuple[tuple[type[RegexBasedDetector], tuple[str, ...]], ...] = (
    (aws.AWSKeyDetector, ("AKIA", "ASIA")),
    (azure_storage_key.AzureStorageKeyDetector, ("AccountKey=",)),
    (github_token.GitHubTokenDetector, ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    (gitlab_token.GitLabTokenDetector, ("glpat-", "glrt-", "gldt-")),
    (jwt.JwtTokenDetector, ("eyJ",)),
    (mailchimp.MailchimpDetector, ("-us",)),
    (openai.OpenAIDetector, ("sk-",)),
    (private_key.PrivateKeyDetector, ("BEGIN ", "PuTTY-User-Key")),
    (pypi_token.PypiTokenDetector, ("pypi-Ag",)),
    (sendgrid.SendGridDetector, ("SG.",)),
    (slack.SlackDetector, ("https://hooks.slack.com/services/",)),
    (square_oauth.SquareOAuthDetector, ("sq0csp-",)),
    (telegram_token.TelegramBotTokenDetector, (":AA",)),
)
_SHORT = 3
_ADDRESS = 0
"""Where the shape of a password in an address stands among the shapes."""
_BEFORE_ANCHOR = {"Mailchimp Access Key": 32, "Telegram Bot Token": 10}
"""Most characters of a secret that stand before its anchor, where it does not begin with it."""
_NAMES = {
    "Basic Auth Credentials": "password in an address",
    "JSON Web Token": "JSON web token",
    "OpenAI Token": "OpenAI key",
    "Private Key": "private key",
}
_UNBOUNDED = {
    *("password in an address", "private key", "password or key", "bearer token"),
    *_BEFORE_ANCHOR,
}
"""Kinds whose anchor may follow a letter."""

_ASSIGNED_ANCHORS = (
    *(
        "assword",
        "ASSWORD",
        "asswd",
        "asswort",
        "secret",
        "Secret",
        "SECRET",
        "private_key",
        "access_token",
    ),
    *("api_key", "API_KEY", "apikey", "apiKey", "api-key", "API key", "api key"),
    *("auth_token", "AUTH_TOKEN"),
)
_ASSIGNED = re.compile(
    r"""(?i:asswor[dt]|asswd|secret|api[_ -]?key|private_key|(?:auth|access)_token)
    [\w-]{0,20}["'\]`]{0,2}\s{0,3}(?::=|=>|:|={1,3}|\b(?:is|lautet|ist):?)\s{0,3}["'`]?
    (?P<value>[^\s"'`,;]{6,128})""",
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(
    r"(?i)x{4}|\*{3}|\.{3}|your|example|sample|placeholder|change.?me|dummy|redacted|insert|replace"
    r"|1234567|abcdef|password|passwd|^(?:pass|pwd|secret|user|token|test)\d*$"
)
_CODE = re.compile(r"[(\[{<]|^[$%@/.~-]|\w\.\w+\.|::|->|^https?:")
_KEY_MATERIAL = re.compile(r"[A-Za-z0-9+/]{32}")


class Shape(NamedTuple):
    """How a kind of secret looks."""

    kind: str
    anchors: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]


def find_secrets(texts: Sequence[str]) -> list[Finding]:
    """Return the secrets in texts."""
    return list(secrets_in(join(texts)))


def secrets_in(joined: Joined) -> Iterator[Finding]:
    """Yield the secrets in joined texts, text by text."""
    suspects: dict[int, set[int]] = {}
    starts = joined.starts.tolist()
    for automaton, shapes_of in _anchors():
        for anchor, position, _ in automaton.find_matches_as_indexes(joined.buffer):
            index = bisect_right(starts, position) - 1
            suspects.setdefault(index, set()).update(shapes_of[anchor])
    for index in joined.holding(joined.positions(b"@")):
        if "://" in joined.texts[index]:  # by far the commonest anchor: looked for only here
            suspects.setdefault(index, set()).add(_ADDRESS)
    for index in sorted(suspects):
        likely = (shapes()[at] for at in sorted(suspects[index]))
        yield from _findings(index, joined.texts[index], likely)


def _findings(index: int, text: str, shapes: Iterable[Shape]) -> Iterator[Finding]:
    taken: list[tuple[int, int]] = []
    for shape in shapes:
        place = _first(text, shape)
        if place is None or any(start < place[1] and place[0] < end for start, end in taken):
            continue
        taken.append(place)
        yield Finding(index, RULE, shape.kind, place[0], place[1] - place[0])


def _first(text: str, shape: Shape) -> tuple[int, int] | None:
    tries = 0
    for anchor in shape.anchors:
        at = text.find(anchor)
        while at >= 0 and tries < _MOST_TRIES:
            tries += 1
            if shape.kind in _UNBOUNDED or not text[at - 1 : at].isalnum():
                place = _match(text, at, shape)
                if place is not None:
                    return place
            at = text.find(anchor, at + len(anchor))
    return None


def _match(text: str, at: int, shape: Shape) -> tuple[int, int] | None:
    before = _BEFORE_ANCHOR.get(shape.kind, 0)
    for pattern in shape.patterns:
        if before:
            found = pattern.search(text, max(0, at - before), at + 64)
        else:
            found = pattern.match(text, at, at + _REACH)
        if found is not None and _is_real(text, found, shape.kind):
            return found.span()
    return None


def _is_real(text: str, found: re.Match[str], kind: str) -> bool:
    value = found.group("value") if "value" in found.re.groupindex else found.group()
    match kind:
        case "private key":
            return _KEY_MATERIAL.search(text, found.end(), found.end() + 400) is not None
        case "JSON web token":
            return jwt.JwtTokenDetector.is_formally_valid(value)
        case "password in an address":
            value = found.group(1)
        case "password or key":
            value = value.rstrip(".!?)]}>*")
            return _is_password(value) and not _is_placeholder(value)
        case _:
            pass
    return not _is_placeholder(value)


def _is_placeholder(value: str) -> bool:
    few = len(value) >= 16 and len(set(value)) < 6
    return (
        few
        or _PLACEHOLDER.search(value) is not None
        or heuristic.is_sequential_string(value)
        or heuristic.is_templated_secret(value)
    )


def _is_password(value: str) -> bool:
    """Say whether what stands after `password:` can be one: words and code have no digits."""
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return mixed and len(value) >= 6 and _CODE.search(value) is None


@cache
def shapes() -> tuple[Shape, ...]:
    """Return how every kind of secret looks; kinds that several know stand there several times."""
    text = files("selftune.data.findings").joinpath("key_shapes.toml").read_text(encoding="utf-8")
    own = [
        Shape(shape["kind"], tuple(shape["anchors"]), (re.compile(shape["pattern"]),))
        for shape in tomllib.loads(text)["shape"]
    ]
    library = [_from_library(plugin, anchors) for plugin, anchors in _LIBRARY]
    address = _from_library(basic_auth.BasicAuthDetector, ("://",))
    return (address, *own, *library, Shape("password or key", _ASSIGNED_ANCHORS, (_ASSIGNED,)))


def _from_library(plugin: type[RegexBasedDetector], anchors: tuple[str, ...]) -> Shape:
    detector = plugin()
    kind = str(detector.secret_type)
    return Shape(_NAMES.get(kind, kind), anchors, tuple(detector.denylist))


@cache
def _anchors() -> list[tuple[BytesAhoCorasick, list[list[int]]]]:
    """Return what finds anchors, and for each anchor the shapes that it may begin.

    Up to 64 anchors are compared many bytes at a time; with one more it is seven times slower. One
    of three characters among longer ones makes it three times slower, so the short are apart.
    """
    shapes_of: dict[str, list[int]] = {}
    for at, shape in enumerate(shapes()):
        if at == _ADDRESS:
            continue
        for anchor in shape.anchors:
            shapes_of.setdefault(anchor, []).append(at)
    groups = [
        [anchor for anchor in shapes_of if (len(anchor) > _SHORT) == is_long]
        for is_long in (True, False)
    ]
    return [
        (
            BytesAhoCorasick([anchor.encode() for anchor in anchors], MatchKind.LeftmostFirst),
            [shapes_of[anchor] for anchor in anchors],
        )
        for anchors in groups
    ]
