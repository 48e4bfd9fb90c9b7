"""How the tests themselves are built: what they share lies in builders, never in another test module."""

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def modules() -> dict[str, ast.Module]:
    return {
        file.relative_to(TESTS.parent).as_posix(): ast.parse(file.read_text("utf-8")) for file in TESTS.rglob("*.py")
    }


def test_no_test_module_is_imported_by_another() -> None:
    imported = {
        (name, found.module)
        for name, module in modules().items()
        for found in ast.walk(module)
        if isinstance(found, ast.ImportFrom) and found.module and found.module.startswith("tests.")
        if any(part.startswith("test_") for part in (*found.module.split("."), *(each.name for each in found.names)))
    }
    assert imported == set()


def test_no_two_modules_make_a_house_or_a_world_of_the_same_name() -> None:
    names = Counter(
        part.name
        for name, module in modules().items()
        for part in module.body
        if isinstance(part, ast.ClassDef)
        if "/builders/" in name or part.name in {"House", "World"}
    )
    assert [name for name, count in names.items() if count > 1] == []
