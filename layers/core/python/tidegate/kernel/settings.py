"""Settings of each function, written once: the stack fills them in, the function reads them back.

`infra` creates the dataclass with CDK tokens and puts `.to_env()` into the function's environment; the handler calls
`.from_env()` on first use, never at import. A missing field is a type error in the stack, not a surprise at night.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Self

_PREFIX = "TIDEGATE_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Strings only, since environment variables and CDK tokens are strings; subclasses add typed properties."""

    def to_env(self) -> dict[str, str]:
        """Environment variables, one for each field: `registry_table` becomes `TIDEGATE_REGISTRY_TABLE`."""
        return {_PREFIX + field.name.upper(): getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the fields back.

        Raises:
            RuntimeError: a variable is missing; the message names every missing one.
        """
        source = os.environ if env is None else env
        names = [field.name for field in fields(cls)]
        missing = [_PREFIX + name.upper() for name in names if _PREFIX + name.upper() not in source]
        if missing:
            raise RuntimeError(f"{cls.__name__}: environment lacks {', '.join(missing)}; deploy the stack again")
        return cls(**{name: source[_PREFIX + name.upper()] for name in names})


@dataclass(frozen=True, slots=True)
class CatalogSettings(Settings):
    """functions/catalog: reads uploaded files, profiles them and writes a dataset version."""

    registry_table: str
    data_bucket: str


@dataclass(frozen=True, slots=True)
class PrepareSettings(Settings):
    """functions/prepare: resolves the dataset, checks it and writes the split tables."""

    registry_table: str
    data_bucket: str
    artifacts_bucket: str
    code_version: str
    lock_hash: str
    allowed_licences: str

    @property
    def licences(self) -> tuple[str, ...]:
        """Licences that may be trained on; none when every licence may."""
        return tuple(licence for licence in self.allowed_licences.split(",") if licence)


@dataclass(frozen=True, slots=True)
class StepSettings(Settings):
    """functions/train, evaluate, reproduce, slices_and_groups, report: the registry and the run's artifacts."""

    registry_table: str
    artifacts_bucket: str


@dataclass(frozen=True, slots=True)
class GateSettings(Settings):
    """functions/gate: the registry, the run's artifacts, and what serving a request costs."""

    registry_table: str
    artifacts_bucket: str
    inference_memory_mb: str
    gb_second_usd: str
    request_usd: str


@dataclass(frozen=True, slots=True)
class RegistrySettings(Settings):
    """functions/select: the registry alone."""

    registry_table: str


@dataclass(frozen=True, slots=True)
class LedgerSettings(Settings):
    """functions/register: the registry, and the ledger of what is served."""

    registry_table: str
    ledger_table: str


@dataclass(frozen=True, slots=True)
class CloseFailedSettings(Settings):
    """functions/close_failed: the same, and the state machines that run releases and batches."""

    registry_table: str
    ledger_table: str
    release_state_machine: str
    batch_state_machine: str


@dataclass(frozen=True, slots=True)
class RolloutSettings(Settings):
    """functions/rollout: decides on captures and feedback what is served, and checks the artifact that is."""

    registry_table: str
    ledger_table: str
    artifacts_bucket: str
    captures_bucket: str
    release_state_machine: str


@dataclass(frozen=True, slots=True)
class InferenceSettings(Settings):
    """functions/inference: reads routes and artifacts, never writes either."""

    registry_table: str
    artifacts_bucket: str
    capture_stream: str
    stage: str
    route_ttl_seconds: str
    scoring_timeout_ms: str
    max_instances: str
    max_body_bytes: str


@dataclass(frozen=True, slots=True)
class ControlSettings(Settings):
    """functions/control: the API people and pipelines use."""

    service: ClassVar[str] = "control"  # its metrics and logs are by this name
    registry_table: str
    ledger_table: str
    data_bucket: str
    artifacts_bucket: str
    captures_bucket: str
    stage: str
    release_state_machine: str
    catalog_function: str
    batch_state_machine: str
    batch_places: str

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Where batches may read and write: a pattern of callers (`roles.caller`), and a bucket and a folder."""
        pairs = (each.partition("=") for each in self.batch_places.split(","))
        return tuple((who, place) for who, _, place in pairs)


@dataclass(frozen=True, slots=True)
class AnnounceSettings(Settings):
    """functions/announce: notifies people and other systems of what changed in the registry."""

    service: ClassVar[str] = "announce"  # its metrics and logs are by this name
    registry_table: str
    releases_topic: str
    stage: str


@dataclass(frozen=True, slots=True)
class DueSettings(Settings):
    """functions/due: says which models are due."""

    registry_table: str
    captures_bucket: str


@dataclass(frozen=True, slots=True)
class MonitorSettings(Settings):
    """functions/monitor: counts what models were asked, judges it and records how they stand."""

    service: ClassVar[str] = "monitor"  # its metrics and logs are by this name
    registry_table: str
    ledger_table: str
    artifacts_bucket: str
    captures_bucket: str
    stage: str
    inference_memory_mb: str
    gb_second_usd: str
    request_usd: str
    gb_month_usd: str


@dataclass(frozen=True, slots=True)
class FeedbackSettings(Settings):
    """functions/feedback: keeps what became of predictions."""

    service: ClassVar[str] = "feedback"  # its metrics and logs are by this name
    registry_table: str
    feedback_stream: str
    stage: str
    max_body_bytes: str


@dataclass(frozen=True, slots=True)
class RetrainSettings(Settings):
    """functions/retrain: makes datasets of captures, and starts the trainings that monitoring wants."""

    registry_table: str
    data_bucket: str
    captures_bucket: str
    release_state_machine: str
    catalog_function: str


@dataclass(frozen=True, slots=True)
class BatchSettings(Settings):
    """functions/batch: plans batches and records their ends. What they read and write lies where they say."""

    registry_table: str
    artifacts_bucket: str


@dataclass(frozen=True, slots=True)
class ScoreSettings(Settings):
    """functions/score: scores parts of batches, which lie where batches say; artifacts lie here."""

    artifacts_bucket: str
