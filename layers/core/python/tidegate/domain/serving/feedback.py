"""What became of predictions: what a report of outcomes may hold, the record that is kept of each, and which of several
outcomes of a prediction counts.

A record keeps the outcome as it was reported. Which of the classes in `probabilities` it is, `values.class_of` says.
Standard library only: the function that takes reports starts quickly.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tidegate.domain.serving.capture import hour_of
from tidegate.kernel import english, strict_json
from tidegate.kernel.documents import Document, StoredForm
from tidegate.kernel.errors import Fault, RequestInvalidError
from tidegate.kernel.ids import UUID7
from tidegate.kernel.roles import principal
from tidegate.kernel.values import class_name, class_of


def _without_reporter(record: Document) -> Document:
    """Schema 2 says who reported an outcome; of a record of schema 1 nobody knows."""
    return {**record, "reporter": "", "correction": False}


FEEDBACK_RECORD = StoredForm("feedback record", upgrades=(_without_reporter,))
MAX_ITEMS = 500  # in one report
MAX_FAULTS = 50  # listed in one answer; all are counted
MAX_TEXT = 1_024  # characters of an outcome
AHEAD = timedelta(minutes=15)  # for clocks that differ
OLDEST = timedelta(days=400)  # of a prediction
REGRESSION = "regression"
FIELDS = ("id", "outcome", "time")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")  # a lone number would be taken for a day
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Report:
    """A request body: items that are not yet checked. `listed` says whether they stood in a list; faults of one that
    stood alone are named by its fields."""

    items: Sequence[Any]
    listed: bool = True


@dataclass(frozen=True, slots=True)
class ReportedModel:
    """The model that a report is about: its task, the moment of its first version, before which nothing can have been
    predicted (None while it has none), and the classes of its latest version, where these are known."""

    model: str
    task: str
    since: datetime | None
    classes: frozenset[str] = frozenset()

    def of_no_class(self, found: Iterable[Mapping[str, Any]]) -> int:
        """How many records have an outcome that is none of the classes, and so counts for nothing."""
        return sum(class_of(each["outcome"], self.classes) not in self.classes for each in found) if self.classes else 0


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: an IAM ARN. A `correction` replaces what others reported, which is the right of operators."""

    arn: str
    correction: bool = False


class Claim(NamedTuple):
    """What somebody reported of a prediction. `time` is when the outcome became known, `reported` when it came in; both
    aware. `reporter` is an IAM ARN, empty where it is not known."""

    prediction: str
    time: datetime
    reported: datetime
    outcome: bool | float | str
    reporter: str
    correction: bool


@dataclass(frozen=True, slots=True)
class Outcomes:
    """By prediction id, the outcome that counts and the ARN of who reported it. `ignored` are ids of which somebody
    else reported another outcome."""

    known: Mapping[str, Any] = field(default_factory=dict)
    reporters: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


class _WrongError(Exception):
    """A value that a field cannot hold; the message says why."""


def parse_report(body: bytes) -> Report:
    """Read a request body: `{"feedback": [{...}, ...]}`, or one item alone.

    Raises:
        RequestInvalidError: 400 when the body is no JSON text in UTF-8, 422 when it is JSON of another shape.
    """
    document = strict_json.read_body(body)
    if not isinstance(document, dict):
        raise _misshapen(Fault("", f"the body is {_named(document)}, not an object with a list `feedback`"))
    if "feedback" not in document:
        return Report([document], listed=False)
    unknown = [Fault(name[:128], "no such field", ("feedback",)) for name in document if name != "feedback"]
    if unknown:
        raise _misshapen(*unknown[:MAX_FAULTS])
    items = document["feedback"]
    if not isinstance(items, list):
        raise _misshapen(Fault("feedback", f"is {_named(items)}, not a list"))
    if not items:
        raise _misshapen(Fault("feedback", "is empty; give at least one"))
    if len(items) > MAX_ITEMS:
        raise _misshapen(Fault("feedback", f"holds {len(items)}; at most {MAX_ITEMS} in one request"))
    return Report(items)


