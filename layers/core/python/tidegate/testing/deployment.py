"""All of a release and of serving in memory: the real steps, on the fakes of this package.

    deployment = InMemoryDeployment()
    deployment.add_dataset("trips", csv_bytes, time="at", outcome=("delay",))
    released = deployment.release(ModelSpec.parse_yaml(text))
    deployment.promote(released.version)
    answer = deployment.predict("trip-delay", [{"line": "red", "wind": 20.0}])

Needs the extras `serving` and `training`. docs/testing.md has a whole example.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.domain.data.dataset import (
    DataFile,
    Dataset,
    DatasetStatus,
    DatasetVersion,
    content_version,
)
from tidegate.domain.registry.ledger import Cause
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.domain.registry.version import Version
from tidegate.domain.rollout.changes import promote
from tidegate.domain.serving.prediction import PredictionRequest
from tidegate.kernel.errors import DatasetInvalidError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import (
    Evaluated,
    EvaluateTask,
    Fitted,
    GateTask,
    Plan,
    RegisterDataset,
    RegisterTask,
    RunRef,
    Selection,
    SelectTask,
    SlicesAndGroupsTask,
    TrainTask,
)
from tidegate.ml.fairness import FairlearnGroups
from tidegate.ml.frames import PandasReader, ParquetWriter
from tidegate.ml.slices import tree_leaves
from tidegate.ml.training import OnnxFitter
from tidegate.ports.data import FrameReader, FrameWriter
from tidegate.ports.evaluation import GroupMetrics, SliceSearch
from tidegate.ports.training import Fitter
from tidegate.spec.model import ModelSpec
from tidegate.steps.data.catalog import catalog
from tidegate.steps.data.prepare import prepare
from tidegate.steps.evaluation.evaluate import evaluate
from tidegate.steps.evaluation.gate import gate
from tidegate.steps.evaluation.register import register
from tidegate.steps.evaluation.slices_and_groups import slices_and_groups
from tidegate.steps.serving.inference import Inference
from tidegate.steps.training.select import select
from tidegate.steps.training.train import train
from tidegate.testing.parts import InMemoryParts

ACTOR = "arn:aws:iam::123456789012:user/tests"


@dataclass(frozen=True, slots=True)
class Released:
    """What became of a run: its version, and the gate's report (docs/evaluation.md)."""

    run: RunRef
    version: Version
    report: Mapping[str, Any]


