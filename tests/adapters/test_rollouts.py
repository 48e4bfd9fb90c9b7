"""What ports.Rollouts promises, held against the fake and against DynamoDB (moto)."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.adapters.conftest import LEDGER, TABLE
from tests.builders.registry import AT, a_run, promoted, registered, requested
from tests.builders.specs import a_spec
from tests.builders.threads import at_once
from tidegate.aws.items import MAX_ITEM_BYTES, encode
from tidegate.aws.registry import DynamoRoutes
from tidegate.aws.rollouts import DynamoRollouts
from tidegate.aws.table import Table
from tidegate.domain.registry.ledger import Cause, chain, verify
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.canary import ArmCounts, Look, judge
from tidegate.domain.rollout.changes import kill
from tidegate.domain.rollout.rollout import (
    MOST_LOOKS,
    Decision,
    Evidence,
    Phase,
    Rollout,
    Step,
    VersionNote,
    advance,
    begin,
    decide,
    stop,
)
from tidegate.domain.training.contracts import rollout_plan
from tidegate.kernel.errors import ConflictError
from tidegate.testing.rollout import InMemoryArms

MODEL = "flight-delay"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:release:r"
LATER = AT + timedelta(minutes=15)
ANN, EVE = "arn:aws:iam::123456789012:user/ann", "arn:aws:iam::123456789012:user/eve"


@dataclass
class RolloutPorts:
    """The ports of a test, with champion 1 and the accepted version 2 on its way in."""

    registry: Any
    rollouts: Any

    @property
    def version(self) -> Version:
        found: Version = self.registry.version(MODEL, 2)
        return found

    @property
    def stored(self) -> Rollout:
        found: Rollout = self.rollouts.rollout(MODEL, "r-002")
        return found

    def begin(self, version: Version | None = None, **rules: Any) -> Step:
        version = version or self.version
        return begin(
            version,
            rollout_plan(a_spec(release=rules)),
            route=self.registry.route(MODEL),
            judged_against=1,
            excluded={ANN: "requested the training and wrote its spec"},
            score_edges=(0.1, 0.5),
            actor=EXECUTION,
            now=AT,
        )

    def begun(self, **rules: Any) -> Rollout:
        step = self.begin(**rules)
        self.rollouts.save(step, now=AT)
        return step.rollout

    def next(self, *looks: Look, at: datetime = LATER) -> Step:
        return advance(
            self.stored,
            route=self.registry.route(MODEL),
            version=self.version,
            evidence=Evidence(looks, {"2026-01-05-12": ("a.gz", "b.gz")} if looks else {}),
            now=at,
        )

    def stop(self, reason: str = "not today") -> Step:
        cause = Cause(LATER, ANN, reason)
        return stop(self.stored, route=self.registry.route(MODEL), version=self.version, cause=cause)

    def as_it_is(self) -> tuple[Any, ...]:
        return (
            self.rollouts.rollouts(MODEL),
            self.rollouts.lease(MODEL),
            self.registry.route(MODEL),
            self.registry.ledger(MODEL),
            self.registry.versions(MODEL),
        )


@pytest.fixture
def house(registry: Any, rollouts: Any) -> RolloutPorts:
    return a_house(registry, rollouts)


def a_house(registry: Any, rollouts: Any) -> RolloutPorts:
    registry.apply(a_spec(), author=ANN, at=AT)
    promoted(registry, registered(registry, "r-001"))
    registered(registry, "r-002")
    return RolloutPorts(registry, rollouts)


def look(requests: int = 100, errors: int = 0) -> Look:
    return Look(ArmCounts(requests, errors=errors, scores=(requests, 0, 0)), ArmCounts(requests))


def crowded_looks(count: int, bins: int) -> tuple[Look, ...]:
    chance = random.Random(1)

    def arm() -> ArmCounts:
        return ArmCounts(
            requests=10**6,
            errors=chance.randrange(10**5),
            slow=chance.randrange(10**5),
            scores=tuple(chance.randrange(10**5) for _ in range(bins)),
            losses=10**6,
            loss_millionths=chance.randrange(10**12),
        )

    return tuple(Look(arm(), arm()) for _ in range(count))


def test_a_step_on_a_route_that_the_ledger_does_not_lead_to_is_refused(house: RolloutPorts) -> None:
    before, step = house.as_it_is(), house.begin()
    assert step.change
    entry = replace(step.change.entry, route_before_sha256="e" * 64)
    forged = replace(step.change, entry=chain(entry, entry.previous_hash))
    with pytest.raises(ConflictError, match="is not the one that entry 1"):
        house.rollouts.save(replace(step, change=forged), now=AT)
    assert house.as_it_is() == before
    house.rollouts.save(step, now=AT)


def test_a_rollout_comes_back_as_it_was_saved(house: RolloutPorts) -> None:
    assert house.rollouts.rollout(MODEL, "r-002") is None
    assert house.rollouts.rollouts(MODEL) == []
    step = house.begin(approval="required", demands={"loss": {"required": True}})
    house.rollouts.save(step, now=AT)
    assert house.stored == step.rollout
    assert step.rollout.approval is not None
    assert house.rollouts.rollouts(MODEL) == [step.rollout]


def test_looks_and_verdict_come_back_as_they_were_judged(house: RolloutPorts) -> None:
    house.begun()
    step = house.next(look(), look(500, errors=1))
    house.rollouts.save(step, now=LATER)
    assert house.stored == step.rollout
    assert house.stored.verdict == judge(step.rollout.looks, step.rollout.plan.demands).to_json()
    assert house.stored.fetched == {"2026-01-05-12": ("a.gz", "b.gz")}


def test_as_many_looks_as_a_phase_has_fit_into_a_record(house: RolloutPorts) -> None:
    begun = house.begun()
    looks = crowded_looks(MOST_LOOKS, bins=20)
    fetched = {f"2026-01-05-{hour}": tuple(f"{hour}{number:08d}" for number in range(120)) for hour in range(10, 24)}
    verdict = judge(looks, begun.plan.demands).to_json()
    crowded = replace(begun, revision=2, looks=looks, fetched=fetched, verdict=verdict)
    house.rollouts.save(Step(crowded), now=LATER)
    assert house.stored == crowded
    packed = sum(len(part["B"]) for part in encode(crowded).values() if "B" in part)
    assert 10_000 < packed < MAX_ITEM_BYTES / 2


def test_rollouts_are_listed_newest_first(house: RolloutPorts) -> None:
    house.begun()
    house.rollouts.save(house.stop(), now=LATER)
    third = registered(house.registry, "r-003")
    house.rollouts.save(house.begin(third), now=AT)
    assert [each.run_id for each in house.rollouts.rollouts(MODEL)] == ["r-003", "r-002"]
    assert [each.run_id for each in house.rollouts.rollouts(MODEL, limit=1)] == ["r-003"]
    assert [each.run_id for each in house.rollouts.rollouts(MODEL, after="r-003", limit=5)] == ["r-002"]
    assert house.rollouts.rollouts(MODEL, after="r-002") == []


def test_a_step_writes_record_route_ledger_and_versions_together(house: RolloutPorts) -> None:
    step = house.begin()
    house.rollouts.save(step, now=AT)
    assert step.change is not None
    assert house.registry.route(MODEL) == step.change.route
    assert house.registry.ledger(MODEL)[-1] == step.change.entry
    assert house.version.status is VersionStatus.CANDIDATE


def test_the_same_step_again_changes_nothing(house: RolloutPorts) -> None:
    step = house.begin()
    house.rollouts.save(step, now=AT)
    before = house.as_it_is()
    house.rollouts.save(step, now=LATER)
    assert house.as_it_is() == before


def test_the_same_last_step_again_changes_nothing(house: RolloutPorts) -> None:
    house.begun()
    step = house.stop()
    house.rollouts.save(step, now=LATER)
    before = house.as_it_is()
    house.rollouts.save(step, now=LATER)
    house.rollouts.save(Step(step.rollout), now=LATER)
    assert house.as_it_is() == before


@pytest.mark.usefixtures("aws")
def test_a_step_whose_answer_was_lost_is_found_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    house = a_house(DynamoRoutes(TABLE, LEDGER), DynamoRollouts(TABLE, LEDGER))
    send: Callable[..., None] = Table._send

    def twice(self: Table, writes: Sequence[Any]) -> None:
        send(self, writes)
        send(self, writes)

    monkeypatch.setattr(Table, "_send", twice)
    assert house.begun() == house.stored
    house.rollouts.save(house.stop(), now=LATER)
    assert house.stored.phase is Phase.STOPPED


def test_of_two_racing_steps_one_wins_and_nothing_of_the_other_is_written(house: RolloutPorts) -> None:
    house.begun()
    going_on, stopping = house.next(look()), house.stop()
    outcomes = at_once(*(lambda s=step: house.rollouts.save(s, now=LATER) for step in (going_on, stopping)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "NoneType"]
    stopped = outcomes[1] is None
    won = stopping if stopped else going_on
    assert house.stored == won.rollout
    assert house.version.status is (VersionStatus.ROLLED_BACK if stopped else VersionStatus.CANDIDATE)
    assert house.registry.ledger(MODEL)[2:] == ([won.change.entry] if won.change else [])


def test_a_step_decided_on_an_old_record_says_that_the_rollout_moved_on(house: RolloutPorts) -> None:
    house.begun()
    late = house.next(look())
    house.rollouts.save(house.next(look(), look()), now=LATER)
    before = house.as_it_is()
    with pytest.raises(ConflictError, match="the rollout of flight-delay version 2 was changed"):
        house.rollouts.save(late, now=LATER)
    assert house.as_it_is() == before


def test_no_revision_is_left_out(house: RolloutPorts) -> None:
    begun = house.begun()
    with pytest.raises(ConflictError, match="the rollout of"):
        house.rollouts.save(Step(replace(begun, revision=begun.revision + 2)), now=LATER)


def test_a_rollout_is_begun_once(house: RolloutPorts) -> None:
    house.begun(approval="required")
    with pytest.raises(ConflictError, match="the rollout of"):
        house.rollouts.save(house.begin(approval="required", approval_hours=1), now=AT)


def test_a_step_decided_on_an_old_route_says_that_the_route_was_changed(house: RolloutPorts) -> None:
    step = house.begin()
    change = kill(house.registry.route(MODEL), MODEL, Cause(AT, ANN, "feed is down"))
    assert change is not None
    house.registry.change(change)
    before = house.as_it_is()
    with pytest.raises(ConflictError, match="the route of flight-delay was changed"):
        house.rollouts.save(step, now=AT)
    assert house.as_it_is() == before


def test_the_ledger_that_steps_wrote_is_one_chain(house: RolloutPorts) -> None:
    house.begun()
    house.rollouts.save(house.next(look(1_000)), now=LATER)
    house.rollouts.save(house.stop(), now=LATER)
    entries = house.registry.ledger(MODEL)
    assert [entry.action for entry in entries] == ["promote", "canary", "canary", "rollback"]
    assert verify(MODEL, entries, house.registry.route(MODEL).ledger_head) is None


# The lease


def test_a_rollout_keeps_the_lease_of_its_run_and_extends_it(house: RolloutPorts) -> None:
    requested(house.registry, a_run("r-003"), lease_until=AT + timedelta(hours=3))
    third = house.registry.register(replace(house.version, run_id="r-003"), at=AT)
    step = house.begin(third, approval="required")
    house.rollouts.save(step, now=AT + timedelta(hours=1))
    lease = house.rollouts.lease(MODEL)
    assert (lease.run_id, lease.holder, lease.since) == ("r-003", "ann", AT)
    assert lease.until == step.rollout.lease_until > AT + timedelta(hours=72)


def test_a_rollout_without_a_lease_takes_it(house: RolloutPorts) -> None:
    registered(house.registry, "r-003")  # its lease is over
    step = house.begin()
    house.rollouts.save(step, now=LATER)
    lease = house.rollouts.lease(MODEL)
    assert (lease.model, lease.run_id, lease.holder) == (MODEL, "r-002", EXECUTION)
    assert (lease.since, lease.until) == (LATER, step.rollout.lease_until)


def test_while_a_rollout_goes_on_nobody_starts_another_release(house: RolloutPorts) -> None:
    house.begun()
    with pytest.raises(ConflictError, match="r-002"):
        requested(house.registry, a_run("r-003", requested_at=LATER))


def test_a_rollout_does_not_go_on_while_another_release_holds_the_lease(house: RolloutPorts) -> None:
    until = AT + timedelta(hours=3)
    requested(house.registry, a_run("r-003"), lease_until=until)
    step, before = house.begin(), house.as_it_is()
    with pytest.raises(ConflictError, match=r"run r-003 of ann has held the release of flight-delay") as caught:
        house.rollouts.save(step, now=until - timedelta(microseconds=1))
    assert "tidegate rollout flight-delay" in caught.value.next_step
    assert f"its lease lasts until {until:%Y-%m-%d %H:%M} UTC" in str(caught.value)
    assert house.as_it_is() == before
    house.rollouts.save(step, now=until)
    assert house.rollouts.lease(MODEL).run_id == "r-002"


def test_who_comes_back_to_a_lease_that_others_took_over_is_refused(house: RolloutPorts) -> None:
    expired = house.begun().lease_until
    requested(house.registry, a_run("r-003", requested_at=expired), lease_until=expired + timedelta(hours=3))
    step = house.next(look(), at=expired)
    with pytest.raises(ConflictError, match="run r-003"):
        house.rollouts.save(step, now=expired)
    house.rollouts.save(house.stop(), now=expired)
    assert house.stored.phase is Phase.STOPPED
    assert house.rollouts.lease(MODEL).run_id == "r-003"
    with pytest.raises(ConflictError, match="run r-003"):
        requested(house.registry, a_run("r-004", requested_at=expired))


def test_a_final_rollout_frees_the_lease(house: RolloutPorts) -> None:
    house.begun()
    house.rollouts.save(house.stop(), now=LATER)
    assert house.rollouts.lease(MODEL).until < AT
    assert requested(house.registry, a_run("r-003")).run_id == "r-003"


def test_only_its_run_frees_a_lease(house: RolloutPorts) -> None:
    assert house.rollouts.lease("other") is None
    house.rollouts.free("other", "r-001")
    assert house.rollouts.lease("other") is None
    requested(house.registry, a_run("r-003"), lease_until=LATER)
    before = house.rollouts.lease(MODEL)
    house.rollouts.free(MODEL, "r-002")
    assert house.rollouts.lease(MODEL) == before
    house.rollouts.free(MODEL, "r-003")
    house.rollouts.free(MODEL, "r-003")
    assert requested(house.registry, a_run("r-004")).run_id == "r-004"


# Notes on the version


def answered(house: RolloutPorts, decision: Decision) -> Step:
    seen = house.version
    step = decide(
        house.stored,
        decision,
        by=EVE,
        reason="I looked at it",
        artifact_sha256=seen.artifact_sha256,
        report_sha256=seen.report_sha256,
        now=LATER,
    )
    assert step is not None
    return step


def test_an_approval_is_noted_on_the_version_and_nothing_else_is(house: RolloutPorts) -> None:
    house.begun(approval="required")
    before, entries = house.version, house.registry.ledger(MODEL)
    house.rollouts.save(answered(house, Decision.APPROVE), now=LATER)
    assert house.version == replace(before, approved_by=EVE)
    assert house.registry.ledger(MODEL) == entries


def test_an_approved_version_gets_its_share_and_stays_approved(house: RolloutPorts) -> None:
    house.begun(approval="required")
    house.rollouts.save(answered(house, Decision.APPROVE), now=LATER)
    house.rollouts.save(house.next(), now=LATER)
    assert (house.version.status, house.version.approved_by) == (VersionStatus.CANDIDATE, EVE)
    assert house.registry.ledger(MODEL)[-1].approved_by == EVE


def test_a_rejection_writes_no_more_than_the_record(house: RolloutPorts) -> None:
    house.begun(approval="required")
    before = house.version
    house.rollouts.save(answered(house, Decision.REJECT), now=LATER)
    assert house.version == before
    house.rollouts.save(house.next(), now=LATER)
    assert (house.version.status, house.version.reasons) == (
        VersionStatus.ROLLED_BACK,
        (f"rejected by {EVE}: I looked at it",),
    )


def test_a_version_that_leaves_the_route_says_why(house: RolloutPorts) -> None:
    house.begun()
    step = house.stop("too slow at the gate")
    assert step.change is not None
    assert step.note is not None
    house.rollouts.save(step, now=LATER)
    assert (house.version.status, house.version.reasons) == (VersionStatus.ROLLED_BACK, ("too slow at the gate",))
    assert house.registry.route(MODEL).candidate is None


def test_the_status_of_the_note_wins(house: RolloutPorts) -> None:
    house.begun()
    step = replace(house.stop(), note=VersionNote(VersionStatus.OVERTAKEN, "late", approved_by=EVE))
    house.rollouts.save(step, now=LATER)
    version = house.version
    assert (version.status, version.reasons, version.approved_by) == (VersionStatus.OVERTAKEN, ("late",), EVE)


@pytest.mark.parametrize("status", [status for status in VersionStatus if status.closed])
def test_a_closed_version_cannot_be_brought_in(house: RolloutPorts, status: VersionStatus) -> None:
    closed = registered(house.registry, "r-003", status)
    step = house.begin(replace(closed, status=VersionStatus.ACCEPTED))
    before = house.as_it_is()
    with pytest.raises(ConflictError, match="version 3 is closed or does not exist"):
        house.rollouts.save(step, now=AT)
    assert house.as_it_is() == before


def test_a_closed_version_cannot_be_approved(house: RolloutPorts) -> None:
    closed = registered(house.registry, "r-003", VersionStatus.ROLLED_BACK)
    step = replace(house.begin(closed, approval="required"), note=VersionNote(approved_by=EVE))
    with pytest.raises(ConflictError, match="version 3 is closed"):
        house.rollouts.save(step, now=AT)
    assert house.registry.version(MODEL, 3) == closed


def test_a_version_that_is_not_there_cannot_be_brought_in(house: RolloutPorts) -> None:
    with pytest.raises(ConflictError, match="version 9 is closed or does not exist"):
        house.rollouts.save(house.begin(replace(house.version, number=9, run_id="r-009")), now=AT)
    assert house.rollouts.rollout(MODEL, "r-009") is None


def test_the_rollout_of_a_version_that_people_rolled_back_still_ends_and_leaves_the_version_as_it_is(
    house: RolloutPorts,
) -> None:
    house.begun()
    change = kill(house.registry.route(MODEL), MODEL, Cause(LATER, ANN, "feed is down"))
    assert change is not None
    house.registry.change(change)
    closed = house.version
    assert closed.status is VersionStatus.ROLLED_BACK
    step = replace(house.stop(), note=VersionNote(VersionStatus.OVERTAKEN, "a later story"))
    house.rollouts.save(step, now=LATER)
    assert house.stored.phase.final
    assert house.version == closed


def test_the_fake_arms_say_what_was_served_once_and_by_revision(house: RolloutPorts) -> None:
    arms = InMemoryArms()
    rollout = replace(house.begun(), route_revisions=(2, 3))
    arms.feed(1, look(1))
    arms.feed(2, look(2))
    arms.feed(3, look(3))
    arms.feed(3, look(4))
    found = arms.since_last_look(rollout)
    assert [each.candidate.requests for each in found.looks] == [2, 7]
    arms.feed(3, look(5))
    again = arms.since_last_look(replace(rollout, fetched=found.fetched))
    assert [each.candidate.requests for each in again.looks] == [5]
