"""How a served model is monitored, and what starts a training."""

from typing import TYPE_CHECKING, Literal

from pydantic import (
    Field,
    create_model,
)

from tidegate.kernel.drift.registry import COMPARED, DISTANCES
from tidegate.spec.part import ColumnName, Section

MATERIAL = "a change that is significant is drift beyond this."

if TYPE_CHECKING:
    DriftThresholds = Section
else:  # a field for each registered distance
    DriftThresholds = create_model(
        "DriftThresholds",
        __base__=Section,
        **{
            name: (float, Field(each.threshold, gt=0, lt=each.most, description=f"{each.label}: {MATERIAL}"))
            for name, each in DISTANCES.items()
        },
    )


class MonitoringRules(DriftThresholds):
    """How a served model is monitored, and what is done when the world changes (docs/monitoring.md)."""

    windows_hours: tuple[int, ...] = Field(
        (24, 168), min_length=1, max_length=4, description="Windows to judge, in hours."
    )
    min_rows: int = Field(500, ge=100, description="A window with fewer rows is too little data.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Largest share of false alarms among windows without drift.")
    quality_margin: float = Field(
        0.0, ge=0, description="Tolerated loss of live quality against the gate, in units of the metric."
    )
    sensitive: tuple[ColumnName, ...] = Field(
        (), max_length=4, description="Features whose groups should get positive decisions equally often; binary only."
    )
    retrain_on: tuple[Literal["schedule", "drift", "quality"], ...] = Field(
        ("drift", "quality"), description="What starts a training automatically. Empty: nothing does."
    )
    every_days: float | None = Field(None, gt=0, le=365, description="How often, when `schedule` is listed.")
    cooldown_hours: float = Field(24, ge=0, description="Minimum time between two automatic trainings.")
    at_most: int = Field(3, ge=1, le=100, description="Maximum number of automatic trainings within `within_days`.")
    within_days: float = Field(7, gt=0, le=365)
    give_up_after: int = Field(2, ge=1, le=20, description="Rejected candidates in a row before people are asked.")
    target_shift: float = Field(
        0.25,
        gt=0,
        le=1,
        description=f"{COMPARED.label} of the target's distribution beyond which training again cannot help.",
    )
    captures_at_most: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the holdout that may be captured predictions; beyond it somebody must approve the "
        "version.",
    )
    reporter_at_most: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the outcomes that one caller may report; beyond it somebody else must approve what is "
        "trained on them, and acknowledge the model.",
    )
    guard_margin: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Tolerated loss on rows without captures, as a share of the champion's metric; beyond it somebody "
        "must approve the version.",
    )
    sent_within_days: float = Field(
        7, gt=0, le=366, description="How far a sent time may lie from its prediction's for the row to be trained on."
    )
    own_metrics: bool = Field(
        default=True,
        description="Whether the model has metrics of its own, for its dashboard, at 0.30 USD a month each. "
        "Without them it still counts in the sums that alarms look at.",
    )

    @property
    def thresholds(self) -> dict[str, float]:
        """By the name of a registered distance, from which size a change is material."""
        return {name: getattr(self, name) for name in DISTANCES}
