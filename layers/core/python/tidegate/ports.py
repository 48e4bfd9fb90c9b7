"""What the steps need from the world, as small Protocols in domain words.

Adapters in `aws/` and `ml/` satisfy them; `tests/fakes.py` does too and passes the same contract suite. Every method
may raise `UnavailableError` when a service does not answer in time; other errors are named where they can happen.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from tidegate.domain.dataset import ColumnProfile, ColumnType, Dataset, DatasetVersion, Exclusion
from tidegate.domain.ledger import LedgerEntry
from tidegate.domain.release import CandidateRun, Lease, RouteChange, Run, RunError, Version
from tidegate.domain.route import Route

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.domain.batch import Address, Source
    from tidegate.domain.batch_ledger import BatchEntry, Head
    from tidegate.domain.capture import Capture, CapturePolicy
    from tidegate.domain.prediction import Contract, Inputs
    from tidegate.domain.rollout import Evidence, Rollout, Step
    from tidegate.domain.slices import Path
    from tidegate.domain.table import Column, Table
    from tidegate.domain.watch import Standing
    from tidegate.spec import Candidate, ModelSpec


class Clock(Protocol):
    """The time, as an argument."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...


class Catalog(Protocol):
    """Datasets, their versions and excluded periods."""

    def put_dataset(self, dataset: Dataset) -> None:
        """Create, or replace what people say of it; `latest` is left as it is."""
        ...

    def dataset(self, name: str) -> Dataset:
        """Raises NotFoundError."""
        ...

    def datasets(self, *, after: str = "", limit: int | None = None) -> list[Dataset]:
        """By name: all, or at most `limit` of those behind the name `after`."""
        ...

    def add_version(self, version: DatasetVersion) -> bool:
        """Record a version that is being registered; False when a READY one of that content exists already."""
        ...

    def finish_version(self, version: DatasetVersion) -> None:
        """Record the outcome; a READY one becomes the dataset's latest, unless it was harvested. Idempotent."""
        ...

    def version(self, dataset: str, version: str | None = None) -> DatasetVersion:
        """The named one, or the latest READY one. Raises NotFoundError."""
        ...

    def versions(self, dataset: str) -> list[DatasetVersion]:
        """Newest first."""
        ...

    def exclude(self, exclusion: Exclusion) -> None:
        """Append; an exclusion is never changed or removed."""
        ...

    def exclusions(self, dataset: str) -> list[Exclusion]:
        """By start."""
        ...


