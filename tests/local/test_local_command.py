"""What scripts/local says while no cloud is up, or one is not ready yet."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from infra import local_command, local_stage
from infra.local.kept import Kept, KeptStateError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the state file that `running` reads."""
    monkeypatch.setattr(local_command, "STARTING", tmp_path / "starting.pid")
    monkeypatch.setattr(local_stage.running, "__defaults__", (tmp_path,))
    return tmp_path


def test_one_that_starts_is_not_up_yet(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert local_command.main(["status"]) == 1
    assert "no local cloud is up" in capsys.readouterr().out
    (state / "starting.pid").write_text(str(os.getpid()))
    assert local_command.main(["status"]) == 1
    assert "one is starting" in capsys.readouterr().out
    (state / "starting.pid").unlink()
    (state / "local.json").write_text(json.dumps({"pid": os.getpid(), "users": {"developer": {}}, "ready": False}))
    assert local_command.main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"running": False, "starting": True}


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
