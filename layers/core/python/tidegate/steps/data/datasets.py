"""The data half of the control API: describe a dataset, upload its files, register versions, exclude periods.

Registration of a version reads and profiles the files, which takes a while: it is recorded here as REGISTERING and
handed to `functions/catalog`. The record is written before the hand-over, so a crash between the two leaves something
that the same call repeated brings to its end.
"""

import base64
import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tidegate.domain.data.dataset import (
    DataFile,
    Dataset,
    DatasetStatus,
    DatasetVersion,
    Exclusion,
    content_version,
    given_up,
    weakened,
)
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, NotFoundError, RequestInvalidError
from tidegate.kernel.fault_words import did_you_mean
from tidegate.kernel.values import time_format_problem
from tidegate.ports.data import Catalog, DatasetFiles
from tidegate.ports.platform import Clock, Dispatcher
from tidegate.steps.conflicts import twice
from tidegate.steps.pages import Asked, by_name, page, walked
from tidegate.steps.requests import Column, Document, Moment, Name, Sentence, Sha256, demand_unreserved, view

MAX_FILES = 200
MAX_FILE_BYTES = 5 * 1024**3  # the most that one S3 PUT takes


class DescribeDataset(Document):
    """What people say of a dataset. `outcome` are columns known only after the fact: no model may use them. `missing`
    are words that stand for a missing value, `text` columns of texts even where each is a number, `decimal` is what
    stands before decimals, `time_format` how times are written that are not in ISO 8601. `weaker` agrees to what would
    protect the dataset less, by the paths that a refusal names, such as `outcome.arr_delay`."""

    origin: Sentence
    licence: Annotated[str, Field(min_length=1, max_length=200)]
    owner: Annotated[str, Field(min_length=3, max_length=200)]
    pii: tuple[Column, ...] = ()
    outcome: tuple[Column, ...] = ()
    time: Column | None = None
    description: Annotated[str, Field(max_length=2_000)] = ""
    missing: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=40)], ...], Field(max_length=20)] = ()
    text: tuple[Column, ...] = ()
    decimal: Literal[".", ","] = "."
    time_format: Annotated[str, Field(max_length=40)] = ""
    weaker: tuple[Annotated[str, Field(min_length=1, max_length=140)], ...] = ()

    @field_validator("time_format")
    @classmethod
    def _is_read_back(cls, value: str) -> str:
        if value and (problem := time_format_problem(value)):
            raise ValueError(f"{value!r} {problem}")
        return value


class FileEntry(Document):
    """One file of a dataset version, known by its content."""

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f]+$")]
    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=MAX_FILE_BYTES, strict=True)]


class FileList(Document):
    """The files of a dataset version; their order and names do not count towards its identity."""

    files: tuple[FileEntry, ...]

    @model_validator(mode="after")
    def _each_content_once(self) -> Self:
        if not 1 <= len(self.files) <= MAX_FILES:
            raise ValueError(f"give 1 to {MAX_FILES} files; got {len(self.files)}")
        hashes = [file.sha256 for file in self.files]
        twice = [file.name for index, file in enumerate(self.files) if file.sha256 in hashes[:index]]
        if twice:
            raise ValueError(f"the same content is listed twice: {', '.join(twice)}")
        return self


class ExcludePeriod(Document):
    """A half-open period [from, to) that must not be trained or judged on, and why."""

    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to")
    reason: Sentence

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"'from' ({self.start.isoformat()}) must be before 'to' ({self.end.isoformat()})")
        return self


class _Named(Document):
    dataset: Name


def list_datasets(asked: Asked, *, catalog: Catalog) -> dict[str, Any]:
    """A page of datasets, by name. Raises RequestInvalidError."""
    shown, following = page(asked, walked(catalog.datasets, by_name), by_name)
    return {"datasets": shown, "next": following}


def show_dataset(name: str, *, catalog: Catalog) -> dict[str, Any]:
    """What is said of a dataset. Raises NotFoundError."""
    return {"dataset": view(catalog.dataset(name))}


