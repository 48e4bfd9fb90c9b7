"""What the memory benchmark computes from processor time."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.cost import PRICES
from scripts.benchmarks import memory
from scripts.benchmarks.memory import SIZES_MB, VCPU_MB, Work

WORK = Work(
    answer_ms=1.0,
    answer_p99_ms=2.0,
    answer_100_ms=4.0,
    after_ms=0.5,
    init_ms=300.0,
    first_ms=30.0,
    resident_mib=150.0,
    sessions_share=0.5,
)
CURVE = [memory.point(WORK, size) for size in SIZES_MB]


def row(size: int) -> dict[str, Any]:
    return memory.point(WORK, size)


def test_a_whole_vcpu_takes_what_was_measured_and_half_of_one_twice_as_long() -> None:
    assert row(VCPU_MB)["cold_ms"] == 330.0
    assert memory.stretched(10.0, VCPU_MB // 2) == pytest.approx(20.0, rel=1e-2)


def test_more_than_one_vcpu_makes_one_thread_no_faster() -> None:
    assert row(3008)["warm_ms"] == row(VCPU_MB)["warm_ms"]
    assert row(3008)["usd_per_million"] > row(VCPU_MB)["usd_per_million"]


def test_the_bill_is_whole_milliseconds_times_memory_and_the_request() -> None:
    billed = math.ceil((1.0 + 0.5) * VCPU_MB / 1024 + 10.0)
    assert row(1024)["billed_ms"] == billed
    usd = 1e6 * (billed / 1e3 * 1.0 * PRICES["lambda-x86_64"].each) + 0.20
    assert row(1024)["usd_per_million"] == pytest.approx(usd, abs=1e-4)


@given(st.integers(512, 10_239))
def test_more_memory_never_answers_later(size: int) -> None:
    less, more = row(size), row(size + 1)
    assert all(more[name] <= less[name] for name in ("warm_ms", "p99_ms", "warm_100_ms", "cold_ms", "billed_ms"))
    assert more["fits"] or not less["fits"]


def test_a_function_fits_when_there_is_room_for_its_artifacts_too() -> None:
    assert memory.fits(WORK, 300)
    assert not memory.fits(WORK, 299)


def test_the_cheapest_size_is_one_that_fits_and_keeps_to_the_limit() -> None:
    assert memory.cheapest(CURVE, "p99_ms", 1_000) == 512
    assert memory.cheapest(CURVE, "cold_ms", 1_000) == 768
    assert memory.cheapest(CURVE, "cold_ms", 329.9) is None
    roomy = [each | {"fits": each["memory_mb"] > 1_000} for each in CURVE]
    assert memory.cheapest(roomy, "p99_ms", 1_000) == 1_024


def test_a_provisioned_environment_costs_the_same_at_its_break_even() -> None:
    found = memory.break_even(row(VCPU_MB))
    requests = found["per_second"] * 30 * 86_400
    gb_seconds = requests * row(VCPU_MB)["billed_ms"] / 1e3 * VCPU_MB / 1024
    on_demand = gb_seconds * PRICES["lambda-x86_64"].each
    assert found["usd_a_month"] + gb_seconds * 0.0000097222 == pytest.approx(on_demand, rel=1e-2)
    assert found["busy_share"] == pytest.approx(0.6, abs=1e-3)


def test_rare_requests_find_no_environment_and_frequent_ones_do() -> None:
    shares = [memory.cold_share(gap) for gap in memory.GAPS_SECONDS]
    assert shares == sorted(shares)
    assert shares[0] < 1e-9
    assert memory.cold_share(memory.KEPT_SECONDS) == pytest.approx(math.exp(-1))


def test_snapstart_costs_its_snapshot_even_when_nothing_starts() -> None:
    always, seldom = memory.starts(WORK, 1024, 1), memory.starts(WORK, 1024, 3_600)
    kept = 0.0000015046 * 30 * 86_400
    assert always["snap_start_usd"] - always["on_demand_usd"] == pytest.approx(kept, abs=0.01)
    restored = 720 * seldom["cold_share"] * (0.0001397998 - 300 * VCPU_MB / 1024 / 1e3 * PRICES["lambda-x86_64"].each)
    assert seldom["snap_start_usd"] - seldom["on_demand_usd"] == pytest.approx(kept + restored, abs=0.01)


def test_tables_and_plot_show_every_size() -> None:
    figures = {
        "cpu": {name: getattr(WORK, name) for name in Work.__slots__},
        "curve": CURVE,
        "targets": [{"target_ms": 50.0, "warm_mb": 512, "cold_mb": None}],
        "provisioned": {"memory_mb": VCPU_MB, **memory.break_even(row(VCPU_MB))},
        "starts": [memory.starts(WORK, VCPU_MB, gap) for gap in memory.GAPS_SECONDS],
    }
    shown = list(memory.tables(figures))
    assert all(len(cells) == len(headings) for _, headings, rows in shown for cells in rows)
    assert [cells[0] for cells in shown[1][2]] == [str(size) for size in SIZES_MB]
    assert shown[2][2] == [["50", "512", "none"]]
    picture = memory.plot(CURVE, 768)
    assert all(f"{size} MB" in picture for size in SIZES_MB)
