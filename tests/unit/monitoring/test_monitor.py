"""A look at a served model: what is counted, how it is judged, and what is recorded."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from tests.builders.monitoring import (
    BASELINE,
    DAY,
    FEATURES,
    HOUR,
    LINES,
    MODEL,
    NOW,
    REPORTER,
    SPEC,
    Monitored,
    Traffic,
    outcome_of,
)
from tests.builders.present import present
from tests.builders.registry import numbered
from tests.builders.rollouts import ASKED, OneRelease
from tests.builders.specs import spec
from tests.documents.forms import hold
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.recalibration import Recalibration
from tidegate.domain.monitoring.findings import VERDICT
from tidegate.domain.monitoring.health import (
    Attempt,
    Health,
    HealthRecord,
    TrainingOutcome,
    Trigger,
    acknowledge,
    started,
)
from tidegate.domain.monitoring.hours import SAMPLE_ROWS, Hour, Sample, merged
from tidegate.domain.monitoring.quality import LossByScore
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.profile import reference as profiled
from tidegate.domain.registry.run import RunError
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout.forecast import Lately
from tidegate.domain.rollout.rollout import Phase
from tidegate.domain.serving.capture import CAPTURE_RECORD, hour_of
from tidegate.domain.serving.feedback import FEEDBACK_RECORD
from tidegate.domain.training.contracts import serving_contract
from tidegate.kernel.errors import ConflictError, UnavailableError
from tidegate.kernel.metrics.metric import FromLosses, Metric
from tidegate.kernel.metrics.registry import find, of_task
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import Table
from tidegate.messages import RunRef
from tidegate.steps.monitoring.monitor import Looked

# Judging


def test_a_model_whose_world_is_as_it_was_stands_steady() -> None:
    house = Monitored()
    house.ask(2_000, labelled=1.0)
    looked = house.look()
    record = looked.record
    assert (record.health, record.version, record.wanted, record.reasons) == (Health.STEADY, 1, None, ())
    (day, week) = record.summary["windows"]
    assert (day["hours"], week["hours"], day["rows"]) == (24, 168, 2_000)
    assert (day["features"], day["scores"], day["data_quality"], day["target"]) == ("none",) * 4
    assert (day["quality"], day["labels"], day["metric"]) == ("within", True, "roc_auc")
    assert looked.metrics["Drifted"] == looked.metrics["RetrainingWanted"] == looked.metrics["NeedsRedesign"] == 0.0
    assert abs(looked.metrics["QualityLoss"]) < 0.05


def test_a_changed_feature_is_named_and_a_training_is_wanted() -> None:
    house = Monitored()
    house.ask(2_000, wind=26)
    looked = house.look()
    assert (looked.record.health, looked.record.wanted) == (Health.DRIFTED, Trigger.DRIFT)
    assert looked.record.summary["windows"][0]["responsible"] == ["wind"]
    assert "most responsible: wind" in looked.record.reasons[0]
    assert looked.record.reasons[0].startswith("last 24 h: ")
    shown = {name: looked.metrics[name] for name in ("Drifted", "FeatureDrift", "PredictionDrift", "RetrainingWanted")}
    assert set(shown.values()) == {1.0}


def test_lost_quality_is_seen_by_its_labels_where_the_inputs_are_as_they_were() -> None:
    house = Monitored()
    house.ask(2_000, labelled=1.0, flip=0.4)
    record = house.look().record
    assert (record.health, record.wanted) == (Health.DRIFTED, Trigger.QUALITY)
    assert house.window()["live"]["outcome"] == "beyond"
    assert house.window()["expected"] is None
    assert "labelled predictions" in record.reasons[0]


def test_quality_is_expected_from_probabilities_where_there_are_no_labels() -> None:
    house = Monitored()
    house.ask(2_000)
    looked = house.look()
    window = house.window()
    assert window["live"]["outcome"] == "insufficient_data"
    assert window["expected"]["outcome"] == "within"
    assert "no concept drift" in window["expected"]["assumption"]
    assert looked.record.summary["windows"][0]["labels"] is False


def test_what_is_expected_goes_by_what_probabilities_came_to_on_the_holdout() -> None:
    found = []
    for recalibration in (None, Recalibration("platt", 1, (((0.2, 0.0),),))):
        house = Monitored(reference=replace(Traffic().reference(), recalibration=recalibration))
        house.ask(2_000)
        house.look()
        found.append(house.window()["expected"]["live"]["value"])
    assert found[1] < found[0] - 0.05


def test_a_regression_is_expected_by_its_loss_at_such_scores() -> None:
    house = Monitored(reference=regression())
    house.ask(2_000, wind=40)
    house.look()
    assert house.window()["expected"]["metric"] == "mae"
    assert house.window()["expected"]["outcome"] == "beyond"


@pytest.mark.parametrize("metric", [each.text for each in of_task("binary")])
@pytest.mark.parametrize("labelled", [1.0, 0.0])
def test_every_metric_is_looked_at_with_labels_and_without(metric: str, labelled: float) -> None:
    reference = Traffic().reference(metric=metric, design=Estimate(0.7, 0.6, 0.8))
    house = Monitored(reference=reference)
    house.ask(600, labelled=labelled)
    house.look()
    window = house.window()
    shown = window["live"] if labelled else window["expected"]
    assert shown["metric"] == metric
    assert shown["outcome"] in {"within", "beyond"}
    assert metric in shown["statement"]


def test_a_metric_that_cannot_be_expected_is_reported_by_labels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = replace(find("f1"), unlabelled=None)
    monkeypatch.setattr("tidegate.steps.monitoring.monitor.find", lambda _: unknown)
    house = Monitored(reference=Traffic().reference(metric="f1"))
    house.ask(600)
    house.look()
    assert house.window()["expected"] is None
    assert house.window()["live"]["outcome"] == "insufficient_data"


@pytest.mark.parametrize("metric", of_task("regression"), ids=lambda metric: metric.text)
def test_every_metric_of_a_regression_is_expected_by_loss_or_not_reported(metric: Metric) -> None:
    reference = regression()
    expectable = isinstance(metric.unlabelled, FromLosses)
    chance = np.random.default_rng(3)
    score = chance.uniform(0.1, 1, 1_000)
    losses = LossByScore.learn(metric.text, score + 0.1, score) if expectable else None
    house = Monitored(reference=replace(reference, metric=metric.text, loss_by_score=losses))
    house.ask(600)
    house.look()
    assert house.window()["live"]["metric"] == metric.text
    expected = house.window()["expected"]
    assert expected is None if not expectable else expected["metric"] == metric.text


def regression() -> Reference:
    rows = Traffic().rows(8_000)
    contract = replace(serving_contract(SPEC, classes=(), positive=0, learned={"line": LINES}), task="regression")
    score, target = rows["score"], rows["score"] + (rows["score"] > 0.9) * 5
    layout, profile = profiled(
        contract, Table({name: rows[name] for name in ("wind", "line")}), score=score, target=target
    )
    loss = LossByScore.learn("mae", target, score)
    value = float(np.abs(target - score).mean())
    design = Estimate(value, value - 0.1, value + 0.1)
    return Reference(layout, profile, {}, "mae", design, loss, "regression", (), 0, 0.5)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"lines": ["violet", "pink"]}, "line has 100.00 % unseen categories"),
        ({"instance": {"wind": "strong"}}, "wind has 100.00 % values of a wrong type"),
        ({"instance": {"wind": None}}, "wind has 100.00 % missing values"),
    ],
)
def test_what_training_would_only_learn_is_for_people(asked: dict[str, Any], named: str) -> None:
    house = Monitored()
    house.ask(2_000, **asked)
    looked = house.look()
    assert (looked.record.health, looked.record.wanted) == (Health.NEEDS_REDESIGN, None)
    assert any(named in reason for reason in looked.record.reasons)
    assert looked.metrics["NeedsRedesign"] == looked.metrics["DataQuality"] == 1.0


def test_a_few_more_missing_values_are_reported_and_people_are_left_alone() -> None:
    house = Monitored()
    house.ask(1_900)
    house.ask(100, instance={"wind": None})
    looked = house.look()
    assert looked.metrics["DataQuality"] == 1.0
    assert looked.record.health is not Health.NEEDS_REDESIGN


def test_a_target_that_is_no_longer_what_it_was_is_for_people() -> None:
    house = Monitored(target_shift=0.2)
    made = house.ask(2_000)
    house.report(made, [True] * 2_000)
    record = house.look().record
    assert record.health is Health.NEEDS_REDESIGN
    assert record.reasons[0].startswith("last 24 h: target has drifted")


def test_groups_that_get_positive_decisions_unalike_are_reported() -> None:
    house = Monitored(sensitive=["line"])
    house.ask(1_000, lines=["blue"])
    house.ask(1_000, lines=["red"], wind=24)
    house.look()
    (parity,) = house.window()["parity"]
    assert (parity["column"], parity["outcome"], parity["high"], parity["low"]) == ("line", "beyond", "red", "blue")
    assert [group["rows"] for group in parity["groups"]] == [1_000, 1_000]


def test_too_little_traffic_is_no_verdict() -> None:
    house = Monitored()
    house.ask(99)
    assert house.look().record.health is Health.UNKNOWN


# Targets


def held(house: Monitored) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in house.verdict()["targets"]}


def of_target(looked: Looked, name: str) -> dict[str, float]:
    (found,) = [values for about, values in looked.apart if about.get("target") == name]
    return dict(found)


def test_traffic_that_keeps_every_target_misses_none() -> None:
    governance = {"demographic_parity": 0.2}
    wanted = {"metric_at_least": 0.7, "latency_p99_ms": 20, "availability_at_least": 0.99}
    house = Monitored(
        targets={**wanted, "governance": governance, "cost_per_1000_usd_at_most": 0.01}, sensitive_columns=["line"]
    )
    house.ask(2_000, labelled=1.0)
    looked = house.look()
    assert {name: each["outcome"] for name, each in held(house).items()} == dict.fromkeys(
        [*wanted, "demographic_parity", "cost_per_1000_usd_at_most"], "met"
    )
    assert looked.metrics["TargetsMissed"] == 0.0
    assert looked.record.summary["missed"] == {}
    assert of_target(looked, "latency_p99_ms") == {
        "TargetLimit": 20.0,
        "TargetMissed": 0.0,
        "TargetMeasured": pytest.approx(1.0, rel=0.05),
    }


def test_quality_below_the_target_is_missed_only_where_its_whole_interval_is() -> None:
    def looked_at(limit: float) -> dict[str, Any]:
        house = Monitored(targets={"metric_at_least": limit})
        house.ask(2_000, labelled=1.0)
        house.look()
        return held(house)["metric_at_least"]

    found = looked_at(0.99)
    assert found["outcome"] == "missed"
    between = looked_at((found["measured"] + found["high"]) / 2)
    assert between["outcome"] == "met"
    assert "not shown to be missed" in between["statement"]


def test_quality_without_labels_is_no_verdict_on_its_target() -> None:
    house = Monitored(targets={"metric_at_least": 0.99})
    house.ask(2_000)
    looked = house.look()
    assert held(house)["metric_at_least"]["outcome"] == "insufficient_data"
    assert of_target(looked, "metric_at_least") == {"TargetLimit": 0.99, "TargetMissed": 0.0}


def test_slow_requests_miss_the_latency_target_but_for_those_that_had_to_open_an_artifact() -> None:
    house = Monitored(targets={"latency_p99_ms": 20})
    house.ask(1_900)
    house.ask(100, change={"latency_ms": 80.0, "cold": True})
    house.look()
    assert held(house)["latency_p99_ms"]["outcome"] == "met"
    house.ask(100, change={"latency_ms": 80.0})
    looked = house.look()
    missed = held(house)["latency_p99_ms"]
    assert (missed["outcome"], missed["measured"]) == ("missed", pytest.approx(80, rel=0.05))
    assert missed["low"] > 20
    assert looked.metrics["TargetsMissed"] == 1.0
    assert looked.record.health is Health.STEADY
    assert "latency_p99_ms must be at most 20 ms: missed" in looked.record.summary["missed"]["latency_p99_ms"]


def test_requests_that_others_answered_in_its_place_make_a_version_unavailable() -> None:
    house = Monitored(targets={"availability_at_least": 0.99})
    house.ask(970)
    house.ask(20, change={"version": None, "reason": "fallback:timed_out"})
    house.ask(10, change={"version": None, "reason": "unanswered:scoring_failed", "error": "E"})
    house.ask(100, change={"version": None, "arm": "fallback", "reason": "fallback:killed"})
    house.look()
    missed = held(house)["availability_at_least"]
    assert (missed["outcome"], missed["measured"]) == ("missed", pytest.approx(0.97))


def test_a_request_of_many_rows_is_one_request() -> None:
    house = Monitored(targets={"availability_at_least": 0.9})
    house.ask(600)
    rows = {
        "instances": [{"wind": 20.0, "line": "red"}] * 300,
        "predictions": [{"id": f"f{row}"} for row in range(300)],
    }
    house.ask(1, change={"version": None, "reason": "fallback:timed_out", **rows})
    house.look()
    assert held(house)["availability_at_least"]["measured"] == pytest.approx(600 / 601)


def test_another_versions_requests_are_not_held_against_the_champion() -> None:
    house = Monitored(targets={"availability_at_least": 0.99, "latency_p99_ms": 20})
    house.ask(600)
    house.ask(300, change={"version": 7, "arm": "candidate", "reason": "candidate", "latency_ms": 500.0})
    house.ask(300, change={"version": 7, "arm": "champion", "route": 0, "latency_ms": 500.0})
    house.ask(300, change={"version": 1, "arm": "candidate", "reason": "champion:timed_out", "latency_ms": 500.0})
    house.look()
    assert {each["outcome"] for each in held(house).values()} == {"met"}
    assert held(house)["availability_at_least"]["measured"] == 1.0


def test_an_outage_of_all_requests_of_a_route_counts() -> None:
    house = Monitored(targets={"availability_at_least": 0.99})
    house.ask(600, change={"version": None, "reason": "fallback:not_loadable", "route": 8})
    house.look()
    assert held(house)["availability_at_least"]["measured"] == 0.0


def test_groups_of_a_target_are_compared_on_live_traffic_by_its_limit() -> None:
    house = Monitored(targets={"governance": {"demographic_parity": 0.05}}, sensitive_columns=["line", "region"])
    house.ask(1_000, lines=["blue"])
    house.ask(1_000, lines=["red"], wind=24)
    house.look()
    missed = held(house)["demographic_parity"]
    assert missed["outcome"] == "missed"
    assert "line, red against blue" in missed["statement"]
    assert house.window()["parity"] == []


def test_predictions_that_cost_more_than_the_target_miss_it() -> None:
    house = Monitored(targets={"cost_per_1000_usd_at_most": 0.0005})
    house.ask(1_000)
    looked = house.look()
    assert held(house)["cost_per_1000_usd_at_most"]["measured"] == pytest.approx(0.001)
    assert looked.metrics["TargetsMissed"] == 1.0


def test_few_requests_are_no_verdict_on_any_target() -> None:
    house = Monitored(targets={"availability_at_least": 0.999, "cost_per_1000_usd_at_most": 1e-9})
    house.ask(400, change={"latency_ms": 900.0, "version": None, "reason": "fallback:timed_out"})
    assert house.look().metrics["TargetsMissed"] == 0.0
    assert {each["outcome"] for each in held(house).values()} == {"insufficient_data"}


# What cannot be judged


def test_a_model_that_nothing_serves_says_so() -> None:
    looked = Monitored(served=False).look()
    assert (looked.record.health, looked.record.version) == (Health.UNKNOWN, None)
    assert looked.record.reasons == ("no version serves",)


def test_a_version_without_a_reference_says_what_to_do() -> None:
    house = Monitored(served=False)
    house.serve("r-1", None)
    house.ask(2_000, wind=40)
    record = house.look().record
    assert (record.health, record.version) == (Health.UNKNOWN, 1)
    assert record.reasons == ("version 1 has no reference; train again",)


def test_a_reference_that_newer_code_wrote_stops_the_monitoring_of_its_model_with_a_sentence() -> None:
    newer = Monitored(reference=json.dumps(Traffic().reference().to_json() | {"schema": 2}).encode())
    (reason,) = newer.look().record.reasons
    assert reason.startswith("version 1: the reference has schema 2, which newer code wrote")
    assert reason.endswith("; deploy the newer code again, or train the model again")


def test_an_hour_that_newer_code_counted_is_counted_again() -> None:
    house = Monitored()
    house.ask(600)
    house.look()
    kept = dict(house.hours.documents)
    house.hours.documents |= {
        name: json.dumps(json.loads(document) | {"schema": 5, "profile": "in words"}) for name, document in kept.items()
    }
    assert house.look().metrics["Rows"] == 600.0
    assert house.hours.documents == kept


def test_verdict_and_counted_hour_keep_their_form() -> None:
    house = Monitored(sensitive_columns=["line"], targets={"availability_at_least": 0.99})
    house.ask(20, labelled=0.5)
    house.look()
    hold(VERDICT, house.verdict())
    (hour,) = house.hours.documents.values()
    hold(Hour.FORM, json.loads(hour))


# What is counted


def test_only_the_versions_own_answers_are_counted_and_each_once() -> None:
    house = Monitored()
    made = house.ask(600)
    house.hours.capture(made[:50], key="again")
    for change in (
        {"version": 2},
        {"version": None, "reason": "fallback:timed_out"},
        {"version": 1, "reason": "champion:contract_broken"},
        {"version": None, "reason": "unanswered:timed_out"},
        {"violations": [["rule"]]},
    ):
        house.ask(100, change=change, wind=60)
    house.look()
    assert house.window()["rows"] == house.hour().profile.rows == 600
    assert house.hour().predictions == 1_100


def test_captures_that_are_a_sample_stand_for_more_predictions() -> None:
    house = Monitored()
    house.ask(600, sample=0.25)
    house.look()
    assert (house.hour().predictions, house.window()["predictions"]) == (2_400, 2_400)


def test_a_window_has_its_full_hours_and_the_present_one_so_far() -> None:
    house = Monitored()
    for ago in (timedelta(0), 24 * HOUR, 25 * HOUR):
        house.ask(100, ago=ago)
    house.look()
    assert (house.window(24)["rows"], house.window(168)["rows"]) == (200, 300)
    assert house.window(24)["predictions"] == 100  # traffic is compared over full hours


def test_windows_end_with_the_functions_clock_whatever_the_machines_time_is() -> None:
    house = Monitored()
    house.ask(700)
    looked = house.look(NOW + 10 * DAY)
    assert looked.record.looked_at == NOW + 10 * DAY
    assert house.window()["rows"] == 700


def test_dropped_columns_are_masked_and_not_missing() -> None:
    house = Monitored()
    house.spec = spec(features=FEATURES, baseline=BASELINE, capture={"drop": ["line"]})
    house.registry.apply(house.spec, author="ann", at=NOW)
    for_all = [record | {"inputs": {"wind": record["inputs"]["wind"]}} for record in house.ask(1_000, ago=30 * DAY)]
    house.hours.capture([record | {"hour": hour_of(NOW - 2 * HOUR)} for record in for_all], key="shown")
    record = house.look().record
    assert record.health is Health.STEADY
    assert "line is masked" in json.dumps(house.window()["drift"])


def test_an_hour_is_counted_again_only_when_something_was_added() -> None:
    house = Monitored()
    made = house.ask(600)
    house.look()
    counted = len(house.hours.read)
    house.look(NOW + HOUR)
    assert len(house.hours.read) == counted
    house.report(made, [True] * 600)
    house.look(NOW + HOUR)
    assert len(house.hours.read) == counted + 1
    assert sum(house.hour().profile.target) == house.hour().labelled.rows == 600
    house.ask(10)
    house.look(NOW + HOUR)
    assert house.hour().profile.rows == 610


def test_hours_older_than_the_reach_stay_as_they_were_counted() -> None:
    house = Monitored(windows_hours=[24, 240])
    house.ask(600, ago=4 * HOUR)
    house.look()
    house.clock.move(days=9)
    house.ask(5, ago=9 * DAY + 4 * HOUR)
    house.look(NOW + 9 * DAY)
    assert house.window(240)["rows"] == 600


def test_late_corrections_win_and_outcomes_that_are_no_class_are_not_judged() -> None:
    house = Monitored()
    made = house.ask(600)
    house.report(made, [False] * 600, at=NOW)
    house.report(made, [True] * 500 + ["maybe"] * 100, at=NOW + HOUR)
    house.look()
    hour = house.hour()
    assert (hour.labelled.rows, set(hour.labelled.targets)) == (500, {1.0})
    assert sum(hour.profile.target) == 600


def test_equal_hours_are_equal_documents_in_whatever_order_they_came() -> None:
    documents = []
    for turned in (False, True):
        house = Monitored(sensitive=["line"])
        made = house.ask(2 * SAMPLE_ROWS + 500, ago=40 * DAY)
        house.report([record | {"hour": hour_of(NOW - 2 * HOUR)} for record in made], [True] * len(made))
        moved = [record | {"hour": hour_of(NOW - 2 * HOUR)} for record in made]
        house.hours.capture(moved[::-1] if turned else moved, key="same")
        house.look()
        documents.append(house.hour().to_json())
    assert documents[0] == documents[1]
    assert len(documents[0]["answers"]["scores"]) == len(documents[0]["labelled"]["scores"]) == SAMPLE_ROWS
    assert documents[0]["answers"]["rows"] == 2 * SAMPLE_ROWS + 500


def test_samples_of_hours_are_merged_by_their_rows() -> None:
    few = Sample(100, tuple((0.1,) for _ in range(100)), (0.0,) * 100)
    many = Sample(4_000, tuple((0.9,) for _ in range(2_000)), (1.0,) * 2_000)
    targets, scores = merged([few, many], 20_000)
    assert ((targets == 0).sum(), (targets == 1).sum(), len(scores)) == (50, 2_000, 2_050)
    targets, _ = merged([few, many], 410)
    assert ((targets == 0).sum(), (targets == 1).sum()) == (10, 400)
    assert len(merged([], 10)[0]) == 0


def test_young_predictions_wait_for_their_labels() -> None:
    house = Monitored()
    house.ask(1_000, ago=20 * HOUR, labelled=1.0)
    house.ask(1_000, ago=timedelta(0), labelled=0.1, flip=1.0)
    house.look()
    assert house.window()["live"]["rows"] == 1_000
    assert house.window()["live"]["outcome"] == "within"


def test_labels_that_come_for_a_part_only_are_judged_all_the_same() -> None:
    house = Monitored()
    for ago in (2, 10, 20):
        house.ask(1_000, ago=ago * HOUR, labelled=0.3)
    house.look()
    assert house.window()["live"]["rows"] == 900


def test_unusual_traffic_is_reported_against_earlier_windows_also_of_another_version() -> None:
    house = Monitored(windows_hours=[24])
    for day in range(10):
        house.ask(100)
        shown = house.look(NOW + day * DAY).record.summary["windows"][0]["volume"]
        assert shown == ("insufficient_data" if day < 9 else "none")
        house.clock.move(days=1)
    house.serve("r-2", house.world.reference(), at=house.clock.now() - DAY)
    house.ask(500, change={"version": 2})
    record = house.look(NOW + 10 * DAY).record
    assert (record.version, record.summary["windows"][0]["volume"]) == (2, "drifted")


# What follows


def test_the_same_look_again_changes_nothing_but_when_it_looked() -> None:
    house = Monitored()
    house.ask(2_000, wind=26, labelled=0.5)
    first = house.look().record
    documents = dict(house.hours.documents)
    again = house.look().record
    assert again == replace(first, revision=first.revision + 1)
    assert house.hours.documents == documents
    assert len(house.verdicts.documents) == 1


def test_a_new_version_is_judged_by_its_own_traffic() -> None:
    house = Monitored()
    house.ask(2_000, wind=26)
    house.look()
    house.serve("r-2", house.world.reference(), at=NOW)
    house.clock.move(hours=1)
    house.ask(1_000, ago=timedelta(0), change={"version": 2})
    record = house.look(NOW + HOUR).record
    assert (record.version, record.health) == (2, Health.STEADY)
    assert house.window()["rows"] == 1_000


def test_what_was_seen_to_is_not_held_against_the_model_again() -> None:
    house = Monitored()
    house.ask(2_000, instance={"wind": None})
    house.look()
    broken = house.health_records.record(MODEL)
    assert broken is not None
    house.health_records.save(acknowledge(broken, by="ann", reason="the feed is mended", now=NOW))
    assert house.look(NOW + HOUR).record.health is Health.UNKNOWN
    house.clock.move(hours=2)
    house.ask(1_000, ago=HOUR)
    assert house.look(NOW + 2 * HOUR).record.health is Health.STEADY


def under_way(house: Monitored, run_id: str = "r-9") -> HealthRecord:
    """The look's health record with a training that has begun since."""
    house.request(run_id)
    house.health_records.save(started(house.look().record, Attempt(run_id, Trigger.DRIFT, NOW)))
    return house.look(NOW + HOUR).record


