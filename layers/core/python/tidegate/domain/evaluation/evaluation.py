"""What an evaluation says of a version: every number the gate decides on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tidegate.domain.evaluation.estimate import Estimate


@dataclass(frozen=True, slots=True)
class BaselineValue:
    """The non-ML rule, named for people ("group_rate by carrier, hour"), on the holdout."""

    rule: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class ChampionValue:
    """The serving version on the holdout. `estimate` is None when it cannot be scored, and `problem` says why.

    `seen_rows` counts holdout rows that the champion was trained on (None when its training period is not known): on
    those it has an advantage that it will not have on live traffic.
    """

    version: int
    estimate: Estimate | None
    problem: str = ""
    seen_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported model is from scikit-learn's on the same rows.

    Differences are absolute, and relative for values beyond 1 (regression): |a - b| / max(1, |b|). `flips` counts rows
    on which the two give different labels; None for a regression, which gives none.
    """

    rows: int
    max_difference: float
    tolerance: float
    flips: int | None


@dataclass(frozen=True, slots=True)
class LatencyMs:
    """Time to score a single row, in milliseconds, over `rows` rows after a warm-up."""

    p50: float
    p99: float
    rows: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every number the gate decides on. `metrics` holds all of the task's metrics; None where the rows define none.

    `sections` is where later parts of an evaluation go (slices, fairness, calibration, explanations), each under its
    own name and as plain JSON; a check that decides on one joins `gate.CHECKS`.
    """

    metric: str
    higher_is_better: bool
    confidence: float
    resamples: int
    undefined_resamples: int
    resample_by: str
    rows: int
    clusters: int
    candidate: Estimate
    baseline: BaselineValue
    champion: ChampionValue | None
    gain_over_baseline: Estimate
    gain_over_champion: Estimate | None
    metrics: Mapping[str, Estimate | None]
    parity: Parity
    latency_ms: LatencyMs
    load_ms: float
    artifact_bytes: int
    peak_memory_mib: float
    sections: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; an arm's estimate lies beside its other fields, gains are called differences."""
        document = asdict(self)
        for name in ("baseline", "champion"):
            if document[name] is not None:
                document[name] |= document[name].pop("estimate") or {"value": None, "low": None, "high": None}
        gains = {name: document.pop(f"gain_over_{name}") for name in ("baseline", "champion")}
        document["differences"] = {
            name: gain and {"estimate": gain["value"], "low": gain["low"], "high": gain["high"]}
            for name, gain in gains.items()
        }
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        given = dict(document)
        differences = given.pop("differences")
        champion = given.pop("champion")
        baseline = given.pop("baseline")
        return cls(
            **given
            | {
                "candidate": Estimate(**given["candidate"]),
                "baseline": BaselineValue(baseline["rule"], _read_estimate(baseline)),
                "champion": champion
                and ChampionValue(
                    champion["version"],
                    None if champion["value"] is None else _read_estimate(champion),
                    champion["problem"],
                    champion["seen_rows"],
                ),
                "gain_over_baseline": _read_gain(differences["baseline"]),
                "gain_over_champion": differences["champion"] and _read_gain(differences["champion"]),
                "metrics": {name: each and Estimate(**each) for name, each in given["metrics"].items()},
                "parity": Parity(**given["parity"]),
                "latency_ms": LatencyMs(**given["latency_ms"]),
            }
        )


def _read_estimate(document: Mapping[str, Any]) -> Estimate:
    return Estimate(document["value"], document["low"], document["high"])


def _read_gain(document: Mapping[str, Any]) -> Estimate:
    return Estimate(document["estimate"], document["low"], document["high"])
