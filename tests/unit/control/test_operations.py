"""Rolling back, killing, resuming, splitting and reading the ledger: through the control API and by the command."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.command_line import Cli
from tests.builders.control_api import World
from tests.builders.loopback import Loopback
from tests.builders.reports import ANA
from tidegate.cli import exits
from tidegate.domain.registry.ledger import Cause
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout.changes import canary, kill
from tidegate.kernel.roles import Role
from tidegate.kernel.routes import CONTROL, SERVING

BO = "arn:aws:sts::123456789012:assumed-role/Operator/bo"
PATH = "/models/flight-delay"


def released(world: World, count: int = 2) -> World:
    """A model with that many versions, released one after the other, an hour apart."""
    world.with_model()
    for _ in range(count):
        world.clock.move(hours=1)
        run_id = world.call("POST", f"{PATH}/runs").body["run"]["run_id"]
        world.run_to_the_end(run_id)
    world.clock.move(hours=1)
    return world


def statuses(world: World) -> dict[int, str]:
    return {version.number: version.status.value for version in world.registry.versions("flight-delay")}


@pytest.fixture
def world() -> World:
    return released(World())


# The control API


def test_a_rollback_is_recorded_under_the_callers_identity(world: World) -> None:
    answer = world.call("POST", f"{PATH}/rollback", {"to": 1, "reason": "scores too low"}, actor=BO)
    assert (answer.status, answer.body["changed"]) == (200, True)
    assert answer.body["serves"] == [{"version": 1, "weight_bp": 10_000}]
    entry = world.call("GET", f"{PATH}/ledger").body["entries"][-1]
    assert entry == answer.body["entry"]
    assert (entry["actor"], entry["action"], entry["reason"]) == (BO, "rollback", "scores too low")
    assert statuses(world) == {1: "champion", 2: "retired"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("rollback", {"to": 1, "reason": "worse"}),
        ("kill", {"reason": "feed is down"}),
        ("split", {"to": 1, "weight_bp": 2_000, "reason": "compare"}),
    ],
)
def test_the_same_request_sent_twice_acts_once(world: World, path: str, body: dict[str, Any]) -> None:
    first, second = (world.call("POST", f"{PATH}/{path}", body).body for _ in range(2))
    assert (first["changed"], second["changed"], second["entry"]) == (True, False, None)
    assert first["serves"] == second["serves"]
    assert len(world.registry.ledger("flight-delay")) == 3


def test_a_killed_model_is_resumed_with_its_champion_alone(world: World) -> None:
    world.call("POST", f"{PATH}/split", {"to": 1, "weight_bp": 2_000, "reason": "compare"})
    killed = world.call("POST", f"{PATH}/kill", {"reason": "feed is down"}).body
    assert killed["serves"] == [{"version": None, "weight_bp": 10_000}]
    assert world.call("GET", PATH).body["route"]["killed"]
    resumed = world.call("POST", f"{PATH}/resume", {"reason": "feed is back"}).body
    assert resumed["serves"] == [{"version": 2, "weight_bp": 10_000}]
    again = world.call("POST", f"{PATH}/resume", {"reason": "feed is back"}).body
    assert (again["changed"], again["serves"]) == (False, resumed["serves"])


def test_a_split_is_ended(world: World) -> None:
    split = world.call("POST", f"{PATH}/split", {"to": 1, "weight_bp": 2_000, "reason": "compare"}).body
    assert split["serves"] == [{"version": 2, "weight_bp": 8_000}, {"version": 1, "weight_bp": 2_000}]
    assert statuses(world) == {1: "candidate", 2: "champion"}
    assert world.call("GET", f"{PATH}/versions/1").body["version"]["status"] == "split"
    for status, numbers in {"split": [1], "candidate": [], "champion": [2], "holdback": []}.items():
        found = world.call("GET", f"{PATH}/versions?status={status}").body["versions"]
        assert [each["number"] for each in found] == numbers
    ended = world.call("POST", f"{PATH}/split", {"end": True, "reason": "seen enough"}).body
    assert (ended["serves"], statuses(world)) == ([{"version": 2, "weight_bp": 10_000}], {1: "retired", 2: "champion"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("rollback", {"to": 1}),
        ("rollback", {"reason": "no version named"}),
        ("rollback", {"to": 0, "reason": "because"}),
        ("rollback", {"to": "1", "reason": "because"}),
        ("kill", {}),
        ("kill", {"reason": "  "}),
        ("resume", {"reason": None}),
        ("split", {"reason": "neither"}),
        ("split", {"to": 1, "reason": "no share"}),
        ("split", {"to": 1, "weight_bp": 10_000, "reason": "all of it"}),
        ("split", {"to": 1, "weight_bp": 20.5, "reason": "half a point"}),
        ("split", {"to": 1, "weight_bp": 100, "end": True, "reason": "both"}),
    ],
)
def test_a_request_without_a_reason_or_with_a_wrong_value_is_refused(world: World, path: str, body: object) -> None:
    answer = world.call("POST", f"{PATH}/{path}", body)
    assert (answer.status, bool(answer.body["errors"])) == (422, True)
    assert len(world.registry.ledger("flight-delay")) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("rollback", {"to": 1, "reason": "because"}),
        ("kill", {"reason": "because"}),
        ("resume", {"reason": "because"}),
        ("split", {"to": 1, "weight_bp": 100, "reason": "because"}),
        ("split", {"end": True, "reason": "because"}),
    ],
)
def test_a_model_that_never_served_and_one_that_is_not_there_are_distinguished(path: str, body: object) -> None:
    world = World()
    assert world.call("POST", f"{PATH}/{path}", body).status == 404
    world.with_model()
    answer = world.call("POST", f"{PATH}/{path}", body)
    assert answer.status == (404 if path in {"rollback", "split"} and "to" in str(body) else 409)
    assert answer.body["detail"]


def test_what_served_is_reported_for_any_moment(world: World) -> None:
    world.call("POST", f"{PATH}/split", {"to": 1, "weight_bp": 2_000, "reason": "compare"}, actor=BO)
    assert world.call("GET", f"{PATH}/ledger?at=2026-01-05").body["served"] == []
    then = world.call("GET", f"{PATH}/ledger?at=2026-01-05T13:30").body
    assert [(each["version"], each["weight_bp"]) for each in then["served"]] == [(1, 10_000)]
    now = world.call("GET", f"{PATH}/ledger?at=2026-01-05T16:00:00%2B01:00").body
    assert now["at"] == "2026-01-05T15:00:00+00:00"
    assert [(each["version"], each["weight_bp"], each["by"]["actor"]) for each in now["served"]] == [
        (1, 2_000, BO),
        (2, 8_000, world.registry.runs("flight-delay")[0].execution),
    ]


@pytest.mark.parametrize("at", ["yesterday", "", "2026-13-01", "9" * 400, "0001-01-01T00:00:00%2B23:59"])
def test_a_wrong_moment_is_refused(world: World, at: str) -> None:
    answer = world.call("GET", f"{PATH}/ledger?at={at}")
    assert (answer.status, answer.body["errors"][0]["path"]) == (422, "at")


def test_a_ledger_is_proved_and_a_change_in_it_is_found(world: World) -> None:
    proof = world.call("GET", f"{PATH}/ledger/verification").body
    head = world.registry.ledger("flight-delay")[-1].hash
    empty = {"intact": True, "entries": 0, "head": "", "break": None, "acknowledged": []}
    assert proof == empty | {"entries": 2, "head": head, "batches": empty, "next": None}
    entries = world.registry._ledger["flight-delay"]
    entries[0] = replace(entries[0], actor="somebody else")
    broken = world.call("GET", f"{PATH}/ledger/verification").body
    assert (broken["intact"], broken["break"]["seq"]) == (False, 1)


def test_the_ledger_of_a_model_that_never_served_is_empty_and_intact() -> None:
    world = World()
    world.with_model()
    assert world.call("GET", f"{PATH}/ledger/verification").body["intact"]
    assert world.call("GET", f"{PATH}/ledger?at=2026-01-05").body["served"] == []


def test_a_ledger_that_changes_while_it_is_read_is_not_called_broken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, cause = world.registry.ledger, Cause(world.clock.now(), BO, "feed is down")

    def killed_before_it_is_read(model: str, **part: Any) -> Any:
        change = kill(world.registry.route(model), model, cause)
        if change:
            world.registry.change(change)
        return read(model, **part)

    monkeypatch.setattr(world.registry, "ledger", killed_before_it_is_read)
    proof = world.call("GET", f"{PATH}/ledger/verification").body
    assert (proof["intact"], proof["entries"]) == (True, 3)


# The command


@pytest.fixture
def stage(server: Loopback) -> Loopback:
    released(server.world)
    return server


def test_a_rollback_goes_to_the_version_before_and_says_what_serves_now(run: Cli, stage: Loopback) -> None:
    assert run("rollback", "flight-delay", "--reason", "scores too low") == exits.OK
    assert run.out == "flight-delay: rollback; now version 1 answers all requests\n"
    entry = stage.world.registry.ledger("flight-delay")[-1]
    assert (entry.actor, entry.reason) == (ANA, "scores too low")
    assert run("rollback", "flight-delay", "--reason", "again") == exits.CONFLICT
    assert "--to" in run.err
    assert run("rollback", "flight-delay", "--to", "2", "--reason", "it was not the model", "--json") == exits.OK
    assert run.document["serves"] == [{"version": 2, "weight_bp": 10_000}]


def test_a_rollback_takes_a_canary_out_first(run: Cli, stage: Loopback) -> None:
    registry = stage.world.registry
    registry._versions["flight-delay", 1] = replace(registry.version("flight-delay", 1), status=VersionStatus.ACCEPTED)
    cause = Cause(stage.world.clock.now(), BO, "try it again")
    change = canary(registry.route("flight-delay"), registry.version("flight-delay", 1), 500, cause)
    assert change
    registry.change(change)
    assert run("split", "flight-delay", "--end", "--reason", "stop it") == exits.CONFLICT
    assert "tidegate rollout flight-delay --end" in run.err
    assert run("rollback", "flight-delay", "--reason", "stop it") == exits.OK
    assert "now version 2 answers all requests" in run.out


def test_nothing_is_built_on_a_route_that_nobody_recorded_until_somebody_acknowledges_it(
    run: Cli, stage: Loopback
) -> None:
    registry = stage.world.registry
    route = registry.route("flight-delay")
    assert route
    registry._routes["flight-delay"] = replace(route, champion=route.previous)
    assert run("rollback", "flight-delay", "--to", "2", "--reason", "it is not ours") == exits.CONFLICT
    assert run("ledger", "verify", "flight-delay") == exits.BROKEN
    assert run("ledger", "acknowledge", "flight-delay", "--reason", "edited by hand, INC-42") == exits.OK
    assert run.out.splitlines() == [
        "flight-delay: acknowledge; now version 1 answers all requests",
        "entry 2: by the ledger version 2 answers 100 %; by the route version 1 answers 100 %",
    ]
    assert run("ledger", "acknowledge", "flight-delay", "--reason", "edited by hand, INC-42") == exits.OK
    assert "nothing to change" in run.out
    assert run("rollback", "flight-delay", "--to", "2", "--reason", "put it back") == exits.OK
    assert run("ledger", "verify", "flight-delay") == exits.OK
    assert "the ledger is intact, 4 entries" in run.out
    assert "a break at entry 2 was acknowledged by entry 3 of " in run.out
    assert "by the route version 1 answers 100 %" in run.out
    assert run("ledger", "flight-delay") == exits.OK
    assert "edited by hand, INC-42" in run.out
    assert registry.ledger("flight-delay")[2].actor == ANA


def test_a_model_is_killed_and_resumed(run: Cli, stage: Loopback) -> None:
    assert run("kill", "flight-delay", "--reason", "feed is down") == exits.OK
    assert "now the fallback answers all requests" in run.out
    assert 'version 2 waits: tidegate resume flight-delay --reason "..."' in run.out
    assert run("kill", "flight-delay", "--reason", "feed is down") == exits.OK
    assert "nothing to change" in run.out
    assert run("model", "show", "flight-delay") == exits.OK
    assert "the fallback answers all requests" in run.out
    assert run("split", "flight-delay", "--to", "1", "--percent", "5", "--reason", "compare") == exits.CONFLICT
    assert run("resume", "flight-delay", "--reason", "feed is back") == exits.OK
    assert "now version 2 answers all requests" in run.out


def test_a_split_has_a_share_in_percent_and_an_end(run: Cli, stage: Loopback) -> None:
    assert run("split", "flight-delay", "--to", "1", "--percent", "12.5", "--reason", "compare") == exits.OK
    assert "now version 2 with 87.5 %, version 1 with 12.5 %" in run.out
    assert run("split", "flight-delay", "--end", "--reason", "seen enough") == exits.OK
    assert run.out == "flight-delay: end split; now version 2 answers all requests\n"


@pytest.mark.parametrize(
    "command",
    [
        "rollback flight-delay",
        "kill flight-delay",
        "split flight-delay --reason x",
        "split flight-delay --to 1 --reason because",
        "split flight-delay --end --percent 5 --reason because",
        "split flight-delay --to 1 --percent 100 --reason because",
        "ledger",
        "ledger verify",
    ],
)
def test_a_command_that_does_not_say_enough_changes_nothing(run: Cli, stage: Loopback, command: str) -> None:
    assert run(*command.split()) in {exits.INVALID, exits.OK}
    assert len(stage.world.registry.ledger("flight-delay")) == 2


def test_the_ledger_is_shown_for_now_for_then_and_proved(run: Cli, stage: Loopback) -> None:
    run("kill", "flight-delay", "--reason", "feed is down")
    for command in ("ledger flight-delay", "ledger show flight-delay", "--json ledger flight-delay"):
        assert run(*command.split()) == exits.OK
        assert "feed is down" in run.out
    assert run("ledger", "--at", "2026-01-05T13:30", "flight-delay") == exits.OK
    assert "flight-delay at 2026-01-05 13:30:00 UTC: version 1 answers all requests" in run.out
    assert run("ledger", "flight-delay", "--at", "2026-01-05T15:00") == exits.OK
    assert "DataScientist/ana" in run.out
    assert max(map(len, run.out.splitlines())) <= 80
    assert run("ledger", "flight-delay", "--at", "2025-01-01") == exits.OK
    assert "nothing was served yet" in run.out
    assert run("ledger", "flight-delay", "--at", "noon") == exits.INVALID
    assert run("ledger", "verify", "flight-delay") == exits.OK
    assert "intact, 3 entries" in run.out
    stage.world.registry._ledger["flight-delay"].pop()
    assert run("ledger", "verify", "flight-delay") == exits.BROKEN
    assert "BROKEN at entry 3" in run.out
    assert run("ledger", "verify", "flight-delay", "--json") == exits.BROKEN
    assert run.document["break"]["seq"] == 3


# Roles


def test_a_denied_call_says_which_role_it_needs(run: Cli, stage: Loopback) -> None:
    stage.fail(403, {"message": "Forbidden"})
    assert run("kill", "flight-delay", "--reason", "feed is down", "--json") == exits.NOT_ALLOWED
    assert "needs the role operator" in run.document["error"]["message"]
    assert "--as operator" in run.document["error"]["next_step"]
    stage.fail(403, {"message": "Forbidden"})
    assert run("runs", "flight-delay", "--json") == exits.NOT_ALLOWED
    assert "viewer or scientist or approver or operator" in run.document["error"]["message"]


def test_a_viewer_only_looks_and_only_an_operator_changes_what_is_served() -> None:
    for routes in (CONTROL, SERVING):
        assert all(route.method == "GET" for route in routes.values() if Role.VIEWER in route.roles)
    for action in ("roll_back", "kill", "resume", "split"):
        assert CONTROL[f"served.{action}"].roles == {Role.OPERATOR}
    assert CONTROL["runs.start_run"].roles == {Role.SCIENTIST}
    assert Role.VIEWER in CONTROL["served.show_ledger"].roles