def test_a_training_under_way_is_waited_for() -> None:
    house = Monitored()
    house.ask(600, wind=26)
    record = under_way(house)
    assert record.attempts[-1].outcome is TrainingOutcome.UNDER_WAY
    assert (record.wanted, record.held_back) == (None, "a release of the model is under way")


def test_a_training_that_failed_is_known_as_such() -> None:
    house = Monitored()
    house.ask(600, wind=26)
    under_way(house)
    house.registry.fail(MODEL, "r-9", RunError("Fault", "it broke", "train"), NOW + HOUR)
    (attempt,) = house.look(NOW + 2 * HOUR).record.attempts
    assert (attempt.outcome, attempt.ended_at) == (TrainingOutcome.FAILED, NOW + HOUR)


def test_a_candidate_that_the_gate_turned_away_is_known_as_such() -> None:
    house = Monitored()
    house.ask(600, wind=26)
    under_way(house)
    turned_away = replace(numbered(0, VersionStatus.REJECTED), model=MODEL, run_id="r-9")
    house.registry.register(turned_away, at=NOW + HOUR)
    assert house.look(NOW + 2 * HOUR).record.attempts[-1].outcome is TrainingOutcome.TURNED_AWAY


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        (Phase.CANARY, TrainingOutcome.UNDER_WAY),
        (Phase.PROBATION, TrainingOutcome.UNDER_WAY),
        (Phase.DONE, TrainingOutcome.PROMOTED),
        (Phase.ROLLED_BACK, TrainingOutcome.TURNED_AWAY),
        (Phase.FAILED, TrainingOutcome.FAILED),
    ],
)
def test_a_rollout_decides_what_became_of_a_training(phase: Phase, outcome: TrainingOutcome) -> None:
    house = Monitored()
    house.ask(600, wind=26)
    under_way(house)
    house.registry.register(replace(numbered(0), model=MODEL, run_id="r-9"), at=NOW + HOUR)
    begun = OneRelease(ASKED).begin()
    final: dict[str, Any] = {"ended_at": NOW + 2 * HOUR} if phase.final else {}
    house.registry._rollouts[MODEL, "r-9"] = replace(
        begun, model=MODEL, run_id="r-9", phase=phase, promoted_at=NOW + HOUR, **final
    )
    attempt = house.look(NOW + 3 * HOUR).record.attempts[-1]
    assert attempt.outcome is outcome
    ended = {TrainingOutcome.UNDER_WAY: None, TrainingOutcome.PROMOTED: NOW + HOUR}
    assert attempt.ended_at == ended.get(outcome, NOW + 2 * HOUR)