def describe_dataset(name: str, body: DescribeDataset, *, actor: str, catalog: Catalog, clock: Clock) -> dict[str, Any]:
    """Create a dataset or replace what is said of it; the same words again change nothing.

    `warnings` names columns that its latest version does not have: a misspelt outcome column protects nothing.

    Raises:
        RequestInvalidError: the name is none, or is reserved; with status 428, it would protect the dataset less than
            the one before, and `weaker` does not agree to all of it.
        ForbiddenError: it is the dataset of a doctor that somebody else started.
        ConflictError: others described it, twice.
    """
    _Named.read({"dataset": name})

    def describe() -> tuple[Dataset, Dataset | None]:
        try:
            before = catalog.dataset(name)
        except NotFoundError:
            before = None
        demand_unreserved(name, body.owner, made_by=before.registered_by if before else None, actor=actor)
        described = _described(name, body, before, actor, clock.now())
        if before:
            _demand_consent(before, described, body.weaker)
        if described != before:
            described = replace(described, registered_by=actor, registered_at=clock.now())
            catalog.put_dataset(described, replaces=before)
        return described, before

    described, before = twice(describe)
    answer = {"dataset": view(described), "created": before is None, "changed": described != before}
    return answer | {"warnings": _unknown_columns(described, catalog)}


def _described(name: str, body: DescribeDataset, before: Dataset | None, actor: str, now: datetime) -> Dataset:
    """As it would be: what no description says is as it was."""
    return Dataset(
        name=name,
        origin=body.origin,
        licence=body.licence,
        owner=body.owner,
        pii=body.pii,
        outcome=body.outcome,
        time=body.time,
        registered_by=before.registered_by if before else actor,
        registered_at=before.registered_at if before else now,
        latest=before.latest if before else None,
        description=body.description,
        missing=body.missing,
        text=body.text,
        decimal=body.decimal,
        time_format=body.time_format,
    )


def _demand_consent(before: Dataset, after: Dataset, agreed: Collection[str]) -> None:
    faults = weakened(before, after)
    if any(fault.path not in agreed for fault in faults):
        paths = json.dumps([fault.path for fault in faults])
        raise RequestInvalidError(
            f"this description would protect dataset {after.name} less",
            faults,
            status=HTTPStatus.PRECONDITION_REQUIRED,
            next_step=f'keep them; if you mean it, send the description again with "weaker": {paths}',
        )


def plan_uploads(name: str, body: FileList, *, catalog: Catalog, files: DatasetFiles) -> dict[str, Any]:
    """Where to send each file; one that is `present` already need not be sent. Raises NotFoundError."""
    catalog.dataset(name)
    plan = []
    for file in body.files:
        present = files.exists(files.key(name, file.sha256))
        checksum = base64.b64encode(bytes.fromhex(file.sha256)).decode()
        plan.append(
            {
                "name": file.name,
                "sha256": file.sha256,
                "present": present,
                "url": None if present else files.upload_url(name, file.sha256, file.size),
                "headers": {} if present else {"x-amz-checksum-sha256": checksum},
            }
        )
    return {"files": plan}


def add_version(
    name: str,
    body: FileList,
    *,
    actor: str,
    catalog: Catalog,
    files: DatasetFiles,
    dispatcher: Dispatcher,
    clock: Clock,
) -> dict[str, Any]:
    """Record a version of uploaded files and have it registered; the same content, read the same way, changes nothing.

    Raises:
        NotFoundError: no such dataset.
        RequestInvalidError: files that were not uploaded yet, all of them named.
    """
    dataset = catalog.dataset(name)
    missing = [
        Fault(f"files[{index}]", f"{file.name} has not been uploaded")
        for index, file in enumerate(body.files)
        if not files.exists(files.key(name, file.sha256))
    ]
    if missing:
        raise RequestInvalidError(
            f"{english.count(len(missing), 'file is', 'files are')} missing from the bucket",
            missing,
            next_step="upload them, then register again",
        )
    version = DatasetVersion(
        dataset=name,
        version=content_version((file.sha256 for file in body.files), dataset.reading),
        status=DatasetStatus.REGISTERING,
        files=tuple(DataFile(f.name, f.sha256, f.size, files.key(name, f.sha256)) for f in body.files),
        added_by=actor,
        added_at=clock.now(),
        reading=dataset.reading,
    )
    changed = catalog.add_version(version)
    if changed:
        dispatcher.register_dataset(name, version.version)
    else:
        version = catalog.version(name, version.version)
    warnings = [] if changed else _unknown_columns(dataset, catalog)
    return {"version": version.version, "status": version.status.value, "changed": changed, "warnings": warnings}


