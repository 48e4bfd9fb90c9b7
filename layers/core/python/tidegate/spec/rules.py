"""Rules without learning: the baseline to beat, the fallback that answers, and what answers must keep."""

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from tidegate.spec.part import ColumnName, ExpressionText, ModelName, Section

MAX_RULES = 50


class ConstantRule(Section):
    """Always the same answer: a probability of the positive class, or a number."""

    kind: Literal["constant"]
    value: float


class PriorRule(Section):
    """The class shares (or the mean) of the training data."""

    kind: Literal["prior"]


class GroupRateRule(Section):
    """The historical rate (or mean) of the target within groups; groups with too few rows use the overall rate."""

    kind: Literal["group_rate"]
    by: tuple[ColumnName, ...] = Field(min_length=1, max_length=4)
    min_rows: int = Field(50, ge=1)


Rule = Annotated[ConstantRule | PriorRule | GroupRateRule, Field(discriminator="kind")]


class MovingAverageRule(Section):
    """The target's rate (or mean) over the latest training rows by time, of all or of each group; groups with too few
    rows use the average of all."""

    kind: Literal["moving_average"]
    rows: int = Field(1_000, ge=1, description="How many of the latest rows are averaged, in each group.")
    by: tuple[ColumnName, ...] = Field((), max_length=4)
    min_rows: int = Field(50, ge=1)


class ArithmeticRule(Section):
    """An expression over the features: the positive class's probability (cut to 0..1), or a number. Where it has no
    value, since a feature is missing, say, the prior answers."""

    kind: Literal["arithmetic"]
    expression: ExpressionText


FallbackRule = Annotated[
    ConstantRule | PriorRule | GroupRateRule | MovingAverageRule | ArithmeticRule, Field(discriminator="kind")
]
RULE_KINDS = ("constant", "prior", "group_rate", "moving_average", "arithmetic")


class OutputRule(Section):
    """What an answer must keep, over the features, `score` and `label`; one that does not is the fallback's."""

    name: ModelName
    when: ExpressionText | None = Field(None, description="Only answers for which this is true are looked at.")
    require: ExpressionText = Field(description="An answer for which this is false breaks the rule.")
