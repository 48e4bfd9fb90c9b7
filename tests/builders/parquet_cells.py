"""What the cells of a Parquet file mean, and what every reader of files makes of them."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from tidegate.domain.batch.batch import Part, Source
from tidegate.domain.data.dataset import DECLARED, ColumnType
from tidegate.domain.serving.contract import Contract, FeatureContract, Kind
from tidegate.ml import batches
from tidegate.ml.frames import PandasFrame, PandasReader

KINDS: dict[ColumnType, Kind] = {
    ColumnType.NUMBER: "numeric",
    ColumnType.INTEGER: "numeric",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TEXT: "categorical",
    ColumnType.TIME: "time",
}

Cells = dict[str, list[Any]]


def meant(value: Any) -> Any:
    """What the rules say of a cell: a moment in UTC, a text, a float64 or nothing."""
    match value:
        case datetime():
            utc = value.astimezone(UTC) if value.tzinfo else value
            return utc.replace(tzinfo=None)
        case date():
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001
        case bytes():
            return value.decode()
        case uuid.UUID():
            return str(value)
        case None | str():
            return value or None  # an empty text is missing
    return float(value)


def of(frame: PandasFrame) -> Cells:
    """Its cells as `meant` has them."""
    table = frame.table(frame.types)
    found: Cells = {}
    for name, kind in frame.types.items():
        values = table[name].tolist()
        if kind is ColumnType.TEXT:
            missing = frame._data[name].isna()
            found[name] = [None if gap else value for gap, value in zip(missing, values, strict=True)]
        else:
            found[name] = [None if value is None or value != value else value for value in values]  # noqa: PLR0124
    return found


def everywhere(data: bytes) -> Iterator[tuple[str, Cells]]:
    """By reader: of `data add`, of trainings, which know the kinds, and of batches."""
    frame = PandasReader().read({"a.parquet": data})
    kinds = {name: KINDS[kind] for name, kind in frame.types.items()}
    yield "data add", of(frame)
    yield "training", of(PandasReader().read({"a.parquet": data}, DECLARED, kinds))
    contract = Contract("m", "regression", tuple(FeatureContract(name, kind) for name, kind in kinds.items()))
    part = Part(0, "a.parquet", "", 0, len(batches.row_groups(_source(data), _fetch(data))[1]), 0, len(frame))
    rows = batches.rows_of("parquet", part, len(data), contract, ids=(), fetch=_fetch(data))
    yield (
        "batch",
        {
            name: [_in_batch(rows.given[name].value(row, kind), kind) for row in range(len(frame))]
            for name, kind in kinds.items()
        },
    )


def _source(data: bytes) -> Source:
    return Source("a.parquet", "", len(data))


def _fetch(data: bytes) -> batches.Fetch:
    return lambda start, stop: data[start:stop]


def _in_batch(value: Any, kind: Kind) -> Any:
    if value is None or kind == "categorical":
        return value
    return datetime.fromisoformat(value) if kind == "time" else float(value)
