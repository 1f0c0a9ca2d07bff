"""What an archive is on disk.

    archive.json         the source, when it was read, counts, and what each file was at the end
    archive.copy.json    the same again, for the day on which a bit of the first is lost
    objects/KIND.jsonl   one object a line, oldest first; the last line of an id counts
    blobs/ab/SHA256      contents of files, byte for byte as the source answered them

Lines are only ever appended. Each begins with the SHA-256 of its other bytes, as an object of their
own: `{` and what follows the checksum. `archive.json` has the SHA-256 and the length of every file at
the end of the last run, and its own checksum. Result files stay in base64 where the source answers
them so: what programs decode today, they can decode tomorrow.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.models.profiles import Profile

VERSION = 1
MANIFEST, COPY = "archive.json", "archive.copy.json"
OBJECTS, BLOBS = "objects", "blobs"

Kind = Literal[
    "eval",
    "eval_run",
    "output_item",
    "model",
    "job",
    "job_event",
    "checkpoint",
    "permission",
    "file",
    "batch",
    "completion",
    "completion_message",
    "list",
]
"""`list` notes that a list of the source was read, how far, and how many objects it had."""
KINDS: tuple[Kind, ...] = get_args(Kind)
NAMES: dict[Kind, str] = {
    "eval": "evals",
    "eval_run": "eval runs",
    "output_item": "output items",
    "model": "models",
    "job": "jobs",
    "job_event": "job events",
    "checkpoint": "checkpoints",
    "permission": "permissions",
    "file": "files",
    "batch": "batches",
    "completion": "stored completions",
    "completion_message": "messages of stored completions",
    "list": "lists",
}
"""As people call them."""
State = Literal["kept", "deleted", "forbidden", "failed"]
STATES: tuple[State, ...] = get_args(State)
_BRING_BACK = "bring it back from a copy of the folder, or archive into another one."
_BEGIN, _BETWEEN = b'{"sha256":"', b'",'
_REST = len(_BEGIN) + 64 + len(_BETWEEN)
"""Where in a line begins what its SHA-256 is of, but for the brace that opens it."""
_ENDED: dict[Kind, tuple[str, ...]] = {
    "job": ("succeeded", "failed", "cancelled"),
    "eval_run": ("completed", "failed", "canceled"),
    "batch": ("completed", "failed", "expired", "cancelled"),
}


class Entry(Record):
    """One line: an object of the source, or why there is none."""

    kind: Kind
    id: str
    parent: str | None = None
    """Id of the job, eval, run or completion, or name of the model, that it belongs to."""
    state: State = "kept"
    """`deleted` and `forbidden` are what the source answers. The next run asks again for what `failed`
    or was forbidden; only what failed is missing."""
    reason: str | None = None
    """In the source's words, why it is not kept, or what is odd about it."""
    fetched_at: int
    object: Any = None
    """As the source answered it; None if it answered nothing."""
    blob: str | None = None
    """SHA-256 of a file's content."""

    @property
    def is_settled(self) -> bool:
        """True when asking the source again would change nothing: another key may see more."""
        if self.state in ("failed", "forbidden"):
            return False
        found = self.object if isinstance(self.object, dict) else {}
        if self.kind == "list":
            return bool(found.get("is_final"))
        return self.kind not in _ENDED or found.get("status") in _ENDED[self.kind]


class Source(Record):
    """Whose account it is; never a key."""

    profile: str
    kind: str
    base_url: str
    organization: str | None = None
    project: str | None = None


def source_of(profile: Profile) -> Source:
    """Return what an archive keeps of a profile."""
    return Source(
        profile=profile.name,
        kind=profile.kind,
        base_url=profile.address,
        organization=profile.organization,
        project=profile.project,
    )


class Seal(Record):
    """What a file was when a run ended."""

    lines: int
    bytes: int
    sha256: str


class Manifest(Record):
    """`archive.json`, apart from its own SHA-256."""

    version: int = VERSION
    source: Source
    started_at: int
    ended_at: int | None = None
    """When the last run ended; None while one is under way, or after one that was killed."""
    is_complete: bool = False
    """Everything that the source lists is here, or noted as deleted or forbidden."""
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Objects by kind and state."""
    files: dict[str, Seal] = Field(default_factory=dict)
    """By kind."""


def line_of(entry: Entry) -> bytes:
    """Return an entry as its line, the newline included."""
    rest = _encoded(entry.model_dump())
    return _BEGIN + hashlib.sha256(rest).hexdigest().encode() + _BETWEEN + rest[1:] + b"\n"


def entry_of(line: bytes) -> Entry:
    """Return the entry of a line.

    Raises:
        InvalidInput: the line is not what was written; says how.

    """
    given, rest = line[len(_BEGIN) : _REST - len(_BETWEEN)], b"{" + line[_REST:-1]
    has_shape = line.startswith(_BEGIN) and line.endswith(b"}\n")
    if not has_shape or line[_REST - len(_BETWEEN) : _REST] != _BETWEEN:
        raise InvalidInput("it is no line of an archive")
    if hashlib.sha256(rest).hexdigest().encode() != given:
        raise InvalidInput("it is not what was written: its SHA-256 differs")
    try:
        return Entry.model_validate(json.loads(rest))
    except (ValueError, ValidationError) as error:
        raise InvalidInput("a selftune that writes otherwise wrote it") from error


def manifest_text(manifest: Manifest) -> bytes:
    """Return `archive.json`."""
    rest = manifest.model_dump()
    return _encoded({"sha256": digest(rest)} | rest, indent=2) + b"\n"


def manifest_of(text: bytes) -> Manifest:
    """Return what `archive.json` says.

    Raises:
        InvalidInput: it is none, it was changed, or a later selftune wrote it.

    """
    try:
        value = json.loads(text)
        given = value.pop("sha256")
        manifest = Manifest.model_validate(value)
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
        raise InvalidInput(f"{MANIFEST} cannot be read: {_BRING_BACK}") from error
    if manifest.version != VERSION:
        raise InvalidInput(
            f"{MANIFEST} has version {manifest.version}, and this selftune reads {VERSION}: "
            "use the one that wrote it."
        )
    if digest(value) != given or manifest_text(manifest) != text:
        raise InvalidInput(f"{MANIFEST} is not what was written: {_BRING_BACK}")
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """Return what an archive says of itself, by the copy where need be; None where there is none.

    Raises:
        InvalidInput: neither can be read.

    """
    texts = [path.read_bytes() for name in (MANIFEST, COPY) if (path := folder / name).is_file()]
    for text in texts[:-1]:
        with suppress(InvalidInput):
            return manifest_of(text)
    try:
        return manifest_of(texts[-1]) if texts else None
    except InvalidInput as error:
        raise InvalidInput(f"{folder}: {error.message}") from error


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Sources may answer halves of characters, which JSON has and UTF-8 has not.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _encoded(value: Any, indent: int | None = None) -> bytes:
    """Return JSON that keeps the order of keys."""
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        text = json.dumps(value, separators=separators, indent=indent, ensure_ascii=False)
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=separators, indent=indent).encode()