class DatasetFiles(Protocol):
    """The bytes of dataset versions."""

    def put(self, dataset: str, data: bytes) -> str:
        """Store a file; returns its SHA-256 (hex). Storing the same bytes again changes nothing."""
        ...

    def upload_url(self, dataset: str, sha256: str, size: int) -> str:
        """A presigned PUT that accepts exactly those bytes (checked by S3 through the SHA-256 checksum header)."""
        ...

    def key(self, dataset: str, sha256: str) -> str:
        """Where those bytes live."""
        ...

    def exists(self, key: str) -> bool:
        """Whether those bytes were uploaded already."""
        ...

    def read(self, key: str) -> bytes:
        """Raises NotFoundError."""
        ...


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What the registry says of a model without opening its spec."""

    name: str
    owner: str
    business_unit: str
    task: str
    spec_digest: str
    applied_by: str
    applied_at: datetime
    latest_version: int = 0


class ModelNames(Protocol):
    """Which models there are: what answering needs of `Models`."""

    def model(self, name: str) -> ModelHeader:
        """Raises NotFoundError."""
        ...


class Models(ModelNames, Protocol):
    """Models and every spec they ever had."""

    def apply(self, spec: "ModelSpec", *, author: str, at: datetime) -> bool:
        """Store the spec by digest and make it current; False when it already was."""
        ...

    def models(self, *, after: str = "", limit: int | None = None) -> list[ModelHeader]:
        """By name: all, or at most `limit` of those behind the name `after`."""
        ...

    def spec(self, model: str, digest: str | None = None) -> "ModelSpec":
        """The named or the current one. Raises NotFoundError."""
        ...

    def author(self, model: str, digest: str) -> str:
        """The IAM ARN of whoever applied a spec first. Raises NotFoundError."""
        ...


class Runs(Protocol):
    """Training runs. A final run never changes again."""

    def request(self, run: Run, *, lease_until: datetime | None) -> Run:
        """Record a run and take the model's lease for it, in one transaction; None for one that needs no lease. With a
        token seen before, the run recorded then comes back instead.

        Raises:
            ConflictError: another release of the model holds the lease; the message says which, whose and until when.
        """
        ...

    def run(self, model: str, run_id: str) -> Run:
        """Raises NotFoundError."""
        ...

    def runs(self, model: str, limit: int = 50) -> list[Run]:
        """Newest first."""
        ...

    def note(self, model: str, run_id: str, stage: str, at: datetime, **facts: Any) -> None:
        """Set stage, status RUNNING and fields of `Run` by name; the first call sets `started_at`.

        Raises:
            ConflictError: the run is final.
        """
        ...

    def note_candidate(self, model: str, run_id: str, candidate: CandidateRun) -> None:
        """Record one candidate; calls race with each other and may repeat."""
        ...

    def fail(self, model: str, run_id: str, error: RunError, at: datetime) -> Run:
        """Close the run as FAILED unless it is final already; returns it as it now is."""
        ...

    def compared(self, model: str, run_id: str, *, equal: bool, at: datetime) -> Run:
        """Close a run that made a version again as REPRODUCED or DIFFERS unless it is final already; returns it as it
        now is."""
        ...


class Versions(Protocol):
    """Registered versions."""

    def register(self, version: Version, *, at: datetime) -> Version:
        """Store with the next free number (`version.number` is ignored) and close its run, in one transaction.

        The same run registers once: a repeated call returns the version it got the first time.
        """
        ...

    def version(self, model: str, number: int) -> Version:
        """Raises NotFoundError."""
        ...

    def versions(self, model: str) -> list[Version]:
        """Newest first."""
        ...


class RouteReader(Protocol):
    """What is served: what answering needs of `Routes`."""

    def route(self, model: str) -> Route | None:
        """None when nothing was ever promoted. Strongly consistent."""
        ...


class Routes(RouteReader, Protocol):
    """What is served, and the ledger of every change of it."""

    def change(self, change: RouteChange) -> None:
        """Write route, ledger entry and version states in one transaction; the same change again does nothing.

        Raises:
            ConflictError: the route's revision moved on in between, or the status of a version is a closed one.
        """
        ...

    def ledger(self, model: str) -> list[LedgerEntry]:
        """In order, oldest first. Raises LedgerBrokenError for an entry that cannot even be read."""
        ...


class Rollouts(Protocol):
    """Versions on their way in, and the lease by which a model has one release at a time."""

    def rollout(self, model: str, run_id: str) -> "Rollout | None":
        """The rollout of a run's version; None when it has none yet. Strongly consistent."""
        ...

    def rollouts(self, model: str) -> "list[Rollout]":
        """Newest first."""
        ...

    def save(self, step: "Step", *, now: datetime) -> None:
        """Write the record's next revision, its change of the route and its note on the version, in one transaction;
        the same step again does nothing.

        A rollout that goes on takes or extends the lease with it, unless another one holds it at `now`; a final one
        frees it.

        Raises:
            ConflictError: rollout or route moved on in between, or another release holds the lease.
        """
        ...

    def lease(self, model: str) -> Lease | None:
        """Who holds it, or held it last."""
        ...

    def free(self, model: str, run_id: str) -> None:
        """End the run's lease; nothing happens when it has none."""
        ...


class ArmsReader(Protocol):
    """What both arms of a rollout did, out of the captures."""

    def since_last_look(self, rollout: "Rollout") -> "Evidence":
        """What was served under the rollout's route revisions and is not in its `fetched` yet."""
        ...


class VerifiedArtifacts(Protocol):
    """What answering needs of `Artifacts`."""

    def get_verified(self, key: str, sha256: str) -> bytes:
        """Raises NotFoundError, and ArtifactRejectedError when the bytes have another hash."""
        ...


