"""Every error that selftune raises on purpose.

SelftuneError
├── InvalidInput            the caller sent something wrong and can fix it
│   ├── UnknownPlugin       no such engine, sampler, scorer or format
│   ├── BadRows             rows of a file cannot be used; says which, and why
│   └── TooLarge            the request is larger than the limit allows
├── AuthenticationFailed    no key, or a key that is not known
├── PermissionDenied        the key is known and may not do this
├── NotFound                the named object does not exist in this project
├── Conflict                the object is in a state that does not allow this
├── LimitExceeded           too many requests or objects
├── BudgetSpent             a run used what it may use; what it found is kept
├── Unavailable             a part of selftune is not ready; the same call may work later
├── MissingExtra            an optional dependency is not installed
├── JobFailed               the job cannot succeed: bad data, a broken model
└── Interrupted             the job must stop at this point, through no fault of its own
    ├── Paused              someone asked for a pause
    ├── Cancelled           someone asked for the end of the job
    └── LeaseLost           another worker owns the job now

To add one: it needs a handler that does something no other error gets. The message names the
thing in `{x!r}`, the rule, and the remedy; `code`, `param` and `status` are OpenAI's words.
"""

from typing import Any, ClassVar


class SelftuneError(Exception):
    """Base class: catching it catches everything that selftune raises on purpose."""

    status: ClassVar[int] = 500
    """What OpenAI's API answers where this is wrong: our server says it, and providers say it to us."""

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


class InvalidInput(SelftuneError):
    """The caller sent something wrong and can fix it."""

    status = 400


class UnknownPlugin(InvalidInput):
    """The named plugin is neither built in nor installed."""


class BadRows(InvalidInput):
    """Rows of a file cannot be used; `problems` are records of `data/problems.py`."""

    def __init__(self, message: str, *, problems: tuple[Any, ...]) -> None:
        super().__init__(message)
        self.problems = problems


class TooLarge(InvalidInput):
    """The request is larger than the limit allows."""

    status = 413


class AuthenticationFailed(SelftuneError):
    """No key, or a key that is not known."""

    status = 401


class PermissionDenied(SelftuneError):
    """The key is known and may not do this."""

    status = 403


class NotFound(SelftuneError):
    """The named object does not exist in the caller's project."""

    status = 404


class Conflict(SelftuneError):
    """The object is in a state that does not allow this."""

    status = 409


class LimitExceeded(SelftuneError):
    """Too many requests or objects."""

    status = 429


class BudgetSpent(SelftuneError):
    """A run used what it may use; what it found is kept."""


class Unavailable(SelftuneError):
    """A part of selftune is not ready; the same call may work later."""

    status = 503


class MissingExtra(SelftuneError):
    """An optional dependency is not installed."""


class JobFailed(SelftuneError):
    """The job cannot succeed. `code`, `message` and `param` become the job's error."""


class Interrupted(SelftuneError):
    """The job must stop at this point, through no fault of its own."""


class Paused(Interrupted):
    """Someone asked for a pause; what was learned so far is in the last checkpoint."""


class Cancelled(Interrupted):
    """Someone asked for the end of the job."""


class LeaseLost(Interrupted):
    """Another worker owns the job now; nothing more may be written for it."""
