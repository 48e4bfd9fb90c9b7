"""How the tests themselves are built: what they share lies in builders, never in another test module."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
MODULES = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in TESTS.rglob("*.py")}
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


def test_types_are_checked_against_every_service_of_the_cdk_that_is_imported() -> None:
    code = "".join(file.read_text("utf-8") for place in ("infra", "tests") for file in (ROOT / place).rglob("*.py"))
    imported = {f"aws_cdk.{name}" for name in re.findall(r"^\s*from aws_cdk import (aws_\w+)", code, re.MULTILINE)}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]["overrides"]
    (read,) = [each["module"] for each in settings if each.get("follow_imports") == "normal"]
    assert len(imported) > 20
    assert imported | {name.replace("aws_cdk.", "aws_cdk.interfaces.") for name in imported} <= set(read)
