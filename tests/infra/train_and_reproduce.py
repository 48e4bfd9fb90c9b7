"""Trains, scores and reproduces models in one interpreter; test_same_results.py runs it under two.

    python train_and_reproduce.py CSV KEPT            trains, and keeps the objects that it stores in the folder KEPT
    python train_and_reproduce.py CSV KEPT BEFORE     and reproduces what another interpreter kept in BEFORE

Prints {"answers": {model: its answer}, "reproduced": {model: {"equal": ..., "differences": what differs}}}.
"""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tidegate.kernel.prefixes import RunFile
from tidegate.messages import EvaluateTask, ReproduceTask, RunRef
from tidegate.spec.model import ModelSpec
from tidegate.steps.evaluation.evaluate import evaluate
from tidegate.steps.evaluation.reproduce import reproduce
from tidegate.steps.evaluation.reproductions import StartReproduction, start_reproduction
from tidegate.testing.deployment import InMemoryDeployment

SPEC = """
owner: planning@example.com
business_unit: planning
dataset: trips
features:
  - {name: line, kind: categorical}
  - {name: wind, kind: numeric}
  - {name: rain, kind: numeric}
gate: {resamples: 200, min_rows: 50, margin: 0.5}
"""
CLASSES: dict[str, Any] = {
    "task": "binary",
    "target": "late",
    "metric": "roc_auc",
    "baseline": {"kind": "group_rate", "by": ["line"]},
}
NUMBERS: dict[str, Any] = {"task": "regression", "target": "delay", "metric": "mae", "baseline": {"kind": "prior"}}
CANDIDATES = (
    (CLASSES, "sklearn.neural_network.MLPClassifier", {"max_iter": 40, "tol": 0.01}),  # BLAS
    (CLASSES, "sklearn.ensemble.RandomForestClassifier", {"n_estimators": 20}),  # joblib
    (NUMBERS, "sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 20}),  # OpenMP
)
INSTANCES = [{"line": "red", "wind": 55.25, "rain": 0.125}, {"line": "blue", "wind": 3.0, "rain": 7.5}]


def specs() -> list[ModelSpec]:
    """One for each way to train."""
    said = yaml.safe_load(SPEC)
    return [
        ModelSpec.parse(
            said
            | task
            | {"name": name.rpartition(".")[2].lower(), "candidates": [{"estimator": name, "parameters": parameters}]}
        )
        for task, name, parameters in CANDIDATES
    ]


def trained(csv: bytes) -> tuple[InMemoryDeployment, dict[str, Any]]:
    """A stage with every model, and what the models answer."""
    deployment = InMemoryDeployment()
    deployment.add_dataset("trips", csv)
    answers = {}
    for spec in specs():
        released = deployment.release(spec)
        deployment.promote(released.version)
        predictions = deployment.predict(spec.name, INSTANCES)["predictions"]
        answers[spec.name] = [{**each, "id": ""} for each in predictions]  # of chance
    return deployment, answers


def reproduced(deployment: InMemoryDeployment, before: Path) -> dict[str, Any]:
    """Whether the versions that another interpreter made come again here."""
    for file in filter(Path.is_file, before.rglob("*")):
        deployment.artifacts.objects[file.relative_to(before).as_posix()] = file.read_bytes()
    found = {}
    for spec in specs():
        version = deployment.registry.version(spec.name, 1)
        report = hashlib.sha256(deployment.artifacts.get(version.report_key)).hexdigest()
        deployment.registry._versions[spec.name, 1] = replace(version, report_sha256=report)
        asking = StartReproduction(token="again")
        answer = deployment.step(start_reproduction, spec.name, "1", asking, actor="olga")
        ref = RunRef(model=spec.name, run_id=answer["run"]["run_id"])
        plan = deployment.prepare(ref)
        fitted = deployment.fit(ref, plan)
        evaluated = deployment.step(evaluate, EvaluateTask(run=ref, files=plan.files, fitted=fitted))
        task = ReproduceTask(run=ref, files=plan.files, fitted=fitted, evaluated=evaluated)
        deployment.step(reproduce, task)
        document = json.loads(deployment.artifacts.get(ref.key(RunFile.REPRODUCTION)))
        differences = [each["what"] for each in document["environment"]["differences"]]
        found[spec.name] = {"equal": document["equal"], "differences": differences}
    return found


def main(csv: str, kept: str, before: str = "") -> None:
    """One interpreter's part."""
    deployment, answers = trained(Path(csv).read_bytes())
    for key, data in deployment.artifacts.objects.items():
        file = Path(kept, key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    again = reproduced(deployment, Path(before)) if before else {}
    sys.stdout.write(json.dumps({"answers": answers, "reproduced": again}))


if __name__ == "__main__":
    main(*sys.argv[1:])
