"""What a page consists of. The template draws each kind of block; all content is decided before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Table:
    """Columns whose head begins with > hold numbers."""

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A count with its share of the row's, which is shaded by it; `right` says whether it counts hits."""

    count: str
    shown: str
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts by two names: `rows` down, `columns` across."""

    kind: ClassVar[str] = "matrix"
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    caption: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence; a `gap` says what is not known."""

    kind: ClassVar[str] = "note"
    text: str
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture (an SVG element) with its caption, and its numbers for those who cannot see it, `unfolded` where they
    are wanted at once."""

    kind: ClassVar[str] = "figure"
    svg: str
    caption: str
    table: Table
    unfolded: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the gate: `outcome` is its name in JSON, `word` what people call it."""

    name: str
    outcome: str
    word: str
    statement: str


@dataclass(frozen=True, slots=True)
class Checks:
    """All checks of the gate."""

    kind: ClassVar[str] = "checks"
    checks: Sequence[Check]


Block = Table | Matrix | Facts | Note | Figure | Checks


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under its own heading; `key` is its anchor. `lead` says in a sentence how to read it."""

    key: str
    title: str
    blocks: Sequence[Block]
    lead: str = ""

    @property
    def measured(self) -> bool:
        """False when all it says is that nothing is known."""
        return any(not (isinstance(block, Note) and block.gap) for block in self.blocks)


def not_measured(key: str, title: str, why: str = "not measured for this version") -> Section:
    """A section that says in one line that there is nothing to show."""
    return Section(key, title, (Note(why, gap=True),))
