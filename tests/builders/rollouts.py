"""A rollout, decision by decision."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.builders.registry import numbered
from tidegate.domain.registry.ledger import Cause, LedgerEntry
from tidegate.domain.registry.route import FallbackRef, Route
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout import changes, rollout
from tidegate.domain.rollout.canary import DEMANDS, ArmCounts, Look, Metric, Policy
from tidegate.domain.rollout.changes import RouteChange
from tidegate.domain.rollout.rollout import Approval, AtDeadline, Decision, Evidence, Phase, Plan, Rollout, Step

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACTOR = "arn:aws:states:eu-central-1:123456789012:execution:tidegate-dev-release:r-3"
PEOPLE = "arn:aws:sts::123456789012:assumed-role/{}/{}"
ANN, EVE = PEOPLE.format("tidegate-scientist", "ann"), PEOPLE.format("tidegate-approver", "eve")
MADE_BY = {ANN: "requested the training", "arn:aws:iam::123456789012:user/bob": "wrote its spec"}
BY_HAND = Cause(START, "arn:aws:iam::123456789012:user/olga", "I know better")
ONLY_ERRORS = Policy(tuple(demand for demand in DEMANDS if demand.metric is Metric.ERRORS))
PLAN = Plan(
    approval_seconds=None,
    shadow_seconds=0,
    steps_bp=(100, 2_500),
    bake_seconds=600,
    min_requests=10,
    look_seconds=60,
    deadline_seconds=6 * 3600,
    at_deadline=AtDeadline.ROLL_BACK,
    probation_seconds=3600,
    holdback_bp=500,
    slow_ms=50,
    demands=ONLY_ERRORS,
)
ASKED = replace(PLAN, approval_seconds=24 * 3600)


def look(requests: int, errors: int = 0, *, champion: int = 5_000, champion_errors: int | None = None) -> Look:
    """Arms that did so much; the champion fails in one of 200 requests unless it is said."""
    theirs = champion // 200 if champion_errors is None else champion_errors
    return Look(ArmCounts(requests, errors=errors), ArmCounts(champion, errors=theirs))


SHOWN_FINE, SHOWN_BAD, LITTLE, NOTHING = look(5_000, 25), look(5_000, 200), look(20), look(0, champion=0)


@dataclass
class OneRelease:
    """A registry with the checks of its transactions, and a clock that is moved by hand. Version 3 is on its way in,
    2 serves and 1 served before it, unless the model is new."""

    plan: Plan = PLAN
    new_model: bool = False
    now: datetime = START
    route: Route | None = None
    versions: dict[int, Version] = field(default_factory=dict)
    entries: list[LedgerEntry] = field(default_factory=list)
    rollout: Rollout | None = None

    def __post_init__(self) -> None:
        asked = self.plan.approval_seconds is not None
        self.versions = {number: numbered(number) for number in (1, 2)}
        self.versions[3] = replace(
            numbered(3), needs_approval=asked, fallback=FallbackRef("runs/r-3/fallback.json", "f3", "r-3")
        )
        if not self.new_model:
            for number in (1, 2):
                self.change(changes.promote(self.route, self.versions[number], BY_HAND))

    @property
    def version(self) -> Version:
        return self.versions[3]

    @property
    def at(self) -> Rollout:
        assert self.rollout is not None
        return self.rollout

    @property
    def routed(self) -> Route:
        """The route, where something has been served."""
        assert self.route is not None
        return self.route

    @property
    def approval(self) -> Approval:
        """Of a rollout that people were asked about."""
        assert self.at.approval is not None
        return self.at.approval

    @property
    def last(self) -> LedgerEntry:
        return self.entries[-1]

    def change(self, change: RouteChange | None) -> None:
        if change is None:
            return
        assert change.route.revision == (self.route.revision if self.route else 0) + 1 == change.entry.seq
        for number, status in change.statuses.items():
            self._set(number, status)
        self.route = change.route
        self.entries.append(change.entry)

    def write(self, step: Step) -> Rollout:
        assert step.rollout.revision == (self.rollout.revision if self.rollout else 0) + 1
        self.change(step.change)
        self.rollout = step.rollout
        if step.note:
            if step.note.status:
                self._set(3, step.note.status)
            if step.note.approved_by:
                self.versions[3] = replace(self.version, approved_by=step.note.approved_by)
        return step.rollout

    def begin(self, **changes: Any) -> Rollout:
        known = {"judged_against": None if self.new_model else 2, "excluded": MADE_BY, "score_edges": ()}
        said = known | {"actor": ACTOR, "now": self.now, "route": self.route} | changes
        return self.write(rollout.begin(self.version, self.plan, **said))

    def later(self, minutes: float, *looks: Look, problem: str = "") -> Rollout:
        self.now += timedelta(minutes=minutes)
        evidence = Evidence(looks, {"12": tuple(f"o{number}" for number in range(len(looks)))} if looks else {})
        return self.write(
            rollout.advance(
                self.at, route=self.route, version=self.version, evidence=evidence, now=self.now, problem=problem
            )
        )

    def decide(self, decision: Decision = Decision.APPROVE, *, by: str = EVE, **changes: Any) -> Step | None:
        hashes: dict[str, Any] = {
            "artifact_sha256": self.version.artifact_sha256,
            "report_sha256": self.version.report_sha256,
        }
        said = hashes | {"reason": "I have read it", "now": self.now} | changes
        step = rollout.decide(self.at, decision, by=by, **said)
        if step:
            self.write(step)
        return step

    def by_hand(self, action, *arguments) -> None:
        self.change(action(self.route, *arguments, replace(BY_HAND, at=self.now)))

    def until_monitored(self) -> Rollout:
        self.begin()
        while self.at.phase is not Phase.PROBATION:
            self.later(10, SHOWN_FINE)
        return self.at

    def _set(self, number: int, status: VersionStatus) -> None:
        current = self.versions[number].status
        assert not current.closed or current is status, f"version {number} is {current} and would become {status}"
        self.versions[number] = replace(self.versions[number], status=status)
