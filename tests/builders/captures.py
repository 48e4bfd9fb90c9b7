"""Captured predictions, and what arms of a rollout did by them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tidegate.domain.rollout import canary
from tidegate.domain.rollout.rollout import AtDeadline, Phase, Plan, Rollout
from tidegate.domain.serving.capture import (
    Capture,
    CapturePolicy,
    records,
)

MIDNIGHT = datetime(2026, 1, 5, 23, 59, 59, 123_456, tzinfo=UTC)


def capture(rows: int = 1, **changes: Any) -> Capture:
    made = Capture(
        model="flight-delay",
        version=3,
        arm="champion",
        reason="champion",
        route=5,
        at=MIDNIGHT,
        latency_ms=1.23456,
        cold=False,
        request_id="request-1",
        instances=[{"carrier": "UA", "hour": 7, "tailnum": "N1"} for _ in range(rows)],
        predictions=[
            {"id": f"id-{row}", "label": True, "score": 0.75, "probabilities": {"true": 0.75, "false": 0.25}}
            for row in range(rows)
        ],
    )
    return replace(made, **changes)


AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
SLOW_MS = 50.0
EDGES = (0.2, 0.5, 0.8)
EVERYTHING = CapturePolicy()
number = itertools.count()


def rollout(
    phase: Phase = Phase.CANARY, *, revisions: tuple[int, ...] = (5,), edges: tuple[float, ...] = EDGES, **more: Any
) -> Rollout:
    plan = Plan(
        approval_seconds=None,
        shadow_seconds=0,
        steps_bp=(500, 5000),
        bake_seconds=600,
        min_requests=10,
        look_seconds=60,
        deadline_seconds=86_400,
        at_deadline=AtDeadline.ROLL_BACK,
        probation_seconds=86_400,
        holdback_bp=500,
        slow_ms=SLOW_MS,
        demands=canary.Policy(),
    )
    return Rollout(
        model="flight-delay",
        run_id="r-1",
        version=4,
        revision=3,
        phase=phase,
        plan=plan,
        actor="arn:aws:states:::execution:r-1",
        judged_against=3,
        began_at=AT,
        since=AT,
        lease_until=AT,
        score_edges=edges,
        route_revisions=revisions,
        **more,
    )


def asked(rows: int = 1, *, scores: Sequence[float] | None = None, **changes: Any) -> Capture:
    """A request of its own to the candidate, answered by it."""
    request = f"request-{next(number)}"
    given_scores = scores or [0.6] * rows
    predictions = [{"id": f"{request}-{row}", "score": given_scores[row]} for row in range(rows)]
    base = {"arm": "candidate", "reason": "candidate", "version": 4, "latency_ms": 10.0, "predictions": predictions}
    return capture(rows, request_id=request, **{**base, **changes})


def lines(captures: Iterable[Capture], policy: CapturePolicy = EVERYTHING) -> list[dict[str, Any]]:
    return [record for each in captures for record in records(each, policy)]


def sure(**probabilities: float) -> dict[str, Any]:
    """Changes of a capture: its one row has these probabilities."""
    answer = {"id": f"id-{next(number)}", "label": "x", "score": max(probabilities.values())}
    return {"predictions": [answer | {"probabilities": probabilities}]}


def feedback(prediction_id: str, outcome: Any, *, at: datetime = AT) -> dict[str, Any]:
    time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    moments = {"time": time, "reported": time}
    by = {"reporter": "arn:aws:iam::123456789012:user/outcomes", "correction": False}
    return {"schema": 2, "id": prediction_id, "model": "flight-delay", **moments, "outcome": outcome, **by}
