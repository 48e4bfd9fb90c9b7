"""What the demo runs with: its steps, the commands that it types, and what every part of it needs."""

import json
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from examples.flights.traffic import Traffic
from tidegate.cli.client import Client
from tidegate.domain.serving.prediction import validate
from tidegate.ml.scoring import load

if TYPE_CHECKING:
    from infra.local.cloud import LocalCloud

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
WORK = ROOT / ".build" / "demo"
MODEL = "flight-delay"


class DemoError(Exception):
    """A step that failed, with its reason."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step, self.reason = step, reason


class Story:
    """What happens, reported while it happens: one line for each step, with a spinner that says what it is at."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._status: Status | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """One step; what is said within it stands behind its tick and its seconds."""
        shown: list[str] = []
        begun = time.monotonic()
        try:
            with self._console.status(f"{name} ...") as self._status:
                yield shown.append
        except Exception as error:
            self._print(f"[red]✘[/red] {name}")
            raise DemoError(name, str(error) or type(error).__name__) from error
        finally:
            self._status = None
        head = f"{name:<10} {time.monotonic() - begun:5.1f} s  "
        first, *rest = wrapped("; ".join(shown), self._console.width, indent=2 + len(head))
        self._print(f"[green]✔[/green] {head}{escape(first)}", *map(escape, rest))

    def at(self, line: str) -> None:
        """What the step at hand is doing."""
        if self._status:
            self._status.update(escape(line))

    def typed(self, words: str) -> None:
        """A command as a person would type it."""
        first, *rest = wrapped(words, self._console.width - 2, indent=4)
        self._print(f"  [dim]$ {escape(first)}[/dim]", *(f"[dim]{escape(line)}[/dim]" for line in rest))

    def _print(self, *lines: str) -> None:
        self._console.print(*lines, sep="\n", highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began


class Tidegate:
    """The `tidegate` command, run against the local cloud."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def __call__(self, *words: str, exits: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run one command with `--json`; its progress becomes the story's."""
        self._story.typed(f"tidegate {shlex.join(words)} --local")
        command = [sys.executable, "-m", "tidegate.cli.main", *words, "--local", "--json"]
        lines: list[str] = []
        with tempfile.TemporaryFile("w+") as answer:
            with subprocess.Popen(command, cwd=ROOT, stdout=answer, stderr=subprocess.PIPE, text=True) as process:
                try:
                    for line in process.stderr or ():
                        lines.append(line.rstrip())
                        self._story.at(line.strip())
                except BaseException:
                    process.terminate()
                    raise
            if process.returncode not in exits:
                raise RuntimeError("\n".join(lines) or f"exit code {process.returncode}")
            answer.seek(0)
            document: dict[str, Any] = json.load(answer)
        return document


def instances_of(flights: pd.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Request instances of the named fields; what a flight lacks is null."""
    rows = flights[list(names)].astype(object).to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


@dataclass(frozen=True)
class Scene:
    """What every part of the story needs, once the first version serves."""

    story: Story
    cloud: "LocalCloud"
    tidegate: Tidegate
    client: Client
    flights: pd.DataFrame
    instances: Sequence[dict[str, Any]]

    def users(self, flights: pd.DataFrame | None = None) -> Traffic:
        """Users of the model, who begin with the first flight: of June, or of those given."""
        asked = self.instances if flights is None else self.instances_of(flights)
        return Traffic(self.client, MODEL, asked)

    def instances_of(self, flights: pd.DataFrame) -> list[dict[str, Any]]:
        """Request instances of flights."""
        return instances_of(flights, list(self.instances[0]))

    def scores(self, number: int, instances: Sequence[dict[str, Any]]) -> npt.NDArray[np.float64]:
        """What the stored artifact of a version says of instances: probabilities of being late."""
        session, version = self.cloud.session(), self.client.version(MODEL, number)
        bucket = session.client("ssm").get_parameter(Name="/tidegate/dev/artifacts-bucket")["Parameter"]["Value"]
        stored = session.client("s3").get_object(Bucket=bucket, Key=version["artifact_key"])
        scorer = load(stored["Body"].read())
        inputs = validate(scorer.contract, list(instances))
        return np.asarray(scorer.score(inputs)[:, scorer.contract.positive], dtype=np.float64)


def wrapped(text: str, width: int, *, indent: int) -> list[str]:
    """Lines of at most `width`, all but the first indented; words are never broken."""
    lines = textwrap.wrap(
        text, width, initial_indent=" " * indent, subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return [lines[0][indent:], *lines[1:]] if lines else [""]
