"""A run's tables hold the right rows, or the run stops with every fault of the data named."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests.builders.registry import a_version
from tests.builders.release import ReleaseHouse, house_with
from tests.builders.specs import spec
from tests.builders.tables import to_csv, trips
from tidegate.domain.data.dataset import Exclusion
from tidegate.domain.data.splits import training_rows
from tidegate.domain.registry.ledger import Cause
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import RunStatus
from tidegate.domain.rollout.changes import promote
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.training.rules import fitted
from tidegate.kernel.errors import DataCheckError, DatasetInvalidError, NotFoundError
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import CLUSTER, ROW, TARGET, Table
from tidegate.kernel.values import Cells
from tidegate.messages import RunRef
from tidegate.spec.rules.registry import RULES, kind_of
from tidegate.spec.rules.rule import Place, Rule
from tidegate.steps.data.prepare import expand

PERIODS = {
    "train": {"from": "2026-01-01", "to": "2026-02-01"},
    "holdout": {"from": "2026-02-01", "to": "2026-02-15"},
}


def tables(house: ReleaseHouse, ref: RunRef) -> tuple[Table, Table, Table]:
    fit, validation, holdout = (
        Table.from_npz(house.artifacts.get(ref.key(file)))
        for file in (RunFile.FIT, RunFile.VALIDATION, RunFile.HOLDOUT)
    )
    return fit, validation, holdout


def plan_of(house: ReleaseHouse, ref: RunRef) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(house.artifacts.get(ref.key(RunFile.PLAN)))
    return document


def refused(house: ReleaseHouse, **changes: Any) -> str:
    with pytest.raises(DataCheckError) as caught:
        house.prepare(house.request(spec(**changes)))
    assert caught.value.next_step
    assert not house.artifacts.objects
    return str(caught.value)


def test_tables_are_parted_by_time_and_hold_what_later_steps_need() -> None:
    columns = trips()
    house = house_with(columns)
    ref = house.request(spec(split=PERIODS))
    plan = house.prepare(ref)
    fit, validation, holdout = tables(house, ref)
    assert list(fit) == ["line", "wind", "stops", TARGET, CLUSTER, ROW]
    days = np.array(columns["at"], dtype="datetime64[D]")
    assert days[fit[ROW]].max() < days[validation[ROW]].min()
    assert days[validation[ROW]].max() < np.datetime64("2026-02-01") <= days[holdout[ROW]].min()
    assert days[holdout[ROW]].max() < np.datetime64("2026-02-15")
    assert holdout["wind"].tolist() == np.array(columns["wind"])[holdout[ROW]].tolist()
    assert holdout[TARGET].tolist() == np.array(columns["late"]).astype(int)[holdout[ROW]].tolist()
    assert holdout[CLUSTER].tolist() == days[holdout[ROW]].astype(int).tolist()
    assert {fit[name].dtype.kind for name in (TARGET, CLUSTER, ROW)} == {"i"}
    assert plan.train_rows == len(fit) + len(validation)
    assert (plan.validation_rows, plan.holdout_rows) == (len(validation), len(holdout))
    assert plan_of(house, ref)["left_out"]["outside_periods"] == 600 - plan.train_rows - plan.holdout_rows


def test_rolling_periods_are_counted_back_from_the_last_usable_row_and_recorded() -> None:
    columns = trips()
    columns["late"][-1] = None
    days = np.array(columns["at"], dtype="datetime64[D]")
    house = house_with(columns)
    start, end = datetime(2026, 2, 25, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    house.catalog.exclude(Exclusion("trips", "strike", start, end, "strike", "ana", start))
    ref = house.request(spec(split={"holdout_days": 14, "train_days": 30}))
    plan = house.prepare(ref)
    fit, validation, holdout = tables(house, ref)
    assert (
        np.unique(days[holdout[ROW]]).tolist() == np.arange("2026-02-11", "2026-02-25", dtype="datetime64[D]").tolist()
    )
    trained = np.unique(days[training_rows(fit, validation)[ROW]])
    assert (trained.min(), trained.max()) == (np.datetime64("2026-01-12"), np.datetime64("2026-02-10"))
    found = plan_of(house, ref)
    assert found["split"] == {
        "train": ["2026-01-11T08:00:00.000001", "2026-02-10T08:00:00.000001"],
        "holdout": ["2026-02-10T08:00:00.000001", "2026-02-24T08:00:00.000001"],
    }
    assert found["periods"]["holdout"] == ["2026-02-11T08:00:00", "2026-02-24T08:00:00"]
    left = found["left_out"]
    assert left["outside_periods"] == 600 - left["excluded"] - plan.train_rows - plan.holdout_rows > 0


def test_a_split_without_train_days_trains_on_all_rows_before_the_holdout() -> None:
    house = house_with(trips())
    ref = house.request(spec(split={"holdout_days": 14}))
    plan = house.prepare(ref)
    assert plan.train_rows + plan.holdout_rows == 600
    assert plan_of(house, ref)["left_out"]["outside_periods"] == 0


def test_newer_data_moves_rolling_periods_along() -> None:
    columns = trips()
    early = next(row for row, at in enumerate(columns["at"]) if at >= "2026-02-15")
    house = house_with({name: values[:early] for name, values in columns.items()})
    split = {"holdout_days": 7, "train_days": 30}
    house.prepare(house.request(spec(split=split)))
    first = plan_of(house, RunRef(model="trip-delay", run_id="run-1"))["split"]
    house.register(house.upload(to_csv(columns)))
    house.prepare(house.request(spec(split=split), "run-2"))
    second = plan_of(house, RunRef(model="trip-delay", run_id="run-2"))["split"]
    assert first["holdout"][1].startswith("2026-02-14")
    assert second["holdout"][1].startswith("2026-03-01")


def test_a_dataset_that_is_too_short_for_rolling_periods_is_refused() -> None:
    shown = refused(house_with(trips()), split={"holdout_days": 30, "train_days": 90})
    assert "split.holdout_days: asks for 30 days to hold out and 90 to train on, but the rows span 59 days" in shown
    assert "(2026-01-01 08:00 to 2026-03-01 08:00)" in shown


def test_the_plan_names_personal_columns_and_the_fixed_periods() -> None:
    house = house_with(trips(), pii=("driver",))
    ref = house.request(spec(split=PERIODS))
    house.prepare(ref)
    found = plan_of(house, ref)
    assert found["personal"] == ["driver"]
    assert found["split"]["holdout"] == ["2026-02-01T00:00:00.000000", "2026-02-15T00:00:00.000000"]
    by_share = house.request(spec(), "run-2")
    house.prepare(by_share)
    assert plan_of(house, by_share)["split"] == {"train": None, "holdout": None}


def test_the_run_records_what_it_was_made_from() -> None:
    house = house_with(trips())
    ref = house.request(spec())
    plan = house.prepare(ref)
    run = house.registry.run(ref.model, ref.run_id)
    assert (run.status, run.stage) == (RunStatus.RUNNING, "prepare")
    assert run.dataset_version == plan.dataset_version == house.catalog.dataset("trips").latest
    assert (run.code_version, run.lock_hash, run.exclusions) == ("c0ffee", "10cc", ())


def test_a_run_that_fails_at_once_still_records_code_and_lock() -> None:
    house = house_with(trips())
    ref = house.request(spec(dataset="nowhere"))
    with pytest.raises(NotFoundError):
        house.prepare(ref)
    run = house.registry.run(ref.model, ref.run_id)
    assert (run.code_version, run.lock_hash, run.stage) == ("c0ffee", "10cc", "prepare")


def test_preparing_again_writes_the_same_bytes_even_when_newer_data_has_come() -> None:
    house = house_with(trips())
    ref = house.request(spec())
    first, before = house.prepare(ref), dict(house.artifacts.objects)
    house.register(house.upload(to_csv(trips(seed=9))))
    assert house.prepare(ref) == first
    assert house.artifacts.objects == before


def test_excluded_periods_and_rows_without_an_answer_are_left_out_and_counted() -> None:
    columns = trips()
    columns["late"][5] = None
    house = house_with(columns)
    start, end = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC)
    house.catalog.exclude(Exclusion("trips", "strike", start, end, "strike", "ana", start))
    ref = house.request(spec())
    house.prepare(ref)
    days = np.array(columns["at"], dtype="datetime64[D]")
    struck = (days >= np.datetime64("2026-01-10")) & (days < np.datetime64("2026-01-20"))
    used = np.concatenate([table[ROW] for table in tables(house, ref)])
    assert not struck[used].any()
    assert 5 not in used
    assert plan_of(house, ref)["left_out"] == {
        "excluded": int(struck.sum()),
        "missing_target": 1,
        "straddling_groups": 0,
    }
    assert house.registry.run(ref.model, ref.run_id).exclusions == ("strike",)


@pytest.mark.parametrize(("periods", "left_out"), [(0, 0), (1, 1)])
def test_a_row_without_a_time_may_lie_in_an_excluded_period(periods: int, left_out: int) -> None:
    columns = trips()
    columns["at"][7] = None
    house = house_with(columns)
    start, end = datetime(2025, 1, 10, tzinfo=UTC), datetime(2025, 1, 20, tzinfo=UTC)
    for _ in range(periods):
        house.catalog.exclude(Exclusion("trips", "strike", start, end, "strike", "ana", start))
    ref = house.request(spec(time=None, gate={"resample_by": "row"}))
    house.prepare(ref)
    assert plan_of(house, ref)["left_out"].get("excluded", 0) == left_out
    used = np.concatenate([table[ROW] for table in tables(house, ref)])
    assert (7 in used) is not bool(left_out)


def test_a_row_without_the_time_of_the_spec_is_a_fault_whatever_is_excluded() -> None:
    columns = trips()
    columns["at"][7] = None
    house = house_with(columns)
    start, end = datetime(2025, 1, 10, tzinfo=UTC), datetime(2025, 1, 20, tzinfo=UTC)
    house.catalog.exclude(Exclusion("trips", "strike", start, end, "strike", "ana", start))
    assert "time.at: is missing in 1 row" in refused(house)


def test_a_target_that_loses_many_rows_stops_the_training_with_counts_unless_the_spec_allows_them() -> None:
    columns = trips()
    columns["late"][:7] = [None] * 7
    shown = refused(house_with(columns))
    assert "target.late: is missing in 7 of 600 rows (1.17%), more than checks.missing_target_at_most, 1.00%" in shown
    house = house_with(columns)
    ref = house.request(spec(checks={"missing_target_at_most": 0.02}))
    house.prepare(ref)
    assert plan_of(house, ref)["left_out"]["missing_target"] == 7


def test_what_was_declared_of_the_dataset_travels_in_the_contract() -> None:
    house = house_with(trips(), missing=("unknown",), decimal=",", time_format="%d/%m/%Y")
    ref = house.request(spec(features=[{"name": "line", "kind": "categorical"}, {"name": "stops", "kind": "integer"}]))
    house.prepare(ref)
    contract = Contract.from_json(plan_of(house, ref)["contract"])
    assert contract.cells == Cells(
        {"line": "categorical", "stops": "integer"}, frozenset({"", "unknown"}), ",", "%d/%m/%Y"
    )


def test_the_first_text_among_numbers_is_named_before_anything_is_trained() -> None:
    columns = trips()
    columns["delay"][7] = columns["delay"][9] = "late"
    columns["wind"][3] = "calm"
    said = refused(
        house_with(columns),
        task="regression",
        target="delay",
        metric="mae",
        baseline={"kind": "prior"},
        candidates=[{"estimator": "sklearn.linear_model.Ridge"}],
    )
    assert "target.delay: is a text column; regression needs numbers; 2 of 600 values (0.33%) are not numbers" in said
    assert "the first, 'late', is in row 8" in said
    assert "features.wind: is numeric in the spec, but text in the dataset; 1 of 600 values" in said


def test_a_class_named_none_is_a_class() -> None:
    columns = trips()
    columns["late"] = ["late" if late else "None" for late in columns["late"]]
    house = house_with(columns)
    ref = house.request(spec(positive_class="late"))
    house.prepare(ref)
    assert Contract.from_json(plan_of(house, ref)["contract"]).classes == ("None", "late")
    assert plan_of(house, ref)["left_out"]["missing_target"] == 0


def test_numbers_that_the_model_gets_as_others_are_noted_and_compared_as_it_gets_them() -> None:
    columns = trips()
    columns["day"] = (1_767_254_400 + np.arange(len(columns["late"]))).tolist()
    columns["big"] = (1e15 + np.round(columns["wind"])).tolist()
    columns["wind_again"] = (np.array(columns["wind"]) + 1e-9).tolist()
    features = [{"name": name, "kind": "numeric"} for name in ("wind", "day", "big", "wind_again")]
    shown = refused(house_with(columns), features=[{"name": "line", "kind": "categorical"}, *features])
    assert "features.big: has values that all become one" in shown
    assert "features.wind_again: equals features.wind" in shown
    house = house_with(columns)
    ref = house.request(spec(features=[{"name": "line", "kind": "categorical"}, *features[:2]]))
    house.prepare(ref)
    assert any(note.startswith("features.day: ") for note in plan_of(house, ref)["notes"])


def test_groups_are_kept_whole() -> None:
    house = house_with(trips())
    ref = house.request(spec(time=None, group="driver", gate={"resample_by": "group"}))
    house.prepare(ref)
    drivers = np.array(trips()["driver"])
    fit, validation, holdout = (set(drivers[table[ROW]]) for table in tables(house, ref))
    assert not fit & validation
    assert not (fit | validation) & holdout


def test_the_plan_holds_the_contract_with_the_categories_that_training_knew() -> None:
    house = house_with(trips())
    ref = house.request(spec())
    house.prepare(ref)
    contract = Contract.from_json(plan_of(house, ref)["contract"])
    assert (contract.classes, contract.positive, contract.task) == ((False, True), 1, "binary")
    assert contract.categorical[0].categories == ("blue", "green", "red")
    assert [feature.name for feature in contract.numeric] == ["wind", "stops"]


def test_the_plan_records_how_each_computed_feature_is_computed_and_what_it_learned_of_training_rows_alone() -> None:
    house = house_with(trips())
    computed = [
        {"name": "gusty", "expression": "wind / (stops + 1)", "unit": "m/s"},
        {"name": "usual", "expression": "group_rate(line, min_rows=30)"},
    ]
    ref = house.request(spec(split=PERIODS, computed=computed))
    house.prepare(ref)
    fit, validation, _ = tables(house, ref)
    training = training_rows(fit, validation)
    plan = plan_of(house, ref)
    contract = Contract.from_json(plan["contract"])
    (rates,) = contract.computed[1].rates
    assert rates.overall == np.float32(training[TARGET].mean())
    blue = training[TARGET][training["line"] == "blue"].mean()
    assert dict(rates.groups)["blue",] == np.float32(blue)
    assert [(each["name"], each["expression"]) for each in plan["computed"]] == [
        ("gusty", "wind / (stops + 1)"),
        ("usual", "group_rate(line, min_rows=30)"),
    ]
    assert plan["computed"][1]["learned"][0]["groups"] == 3
    assert list(fit) == ["line", "wind", "stops", TARGET, CLUSTER, ROW]
    assert not Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.STAND_IN))).contract.computed


def test_the_baseline_is_fitted_on_all_training_rows() -> None:
    house = house_with(trips())
    ref = house.request(spec())
    house.prepare(ref)
    rule = FittedRule.from_json(json.loads(house.artifacts.get(ref.key(RunFile.BASELINE))))
    fit, validation, _ = tables(house, ref)
    late, line = (np.concatenate([fit[name], validation[name]]) for name in (TARGET, "line"))
    assert rule.score({"line": "red"})[1] == pytest.approx(late[line == "red"].mean())


def test_the_fallback_is_fitted_on_all_training_rows_and_is_the_baseline_when_none_is_declared() -> None:
    house = house_with(trips())
    ref = house.request(spec())
    house.prepare(ref)
    fallback = Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.STAND_IN)))
    assert fallback.contract == Contract.from_json(plan_of(house, ref)["contract"])
    assert fallback.rule == FittedRule.from_json(json.loads(house.artifacts.get(ref.key(RunFile.BASELINE))))


@pytest.mark.parametrize("rule", RULES, ids=kind_of)
def test_every_rule_is_learned_of_the_training_rows(rule: type[Rule]) -> None:
    chance = np.random.default_rng(3)
    hours = chance.integers(0, 24, 600)
    columns = trips() | {"carrier": np.where(hours < 12, "AA", "UA").tolist(), "hour": hours.tolist()}
    features = [{"name": "carrier", "kind": "categorical"}, {"name": "hour", "kind": "integer"}]
    house = house_with(columns)
    places = {place.value: dict(rule.example) for place in rule.tasks}
    ref = house.request(spec(**{"baseline": {"kind": "prior"}, "features": features} | places))
    house.prepare(ref)
    training = training_rows(*tables(house, ref)[:2])
    served = Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.STAND_IN))).rule
    assert served.kind == kind_of(rule)
    order = np.array(columns["at"], dtype="datetime64[s]")[training[ROW]]
    wanted = fitted(
        rule.model_validate(rule.example), table=training, target=training[TARGET], classes=(False, True), order=order
    )
    assert served == wanted
    if Place.BASELINE in rule.tasks:
        assert FittedRule.from_json(json.loads(house.artifacts.get(ref.key(RunFile.BASELINE)))) == wanted


def test_a_moving_average_takes_the_latest_training_rows_by_time() -> None:
    columns = trips()
    house = house_with({name: values[::-1] for name, values in columns.items()})
    rules = [{"name": "in-range", "require": "0 <= score <= 1"}]
    ref = house.request(spec(fallback={"kind": "moving_average", "rows": 50}, rules=rules))
    house.prepare(ref)
    fallback = Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.STAND_IN)))
    fit, validation, _ = tables(house, ref)
    training = training_rows(fit, validation)
    days = np.array(columns["at"][::-1], dtype="datetime64[D]")[training[ROW]]
    latest = np.argsort(days, kind="stable")[-50:]
    assert days[latest].min() > days.min()
    assert fallback.rule.score({})[1] == pytest.approx(training[TARGET][latest].mean())
    assert [rule.name for rule in fallback.contract.rules] == ["in-range"]


def test_an_expression_serves_as_the_fallback() -> None:
    house = house_with(trips())
    ref = house.request(spec(fallback={"kind": "arithmetic", "expression": "0.25 + wind / 80"}))
    house.prepare(ref)
    fallback = Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.STAND_IN)))
    (answer,) = fallback.answers([{"wind": 40, "line": "red", "stops": 3}])
    assert answer == {"label": True, "score": 0.75, "probabilities": {"false": 0.25, "true": 0.75}}


def test_grids_expand_in_one_order() -> None:
    wanted = spec(
        candidates=[
            {
                "estimator": "sklearn.tree.DecisionTreeClassifier",
                "parameters": {"min_samples_leaf": 5},
                "grid": {"max_depth": [4, 2], "criterion": ["gini", "entropy"]},
            },
            {"estimator": "sklearn.naive_bayes.GaussianNB", "encode": "onehot"},
        ]
    )
    points = expand(wanted)
    assert [point.index for point in points] == [0, 1, 2, 3, 4]
    assert [(point.parameters["criterion"], point.parameters["max_depth"]) for point in points[:4]] == [
        ("gini", 4),
        ("gini", 2),
        ("entropy", 4),
        ("entropy", 2),
    ]
    assert points[0].parameters["min_samples_leaf"] == 5
    assert (points[4].parameters, points[4].encode) == ({}, "onehot")


def test_features_that_only_the_champion_has_come_along_as_it_reads_them() -> None:
    columns = trips()
    columns["driver"] = [f"0{name[1:]}" for name in columns["driver"]]  # codes, which would be numbers without a kind
    house = house_with(columns)
    old = spec(
        features=[{"name": "driver", "kind": "categorical"}, {"name": "wind", "kind": "numeric"}],
        baseline={"kind": "prior"},
    )
    ref = house.request(old, "run-0")
    version = a_version(ref.run_id, model=ref.model, spec_digest=old.digest, dataset="trips")
    stored = house.registry.register(version, at=house.clock.now())
    promotion = promote(None, stored, Cause(house.clock.now(), "ana", "first"))
    assert promotion is not None
    house.registry.change(promotion)
    assert isinstance(house.registry.route(ref.model), Route)
    assert promotion.route.champion == stored.served

    new = house.request(spec(), "run-1")
    house.prepare(new)
    untimed = house.request(spec(time=None, gate={"resample_by": "row"}), "run-2")
    house.prepare(untimed)
    for run, warned in ((new, False), (untimed, True)):
        assert any("rows that it learned from" in note for note in plan_of(house, run)["notes"]) is warned
    _, _, holdout = tables(house, new)
    assert list(holdout) == ["line", "wind", "stops", "driver", TARGET, CLUSTER, ROW]
    assert {code[0] for code in holdout["driver"]} == {"0"}


def test_every_fault_is_reported_at_once() -> None:
    columns = trips()
    columns["wind"][3] = None
    house = house_with(columns, outcome=("delay",))
    features = [
        {"name": "line", "kind": "categorical", "categories": ["blue", "red"], "unseen": "reject"},
        {"name": "wind", "kind": "numeric", "max": 30},
        {"name": "stop", "kind": "integer"},
        {"name": "delay", "kind": "numeric"},
        {"name": "driver", "kind": "numeric"},
        {"name": "trip", "kind": "categorical"},
    ]
    shown = refused(house, features=features, ids=["number"], baseline={"kind": "prior"})
    for word in (
        "features.line", "'green'",
        "features.wind", "are missing", "above max 30",
        "features.stop", "did you mean 'stops'?",
        "features.delay", "outcome column",
        "features.driver", "is numeric in the spec, but text in the dataset",
        "features.trip", "memorise",
        "ids.number",
    ):  # fmt: skip
        assert word in shown
    assert shown.count("features.delay") == 1


def test_a_leak_that_nobody_declared_is_found() -> None:
    house = house_with(trips())
    features = [*spec().model_dump(mode="json")["features"], {"name": "delay", "kind": "numeric"}]
    shown = refused(house, features=features)
    assert re.search(
        r"features\.delay: alone predicts the target with AUC 1\.000 \[1\.000, 1\.000\]: a copy, by the limit of "
        r"0\.99 \(the next feature, \w+, has 0\.[5-8]\d\d \[.*\]\)\. It is probably known only after the fact",
        shown,
    ), shown


def test_a_person_can_vouch_for_a_strong_feature_but_never_for_an_outcome_column() -> None:
    vouched = {"name": "delay", "kind": "numeric", "known_in_advance": True}
    features = [*spec().model_dump(mode="json")["features"], vouched]
    house = house_with(trips())
    ref = house.request(spec(features=features))
    house.prepare(ref)
    assert plan_of(house, ref)["strength_alone"]["delay"] > 0.95
    shown = refused(house_with(trips(), outcome=("delay",)), features=features)
    assert "features.delay: is an outcome column" in shown


@pytest.mark.parametrize(("end", "same"), [("2026-02-14T09:00:00", True), ("2026-02-14", False)])
def test_the_rows_of_the_holdout_have_a_hash_whatever_chose_them(end: str, *, same: bool) -> None:
    """All trips leave at 8, so the same rows lie before 9 and before midnight."""
    house = house_with(trips())
    other = {**PERIODS, "holdout": {**PERIODS["holdout"], "to": end}}
    first, second = house.request(spec(split=PERIODS)), house.request(spec(split=other, seed=6), "run-2")
    for ref in (first, second):
        house.prepare(ref)
    assert (plan_of(house, first)["holdout_sha256"] == plan_of(house, second)["holdout_sha256"]) is same


def test_values_outside_the_periods_are_nobody_s_business() -> None:
    columns = trips()
    late_february = next(row for row, at in enumerate(columns["at"]) if at >= "2026-02-20")
    columns["wind"][late_february] = 10_000.0
    house = house_with(columns)
    house.prepare(house.request(spec(split=PERIODS)))
    with pytest.raises(DataCheckError, match="above max 150"):
        house.prepare(house.request(spec(), "run-2"))


def test_periods_without_rows_are_named() -> None:
    periods = {"train": {"from": "2025-01-01", "to": "2025-02-01"}, "holdout": PERIODS["holdout"]}
    shown = refused(house_with(trips()), split=periods)
    assert "split.train: leaves 0 rows to fit" in shown


def test_a_dataset_whose_every_row_is_excluded_says_so() -> None:
    house = house_with(trips())
    start, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    house.catalog.exclude(Exclusion("trips", "all", start, end, "audit", "ana", start))
    assert "no rows are left (600 excluded)" in refused(house)


def test_missing_times_are_a_fault() -> None:
    columns = trips()
    columns["at"][0] = None
    assert "time.at: is missing in 1 row" in refused(house_with(columns))


def test_a_regression_has_no_classes() -> None:
    house = house_with(trips())
    ref = house.request(
        spec(
            task="regression",
            target="delay",
            metric="rmse",
            candidates=[{"estimator": "sklearn.linear_model.Ridge"}],
        )
    )
    house.prepare(ref)
    fit, _, _ = tables(house, ref)
    assert fit[TARGET].dtype == np.float64
    assert Contract.from_json(plan_of(house, ref)["contract"]).classes == ()


def test_a_version_that_is_not_ready_is_refused() -> None:
    house = house_with(trips())
    waiting = house.upload(to_csv(trips(seed=3)))
    ref = house.request(spec())
    house.registry.note(ref.model, ref.run_id, "requested", house.clock.now(), dataset_version=waiting.version)
    with pytest.raises(DatasetInvalidError, match="is registering"):
        house.prepare(ref)


def test_columns_that_judge_a_version_are_kept_in_the_holdout_alone() -> None:
    columns = trips()
    columns["weekend"] = [number % 7 > 4 for number in range(600)]
    house = house_with(columns)
    ref = house.request(spec(gate={"resample_by": "day", "slices": ["line", "delay", "weekend"]}, sensitive=["driver"]))
    house.prepare(ref)
    fit, validation, holdout = tables(house, ref)
    assert list(fit) == list(validation) == ["line", "wind", "stops", TARGET, CLUSTER, ROW]
    assert list(holdout) == ["line", "wind", "stops", "delay", "weekend", "driver", TARGET, CLUSTER, ROW]
    assert holdout["driver"].tolist() == np.array(columns["driver"])[holdout[ROW]].tolist()
    assert holdout["delay"].tolist() == np.array(columns["delay"])[holdout[ROW]].tolist()
    assert set(holdout["weekend"].tolist()) == {"true", "false"}


def test_a_column_to_judge_by_must_be_there_and_no_time() -> None:
    house = house_with(trips() | {"seen": trips()["at"]})
    shown = refused(house, gate={"slices": ["lin"]}, sensitive=["seen"])
    assert "gate.slices.lin: the files have no such column; did you mean 'line'?" in shown
    assert "sensitive.seen: is a time column; use a column of the part that matters, such as the hour" in shown


def with_contacts() -> dict[str, Any]:
    columns = trips()
    columns["contact"] = [f"passenger{number}@example.com" for number in range(600)]
    columns["card"] = [4111111111111111 if number % 2 else 5500005555555559 for number in range(600)]
    return columns


def test_personal_data_that_nobody_declared_stops_the_training_without_showing_any() -> None:
    shown = refused(house_with(with_contacts()))
    assert "pii.contact: 600 of 600 different values (100.00%) look like e-mail addresses" in shown
    assert "pii.card: 2 of 2 different values (100.00%) look like payment card numbers" in shown
    assert "dataset trips (--pii)" in shown
    for value in ("passenger", "example.com", "4111", "5500"):
        assert value not in shown


def test_personal_data_that_is_declared_is_no_fault() -> None:
    house = house_with(with_contacts(), pii=("contact", "card"))
    ref = house.request(spec())
    house.prepare(ref)
    assert plan_of(house, ref)["notes"] == []


def test_a_person_can_say_that_what_looks_personal_is_not_and_that_is_noted() -> None:
    house = house_with(with_contacts(), pii=("card",))
    ref = house.request(spec(checks={"not_personal": ["contact"]}))
    house.prepare(ref)
    (note,) = plan_of(house, ref)["notes"]
    assert note.startswith("pii.contact: 600 of 600 different values")
    assert "checks.not_personal.contct: the files have no such column; did you mean 'contact'?" in refused(
        house_with(with_contacts()), checks={"not_personal": ["contct"]}
    )


def test_a_suspected_feature_s_values_are_reported_by_no_other_check() -> None:
    mail = {"name": "contact", "kind": "categorical", "categories": ["none"], "unseen": "reject"}
    features = [*spec().model_dump(mode="json")["features"], mail]
    shown = refused(house_with(with_contacts()), features=features)
    assert "features.contact: 600 of 600 values (100.00%) are not a listed category;" in shown
    assert "passenger" not in shown


def test_a_licence_that_the_deployment_does_not_allow_stops_the_training() -> None:
    house = house_with(trips(), licence="CC-BY-NC-4.0")
    house.allowed_licences = ("CC0-1.0", "MIT")
    shown = refused(house)
    assert "licence: dataset trips has the licence 'CC-BY-NC-4.0', which this deployment does not allow" in shown
    assert "(allowed: CC0-1.0, MIT)" in shown
    house.describe(licence="cc0-1.0")
    house.prepare(house.request(spec(), "run-2"))


def test_faults_of_the_dataset_and_of_its_data_are_reported_together() -> None:
    columns = with_contacts() | {"wind_again": trips()["wind"]}
    columns["wind"][3] = columns["wind_again"][3] = 999.0
    house = house_with(columns, licence="secret", origin=" ")
    house.allowed_licences = ("MIT",)
    features = [*spec().model_dump(mode="json")["features"], {"name": "wind_again", "kind": "numeric"}]
    shown = refused(house, features=features, sensitive=["seat"], target="lat")
    for word in (
        "licence: ", "origin: ", "pii.contact", "pii.card", "sensitive.seat", "target.lat", "features.wind: 1 of 600",
        "features.wind_again: equals features.wind in every training row",
    ):  # fmt: skip
        assert word in shown


def test_repeated_rows_are_noted_or_refused_as_the_spec_says() -> None:
    columns = {name: [*values, *values[:60]] for name, values in trips().items()}
    split = {"holdout_fraction": 0.2, "validation_fraction": 0.2}
    house = house_with(columns)
    ref = house.request(spec(time=None, split=split, gate={}))
    house.prepare(ref)
    repeated, copied = sorted(plan_of(house, ref)["notes"], reverse=True)
    assert repeated.startswith("split.train: ")
    assert repeated.endswith("repeat an earlier one in every column")
    assert copied.startswith("split.holdout: ")
    shown = refused(house_with(columns), time=None, split=split, gate={}, checks={"duplicate_rows_at_most": 0})
    assert "more than checks.duplicate_rows_at_most, 0.00%" in shown


def test_a_target_that_shifts_beyond_the_spec_s_limit_stops_the_training() -> None:
    columns = trips()
    columns["late"] = [late or at >= "2026-02-18" for late, at in zip(columns["late"], columns["at"], strict=True)]
    shown = refused(house_with(columns))
    assert "target.late: has a different distribution in the holdout" in shown
    assert "more than monitoring.target_shift, 0.25" in shown
    house = house_with(columns)
    ref = house.request(spec(monitoring={"target_shift": 0.9}))
    house.prepare(ref)
    (note,) = plan_of(house, ref)["notes"]
    assert note.startswith("target.late: has a different distribution in the holdout")
