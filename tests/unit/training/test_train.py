"""One candidate is fitted for the search, and the chosen one for good."""

from typing import Any

import pytest

from tests.builders.release import ReleaseHouse, house_with
from tests.builders.specs import spec
from tests.builders.tables import trips
from tidegate.domain.registry.run import RunError
from tidegate.domain.serving.contract import SCORES_OUTPUT, Contract
from tidegate.domain.serving.fallback import Fallback
from tidegate.kernel.errors import ConflictError, TrainingFailedError
from tidegate.kernel.metrics.registry import find
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import ROW, TARGET, Table
from tidegate.messages import CandidateRef, CandidateResult, Fitted, Plan, RunRef, TrainTask
from tidegate.ml.scoring import load
from tidegate.spec.model import ModelSpec
from tidegate.steps.training.train import train


@pytest.fixture
def prepared() -> tuple[ReleaseHouse, RunRef, Plan]:
    house = house_with(trips())
    ref = house.request(spec())
    return house, ref, house.prepare(ref)


def fit(house: ReleaseHouse, task: TrainTask) -> CandidateResult | Fitted:
    return house.step(train, task, stopwatch=iter([10.0, 12.5]).__next__)


def test_a_candidate_is_judged_on_the_validation_rows_and_recorded(prepared: tuple[ReleaseHouse, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    result = fit(house, TrainTask(run=ref, files=plan.files, candidate=plan.candidates[1], purpose="validate"))
    assert isinstance(result, CandidateResult)
    assert (result.index, result.metric, result.fit_seconds) == (1, "roc_auc", 2.5)
    assert result.rows == plan.train_rows - plan.validation_rows
    assert 0.7 < result.value < 1
    run = house.registry.run(ref.model, ref.run_id)
    assert run.stage == "train"
    assert [(tried.index, tried.parameters, tried.value) for tried in run.candidates] == [(1, {"C": 0.1}, result.value)]
    assert ref.key(RunFile.ARTIFACT) not in house.artifacts.objects


def test_the_final_fit_takes_all_training_rows_and_keeps_reference_scores(
    prepared: tuple[ReleaseHouse, RunRef, Plan],
) -> None:
    house, ref, plan = prepared
    fitted = fit(house, TrainTask(run=ref, files=plan.files, candidate=plan.candidates[0], purpose="final"))
    assert isinstance(fitted, Fitted)
    assert (fitted.rows, fitted.fit_seconds) == (plan.train_rows, 2.5)
    assert house.registry.run(ref.model, ref.run_id).stage == "refit"
    scorer = load(house.artifacts.get_verified(ref.key(RunFile.ARTIFACT), fitted.artifact_sha256))
    holdout = Table.from_npz(house.artifacts.get(ref.key(RunFile.HOLDOUT)))
    reference = Table.from_npz(house.artifacts.get(ref.key(RunFile.REFERENCE_SCORES)))
    assert reference[ROW].tolist() == holdout[ROW].tolist()
    assert abs(scorer.score(scorer.contract.inputs(holdout)) - reference[SCORES_OUTPUT]).max() <= 1e-4
    assert find("roc_auc").value(holdout[TARGET], reference[SCORES_OUTPUT]) > 0.7


def test_fitting_for_good_again_gives_the_same_artifact(prepared: tuple[ReleaseHouse, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    task = TrainTask(run=ref, files=plan.files, candidate=plan.candidates[2], purpose="final")
    assert fit(house, task) == fit(house, task)


def test_a_candidate_that_fails_is_named_by_its_number(prepared: tuple[ReleaseHouse, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    wrong = CandidateRef(index=7, estimator="sklearn.tree.DecisionTreeClassifier", parameters={"depth": 3})
    with pytest.raises(TrainingFailedError, match=r"candidate 7: DecisionTreeClassifier\(depth=3\) has no parameter"):
        fit(house, TrainTask(run=ref, files=plan.files, candidate=wrong, purpose="validate"))


def test_nothing_is_fitted_for_a_run_that_is_over(prepared: tuple[ReleaseHouse, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    house.registry.fail(ref.model, ref.run_id, RunError("Stopped", "by hand", "train"), house.clock.now())
    with pytest.raises(ConflictError):
        fit(house, TrainTask(run=ref, files=plan.files, candidate=plan.candidates[0], purpose="final"))
    assert ref.key(RunFile.ARTIFACT) not in house.artifacts.objects


def fit_for_good(house: ReleaseHouse, ref: RunRef, plan: Plan) -> Contract:
    """The contract inside the artifact."""
    fitted = fit(house, TrainTask(run=ref, files=plan.files, candidate=plan.candidates[0], purpose="final"))
    assert isinstance(fitted, Fitted)
    return load(house.artifacts.get_verified(ref.key(RunFile.ARTIFACT), fitted.artifact_sha256)).contract


def test_a_threshold_by_value_is_chosen_on_the_validation_rows_and_shared_with_the_fallback() -> None:
    thresholds = []
    for number, missed in enumerate((1, 8)):
        house = house_with(trips(4000))
        decision = {"threshold": "value", "false_positive": 1, "false_negative": missed}
        ref = house.request(spec(decision=decision, value={"wrong": 1}), run_id=f"run-{number}")
        plan = house.prepare(ref)
        contract = fit_for_good(house, ref, plan)
        thresholds.append(contract.threshold)
        kept = Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.FALLBACK))).contract
        assert kept.threshold == contract.threshold
        assert fit_for_good(house, ref, plan) == contract  # a retry
    assert thresholds[0] == pytest.approx(1 / 2, abs=0.15)
    assert thresholds[1] == pytest.approx(1 / 9, abs=0.08)


def test_a_threshold_that_the_spec_names_is_the_contract_s() -> None:
    house = house_with(trips())
    ref = house.request(spec(decision={"threshold": 0.3}))
    assert fit_for_good(house, ref, house.prepare(ref)).threshold == 0.3


def test_the_artifact_carries_a_guard_of_all_training_rows_unless_the_spec_wants_none() -> None:
    house = house_with(trips(2_000))
    ref = house.request(spec(guard={"share": 0.01, "answer": "fallback"}))
    plan = house.prepare(ref)
    guard = fit_for_good(house, ref, plan).guard
    assert guard is not None
    assert (guard.share, guard.answer, guard.rows) == (0.01, "fallback", plan.train_rows)
    assert [*(each.name for each in guard.numbers), *(each.name for each in guard.texts)] == ["wind", "stops", "line"]
    assert Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.FALLBACK))).contract.guard is None
    without = house_with(trips(2_000))
    ref = without.request(spec(guard="none"))
    assert fit_for_good(without, ref, without.prepare(ref)).guard is None


def regression(**changes: Any) -> ModelSpec:
    ridge = [{"estimator": "sklearn.linear_model.Ridge"}]
    return spec(task="regression", target="delay", metric="mae", candidates=ridge, **changes)


def test_an_interval_is_as_wide_as_the_validation_residuals_say() -> None:
    house = house_with(trips(12_000))
    ref = house.request(regression(interval=0.9))
    plan = house.prepare(ref)
    contract = fit_for_good(house, ref, plan)
    assert contract.interval is not None
    assert contract.interval.level == 0.9
    assert contract.interval.half_width == pytest.approx(1.645 * 8, rel=0.1)  # the noise of `trips`
    holdout = Table.from_npz(house.artifacts.get(ref.key(RunFile.HOLDOUT)))
    scores = load(house.artifacts.get(ref.key(RunFile.ARTIFACT))).score(contract.inputs(holdout))[:, 0]
    held = abs(scores - holdout[TARGET]) <= contract.interval.half_width
    assert held.mean() == pytest.approx(0.9, abs=0.03)
    assert Fallback.from_bytes(house.artifacts.get(ref.key(RunFile.FALLBACK))).contract.interval is None


def test_too_few_validation_rows_for_an_interval_are_a_failure_with_a_next_step() -> None:
    house = house_with(trips(300))
    ref = house.request(regression(interval=0.99))
    plan = house.prepare(ref)
    with pytest.raises(TrainingFailedError, match=r"a 99 % interval needs 99 validation rows"):
        fit(house, TrainTask(run=ref, files=plan.files, candidate=plan.candidates[0], purpose="final"))
