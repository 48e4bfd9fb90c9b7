"""How the tests themselves are built: what they share lies in builders, never in another test module."""

import json
import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
MODULES = {file.relative_to(TESTS.parent).as_posix(): file.read_text("utf-8") for file in TESTS.rglob("*.py")}
IMPORT = re.compile(r"^\s*(?:from (tests(?:\.\w+)*) import (?:\(\s*)?(\w+)|import (tests(?:\.\w+)*))", re.MULTILINE)


def test_no_test_module_is_imported_by_another() -> None:
    imported = {
        (name, found.group().strip())
        for name, text in MODULES.items()
        for found in IMPORT.finditer(text)
        if any(part.startswith("test_") for part in ".".join(filter(None, found.groups())).split("."))
    }
    assert imported == set()


def test_no_two_modules_make_a_house_or_a_world_of_the_same_name() -> None:
    names = Counter(
        part
        for name, text in MODULES.items()
        for part in re.findall(r"^class (\w+)", text, re.MULTILINE)
        if "/builders/" in name or part in {"House", "World"}
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_lock_of_npm_packages_carries_hashes_and_no_addresses() -> None:
    lock = (TESTS / "tools" / "package-lock.json").read_text("utf-8")
    packages = [package for name, package in json.loads(lock)["packages"].items() if name]
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert "://" not in lock
