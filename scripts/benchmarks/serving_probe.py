"""Measures the inference function from inside its own process, where a benchmark has deployed it beside the function.

The event names the request, the model and how often to ask; the answer is the figures. Twice: one call after the other,
with what follows the responses left for between the timed stretches; then as on Lambda, where the delivery of captures,
the metrics line and the reading of routes follow each response before the next request comes.
"""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import handler as inference  # the function's own module: the probe stands beside it
import numpy as np
import onnxruntime
import orjson

from tidegate.ml import scoring

_WARM_UP = 50  # calls, until the version is known to be fast
_GROUP = 500  # calls with percentiles of their own: a stall of the machine spoils one group and not the figure
_ROUTE_TTL = timedelta(seconds=0.2)  # in the second part, so that routes are read often
_US = 1e-3  # of a nanosecond


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{"request": an HTTP event, "model": ..., "calls": n, "in_a_row": calls without a look at the others}."""
    request, in_a_row = event["request"], event["in_a_row"]
    body = request["body"].encode()
    session, feed = _bare(event["model"], json.loads(body)["instances"])
    answer = inference.handler(request, context)
    if answer["statusCode"] != 200:
        raise RuntimeError(f"the function answered {answer['statusCode']}: {answer['body']}")

    def ask() -> None:
        inference.handler(request, context)

    _nanoseconds(ask, _WARM_UP)
    took: dict[str, list[int]] = {"handler": [], "bare": [], "parsed": []}
    for _ in range(event["calls"] // in_a_row):
        took["handler"] += _nanoseconds(ask, in_a_row)
        _after_response()
        took["bare"] += _nanoseconds(lambda: session.run(None, feed), in_a_row)
        took["parsed"] += _nanoseconds(lambda: orjson.loads(body), in_a_row)
    return {name: _spread(each) for name, each in took.items()} | {"followed": _followed(ask, event["calls"] // 10)}


def _followed(ask: Callable[[], None], calls: int) -> dict[str, float]:
    """Each call after all that follows the response before it."""
    parts = inference.wire().inference
    routes, read = parts._routes, 0  # noqa: SLF001

    class Counted:
        def route(self, model: str) -> Any:
            nonlocal read
            read += 1
            return routes.route(model)

    parts._routes, parts._ttl = Counted(), _ROUTE_TTL  # noqa: SLF001
    took: list[int] = []
    for _ in range(calls):
        took += _nanoseconds(ask, 1)
        _after_response()
    return _spread(took) | {"calls": calls, "routes_read": read}


def _after_response() -> None:
    inference.AFTERWARDS._act(5.0, 0.0)  # noqa: SLF001


def _bare(model: str, instances: list[dict[str, Any]]) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """A session of the served artifact as onnxruntime alone would hold it, and the request as its input."""
    parts = inference.wire()
    route = parts.inference._route(model)  # noqa: SLF001
    champion = route.champion if route else None
    if champion is None:
        raise RuntimeError(f"{model} has no champion")
    data = parts.inference._artifacts.get_verified(champion.artifact_key, champion.artifact_sha256)  # noqa: SLF001
    contract = scoring.load(data).contract
    rows = [[instance[feature.name] for feature in contract.numeric] for instance in instances]
    session = onnxruntime.InferenceSession(data, scoring._options(), providers=["CPUExecutionProvider"])  # noqa: SLF001
    return session, {"numeric": np.asarray(rows, dtype=np.float32)}


def _nanoseconds(work: Callable[[], Any], calls: int) -> list[int]:
    took = []
    for _ in range(calls):
        started = time.perf_counter_ns()
        work()
        took.append(time.perf_counter_ns() - started)
    return took


def _spread(took: list[int]) -> dict[str, float]:
    """Percentiles in microseconds: the median of those of each group of calls."""
    groups = [took[start : start + _GROUP] for start in range(0, max(len(took) - _GROUP, 0) + 1, _GROUP)]
    shares = np.median([np.percentile(group, (50, 90, 99)) for group in groups], axis=0) * _US
    return dict(zip(("p50_us", "p90_us", "p99_us"), shares.round(2).tolist(), strict=True))
