"""The rows of a short CSV text, and in plain words why it is none. Standard library only: it is on the inference path.

rows_of("a,b\\n1,2\\n")    # [["a", "b"], ["1", "2"]]
"""

import csv
import io


class NotCsvError(ValueError):
    """A text that is no CSV; the message says which line, and what is wrong there."""


def read(text: str) -> list[list[str]]:
    """Each row that is not blank, the header among them. A line ends with a line feed, which may follow a carriage
    return.

    Raises:
        NotCsvError: a carriage return alone, a quote that is never closed or closed too early, or a huge cell.
    """
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        raise NotCsvError(f"line {reader.line_num:,} {_plainly(str(error))}") from None


def _plainly(said: str) -> str:
    """The csv module's messages in ours."""
    if said.startswith("new-line character"):
        return "has a carriage return that ends no line; put the cell in quotes, or end each line with a line feed"
    if said.startswith("unexpected end"):
        return "is inside a quote that is never closed"
    if said.startswith("field larger"):
        return f"has a cell of more than {csv.field_size_limit():,} letters"
    return f"is not CSV: {said}"
