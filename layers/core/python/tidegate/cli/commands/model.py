"""`tidegate model`: specs and the models they declare."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Group, Part, Tool, listing, pass_tool, reading
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, InvalidInputError, SpecInvalidError

if TYPE_CHECKING:
    from tidegate.spec.model import ModelSpec


@click.group(cls=Group)
def model() -> None:
    """Manage models and the specs that declare them.

    \b
    Example:
      tidegate model list
    """


@model.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC.yaml...")
@pass_tool
def apply(tool: Tool, specs: tuple[str, ...]) -> int:
    """Make each spec the current one of its model. Nothing is sent unless every file is valid.

    Applying the same spec again changes nothing. A feature that is an outcome column of the dataset is rejected, since
    it leaks the target.

    \b
    Example:
      tidegate model apply flight-delay.yaml
    """
    read = _read_all(specs)
    applied: list[dict[str, Any]] = []
    refused: list[tuple[str, InvalidInputError]] = []
    for path, (text, spec) in read.items():
        try:
            answer = tool.client.apply_model(spec.name, text)
        except InvalidInputError as error:
            refused.append((path, error))
            continue
        tool.warn([f"{path}: {warning}" for warning in answer["warnings"]])
        applied.append(answer)

    def render(out: Any) -> None:
        for answer in applied:
            state = "applied" if answer["changed"] else "already current"
            against = answer["checked_against"]
            checked = f", checked against dataset version {against}" if against else ""
            out.print(f"{answer['model']}: {state} ({answer['digest'][:12]}{checked})", soft_wrap=True)

    if refused:
        if not tool.as_json:
            render(tool.out)
        raise _joined(refused)
    tool.answer({"models": applied}, render)
    return exits.OK


@model.command("list")
@listing()
@pass_tool
def list_(tool: Tool, *, part: Part) -> None:
    """List models by name.

    \b
    Example:
      tidegate model list
    """
    from tidegate.cli.pages import model as model_page

    found = tool.client.models(part.limit, part.after)
    tool.answer({"models": found, "next": found.next}, lambda out: model_page.models(out, found, found.next))


@model.command()
@click.argument("name")
@click.option("--spec", "as_spec", is_flag=True, help="Print the current spec as YAML, ready to edit and apply.")
@pass_tool
def show(tool: Tool, name: str, *, as_spec: bool) -> None:
    """Show a model: its owner, its features and what it serves.

    \b
    Example:
      tidegate model show flight-delay --spec > flight-delay.yaml
    """
    from tidegate.cli.pages import model as model_page

    if as_spec:
        import yaml

        spec = tool.client.spec(name)
        tool.answer(
            spec, lambda _: click.echo(yaml.safe_dump(spec["spec"], sort_keys=False, allow_unicode=True), nl=False)
        )
        return
    whole = tool.client.model(name) | tool.client.spec(name)
    tool.answer(whole, lambda out: model_page.model(out, whole))


@model.command()
@pass_tool
def schema(tool: Tool) -> None:
    """Print the JSON Schema of a spec file, for editors and pipelines.

    \b
    Example:
      tidegate model schema > model-spec.schema.json
    """
    from tidegate.spec.model import json_schema

    document = json_schema()
    tool.answer(document, lambda _: click.echo(json.dumps(document, indent=2)))


@model.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC.yaml...")
@pass_tool
def check(tool: Tool, specs: tuple[str, ...]) -> None:
    """Check specs without a cloud, and report every fault of every file.

    \b
    Example:
      tidegate model check flight-delay.yaml
    """
    read = _read_all(specs)
    valid = [{"file": path, "model": spec.name, "digest": spec.digest} for path, (_, spec) in read.items()]

    def render(out: Any) -> None:
        for entry in valid:
            out.print(f"{entry['file']}: valid ({entry['model']}, {entry['digest'][:12]})", soft_wrap=True)

    tool.answer({"valid": valid}, render)


def _read_all(paths: tuple[str, ...]) -> "dict[str, tuple[str, ModelSpec]]":
    """Text and spec of each file. Raises SpecInvalidError with the faults of all of them."""
    from tidegate.spec.model import ModelSpec

    read: dict[str, tuple[str, ModelSpec]] = {}
    refused: list[tuple[str, InvalidInputError]] = []
    for path in paths:
        try:
            with reading(path):
                text = Path(path).read_text(encoding="utf-8")
            spec = ModelSpec.parse_yaml(text)
        except InvalidInputError as error:
            refused.append((path, error))
        else:
            read[path] = (text, spec)
    if refused:
        raise _joined(refused)
    return read


def _joined(refused: list[tuple[str, InvalidInputError]]) -> InvalidInputError:
    """One error of several files' faults, each fault under its file."""
    sole = refused[0][1]
    if len(refused) == 1 and not sole.faults and refused[0][0] in sole.summary:
        return sole
    faults: list[Fault] = []
    for path, error in refused:
        if not error.faults:
            faults.append(Fault("" if path in error.summary else path, error.summary))
        for fault in error.faults:
            place = f"{path}: {fault.path}" if fault.path else f"{path}: {error.summary}"
            faults.append(Fault(place, fault.problem, fault.allowed))
    names = ", ".join(path for path, _ in refused)
    steps = [error.next_step for _, error in refused if error.next_step]
    next_step = steps[0] if steps else "see `tidegate model schema` and docs/model-spec.md"
    return SpecInvalidError(f"{english.count(len(faults), 'fault')} in {names}", faults, next_step=next_step)
