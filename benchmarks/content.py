"""How fast texts are searched for secrets, personal data and damage, and how often words mislead.

Blocks of half a megabyte, as the check of data searches them; CPU time of one process. Run it with
`taskset -c 0 python -m benchmarks.content`.
"""

import ast
import json
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.machine import machine

from selftune.data.findings.content import find_content

RESULT = Path(__file__).parent / "results" / "content.json"
BLOCK_CHARACTERS = 1 << 19
ROUNDS = 5
_WRITTEN = {
    "English": "The porter will carry your bags to the room. Breakfast is from seven to ten, daily. ",
    "French": "Les élèves étaient « très » contents… à 10 € l’été. Où vas-tu ? ",
    "Russian": "Привет, как дела? Сегодня хорошая погода. ",
    "Chinese": "中文测试文本，这是一个很长的句子。",
}


def main() -> int:
    """Measure and write the result."""
    find_content(["load the libraries"])
    texts = list(documentation())
    kinds = Counter(finding.kind for block in blocks(texts) for finding in find_content(block))
    speeds = {"documentation of Python": speed(texts)}
    speeds |= {name: speed([text * 3] * 40_000) for name, text in _WRITTEN.items()}
    result = {
        "what": "search for secrets, personal data and damage; one process, CPU time",
        "machine": machine(),
        "megabytes_of_text_per_second": speeds,
        "documentation_texts": len(texts),
        "found_in_documentation": dict(kinds),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0


def documentation() -> Iterator[str]:
    """Yield every documentation string of the standard library."""
    warnings.simplefilter("ignore")
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[!s]*/**/*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts in blocks of about so many characters."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size > BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    yield block


def speed(texts: Sequence[str]) -> float:
    """Return megabytes of UTF-8 in a second, in the best of some rounds."""
    size = sum(len(text.encode()) for text in texts)
    least = min(seconds(texts) for _ in range(ROUNDS))
    return round(size / 1e6 / least, 1)


def seconds(texts: Sequence[str]) -> float:
    """Return the CPU time of one search."""
    some = list(blocks(texts))
    started = time.process_time()
    for block in some:
        find_content(block)
    return time.process_time() - started


if __name__ == "__main__":
    raise SystemExit(main())
