from datetime import timedelta

import pytest

from tests.builders.present import present
from tests.builders.release import AT, REF, SPEC, a_registry, a_task, do, request
from tidegate.domain.registry.ledger import Cause, verify
from tidegate.domain.registry.route import FallbackRef
from tidegate.domain.registry.run import Run, RunError, RunStatus
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout.changes import promote
from tidegate.kernel.errors import ConflictError, NotFoundError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import Registered, RunRef
from tidegate.spec.release import ReleaseRules
from tidegate.testing.registry import InMemoryRegistry


def test_an_accepted_run_becomes_an_accepted_version_with_all_it_came_from():
    registry = a_registry()
    assert do(registry, a_task()) == Registered(version=1, accepted=True)
    version = registry.version("flight-delay", 1)
    assert version.status is VersionStatus.ACCEPTED
    assert (version.run_id, version.spec_digest, version.dataset_version) == ("r-001", SPEC.digest, "v1")
    assert (version.artifact_key, version.artifact_sha256) == (REF.key(RunFile.ARTIFACT), "a" * 64)
    assert (version.report_key, version.report_sha256) == (REF.key(RunFile.REPORT), "b" * 64)
    assert (version.metric, version.value, version.low, version.high) == ("roc_auc", 0.71, 0.7, 0.72)
    assert (version.created_by, version.lock_hash, version.code_version) == ("ann", "l", "c")
    assert version.features == ("distance",)
    run = registry.run("flight-delay", "r-001")
    assert (run.status, run.stage, run.version) == (RunStatus.ACCEPTED, "register", 1)
    assert run.artifacts["model"] == REF.key(RunFile.ARTIFACT)
    assert run.artifacts["x"] == "y"


def test_a_rejected_run_becomes_a_rejected_version_with_its_reasons():
    registry = a_registry()
    assert do(registry, a_task(accepted=False)) == Registered(version=1, accepted=False)
    version = registry.version("flight-delay", 1)
    assert (version.status, version.reasons) == (VersionStatus.REJECTED, ("worse than the rule",))
    assert registry.run("flight-delay", "r-001").status is RunStatus.REJECTED


@pytest.mark.parametrize("approval", ["none", "required"])
def test_a_version_needs_the_approval_that_the_spec_of_its_run_asks_for(approval):
    registry = InMemoryRegistry()
    spec = SPEC.model_copy(update={"release": ReleaseRules(approval=approval)})
    registry.apply(spec, author="ann", at=AT)
    request(registry, "r-001", spec)
    registry.apply(SPEC, author="ann", at=AT)  # applied since; the run was asked for before
    do(registry, a_task())
    version = registry.version("flight-delay", 1)
    assert version.needs_approval is (approval == "required")
    assert version.may_serve is (approval == "none")


def test_a_changed_target_needs_an_approval_that_the_spec_does_not_ask_for():
    registry = a_registry()
    said = "targets.latency_p99_ms: at most 80 ms, was at most 50 ms"
    registry.note("flight-delay", "r-001", "gate", AT, target_changes=(said,))
    do(registry, a_task())
    version = registry.version("flight-delay", 1)
    assert (version.needs_approval, version.may_serve) == (True, False)
    assert version.approval_reasons == (f"a target was changed: {said}",)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_rejected_run_gives_the_lease_back_and_an_accepted_one_keeps_it(accepted):
    registry = InMemoryRegistry()
    registry.apply(SPEC, author="ann", at=AT)
    request(registry, "r-001", lease_until=AT + timedelta(hours=3))
    do(registry, a_task(accepted=accepted))
    lease = present(registry.lease("flight-delay"))
    assert (lease.until > AT) is accepted
    do(registry, a_task(accepted=accepted))
    assert registry.lease("flight-delay") == lease


def test_registering_the_same_run_again_answers_the_same():
    registry = a_registry()
    first = do(registry, a_task())
    assert do(registry, a_task()) == first
    assert len(registry.versions("flight-delay")) == 1


def test_the_next_run_gets_the_next_number():
    registry = a_registry()
    do(registry, a_task())
    request(registry, "r-002")
    assert do(registry, a_task(ref=RunRef(model="flight-delay", run_id="r-002"))).version == 2


def test_a_failed_or_unknown_run_is_not_registered():
    registry = a_registry()
    registry.fail("flight-delay", "r-001", RunError("A", "b", "c"), AT)
    with pytest.raises(ConflictError):
        do(registry, a_task())
    with pytest.raises(NotFoundError):
        do(registry, a_task(ref=RunRef(model="flight-delay", run_id="ghost")))
    assert registry.versions("flight-delay") == []


def test_a_run_that_does_not_say_its_data_is_not_registered():
    registry = a_registry()
    run = Run("flight-delay", "r-009", RunStatus.REQUESTED, SPEC.digest, "flights", "ann", AT, 7)
    registry.request(run, lease_until=AT)
    with pytest.raises(ConflictError, match="dataset version"):
        do(registry, a_task(ref=RunRef(model="flight-delay", run_id="r-009")))


def test_while_nothing_serves_the_fallback_of_the_newest_run_answers_also_of_a_rejected_one():
    registry = a_registry()
    do(registry, a_task(accepted=False))
    do(registry, a_task(accepted=False))
    first = present(registry.route("flight-delay"))
    assert first.fallback == FallbackRef(REF.key(RunFile.FALLBACK), "f" * 64, "r-001")
    assert (first.champion, first.revision) == (None, 1)
    request(registry, "r-002")
    newer = RunRef(model="flight-delay", run_id="r-002")
    do(registry, a_task(ref=newer))
    do(registry, a_task(accepted=False))
    assert present(present(registry.route("flight-delay")).fallback).run_id == "r-002"
    entries = registry.ledger("flight-delay")
    assert [(entry.action, entry.version, entry.run_id) for entry in entries] == [
        ("fallback", None, "r-001"),
        ("fallback", None, "r-002"),
    ]
    assert verify("flight-delay", entries, present(registry.route("flight-delay")).ledger_head) is None


def test_beside_a_champion_the_fallback_waits_with_its_version():
    registry = a_registry()
    do(registry, a_task())
    cause = Cause(AT, "ann", "first")
    registry.change(present(promote(registry.route("flight-delay"), registry.version("flight-delay", 1), cause)))
    request(registry, "r-002")
    newer = RunRef(model="flight-delay", run_id="r-002")
    do(registry, a_task(ref=newer))
    assert present(present(registry.route("flight-delay")).fallback).run_id == "r-001"
    second = registry.version("flight-delay", 2)
    assert second.fallback == FallbackRef(newer.key(RunFile.FALLBACK), "f" * 64, "r-002")
    registry.change(present(promote(registry.route("flight-delay"), second, cause)))
    assert present(present(registry.route("flight-delay")).fallback).run_id == "r-002"
