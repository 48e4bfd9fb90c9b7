"""What holds for every drift statistic of the registry, whichever it is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.monitoring import findings
from tidegate.domain.profiles import profile
from tidegate.domain.profiles.drift import ColumnFinding, DriftOutcome, DriftPolicy, FaultFinding, Report, judge
from tidegate.domain.profiles.profile import Layout, Profile, count, reference
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.drift.registry import COMPARED, DISTANCES, RISES
from tidegate.kernel.drift.statistic import Distance, Rise
from tidegate.kernel.drift.volume import VOLUME
from tidegate.kernel.table import Table
from tidegate.spec.model import json_schema
from tidegate.spec.monitoring import MonitoringRules

COUNTS = st.lists(st.integers(1, 5_000), min_size=2, max_size=12)
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
every_rise = pytest.mark.parametrize("rise", RISES.values(), ids=RISES)


@every_distance
@given(counts=COUNTS, times=st.integers(1, 3))
def test_a_distance_of_equal_shares_is_nothing_whatever_the_sizes(
    distance: Distance, counts: list[int], times: int
) -> None:
    assert distance.measure(counts, counts) == pytest.approx(0, abs=1e-7)
    many = [1_000_000 * each for each in counts]
    assert distance.measure(many, [times * each for each in many]) == pytest.approx(0, abs=1e-6)


@every_distance
@given(cells=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=2, max_size=12))
def test_a_distance_is_finite_and_no_smaller_than_nothing_and_has_no_direction(
    distance: Distance, cells: list[tuple[int, int]]
) -> None:
    held = [(was, now) for was, now in cells if was or now]
    before, now = ([pair[side] for pair in held] for side in (0, 1))
    if not (sum(before) and sum(now)):
        return
    found = distance.measure(before, now)
    assert -1e-12 <= found <= (distance.most or math.inf) + 1e-12
    assert distance.measure(now, before) == pytest.approx(found, abs=1e-12)
    assert distance.measure(before[::-1], now[::-1]) == pytest.approx(found, abs=1e-12)


@every_distance
@given(counts=COUNTS, cell=st.integers(0, 11))
def test_the_more_rows_move_to_one_cell_the_larger_is_the_distance(
    distance: Distance, counts: list[int], cell: int
) -> None:
    before = [1_000.0 * each for each in counts]
    rows, there = sum(before), cell % len(before)

    def moved(share: float) -> list[float]:
        return [(1 - share) * each + (share * rows if index == there else 0) for index, each in enumerate(before)]

    found = [distance.measure(before, moved(share)) for share in (0, 0.1, 0.3, 0.6, 0.9)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_what_features_are_compared_by_is_bounded_and_registered() -> None:
    assert DISTANCES[COMPARED.name] is COMPARED
    assert COMPARED.most is not None


@every_distance
def test_the_spec_has_the_threshold_of_a_distance_and_its_words(distance: Distance) -> None:
    assert MonitoringRules().thresholds[distance.name] == distance.threshold == DriftPolicy().thresholds[distance.name]
    field = json_schema()["$defs"][MonitoringRules.__name__]["properties"][distance.name]
    assert field["default"] == distance.threshold
    assert field["exclusiveMinimum"] == 0
    assert distance.label in field["description"]
    rules = MonitoringRules.model_validate({distance.name: 0.5})
    assert rules.thresholds == MonitoringRules().thresholds | {distance.name: 0.5}


CONTRACT = Contract(
    model="toy",
    task="binary",
    features=(
        FeatureContract("size", "numeric", minimum=-1e6, maximum=1e6, missing="allow"),
        FeatureContract("colour", "categorical", categories=("blue", "red"), missing="allow"),
    ),
    classes=(False, True),
)


def table(rows: int, seed: int, *, shift: float = 0.0, grid: float = 0.5) -> Table:
    chance = np.random.default_rng(seed)
    size = np.round(chance.normal(shift, 3, rows) / grid) * grid
    return Table({"size": size, "colour": chance.choice(["blue", "red"], rows)})


def profiles(live: Table) -> tuple[Layout, Profile, Profile]:
    trained = table(20_000, 1)
    score = np.random.default_rng(2).random(len(trained))
    layout, known = reference(CONTRACT, trained, score=score, label=score > 0.5, target=score > 0.6)
    return layout, known, count(layout, live)


@every_distance
def test_a_column_drifts_by_one_distance_alone_and_its_report_says_how_far(distance: Distance) -> None:
    layout, known, live = profiles(table(5_000, 3, shift=3.0))
    others = dict.fromkeys(DISTANCES, math.inf)
    policy = DriftPolicy(thresholds=others | {distance.name: distance.threshold})
    report: Report = judge(layout, known, live, policy)
    (size, colour) = report.features.findings
    assert isinstance(size, ColumnFinding)
    assert (size.outcome, colour.outcome) == (DriftOutcome.DRIFTED, DriftOutcome.NONE)
    assert f"{distance.label} {size.distances[distance.name]:.3f}" in size.statement
    document = report.to_json()["features"]["findings"][0]
    assert document[distance.name] == size.distances[distance.name]
    assert judge(layout, known, live, DriftPolicy(thresholds=others)).features.outcome is DriftOutcome.NONE


def with_faults(rise: Rise, share: float) -> tuple[Layout, Profile, Profile]:
    """The same profile, but for a share of the first column's rows that have this fault."""
    layout, known, live = profiles(table(5_000, 3))
    counts = list(live.features[0])
    for cell in range(len(counts) - 5):
        faulty = round(share * counts[cell])
        counts[cell], counts[rise.cell] = counts[cell] - faulty, counts[rise.cell] + faulty
    features = (tuple(counts), *live.features[1:])
    return layout, known, Profile(**{name: getattr(live, name) for name in live.__slots__} | {"features": features})


@every_rise
def test_a_rise_is_drift_from_its_threshold_on_and_only_in_its_own_name(rise: Rise) -> None:
    def risen(share: float) -> list[str]:
        quality = judge(*with_faults(rise, share), DriftPolicy()).quality
        return [
            finding.fault
            for finding in quality.findings
            if isinstance(finding, FaultFinding) and finding.outcome is DriftOutcome.DRIFTED
        ]

    assert risen(0) == risen(rise.threshold / 2) == []
    assert risen(2 * rise.threshold) == risen(0.5) == [rise.name]


@every_rise
def test_a_rise_is_counted_in_its_cell_and_named_for_people(rise: Rise) -> None:
    assert rise.cell == getattr(profile, rise.name.upper())
    assert vars(findings)["RISES"][rise.name] is rise
    statement = judge(*with_faults(rise, 0.5), DriftPolicy()).quality.statement
    assert rise.numbers in statement
    assert rise.between or rise.texts
    assert 0 <= rise.unfixable <= 1


@given(usual=st.lists(st.integers(0, 10_000), min_size=8, max_size=40), more=st.integers(0, 10_000))
def test_usual_traffic_is_usual_and_what_is_further_away_is_no_more_usual(usual: list[int], more: int) -> None:
    middle, low, high = VOLUME.usual(usual)
    assert 0 <= low <= middle <= high
    assert not VOLUME.unusual(round(middle), [max(each, 1) for each in usual]) or middle < 1
    if VOLUME.unusual(math.ceil(high) + more, usual):
        assert VOLUME.unusual(math.ceil(high) + more + 1, usual)
    if low > 1:
        assert VOLUME.unusual(math.floor(low - 1e-9) - min(more, math.floor(low - 1e-9)), usual)
