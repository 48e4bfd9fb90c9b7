"""Which arm of a split is better: at any time, by metric and by value."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.builders.command_line import Cli
from tests.builders.control_api import World
from tests.builders.loopback import Loopback
from tests.builders.present import present
from tests.builders.specs import spec_text
from tidegate.cli import exits
from tidegate.cli.pages import routes as routes_page
from tidegate.domain.rollout.readout import (
    ALPHA,
    BATCH,
    Labelled,
    Readout,
    ReadoutFinding,
    Split,
    Worth,
    evidence_of_gain,
    interval,
    read_out,
)
from tidegate.domain.serving.capture import hour_of
from tidegate.kernel.metrics import registry

SPLIT = Split(version=4, champion=3, share_bp=2_000)
WORTH = Worth(correct=1.0, wrong=3.0, currency="EUR")
AUC, ACCURACY, RMSE = (registry.find(name) for name in ("roc_auc", "accuracy", "rmse"))


def arm(chance: np.random.Generator, rows: int, noise: float = 1.0, *, drift: float = 0.0) -> Labelled:
    """Answers of a binary model: more noise is a worse model. By `drift` the world gets harder, for both arms alike."""
    moment = np.sort(chance.random(rows))
    target = (chance.random(rows) < 0.4).astype(int)
    seen = target + chance.normal(0, 1, rows) * (noise + drift * moment)
    score = 1 / (1 + np.exp(-(seen - 0.5)))
    right = ((score >= 0.5) == target).astype(float)
    return Labelled(moment, target, np.stack([1 - score, score], axis=1), right)


def numbers(chance: np.random.Generator, rows: int, noise: float) -> Labelled:
    target = chance.normal(0, 1, rows)
    return Labelled(np.sort(chance.random(rows)), target, (target + chance.normal(0, noise, rows))[:, None])


def test_the_better_version_is_found_by_metric_and_by_value():
    chance = np.random.default_rng(1)
    found = read_out(SPLIT, arm(chance, 20_000), arm(chance, 5_000, noise=2.0), AUC, worth=WORTH)
    auc, value = found.findings
    assert (found.better, auc.better, value.better) == (3, 3, 3)
    assert (found.windows, found.rows, found.split_rows) == (100, 20_000, 5_000)
    assert present(auc.low) < present(auc.gain) < present(auc.high) < 0
    for each in (auc, value):
        assert each.gain == pytest.approx(present(each.split) - present(each.champion))
    assert value.unit == "EUR a decision"
    other = read_out(SPLIT, arm(chance, 20_000, noise=2.0), arm(chance, 5_000), AUC)
    assert (other.better, len(other.findings)) == (4, 1)
    assert present(other.findings[0].low) > 0
    assert "version 4 is shown to be better" in other.sentence


def test_a_metric_without_a_worst_value_is_compared_by_shares():
    chance = np.random.default_rng(2)
    found = read_out(SPLIT, numbers(chance, 10_000, 1.0), numbers(chance, 2_500, 0.5), RMSE)
    (rmse,) = found.findings
    assert (found.better, rmse.unit) == (4, "share of both errors")
    assert rmse.gain == pytest.approx(1 / 3, abs=0.02)  # (1 - 0.5) / (1 + 0.5)


def test_before_each_arm_has_a_batch_nothing_is_said():
    chance = np.random.default_rng(3)
    found = read_out(SPLIT, arm(chance, 9_000), arm(chance, BATCH - 1), AUC, worth=WORTH)
    assert (found.windows, found.better) == (0, None)
    assert all(each.gain is None for each in found.findings)
    assert "neither version" in found.sentence


def test_a_world_that_gets_harder_is_blamed_on_nobody_though_labels_come_late():
    """The version of the split has its labels late, when both are worse."""
    chance = np.random.default_rng(4)
    champion, other = arm(chance, 20_000, drift=2.0), arm(chance, 20_000, drift=2.0)
    late = other.time > 0.5
    kept = Labelled(other.time[late], other.target[late], other.scores[late])
    (found,) = read_out(SPLIT, champion, kept, AUC).findings
    assert AUC.value(champion.target, champion.scores) > AUC.value(kept.target, kept.scores) + 0.02
    assert found.better is None


def test_findings_that_contradict_each_other_are_left_to_people():
    metric = ReadoutFinding("roc_auc", "", 0.7, 0.8, 0.1, 0.05, 0.15, better=4)
    worth = replace(metric, name="value", better=3)
    found = Readout(4, 3, 2_000, 100, 100, 2, (metric, worth))
    assert (found.better, found.sentence) == (None, "the findings contradict each other: decide which of them counts")
    assert found.to_json()["findings"][1]["better"] == 3


def test_the_evidence_is_that_of_bets():
    assert evidence_of_gain(np.asarray([]), 0.0) == 0.0
    assert evidence_of_gain(-np.ones(50), 0.0) == 0.0
    won = evidence_of_gain(np.full(100, 0.5), 0.0)
    assert won == pytest.approx(100 * np.log1p(0.95 * 0.5), abs=np.log(24))
    assert evidence_of_gain(np.full(100, 0.5), 0.5) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("share", [0, 10_000])
def test_a_share_is_more_than_nothing_and_less_than_all(share):
    nothing = arm(np.random.default_rng(5), 10)
    with pytest.raises(ValueError, match="basis points"):
        read_out(Split(4, 3, share), nothing, nothing, ACCURACY)


@pytest.mark.simulation
def test_of_1000_equal_splits_read_after_every_window_at_most_one_in_twenty_names_a_version():
    chance = np.random.default_rng(20260105)
    wrong = 0
    for _ in range(1_000):
        differences = np.clip(chance.normal(0, 0.1, 300), -1, 1)
        low, high = interval(differences, ALPHA)  # the evidence is its largest so far
        wrong += low > 0 or high < 0
    assert wrong <= 50


@pytest.mark.simulation
def test_of_200_equal_splits_at_most_one_in_twenty_names_a_version_and_a_worse_one_is_found():
    chance = np.random.default_rng(20260106)
    equal = [read_out(SPLIT, arm(chance, 4_000), arm(chance, 2_000), AUC, worth=WORTH).better for _ in range(200)]
    assert sum(each is not None for each in equal) <= 10
    worse = [read_out(SPLIT, arm(chance, 16_000), arm(chance, 8_000, noise=1.5), AUC).better for _ in range(40)]
    assert worse.count(3) >= 36


# Through the control API and the command


def split_world(noise: tuple[float, float], rows: int = 6_000, world: World | None = None) -> World:
    """Version 2 with half of the requests beside version 1; all their outcomes are known."""
    world = world or World()
    world.with_model()
    world.call("PUT", "/models/flight-delay", spec_text(value={"correct": 1, "wrong": 3}))
    for _ in range(2):
        run = world.call("POST", "/models/flight-delay/runs").body["run"]["run_id"]
        world.run_to_the_end(run)
        world.clock.move(hours=1)
    assert world.call("POST", "/models/flight-delay/rollback", {"to": 1, "reason": "back"}).status == 200
    body = {"to": 2, "weight_bp": 5_000, "reason": "fewer calls?"}
    assert world.call("POST", "/models/flight-delay/split", body).status == 200
    chance, route = np.random.default_rng(6), present(world.registry.route("flight-delay"))
    outcomes: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    at = world.clock.now()
    for number, (name, spread) in enumerate(zip(("champion", "split"), noise, strict=True)):
        made = arm(chance, rows, noise=spread)
        for place in range(rows):
            moment = (at + timedelta(seconds=place)).isoformat()
            score = float(made.scores[place, 1])
            records.append(
                {
                    "schema": 1,
                    "id": f"{name}-{place}",
                    "hour": hour_of(at),
                    "model": "flight-delay",
                    "time": moment,
                    "arm": name,
                    "reason": name,
                    "route": route.revision,
                    "version": number + 1,
                    "violations": [],
                    "label": score >= 0.5,
                    "score": score,
                    "probabilities": {"false": 1 - score, "true": score},
                }
            )
            said = {"schema": 2, "id": f"{name}-{place}", "time": moment, "reported": moment, "reporter": "x"}
            outcomes.append(said | {"outcome": bool(made.target[place]), "correction": False})
    copies = [record | {"score": "copy"} for record in records[:3]]
    strangers = [
        records[0] | {"id": "old", "route": 1},
        records[0] | {"id": "fell", "reason": "champion:timed_out"},
        records[0] | {"id": "none"},
        records[0] | {"id": "broken", "probabilities": None},
    ]
    outcomes += [outcomes[0] | {"id": name} for name in ("old", "fell", "broken")]
    world.hours.capture([*records, *copies, *strangers])
    world.hours.report("flight-delay", hour_of(at), outcomes)
    world.clock.move(hours=1)
    return world


def test_the_readout_of_a_split_counts_what_its_versions_answered_by_themselves():
    answer = split_world((2.5, 1.0)).call("GET", "/models/flight-delay/split").body["readout"]
    assert (answer["version"], answer["champion"], answer["better"]) == (2, 1, 2)
    assert (answer["rows"], answer["split_rows"], answer["windows"], answer["until"]) == (6_000, 6_000, 120, None)
    assert [each["name"] for each in answer["findings"]] == ["roc_auc", "value"]
    written = io.StringIO()
    routes_page.readout(Console(file=written, width=200), "flight-delay", answer)
    assert "version 2 with 50 % beside version 1" in written.getvalue()
    assert "version 2 is shown to be better" in written.getvalue()
    json.dumps(answer)


def test_without_a_split_there_is_nothing_to_read():
    world = World()
    world.with_model()
    answer = world.call("GET", "/models/flight-delay/split")
    assert (answer.status, "has no split" in str(answer.body)) == (409, True)


def test_the_command_ends_a_split_once_it_is_decided_and_the_better_version_answers_all(
    run: Cli, server: Loopback
) -> None:
    world = split_world((2.5, 1.0), world=server.world)
    assert run("split", "flight-delay", "--readout") == exits.OK
    assert "version 2 is shown to be better" in run.out
    assert run("split", "flight-delay", "--readout", "--end", "--reason", "it is better", "--json") == exits.OK
    assert (run.document["readout"]["better"], run.document["ended"]["changed"]) == (2, True)
    route = present(world.registry.route("flight-delay"))
    assert (present(route.champion).version, route.candidate) == (2, None)


@pytest.mark.parametrize(("noise", "champion"), [((1.0, 2.5), 1), ((1.0, 1.0), None)])
def test_a_worse_version_leaves_and_an_equal_one_stays(
    run: Cli, server: Loopback, noise: tuple[float, float], champion: int | None
) -> None:
    world = split_world(noise, world=server.world)
    assert run("split", "flight-delay", "--readout", "--end", "--reason", "enough seen") == exits.OK
    route = present(world.registry.route("flight-delay"))
    assert present(route.champion).version == 1
    assert (route.candidate is None) is (champion == 1)
    assert ("the split continues" in run.out) is (champion is None)


@pytest.mark.parametrize(
    "options", [("--readout", "--end"), ("--readout", "--reason", "x"), ("--readout", "--to", "2"), ("--end",)]
)
def test_options_that_do_not_go_together_are_refused(run: Cli, server: Loopback, options: tuple[str, ...]) -> None:
    server.world.with_model()
    assert run("split", "flight-delay", *options) == exits.INVALID
    assert "tidegate split --help" in run.err
