"""One candidate is fitted for the search, and the chosen one for good."""

import pytest

from tests.unit.releasing import House, house_with, spec, trips
from tidegate.domain.evaluation import metric_value
from tidegate.domain.prediction import SCORES_OUTPUT
from tidegate.domain.release import RunError
from tidegate.domain.table import ROW, TARGET, Table
from tidegate.errors import ConflictError, TrainingFailedError
from tidegate.messages import CandidateRef, CandidateResult, Fitted, Plan, RunRef, TrainTask
from tidegate.ml.scoring import load
from tidegate.ml.training import SklearnFitter
from tidegate.steps.train import train


@pytest.fixture
def prepared() -> tuple[House, RunRef, Plan]:
    house = house_with(trips())
    ref = house.request(spec())
    return house, ref, house.prepare(ref)


def fit(house: House, task: TrainTask) -> CandidateResult | Fitted:
    return train(
        task,
        models=house.registry,
        runs=house.registry,
        artifacts=house.artifacts,
        fitter=SklearnFitter(),
        clock=house.clock,
        stopwatch=iter([10.0, 12.5]).__next__,
    )


def test_a_candidate_is_judged_on_the_validation_rows_and_recorded(prepared: tuple[House, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    result = fit(house, TrainTask(run=ref, candidate=plan.candidates[1], purpose="validate"))
    assert isinstance(result, CandidateResult)
    assert (result.index, result.metric, result.fit_seconds) == (1, "roc_auc", 2.5)
    assert result.rows == plan.train_rows - plan.validation_rows
    assert 0.7 < result.value < 1
    run = house.registry.run(ref.model, ref.run_id)
    assert run.stage == "train"
    assert [(tried.index, tried.parameters, tried.value) for tried in run.candidates] == [(1, {"C": 0.1}, result.value)]
    assert ref.artifact_key not in house.artifacts.objects


def test_the_final_fit_takes_all_training_rows_and_keeps_reference_scores(prepared: tuple[House, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    fitted = fit(house, TrainTask(run=ref, candidate=plan.candidates[0], purpose="final"))
    assert isinstance(fitted, Fitted)
    assert (fitted.rows, fitted.fit_seconds) == (plan.train_rows, 2.5)
    assert house.registry.run(ref.model, ref.run_id).stage == "refit"
    scorer = load(house.artifacts.get_verified(ref.artifact_key, fitted.artifact_sha256))
    holdout = Table.from_npz(house.artifacts.get(ref.holdout_key))
    reference = Table.from_npz(house.artifacts.get(ref.reference_scores_key))
    assert reference[ROW].tolist() == holdout[ROW].tolist()
    assert abs(scorer.score(scorer.contract.inputs(holdout)) - reference[SCORES_OUTPUT]).max() <= 1e-4
    assert metric_value("roc_auc", holdout[TARGET], reference[SCORES_OUTPUT]) > 0.7


def test_fitting_for_good_again_gives_the_same_artifact(prepared: tuple[House, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    task = TrainTask(run=ref, candidate=plan.candidates[2], purpose="final")
    assert fit(house, task) == fit(house, task)


def test_a_candidate_that_fails_is_named_by_its_number(prepared: tuple[House, RunRef, Plan]) -> None:
    house, ref, _ = prepared
    wrong = CandidateRef(index=7, estimator="sklearn.tree.DecisionTreeClassifier", parameters={"depth": 3})
    with pytest.raises(TrainingFailedError, match=r"candidate 7: DecisionTreeClassifier\(depth=3\) has no parameter"):
        fit(house, TrainTask(run=ref, candidate=wrong, purpose="validate"))


def test_nothing_is_fitted_for_a_run_that_is_over(prepared: tuple[House, RunRef, Plan]) -> None:
    house, ref, plan = prepared
    house.registry.fail(ref.model, ref.run_id, RunError("Stopped", "by hand", "train"), house.clock.now())
    with pytest.raises(ConflictError):
        fit(house, TrainTask(run=ref, candidate=plan.candidates[0], purpose="final"))
    assert ref.artifact_key not in house.artifacts.objects