def test_a_canary_without_enough_evidence_does_not_count_against_the_training() -> None:
    house = Monitored()
    house.ask(600, wind=26)
    under_way(house)
    house.registry.register(replace(numbered(0), model=MODEL, run_id="r-9"), at=NOW + HOUR)
    house.registry._rollouts[MODEL, "r-9"] = replace(
        OneRelease(ASKED).begin(), model=MODEL, run_id="r-9", phase=Phase.ROLLED_BACK, ended_at=NOW, unproven=True
    )
    assert house.look(NOW + 3 * HOUR).record.attempts[-1].outcome is TrainingOutcome.UNPROVEN


def test_a_verdict_says_what_the_model_was_asked_lately() -> None:
    house = Monitored()
    house.ask(600, ago=30 * HOUR)
    house.ask(400)
    house.look()
    lately = Lately.from_json(house.verdict()["lately"])
    assert (lately.hours, lately.requests) == (168, 1_000)
    assert (lately.service.requests, lately.service.answered) == (1_000, 1_000)


def test_a_schedule_counts_from_the_newest_accepted_version() -> None:
    house = Monitored(retrain_on=["schedule"], every_days=20)
    assert house.look(NOW - HOUR).record.wanted is None
    record = house.look(NOW).record
    assert (record.last_trained_at, record.wanted) == (NOW - 20 * DAY, Trigger.SCHEDULE)


