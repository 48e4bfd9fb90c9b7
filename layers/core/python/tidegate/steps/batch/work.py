"""Batch predictions as they are made: find the parts of the input, score each, and see that every row is there."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol, Self

import numpy as np

from tidegate.domain.batch.batch import (
    MAX_PARTS,
    MAX_RECORD_BYTES,
    Batch,
    Format,
    Part,
    Source,
    page_of,
    parts_of,
    row_group_parts,
    success_of,
)
from tidegate.domain.batch.batch_ledger import Act, completed, key_of
from tidegate.domain.batch.rows import (
    Answers,
    Rows,
    broken_rules,
    faults_of,
    fill,
    forget,
    inputs,
    suspects,
    text_scores,
)
from tidegate.domain.serving.contract import Contract, Inputs, Rulebook
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.serving.guard import Detector
from tidegate.formats.csv_records import CsvCutter, Records, records
from tidegate.kernel import english
from tidegate.kernel.address import Address
from tidegate.kernel.errors import DatasetInvalidError, Fault, InvalidInputError, ModelFailedError, NotFoundError
from tidegate.kernel.table import Column
from tidegate.messages import (
    Finished,
    FinishTask,
    Noted,
    NoteTask,
    PartScored,
    PlanCursor,
    Planned,
    PlanTask,
    ScoreTask,
)
from tidegate.ports.batch import BatchLedger, BatchObjects
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts
from tidegate.ports.serving import Scorer, ScorerLoader
from tidegate.steps.batch.batch import counted, encoded, parts_in, recorded

BLOCK_ROWS = 8_192  # scored at once: what a block takes of memory does not depend on the part
SCAN_BYTES = 16 << 20  # of CSV, fetched at once to find where its records end
SPARE_SECONDS = 60.0  # of an invocation: with less than this left, planning goes on in the next one
_THREADS = 16
_MOST_NAMED = 5  # objects, in a reason
_JSON = "application/json"
_TYPES: Mapping[Format, str] = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}

Fetch = Callable[[int, int], bytes]


class PartFiles(Protocol):
    """Files of rows, read in parts."""

    def header(self, source: Source, fetch: Fetch) -> tuple[list[str], int]:
        """Columns of a CSV object and the byte behind its first line. Raises DatasetInvalidError."""
        ...

    def row_groups(self, source: Source, fetch: Fetch) -> tuple[list[str], list[int]]:
        """Columns of a Parquet object and the rows of each row group. Raises DatasetInvalidError."""
        ...

    def rows_of(
        self, kind: Format, part: Part, size: int, contract: Contract, *, ids: Sequence[str], fetch: Fetch
    ) -> Rows:
        """The rows of a part. Raises DatasetInvalidError."""
        ...

    def write(self, kind: Format, first_row: int, rows: Rows, found: Answers, contract: Contract) -> bytes:
        """The part's output."""
        ...

    def write_faults(self, first_row: int, rows: Rows, found: Answers) -> bytes:
        """Its side file (CSV): one line for each fault."""
        ...


# --- planned ----------------------------------------------------------------------------------------------------------


def plan(
    task: PlanTask,
    *,
    objects: BatchObjects,
    files: PartFiles,
    artifacts: Artifacts,
    load: ScorerLoader,
    remaining_seconds: Callable[[], float],
) -> Planned:
    """Find the parts, for as long as the invocation lasts; the last one gathers them for the distributed map. Parts
    that were found by an earlier attempt are taken as they are.

    Raises:
        InvalidInputError: an object cannot be read, lacks a column that the model needs, or there are too many parts.
        InputChangedError: an object was changed or removed meanwhile.
    """
    home = Address.parse(task.output, "output")
    batch, cursor = recorded(home, objects, task.record_sha256), task.cursor
    listed = parts_of(home)
    if not cursor.pages and objects.facts(listed) is not None:
        return Planned(next="score", cursor=cursor, bucket=listed.bucket, key=listed.key)
    contract = load(artifacts.get_verified(batch.artifact_key, batch.artifact_sha256)).contract
    found: list[Part] = []
    at = _Place(cursor.source, cursor.position, cursor.first_row)
    while at.source < len(batch.sources) and remaining_seconds() > SPARE_SECONDS:
        planning = _Planning(batch, contract, at, files, _fetch(batch, batch.sources[at.source], objects))
        number = cursor.parts + len(found) + 1
        made, at = planning.csv(number, remaining_seconds) if batch.format == "csv" else planning.parquet(number)
        found += made
        if cursor.parts + len(found) > MAX_PARTS:
            raise InvalidInputError(
                f"the input needs more than {MAX_PARTS:,} parts", next_step="split it into several batches"
            )
    objects.put(page_of(home, cursor.pages), encoded([asdict(part) for part in found]), _JSON, {})
    after = PlanCursor(
        source=at.source,
        position=at.position,
        first_row=at.first_row,
        parts=cursor.parts + len(found),
        pages=cursor.pages + 1,
        rows=cursor.rows + sum(part.rows for part in found),
    )
    if at.source < len(batch.sources):
        return Planned(next="plan", cursor=after, bucket=listed.bucket, key=listed.key)
    pages = [json.loads(objects.document(page_of(home, number))) for number in range(cursor.pages)]
    parts = [*(part for page in pages for part in page), *(asdict(part) for part in found)]
    if not parts:
        raise InvalidInputError("the input has no rows", [Fault(batch.input, "has no line below the header")])
    objects.put(listed, encoded(parts), _JSON, {})
    return Planned(next="score", cursor=after, bucket=listed.bucket, key=listed.key)


