"""Live progress on standard error. Of a run: a redrawn picture on a terminal, a line for each change elsewhere. Of a
rollout, which may take days: a line for each change everywhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tidegate.cli.pages.rollout import rollout_line
from tidegate.kernel import figures
from tidegate.spec.estimators.nested import text_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STAGES = ("prepare", "train", "select", "refit", "evaluate", "slices_and_groups", "gate", "register", "rollout")
REPRODUCTION_STAGES = ("prepare", "train", "select", "refit", "evaluate", "compare")
SHOWN_CANDIDATES = 8
Look = Callable[[Mapping[str, Any]], None]


def planned_candidates(spec: Mapping[str, Any]) -> int:
    """How many candidates a spec's grids expand to."""
    return sum(prod(len(values) for values in candidate["grid"].values()) for candidate in spec["candidates"])


def stages_of(run: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages that a run goes through."""
    return STAGES if run.get("reproduces") is None else REPRODUCTION_STAGES


def reached(run: Mapping[str, Any]) -> int:
    """Index of the stage at work; the number of stages when all are done, -1 before the first."""
    stages = stages_of(run)
    match run["status"]:
        case "requested":
            return -1
        case "reproduced" | "differs":
            return len(stages)
        case "accepted" if run.get("rollout"):
            return len(STAGES)
        case "accepted" | "rejected":
            return STAGES.index("rollout")
        case _:
            return stages.index(run["stage"]) if run["stage"] in stages else -1


def candidate_line(candidate: Mapping[str, Any]) -> str:
    """`2 RandomForestClassifier max_depth=8  roc_auc 0.7512  3.2 s`."""
    name = candidate["estimator"].rsplit(".", 1)[-1]
    parameters = text_of(candidate["parameters"], between=" ")
    number = candidate["index"] + 1
    return f"{number} {name} {parameters}".rstrip() + (
        f"  {candidate['metric']} {figures.number(candidate['value'])}  {candidate['fit_seconds']:.1f} s"
    )


@contextmanager
def following(console: "Console", model: str, run_id: str, planned: int) -> Iterator[Look]:
    """A function that takes each look at the run."""
    if console.is_terminal:
        picture = _Picture(model, run_id, planned)
        with Live(picture, console=console, refresh_per_second=8, transient=False):
            yield picture.look
    else:
        yield _Lines(console, model, run_id, planned).look


class _Log:
    """Lines with the seconds since the first."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._began = time.monotonic()

    def _say(self, text: str) -> None:
        elapsed = f"[{time.monotonic() - self._began:6.1f} s] "
        self._console.print(elapsed + text, soft_wrap=True)


class RolloutLines(_Log):
    """What is new of a rollout since the last look."""

    def __init__(self, console: "Console") -> None:
        super().__init__(console)
        self._seen = ""

    def look(self, rollout: Mapping[str, Any]) -> None:
        line = rollout_line(rollout)
        if line != self._seen:
            self._seen = line
            self._say(line)


class _Lines(_Log):
    """What is new of a run since the last look."""

    def __init__(self, console: "Console", model: str, run_id: str, planned: int) -> None:
        super().__init__(console)
        self._planned = planned
        self._stage = -1
        self._ended = False
        self._seen: set[int] = set()
        self._say(f"{model} run {run_id}")

    def look(self, run: Mapping[str, Any]) -> None:
        at, stages = reached(run), stages_of(run)
        ended = run["status"] not in {"requested", "running"}
        if self._stage >= stages.index("train"):
            self._candidates(run)
        for stage in range(self._stage + 1, min(at, len(stages) - 1) + 1):  # a look may come stages later
            if stages[stage] == "rollout" and run["status"] == "rejected":
                continue
            self._stage = stage
            self._say(f"{stages[stage].capitalize()} ({stage + 1} of {len(stages)})")
            if stages[stage] == "train":
                self._candidates(run)
        if ended and not self._ended:
            self._ended = True
            self._say(run["status"])

    def _candidates(self, run: Mapping[str, Any]) -> None:
        for candidate in run["candidates"]:
            if candidate["index"] not in self._seen:
                self._seen.add(candidate["index"])
                self._say(f"  candidate {candidate_line(candidate)} ({len(self._seen)} of {self._planned})")


class _Picture:
    """For terminals: every stage with its tick, the candidates under theirs, and the time that has passed."""

    def __init__(self, model: str, run_id: str, planned: int) -> None:
        self._title, self._planned = f"{model} run {run_id}", planned
        self._began = time.monotonic()
        self._spinner = Spinner("dots")
        self._run: Mapping[str, Any] = {"status": "requested", "stage": "requested", "candidates": []}

    def look(self, run: Mapping[str, Any]) -> None:
        self._run = run

    def __rich__(self) -> "RenderableType":
        run = self._run
        at, status = reached(run), run["status"]
        table = Table.grid(padding=(0, 1))
        for index, stage in enumerate(stages_of(run)):
            if stage == "rollout" and status == "rejected":
                continue
            table.add_row(self._mark(index, at, status), Text(stage.capitalize()), self._detail(stage, run))
        seconds = int(time.monotonic() - self._began)
        title = Text.assemble((self._title, "bold"), f"  {seconds // 60}:{seconds % 60:02d}")
        return Group(title, table)

    def _mark(self, index: int, at: int, status: str) -> "RenderableType":
        if index < at:
            return Text("✓", style="green")
        if index > at:
            return Text("·", style="dim")
        return Text("✗", style="red") if status == "failed" else self._spinner

    def _detail(self, stage: str, run: Mapping[str, Any]) -> "RenderableType":
        if stage == "prepare" and run.get("dataset_version"):
            return Text(f"dataset version {run['dataset_version']}", style="dim")
        if stage == "train" and run["candidates"]:
            done = run["candidates"]
            lines = [Text(f"{len(done)} of {self._planned} candidates", style="dim")]
            lines += [Text(candidate_line(each), style="dim") for each in done[-SHOWN_CANDIDATES:]]
            return Group(*lines)
        if stage == "select" and run.get("selected") is not None:
            return Text(f"candidate {run['selected'] + 1}", style="dim")
        if stage == "rollout" and run.get("rollout"):
            return Text(rollout_line(run["rollout"]), style="dim")
        return Text("")
