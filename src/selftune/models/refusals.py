"""What a provider's refusal means, in selftune's errors: the thing, the rule, and what to do now.

A provider may repeat the key in its own words, so they are cleaned of it, and no traceback leads to
them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from selftune.core.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    SelftuneError,
    TooLarge,
    Unavailable,
)
from selftune.models.profiles import Profile, read_key

if TYPE_CHECKING:
    from openai import APIError

TRAINING_NOT_AVAILABLE = "training_not_available"
_NO_MORE_TRAINING = (
    "it creates no more fine-tuning jobs for this account, and no key or setting will change that. "
    "What is there can still be saved: `selftune rescue archive` keeps files, jobs, evals and "
    "answers. To train now, take [model] profile out of the run file (or --profile off the "
    "command): the same data trains an open model on this machine."
)

_KINDS: dict[int, type[SelftuneError]] = {
    kind.status: kind for kind in (PermissionDenied, NotFound, Conflict, TooLarge, LimitExceeded)
}
_ADVICE = {
    PermissionDenied: "The key may not do this.",
    LimitExceeded: "Run the same later; requests_per_minute of the profile keeps below a limit.",
}


@contextmanager
def told(profile: Profile) -> Iterator[None]:
    """Raise selftune's errors in place of those of the official client.

    Raises:
        AuthenticationFailed: the key is not accepted.
        PermissionDenied: the account may not do this; of training, says what to do instead.
        NotFound, InvalidInput, TooLarge, Conflict: what was asked is wrong, in the provider's words.
        LimitExceeded, Unavailable: the same call may work later.

    """
    from openai import APIError

    try:
        yield
    except APIError as error:
        raise meaning(profile, error) from None
    except AttributeError as error:
        if not isinstance(error.obj, str):
            raise
        # The client takes a page of another kind for a text, and stumbles over it.
        raise Unavailable(
            f"What {place_of(profile)} answers is not OpenAI's API: check base_url, which mostly "
            "ends with /v1."
        ) from None


def meaning(profile: Profile, error: "APIError") -> SelftuneError:
    """Return what an error of the official client means."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APITimeoutError):
        return Unavailable(f"{place_of(profile)} did not answer in time. Run the same again.")
    if isinstance(error, APIConnectionError):
        reason = _clean(profile, str(error.__cause__ or error.message))
        return Unavailable(f"{place_of(profile)} cannot be reached: {reason} Check its address.")
    if not isinstance(error, APIStatusError):
        message = _clean(profile, error.message)
        return Unavailable(f"What {place_of(profile)} answers is not OpenAI's API: {message}")
    body = error.body if isinstance(error.body, dict) else {}
    message = _clean(profile, str(body.get("message") or error.message))
    return _of_status(profile, error.status_code, error.code, message)


def is_end_of_training(status: int, code: str | None, message: str) -> bool:
    """Return whether a refusal means that the account can train nothing more."""
    return status == 403 and (code == TRAINING_NOT_AVAILABLE or "winding down" in message)


def is_out_of_scope(status: int, message: str) -> bool:
    """Return whether a key is known and may not do this one thing.

    OpenAI says it of restricted keys with 401, as of keys that it does not know
    (openclaw/openclaw#47372, continuedev/continue#10059), and with 403.
    """
    return status in (401, 403) and "insufficient permissions" in message.lower()


def place_of(profile: Profile) -> str:
    """Return a profile in words."""
    return f"The provider of the profile {profile.name!r} ({profile.address})"


def _of_status(profile: Profile, status: int, code: str | None, message: str) -> SelftuneError:
    where = place_of(profile)
    said = f"{where} says {status}: {message}"
    if is_out_of_scope(status, message):
        return PermissionDenied(f"{said} {_ADVICE[PermissionDenied]}", code=code)
    if status == 401:  # the provider's own words may repeat a part of the key
        source = profile.key_variable or f"the keyring ({profile.name})"
        return AuthenticationFailed(f"{where} does not accept the key: check it in {source}.")
    if is_end_of_training(status, code, message):
        words = f"{said} That means: {_NO_MORE_TRAINING}"
        return PermissionDenied(words, code=TRAINING_NOT_AVAILABLE)
    kind = _KINDS.get(status, InvalidInput if status < 500 else Unavailable)
    advice = _ADVICE.get(kind, "")
    if code == "insufficient_quota":
        kind, advice = Unavailable, "Add credit to the account, then run the same again."
    elif status < 400:
        kind, advice = NotFound, "It sends elsewhere: check base_url."
    elif status == 404 and "Invalid URL" in message:
        advice = "Check base_url, which mostly ends with /v1."
    return kind(f"{said} {advice}".rstrip(), code=code)


def _clean(profile: Profile, message: str) -> str:
    """Return the message without the key, whoever put it there."""
    key = read_key(profile)
    return message if not key else message.replace(key, "…")
