import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.rollout import handler as function
from tests.builders.data import DATASET, READY
from tests.builders.present import present
from tests.builders.release import AT, SPEC, a_task, do, request
from tests.context import CONTEXT
from tidegate import telemetry, wiring
from tidegate.domain.data.dataset import Captured, Exclusion
from tidegate.domain.registry.ledger import Cause, verify
from tidegate.domain.registry.run import APPLIED, Maker
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout import rollout
from tidegate.domain.rollout.canary import ArmCounts, Look
from tidegate.domain.rollout.changes import kill
from tidegate.domain.rollout.rollout import Decision, Phase, Rollout, Step
from tidegate.kernel.errors import ArtifactRejectedError, ConflictError, ForbiddenError, NotFoundError, UnavailableError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import AskApproval, Moved, RolloutTask, RunRef
from tidegate.spec.model import ModelSpec
from tidegate.steps.registry.models import read_page
from tidegate.steps.rollout.approvals import Decide, decide
from tidegate.steps.rollout.rollout import abandon, advance, ask
from tidegate.testing.parts import InMemoryParts
from tidegate.testing.registry import InMemoryArtifacts, InMemoryRegistry

MODEL = "flight-delay"
AT_ONCE: dict[str, Any] = {"steps": [], "probation_hours": 0}
CANARY: dict[str, Any] = {
    "steps": [5, 50],
    "bake_minutes": 10,
    "min_requests": 10,
    "probation_hours": 1,
    "deadline_hours": 1,
}
EDGES = [0.25, 0.5, 0.75]
ANN, EVE, BOB, CAY, DAN = (f"arn:aws:iam::123456789012:user/{name}" for name in ("ann", "eve", "bob", "cay", "dan"))


def arm(requests: int, errors: int = 0) -> ArmCounts:
    quarter = requests // 4
    return ArmCounts(requests=requests, errors=errors, scores=(quarter, quarter, quarter, requests - 3 * quarter))


ALIKE = Look(arm(20_000), arm(20_000))
WORSE = Look(arm(2_000, errors=400), arm(2_000))


