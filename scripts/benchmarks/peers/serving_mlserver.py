"""Runs in the peer's own environment: saves the forest and MLServer's settings.

python serving_mlserver.py FOLDER     then mlserver start FOLDER
"""

import json
import sys
from pathlib import Path

import joblib
from serving_forest import fitted

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    joblib.dump(fitted()[0], folder / "forest.joblib")
    model = {
        "name": "forest",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./forest.joblib", "version": "1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
