"""Memory that a process may use, read from what the kernel writes."""

import os
from pathlib import Path

import pytest

from selftune.models.main_memory import free_memory, whole_memory

MEGABYTE = 1024**2


def write(path: Path, text: str | int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write(tmp_path / "proc" / "meminfo", "MemTotal: 9000000 kB\nMemAvailable: 4096000 kB")
    return tmp_path / "proc"


def test_without_groups_the_machine_is_the_limit(proc: Path, tmp_path: Path) -> None:
    assert free_memory(proc, tmp_path / "none") == 4000 * MEGABYTE
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert whole_memory(proc, tmp_path / "none") == machine


@pytest.mark.parametrize("told", ["0::/a/b", "0::/", "12:cpu:/x\n0::/a"])
def test_a_container_is_the_limit_with_what_it_can_give_back(
    proc: Path, tmp_path: Path, told: str
) -> None:
    groups = tmp_path / "groups"
    write(proc / "self" / "cgroup", told)
    write(groups / "memory.max", 500 * MEGABYTE)
    write(groups / "memory.current", 300 * MEGABYTE)
    write(groups / "memory.stat", f"anon 5\ninactive_file {100 * MEGABYTE}")
    write(groups / "a" / "memory.max", "max")
    write(groups / "a" / "memory.current", 1)
    assert whole_memory(proc, groups) == 500 * MEGABYTE
    assert free_memory(proc, groups) == 300 * MEGABYTE


def test_the_narrowest_of_nested_groups_is_the_limit(proc: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    write(proc / "self" / "cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/7")
    for folder, whole, used in (
        ("", 2**63 - 4096, 0),
        ("docker", 800, 100),
        ("docker/7", 900, 850),
    ):
        write(
            groups / "memory" / folder / "memory.limit_in_bytes",
            whole * (1 if used == 0 else MEGABYTE),
        )
        write(groups / "memory" / folder / "memory.usage_in_bytes", used * MEGABYTE)
    assert whole_memory(proc, groups) == 800 * MEGABYTE
    assert free_memory(proc, groups) == 50 * MEGABYTE


def test_what_is_over_its_limit_has_nothing_free(proc: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    write(proc / "self" / "cgroup", "0::/")
    write(groups / "memory.max", 5)
    write(groups / "memory.current", 6)
    assert free_memory(proc, groups) == 0
