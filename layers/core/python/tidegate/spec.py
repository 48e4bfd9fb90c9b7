"""ModelSpec: the one file a data scientist writes.

    spec = ModelSpec.parse_yaml(Path("flight-delay.yaml").read_text())

Everything about a model that people decide is here; everything else is measured. The spec is content-addressed: its
`digest` names it in the registry, so a version always points at exactly the text it was trained from.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from tidegate.errors import Fault, SpecInvalidError
from tidegate.expressions import (
    MAX_LENGTH,
    TYPE_OF_KIND,
    ExpressionError,
    Type,
    compile_computed,
    compile_expression,
)

Scalar = bool | int | float | str
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
ExpressionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)]
MAX_CANDIDATES = 64
MAX_RULES = 50
MAX_COMPUTED = 200
SCORE, LABEL = "score", "label"  # what rules call the answer


class Task(StrEnum):
    """What is predicted: one of two classes, one of several, or a number."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Metric(StrEnum):
    """The number a model is judged by; `METRICS_OF` says which fit which task."""

    ROC_AUC = "roc_auc"
    AVERAGE_PRECISION = "average_precision"
    LOG_LOSS = "log_loss"
    BRIER = "brier"
    ACCURACY = "accuracy"
    RMSE = "rmse"
    MAE = "mae"
    R2 = "r2"

    @property
    def higher_is_better(self) -> bool:
        """False for losses and errors."""
        return self in {Metric.ROC_AUC, Metric.AVERAGE_PRECISION, Metric.ACCURACY, Metric.R2}


METRICS_OF: dict[Task, tuple[Metric, ...]] = {
    Task.BINARY: (Metric.ROC_AUC, Metric.AVERAGE_PRECISION, Metric.LOG_LOSS, Metric.BRIER, Metric.ACCURACY),
    Task.MULTICLASS: (Metric.ACCURACY, Metric.LOG_LOSS),
    Task.REGRESSION: (Metric.RMSE, Metric.MAE, Metric.R2),
}

# Estimators that convert to ONNX with the parity the gate demands; a test converts each. Left out though they convert:
# nearest neighbours (ties), Lars and RANSAC (collinear one-hot columns), support vector regression: on real rows their
# float32 scores differ from scikit-learn's by more than the gate tolerates, or nearly so.
ESTIMATORS_OF: dict[Task, tuple[str, ...]] = {
    Task.BINARY: (
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.ensemble.AdaBoostClassifier",
        "sklearn.ensemble.BaggingClassifier",
        "sklearn.ensemble.ExtraTreesClassifier",
        "sklearn.ensemble.GradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.RandomForestClassifier",
        "sklearn.linear_model.LogisticRegression",
        "sklearn.linear_model.LogisticRegressionCV",
        "sklearn.naive_bayes.BernoulliNB",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.neural_network.MLPClassifier",
        "sklearn.tree.DecisionTreeClassifier",
        "sklearn.tree.ExtraTreeClassifier",
    ),
    Task.REGRESSION: (
        "sklearn.cross_decomposition.PLSRegression",
        "sklearn.ensemble.AdaBoostRegressor",
        "sklearn.ensemble.BaggingRegressor",
        "sklearn.ensemble.ExtraTreesRegressor",
        "sklearn.ensemble.GradientBoostingRegressor",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "sklearn.ensemble.RandomForestRegressor",
        "sklearn.linear_model.ARDRegression",
        "sklearn.linear_model.BayesianRidge",
        "sklearn.linear_model.ElasticNet",
        "sklearn.linear_model.ElasticNetCV",
        "sklearn.linear_model.HuberRegressor",
        "sklearn.linear_model.Lasso",
        "sklearn.linear_model.LassoCV",
        "sklearn.linear_model.LassoLars",
        "sklearn.linear_model.LinearRegression",
        "sklearn.linear_model.OrthogonalMatchingPursuit",
        "sklearn.linear_model.QuantileRegressor",
        "sklearn.linear_model.Ridge",
        "sklearn.linear_model.RidgeCV",
        "sklearn.linear_model.SGDRegressor",
        "sklearn.linear_model.TweedieRegressor",
        "sklearn.neural_network.MLPRegressor",
        "sklearn.svm.LinearSVR",
        "sklearn.tree.DecisionTreeRegressor",
        "sklearn.tree.ExtraTreeRegressor",
    ),
}
ESTIMATORS_OF[Task.MULTICLASS] = ESTIMATORS_OF[Task.BINARY]
_ESTIMATORS = ", ".join(sorted(set(ESTIMATORS_OF[Task.BINARY] + ESTIMATORS_OF[Task.REGRESSION])))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureKind(StrEnum):
    """How a feature's values are typed on the wire and encoded for the estimator."""

    NUMERIC = "numeric"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    TIME = "time"


