"""Logs and metrics of every function, in one place: Powertools Logger and EMF metrics in namespace `Tidegate`.

    logger("train").info("fitted", extra={"rows": 1200})
    meter = Meter("inference", stage="prod")
    meter.about("flight-delay"); meter.count("Requests"); meter.flush()

Made on first use and kept. Inputs, rows and predictions are never logged. There is no tracing library: Lambda's own
active tracing needs none, and the X-Ray SDK costs more cold start than everything else together.
"""

import os
import traceback
from functools import cache

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidegate.errors import TidegateError

__all__ = ["NAMESPACE", "Meter", "logger"]

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

    def about(self, model: str) -> None:
        """The model of this invocation. Only one that exists: a name that callers make up must not become a metric."""
        self._metrics.add_dimensions(service=self._service, model=model)

    def count(self, name: str, value: float = 1) -> None:
        """See ports.Signals."""
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)

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