class Contended(InMemoryRegistry):
    """Others are faster: each of `ahead` happens just before a write of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[Callable[[], object]] = []

    def save(self, step: Step, *, now: datetime) -> None:
        if self.ahead:
            ahead, self.ahead = self.ahead, []
            ahead.pop(0)()
            self.ahead = ahead
        super().save(step, now=now)


class AsRegistered(InMemoryArtifacts):
    """Whatever is asked for has the right hash."""

    def get_verified(self, key: str, sha256: str) -> bytes:
        return b'{"evaluation": {"sections": {}}}'


@dataclass
class Releases(InMemoryParts):
    """A model whose runs are registered, and a state machine that calls the rollout in time."""

    registry: Contended = field(default_factory=Contended)

    def __post_init__(self) -> None:
        self.catalog.put_dataset(DATASET)
        self.catalog.add_version(replace(READY, version="v1", added_by=DAN))

    @staticmethod
    def spec(release: dict[str, Any]) -> ModelSpec:
        return ModelSpec.parse(json.loads(SPEC.canonical_json()) | {"release": release})

    def registered(
        self,
        run_id: str = "r-001",
        *,
        scores: dict[str, Any] | None = None,
        leased: bool = True,
        target_changes: tuple[str, ...] = (),
        **release: Any,
    ) -> RolloutTask:
        """An accepted version. `leased`: its run holds the model's lease still."""
        spec = self.spec(release or AT_ONCE)
        self.registry.apply(spec, author=BOB, at=AT)
        until = self.clock.now() + timedelta(hours=3) if leased else self.clock.now()
        request(self.registry, run_id, spec, by=ANN, at=self.clock.now(), lease_until=until)
        self.registry.note(MODEL, run_id, "gate", AT, target_changes=target_changes)
        ref = RunRef(model=MODEL, run_id=run_id)
        sections = {"scores": {"distance": 0.05, "edges": EDGES}} if scores is None else scores
        report = {"evaluation": {"sections": sections}}
        artifact = self.artifacts.put(ref.key(RunFile.ARTIFACT), f"onnx of {run_id}".encode())
        task = a_task(ref=ref)
        task = task.model_copy(
            update={
                "fitted": task.fitted.model_copy(update={"artifact_sha256": artifact}),
                "verdict": task.verdict.model_copy(
                    update={"report_sha256": self.artifacts.put(ref.key(RunFile.REPORT), json.dumps(report).encode())}
                ),
            }
        )
        route = self.registry.route(MODEL)
        return RolloutTask(
            run=ref,
            version=do(self.registry, task).version,
            champion_version=route.champion.version if route and route.champion else None,
            now=self.clock.now(),
        )

    def moved(self, task: RolloutTask, *looks: Look, **later: float) -> Moved:
        """What is answered when the state machine asks `later`, and `looks` are what was served meanwhile."""
        self.clock.move(**later)
        for look in looks:
            self.arms.feed(self.known(task).route_revisions[-1], look)
        return self.step(advance, task.model_copy(update={"now": self.clock.now()}))

    def champion(self) -> RolloutTask:
        """Version 1 serves."""
        task = self.registered("r-000")
        assert self.moved(task).serves
        return task

    def challenger(self, **release: Any) -> RolloutTask:
        """Version 2 has the first step of its canary behind version 1."""
        self.champion()
        task = self.registered("r-002", **CANARY | release)
        self.moved(task)
        return task

    def known(self, task: RolloutTask) -> Rollout:
        found = self.registry.rollout(MODEL, task.run.run_id)
        assert found is not None
        return found

    def asked(self, task: RolloutTask, token: str = "t-1") -> None:  # noqa: S107  a task's token
        self.step(ask, AskApproval(run=task.run, token=token))

    def decided(self, task: RolloutTask, decision: Decision, by: str = EVE) -> None:
        known = self.known(task)
        assert known.approval is not None
        step = rollout.decide(
            known,
            decision,
            by=by,
            reason="looks right",
            artifact_sha256=known.approval.artifact_sha256,
            report_sha256=known.approval.report_sha256,
            now=self.clock.now(),
        )
        assert step is not None
        self.registry.save(step, now=self.clock.now())

    def abandoned(self, task: RolloutTask, fault: str = "step rollout ended") -> None:
        self.step(abandon, MODEL, task.run.run_id, fault, self.clock.now())

    def raced(self, *ahead: Callable[[], object]) -> None:
        self.registry.ahead += ahead

    def status(self, number: int) -> VersionStatus:
        return self.registry.version(MODEL, number).status

    def served(self) -> tuple[int | None, int | None, int]:
        """Champion, candidate, the candidate's share."""
        route = self.registry.route(MODEL)
        assert route is not None
        champion, candidate = route.champion, route.candidate
        return champion.version if champion else None, candidate.version if candidate else None, route.candidate_bp


def test_a_version_without_steps_is_promoted_at_once_and_the_ledger_says_by_which_execution():
    house = Releases()
    task = house.registered()
    moved = house.moved(task)
    _, entry = house.registry.ledger(MODEL)  # the fallback answered first
    assert moved == Moved(
        next="done",
        phase="done",
        wait_seconds=0,
        serves=True,
        reason="accepted by the gate",
        ledger_head=entry.hash,
    )
    assert (entry.actor, entry.run_id, entry.action) == (ANN, "r-001", "promote")
    assert house.status(1) is VersionStatus.CHAMPION
    assert house.moved(task, hours=1) == moved


def test_a_canary_climbs_its_steps_is_promoted_on_evidence_and_on_probation_to_the_end():
    house = Releases()
    house.champion()
    task = house.registered("r-002", **CANARY)
    begun = house.moved(task)
    assert (begun.next, begun.phase, begun.wait_seconds, begun.serves) == ("wait", "canary", 60, False)
    assert house.served() == (1, 2, 500)
    assert house.moved(task, Look(arm(40), arm(800)), seconds=60).phase == "canary"
    assert house.served() == (1, 2, 500)
    house.moved(task, minutes=9)
    assert house.served() == (1, 2, 5_000)
    promoted = house.moved(task, ALIKE, minutes=10)
    assert (promoted.next, promoted.phase, promoted.serves) == ("wait", "probation", True)
    assert house.served() == (2, 1, 500)
    over = house.moved(task, Look(arm(950), arm(50)), hours=1)
    assert (over.next, over.phase, over.serves, over.wait_seconds) == ("done", "done", True, 0)
    assert house.served() == (2, None, 0)
    assert (house.status(1), house.status(2)) == (VersionStatus.RETIRED, VersionStatus.CHAMPION)
    route = present(house.registry.route(MODEL))
    assert verify(MODEL, house.registry.ledger(MODEL), route.ledger_head) is None
    assert over.ledger_head == route.ledger_head


