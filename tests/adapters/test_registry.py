"""What ports.Models, Runs, Versions and Routes promise, held against the fake and against DynamoDB (moto)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.adapters.conftest import LEDGER, TABLE
from tests.builders.chains import verified
from tests.builders.present import present
from tests.builders.registry import AT, a_run, a_version, promoted, registered, requested
from tests.builders.specs import a_spec
from tests.builders.threads import at_once
from tidegate.aws import clients
from tidegate.aws.registry import DynamoRegistry, DynamoRoutes
from tidegate.aws.table import RefusedError
from tidegate.domain.registry.ledger import Break, Cause, verify
from tidegate.domain.registry.run import CandidateRun, Maker, RunError, RunStatus
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout.changes import acknowledge, kill, promote, rollback, split
from tidegate.kernel.errors import ConflictError, NotFoundError, UnavailableError


@pytest.fixture
def with_model(registry: Any) -> Any:
    registry.apply(a_spec(), author="ann", at=AT)
    return registry


# Models


def test_a_spec_comes_back_as_it_was_applied(registry: Any) -> None:
    spec = a_spec()
    assert registry.apply(spec, author="ann", at=AT) is True
    assert registry.spec("flight-delay") == spec
    assert registry.spec("flight-delay", spec.digest) == spec
    header = registry.model("flight-delay")
    assert (header.owner, header.task, header.spec_digest) == ("ops@example.org", "binary", spec.digest)
    assert (header.applied_by, header.applied_at, header.latest_version) == ("ann", AT, 0)


def test_applying_the_current_spec_again_changes_nothing(registry: Any) -> None:
    registry.apply(a_spec(), author="ann", at=AT)
    assert registry.apply(a_spec(), author="bob", at=AT + timedelta(days=1)) is False
    assert registry.model("flight-delay").applied_by == "ann"


def test_an_older_spec_can_become_current_again(registry: Any) -> None:
    old, new = a_spec(), a_spec(seed=7)
    registry.apply(old, author="ann", at=AT)
    registry.apply(new, author="ann", at=AT)
    assert registry.spec("flight-delay") == new
    assert registry.apply(old, author="bob", at=AT) is True
    assert registry.spec("flight-delay") == old
    assert registry.spec("flight-delay", new.digest) == new


def test_applying_a_new_spec_keeps_the_count_of_versions(with_model: Any) -> None:
    registered(with_model, "r-001")
    with_model.apply(a_spec(seed=7), author="ann", at=AT)
    assert with_model.model("flight-delay").latest_version == 1


def test_a_spec_longer_than_a_record_is_kept_whole(registry: Any) -> None:
    categories = [f"category number {number}" for number in range(20_000)]
    spec = a_spec(features=[{"name": "carrier", "kind": "categorical", "categories": categories}])
    registry.apply(spec, author="ann", at=AT)
    assert registry.spec("flight-delay") == spec


def test_a_spec_keeps_its_first_author(registry: Any) -> None:
    old, new = a_spec(), a_spec(seed=7)
    for spec, author in ((old, "ann"), (new, "bob"), (old, "eve")):
        registry.apply(spec, author=author, at=AT)
    assert registry.author("flight-delay", old.digest) == "ann"
    assert registry.author("flight-delay", new.digest) == "bob"
    with pytest.raises(NotFoundError):
        registry.author("flight-delay", "0" * 64)


def test_models_are_listed_by_name(registry: Any) -> None:
    for name in ("zebra", "ant", "flight-delay"):
        registry.apply(a_spec(name=name), author="ann", at=AT)
    assert [header.name for header in registry.models()] == ["ant", "flight-delay", "zebra"]
    assert [header.name for header in registry.models(limit=2)] == ["ant", "flight-delay"]
    assert [header.name for header in registry.models(after="flight-delay", limit=2)] == ["zebra"]
    assert [header.name for header in registry.models(after="b")] == ["flight-delay", "zebra"]


def test_what_is_not_there_is_not_found(registry: Any) -> None:
    for look in (
        lambda: registry.model("ghost"),
        lambda: registry.spec("ghost"),
        lambda: registry.run("ghost", "r-1"),
        lambda: registry.version("ghost", 1),
        lambda: registry.note("ghost", "r-1", "train", AT),
        lambda: registry.fail("ghost", "r-1", RunError("A", "b", "c"), AT),
    ):
        with pytest.raises(NotFoundError):
            look()
    assert registry.route("ghost") is None
    assert registry.runs("ghost") == registry.versions("ghost") == registry.ledger("ghost") == []


# Runs


def test_a_run_comes_back_as_it_was_requested(registry: Any) -> None:
    run = a_run(token="once", reason="drift", exclusions=("e1", "e2"), metrics={"roc_auc": 0.7, "tiny": 1e-300})
    run = replace(run, makers=(Maker("ann", "applied its spec"), Maker("eve", "reported outcomes")))
    assert requested(registry, run) == run
    assert registry.run("flight-delay", "r-001") == run


def test_the_same_token_returns_the_first_run(registry: Any) -> None:
    first = requested(registry, a_run("r-001", token="once"))
    registry.note("flight-delay", "r-001", "train", AT)
    second = requested(registry, a_run("r-002", token="once"))
    assert second.run_id == first.run_id
    assert second.status is RunStatus.RUNNING
    assert [run.run_id for run in registry.runs("flight-delay")] == ["r-001"]


def test_a_token_belongs_to_its_model(registry: Any) -> None:
    requested(registry, a_run("r-001", token="once"))
    other = requested(registry, a_run("r-002", token="once", model="other"))
    assert other.run_id == "r-002"


def test_a_run_recorded_twice_is_one_run(registry: Any) -> None:
    requested(registry, a_run())
    registry.note("flight-delay", "r-001", "train", AT)
    assert requested(registry, a_run()).stage == "train"


def test_racing_requests_with_one_token_start_one_run(registry: Any) -> None:
    calls = [lambda run_id=f"r-{number:03d}": requested(registry, a_run(run_id, token="once")) for number in range(4)]
    answers = at_once(*calls)
    assert len({run.run_id for run in answers}) == 1
    assert len(registry.runs("flight-delay")) == 1


def test_a_second_run_learns_who_holds_the_lease_since_when_and_until_when(registry: Any) -> None:
    run = a_run(requested_by="arn:aws:iam::123456789012:user/ann")
    requested(registry, run, lease_until=AT + timedelta(hours=3))
    with pytest.raises(ConflictError) as caught:
        requested(registry, a_run("r-002", requested_at=AT + timedelta(hours=2), token="twice"))
    for fact in ("r-001", "user/ann", "2026-01-05 12:30 UTC", "2026-01-05 15:30 UTC"):
        assert fact in caught.value.message
    assert "tidegate rollout flight-delay" in caught.value.next_step
    assert [each.run_id for each in registry.runs("flight-delay")] == ["r-001"]


def test_a_run_that_releases_nothing_neither_minds_nor_takes_a_lease(registry: Any) -> None:
    until = AT + timedelta(hours=3)
    assert requested(registry, a_run("r-000", token="again", reproduces=1), lease_until=None).reproduces == 1
    assert requested(registry, a_run(), lease_until=until).run_id == "r-001"
    requested(registry, a_run("r-002"), lease_until=None)
    assert requested(registry, a_run("r-003", token="again"), lease_until=None).run_id == "r-000"
    with pytest.raises(ConflictError, match="r-001"):
        requested(registry, a_run("r-004"))


def test_a_refused_request_leaves_its_token_free(registry: Any) -> None:
    later = AT + timedelta(hours=3)
    requested(registry, a_run(), lease_until=later)
    with pytest.raises(ConflictError):
        requested(registry, a_run("r-002", token="again"))
    assert requested(registry, a_run("r-003", token="again", requested_at=later)).run_id == "r-003"


def test_an_expired_lease_is_taken_over(registry: Any) -> None:
    requested(registry, a_run(), lease_until=AT + timedelta(hours=3))
    late = AT + timedelta(hours=3, microseconds=1)
    requested(registry, a_run("r-002", requested_at=late), lease_until=late + timedelta(hours=3))
    with pytest.raises(ConflictError, match="r-002"):
        requested(registry, a_run("r-003", requested_at=late))


def test_a_lease_binds_its_model_only(registry: Any) -> None:
    requested(registry, a_run(), lease_until=AT + timedelta(hours=3))
    assert requested(registry, a_run("r-002", model="other")).run_id == "r-002"


def test_the_token_of_the_run_that_holds_the_lease_answers_with_that_run(registry: Any) -> None:
    until = AT + timedelta(hours=3)
    first = requested(registry, a_run(token="once"), lease_until=until)
    assert requested(registry, a_run("r-002", token="once"), lease_until=until) == first
    assert len(registry.runs("flight-delay")) == 1


def test_the_token_of_an_earlier_run_answers_while_another_one_holds_the_lease(registry: Any) -> None:
    first = requested(registry, a_run(token="once"))
    requested(registry, a_run("r-002", token="twice"), lease_until=AT + timedelta(hours=3))
    assert requested(registry, a_run("r-003", token="once")) == first


def test_of_racing_requests_one_takes_the_lease(registry: Any) -> None:
    until = AT + timedelta(hours=3)
    ids = [f"r-{number:03d}" for number in range(4)]
    answers = at_once(*(lambda r=run_id: requested(registry, a_run(r, token=r), lease_until=until) for run_id in ids))
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError"] * 3 + ["Run"]
    assert len(registry.runs("flight-delay")) == 1


def test_notes_of_a_run_add_up(registry: Any) -> None:
    requested(registry, a_run())
    registry.note("flight-delay", "r-001", "prepare", AT, dataset_version="abc", exclusions=("strike",))
    later = AT + timedelta(minutes=1)
    registry.note("flight-delay", "r-001", "select", later, selected=2, metrics={"roc_auc": 0.75})
    run = registry.run("flight-delay", "r-001")
    assert (run.status, run.stage, run.started_at) == (RunStatus.RUNNING, "select", AT)
    assert (run.dataset_version, run.exclusions, run.selected) == ("abc", ("strike",), 2)
    assert run.metrics == {"roc_auc": 0.75}


def test_a_note_can_take_a_fact_back(registry: Any) -> None:
    requested(registry, a_run())
    registry.note("flight-delay", "r-001", "select", AT, selected=2)
    registry.note("flight-delay", "r-001", "select", AT, selected=None)
    assert registry.run("flight-delay", "r-001").selected is None


@pytest.mark.parametrize("fact", ["status", "model", "version", "colour"])
def test_a_note_cannot_set_what_has_its_own_way_to_change(registry: Any, fact: str) -> None:
    requested(registry, a_run())
    with pytest.raises(TypeError):
        registry.note("flight-delay", "r-001", "train", AT, **{fact: "x"})


def test_a_final_run_takes_no_more_notes(registry: Any) -> None:
    requested(registry, a_run())
    registry.fail("flight-delay", "r-001", RunError("TrainingFailedError", "did not fit", "train"), AT)
    with pytest.raises(ConflictError):
        registry.note("flight-delay", "r-001", "select", AT)


def test_racing_candidates_are_all_kept_in_order_with_their_parameters(registry: Any) -> None:
    requested(registry, a_run())
    candidates = [
        CandidateRun(number, "sklearn.x.Y", {"C": 1.0, "depth": 3, "w": None}, "roc_auc", 0.1 * number, 1.5, 100)
        for number in range(12)
    ]
    at_once(*(lambda c=candidate: registry.note_candidate("flight-delay", "r-001", c) for candidate in candidates))
    registry.note_candidate("flight-delay", "r-001", candidates[3])
    kept = registry.run("flight-delay", "r-001").candidates
    assert kept == tuple(candidates)
    assert type(kept[0].parameters["C"]) is float
    assert type(kept[0].parameters["depth"]) is int


def test_runs_are_listed_newest_first_up_to_the_limit(registry: Any) -> None:
    for number in range(5):
        requested(registry, a_run(f"r-{number:03d}"))
        for index in range(2):
            registry.note_candidate(
                "flight-delay", f"r-{number:03d}", CandidateRun(index, "e", {}, "roc_auc", 0.5, 1.0, 10)
            )
    runs = registry.runs("flight-delay", limit=3)
    assert [run.run_id for run in runs] == ["r-004", "r-003", "r-002"]
    assert [[candidate.index for candidate in run.candidates] for run in runs] == [[0, 1]] * 3
    whole = registry.runs("flight-delay")
    for place, last in enumerate(whole, 1):
        assert registry.runs("flight-delay", after=last.run_id, limit=2) == whole[place : place + 2]


def test_a_failed_run_says_why_and_stays_failed(registry: Any) -> None:
    requested(registry, a_run())
    error = RunError("TrainingFailedError", "did not fit", "train")
    failed = registry.fail("flight-delay", "r-001", error, AT)
    assert (failed.status, failed.error, failed.ended_at) == (RunStatus.FAILED, error, AT)
    again = registry.fail("flight-delay", "r-001", RunError("Other", "later", "gate"), AT + timedelta(hours=1))
    assert again == failed == registry.run("flight-delay", "r-001")


@pytest.mark.parametrize(("equal", "status"), [(True, RunStatus.REPRODUCED), (False, RunStatus.DIFFERS)])
def test_a_comparison_closes_its_run_once(registry: Any, equal: bool, status: RunStatus) -> None:
    requested(registry, a_run(reproduces=1), lease_until=None)
    closed = registry.compared("flight-delay", "r-001", equal=equal, at=AT)
    assert (closed.status, closed.ended_at, closed.version, closed.reproduces) == (status, AT, None, 1)
    assert registry.compared("flight-delay", "r-001", equal=not equal, at=AT + timedelta(hours=1)) == closed
    assert registry.fail("flight-delay", "r-001", RunError("Other", "later", "compare"), AT) == closed


# Versions


def test_a_version_gets_the_next_number_and_closes_its_run(with_model: Any) -> None:
    first = registered(with_model, "r-001")
    second = registered(with_model, "r-002", VersionStatus.REJECTED)
    assert (first.number, second.number) == (1, 2)
    assert with_model.version("flight-delay", 1) == first
    assert [version.number for version in with_model.versions("flight-delay")] == [2, 1]
    assert with_model.versions("flight-delay", limit=1) == [second]
    assert with_model.versions("flight-delay", after=2, limit=5) == [first]
    assert with_model.versions("flight-delay", after=1) == []
    accepted, rejected = with_model.run("flight-delay", "r-001"), with_model.run("flight-delay", "r-002")
    assert (accepted.status, accepted.version, accepted.ended_at) == (RunStatus.ACCEPTED, 1, AT)
    assert (rejected.status, rejected.version) == (RunStatus.REJECTED, 2)
    assert with_model.model("flight-delay").latest_version == 2


def test_a_version_of_before_approvals_needs_none(aws: None) -> None:
    registry = DynamoRegistry(TABLE)
    registry.apply(a_spec(), author="ann", at=AT)
    version = registered(registry, "r-001")
    key = {"pk": {"S": "VERSION#flight-delay"}, "sk": {"S": "VERSION#000001"}}
    item = clients.dynamodb().get_item(TableName=TABLE, Key=key)["Item"]
    clients.dynamodb().put_item(
        TableName=TABLE, Item={name: value for name, value in item.items() if name != "needs_approval"}
    )
    assert registry.version("flight-delay", 1) == version
    assert registry.version("flight-delay", 1).may_serve


def test_a_run_registers_once(with_model: Any) -> None:
    first = registered(with_model, "r-001")
    assert with_model.register(a_version("r-001"), at=AT + timedelta(hours=1)) == first
    assert len(with_model.versions("flight-delay")) == 1


def test_a_failed_run_registers_nothing(with_model: Any) -> None:
    requested(with_model, a_run())
    with_model.fail("flight-delay", "r-001", RunError("A", "b", "c"), AT)
    with pytest.raises(ConflictError):
        with_model.register(a_version(), at=AT)
    assert with_model.versions("flight-delay") == []


def test_racing_registrations_get_different_numbers(with_model: Any) -> None:
    ids = [f"r-{number:03d}" for number in range(4)]
    for run_id in ids:
        requested(with_model, a_run(run_id))
    answers = at_once(*(lambda r=run_id: with_model.register(a_version(r), at=AT) for run_id in ids))
    assert sorted(version.number for version in answers) == [1, 2, 3, 4]


def test_one_run_registered_by_two_at_once_is_one_version(with_model: Any) -> None:
    requested(with_model, a_run())
    answers = at_once(*[lambda: with_model.register(a_version(), at=AT)] * 3)
    assert {version.number for version in answers} == {1}
    assert len(with_model.versions("flight-delay")) == 1


@pytest.mark.usefixtures("aws")
def test_a_registration_that_others_always_precede_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = DynamoRegistry(TABLE)
    registry.apply(a_spec(), author="ann", at=AT)
    requested(registry, a_run())

    def preceded(*_: Any) -> None:
        raise RefusedError((True,))

    monkeypatch.setattr(registry._table, "write", preceded)
    with pytest.raises(UnavailableError, match="no free version number"):
        registry.register(a_version(), at=AT)


# Routes


def test_a_promotion_writes_route_ledger_and_states_together(with_model: Any) -> None:
    first, second = registered(with_model, "r-001"), registered(with_model, "r-002")
    promoted(with_model, first)
    promoted(with_model, second)
    route = with_model.route("flight-delay")
    assert (route.revision, route.champion.version, route.previous.version) == (2, 2, 1)
    assert route.champion.artifact_sha256 == "a" * 64
    states = [version.status for version in with_model.versions("flight-delay")]
    assert states == [VersionStatus.CHAMPION, VersionStatus.RETIRED]
    entries = with_model.ledger("flight-delay")
    assert [(entry.seq, entry.version, entry.previous_version) for entry in entries] == [(1, 1, None), (2, 2, 1)]
    assert (entries[0].actor, entries[0].at, entries[0].weight_bp) == ("ann", AT, 10_000)


def test_writing_the_same_change_twice_is_one_change(with_model: Any) -> None:
    version = registered(with_model, "r-001")
    change = promote(None, version, Cause(AT, "ann", "gate passed"))
    with_model.change(change)
    with_model.change(change)
    assert len(with_model.ledger("flight-delay")) == 1


def test_of_two_racing_promotions_one_wins_and_one_is_refused(with_model: Any) -> None:
    versions = [registered(with_model, f"r-00{number}") for number in (1, 2)]
    decisions = [promote(None, version, Cause(AT, "ann", "mine")) for version in versions]
    outcomes = at_once(*(lambda c=change: with_model.change(c) for change in decisions))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "NoneType"]
    winner = versions[outcomes.index(None)]
    assert with_model.route("flight-delay").champion.version == winner.number
    assert [entry.version for entry in with_model.ledger("flight-delay")] == [winner.number]
    states = {version.number: version.status for version in with_model.versions("flight-delay")}
    assert states.pop(winner.number) is VersionStatus.CHAMPION
    assert set(states.values()) == {VersionStatus.ACCEPTED}


def test_a_promotion_decided_on_an_old_route_is_refused(with_model: Any) -> None:
    first, second, third = (registered(with_model, f"r-00{number}") for number in (1, 2, 3))
    promoted(with_model, first)
    late = promote(with_model.route("flight-delay"), second, Cause(AT, "ann", "late"))
    promoted(with_model, third)
    with pytest.raises(ConflictError):
        with_model.change(late)
    assert with_model.route("flight-delay").champion.version == 3


def test_a_change_of_a_route_that_the_last_entry_did_not_record_is_refused_unless_it_acknowledges_that_or_kills(
    with_model: Any,
) -> None:
    promoted(with_model, registered(with_model, "r-001"))
    second = registered(with_model, "r-002")
    route, (entry,) = with_model.route("flight-delay"), with_model.ledger("flight-delay")
    cause = Cause(AT, "ann", "it went wrong")
    other = split(replace(route, champion=replace(route.champion, version=9)), second, 500, cause)
    cut = split(replace(route, ledger_head="0" * 64), second, 500, cause)
    for change in (other, cut):
        with pytest.raises(ConflictError, match="is not the one that entry 1"):
            with_model.change(change)
    assert (with_model.route("flight-delay"), with_model.ledger("flight-delay")) == (route, [entry])
    found = [Break(1, "by the route version 9 answers 100 %")]
    seen = present(acknowledge(replace(route, fields=("x",)), entry, "flight-delay", found, cause))
    with_model.change(seen)
    assert with_model.ledger("flight-delay")[-1] == seen.entry
    assert with_model.route("flight-delay") == seen.route
    assert verify("flight-delay", with_model.ledger("flight-delay"), seen.route.ledger_head) is None
    killed = present(kill(replace(seen.route, fields=("y",)), "flight-delay", cause))
    with_model.change(killed)
    broken = verify("flight-delay", with_model.ledger("flight-delay"), killed.route.ledger_head)
    assert "it replaced another route than entry 2" in present(broken).problem


@pytest.mark.parametrize("status", [status for status in VersionStatus if status.closed])
def test_a_closed_version_is_never_written_into_a_route(with_model: Any, status: VersionStatus) -> None:
    version = registered(with_model, "r-001", status)
    forged = promote(None, replace(version, status=VersionStatus.ACCEPTED), Cause(AT, "eve", "please"))
    with pytest.raises(ConflictError):
        with_model.change(forged)
    assert with_model.route("flight-delay") is None
    assert with_model.ledger("flight-delay") == []
    assert with_model.version("flight-delay", 1) == version


def test_a_killed_and_split_route_comes_back_as_it_was_written(with_model: Any) -> None:
    first, second = registered(with_model, "r-001"), registered(with_model, "r-002")
    promoted(with_model, first)
    change = present(split(with_model.route("flight-delay"), second, 2_500, Cause(AT, "ann", "fewer calls?")))
    with_model.change(change)
    assert with_model.route("flight-delay") == change.route
    assert with_model.version("flight-delay", 2).status is VersionStatus.CANDIDATE
    change = present(
        kill(with_model.route("flight-delay"), "flight-delay", Cause(AT, "bob", "feed is down", approved_by="eve"))
    )
    with_model.change(change)
    assert with_model.route("flight-delay") == change.route
    assert with_model.version("flight-delay", 2).status is VersionStatus.RETIRED
    assert with_model.ledger("flight-delay")[2] == change.entry


def test_the_ledger_that_is_read_is_the_chain_that_was_written(with_model: Any) -> None:
    first, second = registered(with_model, "r-001"), registered(with_model, "r-002")
    promoted(with_model, first)
    promoted(with_model, second)
    with_model.change(
        rollback(with_model.route("flight-delay"), with_model.version("flight-delay", 1), Cause(AT, "ann", "ünsafe 🌊"))
    )
    entries = with_model.ledger("flight-delay")
    assert [entry.action for entry in entries] == ["promote", "promote", "rollback"]
    assert with_model.ledger("flight-delay", after=1, limit=1) == entries[1:2]
    assert with_model.ledger("flight-delay", limit=2, newest_first=True) == [entries[2], entries[1]]
    assert with_model.ledger("flight-delay", after=3, newest_first=True) == [entries[1], entries[0]]
    assert with_model.ledger("flight-delay", after=3) == []
    assert with_model.ledger("flight-delay", after=1, newest_first=True) == []
    assert verify("flight-delay", entries, with_model.route("flight-delay").ledger_head) is None


def test_of_racing_people_one_wins_and_the_chain_holds(with_model: Any) -> None:
    first, second = registered(with_model, "r-001"), registered(with_model, "r-002")
    promoted(with_model, first)
    promoted(with_model, second)
    route = with_model.route("flight-delay")
    decisions = [
        rollback(route, with_model.version("flight-delay", 1), Cause(AT, "ann", "worse")),
        kill(route, "flight-delay", Cause(AT, "bob", "feed is down")),
    ]
    outcomes = at_once(*(lambda c=change: with_model.change(c) for change in decisions))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "NoneType"]
    won = present(decisions[outcomes.index(None)])
    assert with_model.route("flight-delay") == won.route
    assert verify("flight-delay", with_model.ledger("flight-delay"), won.route.ledger_head) is None
    champions = [each.number for each in with_model.versions("flight-delay") if each.status is VersionStatus.CHAMPION]
    assert champions == [present(won.route.champion).version]


@pytest.mark.parametrize(
    "tampering",
    [
        {"reason": {"S": "nothing to see"}},
        {"weight_bp": {"N": "1"}},
        {"seq": {"S": "three"}},
        {"seq": {"N": "2"}},
        {"at": {"S": "yesterday"}},
        {"reason": {"B": b"no zlib"}},
        {"actor": None},
    ],
)
def test_an_entry_changed_in_the_table_is_found(aws: None, tampering: dict[str, Any]) -> None:
    registry = DynamoRoutes(TABLE, LEDGER)
    registry.apply(a_spec(), author="ann", at=AT)
    for run_id in ("r-001", "r-002"):
        promoted(registry, registered(registry, run_id))
    key = {"pk": {"S": "LEDGER#flight-delay"}, "sk": {"S": "0000000001"}}
    item = clients.dynamodb().get_item(TableName=LEDGER, Key=key)["Item"] | tampering
    clients.dynamodb().put_item(TableName=LEDGER, Item={name: value for name, value in item.items() if value})
    found = verified("flight-delay", registry)
    assert not found["intact"]
    assert found["break"]["seq"] == 1
