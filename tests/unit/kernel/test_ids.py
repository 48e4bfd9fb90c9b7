import re
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tidegate.kernel.ids import RANDOM_BYTES, run_id, uuid7, uuid7_time, uuid7s

AT = datetime(2026, 1, 5, 12, 30, 15, 123456, tzinfo=UTC)
CHANCE = bytes(range(RANDOM_BYTES))


def test_a_prediction_id_is_a_uuid_of_version_7_with_its_time_inside():
    made = uuid.UUID(uuid7(AT, CHANCE))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == int(AT.timestamp() * 1000)


def test_ids_of_one_moment_are_those_of_their_randomness():
    chance = bytes(range(100, 100 + 5 * RANDOM_BYTES))
    each = [chance[start : start + RANDOM_BYTES] for start in range(0, len(chance), RANDOM_BYTES)]
    assert uuid7s(AT, chance) == [uuid7(AT, part) for part in each]
    assert [uuid.UUID(one).int & ((1 << 62) - 1) for one in uuid7s(AT, chance)] == [
        int.from_bytes(part) & ((1 << 62) - 1) for part in each
    ]
    assert uuid7s(AT, b"") == []


def test_ids_sort_by_time_down_to_the_microsecond():
    times = [AT + timedelta(microseconds=step) for step in range(0, 3000, 7)]
    for chance in (b"\xff" * RANDOM_BYTES, b"\0" * RANDOM_BYTES):
        ids = [uuid7(at, chance) for at in times]
        assert ids == sorted(ids)
        assert len(set(ids)) == len(ids)


def test_the_time_of_an_id_is_read_back_to_the_millisecond():
    assert uuid7_time(uuid7(AT, CHANCE)) == AT.replace(microsecond=123000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "019b8e3a-9a00-4000-8000-000000000001",
        "019B8E3A-9A00-7000-8000-000000000001",
        "019b8e3a9a0070008000000000000001",
        "ffffffff-ffff-7000-8000-000000000000",
    ],
)
def test_what_is_no_such_id_has_no_time(text):
    with pytest.raises(ValueError, match=r"UUID of version 7|beyond the calendar"):
        uuid7_time(text)


def test_two_ids_of_one_moment_differ_by_chance_alone():
    assert uuid7(AT, CHANCE) == uuid7(AT, CHANCE)
    assert uuid7(AT, CHANCE) != uuid7(AT, CHANCE[::-1])


def test_the_moment_counts_not_the_zone_it_is_given_in():
    berlin = AT.astimezone(timezone(timedelta(hours=1)))
    assert uuid7(berlin, CHANCE) == uuid7(AT, CHANCE)
    assert run_id(berlin, "4f9c2a") == run_id(AT, "4f9c2a") == "r-20260105t123015123-4f9c2a"


def test_run_ids_sort_by_time_and_may_name_an_execution():
    ids = [run_id(AT + timedelta(milliseconds=step), "ff") for step in range(0, 5000, 333)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) for name in ids)
