"""A first spec of a model, written from the columns of a dataset version: it passes `tidegate model check`.

    columns = judged(dataset, version, target)     # each column with what it would be, and why
    text = written(model, dataset, version, target=target, columns=columns, task=task_of(column))

What a profile cannot say stands as a comment: what to look at, and what was left out.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import Any

from tidegate.kernel import english
from tidegate.kernel.errors import Fault, InvalidInputError
from tidegate.kernel.fault_words import did_you_mean
from tidegate.kernel.table import RESERVED
from tidegate.spec.data import Split
from tidegate.spec.features import MAX_FEATURES
from tidegate.spec.gate import GatePolicy
from tidegate.spec.part import MAX_NAME, Task

MAX_CLASSES = 100
SHOWN_CATEGORIES = 5  # a profile has the commonest five values
FEW_CLASSES = 10  # whole numbers, more of them are a regression
EVERY_VALUE = 100  # a whole number that takes every value of such a range keeps exactly that range
DEFAULT_ROWS: int = GatePolicy.model_fields["min_rows"].default
HOLDOUT: float = Split.model_fields["holdout_fraction"].default
MOST_GROUPS = 60
MOST_GROUP_COLUMNS = 2
ID_ROWS = 50
_ID_WORDS = frozenset({"id", "ids", "key", "uuid", "guid", "index", "number", "nr", "no"})
_LATER_WORDS = frozenset({
    *("actual", "closed", "closing", "completed", "default", "defaulted", "delay", "delayed", "delivered", "ended"),
    *("final", "outcome", "paid", "payout", "recovered", "refund", "refunded", "resolved", "result", "returned"),
    *("settled", "status", "total"),
})  # fmt: skip
_GROUP_WORDS = frozenset({"age", "ethnicity", "gender", "nationality", "race", "religion", "sex"})
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_YAML_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})

_POSITIVE = frozenset({"yes", "y", "true", "t", "1"})

Document = Mapping[str, Any]


class Role(StrEnum):
    """What a column would be in the spec."""

    FEATURE = "feature"
    ID = "id"
    SUSPECT = "suspect"  # perhaps an outcome: a person has to say
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Judged:
    """A column with its role, and why; of a feature, `why` is a note."""

    column: Document
    role: Role
    why: str = ""

    @property
    def name(self) -> str:
        """Of the column."""
        return str(self.column["name"])

    @property
    def is_suspect(self) -> bool:
        """Whether a person has to say what it is."""
        return self.role is Role.SUSPECT

    def kept(self) -> "Judged":
        """A suspect that a person says is known in advance."""
        return replace(self, role=Role.FEATURE, why="known in advance, as you said")

    def dropped(self) -> "Judged":
        """A suspect that a person says is not."""
        return replace(self, role=Role.OUT, why="known only after the fact, as you said")


def task_of(column: Document, asked: str | None = None) -> Task:
    """The task that fits a target.

    Raises:
        InvalidInputError: nothing can be learned of this column, or not this task.
    """
    kind, distinct = column["type"], column["distinct"]
    if kind == "time":
        raise _unfit(column, "is a time column; a target is a class or a number")
    if distinct < 2:
        raise _unfit(column, "has the same value in every row; there is nothing to predict")
    numeric = kind in {"number", "integer"}
    if asked:
        task = Task(asked)
        if task is Task.REGRESSION and not numeric:
            raise _unfit(column, f"is a {kind} column; regression needs numbers")
        if task is Task.BINARY and distinct != 2:
            raise _unfit(column, f"has {distinct:,} different values; binary needs two")
    elif distinct == 2:
        task = Task.BINARY
    elif numeric and (kind == "number" or distinct > FEW_CLASSES):
        task = Task.REGRESSION
    else:
        task = Task.MULTICLASS
    if task is Task.MULTICLASS and distinct > MAX_CLASSES:
        raise _unfit(column, f"has {distinct:,} different values; at most {MAX_CLASSES} classes are possible")
    return task


def judged(dataset: Document, version: Document, target: str) -> list[Judged]:
    """Every column but the target and the time column, in the order of the dataset.

    Raises:
        InvalidInputError: the dataset has no such target.
    """
    columns = version["columns"]
    by_name = {column["name"]: column for column in columns}
    if target not in by_name:
        raise InvalidInputError(
            f"dataset {dataset['name']} has no column {target}",
            [Fault("--target", f"{target!r} is not a column{did_you_mean(target, by_name)}", tuple(by_name))],
        )
    if target == dataset["time"]:
        raise _unfit(by_name[target], "is the time column of the dataset; choose another target")
    sums = _parts_of_the_target(by_name[target], columns)
    others = [column for column in columns if column["name"] not in {target, dataset["time"]}]
    return [_judged(column, dataset, version["rows"], target, sums) for column in others]


def _judged(column: Document, dataset: Document, rows: int, target: str, sums: Iterable[str]) -> Judged:
    if why := _unusable(column, dataset):
        return Judged(column, Role.OUT, why)
    if _is_id(column, rows):
        return Judged(column, Role.ID)
    if column["type"] == "text" and column["distinct"] > rows / 2 and rows >= ID_ROWS:
        return Judged(column, Role.OUT, f"has {column['distinct']:,} different texts in {rows:,} rows")
    if why := _suspicious(column["name"], target, sums):
        return Judged(column, Role.SUSPECT, why)
    return Judged(column, Role.FEATURE)


def _unusable(column: Document, dataset: Document) -> str:
    name = column["name"]
    reasons = {
        "an outcome column of the dataset": name in dataset["outcome"],
        "declared as personal data": name in dataset["pii"],
        "its name cannot be that of a feature; rename the column": name in RESERVED
        or not 0 < len(name) <= MAX_NAME
        or not name.isprintable(),
        "no values": column["distinct"] == 0,
        "the same value in every row": column["distinct"] == 1,
        "a time: as `kind: time` you can compute from it, such as hour(...)": column["type"] == "time",
    }
    return next((why for why, applies in reasons.items() if applies), "")


def _suspicious(name: str, target: str, sums: Iterable[str]) -> str:
    if name in sums:
        return f"its mean looks like a part of {target}"
    words = _words(name)
    if shared := sorted(words & _words(target) - {"is", "has", "the", "of"}):
        return f"its name has {shared[0]!r} in common with the target's"
    if later := sorted(words & _LATER_WORDS):
        return f"{later[0]!r} is often known only afterwards"
    return ""


def _parts_of_the_target(target: Document, columns: Sequence[Document]) -> set[str]:
    """Columns whose means are the target's, alone or by two: what a number is added up from."""
    mean = target["mean"]
    if mean is None or not mean or target["distinct"] <= FEW_CLASSES:
        return set()
    numbers = [(each["name"], each["mean"]) for each in columns if each["mean"] is not None and each is not target]
    parts = {name for name, value in numbers if math.isclose(value, mean, rel_tol=1e-9)}
    for (one, first), (two, second) in combinations(numbers[:MAX_FEATURES], 2):
        if first and second and math.isclose(first + second, mean, rel_tol=1e-9):
            parts |= {one, two}
    return parts


