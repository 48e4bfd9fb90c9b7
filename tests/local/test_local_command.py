"""What scripts/local says while no cloud is up, or one is not ready yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from infra import local_command, local_stage
from infra.local.kept import Kept, KeptStateError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the state file that `running` reads."""
    for name, file in {"STATE": ".", "TURN": "turn.lock", "OWNED": "owned.lock", "LOG": "local.log"}.items():
        monkeypatch.setattr(local_command, name, tmp_path / file)
    monkeypatch.setattr(local_stage.running, "__defaults__", (tmp_path,))
    return tmp_path


def test_one_that_starts_is_not_up_yet(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert local_command.main(["status"]) == 1
    assert "no local cloud is up" in capsys.readouterr().out
    with _owner(state):
        assert local_command.main(["status"]) == 1
    assert "one is starting" in capsys.readouterr().out
    (state / "local.json").write_text(json.dumps({"pid": os.getpid(), "users": {"developer": {}}, "ready": False}))
    assert local_command.main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"running": False, "starting": True}


def test_of_one_folder_there_is_one_cloud(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two would save over each other: the second gives up before it reads or writes anything."""
    begun: list[bool] = []
    monkeypatch.setattr(local_command, "_serve", lambda: begun.append(True) or 0)
    with _owner(state):
        assert local_command.main(["serve"]) == 1
    assert "another local cloud of this folder is up" in capsys.readouterr().out
    assert not begun
    assert local_command.main(["serve"]) == 0
    assert begun


def test_commands_that_start_or_stop_take_turns(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _holding(f"import fcntl; f = open({str(state / 'turn.lock')!r}, 'a'); fcntl.flock(f, fcntl.LOCK_EX)") as first:
        second = threading.Thread(target=local_command.main, args=(["down"],), daemon=True)
        second.start()
        second.join(0.5)
        assert second.is_alive()
        first.kill()
        second.join(10)
        assert not second.is_alive()
    said = capsys.readouterr()
    assert "another scripts/local is at work; waiting" in said.err
    assert "no local cloud was up" in said.out


def test_ctrl_c_says_that_the_cloud_goes_on(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(local_command, "_wait_until_settled", interrupted)
    assert local_command.main(["up"]) == 130
    assert "scripts/local status" in capsys.readouterr().err


def test_down_waits_for_one_that_is_starting(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _owner(state) as owner:
        threading.Timer(0.5, owner.kill).start()
        assert local_command.main(["down"]) == 0
    said = capsys.readouterr()
    assert "one is starting or stopping already" in said.err
    assert "no local cloud was up" in said.out


def _owner(state: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    return _holding(f"import fcntl; f = open({str(state / 'owned.lock')!r}, 'a'); fcntl.lockf(f, fcntl.LOCK_EX)")


@contextmanager
def _holding(code: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has run the code, and lives until it is killed."""
    forever = "; print('held', flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code + forever], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_env_has_keys_and_addresses_for_a_shell(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert local_command.main(["env"]) == 1
    assert "no local cloud is up" in capsys.readouterr().err
    users = {"developer": {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "a/$b"}}  # pragma: allowlist secret
    about = {"pid": os.getpid(), "ready": True, "users": users, "region": "us-east-1", "endpoint_url": "http://x:1"}
    apis = {"tidegate-dev-serving": "http://x:2", "tidegate-dev-control": "http://x:3"}
    (state / "local.json").write_text(json.dumps(about | {"apis": apis}))
    assert local_command.main(["env"]) == 0
    shown = 'printf "%s\\n" "$AWS_SECRET_ACCESS_KEY" "$AWS_ENDPOINT_URL" "$TIDEGATE_SERVING_URL"'
    done = subprocess.run(["bash", "-c", capsys.readouterr().out + shown], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a/$b", "http://x:1", "http://x:2"]


def test_the_clock_never_moves_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert local_command.main(["clock", "-1h"]) == 1
    assert "never moves back" in capsys.readouterr().err


def test_a_state_that_cannot_be_read_says_how_to_begin_without_it(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(KeptStateError, match=r"cannot be read: .*; to begin without what was kept: scripts"):
        Kept(tmp_path)
