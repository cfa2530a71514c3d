"""A Home Assistant to try things with: from PyPI, into a venv of its own, perhaps inside a newer Debian.

Home Assistant wants the newest Python. Where the machine's own is too old, `forky` makes
a folder with Debian's next release in it (debootstrap, as root) and works in there;
nothing outside that folder changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

OLDEST = (2024, 12)
"""The first with device discovery."""
_INSIDE = "/opt/home-assistant"


class InstallationError(Exception):
    """It cannot be installed here; the text says why and what to do."""


class Installation(NamedTuple):
    """Where it is and how it is called."""

    prefix: tuple[str, ...]
    """What stands before every command: nothing, or `chroot FOLDER`."""
    root: Path
    """What its `/` is."""
    venv: str
    """Seen from inside."""

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of one of its programs."""
        return [*self.prefix, f"{self.venv}/bin/{program}", *arguments]

    def inside(self, path: Path) -> str:
        """Return a path as it is called from inside."""
        return f"/{path.relative_to(self.root)}"

    def run_inside(self, program: Path, *arguments: str, given: bytes = b"") -> str:
        """Run a program of ours, which imports nothing of ours, with its Python; return what it prints.

        Raises:
            InstallationError: it failed; with the last line of what it said.
        """
        code = program.read_text(encoding="utf-8")
        return _output(self.command("python", "-c", code, *arguments), given)

    def version(self) -> str:
        """Return Home Assistant's version."""
        question = "import homeassistant.const; print(homeassistant.const.__version__)"
        return _output(self.command("python", "-c", question)).strip()


def newest_python() -> str:
    """Return the newest Python that this machine has, of those that can run a Home Assistant of use."""
    for name in ("python3.14", "python3.13"):
        found = shutil.which(name)
        # A version manager has a program of that name also where it is not the version in use.
        if found is not None and _runs(found):
            return found
    raise InstallationError(
        "no Python 3.13 or newer, and Home Assistant needs one; name it: --python PATH, or, as root: --forky"
    )


def _runs(program: str) -> bool:
    return subprocess.run([program, "-V"], capture_output=True, check=False).returncode == 0


def found_in(folder: Path) -> list[Installation]:
    """Return the installations that are there already."""
    here = Installation((), Path("/"), str(folder.absolute() / "venv"))
    forky = folder.absolute() / "forky"
    there = Installation(("chroot", str(forky)), forky, _INSIDE)
    return [each for each in (here, there) if Path(f"{each.root}/{each.venv}/bin/python").exists()]


def with_python(python: str, folder: Path, version: str | None) -> Installation:
    """Install into a venv made by `python`, or find it installed already."""
    installation = Installation((), Path("/"), str(folder.absolute() / "venv"))
    _ensure(installation, [python, "-m", "venv", installation.venv], folder, version)
    return installation


def with_forky(folder: Path, version: str | None) -> Installation:
    """Install into a Debian of its own in `folder`, or find it installed already. Root only."""
    root = folder.absolute() / "forky"
    installation = Installation(("chroot", str(root)), root, _INSIDE)
    if not (root / "usr/bin/python3").exists():
        if shutil.which("debootstrap") is None:
            raise InstallationError("debootstrap is not installed: sudo apt-get install debootstrap")
        include = "--include=python3,python3-venv,ca-certificates"
        # Debian 12's debootstrap knows of no forky; every release is made as sid is.
        _run(["debootstrap", "--variant=minbase", include, "forky", str(root), _mirror(), "sid"], 1800)
    for path in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", path).exists():
            shutil.copyfile(Path("/", path), root / path)
    _ensure(installation, ["chroot", str(root), "python3", "-m", "venv", _INSIDE], folder, version)
    return installation


def constraints_of(wheel: Path) -> str:
    """Return what Home Assistant was released with: without it pip looks for minutes, in vain."""
    with zipfile.ZipFile(wheel) as opened:
        return opened.read("homeassistant/package_constraints.txt").decode()


def is_new_enough(version: str) -> bool:
    """Say whether this version knows device discovery."""
    year, month, *_ = version.split(".")
    return (int(year), int(month)) >= OLDEST


def _ensure(installation: Installation, make_venv: list[str], folder: Path, version: str | None) -> None:
    if _is_there(installation, version):
        return
    _run(make_venv, 300)
    # Inside, so that its own Python says which version it can run.
    wheels = (
        installation.root / "tmp/home-assistant-wheels"
        if installation.prefix
        else folder.absolute() / "wheels"
    )
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    wanted = "homeassistant" if version is None else f"homeassistant=={version}"
    pip = installation.command("python", "-m", "pip", "--disable-pip-version-check", "--no-input")
    _run([*pip, "download", "--no-deps", "--dest", installation.inside(wheels), wanted], 600)
    (wheel,) = wheels.glob("homeassistant-*.whl")
    if not is_new_enough(wheel.name.split("-")[1]):
        raise InstallationError(
            f"{wheel.name.split('-')[1]} does not know device discovery: a newer Python is needed"
        )
    constraints = wheels / "constraints.txt"
    constraints.write_text(constraints_of(wheel), encoding="utf-8")
    _run(
        [
            *pip,
            "install",
            "--prefer-binary",
            "-c",
            installation.inside(constraints),
            installation.inside(wheel),
        ],
        1800,
    )


def _is_there(installation: Installation, version: str | None) -> bool:
    try:
        found = installation.version()
    except (InstallationError, OSError):
        return False
    return version in (None, found)


def _mirror() -> str:
    """Return where this machine's own apt gets Debian's packages."""
    targets = [
        "apt-get",
        "indextargets",
        "--format",
        "$(LABEL) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]
    for line in _output(targets).splitlines():
        if line.startswith("Debian main "):
            return line.split()[2]
    raise InstallationError("apt has no lists of Debian's packages: sudo apt-get update")


def _run(command: list[str], timeout_s: float) -> None:
    sys.stderr.write(f"try_home_assistant: {' '.join(command)}\n")
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        last = done.stdout.decode(errors="replace").strip().splitlines()[-15:]
        raise InstallationError("\n".join([f"{command[0]} failed with {done.returncode}", *last]))


def _output(command: list[str], given: bytes = b"") -> str:
    done = subprocess.run(command, input=given, capture_output=True, timeout=120, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise InstallationError(" ".join([f"{command[0]} failed with {done.returncode}", *said]))
    return done.stdout.decode()
