import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.specs import faults_of, spec_document
from tidegate.domain.rollout.canary import Metric as CanaryMetric
from tidegate.kernel.errors import SpecInvalidError
from tidegate.kernel.metrics.registry import of_task
from tidegate.spec.estimators.registry import CANDIDATES, LEFT_OUT, estimators_of
from tidegate.spec.model import ModelSpec, json_schema
from tidegate.spec.part import Task
from tidegate.spec.release import Compared

VALID = spec_document(
    positive_class=None,
    release=None,
    features=[
        {"name": "carrier", "kind": "categorical", "unseen": "reject", "categories": ["AA", "UA"]},
        {"name": "distance", "kind": "numeric", "unit": "miles", "min": 0, "max": 6000},
    ],
    split={
        "train": {"from": "2013-01-01", "to": "2013-05-01"},
        "holdout": {"from": "2013-05-01", "to": "2013-06-01"},
    },
)


def spec_with(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(VALID) | changes


def test_a_valid_spec_survives_a_round_trip_through_its_canonical_json() -> None:
    spec = ModelSpec.parse(VALID)
    assert ModelSpec.parse(json.loads(spec.canonical_json())) == spec


def test_the_digest_names_the_meaning_not_the_spelling() -> None:
    yaml_text = json.dumps(VALID, indent=4)
    assert ModelSpec.parse_yaml(yaml_text).digest == ModelSpec.parse(VALID).digest
    assert ModelSpec.parse(spec_with(seed=1)).digest != ModelSpec.parse(VALID).digest


def test_writing_a_default_out_does_not_change_the_digest() -> None:
    assert ModelSpec.parse(spec_with(seed=0)).digest == ModelSpec.parse(VALID).digest


def test_a_spec_in_the_old_words_means_the_same() -> None:
    old = spec_with(watch={"min_rows": 200}, release={"watch_hours": 2})
    new = spec_with(monitoring={"min_rows": 200}, release={"probation_hours": 2})
    assert ModelSpec.parse(old) == ModelSpec.parse(new)
    assert (ModelSpec.parse(old).monitoring.min_rows, ModelSpec.parse(old).release.probation_hours) == (200, 2)


def test_a_setting_under_its_old_and_its_new_name_is_a_fault() -> None:
    both = spec_with(watch={}, monitoring={}, release={"watch_hours": 2, "probation_hours": 2})
    assert set(faults_of(both)) == {"watch", "release.watch_hours"}


def test_dates_without_a_zone_mean_utc() -> None:
    shifted = spec_with()
    shifted["split"]["train"]["from"] = "2013-01-01T02:00:00+02:00"
    assert ModelSpec.parse(shifted) == ModelSpec.parse(VALID)


def test_every_fault_is_named_at_once_with_its_path() -> None:
    document = spec_with(name="Bad Name", metric="rmse", baseline={"kind": "magic"}, surprise=1)
    document["features"][1]["kind"] = "numerc"
    document["candidates"].append({"estimator": "os.system"})
    document["split"].pop("holdout")
    faults = faults_of(document)
    assert set(faults) == {
        "name", "metric", "baseline", "surprise", "features[1].kind", "candidates[1].estimator", "split",
    }  # fmt: skip
    assert "numeric, integer, boolean, categorical" in faults["features[1].kind"]
    assert "roc_auc" in faults["metric"]


def test_a_fault_in_one_field_does_not_hide_faults_between_others() -> None:
    document = spec_with(owner="", metric="mae", positive_class=1, task="multiclass")
    assert {"owner", "metric", "positive_class", "baseline.kind"} <= set(faults_of(document))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"task": "regression", "metric": "rmse"}, "candidates[0].estimator"),
        ({"baseline": {"kind": "group_rate", "by": ["tailnum"]}}, "baseline.by[0]"),
        ({"baseline": {"kind": "constant", "value": 3}}, "baseline.value"),
        ({"baseline": {}}, "baseline.kind"),
        ({"target": "distance"}, "features[1].name"),
        ({"ids": ["distance"]}, "features[1].name"),
        ({"time": None}, "time"),
        ({"gate": {"resample_by": "group"}}, "group"),
        ({"targets": {"metric_at_most": 0.5}}, "targets.metric_at_most"),
        ({"features": []}, "features"),
        ({"candidates": [{"estimator": "sklearn.svm.NoSuchThing"}]}, "candidates[0].estimator"),
        (
            {"candidates": [{"estimator": "sklearn.linear_model.LogisticRegression", "grid": {"C": []}}]},
            "candidates[0].grid",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(change: dict[str, Any], path: str) -> None:
    assert path in faults_of(spec_with(**change))


def test_a_grid_that_explodes_is_refused_before_it_costs_anything() -> None:
    grid = {"C": list(range(1, 20)), "max_iter": list(range(100, 120))}
    document = spec_with(candidates=[{"estimator": "sklearn.linear_model.LogisticRegression", "grid": grid}])
    assert "380 runs" in faults_of(document)["candidates"]


def test_a_holdout_that_overlaps_training_is_refused() -> None:
    document = spec_with()
    document["split"]["holdout"]["from"] = "2013-04-01"
    assert "before training ends" in faults_of(document)["split"]


@pytest.mark.parametrize("text", ["", "- a\n- b", "name: [", "just words"])
def test_what_is_no_mapping_is_refused_without_a_traceback(text: str) -> None:
    with pytest.raises(SpecInvalidError):
        ModelSpec.parse_yaml(text)


@pytest.mark.parametrize("text", ["[" * 600, "a: &a [*a]", json.dumps(VALID)[:-1] + ', "seed": 1, "ids": ["a"]}'])
def test_depth_and_self_reference_end_in_a_fault_or_a_spec(text: str) -> None:
    try:
        assert ModelSpec.parse_yaml(text).digest
    except SpecInvalidError:
        with pytest.raises(SpecInvalidError):
            ModelSpec.parse_yaml(text)


@pytest.mark.parametrize("parameter", [float("nan"), float("inf")])
def test_a_parameter_that_json_cannot_hold_is_refused(parameter: float) -> None:
    document = spec_with()
    document["candidates"][0]["parameters"] = {"tol": parameter}
    assert "JSON" in str(faults_of(document))


def test_yaml_cannot_build_objects() -> None:
    with pytest.raises(SpecInvalidError):
        ModelSpec.parse_yaml("!!python/object/apply:os.system ['true']")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(VALID)), value=json_values)