def test_evidence_is_counted_once_however_often_a_step_is_asked_for():
    house = Releases()
    task = house.challenger()
    house.moved(task, Look(arm(40), arm(800)), seconds=60)
    looks = house.known(task).looks
    assert [look.candidate.requests for look in looks] == [40]
    house.moved(task)
    assert house.known(task).looks == looks


def test_a_worse_candidate_is_rolled_back_and_the_execution_ends_without_it():
    house = Releases()
    task = house.challenger()
    moved = house.moved(task, WORSE, seconds=60)
    assert (moved.next, moved.phase, moved.serves) == ("done", "rolled_back", False)
    assert moved.reason.startswith("error rate 20.00 %")
    assert house.served() == (1, None, 0)
    assert house.status(2) is VersionStatus.ROLLED_BACK
    assert present(house.registry.lease(MODEL)).until < AT


def test_a_promoted_version_that_turns_out_worse_gives_way_to_the_one_held_back():
    house = Releases()
    task = house.challenger(steps=[], probation_hours=1)
    assert house.served() == (2, 1, 500)
    moved = house.moved(task, WORSE, minutes=5)
    assert (moved.next, moved.phase, moved.serves) == ("done", "rolled_back", False)
    assert house.served() == (1, None, 0)


def test_a_version_whose_targets_were_changed_waits_for_somebody_who_did_not_make_it():
    house = Releases()
    house.champion()
    said = "gate.margin: at most 0.1 (of roc_auc), was at most 0 (of roc_auc)"
    task = house.registered("r-002", target_changes=(said,), **CANARY)
    assert house.moved(task).next == "approval"
    asked = present(house.known(task).approval)
    assert asked.asked_because == (f"a target was changed: {said}",)
    assert house.served() == (1, None, 0)
    with pytest.raises(ForbiddenError, match="requested the training"):
        house.decided(task, Decision.APPROVE, by=ANN)
    house.decided(task, Decision.APPROVE)
    assert house.moved(task).phase == "canary"


def test_what_the_holdout_says_of_the_scores_is_expected_of_the_canary():
    house = Releases()
    task = house.challenger()
    known = house.known(task)
    (demand,) = (each for each in known.plan.demands.demands if each.metric.value == "scores")
    assert (demand.tolerance, demand.margin) == (pytest.approx(0.15), pytest.approx(0.3))
    assert known.score_edges == (0.25, 0.5, 0.75)


def test_a_report_that_says_nothing_of_scores_expects_none():
    house = Releases()
    house.moved(task := house.registered(scores={}, **CANARY))
    assert house.known(task).score_edges == ()


# Approval


APPROVAL: dict[str, Any] = AT_ONCE | {"approval": "required", "approval_hours": 2}


def test_nothing_serves_before_an_approver_has_decided():
    house = Releases()
    task = house.registered(**APPROVAL)
    moved = house.moved(task)
    assert (moved.next, moved.phase, moved.wait_seconds, moved.serves) == ("approval", "approval", 7_200, False)
    house.asked(task)
    assert house.workflow.resumed == []
    assert present(house.known(task).approval).token == "t-1"
    assert house.moved(task, minutes=30).next == "approval"
    house.decided(task, Decision.APPROVE)
    moved = house.moved(task)
    assert (moved.next, moved.serves) == ("done", True)
    assert house.registry.ledger(MODEL)[-1].approved_by == EVE


def test_those_who_made_a_version_may_not_approve_it():
    house = Releases()
    task = house.registered(**APPROVAL)
    house.moved(task)
    assert present(house.known(task).approval).excluded == {
        ANN: "requested the training",
        BOB: "wrote its spec",
        DAN: "added its data",
    }
    for maker, why in ((ANN, "requested the training"), (BOB, "wrote its spec"), (DAN, "added its data")):
        with pytest.raises(ForbiddenError, match=why):
            house.decided(task, Decision.APPROVE, by=maker)


