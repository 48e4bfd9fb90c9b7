"""Slices, metrics by group, and the page of a version."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tidegate.domain.data.dataset import Dataset, DatasetVersion, Exclusion
from tidegate.domain.registry.version import Version

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.domain.evaluation.report import GateReport
    from tidegate.domain.evaluation.slices import Path
    from tidegate.kernel.table import Column, Table
    from tidegate.spec.model import ModelSpec


class SliceSearch(Protocol):
    """Looks for parts of the rows that lose most (scikit-learn lives behind this)."""

    def __call__(self, table: "Table", booleans: Collection[str], loss: "Column") -> "list[Path]":
        """Parts of the table that together hold all its rows, each described by its conditions; none when it cannot be
        parted. `booleans` names the features that are true or false, `loss` [rows] is what each row costs."""
        ...


class GroupMetrics(Protocol):
    """Metrics by group of rows (fairlearn lives behind this). `group` [rows] holds codes, `positive` and `decided`
    [rows] booleans: what was true, and what a binary model decided."""

    def rates(self, positive: "Column", decided: "Column", group: "Column") -> Mapping[int, Mapping[str, float]]:
        """Of each group: `positive_rate`, `true_positive_rate`, `false_positive_rate`, `accuracy`. A rate of no rows
        is 0."""
        ...

    def means(self, target: "Column", predicted: "Column", group: "Column") -> Mapping[int, Mapping[str, float]]:
        """Of each group: `mean_prediction`."""
        ...

    def difference(self, measure: str, positive: "Column", decided: "Column", group: "Column") -> float:
        """`demographic_parity`, `equal_opportunity` or `equalized_odds` over all groups that occur."""
        ...


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that the page of a version is drawn from: what was stored when it was registered, and nothing that changes
    later. `report` is the gate's; `exclusions` are those that the version was made with."""

    version: Version
    spec: "ModelSpec"
    spec_author: str
    dataset: Dataset
    data: DatasetVersion
    exclusions: tuple[Exclusion, ...]
    report: "GateReport"


class DrawPage(Protocol):
    """Draws the page of a version (matplotlib and jinja2 live behind this)."""

    def __call__(self, dossier: Dossier) -> str:
        """One self-contained HTML document; the same dossier gives the same one."""
        ...
