"""An hour of a version's traffic, counted: what windows of any length are made of later, without reading it again.

    counting = Counting(reference, version=3, outcomes=outcomes)
    for lines in objects: counting.add(lines)
    hour = counting.hour(sources)

Counts add up exactly; what was used adds up as floats do. What cannot be counted in advance, the quality of answers,
is kept as samples of numbers: scores, and scores beside outcomes, up to `SAMPLE_ROWS` an hour. No input is kept, and no
id.

Counted is what the version answered by itself: not the fallback's answers, not requests that nobody could answer, and
not answers in place of another version. Only `Hour.usage` is of all answers, whoever gave them, and `Hour.service` of
all that the version was to answer.

Captures repeat records; each id counts once. Of ids that were counted, 64 bits of a keyed hash are remembered, eight
bytes each: among a million ids, the chance that any is taken for another one is 3 in 100 million.
"""

import gc
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from msgspec import DecodeError, defstruct
from msgspec.json import Decoder
from msgspec.structs import astuple

from tidegate.domain.monitoring.costs import FALLBACK, Usage
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.profile import Captures, ColumnLayout, Profile
from tidegate.domain.serving.capture import CAPTURE_RECORD
from tidegate.domain.serving.feedback import Outcomes
from tidegate.domain.serving.reporters import Reports, tallied
from tidegate.domain.serving.service_level import ServiceCounting, ServiceLevel
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.values import class_name, class_of

SAMPLE_ROWS = 2_000
_BLOCK_BYTES = 1 << 18  # of JSON, parsed and counted at a time: as many rows as stay in the processor's cache
_MERGED = 4
_FIELDS = (
    *("id", "version", "reason", "violations", "rows", "sample", "billed_ms", "latency_ms", "shadow"),
    *("score", "label", "route", "arm", "cold"),
)
_Value = float | bool | str | list[Any] | dict[str, Any] | None  # as JSON has it, whole numbers as floats
_NUMBERS = {int, float}
_LARGEST = float(np.finfo(np.float64).max)

Array = npt.NDArray[Any]
Record = Mapping[str, Any]
Answers = Mapping[str, Sequence[Any]]  # columns of captures


@dataclass(frozen=True, slots=True)
class Sample:
    """Scores of up to `SAMPLE_ROWS` of `rows` answers, drawn by hash, so that the first ones are a sample as well.

    A score is the probabilities of all classes, or the value of a regression. `targets` are the outcomes, as places in
    the classes or as numbers; empty where none are known.
    """

    rows: int = 0
    scores: tuple[tuple[float, ...], ...] = ()
    targets: tuple[float, ...] = ()


def _without_usage(hour: Record) -> Record:
    """Schema 2 says what answers used; of an hour of schema 1 nothing is known of that."""
    return {**hour, "usage": {}}


def _without_service(hour: Record) -> Record:
    """Schema 3 has the service level; of an hour of schema 2 nothing is known of that."""
    return {**hour, "service": ServiceLevel().to_json()}


