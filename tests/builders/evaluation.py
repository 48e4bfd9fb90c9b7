"""A run on trial: its table and its model."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from tests.builders.registry import a_version
from tests.builders.reported import reported
from tests.builders.specs import a_spec
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.monitoring.costs import Prices
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.registry.run import CandidateRun
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.training.rules import fitted
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import CLUSTER, ROW, TARGET, Table
from tidegate.messages import EvaluateTask, Fitted, GateTask, RunRef, SlicesAndGroupsTask
from tidegate.ml.scoring import load
from tidegate.spec.rules.group_rate import GroupRateRule
from tidegate.steps.evaluation.evaluate import evaluate
from tidegate.steps.evaluation.gate import gate
from tidegate.steps.evaluation.slices_and_groups import slices_and_groups
from tidegate.steps.run_files import RunFiles
from tidegate.testing.deployment import InMemoryDeployment
from tidegate.testing.models import linear_onnx

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
PRICES = Prices(gb_second=0.00002, request=0.0000012, gb_month=0.0, memory_mb=1024)
ROWS = 600
CONTRACT = Contract(
    "delay",
    "binary",
    (FeatureContract("carrier", "categorical"), FeatureContract("wind", "numeric"), FeatureContract("hour", "integer")),
    classes=(False, True),
)
BY_CARRIER = GroupRateRule(kind="group_rate", by=("carrier",), min_rows=1)
EFFECTS = {"UA": -0.5, "AA": 0.5}


FEATURES = [
    {"name": "carrier", "kind": "categorical"},
    {"name": "wind", "kind": "numeric"},
    {"name": "hour", "kind": "integer"},
]


def spec_of(**changes):
    rules = {"baseline": {"kind": "group_rate", "by": ["carrier"]}, "gate": {"resamples": 200, "margin": 0.02}}
    return a_spec(**{"name": "delay", "features": FEATURES} | rules | changes)


def flights(rows=ROWS, seed=11):
    chance = np.random.default_rng(seed)
    carrier, wind, hour = chance.choice(["UA", "AA"], rows), chance.normal(size=rows), chance.integers(0, 24, rows)
    effect = np.where(carrier == "UA", -0.5, 0.5)
    late = chance.random(rows) < 1 / (1 + np.exp(-(2 * wind + 0.1 * hour - 1.5 + effect)))
    return Table(
        {
            "carrier": carrier,
            "wind": wind,
            "hour": hour.astype(float),
            TARGET: late.astype(np.int64),
            CLUSTER: np.arange(rows),
            ROW: np.arange(1000, 1000 + rows),
        }
    )


def good_onnx(contract=CONTRACT):
    return linear_onnx(contract, [2.0, 0.1], effects=EFFECTS, bias=-1.5)


@dataclass
class TrainedRun(InMemoryDeployment):
    """A run that has been trained: spec, tables, baseline, artifact and scikit-learn's scores are in place."""

    prices: Prices = PRICES
    actor: str = "arn:aws:iam::1:user/ann"
    _fitted: Fitted | None = None
    run: RunRef = field(default_factory=lambda: RunRef(model="delay", run_id="r2"))

    @property
    def fitted(self) -> Fitted:
        assert self._fitted is not None
        return self._fitted

    def train(
        self,
        onnx,
        *,
        holdout=None,
        spec=None,
        run_id="r2",
        dataset_version="v1",
        reference=None,
        classes="nl",
        fallback=None,
        contract=None,
        personal=(),
        training=None,
        baseline=BY_CARRIER,
        captured=None,
        guard=None,
    ):
        holdout = holdout or flights()
        training = training or holdout
        spec = spec or spec_of()
        self.run = self.request(spec, run_id)
        facts = {"dataset_version": dataset_version, "code_version": "abc", "lock_hash": "l0ck", "selected": 0}
        self.registry.note("delay", run_id, "train", AT, **facts)
        tried = CandidateRun(0, "sklearn.linear_model.LogisticRegression", {"C": 1.0}, "roc_auc", 0.8, 0.1, 480)
        self.registry.note_candidate("delay", run_id, tried)
        prepared, fitting = (RunFiles(self.run, self.artifacts, {}) for _ in range(2))
        plan = {"personal": list(personal)} | ({"captured": captured} if captured else {})
        prepared.write(RunFile.PLAN, json.dumps(plan).encode())
        if guard is not None:
            prepared.write(RunFile.GUARD, guard.to_npz())
        prepared.write(RunFile.FIT, training.take(training[ROW] % 4 != 0).to_npz())
        prepared.write(RunFile.VALIDATION, training.take(training[ROW] % 4 == 0).to_npz())
        prepared.write(RunFile.HOLDOUT, holdout.to_npz())
        target = holdout[TARGET]
        rule = fitted(baseline, table=holdout, target=target, classes=classes)
        prepared.write(RunFile.BASELINE, json.dumps(rule.to_json()).encode())
        fallback = Fallback(contract or CONTRACT, fallback or rule)
        fitting.write(RunFile.FALLBACK, fallback.to_bytes())
        sha256 = fitting.write(RunFile.ARTIFACT, onnx)
        fitting.write(RunFile.ENVIRONMENT, json.dumps({"python": "3.13.1"}).encode())
        if reference is None:
            scorer = load(good_onnx())
            reference = scorer.score(CONTRACT.inputs(holdout)).astype(np.float64)
        fitting.write(RunFile.REFERENCE_SCORES, Table({"scores": reference}).to_npz())
        self.prepared_files = prepared.written
        self._fitted = Fitted(
            artifact_sha256=sha256, artifact_bytes=len(onnx), fit_seconds=0.1, rows=480, files=fitting.written
        )
        return self

    def serve(self, onnx, *, spec=None, dataset_version="v1", rows=range(500), reference=None):
        """Train, register and promote a first version, so that it is the champion."""
        self.train(onnx, spec=spec, run_id="r1", dataset_version=dataset_version)
        halves = [Table({ROW: half}).to_npz() for half in np.array_split(np.array(rows, dtype=np.int64), 2)]
        files = dict(zip((RunFile.FIT, RunFile.VALIDATION), halves, strict=True))
        if reference:
            files[RunFile.REFERENCE] = json.dumps(reference).encode()
        made = reported(self.run, self.artifacts, files)
        made |= {
            "dataset_version": dataset_version,
            "artifact_sha256": self.fitted.artifact_sha256,
            "lock_hash": "l0ck",
            "code_version": "abc",
        }
        digest = (spec or spec_of()).digest
        version = a_version("r1", model="delay", spec_digest=digest, created_at=AT, **made)
        self.promote(self.registry.register(version, at=AT))
        return self

    def evaluate(self, **options):
        return self.step(evaluate, EvaluateTask(run=self.run, files=self.prepared_files, fitted=self.fitted), **options)

    @property
    def evaluation(self):
        return Evaluation.from_json(json.loads(self.artifacts.objects[self.run.key(RunFile.EVALUATION)]))

    def known(self, evaluated):
        """What the steps behind `evaluate` get to know."""
        return {"run": self.run, "files": self.prepared_files, "fitted": self.fitted, "evaluated": evaluated}

    def slices_and_groups(self, evaluated=None):
        evaluated = evaluated or self.evaluate()
        return self.step(slices_and_groups, SlicesAndGroupsTask(**self.known(evaluated)))

    def gating(self):
        """The gate's task."""
        evaluated = self.evaluate()
        return GateTask(**self.known(evaluated), slices_and_groups=self.slices_and_groups(evaluated))

    @property
    def parts(self):
        return json.loads(self.artifacts.objects[self.run.key(RunFile.SLICES_AND_GROUPS)])

    def gate(self):
        return self.step(gate, self.gating())

    @property
    def reference(self):
        return Reference.from_json(json.loads(self.artifacts.objects[self.run.key(RunFile.REFERENCE)]))

    @property
    def report(self):
        return json.loads(self.artifacts.objects[self.run.key(RunFile.REPORT)])