def test_any_value_in_any_field_is_accepted_or_refused_with_faults(field: str, value: Any) -> None:
    document = spec_with(**{field: value})
    try:
        ModelSpec.parse(document)
    except SpecInvalidError:
        assert faults_of(document)


def test_the_json_schema_names_every_field() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(ModelSpec.model_fields)
    assert schema["$schema"].startswith("https://json-schema.org/")


def test_each_task_has_metrics_and_estimators() -> None:
    for task in Task:
        assert of_task(task)
        assert estimators_of(task)


def test_the_schema_lists_every_estimator_with_a_sentence() -> None:
    choice = json_schema()["$defs"]["Candidate"]["properties"]["estimator"]
    assert choice["enum"] == list(CANDIDATES)
    assert choice["enumDescriptions"] == [each.words for each in CANDIDATES.values()]


def test_parameters_that_the_estimator_lacks_are_faults_of_a_new_spec_and_stored_ones_are_still_read() -> None:
    tree = {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_dept": 3}, "grid": {"deep": [1]}}
    document = spec_with(candidates=[tree])
    faults = faults_of(document)
    assert set(faults) == {"candidates[0].parameters.max_dept", "candidates[0].grid.deep"}
    assert "DecisionTreeClassifier has no such parameter" in faults["candidates[0].parameters.max_dept"]
    assert "max_depth" in faults["candidates[0].grid.deep"]
    assert set(faults_of(document | {"owner": ""})) == {*faults, "owner"}
    assert ModelSpec.model_validate_json(json.dumps(document, default=str)).candidates[0].parameters == {"max_dept": 3}


CALIBRATED, VOTING = "sklearn.calibration.CalibratedClassifierCV", "sklearn.ensemble.VotingClassifier"
VECTORS = {"of": "sklearn.svm.LinearSVC", "parameters": {"C": 0.1}}
FOREST = {"of": "sklearn.ensemble.RandomForestClassifier"}
BOOSTED = {"of": "sklearn.ensemble.AdaBoostClassifier", "parameters": {"estimator": FOREST}}


def candidate_faults(name: str, parameters: dict[str, Any], **more: Any) -> dict[str, str]:
    candidate = {"estimator": name, "parameters": parameters} | more
    faults = faults_of(spec_with(candidates=[candidate]))
    return {path.removeprefix("candidates[0]."): text for path, text in faults.items()}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        (CALIBRATED, {"estimator": VECTORS, "method": "isotonic"}),
        (CALIBRATED, {"estimator": {"of": VOTING, "parameters": {"estimators": [FOREST, BOOSTED]}}}),
        (CALIBRATED, {"estimator": None}),
        (VOTING, {"estimators": [FOREST, BOOSTED], "weights": [1, 2]}),
    ],
)
def test_estimators_may_stand_inside_others(name: str, parameters: dict[str, Any]) -> None:
    document = spec_with(candidates=[{"estimator": name, "parameters": parameters}])
    found = ModelSpec.parse(document)
    assert found.candidates[0].parameters == parameters
    assert json.loads(found.canonical_json())["candidates"][0]["parameters"] == parameters


