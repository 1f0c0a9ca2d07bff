"""Which lists and objects of the API an archive has, and how the lists may be asked for."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import Request

from selftune.api.archive.archive import Kind, Object
from selftune.api.evals.wire import ITEM_STATUS, STATUS
from selftune.api.lists import DEFAULT_LIMIT, MOST_LISTED, order_of
from selftune.api.metadata import wanted_metadata
from selftune.core.errors import InvalidInput
from selftune.store.files import Order

Wanted = Callable[[Object], bool]
_EVALS, _JOBS = "/v1/evals", "/v1/fine_tuning/jobs"
_CHATS, _CHECKPOINTS = "/v1/chat/completions", "/v1/fine_tuning/checkpoints"
_ID = "([^/]+)"
_CHANGES = "(?:/(?:cancel|pause|resume))?"
"""What stands behind an object's path where something is done to it."""


class Listing(NamedTuple):
    """A list of the API."""

    kind: Kind
    path: re.Pattern[str]
    """Its last group is the parent's id."""
    order: Order = "asc"
    limit: int = DEFAULT_LIMIT
    most: int = MOST_LISTED
    can_turn: bool = False
    """The caller may ask for the other order."""
    names_ends: bool = True
    """It says `first_id` and `last_id`."""
    parent: Kind | None = None
    """Of what the path names, if that is not a model."""
    filter: Callable[[Request], Wanted] = lambda _: _everything
    is_mixed: bool = False
    """This server may have objects of its own in the same list."""

    def order_of(self, request: Request) -> Order:
        """Return the order that is asked for."""
        if not self.can_turn:
            return self.order
        if self.kind == "permission":  # has words of its own
            given = request.query_params.get("order", "descending")
            return "desc" if given == "descending" else "asc"
        return order_of(request, self.order)


class ObjectPath(NamedTuple):
    """Where objects of a kind are; the last group is the id, one before it the parent's."""

    kind: Kind
    path: re.Pattern[str]
    changes: re.Pattern[str]
    """The paths of requests that change one."""


def _everything(_found: Object) -> bool:
    return True


def _of_purpose(request: Request) -> Wanted:
    purpose = request.query_params.get("purpose")
    return lambda found: purpose is None or found.get("purpose") == purpose


def _of_metadata(request: Request) -> Wanted:
    wanted = wanted_metadata(request)
    is_without = request.query_params.get("metadata") in ("", "null")

    def check(found: Object) -> bool:
        pairs = found.get("metadata") or {}
        return all(pairs.get(k) == v for k, v in wanted.items()) and not (is_without and pairs)

    return check


def _of_model(request: Request) -> Wanted:
    model, has_metadata = request.query_params.get("model"), _of_metadata(request)
    return lambda found: (model is None or found.get("model") == model) and has_metadata(found)


def _of_project(request: Request) -> Wanted:
    project = request.query_params.get("project_id")
    return lambda found: not project or found.get("project_id") == project


def _of_run_status(request: Request) -> Wanted:
    return _of_status(request, dict.fromkeys(STATUS.values()), lambda word: word)


def _of_item_status(request: Request) -> Wanted:
    return _of_status(request, ITEM_STATUS, lambda word: ITEM_STATUS.get(str(word), str(word)))


def _of_status(request: Request, known: dict[str, Any], plain: Callable[[Any], Any]) -> Wanted:
    wanted = request.query_params.get("status")
    if wanted is not None and wanted not in known:
        raise InvalidInput(
            f"Invalid value for 'status': {wanted!r} is not one of {', '.join(known)}.",
            code="invalid_value",
            param="status",
        )
    return lambda found: wanted is None or plain(found.get("status")) == plain(wanted)


def _path(*parts: str) -> re.Pattern[str]:
    return re.compile("/".join(parts))


def _object(kind: Kind, *parts: str, changes: str = _CHANGES) -> ObjectPath:
    return ObjectPath(kind, _path(*parts, _ID), re.compile("/".join((*parts, _ID)) + changes))


LISTINGS = (
    Listing(
        "file",
        _path("/v1/files"),
        order="desc",
        limit=10_000,
        most=10_000,
        can_turn=True,
        filter=_of_purpose,
        is_mixed=True,
    ),
    Listing(
        "job", _path(_JOBS), order="desc", names_ends=False, filter=_of_metadata, is_mixed=True
    ),
    Listing("job_event", _path(_JOBS, _ID, "events"), order="desc", names_ends=False, parent="job"),
    Listing("checkpoint", _path(_JOBS, _ID, "checkpoints"), order="desc", limit=10, parent="job"),
    Listing(
        "permission",
        _path(_CHECKPOINTS, _ID, "permissions"),
        order="desc",
        limit=10,
        can_turn=True,
        filter=_of_project,
    ),
    Listing("eval", _path(_EVALS), can_turn=True, is_mixed=True),
    Listing(
        "eval_run",
        _path(_EVALS, _ID, "runs"),
        can_turn=True,
        parent="eval",
        filter=_of_run_status,
        is_mixed=True,
    ),
    Listing(
        "output_item",
        _path(_EVALS, _ID, "runs", _ID, "output_items"),
        can_turn=True,
        parent="eval_run",
        filter=_of_item_status,
    ),
    Listing("batch", _path("/v1/batches"), order="desc", is_mixed=True),
    Listing("completion", _path(_CHATS), can_turn=True, filter=_of_model, is_mixed=True),
    Listing(
        "completion_message", _path(_CHATS, _ID, "messages"), can_turn=True, parent="completion"
    ),
)
OBJECTS = (
    _object("file", "/v1/files"),
    _object("job", _JOBS),
    _object("eval_run", _EVALS, _ID, "runs"),
    _object("eval", _EVALS),
    _object("output_item", _EVALS, _ID, "runs", _ID, "output_items"),
    _object("batch", "/v1/batches"),
    _object("completion", _CHATS),
)
MODELS = "/v1/models"
MODEL = _path(MODELS, "(.+)")
CONTENT = _path("/v1/files", _ID, "content")
PERMISSIONS = re.compile(f"{_CHECKPOINTS}/{_ID}/permissions(?:/{_ID})?")
