"""Lints the English of the documentation (proselint's checks, the words of scripts/words.toml, long sentences), and the
words of the texts that the code shows.

Code and links in pages are not read. Usage: python scripts/prose.py [FILE...]      (without a file: everything)
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from proselint.checks import __register__ as standard
from proselint.config import DEFAULT, Config
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckFlags, CheckResult, Padding, types
from proselint.registry.checks.engine import Fancy
from proselint.tools import LintFile

ROOT = Path(__file__).resolve().parents[1]
MOST_WORDS = 45  # of a sentence; beyond that a reader has lost its beginning
# Checks of proselint that do not fit, each with its reason.
OFF = {
    "typography.symbols": "Markdown sources keep straight quotes and three dots",
    "typography.diacritical_marks": "to resume is a verb here",
}
# Pages that keep old words.
HISTORY = {"CHANGELOG.md": "says what was renamed from what"}
CODE = re.compile(
    r"^(?P<fence>```|~~~).*?^(?P=fence)|^(?:    |\t).*?$|`[^`]*`|(?<=\])\([^)]*\)|<[^>]+>|https?://\S+|^[|\-: ]+$",
    re.MULTILINE | re.DOTALL,
)
SENTENCE_END = re.compile(r"[.!?:;|]\s+|[.!?:;|]$|\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|^#.*$", re.MULTILINE)


def pages() -> list[Path]:
    """Everything that people read."""
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*/*.md"),
        *ROOT.glob(".github/**/*.md"),
    ]
    return sorted(found)


def sources() -> list[Path]:
    """The code whose texts people read."""
    folders = ("layers/core/python", "functions", "infra", "scripts", "examples")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def blanked(text: str) -> str:
    """`text` with everything that is not prose replaced by dots of the same length."""
    return CODE.sub(lambda match: re.sub(r"[^\n]", "·", match[0]), text)


def long_sentences(text: str, check: Check) -> Iterator[CheckResult]:
    """Sentences of more than MOST_WORDS words."""
    begin = 0
    for end in [*(match.end() for match in SENTENCE_END.finditer(text)), len(text)]:
        words = re.findall(r"[A-Za-z][\w'-]*", text[begin:end])
        if len(words) > MOST_WORDS:
            start = begin + len(text[begin:end]) - len(text[begin:end].lstrip())
            message = f"A sentence of {len(words)} words; {MOST_WORDS} are enough."
            yield CheckResult(span=(start, end), check_path=check.path, message=message, replacements=None)
        begin = end


@cache
def words() -> dict[str, dict[str, str]]:
    """Advice by section and pattern."""
    listed = tomllib.loads((ROOT / "scripts/words.toml").read_text("utf-8"))
    return {
        section: {pattern.replace(" ", r"\s+"): advice for pattern, advice in entries.items()}
        for section, entries in listed.items()
    }


@cache
def any_word() -> re.Pattern[str]:
    """Finds one of them."""
    patterns = "|".join(pattern for entries in words().values() for pattern in entries)
    return re.compile(rf"\b(?:{patterns})\b", re.IGNORECASE)


@cache
def register() -> None:
    """Put our checks beside proselint's."""
    registry = CheckRegistry()
    registry.register_many(standard)
    for section, entries in words().items():
        registry.register(
            Check(
                check_type=types.PreferredForms(items=entries, padding=Padding.WORDS_IN_TEXT),
                engine=Fancy(),
                path=f"tidegate.{section}",
                message="Say: {}; not '{}'.",
                flags=CheckFlags(allow_quotes=True),
            )
        )
    registry.register(Check(check_type=long_sentences, path="tidegate.length", flags=CheckFlags(allow_quotes=True)))


def findings(name: str, text: str) -> Iterator[str]:
    """What there is to say of a page, a line each: where, what, and which check says so."""
    register()
    # The first key that fits decides, so the narrow ones come first.
    off = [*OFF, *(["tidegate.decided"] if name in HISTORY else [])]
    checks = {**dict.fromkeys(off, False), "tidegate": True, **DEFAULT["checks"]}
    for result in LintFile(name, blanked(text)).lint(Config(max_errors=1000, checks=checks)):
        line, column = result.pos
        said = " ".join(result.check_result.message.split())
        yield f"{name}:{line}:{column} {said} [{result.check_result.check_path}]"


def texts(code: str, *, is_help: bool) -> Iterator[tuple[int, str]]:
    """Line and text of each string of several words. Docstrings count only where they are a command's help."""
    nodes = list(ast.walk(ast.parse(code)))
    documentation = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if " " in node.value.strip() and (is_help or id(node) not in documentation):
            yield node.lineno, node.value


def findings_in_code(name: str, code: str) -> Iterator[str]:
    """The words that a text of the code should not say, a line each, as `findings` has them."""
    for line, text in texts(code, is_help="/cli/commands/" in name):
        prose = blanked(text)
        if not any_word().search(prose):
            continue
        for section, entries in words().items():
            for pattern, advice in entries.items():
                if match := re.search(rf"\b(?:{pattern})\b", prose, re.IGNORECASE):
                    yield f"{name}:{line} Say: {advice}; not '{match[0]}'. [tidegate.{section}]"


def main() -> int:
    """Print every finding; whether there are any is the exit code."""
    paths = [Path(name).resolve() for name in sys.argv[1:]] or [*pages(), *sources()]
    found = [
        line
        for path in paths
        for line in (findings_in_code if path.suffix == ".py" else findings)(
            str(path.relative_to(ROOT)), path.read_text("utf-8")
        )
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