class Artifacts(VerifiedArtifacts, Protocol):
    """Objects of runs and versions."""

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        """Store; returns the SHA-256 (hex). Writing the same bytes again changes nothing."""
        ...

    def get(self, key: str) -> bytes:
        """Raises NotFoundError."""
        ...


class Signals(Protocol):
    """What people and alarms hear of while a step works. Never inputs, rows or predictions."""

    def count(self, name: str, value: float = 1, **by: str) -> None:
        """Add to a metric, and to that of these dimensions, if there are any. Their values come from closed lists."""
        ...

    def warn(self, message: str, **facts: object) -> None:
        """Log something that went wrong and was dealt with."""
        ...


class CaptureLog(Protocol):
    """Every prediction, kept for those who judge models later."""

    def offer(self, capture: "Capture") -> None:
        """Take it along if there is room. Never blocks, never raises; what is dropped is counted."""
        ...


class CapturePolicies(Protocol):
    """What may be kept of each model's predictions."""

    def policy(self, model: str) -> "CapturePolicy":
        """The current spec's, with the personal columns of its dataset. Raises NotFoundError."""
        ...


class CaptureReader(Protocol):
    """Captured predictions, for people who look."""

    def read(self, model: str, hour: str, limit: int) -> list[dict[str, Any]]:
        """Records (docs/captures.md) of an hour such as 2026-01-05-12, newest first, each id once."""
        ...


class CaptureLookup(Protocol):
    """One captured prediction, for people who ask about it."""

    def find(
        self, models: Sequence[str], prediction_id: str, *, at: datetime, reach: timedelta
    ) -> dict[str, Any] | None:
        """Its record among those of these models in the hours that are within `reach` of the moment `at`; None when
        there is none. Raises RequestInvalidError when there is more to look through than one search may."""
        ...


class Workflow(Protocol):
    """The release state machine."""

    def execution(self, run_id: str) -> str:
        """The id of the run's execution, known before it starts."""
        ...

    def start(self, model: str, run_id: str) -> None:
        """Start the run's execution; starting it again changes nothing."""
        ...

    def resume(self, token: str) -> None:
        """Wake the execution that waits with this token; one that waits no more is left alone."""
        ...


class Dispatcher(Protocol):
    """Work handed to a function without waiting for it."""

    def register_dataset(self, dataset: str, version: str) -> None:
        """Ask `functions/catalog` to read and profile a dataset version."""
        ...


class Frame(Protocol):
    """A dataset version in memory: typed columns, rows in the order they were read."""

    def __len__(self) -> int:
        """Rows."""
        ...

    @property
    def types(self) -> Mapping[str, ColumnType]:
        """Type of each column, in file order."""
        ...

    def profiles(self, *, private: Collection[str] = ()) -> tuple[ColumnProfile, ...]:
        """Schema and quality of each column; no value of a `private` column is told."""
        ...

    def period(self, column: str) -> tuple[datetime, datetime] | None:
        """First and last moment (aware UTC) of a time column; None when it holds none."""
        ...

    def row_hashes(self) -> "Column":
        """uint64 [rows]: equal for rows that agree in every column."""
        ...

    def table(self, columns: Iterable[str], *, as_text: Collection[str] = ()) -> "Table":
        """Columns as numpy arrays: numbers and booleans float64 (missing: NaN), texts (missing: ""), times
        datetime64[us] in UTC (missing: NaT). `as_text` columns become texts: 5 is "5", true is "true"."""
        ...

    def distinct(self, column: str, most: int) -> list[str]:
        """The different values of a column as texts; when there are more than `most`, that many from all over it."""
        ...


class FrameReader(Protocol):
    """Files to columns (pandas and fastparquet live behind this)."""

    def read(self, files: Mapping[str, bytes]) -> Frame:
        """One frame of all files (CSV, gzipped CSV or Parquet by content), columns in the order of the first file.

        Raises:
            DatasetInvalidError: unreadable, or the files' columns differ.
        """
        ...


