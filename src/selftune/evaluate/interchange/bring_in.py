"""Files of other tools -> what they hold, whichever tools they are from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange import tools
from selftune.evaluate.interchange.found import Found, Options, name_of
from selftune.evaluate.interchange.gaps import Gap, Gaps
from selftune.evaluate.interchange.untrusted import Opened, open_all


@dataclass(frozen=True)
class BroughtIn:
    """Everything that was found, and what could not be taken over."""

    found: tuple[Found, ...]
    gaps: tuple[Gap, ...]


def bring_in(
    paths: Sequence[Path],
    tool: str | None = None,
    name: str | None = None,
    options: Options | None = None,
) -> BroughtIn:
    """Read the files of a tool; without its name, their content tells which one it is.

    Raises:
        InvalidInput: a file cannot be read, is of no known tool, or holds nothing that can be used.

    """
    gaps = Gaps()
    opened = open_all(list(paths), gaps)
    found: list[Found] = []
    for reader, files in _by_tool(opened, tool, gaps):
        found += reader.read(files, gaps, options or Options())
    if not any(each.evals or each.rounds for each in found):
        said = "".join(f"\n  {gap}" for gap in gaps.told())
        raise InvalidInput(f"Nothing in {_listed(paths)} can be used.{said}")
    if name is not None:
        found = [_renamed(found, name)]
    return BroughtIn(tuple(found), gaps.told())


def _by_tool(
    opened: list[Opened], tool: str | None, gaps: Gaps
) -> list[tuple[ModuleType, list[Opened]]]:
    if tool is not None:
        return [(plugins.load(tools, tool.replace("-", "_")), opened)]
    readers = [plugins.load(tools, each) for each in plugins.available(tools)]
    groups: dict[str, tuple[ModuleType, list[Opened]]] = {}
    for each in opened:
        reader = next((reader for reader in readers if reader.claims(each)), None)
        if reader is None:
            gaps.note("a file of no known tool was passed over", str(each.path))
        else:
            groups.setdefault(reader.__name__, (reader, []))[1].append(each)
    if not groups:
        raise InvalidInput(
            f"{_listed([each.path for each in opened])} is of no known tool: --from says which one "
            f"it is, of {', '.join(plugins.available(tools))}."
        )
    return list(groups.values())


def _renamed(found: list[Found], name: str) -> Found:
    if len(found) > 1:
        names = ", ".join(repr(each.name) for each in found)
        raise InvalidInput(f"The files hold {len(found)} evals ({names}): --name names only one.")
    whole, plain = found[0], name_of(name, "eval")
    evals = [replace(e, name=plain + e.name.removeprefix(whole.name)) for e in whole.evals]
    return replace(whole, name=plain, evals=tuple(evals))


def _listed(paths: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3:,} more"
