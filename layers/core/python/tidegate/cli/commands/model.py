"""`tidegate model`: specs and the models they declare."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.tool import Group, Part, Tool, listing, pass_tool, reading
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, InvalidInputError, SpecInvalidError, TidegateError

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
def apply(tool: Tool, specs: tuple[str, ...]) -> None:
    """Make each spec the current one of its model: all of them, or none if one has a fault.

    Applying the same spec again changes nothing. A feature that is an outcome column of the dataset is rejected, since
    it leaks the target. Where the model has traffic, a forecast says how long a release would take.

    \b
    Example:
      tidegate model apply flight-delay.yaml
    """
    from tidegate.cli.pages.rollout import forecast

    read = _read_all(specs)
    _demand_one_each(read)
    if len(read) > 1:
        _sent(tool, read, only_checked=True)
    applied = _sent(tool, read)
    for path, answer in applied.items():
        tool.warn([f"{path}: {warning}" for warning in answer["warnings"]])

    def render(out: Any) -> None:
        for answer in applied.values():
            state = "applied" if answer["changed"] else "already current"
            against = answer["checked_against"]
            checked = f", checked against dataset version {against}" if against else ""
            out.print(f"{answer['model']}: {state} ({answer['digest'][:12]}{checked})", soft_wrap=True)
            forecast(out, answer.get("forecast"))

    tool.answer({"models": list(applied.values())}, render)


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


def _demand_one_each(read: "dict[str, tuple[str, ModelSpec]]") -> None:
    """Raises SpecInvalidError for two files that declare one model."""
    first: dict[str, str] = {}
    faults = [
        Fault(path, f"declares {spec.name}, and so does {first[spec.name]}")
        for path, (_, spec) in read.items()
        if first.setdefault(spec.name, path) != path
    ]
    if faults:
        raise SpecInvalidError("two files declare the same model", faults, next_step="leave out one of them")


def _sent(tool: Tool, read: "dict[str, tuple[str, ModelSpec]]", *, only_checked: bool = False) -> dict[str, Any]:
    """The answers by file. What is not `only_checked` ends at the first fault, and says what was applied before it.

    Raises:
        InvalidInputError: with the faults of all files.
        TidegateError: the cloud did not take one.
    """
    answers: dict[str, Any] = {}
    refused: list[tuple[str, InvalidInputError]] = []
    for path, (text, spec) in read.items():
        try:
            answers[path] = tool.client.apply_model(spec.name, text, only_checked=only_checked)
        except TidegateError as error:
            if answers and not only_checked:
                done = english.listed(answers)
                tool.say(f"{path} is not applied, {done} already: the same command again applies the rest")
            if not isinstance(error, InvalidInputError):
                raise
            refused.append((path, error))
            if not only_checked:
                break
    if refused:
        raise _joined(refused, "; nothing was applied" if only_checked else "")
    return answers


def _joined(refused: list[tuple[str, InvalidInputError]], after: str = "") -> InvalidInputError:
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
    return SpecInvalidError(f"{english.count(len(faults), 'fault')} in {names}{after}", faults, next_step=next_step)
