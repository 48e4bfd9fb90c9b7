"""How fast rows become profiles: from captures as they lie in S3, and from columns in memory beside two peers.

Captures: records as docs/captures.md has them, one prediction a request, 15 numbers with six digits and 5 texts, in
gzip objects of 10,000 lines; unpacked, parsed, counted once per id into an hour. Beside it, in turns, the plain way to
no more than dicts: the standard library's gzip, and orjson line by line. The seconds are those of the one processor
core that does it. The peers get the same columns as pandas frames; what they do once for a reference is not
in their seconds, nor in ours.
"""

import gc
import gzip
import io
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson

from scripts.benchmarks import peers
from tidegate.aws.capture_log import FirehoseCaptures
from tidegate.aws.monitoring import unpacked
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.monitoring.hours import Counting
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.drift import DriftPolicy, judge_features
from tidegate.domain.profiles.profile import Layout, Profile, count, reference
from tidegate.domain.registry.route import Route, Served
from tidegate.domain.serving.capture import Capture, CapturePolicy, line, records
from tidegate.domain.serving.contract import Contract, FeatureContract, Inputs
from tidegate.domain.serving.feedback import Outcomes
from tidegate.domain.serving.prediction import PredictionRequest
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.ids import RANDOM_BYTES, uuid7
from tidegate.kernel.table import Column, Table
from tidegate.ports.registry import ModelHeader
from tidegate.ports.serving import CaptureLog
from tidegate.steps.serving.inference import Inference

NUMBERS, TEXTS = 15, 5
NAMES = [f"x{index}" for index in range(NUMBERS)] + [f"c{index}" for index in range(TEXTS)]
PEERS = {"evidently": "Evidently's data drift preset", "nannyml": "NannyML's univariate calculator"}
_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
_OBJECT_ROWS = 10_000
_ROUNDS = 5
_BEFORE_DELIVERY = 1_000  # requests: as many as the queue holds a few times
_CONTRACT = Contract(
    model="flight-delay",
    task="binary",
    features=tuple(FeatureContract(name, "numeric" if name.startswith("x") else "categorical") for name in NAMES),
    classes=(False, True),
)