def _without_reports(hour: Record) -> Record:
    """Schema 4 says who reported outcomes; of an hour of schema 3 nobody knows."""
    return {**hour, "reports": Reports().to_json()}


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
        usage: by version ("3") or "fallback", of all answers of the model; of captures that are a sample, as much as
            they stand for. A version that answered in the shadow has the time of that, and no requests.
        service: of the requests that the version was to answer, as many as were captured.
        reports: who reported the outcomes of the version's own answers; `ignored` and `uncaptured` are of the model's.
        unread: objects that could not be read, with the reason.
    """

    FORM: ClassVar = StoredForm(
        "counted hour", upgrades=(_without_usage, _without_service, _without_reports), renew="delete it"
    )

    sources: str
    predictions: int
    profile: Profile
    answers: Sample
    labelled: Sample
    decisions: Mapping[str, Mapping[str, tuple[int, int]]]
    usage: Mapping[str, Usage]
    service: ServiceLevel
    reports: Reports = field(default_factory=Reports)
    unread: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; equal hours give equal documents."""
        return {
            **self.FORM.mark(),
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
            "usage": {name: usage.to_json() for name, usage in self.usage.items()},
            "service": self.service.to_json(),
            "reports": self.reports.to_json(),
            **({"unread": dict(self.unread)} if self.unread else {}),
        }

    @classmethod
    def from_json(cls, document: Record) -> Self:
        """Read what `to_json` wrote; raises NewerDocumentError."""
        document = cls.FORM.current(document)
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
            usage={name: Usage.from_json(numbers) for name, numbers in document["usage"].items()},
            service=ServiceLevel.from_json(document["service"]),
            reports=Reports.from_json(document["reports"]),
            unread=dict(document.get("unread", {})),
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
        outcomes: Outcomes,
        dropped: Collection[str] = (),
        sensitive: Collection[str] = (),
        tolerance: float | None = None,
    ) -> None:
        """
        Args:
            reference: of the version that is counted.
            outcomes: that have arrived.
            dropped: features that captures leave no trace of.
            sensitive: features by whose groups decisions are counted; of a binary model.
            tolerance: of a regression, how far from its outcome an answer is right; without, none is right or wrong.
        """
        self._reference = reference
        self._version = version
        self._outcomes = outcomes.known
        self._ignored = len(outcomes.ignored)
        self._reporters = outcomes.reporters
        self._captured: set[str] = set()  # predictions with an outcome, whoever answered
        self._by: Counter[str] = Counter()
        self._sensitive = [
            column for column in reference.layout.features if column.name in sensitive and column.name not in dropped
        ]
        self._places = {class_name(label): place for place, label in enumerate(reference.classes)}
        self._tolerance = tolerance
        self._ids = _Ids()
        self._usage = _Usages()
        self._service = ServiceCounting(version)
        self._captures = Captures(reference.layout, dropped=dropped)
        self._fields = (*_FIELDS, "probabilities") if reference.task == "multiclass" else _FIELDS
        self._parser = _Parser(self._fields, self._captures.names)
        self._answers, self._labelled = _Draw(), _Draw()
        self._decisions: dict[str, Counter[tuple[str, bool]]] = {column.name: Counter() for column in self._sensitive}

    def add(self, lines: Iterable[bytes]) -> None:
        """Count records, a line of JSON each; `lines` come one at a time, or any number of whole ones together."""
        with _uncollected():
            for block in _blocks(lines):
                columns = self._parser.columns(block)
                if columns:
                    self._count(columns)

    def _count(self, values: list[Sequence[Any]]) -> None:
        """Count columns: the fields, then inputs."""
        new = self._ids.new(values[0])
        if new is not None:
            values = [list(compress(each, new)) for each in values]
        answers = dict(zip(self._fields, values, strict=False))
        self._usage.add(answers)
        self._service.add(answers)
        if self._outcomes:
            self._judge(answers)
        own = self._own(answers)
        if own is not None:
            values = [list(compress(each, own)) for each in values]
        if values[0]:
            self._count_own(dict(zip(self._fields, values, strict=False)), self._parser.features(values[-1]))

    def _own(self, answers: Answers) -> list[bool] | None:
        """Which answers are the version's own; None when all are."""
        version, reasons = self._version, set(answers["reason"])
        alone = {reason for reason in reasons if ":" not in reason}
        if alone == reasons and set(answers["version"]) == {version} and not any(answers["violations"]):
            return None
        rows = zip(answers["version"], answers["reason"], answers["violations"], strict=True)
        return [by == version and reason in alone and not broken for by, reason, broken in rows]

    def _judge(self, answers: Answers) -> None:
        """Decisions whose outcome is known, and says whether they were right."""
        known = self._known(answers)
        self._captured.update(answers["id"][place] for place in known)
        for place in known:
            target = self._target(answers["id"][place])
            label, score = answers["label"][place], answers["score"][place]
            if target is None:
                continue
            if self._places:
                if label is not None:
                    self._usage.judge(answers, place, right=self._places.get(class_name(label)) == target)
            elif self._tolerance is not None and score is not None:
                self._usage.judge(answers, place, right=bool(abs(score - target) <= self._tolerance))

    def _known(self, answers: Answers) -> list[int]:
        """Places of the answers whose outcome has arrived."""
        return [place for place, name in enumerate(answers["id"]) if name in self._outcomes] if self._outcomes else []

    def hour(self, sources: str) -> Hour:
        """What was counted; `sources` is kept with it."""
        return Hour(
            sources=sources,
            predictions=self._usage.predictions,
            profile=self._captures.profile(),
            answers=self._answers.sample(labelled=False),
            labelled=self._labelled.sample(labelled=True),
            decisions={
                column: {group: (counts[group, False] + yes, yes) for group, yes in _positives(counts).items()}
                for column, counts in self._decisions.items()
            },
            usage=self._usage.by_version(),
            service=self._service.level(),
            reports=Reports(tallied([self._by]), self._ignored, len(self._outcomes) - len(self._captured)),
        )

    def _count_own(self, answers: Answers, inputs: Sequence[Sequence[Any]]) -> None:
        ids, scores, labelled = answers["id"], answers["score"], self._known(answers)
        self._captures.add(inputs, scores, answers["label"], [self._outcomes[ids[place]] for place in labelled])
        for drawn, place in self._answers.taken(ids):
            self._answers.put(drawn, self._score(answers, place), 0.0)
        self._by.update(self._reporters.get(ids[place], "") for place in labelled)
        targets = {ids[place]: (place, self._target(ids[place])) for place in labelled}
        for drawn, index in self._labelled.taken(
            known := [name for name, (_, each) in targets.items() if each is not None]
        ):
            place, target = targets[known[index]]
            self._labelled.put(drawn, self._score(answers, place), float(target or 0))
        for column in self._sensitive:
            groups = _groups(column, inputs[self._captures.names.index(column.name)])
            counts = Counter(zip(groups, [score >= self._reference.threshold for score in scores], strict=True))
            self._decisions[column.name].update(
                {(group, yes): number for (group, yes), number in counts.items() if group is not None}
            )

    def _target(self, prediction: str) -> float | None:
        """An outcome that is no class of the version, or no number, is passed over; the profile counts it."""
        outcome = self._outcomes[prediction]
        if self._places:
            return self._places.get(class_of(outcome, self._places))
        return float(outcome) if type(outcome) in _NUMBERS and abs(outcome) <= _LARGEST else None

    def _score(self, answers: Answers, place: int) -> tuple[float, ...]:
        match self._reference.task:
            case "regression":
                return (float(answers["score"][place]),)
            case "binary":
                given = float(answers["score"][place])
                ends = (given, 1 - given) if self._reference.positive == 0 else (1 - given, given)
                return tuple(round(each, 6) for each in ends)
            case "multiclass":
                probabilities = answers["probabilities"][place]
                return tuple(round(probabilities[name], 6) for name in self._places)


