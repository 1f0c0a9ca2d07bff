"""A plain note where the outputs of a closed model would train another one."""

import tomllib
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from selftune.models.endpoint import Endpoint, base_url_of

_OPENAI = "https://api.openai.com"


def terms_note(endpoint: Endpoint) -> str | None:
    """Return what to read before training on this teacher's answers; None for open models."""
    known = _known()
    host = urlsplit(base_url_of(endpoint) or _OPENAI).hostname or ""
    name = endpoint.model.rsplit("/", 1)[-1].removeprefix("ft:")
    is_closed_host = any(
        host == known_host or host.endswith(f".{known_host}") for known_host in known["hosts"]
    )
    is_closed_name = name.startswith(tuple(known["names"]))
    if name.startswith(tuple(known["open_names"])) or not (is_closed_host or is_closed_name):
        return None
    return (
        f"{endpoint.model!r} looks like a closed hosted model. Its provider's terms may restrict "
        "training other models on what it writes: read them before you train on this file. Your "
        "own data carries no such question."
    )


@cache
def _known() -> dict[str, list[str]]:
    text = files("selftune.data.synthesis").joinpath("terms.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
