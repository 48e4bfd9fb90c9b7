"""How models stand, as people see it: the control API and what the command line makes of it."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.builders.command_line import Cli
from tests.builders.control_api import World
from tests.builders.health import DAY, FINE, MODEL, POLICY, WEEK, a_window, look, quality, serving
from tests.builders.loopback import Loopback
from tests.builders.present import present
from tests.builders.profiles import window
from tests.builders.reports import ANA
from tests.builders.specs import spec_text
from tidegate.cli import exits
from tidegate.cli.pages.distributions import MOST_BARS, bar, distribution, picture
from tidegate.domain.evaluation.targets import KINDS, Target, hold
from tidegate.domain.monitoring import health
from tidegate.domain.monitoring.health import Attempt, Findings, Health, HealthRecord, TrainingOutcome, Trigger
from tidegate.domain.monitoring.quality import QualityOutcome
from tidegate.domain.profiles.drift import ColumnFinding
from tidegate.domain.registry.run import RunError
from tidegate.domain.serving.reporters import Reports
from tidegate.kernel.errors import ConflictError
from tidegate.steps.monitoring import health as pages

ROLE_OF_ANA = "arn:aws:sts::1:assumed-role/feeds/" + ANA.rpartition("/")[2]
REASON = {"reason": "the feed is mended"}
DRIFT = Findings(1, judged=True, drift=("last 24 h: 1 of 10 features has drifted",))
BROKEN = Findings(1, judged=True, unfixable=("last 24 h: 90 % of x0 is missing",))


LATENCY, QUALITY = (
    Target(next(kind for kind in KINDS if kind.name == name), limit, of)
    for name, limit, of in (("latency_p99_ms", 20.0, ""), ("metric_at_least", 0.7, "roc_auc"))
)
HELD = (
    hold(LATENCY, (35.0, 31.0, 38.0), rows=900, min_rows=500),
    hold(QUALITY, (0.75, 0.74, 0.76), rows=900, min_rows=500),
)
EMPTY = a_window(24, window(100, 5), quality(QualityOutcome.INSUFFICIENT_DATA, None))


@pytest.fixture
def world() -> World:
    made = World()
    serving(made)
    return made


def next_step(world: World) -> str:
    return str(world.call("GET", f"/models/{MODEL}/health").body["next_step"])


# The API


def test_one_page_has_every_model_with_what_serves_how_it_stands_and_what_is_under_way(world: World) -> None:
    world.call("PUT", "/models/demand", spec_text(name="demand", owner="dora@example.com"))
    record = look(world, DRIFT)
    demand, flights = world.call("GET", "/health").body["health"]
    assert demand | {"model": "demand", "owner": "dora@example.com", "version": None, "health": "unknown"} == demand
    assert (demand["looked_at"], demand["summary"], demand["rollout"]) == (None, None, None)
    assert (flights["version"], flights["killed"], flights["health"]) == (1, False, "drifted")
    assert flights["since"] == flights["looked_at"] == record.looked_at.isoformat()
    assert (flights["reasons"], flights["retraining"]) == (list(DRIFT.drift), "drift")
    assert flights["summary"]["windows"][0]["live"] == {"value": 0.7, "low": 0.69, "high": 0.71}


def test_a_rollout_under_way_is_on_the_page(world: World) -> None:
    world.call("PUT", f"/models/{MODEL}", spec_text(release={"steps": [5], "approval": "required"}))
    started = world.call("POST", f"/models/{MODEL}/runs", {"token": "second"})
    world.run_to_the_end(started.body["run"]["run_id"])
    (line,) = world.call("GET", "/health").body["health"]
    assert (line["version"], line["rollout"]["version"], line["rollout"]["phase"]) == (1, 2, "approval")


def test_many_models_come_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MODELS_ON_A_PAGE", 2)
    for name in ("alpha", "beta"):
        world.call("PUT", f"/models/{name}", spec_text(name=name))
    first = world.call("GET", "/health").body
    assert ([each["model"] for each in first["health"]], first["next"]) == (["alpha", "beta"], first["next"])
    last = world.call("GET", f"/health?after={first['next']}").body
    assert ([each["model"] for each in last["health"]], last["next"]) == ([MODEL], None)
    assert world.call("GET", "/health?after=beta").status == 400


def test_a_model_is_shown_with_its_whole_health_and_the_verdicts_it_rests_on(world: World) -> None:
    look(world, DRIFT)
    shown = world.call("GET", f"/models/{MODEL}/health").body
    assert (shown["model"]["model"], shown["health"]["health"]) == (MODEL, "drifted")
    assert [each["hours"] for each in shown["verdicts"]["windows"]] == [24, 168]


def test_verdicts_that_are_kept_no_longer_are_left_out(world: World) -> None:
    look(world, FINE)
    world.verdicts.documents.clear()
    shown = world.call("GET", f"/models/{MODEL}/health")
    assert (shown.status, shown.body["verdicts"]) == (200, None)


def test_a_model_that_was_never_looked_at_has_no_health_and_nothing_to_acknowledge(world: World) -> None:
    shown = world.call("GET", f"/models/{MODEL}/health").body
    assert (shown["health"], shown["verdicts"], shown["model"]["health"]) == (None, None, "unknown")
    assert not world.call("POST", f"/models/{MODEL}/acknowledge", REASON).body["changed"]


@pytest.mark.parametrize(("method", "name"), [("GET", "health"), ("POST", "acknowledge")])
def test_a_model_that_is_not_there_does_not_stand(world: World, method: str, name: str) -> None:
    assert world.call(method, f"/models/nobody/{name}", REASON if method == "POST" else None).status == 404


def test_an_acknowledgement_keeps_who_when_and_why_and_lets_the_loop_go_on(world: World) -> None:
    look(world, BROKEN)
    answer = world.call("POST", f"/models/{MODEL}/acknowledge", REASON).body
    assert answer["changed"]
    seen = present(world.health_records.record(MODEL))
    assert (seen.health, seen.acknowledged_by, seen.acknowledged_because) == (Health.UNKNOWN, ANA, REASON["reason"])
    assert seen.acknowledged_at == world.clock.now()
    assert look(world, DRIFT).wanted is Trigger.DRIFT


def test_who_reported_most_outcomes_cannot_acknowledge_what_rests_on_them(world: World) -> None:
    record = look(world, BROKEN)
    session = "arn:aws:sts::1:assumed-role/{}"
    other = "arn:aws:iam::1:user/ana-2"
    for reporters, status in (
        ({ANA: 6, other: 4}, 403),
        ({session.format("feeds/" + ANA.rpartition("/")[2]): 6, other: 4}, 403),
        ({ANA: 5, other: 5}, 200),
    ):
        last = present(world.health_records.record(MODEL))
        world.health_records.save(replace(record, revision=last.revision + 1, reporters=reporters))
        answer = world.call("POST", f"/models/{MODEL}/acknowledge", REASON)
        assert answer.status == status, answer.body
        assert status == 200 or "you reported 60% of the outcomes" in answer.body["detail"]


@pytest.mark.parametrize(("served", "applied"), [(0.5, 1), (1, 0.5)])
def test_a_limit_on_reporters_is_no_looser_than_that_of_the_champions_spec(served: float, applied: float) -> None:
    world = World()
    world.with_model()
    world.call("PUT", f"/models/{MODEL}", spec_text(monitoring={"reporter_at_most": served}))
    started = world.call("POST", f"/models/{MODEL}/runs", {"token": "first"})
    world.call("PUT", f"/models/{MODEL}", spec_text(monitoring={"reporter_at_most": applied}))
    record = look(world, BROKEN)
    by = {ANA: 5, ROLE_OF_ANA: 5, "arn:aws:iam::1:user/bo": 1}
    world.health_records.save(replace(record, revision=record.revision + 1, reporters=by))
    world.run_to_the_end(started.body["run"]["run_id"])
    assert world.call("POST", f"/models/{MODEL}/acknowledge", REASON).status == 403


def test_before_anything_serves_the_models_own_limit_on_reporters_holds(world: World) -> None:
    world.call("PUT", "/models/demand", spec_text(name="demand", monitoring={"reporter_at_most": 1}))
    record = look(world, BROKEN, model="demand")
    world.health_records.save(replace(record, revision=record.revision + 1, reporters={ANA: 10}))
    assert world.call("POST", "/models/demand/acknowledge", REASON).status == 200


def test_the_same_acknowledgement_again_changes_nothing(world: World) -> None:
    look(world, BROKEN)
    world.call("POST", f"/models/{MODEL}/acknowledge", REASON)
    before = world.health_records.record(MODEL)
    again = world.call("POST", f"/models/{MODEL}/acknowledge", {"reason": "really"}, actor="arn:aws:iam::1:user/bo")
    assert (again.status, again.body["changed"]) == (200, False)
    assert world.health_records.record(MODEL) == before


def test_objects_in_quarantine_are_shown_until_somebody_acknowledges_them(world: World) -> None:
    record = look(world, FINE)
    world.health_records.save(replace(record, revision=record.revision + 1, quarantined=("a", "b"), seen=("a",)))
    shown = world.call("GET", f"/models/{MODEL}/health").body
    assert shown["model"]["quarantined"] == 1
    assert "1 object in quarantine" in shown["next_step"]
    answer = world.call("POST", f"/models/{MODEL}/acknowledge", REASON).body
    assert (answer["changed"], answer["judged_afresh"], answer["health"]["health"]) == (True, False, "steady")
    seen = present(world.health_records.record(MODEL))
    assert (seen.seen, seen.seen_by, seen.seen_because) == (("a", "b"), ANA, REASON["reason"])
    assert world.call("GET", f"/models/{MODEL}/health").body["model"]["quarantined"] == 0
    assert not world.call("POST", f"/models/{MODEL}/acknowledge", REASON).body["changed"]


@pytest.mark.parametrize("findings", [DRIFT, FINE])
def test_only_what_needs_redesign_is_acknowledged(world: World, findings: Findings) -> None:
    before = look(world, findings)
    assert not world.call("POST", f"/models/{MODEL}/acknowledge", REASON).body["changed"]
    assert world.health_records.record(MODEL) == before


def test_an_acknowledgement_without_a_reason_is_refused(world: World) -> None:
    look(world, BROKEN)
    refused = world.call("POST", f"/models/{MODEL}/acknowledge", {})
    assert (refused.status, refused.faults) == (422, ["reason: is required"])


def test_a_look_at_the_same_moment_does_not_lose_an_acknowledgement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(world, BROKEN)
    save = world.health_records.save

    def look_first(_: HealthRecord) -> None:
        monkeypatch.setattr(world.health_records, "save", save)
        known = world.health_records.record(MODEL)
        save(health.look(known, BROKEN, POLICY, model=MODEL, under_way=False, now=world.clock.now()))
        raise ConflictError("monitoring was faster")

    monkeypatch.setattr(world.health_records, "save", look_first)
    assert world.call("POST", f"/models/{MODEL}/acknowledge", REASON).body["changed"]
    assert present(world.health_records.record(MODEL)).acknowledged_because == REASON["reason"]


def test_what_follows_is_said_in_a_sentence(world: World) -> None:
    assert next_step(world).startswith("nothing: it is judged within an hour")
    look(world, FINE)
    assert next_step(world).startswith("nothing: it is judged again")
    drifted = look(world, DRIFT)
    assert next_step(world) == "a training starts soon, because of drift"
    world.health_records.save(replace(drifted, revision=drifted.revision + 1, held_back="its split has fixed periods"))
    assert next_step(world) == "a training is due and waits: its split has fixed periods"
    drifted = look(world, DRIFT)
    run_id = world.call("POST", f"/models/{MODEL}/runs", {"token": "again"}).body["run"]["run_id"]
    world.health_records.save(health.started(drifted, Attempt(run_id, Trigger.DRIFT, world.clock.now())))
    assert next_step(world) == f"run {run_id}, or the rollout of its version, is under way: tidegate rollout {MODEL}"
    look(world, BROKEN)
    assert f"tidegate acknowledge {MODEL}" in next_step(world)


def test_a_training_that_ended_since_the_last_look_is_not_under_way(world: World) -> None:
    drifted = look(world, DRIFT)
    run_id = world.call("POST", f"/models/{MODEL}/runs", {"token": "again"}).body["run"]["run_id"]
    world.health_records.save(health.started(drifted, Attempt(run_id, Trigger.DRIFT, world.clock.now())))
    world.clock.move(minutes=5)
    world.registry.fail(MODEL, run_id, RunError("TrainingFailedError", "no rows", "train"), world.clock.now())
    shown = world.call("GET", f"/models/{MODEL}/health").body
    said = f"run {run_id} failed: tidegate runs {MODEL} {run_id}; the next look decides whether another one starts"
    assert shown["next_step"] == said
    (attempt,) = shown["health"]["attempts"]
    assert (attempt["outcome"], attempt["ended_at"]) == ("failed", world.clock.now().isoformat())
    (kept,) = present(world.health_records.record(MODEL)).attempts
    assert kept.outcome is TrainingOutcome.UNDER_WAY  # a look records it


def test_models_are_listed_by_owner_and_health(world: World) -> None:
    for name, owner in (("demand", "dora@example.com"), ("supply", "Dora@Example.com")):
        world.call("PUT", f"/models/{name}", spec_text(name=name, owner=owner))
    look(world, DRIFT)
    look(world, DRIFT, model="supply")

    def listed(query: str) -> list[str]:
        return [each["model"] for each in world.call("GET", f"/health?{query}").body["health"]]

    assert listed("owner=dora@example.com") == ["demand", "supply"]
    assert listed("health=drifted") == [MODEL, "supply"]
    assert listed("health=drifted&owner=DORA@example.com") == ["supply"]
    assert listed("health=unknown") == ["demand"]
    assert listed("owner=nobody") == []
    refused = world.call("GET", "/health?health=Drfted")
    assert (refused.status, "did you mean 'drifted'?" in refused.faults[0]) == (422, True)


def test_a_page_of_models_with_a_health_looks_at_a_bounded_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MODELS_EXAMINED", 2)
    for name in ("alpha", "beta", "gamma"):
        world.call("PUT", f"/models/{name}", spec_text(name=name))
    look(world, DRIFT, model="gamma")
    first = world.call("GET", "/health?health=drifted").body
    assert first["health"] == []
    last = world.call("GET", f"/health?health=drifted&after={first['next']}").body
    assert [each["model"] for each in last["health"]] == ["gamma"]


def test_drift_that_the_spec_does_not_train_for_is_left_to_people(world: World) -> None:
    look(world, replace(DRIFT, drift=(), quality=("last 24 h: roc_auc is worse",)))
    assert "monitoring.retrain_on" in next_step(world)


def test_a_model_that_serves_nothing_is_trained_first() -> None:
    world = World()
    world.with_model()
    assert "tidegate train" in next_step(world)


# The command line


@pytest.fixture
def stage(server: Loopback) -> Loopback:
    """A loopback stage with a model that serves."""
    serving(server.world)
    return server


def test_status_has_the_worst_first_and_ends_with_0(run: Cli, stage: Loopback) -> None:
    for name in ("alpha", "beta", "gamma"):
        stage.world.call("PUT", f"/models/{name}", spec_text(name=name))
    look(stage.world, FINE, model="alpha")
    look(stage.world, DRIFT, model="gamma")
    look(stage.world, BROKEN)
    assert run("status") == exits.OK
    head, *lines = run.out.splitlines()
    assert head.split()[:2] == ["model", "health"]
    assert [line.split()[0] for line in lines[:4]] == [MODEL, "gamma", "beta", "alpha"]
    assert "✗ NEEDS REDESIGN" in lines[0]
    assert "version 1" in lines[0]
    assert "roc_auc 0.700 [0.690, 0.710]" in lines[0]
    assert "2,000 in 24 h" in lines[0]
    assert "training soon (drift)" in lines[1]
    assert "never" in lines[2]
    assert "✓ steady" in lines[3]
    assert f"{MODEL}: ✗ NEEDS REDESIGN\n  - {BROKEN.unfixable[0]}\n" in run.out
    assert "tidegate drift gamma" in run.out
    assert "tidegate drift alpha" not in run.out
    assert run("status", "--json") == exits.OK
    assert [each["model"] for each in run.document["health"]] == [MODEL, "gamma", "beta", "alpha"]


def test_status_shows_the_models_of_an_owner_or_with_a_health(run: Cli, stage: Loopback) -> None:
    stage.world.call("PUT", "/models/alpha", spec_text(name="alpha", owner="dora@example.com"))
    look(stage.world, DRIFT)
    assert run("status", "--health", "drifted", "--json") == exits.OK
    assert [each["model"] for each in run.document["health"]] == [MODEL]
    assert run("status", "--owner", "dora@example.com") == exits.OK
    assert [line.split()[0] for line in run.out.splitlines()] == ["model", "alpha"]
    assert run("status", "--owner", "dora@example.com", "--health", "drifted") == exits.OK
    assert run.out == "no models with owner dora@example.com and health drifted\n"
    assert run("status", "--health", "Drift") == exits.INVALID
    assert "did you mean 'drifted'?" in run.err


def test_missed_targets_are_said_in_words_by_status_and_shown_beside_the_others_by_drift(
    run: Cli,
    stage: Loopback,
) -> None:
    look(stage.world, FINE, held=HELD)
    assert run("status") == exits.OK
    said = "  - latency_p99_ms must be at most 20 ms: missed, it is 35.0 [31.0, 38.0]\n"
    assert f"{MODEL}: ✗ misses its targets\n{said}" in run.out
    assert "metric_at_least" not in run.out
    assert run("drift", MODEL) == exits.OK
    lines = {line.split()[0]: " ".join(line.split()) for line in run.out.splitlines() if line}
    assert lines["latency_p99_ms"] == "latency_p99_ms performance ✗ MISSED at most 20 35.0 [31.0, 38.0]"
    assert lines["metric_at_least"] == "metric_at_least accuracy ✓ met at least 0.7 (roc_auc) 0.750 [0.740, 0.760]"


def test_who_reported_outcomes_and_which_of_them_do_not_count_is_said(run: Cli, stage: Loopback) -> None:
    look(stage.world, FINE, reports=Reports({ANA: 3, "": 1}, ignored=1, uncaptured=2))
    uncaptured = "  - 2 outcomes without a captured prediction of the model\n"
    doubted = f"{uncaptured}  - 1 outcome ignored: somebody else reported first\n"
    assert run("status") == exits.OK
    assert f"{MODEL}: outcomes that do not count\n{doubted}" in run.out
    assert run("drift", MODEL) == exits.OK
    by = "  - 75% reported by DataScientist/ana\n  - 25% reported by an unknown reporter\n"
    assert f"outcomes: 4 of the version's predictions in the longest window\n{by}{doubted}" in run.out
    look(stage.world, FINE)
    assert run("status") == exits.OK
    assert "outcomes" not in run.out


def test_a_killed_model_does_not_look_served(run: Cli, stage: Loopback) -> None:
    stage.world.call("POST", f"/models/{MODEL}/kill", {"reason": "it answers nonsense"})
    run("status")
    assert "fallback (killed)" in run.out


def test_without_models_status_says_how_to_begin(run: Cli, server: Loopback) -> None:
    assert run("status") == exits.OK
    assert run.out == "no models yet: tidegate model apply --help\n"


def test_drift_reports_each_verdict_the_features_to_blame_and_what_follows(run: Cli, stage: Loopback) -> None:
    look(stage.world, DRIFT)
    assert run("drift", MODEL) == exits.REJECTED
    assert run.out.startswith(f"{MODEL}, version 1: ✗ drifted since ")
    found = {re.split(r"\s{2,}", line)[1]: line for line in run.out.splitlines() if line.startswith(("✗", "✓", "·"))}
    assert found["features"].startswith("✗ DRIFTED")
    assert "most responsible: x3" in found["features"]
    assert found["live quality"].startswith("✗ BEYOND")
    assert found["volume"].startswith("· too little data")
    assert set(found) == {"features", "predictions", "data quality", "volume", "labels", "live quality"}
    bars = [line for line in run.out.splitlines() if line.startswith("above ")]
    assert len(bars) == 10
    assert "█" * 20 in bars[-2]
    assert run.out.endswith("next: a training starts soon, because of drift\n")
    assert "also judged  168 h (--window HOURS)" in run.out


def test_another_window_is_shown_when_it_is_asked_for(run: Cli, stage: Loopback) -> None:
    look(stage.world, FINE)
    assert run("drift", MODEL, "--window", "168") == exits.OK
    assert "168 hours to 2026-01-05-12, 5,000 captured predictions of the version" in run.out
    assert "· too little data  live quality" in run.out
    assert run("drift", MODEL, "--window", "48") == exits.NOT_FOUND
    assert "judged windows: 24, 168" in run.err


def test_of_itself_the_shortest_window_that_could_be_judged_is_shown(run: Cli, stage: Loopback) -> None:
    look(stage.world, FINE, windows=(EMPTY, WEEK))
    run("drift", MODEL)
    assert "168 hours" in run.out


@pytest.mark.parametrize(("findings", "code"), [(FINE, exits.OK), (DRIFT, exits.REJECTED), (BROKEN, exits.REJECTED)])
def test_pipelines_branch_on_how_a_model_stands(
    run: Cli,
    stage: Loopback,
    findings: Findings,
    code: int,
) -> None:
    look(stage.world, findings)
    assert run("drift", MODEL, "--json") == code
    assert run.document["health"]["model"] == MODEL


def test_a_model_that_was_never_looked_at_is_not_known(run: Cli, stage: Loopback) -> None:
    assert run("drift", MODEL) == exits.OK
    assert run.out.startswith(f"{MODEL}, version 1: · not known\n\nnext: nothing: it is judged within an hour")


def test_trainings_of_monitoring_are_listed_newest_first(run: Cli, stage: Loopback) -> None:
    for number in (1, 2):
        record = look(stage.world, DRIFT)
        attempt = Attempt(f"r-{number}", Trigger.DRIFT, stage.world.clock.now())
        began = health.started(record, attempt)
        ended = {attempt.run_id: (health.TrainingOutcome.TURNED_AWAY, stage.world.clock.now())}
        stage.world.health_records.save(health.with_outcomes(began, ended))
    run("drift", MODEL)
    listed = [line.split()[0] for line in run.out.splitlines() if line.startswith("r-")]
    assert listed == ["r-2", "r-1"]
    assert "rejected" in run.out


def test_the_features_to_blame_are_drawn_for_a_browser(
    run: Cli,
    stage: Loopback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look(stage.world, DRIFT)
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    assert run("drift", MODEL, "--plot", "drift.svg", "--open") == exits.REJECTED
    assert opened == ["drift.svg"]
    root = ET.fromstring(Path("drift.svg").read_text(encoding="utf-8"))  # noqa: S314  our own file
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert f"{MODEL}, version 1: 24 hours to 2026-01-05-12" in texts
    assert "x3" in texts


def test_without_distributions_there_is_no_picture(run: Cli, stage: Loopback) -> None:
    look(stage.world, FINE, windows=(EMPTY,))
    assert run("drift", MODEL, "--plot", "drift.svg") == exits.OK
    assert "nothing to draw" in run.err
    assert not Path("drift.svg").exists()


def test_a_picture_that_cannot_be_written_is_a_fault(run: Cli, stage: Loopback) -> None:
    look(stage.world, DRIFT)
    assert run("drift", MODEL, "--plot", "no/such/folder.svg") == exits.INVALID
    assert "no/such/folder.svg cannot be written" in run.err


def test_acknowledging_is_reported_with_what_follows_and_twice_changes_nothing(run: Cli, stage: Loopback) -> None:
    look(stage.world, BROKEN)
    assert run("acknowledge", MODEL, "--reason", "the feed is mended") == exits.OK
    assert run.out.startswith(f"{MODEL}: acknowledged; it is judged afresh")
    assert run("acknowledge", MODEL, "--reason", "the feed is mended") == exits.OK
    assert run.out == f"{MODEL}: nothing to acknowledge; it is not known\n"
    run("drift", MODEL)
    assert "by DataScientist/ana: the feed is mended" in run.out


def test_acknowledging_needs_a_reason(run: Cli, stage: Loopback) -> None:
    assert run("acknowledge", MODEL) == exits.INVALID
    assert stage.requests == []


def test_a_training_that_monitoring_began_names_monitoring(run: Cli, stage: Loopback) -> None:
    actor = "arn:aws:states:eu-west-1:123456789012:execution:tidegate-dev-retrain:0b1c"
    stage.world.call("POST", f"/models/{MODEL}/runs", {"token": "monitoring-4", "reason": "drift: of x3"}, actor=actor)
    run("runs", MODEL)
    assert re.search(r"monitoring +drift: of x3", run.out)


# Distributions


def test_counts_are_kept_of_the_features_to_blame_or_else_of_those_that_moved_most() -> None:
    assert list(DAY.counts) == ["x3"]
    assert len(WEEK.counts) == 3
    assert sum(DAY.counts["x3"]["now"]) == 2000
    assert len(DAY.counts["x3"]["cells"]) == len(DAY.counts["x3"]["reference"]) == len(DAY.counts["x3"]["now"])
    distances = {
        each.name: present(each.distance) for each in WEEK.drift.features.findings if isinstance(each, ColumnFinding)
    }
    assert len(distances) == len(WEEK.drift.features.findings)
    assert min(distances[name] for name in WEEK.counts) >= sorted(distances.values())[-3]
    assert EMPTY.counts == {}


def test_shares_are_of_all_rows_and_the_largest_cells_are_kept_in_their_order() -> None:
    names = [f"c{index:02}" for index in range(20)]
    found = distribution("carrier", "", names, list(range(20)), [0] * 19 + [10])
    assert found is not None
    assert [each.cell for each in found.bars] == names[-MOST_BARS:]
    assert found.bars[-1].reference == pytest.approx(19 / 190)
    assert found.bars[-1].now == 1


def test_cells_that_hold_nothing_are_left_out_and_without_rows_there_is_nothing_to_draw() -> None:
    found = distribution("x", "", ["low", "high", "masked"], [1, 1, 0], [2, 0, 0])
    assert found is not None
    assert [each.cell for each in found.bars] == ["low", "high"]
    assert distribution("x", "", ["low"], [1], [0]) is None


def test_a_bar_is_as_long_as_its_share() -> None:
    assert [bar(share, 0.5, 4) for share in (0.5, 0.25, 0.1875, 0)] == ["████", "██", "█▌", ""]


def test_names_out_of_data_cannot_break_a_picture() -> None:
    found = distribution("<x>", 'a "said" & <b>', ["<script>\x00\x1b", "b"], [1, 1], [1, 1])
    assert found is not None
    root = ET.fromstring(picture("t & <t>", [found]))  # noqa: S314  our own text
    assert "<script>  " in [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
