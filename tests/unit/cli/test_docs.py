"""docs/cli.md says what `--help` says."""

from pathlib import Path

from tidegate.cli import exits
from tidegate.cli.reference import page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_the_page_is_what_the_commands_say_of_themselves() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tidegate.cli.reference > docs/cli.md"


def test_every_exit_code_is_told() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exits.MEANING)
