"""Where the records of CSV text end, so that a file of any size can be cut without reading its values.

    found = records(b'1,"two\\nlines"\\n2,x\\n')
    found.ends, found.fields                     # [14 18], [2 2]

As pandas reads it: fields are separated by commas and records by line feeds, a quote that begins a field ends with the
next single one, two of them stand for one, and a quote elsewhere is a letter like any other. A line without any letter
is no record. Numpy finds the separators; only quotes are looked at one by one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tidegate.domain.batch.batch import PART_BYTES, PART_ROWS, Part, Source
from tidegate.kernel import english

BOM = b"\xef\xbb\xbf"
_LONE_RETURN = "has a carriage return that ends no line; put the cell in quotes, or end each line with a line feed"
_UNCLOSED = "has a quote that is never closed"
_COMMA, _LINE_FEED, _RETURN, _QUOTE = 44, 10, 13, b'"'
_QUOTED = re.compile(rb'"[^"]*(?:""[^"]*)*("?)')

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """The whole records of a text: the byte behind each one's line feed, how many fields each has, which are blank (no
    record, though they take their place here), and which have a carriage return that is followed by no line feed and
    stands in no quotes, where others begin a new line. `unclosed`: the last one has a quote that is never closed."""

    ends: Places
    fields: Places
    blank: npt.NDArray[np.bool_]
    returns: npt.NDArray[np.bool_]
    unclosed: bool = False

    def problems(self, columns: int) -> dict[int, str]:
        """By their places, the records that are none of a table with so many columns, and why."""
        odd = ~self.blank & ((self.fields != columns) | self.returns)
        found = {
            place: _LONE_RETURN
            if self.returns[place]
            else f"has {english.count(int(self.fields[place]), 'value')} for {english.count(columns, 'column')}"
            for place in np.flatnonzero(odd).tolist()
        }
        return found | ({len(self.ends) - 1: _UNCLOSED} if self.unclosed else {})

    @property
    def starts(self) -> Places:
        """The first byte of each."""
        return np.concatenate(([0], self.ends[:-1])) if len(self.ends) else self.ends


def records(text: bytes, *, last: bool = False) -> Records:
    """The records of a text that begins with one; what stands behind the last line feed is one too when it is the
    `last` of its file, even inside a quote that is never closed.
    """
    letters = np.frombuffer(text, dtype=np.uint8)
    commas, feeds = letters == _COMMA, letters == _LINE_FEED
    inside, open_quote = _inside(text)
    if inside is not None:
        commas, feeds = commas & ~inside, feeds & ~inside
    ends = np.flatnonzero(feeds) + 1
    if last and len(text) > (ends[-1] if len(ends) else 0):
        ends = np.append(ends, len(text))
    if not len(ends):
        return Records(ends, ends, ends.astype(bool), ends.astype(bool))
    starts = np.concatenate(([0], ends[:-1]))
    # Short records cannot overflow a byte, and bytes are added several times as fast.
    counter = np.uint8 if int((ends - starts).max()) < 256 else np.int64
    counted = np.add.reduceat(commas[: ends[-1]].view(np.uint8), starts, dtype=counter)
    fields = counted.astype(np.int64) + 1
    lengths = ends - starts
    closed = letters[ends - 1] == _LINE_FEED
    content = lengths - closed
    returns = (content > 0) & (letters[np.maximum(ends - 1 - closed, 0)] == _RETURN)
    return Records(ends, fields, content - returns == 0, _lone(letters, inside, starts, ends), last and open_quote)


def _lone(
    letters: npt.NDArray[np.uint8], inside: npt.NDArray[np.bool_] | None, starts: Places, ends: Places
) -> npt.NDArray[np.bool_]:
    """Which records have a carriage return alone."""
    lone = letters == _RETURN
    if not lone.any():
        return np.zeros(len(starts), dtype=bool)
    lone[:-1] &= letters[1:] != _LINE_FEED
    lone[-1] = False  # it ends the last line
    if inside is not None:
        lone &= ~inside
    found: npt.NDArray[np.bool_] = np.logical_or.reduceat(lone[: ends[-1]], starts)
    return found


@dataclass(slots=True)
class CsvCutter:
    """Cuts one CSV object into parts as its records are found, from `start` on.

    A part ends with the record that makes it `PART_ROWS` rows or `PART_BYTES` bytes.
    """

    source: Source
    start: int
    first_row: int
    next_number: int
    rows: int = 0  # of the part that is being made
    position: int = field(init=False)  # behind the last record

    def __post_init__(self) -> None:
        self.position = self.start

    def take(self, found: Records) -> list[Part]:
        """The parts that these records, which begin at `position`, complete."""
        if not len(found.ends):
            return []
        made: list[Part] = []
        ends, counted, taken = self.position + found.ends, self.rows + np.cumsum(~found.blank), 0
        while True:
            last = min(np.searchsorted(counted, taken + PART_ROWS), np.searchsorted(ends, self.start + PART_BYTES))
            if last == len(ends):
                break
            made.append(self._part(int(ends[last]), int(counted[last]) - taken))
            taken = int(counted[last])
        self.rows, self.position = int(counted[-1]) - taken, int(ends[-1])
        return made

    def rest(self) -> list[Part]:
        """What is left at the end of the object."""
        return [self._part(self.position, self.rows)] if self.rows else []

    def _part(self, stop: int, rows: int) -> Part:
        part = Part(self.next_number, self.source.key, self.source.etag, self.start, stop, self.first_row, rows)
        self.start, self.first_row, self.next_number, self.rows = stop, self.first_row + rows, self.next_number + 1, 0
        return part


def _quoted(text: bytes) -> Iterator[tuple[int, int]]:
    """First byte and end of each quoted field; the end of one that is never closed lies behind the text."""
    place = text.find(_QUOTE)
    while place >= 0:
        if place and text[place - 1] not in {_COMMA, _LINE_FEED}:
            place = text.find(_QUOTE, place + 1)
            continue
        found = _QUOTED.match(text, place)
        assert found  # noqa: S101  it begins with a quote
        yield place, found.end() if found[1] else len(text) + 1
        place = text.find(_QUOTE, found.end())


def _inside(text: bytes) -> tuple[npt.NDArray[np.bool_] | None, bool]:
    """Which bytes stand in quoted fields, None when there is no such field; and whether the last is never closed."""
    spans = np.asarray(list(_quoted(text)), dtype=np.int64).reshape(-1, 2)
    if not len(spans):
        return None, False
    steps = np.zeros(len(text) + 2, dtype=np.int8)
    steps[spans[:, 0]] = 1
    steps[spans[:, 1]] = -1
    return np.cumsum(steps, dtype=np.int8)[: len(text)].astype(bool), bool(spans[-1, 1] > len(text))