def test_a_grid_may_list_estimators() -> None:
    grid = {"estimator": [VECTORS, FOREST, None]}
    assert ModelSpec.parse(spec_with(candidates=[{"estimator": CALIBRATED, "grid": grid}])).candidates[0].size == 3
    wrong = {"estimator": [VECTORS, {"of": FOREST["of"], "parameters": {"tree": 1}}]}
    assert (
        "RandomForestClassifier has no such"
        in candidate_faults(CALIBRATED, {}, grid=wrong)["grid.estimator[1].parameters.tree"]
    )


@pytest.mark.parametrize(
    ("name", "parameters", "place", "said"),
    [
        (CALIBRATED, {"estimator": "svm"}, "parameters.estimator", "'svm' is not an estimator; write {of: sklearn."),
        (CALIBRATED, {"estimator": VECTORS | {"parameter": {}}}, "parameters.estimator.parameter", "did you mean"),
        (CALIBRATED, {"estimator": {"of": "sklearn.svm.LinearSVX"}}, "parameters.estimator.of", "svm.LinearSVC'"),
        (CALIBRATED, {"estimator": {"of": "sklearn.svm.SVR"}}, "parameters.estimator.of", "which is for classes"),
        (CALIBRATED, {"estimator": {"of": 3}}, "parameters.estimator.of", "3 is not a known estimator"),
        (CALIBRATED, {"estimator": FOREST | {"parameters": 3}}, "parameters.estimator.parameters", "not a mapping"),
        (CALIBRATED, {"estimator": {"of": "sklearn.neighbors.KNeighborsClassifier"}}, "parameters.estimator.of",
         "it converts, but its ONNX scores differ"),
        (CALIBRATED, {"estimator": {"of": "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis"}},
         "parameters.estimator.of", "no decision function that skl2onnx converts, which Calibrated"),
        (CALIBRATED, {"method": "temperature"}, "parameters.method", "skl2onnx does not convert temperature scaling"),
        (VOTING, {"estimators": [VECTORS]}, "parameters.estimators[0].of",
         "LinearSVC has no probabilities, which VotingClassifier needs"),
        (VOTING, {"estimators": []}, "parameters.estimators", "is not a list of estimators"),
        (VOTING, {}, "parameters.estimators", "is required; write [{of: sklearn."),
        (VOTING, {"estimators": [FOREST], "voting": "hard"}, "parameters.voting", "no probabilities"),
        (VOTING, {"estimators": [FOREST], "n_jobs": 2}, "parameters.n_jobs", "run on one core"),
        (VOTING, {"estimators": [BOOSTED | {"parameters": {"estimator": FOREST | {"parameters": {"n_jobs": -1}}}}]},
         "parameters.estimators[0].parameters.estimator.parameters.n_jobs", "run on one core"),
    ],
)  # fmt: skip
def test_what_stands_wrong_inside_an_estimator_is_named_with_its_place(
    name: str, parameters: dict[str, Any], place: str, said: str
) -> None:
    faults = candidate_faults(name, parameters)
    assert said in faults[place]
    assert len(faults) == 1


