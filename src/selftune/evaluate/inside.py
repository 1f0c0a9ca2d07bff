"""The program that runs a stranger's `grade` inside the sandbox. `evaluate/sandbox.py` starts it.

It has nothing but the standard library. Before it looks at the stranger's source it gives up, for
good: memory, time, new processes, programs, sockets, and most ways to speak to the kernel.
"""

import ctypes
import errno
import json
import os
import platform
import resource
import struct
import sys
from typing import Any

_DENIED = {
    # name: number on x86_64, on aarch64 (Linux's arch/*/syscall tables); -1: not there
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),  # memory that no limit counts
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "sched_setaffinity": (203, 122),
}
_CLONE = (56, 220)
_CLONE3 = 435
_CLONE_THREAD = 0x10000
_AUDIT_ARCH = (0xC000003E, 0xC00000B7)
_X32 = 0x40000000
"""On x86_64, bit of the numbers of another table, which nobody here needs."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Words of classic BPF (linux/bpf_common.h)."""
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_SHOWN = 1000


def main() -> None:
    """Read the task, give up all rights, grade, and write what came of it."""
    task = json.load(sys.stdin)
    answer_to = os.dup(1)
    nowhere = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.path.append(task["packages"])
    _limit(task["limits"])
    _forbid()
    os.write(answer_to, json.dumps(_grade(task)).encode())
    os._exit(0)


def _grade(task: dict[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "grader"}
    try:
        exec(compile(task["source"], "grader.py", "exec"), names)
        score = names["grade"](task["sample"], task["item"])
        return {"score": float(score)}
    except BaseException as error:  # noqa: BLE001 - whatever a stranger's program raises
        return {"error": f"{type(error).__name__}: {str(error)[:_SHOWN]}"}


def _limit(limits: dict[str, int]) -> None:
    most = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_CPU: limits["processor_seconds"],
        resource.RLIMIT_FSIZE: limits["disk_bytes"],
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: limits["processors"]])
    for what, value in most.items():
        resource.setrlimit(what, (value, value))


def _forbid() -> None:
    """Install the filter of system calls."""
    program = _filter(("x86_64", "aarch64").index(platform.machine()))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, first, second in (
        (_PR_SET_NO_NEW_PRIVS, 1, None),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(header)),
    ):
        if libc.prctl(option, first, second, 0, 0):
            raise OSError(ctypes.get_errno(), "the filter of system calls is not accepted")


def _filter(machine: int) -> bytes:
    """Return the program: what is denied fails with EPERM, a thread may start, a process may not."""
    code = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for numbers in _DENIED.values():
        if numbers[machine] >= 0:
            code += [(_EQUAL, 0, 1, numbers[machine]), (_RETURN, 0, 0, _ERROR | errno.EPERM)]
    code += [
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),  # libc then takes clone, whose flags can be seen
        (_EQUAL, 0, 3, _CLONE[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


if __name__ == "__main__":
    main()
