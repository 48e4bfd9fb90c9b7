"""What ports.Catalog promises, held against the fake and against DynamoDB (moto)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders.data import AT, DATASET, READY, REGISTERING
from tidegate.domain.data.dataset import (
    ColumnProfile,
    ColumnType,
    DatasetStatus,
    Exclusion,
)
from tidegate.kernel.errors import ConflictError, NotFoundError


@pytest.fixture
def with_dataset(catalog: Any) -> Any:
    catalog.put_dataset(DATASET)
    return catalog


def test_a_dataset_comes_back_as_it_was_described(catalog: Any) -> None:
    catalog.put_dataset(DATASET)
    assert catalog.dataset("flights") == DATASET
    catalog.put_dataset(replace(DATASET, name="airports", time=None))
    assert [dataset.name for dataset in catalog.datasets()] == ["airports", "flights"]
    assert [dataset.name for dataset in catalog.datasets(limit=1)] == ["airports"]
    assert [dataset.name for dataset in catalog.datasets(after="airports")] == ["flights"]


def test_describing_a_dataset_again_keeps_its_latest_version(with_dataset: Any) -> None:
    with_dataset.finish_version(READY)
    with_dataset.put_dataset(replace(DATASET, owner="data team", time=None), replaces=DATASET)
    dataset = with_dataset.dataset("flights")
    assert (dataset.owner, dataset.time, dataset.latest) == ("data team", None, READY.version)


def test_of_two_who_describe_a_dataset_at_once_the_later_one_is_refused(with_dataset: Any) -> None:
    ana = replace(DATASET, outcome=("arr_delay",), registered_by="ana", registered_at=AT + timedelta(minutes=1))
    ben = replace(DATASET, owner="ben", registered_by="ben", registered_at=AT + timedelta(minutes=1))
    with_dataset.put_dataset(ana, replaces=DATASET)
    with_dataset.put_dataset(ana, replaces=DATASET)  # the same call again, whose answer was lost
    for replaced in (DATASET, None):
        with pytest.raises(ConflictError, match="described by somebody else"):
            with_dataset.put_dataset(ben, replaces=replaced)
    assert with_dataset.dataset("flights") == ana
    with_dataset.put_dataset(ben, replaces=ana)
    assert with_dataset.dataset("flights") == ben


def test_a_finished_version_is_the_latest(with_dataset: Any) -> None:
    assert with_dataset.add_version(REGISTERING) is True
    with pytest.raises(NotFoundError):
        with_dataset.version("flights")
    with_dataset.finish_version(READY)
    assert with_dataset.version("flights") == READY == with_dataset.version("flights", READY.version)


def test_adding_the_same_ready_content_again_is_answered_with_false(with_dataset: Any) -> None:
    with_dataset.add_version(REGISTERING)
    assert with_dataset.add_version(REGISTERING) is True
    with_dataset.finish_version(READY)
    assert with_dataset.add_version(REGISTERING) is False
    assert with_dataset.version("flights").status is DatasetStatus.READY


def test_a_failed_registration_is_kept_but_not_the_latest_and_may_be_tried_again(with_dataset: Any) -> None:
    failed = replace(REGISTERING, status=DatasetStatus.FAILED, problem="not a CSV")
    with_dataset.add_version(REGISTERING)
    with_dataset.finish_version(failed)
    assert with_dataset.version("flights", failed.version).problem == "not a CSV"
    assert with_dataset.dataset("flights").latest is None
    assert with_dataset.add_version(REGISTERING) is True


def test_a_repeated_outcome_does_not_turn_the_latest_back(with_dataset: Any) -> None:
    newer = replace(READY, version="f" * 16, added_at=AT + timedelta(days=1))
    for version in (READY, newer, READY, replace(READY, status=DatasetStatus.FAILED)):
        with_dataset.finish_version(version)
    assert with_dataset.dataset("flights").latest == newer.version
    assert with_dataset.version("flights", READY.version) == READY
    assert [version.version for version in with_dataset.versions("flights")] == [newer.version, READY.version]


def test_versions_come_in_parts_newest_first_whatever_their_hashes_are(with_dataset: Any) -> None:
    added = {"c" * 16: 3, "a" * 16: 1, "b" * 16: 2, "d" * 16: 2}
    for version, days in added.items():
        with_dataset.add_version(replace(READY, version=version, added_at=AT + timedelta(days=days)))
    whole = with_dataset.versions("flights")
    assert [each.version[0] for each in whole] == ["c", "d", "b", "a"]
    assert with_dataset.versions("flights", limit=2) == whole[:2]
    for place, last in enumerate(whole, 1):
        assert with_dataset.versions("flights", after=last.position, limit=2) == whole[place : place + 2]


def test_the_outcome_of_an_unknown_dataset_is_not_stored(catalog: Any) -> None:
    with pytest.raises(NotFoundError):
        catalog.finish_version(READY)
    assert catalog.versions("flights") == []


def test_a_profile_of_a_very_wide_table_is_kept_whole(with_dataset: Any) -> None:
    columns = tuple(
        ColumnProfile(
            f"a rather long column name, number {number}",
            ColumnType.TEXT,
            number / 2000,
            number,
            top=tuple((f"value {entry} of column {number}", 1000 - entry) for entry in range(10)),
        )
        for number in range(2000)
    )
    wide = replace(READY, columns=columns)
    with_dataset.finish_version(wide)
    assert with_dataset.version("flights") == wide


def test_exclusions_are_listed_by_start_and_never_change(with_dataset: Any) -> None:
    strike = Exclusion("flights", "e2", AT, AT + timedelta(days=2), "strike", "ann", AT)
    storm = replace(strike, exclusion_id="e1", start=AT - timedelta(days=9), reason="storm")
    with_dataset.exclude(strike)
    with_dataset.exclude(storm)
    with_dataset.exclude(strike)
    assert with_dataset.exclusions("flights") == [storm, strike]
    with pytest.raises(ConflictError):
        with_dataset.exclude(replace(strike, reason="something else"))
    with pytest.raises(NotFoundError):
        with_dataset.exclude(replace(strike, dataset="ghost"))


def test_what_is_not_there_is_not_found(catalog: Any) -> None:
    for look in (lambda: catalog.dataset("ghost"), lambda: catalog.version("ghost"), lambda: catalog.version("g", "v")):
        with pytest.raises(NotFoundError):
            look()
    assert catalog.datasets() == catalog.versions("ghost") == catalog.exclusions("ghost") == []