def test_stored_specs_with_what_does_not_fit_inside_are_still_read() -> None:
    wrong = spec_with(
        candidates=[{"estimator": CALIBRATED, "parameters": {"estimator": "svm", "method": "temperature"}}]
    )
    assert ModelSpec.parse(wrong, stored=True).candidates[0].facts.scaled


def test_an_estimator_that_only_decides_is_refused_as_a_candidate_with_where_to_put_it() -> None:
    fault = candidate_faults("sklearn.svm.SVC", {})["estimator"]
    assert "SVC has no probabilities; put it into another estimator" in fault
    assert "parameters: {estimator: {of: sklearn.svm.SVC}}" in fault


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_estimator_that_is_left_out_is_refused_with_the_reason(name: str) -> None:
    assert f"{name} cannot be used: {LEFT_OUT[name].sentence}" in candidate_faults(name, {})["estimator"]


RULE = {"name": "in-range", "require": "0 <= score <= 1"}


@pytest.mark.parametrize(
    "fallback",
    [
        {"kind": "constant", "value": 0.2},
        {"kind": "moving_average", "rows": 500, "by": ["carrier"]},
        {"kind": "arithmetic", "expression": "0.1 + distance / 1e5"},
    ],
)
def test_a_fallback_and_rules_are_part_of_the_spec(fallback: dict[str, Any]) -> None:
    rules = [RULE, {"name": "short", "when": "distance < 100 and carrier == 'UA'", "require": "label == false"}]
    spec = ModelSpec.parse(spec_with(fallback=fallback, rules=rules))
    assert ModelSpec.parse(json.loads(spec.canonical_json())) == spec
    assert [rule.name for rule in spec.rules] == ["in-range", "short"]


def test_every_fault_of_fallback_and_rules_is_named_with_its_place() -> None:
    rules = [
        {"name": "a", "require": "scor > 0 and distanc > 1"},
        {"name": "a", "when": "carrier > 3", "require": "score + 1"},
    ]
    with pytest.raises(SpecInvalidError) as caught:
        ModelSpec.parse(spec_with(fallback={"kind": "arithmetic", "expression": "hour * 2"}, rules=rules))
    assert [str(fault) for fault in caught.value.faults] == [
        "fallback.expression: there is no value 'hour' (at character 1) (allowed: carrier, distance)",
        "rules[0].require: there is no value 'scor'; did you mean 'score'? (at character 1) (allowed: score)",
        "rules[0].require: there is no value 'distanc'; did you mean 'distance'? (at character 14) (allowed: distance)",
        "rules[1].name: 'a' is listed twice",
        "rules[1].when: a text cannot be compared with a number (at character 1)",
        "rules[1].require: is a number, but must be a boolean",
    ]


COMPUTED = [
    {"name": "log_distance", "expression": "log(distance)", "unit": "log miles"},
    {"name": "far", "expression": "bucket(distance, 500, 1000) > 0 or carrier == 'UA'"},
    {"name": "usual", "expression": "group_rate(carrier, far, min_rows=20) - 0.5"},
    {"name": "both", "expression": "usual * log_distance"},
]


def test_computed_features_are_part_of_the_spec() -> None:
    spec = ModelSpec.parse(spec_with(computed=COMPUTED))
    assert ModelSpec.parse(json.loads(spec.canonical_json())) == spec
    assert [each.name for each in spec.computed] == ["log_distance", "far", "usual", "both"]
    assert spec.feature_names == ("carrier", "distance")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("distnce + 1", "there is no value 'distnce'; did you mean 'distance'? (at character 1)"),
        ("1 + late", "there is no value 'late'"),
        (
            "1 + next",
            "'next' is computed later: a computed feature can only use those listed before it (at character 5)",
        ),
        ("this / 2", "'this' is computed later"),
        ("carrier", "is a text, but must be a number"),
        ("carrier < 'UA'", "texts have no order in a computed feature"),
        ("1 + 2", "uses no feature"),
        ("distance * 1e39", "is too large a number (at character 12)"),
        (
            "bucket(distance, 1, 1.00000000001)",
            "the edges of a bucket must rise; this one is not above 1 (at character 21)",
        ),
        ("bucket(distance)", "bucket takes a number and at least one edge"),
        ("bucket(distance, distance)", "an edge of a bucket must be a number (at character 18)"),
        ("group_rate(distance + 1)", "groups by names; first compute a feature from the expression (at character 12)"),
        ("group_rate(rate)", "group_rate cannot group by 'rate', which is itself learned (at character 12)"),
        ("group_rate(carrier, min_rows=0)", "min_rows, a whole number"),
        ("group_rate(carrier, smooth=9)", "group_rate takes names and min_rows"),
        ("group_rate()", "group_rate takes 1 to 4 names"),
    ],
)
def test_every_fault_of_a_computed_feature_is_reported_with_its_place(expression: str, said: str) -> None:
    computed = [
        {"name": "rate", "expression": "group_rate(carrier)"},
        {"name": "this", "expression": expression},
        {"name": "next", "expression": "distance"},
    ]
    faults = faults_of(spec_with(computed=computed))
    assert list(faults) == ["computed[1].expression"]
    assert said in faults["computed[1].expression"]


