"""`tidegate traffic`: play the rows of a file as requests, with their outcomes."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import click

from tidegate.cli import exits
from tidegate.cli.inputs import features_alone, outcome_of, rows_of, text_of
from tidegate.cli.pages import traffic as page
from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.domain.serving.feedback import MAX_ITEMS
from tidegate.kernel.errors import Fault, InvalidInputError, TidegateError
from tidegate.kernel.fault_words import did_you_mean

ADVICE = "give --from a file of JSON, JSON lines or CSV that has at least one row, or pipe one in with --from -"
CONNECTIONS = 16
SAID_EVERY = 5.0  # seconds
OUTCOMES_EVERY = 2.0
ENOUGH_REFUSED = 20  # when not one was answered before


@click.command(cls=Command, short_help="Play the rows of a file as requests, with their outcomes.")
@click.argument("model")
@click.option("--from", "source", required=True, metavar="FILE", help="JSON, JSON lines or CSV; - is standard input.")
@click.option("--rate", default=20.0, show_default=True, type=click.FloatRange(0.1, 500), help="Requests a second.")
@click.option("--outcomes", metavar="COLUMN", help="Report this column as what became of each prediction.")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), help="How long; rows are repeated. Default: each once."
)
@pass_tool
def traffic(tool: Tool, model: str, source: str, *, rate: float, outcomes: str | None, minutes: float | None) -> int:
    """Send each row of a file as a request to MODEL, to see a canary, drift and retraining on your own data.

    Columns that the version does not ask for are not sent. Rows go out in their order, one in a request. Ctrl-C ends
    it; outcomes of what was answered are still reported. The requests count like those of users, so do not send them to
    a model that has some.

    \b
    Example:
      tidegate traffic bike-rentals --from bikes.csv --rate 20 --outcomes rentals --minutes 5
    """
    text, described = text_of(source, ADVICE), tool.client.served(model)
    rows = rows_of(described, text, ADVICE)
    if outcomes and outcomes not in rows.columns:
        near = did_you_mean(outcomes, rows.columns)
        raise InvalidInputError(
            "the file lacks a column", [Fault("--outcomes", f"{outcomes!r} is not a column{near}", tuple(rows.columns))]
        )
    sent, _ = features_alone(described, rows, [outcomes] if outcomes else ())
    numeric = bool(outcomes) and tool.client.model(model)["model"]["task"] == "regression"
    played = Played(tool, model, numeric=numeric)
    known = [row.get(outcomes or "") if isinstance(row, dict) else None for row in rows.instances]
    pairs = list(zip(sent, known, strict=True))
    try:
        played.play(cycle(pairs) if minutes else iter(pairs), rate, None if minutes is None else 60 * minutes)
    except KeyboardInterrupt:
        tool.say("ending; reporting the outcomes of what was answered")
    finally:
        played.report(last=True)
    document = played.document()
    tool.answer(document, lambda out: page.summary(out, document))
    return exits.OK if document["answered"] else exits.FAILED


@dataclass
class Played:
    """What was sent so far, and what came of it."""

    tool: Tool
    model: str
    numeric: bool
    sent: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    reported: int = 0
    began: float = field(default_factory=time.monotonic)
    waiting: list[dict[str, Any]] = field(default_factory=list)  # outcomes
    _next_line: float = field(default_factory=lambda: SAID_EVERY)
    _next_report: float = field(default_factory=lambda: OUTCOMES_EVERY)

    @property
    def seconds(self) -> float:
        """Since the first request."""
        return time.monotonic() - self.began

    def play(self, pairs: Iterator[tuple[Mapping[str, Any], Any]], rate: float, seconds: float | None) -> None:
        """Send instances at a rate until they end or the time is over, and wait for their answers.

        Raises:
            InvalidInputError: none of the first requests was accepted.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            going: dict[Future[dict[str, Any]], Any] = {}
            try:
                for instance, outcome in pairs:
                    if seconds is not None and self.seconds >= seconds:
                        break
                    going[pool.submit(self.tool.client.predict, self.model, [instance])] = outcome
                    self.sent += 1
                    self._collect(going, self.began + self.sent / rate - time.monotonic())
                    while len(going) >= CONNECTIONS:  # the cloud is slower than the rate
                        self._collect(going, 0.1)
                while going:
                    self._collect(going, 0.1)
            except BaseException:
                for future in going:
                    future.cancel()
                raise

    def _collect(self, going: dict[Future[dict[str, Any]], Any], pause: float) -> None:
        """Take in answers for `pause` seconds, and say how far it is when it is time."""
        until = time.monotonic() + max(pause, 0.0)
        while True:
            left = max(until - time.monotonic(), 0.0)
            done = wait(going, timeout=left, return_when=FIRST_COMPLETED).done if going else set()
            for future in done:
                self._answered(future, going.pop(future))
            if time.monotonic() >= until:
                break
            if not going:
                time.sleep(max(until - time.monotonic(), 0.0))
        if self.seconds >= self._next_report:
            self._next_report = self.seconds + OUTCOMES_EVERY
            self.report()
        if self.seconds >= self._next_line:
            self._next_line = self.seconds + SAID_EVERY
            self.tool.say(f"[{self.seconds:6.1f} s] {self._line()}")

    def _answered(self, future: Future[dict[str, Any]], outcome: Any) -> None:
        try:
            answer = future.result()
        except TidegateError as error:
            self.faults[_fault(error)] += 1
            refused = sum(self.faults.values())
            if not self.versions and refused >= ENOUGH_REFUSED:
                raise InvalidInputError(f"none of the first {refused} requests was answered: {error.message}",
                    error.faults if isinstance(error, InvalidInputError) else (), next_step=error.next_step,
                ) from None  # fmt: skip
            return
        version = answer["version"]
        self.versions[f"version {version}" if version is not None else "fallback"] += 1
        self.reasons[answer["reason"]] += 1
        value = outcome_of(outcome, numeric=self.numeric) if isinstance(outcome, str) else outcome
        if value is not None:
            self.waiting.append({"id": answer["predictions"][0]["id"], "outcome": value})

    def report(self, *, last: bool = False) -> None:
        """Report the outcomes that are known, in calls of their own; a call that fails is made again later."""
        while self.waiting:
            batch, self.waiting = self.waiting[:MAX_ITEMS], self.waiting[MAX_ITEMS:]
            try:
                self.reported += self.tool.client.feedback(self.model, batch)["accepted"]
            except InvalidInputError:
                raise
            except TidegateError as error:
                if last:
                    self.faults[f"outcomes: {error.message}"] += len(batch)
                else:
                    self.waiting = batch + self.waiting
                    return

    def _line(self) -> str:
        parts = [f"{self.sent:,} sent, {self.sent / max(self.seconds, 1e-3):.1f} a second", page.counted(self.versions)]
        parts += [f"{self.reported:,} outcomes"] if self.reported else []
        parts += [f"{sum(self.faults.values()):,} not answered"] if self.faults else []
        return "; ".join(part for part in parts if part)

    def document(self) -> dict[str, Any]:
        """The summary."""
        return {
            "model": self.model,
            "sent": self.sent,
            "answered": self.versions.total(),
            "seconds": round(self.seconds, 1),
            "by_version": dict(self.versions),
            "by_reason": dict(self.reasons),
            "outcomes": self.reported,
            "faults": dict(self.faults),
        }


def _fault(error: TidegateError) -> str:
    """The first fault, without the place of the only instance."""
    if isinstance(error, InvalidInputError) and error.faults:
        return re.sub(r"^instances\[0\]\.?", "", str(error.faults[0]))
    return error.message