class _Draw:
    """Keeps the rows whose places come first, whatever order they arrive in."""

    def __init__(self) -> None:
        self._rows = 0
        self._kept: list[tuple[int, tuple[float, ...], float]] = []
        self._last: float = float("inf")

    def taken(self, ids: Sequence[str]) -> list[tuple[int, int]]:
        """Counts all, and returns those that may be kept: where they come in the draw, and in `ids`."""
        self._rows += len(ids)
        places = np.fromiter(map(zlib.crc32, map(str.encode, ids)), dtype=np.int64, count=len(ids))
        first = np.flatnonzero(places <= self._last)
        return list(zip(places[first].tolist(), first.tolist(), strict=True))

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


class _Ids:
    """Ids that were seen, as hashes in sorted arrays. An array is merged with the one before it unless that is far
    longer, so there are few, and each id is merged few times."""

    def __init__(self) -> None:
        self._seen: list[npt.NDArray[np.int64]] = []

    def new(self, ids: Sequence[str]) -> list[bool] | None:
        """Whether each id is new; of equal ones the first is. None when all are."""
        hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
        found, places = np.unique(hashes, return_index=True)
        for seen in self._seen:
            new = seen.take(seen.searchsorted(found), mode="clip") != found
            found, places = found[new], places[new]
        if len(found):
            self._store(found)
        if len(found) == len(ids):
            return None
        known = np.zeros(len(ids), dtype=np.bool_)
        known[places] = True
        return known.tolist()

    def _store(self, added: npt.NDArray[np.int64]) -> None:
        while self._seen and len(self._seen[-1]) <= _MERGED * len(added):
            added = np.sort(np.concatenate([self._seen.pop(), added]), kind="stable")  # two sorted runs: a merge
        self._seen.append(added)


