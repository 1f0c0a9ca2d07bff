"""The input file of a batch: checked whole before anything is asked, then read request by request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from selftune.store.batches import LineError

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
MOST_INPUTS = 50_000
"""Texts to embed, in all requests of one batch."""
MOST_ERRORS = 1000
"""Lines that are told of, where so many are wrong."""
_FIELDS = ("custom_id", "method", "url", "body")
_EMBEDDINGS = "/v1/embeddings"
_LONGEST_MODEL = 300


class Request(msgspec.Struct):
    """One line: what to ask, its body as it is in the file."""

    custom_id: str
    body: msgspec.Raw


class Checked(NamedTuple):
    """What a check found."""

    total: int
    model: str | None
    errors: tuple[LineError, ...]


def requests_of(path: Path) -> Iterator[Request]:
    """Yield the requests of a file that was checked."""
    read = msgspec.json.Decoder(Request)
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield read.decode(line)


def check_lines(path: Path, endpoint: str) -> Checked:
    """Return how many requests a file has, and what is wrong with them."""
    if path.stat().st_size > MOST_BYTES:
        return _refused("file_too_large", f"The input file has more than {MOST_BYTES} bytes.")
    check = _Check(endpoint)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                check.take(number, line)
            if check.is_enough:
                break
    if check.total == 0:
        return _refused("empty_file", "The input file has no requests.")
    if check.total > MOST_REQUESTS:
        return _refused(
            "too_many_tasks", f"The input file has more than {MOST_REQUESTS} requests: split it."
        )
    if check.inputs > MOST_INPUTS:
        return _refused(
            "too_many_inputs",
            f"The input file has more than {MOST_INPUTS} inputs in all: split it.",
        )
    return Checked(check.total, check.model, tuple(check.errors))


class _Check:
    """Looks at each line, and at what lines must have in common."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._names: set[str] = set()
        self.total = self.inputs = 0
        self.model: str | None = None
        self.errors: list[LineError] = []

    @property
    def is_enough(self) -> bool:
        """True when the rest would change nothing."""
        return self.total > MOST_REQUESTS or len(self.errors) >= MOST_ERRORS

    def take(self, number: int, line: bytes) -> None:
        """Look at one line."""
        self.total += 1
        found = self._problem(line)
        if found is not None:
            code, message, param = found
            self.errors.append(LineError(code=code, message=message, line=number, param=param))

    def _problem(self, line: bytes) -> tuple[str, str, str | None] | None:
        try:
            entry = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            entry = None
        if not isinstance(entry, dict):
            return "invalid_json_line", "This line is not parseable as valid JSON.", None
        for name in _FIELDS:
            if entry.get(name) is None:
                return _missing(name)
        return self._problem_of_envelope(entry) or self._problem_of_body(entry["body"])

    def _problem_of_envelope(self, entry: dict[str, Any]) -> tuple[str, str, str] | None:
        name = entry["custom_id"]
        if not isinstance(name, str) or not name:
            return "invalid_type", "The custom_id must be a text that is not empty.", "custom_id"
        if name in self._names:
            return (
                "duplicate_custom_id",
                f"The custom_id '{name[:100]}' for this request is a duplicate of another request. "
                "The custom_id parameter must be unique for each request in a batch.",
                "custom_id",
            )
        self._names.add(name)
        if entry["method"] != "POST":
            return "invalid_method", "The method of a request must be 'POST'.", "method"
        if entry["url"] != self._endpoint:
            return (
                "invalid_url",
                "The URL provided for this request does not match the batch endpoint, "
                f"'{self._endpoint}'.",
                "url",
            )
        return None

    def _problem_of_body(self, body: Any) -> tuple[str, str, str] | None:
        if not isinstance(body, dict):
            return "invalid_type", "The body of a request must be a JSON object.", "body"
        if body.get("stream"):
            return (
                "unsupported_value",
                "A batch answers each request whole: leave 'stream' out.",
                "body.stream",
            )
        model = body.get("model")
        if not isinstance(model, str) or not model:
            return _missing("body.model")
        if len(model) > _LONGEST_MODEL or "\0" in model:
            return "invalid_value", "There is no model of such a name.", "body.model"
        self.model = model if self.model is None else self.model
        if model != self.model:
            return (
                "mismatched_model",
                "The model for this request does not match the rest of the batch. Each batch must "
                "contain requests for a single model.",
                "body.model",
            )
        if self._endpoint == _EMBEDDINGS:
            self.inputs += _inputs(body.get("input"))
        return None


def _inputs(given: Any) -> int:
    """Return how many texts a request embeds; numbers are the tokens of one."""
    many = isinstance(given, list) and not (given and isinstance(given[0], int))
    return len(given) if many else 1


def _missing(name: str) -> tuple[str, str, str]:
    return "missing_required_parameter", f"Missing required parameter: '{name}'.", name


def _refused(code: str, message: str) -> Checked:
    return Checked(0, None, (LineError(code=code, message=message),))
