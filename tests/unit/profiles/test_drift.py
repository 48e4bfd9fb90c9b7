"""Verdicts on drift: agreement with scipy, cases, and how often a window without drift is called drifted."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from tests.builders.profiles import CONTRACT, FEATURES, LAYOUT, POLICY, REFERENCE, answers, columns, report, window
from tidegate.domain.profiles.drift import (
    DriftOutcome,
    DriftPolicy,
    FaultFinding,
    compare,
    judge,
    judge_volume,
)
from tidegate.domain.profiles.profile import captured, count, reference
from tidegate.domain.profiles.significance import adjust, chi_square_tail, rise_p_value

NONE, DRIFTED, LITTLE = DriftOutcome.NONE, DriftOutcome.DRIFTED, DriftOutcome.INSUFFICIENT_DATA


@pytest.mark.parametrize("degrees", [1, 2, 3, 10, 11, 199, 1000])
@pytest.mark.parametrize("statistic", [1e-9, 0.5, 3.84, 12.0, 200.0, 5000.0])
def test_the_chi_square_tail_is_that_of_scipy(degrees, statistic):
    assert chi_square_tail(statistic, degrees) == pytest.approx(stats.chi2.sf(statistic, degrees), rel=1e-9, abs=1e-300)


@given(st.integers(0, 60), st.integers(1, 3000), st.integers(0, 60), st.integers(1, 3000))
def test_the_test_on_rising_shares_is_fishers_exact_test(events, rows, reference_events, reference_rows):
    rows, reference_rows = rows + events, reference_rows + reference_events
    found = rise_p_value(events, rows, reference_events, reference_rows)
    if events / rows > reference_events / reference_rows:
        square = [[events, rows - events], [reference_events, reference_rows - reference_events]]
        assert found == pytest.approx(stats.fisher_exact(square, alternative="greater")[1], rel=1e-6, abs=1e-12)
    else:
        assert found == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_those_of_benjamini_and_hochberg(p_values):
    assert adjust(p_values) == pytest.approx(stats.false_discovery_control(p_values), abs=1e-12)


def test_with_enough_rows_in_every_cell_test_and_distance_are_the_textbooks():
    before, now = [500, 300, 200, 90], [60, 25, 30, 20]
    found = compare(before, now)
    assert found.p_value == pytest.approx(stats.chi2_contingency([before, now], correction=False)[1])
    assert found.distances["jensen_shannon"] == pytest.approx(distance.jensenshannon(before, now, base=2))
    p, q = np.asarray(before) / sum(before), np.asarray(now) / sum(now)
    assert found.distances["psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=0.05)


def test_rare_cells_are_pooled_until_ten_rows_are_expected():
    before, now = [5000, 4000, 3, 2, 1, 0, 40], [500, 400, 0, 1, 0, 0, 4]
    pooled = compare([5000, 4000, 46], [500, 400, 5])
    assert compare(before, now) == pooled
    assert compare([10, 1], [1, 0]).p_value == 1.0  # nothing is left to compare


def test_a_constant_with_one_rare_exception_is_compared_by_the_exception_alone():
    assert compare([49_993, 7], [500, 0]).p_value == 1.0
    assert compare([49_993, 7], [499, 1]).p_value > 0.05
    assert compare([49_993, 7], [490, 10]).p_value < 1e-10


def test_many_rare_categories_are_still_compared_in_groups():
    before, now = [100] * 200, [5] * 100 + [0] * 100
    assert compare(before, now).p_value < 1e-6
    assert compare(before, [2] * 200).p_value > 0.9


def test_a_new_value_that_fills_the_window_is_seen_though_it_is_rare_in_total():
    for before in ([50_000, 49_000, 0], [50_000, 49_000, 20]):
        found = compare(before, [200, 200, 100])
        assert found.p_value < 1e-20
        assert found.distances["jensen_shannon"] > 0.1
        assert math.isfinite(found.distances["psi"])
    assert compare([200, 200, 4], [50_000, 49_000, 0]).p_value < 1e-6  # and one that vanished, in a small reference


@pytest.mark.parametrize(
    ("rows", "reference_rows", "beyond"), [(500, 1000, 4), (500, 1000, 7), (40, 60, 5), (5, 20, 1)]
)
def test_rows_beyond_the_references_range_are_as_likely_as_they_are_said_to_be(rows, reference_rows, beyond):
    """Wherever all rows come from, each order of window and reference is as likely: so many arrangements of the window
    have at least `beyond` rows before the reference's first or after its last one."""
    exact = sum(
        (inside + 1) * math.comb(reference_rows - 2 + rows - inside, rows - inside)
        for inside in range(beyond, rows + 1)
    ) / math.comb(rows + reference_rows, rows)
    assert rise_p_value(beyond, rows, 1, reference_rows) == pytest.approx(exact, rel=1e-9)
    found = compare([0, reference_rows, 0], [beyond, rows - beyond, 0])
    assert found.p_value == pytest.approx(min(4 * exact, 1.0), rel=1e-9)


