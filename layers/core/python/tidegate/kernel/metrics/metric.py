"""What a metric is: facts for people and for the spec, its weighted form, and what is known of it without labels.

    roc_auc = registry.find("roc_auc")
    roc_auc.value(target, scores)                  # on rows as they are
    roc_auc.prepare(Rows(target, scores)).of(weights)   # on many resamples at once

A metric is a function of weighted rows, since a bootstrap resample is nothing but a row's weight (how often it was
drawn). It is prepared once for the scores of one model (sorted, ranked, summed by cluster) and then evaluated for any
weights. So every metric takes weights, and a metric that cannot be weighted cannot be registered.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tidegate.kernel.errors import DataCheckError, Fault

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
TaskName = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a metric is prepared from.

    Attributes:
        target: class codes [n] (positions in the columns of `scores`), or numbers [n] for a regression.
        scores: probabilities [n, classes], or values [n, 1] for a regression.
        positive: column whose probability is the score of a binary model.
        threshold: score from which a binary model answers the positive class.
        cluster: code of what each row is drawn together with [n]; None when every row is drawn by itself.
    """

    target: Array
    scores: Array
    positive: int = 1
    threshold: float = 0.5
    cluster: Array | None = None

    @property
    def is_positive(self) -> Array:
        """Whether each row [n] is of the positive class."""
        return np.asarray(self.target == self.positive)

    @property
    def score(self) -> Floats:
        """Of a binary model: probability of the positive class [n]."""
        return self.scores[:, self.positive].astype(np.float64)

    @property
    def predicted(self) -> Floats:
        """Of a regression: its answer [n]."""
        return self.scores[:, 0].astype(np.float64)

    @property
    def decided(self) -> Array:
        """Of a classifier: code of the class that is answered [n]."""
        if self.scores.shape[1] == 2:
            yes = self.scores[:, self.positive] >= self.threshold
            return np.where(yes, self.positive, 1 - self.positive)
        return np.asarray(self.scores.argmax(axis=1))

    @property
    def unit(self) -> Array:
        """Cluster of each row [n]."""
        return np.arange(len(self.target)) if self.cluster is None else self.cluster


class Prepared(Protocol):
    """A metric of one model's scores, ready for weights."""

    def of(self, weights: Floats) -> Floats:
        """Values [b] for weights of clusters [b, clusters]; NaN where the weighted rows do not define the metric."""
        ...


@dataclass(frozen=True, slots=True)
class Undefined:
    """On which rows there is no such number. It depends on the target alone, never on what a model answered, so that
    models that are compared on the same rows have a number each or none has.

    `words` complete "undefined when ..."; `why` says what is wrong with some rows, and nothing when all is well.
    """

    words: str
    why: Callable[[Array, int], str]


