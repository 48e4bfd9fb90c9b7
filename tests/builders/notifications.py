"""What is worth announcing."""

from datetime import UTC, datetime, timedelta

from tidegate.domain.monitoring import health
from tidegate.domain.monitoring.health import Findings, Health, HealthRecord, Trigger
from tidegate.domain.registry.ledger import ALL_BP, LedgerEntry
from tidegate.domain.registry.run import Run, RunStatus

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ENTRY = LedgerEntry("trip-delay", 7, AT, "olga", "promote", 3, 2, ALL_BP, "better", run_id="r-3", approved_by="eve")
RUN = Run("trip-delay", "r-3", RunStatus.RUNNING, "d", "trips", "ann", AT, seed=1, dataset_version="v", stage="gate")
STEADY = HealthRecord("trip-delay", 4, Health.STEADY, since=AT, looked_at=AT, version=3)
WATCHED = health.Policy(
    frozenset({Trigger.DRIFT}), every=None, cooldown=DAY, at_most=3, within=7 * DAY, give_up_after=2
)
DRIFT = Findings(3, judged=True, drift=("2 of 10 features have drifted",))


def looked(before: HealthRecord | None, findings: Findings, hours: int = 1) -> HealthRecord:
    at = before.looked_at if before else AT
    return health.look(before, findings, WATCHED, model="trip-delay", under_way=False, now=at + timedelta(hours=hours))