def test_the_name_of_a_computed_feature_is_its_own() -> None:
    names = ["carrier", "late", "departs_at", "score", "label", "twice", "twice"]
    faults = faults_of(spec_with(computed=[{"name": name, "expression": "distance"} for name in names]))
    assert list(faults) == [f"computed[{index}].name" for index in (0, 1, 2, 3, 4, 6)]


def test_a_group_rate_needs_one_rate_and_rules_know_none() -> None:
    computed = [{"name": "usual", "expression": "group_rate(carrier)"}]
    several = {"task": "multiclass", "metric": "accuracy", "baseline": {"kind": "prior"}}
    assert list(faults_of(spec_with(computed=computed, **several))) == ["computed[0].expression"]
    rules = [{"name": "calm", "require": "score < group_rate(carrier)"}]
    assert "only a computed feature" in faults_of(spec_with(rules=rules))["rules[0].require"]


TIMED: list[dict[str, Any]] = [
    *VALID["features"],
    {"name": "booked_at", "kind": "time", "missing": "allow"},
    {"name": "departs_at", "kind": "time"},
]
AHEAD = {"name": "ahead", "expression": "bucket(days_between(departs_at, booked_at), 7, 30)"}


def test_times_are_features_that_computed_features_rules_or_the_fallback_look_at() -> None:
    spec = ModelSpec.parse(spec_with(features=TIMED, computed=[AHEAD]))
    assert ModelSpec.parse(json.loads(spec.canonical_json())) == spec
    by_rule = [{"name": "night", "when": "hour(booked_at) < 5", "require": "is_missing(departs_at) or score < 1"}]
    assert ModelSpec.parse(spec_with(features=TIMED, rules=by_rule)).features[2].kind == "time"
    fallback = {"kind": "arithmetic", "expression": "0.1 + 0.01 * month(booked_at) + 0.01 * weekday(departs_at)"}
    assert ModelSpec.parse(spec_with(features=TIMED, fallback=fallback)).fallback is not None


def test_a_time_that_nothing_looks_at_is_a_fault() -> None:
    faults = faults_of(spec_with(features=TIMED, computed=[{"name": "late_hour", "expression": "hour(departs_at)"}]))
    assert list(faults) == ["features[2].name"]
    assert "'booked_at' has no effect: no computed feature or rule uses it" in faults["features[2].name"]


def test_a_faulty_expression_does_not_make_its_times_seem_unused() -> None:
    faults = faults_of(spec_with(features=TIMED, computed=[AHEAD | {"expression": "departs_at - booked_at"}]))
    assert list(faults) == ["computed[0].expression"]


def test_times_alone_give_the_estimator_nothing() -> None:
    rules = [{"name": "night", "require": "hour(booked_at) < 5 or weekday(departs_at) > 2"}]
    changes = {"features": TIMED[2:], "rules": rules, "baseline": {"kind": "prior"}}
    assert "leaves the estimator no feature" in faults_of(spec_with(**changes))["features"]


