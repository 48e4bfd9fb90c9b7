"""Logs and metrics of every function, in one place: Powertools Logger and EMF metrics in namespace `Tidegate`.

    logger("train").info("fitted", extra={"rows": 1200})
    meter = Meter("inference", stage="prod")
    meter.about("flight-delay"); meter.count("Requests"); meter.flush()

Made on first use and kept. Inputs, rows and predictions are never logged. There is no tracing library: Lambda's own
active tracing needs none, and the X-Ray SDK costs more cold start than everything else together.
"""

import json
import os
import time
import traceback
from collections.abc import Mapping
from functools import cache

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidegate.errors import TidegateError

__all__ = ["NAMESPACE", "Aside", "Meter", "logger"]

NAMESPACE = "Tidegate"


@cache
def logger(service: str) -> Logger:
    """JSON lines on standard output; `service` is the function's name."""
    return Logger(service=service, level=os.environ.get("TIDEGATE_LOG_LEVEL", "INFO"))


@cache
def metrics(service: str) -> Metrics:
    """Metrics as embedded metric format; flush with `flush_metrics()` at the end of an invocation."""
    return Metrics(namespace=NAMESPACE, service=service)


class Meter:
    """ports.Signals for one function: every metric by [service, stage] and, once it is known, by [.., model] too."""

    def __init__(self, service: str, *, stage: str) -> None:
        self._service = service
        self._metrics = metrics(service)
        self._metrics.set_default_dimensions(stage=stage)
        self._logger = logger(service)
        self._stage = stage
        self._model = ""
        self._apart: list[tuple[str, float, dict[str, str]]] = []

    def about(self, model: str) -> None:
        """The model of this invocation. Only one that exists: a name that callers make up must not become a metric."""
        self._model = model
        self._metrics.add_dimensions(service=self._service, model=model)

    def count(self, name: str, value: float = 1, **by: str) -> None:
        """See ports.Signals. What has dimensions of its own becomes a line of its own, by service, stage and model."""
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        if by:
            self._apart.append((name, value, by))

    def tell(self, values: Mapping[str, float], **dimensions: str) -> None:
        """Metrics of exactly these dimensions beside service and stage; added to no others. Written at once."""
        _write_counts(values, [{"service": self._service, "stage": self._stage} | dimensions])

    def took(self, name: str, milliseconds: float) -> None:
        """Add a duration."""
        self._metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=milliseconds)

    def warn(self, message: str, **facts: object) -> None:
        """See ports.Signals."""
        self._logger.warning(message, extra=facts)

    def fault(self, message: str, error: BaseException, **facts: object) -> None:
        """Log a fault of ours with its trace. Words of errors that are not Tidegate's may quote inputs: left out."""
        said = str(error) if isinstance(error, TidegateError) else ""
        trace = traceback.format_tb(error.__traceback__)
        self._logger.error(message, extra={"fault": type(error).__name__, "said": said, "trace": trace, **facts})

    def flush(self) -> None:
        """Write the metrics of this invocation."""
        self._metrics.flush_metrics()
        about = {"service": self._service, "stage": self._stage}
        for name, value, by in self._apart:
            sets = [about | by] + ([about | {"model": self._model} | by] if self._model else [])
            _write_counts({name: value}, sets)
        self._apart.clear()
        self._model = ""


class Aside:
    """ports.Signals for a thread beside the handler: Powertools' metrics belong to the invocation, so each count is a
    line of its own, written at once."""

    def __init__(self, service: str, *, stage: str) -> None:
        self._dimensions = {"service": service, "stage": stage}
        self._logger = logger(service)

    def count(self, name: str, value: float = 1, **by: str) -> None:
        """See ports.Signals."""
        _write_counts({name: value}, [self._dimensions | by])

    def warn(self, message: str, **facts: object) -> None:
        """See ports.Signals."""
        self._logger.warning(message, extra=facts)


def _write_counts(values: Mapping[str, float], sets: list[dict[str, str]]) -> None:
    """Metrics as a line of embedded metric format, by each set of dimensions."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions) for dimensions in sets],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in values],
    }
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    words = {key: word for dimensions in sets for key, word in dimensions.items()}
    print(json.dumps({"_aws": about, **words, **values}), flush=True)  # noqa: T201
