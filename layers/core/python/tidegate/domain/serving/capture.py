"""What is kept of every prediction: of which ones, with which inputs, and in what form. docs/captures.md is its page.

A request is handed over as a `Capture`: references only, so that it costs the caller nothing. All that takes time here
(drawing the sample, hiding columns, JSON, packing) is done after the response has left. On the inference path: standard
library only.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tidegate.kernel.documents import StoredForm

CAPTURE_RECORD = StoredForm("capture record")
MASK = "[masked]"
SENT_MASK = f'"{MASK}"'  # what a caller sent as that text: nobody hides a value from monitoring but people who may
HOUR = "%Y-%m-%d-%H"  # UTC; sorts as time does
UNANSWERED = "unanswered"  # the reason of a request that neither a version nor the fallback could answer


@dataclass(frozen=True, slots=True)
class ShadowAnswer:
    """What a second version said to the same request; its answers went nowhere else."""

    version: int
    predictions: Sequence[Mapping[str, Any]] = ()  # by row; empty when it failed
    latency_ms: float = 0.0
    error: str = ""
    cold: bool = False  # its artifact had to be opened first


@dataclass(frozen=True, slots=True)
class Capture:
    """One request and its answer.

    `version` is None when no model answered; `arm` is the side that the request belongs to (`routing.Arm`); `route` is
    the revision of the route that was followed; with `cold` an artifact had to be opened first, so `latency_ms` says
    nothing about the version; `instances` are the inputs as they were sent and `predictions` the answers, row by row,
    each with its `id`, and nothing else when nobody could answer; `violations` are the business rules that each row's
    score broke; `error` is the class of the fault for which the model's own answer was not used. `billed_ms` is what
    the function took for the request, as far as it is known when the record is written; 0: not at all.
    """

    model: str
    version: int | None
    arm: str
    reason: str
    route: int
    at: datetime
    latency_ms: float
    cold: bool
    request_id: str
    instances: Sequence[Mapping[str, Any]]
    predictions: Sequence[Mapping[str, Any]]
    violations: Sequence[Sequence[str]] = ()
    error: str = ""
    shadow: ShadowAnswer | None = None
    billed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class CapturePolicy:
    """What may be kept of a model's predictions.

    `sample` is the share of predictions; a column in `mask` keeps only whether it was missing; one in `drop` leaves no
    trace. With `hide_all` every input is masked. `personal` are the columns that the catalog declares as personal data,
    kept or not.
    """

    sample: float = 1.0
    mask: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    hide_all: bool = False
    personal: frozenset[str] = frozenset()

    def shows(self, column: str) -> bool:
        """Whether values of a column may be shown to people who ask about the model."""
        return not self.hide_all and column not in self.personal


UNKNOWN = CapturePolicy(hide_all=True)  # until the spec could be read


def policy_of(declared: Mapping[str, Any], personal: Iterable[str]) -> CapturePolicy:
    """The policy of a spec's `capture` part, as JSON, and the personal columns of its dataset.

    Personal columns are masked unless the spec names them: in `drop`, or in `keep`, which is somebody's decision.
    """
    mask, drop, keep = (frozenset(declared.get(name, ())) for name in ("mask", "drop", "keep"))
    named = frozenset(personal)
    return CapturePolicy(float(declared.get("sample", 1.0)), mask | (named - drop - keep), drop, personal=named)


def sampled(prediction_id: str, share: float) -> bool:
    """Whether a prediction is kept: by hash, so that a repeated answer is the same one and a larger share adds only."""
    return int.from_bytes(hashlib.sha256(prediction_id.encode()).digest()[:8]) < share * 2**64


def hour_of(at: datetime) -> str:
    """The partition a moment belongs to."""
    return at.astimezone(UTC).strftime(HOUR)


def records(capture: Capture, policy: CapturePolicy) -> Iterator[dict[str, Any]]:
    """One record for each kept prediction of a request; the same fields in each, null where there is nothing."""
    at = capture.at.astimezone(UTC)
    for row, prediction in enumerate(capture.predictions):
        prediction_id = str(prediction["id"])
        if not sampled(prediction_id, policy.sample):
            continue
        yield {
            "schema": CAPTURE_RECORD.schema,
            "id": prediction_id,
            "model": capture.model,
            "hour": hour_of(at),
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "version": capture.version,
            "arm": capture.arm,
            "reason": capture.reason,
            "route": capture.route,
            "request_id": capture.request_id,
            "rows": len(capture.predictions),
            "latency_ms": round(capture.latency_ms, 3),
            "billed_ms": round(_billed_ms(capture), 3),
            "cold": capture.cold,
            "inputs": _inputs(capture.instances[row], policy),
            **_outputs(prediction),
            "violations": list(capture.violations[row]) if capture.violations else [],
            "unusual": prediction.get("unusual", False),
            "fallback": prediction.get("fallback", False),
            "error": capture.error or None,
            "shadow": _shadow(capture.shadow, row),
            "sample": policy.sample,
        }


def line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of JSON; raises ValueError when it holds what JSON cannot."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _inputs(instance: Mapping[str, Any], policy: CapturePolicy) -> dict[str, Any]:
    return {
        name: MASK
        if value is not None and (policy.hide_all or name in policy.mask)
        else (SENT_MASK if value == MASK else value)
        for name, value in instance.items()
        if name not in policy.drop
    }


def _outputs(prediction: Mapping[str, Any]) -> dict[str, Any]:
    return {name: prediction.get(name) for name in ("label", "score", "probabilities")}


def _billed_ms(capture: Capture) -> float:
    """Without the shadow's time, which is its own version's; at least what is known to have been spent."""
    shadow_ms = capture.shadow.latency_ms if capture.shadow else 0.0
    return max(capture.billed_ms - shadow_ms, capture.latency_ms)


def _shadow(shadow: ShadowAnswer | None, row: int) -> dict[str, Any] | None:
    if shadow is None:
        return None
    answer = shadow.predictions[row] if shadow.predictions else {}
    about = {
        "version": shadow.version,
        "latency_ms": round(shadow.latency_ms, 3),
        "error": shadow.error or None,
        "cold": shadow.cold,
    }
    return about | _outputs(answer)
