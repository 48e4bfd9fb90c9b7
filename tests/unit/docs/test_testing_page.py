"""What docs/testing.md shows works as it stands, and it names every fake there is."""

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")


def test_the_example_of_the_page_passes() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/testing.md", "exec"), names)  # noqa: S102  our own page
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()


def test_the_page_names_every_fake() -> None:
    folder = ROOT / "layers" / "core" / "python" / "tidegate" / "testing"
    fakes = {
        (file.stem, part.name)
        for file in folder.glob("*.py")
        for part in ast.parse(file.read_text("utf-8")).body
        if isinstance(part, ast.ClassDef) and part.name.startswith(("InMemory", "Fixed", "Recorded"))
    }
    rows = re.findall(r"\| `tidegate\.testing\.([a-z]+)` \| (.*) \|", PAGE)
    named = {(module, fake) for module, text in rows for fake in re.findall(r"`([A-Z]\w+)`", text)}
    assert named == fakes, "docs/testing.md lists other fakes than there are in tidegate.testing"
