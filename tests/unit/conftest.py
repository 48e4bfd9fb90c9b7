"""The command, and a stage for it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # most tests want neither
    from tests.builders.command_line import Cli
    from tests.builders.loopback import Loopback


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Cli":
    """The command, in an empty folder, with no AWS configuration of the machine's."""
    from tests.builders.command_line import Cli
    from tidegate.cli import client

    monkeypatch.chdir(tmp_path)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "TIDEGATE_STAGE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(client, "_pauses", lambda *_: iter(lambda: 0.01, None))
    monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=lambda _: None, time=time.time))
    return Cli(capsys)


@pytest.fixture
def server(run: "Cli", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Loopback]":
    """A loopback stage that the command finds by --local."""
    import boto3

    from tests.builders.command_line import session
    from tests.builders.control_api import World
    from tests.builders.loopback import artifact, loopback

    monkeypatch.setattr(boto3, "Session", session)
    with loopback(World(artifact=artifact())) as running:
        (tmp_path / ".tidegate").mkdir()
        (tmp_path / ".tidegate" / "local.json").write_text(json.dumps(running.state()))
        monkeypatch.setenv("TIDEGATE_LOCAL", ".tidegate/local.json")
        running.world.dispatcher.on_register = lambda _, version: running.world.finish_dataset(version)
        yield running
