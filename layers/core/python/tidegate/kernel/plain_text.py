"""Text that somebody else wrote, before it reaches a terminal, a mail or a dimension of a metric.

    shown("ops\\x1b[2J")       # 'ops\\\\x1b[2J': what would act on a terminal is spelled out
    one_line("a\\nb")           # 'a b'
    dimension("Köln ops\\n")    # 'K?ln ops': all that CloudWatch takes

Letters that act instead of showing: control characters except tab and line feed, line and paragraph separators, marks
that turn the direction of text (https://trojansource.codes), tags that nobody sees, and halves of surrogate pairs.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.kernel.errors import Fault

MAX_DIMENSION = 1_024  # docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
PARAGRAPHS = frozenset({"description", "expression", "reason", "require", "when"})  # fields that may have several lines
_ACTS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f"
)
_ACTING = re.compile(f"[{_ACTS}]")
_ACTING_OR_BREAKING = re.compile(f"[{_ACTS}\t\n]")


def shown(text: str) -> str:
    """The text with every letter that acts spelled out; lines and tabs stay."""
    return _ACTING.sub(lambda found: _spelled(found[0]), text)


def one_line(text: str) -> str:
    """The same on one line: runs of white space are one space."""
    return shown(" ".join(text.split()))


def dimension(text: str) -> str:
    """A value that CloudWatch takes for a dimension: ASCII without control characters, and not empty."""
    return one_line(text).encode("ascii", "replace").decode().lstrip(":")[:MAX_DIMENSION].strip() or "-"


def escaped(json_text: str) -> str:
    """JSON with every letter that acts as an escape: the same document, and safe to print."""
    return _ACTING.sub(lambda found: _units(found[0]), json_text)


def text_faults(document: Any) -> list[Fault]:
    """Where a decoded document has letters that act, or a line break in a field that has one line."""
    return [Fault(path, problem) for path, problem in _wrong(document, "", paragraph=False)]


def _wrong(value: Any, path: str, *, paragraph: bool) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        found = (_ACTING if paragraph else _ACTING_OR_BREAKING).search(value)
        if found:
            what = "a line break" if found[0] == "\n" else f"the control character {_spelled(found[0])}"
            yield path, f"has {what} at letter {found.start() + 1}; remove it"
    elif isinstance(value, Mapping):
        for name, each in value.items():
            inside = f"{path}.{shown(str(name))}".lstrip(".")
            yield from _wrong(name, inside, paragraph=False)
            yield from _wrong(each, inside, paragraph=name in PARAGRAPHS)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _wrong(each, f"{path}[{place}]", paragraph=False)


def _spelled(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _units(letter: str) -> str:
    """As JSON escapes it, in units of UTF-16."""
    coded = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{coded[place]:02x}{coded[place + 1]:02x}" for place in range(0, len(coded), 2))
