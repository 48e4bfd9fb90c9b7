"""Model specs that are valid: of late trips, and of late flights."""

from typing import Any

import pytest
import yaml

from tidegate.kernel.errors import SpecInvalidError
from tidegate.kernel.metrics.registry import of_task
from tidegate.spec.estimators.registry import estimators_of
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task


def spec(**changes: Any) -> ModelSpec:
    document: dict[str, Any] = {
        "name": "trip-delay",
        "owner": "tests@example.com",
        "business_unit": "tests",
        "task": "binary",
        "dataset": "trips",
        "target": "late",
        "time": "at",
        "features": [
            {"name": "line", "kind": "categorical"},
            {"name": "wind", "kind": "numeric", "unit": "mph", "min": -50, "max": 150},
            {"name": "stops", "kind": "integer"},
        ],
        "candidates": [
            {"estimator": "sklearn.linear_model.LogisticRegression", "grid": {"C": [1.0, 0.1]}},
            {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 3}},
        ],
        "metric": "roc_auc",
        "baseline": {"kind": "group_rate", "by": ["line"], "min_rows": 5},
        "gate": {"resample_by": "day"},
        "seed": 5,
    }
    return ModelSpec.parse(document | changes)


def spec_document(**changes: Any) -> dict[str, Any]:
    """A valid spec; a change to None leaves the field out."""
    document: dict[str, Any] = {
        "name": "flight-delay",
        "owner": "ops@example.com",
        "business_unit": "operations",
        "task": "binary",
        "dataset": "flights",
        "target": "late",
        "positive_class": True,
        "time": "departs_at",
        "features": [
            {"name": "carrier", "kind": "categorical"},
            {"name": "hour", "kind": "integer", "min": 0, "max": 23},
            {"name": "distance", "kind": "numeric", "unit": "miles"},
        ],
        "candidates": [{"estimator": "sklearn.linear_model.LogisticRegression", "grid": {"C": [0.1, 1.0]}}],
        "metric": "roc_auc",
        "baseline": {"kind": "group_rate", "by": ["carrier"]},
        "release": {"steps": [], "probation_hours": 0},
    }
    return {key: value for key, value in (document | changes).items() if value is not None}


def spec_text(**changes: Any) -> str:
    return yaml.safe_dump(spec_document(**changes), sort_keys=False)


def a_spec(**changes: Any) -> ModelSpec:
    document = {
        "name": "flight-delay",
        "owner": "ops@example.org",
        "business_unit": "ops",
        "task": "binary",
        "dataset": "flights",
        "target": "late",
        "features": [{"name": "distance", "kind": "numeric"}],
        "candidates": [{"estimator": "sklearn.linear_model.LogisticRegression"}],
        "metric": "roc_auc",
        "baseline": {"kind": "prior"},
    }
    return ModelSpec.parse(document | changes)


def toy_document(task: Task, **changes: Any) -> dict[str, Any]:
    """A valid spec of any task, with the first estimator and the first metric that it has."""
    document: dict[str, Any] = {
        "name": "toy",
        "owner": "tests",
        "business_unit": "tests",
        "task": task,
        "dataset": "toys",
        "target": "answer",
        "features": [{"name": "size", "kind": "numeric"}],
        "candidates": [{"estimator": estimators_of(task)[0]}],
        "metric": of_task(task)[0].name,
        "baseline": {"kind": "prior"},
    }
    return document | changes


def faults_of(document: object) -> dict[str, str]:
    with pytest.raises(SpecInvalidError) as caught:
        ModelSpec.parse(document)
    return {fault.path: str(fault) for fault in caught.value.faults}
