"""The command, and a stage for it on a loopback port."""

import json
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
import pytest

from tests.builders.loopback import Loopback
from tidegate.cli.main import main

session = cache(boto3.Session)  # a new one reads botocore's data again, 50 ms each time


class Cli:
    """Runs commands and keeps what they said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *args: str) -> int:
        self._capsys.readouterr()
        code = main(list(args))
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


def started(server: Loopback, act: Callable[[str], object]) -> None:
    """When a run is started, act on its id in the background, as the state machine would."""
    start = server.world.workflow.start

    def started_then_acted(model: str, run_id: str) -> None:
        start(model, run_id)
        threading.Thread(target=act, args=(run_id,), daemon=True).start()

    server.world.workflow.start = started_then_acted  # type: ignore[method-assign]
