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
    command = [shutil.which("npm") or "npm", "ci", "--prefix", str(folder), "--silent", "--fetch-retries=1"]
    return _installed(folder, (".npmrc", "package.json", "package-lock.json"), command) / "node_modules"


def ministack() -> Path:
    """The folder with the packages of ministack.txt, for PYTHONPATH; skips the test where they cannot be installed."""
    folder = BUILD / "ministack"
    arguments = [
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--target",
        str(folder),
        "-r",
        str(LOCKS / "ministack.txt"),
    ]
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    by_uv = [[uv, "pip", "install", "--python", sys.executable, *arguments]] if uv else []
    return _installed(folder, ("ministack.txt",), *by_uv, pip)


def _installed(folder: Path, locks: tuple[str, ...], *ways: Sequence[str]) -> Path:
    """The folder, filled by the first of these commands that can."""
    if problem := _problem(folder, locks, tuple(map(tuple, ways))):
        _missing(f"{folder.name}: {problem}")
    return folder


@functools.cache  # a registry that cannot be reached is asked once
def _problem(folder: Path, locks: tuple[str, ...], ways: tuple[tuple[str, ...], ...]) -> str:
    """Why the locks could not be installed; empty when they are. What an earlier run installed is used again."""
    contents = [(LOCKS / name).read_bytes() for name in locks]
    wanted = hashlib.sha256(b"".join([sys.version.encode(), *contents])).hexdigest()
    stamp = folder / ".stamp"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{folder.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return ""
        problem = ""
        for command in ways:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in locks:
                shutil.copy(LOCKS / name, folder)
            if not (problem := _run(command)):
                stamp.write_text(wanted)
                break
    return problem


def _run(command: Sequence[str]) -> str:
    """Why a command failed; empty when it did not."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        return f"{Path(command[0]).name} ended with {error.returncode}: {(error.stderr or error.stdout)[-500:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


def _missing(what: str) -> Never:
    """In CI nothing is left out unnoticed."""
    if os.environ.get("CI"):
        pytest.fail(f"could not be installed from its lock, {what}")
    pytest.skip(f"could not be installed from its lock, {what}")