class Feature(_Part):
    """One input of the model and the contract that requests must keep."""

    name: ColumnName
    kind: FeatureKind
    unit: str | None = Field(None, max_length=32, description="Unit of a number, for people: 'mph', 'degF', 'miles'.")
    min: float | None = Field(None, description="Smallest allowed value (inclusive).")
    max: float | None = Field(None, description="Largest allowed value (inclusive).")
    categories: tuple[str, ...] | None = Field(None, description="Allowed values; learned from training when left out.")
    unseen: Literal["allow", "reject"] = Field(
        "allow", description="A category not among the known ones: serve or 4xx."
    )
    missing: Literal["allow", "reject"] = Field("reject", description="null or absent: serve or 4xx.")
    known_in_advance: bool = Field(
        False,
        description="A person vouches that the value is known before the prediction is made, however well it predicts "
        "the target: the leakage check by strength lets it pass. An outcome column of the dataset is refused all "
        "the same.",
    )
    estimator: bool = Field(
        True,
        description="false: the estimator is not given the value itself; computed features and rules may name it. "
        "A time is never given to it.",
    )
    description: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> Self:
        if self.kind is FeatureKind.CATEGORICAL:
            if self.min is not None or self.max is not None:
                raise _fault("a categorical feature has categories, not min and max")
        elif self.kind is FeatureKind.TIME and (self.min is not None or self.max is not None):
            raise _fault("a time has no min and max")
        elif self.categories is not None:
            raise _fault(f"categories belong to a categorical feature; this one is {self.kind}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise _fault(f"min {self.min:g} is above max {self.max:g}")
        if self.categories is not None and len(set(self.categories)) != len(self.categories):
            raise _fault("a category is listed twice")
        return self


class ComputedFeature(_Part):
    """A number that the model itself computes from its features, inside the ONNX file: training and serving share the
    arithmetic."""

    name: ColumnName
    expression: ExpressionText = Field(description="Over the features, and the computed features listed before it.")
    unit: str | None = Field(None, max_length=32, description="Unit of the number, for people.")
    description: str = Field("", max_length=500)


class Candidate(_Part):
    """A scikit-learn estimator to try: fixed parameters, and a grid whose every combination is a run of its own."""

    estimator: str = Field(
        description="Dotted name under sklearn., for example sklearn.linear_model.LogisticRegression."
    )
    parameters: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    encode: Literal["auto", "onehot", "ordinal"] = Field(
        "auto", description="Categorical encoding; auto is ordinal for trees and one-hot for everything else."
    )

    @field_validator("estimator")
    @classmethod
    def _estimator_is_known(cls, name: str) -> str:
        if not any(name in names for names in ESTIMATORS_OF.values()):
            raise _fault(f"{name!r} is not a scikit-learn estimator that converts to ONNX; allowed: {_ESTIMATORS}")
        return name

    @field_validator("parameters", "grid")
    @classmethod
    def _values_are_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                raise _fault(f"parameter {name} holds a value that JSON cannot (a date, NaN, infinity ...)") from None
        return values

    @field_validator("grid")
    @classmethod
    def _grid_has_values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in grid.items():
            if not values:
                raise _fault(f"parameter {name} lists no values")
        return grid

    @property
    def size(self) -> int:
        """How many runs the candidate expands to."""
        size = 1
        for values in self.grid.values():
            size *= len(values)
        return size


class Period(_Part):
    """A half-open period of the time column: from (inclusive) to (exclusive). No zone means UTC."""

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("start", "end")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.start >= self.end:
            raise _fault(f"ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()})")
        return self


class Split(_Part):
    """What is held out. By periods, or by fraction: the latest rows when there is a time column, else a seeded,
    stratified share; whole groups when there is a group column."""

    train: Period | None = None
    holdout: Period | None = None
    holdout_days: float | None = Field(None, gt=0, description="Hold out so many days, counted back from the last row.")
    train_days: float | None = Field(None, gt=0, description="Train on so many days before those; all when left out.")
    holdout_fraction: float = Field(0.2, gt=0, lt=0.9)
    validation_fraction: float = Field(0.2, gt=0, lt=0.9, description="Share of training used to choose a candidate.")

    @model_validator(mode="after")
    def _periods_do_not_overlap(self) -> Self:
        if (self.train is None) != (self.holdout is None):
            raise _fault("train and holdout periods go together; give both or neither")
        if self.train_days is not None and self.holdout_days is None:
            raise _fault("train_days goes with holdout_days")
        if self.train and self.holdout_days is not None:
            raise _fault("periods are either fixed (train, holdout) or roll along (holdout_days); not both")
        if self.train and self.holdout and self.train.end > self.holdout.start:
            raise _fault("the holdout must begin when training has ended, or later")
        return self


class ConstantRule(_Part):
    """Always the same answer: a probability of the positive class, or a number."""

    kind: Literal["constant"]
    value: float


class PriorRule(_Part):
    """The class shares (or the mean) of the training data."""

    kind: Literal["prior"]


class GroupRateRule(_Part):
    """The historical rate (or mean) of the target within groups; groups with too few rows use the overall rate."""

    kind: Literal["group_rate"]
    by: tuple[ColumnName, ...] = Field(min_length=1, max_length=4)
    min_rows: int = Field(50, ge=1)


Rule = Annotated[ConstantRule | PriorRule | GroupRateRule, Field(discriminator="kind")]


class MovingAverageRule(_Part):
    """The target's rate (or mean) over the latest training rows by time, of all or of each group; groups with too few
    rows use the average of all."""

    kind: Literal["moving_average"]
    rows: int = Field(1_000, ge=1, description="How many of the latest rows are averaged, in each group.")
    by: tuple[ColumnName, ...] = Field((), max_length=4)
    min_rows: int = Field(50, ge=1)


class ArithmeticRule(_Part):
    """An expression over the features: the positive class's probability (cut to 0..1), or a number. Where it has no
    value, since a feature is missing, say, the prior answers."""

    kind: Literal["arithmetic"]
    expression: ExpressionText


FallbackRule = Annotated[
    ConstantRule | PriorRule | GroupRateRule | MovingAverageRule | ArithmeticRule, Field(discriminator="kind")
]
_RULE_KINDS = ("constant", "prior", "group_rate", "moving_average", "arithmetic")


class OutputRule(_Part):
    """What an answer must keep, over the features, `score` and `label`; one that does not is the fallback's."""

    name: ModelName
    when: ExpressionText | None = Field(None, description="Only answers for which this is true are looked at.")
    require: ExpressionText = Field(description="An answer for which this is false breaks the rule.")


class GuardRules(_Part):
    """The input guard: which inputs are marked as unusual, and who answers them (docs/model-spec.md#input-guard)."""

    share: float = Field(0.001, gt=0, le=0.1, description="Share of inputs like those of training that may be marked.")
    answer: Literal["model", "fallback"] = Field(
        "model", description="Who answers an unusual input; either way the answer says so."
    )


_GUARD_TAG = "guard rules"


def _guard_tag(given: object) -> str | None:
    if given == "none":
        return "none"
    return _GUARD_TAG if isinstance(given, dict | GuardRules) else None


InputGuard = Annotated[
    Annotated[Literal["none"], Tag("none")] | Annotated[GuardRules, Tag(_GUARD_TAG)],
    Discriminator(
        _guard_tag,
        custom_error_type="guard",
        custom_error_message="is neither `none` nor a mapping of share and answer",
    ),
]


class DataChecks(_Part):
    """How strictly data is checked before a model is trained on it (docs/data-checks.md)."""

    duplicate_rows_at_most: float = Field(
        0.1, ge=0, le=1, description="Share of the training rows that may repeat an earlier one in every column."
    )
    not_personal: tuple[ColumnName, ...] = Field(
        (), description="Columns that look like personal data by pattern and, as a person says, are none."
    )


class GatePolicy(_Part):
    """What the gate demands beyond beating the baseline."""

    margin: float = Field(
        0.0, ge=0, description="How much worse than the champion is tolerated, in units of the metric."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(2000, ge=200, le=20_000)
    min_rows: int = Field(500, ge=30, description="A smaller holdout is too little data to judge on.")
    resample_by: Literal["row", "group", "day"] = Field(
        "row", description="What is resampled together: rows of one day or group often share their luck."
    )
    parity_tolerance: float = Field(
        1e-4, gt=0, description="Largest allowed difference of scikit-learn and ONNX scores."
    )
    slices: tuple[ColumnName, ...] = Field(
        (),
        max_length=10,
        description="Columns by whose values (or quartiles) the version is judged apart; they need be no features.",
    )


class Governance(_Part):
    """How differently groups may be treated, and how often a sensitive value alone may change an answer; each limit
    given becomes a demand of the gate (docs/fairness.md)."""

    demographic_parity: float | None = Field(
        None, gt=0, lt=1, description="Largest difference between groups in the share of positive decisions."
    )
    equal_opportunity: float | None = Field(
        None, gt=0, lt=1, description="Largest difference between groups in the true positive rate."
    )
    equalized_odds: float | None = Field(
        None, gt=0, lt=1, description="Largest difference between groups in true or false positive rate."
    )
    flips_at_most: float | None = Field(
        None, ge=0, lt=1, description="Largest share of rows whose label changes with the sensitive value alone."
    )


class Targets(_Part):
    """What the product needs; `domain/targets.py` says where each one given is checked: gate, canary, live traffic."""

    metric_at_least: float | None = Field(None, description="For metrics where more is better.")
    metric_at_most: float | None = Field(None, description="For losses and errors.")
    latency_p99_ms: float = Field(50.0, gt=0, description="Single-row scoring; of live traffic, each request.")
    availability_at_least: float | None = Field(
        None,
        ge=0.5,
        le=0.999999,
        description="Share of requests that a version answers by itself: no error, no fallback.",
    )
    cost_per_1000_usd_at_most: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="US dollars that 1,000 predictions may cost."
    )
    artifact_mib: float = Field(100.0, gt=0)
    load_ms: float = Field(5_000.0, gt=0)
    calibration_error_at_most: float | None = Field(
        None, ge=0, lt=1, description="Of a classifier: expected calibration error on the holdout."
    )
    robustness_loss_at_most: float | None = Field(
        None, ge=0, description="Loss of the metric when one feature is missing that may be, in units of the metric."
    )
    governance: Governance = Governance()


class CaptureRules(_Part):
    """What is kept of every prediction (docs/captures.md). Features that are personal data in the data catalog are
    masked unless they are named here."""

    sample: float = Field(1.0, ge=0, le=1, description="Share of predictions that is kept, by hash of the id.")
    mask: tuple[ColumnName, ...] = Field((), description="Features of which only is kept whether they were missing.")
    drop: tuple[ColumnName, ...] = Field((), description="Features that leave no trace.")
    keep: tuple[ColumnName, ...] = Field((), description="Personal data that is kept as it is, on purpose.")


class Compared(StrEnum):
    """What a canary's arms are compared by; `domain/canary.py` says what each is counted over."""

    ERRORS = "errors"
    TIMEOUTS = "timeouts"
    FALLBACKS = "fallbacks"
    VIOLATIONS = "violations"
    SLOW = "slow"
    UNAVAILABLE = "unavailable"
    SCORES = "scores"
    LOSS = "loss"


class Demanded(_Part):
    """What is demanded of one metric of a canary, as shares (0.01 is one percentage point); what is left out keeps its
    default (docs/canary.md)."""

    tolerance: float | None = Field(None, ge=0, lt=0.99, description="Shown to be worse by more: rolled back.")
    margin: float | None = Field(None, gt=0, lt=0.99, description="Shown to be worse by less: passed.")
    target: float | None = Field(None, gt=0, lt=1, description="Without a champion: passed below, rolled back above.")
    required: bool | None = Field(None, description="Promotion waits for it to pass.")

    @model_validator(mode="after")
    def _margin_is_above(self) -> Self:
        if self.tolerance is not None and self.margin is not None and self.tolerance >= self.margin:
            raise _fault(f"its margin ({self.margin:g}) must be above its tolerance ({self.tolerance:g})")
        return self


class ReleaseRules(_Part):
    """How an accepted version gets to its users (docs/canary.md)."""

    approval: Literal["none", "required"] = Field("none", description="Whether a person has to agree first.")
    approval_hours: float = Field(72, gt=0, le=720, description="An approval must come within this time.")
    shadow_minutes: float = Field(0, ge=0, le=43_200, description="How long it first only scores along.")
    steps: tuple[float, ...] = Field(
        (1, 5, 25, 50), max_length=20, description="Shares of the requests in percent, rising; none: promoted at once."
    )
    bake_minutes: float = Field(10, ge=0, le=10_080, description="Each step lasts at least this long.")
    min_requests: int = Field(10, ge=1, description="A step also waits for so many requests to the candidate.")
    look_seconds: int = Field(60, ge=1, le=86_400, description="How often the evidence is looked at.")
    deadline_hours: float = Field(24, gt=0, le=720, description="A canary without a verdict by then ...")
    at_deadline: Literal["roll_back", "wait"] = Field(
        "roll_back", description="... is rolled back, or waits at its last share."
    )
    watch_hours: float = Field(24, ge=0, le=720, description="How long a promoted version is watched; 0: not at all.")
    holdback: float = Field(5, ge=0.01, le=50, description="Percent of requests the old version keeps meanwhile.")
    demands: dict[Compared, Demanded] = Field(default_factory=dict)

    @field_validator("steps")
    @classmethod
    def _steps_rise(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.01 <= step <= 99.99 for step in steps):
            raise _fault("each step is a percentage from 0.01 to 99.99")
        if any(round(100 * step) >= round(100 * following) for step, following in itertools.pairwise(steps)):
            raise _fault("each step must be larger than the one before it, by 0.01 or more")
        return steps


class WatchRules(_Part):
    """How a served model is watched, and what is done when the world changes (docs/watch.md)."""

    windows_hours: tuple[int, ...] = Field((24, 168), min_length=1, max_length=4, description="Spans judged, in hours.")
    min_rows: int = Field(500, ge=100, description="A window with fewer rows is too little data.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Share of clean windows that may be called drifted.")
    psi: float = Field(0.2, gt=0, description="Population stability index from which a change is material.")
    jensen_shannon: float = Field(0.1, gt=0, lt=1, description="Jensen-Shannon distance from which it is.")
    quality_margin: float = Field(
        0.0, ge=0, description="How much worse than at the gate live quality may be, in units of the metric."
    )
    sensitive: tuple[ColumnName, ...] = Field(
        (), max_length=4, description="Features whose groups should get positive decisions alike; binary only."
    )
    retrain_on: tuple[Literal["schedule", "drift", "quality"], ...] = Field(
        ("drift", "quality"), description="What starts a training by itself; none: people do."
    )
    every_days: float | None = Field(None, gt=0, le=365, description="How often, when `schedule` is listed.")
    cooldown_hours: float = Field(24, ge=0, description="Between two trainings that were started by themselves.")
    at_most: int = Field(3, ge=1, le=100, description="Such trainings within `within_days`.")
    within_days: float = Field(7, gt=0, le=365)
    give_up_after: int = Field(2, ge=1, le=20, description="Candidates turned away in a row; then people are asked.")
    target_shift: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Jensen-Shannon distance of the target's distribution that retraining cannot mend.",
    )
    own_metrics: bool = Field(
        True,
        description="Whether the watch writes metrics of the model's own, for its dashboard, at 0.30 USD a month each. "
        "Without them it still counts in the sums that alarms look at.",
    )


