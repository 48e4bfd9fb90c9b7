"""An evaluation: every number the gate decides on, typed, and as it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

from tidegate.domain.evaluation.documents import EVALUATION
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.sections import Sections
from tidegate.kernel.typed import Stored, from_json, to_json

_GAIN = {"value": "estimate"}


@dataclass(frozen=True, slots=True)
class BaselineValue:
    """The non-ML rule, named for people ("group_rate by carrier, hour"), on the holdout."""

    rule: str
    estimate: Annotated[Estimate, Stored(flat={})]


@dataclass(frozen=True, slots=True)
class ChampionValue:
    """The serving version on the holdout. `estimate` is None when it cannot be scored, and `problem` says why.

    `seen_rows` counts holdout rows that the champion was trained on (None when its training period is not known): on
    those it has an advantage that it will not have on live traffic.
    """

    version: int
    estimate: Annotated[Estimate | None, Stored(flat={})]
    problem: str = ""
    seen_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported model is from scikit-learn's on the same rows.

    `max_difference` is absolute, and relative for values beyond 1: |a - b| / max(1, |b|). Of a regression `of_spread`
    is judged in its place: the largest difference beyond what float32 rounds, as a share of `spread`, the standard
    deviation of the rows' target without its tails, so that neither its unit nor one huge value changes anything. Both
    are None for classes, and in evaluations of regressions that older code wrote. `flips` counts rows on which the two
    give different labels; None for a regression, which gives none.
    """

    rows: int
    max_difference: float
    tolerance: float
    flips: int | None
    spread: float | None = None
    of_spread: float | None = None

    @property
    def judged(self) -> float:
        """The difference that the tolerance bounds."""
        return self.max_difference if self.of_spread is None else self.of_spread

    @property
    def unit(self) -> str:
        """What `judged` counts, as a suffix."""
        return "" if self.of_spread is None else " standard deviations of the target beyond rounding"


@dataclass(frozen=True, slots=True)
class LatencyMs:
    """Time to score a single row, in milliseconds, over `rows` rows after a warm-up."""

    p50: float
    p99: float
    rows: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every number the gate decides on. `metrics` holds all of the task's metrics; None where the rows define none. A
    check that decides on a section joins `gate.CHECKS`."""

    FORM: ClassVar = EVALUATION

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
    gain_over_baseline: Annotated[Estimate, Stored(name="differences.baseline", keys=_GAIN)]
    gain_over_champion: Annotated[Estimate | None, Stored(name="differences.champion", keys=_GAIN)]
    metrics: Mapping[str, Estimate | None]
    parity: Parity
    latency_ms: LatencyMs
    load_ms: float
    artifact_bytes: int
    peak_memory_mib: float
    sections: Sections = field(default_factory=Sections)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; an arm's estimate lies beside its other fields, gains are called differences."""
        return {**to_json(self), **self.FORM.mark()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises as `StoredForm.current` does."""
        return from_json(cls, cls.FORM.current(document))
