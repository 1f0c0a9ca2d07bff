"""Programs that try to get out, and what they get instead."""

import shutil
from pathlib import Path

import pytest

from selftune.core.errors import InvalidInput
from selftune.evaluate.grading import build_scorer
from selftune.evaluate.sandbox import Limits, grade_inside
from selftune.evaluate.scorer import Graded, guarded

MIB = 1024 * 1024
LIMITS = Limits(seconds=20, memory_bytes=512 * MIB, disk_bytes=8 * MIB)


def has_sandbox() -> bool:
    if shutil.which("bwrap") is None:
        return False
    probe = grade_inside("def grade(sample, item): return 1", {}, {}, LIMITS)
    return probe.fault != "python_grader_server_error"


needs_sandbox = pytest.mark.skipif(
    not has_sandbox(), reason="needs bubblewrap, and a kernel that lets it make namespaces"
)


def tried(body: str, limits: Limits = LIMITS) -> Graded:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return grade_inside(
        f"def grade(sample, item):\n{lines}", {"x": 2}, {"output_text": "a"}, limits
    )


@needs_sandbox
@pytest.mark.parametrize(
    ("body", "score"),
    [
        ("return item['x'] / 4", 0.5),
        ("return sample['output_text'] == 'a'", 1.0),
        ("print('x' * 100_000)\nreturn 1", 1.0),
        ("import numpy\nreturn numpy.mean([1, 2])", 1.5),
        ("import rapidfuzz.fuzz\nreturn rapidfuzz.fuzz.ratio('ab', 'ac')", 50.0),
        ("open('/tmp/a', 'w').write('1')\nreturn open('/tmp/a').read()", 1.0),
        (
            "import threading\nr = []\nt = threading.Thread(target=lambda: r.append(1))\n"
            "t.start()\nt.join()\nreturn sum(r)",
            1.0,
        ),
    ],
)
def test_a_program_grades(body: str, score: float) -> None:
    found = tried(body)
    assert found.reason is None
    assert found.value == score


@needs_sandbox
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return open('/etc/passwd').read()", "No such file"),
        (f"return open({str(Path(__file__))!r}).read()", "No such file"),
        ("import os\nreturn os.listdir('/home')", "No such file"),
        ("open('/grader.py', 'w')", "Read-only|Permission"),
        ("open('/packages/evil.py', 'w')", "Read-only|Permission"),
        ("open('/x', 'w')", "Read-only|Permission"),
        ("open('/dev/shm/x', 'w')", "Read-only|Permission"),
        ("import os\nos.fork()", "Operation not permitted"),
        ("import os\nos.execv('/bin/sh', ['sh'])", "not permitted|No such file"),
        ("import subprocess\nsubprocess.run(['/bin/sh'])", "Operation not permitted"),
        ("import socket\nsocket.socket()", "Operation not permitted"),
        (
            "import socket\nsocket.create_connection(('127.0.0.1', 80))",
            "Operation not permitted",
        ),
        (
            "import ctypes, os\nif ctypes.CDLL(None, use_errno=True).unshare(0x10000000):\n"
            "    raise OSError(ctypes.get_errno(), 'kept in')\nreturn 1",
            "kept in",
        ),
        (
            "import ctypes\nif ctypes.CDLL(None).ptrace(16, 1, 0, 0):\n"
            "    raise OSError('kept in')\nreturn 1",
            "kept in",
        ),
        (
            "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))\nreturn 1",
            "not allowed to raise",
        ),
        ("import os\nos.memfd_create('x')", "Operation not permitted"),
        ("x = bytearray(10**9)\nreturn 1", "MemoryError"),
        ("open('/tmp/a', 'wb').write(b'0' * 10**8)", "File too large"),
        (
            "for i in range(9):\n    open(f'/tmp/{i}', 'wb').write(b'0' * 4 * 2**20)",
            "No space left",
        ),
        ("import os\nwhile True:\n    os.write(3, b'x' * 10000)", "was ended"),
        ("import os\nos.write(3, b'[' * 60000)\nos._exit(0)", "was ended"),
        ("import ctypes\nctypes.string_at(0)", "was ended"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyError('x')", "KeyError"),
        ("return 'high'", "could not convert"),
        ("return float('nan')", "not a finite number"),
        ("return float('inf')", "not a finite number"),
    ],
)
def test_a_program_that_tries_to_get_out_or_fails_is_errored(body: str, words: str) -> None:
    found = tried(body)
    assert found.status == "errored"
    assert found.value is None
    assert found.fault == "python_grader_runtime_error"
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(found.reason)


@needs_sandbox
def test_a_program_sees_no_environment_and_no_process_but_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_KEY_THAT_IS_SECRET", "sk-1")
    found = tried(
        "import glob\nraise OSError([open(p).read() for p in glob.glob('/proc/*/environ')])"
    )
    assert "OPENBLAS_NUM_THREADS=1" in str(found.reason)
    assert "SECRET" not in str(found.reason)
    processes = "[name for name in os.listdir('/proc') if name.isdigit()]"
    assert tried(f"import os\nreturn len({processes})").value == 1


@needs_sandbox
@pytest.mark.parametrize("body", ["while True:\n    pass", "import time\ntime.sleep(60)"])
def test_a_program_that_does_not_end_is_ended(body: str) -> None:
    found = tried(body, Limits(seconds=0.5))
    assert "took longer than 0.5 seconds" in str(found.reason)


@needs_sandbox
def test_a_program_is_a_grader() -> None:
    source = "def grade(sample, item):\n    return len(sample['output_text']) / item['most']"
    scorer = build_scorer({"type": "python", "source": source, "pass_threshold": 0.5})
    found = guarded(scorer, {"most": 4}, {"output_text": "ab"})
    assert (found.value, found.passed) == (0.5, True)
    assert guarded(scorer, {"most": 0}, {"output_text": "ab"}).status == "errored"


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    trace = tmp_path / "ran"
    found = tried(f"open({str(trace)!r}, 'w')\nreturn 1")
    assert found.fault == "python_grader_server_error"
    assert "python grader needs bubblewrap" in str(found.reason)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def grade(", "is not Python"),
        ("x = 1", r"does not define grade\(sample, item\)"),
        ("(" * 10_000, "is not Python"),
        ("def grade(s, i): return 1\n#" + "x" * 256_000, "longer than 256,000 bytes"),
        ("a\0b", "is not Python"),
    ],
)
def test_what_cannot_be_a_program_is_refused_before_anything_runs(source: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        build_scorer({"type": "python", "source": source})
