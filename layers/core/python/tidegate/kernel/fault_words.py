"""What is wrong with a value, in our words: pydantic's kinds of error as sentences about what was given.

    problem("greater_than_equal", -1, {"ge": 0})       # '-1 is too small; give at least 0'
    did_you_mean("Carier", ["carrier", "dest"])        # "; did you mean 'carrier'?"

Standard library only: a table and `difflib`, which is loaded when somebody misspelt a name.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.kernel import english
from tidegate.kernel.ids import NAME, NAME_FORM
from tidegate.kernel.plain_text import one_line

_SHOWN = 80  # letters of what was given
_NEAR = 0.75  # of difflib: what people mistype is nearer, other words rarely are
_MOST = 2  # names of a hint
_A_TIME = "is not a day or time that exists; write 2013-02-08 or 2013-02-08T18:00"
_KINDS: tuple[tuple[str, str], ...] = (  # of errors, by how they begin
    ("string_type", "is not a text"),
    ("string_unicode", "is not valid text"),
    ("int_from_float", "is not a whole number"),
    ("int", "is not a whole number"),
    ("float", "is not a number"),
    ("finite_number", "is not a finite number"),
    ("bool", "is neither true nor false"),
    ("date", _A_TIME),
    ("time", _A_TIME),
    ("list_type", "is not a list"),
    ("tuple_type", "is not a list"),
    ("set_type", "is not a list"),
    ("iterable_type", "is not a list"),
    ("dict", "is not a mapping of names to values"),
    ("mapping", "is not a mapping of names to values"),
    ("model", "is not a mapping of names to values"),
    ("dataclass", "is not a mapping of names to values"),
    ("none_required", "is not null"),
    ("invalid_key", "is not a name"),
    ("recursion_loop", "refers to itself"),
)


def problem(kind: str, given: object, context: Mapping[str, Any], said: str) -> str:  # noqa: PLR0911
    """A sentence about a value, without its place.

    Args:
        kind: pydantic's name of the error.
        given: the value.
        context: the limits that it breaks.
        said: pydantic's words, for errors that are ours: their words are kept.
    """
    match kind:
        case "extra_forbidden":
            return "no such field"
        case "missing":
            return "is required"
        case "string_pattern_mismatch":
            if context["pattern"] == f"^{NAME}$":
                return f"{spelled(given)} cannot be a name: {NAME_FORM}"
            return f"{spelled(given)} must match {context['pattern']}"
        case "greater_than_equal" | "greater_than":
            least = f"at least {context['ge']:g}" if "ge" in context else f"more than {context['gt']:g}"
            return f"{spelled(given)} is too small; give {least}"
        case "less_than_equal" | "less_than":
            most = f"at most {context['le']:g}" if "le" in context else f"less than {context['lt']:g}"
            return f"{spelled(given)} is too large; give {most}"
        case "string_too_short":
            return f"is too short; give at least {english.count(context['min_length'], 'character')}"
        case "string_too_long":
            return f"is too long; give at most {english.count(context['max_length'], 'character')}"
        case "too_short":
            return f"has too few entries; give at least {context['min_length']}"
        case "too_long":
            return f"has too many entries; give at most {context['max_length']}"
        case _:
            ours = next((words for begin, words in _KINDS if kind.startswith(begin)), "")
            return f"{spelled(given)} {ours}" if ours else said.removeprefix("Value error, ")


def choices(context: Mapping[str, Any]) -> tuple[str, ...]:
    """What pydantic lists as possible, in the limits of an error of a choice."""
    listed = str(context.get("expected") or context.get("expected_tags") or "")
    return tuple(re.findall(r"'([^']*)'", listed))


def spelled(given: object) -> str:
    """A value as a person would write it, shortened."""
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, list | tuple):
        return "a list"
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    text = one_line(repr(given) if isinstance(given, str | int | float) else str(given))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`; did you mean 'a' or 'b'?`, or nothing: the one hint wherever somebody typed a name."""
    near = near_names(name, known)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def near_names(name: object, known: Iterable[str]) -> list[str]:
    """At most two names that may have been meant, the nearest first. Case makes no difference, nor whether words are
    separated by `-`, `_` or blanks; dotted names are also near by their last part alone."""
    from difflib import get_close_matches  # for faults only: not worth its share of a cold start

    if not isinstance(name, str) or len(name) > 256:
        return []
    names = list(dict.fromkeys(known))
    for spelt in (_folded, lambda text: _folded(text).rpartition(".")[2]):
        by_spelling: dict[str, list[str]] = {}
        for each in names:
            by_spelling.setdefault(spelt(each), []).append(each)
        same = [spelt(name)] if spelt(name) in by_spelling else []
        if near := same or get_close_matches(spelt(name), list(by_spelling), n=_MOST, cutoff=_NEAR):
            return [each for spelling in near for each in by_spelling[spelling]][:_MOST]
    return []


def _folded(name: str) -> str:
    return re.sub(r"[-_\s]+", "_", name.casefold())
