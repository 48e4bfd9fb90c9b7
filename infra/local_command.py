"""`scripts/local`: the local cloud in the background."""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import urllib3

from infra import local_stage
from infra.local_stage import ROOT, STATE

LOG = STATE / "local.log"
KEPT = STATE / "kept"
ASSEMBLY = ROOT / ".build" / "local" / "cdk.out"
TURN = STATE / "turn.lock"  # held by the command that starts or stops a cloud: one at a time
OWNED = STATE / "owned.lock"  # held by the cloud itself, from its first moment to its last
START_SECONDS = 180.0
STOP_SECONDS = 60.0
_AHEAD = re.compile(r"\+(\d+(?:\.\d+)?)([smhd])")
_START = "start one: scripts/local up"
_BACK = re.compile(r"-\d")  # argparse would take it for an option
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

# Of hundreds of threads, each would keep freed memory in an arena of its own (mallopt(3)).
_MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "1000000"}

NEXT = """
Next
  tidegate data add NAME FILE.csv --origin TEXT --licence TEXT --owner YOU --local
    add your data as a dataset; `.venv/bin/tidegate` is the command
  tidegate init MODEL --dataset NAME --target COLUMN --output MODEL.yaml --local
    write a first spec from its columns; then: tidegate model apply MODEL.yaml --local
  tidegate train MODEL --wait --local
    train it, gate it and release it; docs/local.md goes on from there"""


class CommandError(Exception):
    """What was asked for cannot be done; the message says why, and what to do."""


def up(*, as_json: bool) -> int:
    """Start the cloud, unless one is up or starts already, and say where everything is."""
    with _turn():
        _wait_until_settled()
        if not _is_ready():
            _wait_until_ready(_daemon())
    document = _status()
    _print(document, as_json=as_json)
    if not as_json:
        print(NEXT)
    return 0


def down(*, as_json: bool) -> int:
    """Save what is to be kept, and stop."""
    with _turn():
        stopped = _stop()
    said = f"stopped; what it held is in {_shown(KEPT)}" if stopped else "no local cloud was up"
    _answer({"running": False, "stopped": stopped}, said, as_json=as_json)
    return 0


def _stop() -> bool:
    """Whether there was a cloud to stop; one that starts is stopped when it is ready. Raises CommandError when it does
    not end."""
    _wait_until_settled()
    state = local_stage.running()
    if state is None:
        return False
    pid = int(state["pid"])
    os.kill(pid, signal.SIGTERM)
    if not _until(lambda: local_stage.running() is None and not _is_owned(), STOP_SECONDS):
        raise CommandError(f"process {pid} has not ended after {STOP_SECONDS:.0f} s; see {_shown(LOG)}")
    return True


def status(*, as_json: bool) -> int:
    """Where everything is; exit code 1 when no cloud is up."""
    state = local_stage.running()
    if state is None or not state.get("ready"):
        starting = state is not None or _is_owned()
        said = "one is starting; its progress is in " + _shown(LOG) if starting else "no local cloud is up; " + _START
        _answer({"running": False, "starting": starting}, said, as_json=as_json)
        return 1
    _print(_status(), as_json=as_json)
    return 0


def reset(*, as_json: bool) -> int:
    """Stop the cloud and remove what it kept."""
    with _turn():
        _stop()
        existed = KEPT.exists()
        shutil.rmtree(KEPT, ignore_errors=True)
    said = f"removed {_shown(KEPT)}" if existed else "nothing was kept"
    _answer({"running": False, "removed": existed}, said, as_json=as_json)
    return 0


def clock(ahead: str | None, *, as_json: bool) -> int:
    """Show the cloud's clock, or move it ahead."""
    if ahead is None:
        document = _status()
    else:
        found = _AHEAD.fullmatch(ahead)
        if found is None:
            raise CommandError(f"{ahead!r} is not a time to move ahead by; write +30s, +10m, +1h or +2d")
        document = _asked("POST", f"/clock?seconds={float(found[1]) * _UNITS[found[2]]}")
    shown = {name: document[name] for name in ("clock", "clock_offset_s")}
    _answer(shown, f"{_moment(document)}, {_ahead(document['clock_offset_s'])}", as_json=as_json)
    return 0


