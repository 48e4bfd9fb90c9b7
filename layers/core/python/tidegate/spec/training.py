"""What is tried: candidates with their parameters, from a closed list of estimators."""

import json
from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
)

from tidegate.spec.part import Section, Task, spec_fault

MAX_CANDIDATES = 64

# Estimators that convert to ONNX with the parity the gate demands; a test converts each. Left out though they convert:
# nearest neighbours (ties), Lars and RANSAC (collinear one-hot columns), support vector regression: on real rows their
# float32 scores differ from scikit-learn's by more than the gate tolerates, or nearly so.
ESTIMATORS_OF: dict[Task, tuple[str, ...]] = {
    Task.BINARY: (
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.ensemble.AdaBoostClassifier",
        "sklearn.ensemble.BaggingClassifier",
        "sklearn.ensemble.ExtraTreesClassifier",
        "sklearn.ensemble.GradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.RandomForestClassifier",
        "sklearn.linear_model.LogisticRegression",
        "sklearn.linear_model.LogisticRegressionCV",
        "sklearn.naive_bayes.BernoulliNB",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.neural_network.MLPClassifier",
        "sklearn.tree.DecisionTreeClassifier",
        "sklearn.tree.ExtraTreeClassifier",
    ),
    Task.REGRESSION: (
        "sklearn.cross_decomposition.PLSRegression",
        "sklearn.ensemble.AdaBoostRegressor",
        "sklearn.ensemble.BaggingRegressor",
        "sklearn.ensemble.ExtraTreesRegressor",
        "sklearn.ensemble.GradientBoostingRegressor",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "sklearn.ensemble.RandomForestRegressor",
        "sklearn.linear_model.ARDRegression",
        "sklearn.linear_model.BayesianRidge",
        "sklearn.linear_model.ElasticNet",
        "sklearn.linear_model.ElasticNetCV",
        "sklearn.linear_model.HuberRegressor",
        "sklearn.linear_model.Lasso",
        "sklearn.linear_model.LassoCV",
        "sklearn.linear_model.LassoLars",
        "sklearn.linear_model.LinearRegression",
        "sklearn.linear_model.OrthogonalMatchingPursuit",
        "sklearn.linear_model.QuantileRegressor",
        "sklearn.linear_model.Ridge",
        "sklearn.linear_model.RidgeCV",
        "sklearn.linear_model.SGDRegressor",
        "sklearn.linear_model.TweedieRegressor",
        "sklearn.neural_network.MLPRegressor",
        "sklearn.svm.LinearSVR",
        "sklearn.tree.DecisionTreeRegressor",
        "sklearn.tree.ExtraTreeRegressor",
    ),
}
ESTIMATORS_OF[Task.MULTICLASS] = ESTIMATORS_OF[Task.BINARY]
_ESTIMATORS = ", ".join(sorted(set(ESTIMATORS_OF[Task.BINARY] + ESTIMATORS_OF[Task.REGRESSION])))


class Candidate(Section):
    """A scikit-learn estimator to try: fixed parameters, and a grid whose every combination is a run of its own."""

    estimator: str = Field(
        description="Dotted name under sklearn., for example sklearn.linear_model.LogisticRegression."
    )
    parameters: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    encode: Literal["auto", "onehot", "ordinal"] = Field(
        "auto", description="Categorical encoding; auto is ordinal for trees and one-hot for everything else."
    )

    @field_validator("estimator")
    @classmethod
    def _estimator_is_known(cls, name: str) -> str:
        if not any(name in names for names in ESTIMATORS_OF.values()):
            raise spec_fault(f"{name!r} is not a scikit-learn estimator that converts to ONNX; allowed: {_ESTIMATORS}")
        return name

    @field_validator("parameters", "grid")
    @classmethod
    def _values_are_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                raise spec_fault(
                    f"parameter {name} holds a value that JSON cannot (a date, NaN, infinity ...)"
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
    def size(self) -> int:
        """How many runs the candidate expands to."""
        size = 1
        for values in self.grid.values():
            size *= len(values)
        return size
