"""A version is made again from what was recorded with it, and compared to the last bit."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.builders.command_line import Cli, started
from tests.builders.control_api import World
from tests.builders.loopback import Loopback
from tests.builders.release import ReleaseHouse, house_with
from tests.builders.specs import spec
from tests.builders.tables import to_csv, trips
from tests.documents.forms import hold
from tidegate.cli import exits
from tidegate.domain.data.dataset import Exclusion
from tidegate.domain.evaluation.documents import ENVIRONMENT, EVALUATION, PLAN, REPORT, REPRODUCTION, SLICES_AND_GROUPS
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.profile import Layout, Profile
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.fallback import Fallback
from tidegate.kernel.errors import ArtifactRejectedError, ConflictError, DataCheckError
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import Table
from tidegate.messages import (
    EvaluateTask,
    Plan,
    Reproduced,
    ReproduceTask,
    RunRef,
)
from tidegate.ml.scoring import load
from tidegate.ml.training import OnnxFitter
from tidegate.steps.evaluation.evaluate import evaluate
from tidegate.steps.evaluation.reproduce import reproduce
from tidegate.steps.evaluation.reproductions import StartReproduction, start_reproduction
from tidegate.steps.run_files import RunFiles

MODEL = "trip-delay"
SPEC = spec(gate={"resample_by": "row", "resamples": 200, "min_rows": 50, "margin": 0.2})


class NewerFitter(OnnxFitter):
    """The same estimators out of packages that say they are others."""

    def environment(self) -> dict[str, Any]:
        found = super().environment()
        packages = {**found["packages"], "scikit-learn": "99.0", "brand-new": "1.0"}
        del packages["skl2onnx"]
        return {**found, "python": "3.99.1", "packages": packages}


Between = Callable[[RunRef, Plan], Plan]


def as_prepared(_: RunRef, plan: Plan) -> Plan:
    return plan


def made(house: ReleaseHouse, ref: RunRef, between: Between = as_prepared) -> dict[str, Any]:
    """All steps from `prepare` to `evaluate`, for real."""
    plan = between(ref, house.prepare(ref))
    fitted = house.fit(ref, plan)
    evaluated = house.step(evaluate, EvaluateTask(run=ref, files=plan.files, fitted=fitted))
    return {"plan": plan, "fitted": fitted, "evaluated": evaluated}


def released(house: ReleaseHouse, *, known_environment: bool = True) -> RunRef:
    """A first version."""
    ref = house.request(SPEC)
    found = made(house, ref)
    if not known_environment:
        files = RunFiles(ref, house.artifacts, {})
        files.write(RunFile.ENVIRONMENT, b"{}")
        found["fitted"].files.update(files.written)
    house.judge(ref, **found)
    return ref


def asked(house: ReleaseHouse, token: str = "again", number: str = "1") -> Run:  # noqa: S107  no password
    asking = StartReproduction(token=token)
    answer = house.step(start_reproduction, MODEL, number, asking, actor="olga")
    return house.registry.run(MODEL, answer["run"]["run_id"])


def again(
    house: ReleaseHouse,
    fitter: OnnxFitter | None = None,
    between: Between = as_prepared,
) -> tuple[ReproduceTask, Reproduced]:
    """Make version 1 again, to the end."""
    house.fitter = fitter or OnnxFitter()
    ref = RunRef(model=MODEL, run_id=asked(house).run_id)
    found = made(house, ref, between)
    task = ReproduceTask(run=ref, files=found.pop("plan").files, **found)
    return task, house.step(reproduce, task)


def document(house: ReleaseHouse, ref: RunRef) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(house.artifacts.get(ref.key(RunFile.REPRODUCTION)))
    return found


@pytest.fixture
def house() -> ReleaseHouse:
    house = house_with(trips())
    exclude(house, "strike", day=3)
    return house


def exclude(house: ReleaseHouse, name: str, *, day: int) -> None:
    start = datetime(2026, 1, day, tzinfo=UTC)
    house.catalog.exclude(Exclusion("trips", name, start, start + timedelta(days=1), name, "ana", house.clock.now()))


def test_the_same_file_and_numbers_come_again_whatever_has_changed_since(house: ReleaseHouse) -> None:
    first = released(house)
    registry = house.registry
    house.promote(registry.version(MODEL, 1))
    changed = {"seed": 6, "features": [{"name": "wind", "kind": "numeric"}], "baseline": {"kind": "prior"}}
    registry.apply(spec(**changed), author="ana", at=house.clock.now())
    house.register(house.upload(to_csv(trips(seed=1))))
    exclude(house, "flood", day=20)
    house.clock.move(days=400)
    before = registry.route(MODEL), registry.versions(MODEL), registry.lease(MODEL)
    task, answer = again(house)
    assert answer == Reproduced(equal=True, artifact_equal=True, differences=0)
    done = registry.run(MODEL, task.run.run_id)
    assert (done.status, done.stage, done.reproduces) == (RunStatus.REPRODUCED, "compare", 1)
    assert (done.version, done.exclusions, done.ended_at) == (None, ("strike",), house.clock.now())
    assert (registry.route(MODEL), registry.versions(MODEL), registry.lease(MODEL)) == before
    found = document(house, task.run)
    assert found["recorded_run_id"] == first.run_id
    assert found["environment"] == {"recorded": True, "differences": []}
    shown = {each["what"]: each["recorded"] for each in found["compared"]}
    assert shown["artifact"] == registry.version(MODEL, 1).artifact_sha256
    assert shown["roc_auc"] == registry.version(MODEL, 1).value
    assert {"fallback", "roc_auc low", "baseline", "validation", "training rows", "dataset"} <= set(shown)
    written = {
        PLAN: first.key(RunFile.PLAN),
        ENVIRONMENT: first.key(RunFile.ENVIRONMENT),
        EVALUATION: first.key(RunFile.EVALUATION),
        SLICES_AND_GROUPS: first.key(RunFile.SLICES_AND_GROUPS),
        REPORT: first.key(RunFile.REPORT),
        REPRODUCTION: task.run.key(RunFile.REPRODUCTION),
        FittedRule.FORM: first.key(RunFile.BASELINE),
        Fallback.FORM: first.key(RunFile.FALLBACK),
        Reference.FORM: first.key(RunFile.REFERENCE),
    }
    for form, key in written.items():
        hold(form, house.artifacts.get(key))
    reference = Reference.from_json(json.loads(house.artifacts.get(first.key(RunFile.REFERENCE))))
    hold(Layout.FORM, reference.layout.to_json())
    hold(Profile.FORM, reference.profile.to_json())
    hold(Contract.FORM, load(house.artifacts.get(first.key(RunFile.ARTIFACT))).contract.to_json())


def test_only_the_candidate_that_was_chosen_is_fitted_again(house: ReleaseHouse) -> None:
    first = released(house)
    task, _ = again(house)
    chosen = house.registry.run(MODEL, first.run_id).selected
    assert [each.index for each in house.registry.run(MODEL, task.run.run_id).candidates] == [chosen]


def test_another_environment_is_reported_package_by_package_and_is_no_difference_of_the_version(
    house: ReleaseHouse,
) -> None:
    released(house)
    task, answer = again(house, NewerFitter())
    assert answer.equal
    here = OnnxFitter().environment()
    differences = document(house, task.run)["environment"]["differences"]
    assert {each["what"]: (each["recorded"], each["found"]) for each in differences} == {
        "python": (here["python"], "3.99.1"),
        "package scikit-learn": (here["packages"]["scikit-learn"], "99.0"),
        "package skl2onnx": (here["packages"]["skl2onnx"], None),
        "package brand-new": (None, "1.0"),
    }


def test_what_comes_out_otherwise_is_named(house: ReleaseHouse) -> None:
    def lose_rows(ref: RunRef, plan: Plan) -> Plan:
        files = RunFiles(ref, house.artifacts, plan.files)
        fit = Table.from_npz(files.read(RunFile.FIT))
        files.write(RunFile.FIT, fit.take(np.arange(len(fit) - 40)).to_npz())
        return plan.model_copy(update={"files": plan.files | files.written})

    released(house)
    task, answer = again(house, between=lose_rows)
    assert not answer.equal
    assert not answer.artifact_equal
    assert house.registry.run(MODEL, task.run.run_id).status is RunStatus.DIFFERS
    found = {each["what"]: each for each in document(house, task.run)["compared"]}
    assert {name for name in ("artifact", "roc_auc", "training rows") if found[name]["equal"]} == set()
    assert found["training rows"]["recorded"] - found["training rows"]["found"] == 40
    assert {name for name in ("dataset", "seed", "spec", "baseline") if not found[name]["equal"]} == set()


def test_comparing_again_changes_nothing(house: ReleaseHouse) -> None:
    released(house)
    task, answer = again(house)
    before = house.registry.run(MODEL, task.run.run_id), document(house, task.run)
    house.clock.move(hours=1)
    assert house.step(reproduce, task) == answer
    assert (house.registry.run(MODEL, task.run.run_id), document(house, task.run)) == before


def test_a_version_older_than_recorded_environments_is_compared_by_code_and_lock(house: ReleaseHouse) -> None:
    released(house, known_environment=False)
    task, answer = again(house)
    assert answer.equal
    assert document(house, task.run)["environment"] == {"recorded": False, "differences": []}


def test_a_changed_report_is_no_witness(house: ReleaseHouse) -> None:
    first = released(house)
    house.artifacts.put(first.key(RunFile.REPORT), b"{}")
    with pytest.raises(ArtifactRejectedError):
        again(house)


def test_a_run_of_its_own_has_nothing_to_be_compared_with(house: ReleaseHouse) -> None:
    ref = released(house)
    task, _ = again(house)
    with pytest.raises(ConflictError, match="reproduces no version"):
        house.step(reproduce, task.model_copy(update={"run": ref}))


def test_what_was_declared_an_outcome_since_is_not_trained_on_again(house: ReleaseHouse) -> None:
    released(house)
    house.describe(outcome=("wind",))
    with pytest.raises(DataCheckError, match="wind"):
        again(house)


def test_a_release_under_way_does_not_hinder_it_and_one_token_is_one_run(house: ReleaseHouse) -> None:
    released(house)
    registry, now = house.registry, house.clock.now()
    other = Run(MODEL, "r-2", RunStatus.REQUESTED, SPEC.digest, "trips", "ben", now, seed=5)
    registry.request(other, lease_until=now + timedelta(hours=3))
    first, second = asked(house), asked(house)
    assert first.run_id == second.run_id
    assert asked(house, token="another").run_id != first.run_id
    lease = registry.lease(MODEL)
    assert lease is not None
    assert lease.run_id == "r-2"


# The API and the command line


def begun(world: World) -> str:
    """A model with a version; the path that makes it again."""
    world.with_model()
    run_id = world.call("POST", "/models/flight-delay/runs").body["run"]["run_id"]
    world.run_to_the_end(run_id)
    return "/models/flight-delay/versions/1/reproduction"


def finished(world: World, run_id: str, *, equal: bool = True, recorded: bool = True) -> None:
    """What the step does in the end."""
    ref, other = RunRef(model="flight-delay", run_id=run_id), "a" * 64 if equal else "b" * 64
    value = {"what": "roc_auc", "recorded": 0.75, "found": 0.75 if equal else 0.7500000000000001, "equal": equal}
    package = {"what": "package scikit-learn", "recorded": "1.7.0", "found": "1.8.0"}
    found = {
        "model": "flight-delay",
        "version": 1,
        "equal": equal,
        "compared": [{"what": "artifact", "recorded": "a" * 64, "found": other, "equal": equal}, value],
        "environment": {"recorded": recorded, "differences": [] if equal else [package]},
    }
    world.artifacts.put(ref.key(RunFile.REPRODUCTION), json.dumps(found).encode())
    world.registry.compared("flight-delay", run_id, equal=equal, at=world.clock.now())


def test_the_api_starts_it_once_and_says_what_came_of_it() -> None:
    world = World()
    path = begun(world)
    answer = world.call("POST", path, {"token": "audit"})
    run_id = answer.body["run"]["run_id"]
    assert (answer.status, answer.body["run"]["reproduces"], answer.body["run"]["selected"]) == (202, 1, 1)
    assert world.workflow.started[-1] == ("flight-delay", run_id)
    assert world.call("POST", path, {"token": "audit"}).status == 200
    seen = f"/models/flight-delay/runs/{run_id}/reproduction"
    early = world.call("GET", seen)
    assert (early.status, "requested" in early.body["detail"]) == (404, True)
    finished(world, run_id)
    assert world.call("GET", seen).body["reproduction"]["equal"] is True


@pytest.mark.parametrize("number", ["2", "one"])
def test_what_is_no_version_cannot_be_made_again(number: str) -> None:
    world = World()
    begun(world)
    assert world.call("POST", f"/models/flight-delay/versions/{number}/reproduction").status == 404


def test_the_same_version_is_reported_in_two_lines_and_by_exit_code_0(run: Cli, server: Loopback) -> None:
    begun(server.world)
    started(server, lambda run_id: finished(server.world, run_id))
    assert run("reproduce", "flight-delay", "1", "--wait") == exits.OK
    assert "flight-delay version 1: reproduced" in run.out
    assert f"the same ONNX file (sha256 {'a' * 64})" in run.out
    assert "the same metrics and data" in run.out
    assert "same environment" in run.out
    assert "reproduced" in run.err


def test_what_differs_is_reported_in_full_and_by_exit_code_1(run: Cli, server: Loopback) -> None:
    begun(server.world)
    started(server, lambda run_id: finished(server.world, run_id, equal=False, recorded=False))
    assert run("reproduce", "flight-delay", "1", "--wait") == exits.FAILED
    for shown in (
        "a different ONNX file",
        "2 of 2 facts differ",
        "0.7500000000000001",
        "package scikit-learn",
        "1.8.0",
    ):
        assert shown in run.out
    assert "only code and lock are compared" in run.out
    assert run("reproduce", "flight-delay", "1", "--wait", "--json") == exits.FAILED
    assert run.document["reproduction"]["equal"] is False


def test_a_run_that_fails_says_why(run: Cli, server: Loopback) -> None:
    begun(server.world)
    started(server, server.world.run_fails)
    assert run("reproduce", "flight-delay", "1", "--wait") == exits.FAILED
    assert "DataCheckError: column late has one value only" in run.out


def test_without_waiting_it_says_how_to_follow(run: Cli, server: Loopback) -> None:
    begun(server.world)
    assert run("reproduce", "flight-delay", "1", "--token", "audit") == exits.OK
    assert "is requested" in run.out
    assert "reproduce flight-delay 1 --token audit --wait" in run.out
    assert run("runs", "flight-delay", "--json") == exits.OK
    assert run("runs", "flight-delay", run.document["runs"][0]["run_id"]) == exits.OK
    assert "version 1" in run.out