def _is_id(column: Document, rows: int) -> bool:
    """A different value in every row, and no measurement."""
    if rows < ID_ROWS or column["distinct"] < rows or column["missing"]:
        return False
    if column["type"] == "text":
        return True
    dense = column["type"] == "integer" and column["low"] is not None and column["high"] - column["low"] < 2 * rows
    return column["type"] == "integer" and bool(dense or _words(column["name"]) & _ID_WORDS)


def _words(name: str) -> set[str]:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return {word for word in re.split(r"[^A-Za-z0-9]+", parted.lower()) if word}


# --- writing it -------------------------------------------------------------------------------------------------------


def written(
    model: str, dataset: Document, version: Document, *, target: str, columns: Sequence[Judged], task: Task
) -> str:
    """The spec as YAML with comments.

    Raises:
        InvalidInputError: no column is left that could be a feature.
    """
    aim = next(column for column in version["columns"] if column["name"] == target)
    features = [each for each in columns if each.role is Role.FEATURE][:MAX_FEATURES]
    if not features:
        raise InvalidInputError(
            "no column is left for a feature",
            [Fault(each.name, each.why or "names rows") for each in columns],
            next_step="name them yourself: docs/model-spec.md describes the fields",
        )
    source = f"version {version['version']} of the dataset: {english.count(version['rows'], 'row')}"
    lines = [
        f"# A first spec, written by `tidegate init` from {source}.",
        "# Read it, change it, then: tidegate model check, tidegate model apply.",
        f"name: {model}",
        f"owner: {_text(dataset['owner'])}",
        "business_unit: to-be-named  # who pays for it; becomes a tag and a dimension of metrics",
        f"task: {task}",
        f"dataset: {dataset['name']}",
        *_target(aim, target, task),
        *_time(dataset, columns),
        *_ids(columns),
        *_sensitive(features),
        "",
        "features:  # what a request must hold; a value outside its range is refused, in training too",
        *(f"  - {_feature(each)}" for each in features),
        *_left_out(columns, features),
        "",
        *_models(task, features, version["rows"]),
    ]
    return "\n".join(lines) + "\n"