def test_who_wrote_the_spec_and_asked_for_the_training_hears_both():
    house = Releases()
    house.registry.apply(house.spec(APPROVAL), author=ANN, at=AT)
    house.moved(task := house.registered(**APPROVAL))
    assert present(house.known(task).approval).excluded == {
        ANN: "requested the training and wrote its spec",
        DAN: "added its data",
    }


def test_who_applied_the_spec_in_force_added_the_data_or_left_some_out_may_not_approve():
    house = Releases()
    house.catalog.add_version(replace(READY, version="v0", added_by=CAY))
    house.catalog.add_version(replace(READY, version="v2", added_by="tidegate:monitoring", base="v0"))
    for name, author in (("strike", EVE), ("flood", "nobody")):
        house.catalog.exclude(Exclusion("flights", name, AT, AT + timedelta(days=1), name, author, AT))
    task = house.registered(**APPROVAL)
    house.registry.apply(house.spec(AT_ONCE), author=BOB, at=AT)
    house.registry.apply(house.spec(APPROVAL), author=CAY, at=AT)
    key = (MODEL, task.run.run_id)
    house.registry._runs[key] = replace(house.registry._runs[key], exclusions=("strike",))
    version = house.registry._versions[MODEL, task.version]
    house.registry._versions[MODEL, task.version] = replace(version, dataset_version="v2")
    house.moved(task)
    assert present(house.known(task).approval).excluded == {
        ANN: "requested the training",
        BOB: "wrote its spec",
        CAY: "applied its spec and added its data",
        EVE: "excluded a period of its data",
        "tidegate:monitoring": "added its data",
    }


def test_whose_outcomes_are_most_of_those_it_learned_from_may_not_approve():
    house = Releases()
    captured = Captured("f" * 64, 10, {EVE: 6, CAY: 4})
    house.catalog.add_version(replace(READY, version="v2", added_by="tidegate:monitoring", captured=captured))
    task = house.registered(**APPROVAL)
    version = house.registry._versions[MODEL, task.version]
    house.registry._versions[MODEL, task.version] = replace(version, dataset_version="v2")
    house.moved(task)
    excluded = present(house.known(task).approval).excluded
    assert excluded[EVE] == "reported many of the outcomes that it learned from"
    assert CAY not in excluded


def test_a_looser_limit_lets_nobody_approve_their_outcomes_before_it_serves(monkeypatch):
    house = Releases()
    house.champion()
    loose = json.loads(house.spec(APPROVAL).canonical_json()) | {"monitoring": {"reporter_at_most": 1}}
    monkeypatch.setattr(house, "spec", lambda _: ModelSpec.parse(loose))
    captured = Captured("f" * 64, 10, {EVE: 6, CAY: 4})
    house.catalog.add_version(replace(READY, version="v2", added_by="tidegate:monitoring", captured=captured))
    task = house.registered("r-002", **APPROVAL)
    version = house.registry._versions[MODEL, task.version]
    house.registry._versions[MODEL, task.version] = replace(version, dataset_version="v2")
    house.moved(task)
    excluded = present(house.known(task).approval).excluded
    assert excluded[EVE] == "reported many of the outcomes that it learned from"
    assert CAY not in excluded


def test_whoever_had_a_hand_when_the_run_began_may_not_approve_whatever_spec_is_in_force_since():
    house = Releases()
    task = house.registered(**APPROVAL)
    key = (MODEL, task.run.run_id)
    made = (Maker(CAY, APPLIED), Maker(BOB, APPLIED), Maker(EVE, "reported outcomes that it trained on"))
    house.registry._runs[key] = replace(house.registry._runs[key], makers=made)
    house.registry.apply(house.spec(AT_ONCE), author=DAN, at=AT)
    house.moved(task)
    assert present(house.known(task).approval).excluded == {
        ANN: "requested the training",
        BOB: "wrote its spec",
        CAY: "applied its spec",
        DAN: "added its data",
        EVE: "reported outcomes that it trained on",
    }
    with pytest.raises(ForbiddenError, match="applied its spec"):
        house.decided(task, Decision.APPROVE, by=CAY)


