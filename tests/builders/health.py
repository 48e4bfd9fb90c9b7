"""Looks at a served model, as its record keeps them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.builders.control_api import World
from tests.builders.present import present
from tests.builders.profiles import LAYOUT, REFERENCE, report, window
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.targets import Held
from tidegate.domain.monitoring import health
from tidegate.domain.monitoring.findings import Window, moved
from tidegate.domain.monitoring.health import Findings, Health, HealthRecord, Policy, Trigger
from tidegate.domain.monitoring.quality import Quality, QualityOutcome
from tidegate.domain.profiles.profile import Profile
from tidegate.domain.serving.reporters import Reports

MODEL = "flight-delay"
HOUR = timedelta(hours=1)
POLICY = Policy(
    frozenset({Trigger.DRIFT}), every=None, cooldown=24 * HOUR, at_most=3, within=168 * HOUR, give_up_after=2
)
FINE = Findings(1, judged=True)
DESIGN = Estimate(0.75, 0.74, 0.76)
LIVE = Estimate(0.70, 0.69, 0.71)


def quality(outcome: QualityOutcome, live: Estimate | None) -> Quality:
    return Quality("roc_auc", outcome, f"roc_auc is {outcome}", 900, DESIGN, live)


def a_window(hours: int, profile: Profile, live: Quality) -> Window:
    drift = report(profile)
    counts = moved(LAYOUT, REFERENCE, profile, drift.features)
    return Window(hours, "2026-01-04-12", "2026-01-05-12", profile.rows, profile.rows, drift, live, counts=counts)


DAY = a_window(24, window(2000, 5, shift={"x3": 1.0}), quality(QualityOutcome.BEYOND, LIVE))
WEEK = a_window(168, window(5000, 6), quality(QualityOutcome.INSUFFICIENT_DATA, None))


def serving(world: World) -> None:
    """A model whose first version serves."""
    world.with_model()
    started = world.call("POST", f"/models/{MODEL}/runs", {"token": "first"})
    world.run_to_the_end(started.body["run"]["run_id"])


def look(
    world: World,
    findings: Findings,
    *,
    model: str = MODEL,
    windows: tuple[Window, ...] = (DAY, WEEK),
    held: tuple[Held, ...] = (),
    reports: Reports = Reports(),  # noqa: B008  frozen
) -> HealthRecord:
    """What monitoring does each hour."""
    world.clock.move(hours=1)
    now = world.clock.now()
    document = {
        "windows": [each.to_json() for each in windows],
        "targets": [each.to_json() for each in held],
        "outcomes": reports.to_json(),
    }
    record = health.look(world.health_records.record(model), findings, POLICY, model=model, under_way=False, now=now)
    key = world.verdicts.write(model, f"{now:%Y-%m-%d-%H}", document)
    summary = {
        "problem": "",
        "windows": [each.summary for each in windows],
        "missed": {each.target.name: each.sentence for each in held if each.missed},
        "outcomes": reports.to_json(),
    }
    world.health_records.save(replace(record, verdicts_key=key, summary=summary))
    return present(world.health_records.record(model))


TRIP_MODEL = "trip-delay"


def health_record(revision: int = 1, *, at: datetime, model: str = TRIP_MODEL, **more: Any) -> HealthRecord:
    about: dict[str, Any] = {"wanted": Trigger.QUALITY, "reasons": ("roc_auc fell from 0.8 to 0.6", "wind drifted")}
    return HealthRecord(model, revision, Health.DRIFTED, since=at, looked_at=at, **about | more)