@dataclass(frozen=True, slots=True)
class _Place:
    """The next byte and row to look at; position 0 is the beginning of an object."""

    source: int
    position: int = 0
    first_row: int = 1


def _fetch(batch: Batch, source: Source, objects: BatchObjects) -> Fetch:
    return partial(objects.read, Address(batch.bucket, source.key), source.etag)


@dataclass(frozen=True, slots=True)
class _Planning:
    """Looks through one object of the input, from a place on: the parts, numbered from a number on, and the place where
    to go on."""

    batch: Batch
    contract: Contract
    at: _Place
    files: PartFiles
    fetch: Fetch

    @property
    def source(self) -> Source:
        return self.batch.sources[self.at.source]

    def parquet(self, number: int) -> tuple[list[Part], _Place]:
        columns, groups = self.files.row_groups(self.source, self.fetch)
        _demand_columns(self.batch, self.contract, self.source, columns)
        return row_group_parts(self.source, groups, number), _Place(self.at.source + 1)

    def csv(self, number: int, remaining_seconds: Callable[[], float]) -> tuple[list[Part], _Place]:
        """Up to the end of the object, or of the invocation."""
        source, start = self.source, self.at.position
        if not start:
            columns, start = self.files.header(source, self.fetch)
            _demand_columns(self.batch, self.contract, source, columns)
        cutter = CsvCutter(source, start, self.at.first_row, number)
        made: list[Part] = []
        text, behind = b"", start
        while behind < source.size:
            if made and remaining_seconds() < SPARE_SECONDS:
                return made, _Place(self.at.source, cutter.start, cutter.first_row)
            stop = min(behind + SCAN_BYTES, source.size)
            text, behind = text + self.fetch(behind, stop), stop
            found = records(text, last=behind == source.size)
            self._demand_closed(found, len(text), cutter)
            made += cutter.take(found)
            text = text[int(found.ends[-1]) :] if len(found.ends) else text
        return [*made, *cutter.rest()], _Place(self.at.source + 1)

    def _demand_closed(self, found: Records, size: int, cutter: CsvCutter) -> None:
        longer = np.flatnonzero(np.diff(found.ends, prepend=0, append=size) > MAX_RECORD_BYTES)
        if longer.size:
            row = cutter.first_row + cutter.rows + int((~found.blank[: longer[0]]).sum())
            raise DatasetInvalidError(
                "the input cannot be read",
                [
                    Fault(
                        f"s3://{self.batch.bucket}/{self.source.key}",
                        f"row {row:,}: a quoted value does not end within 1 MiB",
                    )
                ],
                next_step="correct the quotes of that row, or remove it",
            )


def _demand_columns(batch: Batch, contract: Contract, source: Source, columns: Sequence[str]) -> None:
    needed = [feature.name for feature in contract.features if feature.missing == "reject"]
    lacking = [name for name in needed if name not in columns]
    if lacking:
        where = f"s3://{batch.bucket}/{source.key}"
        raise DatasetInvalidError(
            f"{where} lacks columns that {batch.model} needs: {', '.join(lacking)}; it has {', '.join(columns[:50])}",
            next_step="rename the columns as in the model's spec",
        )


# --- scored -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answering:
    """A version ready to answer, with the rule that stands in for it."""

    scorer: Scorer
    rulebook: Rulebook
    detector: Detector | None
    fallback: Fallback | None

    @classmethod
    def of(cls, scorer: Scorer, fallback: Fallback | None) -> Self:
        """Make a version ready."""
        return cls(scorer, Rulebook.of(scorer.contract), Detector.of(scorer.contract), fallback)


