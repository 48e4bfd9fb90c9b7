"""What functions work with, built in one place from their settings.

    at = wiring.of(GateSettings)
    gate(task, models=at.registry, artifacts=at.artifacts, prices=at.prices, clock=at.clock)

A part is imported and built when it is first asked for, and kept for the invocations that follow: a function pays for
what it uses. A part that its settings have no place for is a type error in the function. Tests put their own parts in
the place of `of`; whoever needs a cold start calls `forget`. Inference builds its own parts: its cold start has no room
for what is imported here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import tidegate.aws.clients  # noqa: F401  boto3 is every function's, and start-up has the most processor there is
from tidegate.aws.clock import SystemClock
from tidegate.kernel.settings import Settings
from tidegate.telemetry import Meter

if TYPE_CHECKING:
    from typing import Protocol

    from tidegate.aws.announcements import EventBridgeEvents, SnsLetters
    from tidegate.aws.batch import S3BatchObjects, StepFunctionsBatches
    from tidegate.aws.batch_ledger import DynamoBatchLedger
    from tidegate.aws.captures import S3CaptureReader
    from tidegate.aws.dispatch import LambdaDispatcher
    from tidegate.aws.evidence import S3ArmsReader
    from tidegate.aws.lookup import S3CaptureLookup
    from tidegate.aws.monitoring import DynamoHealthRecords, S3Hours, S3Verdicts
    from tidegate.aws.objects import S3Artifacts, S3DatasetFiles
    from tidegate.aws.registry import DynamoCatalog, DynamoRegistry, DynamoRoutes
    from tidegate.aws.rollouts import DynamoRolloutReader, DynamoRollouts
    from tidegate.aws.workflow import StepFunctionsWorkflow
    from tidegate.domain.monitoring.costs import Prices
    from tidegate.steps.batch.work import Opened
    from tidegate.steps.serving.feedback import Intake

    # What settings have to name for a part; classes of protocols are not free to make, and only the type checker asks.

    class Table(Protocol):
        """Settings that name the registry's table."""

        @property
        def registry_table(self) -> str: ...

    class Ledgered(Table, Protocol):
        """Settings that name the ledger's table beside the registry's."""

        @property
        def ledger_table(self) -> str: ...

    class Data(Protocol):
        """Settings that name the bucket of datasets."""

        @property
        def data_bucket(self) -> str: ...

    class ArtifactStore(Protocol):
        """Settings that name the bucket of what runs make."""

        @property
        def artifacts_bucket(self) -> str: ...

    class CaptureStore(Protocol):
        """Settings that name the bucket of captures, feedback and what monitoring makes of them."""

        @property
        def captures_bucket(self) -> str: ...

    class ReleaseMachine(Protocol):
        """Settings that name the state machine of releases."""

        @property
        def release_state_machine(self) -> str: ...

    class BatchMachine(Protocol):
        """Settings that name the state machine of batches."""

        @property
        def batch_state_machine(self) -> str: ...

    class CatalogFunction(Protocol):
        """Settings that name the function that registers datasets."""

        @property
        def catalog_function(self) -> str: ...

    class Topic(Protocol):
        """Settings that name the topic of messages to people."""

        @property
        def releases_topic(self) -> str: ...

    class FeedbackStream(Protocol):
        """Settings that name the stream of outcomes."""

        @property
        def feedback_stream(self) -> str: ...

    class Priced(Protocol):
        """Settings that say what serving costs."""

        @property
        def inference_memory_mb(self) -> str: ...
        @property
        def gb_second_usd(self) -> str: ...
        @property
        def request_usd(self) -> str: ...

    class Measured(Protocol):
        """Settings of a function that has metrics: by its own name and the stage."""

        @property
        def service(self) -> str: ...
        @property
        def stage(self) -> str: ...

    class FeedbackPlaces(Table, FeedbackStream, Measured, Protocol):
        """Settings of what takes outcomes in."""


