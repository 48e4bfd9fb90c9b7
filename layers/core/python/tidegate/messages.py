"""Typed payloads that the state machines hand to functions, and what those answer. Data itself travels by S3 key.

Of a release, Step Functions keeps one JSON document; each state adds its answer under its own name:

    {"run": {...}, "plan": {...}, "results": [...], "selection": {...}, "fitted": {...},
     "evaluated": {...}, "slices_and_groups": {...}, "verdict": {...}, "registered": {...}, "drawn": {...},
     "rollout": {...}}

A run that makes a version again ends behind "evaluated" with "reproduced". Where the data or the spec is at fault, a
step answers `EndsRun` under its name, and nothing follows.

A step receives only what it needs of it. Keys of a run's files are made here and nowhere else. Each step answers with
the hashes of the `files` that it wrote, and a later step reads them by these hashes: the execution's state is what no
function's role can write.
"""

from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

from tidegate.domain.batch.batch import Part
from tidegate.kernel.errors import TidegateError
from tidegate.kernel.prefixes import RunFile

MAX_CAUSE = 4_000  # letters; all answers of an execution share 256 KiB
Files = dict[RunFile, str]  # of a run: the SHA-256 of each, as whoever wrote it answered


class Message(BaseModel):
    """A payload that is checked when it is read: a wrong one is a deployment fault and must stop the execution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, event: object) -> Self:
        """Read a Lambda event; raises pydantic.ValidationError."""
        return cls.model_validate(event)

    def to_json(self) -> dict[str, Any]:
        """The Lambda answer."""
        return self.model_dump(mode="json")


class RunRef(Message):
    """Which run; the execution's whole input. Model and run id find everything else."""

    model: str
    run_id: str

    def key(self, file: RunFile) -> str:
        """S3 key of one of the run's files."""
        return f"{file.prefix}{self.model}/{self.run_id}/{file}"


class RunFault(Message):
    """What ends a run, as Step Functions names a fault: the error's class, and a sentence or the JSON of one."""

    Error: str
    Cause: str


class EndsRun(Message):
    """Answer of any step of a release or a batch in place of its own: its data, its spec or whoever ended it is why it
    cannot be completed. The execution keeps the reason, and succeeds."""

    ends_run: RunFault

    @classmethod
    def by(cls, error: TidegateError) -> Self:
        """The run ends by this error."""
        return cls(ends_run=RunFault(Error=type(error).__name__, Cause=str(error)[:MAX_CAUSE]))


class CandidateRef(Message):
    """One point of the search: an estimator with its parameters written out."""

    index: int
    estimator: str
    parameters: dict[str, Any]
    encode: Literal["auto", "onehot", "ordinal"] = "auto"


class Plan(Message):
    """Answer of `prepare`: what to try. The tables are among its files. `reproduction` says that the run
    makes a version again, and so ends with a comparison instead of a release."""

    dataset_version: str
    candidates: list[CandidateRef]
    train_rows: int
    validation_rows: int
    holdout_rows: int
    files: Files
    reproduction: bool = False


class TrainTask(Message):
    """Input of `train`. For `validate` it fits on the fit rows and scores the validation rows; for `final` it fits on
    both, exports ONNX and scores the holdout. `files` are those of `prepare`."""

    run: RunRef
    files: Files
    candidate: CandidateRef
    purpose: Literal["validate", "final"]


class CandidateResult(Message):
    """Answer of `train` for `validate`."""

    index: int
    metric: str
    value: float
    fit_seconds: float
    rows: int


class SelectTask(Message):
    """Input of `select`. One candidate that cannot be fitted ends the run."""

    run: RunRef
    candidates: list[CandidateRef]
    results: list[CandidateResult | EndsRun]


class Selection(Message):
    """Answer of `select`: the candidate to fit on all training rows."""

    candidate: CandidateRef
    value: float


class Fitted(Message):
    """Answer of `train` for `final`."""

    artifact_sha256: str
    artifact_bytes: int
    fit_seconds: float
    rows: int
    files: Files


class EvaluateTask(Message):
    """Input of `evaluate`. `files` are those of `prepare`."""

    run: RunRef
    files: Files
    fitted: Fitted


class Evaluated(Message):
    """Answer of `evaluate`: the headline, and which fallback was evaluated; the rest is among its files."""

    metric: str
    value: float
    low: float
    high: float
    champion_version: int | None
    fallback_sha256: str
    files: Files
    classes: list[str] = []  # as `probabilities` spell them; none of a regression


class SlicesAndGroupsTask(Message):
    """Input of `slices_and_groups`. `files` are those of `prepare`."""

    run: RunRef
    files: Files
    fitted: Fitted
    evaluated: Evaluated


class SlicesAndGroups(Message):
    """Answer of `slices_and_groups`: how many declared slices there are and how many of them could be judged, how many
    slices were found and confirmed, and how many sensitive columns were looked at; the rest is in its file."""

    slices: int
    judged: int
    confirmed: int
    sensitive: int
    files: Files


class GateTask(Message):
    """Input of `gate`. `files` are those of `prepare`."""

    run: RunRef
    files: Files
    fitted: Fitted
    evaluated: Evaluated
    slices_and_groups: SlicesAndGroups


class GateDecided(Message):
    """Answer of `gate`. `reasons` says, in sentences, why it was rejected (empty when accepted)."""

    accepted: bool
    reasons: list[str]
    report_sha256: str


class ReproduceTask(Message):
    """Input of `reproduce`: hold what was made again against the version. `files` are those of `prepare`."""

    run: RunRef
    files: Files
    fitted: Fitted
    evaluated: Evaluated


class Reproduced(Message):
    """Answer of `reproduce`; the rest is in its file."""

    equal: bool
    artifact_equal: bool
    differences: int