def run(*, quick: bool) -> dict[str, Any]:
    """Rows a second, peak memory, microseconds a request, and how many times as fast as the peers."""
    rows, captured = (100_000, 60_000) if quick else (1_000_000, 400_000)
    chance = np.random.default_rng(1)
    trained = _table(100_000, chance)
    score = chance.random(len(trained))
    decided = (score >= 0.5).astype(np.int64)
    layout, profile = reference(_CONTRACT, trained, score=score, label=decided, target=decided)
    return {
        **_counted(_reference(layout, profile), _objects(captured, chance), captured),
        **_profiled(layout, profile, trained, _table(rows, chance)),
        "capture_us": _capture_us(2_000 if quick else 20_000),
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One table for captures, one for columns."""
    peak = ", ".join(f"{each['mib']:.1f} MiB for {each['rows']:,} rows" for each in figures["captures_peak_mib"])
    yield (
        "from captures as stored in S3 to a profile, one core",
        ["what", "figure"],
        [
            ["rows a second", f"{figures['captures_rows_per_s']:,}"],
            ["rows a second, only made dicts of by gzip and orjson", f"{figures['captures_parsed_rows_per_s']:,}"],
            ["largest memory in use while counting", peak],
            ["what a capture adds to a request before its response", f"{figures['capture_us']:.1f} us"],
        ],
    )
    yield (
        f"profiling and comparing {figures['profile_rows']:,} rows of {len(NAMES)} features in memory",
        ["tool", "seconds", "Tidegate is faster by"],
        [
            ["Tidegate", f"{figures['profile_seconds']:.3f}", "-"],
            *(
                [f"{PEERS[tool]} {shown['version']}", f"{shown['seconds']:.2f}", f"{shown['speedup']:.0f} times"]
                if "seconds" in shown
                else [PEERS[tool], "not measured", shown["error"]]
                for tool, shown in figures["profile_peers"].items()
            ),
        ],
    )


def _table(rows: int, chance: np.random.Generator) -> Table:
    carriers = np.asarray(["AA", "B6", "DL", "EV", "MQ", "UA", "US", "WN"])
    numbers = {name: chance.normal(10, 3, rows).round(6) for name in NAMES[:NUMBERS]}
    return Table(numbers | {name: chance.choice(carriers, rows) for name in NAMES[NUMBERS:]})


def _reference(layout: Layout, profile: Profile) -> Reference:
    return Reference(
        layout=layout,
        profile=profile,
        importances={},
        metric="roc_auc",
        design=Estimate(0.8, 0.79, 0.81),
        loss_by_score=None,
        task="binary",
        classes=(False, True),
        positive=1,
        threshold=0.5,
    )


def _objects(rows: int, chance: np.random.Generator) -> list[bytes]:
    """Captures as Firehose stores them."""
    table = _table(rows, chance)
    columns = [table[name].tolist() for name in NAMES]
    scores = chance.random(rows).round(6).tolist()
    found = []
    for start in range(0, rows, _OBJECT_ROWS):
        lines = []
        for row in range(start, min(start + _OBJECT_ROWS, rows)):
            at, score = _AT + timedelta(milliseconds=row), scores[row]
            capture = Capture(
                model="flight-delay",
                version=3,
                arm="champion",
                reason="champion",
                route=4,
                at=at,
                latency_ms=float(chance.gamma(2)),
                cold=False,
                request_id=uuid7(at, chance.bytes(RANDOM_BYTES)),
                instances=[dict(zip(NAMES, (column[row] for column in columns), strict=True))],
                predictions=[
                    {
                        "id": uuid7(at, chance.bytes(RANDOM_BYTES)),
                        "label": score >= 0.5,
                        "score": score,
                        "probabilities": {"false": round(1 - score, 6), "true": score},
                    }
                ],
            )
            lines += [line(record) for record in records(capture, CapturePolicy())]
        found.append(gzip.compress(b"\n".join(lines) + b"\n", 6))
    return found


def _counted(trained: Reference, objects: Sequence[bytes], rows: int) -> dict[str, Any]:
    def counted(those: Sequence[bytes]) -> None:
        counting = Counting(trained, version=3, outcomes=Outcomes())
        for each in those:
            counting.add(unpacked(each))
        if counting.hour("").profile.rows == 0:
            raise RuntimeError("no capture was counted")

    def parsed() -> None:
        for each in objects:
            for text in gzip.GzipFile(fileobj=io.BytesIO(each)):
                orjson.loads(text)

    rounds = [(_seconds(lambda: counted(objects)), _seconds(parsed)) for _ in range(_ROUNDS)]
    return {
        "captures_rows": rows,
        "captures_bytes_a_row": round(sum(map(len, objects)) / rows),
        "captures_rows_per_s": round(rows / min(each for each, _ in rounds)),
        "captures_parsed_rows_per_s": round(rows / min(each for _, each in rounds)),
        "captures_peak_mib": [
            {"rows": rows * len(those) // len(objects), "mib": _peak_mib(partial(counted, those))}
            for those in (objects[: len(objects) // 4], objects)
        ],
    }


def _profiled(layout: Layout, trained: Profile, reference_rows: Table, rows: Table) -> dict[str, Any]:
    def profiled() -> None:
        judge_features(layout, trained, count(layout, rows), DriftPolicy())

    seconds = median(_wall(profiled) for _ in range(_ROUNDS))
    shown: dict[str, dict[str, Any]] = {}
    missing = peers.installed("drift")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        parts = {"reference": reference_rows, "current": rows}
        arrays: dict[str, Any] = {f"{part}/{name}": table[name] for part, table in parts.items() for name in NAMES}
        np.savez(path, **arrays)
        for tool in PEERS:
            shown[tool] = {"error": missing} if missing else peers.asked("drift", tool, str(path))
            if "seconds" in shown[tool]:
                shown[tool]["speedup"] = round(shown[tool]["seconds"] / seconds, 1)
    return {
        "profile_rows": len(rows),
        "profile_reference_rows": len(reference_rows),
        "profile_seconds": seconds,
        "profile_peers": shown,
        "profile_speedup": shown["evidently"].get("speedup"),
        "profile_speedup_nannyml": shown["nannyml"].get("speedup"),
    }


class _Around:
    """What answers a request, in memory: a route, an artifact and its scorer, a clock. Measures and keeps nothing."""

    contract = _CONTRACT
    _scores = np.asarray([[0.25, 0.75]], dtype=np.float32)

    def route(self, model: str) -> Route:
        return Route(model, 1, Served(3, "model.onnx", "sha256"))

    def registered_sha256(self, model: str, number: int) -> str:
        del model, number
        return "sha256"

    def model(self, name: str) -> ModelHeader:
        raise NotFoundError(f"no model {name}")

    def get_verified(self, key: str, sha256: str) -> bytes:
        del sha256
        return key.encode()

    def score(self, inputs: Inputs) -> Column:
        del inputs
        return self._scores

    def now(self) -> datetime:
        return _AT

    def count(self, name: str, value: float = 1, **by: str) -> None: ...

    def offer(self, capture: Capture) -> None: ...


def _capture_us(calls: int) -> float:
    """Median microseconds of a request of one row with captures over those of one without; both take turns. Records are
    made and sent after the response."""
    around: Any = _Around()
    table = _table(1, np.random.default_rng(3))
    request = PredictionRequest([{name: table[name].tolist()[0] for name in NAMES}])

    def asking(log: CaptureLog) -> Callable[[], object]:
        inference = Inference(
            routes=around,
            models=around,
            versions=around,
            artifacts=around,
            load=lambda _: around,
            clock=around,
            signals=around,
            captures=log,
            route_ttl_seconds=60,
            scoring_timeout_seconds=5,
            cache_bytes=2**20,
        )
        return lambda: inference.predict("flight-delay", request, os.urandom)

    without = asking(around)
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(calls // _BEFORE_DELIVERY):
        kept = asking(FirehoseCaptures(around, policies=around, signals=around))  # an empty queue
        kept()
        for _ in range(_BEFORE_DELIVERY):
            took[0].append(_wall(without))
            took[1].append(_wall(kept))
    return round(1e6 * (median(took[1]) - median(took[0])), 2)


def _seconds(work: Callable[[], object]) -> float:
    """Of this process's core."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _wall(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_mib(work: Callable[[], object]) -> float:
    """Largest memory that Python and numpy have in use beyond what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return round(tracemalloc.get_traced_memory()[1] / 2**20, 1)
    finally:
        tracemalloc.stop()
