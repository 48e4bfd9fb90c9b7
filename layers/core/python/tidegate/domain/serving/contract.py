"""The serving contract: everything that serving needs to know of a version besides its weights.

It travels inside the ONNX file (ADR 1). On the inference path: standard library and numpy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import ModelFailedError
from tidegate.kernel.expressions.compile import Expression, compile_expression
from tidegate.kernel.table import Table
from tidegate.kernel.values import MISSING, Cells

CONTRACT_KEY = "tidegate.contract"
NUMERIC_INPUT = "numeric"  # float32 [rows, numeric features]; NaN is missing
CATEGORICAL_INPUT = "categorical"  # text [rows, categorical features]; "" is missing
TIMES_INPUT = "times"  # int64 [rows, time features], seconds since 1970-01-01 in UTC; NO_TIME is missing
SCORES_OUTPUT = "scores"  # float32 [rows, classes] probabilities, or [rows, 1] values for regression

NO_TIME = int(np.iinfo(np.int64).min)
MAX_TEXT = 1_024  # characters of a categorical value
MAX_NUMBER = float(np.finfo(np.float32).max)

Kind = Literal["numeric", "integer", "boolean", "categorical", "time"]
Label = bool | int | float | str
GuardAnswer = Literal["model", "fallback"]  # who answers an unusual row


@dataclass(frozen=True, slots=True)
class FeatureContract:
    """What one field of an instance may hold."""

    name: str
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    unseen: Literal["allow", "reject"] = "allow"
    missing: Literal["allow", "reject"] = "reject"
    unit: str | None = None
    estimator: bool = True  # given to the estimator as it is, not only to what is computed from it


KeyPart = str | float | None  # of a group: a text ("" when missing), or a number (None when missing)


@dataclass(frozen=True, slots=True)
class GroupRates:
    """What one group_rate learned: the rate (or mean) of the target in each group with at least `min_rows` rows, and
    `overall` for every other one. Rates are float32 numbers, groups are in the order of their keys."""

    by: tuple[str, ...]
    min_rows: int
    overall: float
    groups: tuple[tuple[tuple[KeyPart, ...], float], ...]


@dataclass(frozen=True, slots=True)
class ComputedContract:
    """A number that the model computes from its features, and how: the expression, and what its group_rates learned,
    in the order of its text (empty before training)."""

    name: str
    expression: str
    unit: str | None = None
    description: str = ""
    rates: tuple[GroupRates, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputRule:
    """What an answer must keep: expressions (`kernel/expressions`) over the features, `score` and `label`."""

    name: str
    require: str
    when: str | None = None


@dataclass(frozen=True, slots=True)
class PredictionInterval:
    """Around each value of a regression: a share `level` of the outcomes is to lie within `half_width` of it."""

    level: float
    half_width: float


@dataclass(frozen=True, slots=True)
class NumberDensity:
    """The histogram of a number.

    `edges` e0 < e1 < ... (float32) bound the cells (e0, e1], (e1, e2] ...; there are none when training had no value.
    `scores` has -log density below e0, in each cell, and above the last edge; with no edges, of any value. Beyond its
    `ends` the density falls off, by the overshoot as a share of `reach`.
    """

    name: str
    edges: tuple[float, ...]
    scores: tuple[float, ...]
    missing: float
    ends: tuple[float, float]
    reach: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TextDensity:
    """-log share of each of the contract's categories in their order, of all others together, and of no text."""

    name: str
    scores: tuple[float, ...]
    unseen: float
    missing: float


@dataclass(frozen=True, slots=True)
class Guard:
    """What training learned of its `rows` inputs. A score above `threshold` is unusual; `share` of the rows were to
    have one. `answer` says who answers such a row."""

    share: float
    answer: GuardAnswer
    threshold: float
    rows: int
    numbers: tuple[NumberDensity, ...]
    texts: tuple[TextDensity, ...]

    def demand_features(self, numeric: Sequence[FeatureContract], categorical: Sequence[FeatureContract]) -> None:
        """Raises ValueError: the guard was not learned of these features, in this order."""
        known = [each.name for each in self.numbers] + [each.name for each in self.texts]
        for name, feature in zip(known, (*numeric, *categorical), strict=True):
            if name != feature.name:
                raise ValueError(f"the guard knows {name!r} where the contract has {feature.name!r}")
        for text, feature in zip(self.texts, categorical, strict=True):
            if len(text.scores) != len(feature.categories or ()):
                raise ValueError(f"the guard does not know the categories of {feature.name!r}")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read a guard's plain JSON; raises KeyError or TypeError when a part is missing or unknown."""
        numbers = tuple(
            NumberDensity(**{**each, **{name: tuple(each[name]) for name in ("edges", "scores", "ends", "reach")}})
            for each in document["numbers"]
        )
        texts = tuple(TextDensity(**{**each, "scores": tuple(each["scores"])}) for each in document["texts"])
        return cls(**{**document, "numbers": numbers, "texts": texts})


