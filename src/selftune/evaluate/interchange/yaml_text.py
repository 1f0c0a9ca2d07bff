"""YAML as the tools that write it mean it: version 1.2, where `yes` and `on` are words."""

import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from selftune.core.errors import InvalidInput

_DECIMAL = re.compile(r"[-+]?[0-9][0-9_]*")
_OTHER_BASES = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+)")
_REAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_ -]*[A-Za-z0-9]")
_BLOCK = re.compile(r"[^\s#][\n\x20-\x7e\xa1-\ud7ff]*\S\n?")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off"))
_ANY_WIDTH = 1_000_000
_TAG = "tag:yaml.org,2002:"


def load_yaml(text: str, path: Path) -> Any:
    """Return the value of a YAML file; nothing in it is run.

    Raises:
        InvalidInput: it is not YAML, has a tag of a program, or has one key twice.

    """
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # a SafeLoader, of YAML 1.2
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidInput(f"{place} is not valid YAML: {problem}.") from error
    except (RecursionError, ValueError, TypeError) as error:
        raise InvalidInput(f"{path} is not valid YAML: {error}.") from error


def write_yaml(value: Any) -> str:
    """Return a value as YAML that versions 1.1 and 1.2 read alike."""
    import yaml

    options: dict[str, Any] = {"allow_unicode": True, "sort_keys": False, "width": _ANY_WIDTH}
    return str(yaml.dump(value, Dumper=_dumper(), **options))


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """A safe dumper that quotes every text that could be read as something else."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        is_plain = _PLAIN.fullmatch(data) is not None and data.lower() not in _WORDS
        is_block = "\n" in data and _BLOCK.fullmatch(data) is not None
        style = "|" if is_block else None if is_plain else '"'
        return dumper.represent_scalar(f"{_TAG}str", data, style=style)

    Dumper.add_representer(str, text)
    return Dumper


@cache
def _loader() -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """A safe loader with the words of version 1.2, which refuses a key that is there twice."""

        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if key.tag != f"{_TAG}merge"]
            if len(set(map(str, keys))) < len(keys):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is there twice", node.start_mark
                )
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver(
        f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z"), [*"~nN", ""]
    )
    words = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
    Loader.add_implicit_resolver(f"{_TAG}bool", words, list("tTfF"))
    figures = list("-+0123456789.")
    Loader.add_implicit_resolver(
        f"{_TAG}int", re.compile(rf"(?:{_OTHER_BASES.pattern}|{_DECIMAL.pattern})\Z"), figures
    )
    Loader.add_implicit_resolver(f"{_TAG}float", re.compile(rf"{_REAL.pattern}\Z"), figures)
    Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])
    Loader.add_constructor(f"{_TAG}int", _whole)
    return Loader


def _whole(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    is_decimal = _DECIMAL.fullmatch(text) is not None
    return int(text, 10 if is_decimal else 0)
