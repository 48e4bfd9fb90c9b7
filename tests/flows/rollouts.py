"""Live traffic beside a rollout, and the hand on the clock: what the flows of releases share."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.flows.conftest import SHALLOW, House, instances_of, wait_until

DIRECT: dict[str, Any] = {"steps": [], "probation_hours": 0}
"""Release rules of tests that are about something else: an accepted version is promoted at once."""

HALF: dict[str, Any] = {"steps": [50], "bake_minutes": 1, "look_seconds": 60, "deadline_hours": 1, "probation_hours": 0}
"""One step with half of the requests, which takes the fewest of them to a verdict."""

_RATES = ("errors", "timeouts", "fallbacks", "violations")
QUICK: dict[str, Any] = HALF | {
    "demands": {name: {"margin": 0.15, "target": 0.15} for name in _RATES}
    | {"slow": {"margin": 0.3, "target": 0.3}, "scores": {"margin": 0.5}}
}
"""As little as that is shown by some hundred requests; what counts as worse stays as it is by default."""

BOOSTED = [{"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 40}}]
WEATHER_STATION = {"temp", "dewp", "humid", "wind_speed", "visib"}
BROKEN_STATION: dict[str, Any] = {"temp": -50.0, "dewp": -60.0, "humid": 100.0, "wind_speed": 150.0, "visib": 0.0}

Instances = list[dict[str, Any]]


@dataclass
class Traffic:
    """An application that asks a model, and counts what it gets. It never asks twice for one answer.

    `make` gives the instances of the n-th request. Every one of them is valid, so every answer must be a 200.
    """

    house: House
    model: str
    make: Callable[[int], Instances]
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    answered: list[tuple[float, int | None]] = field(default_factory=list)  # when, and by which version

    def send(self, count: int, *, connections: int = 4) -> None:
        """So many requests, and wait for their answers."""
        first, self.sent = self.sent, self.sent + count
        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(self._ask, range(first, self.sent)))

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """One request after the other, for as long as the block lasts."""
        stopping = threading.Event()

        def ask() -> None:
            while not stopping.wait(0.02):
                self.send(1, connections=1)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            stopping.set()
            asking.join()

    def _ask(self, number: int) -> None:
        try:
            body = json.dumps({"instances": self.make(number)}).encode()
            answer = self.house.asked(f"/models/{self.model}/predict", body)
        except Exception as error:  # noqa: BLE001  counted: any answer but a good one fails the test
            self.failures.append(f"request {number}: {error!r}")
            return
        if answer.status != 200:
            self.failures.append(f"request {number}: {answer.status} {answer.data.decode()}")
            return
        said = json.loads(answer.data)
        self.answered.append((time.monotonic(), said["version"]))
        self.reasons[said["reason"]] += 1

    def demand_that_all_were_answered(self) -> None:
        """Not one request was lost or refused."""
        assert not self.failures, (len(self.failures), self.failures[:3])
        assert len(self.answered) == self.sent > 0


def june(house: House, model: str, rows: int = 1, **said: Any) -> Callable[[int], Instances]:
    """Requests of so many June flights each; `said` is put over each instance."""
    flights = house.flights[house.flights["month"] == 6].sample(2_000, random_state=5)
    names = [feature["name"] for feature in house.spec(model)["features"]]
    instances = [instance | said for instance in instances_of(flights, names)]
    return lambda number: [instances[(rows * number + row) % len(instances)] for row in range(rows)]


def started(house: House, model: str, rules: dict[str, Any], /, **changes: Any) -> dict[str, Any]:
    """A run of a spec with these release rules, accepted by the gate, its rollout begun."""
    run = house.release(model, release=rules, **changes)
    assert run["status"] == "accepted", run
    return run


def champion_of(house: House, model: str, candidates: Sequence[dict[str, Any]] = SHALLOW, **changes: Any) -> None:
    """A model whose first version serves."""
    started(house, model, DIRECT, candidates=list(candidates), **changes)
    assert house.client.served(model)["version"] == 1


def follow(
    house: House, traffic: Traffic | None, run: dict[str, Any], *, per_look: int = 150, looks: int = 30,
    until: Callable[[dict[str, Any]], bool] = lambda rollout: bool(rollout["ended_at"]),
) -> dict[str, Any]:  # fmt: skip
    """Send requests and let the release look at them, again and again, until it is over."""
    rollout = house.client.rollout(run["model"], run["run_id"])
    for _ in range(looks):
        if until(rollout):
            return rollout
        if traffic:
            traffic.send(per_look)
        rollout = look(house, run)
    raise AssertionError(f"no end after {looks} looks: {rollout}")


def look(house: House, run: dict[str, Any]) -> dict[str, Any]:
    """Let the release look at all that was served so far; where its rollout is then."""
    return next_look(house, arrived(house, run))


def next_look(house: House, rollout: dict[str, Any]) -> dict[str, Any]:
    """Let the release look at what has arrived; where the rollout is then."""
    house.cloud.advance(60)

    def looked() -> dict[str, Any] | None:
        now = house.client.rollout(rollout["model"], rollout["run_id"])
        return now if now["ended_at"] or now["next_look_at"] > rollout["next_look_at"] else None

    found: dict[str, Any] = wait_until(looked)
    return found


def arrived(house: House, run: dict[str, Any]) -> dict[str, Any]:
    """The rollout once its execution waits, and what was captured has arrived: whatever comes next, comes by time."""
    waits(house, run, "WaitStateEntered")
    assert house.cloud.settle()
    return house.client.rollout(run["model"], run["run_id"])


def waits(house: House, run: dict[str, Any], event: str) -> None:
    """Wait until this is the last thing that the run's execution did."""
    wait_until(lambda: events(house, run)[-1] == event)


def events(house: House, run: dict[str, Any]) -> list[str]:
    """What the run's execution did, oldest first."""
    history = house.states.get_execution_history(executionArn=run["execution"], includeExecutionData=False)
    return [event["type"] for event in history["events"]]


def ended(house: House, run: dict[str, Any]) -> dict[str, Any]:
    """The run's rollout once it is over."""

    def over() -> dict[str, Any] | None:
        rollout = house.client.rollout(run["model"], run["run_id"])
        return rollout if rollout["ended_at"] else None

    found: dict[str, Any] = wait_until(over)
    return found


def actions(house: House, model: str) -> list[str]:
    """What the ledger says was done, after it was proved whole."""
    assert house.client.verify_ledger(model)["intact"]
    return [entry["action"] for entry in house.client.ledger(model)]


def serves_alone(house: House, model: str, version: int) -> bool:
    """Whether a version answers every request."""
    shares: list[dict[str, Any]] = house.client.model(model)["serves"]
    return shares == [{"version": version, "weight_bp": 10_000}]


def monitored(house: House, model: str) -> dict[str, Any]:
    """The health record after the next hourly look."""
    house.cloud.settle()
    before = (house.client.model_health(model)["health"] or {}).get("looked_at", "")
    house.cloud.advance(3_600)
    wait_until(lambda: (house.client.model_health(model)["health"] or {}).get("looked_at", "") > before, 90)
    record: dict[str, Any] = house.client.model_health(model)["health"]
    return record
