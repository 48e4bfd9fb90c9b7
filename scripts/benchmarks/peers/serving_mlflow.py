"""Runs in the peer's own environment: saves the forest as a model of MLflow.

python serving_mlflow.py FOLDER     then mlflow models serve --model-uri FOLDER/forest
"""

import sys
from pathlib import Path

import mlflow
import pandas as pd
from serving_forest import fitted

if __name__ == "__main__":
    forest, rows, names = fitted()
    mlflow.sklearn.save_model(
        forest,
        str(Path(sys.argv[1]) / "forest"),
        signature=mlflow.models.infer_signature(pd.DataFrame(rows, columns=names), forest.predict_proba(rows)),
        pyfunc_predict_fn="predict_proba",
        skops_trusted_types=["sklearn.tree._tree.Tree"],
    )
