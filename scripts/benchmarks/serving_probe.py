"""Measures the inference function from inside its own process, where a benchmark has deployed it beside the function.

The event names what to measure; the answer is the figures. What follows a response on Lambda (the delivery of captures)
happens between the timed calls here.
"""

import json
import os
import time
from typing import Any

import handler as inference  # the function's own module: the probe stands beside it
import numpy as np
import onnxruntime
import orjson

from tidegate.ml import scoring

_ALTERNATELY = 50  # calls of the handler, then as many of the bare session: a slow moment of the machine meets both
_US = 1e-3  # of a nanosecond


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{"what": "warm", "request": an HTTP event, "model": ..., "calls": n} or {"what": "memory"}."""
    return {"warm": _warm, "memory": lambda *_: {"rss_kib": _rss_kib()}}[event["what"]](event, context)


def _warm(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request, calls = event["request"], event["calls"]
    body = request["body"].encode()
    session, feed = _bare(event["model"], json.loads(body)["instances"])
    answer = inference.handler(request, context)
    if answer["statusCode"] != 200:
        raise RuntimeError(f"the function answered {answer['statusCode']}: {answer['body']}")
    for _ in range(_ALTERNATELY):  # until the version is known to be fast
        inference.handler(request, context)
    handled: list[int] = []
    bare: list[int] = []
    parsed: list[int] = []
    for _ in range(calls // _ALTERNATELY):
        handled += _nanoseconds(lambda: inference.handler(request, context))
        inference.AFTERWARDS._act(5.0, 0.0)  # noqa: SLF001  what the function does after a response
        bare += _nanoseconds(lambda: session.run(None, feed))
        parsed += _nanoseconds(lambda: orjson.loads(body))
    return {name: _spread(took) for name, took in (("handler", handled), ("bare", bare), ("parsed", parsed))}


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


def _nanoseconds(work: Any) -> list[int]:
    took = []
    for _ in range(_ALTERNATELY):
        started = time.perf_counter_ns()
        work()
        took.append(time.perf_counter_ns() - started)
    return took


def _spread(took: list[int]) -> dict[str, float]:
    return {f"p{share}_us": round(float(np.percentile(took, share)) * _US, 2) for share in (50, 90, 99)}


def _rss_kib() -> int:
    with open(f"/proc/{os.getpid()}/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
