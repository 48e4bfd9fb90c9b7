"""An hour of a version's traffic, counted: what windows of any length are made of later, without reading it again.

    counting = Counting(reference, version=3, outcomes=outcomes)
    for lines in objects: counting.add(lines)
    hour = counting.hour(sources)

Counts add up exactly. What cannot be counted in advance, the quality of answers, is kept as samples of numbers: scores,
and scores beside outcomes, up to `SAMPLE_ROWS` an hour. No input is kept, and no id.

Counted is what the version answered by itself: not the fallback's answers, not requests that nobody could answer, and
not answers in place of another version. Captures repeat records; each id counts once.
"""

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tidegate.domain.profile import ColumnLayout, Profile, captured
from tidegate.domain.reference import Reference

SCHEMA = 1
SAMPLE_ROWS = 2_000
_CHUNK_ROWS = 2_000  # parsed and held at a time
_NUMBERS = {int, float}
_LARGEST = float(np.finfo(np.float64).max)

Array = npt.NDArray[Any]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """Scores of up to `SAMPLE_ROWS` of `rows` answers, drawn by hash, so that the first ones are a sample as well.

    A score is the probabilities of all classes, or the value of a regression. `targets` are the outcomes, as places in
    the classes or as numbers; empty where none are known.
    """

    rows: int = 0
    scores: tuple[tuple[float, ...], ...] = ()
    targets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of a version.

    Attributes:
        sources: names what it was counted from, and how.
        predictions: of the model, by whomever they were answered; of captures that are a sample, as many as they stand
            for.
        profile: of the version's own answers.
        answers: of all of them, `labelled` of those whose outcome is known.
        decisions: by sensitive column and group: decisions, and how many of them are positive.
    """

    sources: str
    predictions: int
    profile: Profile
    answers: Sample
    labelled: Sample
    decisions: Mapping[str, Mapping[str, tuple[int, int]]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; equal hours give equal documents."""
        return {
            "schema": SCHEMA,
            "layout": self.profile.layout,
            "sources": self.sources,
            "predictions": self.predictions,
            "rows": self.profile.rows,
            "profile": self.profile.to_json(),
            "answers": _sample_json(self.answers),
            "labelled": _sample_json(self.labelled),
            "decisions": {
                column: {group: list(counts) for group, counts in groups.items()}
                for column, groups in self.decisions.items()
            },
        }

    @classmethod
    def from_json(cls, document: Record) -> Self:
        """Read what `to_json` wrote; raises ValueError for another schema."""
        if document["schema"] != SCHEMA:
            raise ValueError(f"the hour has schema {document['schema']}; this code reads {SCHEMA}")
        return cls(
            sources=document["sources"],
            predictions=document["predictions"],
            profile=Profile.from_json(document["profile"]),
            answers=_sample(document["answers"]),
            labelled=_sample(document["labelled"]),
            decisions={
                column: {group: (counts[0], counts[1]) for group, counts in groups.items()}
                for column, groups in document["decisions"].items()
            },
        )


def merged(samples: Sequence[Sample], most: int) -> tuple[Array, Array]:
    """Targets [n] and scores [n, classes] of at most `most` rows of all hours, each hour by its share of the rows."""
    rows = sum(sample.rows for sample in samples)
    share = min([most / rows if rows else 1.0, *(len(each.scores) / each.rows for each in samples if each.rows)])
    taken = [(sample, round(share * sample.rows)) for sample in samples]
    scores = [score for sample, count in taken for score in sample.scores[:count]]
    targets = [target for sample, count in taken for target in sample.targets[:count]]
    return np.asarray(targets, dtype=np.float64), np.asarray(scores, dtype=np.float64)


