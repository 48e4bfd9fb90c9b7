"""Opens and asks models in a fresh process that holds nothing but the inference function's own parts.

Reads what to do from standard input and prints the figures, both JSON; `scripts/benchmarks/models.py` runs it.
"""

import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from tidegate.aws.clock import SystemClock
from tidegate.aws.serving import ServingArtifacts
from tidegate.domain.registry.route import Route, Served
from tidegate.domain.serving.prediction import PredictionRequest
from tidegate.ml import scoring
from tidegate.steps.serving.inference import Inference
from tidegate.steps.serving.timelimit import TimeLimit

T = TypeVar("T")
_FOREVER = 1e9  # seconds
_ANSWERS = 5_000


class _Around:
    """What the function's other parts are: routes that are known, telemetry that counts, captures that go nowhere; and
    both halves of a miss, timed."""

    def __init__(self, models: list[dict[str, str]]) -> None:
        self.routes = {
            each["model"]: Route(each["model"], 1, Served(1, each["key"], each["sha256"])) for each in models
        }
        self.counts: Counter[str] = Counter()
        self.read_ms: list[float] = []
        self.session_ms: list[float] = []
        self._artifacts = ServingArtifacts("artifacts")

    def route(self, model: str) -> Route:
        return self.routes[model]

    def registered_sha256(self, model: str, number: int) -> str:
        del number
        served = self.routes[model].champion
        return served.artifact_sha256 if served else ""

    def count(self, name: str, value: int = 1, **_: str) -> None:
        self.counts[name] += value

    def offer(self, _: Any) -> None: ...

    def get_verified(self, key: str, sha256: str) -> bytes:
        return _timed(self.read_ms, lambda: self._artifacts.get_verified(key, sha256))

    def load(self, onnx: bytes) -> scoring.OnnxScorer:
        return _timed(self.session_ms, lambda: scoring.load(onnx))

    def inference(self, budget: int) -> Inference:
        parts: Any = self
        return Inference(
            routes=parts,
            models=parts,
            versions=parts,
            artifacts=parts,
            load=self.load,
            clock=SystemClock(),
            signals=parts,
            captures=parts,
            route_ttl_seconds=_FOREVER,
            scoring_timeout_seconds=5,
            cache_bytes=budget,
        )


def _kept(trial: dict[str, Any]) -> dict[str, Any]:
    """All models are asked, in turns of another order each; then what is kept, as often as the trial says."""
    chance = random.Random(1)
    first, request = trial["first"], PredictionRequest([trial["instance"]])
    _asked(
        _Around([first]).inference(0), first["model"], request
    )  # what a first session brings along is no model's own
    around = _Around(trial["models"])
    inference = around.inference(trial["budget"])
    gc.freeze()  # as the function does
    names = [each["model"] for each in trial["models"]]
    start = _resident_kib()
    took: list[float] = []
    for _ in range(trial["rounds"]):
        for name in chance.sample(names, len(names)):
            _timed(took, lambda name=name: _asked(inference, name, request))  # type: ignore[misc]
    misses = len(around.read_ms)
    opened = inference._kept  # noqa: SLF001
    found = {
        "requests": len(took),
        "misses": misses,
        "sessions": len(around.session_ms),
        "evicted": around.counts["ArtifactEvicted"],
        "kept": len(opened),
        "counted_bytes": opened.kept_bytes,
        "start_mib": round(start / 1024, 1),
        "resident_mib": round(_resident_kib() / 1024, 1),
        "grown_mib": round((_resident_kib() - start) / 1024, 1),
    }
    if not trial["calls"]:
        return found
    return found | {
        "miss_ms": _spread(took)
        | {"read_p50": _spread(around.read_ms)["p50"], "session_p50": _spread(around.session_ms)["p50"]},
        "hit_us": _hits(inference, around, chance.choices(names, k=trial["calls"])),
        "answer_us": _answers(inference, request, chance.choices(names, k=_ANSWERS)),
    }


def _hits(inference: Inference, around: _Around, names: list[str]) -> dict[str, float]:
    served = {name: route.champion for name, route in around.routes.items()}
    took: list[float] = []
    session: Any = inference._session  # noqa: SLF001
    for name in names:
        champion = served[name]
        began = time.perf_counter_ns()
        session(name, champion)
        took.append((time.perf_counter_ns() - began) / 1e3)
    return _spread(took)


def _answers(inference: Inference, request: PredictionRequest, names: list[str]) -> dict[str, float]:
    took: list[float] = []
    for name in names:
        _timed(took, lambda name=name: _asked(inference, name, request))  # type: ignore[misc]
    return _spread([1e3 * each for each in took])


def _collapse(trial: dict[str, Any]) -> dict[str, Any]:
    """All threads ask for a cold model at once, for one model after the other."""
    around = _Around(trial["models"])
    inference, start = around.inference(trial["budget"]), threading.Barrier(trial["threads"])

    def ask(name: str) -> None:
        start.wait()
        inference.describe(name)

    with ThreadPoolExecutor(trial["threads"]) as pool:
        for name in around.routes:
            for each in [pool.submit(ask, name) for _ in range(trial["threads"])]:
                each.result()
    return {"sessions": len(around.session_ms)}


def _kind(trial: dict[str, Any]) -> dict[str, Any]:
    """What one session takes: many of the same bytes are opened, each by itself, and asked once."""
    before, request = (PredictionRequest([each]) for each in trial["instances"])
    _asked(_Around([trial["first"]]).inference(0), "small", before)
    bare = _resident_kib()
    _asked(_Around(trial["models"]).inference(0), "small", request)
    opening = _resident_kib("VmHWM") - bare
    gc.collect()
    start, held, one_thread = _resident_kib(), [], TimeLimit()
    for _ in range(trial["kept"]):
        inference = _Around(trial["models"]).inference(0)
        inference._time_limit = one_thread  # noqa: SLF001  one for each would count as the model's memory
        _asked(inference, "small", request)
        held.append(inference)
    grown = (_resident_kib() - start) / trial["kept"]
    counted = held[0]._kept.kept_bytes  # noqa: SLF001
    return {"resident_kib": round(grown, 1), "counted_kib": round(counted / 1024, 1), "opening_kib": opening}


def _asked(inference: Inference, model: str, request: PredictionRequest) -> None:
    """One prediction."""
    inference.predict(model, request, os.urandom)


def _timed(took: list[float], work: Callable[[], T]) -> T:
    """Adds the milliseconds."""
    began = time.perf_counter_ns()
    found = work()
    took.append((time.perf_counter_ns() - began) / 1e6)
    return found


def _spread(took: list[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(took, share)), 3) for share in (50, 99)}


def _resident_kib(what: str = "VmRSS") -> int:
    """Now, or at most so far (VmHWM)."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith(what))


def main() -> None:
    trial = json.load(sys.stdin)
    print(json.dumps({"kept": _kept, "collapse": _collapse, "kind": _kind}[trial["what"]](trial)))


if __name__ == "__main__":
    main()