class FrameWriter(Protocol):
    """Columns to a file (pandas and fastparquet live behind this)."""

    def write(self, rows: int, types: Mapping[str, ColumnType], cells: Mapping[str, Sequence[Any]]) -> bytes:
        """A Parquet file that `FrameReader` reads with these types; the same cells give the same bytes.

        `cells` [rows] are None or NaN where there is nothing: numbers and booleans as float64, times as microseconds
        since 1970 (UTC), texts as they are. A column without cells is empty.
        """
        ...


class Scorer(Protocol):
    """A loaded ONNX model."""

    @property
    def contract(self) -> "Contract":
        """The contract inside the artifact."""
        ...

    def score(self, inputs: "Inputs") -> "Column":
        """float32 [rows, classes] probabilities, or [rows, 1] values."""
        ...

    def stop(self) -> None:
        """End what is being scored now in another thread, as soon as it can be; nobody waits for it any more."""
        ...


class ScorerLoader(Protocol):
    """Opens ONNX bytes (onnxruntime lives behind this)."""

    def __call__(self, onnx: bytes) -> Scorer:
        """Raises ArtifactRejectedError when the bytes are no Tidegate model."""
        ...


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A final fit: the artifact, and scikit-learn's own scores (as float64) for each table it was asked about."""

    onnx: bytes
    reference_scores: "tuple[Column, ...]"


class Fitter(Protocol):
    """scikit-learn and skl2onnx live behind this. Tables hold the contract's features and `table.TARGET`."""

    def environment(self) -> dict[str, Any]:
        """What a fit depends on besides its inputs (JSON): `python`, `machine`, `libc`, `blas`, and the version of each
        of the `packages` by name."""
        ...

    def validation_scores(
        self, spec: "ModelSpec", contract: "Contract", candidate: "Candidate", fit: "Table", validation: "Table"
    ) -> "Column":
        """Fit on `fit`, score `validation`: float64 [rows, classes] or [rows, 1]. Raises TrainingFailedError."""
        ...

    def export(
        self,
        spec: "ModelSpec",
        contract: "Contract",
        candidate: "Candidate",
        train: "Table",
        score: Sequence["Table"],
    ) -> ExportedModel:
        """Fit on `train`, export ONNX with the contract inside. Raises TrainingFailedError."""
        ...


class SliceSearch(Protocol):
    """Looks for parts of the rows that lose most (scikit-learn lives behind this)."""

    def __call__(self, table: "Table", booleans: Collection[str], loss: "Column") -> "list[Path]":
        """Parts of the table that together hold all its rows, each described by its conditions; none when it cannot be
        parted. `booleans` names the features that are true or false, `loss` [rows] is what each row costs."""
        ...


class GroupMetrics(Protocol):
    """Metrics by group of rows (fairlearn lives behind this). `group` [rows] holds codes, `positive` and `decided`
    [rows] booleans: what was true, and what a binary model decided."""

    def rates(self, positive: "Column", decided: "Column", group: "Column") -> Mapping[int, Mapping[str, float]]:
        """Of each group: `positive_rate`, `true_positive_rate`, `false_positive_rate`, `accuracy`. A rate of no rows
        is 0."""
        ...

    def means(self, target: "Column", predicted: "Column", group: "Column") -> Mapping[int, Mapping[str, float]]:
        """Of each group: `mean_prediction`."""
        ...

    def difference(self, measure: str, positive: "Column", decided: "Column", group: "Column") -> float:
        """`demographic_parity`, `equal_opportunity` or `equalized_odds` over all groups that occur."""
        ...


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that the page of a version is drawn from: what was stored when it was registered, and nothing that changes
    later. `report` is the gate's; `exclusions` are those that the version was made with."""

    version: Version
    spec: "ModelSpec"
    spec_author: str
    dataset: Dataset
    data: DatasetVersion
    exclusions: tuple[Exclusion, ...]
    report: Mapping[str, Any]


class DrawPage(Protocol):
    """Draws the page of a version (matplotlib and jinja2 live behind this)."""

    def __call__(self, dossier: Dossier) -> str:
        """One self-contained HTML document; the same dossier gives the same one."""
        ...


class Standings(Protocol):
    """How served models stand."""

    def standing(self, model: str) -> "Standing | None":
        """None before the first look. Strongly consistent."""
        ...

    def save(self, standing: "Standing") -> None:
        """Write the next revision; the same one again does nothing.

        Raises:
            ConflictError: the standing moved on in between.
        """
        ...


