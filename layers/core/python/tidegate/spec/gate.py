"""What the gate demands."""

from enum import StrEnum
from typing import Literal

from pydantic import (
    Field,
)

from tidegate.spec.part import ColumnName, Section, Task


class Metric(StrEnum):
    """The number a model is judged by; `METRICS_OF` says which fit which task."""

    ROC_AUC = "roc_auc"
    AVERAGE_PRECISION = "average_precision"
    LOG_LOSS = "log_loss"
    BRIER = "brier"
    ACCURACY = "accuracy"
    RMSE = "rmse"
    MAE = "mae"
    R2 = "r2"

    @property
    def higher_is_better(self) -> bool:
        """False for losses and errors."""
        return self in {Metric.ROC_AUC, Metric.AVERAGE_PRECISION, Metric.ACCURACY, Metric.R2}


METRICS_OF: dict[Task, tuple[Metric, ...]] = {
    Task.BINARY: (Metric.ROC_AUC, Metric.AVERAGE_PRECISION, Metric.LOG_LOSS, Metric.BRIER, Metric.ACCURACY),
    Task.MULTICLASS: (Metric.ACCURACY, Metric.LOG_LOSS),
    Task.REGRESSION: (Metric.RMSE, Metric.MAE, Metric.R2),
}


class GatePolicy(Section):
    """What the gate demands beyond beating the baseline."""

    margin: float = Field(
        0.0, ge=0, description="How much worse than the champion is tolerated, in units of the metric."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(2000, ge=200, le=20_000)
    min_rows: int = Field(500, ge=30, description="A smaller holdout is too little data to judge on.")
    resample_by: Literal["row", "group", "day"] = Field(
        "row", description="What is resampled together: rows of one day or group often share their luck."
    )
    parity_tolerance: float = Field(
        1e-4, gt=0, description="Largest allowed difference of scikit-learn and ONNX scores."
    )
    slices: tuple[ColumnName, ...] = Field(
        (),
        max_length=10,
        description="Columns by whose values (or quartiles) the version is judged apart; they need be no features.",
    )
