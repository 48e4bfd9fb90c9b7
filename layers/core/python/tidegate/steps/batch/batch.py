"""Batch predictions as people ask for them: start one, or go on with it, and look at how far it is.

Of one version: the champion when the batch was asked for. Asking for the same again goes on with what is missing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from tidegate.domain.batch.batch import (
    MAX_SOURCES,
    TOTALS,
    Batch,
    Format,
    Part,
    Source,
    format_of,
    identity,
    parts_of,
    record_of,
    success_of,
)
from tidegate.domain.batch.batch_ledger import Act, BatchEntry, begun, key_of
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import START_WITHIN
from tidegate.kernel import english
from tidegate.kernel.address import Address, folder
from tidegate.kernel.errors import (
    ArtifactRejectedError,
    ConflictError,
    Fault,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from tidegate.kernel.roles import caller
from tidegate.ports.batch import Attempt, BatchLedger, BatchObjects, BatchRuns
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, RouteReader
from tidegate.steps.requests import Column, Document

_FIRST = {"source": 0, "position": 0, "first_row": 1, "parts": 0, "pages": 0, "rows": 0}
Places = Sequence[tuple[str, str]]  # a pattern of callers, and a bucket and a folder


class StartBatch(Document):
    """`input` is an object or a folder of CSV or Parquet, `output` a folder; `ids` are columns to pass on, those of the
    model's spec when left out."""

    input: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    output: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    ids: Annotated[tuple[Column, ...], Field(max_length=20)] | None = None


def start_batch(
    model: str,
    body: StartBatch,
    *,
    actor: str,
    places: Places,
    models: Models,
    routes: RouteReader,
    objects: BatchObjects,
    batches: BatchRuns,
    ledger: BatchLedger,
    clock: Clock,
) -> dict[str, Any]:
    """Record what is asked for in the output itself, and start scoring; of an output that this batch owns already, go
    on with what is missing, by the version it began with.

    Raises:
        NotFoundError: no such model.
        ForbiddenError: input or output lie elsewhere than the caller's batches may read and write.
        InvalidInputError: input or output are no addresses, or hold nothing to score.
        ConflictError: nothing serves, or the output belongs to another batch.
        ArtifactRejectedError: Tidegate did not write the record in the output.
        UnavailableError: too many batches of the model are being recorded at once.
    """
    spec = models.spec(model)
    home, asked = _home(body.output, actor, places), _allowed(body.input, "input", actor, places)
    if home.key.startswith(folder(asked).key) and home.bucket == asked.bucket:
        raise InvalidInputError(
            "the output folder is inside the input folder", [Fault("output", f"{home} is under {asked}")]
        )
    sources = tuple(objects.sources(asked, MAX_SOURCES))
    if not sources:
        raise InvalidInputError(
            "the input has nothing to score",
            [
                Fault(
                    "input",
                    f"there is no object at {asked}; empty objects and names that begin with _ or . are skipped",
                )
            ],
        )
    if len(sources) > MAX_SOURCES:
        raise InvalidInputError(
            "the input has too many objects", [Fault("input", f"more than {MAX_SOURCES:,} objects")]
        )
    ids = tuple(spec.ids) if body.ids is None else body.ids
    kind = format_of(sources)
    wanted = _pinned(
        _serving(model, routes),
        asked=asked,
        home=home,
        kind=kind,
        ids=ids,
        sources=sources,
        actor=actor,
        at=clock.now().isoformat(),
    )
    record = encoded(wanted.to_json())
    if objects.create(record_of(home), record):
        batch = wanted
    else:
        record = _record(home, objects)
        batch = _read(home, record)
        _demand_same(batch, wanted)
        if not _begun(batch, record, ledger) and replace(batch, started_at=wanted.started_at) != wanted:
            raise _foreign(home)
    latest = batches.latest(batch.batch_id)
    success = _success(batch, objects, ledger)
    resumed = latest is not None and not latest.running and success is None
    if success is None and (latest is None or not latest.running):
        number = latest.number + 1 if latest else 1
        entry = begun(batch, record, number, actor=actor, at=clock.now())
        ledger.append(entry)
        _start(entry, number, batches)
        latest = Attempt(number, "RUNNING")
    return _shown(batch, latest, success, objects, clock.now()) | {"resumed": resumed}