def records(report: Report, about: ReportedModel, by: Reporter, now: datetime) -> list[dict[str, Any]]:
    """One record for each item, in order: `schema`, `id`, `model`, `hour` (of the prediction), `time` (when the outcome
    became known), `reported` (now), `outcome`, `reporter` and `correction`. `now` is aware UTC.

    Raises:
        RequestInvalidError: names every fault as `feedback[3].id`, at most `MAX_FAULTS`, and the count of all.
    """
    found: list[dict[str, Any]] = []
    faults: list[Fault] = []
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for at, item in enumerate(report.items):
        place = f"feedback[{at}]" if report.listed else ""
        record, wrong = _record(item, about, by, now)
        faults += [Fault(".".join(filter(None, (place, fault.path))), fault.problem, fault.allowed) for fault in wrong]
        if wrong:
            continue
        name = class_name(record["outcome"])
        first, said = seen.setdefault((record["id"], record["time"]), (place, name))
        if said != name:
            faults.append(Fault(f"{place}.id", f"has another outcome in {first}; give each its `time`, or keep one"))
        found.append(record)
    if faults:
        listed = f"; the first {MAX_FAULTS} are listed" if len(faults) > MAX_FAULTS else ""
        raise RequestInvalidError(f"{english.count(len(faults), 'fault')} in the feedback{listed}", faults[:MAX_FAULTS])
    return found


def read_claim(record: Mapping[str, Any]) -> Claim:
    """What a stored record says, which is of the current form. Raises ValueError for what is none."""
    name, outcome = record.get("id"), record.get("outcome")
    moment, came = (datetime.fromisoformat(str(record.get(each))) for each in ("time", "reported"))
    if type(name) is not str or not isinstance(outcome, bool | int | float | str):
        raise ValueError("a record without id or outcome")
    if moment.tzinfo is None or came.tzinfo is None:
        raise ValueError("a record without the zone of its times")
    by = Reporter(sys.intern(str(record.get("reporter") or "")), record.get("correction") is True)
    return Claim(name, moment, came, outcome, by.arn, by.correction)


def outcomes_that_count(claims: Iterable[Claim]) -> Outcomes:
    """Which outcomes count, whatever order the claims come in.

    An outcome belongs to those who reported the first one (`principal`), and is replaced by them or by a correction. Of
    several that may count the one with the latest `time` does, then the one that was reported last. An outcome of which
    nobody knows the reporter belongs to the next who reports the same prediction.
    """
    by_prediction: dict[str, list[Claim]] = {}
    for each in claims:
        by_prediction.setdefault(each.prediction, []).append(each)
    known, reporters, ignored = dict[str, Any](), dict[str, str](), set[str]()
    for prediction, found in by_prediction.items():
        counts, contested = (found[0], False) if len(found) == 1 else _decided(found)
        known[prediction], reporters[prediction] = counts.outcome, counts.reporter
        if contested:
            ignored.add(prediction)
    return Outcomes(known, reporters, frozenset(ignored))


def _owner(claims: Sequence[Claim]) -> str:
    named = [(each.reported, principal(each.reporter)) for each in claims if each.reporter and not each.correction]
    return min(named)[1] if named else ""


def _decided(claims: Sequence[Claim]) -> tuple[Claim, bool]:
    """The claim that counts, and whether others than the owner reported another outcome."""
    corrections, own, others = list[Claim](), list[Claim](), list[Claim]()
    owner = _owner(claims)
    for each in claims:
        side = corrections if each.correction else own if principal(each.reporter) in {owner, ""} else others
        side.append(each)
    counts = max(corrections or own, key=lambda each: (each.time, each.reported))
    return counts, any(class_name(each.outcome) != class_name(counts.outcome) for each in others)


