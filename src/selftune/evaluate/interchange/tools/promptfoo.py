"""promptfoo's configs: prompts, providers, tests and assertions."""

from collections.abc import Sequence
from pathlib import Path

from selftune.evaluate.interchange.found import Found, Options, Row, name_of
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.promptfoo_config import models_of, prompts_of, tests_of
from selftune.evaluate.interchange.promptfoo_evals import evals_of
from selftune.evaluate.interchange.untrusted import Opened

TOOL = "promptfoo"
_KEYS = ("prompts", "providers", "targets", "tests", "scenarios", "defaultTest")


def claims(opened: Opened) -> bool:
    """Return whether a file is a config."""
    first = opened.first
    given = [key for key in _KEYS if key in first]
    return opened.kind in ("json", "yaml") and len(given) > 1 and "results" not in first


def read(files: Sequence[Opened], gaps: Gaps, options: Options) -> list[Found]:
    """Return the evals of each config."""
    return [_read(each.path, each.first, gaps, options) for each in files]


def _read(path: Path, config: Row, gaps: Gaps, options: Options) -> Found:
    name = name_of(config.get("description"), path.stem)
    base, place = path.parent, path.name
    tests = list(tests_of(config, base, place, gaps))
    prompts = prompts_of(config.get("prompts"), base, place, gaps)
    models = models_of(config.get("providers"), place, gaps)
    if config.get("env"):
        gaps.part("`env`: nothing of the environment is read from a config", place)
    return Found(TOOL, name, tuple(evals_of(name, tests, prompts, models, options, gaps)))