def start_recorded_batch(entry: BatchEntry, *, batches: BatchRuns, clock: Clock) -> bool:
    """Start the attempt that an entry of the ledger is about, whoever else does; False when it could not be started
    within `START_WITHIN`: the batch is then shown as failed, and the same request starts it.

    Raises:
        Exception: it cannot be started now; call again.
    """
    if entry.attempt is None:
        return True
    try:
        _start(entry, entry.attempt, batches)
    except Exception:  # whatever it is, nobody else would start the attempt
        if clock.now() - entry.at < START_WITHIN:
            raise
        return False
    return True


def _start(entry: BatchEntry, number: int, batches: BatchRuns) -> None:
    given = {"output": entry.output, "record_sha256": entry.record_sha256, "cursor": _FIRST}
    batches.start(entry.batch_id, number, given)


def show_batch(
    model: str,
    output: str | None,
    *,
    actor: str,
    places: Places,
    objects: BatchObjects,
    batches: BatchRuns,
    ledger: BatchLedger,
    clock: Clock,
) -> dict[str, Any]:
    """How far the batch is that owns an output.

    Raises:
        ForbiddenError: the output lies elsewhere than the caller's batches may read and write.
        InvalidInputError: the output is no address.
        NotFoundError: it belongs to no batch of the model.
        ArtifactRejectedError: Tidegate did not write the record in the output.
    """
    home = _home(output or "", actor, places)
    record = _record(home, objects)
    batch = _read(home, record)
    if batch.model != model:
        raise NotFoundError(f"{home} is the output of a batch of model {batch.model!r}, not of {model!r}")
    if not _begun(batch, record, ledger):
        raise _unknown(home)
    return _shown(batch, batches.latest(batch.batch_id), _success(batch, objects, ledger), objects, clock.now())


def _home(output: str, actor: str, places: Places) -> Address:
    return folder(_allowed(output, "output", actor, places))


def _allowed(text: str, path: str, actor: str, places: Places) -> Address:
    """The address, which must lie where the caller's batches may read and write: functions do both, with rights of
    their own."""
    address, name = Address.parse(text, path), caller(actor)
    own = [place for who, place in places if fnmatchcase(name, who)]
    if not address.within(own):
        listed = english.listed(f"s3://{place}" for place in own) if own else "no place"
        raise ForbiddenError(
            f"batches of {name} cannot use {address} as {path}; they can use {listed}",
            next_step=f"choose another {path}, or ask the people who deploy the stage to add the place for {name} to "
            "the deployment setting batch_places",
        )
    return address


def _serving(model: str, routes: RouteReader) -> Route:
    route = routes.route(model)
    if route is None or route.champion is None:
        raise ConflictError(f"model {model!r} serves no version", next_step=f"tidegate train {model}")
    if route.killed:
        raise ConflictError(
            f"model {model!r} is switched off", next_step=f"its owner resumes it: tidegate resume {model}"
        )
    return route


def _pinned(
    route: Route,
    *,
    asked: Address,
    home: Address,
    kind: Format,
    ids: tuple[str, ...],
    sources: tuple[Source, ...],
    actor: str,
    at: str,
) -> Batch:
    served, fallback = route.champion, route.fallback
    assert served is not None  # noqa: S101  _serving has seen to it
    return Batch(
        batch_id=identity(route.model, served.version, sources, str(home), ids),
        model=route.model,
        version=served.version,
        artifact_key=served.artifact_key,
        artifact_sha256=served.artifact_sha256,
        fallback_key=fallback.key if fallback else None,
        fallback_sha256=fallback.sha256 if fallback else None,
        input=str(asked),
        output=str(home),
        format=kind,
        ids=ids,
        sources=sources,
        started_by=actor,
        started_at=at,
    )


def _demand_same(batch: Batch, wanted: Batch) -> None:
    """The version may be another one by now: a batch is finished by the one that began it."""
    differs = [
        Fault(name, f"is {getattr(wanted, name)!s}, it was {getattr(batch, name)!s}")
        for name in ("model", "input", "ids")
        if getattr(wanted, name) != getattr(batch, name)
    ]
    if not differs and wanted.sources != batch.sources:
        before, now = set(batch.sources), set(wanted.sources)
        keys = sorted({source.key for source in before ^ now})
        differs = [Fault("input", f"{key} was changed, added or removed") for key in keys[:5]]
    if differs:
        listed = "; ".join(map(str, differs))
        raise ConflictError(
            f"{batch.output} belongs to a batch that began at {batch.started_at} and differs: {listed}",
            next_step="choose another --output",
        )


def _read(home: Address, record: bytes) -> Batch:
    """The batch of a record, which is this output's and has the id that follows from the rest."""
    try:
        batch = Batch.from_json(json.loads(record))
        batch_id = identity(batch.model, batch.version, batch.sources, str(home), batch.ids)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _foreign(home) from None
    if (batch.output, batch.batch_id) != (str(home), batch_id):
        raise _foreign(home)
    return batch


