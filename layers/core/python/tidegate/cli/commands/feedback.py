"""`tidegate feedback`: report what became of predictions, from a file or a pipe."""

import csv
import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from tidegate.cli.inputs import outcome_of, text_of
from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.domain.serving.feedback import MAX_ITEMS
from tidegate.kernel import english, strict_json
from tidegate.kernel.errors import Fault, InvalidInputError, UnavailableError
from tidegate.kernel.fault_words import did_you_mean

ENOUGH_FAULTS = 50
SAID_EVERY = 10_000
# Firehose writes each hour of predictions to an object of its own, some 90 seconds after the first record of it, and
# has 500 of them open at most. docs.aws.amazon.com/firehose/latest/dev/buffering.html
HOURS_AT_ONCE = 400
HOURS_SECONDS = 100.0
AGAIN = "send the whole file again; outcomes that were already accepted are not counted twice"
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a line has what is reported; `is_time_named` when a person said which column has the time."""

    id: str
    outcome: str
    time: str
    is_time_named: bool


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    item: dict[str, Any]


@click.command(cls=Command, short_help="Report the outcomes of predictions.")
@click.argument("file")
@click.option("--model", required=True, metavar="MODEL", help="The model that made the predictions.")
@click.option(
    "--id-column", default="id", show_default=True, metavar="COL", help="Column with the id of the prediction."
)
@click.option("--outcome-column", default="outcome", show_default=True, metavar="COL", help="Column with the outcome.")
@click.option("--time-column", metavar="COL", help="Column with the time of the outcome. Default: `time`, else now.")
@click.option("--correct", is_flag=True, help="Replace outcomes that others reported. Operators only.")
@pass_tool
def feedback(
    tool: Tool, file: str, *, model: str, id_column: str, outcome_column: str, time_column: str | None, correct: bool
) -> None:
    """Report the outcomes of predictions. FILE is CSV with a header, or one JSON object per line; - is standard input.

    Lines without an outcome and other columns are ignored. Your latest outcome of a prediction counts, so you can send
    the whole file again after an interruption or a correction. Once somebody else has reported an outcome, only they or
    an operator (--correct) can replace it.

    \b
    Example:
      tidegate feedback arrivals.csv --model flight-delay --outcome-column was_late
    """
    columns = Columns(id_column, outcome_column, time_column or "time", time_column is not None)
    text = text_of(file, "give a FILE, or pipe in CSV or JSON lines")
    task = tool.client.model(model)["model"]["task"]
    rows, passed_over = _rows(text, columns, numeric=task == "regression")
    if not rows:
        raise InvalidInputError(
            f"no line of {file} has an outcome in {outcome_column!r}", next_step="give the column with --outcome-column"
        )
    accepted, strange = _send(tool, model, rows, columns, file, correct=correct)
    answer = {"model": model, "accepted": accepted, "of_no_class": strange, "without_outcome": passed_over}

    def render(out: Any) -> None:
        without = f"; skipped {english.count(passed_over, 'line')} without an outcome" if passed_over else ""
        out.print(f"{model}: {english.count(accepted, 'outcome')} accepted{without}", soft_wrap=True)
        if strange:
            are = "is none" if strange == 1 else "are none"
            out.print(f"{strange:,} of them {are} of the model's classes and will not count; check their spelling")
        if not correct:
            out.print(
                "outcomes that somebody else reported first do not count; operators replace them with --correct",
                soft_wrap=True,
            )

    tool.answer(answer, render)


def _send(tool: Tool, model: str, rows: list[_Row], columns: Columns, file: str, *, correct: bool) -> tuple[int, int]:
    """How many were accepted, which are all of them, and how many of these are outside the model's classes.

    Raises:
        InvalidInputError: every fault, by line; batches without a fault were accepted.
        UnavailableError: the API does not answer any more.
    """
    rows = sorted(rows, key=lambda row: str(row.item.get("id")))  # by time, so that a batch is of few hours
    pace = _Pace(tool.say, time.sleep)
    accepted, strange, faults = 0, 0, list[Fault]()
    for start in range(0, len(rows), MAX_ITEMS):
        batch = rows[start : start + MAX_ITEMS]
        pace.wait_for(batch)
        try:
            answer = tool.client.feedback(model, [row.item for row in batch], correct=correct)
            accepted += answer["accepted"]
            strange += answer.get("of_no_class", 0)
        except InvalidInputError as error:
            if not error.faults:
                raise
            faults += [_by_line(fault, batch, columns) for fault in error.faults]
            if len(faults) >= ENOUGH_FAULTS:
                break
        except UnavailableError as error:
            said = f"{error.message}; {accepted:,} of {len(rows):,} outcomes were accepted before"
            raise UnavailableError(said, next_step=AGAIN) from None
        if (start + MAX_ITEMS) % SAID_EVERY == 0:
            tool.say(f"{start + len(batch):,} of {len(rows):,} sent")
    if faults:
        raise InvalidInputError(
            f"{file} has lines that cannot be accepted; {accepted:,} of {len(rows):,} outcomes were",
            sorted(faults, key=lambda fault: int(re.findall(r"\d+", fault.path)[0]) if fault.path else 0),
            next_step=f"correct these lines and {AGAIN}",
        )
    return accepted, strange


class _Pace:
    """Keeps the hours of predictions that are reported on at once below what Firehose can hold open."""

    def __init__(self, say: Callable[[str], None], sleep: Callable[[float], None]) -> None:
        self._say = say
        self._sleep = sleep
        self._hours: set[int] = set()

    def wait_for(self, batch: list[_Row]) -> None:
        """Return when the batch may be sent."""
        hours = {hour for row in batch if (hour := _hour(row.item.get("id"))) is not None}
        if self._hours and len(self._hours | hours) > HOURS_AT_ONCE:
            self._say(f"waiting {HOURS_SECONDS:.0f} s: storing outcomes for many hours takes a while")
            self._sleep(HOURS_SECONDS)
            self._hours.clear()
        self._hours |= hours


def _hour(prediction_id: object) -> int | None:
    """Of a UUID version 7, whose first 48 bits are milliseconds; None for what is none."""
    digits = str(prediction_id).replace("-", "")[:12]
    return int(digits, 16) // _HOUR_MS if re.fullmatch(r"[0-9a-fA-F]{12}", digits) else None


def _by_line(fault: Fault, batch: list[_Row], columns: Columns) -> Fault:
    found = re.fullmatch(r"feedback\[(\d+)\](?:\.(.*))?", fault.path, re.DOTALL)
    if not found:
        return fault
    name = {"id": columns.id, "outcome": columns.outcome, "time": columns.time}.get(found[2], found[2])
    place = f"line {batch[int(found[1])].line}"
    problem = re.sub(r"feedback\[(\d+)\]", lambda other: f"line {batch[int(other[1])].line}", fault.problem)
    return Fault(f"{place}.{name}" if name else place, problem, fault.allowed)


def _rows(text: str, columns: Columns, *, numeric: bool) -> tuple[list[_Row], int]:
    """Lines with an outcome, and how many have none.

    Raises:
        InvalidInputError: every line that cannot be read.
    """
    rows, faults, without = list[_Row](), list[Fault](), 0
    found = _json_lines(text) if text.lstrip()[:1] in {"{", "["} else _csv_lines(text, columns, numeric=numeric)
    for line, document in found:
        if isinstance(document, Fault):
            faults.append(document)
        elif document.get(columns.outcome) is None:
            without += 1
        else:
            item = {"id": document.get(columns.id), "outcome": document[columns.outcome]}
            moment = document.get(columns.time)
            rows.append(_Row(line, item | ({} if moment is None else {"time": moment})))
    if faults:
        more = f"; the first {ENOUGH_FAULTS} are listed" if len(faults) > ENOUGH_FAULTS else ""
        raise InvalidInputError(
            f"{english.count(len(faults), 'line')} cannot be read{more}",
            faults[:ENOUGH_FAULTS],
            next_step="correct these lines and send the file again; nothing was sent",
        )
    return rows, without


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any] | Fault]]:
    for at, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            document = strict_json.read(line)
        except (ValueError, RecursionError) as error:
            yield at, Fault(f"line {at}", f"is not valid JSON: {error}")
            continue
        yield at, document if isinstance(document, dict) else Fault(f"line {at}", "is not a JSON object")


def _csv_lines(text: str, columns: Columns, *, numeric: bool) -> Iterator[tuple[int, Mapping[str, Any] | Fault]]:
    """Rows by the line they end on, outcomes as values; what is empty is None."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = reader.fieldnames or ()
        wanted = [columns.id, columns.outcome, *([columns.time] if columns.is_time_named else [])]
        lacking = [name for name in wanted if name not in header]
        if lacking:
            faults = [
                Fault(name, f"is not a column of the header{did_you_mean(name, header)}", tuple(header))
                for name in lacking
            ]
            raise InvalidInputError(
                "the file lacks a column", faults, next_step="use --id-column, --outcome-column, --time-column"
            )
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                yield line, Fault(f"line {line}", "has a different number of fields than the header")
                continue
            value = outcome_of(row[columns.outcome], numeric=numeric)
            if numeric and isinstance(value, str):
                yield line, Fault(f"line {line}.{columns.outcome}", f"{value[:40]!r} is not a number")
                continue
            yield line, {name: given or None for name, given in row.items()} | {columns.outcome: value}
    except csv.Error as error:
        raise InvalidInputError(
            "the file is neither JSON lines nor CSV", [Fault(f"line {reader.line_num}", str(error))]
        ) from None
