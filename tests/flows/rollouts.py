"""Live traffic beside a rollout, and the hand on the clock: what the flows of releases share."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.flows.conftest import House, instances_of

DIRECT: dict[str, Any] = {"steps": [], "watch_hours": 0}
"""Release rules of tests that are about something else: an accepted version is promoted at once."""

HALF: dict[str, Any] = {"steps": [50], "bake_minutes": 1, "look_seconds": 60, "deadline_hours": 1, "watch_hours": 0}
"""One step with half of the requests, which takes the fewest of them to a verdict."""

SHALLOW = [{"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 4}}]
BOOSTED = [{"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 40}}]

Instances = list[dict[str, Any]]


@dataclass
class Traffic:
    """An application that asks a model, over several connections, and counts what it gets.

    `make` gives the instances of the n-th request. Every one of them is valid, so every answer must be a 200.
    """

    house: House
    model: str
    make: Callable[[int], Instances]
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    answered: list[tuple[float, int | None, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, count: int, *, connections: int = 4) -> None:
        """So many requests, and wait for their answers."""
        with self._lock:
            first, self.sent = self.sent, self.sent + count
        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(self._ask, range(first, first + count)))

    def _ask(self, number: int) -> None:
        try:
            answer = self.house.client.predict(self.model, self.make(number))
        except Exception as error:  # noqa: BLE001  counted: any answer but a good one fails the test
            self.failures.append(f"request {number}: {type(error).__name__}: {error}")
            return
        self.answered.append((time.monotonic(), answer["version"], answer["reason"]))
        self.reasons[answer["reason"]] += 1

    def demand_that_all_were_answered(self) -> None:
        """Not one request was lost or refused."""
        assert not self.failures, (len(self.failures), self.failures[:3])
        assert len(self.answered) == self.sent


def june(house: House, model: str, rows: int = 1, **said: Any) -> Callable[[int], Instances]:
    """Requests of so many June flights each; `said` is put over each instance."""
    flights = house.flights[house.flights["month"] == 6].sample(2_000, random_state=5)
    names = [feature["name"] for feature in house.spec(model)["features"]]
    instances = [instance | said for instance in instances_of(flights, names)]
    return lambda number: [instances[(rows * number + row) % len(instances)] for row in range(rows)]


def follow(
    house: House, traffic: Traffic | None, run: dict[str, Any], *, per_look: int = 250, looks: int = 30,
    until: Callable[[dict[str, Any]], bool] = lambda rollout: bool(rollout["ended_at"]),
) -> dict[str, Any]:  # fmt: skip
    """Send requests and let the release look at them, again and again, until it is over."""
    model, run_id = run["model"], run["run_id"]
    for _ in range(looks):
        rollout = house.client.rollout(model, run_id)
        if until(rollout):
            return rollout
        if traffic:
            traffic.send(per_look)
        look(house, rollout)
    raise AssertionError(f"no end after {looks} looks: {house.client.rollout(model, run_id)}")


def look(house: House, rollout: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """Let what was captured arrive, move the clock to the next look, and wait until it was taken."""
    house.cloud.settle()
    house.cloud.advance(seconds)
    deadline = time.monotonic() + 60
    while True:
        now = house.client.rollout(rollout["model"], rollout["run_id"])
        if now["ended_at"] or (now["next_look_at"] or "") > (rollout["next_look_at"] or ""):
            return now
        assert time.monotonic() < deadline, f"no look was taken: {now}"
        time.sleep(0.05)


def started(house: House, model: str, rules: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A run of a spec with these release rules, accepted by the gate, its rollout begun."""
    run = house.release(model, release=rules, **changes)
    assert run["status"] == "accepted", run
    return run


def champion_of(house: House, model: str, candidates: Sequence[dict[str, Any]] = SHALLOW, **changes: Any) -> None:
    """A model whose first version serves."""
    started(house, model, DIRECT, candidates=list(candidates), **changes)
    assert house.client.served(model)["version"] == 1


def actions(house: House, model: str) -> list[str]:
    """What the ledger says was done, after it was proved whole."""
    assert house.client.verify_ledger(model)["intact"]
    return [entry["action"] for entry in house.client.ledger(model)]
