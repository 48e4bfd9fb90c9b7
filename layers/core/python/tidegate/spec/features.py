"""What a model is asked with, and what is computed from it."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from tidegate.spec.part import ColumnName, ExpressionText, Section, spec_fault

MAX_FEATURES = 500
MAX_COMPUTED = 200


class FeatureKind(StrEnum):
    """How a feature's values are typed on the wire and encoded for the estimator."""

    NUMERIC = "numeric"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    TIME = "time"


class Feature(Section):
    """One input of the model and the contract that requests must keep."""

    name: ColumnName
    kind: FeatureKind
    unit: str | None = Field(None, max_length=32, description="Unit of a number, as shown: 'mph', 'degF', 'miles'.")
    min: float | None = Field(None, description="Smallest allowed value (inclusive).")
    max: float | None = Field(None, description="Largest allowed value (inclusive).")
    categories: tuple[str, ...] | None = Field(None, description="Allowed values; learned from training when left out.")
    unseen: Literal["allow", "reject"] = Field(
        "allow", description="A category not among the known ones: serve or 4xx."
    )
    missing: Literal["allow", "reject"] = Field("reject", description="null or absent: serve or 4xx.")
    known_in_advance: bool = Field(
        default=False,
        description="A person vouches that the value is known before the prediction is made, however well it predicts "
        "the target. The leakage check by strength skips it, but an outcome column of the dataset is still rejected.",
    )
    estimator: bool = Field(
        default=True,
        description="false: the estimator does not get the value itself, but computed features and rules can use it. "
        "An estimator never gets a time.",
    )
    description: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> Self:
        if self.kind is FeatureKind.CATEGORICAL:
            if self.min is not None or self.max is not None:
                raise spec_fault("a categorical feature has categories, not min and max")
        elif self.kind is FeatureKind.TIME and (self.min is not None or self.max is not None):
            raise spec_fault("a time has no min and max")
        elif self.categories is not None:
            raise spec_fault(f"categories belong to a categorical feature; this one is {self.kind}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise spec_fault(f"min {self.min:g} is above max {self.max:g}")
        if self.categories is not None and len(set(self.categories)) != len(self.categories):
            raise spec_fault("a category is listed twice")
        return self


class ComputedFeature(Section):
    """A number that the model itself computes from its features, inside the ONNX file: training and serving share the
    arithmetic."""

    name: ColumnName
    expression: ExpressionText = Field(description="Over the features, and the computed features listed before it.")
    unit: str | None = Field(None, max_length=32, description="Unit of the number, for people.")
    description: str = Field("", max_length=500)
