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
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.domain.serving.fallback import Fallback
from tidegate.kernel.errors import UnavailableError
from tidegate.ml.scoring import load
from tidegate.steps.serving.inference import Inference
from tidegate.testing.models import linear_onnx
from tidegate.testing.parts import InMemoryParts
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
        self.registered: dict[int, str] = {}  # where it is not what the route says

    def registered_sha256(self, model: str, number: int) -> str:
        if self.down:
            raise self.down
        route = self._routes[model]
        served = (route.champion, route.candidate, route.shadow, route.previous)
        said = {each.version: each.artifact_sha256 for each in served if each}
        return (said | self.registered)[number]

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
class Serving(InMemoryParts):
    """The function with everything around it."""

    registry: Registry = field(default_factory=Registry)
    artifacts: Artifacts = field(default_factory=Artifacts)
    cache_bytes: int = 2**20
    timeout_seconds: float = 5.0
    ttl_seconds: float = 3
    max_body_bytes: int = 2_000

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A cold start: nothing is kept."""
        inference = self.step(
            Inference,
            route_ttl_seconds=self.ttl_seconds,
            scoring_timeout_seconds=self.timeout_seconds,
            cache_bytes=self.cache_bytes,
        )
        meter = cast("telemetry.Meter", self.meter)
        self.parts = function.Wired(
            inference, meter, self.captures, max_instances=5, max_body_bytes=self.max_body_bytes
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

    def falls_back(self, rate: float = 0.25, contract: Contract = CONTRACT) -> None:
        """A run was registered: its fallback stands by."""
        rule = FittedRule("constant", (1 - rate, rate))
        key = f"runs/{MODEL}/r-0/fallback.json"
        sha256 = self.artifacts.put(key, Fallback(contract, rule).to_bytes())
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