def test_a_time_makes_no_groups_and_has_no_limits() -> None:
    faults = faults_of(
        spec_with(
            features=[*TIMED, {"name": "seen", "kind": "time", "min": 0}],
            computed=[AHEAD],
            baseline={"kind": "group_rate", "by": ["departs_at"]},
            fallback={"kind": "moving_average", "by": ["booked_at"]},
            sensitive=["booked_at"],
            gate={"slices": ["booked_at"]},
            monitoring={"sensitive": ["booked_at"]},
        )
    )
    paths = {"baseline.by[0]", "fallback.by[0]", "gate.slices[0]", "sensitive[0]", "monitoring.sensitive[0]"}
    assert set(faults) == {"features[4]", *paths}
    assert all("is a time; it cannot form groups" in faults[path] for path in paths)
    assert "a time has no min and max" in faults["features[4]"]


def test_the_column_that_rows_are_split_by_is_a_feature_only_as_a_time() -> None:
    features = [*VALID["features"], {"name": "departs_at", "kind": "numeric"}]
    assert "can only be a feature of kind time" in faults_of(spec_with(features=features))["features[2].name"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("departs_at", "is a time, but must be a number"),
        ("departs_at - booked_at", "arithmetic needs a number, this is a time; use hour, weekday, month"),
        ("departs_at < booked_at", "a time cannot be compared; compare seconds_between(s, t)"),
        ("distance == booked_at", "a time cannot be compared; compare seconds_between(s, t) or hour(t)"),
        ("hour(distance)", "hour needs a time, this is a number (at character 6)"),
        ("hour('2013-05-01')", "hour needs a time, this is a text"),
        ("hour()", "hour takes one time"),
        ("seconds_between(departs_at)", "seconds_between takes two times"),
        ("group_rate(carrier, booked_at)", "a time cannot form groups; first compute a feature from it"),
        ("min(booked_at)", "min needs a number, this is a time"),
        ("bucket(booked_at, 3)", "bucket needs a number, this is a time"),
    ],
)
def test_every_wrong_use_of_a_time_is_reported(expression: str, said: str) -> None:
    computed = [AHEAD, {"name": "this", "expression": expression}]
    assert said in faults_of(spec_with(features=TIMED, computed=computed))["computed[1].expression"]


def test_the_estimator_must_be_given_something() -> None:
    features = [feature | {"estimator": False} for feature in VALID["features"]]
    assert "estimator" in faults_of(spec_with(features=features))["features"]
    assert ModelSpec.parse(spec_with(features=features, computed=COMPUTED)).features[0].estimator is False


def test_a_fallback_has_to_fit_the_task_and_its_columns() -> None:
    assert "between 0 and 1" in faults_of(spec_with(fallback={"kind": "constant", "value": 2}))["fallback.value"]
    assert "not a feature" in faults_of(spec_with(fallback={"kind": "group_rate", "by": ["dest"]}))["fallback.by[0]"]
    assert "choices" in faults_of(spec_with(fallback={"kind": "forest"}))["fallback"]
    timeless = spec_with(time=None, fallback={"kind": "moving_average"})
    assert "moving_average" in faults_of({name: part for name, part in timeless.items() if name != "split"})["time"]
    multiclass = {"task": "multiclass", "metric": "accuracy", "baseline": {"kind": "prior"}}
    for rule in ({"kind": "constant", "value": 1}, {"kind": "arithmetic", "expression": "1"}):
        assert "multiclass" in faults_of(spec_with(**multiclass, fallback=rule))["fallback.kind"]
    ModelSpec.parse(spec_with(**multiclass, fallback={"kind": "group_rate", "by": ["carrier"]}))


def test_a_regression_has_no_label_and_no_feature_may_be_called_as_the_answer_is() -> None:
    regression = {
        "task": "regression",
        "metric": "rmse",
        "candidates": [{"estimator": "sklearn.linear_model.Ridge"}],
    }
    wrong = spec_with(**regression, rules=[{"name": "a", "require": "label == 1"}])
    assert "there is no value 'label'" in faults_of(wrong)["rules[0].require"]
    features = [*VALID["features"], {"name": "score", "kind": "numeric"}]
    assert "rename" in faults_of(spec_with(features=features, rules=[RULE]))["features[2].name"]
    ModelSpec.parse(spec_with(features=features))


def test_a_spec_that_says_nothing_of_its_release_gets_a_careful_one() -> None:
    rules = ModelSpec.parse(VALID).release
    assert (rules.approval, rules.shadow_minutes, rules.steps) == ("none", 0, (1, 5, 25, 50))
    assert (rules.deadline_hours, rules.at_deadline, rules.probation_hours, rules.holdback) == (24, "roll_back", 24, 5)
    assert rules.demands == {}


