"""A served model and its traffic, hour by hour."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tests.builders.registry import numbered
from tests.builders.reported import reported
from tests.builders.specs import spec
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.monitoring.costs import Prices
from tidegate.domain.monitoring.hours import Hour
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.profile import reference as profiled
from tidegate.domain.registry.ledger import Cause
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.domain.rollout.changes import promote
from tidegate.domain.serving.capture import Capture, CapturePolicy, hour_of, records
from tidegate.domain.training.contracts import serving_contract
from tidegate.kernel.metrics.registry import find
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import Table
from tidegate.messages import RunRef
from tidegate.steps.monitoring.monitor import Looked, monitor
from tidegate.testing.parts import InMemoryParts
from tidegate.testing.platform import FixedClock

NOW = datetime(2026, 1, 5, 12, 10, tzinfo=UTC)
MODEL = "trip-delay"
LINES = ["blue", "green", "red"]
REPORTER = "arn:aws:iam::123456789012:user/outcomes"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PRICES = Prices(gb_second=0.001, request=0.0, gb_month=0.0, memory_mb=1024)  # a second costs a tenth of a cent


@dataclass
class Traffic:
    """Trips: late the likelier the more wind there is, which the model knows exactly unless `flip` turns outcomes."""

    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    made: int = 0

    def rows(self, count: int, *, wind: float = 20, lines: Any = LINES, flip: float = 0.0) -> dict[str, Any]:
        winds = self.chance.normal(wind, 8, count).round(3)
        score = 1 / (1 + np.exp(-(winds - 20) / 4))
        late = self.chance.random(count) < score
        return {
            "wind": winds,
            "line": self.chance.choice(lines, count),
            "score": score,
            "late": late ^ (self.chance.random(count) < flip),
        }

    def reference(self, **changes: Any) -> Reference:
        rows = self.rows(8_000)
        contract = serving_contract(SPEC, classes=(False, True), positive=1, learned={"line": LINES})
        label, target = (rows["score"] >= 0.5).astype(int), rows["late"].astype(int)
        table = Table({"wind": rows["wind"], "line": rows["line"]})
        layout, profile = profiled(contract, table, score=rows["score"], label=label, target=target)
        value = find("roc_auc").value(target, np.stack([1 - rows["score"], rows["score"]], axis=1))
        made = Reference(
            layout=layout,
            profile=profile,
            importances={"wind": 0.3, "line": 0.1},
            metric="roc_auc",
            design=Estimate(value, value - 0.01, value + 0.01),
            loss_by_score=None,
            task="binary",
            classes=(False, True),
            positive=1,
            threshold=0.5,
        )
        return replace(made, **changes)


def outcome_of(prediction: str, outcome: Any, *, at: datetime = NOW, reporter: str = REPORTER) -> dict[str, Any]:
    """What is kept of a reported outcome, as far as it is read."""
    time = at.isoformat()
    return {"schema": 2, "id": prediction, "time": time, "reported": time, "outcome": outcome, "reporter": reporter}


FEATURES = [{"name": "wind", "kind": "numeric"}, {"name": "line", "kind": "categorical"}]
BASELINE = {"kind": "prior"}
SPEC = spec(features=FEATURES, baseline=BASELINE)


class Monitored(InMemoryParts):
    """A model with a champion, and what it was asked."""

    def __init__(
        self,
        *,
        reference: Reference | bytes | None = None,
        served: bool = True,
        value: dict[str, Any] | None = None,
        targets: dict[str, Any] | None = None,
        sensitive_columns: list[str] | None = None,
        **monitoring: Any,
    ) -> None:
        demanded = {"targets": targets or {}, "sensitive": sensitive_columns or []}
        self.spec = spec(features=FEATURES, baseline=BASELINE, monitoring=monitoring, value=value, **demanded)
        super().__init__(clock=FixedClock(NOW), prices=PRICES)
        self.world, self.now = Traffic(), NOW
        self.registry.apply(self.spec, author="ann", at=NOW - 30 * DAY)
        if served:
            self.serve("r-1", reference or self.world.reference())

    def serve(self, run_id: str, reference: Reference | bytes | None, *, at: datetime = NOW - 20 * DAY) -> None:
        """A version that is promoted at once."""
        self.request(run_id, at=at)
        data = reference if isinstance(reference, bytes) else reference and json.dumps(reference.to_json()).encode()
        files = {RunFile.REFERENCE: data} if data else {}
        report = reported(RunRef(model=MODEL, run_id=run_id), self.artifacts, files)
        version = replace(
            numbered(0), model=MODEL, run_id=run_id, created_at=at, spec_digest=self.spec.digest, **report
        )
        version = self.registry.register(version, at=at)
        change = promote(self.registry.route(MODEL), version, Cause(at, "ann", "it is better"))
        assert change is not None
        self.registry.change(change)

    def request(self, run_id: str, at: datetime = NOW - DAY) -> None:
        run = Run(MODEL, run_id, RunStatus.REQUESTED, self.spec.digest, "trips", "ann", at, seed=1)
        self.registry.request(run, lease_until=at)

    def ask(
        self,
        count: int = 1_000,
        *,
        ago: timedelta = 2 * HOUR,
        labelled: float = 0.0,
        key: str = "",
        change: dict[str, Any] | None = None,
        instance: dict[str, Any] | None = None,
        sample: float = 1.0,
        **world: Any,
    ) -> list[dict[str, Any]]:
        """An object of captures, and feedback on the first so many of them."""
        rows, made, at = self.world.rows(count, **world), [], self.clock.now() - ago
        self.world.made += 1
        for place in range(count):
            score = float(rows["score"][place])
            answer = {"id": f"p{self.world.made}-{place}", "label": score >= 0.5, "score": score}
            inputs = {"wind": float(rows["wind"][place]), "line": str(rows["line"][place])} | (instance or {})
            capture = Capture(
                model=MODEL,
                version=1,
                arm="champion",
                reason="champion",
                route=1,
                at=at,
                latency_ms=1.0,
                cold=False,
                request_id=f"q{place}",
                instances=[inputs],
                predictions=[answer | {"probabilities": {"true": score, "false": 1 - score}}],
            )
            made += list(records(replace(capture, **(change or {})), CapturePolicy()))
        made = [record | {"sample": sample} for record in made]
        self.hours.capture(made, key=key or f"captures-{self.world.made}")
        known = round(labelled * count)
        if known:
            self.report(made[:known], [bool(late) for late in rows["late"][:known]])
        return made

    def report(self, made: list[dict[str, Any]], outcomes: list[Any], at: datetime = NOW, by: str = REPORTER) -> None:
        pairs = zip(made, outcomes, strict=True)
        said = [outcome_of(record["id"], outcome, at=at, reporter=by) for record, outcome in pairs]
        self.hours.report(MODEL, made[0]["hour"], said)

    def look(self, now: datetime | None = None) -> Looked:
        return self.step(monitor, MODEL, now or self.now)

    def verdict(self) -> dict[str, Any]:
        record = self.health_records.record(MODEL)
        assert record is not None
        return self.verdicts.read(record.verdicts_key)

    def window(self, hours: int = 24) -> dict[str, Any]:
        (found,) = [window for window in self.verdict()["windows"] if window["hours"] == hours]
        return dict(found)

    def hour(self, ago: timedelta = 2 * HOUR, version: int = 1) -> Hour:
        return Hour.from_json(json.loads(self.hours.documents[MODEL, version, hour_of(self.clock.now() - ago)]))
