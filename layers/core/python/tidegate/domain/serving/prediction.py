"""The serving contract: what a request may hold, how it becomes the model's inputs, and what an answer says.

The contract travels inside the ONNX file (metadata key `CONTRACT_KEY`), so that one SHA-256 covers the arithmetic and
the rules around it. This module is on the inference path: standard library, numpy and orjson only, columns instead of
rows.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from tidegate.domain.serving.contract import MAX_NUMBER, MAX_TEXT, NO_TIME, Contract, FeatureContract, Inputs
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, ModelFailedError, RequestInvalidError
from tidegate.kernel.expressions.times import seconds_of
from tidegate.kernel.values import class_name

MAX_KEY = 256  # characters of a routing key
MAX_FAULTS = 50  # listed in one answer; all are counted
_MAX_LISTED = 40  # allowed categories named in one fault
_TIME_EXAMPLE = 'like "2013-05-01T17:30:00Z", of the years 1 to 9999'
_EXACT = 2.0**53 - 1  # no other whole number becomes the same float64 as one up to here
_NOTHING = frozenset({type(None)})
_NUMBERS = frozenset({int, float})  # by exact type: a JSON true is a bool, which Python counts among the ints
_TEXTS = frozenset({str})
_NUMBERS_OR_NOTHING, _TEXTS_OR_NOTHING = _NUMBERS | _NOTHING, _TEXTS | _NOTHING
_FLAGS_OR_NOTHING = frozenset({bool}) | _NOTHING


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """A request body: the instances, not yet checked against a contract, the routing key if there is one, and the
    version if the request names the one that is to answer."""

    instances: list[Any]
    routing_key: str | None = None
    version: int | None = None


def parse_request(body: bytes, *, max_instances: int) -> PredictionRequest:
    """Read a request body `{"instances": [{...}, ...], "routing_key": "..."}`; the routing key may be left out.

    Raises:
        RequestInvalidError: 400 when the body is no JSON text in UTF-8, 422 when it is JSON of another shape.
    """
    document = read_json(body)
    if not isinstance(document, dict):
        problem = f"the body is {_named(document)}, not an object with a list `instances`"
        raise _misshapen(Fault("", f"{problem}{wrap_hint(document, _FORM)}"))
    if not document.keys() & set(_FIELDS) and (hint := wrap_hint(document, _FORM)):
        raise _misshapen(Fault("", f"the body is one instance, not an object with a list `instances`{hint}"))
    unknown = [Fault(_shortened(name), _no_such_field(name), _FIELDS) for name in document if name not in _FIELDS]
    if unknown:
        raise _misshapen(*unknown[:MAX_FAULTS])
    if "instances" not in document:
        raise _misshapen(Fault("instances", "is required: a list of objects, one for each prediction"))
    instances = document["instances"]
    if not isinstance(instances, list):
        raise _misshapen(Fault("instances", f"is {_named(instances)}, not a list{wrap_hint(instances, _FORM)}"))
    demand_count(len(instances), max_instances)
    return PredictionRequest(instances, routing_key(document.get("routing_key"), "routing_key"))


_FIELDS = ("instances", "routing_key")
_FORM = '{"instances": [%s]}'


def wrap_hint(given: Any, form: str) -> str:
    """`; wrap it: {"instances": [{"carrier": ...}]}` for an instance, or a list of them, without the object around it;
    nothing for what is neither. It names the first field as the caller does; `form` has a %s for the instance."""
    first = given[0] if isinstance(given, list) and given else given
    if not isinstance(first, dict) or not first or any(isinstance(value, list | dict) for value in first.values()):
        return ""
    name, *others = first
    more = ", ..." if others else ""
    return f"; wrap it: {form % f'{{{_quoted(name)}: ...{more}}}'}"


def _quoted(name: str) -> str:
    return orjson.dumps(_shortened(name)).decode()


def _no_such_field(name: str) -> str:
    from tidegate.kernel.fault_words import did_you_mean  # for faults only: not worth a cold start's time

    return f"no such field{did_you_mean(name, _FIELDS)}"


_KEPT = {ord(letter): letter for letter in '":'} | dict.fromkeys(b"0123456789", "0") | dict.fromkeys(b" \t\r\n", " ")
_OUTLINE = "".join(_KEPT.get(code, "x") for code in range(256)).encode()  # of a body: its digits, texts and names
_LONG = b"0" * 19  # digits: only of so many is an integer that orjson, which has 64 bits for one, reads as a float


def read_json(body: bytes, *, constants: bool = False) -> Any:
    """A body's JSON as the standard library reads it. orjson reads it first; what that refuses (a NaN, half a surrogate
    pair, a fault) is the standard library's, and so is what may have a name twice in one object. With `constants`, NaN
    and the infinities are taken, which JSON has not.

    Raises:
        RequestInvalidError: 400 when the body is no JSON text in UTF-8, or has a name twice in one object.
    """
    outline = body.translate(_OUTLINE)
    if _LONG not in outline:
        with suppress(orjson.JSONDecodeError):
            document = orjson.loads(body)
            if _names(document) in _colons(body, outline):
                return document
    from tidegate.kernel import strict_json  # for bodies that are out of the ordinary

    return strict_json.read_body(body, constants=constants)


def _colons(body: bytes, outline: bytes) -> Iterator[int]:
    """Ever better counts of the colons behind names, none too low: if there are no more than distinct names, no name is
    given twice. Those between digits are parts of times; one behind a name follows its quote or white space."""
    colons = body.count(b":")
    yield colons
    yield colons - outline.count(b"0:0")
    yield outline.count(b'":') + outline.count(b" :")


def _names(document: Any) -> int:
    """Names in the objects of a decoded body as they usually are: the body's, and those of the objects listed in it;
    another number of those of another body, which is refused if it has more."""
    if type(document) is not dict:
        return 0
    names = len(document)
    for value in document.values():
        if type(value) is list and value and type(value[0]) is dict:
            try:
                names += sum(map(len, value))
            except TypeError:
                return 0
    return names


def demand_count(count: int, most: int, path: str = "instances") -> None:
    """Raises RequestInvalidError unless a request has 1 to `most` instances."""
    if not count:
        raise _misshapen(Fault(path, "is empty; give at least one"))
    if count > most:
        raise _misshapen(Fault(path, f"holds {count}; at most {most} in one request"))


def routing_key(value: object, path: str) -> str | None:
    """The text of a routing key, which is a text or a number; 7, 7.0 and "7" are one key. None when there is none.

    Raises:
        RequestInvalidError: something else, named by `path`.
    """
    if value is None:
        return None
    if type(value) is float and math.isfinite(value):
        value = int(value) if value.is_integer() else repr(value)
    if type(value) not in {str, int} or len(str(value)) > MAX_KEY or value == "":
        problem = f"is {_named(value)}" if type(value) is not str else f"has {len(str(value))} characters"
        raise _misshapen(Fault(path, f"{problem}; a routing key is a text of 1 to {MAX_KEY} characters or a number"))
    return str(value)


def validate(contract: Contract, instances: Sequence[Any], also: frozenset[str] = frozenset()) -> Inputs:
    """Check instances against the contract and turn them into model inputs, column by column.

    Fields named in `also` are passed over: another version that shares the requests knows them.

    Raises:
        RequestInvalidError: names every fault as `instances[3].carrier`, at most `MAX_FAULTS`, and the count of all.
    """
    validator = _PREPARED.get(id(contract))
    if validator is None:
        if len(_PREPARED) >= _MOST_PREPARED:
            _PREPARED.clear()
        validator = _PREPARED[id(contract)] = Validator(contract)
    return validator.inputs(instances, also)


class Validator:
    """`validate` with all prepared that depends on the contract alone, for who keeps it beside the contract.

    Instances that keep the contract are nearly always accepted at once: every value is pulled out once, and types,
    bounds and texts are looked at for whole columns. What is not accepted so is looked at feature by feature, which
    finds the faults there are; it also accepts what the arrays cannot judge exactly, numbers beyond `_EXACT`.
    """

    def __init__(self, contract: Contract) -> None:
        numeric = contract.numeric
        numbers = [place for place, feature in enumerate(numeric) if feature.kind != "boolean"]
        flags = [place for place, feature in enumerate(numeric) if feature.kind == "boolean"]
        order = [*numbers, *flags]
        ordered = [numeric[place] for place in order]
        bounds = [_bounds(feature) if feature.kind != "boolean" else (0.0, 1.0) for feature in ordered]
        self._contract = contract
        self._names = tuple(feature.name for feature in (*ordered, *contract.categorical, *contract.times))
        self._known = frozenset(self._names)
        self._pull = _puller(self._names)
        self._numbers, self._numeric = len(numbers), len(order)
        self._places = np.argsort(order) if flags else None
        self._low = np.array([max(low, -_EXACT) for low, _ in bounds], dtype=np.float64)[:, None]
        self._high = np.array([min(high, _EXACT) for _, high in bounds], dtype=np.float64)[:, None]
        self._whole = [place for place, feature in enumerate(ordered) if feature.kind == "integer"]
        self._missing = np.array([feature.missing == "allow" for feature in ordered], dtype=np.bool_)[:, None]
        self._texts = tuple((feature, _unproblematic(feature)) for feature in contract.categorical)

    def inputs(self, instances: Sequence[Any], also: frozenset[str] = frozenset()) -> Inputs:
        """Model inputs; see `validate`."""
        inputs = self._at_once(instances, also)
        return _by_feature(self._contract, instances, also) if inputs is None else inputs

    def _at_once(self, instances: Sequence[Any], also: frozenset[str]) -> Inputs | None:
        """None when a value may break the contract."""
        if set(map(type, instances)) != {dict}:
            return None
        try:
            pulled = list(map(self._pull, instances))
            no_others = sum(map(len, instances)) == len(instances) * len(self._names)
        except KeyError:
            pulled, no_others = [tuple(map(instance.get, self._names)) for instance in instances], False
        if not no_others and not all(map((self._known | also).issuperset, instances)):
            return None
        columns = list(zip(*pulled, strict=True))
        numeric = self._numbers_of(columns[: self._numeric], len(instances))
        if numeric is None:
            return None
        split = self._numeric + len(self._texts)
        categorical = self._texts_of(columns[self._numeric : split], len(instances))
        if categorical is None:
            return None
        times = _times_of(self._contract.times, columns[split:], len(instances))
        return None if times is None else Inputs(numeric, categorical, times)

    def _numbers_of(self, columns: list[tuple[Any, ...]], rows: int) -> npt.NDArray[np.float32] | None:
        numbers = set(map(type, chain.from_iterable(columns[: self._numbers])))
        flags = set(map(type, chain.from_iterable(columns[self._numbers :])))
        if not (numbers <= _NUMBERS_OR_NOTHING and flags <= _FLAGS_OR_NOTHING):
            return None
        try:
            found = np.fromiter(chain.from_iterable(columns), np.float64, rows * len(columns))
        except OverflowError:
            return None
        found = found.reshape(len(columns), rows)
        fits = (self._low <= found) & (found <= self._high)
        if not fits.all():
            absent = np.isnan(found)
            if sum(column.count(None) for column in columns) != np.count_nonzero(absent):
                return None  # a NaN, or no number beyond the bounds
            if not (fits | (absent & self._missing)).all():
                return None
        if self._whole and float in numbers:
            whole = found[self._whole]
            if (whole % 1 > 0).any():
                return None
        placed = found if self._places is None else found[self._places]
        return placed.T.astype(np.float32, order="C")

    def _texts_of(self, columns: list[tuple[Any, ...]], rows: int) -> npt.NDArray[Any] | None:
        if not columns:
            return np.empty((rows, 0), dtype=np.object_)
        kinds = set(map(type, chain.from_iterable(columns)))
        if not kinds <= _TEXTS_OR_NOTHING:
            return None
        for (feature, known), column in zip(self._texts, columns, strict=True):
            for text in set(column) - known:
                if text is None or _text_problem(feature, text) is not None:
                    return None
        texts = chain.from_iterable(columns)
        filled = texts if kinds == {str} else ("" if text is None else text for text in texts)
        found = np.fromiter(filled, np.object_, rows * len(columns))
        return np.ascontiguousarray(found.reshape(len(columns), rows).T)


_MOST_PREPARED = 64
_PREPARED: dict[int, Validator] = {}  # by the identity of contracts, which they keep alive: hashing one takes long


def _puller(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes the values of these names out of an instance, in their order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda instance: tuple([instance[name] for name in names])


def _unproblematic(feature: FeatureContract) -> frozenset[str | None]:
    """Values of which it is known beforehand that the feature takes them."""
    nothing = (None,) if feature.missing == "allow" else ()
    any_text = replace(feature, unseen="allow")  # they are known: no need to look each one up among all
    texts = (text for text in feature.categories or () if _text_problem(any_text, text) is None)
    return frozenset((*nothing, *texts))


def _times_of(
    features: Sequence[FeatureContract], columns: list[tuple[Any, ...]], rows: int
) -> npt.NDArray[np.int64] | None:
    times = np.empty((rows, len(features)), dtype=np.int64)
    for place, (feature, column) in enumerate(zip(features, columns, strict=True)):
        kinds = set(map(type, column))
        if not kinds <= (_TEXTS_OR_NOTHING if feature.missing == "allow" else _TEXTS):
            return None
        moments = [NO_TIME if text is None else seconds_of(text) for text in column]
        seconds = [moment for moment in moments if moment is not None]
        if len(seconds) < rows:
            return None
        times[:, place] = seconds
    return times


def _by_feature(contract: Contract, instances: Sequence[Any], also: frozenset[str]) -> Inputs:
    """`validate`, one feature after the other; only one with a fault is looked at value by value."""
    found: list[_Found] = []
    names = also.union(feature.name for feature in contract.features)
    rows = [instance if isinstance(instance, dict) else {} for instance in instances]
    broken = {index for index, instance in enumerate(instances) if not isinstance(instance, dict)}
    found += [(index, -1, "", f"is {_named(instances[index])}, not an object", (), "") for index in broken]
    for index, row in enumerate(rows):
        if not names.issuperset(row):
            found += [(index, -1, name, "no such field in the model's contract", (), "") for name in row.keys() - names]
    columns = {feature.name: [row.get(feature.name) for row in rows] for feature in contract.features}
    for feature in contract.features:
        if not _accepts(feature, columns[feature.name]):
            found += _faults(contract, feature, rows, broken)
    if found:
        raise _refused(found)
    numeric = np.empty((len(rows), len(contract.numeric)), dtype=np.float32)
    categorical = np.empty((len(rows), len(contract.categorical)), dtype=object)
    for position, feature in enumerate(contract.numeric):
        numeric[:, position] = np.array(columns[feature.name], dtype=np.float64)  # None becomes NaN
    for position, feature in enumerate(contract.categorical):
        categorical[:, position] = ["" if value is None else value for value in columns[feature.name]]
    times = np.empty((len(rows), len(contract.times)), dtype=np.int64)
    for position, feature in enumerate(contract.times):
        seconds = [None if value is None else seconds_of(value) for value in columns[feature.name]]
        times[:, position] = [NO_TIME if second is None else second for second in seconds]
    return Inputs(numeric, categorical, times)


def answers(contract: Contract, scores: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    """What a caller gets for each row of `Scorer.score`: label, score and probabilities, or the score of a regression
    with the ends of its interval, `lower` and `upper`, where the contract has one.

    Numbers are the shortest decimals that name the float32 the model gave.

    Raises:
        ModelFailedError: a score is not a finite number.
    """
    if not np.isfinite(scores).all():
        raise ModelFailedError(f"{contract.model} gave a score that is not a finite number")
    rows = _decimals(scores)
    if contract.task == "regression":
        if contract.interval is None:
            return [{"score": row[0]} for row in rows]
        half = contract.interval.half_width
        ends = _decimals((scores[:, :1].astype(np.float64) + np.array([-half, half])).astype(np.float32))
        return [
            {"score": row[0], "lower": lower, "upper": upper} for row, (lower, upper) in zip(rows, ends, strict=True)
        ]
    names = [class_name(label) for label in contract.classes]
    if contract.task == "multiclass":
        scored = scores.argmax(axis=1).tolist()
        labels = [contract.classes[position] for position in scored]
    else:
        scored = [contract.positive] * len(rows)
        words = contract.classes[1 - contract.positive], contract.classes[contract.positive]
        labels = [words[yes] for yes in (scores[:, contract.positive] >= np.float32(contract.threshold)).tolist()]
    # The widths of names and rows are one, as the artifact was checked when it was loaded.
    return [
        {"label": label, "score": row[place], "probabilities": dict(zip(names, row))}  # noqa: B905
        for row, label, place in zip(rows, labels, scored, strict=True)
    ]


def _decimals(numbers: npt.NDArray[Any]) -> list[list[float]]:
    """The shortest decimals that name the numbers [n, columns]; a float64 is its own."""
    rows: list[list[float]] = numbers.tolist()
    if numbers.dtype == np.float32:
        rows = orjson.loads(orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY))
    return rows


_Found = tuple[int, int, str, str, tuple[str, ...], str]  # instance, feature's place, field, problem, allowed, given


def _accepts(feature: FeatureContract, values: list[Any]) -> bool:
    """Whether a whole column keeps its contract; a column refused here is then looked at value by value."""
    kinds = set(map(type, values))
    if type(None) in kinds:
        if feature.missing == "reject":
            return False
        values = [value for value in values if value is not None]
        kinds -= _NOTHING
    if not values:
        return True
    match feature.kind:
        case "categorical":
            return kinds == {str} and all(_text_problem(feature, value) is None for value in set(values))
        case "time":
            return kinds == {str} and all(seconds_of(value) is not None for value in values)
        case "boolean":
            return kinds == {bool}
        case "numeric" | "integer":
            return kinds <= _NUMBERS and _numbers_fit(feature, values, whole=float not in kinds)


def _numbers_fit(feature: FeatureContract, values: list[Any], *, whole: bool) -> bool:
    low, high = _bounds(feature)
    # The bounds are finite, so an infinity never fits; a NaN fits nothing, not even itself.
    return (
        low <= min(values) <= max(values) <= high
        and all(value == value for value in values)  # noqa: PLR0124
        and (feature.kind == "numeric" or whole or all(float(value).is_integer() for value in values))
    )


def _faults(
    contract: Contract, feature: FeatureContract, rows: Sequence[Mapping[str, Any]], broken: set[int]
) -> list[_Found]:
    place = contract.features.index(feature)
    found: list[_Found] = []
    for index, row in enumerate(rows):
        if index in broken:
            continue
        fault = _problem(feature, row)
        if fault is not None:
            given = _spelled(row[feature.name]) if feature.kind == "time" and feature.name in row else ""
            found.append((index, place, feature.name, *fault, given))
    return found


def _problem(feature: FeatureContract, row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """What is wrong with one value, and what would be allowed."""
    value = row.get(feature.name)
    fault: tuple[str, tuple[str, ...]] | None = None
    if value is None:
        if feature.missing == "reject":
            fault = ("is null; the model needs a value" if feature.name in row else "is missing", ())
    elif feature.kind == "categorical":
        fault = _text_problem(feature, value)
    elif feature.kind == "time":
        fault = _time_problem(value)
    elif feature.kind == "boolean":
        if type(value) is not bool:
            fault = (f"is {_named(value)}, not true or false", ("true", "false"))
    elif type(value) not in _NUMBERS:
        fault = (f"is {_named(value)}, not a number", ())
    elif value != value or value in {math.inf, -math.inf}:  # noqa: PLR0124  NaN
        fault = ("is not a finite number", ())
    elif feature.kind == "integer" and type(value) is float and not value.is_integer():
        fault = ("is not a whole number", ())
    else:
        low, high = _bounds(feature)
        unit = f" {feature.unit}" if feature.unit else ""
        if value < low:
            fault = (f"is below the minimum {low:g}{unit}", ())
        elif value > high:
            fault = (f"is above the maximum {high:g}{unit}", ())
    return fault


def _spelled(value: Any) -> str:
    from tidegate.kernel.fault_words import spelled  # for faults only: not worth a cold start's time

    return spelled(value) if type(value) is str else ""


def _time_problem(value: Any) -> tuple[str, tuple[str, ...]] | None:
    if type(value) is not str:
        return f"is {_named(value)}, not a time as text, {_TIME_EXAMPLE}", ()
    return None if seconds_of(value) is not None else (f"is not a time in ISO 8601, {_TIME_EXAMPLE}", ())


def _text_problem(feature: FeatureContract, value: Any) -> tuple[str, tuple[str, ...]] | None:
    fault: tuple[str, tuple[str, ...]] | None = None
    if type(value) is not str:
        fault = (f"is {_named(value)}, not a text", ())
    elif not value:
        if feature.missing == "reject":
            fault = ("is empty; the model needs a value", ())
    elif len(value) > MAX_TEXT:
        fault = (f"is longer than {MAX_TEXT} characters", ())
    elif "\0" in value or not _encodable(value):
        fault = ("holds a character that is not valid text", ())
    elif feature.unseen == "reject" and feature.categories is not None and value not in feature.categories:
        count = len(feature.categories)
        few = count <= _MAX_LISTED
        fault = (
            "is not a known category" if few else f"is not one of the {count} known categories",
            feature.categories if few else (),
        )
    return fault


def _bounds(feature: FeatureContract) -> tuple[float, float]:
    low = -MAX_NUMBER if feature.minimum is None else feature.minimum
    high = MAX_NUMBER if feature.maximum is None else feature.maximum
    return max(low, -MAX_NUMBER), min(high, MAX_NUMBER)


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, as JSON may spell it
        return False
    return True


def _named(value: object) -> str:
    """The JSON type of a value, with its article."""
    names = {bool: "a boolean", dict: "an object", float: "a number", int: "a number", list: "a list", str: "a text"}
    return names.get(type(value), "null")


def _shortened(name: str) -> str:
    kept = name.encode("ascii", "backslashreplace").decode() if not _encodable(name) else name
    return kept if len(kept) <= 128 else kept[:125] + "..."


def _misshapen(*faults: Fault) -> RequestInvalidError:
    return RequestInvalidError("the request does not have the form of a prediction request", faults)


def _refused(found: list[_Found]) -> RequestInvalidError:
    first = heapq.nsmallest(MAX_FAULTS, found, key=lambda fault: fault[:3])
    faults = [
        Fault(f"instances[{index}]" + (f".{_shortened(name)}" if name else ""), problem, allowed, given)
        for index, _, name, problem, allowed, given in first
    ]
    listed = f"; the first {MAX_FAULTS} are listed" if len(found) > MAX_FAULTS else ""
    return RequestInvalidError(f"{english.count(len(found), 'fault')} in the instances{listed}", faults)
