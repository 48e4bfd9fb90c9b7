from dataclasses import replace

import pytest

from tests.fakes import FixedClock, InMemoryRegistry
from tests.unit.test_register import a_registry, a_task, do, request
from tidegate.domain.release import RouteChange, VersionStatus
from tidegate.errors import ConflictError, NotFoundError
from tidegate.messages import Promoted, PromoteTask, RunRef
from tidegate.steps.promote import promote


def registered(registry: InMemoryRegistry, run_id: str, *, accepted: bool = True) -> PromoteTask:
    if run_id != "r-001":
        request(registry, run_id)
    ref = RunRef(model="flight-delay", run_id=run_id)
    route = registry.route("flight-delay")
    return PromoteTask(
        run=ref,
        version=do(registry, a_task(ref=ref, accepted=accepted)).version,
        champion_version=route.champion.version if route and route.champion else None,
    )


def promoted(registry: InMemoryRegistry, task: PromoteTask) -> Promoted:
    return promote(task, runs=registry, versions=registry, routes=registry, clock=FixedClock())


def test_an_accepted_version_becomes_the_champion_and_the_ledger_says_who_and_why():
    registry = a_registry()
    task = registered(registry, "r-001")
    outcome = promoted(registry, task)
    _, entry = registry.ledger("flight-delay")  # the fallback answered first
    assert outcome == Promoted(version=1, serves=True, revision=2, ledger_head=entry.hash)
    assert (entry.actor, entry.run_id, entry.reason, entry.action) == (
        "ann",
        "r-001",
        "accepted by the gate",
        "promote",
    )


def test_the_next_champion_retires_the_one_before():
    registry = a_registry()
    promoted(registry, registered(registry, "r-001"))
    outcome = promoted(registry, registered(registry, "r-002"))
    assert (outcome.version, outcome.revision, outcome.previous_version) == (2, 3, 1)
    assert registry.version("flight-delay", 1).status is VersionStatus.RETIRED


def test_promoting_again_changes_nothing_and_answers_the_same():
    registry = a_registry()
    promoted(registry, registered(registry, "r-001"))
    task = registered(registry, "r-002")
    assert promoted(registry, task) == promoted(registry, task)
    assert [entry.version for entry in registry.ledger("flight-delay")] == [None, 1, 2]


def test_a_rejected_or_unknown_version_is_not_promoted():
    registry = a_registry()
    with pytest.raises(ConflictError, match="rejected"):
        promoted(registry, registered(registry, "r-001", accepted=False))
    unknown = PromoteTask(run=RunRef(model="flight-delay", run_id="r-001"), version=9, champion_version=None)
    with pytest.raises(NotFoundError):
        promoted(registry, unknown)
    route = registry.route("flight-delay")
    assert route is None or route.champion is None


class Contended(InMemoryRegistry):
    """Somebody else changes the route just before each of the first `losses` writes."""

    losses = 1

    def change(self, change: RouteChange) -> None:
        if self.losses:
            self.losses -= 1
            known = self._routes[change.route.model]
            self._routes[change.route.model] = replace(known, revision=known.revision + 1)
        super().change(change)


@pytest.mark.parametrize(("losses", "wins"), [(1, True), (2, False)])
def test_who_loses_a_race_decides_again_once(losses, wins):
    registry = a_registry()
    promoted(registry, registered(registry, "r-001"))
    task = registered(registry, "r-002")
    contended = Contended()
    vars(contended).update(vars(registry), losses=losses)
    if wins:
        outcome = promoted(contended, task)
        assert (outcome.version, outcome.revision, outcome.previous_version) == (2, 4, 1)
    else:
        with pytest.raises(ConflictError, match="somebody else"):
            promoted(contended, task)
        assert contended.version("flight-delay", 2).status is VersionStatus.ACCEPTED


def test_a_version_judged_against_a_champion_that_serves_no_more_is_overtaken():
    registry = a_registry()
    promoted(registry, registered(registry, "r-001"))
    slow, fast = registered(registry, "r-002"), registered(registry, "r-003")
    promoted(registry, fast)
    outcome = promoted(registry, slow)
    assert (outcome.version, outcome.serves, outcome.revision) == (2, False, None)
    assert outcome.reason == "it was judged when version 1 served, and version 3 serves now: train again"
    version = registry.version("flight-delay", 2)
    assert (version.status, version.reasons) == (VersionStatus.OVERTAKEN, (outcome.reason,))
    assert registry.route("flight-delay").champion.version == 3
    assert promoted(registry, slow) == outcome


def test_of_two_first_versions_one_serves_and_the_other_is_overtaken():
    registry = a_registry()
    slow, fast = registered(registry, "r-001"), registered(registry, "r-002")
    promoted(registry, fast)
    assert promoted(registry, slow).reason == "it was judged when nothing served, and version 2 serves now: train again"


class Overtaken(InMemoryRegistry):
    """Another version is promoted between this one's decision and its write."""

    ahead: PromoteTask | None = None

    def change(self, change: RouteChange) -> None:
        ahead, self.ahead = self.ahead, None
        if ahead:
            promoted(self, ahead)
        super().change(change)


def test_a_version_overtaken_in_the_last_moment_does_not_serve():
    registry = a_registry()
    promoted(registry, registered(registry, "r-001"))
    slow, fast = registered(registry, "r-002"), registered(registry, "r-003")
    racing = Overtaken()
    vars(racing).update(vars(registry), ahead=fast)
    assert not promoted(racing, slow).serves
    assert racing.route("flight-delay").champion.version == 3
    assert racing.version("flight-delay", 2).status is VersionStatus.OVERTAKEN


def test_what_served_once_is_not_called_overtaken_by_a_late_repetition():
    registry = a_registry()
    first = registered(registry, "r-001")
    promoted(registry, first)
    promoted(registry, registered(registry, "r-002"))
    with pytest.raises(ConflictError, match="retired"):
        promoted(registry, first)
    assert registry.version("flight-delay", 1).status is VersionStatus.RETIRED