class RegisterTask(Message):
    """Input of `register`."""

    run: RunRef
    fitted: Fitted
    evaluated: Evaluated
    verdict: GateDecided


class Registered(Message):
    """Answer of `register`."""

    version: int
    accepted: bool


class ReportTask(Message):
    """Input of `report`: draw the page of the version that the run became."""

    run: RunRef
    version: int


class Drawn(Message):
    """Answer of `report`: the page is its file."""

    page_sha256: str
    page_bytes: int


class RolloutTask(Message):
    """Input of `rollout`: take the version one step further. `champion_version` is what the gate compared it with
    (null: nothing served), `page_sha256` the page that `report` drew (null: none), `now` the state machine's time, by
    which all durations are measured."""

    run: RunRef
    version: int
    champion_version: int | None
    page_sha256: str | None = None
    now: AwareDatetime


class AskApproval(Message):
    """Input of `rollout` when an approver is to be asked: `token` resumes the execution."""

    run: RunRef
    token: str


class Moved(Message):
    """Answer of `rollout`: what the state machine does next.

    `approval`: wait for the token, at most `wait_seconds`. `wait`: come back after `wait_seconds`. `done`: the rollout
    is over, in `phase`. The ledger's head is logged with it, where the ledger's writer cannot change it.
    """

    next: Literal["approval", "wait", "done"]
    phase: str
    wait_seconds: int
    serves: bool
    reason: str = ""
    ledger_head: str = ""


class CloseFailedTask(Message):
    """Input of `close_failed`: a run whose execution ended by a fault."""

    run: RunRef
    error: str
    cause: str


class ClosedRun(Message):
    """Answer of `close_failed`: the run's final status."""

    status: str
    error: str
    message: str


class RegisterDataset(Message):
    """Input of `catalog`: the uploaded files of a dataset version that is being registered."""

    dataset: str
    version: str


class DueTask(Message):
    """Input of `due`: which models are due, from the one behind the name `after` on. `now` is the
    state machine's time."""

    after: str
    now: AwareDatetime


class ModelBatch(Message):
    """Models that one call of `monitor` looks at."""

    models: list[str]


class DueModels(Message):
    """Answer of `due`. `after` is where to go on; empty at the end."""

    batches: list[ModelBatch]
    after: str


class MonitorTask(Message):
    """Input of `monitor`: look at these models. `now` is the state machine's time, by which trainings are damped."""

    models: list[str]
    now: AwareDatetime


class Monitored(Message):
    """Answer of `monitor`: "failed" when it could not look at one of the models; its log says why."""

    outcome: Literal["monitored", "failed"]
    failed: list[str]


class OneModel(Message):
    """Input of an execution of the retraining machine: one model, or all that want a training."""

    model: str | None = None


class FindWanted(Message):
    """First input of `retrain`: which trainings does monitoring want? `of` is the execution's input: a model's name, to
    look at this one only, or nothing."""

    step: Literal["find"]
    of: OneModel


class WantedTraining(Message):
    """One training that monitoring wants. `token` is the idempotency token, so that one run starts."""

    model: str
    token: str


class WantedTrainings(Message):
    """Answer to `FindWanted`."""

    wanted: list[WantedTraining]


class LabelledDatasetTask(Message):
    """Second input of `retrain`, for each wanted training: gather its data."""

    step: Literal["labelled_dataset"]
    model: str


class LabelledDataset(Message):
    """Answer to `LabelledDatasetTask`: the dataset version to train on, which may still be registering; it must be
    ready `until` then. `note` says in a sentence what it was made of."""

    dataset_version: str
    note: str
    until: AwareDatetime


class StartTraining(Message):
    """Third input of `retrain`: start the training. `actor` is who asks for it: the execution."""

    step: Literal["start"]
    model: str
    token: str
    actor: str
    labelled: LabelledDataset


class TrainingStarted(Message):
    """Answer to `StartTraining`: come back soon (`wait`), or there is nothing more to do (`done`). `run_id` is the run
    that was started; without one `reason` says why not."""

    next: Literal["wait", "done"]
    run_id: str | None = None
    reason: str = ""


class PlanCursor(Message):
    """Where the planning of a batch goes on: in which object, at which of its bytes and rows; and what was found."""

    source: int
    position: int
    first_row: int
    parts: int
    pages: int
    rows: int


class _OfABatch(Message):
    """Input about the batch that owns this output; `record_sha256` is what its record must have."""

    output: str
    record_sha256: str = ""  # of attempts that began before 0.2.0


class PlanTask(_OfABatch):
    """First input of `batch`: find the parts of the batch that owns this output, from the cursor on."""

    step: Literal["plan"]
    cursor: PlanCursor


class Planned(Message):
    """Answer to `PlanTask`: come back with the cursor, or score the parts that this object in S3 lists."""

    next: Literal["plan", "score"]
    cursor: PlanCursor
    bucket: str
    key: str


class ScoreTask(_OfABatch):
    """Input of `score`: one part of the batch that owns this output."""

    part: Part


class PartScored(Message):
    """Answer of `score`: rows written, and how many of them have faults. `kept`: it was there already."""

    rows: int
    faulty: int
    kept: bool


class NoteTask(_OfABatch):
    """Second input of `batch`: a part could not be scored; keep why, and whether its input is (`by_input`)."""

    step: Literal["note"]
    part: int
    error: str
    cause: str
    by_input: bool = False


class Noted(Message):
    """Answer to `NoteTask`."""

    part: int


class FinishTask(_OfABatch):
    """Last input of `batch`: are all rows there?"""

    step: Literal["finish"]


class Finished(Message):
    """Answer to `FinishTask`: when they are not, why, in a sentence."""

    complete: bool
    reason: str
