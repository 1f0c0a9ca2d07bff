"""Names of stored objects, in OpenAI's own spelling: `file-…`, `ftjob-…`, `chatcmpl-…`.

Ids are random, never derived from user text, so they are safe as file names and in URLs.
A server that must answer the same ids on every run (the conformance profile) seeds the source.
"""

import random
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits

_LENGTH = {
    "file-": 24,
    "upload_": 24,
    "part_": 24,
    "ftjob-": 24,
    "ftevent-": 24,
    "ftckpt_": 24,
    "cp_": 24,
    "chatcmpl-": 29,
    "cmpl-": 29,
    "resp_": 48,
    "call_": 24,
    "evt_": 24,
    "eval_": 32,
    "evalrun_": 32,
    "outputitem_": 32,
    "batch_": 32,
    "batch_req_": 32,
    "wh_": 24,
    "org-": 24,
    "proj_": 24,
    "key_": 24,
}


class IdSource:
    """Makes ids. With a seed the same calls give the same ids; without one they are unguessable."""

    def __init__(self, seed: int | None = None) -> None:
        self._random: random.Random = (
            secrets.SystemRandom() if seed is None else random.Random(seed)
        )

    def letters(self, length: int) -> str:
        """Return `length` base-62 characters."""
        return "".join(self._random.choices(_ALPHABET, k=length))

    def new(self, prefix: str) -> str:
        """Return a fresh id with a known prefix, such as `file-`."""
        return prefix + self.letters(_LENGTH[prefix])

    def hexadecimal(self, length: int) -> str:
        """Return `length` lower-case hexadecimal characters."""
        return "".join(self._random.choices("0123456789abcdef", k=length))


def api_key() -> str:
    """Return a new secret key: 48 base-62 characters, about 285 bits, never seeded."""
    return "sk-selftune-" + IdSource().letters(48)