def test_a_release_survives_a_round_trip_with_all_its_fields() -> None:
    release = {
        "approval": "required",
        "approval_hours": 48,
        "shadow_minutes": 60,
        "steps": [0.5, 10, 99.99],
        "bake_minutes": 30,
        "min_requests": 200,
        "look_seconds": 120,
        "deadline_hours": 48,
        "at_deadline": "wait",
        "probation_hours": 0,
        "holdback": 1,
        "demands": {"errors": {"tolerance": 0.002, "margin": 0.005, "target": 0.02}, "slow": {"required": False}},
    }
    spec = ModelSpec.parse(spec_with(release=release))
    assert set(release) == set(type(spec.release).model_fields)
    assert ModelSpec.parse(json.loads(spec.canonical_json())) == spec
    assert spec.release.demands[Compared.ERRORS].margin == 0.005


def test_every_fault_of_a_release_is_named_at_once_with_its_place() -> None:
    release = {
        "approval": "maybe",
        "approval_hours": 0,
        "shadow_minutes": -1,
        "steps": [5, 5],
        "bake_minutes": 10_081,
        "min_requests": 0,
        "look_seconds": 0.5,
        "deadline_hours": 721,
        "at_deadline": "promote",
        "probation_hours": float("nan"),
        "holdback": 51,
        "demands": {
            "eror": {},
            "errors": {"tolerance": 0.02, "margin": 0.01},
            "slow": {"target": 0, "margin": 0.99, "limit": 1},
        },
        "shares": [1],
    }
    faults = faults_of(spec_with(release=release, owner=""))
    assert set(faults) == {"owner"} | {
        f"release.{name}"
        for name in (
            "approval",
            "approval_hours",
            "shadow_minutes",
            "steps",
            "bake_minutes",
            "min_requests",
            "look_seconds",
            "deadline_hours",
            "at_deadline",
            "probation_hours",
            "holdback",
            "demands.eror",
            "demands.errors",
            "demands.slow.target",
            "demands.slow.margin",
            "demands.slow.limit",
            "shares",
        )
    }
    assert "allowed: none, required" in faults["release.approval"]
    assert "allowed: errors, timeouts" in faults["release.demands.eror"]
    assert "must be above its tolerance" in faults["release.demands.errors"]


@pytest.mark.parametrize("steps", [[0], [100], [5, 1], [1, 1.001], [0.001], [50, float("inf")], list(range(1, 22))])
def test_steps_are_rising_percentages(steps: list[float]) -> None:
    assert set(faults_of(spec_with(release={"steps": steps}))) == {"release.steps"}


def test_a_release_without_steps_is_one_without_a_canary() -> None:
    assert ModelSpec.parse(spec_with(release={"steps": [], "deadline_hours": 0.1})).release.steps == ()


def test_a_canary_needs_time_to_bake_all_its_steps() -> None:
    late = faults_of(spec_with(metric="mae", release={"bake_minutes": 60, "deadline_hours": 3.9}))
    assert late["release.deadline_hours"].endswith("3.9 hours are too few: 4 steps bake for 4 hours")
    assert "metric" in late
    ModelSpec.parse(spec_with(release={"bake_minutes": 60, "deadline_hours": 4}))


def test_scores_are_compared_with_a_champion_and_have_no_target() -> None:
    faults = faults_of(spec_with(release={"demands": {"scores": {"target": 0.1}}}))
    assert set(faults) == {"release.demands.scores.target"}


def test_the_json_schema_knows_the_choices_of_a_release() -> None:
    schema = json_schema()["$defs"]
    assert schema["ReleaseRules"]["properties"]["at_deadline"]["enum"] == ["roll_back", "wait"]
    assert schema["Compared"]["enum"] == [metric.value for metric in CanaryMetric]
    assert not schema["Demanded"]["additionalProperties"]


REGRESSION = {
    "task": "regression",
    "metric": "rmse",
    "candidates": [{"estimator": "sklearn.linear_model.LinearRegression"}],
}


