"""Rows of a file against the serving contract: a column at once, and one by one where that says something is odd.

`prediction.validate` is what refuses a row, so a row of a file is refused for what a request would be, in the same
words. What happens here only finds the rows that have to be asked about: numpy only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.domain.serving.contract import MAX_TEXT, Contract, FeatureContract, Inputs, Rulebook
from tidegate.domain.serving.guard import Detector, Floats
from tidegate.domain.serving.prediction import validate
from tidegate.kernel.errors import Fault, RequestInvalidError
from tidegate.kernel.table import Column

_WHOLE = ("numeric", "integer", "boolean", "categorical")  # kinds that are looked at by column
_SINGLE = np.finfo(np.float32)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Given:
    """A column as a file has it. Numbers and truth values are float64, NaN is missing; of everything else `codes` are
    places in `texts`, -1 is missing. `odd` holds, by row, values that are not of the column's kind."""

    numbers: Column | None = None
    codes: Column | None = None
    texts: Column | None = None
    odd: Mapping[int, Any] = field(default_factory=dict)

    def value(self, row: int, kind: str) -> Any:
        """As a request would have it."""
        if row in self.odd:
            return self.odd[row]
        if self.numbers is not None:
            number = float(self.numbers[row])
            if math.isnan(number):
                return None
            return bool(number) if kind == "boolean" else number
        if self.codes is None or self.texts is None or self.codes[row] < 0:
            return None
        return str(self.texts[self.codes[row]])


@dataclass(frozen=True, slots=True)
class Rows:
    """A run of rows: the features that the file has, by name; and rows that are none, by their place, with the reason.
    `ids` are passed on as they are."""

    count: int
    given: Mapping[str, Given]
    ids: Mapping[str, Column] = field(default_factory=dict)
    broken: Mapping[int, str] = field(default_factory=dict)

    def instance(self, contract: Contract, row: int) -> dict[str, Any]:
        """A row as a request would have it."""
        return {
            feature.name: self.given[feature.name].value(row, feature.kind)
            for feature in contract.features
            if feature.name in self.given
        }


@dataclass(slots=True)
class Answers:
    """What became of each row, by column. Rows with faults have NaN for numbers and -1 for the label's place."""

    score: Column  # float32 [rows]
    label: Column  # places in the contract's classes [rows]; of a regression all are -1
    probabilities: Column  # float32 [rows, classes]
    lower: Column
    upper: Column
    fallback: Mask
    unusual: Mask  # the guard's mark
    rule: dict[int, str]  # the first rule that the model's answer broke
    faults: dict[int, tuple[Fault, ...]]

    @classmethod
    def empty(cls, contract: Contract, count: int) -> "Answers":
        """Of rows that nobody has looked at."""

        def column(*shape: int) -> Column:
            return np.full((count, *shape), np.nan, dtype=np.float32)

        none = np.full(count, -1, dtype=np.int64)
        classes = len(contract.classes)
        unmarked = np.zeros((2, count), dtype=bool)
        return cls(column(), none, column(classes), column(), column(), unmarked[0], unmarked[1], {}, {})


def suspects(contract: Contract, rows: Rows) -> Mask:
    """Rows that the contract may refuse; every row that it does refuse is among them."""
    found: Mask = np.zeros(rows.count, dtype=bool)
    for feature in contract.features:
        given = rows.given.get(feature.name)
        if given is None:
            if feature.missing == "reject":
                found[:] = True
            continue
        found[list(given.odd)] = True
        if given.numbers is not None:
            found |= _odd_numbers(feature, given.numbers)
        elif given.codes is not None and given.texts is not None:
            found |= _odd_texts(contract, feature, given.texts)[given.codes]
    found[list(rows.broken)] = True
    return found


def _odd_numbers(feature: FeatureContract, numbers: Column) -> Mask:
    low = max(-_SINGLE.max if feature.minimum is None else feature.minimum, -_SINGLE.max)
    high = min(_SINGLE.max if feature.maximum is None else feature.maximum, _SINGLE.max)
    missing = np.isnan(numbers)
    odd: Mask = np.zeros(len(numbers), dtype=bool)
    if feature.kind != "boolean":
        odd = ~((numbers >= low) & (numbers <= high)) & ~missing
    if feature.kind == "integer":
        odd |= (numbers != np.floor(numbers)) & ~missing
    return odd | missing if feature.missing == "reject" else odd


