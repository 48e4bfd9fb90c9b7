"""CSV files that something is wrong with, made by code, and the words that name the fault."""

import csv
import io

HEADER = b"id,number,word\n"
GOOD = b"1,2.5,x\n2,3.5,y\n"

# By what is wrong: the bytes, and a word that a dataset's fault, and that of a request, has.
FILES: dict[str, tuple[bytes, str, str]] = {
    "cut in the middle of a line": (HEADER + GOOD + b"3,4", "has 2 values for 3 columns", "has 2 values for 3 columns"),
    "cut inside a quote": (HEADER + GOOD + b'3,4.5,"z', "quote that is never closed", "quote that is never closed"),
    "a quote over all lines": (HEADER + b'1,2.5,"x\n' + GOOD, "quote that is never closed", "never closed"),
    "a lone carriage return": (HEADER + b"1,2.5,x\r2,3.5,y\n", "carriage return that ends no", "carriage return"),
    "a NUL": (HEADER + GOOD + b"3,4.5,\x00\n", "neither CSV", "word"),
    "a NUL far behind": (HEADER + GOOD * 1_000 + b"3,4.5,a\x00b\n", "NUL character in line 2,002", "word"),
    "UTF-16": ("id,number,word\n1,2.5,x\n".encode("utf-16"), "UTF-16", "UTF-8"),
    "Latin-1": (HEADER + b"1,2.5,caf\xe9\n", "not UTF-8 text", "UTF-8"),
    "a word for a number": (HEADER + GOOD + b"3,four,z\n", "number", "number"),
    "digits of another script": (HEADER + "1,٣,x\n".encode(), "number", "number"),
    "a hundred thousand columns": (
        b",".join(b"c%d" % at for at in range(100_000)) + b"\n1\n",
        "100,000 columns",
        "1 value",
    ),
    "a name twice": (b"id,number,number\n1,2,3\n", "occurs twice", "twice"),
    "nothing": (b"", "is empty", "no instances"),
    "a header alone": (HEADER, "has no rows", "no instances"),
    "a huge cell": (HEADER + b"1,2.5," + b"x" * 2**21 + b"\n", "more than 1,024 letters", "more than 131,072 letters"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "neither CSV", "UTF-8"),
}


def quoted_lines() -> bytes:
    """A good file whose cells have line feeds, returns, commas and quotes."""
    out = io.StringIO()
    rows = [["1", "2.5", 'a\n"b",\r\nc'], ["2", "3.5", "d\re"], ["3", " 4.5 ", ""]]
    csv.writer(out, lineterminator="\r\n").writerows([["id", "number", "word"], *rows])
    return out.getvalue().encode()
