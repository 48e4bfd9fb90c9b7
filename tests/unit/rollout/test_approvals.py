"""Approving, rejecting, ending and following a version on its way in: through the control API and by the command."""

import io
import sys
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console

from tests.builders.approvals import CY, PATH, RULES, TOKEN, answer, on_its_way, waiting
from tests.builders.command_line import Cli, started
from tests.builders.control_api import Answer, World
from tests.builders.loopback import Loopback
from tests.builders.reports import ANA
from tests.builders.specs import spec_text
from tidegate.cli import client as client_module
from tidegate.cli import exits
from tidegate.cli.pages import rollout as rollout_page
from tidegate.domain.monitoring.health import Health, HealthRecord
from tidegate.domain.rollout.canary import ArmCounts, Look
from tidegate.domain.rollout.forecast import Lately
from tidegate.domain.serving.service_level import ServiceLevel
from tidegate.kernel.errors import ConflictError, UnavailableError
from tidegate.kernel.roles import Role
from tidegate.kernel.routes import CONTROL
from tidegate.messages import AskApproval, RunRef
from tidegate.steps.rollout import rollout as rollout_step

BO = "arn:aws:sts::123456789012:assumed-role/Operator/bo"


def shown(world: World, run_id: str) -> dict[str, Any]:
    return dict(world.call("GET", f"{PATH}/rollouts/{run_id}").body["rollout"])