def _odd_texts(contract: Contract, feature: FeatureContract, texts: Column) -> Mask:
    """By place in `texts`, the last one for -1."""
    if feature.kind not in _WHOLE:
        alone = replace(contract, features=(feature,), rules=(), computed=())
        refused = [_refuses(alone, feature.name, text) for text in texts]
        return np.array([*refused, feature.missing == "reject"], dtype=bool)
    known = set(feature.categories or ())
    closed = feature.unseen == "reject" and feature.categories is not None
    rejects = feature.missing == "reject"
    odd = [
        (not text and rejects)
        or (closed and bool(text) and text not in known)
        or len(text) > MAX_TEXT
        or "\0" in text
        or not text.isascii()
        for text in texts
    ]
    return np.array([*odd, rejects], dtype=bool)


def _refuses(contract: Contract, name: str, value: Any) -> bool:
    try:
        validate(contract, [{name: value}])
    except RequestInvalidError:
        return True
    return False


def inputs(contract: Contract, rows: Rows, kept: Column) -> Inputs:
    """Model inputs of the rows at the places `kept`, which the contract takes.

    Raises:
        RequestInvalidError: it does not, after all.
    """
    if any(feature.kind not in _WHOLE for feature in contract.features):
        return validate(contract, [rows.instance(contract, row) for row in kept.tolist()])
    numeric = np.full((len(kept), len(contract.numeric)), np.nan, dtype=np.float32)
    categorical = np.full((len(kept), len(contract.categorical)), "", dtype=object)
    for position, feature in enumerate(contract.numeric):
        given = rows.given.get(feature.name)
        if given is not None and given.numbers is not None:
            numeric[:, position] = given.numbers[kept]
    for position, feature in enumerate(contract.categorical):
        given = rows.given.get(feature.name)
        if given is not None and given.codes is not None and given.texts is not None:
            categorical[:, position] = np.append(given.texts, "")[given.codes[kept]]
    return Inputs(numeric, categorical)


def text_scores(contract: Contract, rows: Rows, detector: Detector) -> list[Floats]:
    """What each text column adds to the guard's score of each row; every value is looked up once."""
    found = []
    for place, feature in enumerate(contract.categorical):
        given = rows.given.get(feature.name)
        if given is None or given.codes is None or given.texts is None:
            found.append(np.repeat(detector.text_scores(place, [""]), rows.count))
        else:
            found.append(detector.text_scores(place, [*given.texts, ""])[given.codes])
    return found


def faults_of(contract: Contract, rows: Rows, row: int) -> tuple[Fault, ...]:
    """What is wrong with one row; nothing when the contract takes it."""
    if row in rows.broken:
        return (Fault("", rows.broken[row]),)
    try:
        validate(contract, [rows.instance(contract, row)])
    except RequestInvalidError as error:
        return tuple(
            Fault(fault.path.removeprefix("instances[0]").removeprefix("."), fault.problem, fault.allowed)
            for fault in error.faults
        )
    return ()


def fill(contract: Contract, found: Answers, kept: Column, scores: Column) -> Column:
    """Put the scores of the rows at the places `kept` where they belong, as `prediction.answers` would say them;
    returns the places whose scores are no finite numbers, which stay empty."""
    finite = np.isfinite(scores).all(axis=1)
    kept, lost, scores = kept[finite], kept[~finite], scores[finite]
    if contract.task == "regression":
        found.score[kept] = scores[:, 0]
        if contract.interval is not None:
            middle, half = scores[:, 0].astype(np.float64), contract.interval.half_width
            found.lower[kept], found.upper[kept] = middle - half, middle + half
        return lost
    found.probabilities[kept] = scores
    if contract.task == "multiclass":
        best = scores.argmax(axis=1)
        found.label[kept], found.score[kept] = best, scores[np.arange(len(best)), best]
    else:
        score = scores[:, contract.positive]
        yes = score >= np.float32(contract.threshold)
        found.label[kept], found.score[kept] = np.where(yes, contract.positive, 1 - contract.positive), score
    return lost


def broken_rules(
    contract: Contract, rulebook: Rulebook, rows: Rows, found: Answers, kept: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """Which rules the answer to a row breaks, of rows that break any. Rules are read row by row, as in serving."""
    if not rulebook.rules:
        return {}
    broken: dict[int, tuple[str, ...]] = {}
    for row in kept:
        label = int(found.label[row])
        answer = {"score": float(str(found.score[row])), "label": contract.classes[label] if label >= 0 else None}
        names = rulebook.broken(rows.instance(contract, row), answer)
        if names:
            broken[row] = names
    return broken


def forget(contract: Contract, found: Answers, row: int, faults: Sequence[Fault]) -> None:
    """Take a row's answer away: it has faults instead."""
    blank = Answers.empty(contract, 1)
    for column in ("score", "label", "probabilities", "lower", "upper", "fallback", "unusual"):
        getattr(found, column)[row] = getattr(blank, column)[0]
    found.faults[row] = tuple(faults)
