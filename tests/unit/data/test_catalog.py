"""A dataset version ends READY with all that is known of it, or FAILED with a sentence that helps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders.release import ReleaseHouse
from tests.builders.tables import to_csv, trips
from tidegate.domain.data.dataset import ColumnType, DatasetStatus, given_up
from tidegate.kernel.errors import NotFoundError, UnavailableError
from tidegate.messages import RegisterDataset
from tidegate.ml.frames import PandasReader
from tidegate.steps.data.catalog import catalog


@pytest.fixture
def house() -> ReleaseHouse:
    made = ReleaseHouse()
    made.describe(pii=("driver",), outcome=("delay",))
    return made


def test_a_registered_version_knows_its_schema_rows_time_and_quality(house: ReleaseHouse) -> None:
    columns = trips(100)
    columns["wind"][0] = None
    for values in columns.values():
        values.append(values[-1])  # the last row twice
    ready = house.register(house.upload(to_csv(columns)))
    assert (ready.status, ready.rows, ready.duplicate_rows, ready.problem) == (DatasetStatus.READY, 101, 1, "")
    assert ready.types["at"] is ColumnType.TIME
    assert (ready.time_from, ready.time_to) == (
        datetime.fromisoformat(columns["at"][0]).replace(tzinfo=UTC),
        datetime.fromisoformat(columns["at"][-1]).replace(tzinfo=UTC),
    )
    profile = {column.name: column for column in ready.columns}
    assert profile["wind"].missing == pytest.approx(1 / 101)
    assert profile["line"].distinct == 3
    assert profile["driver"].top == ()
    assert house.catalog.dataset("trips").latest == ready.version


def test_registering_twice_changes_nothing(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(50)))
    first = house.register(version)
    house.files.objects.clear()
    assert house.register(version) == first


def test_the_order_of_files_does_not_change_the_table(house: ReleaseHouse) -> None:
    one, two = to_csv(trips(40, seed=1)), to_csv(trips(40, seed=2))
    there, back = house.upload(one, two), house.upload(two, one)
    assert there.version == back.version
    assert house.register(back).rows == 80


def test_every_column_that_people_name_must_be_there(house: ReleaseHouse) -> None:
    house.describe(pii=("drivr",), outcome=("delay", "arrival"), time="att")
    failed = house.register(house.upload(to_csv(trips(30))))
    assert failed.status is DatasetStatus.FAILED
    for word in ("pii.drivr", "did you mean 'driver'?", "outcome.arrival", "time.att", "add the files again"):
        assert word in failed.problem
    assert failed.columns == ()
    assert house.catalog.dataset("trips").latest is None


def test_a_time_column_must_hold_times(house: ReleaseHouse) -> None:
    house.describe(time="line")
    problem = house.register(house.upload(to_csv(trips(30)))).problem
    assert "time.line: is a text column" in problem
    assert f"30 of 30 values (100.00%) are not times: the first, {trips(30)['line'][0]!r}, is in row 1" in problem


def test_bytes_that_were_changed_after_the_upload_are_refused(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))
    house.files.objects[version.files[0].key] += b"T1,,,,,,,\n"
    failed = house.register(version)
    assert failed.status is DatasetStatus.FAILED
    assert "part0.csv: does not match the announced SHA-256" in failed.problem


def test_a_file_that_never_came_is_named(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))
    house.files.objects.clear()
    assert "part0.csv: was not uploaded" in house.register(version).problem


def test_a_failed_version_can_be_brought_to_its_end_later(house: ReleaseHouse) -> None:
    content = to_csv(trips(30))
    version = house.upload(content)
    house.files.objects.clear()
    assert house.register(version).status is DatasetStatus.FAILED
    house.files.upload("trips", content)
    assert house.register(version).status is DatasetStatus.READY


def test_a_service_that_does_not_answer_leaves_the_version_as_it_was(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))

    class Slow(type(house.files)):  # type: ignore[misc]
        def read(self, key: str) -> bytes:
            raise UnavailableError("S3 did not answer")

    with pytest.raises(UnavailableError):
        house.step(catalog, RegisterDataset(dataset="trips", version=version.version), files=Slow())
    assert house.catalog.version("trips", version.version).status is DatasetStatus.REGISTERING


def test_a_fault_of_ours_is_recorded_and_raised(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))

    class Broken(PandasReader):
        def read(self, *_: Any) -> Any:
            raise ZeroDivisionError("driver Martinez")

    with pytest.raises(ZeroDivisionError):
        house.step(catalog, RegisterDataset(dataset="trips", version=version.version), reader=Broken())
    failed = house.catalog.version("trips", version.version)
    assert failed.status is DatasetStatus.FAILED
    assert "ZeroDivisionError" in failed.problem
    assert "Martinez" not in failed.problem


class Killed(BaseException):
    """What no `except` sees, as when Lambda ends a process that has no memory or no time left."""


def test_a_version_whose_reading_dies_is_given_up_with_the_reason(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))
    task = RegisterDataset(dataset="trips", version=version.version)

    class Dying(PandasReader):
        def read(self, *_: Any) -> Any:
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            house.step(catalog, task, reader=Dying())
        assert house.catalog.version("trips", version.version).status is DatasetStatus.REGISTERING
    failed = house.step(catalog, task, reader=Dying())
    assert failed.status is DatasetStatus.FAILED
    assert "ended the function 2 times" in failed.problem
    assert "add the files again" in failed.problem
    assert house.register(house.upload(to_csv(trips(30)))).status is DatasetStatus.READY


def test_attempts_that_a_service_ended_do_not_count(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))

    class Slow(type(house.files)):  # type: ignore[misc]
        def read(self, key: str) -> bytes:
            raise UnavailableError("S3 did not answer")

    for _ in range(5):
        with pytest.raises(UnavailableError):
            house.step(catalog, RegisterDataset(dataset="trips", version=version.version), files=Slow())
    assert house.register(version).status is DatasetStatus.READY


def test_a_version_that_nothing_registers_any_more_has_failed(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))
    assert given_up(version, version.added_at + timedelta(hours=2)).status is DatasetStatus.REGISTERING
    late = version.added_at + timedelta(hours=3)
    assert given_up(version, late).status is DatasetStatus.FAILED
    assert "add the files again" in given_up(version, late).problem
    ready = house.register(version)
    assert given_up(ready, late) == ready


def test_files_larger_than_memory_are_not_even_fetched(house: ReleaseHouse) -> None:
    version = house.upload(to_csv(trips(30)))
    huge = replace(version, files=tuple(replace(each, size=5 * 2**30) for each in version.files))
    house.catalog.add_version(huge)
    house.files.objects.clear()
    task = RegisterDataset(dataset="trips", version=version.version)
    failed = house.step(catalog, task, reader=PandasReader(3008))
    assert failed.status is DatasetStatus.FAILED
    assert "the files have 5,368,709,120 bytes" in failed.problem


def test_a_problem_is_a_few_sentences_however_many_names_are_wrong(house: ReleaseHouse) -> None:
    names = [f"{place}{'x' * 200}" for place in range(500)]
    failed = house.register(house.upload((",".join(names) + "\n" + ",".join("1" * 500) + "\n").encode()))
    assert failed.status is DatasetStatus.FAILED
    assert "and 480 more" in failed.problem
    assert len(failed.problem) < 5_000


def test_an_unknown_version_is_not_found(house: ReleaseHouse) -> None:
    with pytest.raises(NotFoundError):
        house.step(catalog, RegisterDataset(dataset="trips", version="0" * 16))