def env() -> int:
    """What other programs need, as lines for a shell: the keys of `developer`, and where AWS's APIs and the two of
    Tidegate answer."""
    state = local_stage.running()
    if state is None or not state.get("ready"):
        raise CommandError(f"no local cloud is up; {_START}")
    urls = {f"TIDEGATE_{name.rpartition('-')[2].upper()}_URL": url for name, url in state["apis"].items()}
    variables = {
        **state["users"]["developer"],
        "AWS_REGION": state["region"],
        "AWS_DEFAULT_REGION": state["region"],
        "AWS_ENDPOINT_URL": state["endpoint_url"],
        **urls,
    }
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
    return 0


def serve() -> int:
    """The daemon: the cloud, until it is asked to end. Of one folder there is one: two would save over each other."""
    with OWNED.open("a") as owned:
        if not _until(lambda: _is_free(owned, fcntl.LOCK_EX), 2.0):  # a command that asks holds it for a moment
            print("error: another local cloud of this folder is up, or has not ended yet", flush=True)
            return 1
        return _serve()


def _serve() -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.environ.pop("AWS_PROFILE", None)

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        with local_stage.started(_assembly(say), keep=KEPT, on_progress=say):
            stop.wait()
            say("saving and stopping")
    except Exception as error:  # noqa: BLE001  the log is all that a person sees of it
        traceback.print_exc(file=sys.stdout)
        say(f"error: {error}")
        return 1
    return 0


def _assembly(say: Callable[[str], None]) -> Path:
    """The templates of the sources as they are, synthesized again only when these have changed."""
    stamp, now = ASSEMBLY / ".sources", local_stage.fingerprint()
    if not stamp.exists() or stamp.read_text("ascii") != now:
        say("synthesizing the templates")
        shutil.rmtree(ASSEMBLY, ignore_errors=True)
        local_stage.synthesized(ASSEMBLY, owner="local", business_unit="local")
        stamp.write_text(now, "ascii")
    return ASSEMBLY


# --- talking to it ----------------------------------------------------------------------------------------------------


def _daemon() -> subprocess.Popen[bytes]:
    STATE.mkdir(exist_ok=True)
    if LOG.exists():
        LOG.replace(LOG.with_suffix(".log.1"))
    with LOG.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.local_command", "serve"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **_MEMORY},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _is_ready() -> bool:
    state = local_stage.running()
    return state is not None and bool(state.get("ready"))


def _is_owned() -> bool:
    """Whether a process is the cloud of this folder: one that starts, is up or stops."""
    STATE.mkdir(exist_ok=True)
    with OWNED.open("a+") as owned:
        return not _is_free(owned, fcntl.LOCK_SH)