def _target(column: Document, target: str, task: Task) -> Iterator[str]:
    yield f"target: {_text(target)}"
    if column["missing"]:
        yield f"# {column['missing']:.1%} of the rows have no {_comment(target)} and are not learned from"
    if task is Task.BINARY and column["type"] == "text":
        values = [value for value, _ in column["top"]]
        rarer = values[-1] if values else "to-be-named"
        positive = next((value for value in values if value.lower() in _POSITIVE), rarer)
        yield f"positive_class: {_text(positive)}  # the class whose probability is the score; of {_listed(values)}"
    elif task is Task.BINARY and column["type"] == "boolean":
        yield "positive_class: true"
    elif task is Task.BINARY:
        yield f"positive_class: {_number(column['high'])}"


def _time(dataset: Document, columns: Sequence[Judged]) -> Iterator[str]:
    if dataset["time"]:
        yield f"time: {_text(dataset['time'])}  # the latest rows are held out"
        return
    for each in columns:
        if each.column["type"] == "time":
            again = f"tidegate data add {dataset['name']} ... --time {each.name}"
            yield f"# time: {_comment(each.name)}  # holds the latest rows out; name it for the dataset too: {again}"


def _ids(columns: Sequence[Judged]) -> Iterator[str]:
    names = [_text(each.name) for each in columns if each.role is Role.ID]
    if names:
        yield f"ids: [{', '.join(names)}]  # a different value in every row: never a feature"


def _sensitive(features: Sequence[Judged]) -> Iterator[str]:
    names = [_text(each.name) for each in features if _words(each.name) & _GROUP_WORDS][:8]
    if names:
        yield f"# sensitive: [{', '.join(names)}]  # compare how these groups are treated: docs/fairness.md"


def _feature(judged_column: Judged) -> str:
    column = judged_column.column
    fields, notes = [f"name: {_text(column['name'])}"], []
    match column["type"]:
        case "boolean":
            fields.append("kind: boolean")
        case "text":
            fields.append("kind: categorical")
            values = [value for value, _ in column["top"]]
            if column["distinct"] == len(values) <= SHOWN_CATEGORIES and all(len(value) < 40 for value in values):
                fields.append(f"categories: [{', '.join(map(_text, values))}]")
            else:
                notes.append(f"{column['distinct']:,} different values, learned in training")
        case kind:
            fields.append(f"kind: {'integer' if kind == 'integer' else 'numeric'}")
            if column["low"] is not None:
                low, high = _range(column)
                fields += [f"min: {_number(low)}", f"max: {_number(high)}"]
                if (low, high) != (column["low"], column["high"]):
                    notes.append(f"seen: {column['low']:g} to {column['high']:g}")
    if column["missing"]:
        fields.append("missing: allow")
        notes.append(f"{column['missing']:.1%} missing")
    if judged_column.why:
        notes.append(judged_column.why)
    return f"{{{', '.join(fields)}}}" + (f"  # {'; '.join(notes)}" if notes else "")


