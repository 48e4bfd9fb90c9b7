"""Looking at captures through the control API, what a spec may say of them, and the metric that counts lost ones."""

import json
from typing import Any

import pytest

from infra.local.logs import embedded_metrics
from tests.builders.captures import MIDNIGHT, capture
from tests.builders.control_api import World
from tests.builders.specs import spec_document
from tidegate.kernel.errors import SpecInvalidError
from tidegate.spec.model import ModelSpec
from tidegate.telemetry import Aside

PATH = "/captures/flight-delay"


@pytest.fixture
def world() -> World:
    made = World()
    made.with_model()
    made.captures.offer(capture(3))
    made.captures.offer(capture(2, model="other"))
    return made


def test_an_hour_of_captures_is_listed_newest_first(world: World) -> None:
    body = world.call("GET", f"{PATH}?hour=2026-01-05-23&limit=2").body
    assert (body["model"], body["hour"]) == ("flight-delay", "2026-01-05-23")
    assert [record["id"] for record in body["captures"]] == ["id-2", "id-1"]
    assert body["captures"][0]["inputs"] == {"carrier": "UA", "hour": 7, "tailnum": "N1"}


def test_without_an_hour_it_is_the_present_one(world: World) -> None:
    assert world.call("GET", PATH).body == {
        "model": "flight-delay", "hour": "2026-01-05-12", "captures": [], "next": None,
    }  # fmt: skip
    world.clock.at = MIDNIGHT
    assert len(world.call("GET", PATH).body["captures"]) == 3


@pytest.mark.parametrize(
    "query",
    ["hour=2026-01-05", "hour=2026-1-5-1", "hour=2026-01-05-24", "hour=..%2F", "limit=0", "limit=501", "limit=x"],
)
def test_a_wrong_hour_or_limit_is_refused_by_name(world: World, query: str) -> None:
    answer = world.call("GET", f"{PATH}?{query}")
    assert answer.status == 422
    (fault,) = answer.faults
    assert fault.startswith(query.partition("=")[0])


def test_an_hour_is_listed_page_by_page(world: World) -> None:
    world.captures.offer(capture(7, at=MIDNIGHT, predictions=[{"id": f"late-{n}", "score": 0.5} for n in range(7)]))
    path, found = f"{PATH}?hour=2026-01-05-23&limit=4", []
    body: dict[str, Any] = {"next": ""}
    while body["next"] is not None:
        body = world.call("GET", path + (f"&after={body['next']}" if body["next"] else "")).body
        assert len(body["captures"]) <= 4
        found += [record["id"] for record in body["captures"]]
    assert found == [*(f"late-{n}" for n in range(6, -1, -1)), "id-2", "id-1", "id-0"]


def test_a_page_without_an_hour_stays_in_the_hour_in_which_the_walk_began(world: World) -> None:
    world.clock.at = MIDNIGHT
    body = world.call("GET", f"{PATH}?limit=2").body
    world.clock.at = MIDNIGHT.replace(hour=3)
    rest = world.call("GET", f"{PATH}?limit=2&after={body['next']}").body
    assert (rest["hour"], [record["id"] for record in rest["captures"]], rest["next"]) == (body["hour"], ["id-0"], None)


def test_a_token_of_another_hour_or_model_is_refused(world: World) -> None:
    token = world.call("GET", f"{PATH}?hour=2026-01-05-23&limit=2").body["next"]
    for query in (f"hour=2026-01-05-22&after={token}", f"after={token}", f"hour=2026-01-05-23&after={token[:-2]}"):
        assert world.call("GET", f"{PATH}?{query}").status == 400


def test_an_unknown_model_has_none(world: World) -> None:
    assert world.call("GET", "/captures/nobody").status == 404


# The spec


def test_a_spec_that_says_nothing_keeps_everything() -> None:
    rules = ModelSpec.parse(spec_document()).capture
    assert (rules.sample, rules.mask, rules.drop, rules.keep) == (1.0, (), (), ())


@pytest.mark.parametrize(
    ("rules", "path", "problem"),
    [
        ({"sample": 1.5}, "capture.sample", "1.5 is too large; give at most 1"),
        ({"mask": ["colour"]}, "capture.mask[0]", "not a feature"),
        ({"mask": ["hour"], "drop": ["carrier", "hour"]}, "capture.drop[1]", "already listed in mask"),
        ({"hide": ["hour"]}, "capture.hide", "no such field"),
    ],
)
def test_a_faulty_capture_part_is_refused_with_its_place(rules: dict[str, Any], path: str, problem: str) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        ModelSpec.parse(spec_document(capture=rules))
    (fault,) = caught.value.faults
    assert fault.path == path
    assert problem in str(fault)


# The metric


def test_a_lost_capture_is_a_metric_that_the_alarm_counts(capsys: pytest.CaptureFixture[str]) -> None:
    Aside("inference", stage="dev").count("CapturesDropped", 3)
    (line,) = capsys.readouterr().out.splitlines()
    (found,) = embedded_metrics(line)
    assert (found.namespace, found.name, list(found.values)) == ("Tidegate", "CapturesDropped", [3.0])
    assert found.dimensions == {"service": "inference", "stage": "dev"}
    assert json.loads(line)["CapturesDropped"] == 3