class Verdicts(Protocol):
    """What each look at a model found, in full."""

    def write(self, model: str, hour: str, document: Mapping[str, Any]) -> str:
        """Store under the hour of the look, in place of what was found in it before; returns the key."""
        ...

    def read(self, key: str) -> dict[str, Any]:
        """Raises NotFoundError."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Keys of the objects that hold an hour's captures, and those of the feedback on its predictions. Objects are only
    ever added: equal sources hold the same. `stored_bytes` is what all of them take."""

    captures: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    stored_bytes: int = 0


class Hours(Protocol):
    """Hours of traffic (named as 2026-01-05-12): their captures and feedback, and what was counted of them."""

    def asked(self, model: str, since: str) -> bool:
        """Whether there are captures of this hour or a later one. One read."""
        ...

    def sources(self, model: str, first: str, last: str) -> Mapping[str, Sources]:
        """Hours with captures, by name and in order; both ends included."""
        ...

    def outcomes(self, sources: Sources) -> Mapping[str, Any]:
        """The outcome of each prediction of the hour that has one; of several, the one reported last."""
        ...

    def lines(self, sources: Sources) -> Iterable[Iterable[bytes]]:
        """Capture records as lines of JSON, object by object; any number of whole lines together."""
        ...

    def counted(self, model: str, version: int, hours: Collection[str]) -> Mapping[str, dict[str, Any]]:
        """Documents of these hours, as far as there are any."""
        ...

    def keep(self, model: str, version: int, hour: str, document: Mapping[str, Any]) -> None:
        """Store an hour's document in place of the one before."""
        ...


class BatchObjects(Protocol):
    """What batches read and write, wherever they may. Addresses are checked before they come here."""

    def sources(self, address: "Address", most: int) -> "list[Source]":
        """The object of this address, or those under it as a folder, by key; empty ones, and those whose name or
        whose folder's name begins with . or _, are passed over. At most `most` + 1 of them."""
        ...

    def read(self, address: "Address", etag: str, start: int, stop: int) -> bytes:
        """Bytes of an object that still has this ETag. Raises NotFoundError, and ConflictError when it was changed."""
        ...

    def document(self, address: "Address") -> bytes:
        """A whole object. Raises NotFoundError."""
        ...

    def create(self, address: "Address", data: bytes) -> bool:
        """Write a JSON document where nothing is yet; False, and nothing is written, where something is."""
        ...

    def put(self, address: "Address", data: bytes, content_type: str, facts: Mapping[str, str]) -> None:
        """Write an object that says these facts of itself."""
        ...

    def facts(self, address: "Address") -> Mapping[str, str] | None:
        """What an object says of itself; None when there is none."""
        ...

    def names(self, folder: "Address", after: str) -> set[str]:
        """Names of the objects directly in a folder that are behind the name `after`."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of the batch state machine. `status` as Step Functions calls it; `reason` of one that failed."""

    number: int
    status: str
    reason: str = ""

    @property
    def running(self) -> bool:
        """It is not over."""
        return self.status == "RUNNING"


class BatchRuns(Protocol):
    """The batch state machine."""

    def latest(self, batch_id: str) -> Attempt | None:
        """The last attempt at a batch; None when there was none."""
        ...

    def start(self, batch_id: str, number: int, document: Mapping[str, Any]) -> None:
        """Start an attempt; the same one again changes nothing."""
        ...


class BatchLedger(Protocol):
    """What was done about batches, by model: one chain of entries each, which nobody rewrites."""

    def append(self, entry: "BatchEntry") -> None:
        """Chain an entry to the newest one; one whose `key` is recorded already changes nothing.

        Raises:
            UnavailableError: too many at once; that passes.
        """
        ...

    def head(self, model: str) -> "Head":
        """The newest entry's number and hash. Strongly consistent."""
        ...

    def entries(self, model: str) -> "list[BatchEntry]":
        """In order, oldest first. Raises LedgerBrokenError for an entry that cannot even be read."""
        ...
