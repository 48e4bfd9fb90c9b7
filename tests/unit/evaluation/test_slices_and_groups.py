"""The step on a run whose objects are real: what it measures of slices and groups, and what the gate says of it."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from tests.builders.evaluation import CONTRACT, EFFECTS, TrainedRun, flights, good_onnx, spec_of
from tidegate.domain.serving.contract import Contract
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.metrics.registry import of_task
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import TARGET, Table
from tidegate.ml.scoring import load
from tidegate.testing.models import linear_onnx

SLICED = {"resamples": 300, "margin": 0.02, "min_rows": 500, "slices": ["carrier", "hour", "region"]}


def judged_flights(rows=3_000, seed=11):
    """Flights with columns that no model reads: a region, and who booked."""
    table, chance = flights(rows, seed), np.random.default_rng(seed)
    regions = np.where(np.arange(rows) < 60, "north", chance.choice(["east", "west"], rows))
    age = np.where(chance.random(rows) < 0.05, np.nan, chance.integers(18, 90, rows))
    return Table({**table.columns, "region": regions, "sex": chance.choice(["f", "m"], rows), "age": age})


def measured(world=None, *, onnx=None, holdout=None, **changes):
    world = world or TrainedRun()
    onnx = onnx or good_onnx()
    holdout = holdout or judged_flights()
    scores = load(onnx).score(CONTRACT.inputs(holdout)).astype(np.float64)
    world.train(onnx, holdout=holdout, spec=spec_of(**changes), reference=scores)
    return world


def slice_of(world, column, value):
    (found,) = [each for each in world.parts["slices"] if (each["column"], each["value"]) == (column, value)]
    return found


def check(world, name):
    (found,) = [each for each in world.report["verdict"]["checks"] if each["name"] == name]
    return found


def test_declared_slices_have_their_metric_also_of_columns_that_are_no_features():
    world = measured(gate=SLICED)
    world.evaluate()
    answer = world.slices_and_groups()
    holdout = judged_flights()
    scores = load(good_onnx()).score(CONTRACT.inputs(holdout))[:, 1]
    west = holdout["region"] == "west"
    found = slice_of(world, "region", "west")
    assert found["metric"]["value"] == pytest.approx(roc_auc_score(holdout[TARGET][west], scores[west]), abs=1e-6)
    assert found["metric"]["low"] < found["metric"]["value"] < found["metric"]["high"]
    assert (found["rows"], found["too_few"], found["gain_over_champion"]) == (int(west.sum()), False, None)
    few = slice_of(world, "region", "north")
    assert (few["too_few"], few["lacking"], few["metric"]) == (True, "60 of 100 rows", None)
    names = [(each["column"], each["value"]) for each in world.parts["slices"]]
    assert [value for column, value in names if column == "hour"] == [
        "at most 5", "above 5, at most 11", "above 11, at most 17", "above 17",
    ]  # fmt: skip
    assert (answer.slices, answer.judged, answer.sensitive) == (9, 8, 0)
    assert world.registry.run("delay", "r2").stage == "slices_and_groups"


def test_the_same_version_gets_the_same_bytes():
    first, again = measured(gate=SLICED, sensitive=["sex"]), measured(gate=SLICED, sensitive=["sex"])
    for world in (first, again):
        world.evaluate()
        world.slices_and_groups()
    key = first.run.key(RunFile.SLICES_AND_GROUPS)
    assert first.artifacts.objects[key] == again.artifacts.objects[key]


def test_a_candidate_that_is_worse_in_one_slice_is_rejected_however_good_it_is_on_the_whole():
    """The candidate reads the wind the wrong way round for one carrier in fifteen, and the champion none at all."""
    holdout = judged_flights(6_000)
    small = holdout["region"] == "north"
    holdout["region"][np.arange(len(holdout)) < 400] = "north"
    small = holdout["region"] == "north"
    target = holdout[TARGET].copy()
    target[small] = 1 - target[small]
    holdout = Table({**holdout.columns, TARGET: target})
    champion = linear_onnx(CONTRACT, [0.0, 0.1], effects=EFFECTS)
    world = measured(TrainedRun().serve(champion), holdout=holdout, gate=SLICED)
    assert not world.gate().accepted
    assert check(world, "not_worse_than_champion")["outcome"] == "pass"
    found = check(world, "slices")
    assert found["outcome"] == "fail"
    assert found["high"] < found["limit"] == -0.02
    assert found["statement"].startswith("worse in 1 of 9 slices on region north (400 rows) roc_auc 0.")
    assert " below version 1 (the margin is 0.02; intervals for all slices together)" in found["statement"]
    assert world.report["evaluation"]["sections"]["slice_rule"]["compared"] == 9
    assert slice_of(world, "region", "north")["gain_over_champion"]["high"] < -0.02


def test_a_slice_may_be_as_bad_as_the_champions_and_too_few_rows_are_reported():
    world = measured(TrainedRun().serve(good_onnx()), gate=SLICED)
    assert world.gate().accepted
    found = check(world, "slices")
    assert found["outcome"] == "pass"
    assert found["statement"].startswith("not shown to be worse in any of 8 slices, weakest on ")
    assert "; too little data to judge region north (60 of 100 rows)" in found["statement"]


def test_without_a_champion_slices_are_reported_and_without_enough_rows_the_gate_says_so():
    world = measured(gate=SLICED)
    assert world.gate().accepted
    found = check(world, "slices")
    assert found["outcome"] == "not_applicable"
    assert found["statement"].startswith("no version serves yet; of 8 slices roc_auc is worst on ")
    world = measured(gate=SLICED | {"slices": ["region"]}, holdout=judged_flights().take(np.arange(60)))
    world.gate()
    assert check(world, "slices")["outcome"] == "insufficient_data"
    assert "region north (60 of 100 rows); hold out more rows" in check(world, "slices")["statement"]


@pytest.mark.parametrize("metric", [each for each in of_task("binary") if each.decides], ids=lambda each: each.text)
def test_what_looks_at_decisions_is_taken_at_each_versions_own_threshold(metric):
    first = TrainedRun().train(good_onnx(), spec=spec_of(metric=metric.to_json()))
    first.evaluate()
    reference = first.reference.to_json() | {"threshold": 0.9}
    world = TrainedRun().serve(good_onnx(), spec=spec_of(metric=metric.to_json()), reference=reference)
    world = measured(world, metric=metric.to_json(), gate=SLICED | {"slices": ["sex"]})
    world.slices_and_groups()
    holdout = judged_flights()
    women = holdout["sex"] == "f"
    scores, late = load(good_onnx()).score(CONTRACT.inputs(holdout))[women], holdout[TARGET][women]
    gain = metric.value(late, scores) - metric.value(late, scores, threshold=0.9)
    assert gain
    assert slice_of(world, "sex", "f")["gain_over_champion"]["value"] == pytest.approx(gain)


def test_a_slice_that_nobody_declared_is_found_and_named():
    holdout = judged_flights(6_000)
    odd = (holdout["carrier"] == "AA") & (holdout["hour"] > 16)
    target = np.where(odd, 1 - holdout[TARGET], holdout[TARGET])
    world = measured(holdout=Table({**holdout.columns, TARGET: target}))
    world.gate()
    found = world.parts["found"]
    assert found[0]["confirmed"]
    assert set(found[0]["words"].split(" and ")) >= {"carrier is AA"}
    assert {tuple(step[:2]) for step in found[0]["path"]} >= {("carrier", "is"), ("hour", ">")}
    assert found[0]["loss_over_rest"]["low"] > 0
    statement = check(world, "slices")["statement"]
    assert statement.startswith("no slices are declared; a search found larger errors where ")
    assert "hour above 16.5" in statement


def test_a_search_needs_enough_days_in_each_half():
    holdout = judged_flights(6_000)
    days = Table({**holdout.columns, "__cluster__": np.arange(6_000) // 400})
    spec = {"gate": SLICED | {"slices": [], "resample_by": "group"}, "group": "region"}
    world = measured(holdout=days, **spec)
    world.evaluate()
    world.slices_and_groups()
    assert world.parts["found"] == []


def test_groups_are_counted_and_compared():
    world = measured(sensitive=["sex", "age"])
    world.evaluate()
    assert world.slices_and_groups().sensitive == 2
    holdout = judged_flights()
    late, scores = holdout[TARGET] == 1, load(good_onnx()).score(CONTRACT.inputs(holdout))[:, 1]
    decided = scores >= 0.5
    found = world.parts["fairness"]["sex"]
    for group in found["groups"]:
        rows = holdout["sex"] == group["group"]
        assert group["rows"] == rows.sum()
        assert group["positives"] == (late & rows).sum()
        assert group["positive_rate"] == pytest.approx(decided[rows].mean())
        assert group["true_positive_rate"] == pytest.approx(recall_score(late[rows], decided[rows]))
        assert group["false_positive_rate"] == pytest.approx(decided[rows & ~late].mean())
        assert group["accuracy"] == pytest.approx(accuracy_score(late[rows], decided[rows]))
        assert group["metric"] == pytest.approx(roc_auc_score(late[rows], scores[rows]), abs=1e-6)
    rates = {group["group"]: group["positive_rate"] for group in found["groups"]}
    parity = found["demographic_parity"]
    assert parity["value"] == pytest.approx(abs(rates["f"] - rates["m"]))
    assert 0 <= parity["low"] <= parity["value"] <= parity["high"]
    assert parity["compared"] == ["f", "m"]
    ages = [group["group"] for group in world.parts["fairness"]["age"]["groups"]]
    assert (len(ages), ages[-1]) == (5, "missing")


def test_a_group_with_few_rows_is_shown_and_not_compared():
    holdout = judged_flights()
    sex = holdout["sex"].copy()
    sex[:30] = "x"
    late = np.where(sex == "x", 0, holdout[TARGET])
    world = measured(holdout=Table({**holdout.columns, "sex": sex, TARGET: late}), sensitive=["sex"])
    world.evaluate()
    world.slices_and_groups()
    found = world.parts["fairness"]["sex"]
    (few,) = [group for group in found["groups"] if group["group"] == "x"]
    assert (few["rows"], few["positives"], few["true_positive_rate"], few["metric"]) == (30, 0, None, None)
    assert found["demographic_parity"]["compared"] == ["f", "m"]


def test_the_gate_holds_differences_against_the_limits():
    holdout = judged_flights()
    calm = np.where(holdout["wind"] > 0, "windy", "calm")
    holdout = Table({**holdout.columns, "sex": calm})
    limits = {"demographic_parity": 0.1, "equal_opportunity": 0.9}
    world = measured(holdout=holdout, sensitive=["sex"], targets={"governance": limits})
    assert not world.gate().accepted
    found = check(world, "fairness")
    assert (found["outcome"], found["limit"]) == ("fail", 0.1)
    assert found["value"] > 0.1
    assert found["statement"].startswith("demographic parity of sex: the share of positive decisions is 0.")
    assert " higher for windy than for calm, 0.1 is allowed; equal opportunity of sex: the true" in found["statement"]
    world = measured(sensitive=["sex"], targets={"governance": {"demographic_parity": 0.2}})
    assert world.gate().accepted
    assert check(world, "fairness")["outcome"] == "pass"


def test_a_limit_that_cannot_be_judged_is_not_kept():
    holdout = judged_flights()
    holdout = Table({**holdout.columns, "sex": np.full(len(holdout), "f")})
    limits = {"demographic_parity": 0.1}
    world = measured(holdout=holdout, sensitive=["sex"], targets={"governance": limits})
    assert not world.gate().accepted
    found = check(world, "fairness")
    assert found["outcome"] == "insufficient_data"
    assert found["statement"] == ("demographic parity of sex cannot be judged: fewer than two groups have enough rows")


def test_without_limits_differences_are_reported():
    world = measured(sensitive=["sex"])
    assert world.gate().accepted
    found = check(world, "fairness")
    assert found["outcome"] == "not_applicable"
    assert found["statement"].startswith("no limit is set: demographic parity of sex: ")
    assert "equalized odds of sex: the " in found["statement"]
    world = measured()
    world.gate()
    assert check(world, "fairness")["statement"] == "no sensitive columns are declared"


def test_a_run_that_was_not_evaluated_has_no_slices_and_groups():
    world = measured()
    evaluated = world.evaluate().model_copy(update={"files": {}})
    with pytest.raises(NotFoundError, match="known to have written"):
        world.slices_and_groups(evaluated)


def test_groups_of_a_regression_have_a_mean_and_a_metric_and_no_differences():
    contract = Contract("delay", "regression", CONTRACT.features)
    onnx = linear_onnx(contract, [10.0, 0.0], effects={"UA": 0.0, "AA": 5.0})
    holdout = judged_flights()
    predicted = load(onnx).score(contract.inputs(holdout))[:, 0].astype(np.float64)
    holdout = Table({**holdout.columns, TARGET: predicted + np.random.default_rng(1).normal(size=len(holdout))})
    ridge = [{"estimator": "sklearn.linear_model.Ridge"}]
    spec = spec_of(task="regression", metric="mae", candidates=ridge, sensitive=["sex"], gate=SLICED)
    world = TrainedRun().train(onnx, holdout=holdout, spec=spec, classes="", reference=predicted[:, None])
    world.gate()
    found = world.parts["fairness"]["sex"]
    women = holdout["sex"] == "f"
    assert found["groups"][[group["group"] for group in found["groups"]].index("f")] == {
        "group": "f",
        "rows": int(women.sum()),
        "mean_prediction": pytest.approx(predicted[women].mean()),
        "metric": pytest.approx(np.abs(predicted - holdout[TARGET])[women].mean()),
    }
    assert found["demographic_parity"] is found["equal_opportunity"] is found["equalized_odds"] is None
    assert check(world, "fairness")["statement"] == "no limit is set: see the groups of sex in the report"
    assert "of 8 slices mae is worst on " in check(world, "slices")["statement"]
