"""The inference function on in-memory ports and real ONNX artifacts."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from functions.inference import handler as function
from tidegate import telemetry
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.capture import Capture
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.domain.serving.fallback import Fallback
from tidegate.kernel.errors import UnavailableError
from tidegate.ml.scoring import load
from tidegate.ports.serving import ScorerLoader
from tidegate.steps.serving.inference import Inference
from tidegate.testing.models import linear_onnx
from tidegate.testing.platform import FixedClock, RecordedSignals
from tidegate.testing.registry import InMemoryArtifacts, InMemoryRegistry

MODEL = "flight-delay"
CONTRACT = Contract(
    model=MODEL,
    task="binary",
    features=(
        FeatureContract("distance", "numeric", minimum=0, maximum=5000, unit="miles"),
        FeatureContract("carrier", "categorical", categories=("AA", "UA"), unseen="reject"),
    ),
    classes=(False, True),
)
GOOD = {"distance": 100, "carrier": "UA"}


def onnx(bias: float, contract: Contract = CONTRACT) -> bytes:
    return linear_onnx(contract, [0.001], effects={"AA": 0.5, "UA": -0.5}, bias=bias)


class Registry(InMemoryRegistry):
    """A registry that can stop answering, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.down: Exception | None = None
        self.asked = 0

    def route(self, model: str) -> Route | None:
        self.asked += 1
        if self.down:
            raise self.down
        return super().route(model)

    def model(self, name: str) -> Any:
        if name == "unreleased":
            return object()
        return super().model(name)


class Artifacts(InMemoryArtifacts):
    """Artifacts that can stop answering."""

    down = False

    def get(self, key: str) -> bytes:
        if self.down:
            raise UnavailableError("S3 did not answer")
        return super().get(key)


@dataclass
class Meter(RecordedSignals):
    """What the function would have logged and measured."""

    models: list[str] = field(default_factory=list)
    flushed: int = 0

    def about(self, model: str) -> None:
        self.models.append(model)

    def took(self, name: str, milliseconds: float) -> None:
        self.count(name, milliseconds)

    def fault(self, message: str, error: BaseException, **facts: object) -> None:
        self.said.append(f"{message} {type(error).__name__} {facts}")

    def flush(self) -> None:
        self.flushed += 1


@dataclass
class Captures:
    """ports.CaptureLog."""

    offered: list[Capture] = field(default_factory=list)

    def offer(self, capture: Capture) -> None:
        self.offered.append(capture)


@dataclass
class Serving:
    """The function with everything around it."""

    registry: Registry = field(default_factory=Registry)
    artifacts: Artifacts = field(default_factory=Artifacts)
    clock: FixedClock = field(default_factory=FixedClock)
    meter: Meter = field(default_factory=Meter)
    captures: Captures = field(default_factory=Captures)
    cache_bytes: int = 2**20
    timeout_seconds: float = 5.0
    load: ScorerLoader = load

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A cold start: nothing is kept."""
        inference = Inference(
            routes=self.registry,
            models=self.registry,
            artifacts=self.artifacts,
            load=self.load,
            clock=self.clock,
            signals=self.meter,
            captures=self.captures,
            route_ttl_seconds=3,
            scoring_timeout_seconds=self.timeout_seconds,
            cache_bytes=self.cache_bytes,
        )
        self.parts = function.Wired(
            inference, cast("telemetry.Meter", self.meter), max_instances=5, max_body_bytes=2_000
        )

    def release(self, version: int, data: bytes, model: str = MODEL) -> None:
        key = f"runs/{model}/r-{version}/model.onnx"
        served = Served(version, key, self.artifacts.put(key, data))
        before = self.registry._routes.get(model)
        revision = before.revision + 1 if before else 1
        fallback = before.fallback if before else None
        previous = before.champion if before else None
        self.registry._routes[model] = Route(model, revision, served, previous, fallback=fallback)

    def change(self, **changes: Any) -> None:
        route = self.registry._routes[MODEL]
        self.registry._routes[MODEL] = replace(route, revision=route.revision + 1, **changes)

    def falls_back(self, rate: float = 0.25) -> None:
        """A run was registered: its fallback stands by."""
        rule = FittedRule("constant", (1 - rate, rate))
        key = f"runs/{MODEL}/r-0/fallback.json"
        sha256 = self.artifacts.put(key, Fallback(CONTRACT, rule).to_bytes())
        self.change(fallback=FallbackRef(key, sha256, "r-0"))

    def tamper(self, version: int, data: bytes) -> None:
        self.artifacts.objects[f"runs/{MODEL}/r-{version}/model.onnx"] = data


CANDIDATE = 2


def second(house: Serving, data: bytes, *, share_bp: int = 10_000, role: CandidateRole = CandidateRole.CANARY) -> None:
    """Version 2 gets a share beside version 1."""
    key = f"runs/{MODEL}/r-2/model.onnx"
    house.change(
        candidate=Served(CANDIDATE, key, house.artifacts.put(key, data)), candidate_bp=share_bp, candidate_role=role
    )


class Broken:
    """A scorer that does something else than score."""

    def __init__(self, contract: Contract, act: Callable[[], Any]) -> None:
        self.contract, self._act = contract, act
        self.stopped = False

    def score(self, inputs: Any) -> Any:
        return self._act()

    def stop(self) -> None:
        self.stopped = True


def fail() -> None:
    raise RuntimeError("could not handle 'UA'")


def slow() -> Any:
    time.sleep(0.3)
    return np.array([[0.5, 0.5]], dtype=np.float32)


def breaks(house: Serving, data: bytes, act: Callable[[], Any]) -> None:
    """Whoever loads these bytes gets a scorer that acts so."""
    house.load = lambda given: Broken(CONTRACT, act) if given == data else load(given)
    house.timeout_seconds = 0.1 if act is slow else 5.0
    house.restart()
