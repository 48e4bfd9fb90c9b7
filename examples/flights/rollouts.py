"""A rollout on the local cloud, start to end: users ask, the clock is moved from look to look, evidence decides."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from examples.flights.traffic import Traffic, asked

if TYPE_CHECKING:
    from infra.local.cloud import LocalCloud
    from tidegate.cli.client import Client

FEWEST = 100  # requests before each look
ENOUGH = 620  # answers of its own by which a version without a fault is shown to be no worse
FURTHER = 150  # answers before the next look, when they were not enough
MOST_LOOKS = 40
LOOK_SECONDS = 120.0  # of real time; most looks take one or two
ROUTE_SECONDS = 4.0  # functions read the route again every 3 s
SLACK_SECONDS = 10.0  # the state machine waits a little longer than the record of the rollout says

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Course:
    """How a canary went.

    Attributes:
        rollout: as it was after the verdict.
        steps: [{"share_bp": basis points, "requests": sent meanwhile}], oldest first.
        moved_seconds: by so much the local cloud's clock was moved.
        seconds_to_champion: from the verdict that rolled the version back to the last request that it was asked for;
            None when it was promoted.
    """

    rollout: Document
    steps: list[dict[str, int]]
    answered_ok: int
    moved_seconds: float
    seconds_to_champion: float | None

    @property
    def requests(self) -> int:
        """Requests that users sent."""
        return sum(step["requests"] for step in self.steps)

    @property
    def path(self) -> str:
        """The shares that the version had, and what became of it."""
        end = "rolled back" if self.rollout["phase"] == "rolled_back" else "promoted"
        return f"{path_of(self.steps)} -> {end}"


def tried(
    cloud: "LocalCloud", client: "Client", users: Traffic, model: str, run_id: str, *, on_look: Callable[[str], None],
    enough: int = ENOUGH,
) -> Course:  # fmt: skip
    """Let users ask, and evidence be looked at, until a canary is promoted or rolled back.

    The last step goes on until the version has had `enough` requests.

    Raises:
        RuntimeError: a request was not answered, or there is no verdict after `MOST_LOOKS`.
    """
    rollout = client.rollout(model, run_id)
    version, ahead = rollout["version"], cloud.clock.offset_s
    steps: list[dict[str, int]] = []
    for _ in range(MOST_LOOKS):
        sent, begun = users.sent, len(asked(users.answers, version))
        last = rollout["step"] == rollout["steps"]
        goal = max(enough, begun + FURTHER) if last else begun + rollout["plan"]["min_requests"]
        on_look(f"version {version} answers {rollout['share_bp'] / 100:g} % of the requests ...")
        with users.flowing():
            while users.sent - sent < FEWEST or len(asked(users.answers, version)) < goal:
                users.demand_that_all_were_answered()
                time.sleep(0.1)
        cloud.settle()
        with users.flowing(connections=1):
            following, unknown_at = look(cloud, client, rollout)
        if following["phase"] == "rolled_back":
            with users.flowing():
                time.sleep(ROUTE_SECONDS)
        if not steps or steps[-1]["share_bp"] != rollout["share_bp"]:
            steps.append({"share_bp": rollout["share_bp"], "requests": 0})
        steps[-1]["requests"] += users.sent - sent
        rollout = following
        if rollout["phase"] != "canary":
            break
    else:
        raise RuntimeError(f"no verdict after {MOST_LOOKS} looks: {rollout['verdict']}")
    users.demand_that_all_were_answered()
    late = [answer.at - unknown_at for answer in asked(users.answers, version)]
    return Course(
        rollout=rollout,
        steps=steps,
        answered_ok=len(users.answers),
        moved_seconds=cloud.clock.offset_s - ahead,
        seconds_to_champion=max(0.0, *late) if rollout["phase"] == "rolled_back" else None,
    )


def after_probation(cloud: "LocalCloud", client: "Client", model: str, run_id: str) -> Document:
    """Let the probation of a promoted version end.

    Raises:
        RuntimeError: it does not after `MOST_LOOKS`.
    """
    rollout = client.rollout(model, run_id)
    for _ in range(MOST_LOOKS):
        if rollout["ended_at"]:
            return rollout
        cloud.settle()
        rollout, _ = look(cloud, client, rollout)
    raise RuntimeError(f"probation is not over after {MOST_LOOKS} looks")


def look(cloud: "LocalCloud", client: "Client", rollout: Document) -> tuple[Document, float]:
    """Move the clock to the first look that can end the step or the phase, and wait until it was taken.

    The clock moves in one jump. `cloud.advance` stops at every alarm in between, where looks would be taken in vain.

    Returns:
        The rollout after the look, and the last moment (time.monotonic) at which it was not known yet.

    Raises:
        RuntimeError: no look was taken in `LOOK_SECONDS`.
    """
    moments = [datetime.fromisoformat(rollout[name]).timestamp() for name in ("until", "next_look_at")]
    cloud.clock.move_to(max(moments) + SLACK_SECONDS)
    cloud.advance(0)
    unknown_at = begun = time.monotonic()
    while unknown_at - begun < LOOK_SECONDS:
        now = time.monotonic()
        found = client.rollout(rollout["model"], rollout["run_id"])
        if found["ended_at"] or found["next_look_at"] > rollout["next_look_at"]:
            return found, unknown_at
        unknown_at = now
        time.sleep(0.2)
    raise RuntimeError(f"no look was taken in {LOOK_SECONDS:.0f} s")


def path_of(steps: Sequence[Mapping[str, int]]) -> str:
    """`1 % of 523 requests ... 5 % of 204 ... 25 % of 311`: the shares of a canary's steps."""
    first, *rest = (f"{step['share_bp'] / 100:g} % of {step['requests']:,}" for step in steps)
    return " ... ".join([f"{first} requests", *rest])


def answering(entry: Mapping[str, Any]) -> str:
    """`2: 5 %, 1: 95 %`: which versions answer from a ledger's entry on."""
    weight = entry["weight_bp"]
    parts = [(entry["version"], weight), (entry["previous_version"], 10_000 - weight)]
    return ", ".join(f"{version or 'fallback'}: {part / 100:g} %" for version, part in parts if part)


def sentences(reason: str) -> list[str]:
    """The findings that a rollout's reason names, one for each metric."""
    found: list[str] = []
    for part in reason.removeprefix("passed its canary: ").split("; "):
        if part.startswith("difference "):
            found[-1] += f"; {part}"
        else:
            found.append(part)
    return found