def _record(item: Any, about: ReportedModel, by: Reporter, now: datetime) -> tuple[dict[str, Any], list[Fault]]:
    """The record of an item, or its faults by field."""
    if not isinstance(item, dict):
        return {}, [Fault("", f"is {_named(item)}, not an object")]
    faults = [Fault(name[:128], "no such field", FIELDS) for name in item if name not in FIELDS]
    values: dict[str, Any] = {}
    readers: dict[str, Callable[[], Any]] = {
        "id": lambda: _prediction(item, about, now),
        "time": lambda: _time(item, now),
        "outcome": lambda: _outcome(item, about.task),
    }
    for name, read in readers.items():
        try:
            values[name] = read()
        except _WrongError as wrong:
            faults.append(Fault(name, str(wrong)))
    if faults:
        return {}, faults
    prediction, at = values["id"]
    return {
        "schema": FEEDBACK_RECORD.schema,
        "id": prediction,
        "model": about.model,
        "hour": hour_of(at),
        "time": _text(values["time"]),
        "reported": _text(now),
        "outcome": values["outcome"],
        "reporter": by.arn,
        "correction": by.correction,
    }, []


def _prediction(item: Mapping[str, Any], about: ReportedModel, now: datetime) -> tuple[str, datetime]:
    """The id of a prediction as captures have it, and when it was made: its first 48 bits (RFC 9562)."""
    given = item.get("id")
    if given is None:
        raise _WrongError("is missing: give the id that came with the prediction")
    text = given.lower() if isinstance(given, str) else ""
    if not UUID7.fullmatch(text):
        raise _WrongError("is not the id of a prediction (a UUID of version 7)")
    since_epoch = int(text[:8] + text[9:13], 16)
    if since_epoch > (now + AHEAD - _EPOCH) / _MILLISECOND:
        raise _WrongError("is from the future: no prediction has this id yet")
    if since_epoch < (now - OLDEST - _EPOCH) / _MILLISECOND:
        raise _WrongError(f"is of a prediction older than {OLDEST.days} days")
    if about.since is None or since_epoch < (about.since - AHEAD - _EPOCH) / _MILLISECOND:
        raise _WrongError(f"is not of a prediction of {about.model}: it is older than the model's first version")
    return text, _EPOCH + since_epoch * _MILLISECOND


def _time(item: Mapping[str, Any], now: datetime) -> datetime:
    given = item.get("time")
    if given is None:
        return now
    try:
        moment = datetime.fromisoformat(given if isinstance(given, str) and _DAY.match(given) else "")
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _WrongError("is not a day or time; write 2026-01-05T18:00:00Z, or leave it out for now") from None
    if moment > now + AHEAD:
        raise _WrongError("is in the future; report an outcome when it is known")
    return moment


def _outcome(item: Mapping[str, Any], task: str) -> bool | float | str:
    if "outcome" not in item:
        raise _WrongError("is missing")
    given = item["outcome"]
    if given is None:
        raise _WrongError("is null; report an outcome when it is known")
    if isinstance(given, str) and task != REGRESSION:
        problem = _text_problem(given)
        if problem:
            raise _WrongError(problem)
        return given
    if isinstance(given, int | float) and (task != REGRESSION or not isinstance(given, bool)):
        if not abs(given) <= sys.float_info.max:  # NaN is not
            raise _WrongError("is not a finite number")
        return given
    wanted = "a regression's is a number" if task == REGRESSION else "give a boolean, a number or a text"
    raise _WrongError(f"is {_named(given)}; {wanted}")


def _text_problem(text: str) -> str:
    if not text:
        return "is empty; report an outcome when it is known"
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return "holds a character that is not valid text"
    return ""


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _named(value: object) -> str:
    """The JSON type of a value, with its article."""
    names = {bool: "a boolean", dict: "an object", float: "a number", int: "a number", list: "a list", str: "a text"}
    return names.get(type(value), "null")


def _misshapen(*faults: Fault) -> RequestInvalidError:
    return RequestInvalidError("the request does not have the form of feedback", faults)
