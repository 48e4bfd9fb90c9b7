"""What people read of datasets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document
from tidegate.kernel import english

if TYPE_CHECKING:
    from rich.console import Console


def datasets(out: "Console", found: Sequence[Document], following: str | None) -> None:
    """One line for each dataset."""
    rows = [(each["name"], each["latest"] or "none ready", each["owner"], each["licence"]) for each in found]
    show.table(
        out, ("dataset", "latest version", "owner", "licence"), rows, none="no datasets yet: tidegate data add --help"
    )
    show.more(out, f"first {len(rows)}", following)


def dataset(out: "Console", whole: Document) -> None:
    """What is said of a dataset, its versions and its excluded periods."""
    said = whole["dataset"]
    facts = {
        "dataset": said["name"],
        "description": said["description"],
        "origin": said["origin"],
        "licence": said["licence"],
        "owner": said["owner"],
        "time column": said["time"],
        "outcome": ", ".join(said["outcome"]),
        "personal data": ", ".join(said["pii"]),
        "missing words": ", ".join(said["missing"]),
        "columns of texts": ", ".join(said["text"]),
        **_written(said),
        "registered": f"{show.moment(said['registered_at'])} by {show.who(said['registered_by'])}",
    }
    show.facts(out, facts)
    out.print()
    rows = [
        (
            each["version"] + (" *" if each["version"] == said["latest"] else ""),
            show.status(each["status"]),
            f"{each['rows']:,}" if each["rows"] else "",
            show.span(each["time_from"], each["time_to"]),
            show.moment(each["added_at"]),
        )
        for each in whole["versions"]
    ]
    show.table(out, ("version", "status", ">rows", "rows from .. to", "added"), rows, none="no versions")
    show.more(out, f"newest {len(rows)}", whole["next"])
    for each in whole["versions"]:
        if each["problem"]:
            out.print(f"{each['version']} failed: {each['problem']}")
    if whole["exclusions"]:
        out.print()
        lines = [
            (show.span(each["start"], each["end"]), each["reason"], show.who(each["author"]))
            for each in whole["exclusions"]
        ]
        show.table(out, ("excluded", "reason", "by"), lines)


def dataset_version(out: "Console", found: Document) -> None:
    """A version with the profile of each column."""
    facts = {
        "dataset": f"{found['dataset']} {found['version']}",
        "status": show.status(found["status"]),
        "problem": found["problem"],
        "rows": f"{found['rows']:,} ({english.count(found['duplicate_rows'], 'duplicate')})",
        "time": show.span(found["time_from"], found["time_to"]),
        "files": ", ".join(f"{file['name']} ({show.size(file['size'])})" for file in found["files"]),
        "added": f"{show.moment(found['added_at'])} by {show.who(found['added_by'])}",
        "base": found["base"],
        "lineage": found["lineage"],
        "missing words": ", ".join(found["reading"]["missing"]),
        "columns of texts": ", ".join(found["reading"]["text"]),
        **_written(found["reading"]),
    }
    show.facts(out, facts)
    for hint in found["hints"]:
        out.print(f"note: {hint}")
    if found["columns"]:
        out.print()
        rows = [
            (each["name"], each["type"], f"{each['missing']:.1%}", f"{each['distinct']:,}", _range(each))
            for each in found["columns"]
        ]
        show.table(out, ("column", "type", ">missing", ">distinct", "range or commonest"), rows)


def _written(reading: Document) -> dict[str, str]:
    """How numbers and times are written, where that was declared."""
    decimal = {} if reading.get("decimal", ".") == "." else {"decimal": reading["decimal"]}
    return decimal | ({"time format": reading["time_format"]} if reading.get("time_format") else {})


def _range(column: Document) -> str:
    if column["low"] is not None and column["high"] is not None:
        return f"{column['low']:g} .. {column['high']:g}"
    return ", ".join(f"{value} ({count:,})" for value, count in column["top"][:3])
