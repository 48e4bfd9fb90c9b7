"""The command that writes a first spec."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.kernel import english
from tidegate.kernel.errors import InvalidInputError

if TYPE_CHECKING:
    from tidegate.cli.first_spec import Judged

TASKS = ("binary", "multiclass", "regression")


@click.command(cls=Command, short_help="Write a first spec of MODEL from a dataset's columns.")
@click.argument("model")
@click.option("--dataset", required=True, metavar="NAME", help="The dataset to learn from.")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option("--version", default="latest", show_default=True, metavar="VERSION", help="The version to look at.")
@click.option("--task", type=click.Choice(TASKS), help="Default: what fits the target.")
@click.option("--output", metavar="FILE", help="Write the spec to FILE; it must not exist. Default: standard output.")
@pass_tool
def init(
    tool: Tool, model: str, *, dataset: str, target: str, version: str, task: str | None, output: str | None
) -> None:
    """Write a first spec of MODEL: features with their kinds and ranges, candidates, and a baseline to be beaten, from
    the profile of a dataset version. The spec passes `tidegate model check`; comments say what to look at.

    On a terminal, the command asks about columns that may be known only after the fact. Otherwise they are left out, as
    comments.

    \b
    Example:
      tidegate init bike-rentals --dataset bikes --target rentals --output bike-rentals.yaml
    """
    from tidegate.cli import first_spec
    from tidegate.spec.model import ModelSpec

    if output and Path(output).exists():
        raise InvalidInputError(f"{output} exists already", next_step="give another --output, or remove the file")
    about, found = tool.client.dataset(dataset), tool.client.dataset_version(dataset, version)
    columns = first_spec.judged(about, found, target)
    fitting = first_spec.task_of(next(each for each in found["columns"] if each["name"] == target), task)
    if sys.stdin.isatty() and not tool.as_json:
        columns = [_asked(each) for each in columns]
    text = first_spec.written(model, about, found, target=target, columns=columns, task=fitting)
    ModelSpec.parse_yaml(text)
    left = [each.name for each in columns if each.is_suspect]
    if left:
        tool.say(
            f"left out, since {english.noun(len(left), 'it', 'they')} may be known only after the fact: "
            f"{', '.join(left)}"
        )
    if output:
        tool.keep(text, output, "", done="written to", show=False)
        tool.say(f"read it, then: tidegate model apply {output}")
    document = {"model": model, "dataset": dataset, "version": found["version"], "task": str(fitting)}
    shown = "" if output else text
    tool.answer(document | {"suspects": left, "spec": text}, lambda _: click.echo(shown, nl=False))


def _asked(column: "Judged") -> "Judged":
    if not column.is_suspect:
        return column
    known = click.confirm(f"{column.name}: {column.why}. Is it known when a prediction is made?", err=True)
    return column.kept() if known else column.dropped()
