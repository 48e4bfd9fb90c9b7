"""The doctor's own model: what it is called, what it learns from, and what it is asked."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tidegate.kernel.ids import DOCTOR, DOCTOR_PREFIX

PREFIX, OWNER = DOCTOR_PREFIX, DOCTOR
OWNED = re.compile(rf"{PREFIX}\d{{8}}t\d{{6}}-[0-9a-f]{{4}}")
ROWS = 400
ESTIMATORS = ("sklearn.tree.DecisionTreeClassifier", "sklearn.linear_model.LogisticRegression")
QUESTION: Mapping[str, float] = {"load": 80.0, "age": 9.0}


def name(at: datetime, chance: str) -> str:
    """Of the model and of its dataset: `tidegate-doctor-20260105t123015-4f9c`. `chance` is four hex digits."""
    return f"{PREFIX}{at.astimezone(UTC):%Y%m%dt%H%M%S}-{chance}"


def made_at(name: str) -> datetime:
    """When the doctor gave this name, to the second."""
    return datetime.strptime(name.removeprefix(PREFIX)[:15], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)


def is_owned(name: str) -> bool:
    """Whether a doctor gave this name: nothing else is ever removed."""
    if OWNED.fullmatch(name) is None:
        return False
    with suppress(ValueError):
        return made_at(name) is not None
    return False


def table() -> bytes:
    """A CSV file of parts of a machine, which fail with load and age; every time the same."""
    lines = ["part,load,age,fails"]
    for row in range(ROWS):
        load, age, luck = (_drawn(f"{column} {row}") for column in ("load", "age", "luck"))
        fails = 0.7 * load + 0.3 * age + 0.5 * luck > 0.75
        lines.append(f"part-{row:03d},{100 * load:.1f},{10 * age:.1f},{str(fails).lower()}")
    return "\n".join(lines).encode() + b"\n"


def spec(model: str, version: int) -> dict[str, Any]:
    """Of version 1 or 2: they differ by their estimator, and each passes the gate and is promoted at once."""
    return {
        "name": model,
        "owner": OWNER,
        "business_unit": "platform",
        "description": "Made by `tidegate doctor`, which also removes it.",
        "task": "binary",
        "dataset": model,
        "target": "fails",
        "positive_class": True,
        "ids": ["part"],
        "features": [
            {"name": "load", "kind": "numeric", "min": 0, "max": 100, "known_in_advance": True},
            {"name": "age", "kind": "numeric", "min": 0, "max": 10},
        ],
        "candidates": [{"estimator": ESTIMATORS[version - 1]}],
        "metric": "roc_auc",
        "baseline": {"kind": "prior"},
        "gate": {"margin": 0.5, "min_rows": 30, "resamples": 200},
        "targets": {"latency_p99_ms": 5_000, "load_ms": 60_000},
        "release": {"steps": [], "probation_hours": 0},
        "monitoring": {"own_metrics": False},
    }


def _drawn(what: str) -> float:
    """A number from 0 to 1 that looks random."""
    return int.from_bytes(hashlib.sha256(what.encode()).digest()[:6], "big") / 2**48
