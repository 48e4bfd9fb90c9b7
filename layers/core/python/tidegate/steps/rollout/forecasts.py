"""How long a release of a model would take, from what monitoring saw of its traffic last."""

from typing import Any

from tidegate.domain.rollout.forecast import Lately, forecast
from tidegate.domain.training.contracts import rollout_plan
from tidegate.kernel.errors import NotFoundError
from tidegate.ports.monitoring import HealthRecords, Verdicts
from tidegate.spec.model import ModelSpec


def expected(spec: ModelSpec, *, health_records: HealthRecords, verdicts: Verdicts) -> dict[str, Any] | None:
    """The forecast for a version of this spec; None before monitoring has seen traffic of the model's champion, and
    where the spec has no canary. Raises SpecInvalidError as `rollout_plan`."""
    record = health_records.record(spec.name)
    if record is None or record.version is None or not record.verdicts_key:
        return None
    try:
        seen = verdicts.read(record.verdicts_key).get("lately")
    except (NotFoundError, ValueError):  # expired, or broken
        return None
    traffic = Lately.from_json(seen).traffic(spec.targets.latency_p99_ms, spec.capture.sample) if seen else None
    found = forecast(rollout_plan(spec), traffic) if traffic else None
    return found.to_json() if found else None