class Counting:
    """Counts an hour's capture records, in any order and however they are spread over objects."""

    def __init__(
        self,
        reference: Reference,
        *,
        version: int,
        outcomes: Mapping[str, Any],
        dropped: Collection[str] = (),
        sensitive: Collection[str] = (),
    ) -> None:
        """
        Args:
            reference: of the version that is counted.
            outcomes: that have arrived, by prediction id.
            dropped: features that captures leave no trace of.
            sensitive: features by whose groups decisions are counted; of a binary model.
        """
        self._reference = reference
        self._version = version
        self._outcomes = outcomes
        self._dropped = frozenset(dropped)
        self._sensitive = [column for column in reference.layout.features if column.name in sensitive]
        self._places = {_class_name(label): place for place, label in enumerate(reference.classes)}
        self._ids: set[str] = set()
        self._predictions = 0.0
        self._profile = Profile.empty(reference.layout)
        self._answers, self._labelled = _Draw(), _Draw()
        self._decisions: dict[str, Counter[tuple[str, bool]]] = {column.name: Counter() for column in self._sensitive}

    def add(self, lines: Iterable[bytes]) -> None:
        """Count records, a line of JSON each."""
        waiting = iter(lines)
        while chunk := list(islice(waiting, _CHUNK_ROWS)):
            self._add(json.loads(b"[%s]" % b",".join(chunk)))  # at once: names of fields are then made only once

    def _add(self, records: Iterable[Record]) -> None:
        own = []
        for record in records:
            if record["id"] in self._ids:
                continue
            self._ids.add(record["id"])
            self._predictions += 1 / record["sample"]
            if record["version"] == self._version and ":" not in record["reason"] and not record["violations"]:
                own.append(record)
        self._count(own)

    def hour(self, sources: str) -> Hour:
        """What was counted; `sources` is kept with it."""
        return Hour(
            sources=sources,
            predictions=round(self._predictions),
            profile=self._profile,
            answers=self._answers.sample(labelled=False),
            labelled=self._labelled.sample(labelled=True),
            decisions={
                column: {group: (counts[group, False] + yes, yes) for group, yes in _positives(counts).items()}
                for column, counts in self._decisions.items()
            },
        )

    def _count(self, records: Sequence[Record]) -> None:
        labelled = [record for record in records if record["id"] in self._outcomes]
        known = [self._outcomes[record["id"]] for record in labelled]
        self._profile += captured(self._reference.layout, records, dropped=self._dropped, targets=known)
        for place, record in zip(_places(records), records, strict=True):
            if self._answers.takes(place):
                self._answers.put(place, self._score(record), 0.0)
        for place, record in zip(_places(labelled), labelled, strict=True):
            self._label(place, record)
        for column in self._sensitive:
            positive = [record["score"] >= self._reference.threshold for record in records]
            groups = _groups(column, [(record["inputs"] or {}).get(column.name) for record in records])
            self._decisions[column.name].update(
                (group, yes) for group, yes in zip(groups, positive, strict=True) if group is not None
            )

    def _label(self, place: int, record: Record) -> None:
        """An outcome that is no class of the version, or no number, is passed over; the profile counts it."""
        outcome = self._outcomes[record["id"]]
        if self._places:
            target = self._places.get(_class_name(outcome))
        else:
            target = outcome if type(outcome) in _NUMBERS and abs(outcome) <= _LARGEST else None
        if target is not None and self._labelled.takes(place):
            self._labelled.put(place, self._score(record), float(target))

    def _score(self, record: Record) -> tuple[float, ...]:
        match self._reference.task:
            case "regression":
                return (float(record["score"]),)
            case "binary":
                given = float(record["score"])
                ends = (given, 1 - given) if self._reference.positive == 0 else (1 - given, given)
                return tuple(round(each, 6) for each in ends)
            case "multiclass":
                probabilities = record["probabilities"]
                return tuple(round(probabilities[name], 6) for name in self._places)


class _Draw:
    """Keeps the rows whose places come first, whatever order they arrive in."""

    def __init__(self) -> None:
        self._rows = 0
        self._kept: list[tuple[int, tuple[float, ...], float]] = []
        self._last: float = float("inf")

    def takes(self, place: int) -> bool:
        """Counts a row; whether it is kept."""
        self._rows += 1
        return place <= self._last

    def put(self, place: int, score: tuple[float, ...], target: float) -> None:
        self._kept.append((place, score, target))
        if len(self._kept) >= 2 * SAMPLE_ROWS:
            self._cut()
            self._last = self._kept[-1][0]

    def sample(self, *, labelled: bool) -> Sample:
        self._cut()
        scores = tuple(score for _, score, _ in self._kept)
        return Sample(self._rows, scores, tuple(target for *_, target in self._kept) if labelled else ())

    def _cut(self) -> None:
        self._kept = sorted(self._kept)[:SAMPLE_ROWS]


def _places(records: Sequence[Record]) -> list[int]:
    return [zlib.crc32(record["id"].encode()) for record in records]


def _groups(column: ColumnLayout, values: Sequence[Any]) -> list[str | None]:
    """The group of each value, a cell of the layout: a known category, a yes or no, a range of numbers."""
    if column.kind == "categorical":
        known = frozenset(column.categories)
        return [value if type(value) is str and value in known else None for value in values]
    if column.kind == "boolean":
        return [_class_name(value) if type(value) is bool else None for value in values]
    numbers = np.asarray([value if type(value) in _NUMBERS else np.nan for value in values], dtype=np.float64)
    names: list[str | None] = [*column.cell_names[: len(column.edges) + 1], None, None, None, None]
    return [names[cell] for cell in column.cells(numbers).tolist()]


def _positives(counts: Counter[tuple[str, bool]]) -> dict[str, int]:
    return {group: counts[group, True] for group in sorted({group for group, _ in counts})}


def _class_name(label: Any) -> str:
    """As probabilities name it: true is "true", 3 is "3"."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _sample_json(sample: Sample) -> dict[str, Any]:
    return {
        "rows": sample.rows,
        "scores": [list(score) for score in sample.scores],
        "targets": list(sample.targets),
    }


def _sample(document: Record) -> Sample:
    return Sample(document["rows"], tuple(map(tuple, document["scores"])), tuple(document["targets"]))
