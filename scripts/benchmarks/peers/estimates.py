"""Runs in the peers' own environment: the metrics that NannyML estimates without labels.

    python estimates.py rows.npz     prints {"roc_auc": [...], "mae": [...], "version": ...}

The file has, for each classifier i, `cbpe/i/reference` [n, 2] (probability, label) and `cbpe/i/live` [m] (probability);
for each regression, `dle/i/reference` [n, features + 2] (features, prediction, target) and `dle/i/live` [m, features
+ 1]. All with the defaults; the live rows are one chunk.
"""

import json
import sys
from importlib.metadata import version

import nannyml
import numpy as np
import pandas as pd


def roc_auc(reference: np.ndarray, live: np.ndarray) -> float:
    """Confidence-based performance estimation."""
    before = pd.DataFrame({"score": reference[:, 0], "target": reference[:, 1].astype(int)})
    now = pd.DataFrame({"score": live})
    for each in (before, now):
        each["decided"] = (each["score"] >= 0.5).astype(int)
    estimator = nannyml.CBPE(
        y_pred_proba="score",
        y_pred="decided",
        y_true="target",
        metrics=["roc_auc"],
        problem_type="classification_binary",
        chunk_size=len(now),
    )
    found = estimator.fit(before).estimate(now)
    return float(found.filter(period="analysis").to_df()[("roc_auc", "value")].iloc[0])


def mae(reference: np.ndarray, live: np.ndarray) -> float:
    """Direct loss estimation."""
    names = [f"x{place}" for place in range(live.shape[1] - 1)]
    before = pd.DataFrame(reference, columns=[*names, "answer", "target"])
    now = pd.DataFrame(live, columns=[*names, "answer"])
    estimator = nannyml.DLE(
        feature_column_names=names, y_pred="answer", y_true="target", metrics=["mae"], chunk_size=len(now)
    )
    found = estimator.fit(before).estimate(now)
    return float(found.filter(period="analysis").to_df()[("mae", "value")].iloc[0])


if __name__ == "__main__":
    with np.load(sys.argv[1]) as given:
        arrays = {name: given[name] for name in given.files}

    def cases(kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Reference and live rows, case by case."""
        count = sum(name.startswith(f"{kind}/") for name in arrays) // 2
        return [(arrays[f"{kind}/{place}/reference"], arrays[f"{kind}/{place}/live"]) for place in range(count)]

    print(
        json.dumps(
            {
                "roc_auc": [roc_auc(*case) for case in cases("cbpe")],
                "mae": [mae(*case) for case in cases("dle")],
                "version": version("nannyml"),
            }
        )
    )
