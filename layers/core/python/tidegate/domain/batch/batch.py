"""Batch predictions: what one is, how its input is cut into parts, and where everything of it lies.

    s3://BUCKET/PREFIX/part-000001.csv                 one row for each row of part 1
                      /_errors/part-000001.csv         its rows that could not be scored, one line for each fault
                      /_tidegate/batch.json            what was asked for and which version answers (`Batch`)
                      /_tidegate/plan/00000.json       parts, as they were found
                      /_tidegate/parts.json            all parts (`Part`), for the distributed map
                      /_tidegate/failed/000001.json    why part 1 was not scored, the last time it was tried
                      /_SUCCESS.json                   the totals, when every row is there

An output belongs to one batch for ever. Pure decisions: no clock, no service. Standard library only, since the
control API looks at batches too.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from tidegate.kernel.address import Address
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import Fault, InvalidInputError
from tidegate.kernel.prefixes import BATCH_PARTS, BATCH_RECORD, BATCH_SUCCESS

Format = Literal["csv", "parquet"]
FORMATS: Mapping[str, Format] = {".csv": "csv", ".parquet": "parquet"}
MAX_SOURCES = 10_000  # objects of one batch
MAX_PARTS = 40_000  # the distributed map hands on a few bytes for each, 256 KiB in all
PART_ROWS = 100_000  # about as many as a function scores in seconds
PART_BYTES = 64 << 20  # of CSV
MAX_RECORD_BYTES = 1 << 20
OUTPUT_COLUMNS = frozenset({"row", "label", "score", "lower", "upper", "fallback", "unusual", "rule", "error"})


def passed_names(names: Collection[str], taken: Collection[str] = OUTPUT_COLUMNS) -> list[str]:
    """What columns that are copied to the output are called there, each otherwise than those that Tidegate writes
    (`taken`) and than one another."""
    return [_passed_name(name, {*names} - {name} | {*taken}) for name in names]


def _passed_name(name: str, taken: Collection[str]) -> str:
    while name in taken or name.startswith("probability_"):
        name = f"input_{name}"
    return name


@dataclass(frozen=True, slots=True)
class Source:
    """One object of the input, as it was when the batch was asked for."""

    key: str
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one input object: bytes of CSV, or row groups of Parquet. Rows are counted from 1 in their object."""

    number: int
    key: str
    etag: str
    start: int
    stop: int
    first_row: int
    rows: int

    @property
    def name(self) -> str:
        """Without its extension."""
        return f"part-{self.number:06d}"

    def where(self, bucket: str) -> str:
        """For people."""
        return f"s3://{bucket}/{self.key} rows {self.first_row:,} to {self.first_row + self.rows - 1:,}"


@dataclass(frozen=True, slots=True)
class Batch:
    """What was asked for, by whom, and what answers all of it. The lists of its parts have the form of this record."""

    FORM: ClassVar = StoredForm("record of a batch", renew="start it again with another output")

    batch_id: str
    model: str
    version: int
    artifact_key: str
    artifact_sha256: str
    fallback_key: str | None
    fallback_sha256: str | None
    input: str
    output: str
    format: Format
    ids: tuple[str, ...]
    sources: tuple[Source, ...]
    started_by: str
    started_at: str

    @property
    def home(self) -> Address:
        """Where the output goes."""
        return Address.parse(self.output, "output")

    @property
    def bucket(self) -> str:
        """Of the input."""
        return Address.parse(self.input, "input").bucket

    def output_of(self, part: Part) -> Address:
        """The rows of a part."""
        return self.home / f"{part.name}.{self.format}"

    def errors_of(self, part: Part) -> Address:
        """The faults of a part's rows."""
        return self.home / f"_errors/{part.name}.csv"

    def failure_of(self, number: int) -> Address:
        """Why a part was not scored."""
        return self.home / f"_tidegate/failed/{number:06d}.json"

    def facts(self, part: Part, faulty: int) -> dict[str, str]:
        """What a part's output says of itself; of an object that says something else nobody knows what is in it."""
        return {"batch": self.batch_id, "part": str(part.number), "rows": str(part.rows), "faulty": str(faulty)}

    def faulty(self, part: Part, facts: Mapping[str, str] | None) -> int | None:
        """How many rows of a part could not be scored, as its output says; None when it is not this part's output."""
        known = facts or {}
        if not known.get("faulty", "").isdigit() or known != self.facts(part, int(known["faulty"])):
            return None
        return int(known["faulty"])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return self.FORM.mark() | asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Batch":
        """Read what `to_json` wrote; raises NewerDocumentError."""
        document = {name: value for name, value in cls.FORM.current(document).items() if name != cls.FORM.field}
        sources = tuple(Source(**source) for source in document["sources"])
        return cls(**{**document, "ids": tuple(document["ids"]), "sources": sources})


TOTALS = StoredForm("totals of a batch")


def record_of(home: Address) -> Address:
    """The batch that an output belongs to."""
    return home / BATCH_RECORD


def page_of(home: Address, number: int) -> Address:
    """Parts, as they were found."""
    return home / f"_tidegate/plan/{number:05d}.json"


def parts_of(home: Address) -> Address:
    """All parts."""
    return home / BATCH_PARTS


def success_of(home: Address) -> Address:
    """The totals."""
    return home / BATCH_SUCCESS


def identity(model: str, version: int, sources: Sequence[Source], output: str, ids: Sequence[str]) -> str:
    """The same request has the same id: model, version, contents of the input, output and columns passed on."""
    said = [model, version, [asdict(source) for source in sources], output, list(ids)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:20]


def format_of(sources: Sequence[Source]) -> Format:
    """All of one format, by their names.

    Raises:
        InvalidInputError: an object is of another one.
    """
    found = {
        source.key: next((FORMATS[end] for end in FORMATS if source.key.endswith(end)), None) for source in sources
    }
    unknown = [Fault(key, "is neither .csv nor .parquet", tuple(FORMATS)) for key, kind in found.items() if not kind]
    if unknown:
        raise InvalidInputError("the input holds objects of other kinds", unknown[:20])
    first = next(iter(found.values()))
    other = [Fault(key, f"is {kind}, the first object is {first}") for key, kind in found.items() if kind != first]
    if other or first is None:
        raise InvalidInputError("the input mixes formats", other[:20], next_step="start a batch for each format")
    return first


def row_group_parts(source: Source, rows: Sequence[int], first_number: int) -> list[Part]:
    """Row groups of a Parquet object, by their numbers of rows, gathered into parts: as many of them as together have
    no more than `PART_ROWS`, at least one."""
    made: list[Part] = []
    start, first_row, gathered = 0, 1, 0
    for index, count in enumerate(rows):
        if gathered and gathered + count > PART_ROWS:
            made.append(Part(first_number + len(made), source.key, source.etag, start, index, first_row, gathered))
            start, first_row, gathered = index, first_row + gathered, 0
        gathered += count
    if gathered:
        made.append(Part(first_number + len(made), source.key, source.etag, start, len(rows), first_row, gathered))
    return made
