"""Logs and metrics of every function, in one place: Powertools' Logger, and EMF metrics in namespace `Tidegate`.

    logger("train").info("fitted", extra={"rows": 1200})
    meter = Meter("inference", stage="prod")
    meter.about("flight-delay"); meter.count("Requests"); meter.flush()

Inputs, rows and predictions are never logged. Metrics are written here rather than by Powertools, in the format it
writes (a test compares the two): a line of them ends every prediction, and Powertools' takes as long as scoring does.
For the same reason its Logger is loaded when there is something to log. There is no tracing library: Lambda's own
active tracing needs none, and the X-Ray SDK costs more cold start than everything else together.
"""

import json
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache, wraps
from typing import TYPE_CHECKING, Any

from tidegate.kernel.errors import FAULTS_OF_PEOPLE, TidegateError

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

__all__ = ["NAMESPACE", "Aside", "Handler", "Meter", "ends_runs", "logger"]

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

NAMESPACE = "Tidegate"
MAX_HELD = 1_000  # lines
COUNT, MILLISECONDS = "Count", "Milliseconds"


@cache
def logger(service: str) -> "Logger":
    """JSON lines on standard output; `service` is the function's name. Made on first use and kept."""
    from aws_lambda_powertools import Logger

    return Logger(service=service, level=os.environ.get("TIDEGATE_LOG_LEVEL", "INFO"))


def ends_runs(service: str) -> Callable[[Handler], Handler]:
    """For handlers of the steps of a release or a batch: a fault of people is their answer (messages.EndsRun), not an
    error of the function. Alarms count errors."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def answering(event: dict[str, Any], context: Any) -> dict[str, Any]:
            try:
                return handler(event, context)
            except FAULTS_OF_PEOPLE as error:
                from tidegate.messages import EndsRun  # not worth its share of inference's cold start

                run = event.get("run", event)
                logger(service).warning("the run ends", extra={"run": run, "fault": type(error).__name__})
                return EndsRun.by(error).to_json()

        return answering

    return decorate


class Meter:
    """ports.Signals for one function: every metric by [service, stage] and, once it is known, by [.., model] too.

    With `holds`, lines wait for `write`, which is called when the response has left: writing to a pipe that somebody
    reads takes a good part of a fast answer's time. Too many of them are written without being asked for.
    """

    def __init__(self, service: str, *, stage: str, holds: bool = False) -> None:
        self._service = service
        self._most_held = MAX_HELD if holds else 0
        self._held: deque[str] = deque()
        self._about = {"stage": stage, "service": service}
        self._model = ""
        self._units: dict[str, str] = {}
        self._values: dict[str, list[float]] = {}
        self._apart: list[tuple[str, float, dict[str, str]]] = []

    def about(self, model: str) -> None:
        """The model of this invocation. Only one that exists: a name that callers make up must not become a metric."""
        self._model = model

    def count(self, name: str, value: float = 1, **by: str) -> None:
        """See ports.Signals. What has dimensions of its own becomes a line of its own, by service, stage and model."""
        self._add(name, COUNT, value)
        if by:
            self._apart.append((name, value, by))

    def report(self, values: Mapping[str, float], **dimensions: str) -> None:
        """Metrics of exactly these dimensions beside service and stage; added to no others. Written at once."""
        _write(_line(dict.fromkeys(values, COUNT), values, [self._about | dimensions]))

    def took(self, name: str, milliseconds: float) -> None:
        """Add a duration."""
        self._add(name, MILLISECONDS, milliseconds)

    def warn(self, message: str, **facts: object) -> None:
        """See ports.Signals."""
        logger(self._service).warning(message, extra=facts)

    def fault(self, message: str, error: BaseException, **facts: object) -> None:
        """Log a fault of ours with its trace. Words of errors that are not Tidegate's may quote inputs: left out."""
        said = str(error) if isinstance(error, TidegateError) else ""
        trace = traceback.format_tb(error.__traceback__)
        about = {"fault": type(error).__name__, "said": said, "trace": trace}
        logger(self._service).error(message, extra=about | facts)

    def flush(self) -> None:
        """The metrics of this invocation are complete."""
        units, values, apart, model = self._units, self._values, self._apart, self._model
        self._units, self._values, self._apart, self._model = {}, {}, [], ""
        if values:
            self._held.append(_line(units, values, self._sets(model, {})))
        for name, value, by in apart:
            self._held.append(_line({name: COUNT}, {name: value}, self._sets(model, by)))
        if len(self._held) > self._most_held:
            self.write()

    def write(self) -> None:
        """Write the lines that are held. Any thread may call it."""
        with suppress(IndexError):
            while self._held:
                _write(self._held.popleft())

    def _add(self, name: str, unit: str, value: float) -> None:
        self._units[name] = unit
        self._values.setdefault(name, []).append(float(value))

    def _sets(self, model: str, by: dict[str, str]) -> list[dict[str, str]]:
        about = self._about
        return [about | by, about | {"model": model} | by] if model else [about | by]


class Aside:
    """ports.Signals for a thread beside the handler: a Meter's metrics belong to the invocation, so each count is a
    line of its own, written at once."""

    def __init__(self, service: str, *, stage: str) -> None:
        self._dimensions = {"stage": stage, "service": service}
        self._service = service

    def count(self, name: str, value: float = 1, **by: str) -> None:
        """See ports.Signals."""
        _write(_line({name: COUNT}, {name: value}, [self._dimensions | by]))

    def warn(self, message: str, **facts: object) -> None:
        """See ports.Signals."""
        logger(self._service).warning(message, extra=facts)


def _write(line: str) -> None:
    """In one piece: the runtime of Lambda hands on each write of its own, and `print` makes two."""
    sys.stdout.write(line)
    sys.stdout.flush()


def _line(units: Mapping[str, str], values: Mapping[str, float | Sequence[float]], sets: list[dict[str, str]]) -> str:
    """Metrics as a line of embedded metric format, by each set of dimensions."""
    frame = _frame(tuple(units.items()), tuple(tuple(dimensions.items()) for dimensions in sets))
    # A list of floats reads in Python as it does in JSON, and takes a tenth of the time.
    fields = [f'"{name}":{value if type(value) is list else json.dumps(value)}' for name, value in values.items()]
    return f'{{"_aws":{{"Timestamp":{int(time.time() * 1000)},{frame},{",".join(fields)}}}\n'


@lru_cache(maxsize=256)
def _frame(units: tuple[tuple[str, str], ...], sets: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """What a line has between its time and its values; the same for most invocations."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [[name for name, _ in dimensions] for dimensions in sets],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in units],
    }
    words = {name: _dimension(word) for dimensions in sets for name, word in dimensions}
    text = json.dumps({"CloudWatchMetrics": [directive]}, separators=(",", ":"))[1:]
    return f"{text},{json.dumps(words, separators=(',', ':'))[1:-1]}"


def _dimension(word: str) -> str:
    """A value that CloudWatch takes; nearly every one is."""
    if word.isascii() and word.isprintable() and word[:1] not in {"", " ", ":"} and len(word) < 256:
        return word
    from tidegate.kernel.plain_text import dimension  # not worth its share of a cold start

    return dimension(word)
