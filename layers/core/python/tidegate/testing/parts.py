"""What functions work with, in memory: every part of `tidegate.wiring` under its name, and one way to take a step.

    parts = InMemoryParts()
    looked = parts.step(monitor, "trip-delay", parts.clock.now())

It imports nothing that trains; `tidegate.testing.deployment` adds that, and whole releases.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

from tidegate.domain.monitoring.costs import Prices
from tidegate.ports.serving import Scorer, ScorerLoader
from tidegate.steps.batch.work import Opened
from tidegate.steps.serving.feedback import Intake
from tidegate.testing.batch import InMemoryBatchLedger, InMemoryBatchObjects, InMemoryBatchRuns
from tidegate.testing.data import InMemoryCatalog, InMemoryDatasetFiles
from tidegate.testing.monitoring import InMemoryHealthRecords, InMemoryHours, InMemoryVerdicts
from tidegate.testing.notifications import InMemoryMessages
from tidegate.testing.platform import FixedClock, InMemoryDispatcher, RecordedSignals
from tidegate.testing.registry import InMemoryArtifacts, InMemoryRegistry, InMemoryWorkflow
from tidegate.testing.rollout import InMemoryArms
from tidegate.testing.serving import InMemoryCaptures, InMemoryFeedback

T = TypeVar("T")
FREE = Prices(gb_second=0.0, request=0.0, gb_month=0.0, memory_mb=1024)
# What steps call a part by its use, where that is not its name.
USES: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("models", "runs", "versions"), "registry")
    | {"objects": "batch_objects", "batches": "batch_runs", "ledger": "batch_ledger"}
    | {"log": "feedback", "signals": "meter"}
)


def load_onnx(onnx: bytes) -> Scorer:
    """What functions load a model with, imported when the first is loaded."""
    from tidegate.ml.scoring import load

    return load(onnx)


@dataclass
class InMemoryParts:
    """The parts that `tidegate.wiring` builds, in memory; every fake is open for tests."""

    registry: InMemoryRegistry = field(default_factory=InMemoryRegistry)
    catalog: InMemoryCatalog = field(default_factory=InMemoryCatalog)
    files: InMemoryDatasetFiles = field(default_factory=InMemoryDatasetFiles)
    artifacts: InMemoryArtifacts = field(default_factory=InMemoryArtifacts)
    captures: InMemoryCaptures = field(default_factory=InMemoryCaptures)
    feedback: InMemoryFeedback = field(default_factory=InMemoryFeedback)
    hours: InMemoryHours = field(default_factory=InMemoryHours)
    verdicts: InMemoryVerdicts = field(default_factory=InMemoryVerdicts)
    health_records: InMemoryHealthRecords = field(default_factory=InMemoryHealthRecords)
    arms: InMemoryArms = field(default_factory=InMemoryArms)
    workflow: InMemoryWorkflow = field(default_factory=InMemoryWorkflow)
    dispatcher: InMemoryDispatcher = field(default_factory=InMemoryDispatcher)
    batch_objects: InMemoryBatchObjects = field(default_factory=InMemoryBatchObjects)
    batch_runs: InMemoryBatchRuns = field(default_factory=InMemoryBatchRuns)
    batch_ledger: InMemoryBatchLedger = field(default_factory=InMemoryBatchLedger)
    messages: InMemoryMessages = field(default_factory=InMemoryMessages)
    meter: RecordedSignals = field(default_factory=RecordedSignals)
    clock: FixedClock = field(default_factory=FixedClock)
    load: ScorerLoader = load_onnx
    prices: Prices = FREE
    settings: Any = None
    chances: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def chance(self) -> str:
        """Twelve hexadecimal digits, one higher each time."""
        return f"{next(self.chances):012x}"

    @property
    def routes(self) -> InMemoryRegistry:
        """ports.Routes."""
        return self.registry

    @property
    def rollouts(self) -> InMemoryRegistry:
        """ports.Rollouts."""
        return self.registry

    @property
    def rollout_reader(self) -> InMemoryRegistry:
        """ports.RolloutReader."""
        return self.registry

    @property
    def lookup(self) -> InMemoryCaptures:
        """ports.CaptureLookup."""
        return self.captures

    @property
    def letters(self) -> InMemoryMessages:
        """ports.Letters."""
        return self.messages

    @property
    def events(self) -> InMemoryMessages:
        """ports.Events."""
        return self.messages

    @cached_property
    def opened(self) -> Opened:
        """The model of the last part of a batch."""
        return Opened(self.artifacts, self.load)

    @cached_property
    def intake(self) -> Intake:
        """What takes outcomes in."""
        return self.step(Intake)

    def step(self, step: Callable[..., T], *given: Any, **others: Any) -> T:
        """Call a step of `tidegate.steps` with every part that it asks for by keyword. `others` are what it asks for
        besides, and stand in for parts of the same name.

        Raises:
            TypeError: the step asks for something that is neither.
        """
        asked = (name for name, each in inspect.signature(step).parameters.items() if each.kind is each.KEYWORD_ONLY)
        places = {name: USES.get(name, name) for name in asked if name not in others}
        parts = {name: getattr(self, place) for name, place in places.items() if hasattr(self, place)}
        return step(*given, **parts, **others)