def test_who_loses_a_race_looks_once_more_at_what_the_winner_left(monkeypatch: pytest.MonkeyPatch) -> None:
    house = Monitored()
    first = house.look().record
    save, lost = house.health_records.save, list[HealthRecord]()

    def raced(record: HealthRecord) -> None:
        if not lost:
            lost.append(record)
            save(replace(first, revision=first.revision + 1, acknowledged_by="ann"))
            raise ConflictError("somebody was faster")
        save(record)

    monkeypatch.setattr(house.health_records, "save", raced)
    record = house.look().record
    assert (record.revision, record.acknowledged_by) == (first.revision + 2, "ann")


# Cost and value


def shown(looked: Looked, **dimensions: str) -> dict[str, float]:
    (found,) = [values for each, values in looked.apart if each == dimensions]
    return dict(found)


def test_what_a_model_used_is_reported_by_hour_version_and_business_unit() -> None:
    house = Monitored()
    house.ask(600, change={"billed_ms": 20.0})
    house.ask(200, change={"version": None, "arm": "fallback", "reason": "fallback:killed", "billed_ms": 5.0})
    house.ask(100, ago=HOUR)
    looked = house.look()
    kept = house.verdict()["cost"]
    assert kept["complete"] == hour_of(NOW - 2 * HOUR)
    assert kept["hours"][kept["complete"]]["usage"] == {
        "1": [600, 600, 12_000.0, 0, 0],
        "fallback": [200, 200, 1_000.0, 0, 0],
    }
    whole = shown(looked, model=MODEL)
    assert (whole["Requests"], whole["BilledMs"]) == (800, 13_000)
    assert whole["CostUSD"] == pytest.approx(0.013)
    assert shown(looked, business_unit=house.spec.business_unit)["CostUSD"] == pytest.approx(0.013)
    assert shown(looked, model=MODEL, version="1")["CostUSD"] == pytest.approx(0.012)
    assert shown(looked, model=MODEL, version="fallback")["Requests"] == 200
    assert "ValueUSD" not in whole
    summary = looked.record.summary["cost"]
    assert (summary["hour"], summary["requests"], summary["spike"]) == (kept["complete"], 800, "")


