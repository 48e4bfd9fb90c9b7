"""What is tried: candidates with their parameters, from the registry of estimators."""

import json
from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
)
from pydantic_core import PydanticCustomError

from tidegate.spec.estimators import nested
from tidegate.spec.estimators.estimator import Estimator
from tidegate.spec.estimators.registry import CANDIDATES, why_not
from tidegate.spec.part import Section, described, spec_fault

MAX_CANDIDATES = 64


class Candidate(Section):
    """An estimator to try: fixed parameters, and a grid whose every combination is a run of its own."""

    estimator: str = Field(
        description="Dotted name, for example sklearn.linear_model.LogisticRegression.",
        json_schema_extra=described({name: each.words for name, each in CANDIDATES.items()}),
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Values by name; an estimator is {of: DOTTED NAME, parameters: {...}}, see docs/model-spec.md.",
    )
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    encode: Literal["auto", "onehot", "ordinal"] = Field(
        "auto", description="Categorical encoding; auto chooses what suits the estimator, see docs/model-spec.md."
    )

    @field_validator("estimator")
    @classmethod
    def _estimator_is_known(cls, name: str) -> str:
        if reason := why_not(name):
            raise spec_fault(reason)
        if name not in CANDIDATES:
            raise PydanticCustomError("enum", "{expected}", {"expected": ", ".join(map(repr, sorted(CANDIDATES)))})
        return name

    @field_validator("parameters", "grid")
    @classmethod
    def _values_are_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                raise spec_fault(
                    f"parameter {name} holds a value that JSON cannot represent (a date, NaN, infinity ...)"
                ) from None
        return values

    @field_validator("grid")
    @classmethod
    def _grid_has_values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in grid.items():
            if not values:
                raise spec_fault(f"parameter {name} lists no values")
        return grid

    @property
    def facts(self) -> Estimator:
        """What is known of its estimator, with those that its parameters put inside."""
        return nested.facts_of(self.estimator, self.parameters)

    @property
    def size(self) -> int:
        """How many runs the candidate expands to."""
        size = 1
        for values in self.grid.values():
            size *= len(values)
        return size
