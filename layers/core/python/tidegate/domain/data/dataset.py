"""The catalog's nouns: a dataset, its versions by content, and the periods that people exclude from use."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Self

from tidegate.kernel.documents import DATASET, StoredForm
from tidegate.kernel.errors import Fault
from tidegate.kernel.values import MISSING

RULES = 2  # of `Reading`, for versions that are added now
ABSENT = "the files have no such column"  # the fault of a column that a description names
GIVEN_UP_AFTER = timedelta(hours=3)  # an event is kept for an hour, and three attempts take at most 15 minutes each


class DatasetStatus(StrEnum):
    """Registration reads and profiles the files, which takes a while for large ones."""

    REGISTERING = "registering"
    READY = "ready"
    FAILED = "failed"


class ColumnType(StrEnum):
    """What a column holds, independent of file format."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXT = "text"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Schema and quality of one column. Shares lie in [0, 1]; `low`..`mean` are None unless the column is numeric."""

    name: str
    type: ColumnType
    missing: float
    distinct: int
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    top: tuple[tuple[str, int], ...] = ()

    @property
    def without_values(self) -> Self:
        """For a column that was declared personal after it was read."""
        return replace(self, low=None, high=None, mean=None, top=())


@dataclass(frozen=True, slots=True)
class DataFile:
    """One uploaded file, known by its content."""

    name: str
    sha256: str
    size: int
    key: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How the cells of a dataset version's files become values.

    By the `rules` numbered 1, those of Tidegate 0.1, pandas guesses what a column is by what stands in it. By those
    numbered 2, a column is what the spec says, and each cell is read by `kernel/values`. `missing` are words by which
    a value is missing, `text` are columns of texts even where each is a number, `decimal` stands before decimals, and
    `time_format` (empty when none is declared) is how times are written besides ISO 8601.
    """

    rules: int = 1
    missing: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    decimal: str = "."
    time_format: str = ""

    @property
    def missing_words(self) -> tuple[str, ...]:
        """The texts by which a text is missing; numbers have more of them."""
        return tuple(sorted(MISSING)) if self.rules == 1 else ("", *self.missing)


GUESSED = Reading()
"""Of versions that do not say how they are read."""

DECLARED = Reading(RULES)
"""Of versions of today of which nothing was declared."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What people say of a dataset; applies to all of its versions, but `missing`, `text`, `decimal` and `time_format`
    to later ones only."""

    FORM: ClassVar = DATASET

    name: str
    origin: str
    licence: str
    owner: str
    pii: tuple[str, ...]
    outcome: tuple[str, ...]  # columns known only after the fact: never a feature
    time: str | None
    registered_by: str
    registered_at: datetime
    latest: str | None = None
    description: str = ""
    missing: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    decimal: str = "."
    time_format: str = ""

    @property
    def roles(self) -> list[tuple[str, str]]:
        """What is said of columns: role and name."""
        named = {"pii": self.pii, "outcome": self.outcome, "text": self.text, "time": filter(None, (self.time,))}
        return [(role, column) for role, columns in named.items() for column in columns]

    @property
    def reading(self) -> Reading:
        """How the files of a new version are read."""
        return Reading(RULES, tuple(sorted(self.missing)), tuple(sorted(self.text)), self.decimal, self.time_format)


@dataclass(frozen=True, slots=True)
class Captured:
    """The file of a labelled dataset that was made of captures: how many rows it has, and how many of their outcomes
    each caller (an IAM ARN) reported."""

    sha256: str
    rows: int
    reporters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One content of a dataset. `version` is `content_version` of its files and of how they are read.

    One with labelled captures has the files of its `base` and captured predictions besides. It is for the training that
    it was made for, and never becomes the dataset's latest; `lineage` says in a sentence what was added, and `captured`
    which rows those are: the last ones. `attempts` counts the readings of its files that began and did not end. `hints`
    are sentences on cells that may be meant otherwise than they are read.
    """

    # Schema 2 says how its files are read, 3 how numbers and times are written.
    FORM: ClassVar = StoredForm("dataset version", upgrades=(dict, dict))

    dataset: str
    version: str
    status: DatasetStatus
    files: tuple[DataFile, ...]
    added_by: str
    added_at: datetime
    rows: int = 0
    columns: tuple[ColumnProfile, ...] = ()
    time_from: datetime | None = None
    time_to: datetime | None = None
    duplicate_rows: int = 0
    problem: str = ""
    base: str = ""
    lineage: str = ""
    attempts: int = 0
    captured: Captured | None = None
    reading: Reading = GUESSED
    hints: tuple[str, ...] = ()

    @property
    def types(self) -> Mapping[str, ColumnType]:
        """Type of each column by name."""
        return {column.name: column.type for column in self.columns}

    @property
    def position(self) -> str:
        """Sorts versions of a dataset by when they were added."""
        return version_position(self.added_at, self.version)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A period that must not be trained or judged on: half-open [start, end), why, and who says so."""

    FORM: ClassVar = StoredForm("exclusion")

    dataset: str
    exclusion_id: str
    start: datetime
    end: datetime
    reason: str
    author: str
    at: datetime

    @property
    def position(self) -> str:
        """Sorts exclusions by start."""
        return f"{_sortable(self.start)}#{self.exclusion_id}"


def weakened(before: Dataset, after: Dataset) -> list[Fault]:
    """What protects the use of a dataset today and would do so no longer under another description, each with what
    follows. A path names it: `outcome.arr_delay`, `pii.email`, `time` or `licence`."""
    faults = [
        Fault(f"outcome.{column}", "would no longer be an outcome column: models could use it as a feature")
        for column in before.outcome
        if column not in after.outcome
    ]
    faults += [
        Fault(f"pii.{column}", "would no longer be personal data: its values would be shown and captured")
        for column in before.pii
        if column not in after.pii
    ]
    if before.time and after.time != before.time:
        named = after.time or "no column"
        faults.append(Fault("time", f"would be {named} instead of {before.time}: excluded periods go by this column"))
    if after.licence != before.licence:
        problem = f"would be {after.licence} instead of {before.licence}: it decides who may train on the data"
        faults.append(Fault("licence", problem))
    return faults


def given_up(version: DatasetVersion, now: datetime) -> DatasetVersion:
    """The version as people see it: FAILED once nothing can register it any more, since Lambda dropped the event."""
    if version.status is not DatasetStatus.REGISTERING or now - version.added_at < GIVEN_UP_AFTER:
        return version
    problem = f"it was not registered within {GIVEN_UP_AFTER / timedelta(hours=1):.0f} hours; add the files again"
    return replace(version, status=DatasetStatus.FAILED, problem=problem)


def version_position(added_at: datetime, version: str) -> str:
    """Where a version is among those of its dataset: later ones sort behind."""
    return f"{_sortable(added_at)}#{version}"


def _sortable(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def content_version(hashes: Iterable[str], reading: Reading) -> str:
    """Version of a set of files: SHA-256 over their sorted SHA-256s and how they are read, first 16 hex digits; names
    do not count."""
    joined = "\n".join(sorted(hashes))
    if reading.rules > 1:
        declared = astuple(reading)
        if declared[3:] == astuple(DECLARED)[3:]:
            declared = declared[:3]  # as versions had it before there were more declarations
        joined += f"\n{json.dumps(declared)}"
    return hashlib.sha256(joined.encode()).hexdigest()[:16]
