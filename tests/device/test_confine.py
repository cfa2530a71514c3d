"""Confinement, in a process of its own: what the kernel refuses for good."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest


def _run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, check=False, timeout=30, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"])
def test_no_socket_but_a_unix_one_can_be_made(family: str, kind: str) -> None:
    ran = _run(f"""
        import socket
        from fadeout_device.confine import confine
        confine()
        try:
            socket.socket(socket.{family}, socket.{kind})
        except OSError as err:
            print(err.errno)
    """)
    assert ran.stdout.strip() == "97", ran.stderr  # EAFNOSUPPORT


def test_a_child_and_a_thread_have_no_network_either() -> None:
    ran = _run("""
        import subprocess, sys, threading
        from fadeout_device.confine import confine
        confine()
        attempt = "import socket\\ntry: socket.socket()\\nexcept OSError as err: print(err.errno)"
        subprocess.run([sys.executable, "-c", attempt])
        thread = threading.Thread(target=exec, args=(attempt,))
        thread.start(); thread.join()
    """)
    assert ran.stdout.split() == ["97", "97"], ran.stderr


def test_unix_sockets_still_work() -> None:
    ran = _run("""
        import socket
        from fadeout_device.confine import confine
        confine()
        ours, theirs = socket.socketpair()
        ours.send(b"x"); print(theirs.recv(1), socket.socket(socket.AF_UNIX).fileno() > 0)
    """)
    assert ran.stdout.strip() == "b'x' True", ran.stderr


@pytest.mark.parametrize(
    ("name", "x86_64", "aarch64"),
    [
        ("io_uring_setup", 425, 425),
        ("ptrace", 101, 117),
        ("pidfd_getfd", 438, 438),
        ("process_vm_readv", 310, 270),
        ("process_vm_writev", 311, 271),
    ],
)
def test_the_ways_around_are_closed(name: str, x86_64: int, aarch64: int) -> None:
    ran = _run(f"""
        import ctypes, platform
        from fadeout_device.confine import confine
        confine()
        libc = ctypes.CDLL(None, use_errno=True)
        number = {{"x86_64": {x86_64}, "aarch64": {aarch64}}}[platform.machine()]
        print(libc.syscall(number, 0, 0, 0, 0, 0, 0), ctypes.get_errno())
    """)
    assert ran.stdout.strip() == "-1 1", f"{name}: {ran.stderr}"  # EPERM


def test_no_core_dump_and_no_debugger() -> None:
    ran = _run("""
        import ctypes, resource
        from fadeout_device.confine import confine
        confine()
        print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    """)
    assert ran.stdout.strip() == "(0, 0) 0", ran.stderr


def test_a_process_whose_parent_is_gone_does_not_start() -> None:
    ran = _run(
        "from fadeout_device.confine import confine; confine()",
        FADEOUT_PARENT_PID="1" if os.getpid() != 1 else "2",
    )
    assert ran.returncode != 0
    assert "ConfinementError" in ran.stderr