def _with_guessed_words(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Schema 1 was trained on datasets whose texts were read as pandas guesses."""
    return {**document, "missing_words": sorted(MISSING)}


def _with_points_and_iso(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Until schema 2 there was one spelling of numbers and of times."""
    return {**document, "decimal": ".", "time_format": ""}


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything serving needs to know of a version besides its weights.

    `classes` are the labels in the order of the probabilities (empty for regression); `positive` is the index of the
    class whose probability is the score (binary only); `threshold` is the score from which the positive label is given.
    `missing_words` are the texts by which, in CSV, a feature is missing; `decimal` and `time_format` say how numbers
    and times are written there, as in the dataset of the training (see `kernel.values.read`).
    """

    FORM: ClassVar = StoredForm(
        "serving contract", upgrades=(_with_guessed_words, _with_points_and_iso), renew="train the model again"
    )

    model: str
    task: Literal["binary", "multiclass", "regression"]
    features: tuple[FeatureContract, ...]
    classes: tuple[Label, ...] = ()
    positive: int = 1
    threshold: float = 0.5
    rules: tuple[OutputRule, ...] = ()
    computed: tuple[ComputedContract, ...] = ()
    interval: PredictionInterval | None = None
    guard: Guard | None = None
    missing_words: tuple[str, ...] = ("",)
    decimal: str = "."
    time_format: str = ""

    @property
    def cells(self) -> Cells:
        """How texts of its features are read."""
        kinds = {feature.name: feature.kind for feature in self.features}
        return Cells(kinds, frozenset(self.missing_words), self.decimal, self.time_format)

    @property
    def numeric(self) -> tuple[FeatureContract, ...]:
        """Features of the numeric input, in column order."""
        return tuple(feature for feature in self.features if feature.kind not in {"categorical", "time"})

    @property
    def categorical(self) -> tuple[FeatureContract, ...]:
        """Features of the categorical input, in column order."""
        return tuple(feature for feature in self.features if feature.kind == "categorical")

    @property
    def times(self) -> tuple[FeatureContract, ...]:
        """Features of the input of times, in column order."""
        return tuple(feature for feature in self.features if feature.kind == "time")

    def inputs(self, table: Table) -> "Inputs":
        """Model inputs from named columns; raises KeyError for a column that is not there."""
        rows = len(table)
        numeric = np.empty((rows, len(self.numeric)), dtype=np.float32)
        for position, feature in enumerate(self.numeric):
            numeric[:, position] = table[feature.name]
        texts = [np.asarray(table[feature.name], dtype=np.str_) for feature in self.categorical]
        categorical = np.stack(texts, axis=1).astype(object) if texts else np.empty((rows, 0), dtype=object)
        times = np.empty((rows, len(self.times)), dtype=np.int64)
        for position, feature in enumerate(self.times):
            seconds = table[feature.name]
            missing = np.isnan(seconds)
            times[:, position] = np.where(missing, NO_TIME, np.where(missing, 0, seconds).astype(np.int64))
        return Inputs(numeric, categorical, times)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for the artifact's metadata."""
        return self.FORM.mark() | asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Contract":
        """Read what `to_json` wrote.

        Raises:
            NewerDocumentError: newer code wrote it.
            ValueError: a part is missing or unknown. A rule this code does not know must not be passed over in silence.
        """
        document = cls.FORM.current(document)
        try:
            features = tuple(
                FeatureContract(**{name: _frozen(value) for name, value in feature.items()})
                for feature in document["features"]
            )
            rules = tuple(OutputRule(**rule) for rule in document.get("rules", ()))
            computed = tuple(_computed(each) for each in document.get("computed", ()))
            interval, guard = document.get("interval"), document.get("guard")
            parts = {cls.FORM.field, "features", "rules", "computed", "interval", "guard"}
            rest = {name: _frozen(value) for name, value in document.items() if name not in parts}
            contract = cls(
                features=features,
                rules=rules,
                computed=computed,
                interval=None if interval is None else PredictionInterval(**interval),
                guard=None if guard is None else Guard.from_json(guard),
                **rest,
            )
            if contract.guard is not None:
                contract.guard.demand_features(contract.numeric, contract.categorical)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a serving contract: {error}") from None
        Rulebook.of(contract)
        return contract


def _computed(document: Mapping[str, Any]) -> ComputedContract:
    rates = tuple(
        GroupRates(
            tuple(rates["by"]),
            rates["min_rows"],
            rates["overall"],
            tuple((tuple(key), rate) for key, rate in rates["groups"]),
        )
        for rates in document["rates"]
    )
    return ComputedContract(**{**document, "rates": rates})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Inputs:
    """The tensors that Tidegate models take; one with no columns is not passed to the session."""

    numeric: npt.NDArray[np.float32]
    categorical: npt.NDArray[Any]
    times: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))

    def feed(self) -> dict[str, npt.NDArray[Any]]:
        """Arguments of `InferenceSession.run`."""
        named = {NUMERIC_INPUT: self.numeric, CATEGORICAL_INPUT: self.categorical, TIMES_INPUT: self.times}
        return {name: value for name, value in named.items() if value.shape[1]}


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A contract's rules, compiled."""

    rules: tuple[tuple[str, Expression | None, Expression], ...] = ()

    @classmethod
    def of(cls, contract: Contract) -> "Rulebook":
        """Raises ExpressionError (a ValueError): a rule cannot be read."""
        return cls(
            tuple(
                (
                    rule.name,
                    None if rule.when is None else compile_expression(rule.when),
                    compile_expression(rule.require),
                )
                for rule in contract.rules
            )
        )

    def broken(self, instance: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the rules that an answer breaks, as listed.

        A rule is broken only when its condition is true and its demand is false: what is missing breaks nothing.
        """
        values = {**instance, "score": answer["score"], "label": answer.get("label")}
        return tuple(
            name
            for name, when, require in self.rules
            if (when is None or when.value(values) is True) and require.value(values) is False
        )

    def demand_kept(self, instances: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> None:
        """Raises ModelFailedError: an answer of the fallback breaks a rule, and nobody has another one."""
        if not self.rules:
            return
        for place, (instance, answer) in enumerate(zip(instances, answers, strict=True)):
            if names := self.broken(instance, answer):
                score = f"{answer['score']:.4g} for instance {place}"
                raise ModelFailedError(f"the fallback's score {score} breaks the business rule {names[0]!r}")