@dataclass(slots=True)
class Opened:
    """The last version that was opened, kept for the next part of the same batch."""

    artifacts: Artifacts
    load: ScorerLoader
    _kept: tuple[tuple[str, str | None], Answering] | None = field(default=None, init=False)

    def of(self, batch: Batch) -> Answering:
        """Raises ArtifactRejectedError, NotFoundError."""
        name = batch.artifact_sha256, batch.fallback_sha256
        if self._kept is None or self._kept[0] != name:
            scorer = self.load(self.artifacts.get_verified(batch.artifact_key, batch.artifact_sha256))
            fallback = None
            if batch.fallback_key is not None and batch.fallback_sha256 is not None:
                fallback = Fallback.from_bytes(self.artifacts.get_verified(batch.fallback_key, batch.fallback_sha256))
            self._kept = name, Answering.of(scorer, fallback)
        return self._kept[1]


def score_part(task: ScoreTask, *, objects: BatchObjects, files: PartFiles, opened: Opened) -> PartScored:
    """Score one part, unless its output is there. The side file comes first: an output is there with all that belongs
    to it.

    Raises:
        DatasetInvalidError: its rows cannot be read.
        InputChangedError: the input was changed or removed after the batch had begun.
    """
    batch, part = recorded(Address.parse(task.output, "output"), objects, task.record_sha256), task.part
    known = batch.faulty(part, objects.facts(batch.output_of(part)))
    if known is not None:
        return PartScored(rows=part.rows, faulty=known, kept=True)
    version = opened.of(batch)
    contract = version.scorer.contract
    source = next(each for each in batch.sources if each.key == part.key)
    fetch = _fetch(batch, source, objects)
    rows = files.rows_of(batch.format, part, source.size, contract, ids=batch.ids, fetch=fetch)
    if rows.count != part.rows:
        where = part.where(batch.bucket)
        raise DatasetInvalidError(f"{where}: read {rows.count:,} of {part.rows:,} rows")
    found = answer_rows(version, rows)
    if found.faults:
        objects.put(batch.errors_of(part), files.write_faults(part.first_row, rows, found), _TYPES["csv"], {})
    data = files.write(batch.format, part.first_row, rows, found, contract)
    objects.put(batch.output_of(part), data, _TYPES[batch.format], batch.facts(part, len(found.faults)))
    return PartScored(rows=part.rows, faulty=len(found.faults), kept=False)


def answer_rows(version: Answering, rows: Rows) -> Answers:
    """What a request would get, for each row: the version's answer, the fallback's where that breaks a rule or is
    no number, or the faults."""
    contract = version.scorer.contract
    found = Answers.empty(contract, rows.count)
    for row in np.flatnonzero(suspects(contract, rows)).tolist():
        faults = faults_of(contract, rows, row)
        if faults:
            found.faults[row] = faults
    good = np.ones(rows.count, dtype=bool)
    good[list(found.faults)] = False
    kept = np.flatnonzero(good)
    texts = text_scores(contract, rows, version.detector) if version.detector else []
    for start in range(0, len(kept), BLOCK_ROWS):
        block = kept[start : start + BLOCK_ROWS]
        given = inputs(contract, rows, block)
        lost = fill(contract, found, block, version.scorer.score(given))
        _stand_in(version, rows, found, lost.tolist(), "did not give a finite number")
        _mark(version, rows, found, block, given, texts=[column[block] for column in texts])
        answered = block[~found.fallback[block]].tolist() if version.rulebook.rules else []
        for row, names in broken_rules(contract, version.rulebook, rows, found, answered).items():
            found.rule[row] = names[0]
            _stand_in(version, rows, found, [row], f"broke the rule {names[0]!r}")
    return found


def _mark(
    version: Answering, rows: Rows, found: Answers, block: Column, given: Inputs, *, texts: Sequence[Column]
) -> None:
    """Mark the rows that lie far from those of training, and let the fallback answer them where the guard wants it and
    there is one. `texts` are the block's rows of `text_scores`."""
    if version.detector is None:
        return
    places = block[version.detector.unusual_of(given.numeric, texts)]
    places = places[~found.fallback[places]]
    if found.faults:
        places = places[[row not in found.faults for row in places.tolist()]]
    found.unusual[places] = True
    if version.detector.answer == "fallback" and version.fallback is not None:
        for row in places.tolist():
            with suppress(ModelFailedError):  # the version's own answer stays
                _answer_instead(version, version.fallback, rows, found, row)