def test_an_hour_in_which_nothing_was_asked_costs_nothing() -> None:
    looked = Monitored().look()
    assert shown(looked, model=MODEL)["CostUSD"] == 0.0
    assert not [each for each, _ in looked.apart if "version" in each]


def test_value_is_of_the_labelled_decisions_and_net_is_against_cost() -> None:
    house = Monitored(value={"correct": 2.0, "wrong": 5.0})
    asked = house.ask(1_000)
    labels = [record["label"] for record in asked[:10]]
    house.report(asked[:10], [*labels[:8], *(not label for label in labels[8:])])
    looked = house.look()
    whole = shown(looked, model=MODEL)
    assert whole["ValueUSD"] == pytest.approx(8 * 2.0 - 2 * 5.0)
    assert whole["NetUSDPer1000"] == pytest.approx(600 - whole["CostUSD"])
    assert shown(looked, model=MODEL, version="1")["ValueUSD"] == whole["ValueUSD"]


def test_what_a_regression_gets_right_is_within_the_tolerance() -> None:
    reference = Monitored().world.reference(task="regression", classes=(), metric="rmse")
    regression = {"task": "regression", "positive_class": None, "metric": "rmse"}
    house = Monitored(reference=reference)
    house.spec = spec(
        features=FEATURES,
        baseline=BASELINE,
        candidates=[{"estimator": "sklearn.linear_model.LinearRegression"}],
        value={"correct": 1.0, "tolerance": 0.1},
        **regression,
    )
    house.registry.apply(house.spec, author="ann", at=NOW)
    asked = house.ask(20)
    house.report(asked, [record["score"] + (0.05 if place < 15 else 0.5) for place, record in enumerate(asked)])
    assert shown(house.look(), model=MODEL)["ValueUSD"] == pytest.approx(15.0)