def look(requests: int, *, errors: int = 0) -> Look:
    """Both arms answered as many requests; the candidate failed so often."""
    scores = (requests // 2, requests - requests // 2)
    return Look(ArmCounts(requests, errors=errors, scores=scores), ArmCounts(requests, scores=scores))


def marks(found: dict[str, Any]) -> str:
    return " ".join(f"{each['stage']}:{each['state']}" for each in found["path"])


@pytest.fixture
def world() -> World:
    return World()


# An approver's answer


def seen_lately(world: World) -> None:
    """What monitoring saw of the model's traffic."""
    service = ServiceLevel(1_000_000, 999_000, {60: 1_000_000.0})
    lately = Lately(hours=168, requests=1_000_000, service=service)
    key = world.verdicts.write("flight-delay", "2026-01-05-12", {"lately": lately.to_json()})
    now = world.clock.now()
    stands = HealthRecord("flight-delay", 1, Health.STEADY, now, now, version=1, verdicts_key=key)
    world.health_records.save(stands)


def test_a_forecast_is_shown_where_a_release_is_prepared_decided_and_under_way(world: World) -> None:
    run_id = waiting(world)
    assert world.call("GET", f"{PATH}/versions/2").body["version"]["forecast"] is None
    seen_lately(world)
    found = world.call("GET", f"{PATH}/versions/2").body["version"]["forecast"]
    assert (found["chance"], found["traffic"]["requests_an_hour"]) == ("likely", pytest.approx(5_952.4, abs=0.1))
    assert shown(world, run_id)["forecast"] == found
    assert world.call("GET", f"{PATH}/versions/1").body["version"]["forecast"] is None  # it serves
    slower = world.call("PUT", PATH, spec_text(release={"deadline_hours": 0.4, "steps": [1, 50]})).body["forecast"]
    assert (slower["chance"], len(slower["steps"])) == ("unlikely", 2)
    written = io.StringIO()
    rollout_page.forecast(Console(file=written, width=200), slower)
    assert "forecast: the canary of a healthy version takes about" in written.getvalue()
    assert "deadline_hours: " in written.getvalue()


def test_an_approval_is_recorded_under_the_approvers_name_and_wakes_the_release(world: World) -> None:
    run_id = waiting(world)
    approved = answer(world)
    assert (approved.status, approved.body["changed"]) == (200, True)
    assert world.registry.version("flight-delay", 2).approved_by == CY
    assert world.workflow.resumed == [TOKEN]
    asked = shown(world, run_id)["approval"]
    assert (asked["decision"], asked["by"], asked["reason"]) == ("approve", CY, "better on every airport")
    assert asked["decided_at"] == world.clock.now().isoformat()
    assert world.advance(run_id).phase == "shadow"
    world.clock.move(minutes=30)
    assert world.advance(run_id).phase == "canary"
    assert world.registry.ledger("flight-delay")[-1].approved_by == CY


def test_a_rejected_version_never_serves(world: World) -> None:
    run_id = waiting(world)
    assert answer(world, "reject").body["changed"]
    world.advance(run_id)
    found = shown(world, run_id)
    assert (found["phase"], marks(found).split()[0]) == ("rejected", "approval:ended")
    assert "better on every airport" in found["reason"]
    assert world.registry.version("flight-delay", 2).status == "rolled_back"


@pytest.mark.parametrize("actor", [ANA, "arn:aws:sts::123456789012:assumed-role/Approver/ana"])
def test_whoever_made_the_version_is_refused_with_a_reason(world: World, actor: str) -> None:
    run_id = waiting(world)
    refused = answer(world, actor=actor)
    assert (refused.status, refused.headers["content-type"]) == (403, "application/problem+json")
    assert "you requested the training, wrote its spec and added its data" in refused.body["detail"]
    assert refused.body["next_step"]
    assert shown(world, run_id)["approval"]["decision"] is None
    assert world.workflow.resumed == []


def test_the_same_answer_again_changes_nothing_and_wakes_again(world: World) -> None:
    waiting(world)
    first, again = answer(world), answer(world)
    assert (first.body["changed"], again.status, again.body["changed"]) == (True, 200, False)
    assert world.workflow.resumed == [TOKEN, TOKEN]


@pytest.mark.parametrize(
    ("decision", "actor"), [("reject", CY), ("approve", "arn:aws:sts::123456789012:assumed-role/Approver/dee")]
)
def test_what_one_approver_decided_no_other_answer_changes(world: World, decision: str, actor: str) -> None:
    waiting(world)
    answer(world)
    other = answer(world, decision, actor=actor)
    assert other.status == 409
    assert "already decided" in other.body["detail"]


def test_an_approval_holds_for_what_was_looked_at_alone(world: World) -> None:
    run_id = waiting(world)
    for name in ("artifact_sha256", "report_sha256"):
        other = answer(world, **{name: "0" * 64})
        assert (other.status, "changed since you looked at it" in other.body["detail"]) == (409, True)
    assert shown(world, run_id)["approval"]["decision"] is None


@pytest.mark.parametrize("part", ["artifact_key", "report_key"])
def test_what_was_tampered_with_cannot_be_approved_and_can_be_rejected(world: World, part: str) -> None:
    run_id = waiting(world)
    world.artifacts.objects[getattr(world.registry.version("flight-delay", 2), part)] = b"something else"
    refused = answer(world)
    assert (refused.status, "SHA-256" in refused.body["detail"]) == (500, True)
    assert (shown(world, run_id)["approval"]["decision"], world.workflow.resumed) == (None, [])
    assert answer(world, "reject", reason="it was tampered with").status == 200


def test_an_approval_that_comes_too_late_is_refused(world: World) -> None:
    waiting(world)
    world.clock.move(hours=72)
    late = answer(world)
    assert late.status == 409
    assert "no longer waits for approval" in late.body["detail"]


def test_a_version_that_nobody_is_asked_about_is_not_decided_about(world: World) -> None:
    on_its_way(world, steps=[1, 5])
    assert "needs no approval" in answer(world).body["detail"]
    assert answer(world).body["next_step"] == "see where it is: tidegate rollout flight-delay"
    assert world.call("POST", f"{PATH}/rollout/end", {"reason": "make room"}, actor=BO).body["changed"]
    run_id = world.call("POST", f"{PATH}/runs").body["run"]["run_id"]
    turned_away = world.run_to_the_end(run_id, accepted=False)
    body = {"decision": "approve", "reason": "because", "artifact_sha256": "0" * 64, "report_sha256": "0" * 64}
    refused = world.call("POST", f"{PATH}/versions/{turned_away.number}/approval", body, actor=CY)
    assert (refused.status, refused.body["detail"]) == (
        409,
        "flight-delay version 3 does not wait for approval: it is rejected",
    )
    assert world.call("POST", f"{PATH}/versions/9/approval", body, actor=CY).status == 404


def test_who_loses_the_race_with_the_release_decides_once_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = on_its_way(world, **RULES)
    save = world.registry.save

    def asked_meanwhile(step: Any, **how: Any) -> None:
        monkeypatch.setattr(world.registry, "save", save)
        asked = AskApproval(run=RunRef(model="flight-delay", run_id=run_id), token=TOKEN)
        world.step(rollout_step.ask, asked)
        save(step, **how)

    monkeypatch.setattr(world.registry, "save", asked_meanwhile)
    assert answer(world).body["changed"]
    assert world.workflow.resumed == [TOKEN]


def test_an_answer_that_wakes_nobody_is_recorded_and_heals_when_it_is_said_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = waiting(world)

    def down(token: str) -> None:
        raise UnavailableError("Step Functions is busy")

    with monkeypatch.context() as patch:
        patch.setattr(world.workflow, "resume", down)
        failed = answer(world)
    assert (failed.status, "Step Functions is busy" in failed.body["detail"]) == (503, True)
    assert TOKEN not in failed.raw["body"]
    assert shown(world, run_id)["approval"]["decision"] == "approve"
    assert answer(world).body["changed"] is False
    assert world.workflow.resumed == [TOKEN]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"decision": "maybe"}, "decision"),
        ({"reason": " "}, "reason"),
        ({"artifact_sha256": "abc"}, "artifact_sha256"),
        ({"report_sha256": None}, "report_sha256"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_an_answer_that_is_not_one_is_refused_with_its_fault(world: World, changes: Any, fault: str) -> None:
    waiting(world)
    refused = answer(world, **changes)
    assert (refused.status, [each["path"] for each in refused.body["errors"]]) == (422, [fault])


# Where a rollout is


def test_a_rollout_is_followed_from_approval_to_the_end_of_its_probation(world: World) -> None:
    run_id = waiting(world)
    found = shown(world, run_id)
    assert marks(found) == (
        "approval:now shadow:ahead canary:ahead canary:ahead canary:ahead canary:ahead promoted:ahead probation:ahead"
    )
    assert found["approval"]["excluded"] == [
        {"who": ANA, "why": "requested the training, wrote its spec and added its data"}
    ]
    assert found["until"] == found["approval"]["expires_at"]
    assert "tidegate approve flight-delay 2" in found["next_step"]
    assert found["forecast"] is None
    seen_lately(world)
    answer(world)
    world.advance(run_id)
    assert (shown(world, run_id)["phase"], shown(world, run_id)["share_bp"]) == ("shadow", 0)
    assert shown(world, run_id)["forecast"]["chance"] == "likely"

    for step in range(1, 5):
        world.clock.move(minutes=30)
        world.advance(run_id, look(1_500))
        found = shown(world, run_id)
        assert (found["phase"], found["step"], found["steps"], found["answered"]) == ("canary", step, 4, 0)
        assert found["share_bp"] == found["path"][step + 1]["share_bp"] == (100, 500, 2_500, 5_000)[step - 1]
    assert marks(found).split()[4:6] == ["canary:done", "canary:now"]
    assert found["next_look_at"] > found["since"]
    assert {each["metric"]: each["outcome"] for each in found["verdict"]["findings"]}["errors"] == "pass"

    world.clock.move(minutes=30)
    world.advance(run_id, look(1_500))
    found = shown(world, run_id)
    assert (found["phase"], found["share_bp"]) == ("probation", 9_500)
    assert marks(found).endswith("promoted:done probation:now")
    world.clock.move(hours=24)
    world.advance(run_id)
    found = shown(world, run_id)
    assert (found["phase"], found["share_bp"], found["next_look_at"]) == ("done", 10_000, None)
    assert {each["state"] for each in found["path"]} == {"done"}
    listed = world.call("GET", f"{PATH}/rollouts").body["rollouts"]
    assert [(each["version"], each["phase"]) for each in listed] == [(2, "done"), (1, "done")]


def test_what_a_canary_still_needs_is_shown_with_its_pace(world: World) -> None:
    run_id = on_its_way(world, steps=[50], look_seconds=10)
    assert shown(world, run_id)["still_needed"] == {}
    world.clock.move(minutes=3)
    world.advance(run_id, look(60))
    found = shown(world, run_id)
    assert found["look_seconds"] == 24 * 3_600 / 500  # more often than a day of looks allows
    minutes = (world.clock.now() - datetime.fromisoformat(found["since"])).total_seconds() / 60
    assert found["requests_a_minute"] == pytest.approx(60 / minutes, rel=0.1)
    assert {"errors", "slow"} <= set(found["still_needed"])
    assert all(more > 0 for more in found["still_needed"].values())
    written = io.StringIO()
    page = Console(file=written, width=200)
    rollout_page.rollout(page, found)
    text = written.getvalue()
    assert "one every 173 s: less often than look_seconds (10)" in text
    assert f"errors: about {found['still_needed']['errors']:,} more requests, " in text
    rollout_page.rollout(page, found | {"still_needed": {"slow": None}, "look_seconds": 10})
    assert "slow: cannot be estimated yet" in written.getvalue()
    needed = max(found["still_needed"].values())
    world.clock.move(minutes=10)
    world.advance(run_id, look(needed + 60))
    assert shown(world, run_id)["phase"] != "canary"


def test_a_rollback_is_shown_where_it_happened_with_its_evidence(world: World) -> None:
    run_id = on_its_way(world, steps=[1, 50])
    world.advance(run_id, look(1_000, errors=300))
    found = shown(world, run_id)
    assert (found["phase"], found["outcome"], found["share_bp"]) == ("rolled_back", "fail", 0)
    assert marks(found) == "canary:ended canary:ahead promoted:ahead probation:ahead"
    assert "error rate 30.00 %" in found["reason"]
    assert "tidegate train flight-delay --wait" in found["next_step"]


def test_a_version_that_is_promoted_at_once_was_never_on_probation(world: World) -> None:
    run_id = on_its_way(world, steps=[], probation_hours=0)
    found = shown(world, run_id)
    assert (marks(found), found["step"], found["verdict"]) == ("promoted:done", None, None)


def test_neither_the_token_nor_what_was_counted_is_shown_to_anybody(world: World) -> None:
    run_id = waiting(world)
    reported = [answer(world).raw["body"]]
    world.advance(run_id)
    world.advance(run_id, look(10))
    assert world.registry.rollout("flight-delay", run_id).fetched  # type: ignore[union-attr]
    reported += [world.call("GET", f"{PATH}{path}").raw["body"] for path in ("", "/rollouts", f"/rollouts/{run_id}")]
    reported.append(world.call("POST", f"{PATH}/rollout/end", {"reason": "enough seen"}, actor=BO).raw["body"])
    for body in reported:
        assert TOKEN not in body
        assert "secret-key" not in body
        assert "fetched" not in body


def test_what_has_no_rollout_is_distinguished_from_what_is_not_there(world: World) -> None:
    assert world.call("GET", f"{PATH}/rollouts").status == 404
    world.with_model()
    assert world.call("GET", f"{PATH}/rollouts").body == {"rollouts": [], "next": None}
    run_id = world.call("POST", f"{PATH}/runs").body["run"]["run_id"]
    missing = world.call("GET", f"{PATH}/rollouts/{run_id}")
    assert (missing.status, f"tidegate runs flight-delay {run_id}" in missing.body["next_step"]) == (404, True)


def test_a_model_shows_what_is_under_way_and_who_has_the_lease(world: World) -> None:
    world.with_model()
    assert world.call("GET", PATH).body["under_way"] == {"rollout": None, "lease": None}
    run_id = world.call("POST", f"{PATH}/runs").body["run"]["run_id"]
    found = world.call("GET", PATH).body["under_way"]
    assert (found["rollout"], found["lease"]["run_id"], found["lease"]["holder"]) == (None, run_id, ANA)
    world.clock.move(hours=4)
    assert world.call("GET", PATH).body["under_way"]["lease"] is None


def test_a_model_shows_the_rollout_that_is_under_way_until_it_is_over(world: World) -> None:
    run_id = on_its_way(world, steps=[1])
    found = world.call("GET", PATH).body["under_way"]
    assert (found["rollout"]["run_id"], found["rollout"]["phase"], found["rollout"]["share_bp"]) == (
        run_id,
        "canary",
        100,
    )
    world.call("POST", f"{PATH}/rollout/end", {"reason": "enough seen"}, actor=BO)
    assert world.call("GET", PATH).body["under_way"] == {"rollout": None, "lease": None}


# The end by hand


def test_a_canary_that_is_ended_leaves_and_the_entry_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    on_its_way(world, steps=[10])
    ended = world.call("POST", f"{PATH}/rollout/end", {"reason": "holidays"}, actor=BO).body
    assert (ended["changed"], ended["serves"]) == (True, [{"version": 1, "weight_bp": 10_000}])
    entry = world.registry.ledger("flight-delay")[-1]
    assert (entry.action, entry.cause, entry.actor, entry.reason) == ("rollback", "hand", BO, "holidays")
    assert ended["entry"]["hash"] == entry.hash
    assert [record.ledger_entry["hash"] for record in caplog.records if hasattr(record, "ledger_entry")] == [entry.hash]
    assert world.registry.version("flight-delay", 2).status == "rolled_back"
    again = world.call("POST", f"{PATH}/rollout/end", {"reason": "holidays"}, actor=BO)
    assert (again.status, again.body["changed"], again.body["entry"]) == (200, False, None)
    assert world.registry.ledger("flight-delay")[-1] == entry


def test_an_approval_that_is_no_longer_wanted_is_ended_and_the_execution_woken(world: World) -> None:
    run_id = waiting(world)
    ended = world.call("POST", f"{PATH}/rollout/end", {"reason": "made in error"}, actor=BO).body
    assert (ended["changed"], ended["entry"], ended["rollout"]["phase"]) == (True, None, "stopped")
    assert world.workflow.resumed == [TOKEN]
    assert marks(shown(world, run_id)).startswith("approval:ended shadow:ahead")
    assert answer(world).status == 409


def test_a_probation_that_is_ended_leaves_the_promoted_version_alone(world: World) -> None:
    run_id = on_its_way(world, steps=[])
    assert shown(world, run_id)["phase"] == "probation"
    ended = world.call("POST", f"{PATH}/rollout/end", {"reason": "seen enough"}, actor=BO).body
    assert ended["serves"] == [{"version": 2, "weight_bp": 10_000}]
    assert world.registry.version("flight-delay", 2).status == "champion"


def test_ending_where_nothing_is_under_way_changes_nothing(world: World) -> None:
    assert world.call("POST", f"{PATH}/rollout/end", {"reason": "because"}).status == 404
    world.with_model()
    ended = world.call("POST", f"{PATH}/rollout/end", {"reason": "because"})
    assert (ended.status, ended.body["changed"], ended.body["rollout"]) == (200, False, None)
    assert world.call("POST", f"{PATH}/rollout/end", {"reason": ""}).status == 422


def test_an_end_that_loses_a_race_ends_what_the_winner_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = on_its_way(world, steps=[10])
    save = world.registry.save

    def looked_meanwhile(step: Any, **how: Any) -> None:
        monkeypatch.setattr(world.registry, "save", save)
        world.advance(run_id, look(20))
        save(step, **how)

    monkeypatch.setattr(world.registry, "save", looked_meanwhile)
    assert world.call("POST", f"{PATH}/rollout/end", {"reason": "holidays"}, actor=BO).body["changed"]
    assert shown(world, run_id)["answered"] == 20


def test_an_end_that_loses_the_race_twice_is_a_conflict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = on_its_way(world, steps=[10])

    def raced(*_: object, **__: object) -> None:
        raise ConflictError("somebody else changed it")

    monkeypatch.setattr(world.registry, "save", raced)
    assert world.call("POST", f"{PATH}/rollout/end", {"reason": "holidays"}, actor=BO).status == 409
    assert shown(world, run_id)["phase"] == "canary"


# Rules and roles


def test_demands_that_contradict_the_defaults_are_refused_when_the_spec_is_applied(world: World) -> None:
    world.with_dataset()
    text = spec_text(release={"demands": {"errors": {"tolerance": 0.5}}})
    refused = world.call("PUT", PATH, text)
    assert (refused.status, refused.body["errors"][0]["path"]) == (422, "release.demands.errors")
    assert world.call("GET", PATH).status == 404


def test_only_an_approver_decides_and_only_an_operator_ends() -> None:
    assert CONTROL["versions.decide"].roles == {Role.APPROVER}
    assert CONTROL["rollouts.end_rollout"].roles == {Role.OPERATOR}
    made = [name for name, route in CONTROL.items() if Role.APPROVER in route.roles and route.method != "GET"]
    assert made == ["versions.decide"]
    assert Role.VIEWER in CONTROL["rollouts.show_rollout"].roles


# The commands


@pytest.fixture
def stage(server: Loopback) -> Loopback:
    server.actor = CY
    return server


def test_a_page_says_where_a_canary_is_and_what_speaks_for_it(
    run: Cli,
    stage: Loopback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = on_its_way(stage.world, steps=[1, 5, 25])
    assert run("rollout", "flight-delay") == exits.OK
    assert "requests     none yet: requests are what it is judged by" in run.out
    stage.world.advance(run_id, look(1_500))
    stage.world.clock.move(minutes=1)
    stage.world.advance(run_id, look(400, errors=2))
    assert run("rollout", "flight-delay") == exits.OK
    said = run.out
    for part in (
        f"flight-delay version 2, run {run_id}",
        "canary 1 % ✓ [5 %] 25 % -> promoted -> probation",
        "canary, step 2 of 3",
        "5 % of the requests",
        "requests     400 in this step (at least 10)",
        "2026-01-06 13:00 UTC; without enough evidence it is rolled back",
        "errors",
        "1,900",
        "next: nothing: it continues automatically",
    ):
        assert part in said, part
    assert "no worse" in said
    monkeypatch.setenv("COLUMNS", "80")
    run("rollout", "flight-delay", "--run", run_id)
    table = run.out.partition("next:")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert run("rollout", "flight-delay", "--json") == exits.OK
    assert run.document["rollout"]["share_bp"] == 500


def test_a_page_says_who_may_approve_until_when(run: Cli, stage: Loopback) -> None:
    waiting(stage.world)
    assert run("rollout", "flight-delay") == exits.OK
    for part in (
        "[approval] -> shadow -> canary 1 % 5 % 25 % 50 % -> promoted -> probation",
        "due by 2026-01-08 13:00 UTC",
        "DataScientist/ana (requested the training, wrote its spec and added its data)",
        'tidegate approve flight-delay 2 --reason "..."',
    ):
        assert part in run.out, part
    assert run("model", "show", "flight-delay") == exits.OK
    assert "approval: waits for an approver" in run.out


def test_a_version_that_did_not_get_in_has_the_exit_code_of_a_rejection(run: Cli, stage: Loopback) -> None:
    run_id = on_its_way(stage.world, steps=[1, 5])
    stage.world.advance(run_id, look(1_000, errors=300))
    for how in ((), ("--follow",), ("--follow", "--until", "promoted"), ("--json",)):
        assert run("rollout", "flight-delay", *how) == exits.REJECTED
    assert run("rollout", "flight-delay", "--follow") == exits.REJECTED
    assert "canary 1 % ✗ 5 % -> promoted -> probation" in run.out
    assert "✗ WORSE" in run.out
    assert "rolled back: error rate 30.00 %" in run.err


def test_following_reports_each_change_once_and_ends_with_the_promotion(run: Cli, stage: Loopback) -> None:
    world = stage.world
    run_id = on_its_way(world, steps=[1, 50])
    looks = iter([look(3_000), look(3_000)])

    def moved(request: Any) -> Answer:
        asked = sum(path.endswith(run_id) for _, path in stage.requests)
        if asked and asked % 3 == 0 and (found := next(looks, None)):
            world.clock.move(hours=1)
            world.advance(run_id, found)
        return plain(request)

    plain = world.answer
    world.answer = moved  # type: ignore[method-assign]
    assert run("rollout", "flight-delay", "--follow", "--until", "promoted", "--json") == exits.OK
    assert (run.document["rollout"]["phase"], run.document["rollout"]["promoted_at"] is None) == ("probation", False)
    lines = [line.partition("] ")[2] for line in run.err.splitlines()]
    assert lines == [
        "canary: version 2 answers 1 %, step 1 of 2",
        "canary: version 2 answers 50 %, step 2 of 2; shown to be no worse",
        "probation: version 2 is promoted and answers 95 %",
    ]
    world.clock.move(hours=24)
    world.advance(run_id)
    assert run("rollout", "flight-delay", "--follow") == exits.OK
    assert "promoted ✓ -> probation ✓" in run.out


def test_ctrl_c_stops_the_following_and_says_how_to_go_on(
    run: Cli,
    stage: Loopback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = on_its_way(stage.world, steps=[1])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client_module.Client, "follow_rollout", interrupted)
    assert run("rollout", "flight-delay", "--follow") == exits.INTERRUPTED
    assert f"tidegate rollout flight-delay --run {run_id} --follow" in run.err


def test_a_model_without_a_rollout_says_how_to_get_one(run: Cli, stage: Loopback) -> None:
    stage.world.with_model()
    assert run("rollout", "flight-delay") == exits.NOT_FOUND
    assert "tidegate train flight-delay --wait" in run.err
    assert run("rollout", "flight-delay", "--run", "nope") == exits.NOT_FOUND


def test_an_approver_sees_what_is_approved_and_approves_just_that(run: Cli, stage: Loopback) -> None:
    waiting(stage.world)
    version = stage.world.registry.version("flight-delay", 2)
    assert run("approve", "flight-delay", "2", "--reason", "better on every airport") == exits.OK
    for part in (
        "0.751 [0.740, 0.762]",
        version.artifact_sha256,
        version.report_sha256,
        "tidegate report flight-delay 2",
        "DataScientist/ana",
    ):
        assert part in run.err, part
    assert "flight-delay version 2: approved by Approver/cy" in run.out
    assert version.run_id in run.out
    assert stage.world.registry.version("flight-delay", 2).approved_by == CY
    assert run("approve", "flight-delay", "2", "--reason", "better on every airport", "--json") == exits.OK
    assert run.document["changed"] is False
    assert run("reject", "flight-delay", "2", "--reason", "on second thoughts") == exits.CONFLICT


def test_at_a_terminal_an_approver_is_asked_once_more(
    run: Cli,
    stage: Loopback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting(stage.world)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def decided() -> Any:
        found = stage.world.registry.rollouts("flight-delay")[0].approval
        assert found
        return found.decision

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert run("reject", "flight-delay", "2", "--reason", "no data of the new terminal") == exits.INTERRUPTED
    assert "reject it? [y/N]" in run.err
    assert decided() is None
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("reject", "flight-delay", "2", "--reason", "no data of the new terminal") == exits.OK
    assert "version 2: rejected by Approver/cy" in run.out
    assert decided() == "reject"
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert run("reject", "flight-delay", "2", "--reason", "no data of the new terminal", "--yes") == exits.OK


def test_who_made_a_version_learns_why_they_may_not_approve_it(run: Cli, stage: Loopback) -> None:
    waiting(stage.world)
    stage.actor = ANA
    assert run("approve", "flight-delay", "2", "--reason", "I like it") == exits.NOT_ALLOWED
    assert "you requested the training" in run.err
    assert "next: ask another approver" in run.err
    stage.fail(403, {"message": "Forbidden"})
    assert run("rollout", "flight-delay", "--end", "--reason", "because") == exits.NOT_ALLOWED
    assert "needs the role operator" in run.err


def test_a_rollout_is_ended_by_hand(run: Cli, stage: Loopback) -> None:
    on_its_way(stage.world, steps=[10])
    stage.actor = BO
    assert run("rollout", "flight-delay", "--end", "--reason", "holidays") == exits.OK
    assert run.out == ("flight-delay: the rollout of version 2 is ended\nnow version 1 answers all requests\n")
    assert run("rollout", "flight-delay", "--end", "--reason", "holidays") == exits.OK
    assert "nothing to end" in run.out
    assert run("rollout", "flight-delay", "--json") == exits.REJECTED
    assert (run.document["rollout"]["phase"], run.document["rollout"]["reason"]) == ("stopped", "holidays")


@pytest.mark.parametrize(
    "options",
    [
        ["--end"],
        ["--reason", "because"],
        ["--end", "--reason", "because", "--follow"],
        ["--until", "tomorrow"],
        ["--until", "promoted"],
    ],
)
def test_options_that_contradict_each_other_do_nothing(run: Cli, stage: Loopback, options: list[str]) -> None:
    on_its_way(stage.world, steps=[10])
    before = len(stage.requests)
    assert run("rollout", "flight-delay", *options) == exits.INVALID
    assert len(stage.requests) == before


def test_training_ends_with_the_rollout_and_the_command_to_follow_it(run: Cli, stage: Loopback) -> None:
    stage.world.with_model()
    stage.world.call("PUT", PATH, spec_text(release=RULES))
    started(stage, stage.world.run_to_the_end)
    assert run("train", "flight-delay", "--token", "one", "--wait") == exits.OK
    (made,) = stage.world.registry.runs("flight-delay")
    assert "rollout: approval: waits for an approver" in run.out
    assert f"tidegate rollout flight-delay --run {made.run_id} --follow" in run.out
    assert 'tidegate approve flight-delay 1 --reason "..."' in run.out
    assert run("train", "flight-delay", "--token", "one", "--wait", "--json") == exits.OK
    assert (run.document["rollout"]["phase"], "rollout" in run.document["run"]) == ("approval", False)
    assert run("train", "flight-delay", "--token", "two", "--wait") == exits.CONFLICT
    assert made.run_id in run.err


def test_the_ledger_reads_from_the_first_share_to_the_end(run: Cli, stage: Loopback) -> None:
    world = stage.world
    run_id = waiting(world)
    answer(world)
    world.advance(run_id)
    for _ in range(5):
        world.clock.move(minutes=30)
        world.advance(run_id, look(1_500))
    world.clock.move(hours=24)
    world.advance(run_id)
    assert run("ledger", "flight-delay") == exits.OK
    lines = [" ".join(line.split()) for line in run.out.splitlines()[1:]]
    assert [line.split(" release ")[0].split(" ", 2)[2] for line in lines] == [
        "promote 1: 100 %",
        "shadow 1: 100 %",
        "canary 2: 1 %, 1: 99 %",
        "canary 2: 5 %, 1: 95 %",
        "canary 2: 25 %, 1: 75 %",
        "canary 2: 50 %, 1: 50 %",
        "promote 2: 95 %, 1: 5 %",
        "end probation 2: 100 %",
    ]
    assert all(f"release {run_id}" in line for line in lines[1:])
    assert "(approved by Approver/cy)" in lines[-1]