def _begun(batch: Batch, record: bytes, ledger: BatchLedger) -> bool:
    """Whether the ledger knows the batch. People may write into an output: what stands there must then be the record
    with which it began, byte by byte."""
    start = ledger.find(batch.model, key_of(batch.batch_id, Act.START, 1))
    if start is not None and start.record_sha256 != hashlib.sha256(record).hexdigest():
        raise _foreign(batch.home)
    return start is not None


def _foreign(home: Address) -> ArtifactRejectedError:
    return ArtifactRejectedError(
        f"{record_of(home)} was not written by Tidegate, or was changed since", next_step="choose another --output"
    )


def recorded(home: Address, objects: BatchObjects, sha256: str) -> Batch:
    """The batch that owns an output, for an attempt at it.

    Args:
        sha256: of its record when the attempt began, which the ledger has: people may write there too. Empty for
            attempts that began before 0.2.0.

    Raises:
        NotFoundError: no batch owns it.
        ArtifactRejectedError: the record was changed since.
    """
    record = _record(home, objects)
    if sha256 and hashlib.sha256(record).hexdigest() != sha256:
        raise ArtifactRejectedError(
            f"{record_of(home)} was changed after the attempt began", next_step="choose another --output"
        )
    return Batch.from_json(json.loads(record))


def _record(home: Address, objects: BatchObjects) -> bytes:
    try:
        return objects.document(record_of(home))
    except NotFoundError:
        raise _unknown(home) from None


def _unknown(home: Address) -> NotFoundError:
    return NotFoundError(f"{home} is not the output of a batch", next_step="start it: tidegate predict --help")


def _success(batch: Batch, objects: BatchObjects, ledger: BatchLedger) -> bytes | None:
    """The totals of a batch that is complete, as the ledger has their hash; None while they are not in its output."""
    end = ledger.find(batch.model, key_of(batch.batch_id, Act.COMPLETE))
    if end is None:
        return None
    try:
        found = objects.document(success_of(batch.home))
    except NotFoundError:
        return None
    return found if hashlib.sha256(found).hexdigest() == end.success_sha256 else None


def _shown(
    batch: Batch, latest: Attempt | None, success: bytes | None, objects: BatchObjects, now: datetime
) -> dict[str, Any]:
    about = {
        "batch_id": batch.batch_id,
        "model": batch.model,
        "version": batch.version,
        "input": batch.input,
        "output": batch.output,
        "format": batch.format,
        "started_by": batch.started_by,
        "started_at": batch.started_at,
        "attempt": latest.number if latest else 0,
    }
    if success is not None:
        totals = TOTALS.read(success)
        done = {"parts": totals["parts"], "rows": totals["rows"]}
        return {"batch": about | {"status": "succeeded", "planned": done, "done": done, "totals": totals, "reason": ""}}
    status, reason = _status(latest, now - datetime.fromisoformat(batch.started_at))
    planned, done = _progress(batch, objects)
    return {"batch": about | {"status": status, "planned": planned, "done": done, "totals": None, "reason": reason}}


def _status(latest: Attempt | None, age: timedelta) -> tuple[str, str]:
    """Of a batch that is not complete, and why it failed."""
    if latest is not None:
        return ("running", "") if latest.running else ("failed", latest.reason or latest.status.lower())
    if age < START_WITHIN:
        return "requested", ""
    return "failed", f"it was recorded and not started within {START_WITHIN / timedelta(minutes=1):.0f} minutes"


def _progress(batch: Batch, objects: BatchObjects) -> tuple[dict[str, int] | None, dict[str, int]]:
    """Parts and rows that there are to score, once that is known, and those that are scored."""
    try:
        parts = parts_in(objects.document(parts_of(batch.home)))
    except NotFoundError:
        return None, {"parts": 0, "rows": 0}
    names = objects.names(batch.home, "part-")
    scored = [part for part in parts if f"{part.name}.{batch.format}" in names]
    return counted(parts), counted(scored)


def counted(parts: Sequence[Part]) -> dict[str, int]:
    """How many parts, and rows in them."""
    return {"parts": len(parts), "rows": sum(part.rows for part in parts)}


def parts_in(data: bytes) -> list[Part]:
    """Read a list of parts."""
    return [Part(**part) for part in json.loads(data)]


def encoded(document: object) -> bytes:
    """JSON without spaces."""
    return json.dumps(document, separators=(",", ":")).encode()
