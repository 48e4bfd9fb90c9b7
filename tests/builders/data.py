"""A dataset and its versions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidegate.domain.data.dataset import (
    ColumnProfile,
    ColumnType,
    DataFile,
    Dataset,
    DatasetStatus,
    DatasetVersion,
)

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
DATASET = Dataset(
    name="flights",
    origin="BTS",
    licence="CC0",
    owner="ops",
    pii=("tailnum",),
    outcome=("dep_delay", "arr_delay"),
    time="time_hour",
    registered_by="ann",
    registered_at=AT,
)
REGISTERING = DatasetVersion(
    dataset="flights",
    version="0123456789abcdef",
    status=DatasetStatus.REGISTERING,
    files=(DataFile("flights.csv", "a" * 64, 1234, "datasets/flights/" + "a" * 64),),
    added_by="ann",
    added_at=AT,
)
READY = replace(
    REGISTERING,
    status=DatasetStatus.READY,
    rows=336_776,
    columns=(
        ColumnProfile("carrier", ColumnType.TEXT, 0.0, 16, top=(("UA", 58665), ("B6", 54635))),
        ColumnProfile("distance", ColumnType.INTEGER, 0.01, 214, low=17.0, high=4983.0, mean=1039.9126036297123),
    ),
    time_from=AT - timedelta(days=365),
    time_to=AT,
    duplicate_rows=3,
)


def described_meanwhile(catalog: Any, monkeypatch: pytest.MonkeyPatch, **said: Any) -> None:
    """Somebody else describes the dataset right after it is read for the first time from now on."""
    read = catalog.dataset

    def reading(name: str) -> Dataset:
        found: Dataset = read(name)
        monkeypatch.setattr(catalog, "dataset", read)
        at = found.registered_at + timedelta(hours=1)
        others = replace(found, registered_by="arn:aws:iam::1:user/eve", registered_at=at, **said)
        catalog.put_dataset(others, replaces=found)
        return found

    monkeypatch.setattr(catalog, "dataset", reading)
