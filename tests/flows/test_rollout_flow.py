"""A new version on its way to its users: promoted by evidence, and turned back by evidence.

In each flow an application keeps asking. It must never notice: every valid request gets a 200.
"""

import time
from typing import Any, NamedTuple

import pytest

from tests.flows.conftest import SHALLOW, House, wait_until
from tests.flows.rollouts import (
    BOOSTED,
    BROKEN_STATION,
    HALF,
    QUICK,
    WEATHER_STATION,
    Traffic,
    actions,
    arrived,
    champion_of,
    follow,
    june,
    next_look,
    serves_alone,
    started,
    waits,
)
from tidegate.cli.client import Client

SECONDS_TO_SAFETY = 6
RELEASES = "tidegate-dev-releases"


@pytest.fixture(scope="module")
def model(house: House) -> str:
    """A model whose first version knows nothing of the weather station. None of these tests ends with another one."""
    features = [each for each in house.spec("steady")["features"] if each["name"] not in WEATHER_STATION]
    champion_of(house, "steady", BOOSTED, features=features)
    return "steady"


def test_a_candidate_that_is_better_in_every_respect_gets_in_step_by_step(house: House) -> None:
    model = "rising"
    champion_of(house, model)
    rules = {**HALF, "steps": [20, 50], "probation_hours": 0.02, "holdback": 10, "shadow_minutes": 1}
    run = started(house, model, rules, candidates=BOOSTED)
    traffic = Traffic(house, model, june(house, model))
    rollout = follow(house, traffic, run, per_look=50, until=lambda rollout: rollout["share_bp"] == 5_000)
    rollout = follow(house, traffic, run, per_look=400, until=lambda rollout: rollout["phase"] != "canary")
    assert rollout["phase"] == "probation", rollout
    rollout = follow(house, traffic, run, per_look=50)
    assert rollout["phase"] == "done", rollout
    traffic.demand_that_all_were_answered()
    assert {"champion", "candidate", "holdback"} <= set(traffic.reasons)
    assert actions(house, model) == ["fallback", "promote", "shadow", "canary", "canary", "promote", "end_probation"]
    weights = [entry["weight_bp"] for entry in house.client.ledger(model)]
    assert weights[3:] == [2_000, 5_000, 9_000, 10_000]
    assert serves_alone(house, model, 2)
    arn = house.client.run(model, run["run_id"])["execution"]
    wait_until(lambda: house.states.describe_execution(executionArn=arn)["status"] == "SUCCEEDED")


def test_a_first_version_is_held_against_its_targets_and_the_fallback_answers_the_rest(house: House) -> None:
    model = "debut"
    run = started(house, model, QUICK, candidates=SHALLOW)
    traffic = Traffic(house, model, june(house, model))
    rollout = follow(house, traffic, run)
    assert rollout["phase"] == "done", rollout
    traffic.demand_that_all_were_answered()
    assert {"candidate", "fallback"} <= set(traffic.reasons)
    assert actions(house, model) == ["fallback", "canary", "promote"]
    assert serves_alone(house, model, 1)


def test_a_candidate_that_refuses_three_in_a_hundred_requests_is_rolled_back_within_seconds(
    house: House, model: str
) -> None:
    features = [
        each | ({"max": 5} if each["name"] == "month" else {})  # the months of the training data: June is refused
        for each in house.spec(model)["features"]
    ]
    run = started(house, model, HALF, candidates=BOOSTED, features=features)
    flights = june(house, model)
    traffic = Traffic(house, model, lambda number: [flights(number)[0] | {"month": 6 if number % 100 < 3 else 5}])
    for _ in range(8):
        traffic.send(200)
        rollout = arrived(house, run)
        with traffic.going_on():
            began = time.monotonic()
            rollout = next_look(house, rollout)
            if rollout["ended_at"]:
                time.sleep(max(0.0, began + SECONDS_TO_SAFETY + 1 - time.monotonic()))
                break
    assert rollout["phase"] == "rolled_back", rollout
    assert "error rate" in rollout["reason"]
    served = {version for at, version in traffic.answered if at > began + SECONDS_TO_SAFETY}
    assert served == {1}, "the candidate answered for too long after the verdict could be known"
    traffic.demand_that_all_were_answered()
    assert actions(house, model)[-2:] == ["canary", "rollback"]
    assert house.client.version(model, run["version"])["status"] == "rolled_back"


def test_a_candidate_that_takes_far_longer_than_the_champion_is_rolled_back(
    house: House, model: str, approver: Client
) -> None:
    laborious = " and ".join(["abs(score - 1 + 1) >= 0"] * 35)
    rules = [{"name": f"laborious-{number}", "require": laborious} for number in range(2)]
    run = started(house, model, QUICK, candidates=BOOSTED, rules=rules, targets={"latency_p99_ms": 15})
    asked = house.client.rollout(model, run["run_id"])
    assert asked["phase"] == "approval", asked
    assert asked["approval"]["reasons"] == [
        "a target was changed: targets.latency_p99_ms: at most 15 ms, was at most 500 ms"
    ]
    assert approver.decide(house.client.version(model, run["version"]), "approve", "users wait too long")["changed"]
    waits(house, run, "WaitStateEntered")
    traffic = Traffic(house, model, june(house, model, rows=100))
    rollout = follow(house, traffic, run, per_look=40)
    assert rollout["phase"] == "rolled_back", rollout
    assert "latency target" in rollout["reason"], rollout
    (slow,) = [finding for finding in rollout["verdict"]["findings"] if finding["metric"] == "slow"]
    assert slow["candidate"] > slow["champion"]
    traffic.demand_that_all_were_answered()
    assert actions(house, model)[-2:] == ["canary", "rollback"]
    assert serves_alone(house, model, 1)