def test_in_windows_without_drift_small_p_values_are_as_rare_as_they_should_be_beside_a_small_reference():
    chance, small = np.random.default_rng(5), 0
    for _ in range(1_500):
        rows = np.sort(chance.random(1_000))
        edges = [rows[0] - 1e-9, *rows[99::100]]
        window = np.searchsorted(edges, chance.random(500), side="left")
        small += compare([0, *[100] * 10, 0], np.bincount(window, minlength=12).tolist()).p_value <= 0.05
    assert small / 1_500 < 0.06


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12))
def test_distances_and_p_values_are_finite_whatever_the_counts(cells):
    found = compare([before for before, _ in cells], [now for _, now in cells])
    assert 0 <= found.distances["psi"] < math.inf
    assert 0 <= found.distances["jensen_shannon"] <= 1
    assert 0 <= found.p_value <= 1


def test_a_window_like_the_reference_shows_no_drift_of_anything():
    found = report(window(), usual_rows=[2000] * 10)
    assert found.drifted == ()
    verdicts = (found.features, found.predictions, found.quality, found.volume, found.target)
    assert all(verdict.outcome is NONE for verdict in verdicts)
    assert found.features.statement == "none of 10 features has drifted"


def test_an_important_feature_that_moves_is_drift_of_the_model_and_is_named():
    found = report(window(shift={"x3": 1.0}), importances={"x3": 0.4, "x1": 0.6}).features
    assert found.outcome is DRIFTED
    assert found.responsible == ("x3",)
    assert found.statement == (
        "1 of 10 features has drifted, with 40 % of the importance, at least the 10 % that count as drift of the "
        "model; most responsible: x3"
    )
    column = next(finding for finding in found.findings if finding.name == "x3")
    assert column.outcome is DRIFTED
    assert column.q_value < 0.001 < POLICY.thresholds["psi"] < column.distances["psi"]
    assert column.statement.startswith("x3 has drifted: 'above ")
    assert column.cell_share > column.cell_reference_share


def test_a_feature_without_importance_that_moves_is_reported_and_does_not_condemn_the_model():
    found = report(window(shift={"x3": 1.0}), importances={"x3": 0.05, "x1": 0.95}).features
    assert found.outcome is NONE
    assert found.responsible == ("x3",)
    assert "less than the 10 %" in found.statement


def test_the_most_responsible_features_are_few_and_come_by_importance_and_distance():
    moved = window(shift={"x1": 1.0, "x2": 1.0, "x3": 1.0, "x4": 1.0})
    found = report(moved, importances={"x1": 0.1, "x2": 0.3, "x3": 0.2, "x4": 0.05, "x5": 0.35}).features
    assert found.responsible == ("x2", "x3", "x1")


@pytest.mark.parametrize("importances", [None, {}, {"x1": -0.2}, {"unknown": 1.0}])
def test_without_importances_every_feature_weighs_the_same(importances):
    found = report(window(shift={"x3": 1.0}), importances=importances).features
    assert found.outcome is DRIFTED
    assert [finding.importance for finding in found.findings] == pytest.approx([0.1] * FEATURES)