def test_an_approval_is_for_the_page_that_was_drawn():
    house = Releases()
    task = house.registered(**APPROVAL)
    page = house.artifacts.put(task.run.key(RunFile.PAGE), b"<html>good</html>")
    house.moved(task.model_copy(update={"page_sha256": page}))
    assert house.known(task).page_sha256 == page
    house.artifacts.put(task.run.key(RunFile.PAGE), b"<html>better than it is</html>")
    asked = present(house.known(task).approval)
    seen = {"artifact_sha256": asked.artifact_sha256, "report_sha256": asked.report_sha256}
    answer = Decide(decision=Decision.APPROVE, reason="looks right", **seen)
    with pytest.raises(ArtifactRejectedError, match=r"report\.html"):
        house.step(decide, MODEL, str(task.version), answer, actor=EVE)
    with pytest.raises(ArtifactRejectedError):
        house.step(read_page, MODEL, str(task.version))
    house.artifacts.put(task.run.key(RunFile.PAGE), b"<html>good</html>")
    assert house.step(read_page, MODEL, str(task.version))["html"] == "<html>good</html>"
    assert house.step(decide, MODEL, str(task.version), answer, actor=EVE)["changed"]


def test_a_rejected_version_is_rolled_back():
    house = Releases()
    house.moved(task := house.registered(**APPROVAL))
    house.decided(task, Decision.REJECT)
    moved = house.moved(task)
    assert (moved.next, moved.phase, moved.serves) == ("done", "rejected", False)
    assert moved.reason == f"rejected by {EVE}: looks right"
    assert house.status(1) is VersionStatus.ROLLED_BACK


def test_without_an_answer_in_time_the_version_is_rolled_back():
    house = Releases()
    house.moved(task := house.registered(**APPROVAL))
    moved = house.moved(task, hours=2)
    assert (moved.next, moved.phase, moved.reason) == ("done", "expired", "nobody approved it within 2 hours")


def test_who_asks_after_the_decision_is_resumed_at_once():
    house = Releases()
    house.moved(task := house.registered(**APPROVAL))
    house.decided(task, Decision.APPROVE)
    house.asked(task)
    assert house.workflow.resumed == ["t-1"]
    house.moved(task)
    house.asked(task, "t-2")  # and after the rollout has moved on
    assert house.workflow.resumed == ["t-1", "t-2"]


def test_the_same_token_is_kept_once_and_a_new_one_takes_its_place():
    house = Releases()
    house.moved(task := house.registered(**APPROVAL))
    house.asked(task)
    kept = house.known(task)
    house.asked(task)
    assert house.known(task) == kept
    house.asked(task, "t-2")
    assert house.known(task) == replace(
        kept,
        revision=kept.revision + 1,
        approval=replace(present(kept.approval), token="t-2"),
    )


def test_a_decision_in_the_moment_of_asking_resumes_the_execution():
    house = Releases()
    house.moved(task := house.registered(**APPROVAL))
    house.raced(lambda: house.decided(task, Decision.APPROVE))
    house.asked(task)
    assert house.workflow.resumed == ["t-1"]
    assert present(house.known(task).approval).decision is Decision.APPROVE


def test_nobody_is_asked_about_a_rollout_that_is_not_there():
    house = Releases()
    with pytest.raises(NotFoundError, match="no rollout"):
        house.asked(house.registered(**APPROVAL))


# Stored bytes


def approved(house: Releases, task: RolloutTask) -> None:
    house.moved(task)
    house.decided(task, Decision.APPROVE)


def canary(house: Releases, task: RolloutTask) -> None:
    house.moved(task)


def unstarted(_house: Releases, _task: RolloutTask) -> None: ...


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("what", ["artifact", "report"])
@pytest.mark.parametrize(("until", "release"), [(unstarted, CANARY), (approved, APPROVAL), (canary, CANARY)])
def test_bytes_that_are_not_those_that_were_registered_never_serve(until, release, what, gone):
    house = Releases()
    house.champion()
    task = house.registered("r-002", **release)
    until(house, task)
    key = task.run.key(RunFile.ARTIFACT) if what == "artifact" else task.run.key(RunFile.REPORT)
    if gone:
        del house.artifacts.objects[key]
    else:
        house.artifacts.objects[key] = b"something else"
    moved = house.moved(task, seconds=60)
    assert (moved.next, moved.phase, moved.serves) == ("done", "rolled_back", False)
    assert moved.reason.startswith(f"its {what} is not the one that was registered: ")
    assert house.served() == (1, None, 0)
    assert house.status(2) is VersionStatus.ROLLED_BACK
    assert house.registry.version(MODEL, 2).reasons in {(), (moved.reason,)}


