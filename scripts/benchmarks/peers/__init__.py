"""Peers that a benchmark runs itself: each set in an environment of its own, locked beside this file."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_BUILD = _HERE.parents[2] / ".build" / "peers"
_QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}  # no telemetry
_SECONDS = 900


def installed(name: str) -> str | None:
    """Makes the environment of `name`.txt in .build, or finds it there; why it cannot be made, or None."""
    lock, home = _HERE / f"{name}.txt", _BUILD / name
    mark = home / "locked.txt"
    if mark.exists() and mark.read_text() == lock.read_text():
        return None
    print(f"installing the peers of {lock.name} into {home}", file=sys.stderr)
    venv.create(home, with_pip=True, clear=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(lock)]
    done = subprocess.run(
        [str(home / "bin" / "python"), "-m", "pip", "install", *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return _last_line(done.stderr)
    mark.write_text(lock.read_text())
    return None


def asked(name: str, *arguments: str, script: str = "") -> dict[str, Any]:
    """What `script`.py (`name`.py) prints in the environment of `name`, or {"error": why it does not}."""
    command = [str(_BUILD / name / "bin" / "python"), str(_HERE / f"{script or name}.py"), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, env=os.environ | _QUIET
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer after {_SECONDS} s"}
    if done.returncode:
        return {"error": _last_line(done.stderr)}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it ended without output"
