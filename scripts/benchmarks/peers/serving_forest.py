"""The forest that every peer serves: as the serving benchmark releases it, fitted on all rows."""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

TREES, SEED = 100, 7


def fitted() -> tuple[RandomForestClassifier, np.ndarray, list[str]]:
    """The forest, the rows it was fitted on [569, 30], and the names of their features."""
    found = load_breast_cancer()
    forest = RandomForestClassifier(n_estimators=TREES, random_state=SEED).fit(found.data, found.target)
    return forest, found.data, found.feature_names.tolist()
