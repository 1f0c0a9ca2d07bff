"""`selftune serve --upstream`: what else is served, and the process that records it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import out
from selftune.core.errors import InvalidInput
from selftune.core.settings import child_environment
from selftune.jobs.processes import KeptAlive
from selftune.store.store import Store

if TYPE_CHECKING:
    from selftune.api.upstream.account import Upstream


@dataclass(frozen=True)
class PassingOn:
    """Options of passing requests on."""

    upstream: Annotated[
        str | None,
        typer.Option(
            help="Account of `selftune profiles`: it is asked for models and ids that are not here, "
            "and for all of its API that is not here, by batches too. `selftune rescue switch` "
            "decides model by model.",
            metavar="PROFILE",
        ),
    ] = None
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Keep chats and responses that pass through as stored completions, without "
            "secrets and personal data.",
        ),
    ] = False


def upstream_of(store: Store, options: PassingOn) -> "Upstream | None":
    """Return the account to pass requests on to; None where none is named.

    Raises:
        NotFound: there is no such profile.
        InvalidInput: it has no key, or nothing would be recorded.

    """
    from selftune.api.upstream.account import named_upstream
    from selftune.models.noted import SOCKET
    from selftune.serve.address import socket_path

    found = named_upstream(store)
    if found is not None:
        recorder = socket_path(store.folder("run"), SOCKET)
        return found._replace(recorder=recorder, records=options.record)
    if options.record:
        raise InvalidInput("--record keeps what passes through: name an --upstream too.")
    return None


def recorder_of(store: Store, upstream: "Upstream") -> KeptAlive:
    """Return the process that records and compares what passes through."""
    return KeptAlive(
        "selftune.rescue.recorder",
        (str(upstream.recorder),),
        child_environment(store.settings),
        store.folder("logs") / "recorder.log",
    )


def introduce_upstream(upstream: "Upstream") -> None:
    """Print where other requests go."""
    kept = "; what passes is recorded, redacted" if upstream.records else ""
    profile = upstream.profile
    out.print(
        f"  upstream: {escape(profile.name)} at {escape(profile.address)}{kept}", soft_wrap=True
    )
