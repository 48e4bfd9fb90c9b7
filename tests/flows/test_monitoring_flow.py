"""The world changes: monitoring sees it, names the features, trains again on what was labelled since, or asks
people."""

from typing import Any

import pandas as pd
import urllib3

from tests.flows.conftest import SHALLOW, House, instances_of, wait_until
from tests.flows.rollouts import DIRECT, monitored

ROWS = 800
RULES: dict[str, Any] = {"windows_hours": [24], "cooldown_hours": 0, "give_up_after": 1}


def ask(house: House, model: str, flights: pd.DataFrame, **said: Any) -> list[str]:
    """Ask about so many flights, a hundred at a time; the ids of the predictions."""
    names = [feature["name"] for feature in house.spec(model)["features"]]
    instances = [instance | said for instance in instances_of(flights, names)]
    ids = []
    for start in range(0, len(instances), 100):
        answer = house.client.predict(model, instances[start : start + 100])
        ids += [prediction["id"] for prediction in answer["predictions"]]
    return ids


def say(house: House, model: str, ids: list[str], flights: pd.DataFrame) -> None:
    """What became of those flights."""
    items = [{"id": each, "outcome": bool(late)} for each, late in zip(ids, flights["late"], strict=True)]
    for start in range(0, len(items), 500):
        assert house.client.feedback(model, items[start : start + 500])["accepted"] == len(items[start : start + 500])


def begun(house: House, model: str) -> dict[str, Any]:
    """The training that monitoring starts: its alarm fires, the labelled captures become a dataset version."""

    def attempted() -> list[dict[str, Any]]:
        house.cloud.advance(60)
        attempts: list[dict[str, Any]] = house.client.model_health(model)["health"]["attempts"]
        return attempts

    wait_until(attempted, 120)
    return attempted()[-1]


def explained(house: House, model: str, prediction: str) -> None:
    """Where an answer came from is known, and its contributions add up to it."""
    shown = house.client.explain(model, prediction)
    assert (shown["model"]["name"], shown["version"]["number"], shown["again"]["same"]) == (model, 1, True), shown
    contributions = shown["contributions"]
    features = {each["name"] for each in contributions["features"]}
    assert features == {feature["name"] for feature in house.spec(model)["features"]}
    total = contributions["base"] + sum(each["value"] for each in contributions["features"])
    assert abs(total - shown["answer"]["score"]) < 1e-5, shown


def spent(house: House, model: str) -> None:
    """What the requests took is known by version, and the prices beside it."""
    cost = house.client.model_health(model)["verdicts"]["cost"]
    usage = [hour["usage"] for hour in cost["hours"].values()]
    assert sum(by["1"][1] for by in usage if "1" in by) == ROWS, cost
    assert sum(by["1"][0] for by in usage if "1" in by) == ROWS / 100, cost
    assert all(by["1"][2] > 0 for by in usage if "1" in by), cost


def pictured(house: House, model: str) -> None:
    """The local page draws both dashboards from what was deployed and recorded."""
    names = ("tidegate-dev", f"tidegate-dev-model?model={model}")
    for name in names:
        page = urllib3.request("GET", f"{house.cloud.dashboards_url}/dashboards/{name}", timeout=60).data.decode()
        assert "<img" in page, page[:500]
        assert name.partition("=")[2] in page


def test_a_changed_season_is_seen_and_answered_with_a_training_on_labelled_captures(house: House) -> None:
    model = "seasonal"
    rolling = {"holdout_days": 31}
    run = house.release(model, candidates=SHALLOW, release=DIRECT, monitoring=RULES, split=rolling)
    assert run["status"] == "accepted", run
    july = house.flights[house.flights["month"] == 7].sample(ROWS, random_state=7)
    ids = ask(house, model, july)
    say(house, model, ids, july)
    record = monitored(house, model)
    assert record["health"] == "drifted", record
    assert any("temp" in reason or "month" in reason for reason in record["reasons"]), record["reasons"]
    explained(house, model, ids[0])
    spent(house, model)
    pictured(house, model)

    attempt = begun(house, model)
    assert attempt["trigger"] in {"drift", "quality"}
    retrained = house.over(model, attempt["run_id"])
    assert retrained["status"] in {"accepted", "rejected"}, retrained
    labelled = house.client.dataset_version("flights-sample", retrained["dataset_version"])
    base = house.client.dataset_version("flights-sample")
    assert labelled["base"] == base["version"]
    assert labelled["rows"] == base["rows"] + ROWS


def test_a_broken_feed_is_given_to_people_and_not_to_training(house: House) -> None:
    model = "fed-badly"
    assert house.release(model, candidates=SHALLOW, release=DIRECT, monitoring=RULES)["status"] == "accepted"
    spring = house.flights[house.flights["month"] == 4].sample(ROWS, random_state=8)
    ask(house, model, spring, temp=None, dewp=None, humid=None)
    record = monitored(house, model)
    assert record["health"] == "needs_redesign", record
    assert any("temp" in reason for reason in record["reasons"]), record["reasons"]
    assert not record["attempts"]
    assert house.client.acknowledge(model, "the weather station is back")["changed"]
    assert house.client.model_health(model)["health"]["health"] == "unknown"
