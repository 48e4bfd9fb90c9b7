"""How an accepted version gets to its users."""

import itertools
from enum import StrEnum
from typing import Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from tidegate.spec.part import Section, spec_fault


class Compared(StrEnum):
    """What a canary's arms are compared by; `domain/rollout/canary.py` says what each is counted over."""

    ERRORS = "errors"
    TIMEOUTS = "timeouts"
    FALLBACKS = "fallbacks"
    VIOLATIONS = "violations"
    SLOW = "slow"
    UNAVAILABLE = "unavailable"
    SCORES = "scores"
    LOSS = "loss"


class Demanded(Section):
    """What is demanded of one metric of a canary, as shares (0.01 is one percentage point); what is left out keeps its
    default (docs/canary.md)."""

    tolerance: float | None = Field(None, ge=0, lt=0.99, description="Shown to be worse by more: rolled back.")
    margin: float | None = Field(None, gt=0, lt=0.99, description="Shown to be worse by less: passed.")
    target: float | None = Field(None, gt=0, lt=1, description="Without a champion: passed below, rolled back above.")
    required: bool | None = Field(None, description="Promotion waits for it to pass.")

    @model_validator(mode="after")
    def _margin_is_above(self) -> Self:
        if self.tolerance is not None and self.margin is not None and self.tolerance >= self.margin:
            raise spec_fault(f"its margin ({self.margin:g}) must be above its tolerance ({self.tolerance:g})")
        return self


class ReleaseRules(Section):
    """How an accepted version gets to its users (docs/canary.md)."""

    approval: Literal["none", "required"] = Field(
        "none", description="Whether a person must approve the version first."
    )
    approval_hours: float = Field(72, gt=0, le=720, description="Time within which an approval must arrive.")
    shadow_minutes: float = Field(0, ge=0, le=43_200, description="How long the version runs in shadow mode first.")
    steps: tuple[float, ...] = Field(
        (1, 5, 25, 50), max_length=20, description="Shares of the requests in percent, rising; none: promoted at once."
    )
    bake_minutes: float = Field(10, ge=0, le=10_080, description="Minimum duration of each step.")
    min_requests: int = Field(10, ge=1, description="Requests to the candidate that each step waits for.")
    look_seconds: int = Field(60, ge=1, le=86_400, description="How often the evidence is checked.")
    deadline_hours: float = Field(24, gt=0, le=720, description="A canary without a verdict by then ...")
    at_deadline: Literal["roll_back", "wait"] = Field(
        "roll_back", description="... is rolled back, or waits at its last share."
    )
    probation_hours: float = Field(
        24, ge=0, le=720, description="How long a promoted version is on probation; 0 turns it off."
    )
    holdback: float = Field(5, ge=0.01, le=50, description="Percent of requests the old version keeps meanwhile.")
    demands: dict[Compared, Demanded] = Field(default_factory=dict)

    @field_validator("steps")
    @classmethod
    def _steps_rise(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.01 <= step <= 99.99 for step in steps):
            raise spec_fault("each step is a percentage from 0.01 to 99.99")
        if any(round(100 * step) >= round(100 * following) for step, following in itertools.pairwise(steps)):
            raise spec_fault("each step must be larger than the one before it, by 0.01 or more")
        return steps