def test_a_large_window_calls_a_change_too_small_to_matter_by_its_name():
    column = report(window(200_000, shift={"x3": 0.05})).features.findings[3]
    assert column.outcome is NONE
    assert column.q_value < 0.001
    assert "has changed too little to matter" in column.statement


def test_a_large_distance_that_chance_explains_is_no_drift():
    policy = DriftPolicy(min_rows=50)
    found = [report(window(60, seed), policy=policy).features for seed in range(40)]
    columns_found = [finding for each in found for finding in each.findings]
    assert np.mean([finding.distance > policy.thresholds["jensen_shannon"] for finding in columns_found]) > 0.3
    assert sum(each.outcome is DRIFTED for each in found) <= 5


def test_below_the_floor_nothing_is_judged():
    found = report(window(499, shift={"x3": 3.0}, score_shift=3.0, missing=0.5))
    assert found.drifted == ()
    assert (
        found.features.outcome is found.predictions.outcome is found.quality.outcome is found.target.outcome is LITTLE
    )
    assert found.features.statement == (
        "no feature can be judged: x0 has 499 rows in the window; at least 500 are needed"
    )


def test_a_small_reference_is_not_judged_by_either():
    layout, few = reference(CONTRACT, columns(100, 1), **answers(100, 2))
    found = judge(layout, few, count(layout, columns(2000, 3, shift={"x3": 3.0})), POLICY)
    assert found.features.outcome is LITTLE
    assert "100 rows in the reference" in found.features.statement


def test_masked_features_are_not_judged_and_said_so():
    rows = columns(1000, 5, shift={"x1": 2.0})
    records: list[dict[str, Any]] = [
        {"inputs": {name: str(rows[name][i]) if name == "city" else float(rows[name][i]) for name in rows}}
        for i in range(len(rows))
    ]
    for record in records:
        record["inputs"] |= {"x3": "[masked]"}
    records[0]["inputs"]["x3"] = None
    found = judge(LAYOUT, REFERENCE, captured(LAYOUT, records, dropped={"x4"}), POLICY)
    assert found.features.findings[3].outcome is LITTLE
    assert found.features.findings[3].statement == ("x3 is masked in 999 of 1,000 rows of the window; it is not judged")
    assert "x4 is masked in 1,000 of 1,000 rows" in found.features.findings[4].statement
    assert found.features.outcome is DRIFTED  # x1 is one of eight that could be judged
    assert found.features.statement.endswith("2 more could not be judged")
    assert {finding.name for finding in found.quality.findings if finding.outcome is LITTLE} == {"x3", "x4"}


def masked_window(*requests: tuple[int, int], seed: int, layout=LAYOUT, **changes: Any):
    """2,902 captures of which rows from .. to .. are masked, as a function masks that could not read its rules."""
    rows = columns(2902, seed, **changes)
    records: list[dict[str, Any]] = []
    for i in range(len(rows)):
        given = {name: str(rows[name][i]) if name == "city" else float(rows[name][i]) for name in rows}
        known = {name: None if value != value else value for name, value in given.items()}  # noqa: PLR0124  NaN
        hidden = any(start <= i < end for start, end in requests)
        inputs = {name: "[masked]" if hidden and value is not None else value for name, value in known.items()}
        records.append({"inputs": inputs})
    return captured(layout, records)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_few_masked_rows_are_left_out_and_the_rest_is_judged(missing):
    found = judge(LAYOUT, REFERENCE, masked_window((0, 100), seed=5, missing=missing, shift={"x1": 2.0}), POLICY)
    judged = {finding.name: finding for finding in found.features.findings}
    assert {name for name, finding in judged.items() if finding.outcome is LITTLE} == set()
    assert judged["x1"].outcome is DRIFTED
    assert judged["x2"].outcome is NONE
    assert judged["x2"].rows == 2802
    assert "2,802 rows against 20,000; 3.4 % of 2,902 rows are masked and left out" in judged["x2"].statement
    assert found.features.statement.endswith("of a judged feature, up to 3.4 % of 2,902 rows are masked and left out")
    faults = [each for each in found.quality.findings if isinstance(each, FaultFinding)]
    (gaps,) = [each for each in faults if (each.name, each.fault) == ("x0", "missing")]
    assert gaps.outcome is (DRIFTED if missing else NONE)
    assert gaps.share == pytest.approx(missing, abs=0.03)


