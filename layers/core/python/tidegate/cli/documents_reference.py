"""Every kind of stored document: its form, where it lies and what reads it. docs/stored-documents.md shows the table:

python -m tidegate.cli.documents_reference
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from tidegate.aws import batch_ledger, registry
from tidegate.aws.items import decode
from tidegate.cli.tool import STATE
from tidegate.domain.batch.batch import TOTALS, Batch
from tidegate.domain.batch.batch_ledger import BatchEntry, Head
from tidegate.domain.data.dataset import Dataset, DatasetVersion, Exclusion
from tidegate.domain.evaluation.documents import (
    ENVIRONMENT,
    EVALUATION,
    PLAN,
    REPRODUCTION,
    SLICES_AND_GROUPS,
    read_report,
)
from tidegate.domain.evaluation.documents import REPORT as GATE_REPORT
from tidegate.domain.monitoring.findings import VERDICT
from tidegate.domain.monitoring.health import HealthRecord
from tidegate.domain.monitoring.hours import Hour
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.profile import Layout, Profile
from tidegate.domain.registry.ledger import LedgerEntry
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import CandidateRun, Lease, Run
from tidegate.domain.registry.version import Version
from tidegate.domain.rollout.rollout import Rollout
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.capture import CAPTURE_RECORD
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.serving.feedback import FEEDBACK_RECORD
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.table import Table
from tidegate.ports.registry import ModelHeader


@dataclass(frozen=True, slots=True)
class Stored:
    """A kind of stored document.

    Attributes:
        place: where one lies.
        read: makes of its bytes what the code works with; of a record in the registry, of its item as JSON.
        strict: its reader refuses what it does not know, so that an addition needs a new number too.
        item: the class of a record in the registry.
    """

    form: StoredForm
    place: str
    read: Callable[[bytes], Any]
    strict: bool = False
    item: type | None = None

    @property
    def folder(self) -> str:
        """Of its frozen documents, below tests/documents."""
        return self.form.name.replace(" ", "-")


def _json(cls: Any, place: str, *, strict: bool = False) -> Stored:
    return Stored(cls.FORM, place, lambda data: cls.from_json(json.loads(data)), strict)


def _item(cls: Any, place: str) -> Stored:
    return Stored(cls.FORM, place, lambda data: decode(cls, json.loads(data)), item=cls)


_RUN = "artifacts bucket, a run's folder"
DOCUMENTS = (
    _json(Contract, "in the metadata of `model.onnx`, in the plan and in the fallback", strict=True),
    Stored(Fallback.FORM, _RUN, Fallback.from_bytes),
    _json(FittedRule, f"{_RUN}; in the fallback"),
    Stored(Table.FORM, "artifacts bucket, `tables/`; scores and background in a run's folder", Table.from_npz),
    Stored(PLAN, _RUN, PLAN.read),
    Stored(ENVIRONMENT, _RUN, ENVIRONMENT.read),
    Stored(EVALUATION, f"{_RUN}; in the gate report", EVALUATION.read),
    Stored(SLICES_AND_GROUPS, _RUN, SLICES_AND_GROUPS.read),
    Stored(GATE_REPORT, _RUN, read_report),
    Stored(REPRODUCTION, _RUN, REPRODUCTION.read),
    _json(Reference, _RUN),
    _json(Layout, "in the reference", strict=True),
    _json(Profile, "in the reference and in counted hours"),
    _json(Hour, "captures bucket, `profiles/`"),
    Stored(VERDICT, "captures bucket, `verdicts/`", VERDICT.read),
    Stored(CAPTURE_RECORD, "captures bucket, `captures/`", CAPTURE_RECORD.read),
    Stored(FEEDBACK_RECORD, "captures bucket, `feedback/`", FEEDBACK_RECORD.read),
    _json(Batch, "output of a batch, `_tidegate/`", strict=True),
    Stored(TOTALS, "output of a batch, `_SUCCESS.json`", TOTALS.read),
    _item(ModelHeader, "registry, `MODELS`"),
    _item(registry._StoredSpec, "registry, `SPEC#`"),  # noqa: SLF001  nobody else reads it
    _item(Run, "registry, `RUN#`"),
    _item(CandidateRun, "registry, `RUN#...#CANDIDATE#`"),
    _item(registry._Token, "registry, `TOKEN#`"),  # noqa: SLF001
    _item(Version, "registry, `VERSION#`"),
    _item(Route, "registry, `ROUTE`"),
    _item(Rollout, "registry, `ROLLOUT#`"),
    _item(Lease, "registry, `LEASE`"),
    _item(LedgerEntry, "ledger, `LEDGER#`"),
    _item(HealthRecord, "registry, `HEALTH`"),
    _item(Dataset, "registry, `DATASETS`"),
    _item(DatasetVersion, "registry, `DATASET#`, `VERSION#`"),
    _item(Exclusion, "registry, `DATASET#`, `EXCLUSION#`"),
    _item(BatchEntry, "registry, `BATCHES#`, `ENTRY#`"),
    _item(Head, "registry, `BATCHES#`, `HEAD`"),
    _item(batch_ledger._Recorded, "registry, `BATCHES#`, `ACT#`"),  # noqa: SLF001
    Stored(STATE, "`.tidegate/local.json` of the local cloud", STATE.read),
)


def table() -> str:
    """One line for each kind."""
    head = "| document | schema | where | when it cannot be read, besides deploying the code that wrote it |"
    rows = (f"| {each.form.name} | {each.form.schema} | {each.place} | {each.form.renew} |" for each in DOCUMENTS)
    return "\n".join([head, "| --- | --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    click.echo(table(), nl=False)