def test_a_candidate_whose_scores_are_not_those_of_the_holdout_is_rolled_back(house: House, model: str) -> None:
    run = started(house, model, QUICK, candidates=BOOSTED)
    traffic = Traffic(house, model, june(house, model, **BROKEN_STATION))
    rollout = follow(house, traffic, run, per_look=100)
    assert rollout["phase"] == "rolled_back", rollout
    assert "score distributions" in rollout["reason"]
    traffic.demand_that_all_were_answered()
    assert actions(house, model)[-2:] == ["canary", "rollback"]
    assert serves_alone(house, model, 1)


def test_a_candidate_without_traffic_is_neither_promoted_nor_blamed(house: House, model: str) -> None:
    run = started(house, model, {**HALF, "deadline_hours": 0.04}, candidates=BOOSTED)
    rollout = follow(house, None, run)
    assert rollout["phase"] == "rolled_back"
    assert "no evidence" in rollout["reason"]
    assert {finding["outcome"] for finding in rollout["verdict"]["findings"]} == {"insufficient_data"}
    assert actions(house, model)[-2:] == ["canary", "rollback"]
    assert serves_alone(house, model, 1)


def test_a_kill_in_the_middle_of_a_canary_ends_it(house: House, model: str) -> None:
    run = started(house, model, QUICK, candidates=BOOSTED)
    traffic = Traffic(house, model, june(house, model))
    traffic.send(20)
    house.client.kill(model, "the weather feed is down")
    assert follow(house, traffic, run, per_look=20)["phase"] == "stopped"
    assert house.client.version(model, run["version"])["status"] == "rolled_back"
    house.client.resume(model, "it is back")
    traffic.demand_that_all_were_answered()
    assert actions(house, model)[-3:] == ["canary", "kill", "resume"]
    assert serves_alone(house, model, 1)


class Relapse(NamedTuple):
    """A release that was approved, promoted, and turned bad while it was on probation."""

    run: dict[str, Any]
    rollout: dict[str, Any]
    shown: list[dict[str, Any]]  # to people
    events: list[dict[str, Any]]  # to other systems


@pytest.fixture(scope="module")
def relapse(house: House, model: str, approver: Client) -> Relapse:
    letters, events = len(house.cloud.notifications(RELEASES)), len(house.cloud.events_seen("tidegate"))
    rules = {**QUICK, "approval": "required", "probation_hours": 1, "holdback": 30}
    run = started(house, model, rules, candidates=BOOSTED)
    approver.decide(house.client.version(model, run["version"]), "approve", "read the report")
    waits(house, run, "WaitStateEntered")
    good = Traffic(house, model, june(house, model))
    rollout = follow(house, good, run, until=lambda rollout: rollout["phase"] != "canary")
    assert rollout["phase"] == "probation", rollout
    bad = Traffic(house, model, june(house, model, **BROKEN_STATION))
    rollout = follow(house, bad, run, per_look=100)
    for traffic in (good, bad):
        traffic.demand_that_all_were_answered()
    assert house.cloud.settle()
    shown = [letter for letter in house.cloud.notifications(RELEASES)[letters:] if model in letter["subject"]]
    seen = [
        event
        for event in house.cloud.events_seen("tidegate")[events:]
        if event["detail"]["model"] == model and event["detail-type"] != "Tidegate Health Changed"  # the hourly look's
    ]
    return Relapse(run, rollout, shown, seen)


def test_a_promoted_version_that_turns_bad_while_it_is_on_probation_gives_way_to_the_one_before(
    house: House, model: str, relapse: Relapse
) -> None:
    assert relapse.rollout["phase"] == "rolled_back", relapse.rollout
    assert "score distributions" in relapse.rollout["reason"]
    assert [entry["action"] for entry in house.client.ledger(model) if entry["run_id"] == relapse.run["run_id"]] == [
        "canary",
        "promote",
    ]
    assert "rollback" in actions(house, model)
    assert serves_alone(house, model, 1)
    assert house.client.version(model, relapse.run["version"])["status"] == "retired"


def test_people_and_other_systems_are_notified_of_each_step_of_a_release_once(model: str, relapse: Relapse) -> None:
    version = relapse.run["version"]
    assert [letter["subject"].removeprefix(f"[dev] {model}: ") for letter in relapse.shown] == [
        f"version {version} passed the gate",
        f"version {version} waits for approval",
        f"version {version} was approved",
        f"version {version} answers 50 % of the requests",
        f"version {version} is promoted",
        f"version {version} was rolled back",
    ]
    asking = relapse.shown[1]
    assert asking["attributes"]["severity"] == "action_needed"
    assert f"tidegate --stage dev approve {model} {version}" in asking["message"]
    assert "score distributions" in relapse.shown[-1]["message"]
    assert len({event["detail"]["id"] for event in relapse.events}) == len(relapse.events)
    routes = [event["detail"] for event in relapse.events if event["detail-type"] == "Tidegate Route Changed"]
    assert [(each["action"], each["version"], each["previous_version"]) for each in routes] == [
        ("canary", version, 1),
        ("promote", version, 1),
        ("rollback", 1, version),
    ]
    assert {event["detail-type"] for event in relapse.events} == {
        "Tidegate Run Ended",
        "Tidegate Approval Requested",
        "Tidegate Approval Decided",
        "Tidegate Rollout Moved",
        "Tidegate Route Changed",
    }