def test_masked_rows_make_nothing_seem_to_be_missing_more_often():
    """What is missing is not masked, so it is there in all rows, and in many too many of those that are left."""
    layout, before = reference(CONTRACT, columns(20_000, 1, missing=0.2), **answers(20_000, 2))
    found = judge(layout, before, masked_window((0, 2000), seed=7, layout=layout, missing=0.2), POLICY)
    assert found.features.outcome is found.quality.outcome is NONE
    assert min(finding.rows for finding in found.features.findings) < 1000
    few = judge(layout, before, masked_window((0, 2702), seed=7, layout=layout), POLICY).features
    assert few.outcome is LITTLE
    assert few.findings[0].statement == (
        "x0 is masked in 2,702 of 2,902 rows of the window; 200 are left; at least 500 are needed"
    )


@pytest.mark.parametrize(
    ("how", "name", "fault", "words"),
    [
        ({"missing": 0.05}, "x0", "missing", "against 0.00 % of 20,000 in the reference"),
        ({"shift": {"x2": 100.0}}, "x2", "outside", "values out of the allowed range"),
        ({"cities": ("a", "b", "c", "nowhere")}, "city", "outside", "unseen categories"),
    ],
)
def test_more_faults_than_in_the_reference_are_a_verdict_of_their_own(how, name, fault, words):
    found = report(window(**how)).quality
    assert found.outcome is DRIFTED
    assert found.responsible == (name,)
    risen = [(finding.name, finding.fault) for finding in found.findings if finding.outcome is DRIFTED]
    assert risen == [(name, fault)]
    assert words in found.statement


def test_texts_for_numbers_are_type_faults_of_the_quality_verdict():
    records = [{"inputs": {"x0": "1.0" if i % 20 == 0 else 0.1}} for i in range(1000)]
    found = judge(LAYOUT, REFERENCE, captured(LAYOUT, records), POLICY).quality
    faults = [finding for finding in found.findings if isinstance(finding, FaultFinding)]
    fault = next(finding for finding in faults if (finding.name, finding.fault) == ("x0", "type_fault"))
    assert fault.outcome is DRIFTED
    assert fault.share == 0.05
    assert "values of a wrong type" in fault.statement


def test_fewer_missing_values_or_a_rise_too_small_to_matter_are_no_fault():
    layout, often_missing = reference(CONTRACT, columns(20_000, 1, missing=0.3), **answers(20_000, 2))
    fewer = count(layout, columns(2000, 3))
    assert judge(layout, often_missing, fewer, POLICY).quality.outcome is NONE
    slightly = report(window(100_000, missing=0.005)).quality
    assert slightly.outcome is NONE
    assert slightly.findings[0].q_value < 0.001


def test_scores_that_move_are_prediction_drift():
    found = report(window(score_shift=0.7))
    assert found.drifted == ("predictions",)
    assert set(found.predictions.responsible) == {"score", "label"}
    assert "'1' went from 50." in found.predictions.statement or "'0' went from" in found.predictions.statement


def test_a_target_that_moves_is_label_shift_and_without_labels_it_is_not_judged():
    assert report(window(positive=0.8)).drifted == ("target",)
    unlabelled = count(LAYOUT, columns(2000, 3), score=answers(2000, 4)["score"])
    found = judge(LAYOUT, REFERENCE, unlabelled, POLICY).target
    assert found.outcome is LITTLE
    assert found.statement == "target has 0 rows in the window; at least 500 are needed"