def test_used_hours_are_carried_along_for_a_month() -> None:
    house = Monitored()
    house.ask(100)
    house.look()
    name = hour_of(NOW - 2 * HOUR)
    for days, kept in ((20, True), (30, True), (32, False)):
        house.clock.at = NOW + days * DAY
        house.look(NOW + days * DAY)
        assert (name in house.verdict()["cost"]["hours"]) is kept


def test_outcomes_against_the_scores_ask_people_and_train_nothing() -> None:
    house = Monitored(reporter_at_most=0.6)
    made = house.ask(1_000)
    house.report(made, [record["score"] < 0.5 for record in made], by="arn:aws:iam::1:user/eve")
    record = house.look().record
    assert (record.health, record.wanted) == (Health.NEEDS_REDESIGN, None)
    (reason,) = (each for each in record.reasons if "contradict the model: roc_auc" in each)
    assert "arn:aws:iam::1:user/eve reported 100% of them" in reason
    house.ask(1_000, labelled=1.0, ago=HOUR)
    assert house.look().record.reporters == record.reporters == {"arn:aws:iam::1:user/eve": 1_000}


def test_outcomes_that_do_not_count_are_counted() -> None:
    house = Monitored()
    made = house.ask(10, labelled=0.2)
    house.report(made[:1], [not made[0]["label"]], at=NOW + timedelta(minutes=1), by="arn:aws:iam::1:user/eve")
    house.report([made[0] | {"id": "never"}], [True])
    hour = hour_of(NOW - 5 * HOUR)  # nothing was captured in it
    house.report([made[0] | {"id": "nor this", "hour": hour}], [True])
    summary = house.look().record.summary
    assert summary["outcomes"] == {"by": {REPORTER: 2}, "ignored": 1, "uncaptured": 2}
    assert hour not in house.verdict()["volume"]
    assert hour not in house.verdict()["cost"]["hours"]


