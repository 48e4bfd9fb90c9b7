"""Register a dataset version: read its uploaded files, check that they are one table, and record schema and quality.

A version ends READY with everything recorded, or FAILED with a sentence that says why. A call that dies, out of memory
or of time, leaves its attempt recorded; the same call repeated tries again, and gives up after `MAX_ATTEMPTS`.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from tidegate.domain.data.checks import odd_texts, unknown_role_faults
from tidegate.domain.data.dataset import ColumnType, DataFile, Dataset, DatasetStatus, DatasetVersion
from tidegate.kernel.errors import DatasetInvalidError, Fault, InvalidInputError, NotFoundError, UnavailableError
from tidegate.messages import RegisterDataset
from tidegate.ports.data import Catalog, DatasetFiles, Frame, FrameReader

MAX_FAULTS_SHOWN = 20
MAX_HINTS = 20
MAX_PROBLEM = 4_000  # letters
MAX_ATTEMPTS = 2  # Lambda makes one more, which says so
_DIED = (
    f"reading the files ended the function {MAX_ATTEMPTS} times, probably for lack of memory or time; give fewer rows "
    "or columns, or deploy with more training_memory_mb, then add the files again"
)


def catalog(task: RegisterDataset, *, catalog: Catalog, files: DatasetFiles, reader: FrameReader) -> DatasetVersion:
    """Bring a version that is being registered to READY or FAILED; one that is READY already is left as it is.

    Raises:
        NotFoundError: no such dataset or version.
        UnavailableError: a service did not answer; calling again goes on.
    """
    version = catalog.version(task.dataset, task.version)
    if version.status is DatasetStatus.READY:
        return version
    dataset = catalog.dataset(task.dataset)
    if version.attempts >= MAX_ATTEMPTS:
        return _ended(version, catalog, status=DatasetStatus.FAILED, problem=_DIED)
    catalog.add_version(replace(version, status=DatasetStatus.REGISTERING, attempts=version.attempts + 1))
    try:
        finished = _read(dataset, version, files, reader)
    except InvalidInputError as error:
        return _ended(version, catalog, status=DatasetStatus.FAILED, problem=_sentence(error))
    except UnavailableError:
        with suppress(UnavailableError):
            catalog.add_version(version)
        raise
    except Exception as error:
        problem = f"the files could not be read ({type(error).__name__}); add them again. If that fails too, "
        _ended(version, catalog, status=DatasetStatus.FAILED, problem=f"{problem}read the log of the function catalog")
        raise
    return _ended(finished, catalog)


def _ended(version: DatasetVersion, catalog: Catalog, **changes: Any) -> DatasetVersion:
    catalog.finish_version(replace(version, attempts=0, **changes))
    return catalog.version(version.dataset, version.version)


def read_version(
    version: DatasetVersion, files: DatasetFiles, reader: FrameReader, kinds: Mapping[str, str] | None = None
) -> Frame:
    """The table of a dataset version; files go in the order of their hashes, so that a version has one order of rows.
    Captured predictions are the last rows. `kinds` are those of a spec's features.

    Raises:
        DatasetInvalidError: a file is not there or does not match its SHA-256, or the files do not make one table.
    """
    last = version.captured.sha256 if version.captured else ""
    ordered = sorted(version.files, key=lambda file: (file.sha256 == last, file.sha256))
    size, most = sum(file.size for file in ordered), reader.most_bytes
    if most is not None and size > most:
        problem = f"the files have {size:,} bytes; at most {most:,} fit into the memory there is"
        raise DatasetInvalidError(problem, next_step="give fewer rows, or deploy with more training_memory_mb")
    faults: list[Fault] = []
    contents: dict[str, bytes] = {}
    for file in ordered:
        try:
            data = files.read(file.key)
        except NotFoundError:
            faults.append(Fault(file.name, "was not uploaded"))
            continue
        if hashlib.sha256(data).hexdigest() != file.sha256:
            faults.append(Fault(file.name, f"does not match the announced SHA-256 {file.sha256[:12]}..."))
            continue
        contents[_label(file, ordered)] = data
    if faults:
        raise DatasetInvalidError("the files cannot be used", faults, next_step="upload them again")
    return reader.read(contents, version.reading, kinds or {})


def _read(dataset: Dataset, version: DatasetVersion, files: DatasetFiles, reader: FrameReader) -> DatasetVersion:
    frame = read_version(version, files, reader)
    faults = unknown_role_faults(frame.types, dataset.roles)
    if dataset.time and frame.types.get(dataset.time, ColumnType.TIME) is not ColumnType.TIME:
        problem = f"is a {frame.types[dataset.time]} column; write times as 2013-05-31T18:00:00"
        if frame.types[dataset.time] is ColumnType.TEXT:
            texts = frame.table([dataset.time])[dataset.time]
            problem += odd_texts("time", texts, version.reading, shown=dataset.time not in dataset.pii)
        faults.append(Fault(f"time.{dataset.time}", problem))
    if faults:
        next_step = f"correct the files or the description of dataset {dataset.name}, then add the files again"
        raise DatasetInvalidError(
            "the columns do not match the description of the dataset", faults, next_step=next_step
        )
    period = frame.period(dataset.time) if dataset.time else None
    return replace(
        version,
        status=DatasetStatus.READY,
        rows=len(frame),
        columns=frame.profiles(private=dataset.pii),
        hints=frame.hints(private=dataset.pii)[:MAX_HINTS],
        time_from=period[0] if period else None,
        time_to=period[1] if period else None,
        duplicate_rows=len(frame) - len(np.unique(frame.row_hashes())),
        problem="",
    )


def _label(file: DataFile, files: list[DataFile]) -> str:
    """The name people know the file by; two of one name are distinguished by their hash."""
    return file.name if [other.name for other in files].count(file.name) == 1 else f"{file.name} ({file.sha256[:8]})"


def _sentence(error: InvalidInputError) -> str:
    shown = "; ".join(str(fault) for fault in error.faults[:MAX_FAULTS_SHOWN])
    more = len(error.faults) - MAX_FAULTS_SHOWN
    shown += f"; and {more} more" if more > 0 else ""
    said = f"{error.summary}: {shown}" if shown else error.summary
    return said[:MAX_PROBLEM] + (f". Next: {error.next_step}" if error.next_step else "")
