"""Runs in the peer's own environment: keeps the forest in BentoML's store, and is the service that serves it.

python serving_bentoml.py FOLDER     then bentoml serve serving_bentoml:Forest     (BENTOML_HOME=FOLDER for both)
"""

import bentoml
import numpy as np


@bentoml.service(workers=1)
class Forest:
    """Probabilities of rows."""

    stored = bentoml.models.BentoModel("forest:latest")

    def __init__(self) -> None:
        self.forest = bentoml.sklearn.load_model(self.stored)

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Of each class."""
        found: np.ndarray = self.forest.predict_proba(rows)
        return found


if __name__ == "__main__":
    from serving_forest import fitted

    bentoml.sklearn.save_model("forest", fitted()[0])