def _is_free(file: IO[str], kind: int) -> bool:
    """Takes the lock, if nobody else has it: a process's own, which those that it starts do not inherit."""
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Waits until no other command starts or stops the cloud of this folder."""
    STATE.mkdir(exist_ok=True)
    with TURN.open("a") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("  another scripts/local is at work; waiting until it has ended", file=sys.stderr, flush=True)
            fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _wait_until_settled() -> None:
    """Waits for a cloud that an earlier command began to start or to stop and did not wait for, if there is one."""
    if _is_owned() and not _is_ready():
        print("  one is starting or stopping already; waiting for it", file=sys.stderr, flush=True)
        if not _until(lambda: _is_ready() or not _is_owned(), START_SECONDS):
            raise CommandError(f"it is neither up nor ended after {START_SECONDS:.0f} s; see {_shown(LOG)}")


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    """Shows what the daemon says meanwhile.

    Raises:
        CommandError: it ended, or takes too long.
    """
    deadline, shown = time.monotonic() + START_SECONDS, 0
    while True:
        lines = LOG.read_text("utf-8", "replace").splitlines()
        for line in lines[shown:]:
            print(f"  {line}", file=sys.stderr, flush=True)
        shown = len(lines)
        if _is_ready():
            return
        if process.poll() is not None:
            said = next((line for line in reversed(lines) if line.startswith("error: ")), "error: it ended")
            raise CommandError(f"{said.removeprefix('error: ')} (see {_shown(LOG)})")
        if time.monotonic() > deadline:
            process.terminate()
            raise CommandError(f"not ready after {START_SECONDS:.0f} s; see {_shown(LOG)}")
        time.sleep(0.2)


def _asked(method: str, target: str) -> dict[str, Any]:
    state = local_stage.running()
    if state is None:
        raise CommandError(f"no local cloud is up; {_START}")
    control = state["control"]
    answer = urllib3.request(
        method, control["url"] + target, headers={"Authorization": f"Bearer {control['token']}"}, timeout=3_600.0
    )
    document: dict[str, Any] = json.loads(answer.data)
    if answer.status != 200:
        raise CommandError(document["error"])
    return document


def _status() -> dict[str, Any]:
    paths = {"credentials": str(STATE / "local.json"), "kept": str(KEPT), "log": str(LOG)}
    return {"running": True} | _asked("GET", "/status") | paths


# --- words ------------------------------------------------------------------------------------------------------------


def _print(document: dict[str, Any], *, as_json: bool) -> None:
    facts = {
        "up": f"since {datetime.fromtimestamp(document['since'], UTC):%H:%M} UTC, process {document['pid']}, "
        f"{document['memory_mb']:,} MiB",
        "clock": f"{_moment(document)}, {_ahead(document['clock_offset_s'])}",
        "AWS APIs": document["endpoint_url"],
        **{f"API {name}": url for name, url in document["apis"].items()},
        "dashboards": document["dashboards"],
        "users": f"{', '.join(document['users'])}: tidegate --local --as USER",
        "credentials": _shown(Path(document["credentials"])),
        "kept in": _shown(Path(document["kept"])),
        "log": _shown(Path(document["log"])),
    }
    width = max(map(len, facts))
    _answer(document, "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()), as_json=as_json)


def _answer(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    print(json.dumps(document) if as_json else text, flush=True)


def _moment(document: dict[str, Any]) -> str:
    return f"{datetime.fromisoformat(document['clock']):%Y-%m-%d %H:%M:%S} UTC"


def _ahead(seconds: float) -> str:
    if seconds < 1:
        return "as this machine's"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min ahead of this machine's" if minutes or hours else f"{seconds:.0f} s ahead"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def main(words: list[str]) -> int:
    """Parse, do, say."""
    parser = argparse.ArgumentParser(
        prog="scripts/local",
        description="Run Tidegate on a local cloud in the background. What it holds is kept between starts.",
        epilog="example: scripts/local up; scripts/local clock +1h; scripts/local down",
    )
    parser.add_argument("--json", action="store_true", help="answer with one JSON object on stdout")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = {
        "up": "start it, and show where everything is",
        "down": "save what it holds, and stop it",
        "status": "show where everything is, its clock and its memory; exit code 1 when it is not up",
        "reset": "stop it, and remove what it kept",
        "clock": "show its clock, or move it ahead; work that falls due meanwhile is done first",
        "env": 'print its keys and addresses for a shell: eval "$(scripts/local env)"',
    }
    for name, words_of_help in about.items():
        command = commands.add_parser(name, help=words_of_help, description=f"{words_of_help.capitalize()}.")
        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name == "clock":
            command.add_argument("ahead", nargs="?", metavar="+TIME", help="such as +30s, +10m, +1h or +2d")
    if words == ["serve"]:
        return serve()
    if back := [word for word in words if _BACK.match(word)]:
        print(
            f"error: the clock never moves back, so not by {back[0]}; write a time ahead, such as +1h", file=sys.stderr
        )
        return 1
    options = parser.parse_args(words)
    try:
        if options.command == "env":
            return env()
        if options.command == "clock":
            return clock(options.ahead, as_json=options.json)
        return {"up": up, "down": down, "status": status, "reset": reset}[options.command](as_json=options.json)
    except (CommandError, KeyboardInterrupt) as error:
        waited = "stopped waiting; what has begun continues in the background: scripts/local status"
        print(f"error: {error}" if isinstance(error, CommandError) else waited, file=sys.stderr)
        return 1 if isinstance(error, CommandError) else 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
