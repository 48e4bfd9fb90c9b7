"""No file says a word that was given up, but for what reads old documents; docs/glossary.md has the words."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GIVEN_UP = re.compile(
    r"(?=[dehostw])"  # what they begin with: four times as quick
    r"(?:withdr[ae]w|step_back|steps? back\b|harvest|symptom|\bstandings?\b|SettleTask|ExamineTask|SurveyTask"
    r"|ObserveTask|\bWatchRules|WatchStack|end_watch|watch_(?:hours|seconds)|\bthe watch\b|\bwatch:|\bWATCH\b|wish"
    r"|does not let you|has other bytes)",
    re.IGNORECASE,
)
GIVEN_UP_IN_CODE = re.compile(r"(?<![a-z])(told|tells?|telling)(?![a-z])", re.IGNORECASE)
PROTOCOLS = {"layers/core/python/tidegate/ml/batches.py": "tell"}  # of files, whose position it is
MAY_SAY_IT = {
    "CHANGELOG.md",
    "docs/glossary.md",
    "docs/deploy.md",  # an upgrade
    "layers/core/python/tidegate/domain/registry/ledger.py",  # actions of old entries
    "layers/core/python/tidegate/domain/registry/version.py",  # an upgrade
    "layers/core/python/tidegate/domain/rollout/rollout.py",  # an upgrade
    "layers/core/python/tidegate/spec/model.py",  # old names of sections
    "scripts/upgrade_registry.py",
    "scripts/words.toml",
    "tests/adapters/test_upgrade_registry.py",
    "tests/unit/kernel/test_documents.py",
    "tests/unit/registry/old_chain.json",
    "tests/unit/registry/test_ledger.py",
    "tests/unit/test_spec.py",
}
OTHERS_OWN = ("tests/documents/", "tests/unit/docs/", "infra/local/", "tests/local/", "scripts/benchmarks/peers/")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [Path(name) for name in listed.stdout.splitlines()]


def test_nothing_says_a_word_that_was_given_up() -> None:
    files = tracked()
    if not files:
        pytest.skip("no git repository")
    found = []
    for file in files:
        if str(file) in MAY_SAY_IT or str(file).startswith(OTHERS_OWN) or file.suffix in {".svg", ".png", ".txt"}:
            continue
        if (ROOT / file).exists():
            lines = (ROOT / file).read_text("utf-8", errors="ignore").splitlines()
            found += [
                f"{file}:{number}: {line.strip()[:100]}"
                for number, line in enumerate(lines, 1)
                if GIVEN_UP.search(line)
            ]
    assert found == [], "see docs/glossary.md"


def test_what_may_say_an_old_word_still_does() -> None:
    silent = [name for name in MAY_SAY_IT if not GIVEN_UP.search((ROOT / name).read_text("utf-8"))]
    assert silent == [], "take it off the list"


def said_in_code(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each name, comment and docstring; quick where there is nothing to find."""
    if not GIVEN_UP_IN_CODE.search(text):
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.NAME, tokenize.COMMENT}:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def test_names_comments_and_docstrings_do_not_say_told() -> None:
    files = [file for file in tracked() if file.suffix == ".py" and not str(file).startswith("tests/unit/docs/")]
    if not files:
        pytest.skip("no git repository")
    found = [
        f"{file}:{line}: {said[:100]}"
        for file in files
        if (ROOT / file).exists()
        for line, said in said_in_code((ROOT / file).read_text("utf-8"))
        if said != PROTOCOLS.get(str(file)) and GIVEN_UP_IN_CODE.search(said)
    ]
    assert found == [], "see docs/glossary.md: report, say or show"