def list_versions(name: str, asked: Asked, *, catalog: Catalog, clock: Clock) -> dict[str, Any]:
    """A page of a dataset's versions, newest first, without their columns.

    Raises:
        NotFoundError: no such dataset.
        RequestInvalidError: a parameter is wrong.
    """
    catalog.dataset(name)
    show = partial(_summary, now=clock.now())
    shown, following = page(asked, walked(partial(catalog.versions, name), _position), _position, show=show)
    return {"versions": shown, "next": following}


def _position(listed: DatasetVersion | Exclusion) -> str:
    return listed.position


def _summary(version: DatasetVersion, now: datetime) -> dict[str, Any]:
    document = view(replace(given_up(version, now), columns=(), files=(), hints=()))
    del document["columns"], document["files"], document["hints"]
    counts = {"column_count": len(version.columns), "file_count": len(version.files)}
    return dict(document) | counts


def show_version(name: str, version: str, *, catalog: Catalog, clock: Clock) -> dict[str, Any]:
    """One version with schema and quality profile, without a value of personal data; `latest` is the newest ready one.
    Raises NotFoundError."""
    found = catalog.version(name, None if version == "latest" else version)
    personal = catalog.dataset(name).pii
    columns = (each.without_values if each.name in personal else each for each in found.columns)
    hints = (hint for hint in found.hints if not hint.startswith(tuple(f"{column}: " for column in personal)))
    found = replace(found, columns=tuple(columns), hints=tuple(hints))
    return {"version": view(given_up(found, clock.now()))}


def list_exclusions(name: str, asked: Asked, *, catalog: Catalog) -> dict[str, Any]:
    """A page of excluded periods, by start. Raises NotFoundError, RequestInvalidError.

    All of them are read for it, as every training does: people write them one by one.
    """
    catalog.dataset(name)

    def walk(after: str, _: int) -> list[Exclusion]:
        return [each for each in catalog.exclusions(name) if each.position > after]

    shown, following = page(asked, walk, _position)
    return {"exclusions": shown, "next": following}


def exclude_period(name: str, body: ExcludePeriod, *, actor: str, catalog: Catalog, clock: Clock) -> dict[str, Any]:
    """Exclude a period from training and judging; the same period, reason and author again change nothing.

    Raises:
        NotFoundError: no such dataset.
        RequestInvalidError: the dataset has no time column, so no row would ever be excluded.
    """
    if catalog.dataset(name).time is None:
        raise RequestInvalidError(
            f"dataset {name} has no time column, so no row would be excluded",
            next_step=f"name it first: tidegate data add {name} ... --time COLUMN",
        )
    exclusion = Exclusion(
        dataset=name,
        exclusion_id=_exclusion_id(name, body.start, body.end, body.reason, actor),
        start=body.start,
        end=body.end,
        reason=body.reason,
        author=actor,
        at=clock.now(),
    )
    known = {before.exclusion_id: before for before in catalog.exclusions(name)}
    if exclusion.exclusion_id in known:
        return {"exclusion": view(known[exclusion.exclusion_id]), "changed": False}
    catalog.exclude(exclusion)
    return {"exclusion": view(exclusion), "changed": True}


def _exclusion_id(dataset: str, start: datetime, end: datetime, reason: str, author: str) -> str:
    joined = "\n".join([dataset, start.isoformat(), end.isoformat(), reason, author])
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def _unknown_columns(dataset: Dataset, catalog: Catalog) -> list[str]:
    if dataset.latest is None:
        return []
    names = list(catalog.version(dataset.name).types)
    warnings = []
    for role, column in dataset.roles:
        if column not in names:
            hint = did_you_mean(column, names)
            warnings.append(f"{role} column {column!r} is not in version {dataset.latest}{hint}")
    return warnings