@dataclass(frozen=True, slots=True)
class Probabilities:
    """What a classifier said of rows without labels: probabilities [n, classes], and how they are read.

    `recalibrated` [n, classes] is how often the classes come true where it says so; None when it is taken at its word.
    """

    given: Floats
    positive: int = 1
    threshold: float = 0.5
    recalibrated: Floats | None = None

    @property
    def chances(self) -> Floats:
        """How often each class is expected to come true [n, classes]."""
        return self.given if self.recalibrated is None else self.recalibrated

    @property
    def chance(self) -> Floats:
        """How often the positive class is expected to come true [n]."""
        return np.asarray(self.chances[:, self.positive])

    @property
    def score(self) -> Floats:
        """What the classifier says of the positive class [n]."""
        return np.asarray(self.given[:, self.positive])

    @property
    def decided(self) -> Array:
        """Code of the class that is answered [n]."""
        return Rows(self.given[:, 0], self.given, self.positive, self.threshold).decided

    @property
    def by_score(self) -> tuple[Floats, Floats]:
        """Expected positives and negatives at each distinct score, by rising score."""
        _, place, rows = np.unique(self.score, return_inverse=True, return_counts=True)
        hits = np.bincount(place, self.chance).astype(np.float64)
        return hits, np.asarray(rows - hits, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class FromProbabilities:
    """What the metric is expected to be when a row of probability p counts as p of a positive and 1 - p of a negative
    (confidence-based performance estimation; `monitoring.quality.expected_quality`). NaN where that defines none."""

    value: Callable[..., float]


@dataclass(frozen=True, slots=True)
class FromLosses:
    """The metric is a function of the mean of a loss that each row has by itself, so the loss can be learned by score
    (direct loss estimation; `monitoring.quality.LossByScore`).

    `loss` takes target and prediction [n] each and gives [n]; `of_mean` makes the metric of its mean, and rises.
    """

    loss: Callable[..., Floats]
    of_mean: Callable[[float], float] = float


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that belongs to a metric's name, from `least` to `most`."""

    name: str
    meaning: str
    default: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that models are judged by; each has a file here and a line in `registry.NAMES`.

    Attributes:
        label: for people.
        sentence: what it says of a model, without its direction.
        perfect: the value of a model that knows the outcome.
        worst: no model is worse; None when there is no such number.
        form: makes rows ready for weights. It takes `Rows`, and the parameters by name.
        undefined: on which rows there is no such number: never a pass, never a blame.
        decides: whether it looks at answers instead of scores, so that a binary model's own threshold matters.
        unlabelled: how it is expected where labels are missing; None when it cannot be.
        finite_sample_bias: whether the mean over many small samples is another number than that of all rows.
        rewards_order: whether few rows in an order of chance have a higher value, on average, than the same rows with
            one score for all. Then arms are compared with their ties in an order of chance.
        given: its parameters' values.
    """

    name: str
    label: str
    sentence: str
    tasks: tuple[TaskName, ...]
    more_is_better: bool
    perfect: float
    worst: float | None
    form: Callable[..., Prepared]
    undefined: Undefined
    decides: bool = False
    unlabelled: FromProbabilities | FromLosses | None = None
    finite_sample_bias: bool = False
    rewards_order: bool = False
    parameters: tuple[Parameter, ...] = ()
    given: tuple[tuple[str, float], ...] = ()

    @property
    def text(self) -> str:
        """How it is named in documents: "f1", or "pinball_loss(quantile=0.9)"."""
        values = ", ".join(f"{name}={value!r}" for name, value in self.given)
        return f"{self.name}({values})" if values else self.name

    @property
    def sign(self) -> float:
        """1 where more is better, else -1: a difference times this is a gain."""
        return 1.0 if self.more_is_better else -1.0

    def using(self, values: Mapping[str, float]) -> "Metric":
        """The same with these parameters; those left out have their defaults.

        Raises:
            ValueError: there is no such parameter, or a value is out of its range.
        """
        known = {each.name: each for each in self.parameters}
        for name, value in values.items():
            if name not in known:
                has = f"its parameters are {', '.join(known)}" if known else "it has no parameters"
                raise ValueError(f"{self.name} has no parameter {name!r}; {has}")
            wanted = known[name]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and wanted.least <= value <= wanted.most):
                raise ValueError(f"{name} of {self.name} is {value!r}; it must be {wanted.least:g} to {wanted.most:g}")
        given = tuple((each.name, float(values.get(each.name, each.default))) for each in self.parameters)
        return replace(self, given=given)

    def to_json(self) -> str | dict[str, Any]:
        """As a spec has it: the name, with parameters a mapping."""
        return {"name": self.name, **dict(self.given)} if self.given else self.name

    def prepare(self, rows: Rows) -> Prepared:
        """Ready for weights."""
        return self.form(rows, **dict(self.given))

    def value(self, target: Array, scores: Array, *, positive: int = 1, threshold: float = 0.5) -> float:
        """On rows as they are; arguments as in `Rows`.

        Raises:
            DataCheckError: the rows do not define it, there are none, or scores are NaN.
        """
        rows = Rows(np.asarray(target), np.asarray(scores), positive, threshold)
        value = whole(self.prepare(rows), len(rows.target))
        if math.isnan(value):
            raise self.not_defined(rows.target, rows.scores, positive)
        return value

    def not_defined(self, target: Array, scores: Array, positive: int) -> DataCheckError:
        """Says why these rows have no such number."""
        if len(target) == 0:
            problem = "there are no rows"
        elif np.isnan(scores).any():
            gaps = int(np.isnan(scores).any(axis=1).sum())
            problem = f"the model gives no score for {gaps:,} of {len(target):,} rows"
        else:
            problem = self.undefined.why(np.asarray(target), positive)
        return DataCheckError(
            f"{self.text} is not defined on these rows",
            [Fault("target", problem)],
            next_step="choose a longer or a different period",
        )

    def expected(self, said: Probabilities) -> float:
        """Of a classifier's rows without labels; NaN where the probabilities define none.

        Raises:
            ValueError: it cannot be expected from probabilities.
        """
        if not isinstance(self.unlabelled, FromProbabilities):
            raise ValueError(f"{self.text} cannot be expected from probabilities")  # noqa: TRY004
        return float(self.unlabelled.value(said, **dict(self.given)))


def whole(prepared: Prepared, clusters: int) -> float:
    """The metric of the rows as they are; NaN where they do not define it."""
    return float(prepared.of(np.ones((1, clusters)))[0]) if clusters else math.nan


def _one_class(target: Array, _: int) -> str:
    return f"all {len(target):,} rows are of one class" if (target == target[0]).all() else ""


def _no_positives(target: Array, positive: int) -> str:
    return "" if (target == positive).any() else f"none of the {len(target):,} rows is of the positive class"


def _constant(target: Array, _: int) -> str:
    return f"the target is {target[0]:g} in all {len(target):,} rows" if np.ptp(target) == 0 else ""


def _zeros(target: Array, _: int) -> str:
    zeros = int((target == 0).sum())
    return f"the target is 0 in {zeros:,} of {len(target):,} rows" if zeros else ""


NEVER = Undefined("there are no rows", lambda _, __: "")
ONE_CLASS = Undefined("all rows are of one class", _one_class)
NO_POSITIVES = Undefined("no row is of the positive class", _no_positives)
CONSTANT = Undefined("the target is the same in all rows", _constant)
ZEROS = Undefined("the target of a row is 0", _zeros)
