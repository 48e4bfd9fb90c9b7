"""The best candidate is chosen, in the direction of the metric and always the same one."""

import pytest

from tests.builders.release import ReleaseHouse
from tests.builders.specs import spec
from tidegate.kernel.errors import TrainingFailedError
from tidegate.messages import CandidateRef, CandidateResult, EndsRun, Selection, SelectTask
from tidegate.steps.training.select import select

CANDIDATES = [CandidateRef(index=index, estimator=f"sklearn.e{index}", parameters={"a": index}) for index in range(3)]


def choose(metric: str, *values: float, order: tuple[int, ...] = (0, 1, 2)) -> tuple[Selection, int | None]:
    house = ReleaseHouse()
    ref = house.request(spec())
    results: list[CandidateResult | EndsRun] = [
        CandidateResult(index=i, metric=metric, value=values[i], fit_seconds=1, rows=9) for i in order
    ]
    selection = house.step(select, SelectTask(run=ref, candidates=CANDIDATES, results=results))
    assert isinstance(selection, Selection)
    return selection, house.registry.run(ref.model, ref.run_id).selected


def test_more_is_better_for_a_score() -> None:
    selection, noted = choose("roc_auc", 0.6, 0.8, 0.7)
    assert (selection.candidate, selection.value, noted) == (CANDIDATES[1], 0.8, 1)


def test_less_is_better_for_an_error() -> None:
    selection, noted = choose("rmse", 0.6, 0.8, 0.7)
    assert (selection.candidate, selection.value, noted) == (CANDIDATES[0], 0.6, 0)


def test_of_equals_the_first_is_taken_whatever_the_order_of_results() -> None:
    assert choose("accuracy", 0.5, 0.9, 0.9, order=(2, 0, 1))[1] == 1
    assert choose("log_loss", 0.5, 0.2, 0.2, order=(2, 1, 0))[1] == 1


def test_what_ended_the_run_for_one_candidate_ends_it() -> None:
    house = ReleaseHouse()
    ref = house.request(spec())
    fitted = CandidateResult(index=0, metric="roc_auc", value=0.9, fit_seconds=1, rows=9)
    unfit = EndsRun.by(TrainingFailedError("candidate 1: max_bins must be at most 255"))
    task = SelectTask.parse(SelectTask(run=ref, candidates=CANDIDATES, results=[fitted, unfit]).to_json())
    assert house.step(select, task) == unfit
    assert house.registry.run(ref.model, ref.run_id).selected is None


def test_without_results_nothing_can_be_chosen() -> None:
    house = ReleaseHouse()
    ref = house.request(spec())
    with pytest.raises(TrainingFailedError, match="no candidate of trip-delay has a result"):
        house.step(select, SelectTask(run=ref, candidates=CANDIDATES, results=[]))