def _range(column: Document) -> tuple[float, float]:
    """What was seen, widened by half its width on each side, rounded; a number that was never negative stays so."""
    low, high = column["low"], column["high"]
    if column["type"] == "integer" and column["distinct"] == high - low + 1 <= EVERY_VALUE:
        return low, high
    slack = (high - low) / 2
    least, most = _rounded(low - slack, down=True), _rounded(high + slack, down=False)
    if low >= 0:
        least = max(least, 0.0)
    return least, most


def _rounded(value: float, *, down: bool) -> float:
    """Two digits, away from what was seen."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{(math.floor if down else math.ceil)(value / unit) * unit:.6g}")


def _left_out(columns: Sequence[Judged], features: Sequence[Judged]) -> Iterator[str]:
    suspects = [each for each in columns if each.role is Role.SUSPECT]
    if suspects:
        yield "  # Perhaps known only after the fact: take one in only if it is known when a prediction is made."
        yield "  # Protect the others for every model: tidegate data add ... --outcome COLUMN"
        yield from (f"  # - {_feature(each)}" for each in suspects)
    taken = {each.name for each in features}
    over = [each for each in columns if each.role is Role.FEATURE and each.name not in taken]
    out = [each for each in columns if each.role is Role.OUT]
    if out or over:
        yield "  # Left out:"
        yield from (f"  #   {_comment(each.name)}: {each.why}" for each in out)
        yield from (f"  #   {_comment(each.name)}: a spec has at most {MAX_FEATURES} features" for each in over)


def _models(task: Task, features: Sequence[Judged], rows: int) -> Iterator[str]:
    linear, trees = "linear_model.LogisticRegression", "ensemble.HistGradientBoostingClassifier"
    metric, target = "roc_auc", "metric_at_least: 0.7"
    if task is Task.MULTICLASS:
        metric, target = "log_loss", "metric_at_most: 0.5"
    elif task is Task.REGRESSION:
        linear, trees = "linear_model.Ridge", "ensemble.HistGradientBoostingRegressor"
        metric, target = "rmse", "metric_at_most: 10"
    yield "candidates:  # each is trained; the best on validation rows goes to the gate"
    yield f"  - estimator: sklearn.{linear}"
    if task is not Task.REGRESSION:
        yield "    parameters: {max_iter: 500}"
    yield f"  - estimator: sklearn.{trees}"
    yield f"metric: {metric}  # what decides; docs/model-spec.md lists them"
    groups = [_text(each.name) for each in features if _is_group(each.column)][:MOST_GROUP_COLUMNS]
    if groups and task is not Task.MULTICLASS:
        rate = "rate" if task is Task.BINARY else "mean"
        yield f"baseline: {{kind: group_rate, by: [{', '.join(groups)}]}}  # to be beaten: the {rate} of each group"
    else:
        yield "baseline: {kind: prior}  # to be beaten: what one says without looking at the row"
    least = math.floor(0.9 * HOLDOUT * rows)
    if least < DEFAULT_ROWS:
        yield (
            f"gate: {{min_rows: {max(least, 30)}}}  # {DEFAULT_ROWS} by default, which a fifth of the rows does not "
            "reach: intervals will be wide"
        )
    yield f"# targets: {{{target}, latency_p99_ms: 50}}  # what a version must reach, whatever else is true"
    yield "# release: {steps: [], probation_hours: 0}  # for trying out: no canary, see docs/local.md"


def _is_group(column: Document) -> bool:
    whole = column["type"] == "text" or (column["type"] == "integer" and column["missing"] == 0)
    return bool(whole and 2 <= column["distinct"] <= MOST_GROUPS)


def _unfit(column: Document, problem: str) -> InvalidInputError:
    return InvalidInputError("this cannot be the target", [Fault(str(column["name"]), problem)])


def _text(value: str) -> str:
    """A text as YAML reads it back, quoted where needed."""
    return value if _PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS else json.dumps(value)


def _comment(value: str) -> str:
    """A name inside a comment, on one line."""
    return value if value.isprintable() else json.dumps(value)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _listed(values: Sequence[str]) -> str:
    return ", ".join(map(_comment, values)) or "the two"