S_co = TypeVar("S_co", covariant=True)
S = TypeVar("S", bound=Settings)
At_contra = TypeVar("At_contra", contravariant=True)
Part = TypeVar("Part")


class kept(Generic[At_contra, Part]):  # noqa: N801  read as a word before what it decorates
    """A part that is built when it is first asked for, and kept."""

    def __init__(self, build: Callable[[At_contra], Part]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, at: At_contra, _owner: type | None = None) -> Part:
        part = self._build(at)
        vars(at)[self._name] = part  # found before this descriptor from now on
        return part


class Wiring(Generic[S_co]):
    """The parts of one function, by its settings."""

    def __init__(self, settings: S_co) -> None:
        self.settings = settings
        self.clock = SystemClock()

    def chance(self) -> str:
        """Twelve hexadecimal digits that nobody can foresee."""
        import secrets

        return secrets.token_hex(6)

    @kept
    def registry(self: "Wiring[Table]") -> "DynamoRegistry":
        """ports.Models, Runs, Versions and RouteReader."""
        from tidegate.aws.registry import DynamoRegistry

        return DynamoRegistry(self.settings.registry_table)

    @kept
    def routes(self: "Wiring[Ledgered]") -> "DynamoRoutes":
        """ports.Routes."""
        from tidegate.aws.registry import DynamoRoutes

        return DynamoRoutes(self.settings.registry_table, self.settings.ledger_table)

    @kept
    def catalog(self: "Wiring[Table]") -> "DynamoCatalog":
        """ports.Catalog."""
        from tidegate.aws.registry import DynamoCatalog

        return DynamoCatalog(self.settings.registry_table)

    @kept
    def rollout_reader(self: "Wiring[Table]") -> "DynamoRolloutReader":
        """ports.RolloutReader."""
        from tidegate.aws.rollouts import DynamoRolloutReader

        return DynamoRolloutReader(self.settings.registry_table)

    @kept
    def rollouts(self: "Wiring[Ledgered]") -> "DynamoRollouts":
        """ports.Rollouts."""
        from tidegate.aws.rollouts import DynamoRollouts

        return DynamoRollouts(self.settings.registry_table, self.settings.ledger_table)

    @kept
    def health_records(self: "Wiring[Table]") -> "DynamoHealthRecords":
        """ports.HealthRecords."""
        from tidegate.aws.monitoring import DynamoHealthRecords

        return DynamoHealthRecords(self.settings.registry_table)

    @kept
    def batch_ledger(self: "Wiring[Table]") -> "DynamoBatchLedger":
        """ports.BatchLedger."""
        from tidegate.aws.batch_ledger import DynamoBatchLedger

        return DynamoBatchLedger(self.settings.registry_table)

    @kept
    def files(self: "Wiring[Data]") -> "S3DatasetFiles":
        """ports.DatasetFiles."""
        from tidegate.aws.objects import S3DatasetFiles

        return S3DatasetFiles(self.settings.data_bucket)

    @kept
    def artifacts(self: "Wiring[ArtifactStore]") -> "S3Artifacts":
        """ports.Artifacts."""
        from tidegate.aws.objects import S3Artifacts

        return S3Artifacts(self.settings.artifacts_bucket)

    @kept
    def captures(self: "Wiring[CaptureStore]") -> "S3CaptureReader":
        """ports.CaptureReader."""
        from tidegate.aws.captures import S3CaptureReader

        return S3CaptureReader(self.settings.captures_bucket)

    @kept
    def lookup(self: "Wiring[CaptureStore]") -> "S3CaptureLookup":
        """ports.CaptureLookup."""
        from tidegate.aws.lookup import S3CaptureLookup

        return S3CaptureLookup(self.settings.captures_bucket)

    @kept
    def hours(self: "Wiring[CaptureStore]") -> "S3Hours":
        """ports.Hours."""
        from tidegate.aws.monitoring import S3Hours

        return S3Hours(self.settings.captures_bucket)

    @kept
    def verdicts(self: "Wiring[CaptureStore]") -> "S3Verdicts":
        """ports.Verdicts."""
        from tidegate.aws.monitoring import S3Verdicts

        return S3Verdicts(self.settings.captures_bucket)

    @kept
    def arms(self: "Wiring[CaptureStore]") -> "S3ArmsReader":
        """ports.ArmsReader."""
        from tidegate.aws.evidence import S3ArmsReader

        return S3ArmsReader(self.settings.captures_bucket, clock=self.clock)

    @kept
    def workflow(self: "Wiring[ReleaseMachine]") -> "StepFunctionsWorkflow":
        """ports.Workflow."""
        from tidegate.aws.workflow import StepFunctionsWorkflow

        return StepFunctionsWorkflow(self.settings.release_state_machine)

    @kept
    def dispatcher(self: "Wiring[CatalogFunction]") -> "LambdaDispatcher":
        """ports.Dispatcher."""
        from tidegate.aws.dispatch import LambdaDispatcher

        return LambdaDispatcher(self.settings.catalog_function)

    @kept
    def batch_objects(self: "Wiring[object]") -> "S3BatchObjects":
        """ports.BatchObjects, wherever a batch's addresses point."""
        from tidegate.aws.batch import S3BatchObjects

        return S3BatchObjects()

    @kept
    def batch_runs(self: "Wiring[BatchMachine]") -> "StepFunctionsBatches":
        """ports.BatchRuns."""
        from tidegate.aws.batch import StepFunctionsBatches

        return StepFunctionsBatches(self.settings.batch_state_machine)

    @kept
    def opened(self: "Wiring[ArtifactStore]") -> "Opened":
        """The model of the last part of a batch."""
        from tidegate.ml.scoring import load
        from tidegate.steps.batch.work import Opened

        return Opened(self.artifacts, load)

    @kept
    def letters(self: "Wiring[Topic]") -> "SnsLetters":
        """ports.Letters."""
        from tidegate.aws.announcements import SnsLetters

        return SnsLetters(self.settings.releases_topic)

    @kept
    def events(self: "Wiring[object]") -> "EventBridgeEvents":
        """ports.Events."""
        from tidegate.aws.announcements import EventBridgeEvents

        return EventBridgeEvents()

    @kept
    def intake(self: "Wiring[FeedbackPlaces]") -> "Intake":
        """What takes outcomes in."""
        from tidegate.aws.feedback import FirehoseFeedback
        from tidegate.steps.serving.feedback import Intake

        log = FirehoseFeedback(self.settings.feedback_stream)
        return Intake(models=self.registry, versions=self.registry, log=log, clock=self.clock, signals=self.meter)

    @kept
    def meter(self: "Wiring[Measured]") -> Meter:
        """ports.Signals."""
        return Meter(self.settings.service, stage=self.settings.stage)

    @kept
    def prices(self: "Wiring[Priced]") -> "Prices":
        """What serving costs; storage where the settings say so."""
        from tidegate.domain.monitoring.costs import Prices

        return Prices(
            gb_second=float(self.settings.gb_second_usd),
            request=float(self.settings.request_usd),
            gb_month=float(getattr(self.settings, "gb_month_usd", 0)),
            memory_mb=float(self.settings.inference_memory_mb),
        )


_wired: dict[type[Settings], Wiring[Any]] = {}


def of(settings: type[S]) -> Wiring[S]:
    """The parts of a function that has these settings in its environment.

    Raises:
        RuntimeError: a variable is missing.
    """
    if settings not in _wired:
        _wired[settings] = Wiring(settings.from_env())
    found: Wiring[S] = _wired[settings]
    return found


def forget() -> None:
    """Build all parts anew at the next invocation, as after a cold start."""
    _wired.clear()
