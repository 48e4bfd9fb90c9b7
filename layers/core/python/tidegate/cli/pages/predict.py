"""What people read of predictions."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document
from tidegate.domain.batch.batch import OUTPUT_COLUMNS, passed_names
from tidegate.kernel.values import class_name

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_PREDICTIONS = 20
SHOWN_COLUMNS = 4  # of those that are copied from the input
_TAKEN = OUTPUT_COLUMNS | {"id", "time", "version"}  # `tidegate feedback` reads id and time


def whole(answers: Sequence[Document], given: Sequence[Any], passed: Sequence[str]) -> dict[str, Any]:
    """One document of the answers to all requests. A prediction has its `version`, and under `input` the columns that
    are passed on, as they were `given`."""
    found = [each | {"version": answer["version"]} for answer in answers for each in answer["predictions"]]
    if passed:
        found = [
            each | {"input": {name: row.get(name) for name in passed}} for each, row in zip(found, given, strict=True)
        ]
    return {**answers[0], "predictions": found}


def csv_of(whole: Document, described: Document, passed: Sequence[str]) -> str:
    """A row for each prediction, with the columns of a batch, the id of the prediction and its version."""
    columns = _columns(described)
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["row", *passed_names(passed, _TAKEN), *columns])
    for number, each in enumerate(whole["predictions"], 1):
        copied = [_cell(each["input"][name]) for name in passed]
        lines.writerow([number, *copied, *(_cell(_value(each, name)) for name in columns)])
    return out.getvalue()


def _columns(described: Document) -> list[str]:
    numbers = ["score"] + (["lower", "upper"] if "interval" in described else [])
    classes = [f"probability_{class_name(label)}" for label in described["classes"]]
    return ["id", "version", *(["label"] if classes else []), *numbers, *classes, "fallback", "unusual", "rule"]


def _value(prediction: Mapping[str, Any], column: str) -> Any:
    if column.startswith("probability_"):
        return prediction.get("probabilities", {}).get(column.removeprefix("probability_"))
    return prediction.get(column, False if column in {"fallback", "unusual"} else None)


def _cell(value: Any) -> Any:
    return class_name(value) if isinstance(value, bool) else value


def predictions(out: "Console", whole: Document, passed: Sequence[str] = ()) -> None:
    """Scores, and which version gave them."""
    version = whole.get("version")
    by, because = ("fallback", whole.get("why")) if version is None else (f"version {version}", whole.get("reason"))
    out.print(f"{whole.get('model', '')} {by}{f' ({because})' if because else ''}")
    if whole.get("detail"):
        out.print(whole["detail"], soft_wrap=True)
    found = whole["predictions"]
    shown = [name for name in ("label", "score", "lower", "upper") if any(name in each for each in found)]
    unusual = [each for each in found if each.get("unusual")]
    marked = ("unusual",) if unusual else ()
    copied = passed[:SHOWN_COLUMNS]
    rows = [
        (
            str(at),
            *(show.cell(each["input"][name]) for name in copied),
            *(show.cell(each.get(name)) for name in shown),
            *("yes" if each.get(name) else "" for name in marked),
            str(each.get("prediction_id") or each.get("id", "")),
        )
        for at, each in enumerate(found[:SHOWN_PREDICTIONS], 1)
    ]
    heads = (name if name == "label" else f">{name}" for name in shown)
    show.table(out, (">#", *copied, *heads, *marked, "prediction id"), rows)
    if len(found) > SHOWN_PREDICTIONS:
        out.print(f"and {len(found) - SHOWN_PREDICTIONS:,} more: --json has them all")
    if unusual:
        by_fallback = sum(each.get("why") == "unusual" for each in unusual)
        answered = f"; the fallback answered {by_fallback:,} of them" if by_fallback else ""
        out.print(f"{len(unusual):,} unusual: unlike the training rows{answered}", soft_wrap=True)
    broken = [each["rule"] for each in found if each.get("rule")]
    if broken:
        rules = ", ".join(sorted(set(broken)))
        out.print(f"{len(broken):,} broke a rule ({rules}), so the fallback answered", soft_wrap=True)