def _stand_in(version: Answering, rows: Rows, found: Answers, places: Sequence[int], why: str) -> None:
    contract = version.scorer.contract
    for row in places:
        if version.fallback is None:
            forget(contract, found, row, [Fault("", f"the model {why}, and has no fallback")])
            continue
        try:
            _answer_instead(version, version.fallback, rows, found, row)
        except ModelFailedError as error:
            failed = Fault("", f"the model {why}, and its fallback could not answer either: {error.message}")
            forget(contract, found, row, [failed])


def _answer_instead(version: Answering, fallback: Fallback, rows: Rows, found: Answers, row: int) -> None:
    """Put the fallback's answer in the place of a row's. Raises ModelFailedError: it has none that keeps the rules."""
    instance = rows.instance(version.scorer.contract, row)
    version.rulebook.demand_kept([instance], fallback.answers([instance]))
    fill(version.scorer.contract, found, np.array([row]), np.array([fallback.rule.score(instance)]))
    found.fallback[row] = True


# --- ended ------------------------------------------------------------------------------------------------------------


def note(task: NoteTask, *, objects: BatchObjects) -> Noted:
    """Keep why a part could not be scored, for whoever asks."""
    batch = recorded(Address.parse(task.output, "output"), objects, task.record_sha256)
    said = {"error": task.error, "message": _said(task.cause), "by_input": task.by_input}
    objects.put(batch.failure_of(task.part), encoded(said), _JSON, {})
    return Noted(part=task.part)


def _said(cause: str) -> str:
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause[:1_000]


def finish(task: FinishTask, *, objects: BatchObjects, ledger: BatchLedger, clock: Clock) -> Finished:
    """Look at the output of every part; when all are there, and with all their rows, write the totals and record them.

    Raises:
        DatasetInvalidError: parts are missing, each because of the input.
        UnavailableError: too many batches of the model are being recorded at once.
    """
    home = Address.parse(task.output, "output")
    batch, parts = recorded(home, objects, task.record_sha256), parts_in(objects.document(parts_of(home)))
    with ThreadPoolExecutor(_THREADS) as pool:
        facts = pool.map(objects.facts, [batch.output_of(part) for part in parts])
        faulty = [batch.faulty(part, each) for part, each in zip(parts, facts, strict=True)]
    missing = [part for part, count in zip(parts, faulty, strict=True) if count is None]
    if missing:
        with ThreadPoolExecutor(_THREADS) as pool:
            notes = list(pool.map(partial(_noted, batch, objects), missing))
        reason = _why(batch, missing, notes, len(parts))
        if all(said and said.get("by_input") for said in notes):
            raise DatasetInvalidError(reason)
        return Finished(complete=False, reason=reason)
    end = ledger.find(batch.model, key_of(batch.batch_id, Act.COMPLETE))  # then the totals get the same bytes again
    totals = counted(parts) | {
        "faulty": sum(count or 0 for count in faulty),
        "batch_id": batch.batch_id,
        "model": batch.model,
        "version": batch.version,
        "artifact_sha256": batch.artifact_sha256,
        "input": batch.input,
        "started_by": batch.started_by,
        "started_at": batch.started_at,
        "ended_at": (end.at if end else clock.now()).isoformat(),
    }
    success = encoded(totals)
    objects.put(success_of(home), success, _JSON, {})
    ledger.append(completed(batch, success))
    return Finished(complete=True, reason="")


def _noted(batch: Batch, objects: BatchObjects, part: Part) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(objects.document(batch.failure_of(part.number)))
    except NotFoundError:
        return None
    return found


def _why(batch: Batch, missing: Sequence[Part], notes: Sequence[Mapping[str, Any] | None], parts: int) -> str:
    """What is missing, with the reason of the first such part of each object."""
    reasons: dict[str, str] = {}
    for part, said in zip(missing, notes, strict=True):
        reason = f"{said['error']}: {said['message']}" if said else "no reason was recorded"
        reasons.setdefault(part.key, f"part {part.number} ({part.where(batch.bucket)}): {reason}")
    listed = [*reasons.values()][:_MOST_NAMED]
    if more := len(reasons) - len(listed):
        listed.append(f"and {english.count(more, 'more object')}")
    return (
        f"{len(missing)} of {english.count(parts, 'part')} {english.noun(len(missing), 'was', 'were')} not "
        f"scored; {'; '.join(listed)}"
    )
