"""The sections of an evaluation, as they are stored: each is measured by the module of its name.

docs/evaluation.md says what they mean; docs/schemas/evaluation.json is generated from these classes. Nothing here needs
numpy, so that the command line reads them too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from tidegate.domain.evaluation.documents import SLICES_AND_GROUPS
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.kernel.typed import Stored, from_json, to_json

Scalar = bool | int | float | str
_OMIT = Stored(omit=True)
_FLAT = Stored(flat={})
_LOSS = Stored(flat={"value": "drop"})


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows of similar scores, from `low` to `high`, and the rate that came true."""

    low: float
    high: float
    rows: int
    mean_score: float
    rate: Annotated[Estimate, Stored(flat={"value": "rate", "low": "rate_low", "high": "rate_high"})]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether probabilities are what they say."""

    bins: tuple[CalibrationBin, ...]
    ece: Estimate
    ece_uncorrected: float
    brier: Estimate


@dataclass(frozen=True, slots=True)
class Curves:
    """Points of the ROC curve [false positive rate, true positive rate] and of [recall, precision]."""

    roc: tuple[tuple[float, ...], ...]
    pr: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Worth:
    """What 1,000 decisions are worth at the threshold, at 0.5, and at each of [threshold, worth]."""

    value_per_1000: Estimate
    at_default: Estimate
    currency: str
    curve: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The score from which the positive class is answered; `worth` is absent where decisions have none."""

    value: float
    chosen_by: Literal["default", "spec", "value"]
    worth: Annotated[Worth | None, Stored(flat={}, omit=True)] = None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Rows by true class and answer, and each class's recall and precision; None for a share of no rows."""

    classes: tuple[Scalar, ...]
    counts: tuple[tuple[int, ...], ...]
    recall: tuple[Estimate | None, ...]
    precision: tuple[Estimate | None, ...]


@dataclass(frozen=True, slots=True)
class ResidualHistogram:
    """The middle 99 % of the residuals; `below` and `above` count the rest."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0


@dataclass(frozen=True, slots=True)
class ResidualGroup:
    """Residuals of rows with similar predictions, from `low` to `high`."""

    low: float
    high: float
    rows: int
    mean: float
    p05: float
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of the outcomes that lie in the prediction's interval, beside the level that was asked for."""

    level: float
    coverage: Estimate
    width: float


@dataclass(frozen=True, slots=True)
class Residuals:
    """How a regression errs; `interval` is None where none is asked for."""

    histogram: ResidualHistogram
    by_prediction: tuple[ResidualGroup, ...]
    interval: Coverage | None = None


@dataclass(frozen=True, slots=True)
class Importance:
    """How much worse the metric is when the feature is shuffled."""

    feature: str
    loss: Annotated[Estimate, _LOSS]


@dataclass(frozen=True, slots=True)
class Missing:
    """What is lost when every row lacks the feature. Neither number is there where requests must have it; `unscored`
    counts rows without a score, where there are some."""

    feature: str
    allowed: bool
    unscored: Annotated[int | None, _OMIT] = None
    loss: Annotated[Estimate | None, Stored(flat={"value": "drop"}, omit=True)] = None


@dataclass(frozen=True, slots=True)
class Noise:
    """What is lost when all numbers are off by so many standard deviations."""

    sd: float
    loss: Annotated[Estimate, _LOSS]


@dataclass(frozen=True, slots=True)
class WorstCase:
    """How far the feature alone moves a score over the values between two ends."""

    feature: str
    lowest: Annotated[float, Stored(name="from")]
    highest: Annotated[float, Stored(name="to")]
    rows: int
    mean_change: float
    largest_change: float


@dataclass(frozen=True, slots=True)
class Robustness:
    """What is lost when inputs are missing, inexact or extreme."""

    missing: tuple[Missing, ...] = ()
    noise: tuple[Noise, ...] = ()
    worst_case: tuple[WorstCase, ...] = ()


@dataclass(frozen=True, slots=True)
class DependencePoint:
    """Mean score when all rows have this value, which so many training rows have."""

    at: Scalar
    mean: Annotated[Estimate, Stored(flat={"value": "mean"})]
    rows: int


@dataclass(frozen=True, slots=True)
class Dependence:
    """Partial dependence on a feature; of several classes, the score is that of `class_name`."""

    feature: str
    kind: str
    points: tuple[DependencePoint, ...]
    class_name: Annotated[Scalar | None, Stored(name="class", omit=True)] = None


@dataclass(frozen=True, slots=True)
class Flips:
    """Share of the rows whose decision changes with the column alone; or why it cannot be changed."""

    column: str
    problem: Annotated[str | None, _OMIT] = None
    values: Annotated[tuple[Scalar, ...] | None, _OMIT] = None
    rows: Annotated[int | None, _OMIT] = None
    changed: Annotated[Estimate | None, _OMIT] = None


@dataclass(frozen=True, slots=True)
class Blamed:
    """Share of the unusual rows in which the feature stands out most."""

    feature: str
    share: float


@dataclass(frozen=True, slots=True)
class GuardMetric:
    """The metric on parts of the holdout; None where they do not define it."""

    unusual: Estimate | None
    unusual_by_fallback: Estimate | None
    usual: Estimate | None


@dataclass(frozen=True, slots=True)
class Guard:
    """What the input guard does on the holdout."""

    share: float
    answer: str
    threshold: float
    holdout_rows: int
    unusual_rows: int
    unusual: Estimate
    features: tuple[Blamed, ...]
    metric: GuardMetric


