"""`tidegate predict`: score instances from a file or a pipe, or every row of files in S3."""

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli import exits
from tidegate.cli.inputs import features_alone, is_json, rows_of, text_of
from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, InvalidInputError
from tidegate.kernel.fault_words import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

ENOUGH_FAULTS = 50


@click.command(cls=Command)
@click.argument("model")
@click.option(
    "--input", "source", default="-", metavar="FILE", help="JSON, JSON lines or CSV; - is standard input; or s3://..."
)
@click.option("--batch", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Instances per request.")
@click.option(
    "--output",
    metavar="FILE",
    help="Write CSV with the columns of the input to FILE; - is standard output. A folder s3://... for --input s3://...",
)
@click.option(
    "--id",
    "ids",
    multiple=True,
    metavar="COLUMN",
    help="Columns copied to the output. Default: all that are not features; of a batch in S3, the spec's ids.",
)
@click.option("--wait/--no-wait", default=True, help="Follow a batch in S3 to its end. The exit code shows the result.")
@pass_tool
def predict(
    tool: Tool, model: str, source: str, *, batch: int, output: str | None, ids: tuple[str, ...], wait: bool
) -> int:
    """Score instances with the version that MODEL serves.

    The input is a JSON array of objects, one object per line, or CSV with a header row. A CSV cell is read by the kind
    of its feature (docs/values.md). Either all instances are scored, or their faults are reported. Columns that are not
    features are copied to the output, so `tidegate feedback` can read it: `id` is the id of the prediction.

    For files in S3 give --input and --output: one version scores every row, and each row gets a row in the output, even
    if it has faults. Ctrl-C stops the display, not the batch. Run the same command again to follow the batch, or to
    resume one that failed.

    \b
    Example:
      tidegate predict flight-delay --input flights.csv --output scored.csv
      tidegate predict flight-delay --input s3://data/batch/may/ --output s3://data/batch/may-scored/
    """
    in_s3 = [path is not None and path.startswith("s3://") for path in (source, output)]
    if any(in_s3):
        if not all(in_s3):
            raise InvalidInputError(
                "a batch needs --input s3://... and --output s3://...",
                next_step="copy the file to S3 first, or give --output a file that is not in S3",
            )
        return _in_s3(tool, model, source, str(output), list(ids) or None, wait=wait)

    from tidegate.cli.pages import predict as predict_page

    text = text_of(source, "give --input FILE, or pipe in JSON or CSV")
    described = tool.client.served(model)
    rows = rows_of(described, text, "see `tidegate predict --help`")
    advice = "rename or add these columns; --id COLUMN copies one as it is"
    instances, further = features_alone(described, rows, ids, advice=advice)
    passed = list(ids) or further
    _demand_columns(passed, rows.columns)
    for name in further:
        copied = "copied to the output" if name in passed else "left out"
        tool.say(f"{name} is not a feature of {model}: not sent, {copied}")
    answers = _scored(tool, model, instances, batch, rows=not is_json(text))
    whole = predict_page.whole(answers, rows.given, passed)
    if output is None:
        tool.answer(whole, lambda out: predict_page.predictions(out, whole, passed))
    else:
        _write(tool, output, predict_page.csv_of(whole, described, passed), len(instances))
    return exits.OK


def _demand_columns(ids: list[str], columns: list[str]) -> None:
    faults = [
        Fault(f"--id {name}", f"is not a column{did_you_mean(name, columns)}") for name in ids if name not in columns
    ]
    if faults:
        raise InvalidInputError("the input lacks a column", faults, next_step=f"it has {', '.join(columns)}")


def _scored(tool: Tool, model: str, instances: list[Any], batch: int, *, rows: bool) -> list[dict[str, Any]]:
    """An answer for each request. Raises InvalidInputError: the faults of all of them, `ENOUGH_FAULTS` or some more."""
    answers = []
    refused: list[InvalidInputError] = []
    for start in range(0, len(instances), batch):
        try:
            answers.append(tool.client.predict(model, instances[start : start + batch]))
        except InvalidInputError as error:
            refused.append(_of_the_whole(error, instances, start, rows=rows))
            if not error.faults or sum(len(each.faults) for each in refused) >= ENOUGH_FAULTS:
                break
    if refused:
        raise refused[0] if len(refused) == 1 else _of_all(refused)
    return answers


def _write(tool: Tool, output: str, text: str, count: int) -> None:
    if output == "-" and tool.as_json:
        raise InvalidInputError(
            "--json and --output - both write to standard output", next_step="leave out one of them"
        )
    if output == "-":
        click.echo(text, nl=False)
        return
    tool.keep(text, output, "", done=f"{english.count(count, 'prediction')} written to", show=False)
    tool.answer({"output": output, "predictions": count}, lambda _: None)


def _in_s3(tool: Tool, model: str, source: str, output: str, ids: list[str] | None, *, wait: bool) -> int:
    answer = tool.client.start_batch(model, source, output, ids=ids)
    batch = answer["batch"]
    if answer["resumed"]:
        tool.say(f"resuming with the missing parts (attempt {batch['attempt']})")
    if batch["status"] == "succeeded":
        tool.say("nothing to do: all rows are scored")
    if wait and batch["status"] in {"requested", "running"}:
        look = _Progress(tool)
        try:
            batch = tool.client.wait_for_batch(model, output, on_look=look.look)
        except KeyboardInterrupt:
            tool.say("the batch continues; run the same command to follow it again")
            raise
    tool.answer(batch, lambda out: _show(out, batch))
    return exits.FAILED if batch["status"] == "failed" else exits.OK


class _Progress:
    """A line for each change: parts and rows done, and rows a second since the first look."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._began = time.monotonic()
        self._first: int | None = None
        self._shown = ""

    def look(self, batch: Mapping[str, Any]) -> None:
        done, planned = batch["done"], batch["planned"]
        if planned is None:
            line, speed = "looking for the parts of the input", ""
        else:
            self._first = done["rows"] if self._first is None else self._first
            rate = (done["rows"] - self._first) / max(time.monotonic() - self._began, 1e-3)
            line = f"{done['parts']:,} of {planned['parts']:,} parts, {done['rows']:,} of {planned['rows']:,} rows"
            speed = f", {rate:,.0f} rows/s" if rate else ""
        if line != self._shown:
            self._shown = line
            self._tool.say(f"[{time.monotonic() - self._began:6.1f} s] {line}{speed}")


def _show(out: "Console", batch: Mapping[str, Any]) -> None:
    version = f"{batch['model']} version {batch['version']}"
    match batch["status"]:
        case "succeeded":
            totals = batch["totals"]
            out.print(f"{english.count(totals['rows'], 'row')} scored by {version}: {batch['output']}", soft_wrap=True)
            if totals["faulty"]:
                where = f"{batch['output']}_errors/"
                out.print(f"{totals['faulty']:,} of them have faults: {where}", soft_wrap=True)
        case "failed":
            out.print(f"the batch failed: {batch['reason']}", soft_wrap=True)
            mended = "after correcting the input, give another --output; " if batch["planned"] is None else ""
            out.print(f"  next: {mended}run the same command to score the missing parts", soft_wrap=True)
        case _:
            out.print(f"{version} scores {batch['input']}; run the same command to follow it", soft_wrap=True)


def _of_the_whole(error: InvalidInputError, instances: list[Any], start: int, *, rows: bool) -> InvalidInputError:
    """The faults of one request: places counted from the first instance of the input, or its row 1, and the values."""

    def moved(fault: Fault) -> Fault:
        found = re.fullmatch(r"instances\[(\d+)\](?:\.(.*))?", fault.path, re.DOTALL)
        if not found:
            return fault
        at, name = int(found[1]) + start, found[2]
        place = f"row {at + 1}" if rows else f"instances[{at}]"
        value = instances[at].get(name) if name and isinstance(instances[at], dict) else None
        named = isinstance(value, str | int | float) and fault.problem.startswith("is ")
        problem = f"{str(value)[:40]!r} {fault.problem}" if named else fault.problem
        return Fault(f"{place}.{name}" if name else place, problem, fault.allowed)

    return InvalidInputError(error.summary, [moved(fault) for fault in error.faults], next_step=error.next_step)


def _of_all(refused: list[InvalidInputError]) -> InvalidInputError:
    """One error of several requests' faults."""
    faults = [fault for error in refused for fault in error.faults]
    more = "; there may be more" if len(faults) >= ENOUGH_FAULTS else ""
    return InvalidInputError(
        f"{english.count(len(faults), 'fault')} in the instances{more}", faults, next_step=refused[0].next_step
    )