@pytest.mark.parametrize(
    ("rows", "usual", "outcome"),
    [
        (1000, [900, 1100, 1000, 950, 1050, 1000, 980, 1020], NONE),
        (700, [900, 1100, 1000, 950, 1050, 1000, 980, 1020], NONE),  # significant, not material
        (400, [900, 1100, 1000, 950, 1050, 1000, 980, 1020], DRIFTED),
        (1700, [900, 1100, 1000, 950, 1050, 1000, 980, 1020], DRIFTED),
        (400, [200, 2000, 1000, 300, 1800, 1000, 500, 1500], NONE),  # traffic is never steady here
        (2, [5, 4, 6, 5, 3, 7, 5, 5], NONE),  # a Poisson count varies as much
        (0, [200, 2000, 1000, 300, 1800, 1000, 500, 1500], DRIFTED),
        (0, [0, 0, 0, 1, 0, 0, 0, 0], NONE),
        (0, [900] * 7, LITTLE),
    ],
)
def test_traffic_is_held_against_what_is_usual(rows, usual, outcome):
    assert judge_volume(rows, usual).outcome is outcome


def test_no_traffic_at_all_is_said_in_its_own_sentence():
    known, unknown = judge_volume(0, [1000] * 8), judge_volume(0, [])
    assert known.statement == (
        "no prediction of the model in full hours; the median of 8 earlier windows is 1,000, and 500 to 1,500 is usual"
    )
    assert unknown.statement == (
        "no prediction of the model in full hours; no usual volume is known: 0 earlier windows, 8 are needed"
    )


def test_the_hour_that_has_begun_is_counted_beside_the_volume_that_is_judged():
    assert judge_volume(0, (), begun=2902).statement == (
        "no prediction of the model in full hours, 2,902 in the hour that has begun; no usual volume is known: 0 "
        "earlier windows, 8 are needed"
    )
    assert judge_volume(1000, [1000] * 8, begun=30).statement.startswith(
        "1,000 predictions of the model in full hours, 30 in the hour that has begun; the median"
    )


def test_an_empty_window_is_reported_as_too_little_data():
    found = judge(LAYOUT, REFERENCE, captured(LAYOUT, []), POLICY, usual_rows=[1000] * 8)
    assert found.drifted == ("volume",)
    assert found.features.outcome is LITTLE


def test_profiles_of_another_layout_are_refused():
    layout, other = reference(CONTRACT, columns(1000, 99), **answers(1000, 2))
    with pytest.raises(ValueError, match="the current profile is of layout"):
        judge(LAYOUT, REFERENCE, other, POLICY)
    with pytest.raises(ValueError, match="the reference profile is of layout"):
        judge(layout, REFERENCE, other, POLICY)


def test_a_report_is_plain_json():
    document = json.loads(json.dumps(report(window(shift={"x3": 1.0}), usual_rows=[2000] * 10).to_json()))
    assert document["features"]["outcome"] == "drifted"
    assert document["features"]["responsible"] == ["x3"]
    assert set(document) == {"features", "predictions", "quality", "volume", "target"}
    assert document["features"]["findings"][3]["cell"].startswith("above")


@pytest.mark.simulation
def test_windows_without_drift_are_called_drifted_no_more_often_than_promised():
    chance = np.random.default_rng(11)
    names = [f"x{index}" for index in range(FEATURES - 1)]
    called = 0
    for _ in range(300):
        before = [chance.multinomial(3000, [0.1] * 10).tolist() for _ in names]
        now = [chance.multinomial(500, [0.1] * 10).tolist() for _ in names]
        adjusted = adjust([compare(*pair).p_value for pair in zip(before, now, strict=True)])
        called += min(adjusted) <= POLICY.alpha
    assert called <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)
    assert called >= 3  # the test is not so timid as to be of no use


def test_every_window_with_a_shift_of_a_deviation_is_found_at_the_floor():
    found = [report(window(500, seed, shift={"x3": 1.0})).features.outcome for seed in range(30)]
    assert found == [DRIFTED] * 30
