"""What the ear and the vault give up before they do anything else (P1, P5).

No network: the kernel refuses every socket but Unix ones, and the calls by which
a socket could be had from elsewhere, for the rest of the process's life and for
its children. No core dump, no debugger, no swap where the system allows it.
Called first in `__main__`, while there is one thread: a filter binds the thread
that sets it and those made after it.

Source: seccomp(2), prctl(2), mlockall(2), mallopt(3); Linux, include/uapi/linux/seccomp.h and filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import socket
import struct
from typing import NamedTuple

from fadeout_device.errors import FadeoutError

PARENT_PID_VARIABLE = "FADEOUT_PARENT_PID"
STARTED_AGAIN_VARIABLE = "FADEOUT_STARTED_AGAIN"
"""Set for a room that has run before: nobody sits there who wants to know at once what is missing."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 32 * 1024
_SECCOMP_MODE_FILTER = 2
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4

# linux/filter.h: an instruction is (code, jump if true, jump if false, constant).
_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]; little-endian.
_NR, _ARCH, _ARG0 = 0, 4, 16

_X32_BIT = 0x40000000


class _Machine(NamedTuple):
    """A processor's audit number and system calls: asm/unistd_64.h, asm-generic/unistd.h."""

    arch: int
    socket_calls: tuple[int, ...]
    """socket, socketpair: allowed for Unix sockets."""
    refused_calls: tuple[int, ...]
    """io_uring_setup (makes sockets behind the filter's back), pidfd_getfd, ptrace,
    process_vm_readv, process_vm_writev (take over a process that has the network)."""


_MACHINES = {
    "x86_64": _Machine(0xC000003E, (41, 53), (425, 438, 101, 310, 311)),
    "aarch64": _Machine(0xC00000B7, (198, 199), (425, 438, 117, 270, 271)),
}


class ConfinementError(FadeoutError):
    """The kernel does not enforce what this process must not have; it refuses to run."""

    exit_code = os.EX_NOPERM


class Confinement(NamedTuple):
    """What holds, in words for `fadeout status`."""

    network: str
    memory: str


def confine(*, is_confined: bool = False) -> Confinement:
    """Give up the network, core dumps, debuggers and (best effort) swap, for good.

    Args:
        is_confined: this process executed itself anew: the filter is still there, and the kernel
            has no room for a thousand of them. It is asked all the same.

    Raises:
        ConfinementError: the kernel still lets this process make a network socket.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    die_with_parent(libc)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _return_freed_memory(libc)
    memory = _lock_memory(libc)
    if not is_confined:
        _refuse_network(libc)
    _believe_the_kernel()
    return Confinement("refused by the kernel (seccomp)", memory)


def die_with_parent(libc: ctypes.CDLL) -> None:
    """Have the kernel send SIGTERM when the supervisor that started this process is gone.

    Does nothing for a process that was started in another way.
    """
    parent = os.environ.get(PARENT_PID_VARIABLE)
    if parent is None:
        return
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        # It died before we asked: the signal will not come.
        raise ConfinementError("the process that started this one is gone")


def _return_freed_memory(libc: ctypes.CDLL) -> None:
    """Have the kernel take back, and so erase, large buffers as soon as they are freed.

    Utterances and keyrings are such buffers: kept in the heap for later use, as glibc
    would, they could be found there long after. Where there is no mallopt, as in musl,
    that is what happens.
    """
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 1)  # one heap for all threads: less memory, and none forgotten


def _lock_memory(libc: ctypes.CDLL) -> str:
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    # With a limit, a later mapping would fail in the middle of something: all or nothing.
    # ONFAULT locks pages as they are used, instead of pulling in whole libraries.
    if (soft == resource.RLIM_INFINITY or os.geteuid() == 0) and (
        libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0
    ):
        return "locked, never swapped"
    return f"may be swapped: the limit for locked memory is {soft // 1024} KiB (see docs/threat-model.md)"


def _refuse_network(libc: ctypes.CDLL) -> None:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise ConfinementError(
            f"no network filter is known for {platform.machine()}", "fadeout runs on x86-64 and 64-bit ARM"
        )
    # A 32-bit process makes other calls on the same processor; it would be refused everything.
    program = _program(machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0
    ):
        raise ConfinementError(
            f"the kernel takes no seccomp filter: {os.strerror(ctypes.get_errno())}",
            "use a kernel with CONFIG_SECCOMP_FILTER, as Debian and Raspberry Pi OS ship it",
        )


def _believe_the_kernel() -> None:
    """Try what must fail: that is the promise, not that a call returned without an error."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.socket(family, socket.SOCK_DGRAM).close()
        except OSError:
            continue
        raise ConfinementError("the kernel let a confined process make a network socket")


def _program(machine: _Machine) -> bytes:
    """Return the filter as BPF instructions.

    Jumps are relative and forward only: what a check jumps to stands below it.
    """
    refuse_call = _REFUSE | errno.EPERM
    refuse_family = _REFUSE | errno.EAFNOSUPPORT
    calls = [*machine.socket_calls, *machine.refused_calls]
    # Indexes: 0-1 architecture, 2-3 x32, then one per call, then the six of the second list.
    check_family = 4 + len(calls) + 1
    deny_call = 4 + len(calls) + 5
    code = [
        (_LOAD_WORD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 0, deny_call - 2, machine.arch),
        (_LOAD_WORD, 0, 0, _NR),
        (_JUMP_AT_LEAST, deny_call - 4, 0, _X32_BIT),
    ]
    for call in calls:
        target = check_family if call in machine.socket_calls else deny_call
        code.append((_JUMP_EQUAL, target - len(code) - 1, 0, call))
    code += [
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD_WORD, 0, 0, _ARG0),
        # The kernel reads the family as an int: its upper half is ignored there, too.
        (_JUMP_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, refuse_family),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, refuse_call),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
