"""What fits candidates and exports them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.domain.serving.contract import Contract
    from tidegate.kernel.table import Column, Table
    from tidegate.spec.model import ModelSpec
    from tidegate.spec.training import Candidate


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A final fit: the artifact, and scikit-learn's own scores (as float64) for each table it was asked about."""

    onnx: bytes
    reference_scores: "tuple[Column, ...]"


class Fitter(Protocol):
    """scikit-learn and skl2onnx live behind this. Tables hold the contract's features and `table.TARGET`."""

    def environment(self) -> dict[str, Any]:
        """What a fit depends on besides its inputs (JSON): `python`, `machine`, `libc`, `blas`, and the version of each
        of the `packages` by name."""
        ...

    def validation_scores(
        self, spec: "ModelSpec", contract: "Contract", candidate: "Candidate", fit: "Table", validation: "Table"
    ) -> "Column":
        """Fit on `fit`, score `validation`: float64 [rows, classes] or [rows, 1]. Raises TrainingFailedError."""
        ...

    def export(
        self,
        spec: "ModelSpec",
        contract: "Contract",
        candidate: "Candidate",
        train: "Table",
        score: Sequence["Table"],
    ) -> ExportedModel:
        """Fit on `train`, export ONNX with the contract inside. Raises TrainingFailedError."""
        ...