@dataclass
class InMemoryDeployment(InMemoryParts):
    """A stage in memory; every fake is open for tests. `actor` does what people do."""

    reader: FrameReader = field(default_factory=PandasReader)
    writer: FrameWriter = field(default_factory=ParquetWriter)
    fitter: Fitter = field(default_factory=OnnxFitter)
    search: SliceSearch = tree_leaves
    groups: GroupMetrics = field(default_factory=FairlearnGroups)
    code_version: str = "c0ffee"
    lock_hash: str = "10cc"
    allowed_licences: tuple[str, ...] = ()
    actor: str = ACTOR

    def add_dataset(self, name: str, *files: bytes, **about: Any) -> DatasetVersion:
        """Describe a dataset (fields of `Dataset` by name), and register a version of these CSV or Parquet files.

        Raises:
            DatasetInvalidError: the files cannot be read; the message says why.
        """
        self.describe_dataset(name, **about)
        version = self.register_dataset(self.upload_dataset(name, *files))
        if version.status is not DatasetStatus.READY:
            raise DatasetInvalidError(version.problem)
        return version

    def describe_dataset(self, name: str, **about: Any) -> Dataset:
        """What people say of a dataset."""
        said = {"origin": "tests", "licence": "CC0-1.0", "owner": "tests", "pii": (), "outcome": (), "time": None}
        dataset = Dataset(name=name, registered_by=self.actor, registered_at=self.clock.now(), **said | about)
        known = next((each for each in self.catalog.datasets() if each.name == name), None)
        self.catalog.put_dataset(dataset, replaces=known)
        return dataset

    def upload_dataset(self, name: str, *files: bytes) -> DatasetVersion:
        """A version that waits to be registered."""
        hashes = [self.files.upload(name, each) for each in files]
        reading = self.catalog.dataset(name).reading
        version = DatasetVersion(
            dataset=name,
            version=content_version(hashes, reading),
            status=DatasetStatus.REGISTERING,
            files=tuple(
                DataFile(f"part{number}.csv", sha256, len(each), self.files.key(name, sha256))
                for number, (sha256, each) in enumerate(zip(hashes, files, strict=True))
            ),
            added_by=self.actor,
            added_at=self.clock.now(),
            reading=reading,
        )
        self.catalog.add_version(version)
        return version

    def register_dataset(self, version: DatasetVersion) -> DatasetVersion:
        """Read and profile a version, as `functions/catalog` does; READY or FAILED."""
        return self.step(catalog, RegisterDataset(dataset=version.dataset, version=version.version))

    def request(self, spec: ModelSpec, run_id: str = "run-1") -> RunRef:
        """Apply a spec and ask for a run of it."""
        now = self.clock.now()
        self.registry.apply(spec, author=self.actor, at=now)
        run = Run(spec.name, run_id, RunStatus.REQUESTED, spec.digest, spec.dataset, self.actor, now, seed=spec.seed)
        self.registry.request(run, lease_until=now)
        return RunRef(model=spec.name, run_id=run_id)

    def prepare(self, ref: RunRef) -> Plan:
        """Check and split the data of a run. Raises DataCheckError."""
        return self.step(prepare, ref)

    def fit(self, ref: RunRef, plan: Plan) -> Fitted:
        """Train every candidate, and for good the one that did best. Raises TrainingFailedError."""
        tasks = [TrainTask(run=ref, files=plan.files, candidate=each, purpose="validate") for each in plan.candidates]
        results: list[Any] = [self.step(train, task) for task in tasks]
        best = self.step(select, SelectTask(run=ref, candidates=plan.candidates, results=results))
        assert isinstance(best, Selection)  # noqa: S101  what it answers where every candidate was fitted
        fitted = self.step(train, TrainTask(run=ref, files=plan.files, candidate=best.candidate, purpose="final"))
        assert isinstance(fitted, Fitted)  # noqa: S101  what `final` answers
        return fitted

    def release(self, spec: ModelSpec, run_id: str = "run-1") -> Released:
        """A whole run: prepare, train every candidate, select, evaluate, slices and groups, gate, register.

        The version is ACCEPTED or REJECTED, with the gate's reasons. Nothing is served before `promote`.

        Raises:
            DataCheckError: the data does not pass the spec's checks.
            TrainingFailedError: a candidate cannot be fitted or exported.
        """
        ref = self.request(spec, run_id)
        plan = self.prepare(ref)
        fitted = self.fit(ref, plan)
        evaluated = self.step(evaluate, EvaluateTask(run=ref, files=plan.files, fitted=fitted))
        return self.judge(ref, plan, fitted, evaluated)

    def judge(self, ref: RunRef, plan: Plan, fitted: Fitted, evaluated: Evaluated) -> Released:
        """From an evaluation to a registered version: slices and groups, gate, register."""
        known: dict[str, Any] = {"run": ref, "files": plan.files, "fitted": fitted, "evaluated": evaluated}
        parts = self.step(slices_and_groups, SlicesAndGroupsTask(**known))
        verdict = self.step(gate, GateTask(**known, slices_and_groups=parts))
        task = RegisterTask(run=ref, fitted=fitted, evaluated=evaluated, verdict=verdict)
        version = self.registry.version(ref.model, self.step(register, task).version)
        return Released(ref, version, json.loads(self.artifacts.get(ref.key(RunFile.REPORT))))

    def promote(self, version: Version, reason: str = "a test says so") -> None:
        """Serve a version at once, without a rollout."""
        cause = Cause(self.clock.now(), self.actor, reason)
        change = promote(self.registry.route(version.model), version, cause)
        if change is not None:
            self.registry.change(change)

    def predict(self, model: str, instances: Sequence[Mapping[str, Any]], **request: Any) -> dict[str, Any]:
        """What `POST /models/{model}/predict` answers (docs/serving.md); `captures` gets what is captured of it.

        Raises:
            RequestInvalidError, NotFoundError, ConflictError: as `Inference.predict` does.
        """
        inference = self.step(Inference, route_ttl_seconds=0, scoring_timeout_seconds=5, cache_bytes=2**28)
        return inference.predict(model, PredictionRequest(list(instances), **request), secrets.token_bytes)