def test_a_version_that_names_other_bytes_than_those_that_were_approved_never_serves():
    house = Releases()
    house.moved(task := house.registered(**APPROVAL))
    house.decided(task, Decision.APPROVE)
    other = house.artifacts.put(task.run.key(RunFile.ARTIFACT), b"another model")
    house.registry._versions[MODEL, 1] = replace(house.registry.version(MODEL, 1), artifact_sha256=other)
    assert house.moved(task).reason.startswith("its record was changed after approval was requested")


def test_a_promoted_version_is_on_probation_by_its_answers_not_by_its_stored_bytes():
    house = Releases()
    task = house.challenger(steps=[], probation_hours=1)
    house.artifacts.objects.clear()
    assert house.moved(task, minutes=5).phase == "probation"


class OutOfReach(InMemoryArtifacts):
    """A store that does not answer."""

    def get(self, key: str) -> bytes:
        raise UnavailableError(f"S3 did not answer for {key}")


def test_a_store_that_does_not_answer_decides_nothing():
    house = Releases()
    task = house.challenger()
    before = house.known(task)
    house.artifacts = OutOfReach()
    with pytest.raises(UnavailableError):
        house.moved(task, seconds=60)
    assert house.known(task) == before


# Others


def test_a_version_judged_against_a_champion_that_serves_no_more_is_overtaken():
    house = Releases()
    house.champion()
    slow = house.registered("r-002", leased=False)
    fast = house.registered("r-003", leased=False)
    house.moved(fast)
    moved = house.moved(slow)
    assert (moved.next, moved.phase, moved.serves) == ("done", "overtaken", False)
    assert moved.reason == "it was judged when version 1 served, and version 3 serves now: train again"
    version = house.registry.version(MODEL, 2)
    assert (version.status, version.reasons) == (VersionStatus.OVERTAKEN, (moved.reason,))
    assert house.served() == (3, None, 0)
    assert house.moved(slow) == moved


def test_a_version_that_finds_the_lease_taken_is_overtaken_and_leaves_it_alone():
    house = Releases()
    house.champion()
    late = house.registered("r-002", leased=False)
    house.registered("r-003", **CANARY)
    lease = house.registry.lease(MODEL)
    moved = house.moved(late)
    assert (moved.next, moved.phase, moved.serves) == ("done", "overtaken", False)
    assert "run r-003 of arn:aws:iam::123456789012:user/ann has the lease" in moved.reason
    assert house.status(2) is VersionStatus.OVERTAKEN
    assert house.registry.lease(MODEL) == lease
    assert house.served() == (1, None, 0)


def test_the_lease_that_is_taken_in_the_last_moment_overtakes_too():
    house = Releases()
    house.champion()
    late = house.registered("r-002", leased=False, **CANARY)
    house.raced(lambda: house.registered("r-003"))
    assert house.moved(late).phase == "overtaken"
    assert house.status(2) is VersionStatus.OVERTAKEN


def test_a_rollout_that_slept_through_its_lease_leaves_when_another_release_has_it():
    house = Releases()
    task = house.challenger()
    house.clock.move(hours=5)
    house.registered("r-003")
    moved = house.moved(task)
    assert (moved.next, moved.phase, moved.serves) == ("done", "failed", False)
    assert house.served() == (1, None, 0)
    assert present(house.registry.lease(MODEL)).run_id == "r-003"


def test_what_people_change_by_hand_ends_the_rollout():
    house = Releases()
    task = house.challenger()
    house.registry.change(present(kill(house.registry.route(MODEL), MODEL, Cause(AT, EVE, "something is wrong"))))
    moved = house.moved(task, seconds=60)
    assert (moved.next, moved.phase, moved.serves) == ("done", "stopped", False)