@dataclass(frozen=True, slots=True)
class FallbackValue:
    """The fallback on the holdout, and what the candidate gains over it."""

    rule: str
    estimate: Annotated[Estimate, _FLAT]
    gain: Estimate


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A business rule, and the rows on which either breaks it. `fallback_score` is one with which the fallback does, on
    these rows or for a group that they do not have."""

    name: str
    when: str | None
    require: str
    candidate: int
    fallback: int
    fallback_score: Annotated[float | None, _OMIT] = None


@dataclass(frozen=True, slots=True)
class BrokenRows:
    """Rows on which either breaks a rule."""

    candidate: int
    fallback: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Answers that break business rules."""

    holdout_rows: int
    rows: BrokenRows
    by_rule: tuple[BrokenRule, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """Where a canary parts the scores, and their distance from the champion's (None without one)."""

    edges: tuple[float, ...]
    distance: float | None


@dataclass(frozen=True, slots=True)
class ReferenceMark:
    """Which reference was written with the evaluation."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What 1,000 requests of one row would cost, at the memory of the function that serves."""

    per_1000_usd: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a declared column; `lacking` says what there is too little of to judge it."""

    column: str
    value: str
    rows: int
    too_few: bool
    lacking: str = ""
    metric: Estimate | None = None
    gain_over_champion: Estimate | None = None
    found: bool = False


@dataclass(frozen=True, slots=True)
class SliceRule:
    """How declared slices are judged."""

    min_rows: int
    min_clusters: int
    compared: int
    confidence: float


@dataclass(frozen=True, slots=True)
class FoundSlice:
    """A part that a search named, measured on other rows. `path` has its [feature, operator, value]."""

    path: tuple[tuple[Any, ...], ...]
    words: str
    rows: int
    metric: Estimate | None
    loss_over_rest: Estimate
    confirmed: bool
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of a group's rows, for a binary model; None for a share of no rows."""

    positives: int
    positive_rate: float
    true_positive_rate: float | None
    false_positive_rate: float | None
    accuracy: float


@dataclass(frozen=True, slots=True)
class Group:
    """A group of people, or of whatever a sensitive column distinguishes."""

    group: str
    rows: int
    metric: float | None
    rates: Annotated[Rates | None, Stored(flat={}, omit=True)] = None
    mean_prediction: Annotated[float | None, _OMIT] = None


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """How far apart the highest and the lowest of the compared groups are, by which rate."""

    estimate: Annotated[Estimate, _FLAT]
    rate: str
    highest: str
    lowest: str
    compared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fairness:
    """The groups of a sensitive column and, of a binary model, three differences between them; None where fewer than
    two groups have enough rows."""

    groups: tuple[Group, ...]
    demographic_parity: GroupDifference | None
    equal_opportunity: GroupDifference | None
    equalized_odds: GroupDifference | None

    def difference(self, measure: str) -> GroupDifference | None:
        """By the name of the measure."""
        found: GroupDifference | None = getattr(self, measure)
        return found


@dataclass(frozen=True, slots=True)
class FairnessRule:
    """How groups are compared."""

    min_rows: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Captures:
    """Captured predictions in the data, and who reported how many of their outcomes; beside them the version and the
    champion on rows without captures that this version was not fitted on. None where they could not be compared."""

    rows: int
    holdout_rows: int
    reporters: Mapping[str, int]
    guard_rows: int
    candidate: Estimate | None = None
    champion: Estimate | None = None
    gain: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Sections:
    """What is reported of a version besides its metric. One that does not apply, or was not measured yet when the
    version was made, is not there."""

    calibration: Annotated[Calibration | None, _OMIT] = None
    curves: Annotated[Curves | None, _OMIT] = None
    threshold: Annotated[Threshold | None, _OMIT] = None
    confusion: Annotated[Confusion | None, _OMIT] = None
    residuals: Annotated[Residuals | None, _OMIT] = None
    importance: Annotated[tuple[Importance, ...], _OMIT] = ()
    robustness: Annotated[Robustness | None, _OMIT] = None
    dependence: Annotated[tuple[Dependence, ...], _OMIT] = ()
    flips: Annotated[tuple[Flips, ...], _OMIT] = ()
    guard: Annotated[Guard | None, _OMIT] = None
    fallback: Annotated[FallbackValue | None, _OMIT] = None
    rules: Annotated[Rules | None, _OMIT] = None
    scores: Annotated[Scores | None, _OMIT] = None
    reference: Annotated[ReferenceMark | None, _OMIT] = None
    cost: Annotated[Cost | None, _OMIT] = None
    captures: Annotated[Captures | None, _OMIT] = None
    slices: Annotated[tuple[Slice, ...] | None, _OMIT] = None
    slice_rule: Annotated[SliceRule | None, _OMIT] = None
    found: Annotated[tuple[FoundSlice, ...] | None, _OMIT] = None
    fairness: Annotated[Mapping[str, Fairness] | None, _OMIT] = None
    fairness_rule: Annotated[FairnessRule | None, _OMIT] = None
    schema: Annotated[int | None, _OMIT] = None  # of the document that slices and groups come from


@dataclass(frozen=True, slots=True)
class HoldoutParts:
    """Slices and groups, as the step that looks at them writes them; the gate makes sections of them."""

    FORM: ClassVar = SLICES_AND_GROUPS

    slices: tuple[Slice, ...]
    slice_rule: SliceRule
    found: tuple[FoundSlice, ...]
    fairness: Mapping[str, Fairness]
    fairness_rule: FairnessRule

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {self.FORM.field: self.FORM.schema, **to_json(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises as `StoredForm.current` does."""
        return from_json(cls, cls.FORM.current(document))

    def among(self, sections: Sections) -> Sections:
        """The sections with these."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(sections, schema=self.FORM.schema, **found)