class ValueRules(_Part):
    """What decisions are worth, so that cost has something to stand beside (docs/cost.md)."""

    correct: float = Field(0.0, allow_inf_nan=False, description="What a right decision brings.")
    wrong: float = Field(0.0, allow_inf_nan=False, description="What a wrong decision costs.")
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="ISO 4217; cost is in USD, so only USD gives one number of the two."
    )
    tolerance: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Regression only: how far off the outcome is still right."
    )


class Decision(_Part):
    """From which score a binary model says yes (docs/evaluation.md)."""

    threshold: float | Literal["value"] = Field(
        0.5,
        description="A probability, or `value`: the threshold whose decisions on the validation rows are worth most.",
    )
    false_positive: float | None = Field(
        None, allow_inf_nan=False, description="What a wrong yes costs; value.wrong when left out."
    )
    false_negative: float | None = Field(
        None, allow_inf_nan=False, description="What a wrong no costs; value.wrong when left out."
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _threshold_is_a_probability(cls, threshold: object) -> object:
        if threshold == "value":
            return threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise _fault(f"{threshold!r} is neither a probability from 0 to 1 nor `value`")
        return threshold


class ModelSpec(_Part):
    """A model as people declare it. See docs/model-spec.md for a page with examples."""

    name: ModelName
    owner: str = Field(
        min_length=3, max_length=200, description="Who answers for the model: an e-mail address or team."
    )
    business_unit: str = Field(
        min_length=1, max_length=100, description="Who pays; becomes a tag and a metric dimension."
    )
    description: str = Field("", max_length=2_000)
    task: Task
    dataset: ModelName = Field(description="Name in the data catalog.")
    target: ColumnName
    positive_class: Scalar | None = Field(None, description="Binary only: the class whose probability is the score.")
    time: ColumnName | None = None
    group: ColumnName | None = None
    ids: tuple[ColumnName, ...] = ()
    sensitive: tuple[ColumnName, ...] = Field(
        (), max_length=8, description="Columns whose groups are compared for fairness; they need be no features."
    )
    features: tuple[Feature, ...] = Field(min_length=1, max_length=500)
    computed: tuple[ComputedFeature, ...] = Field((), max_length=MAX_COMPUTED)
    candidates: tuple[Candidate, ...] = Field(min_length=1, max_length=MAX_CANDIDATES)
    metric: Metric
    baseline: Rule
    fallback: FallbackRule | None = Field(None, description="Answers when no version can; the baseline if left out.")
    rules: tuple[OutputRule, ...] = Field((), max_length=MAX_RULES)
    guard: InputGuard = Field(GuardRules(), description="Marks inputs far from those of training; `none`: none are.")
    decision: Decision = Decision()
    interval: float | None = Field(
        None, ge=0.5, le=0.99, description="Regression only: answers carry an interval that so many outcomes lie in."
    )
    split: Split = Split()
    checks: DataChecks = DataChecks()
    gate: GatePolicy = GatePolicy()
    targets: Targets = Targets()
    capture: CaptureRules = CaptureRules()
    release: ReleaseRules = ReleaseRules()
    watch: WatchRules = WatchRules()
    value: ValueRules | None = Field(None, description="What a right decision brings and a wrong one costs.")
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        parts = {name: getattr(self, name) for name in ModelSpec.model_fields}
        parts |= {name: dict(enumerate(parts[name])) for name in _LISTS}
        faults = _cross_faults(parts)
        if faults:
            listed = "; ".join(str(fault) for fault in faults)
            raise PydanticCustomError("cross_field", "{faults}", {"faults": listed})
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the order of the spec."""
        return tuple(feature.name for feature in self.features)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON: the spec's identity."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def canonical_json(self) -> str:
        """One byte sequence for one meaning: sorted keys, no spaces, defaults written out."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def parse_yaml(cls, text: str) -> Self:
        """Read a spec from YAML (of which JSON is a part).

        Raises:
            SpecInvalidError: with every fault, each with its path and, where it is a choice, the allowed values.
        """
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SpecInvalidError("the spec is not valid YAML", [Fault("", " ".join(str(error).split()))]) from None
        except RecursionError:
            raise SpecInvalidError("the spec is not usable YAML", [Fault("", "it is nested too deeply")]) from None
        return cls.parse(document)

    @classmethod
    def parse(cls, document: object) -> Self:
        """Like `parse_yaml`, from an already decoded document."""
        if not isinstance(document, dict):
            raise SpecInvalidError(
                "a spec is a mapping of names to values", [Fault("", f"got {type(document).__name__}")]
            )
        try:
            spec = cls.model_validate(document)
            spec.canonical_json()
        except ValidationError as error:
            details = [detail for detail in error.errors() if detail["type"] != "cross_field"]
            faults = [_fault_of(detail) for detail in details if not _only_echoes(detail, details)]
            faults += _cross_faults(_valid_parts(document))
            noun = "fault" if len(faults) == 1 else "faults"
            raise SpecInvalidError(f"{len(faults)} {noun} in the spec", faults) from None
        except (RecursionError, ValueError):
            fault = Fault("", "it is nested too deeply, refers to itself, or holds a value that JSON cannot")
            raise SpecInvalidError("the spec cannot be stored", [fault]) from None
        return spec


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a spec file, for editors and pipelines."""
    schema = ModelSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tidegate model spec"} | schema


def _fault(problem: str) -> PydanticCustomError:
    # Pydantic treats the message as a template, so braces in it are passed as a value.
    return PydanticCustomError("spec", "{problem}", {"problem": problem})


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in {*_RULE_KINDS, _GUARD_TAG, "[key]"}:  # pydantic names union members and keys; people do not
            path += f".{part}" if path else part
    return path


def _only_echoes(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Pydantic calls a list too short when its items are wrong; the items' own faults say it better."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and len(other["loc"]) > len(place) for other in details
    )


def _fault_of(detail: ErrorDetails) -> Fault:
    context = detail.get("ctx", {})
    path = _path(detail["loc"])
    match detail["type"]:
        case "enum" | "literal_error" | "union_tag_invalid":
            listed = str(context.get("expected") or context.get("expected_tags") or "")
            got = detail["input"].get("kind") if isinstance(detail["input"], dict) else detail["input"]
            return Fault(path, f"{got!r} is not one of the choices", tuple(re.findall(r"'([^']*)'", listed)))
        case "extra_forbidden":
            return Fault(path, "no such field; see `tidegate model schema`")
        case "missing":
            return Fault(path, "is required")
        case "union_tag_not_found":
            return Fault(f"{path}.kind", "is required", _RULE_KINDS if path == "fallback" else _RULE_KINDS[:3])
        case "string_pattern_mismatch":
            return Fault(path, f"{detail['input']!r} must match {context['pattern']}")
        case _:
            return Fault(path, detail["msg"])


_INVALID = object()
_LISTS: Mapping[str, type[_Part]] = {
    "features": Feature,
    "computed": ComputedFeature,
    "candidates": Candidate,
    "rules": OutputRule,
}


def _valid_parts(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a faulty document that are right by themselves, so that what they imply can still be checked:
    people mend a spec in one go when a typo in one place does not hide a fault in another. Of lists, the right items
    stay under their index."""
    parts: dict[str, Any] = {}
    for name, field in ModelSpec.model_fields.items():
        if name in _LISTS:
            item: TypeAdapter[Any] = TypeAdapter(_LISTS[name])
            listed = document.get(name)
            tried = enumerate(listed if isinstance(listed, list) else [])
            parts[name] = {index: part for index, raw in tried if (part := _valid(item, raw)) is not _INVALID}
        elif name in document:
            annotated: Any = Annotated[field.annotation, field]
            part = _valid(TypeAdapter(annotated), document[name])
            if part is not _INVALID:
                parts[name] = part
        elif not field.is_required():
            parts[name] = field.get_default(call_default_factory=True)
    return parts


def _valid(adapter: TypeAdapter[Any], value: object) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return _INVALID


def _cross_faults(parts: Mapping[str, Any]) -> list[Fault]:
    """Faults between fields. `parts` holds the fields that are valid by themselves; absent ones imply nothing."""
    checks = (
        _task_faults,
        _candidate_faults,
        _feature_faults,
        _computed_faults,
        _time_faults,
        _column_faults,
        _baseline_faults,
        _fallback_faults,
        _output_rule_faults,
        _decision_faults,
        _target_faults,
        _availability_faults,
        _judged_column_faults,
        _governance_faults,
        _capture_faults,
        _release_faults,
        _watch_faults,
        _value_faults,
    )
    return [fault for check in checks for fault in check(parts)]


def _task_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    task, metric = parts.get("task"), parts.get("metric")
    if task and metric and metric not in METRICS_OF[task]:
        yield Fault("metric", f"{metric} does not fit task {task}", METRICS_OF[task])
    if task and task is not Task.BINARY and parts.get("positive_class") is not None:
        yield Fault("positive_class", f"belongs to task binary; this spec's is {task}")


def _candidate_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    candidates: Mapping[int, Candidate] = parts.get("candidates", {})
    task = parts.get("task")
    for index, candidate in candidates.items():
        if task and candidate.estimator not in ESTIMATORS_OF[task]:
            problem = f"{candidate.estimator!r} does not fit task {task}"
            yield Fault(f"candidates[{index}].estimator", problem, ESTIMATORS_OF[task])
        for name in sorted(set(candidate.parameters) & set(candidate.grid)):
            yield Fault(f"candidates[{index}].grid.{name}", "is also a fixed parameter; keep one")
    total = sum(candidate.size for candidate in candidates.values())
    if total > MAX_CANDIDATES:
        yield Fault("candidates", f"the grids expand to {total} runs; at most {MAX_CANDIDATES}")


def _feature_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, feature in parts.get("features", {}).items():
        path = f"features[{index}].name"
        if feature.name in seen:
            yield Fault(path, f"{feature.name!r} is listed twice")
        seen.add(feature.name)
        if feature.name == parts.get("target"):
            yield Fault(path, f"{feature.name!r} is the target column; it cannot be a feature")
        if feature.name == parts.get("time") and feature.kind is not FeatureKind.TIME:
            yield Fault(path, f"{feature.name!r} is the time column; it cannot be a feature but of kind time")
        if feature.name in parts.get("ids", ()):
            yield Fault(path, f"{feature.name!r} is an id column; it cannot be a feature")


def _computed_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    computed: Mapping[int, ComputedFeature] = parts.get("computed", {})
    features = parts.get("features", {}).values()
    names, groups = _inputs(parts), {feature.name for feature in features}
    seen: set[str] = set()
    for index, each in computed.items():
        path = f"computed[{index}].name"
        roles = [role for role in ("target", "time", "group") if each.name == parts.get(role)]
        if each.name in seen:
            yield Fault(path, f"{each.name!r} is listed twice")
        elif each.name in groups - seen:
            yield Fault(path, f"{each.name!r} is a feature already")
        elif roles or each.name in parts.get("ids", ()):
            yield Fault(path, f"{each.name!r} is the {roles[0] if roles else 'id'} column; take another name")
        elif each.name in {SCORE, LABEL}:
            yield Fault(path, f"{each.name!r} is what rules call the answer; take another name")
        seen.add(each.name)
        try:
            expression = compile_computed(each.expression, names, groups, {later.name for later in computed.values()})
        except ExpressionError as error:
            for problem in error.problems:
                yield Fault(f"computed[{index}].expression", str(problem), problem.allowed)
            names = None if names is None else names | {each.name: Type.ANY}
            groups |= {each.name}
            continue
        if expression.group_rates and parts.get("task") is Task.MULTICLASS:
            yield Fault(f"computed[{index}].expression", "group_rate does not fit task multiclass: which class's rate?")
        names = None if names is None else names | {each.name: expression.type}
        if not expression.group_rates:
            groups |= {each.name}
    given = [feature for feature in features if feature.estimator and feature.kind is not FeatureKind.TIME]
    if features and not computed and not given:
        yield Fault("features", "leaves the estimator nothing: let one be true for `estimator`, or compute one")


def _time_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    """Times that nothing looks at, and times where groups are needed."""
    times = {feature.name: index for index, feature in parts.get("features", {}).items() if feature.kind == "time"}
    baseline, fallback = parts.get("baseline"), parts.get("fallback")
    roles = {
        "watch.sensitive": getattr(parts.get("watch"), "sensitive", ()),
        "baseline.by": getattr(baseline, "by", ()),
        "fallback.by": getattr(fallback, "by", ()),
    }
    for path, columns in roles.items():
        for index, column in enumerate(columns):
            if column in times:
                yield Fault(f"{path}[{index}]", f"{column!r} is a time; it makes no groups")
    texts = [each.expression for each in parts.get("computed", {}).values()]
    texts += [text for rule in parts.get("rules", {}).values() for text in (rule.when, rule.require) if text]
    texts += [fallback.expression] if isinstance(fallback, ArithmeticRule) else []
    for name, index in times.items():
        if not any(_looks_at(text, name) for text in texts):
            problem = f"{name!r} does nothing: no computed feature and no rule takes its hour(), weekday() or such"
            yield Fault(f"features[{index}].name", problem)


def _looks_at(text: str, name: str) -> bool:
    """Whether an expression names it; of a faulty one, which says so itself, whether it might."""
    try:
        return name in compile_expression(text, groups=()).names
    except ExpressionError:
        return name in text


def _column_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    split, gate = parts.get("split"), parts.get("gate")
    if split and (split.train or split.holdout_days) and "time" in parts and parts["time"] is None:
        yield Fault("time", "is required when split names periods")
    if gate and gate.resample_by == "group" and "group" in parts and parts["group"] is None:
        yield Fault("group", "is required when gate.resample_by is group")
    if gate and gate.resample_by == "day" and "time" in parts and parts["time"] is None:
        yield Fault("time", "is required when gate.resample_by is day")


def _baseline_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    baseline, task = parts.get("baseline"), parts.get("task")
    if baseline and task is Task.MULTICLASS and not isinstance(baseline, PriorRule):
        yield Fault("baseline.kind", f"{baseline.kind} does not fit task multiclass", ("prior",))
    yield from _rule_faults("baseline", baseline, parts)


def _fallback_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    fallback, task = parts.get("fallback"), parts.get("task")
    if isinstance(fallback, ConstantRule | ArithmeticRule) and task is Task.MULTICLASS:
        counted = ("prior", "group_rate", "moving_average")
        yield Fault("fallback.kind", f"{fallback.kind} does not fit task multiclass", counted)
    if isinstance(fallback, MovingAverageRule) and "time" in parts and parts["time"] is None:
        yield Fault("time", "is required when fallback.kind is moving_average")
    if isinstance(fallback, ArithmeticRule):
        yield from _expression_faults("fallback.expression", fallback.expression, _inputs(parts), Type.NUMBER)
    yield from _rule_faults("fallback", fallback, parts)


def _rule_faults(path: str, rule: Any, parts: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(rule, ConstantRule) and parts.get("task") is Task.BINARY and not 0 <= rule.value <= 1:
        yield Fault(f"{path}.value", "a probability lies between 0 and 1")
    if isinstance(rule, GroupRateRule | MovingAverageRule):
        names = tuple(feature.name for feature in parts.get("features", {}).values())
        for index, column in enumerate(rule.by):
            if names and column not in names:
                yield Fault(f"{path}.by[{index}]", f"{column!r} is not a feature", names)


def _output_rule_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: Mapping[int, OutputRule] = parts.get("rules", {})
    if not rules:
        return
    values = _inputs(parts)
    for index, feature in parts.get("features", {}).items():
        if feature.name in {SCORE, LABEL}:
            yield Fault(f"features[{index}].name", f"{feature.name!r} is what rules call the answer; rename it")
    outputs = {SCORE: Type.NUMBER} | ({} if parts.get("task") is Task.REGRESSION else {LABEL: Type.ANY})
    seen: set[str] = set()
    for index, rule in rules.items():
        if rule.name in seen:
            yield Fault(f"rules[{index}].name", f"{rule.name!r} is listed twice")
        seen.add(rule.name)
        for field, text in (("when", rule.when), ("require", rule.require)):
            if text is not None:
                known = None if values is None else values | outputs
                yield from _expression_faults(f"rules[{index}].{field}", text, known, Type.BOOLEAN)


def _inputs(parts: Mapping[str, Any]) -> dict[str, Type] | None:
    """What expressions may name; None when no feature is right yet, so that not every name is called unknown."""
    features = parts.get("features", {}).values()
    return {feature.name: TYPE_OF_KIND[feature.kind] for feature in features} or None


def _expression_faults(path: str, text: str, names: Mapping[str, Type] | None, wanted: Type) -> Iterator[Fault]:
    try:
        compile_expression(text, names, wanted=wanted)
    except ExpressionError as error:
        for problem in error.problems:
            yield Fault(path, str(problem), problem.allowed)


def _decision_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    task, decision = parts.get("task"), parts.get("decision")
    if task and decision and task is not Task.BINARY:
        default = Decision()  # a stored spec has its defaults written out
        for name in sorted(decision.model_fields_set):
            if getattr(decision, name) != getattr(default, name):
                yield Fault(f"decision.{name}", f"belongs to task binary; this spec's is {task}")
    elif decision and decision != Decision() and "value" in parts:
        priced = decision.false_positive is not None or decision.false_negative is not None
        if parts["value"] is None and (priced or decision.threshold == "value"):
            yield Fault("value", "is required when decision.threshold is `value`, or when decision prices an error")
    if task and task is not Task.REGRESSION and parts.get("interval") is not None:
        yield Fault("interval", f"belongs to task regression; this spec's is {task}")


def _target_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    metric, targets = parts.get("metric"), parts.get("targets")
    if metric and targets:
        bounds = ["metric_at_least", "metric_at_most"]
        right, wrong = bounds if metric.higher_is_better else bounds[::-1]
        if getattr(targets, wrong) is not None:
            yield Fault(f"targets.{wrong}", f"does not fit {metric}; use {right}")
    if targets and targets.calibration_error_at_most is not None and parts.get("task") is Task.REGRESSION:
        yield Fault("targets.calibration_error_at_most", "belongs to classifiers; a regression has no probabilities")


def _availability_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    """Demands of the canary that contradict what the targets say of the same requests."""
    targets: Targets | None = parts.get("targets")
    rules: ReleaseRules | None = parts.get("release")
    if targets is None or rules is None:
        return
    path, wanted = "release.demands", targets.availability_at_least
    if wanted is None:
        if Compared.UNAVAILABLE in rules.demands:
            yield Fault(f"{path}.unavailable", "goes with targets.availability_at_least; give both or neither")
        return
    left = round(1 - wanted, 9)
    for compared in (Compared.ERRORS, Compared.TIMEOUTS, Compared.FALLBACKS, Compared.UNAVAILABLE):
        target = rules.demands.get(compared, Demanded()).target
        if target is not None and target > left:
            problem = f"{target:g} is more than targets.availability_at_least ({wanted:g}) leaves, {left:g}"
            yield Fault(f"{path}.{compared}.target", problem)
    if rules.demands.get(Compared.UNAVAILABLE, Demanded()).required is False:
        yield Fault(f"{path}.unavailable.required", "must not be false: targets.availability_at_least asks for it")


def _judged_column_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    gate: GatePolicy | None = parts.get("gate")
    times = {feature.name for feature in parts.get("features", {}).values() if feature.kind is FeatureKind.TIME}
    for path, columns in (("sensitive", parts.get("sensitive", ())), ("gate.slices", gate.slices if gate else ())):
        for index, column in enumerate(columns):
            if column in columns[:index]:
                yield Fault(f"{path}[{index}]", f"{column!r} is listed twice")
            for role in ("target", "time"):
                if column == parts.get(role):
                    yield Fault(f"{path}[{index}]", f"{column!r} is the {role} column; it makes no groups")
            if column in times - {parts.get("time")}:
                yield Fault(f"{path}[{index}]", f"{column!r} is a time; it makes no groups")


def _governance_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    targets: Targets | None = parts.get("targets")
    limits = targets.governance.model_dump(exclude_none=True) if targets else {}
    for name in limits:
        if "sensitive" in parts and not parts["sensitive"]:
            yield Fault(f"targets.governance.{name}", "needs groups to compare; name their columns under sensitive")
        elif name != "flips_at_most" and parts.get("task") not in {None, Task.BINARY}:
            yield Fault(f"targets.governance.{name}", f"belongs to task binary; this spec's is {parts['task']}")


def _capture_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: CaptureRules | None = parts.get("capture")
    names = tuple(feature.name for feature in parts.get("features", {}).values())
    named: dict[str, str] = {}
    for part in ("mask", "drop", "keep") if rules else ():
        for index, column in enumerate(getattr(rules, part)):
            if names and column not in names:
                yield Fault(f"capture.{part}[{index}]", f"{column!r} is not a feature", names)
            if column in named:
                yield Fault(f"capture.{part}[{index}]", f"{column!r} is listed in {named[column]} already; say it once")
            named.setdefault(column, part)


def _release_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: ReleaseRules | None = parts.get("release")
    if rules is None:
        return
    baked = rules.bake_minutes * len(rules.steps) / 60
    if rules.steps and rules.deadline_hours < baked:
        problem = (
            f"{rules.deadline_hours:g} hours are over before {len(rules.steps)} steps have baked ({baked:g} hours)"
        )
        yield Fault("release.deadline_hours", problem)
    if rules.demands.get(Compared.SCORES, Demanded()).target is not None:
        yield Fault("release.demands.scores.target", "scores are compared with those of a champion only; leave it out")


def _watch_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: WatchRules | None = parts.get("watch")
    if rules is None:
        return
    if ("schedule" in rules.retrain_on) != (rules.every_days is not None):
        yield Fault("watch.every_days", "goes with `schedule` in watch.retrain_on; give both or neither")
    names = tuple(feature.name for feature in parts.get("features", {}).values())
    for index, column in enumerate(rules.sensitive):
        if names and column not in names:
            yield Fault(f"watch.sensitive[{index}]", f"{column!r} is not a feature", names)
    if rules.sensitive and parts.get("task") not in {None, Task.BINARY}:
        yield Fault("watch.sensitive", "is compared for task binary only")


def _value_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: ValueRules | None = parts.get("value")
    task = parts.get("task")
    if rules is None or task is None:
        return
    if task is Task.REGRESSION and rules.tolerance is None:
        yield Fault("value.tolerance", "is required for task regression: how far off the outcome is still right")
    if task is not Task.REGRESSION and rules.tolerance is not None:
        yield Fault("value.tolerance", f"belongs to task regression; this spec's is {task}")
