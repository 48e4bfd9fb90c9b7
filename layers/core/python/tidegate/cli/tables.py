"""The tables of docs/ that say what a registry holds, written from the registries themselves.

    python -m tidegate.cli.tables docs

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`, on whichever page; a test holds them equal to
this.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tidegate.spec.estimators.estimator import Probabilities
from tidegate.spec.estimators.registry import ESTIMATORS
from tidegate.spec.part import Task

_BETWEEN = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_PROBABILITIES = {
    Probabilities.NONE: "–",
    Probabilities.SOUND: "sound",
    Probabilities.DISTORTED: "distorted",
}


def table(*columns: str, rows: Iterable[Iterable[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _estimators() -> str:
    return table(
        "estimator",
        "for",
        "numbers",
        "categories",
        "missing numbers",
        "probabilities",
        "what it is",
        rows=(
            (
                f"`{each.name}`",
                "regression" if Task.REGRESSION in each.tasks else "classes",
                "standardised" if each.scaled else "as they are",
                "one-hot" if each.encoding == "onehot" else "ordinal",
                "as they are" if each.keeps_gaps else "median",
                _PROBABILITIES[each.probabilities],
                each.words,
            )
            for each in ESTIMATORS.values()
        ),
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "estimators": _estimators,
}


def filled(page: str) -> str:
    """The page with each of its tables written again. Raises KeyError for one that nobody writes."""
    return _BETWEEN.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", page)


def main(folder: str) -> None:
    """Write the tables of every page in a folder again."""
    for page in sorted(Path(folder).glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if filled(text) != text:
            page.write_text(filled(text), encoding="utf-8")
            print(page)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