class _Usages:
    """What all answers used, by version."""

    def __init__(self) -> None:
        self._sums: defaultdict[int | None, Usage] = defaultdict(Usage)
        self._judged: Counter[tuple[int | None, float, bool]] = Counter()

    @property
    def predictions(self) -> int:
        """Of all versions and the fallback."""
        return round(sum(usage.predictions for usage in self._sums.values()))

    def add(self, answers: Answers) -> None:
        """Count answers, each of which stands for 1/`sample` rows of requests of `rows` rows."""
        billed_ms: Sequence[float] = answers["billed_ms"]
        if None in billed_ms:  # old captures have the latency only
            pairs = zip(billed_ms, answers["latency_ms"], strict=True)
            billed_ms = [latency if billed is None else billed for billed, latency in pairs]
        kinds = list(zip(answers["version"], answers["rows"], answers["sample"], strict=True))
        several = set(kinds)
        for version, rows, sample in several:
            mine = billed_ms
            if len(several) > 1:
                mine = list(compress(billed_ms, [kind == (version, rows, sample) for kind in kinds]))
            self._sums[version] += Usage(len(mine) / sample / rows, len(mine) / sample, sum(mine) / sample / rows)
        if any(answers["shadow"]):
            for shadow, (_, rows, sample) in zip(answers["shadow"], kinds, strict=True):
                if shadow:
                    self._sums[shadow["version"]] += Usage(billed_ms=shadow["latency_ms"] / sample / rows)

    def judge(self, answers: Answers, place: int, *, right: bool) -> None:
        """Count a decision whose outcome is known."""
        self._judged[answers["version"][place], answers["sample"][place], right] += 1

    def by_version(self) -> dict[str, Usage]:
        """By name of version, in order."""
        judged: Counter[tuple[int | None, bool]] = Counter()
        for (version, sample, right), number in self._judged.items():
            judged[version, right] += number / sample  # type: ignore[assignment]
        return {
            FALLBACK if version is None else str(version): replace(
                usage, right=round(judged[version, True]), wrong=round(judged[version, False])
            )
            for version, usage in sorted(self._sums.items(), key=lambda pair: (pair[0] is None, pair[0]))
        }


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, which would look through all records again and again: JSON has no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, joined to as many as are worth a turn."""
    held: list[bytes] = []
    size = 0
    for each in lines:
        held.append(each)
        size += len(each)
        if size >= _BLOCK_BYTES:
            yield b"\n".join(held)
            held, size = [], 0
    if held:
        yield b"\n".join(held)


class _Parser:
    """Makes records of lines: objects of the fields and, as the last one, of an object of the features; None where a
    line has none. All else in a line is passed over, so this takes less than half the time of making dicts."""

    def __init__(self, fields: Sequence[str], features: Sequence[str]) -> None:
        self._fields, self._features = fields, features
        self._plain = all(json.dumps(name, ensure_ascii=False) == f'"{name}"' for name in features)
        places = [f"feature_{place}" for place in range(len(features))]
        self._inputs = defstruct(
            "Inputs",
            [(place, _Value, None) for place in places],
            rename=dict(zip(places, features, strict=True)) if self._plain else None,
            gc=False,
        )
        self._record = defstruct(
            "Record",
            [*((name, Any, None) for name in fields), ("inputs", self._inputs | None, None)],
            gc=False,
            tag_field=CAPTURE_RECORD.field,
            tag=CAPTURE_RECORD.schema,
        )
        self._decoder = Decoder(self._record)
        self._no_inputs = self._inputs()

    def columns(self, block: bytes) -> list[Sequence[Any]]:
        """Values of the lines by field, then the inputs; raises JSONDecodeError."""
        return _columns(self._records(block))

    def features(self, inputs: Sequence[Any]) -> list[Sequence[Any]]:
        """Values of inputs by feature."""
        return _columns([each or self._no_inputs for each in inputs])

    def _records(self, block: bytes) -> list[Any]:
        if self._plain:
            with suppress(DecodeError):  # a broken line, one of another form, or a number beyond every float
                return self._decoder.decode_lines(block)
        return [self._read(line) for line in block.split(b"\n") if line]

    def _read(self, line: bytes) -> Any:
        """What only the standard library reads, also when a feature's name has to be escaped."""
        given = CAPTURE_RECORD.read(line)
        inputs = given.get("inputs") or {}
        return self._record(*map(given.get, self._fields), self._inputs(*map(inputs.get, self._features)))


def _columns(records: Sequence[Any]) -> list[Sequence[Any]]:
    return list(zip(*map(astuple, records), strict=True))


def _groups(column: ColumnLayout, values: Sequence[Any]) -> list[str | None]:
    """The group of each value, a cell of the layout: a known category, a yes or no, a range of numbers."""
    if column.kind == "categorical":
        known = frozenset(column.categories)
        return [value if type(value) is str and value in known else None for value in values]
    if column.kind == "boolean":
        return [class_name(value) if type(value) is bool else None for value in values]
    given = [value if type(value) in _NUMBERS and abs(value) <= _LARGEST else np.nan for value in values]
    numbers = np.asarray(given, dtype=np.float64)
    ranges = column.cell_names[: len(column.edges) + 1]
    names: list[str | None] = [*ranges, *[None] * (column.size - len(ranges))]
    return [names[cell] for cell in column.cells(numbers).tolist()]


def _positives(counts: Counter[tuple[str, bool]]) -> dict[str, int]:
    return {group: counts[group, True] for group in sorted({group for group, _ in counts})}


def _sample_json(sample: Sample) -> dict[str, Any]:
    return {
        "rows": sample.rows,
        "scores": [list(score) for score in sample.scores],
        "targets": list(sample.targets),
    }


def _sample(document: Record) -> Sample:
    return Sample(document["rows"], tuple(map(tuple, document["scores"])), tuple(document["targets"]))
