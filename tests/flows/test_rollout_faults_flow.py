"""A release under four eyes, and every way it can go wrong while an application keeps asking.

The model is one for all of these tests: each looks at what serves it first, and sends the next version on its way.
"""

from typing import Any

import pytest

from infra.local.faults import Throttle
from tests.flows.conftest import House, wait_until
from tests.flows.rollouts import (
    BOOSTED,
    QUICK,
    Traffic,
    actions,
    arrived,
    champion_of,
    ended,
    events,
    follow,
    june,
    serves_alone,
    started,
    waits,
)
from tidegate.cli.client import Client, PlatformError
from tidegate.kernel.errors import ConflictError, ForbiddenError

ASKED = {**QUICK, "approval": "required", "approval_hours": 2}
CHANGED = [{"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 30}}]
MODEL = "guarded-door"


@pytest.fixture(scope="module")
def traffic(house: House) -> Traffic:
    """The application that asks the model."""
    champion_of(house, MODEL)
    return Traffic(house, MODEL, june(house, MODEL))


@pytest.fixture
def champion(house: House, traffic: Traffic) -> int:
    """The version that serves before the test."""
    (only,) = house.client.model(MODEL)["serves"]  # a warm function may still follow the route before
    number: int = only["version"]
    return number


@pytest.fixture(autouse=True)
def _all_were_answered(traffic: Traffic) -> Any:
    """Whatever happened: before, between and after, every request got its answer, and the ledger is whole."""
    yield
    traffic.send(20)
    traffic.demand_that_all_were_answered()


def change_artifact(house: House, version: dict[str, Any]) -> None:
    bucket = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/artifacts-bucket")["Parameter"]["Value"]
    s3 = house.cloud.client("s3")
    data = s3.get_object(Bucket=bucket, Key=version["artifact_key"])["Body"].read()
    s3.put_object(Bucket=bucket, Key=version["artifact_key"], Body=data[:-1] + b"\x00")


# --- four eyes --------------------------------------------------------------------------------------------------------


def test_an_approval_is_given_by_somebody_else_once_and_for_what_they_saw(
    house: House, approver: Client, traffic: Traffic, champion: int
) -> None:
    run = started(house, MODEL, ASKED, candidates=BOOSTED)
    version = house.client.version(MODEL, run["version"])
    assert house.client.rollout(MODEL, run["run_id"])["phase"] == "approval"
    traffic.send(20)
    assert serves_alone(house, MODEL, champion)

    with pytest.raises(ForbiddenError, match="requested the training"):
        house.client.decide(version, "approve", "I trained it, so it is good")
    earlier = house.client.version(MODEL, champion)
    with pytest.raises(ConflictError, match="changed since you looked at it"):
        approver.decide({**version, "report_sha256": earlier["report_sha256"]}, "approve", "fine, as the one before")
    with pytest.raises(ConflictError, match="approval"):
        house.client.split(MODEL, run["version"], 1_000, "around the approval")

    assert approver.decide(version, "approve", "read the report")["changed"]
    assert not approver.decide(version, "approve", "read the report")["changed"]
    with pytest.raises(ConflictError, match="already decided"):
        approver.decide(version, "reject", "on second thoughts")
    waits(house, run, "WaitStateEntered")
    assert follow(house, traffic, run)["phase"] == "done"
    entries = [entry for entry in house.client.ledger(MODEL) if entry["version"] == run["version"]]
    assert [entry["action"] for entry in entries] == ["canary", "promote"]
    assert all(entry["approved_by"].endswith("user/second-pair-of-eyes") for entry in entries)
    with pytest.raises(ConflictError, match="already decided"):  # the approval is used up
        approver.decide(version, "reject", "much later")


def test_a_version_that_its_approver_rejects_never_serves(house: House, approver: Client, champion: int) -> None:
    before = actions(house, MODEL)
    run = started(house, MODEL, ASKED, candidates=BOOSTED)
    approver.decide(house.client.version(MODEL, run["version"]), "reject", "the holdout is too short")
    assert ended(house, run)["phase"] == "rejected"
    assert house.client.version(MODEL, run["version"])["status"] == "rolled_back"
    with pytest.raises(ConflictError, match="rolled_back"):
        house.client.split(MODEL, run["version"], 1_000, "but I like it")
    assert serves_alone(house, MODEL, champion)
    assert actions(house, MODEL) == before


def test_an_approval_that_nobody_gives_expires(house: House, approver: Client, champion: int) -> None:
    run = started(house, MODEL, ASKED, candidates=BOOSTED)
    waits(house, run, "TaskSubmitted")
    house.cloud.advance(2 * 3_600 + 60)
    assert ended(house, run)["phase"] == "expired"
    with pytest.raises(ConflictError, match="no longer waits for approval"):
        approver.decide(house.client.version(MODEL, run["version"]), "approve", "better late than never")
    assert serves_alone(house, MODEL, champion)


def test_an_artifact_that_is_changed_after_its_approval_does_not_get_in(
    house: House, approver: Client, traffic: Traffic, champion: int
) -> None:
    run = started(house, MODEL, ASKED, candidates=CHANGED)
    version = house.client.version(MODEL, run["version"])
    approver.decide(version, "approve", "read the report")
    waits(house, run, "WaitStateEntered")
    change_artifact(house, version)
    rollout = follow(house, traffic, run)
    assert rollout["phase"] == "rolled_back", rollout
    assert "artifact" in rollout["reason"]
    assert actions(house, MODEL)[-2:] == ["canary", "rollback"]
    assert serves_alone(house, MODEL, champion)


def test_an_artifact_that_is_changed_before_its_approval_cannot_be_approved(
    house: House, approver: Client, champion: int
) -> None:
    run = started(house, MODEL, ASKED, candidates=CHANGED)
    version = house.client.version(MODEL, run["version"])
    change_artifact(house, version)
    with pytest.raises(PlatformError, match="SHA-256"):
        approver.decide(version, "approve", "read the report")
    house.client.end_rollout(MODEL, "its bytes are not what was trained")
    assert ended(house, run)["phase"] == "stopped"
    assert serves_alone(house, MODEL, champion)


def no_writes(house: House) -> Throttle:
    """A registry that is throttled whenever the rollout wants to write."""
    return house.cloud.throttle("dynamodb", {"PutItem", "TransactWriteItems", "UpdateItem"}, role="RolloutRole")


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_second_release_of_a_model_learns_who_holds_the_first(house: House, traffic: Traffic, champion: int) -> None:
    run = started(house, MODEL, QUICK, candidates=BOOSTED)
    with pytest.raises(ConflictError, match=run["run_id"]) as caught:
        house.client.start_run(MODEL)
    assert "developer" in str(caught.value)
    traffic.send(20)
    assert house.client.end_rollout(MODEL, "make way")["changed"]
    assert actions(house, MODEL)[-2:] == ["canary", "rollback"]
    second = house.client.start_run(MODEL)["run"]
    assert second["run_id"] != run["run_id"]
    second = house.over(MODEL, second["run_id"])
    house.client.end_rollout(MODEL, "it has shown that it could start")
    assert serves_alone(house, MODEL, champion)


def test_a_state_machine_that_is_stopped_in_the_middle_of_a_step_leaves_the_champion_alone(
    house: House, traffic: Traffic, champion: int
) -> None:
    run = started(house, MODEL, QUICK, candidates=BOOSTED)
    traffic.send(300)
    arrived(house, run)
    with no_writes(house) as throttle:
        house.cloud.advance(60)
        wait_until(lambda: throttle.refused)  # it is about to promote the version
        house.states.stop_execution(executionArn=run["execution"], error="Stopped", cause="by hand")
        rollout = ended(house, run)
    assert rollout["phase"] == "failed"
    assert house.cloud.settle()  # the function that was at work has found out
    assert house.client.rollout(MODEL, run["run_id"]) == rollout
    assert actions(house, MODEL)[-2:] == ["canary", "rollback"]
    assert serves_alone(house, MODEL, champion)
    assert house.client.model(MODEL)["under_way"] == {"rollout": None, "lease": None}


def test_a_function_that_is_killed_in_the_middle_of_a_step_does_it_again(house: House, traffic: Traffic) -> None:
    run = started(house, MODEL, QUICK, candidates=BOOSTED)
    traffic.send(300)
    arrived(house, run)
    with no_writes(house) as throttle:
        house.cloud.advance(60)
        wait_until(lambda: throttle.refused)
        assert house.cloud.kill("rollout")
    wait_until(lambda: events(house, run)[-1] in {"WaitStateEntered", "ExecutionSucceeded"})
    assert follow(house, traffic, run)["phase"] == "done"
    assert "LambdaFunctionFailed" in events(house, run)
    assert actions(house, MODEL)[-2:] == ["canary", "promote"]
    assert serves_alone(house, MODEL, run["version"])


def test_a_registry_that_is_throttled_delays_a_step_and_nothing_else(house: House, traffic: Traffic) -> None:
    run = started(house, MODEL, QUICK, candidates=BOOSTED)
    traffic.send(300)
    arrived(house, run)
    with no_writes(house) as throttle:
        house.cloud.advance(60)
        # The function has given up, and the state machine has come again.
        wait_until(lambda: throttle.refused > 3 or house.cloud.advance(1))
        traffic.send(20)
        assert not house.client.rollout(MODEL, run["run_id"])["ended_at"]
    wait_until(lambda: events(house, run)[-1] in {"WaitStateEntered", "ExecutionSucceeded"} or house.cloud.advance(1))
    assert follow(house, traffic, run)["phase"] == "done"
    assert actions(house, MODEL)[-2:] == ["canary", "promote"]
    assert serves_alone(house, MODEL, run["version"])


def test_functions_whose_clocks_disagree_come_to_the_same_verdict(house: House, traffic: Traffic) -> None:
    run = started(house, MODEL, QUICK, candidates=BOOSTED)
    house.cloud.skew("inference", 500)
    house.cloud.skew("rollout", -400)
    try:
        rollout = follow(house, traffic, run)
    finally:
        house.cloud.skew("inference", 0)
        house.cloud.skew("rollout", 0)
    assert rollout["phase"] == "done", rollout
    assert actions(house, MODEL)[-2:] == ["canary", "promote"]
    assert serves_alone(house, MODEL, run["version"])