def test_late_feedback_counts_once_however_often_it_is_looked() -> None:
    house = Monitored(value={"correct": 1.0})
    asked = house.ask(100)
    house.look()
    house.report(asked[:5], [record["label"] for record in asked[:5]])
    assert [shown(house.look(), model=MODEL)["ValueUSD"] for _ in range(2)] == [5.0, 5.0]


def test_an_hour_that_costs_far_more_than_usual_rings_once_looked_at() -> None:
    house = Monitored()
    for days in (1, 2, 3):
        house.ask(50, ago=2 * HOUR + days * DAY, change={"billed_ms": 100.0})
    house.ask(50, change={"billed_ms": 100.0})
    assert house.look().metrics["CostSpike"] == 0.0
    house.ask(500, change={"billed_ms": 100.0})
    looked = house.look()
    assert looked.metrics["CostSpike"] == 1.0
    assert "version 1 grew most: requests, 550 instead of 50" in looked.record.summary["cost"]["spike"]


def test_quality_is_reported_beside_the_design_and_the_features_that_moved() -> None:
    house = Monitored()
    house.ask(2_000, labelled=1.0, wind=26)
    looked = house.look()
    whole = shown(looked, model=MODEL)
    live = house.window()["live"]
    assert (whole["LiveQuality"], whole["DesignQuality"]) == (live["live"]["value"], live["design"]["value"])
    assert "ExpectedQuality" not in whole
    assert shown(looked, model=MODEL, feature="wind")["FeatureShift"] > 0.1
    assert not [each for each, _ in looked.apart if each.get("feature") == "line"]
    house = Monitored()
    house.ask(2_000)
    whole = shown(house.look(), model=MODEL)
    assert whole["ExpectedQuality"] == pytest.approx(whole["DesignQuality"], abs=0.05)
    assert "LiveQuality" not in whole


# Quarantine


def profile_of(house: Monitored) -> Any:
    house.look()
    return house.hour().profile


