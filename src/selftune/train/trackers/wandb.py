"""Weights & Biases, as OpenAI's integration: the run's id is the job's, with OpenAI's tags.

The key is the server's (`WANDB_API_KEY`, or what `wandb login` stored); `WANDB_MODE=offline` writes
files that `wandb sync` sends later, `WANDB_BASE_URL` names a server of one's own.
"""

import netrc
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field

from selftune.core.errors import InvalidInput, MissingExtra
from selftune.core.records import Record
from selftune.core.settings import read_variable
from selftune.train.tracker import Shown

if TYPE_CHECKING:
    import wandb

_SERVICE = "https://api.wandb.ai"
_LONGEST_TAG = 64
_MOST_TAGS = 50
_MARK = "wandb-last-step"
"""Offline nobody else knows how far the run is."""


class Params(Record):
    """What a job's integration says, in OpenAI's words."""

    project: Annotated[str, Field(min_length=1)]
    name: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] = ()


class WeightsAndBiases:
    """One job's run."""

    def __init__(self, run: "wandb.Run", params: Params, mark: Path) -> None:
        self._run, self._mark = run, mark
        self.address = run.url or _address_of(params, run.id)
        known = int(mark.read_text(encoding="utf-8")) if mark.exists() else 0
        self.last_step = known if run.offline else max(0, run.starting_step - 1)

    def configure(self, values: Mapping[str, int | float]) -> None:
        self._run.config.update(dict(values), True)  # type: ignore[no-untyped-call]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)
        self._mark.write_text(str(step), encoding="utf-8")

    def finish(self, *, succeeded: bool | None) -> None:
        self._run.finish(exit_code=1 if succeeded is False else 0)


def check(params: Params) -> None:
    """Check a job's integration before the job is there.

    Raises:
        InvalidInput: there is no key, or tags that the service does not take.

    """
    if len(params.tags) > _MOST_TAGS or any(
        not 0 < len(tag) <= _LONGEST_TAG for tag in params.tags
    ):
        raise _refused(f"It may have {_MOST_TAGS} tags of 1 to {_LONGEST_TAG} characters each.")
    if read_variable("WANDB_MODE") in ("offline", "disabled"):
        return
    if not read_variable("WANDB_API_KEY") and not _has_stored_key():
        raise _refused(
            "This server has no key for Weights & Biases. Whoever runs it sets WANDB_API_KEY, or "
            "WANDB_MODE=offline to write files only, and starts it again."
        )


def build(params: Params, run: Shown) -> WeightsAndBiases:
    """Go on with a job's run, or begin it."""
    if find_spec("wandb") is None:
        raise MissingExtra(
            "Weights & Biases needs wandb: pip install 'selftune[trackers]'", code="missing_extra"
        )
    import wandb

    is_offline = read_variable("WANDB_MODE") == "offline"
    folder = run.kept if is_offline else run.folder
    folder.mkdir(parents=True, exist_ok=True)
    tags = ("openai/finetune", f"openai/{run.base}", f"openai/{run.id}", *params.tags)
    started = wandb.init(
        project=params.project,
        entity=params.entity,
        id=run.id,
        name=params.name or run.id,
        tags=[tag[:_LONGEST_TAG] for tag in tags],
        config=run.config,
        dir=str(folder),
        reinit="create_new",
        resume="allow",
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
        ),
    )
    return WeightsAndBiases(started, params, run.folder / _MARK)


def _has_stored_key() -> bool:
    host = urlsplit(read_variable("WANDB_BASE_URL") or _SERVICE).hostname or ""
    try:
        return netrc.netrc(read_variable("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _address_of(params: Params, run_id: str) -> str | None:
    """Return where `wandb sync` will put an offline run."""
    if params.entity is None:
        return None
    return f"https://wandb.ai/{params.entity}/{params.project}/runs/{run_id}"


def _refused(why: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid value for 'integrations': {why}", code="invalid_value", param="integrations"
    )
