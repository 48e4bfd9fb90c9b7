"""What the product needs, and what decisions are worth."""

from typing import Literal

from pydantic import (
    Field,
    field_validator,
)

from tidegate.spec.data import Governance
from tidegate.spec.part import Section, spec_fault


class Targets(Section):
    """What the product needs; `domain/evaluation/targets.py` says where each is checked: gate, canary, live traffic."""

    metric_at_least: float | None = Field(None, description="For metrics where more is better.")
    metric_at_most: float | None = Field(None, description="For losses and errors.")
    latency_p99_ms: float = Field(50.0, gt=0, description="Single-row scoring; of live traffic, each request.")
    availability_at_least: float | None = Field(
        None,
        ge=0.5,
        le=0.999999,
        description="Share of requests the version answers without error or fallback.",
    )
    cost_per_1000_usd_at_most: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="US dollars that 1,000 predictions may cost."
    )
    artifact_mib: float = Field(100.0, gt=0)
    load_ms: float = Field(5_000.0, gt=0)
    calibration_error_at_most: float | None = Field(
        None, ge=0, lt=1, description="Of a classifier: expected calibration error on the holdout."
    )
    robustness_loss_at_most: float | None = Field(
        None, ge=0, description="Loss of the metric when one optional feature is missing, in units of the metric."
    )
    governance: Governance = Governance()


class ValueRules(Section):
    """What decisions are worth, so that cost has something to stand beside (docs/cost.md)."""

    correct: float = Field(0.0, allow_inf_nan=False, description="What a right decision earns.")
    wrong: float = Field(0.0, allow_inf_nan=False, description="What a wrong decision costs.")
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="ISO 4217. Costs are in USD, so a net value needs USD."
    )
    tolerance: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Regression only: the largest error that still counts as right."
    )


class Decision(Section):
    """From which score a binary model says yes (docs/evaluation.md)."""

    threshold: float | Literal["value"] = Field(
        0.5,
        description="A probability, or `value`: the threshold whose decisions on the validation rows are worth most.",
    )
    false_positive: float | None = Field(
        None, allow_inf_nan=False, description="Cost of a false positive. Default: value.wrong."
    )
    false_negative: float | None = Field(
        None, allow_inf_nan=False, description="Cost of a false negative. Default: value.wrong."
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _threshold_is_a_probability(cls, threshold: object) -> object:
        if threshold == "value":
            return threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise spec_fault(f"{threshold!r} is neither a probability from 0 to 1 nor `value`")
        return threshold