def test_what_decisions_are_worth_is_declared_or_left_out() -> None:
    assert ModelSpec.parse(VALID).value is None
    declared = ModelSpec.parse(spec_with(value={"correct": 0.4, "wrong": 1.5})).value
    assert declared is not None
    assert (declared.correct, declared.wrong, declared.currency, declared.tolerance) == (0.4, 1.5, "USD", None)
    assert ModelSpec.parse(spec_with(**REGRESSION, value={"correct": 1, "tolerance": 15})).value is not None


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"value": {"correct": 1, "tolerance": 15}}, "value.tolerance"),
        ({**REGRESSION, "value": {"correct": 1}}, "value.tolerance"),
        ({**REGRESSION, "value": {"correct": 1, "tolerance": -1}}, "value.tolerance"),
        ({"value": {"currency": "dollars"}}, "value.currency"),
        ({"value": {"correct": float("inf")}}, "value.correct"),
        ({"value": {"right": 1}}, "value.right"),
    ],
)
def test_a_value_that_cannot_be_counted_is_refused(changes: dict[str, Any], path: str) -> None:
    assert path in faults_of(spec_with(**changes))


def test_columns_to_judge_by_are_named_once_and_make_groups() -> None:
    spec = ModelSpec.parse(spec_with(sensitive=["region"], gate={"slices": ["carrier", "region"]}))
    assert (spec.sensitive, spec.gate.slices) == (("region",), ("carrier", "region"))
    faults = faults_of(spec_with(sensitive=["late", "a", "a"], gate={"slices": ["departs_at"]}))
    assert faults == {
        "sensitive[0]": "sensitive[0]: 'late' is the target column; it cannot form groups",
        "sensitive[2]": "sensitive[2]: 'a' is listed twice",
        "gate.slices[0]": "gate.slices[0]: 'departs_at' is the time column; it cannot form groups",
    }


def test_limits_of_fairness_need_groups_and_two_classes() -> None:
    limits = {"demographic_parity": 0.1, "equal_opportunity": 0.1, "equalized_odds": 0.2, "flips_at_most": 0.01}
    targets = {"governance": limits}
    assert ModelSpec.parse(spec_with(targets=targets, sensitive=["region"])).targets.governance.equalized_odds == 0.2
    assert set(faults_of(spec_with(targets=targets))) == {f"targets.governance.{name}" for name in limits}
    many = spec_with(
        targets=targets, sensitive=["region"], task="multiclass", metric="accuracy", baseline={"kind": "prior"}
    )
    assert set(faults_of(many)) == {f"targets.governance.{name}" for name in limits if name != "flips_at_most"}
    assert set(faults_of(spec_with(targets={"governance": {"equalized_odds": 0}}, sensitive=["region"]))) == {
        "targets.governance.equalized_odds"
    }


def test_a_threshold_is_a_probability_or_chosen_by_value() -> None:
    assert ModelSpec.parse(VALID).decision.threshold == 0.5
    assert ModelSpec.parse(spec_with(decision={"threshold": 1})).decision.threshold == 1
    priced = {"threshold": "value", "false_positive": 1, "false_negative": 5}
    assert ModelSpec.parse(spec_with(decision=priced, value={"wrong": 1})).decision.false_negative == 5
    assert ModelSpec.parse(spec_with(**REGRESSION, interval=0.9)).interval == 0.9


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"decision": {"threshold": 1.5}}, "decision.threshold"),
        ({"decision": {"threshold": "best"}}, "decision.threshold"),
        ({"decision": {"threshold": True}}, "decision.threshold"),
        ({"decision": {"threshold": "value"}}, "value"),
        ({"decision": {"false_positive": 2}}, "value"),
        ({**REGRESSION, "decision": {"threshold": 0.3}}, "decision.threshold"),
        ({"interval": 0.9}, "interval"),
        ({**REGRESSION, "interval": 1}, "interval"),
        ({**REGRESSION, "targets": {"calibration_error_at_most": 0.1}}, "targets.calibration_error_at_most"),
        ({"targets": {"robustness_loss_at_most": -1}}, "targets.robustness_loss_at_most"),
    ],
)
def test_a_decision_that_cannot_be_made_is_refused(changes: dict[str, Any], path: str) -> None:
    assert list(faults_of(spec_with(**changes))) == [path]