@pytest.mark.parametrize(("losses", "wins"), [(1, True), (2, False)])
def test_who_loses_a_race_decides_again_once(losses, wins):
    house = Releases()
    task = house.challenger()

    def elsewhere() -> None:
        """The same step, taken by a call that came twice."""
        known = house.known(task)
        house.registry.save(Step(replace(known, revision=known.revision + 1)), now=house.clock.now())

    house.raced(*[elsewhere] * losses)
    if wins:
        assert house.moved(task, seconds=60).phase == "canary"
        assert house.known(task).revision == 3
    else:
        with pytest.raises(ConflictError, match="somebody else"):
            house.moved(task, seconds=60)


def test_a_rejected_or_unknown_version_is_not_rolled_out():
    house = Releases()
    ref = RunRef(model=MODEL, run_id="r-001")
    house.registry.apply(SPEC, author=BOB, at=AT)
    request(house.registry, "r-001")
    rejected = do(house.registry, a_task(ref=ref, accepted=False)).version
    with pytest.raises(NotFoundError):
        house.moved(RolloutTask(run=ref, version=9, champion_version=None, now=AT))
    house.artifacts = AsRegistered()
    assert not house.moved(RolloutTask(run=ref, version=rejected, champion_version=None, now=AT)).serves
    assert house.status(rejected) is VersionStatus.REJECTED


# Faults


def test_a_fault_leaves_the_champion_alone_and_gives_the_lease_back():
    house = Releases()
    task = house.challenger()
    house.abandoned(task)
    assert house.known(task).phase is Phase.FAILED
    assert house.served() == (1, None, 0)
    assert house.status(2) is VersionStatus.ROLLED_BACK
    assert present(house.registry.lease(MODEL)).until < AT
    assert house.registry.ledger(MODEL)[-1].reason == "step rollout ended"
    known = house.known(task)
    house.abandoned(task, "called again")
    assert house.known(task) == known
    assert house.moved(task).next == "done"


def test_after_a_fault_in_its_probation_a_promoted_version_serves_alone():
    house = Releases()
    task = house.challenger(steps=[], probation_hours=1)
    house.abandoned(task)
    assert house.served() == (2, None, 0)
    assert house.status(2) is VersionStatus.CHAMPION


def test_an_accepted_version_whose_rollout_never_began_is_rolled_back():
    house = Releases()
    task = house.registered()
    house.abandoned(task, "step rollout was stopped by hand")
    version = house.registry.version(MODEL, 1)
    assert (version.status, version.reasons) == (VersionStatus.ROLLED_BACK, ("step rollout was stopped by hand",))
    assert house.known(task).phase is Phase.FAILED
    assert house.moved(task).next == "done"


def test_a_run_without_a_version_has_nothing_to_abandon():
    house = Releases()
    house.registry.apply(SPEC, author=BOB, at=AT)
    request(house.registry, "r-001")
    house.abandoned(RolloutTask(run=RunRef(model=MODEL, run_id="r-001"), version=1, champion_version=None, now=AT))
    assert house.registry.rollouts(MODEL) == []


def test_who_abandons_loses_a_race_once():
    house = Releases()
    task = house.challenger()
    house.raced(lambda: house.moved(task, WORSE, seconds=60))
    house.abandoned(task)
    assert house.known(task).phase is Phase.ROLLED_BACK


# The function


def test_the_function_takes_a_step_or_asks_and_never_logs_the_token(monkeypatch, capsys):
    house = Releases()
    monkeypatch.setattr(wiring, "of", lambda _: house)
    monkeypatch.delitem(logging.root.manager.loggerDict, "rollout", raising=False)  # it writes where it first wrote
    telemetry.logger.cache_clear()
    task = house.registered(**APPROVAL)
    event = task.model_dump(mode="json") | {"now": "2026-01-05T12:00:00.000Z"}
    moved = function.handler(event, CONTEXT)
    assert (moved["next"], moved["wait_seconds"]) == ("approval", 7_200)
    assert function.handler({"run": task.run.to_json(), "token": "s3cret"}, CONTEXT) == {}
    assert present(house.known(task).approval).token == "s3cret"
    logged = capsys.readouterr().out
    assert '"moved"' in logged
    assert '"ledger_head"' in logged
    assert "s3cret" not in logged
