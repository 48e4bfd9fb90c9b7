"""Other people's programs that tests ask for a second opinion. Each set is installed from its lock at first use."""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Never

import pytest

LOCKS = Path(__file__).parent
BUILD = LOCKS.parents[1] / ".build" / "tools"
SECONDS = 180


def node_modules() -> Path:
    """The folder with the programs of package-lock.json; skips the test where npm cannot install them."""
    folder = BUILD / "npm"
    npm = shutil.which("npm") or "npm"
    files = [LOCKS / name for name in (".npmrc", "package.json", "package-lock.json")]
    _installed(folder, files, [[npm, "ci", "--prefix", str(folder), "--silent", "--fetch-retries=1"]])
    return folder / "node_modules"


def _installed(folder: Path, locks: Sequence[Path], commands: Sequence[Sequence[str]]) -> None:
    if problem := _problem(folder, tuple(locks), tuple(map(tuple, commands))):
        _missing(f"{folder.name}: {problem}")


@functools.cache  # a registry that cannot be reached is asked once
def _problem(folder: Path, locks: tuple[Path, ...], commands: tuple[tuple[str, ...], ...]) -> str:
    """Why the locks could not be installed; empty when they are. What an earlier run installed is used again."""
    wanted = hashlib.sha256(b"".join([sys.version.encode(), *(file.read_bytes() for file in locks)])).hexdigest()
    stamp = folder / ".stamp"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{folder.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return ""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in locks:
            shutil.copy(file, folder)
        for command in commands:
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
            except subprocess.CalledProcessError as error:
                return f"{Path(command[0]).name} ended with {error.returncode}: {(error.stderr or error.stdout)[-500:]}"
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
        stamp.write_text(wanted)
    return ""


def _missing(what: str) -> Never:
    """In CI nothing is left out unnoticed."""
    if os.environ.get("CI"):
        pytest.fail(f"could not be installed from its lock, {what}")
    pytest.skip(f"could not be installed from its lock, {what}")
