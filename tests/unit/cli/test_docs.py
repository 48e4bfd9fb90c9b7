"""docs/cli.md says what `--help` says, and the tables of docs/ what the registries hold."""

from pathlib import Path

import pytest

from tidegate.cli import exits
from tidegate.cli.reference import page
from tidegate.cli.tables import TABLES, filled, schemas

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = DOCS / "cli.md"


def test_the_page_is_what_the_commands_say_of_themselves() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tidegate.cli.reference > docs/cli.md"


def test_every_exit_code_is_reported() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exits.MEANING)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_the_tables_of_a_page_are_what_the_registries_hold(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == filled(text), "write it again: python -m tidegate.cli.tables docs"


def test_the_schemas_are_those_of_the_documents() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "schemas").glob("*.json")}
    assert found == schemas(), "write them again: python -m tidegate.cli.tables docs"


def test_every_table_stands_on_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    for name in TABLES:
        assert f"<!-- table: {name} -->" in pages
