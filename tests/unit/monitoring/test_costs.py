"""What is used adds up, what it costs and is worth, and which hours stand out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.monitoring.costs import (
    LEAST_HOURS,
    Bill,
    Prices,
    Spent,
    Usage,
    Value,
    cost,
    days_before,
    last_complete,
    net_per_1000,
    spike,
    summed,
    value,
)
from tidegate.domain.serving.capture import hour_of

AT = datetime(2026, 1, 12, 12, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = hour_of(AT - 2 * HOUR)
PRICES = Prices(gb_second=0.0000166667, request=1.2e-6, gb_month=0.023, memory_mb=2048)
FREE_STORAGE = Prices(gb_second=1.0, request=0.0, gb_month=0.0, memory_mb=1024)

eighths = st.integers(0, 10**6).map(lambda number: number / 8)  # sums of which are exact
usages = st.builds(Usage, eighths, eighths, eighths, st.integers(0, 10**6), st.integers(0, 10**6))


def seconds(amount: float, requests: float = 10, stored: int = 0, version: str = "1") -> Spent:
    """An hour that costs so many dollars at FREE_STORAGE."""
    return Spent({version: Usage(requests, requests, 1e3 * amount)}, stored)


def days(*spent: Spent) -> dict[str, Spent]:
    """The same hour of the days before, yesterday first."""
    return {hour_of(AT - 2 * HOUR - timedelta(days=day)): each for day, each in enumerate(spent, start=1)}


@given(st.lists(usages, max_size=6), st.randoms())
def test_usages_add_up_in_any_order(found: list[Usage], chance: object) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sum(found, Usage()) == sum(shuffled, Usage())
    assert sum(found, Usage()).right == sum(each.right for each in found)


@given(usages)
def test_a_usage_is_five_numbers_and_comes_back(usage: Usage) -> None:
    numbers = usage.to_json()
    assert len(numbers) == 5
    back = Usage.from_json(numbers)
    assert back.billed_ms == pytest.approx(usage.billed_ms, abs=0.051)
    assert (back.requests, back.predictions, back.right, back.wrong) == (
        usage.requests,
        usage.predictions,
        usage.right,
        usage.wrong,
    )


def test_cost_is_time_by_memory_requests_and_a_month_of_bytes() -> None:
    shown = cost(Usage(requests=1_000_000, predictions=3_000_000, billed_ms=15e6), 2**30, PRICES)
    assert shown.compute == pytest.approx(15_000 * 2 * 0.0000166667)
    assert shown.requests == pytest.approx(1.2)
    assert shown.storage == pytest.approx(0.023)
    assert shown.total == pytest.approx(shown.compute + 1.2 + 0.023)


def test_bytes_are_shared_by_predictions_and_the_parts_cost_what_the_whole_does() -> None:
    spent = Spent({"3": Usage(75, 75, 900.0), "fallback": Usage(25, 25, 100.0), "4": Usage(billed_ms=50.0)}, 1_000)
    assert {name: part.stored_bytes for name, part in spent.parts.items()} == {"3": 750, "fallback": 250, "4": 0}
    assert sum(part.usd(PRICES) for part in spent.parts.values()) == pytest.approx(spent.usd(PRICES))
    assert summed(list(spent.parts.values())) == spent


def test_value_counts_labelled_decisions_and_net_is_of_a_thousand() -> None:
    usage = Usage(requests=2_000, predictions=2_000, right=80, wrong=20)
    declared = Value(correct=0.40, wrong=1.50)
    assert value(usage, declared) == pytest.approx(80 * 0.40 - 20 * 1.50)
    net = net_per_1000(Spent({"1": replace(usage, billed_ms=500.0)}), FREE_STORAGE, declared)
    assert net == pytest.approx(1_000 * 2 / 100 - 0.25)


def test_each_that_answers_counts_by_its_share_of_the_decisions_whatever_share_is_labelled() -> None:
    mostly_right = Usage(900, 900, right=9)
    seldom_asked = Usage(100, 100, wrong=100)
    spent = Spent({"1": mostly_right, "fallback": seldom_asked})
    assert net_per_1000(spent, FREE_STORAGE, Value(1.0, 1.0)) == pytest.approx(900 - 100)
    unlabelled = Spent({"1": mostly_right, "fallback": Usage(100, 100, 1e3)})
    assert net_per_1000(unlabelled, FREE_STORAGE, Value(1.0, 1.0)) == pytest.approx(1_000 - 1)


def test_there_is_no_net_without_labels_a_value_or_dollars() -> None:
    spent = Spent({"1": Usage(requests=10, predictions=10, right=1)})
    assert net_per_1000(Spent({"1": Usage(requests=10, predictions=10)}), PRICES, Value(1.0)) is None
    assert net_per_1000(spent, PRICES, None) is None
    assert net_per_1000(spent, PRICES, Value(1.0, currency="EUR")) is None
    assert net_per_1000(spent, PRICES, Value(1.0)) is not None


@pytest.mark.parametrize(
    ("minute", "complete"), [(10, "2026-01-12-10"), (29, "2026-01-12-10"), (30, "2026-01-12-11"), (59, "2026-01-12-11")]
)
def test_an_hour_is_complete_half_an_hour_after_its_end(minute: int, complete: str) -> None:
    assert last_complete(AT.replace(minute=minute)) == complete


def test_days_end_with_the_hour_itself() -> None:
    assert days_before("2026-01-12-12", 1) == "2026-01-11-13"


# Spikes


def shown(hours: dict[str, Spent], now: Spent) -> str:
    found = spike(hours | {NOW: now}, NOW, FREE_STORAGE)
    return found.sentence if found else ""


def test_more_than_three_times_the_same_hours_of_the_week_stands_out() -> None:
    week = days(*[seconds(1.0) for _ in range(7)])
    assert shown(week, seconds(3.0)) == ""
    assert "cost 3.1000 USD, 3.1 times the usual 1.0000" in shown(week, seconds(3.1))


def test_the_same_hour_of_the_day_says_what_is_usual_however_quiet_the_others_are() -> None:
    nights = {hour_of(AT - hour * HOUR): seconds(0.1) for hour in range(3, 23)}
    assert shown(nights | days(seconds(2.0), seconds(2.0), seconds(2.0)), seconds(2.0)) == ""
    assert shown(nights | days(seconds(2.0), seconds(2.0)), seconds(2.0)) != ""


def test_hours_of_more_than_a_week_ago_say_nothing() -> None:
    old = days(*[seconds(1.0) for _ in range(7)], *[seconds(100.0) for _ in range(20)])
    assert shown(old, seconds(3.1)) != ""


def test_a_few_hours_are_nothing_to_compare_with_and_cents_are_no_spike() -> None:
    hours = [seconds(0.001) for _ in range(LEAST_HOURS)]
    assert shown(days(*hours[1:]), seconds(9.0)) == ""
    assert shown(days(*hours), seconds(0.01)) == ""
    assert shown(days(*hours), seconds(0.011)) != ""
    assert spike(days(*hours), NOW, FREE_STORAGE) is None


def test_what_grew_is_named_with_the_version_that_grew_most() -> None:
    week = days(*[seconds(1.0, requests=100, stored=1_000) for _ in range(4)])
    assert "grew most: requests, 1,000 instead of 100" in shown(week, seconds(9.0, requests=1_000, stored=2_000))
    assert "grew most: ms a request, 400 instead of 10" in shown(week, seconds(40.0, requests=100, stored=1_000))
    assert "grew most: bytes stored, 900,000 instead of 1,000" in shown(
        week, seconds(4.0, requests=100, stored=900_000)
    )
    now = seconds(1.2, requests=100) + seconds(8.0, requests=10, version="2")
    assert "version 2 grew most" in shown(week, now)
    assert "the fallback grew most" in shown(week, seconds(9.0, version="fallback"))


# The bill


def test_a_bill_comes_back_and_says_the_same() -> None:
    hours = days(*[seconds(1.0) for _ in range(3)]) | {NOW: seconds(5.0)}
    bill = Bill(hours, hour_of(AT), NOW, FREE_STORAGE, Value(0.4, 1.5))
    back = Bill.from_json(bill.to_json())
    assert back == bill
    assert back.spike is not None
    assert bill.to_json()["spike"] == back.spike.sentence
    assert bill.since(hour_of(AT - timedelta(days=1, hours=3))).total.billed_ms == pytest.approx(6_000)


def test_value_is_a_metric_only_where_dollars_are_declared() -> None:
    spent = Spent({"1": Usage(1, 1, 10.0, right=3, wrong=1)}, 10)
    names = {"Requests", "BilledMs", "StoredBytes", "CostUSD"}
    assert set(Bill({}, NOW, NOW, PRICES).metrics(spent)) == names
    assert set(Bill({}, NOW, NOW, PRICES, Value(1.0, currency="EUR")).metrics(spent)) == names
    assert Bill({}, NOW, NOW, PRICES, Value(1.0, 0.5)).metrics(spent)["ValueUSD"] == pytest.approx(2.5)
