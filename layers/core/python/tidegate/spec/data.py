"""How rows are split and checked, and under which licences."""

from datetime import UTC, datetime
from typing import Self

from pydantic import (
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from tidegate.kernel import english
from tidegate.spec.part import ColumnName, Section, spec_fault


class Period(Section):
    """A half-open period of the time column: from (inclusive) to (exclusive). No zone means UTC."""

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("start", "end")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.start >= self.end:
            start, end = (english.moment(each.isoformat()) for each in (self.start, self.end))
            raise spec_fault(f"ends ({end}) before it starts ({start})")
        return self


class Split(Section):
    """What is held out. By periods, or by fraction: the latest rows when there is a time column, else a seeded,
    stratified share; whole groups when there is a group column."""

    train: Period | None = None
    holdout: Period | None = None
    holdout_days: float | None = Field(
        None, gt=0, description="Number of days to hold out, counted back from the last row."
    )
    train_days: float | None = Field(
        None, gt=0, description="Number of days before the holdout to train on. Default: all."
    )
    holdout_fraction: float = Field(0.2, gt=0, lt=0.9)
    validation_fraction: float = Field(0.2, gt=0, lt=0.9, description="Share of training used to choose a candidate.")

    @model_validator(mode="after")
    def _periods_do_not_overlap(self) -> Self:
        if (self.train is None) != (self.holdout is None):
            raise spec_fault("train and holdout periods go together; give both or neither")
        if self.train_days is not None and self.holdout_days is None:
            raise spec_fault("train_days goes with holdout_days")
        if self.train and self.holdout_days is not None:
            raise spec_fault("periods are either fixed (train, holdout) or roll along (holdout_days); not both")
        if self.train and self.holdout and self.train.end > self.holdout.start:
            raise spec_fault("the holdout must not begin before training ends")
        return self


class DataChecks(Section):
    """How strictly data is checked before a model is trained on it (docs/data-checks.md)."""

    duplicate_rows_at_most: float = Field(
        0.1, ge=0, le=1, description="Share of the training rows that may repeat an earlier one in every column."
    )
    missing_target_at_most: float = Field(
        0.01, ge=0, le=1, description="Share of the rows in use that may have no value in the target."
    )
    not_personal: tuple[ColumnName, ...] = Field(
        (), description="Columns that look like personal data but are not, as a person states."
    )


class Governance(Section):
    """How differently groups may be treated, and how often a sensitive value alone may change an answer; each limit
    given becomes a demand of the gate (docs/fairness.md)."""

    demographic_parity: float | None = Field(
        None, gt=0, lt=1, description="Largest difference between groups in the share of positive decisions."
    )
    equal_opportunity: float | None = Field(
        None, gt=0, lt=1, description="Largest difference between groups in the true positive rate."
    )
    equalized_odds: float | None = Field(
        None, gt=0, lt=1, description="Largest difference between groups in true or false positive rate."
    )
    flips_at_most: float | None = Field(
        None, ge=0, lt=1, description="Largest share of rows whose label changes with the sensitive value alone."
    )