BAD: list[dict[str, Any]] = [
    {"id": None},
    {"id": ["p"]},
    {"reason": None},
    {"rows": "three"},
    {"rows": 0},
    {"sample": 0.0},
    {"latency_ms": "slow", "billed_ms": None},
    {"billed_ms": float("inf")},
    {"score": "high"},
    {"score": None},
    {"inputs": [1]},
    {"inputs": "wind"},
    {"shadow": 3},
    {"schema": 0},
    {"version": {"a": 1}},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_one_bad_object_is_set_apart_and_the_others_are_judged(bad: dict[str, Any]) -> None:
    house, control = Monitored(), Monitored()
    made = house.ask(500, labelled=1.0, key="fine")
    control.ask(500, labelled=1.0, key="fine")
    house.hours.capture([made[0] | {"id": "other"} | bad | {"hour": made[0]["hour"]}], key="bad")
    looked = house.look()
    assert house.hour().profile == profile_of(control)
    (apart,) = house.verdict()["quarantined"]
    assert apart["key"].endswith("bad")
    assert apart["reason"].startswith("has a record that cannot be read (")
    assert looked.metrics["Quarantined"] == 1.0
    assert looked.record.health is Health.STEADY


@pytest.mark.parametrize("bad", [{"time": None}, {"time": "now"}, {"id": 3}, {"outcome": [1]}], ids=str)
def test_bad_feedback_is_set_apart_and_other_labels_count(bad: dict[str, Any]) -> None:
    house = Monitored()
    made = house.ask(500, labelled=1.0)
    said = outcome_of(made[0]["id"], outcome=True)
    house.hours.report(MODEL, made[0]["hour"], [said | bad], key="bad")
    assert house.look().metrics["Quarantined"] == 1.0
    assert house.hour().labelled.rows == 500


def test_records_that_newer_code_wrote_are_set_apart_and_newer_code_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = Monitored()
    made = house.ask(500, labelled=1.0)
    house.hours.capture([made[0] | {"id": "newer", "schema": CAPTURE_RECORD.schema + 1}], key="newer")
    said = {"id": made[0]["id"], "time": NOW.isoformat(), "outcome": True, "schema": FEEDBACK_RECORD.schema + 1}
    house.hours.report(MODEL, made[0]["hour"], [said])
    looked = house.look()
    assert [each["reason"] for each in house.verdict()["quarantined"]] == ["has a record that newer code wrote"] * 2
    assert (looked.metrics["Quarantined"], looked.metrics["Rows"]) == (2.0, 500.0)
    assert (looked.record.health, house.hour().labelled.rows) == (Health.STEADY, 500)
    form = replace(CAPTURE_RECORD, upgrades=(*CAPTURE_RECORD.upgrades, lambda record: record))
    for place in ("steps.monitoring.monitor", "domain.monitoring.hours"):
        monkeypatch.setattr(f"tidegate.{place}.CAPTURE_RECORD", form)
    assert house.look().metrics["Rows"] == 501.0


@pytest.mark.parametrize("part", ["lines", "outcomes"])
def test_a_service_that_fails_is_no_object_s_fault_and_the_look_is_made_again(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    house = Monitored()
    house.ask(500, labelled=1.0)

    def fails(_: Any) -> Any:
        raise UnavailableError("S3 refuses")

    with monkeypatch.context() as patch:
        patch.setattr(house.hours, part, fails)
        with pytest.raises(UnavailableError):
            house.look()
    assert house.health_records.record(MODEL) is None
    assert house.look().metrics["Quarantined"] == 0.0


def test_quarantine_is_reported_until_somebody_acknowledges_it_and_again_for_the_next_object() -> None:
    house = Monitored()
    made = house.ask(500)

    def bad(key: str) -> None:
        house.hours.capture([made[0] | {"id": key, "rows": 0}], key=key)

    bad("bad-1")
    assert [house.look().metrics["Quarantined"] for _ in range(3)] == [1.0, 1.0, 1.0]
    record = house.health_records.record(MODEL)
    assert record is not None
    house.health_records.save(acknowledge(record, by="ann", reason="a test", now=NOW))
    looked = house.look()
    assert (looked.metrics["Quarantined"], looked.record.health) == (0.0, record.health)
    assert (looked.record.seen_by, looked.record.acknowledged_by) == ("ann", "")
    assert len(house.verdict()["quarantined"]) == 1
    bad("bad-2")
    assert house.look().metrics["Quarantined"] == 1.0
    house.clock.at = NOW + 9 * DAY
    assert house.look(NOW + 9 * DAY).record.quarantined == ()


def test_objects_that_can_only_be_counted_one_by_one_are_left_out_together() -> None:
    house = Monitored()
    made = house.ask(500, ago=3 * HOUR)
    later = house.ask(1)
    for key in ("a", "b"):
        house.hours.capture([later[0] | {"id": key, "billed_ms": 1.5e308}], key=key)
    looked = house.look()
    assert looked.metrics["Quarantined"] == 3.0
    assert house.verdict()["windows"][0]["rows"] == len(made)


def test_a_folder_that_is_no_hour_blinds_nobody() -> None:
    house = Monitored()
    made = house.ask(500)
    house.hours.capture([made[0] | {"hour": made[0]["hour"][:-1] + "x"}], key="stray")
    house.hours.capture([made[0] | {"hour": made[0]["hour"][:-2] + "99"}], key="stray")
    looked = house.look()
    assert looked.record.health is Health.STEADY
    assert all(each["reason"] == "does not lie in the folder of an hour" for each in house.verdict()["quarantined"])


def test_a_broken_verdict_of_the_last_look_is_none() -> None:
    house = Monitored()
    house.ask(500)
    record = house.look().record
    house.verdicts.documents[record.verdicts_key] = "{"
    assert house.look().record.health is Health.STEADY


# What is not what was recorded


def test_a_champion_that_was_never_registered_is_said_and_the_model_is_looked_at_all_the_same() -> None:
    house = Monitored()
    house.ask(600)
    route = house.registry._routes[MODEL]
    house.registry._routes[MODEL] = replace(route, champion=replace(present(route.champion), version=9))
    record = house.look().record
    assert "by the route version 9 answers 100 %" in record.tampered
    assert (record.health, record.version) == (Health.UNKNOWN, None)


def test_a_reference_that_was_replaced_judges_nothing_and_is_said() -> None:
    house = Monitored()
    house.ask(600)
    house.artifacts.objects[RunRef(model=MODEL, run_id="r-1").key(RunFile.REFERENCE)] += b" "
    looked = house.look()
    assert "a file of version 1 was replaced" in looked.record.tampered
    assert (looked.record.health, looked.metrics["Tampered"]) == (Health.UNKNOWN, 1.0)
