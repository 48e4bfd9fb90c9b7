"""Bodies as nobody should send them: what is JSON but odd, and what is no JSON though some parser takes it."""

from collections.abc import Callable, Iterator

BOM = b"\xef\xbb\xbf"
_LEVELS = 100_000
_DIGITS = "7" * 400

ODD_VALUES: dict[str, bytes] = {
    "too large a number": b"1e999",
    "too small a number": b"-1e999",
    "next to nothing": b"1e-999",
    "400 digits": _DIGITS.encode(),
    "400 digits below zero": f"-{_DIGITS}".encode(),
    "400 decimals": f"0.{_DIGITS}".encode(),
    "more digits than Python reads": b"8" * 6_000,
    "beyond 64 bits": b"18446744073709551616",
    "negative nothing": b"-0",
    "nothing": b"null",
    "a truth": b"true",
    "an empty text": b'""',
    "an empty list": b"[]",
    "an empty object": b"{}",
    "first half of a pair, escaped": b'"west \\ud83d"',
    "second half of a pair, escaped": b'"\\ude00 east"',
    "a pair the wrong way round, escaped": b'"\\ude00\\ud83d"',
    "half a pair as a name": b'{"\\udbff": 1}',
    "NUL, escaped": b'"gate\\u0000way"',
    "a mark of byte order, escaped": b'"\\ufeffgate"',
    "a text of 2,000 letters": b'"' + b"w" * 2_000 + b'"',
    "an empty name": b'{"": 0}',
    "a list in lists, 90 deep": b"[" * 90 + b"]" * 90,
    "a list in lists, 480 deep": b"[" * 480 + b"]" * 480,
    "a list in lists, 940 deep": b"[" * 940 + b"]" * 940,
    "an object in objects, 480 deep": b'{"a":' * 480 + b"0" + b"}" * 480,
    "an object in objects, 940 deep": b'{"a":' * 940 + b"0" + b"}" * 940,
}
"""JSON by RFC 8259: a value each."""

BROKEN_VALUES: dict[str, bytes] = {
    "no number": b"NaN",
    "infinity": b"Infinity",
    "infinity below zero": b"-Infinity",
    "a zero first": b"007",
    "a zero first, below zero": b"-01",
    "a plus": b"+4",
    "no digit before the point": b".5",
    "no digit behind the point": b"5.",
    "no digit behind the exponent": b"5e",
    "a minus alone": b"-",
    "hexadecimal": b"0x2A",
    "an underscore in digits": b"1_000",
    "digits of another script": "٤٢".encode(),
    "single quotes": b"'gate'",
    "Python's truth": b"True",
    "Python's nothing": b"None",
    "JavaScript's nothing": b"undefined",
    "a comma behind the last": b"[4, 2,]",
    "a comma before the first": b"[, 4]",
    "two commas": b"[4,, 2]",
    "no comma": b"[4 2]",
    "a comma behind the last field": b'{"gate": 4,}',
    "a name without quotes": b"{gate: 4}",
    "a number as a name": b"{4: 2}",
    "no colon": b'{"gate" 4}',
    "two colons": b'{"gate":: 4}',
    "a name without value": b'{"gate"}',
    "the wrong bracket": b'["gate"}',
    "a comment to the end of the line": b"4 // minutes\n",
    "a comment": b"/* minutes */ 4",
    "a comment of YAML": b"4 # minutes\n",
    "a text without end": b'"gate',
    "a line feed in a text": b'"ga\nte"',
    "a tab in a text": b'"ga\tte"',
    "an escape character in a text": b'"ga\x1bte"',
    "NUL in a text": b'"ga\x00te"',
    "NUL": b"\x00",
    "an unknown escape": b'"\\x41"',
    "half an escape": b'"\\u00e"',
    "an escape of no digits": b'"\\u00zz"',
    "half a pair as bytes": b'"\xed\xa0\x80"',
    "a pair as six bytes": b'"\xed\xa0\xbd\xed\xb8\x80"',
    "a letter in two bytes instead of one": b'"\xc1\xa1"',
    "Latin-1": '"café"'.encode("latin-1"),
    "half a letter": '"é"'.encode()[:2] + b'"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "a name twice": b'{"gate": 4, "gate": 2}',
    "a name twice, once escaped": b'{"gate": 4, "\\u0067ate": 2}',
}
"""What is no JSON, or has two meanings: a value each."""

WHOLE: dict[str, bytes] = {
    "nothing at all": b"",
    "blanks": b" \r\n\t",
    "a form feed": b"\x0c{}",
    "a blank of Unicode": "\u00a0{}".encode(),
    "an open bracket": b"[",
    "an open brace": b"{",
    "a closed bracket": b"]",
    "two documents": b"{} {}",
    "two documents on two lines": b"{}\n{}\n",
    "NUL behind": b"{}\x00",
    "a comma behind": b"{},",
    "a bracket too many": b"{}}",
    "brackets without end": b"[" * _LEVELS,
    "braces without end": b'{"a":' * _LEVELS,
    "UTF-16 with its mark": '{"gate": 4}'.encode("utf-16"),
    "UTF-16, little end first": '{"gate": 4}'.encode("utf-16-le"),
    "UTF-16, big end first": '{"gate": 4}'.encode("utf-16-be"),
    "UTF-32": '{"gate": 4}'.encode("utf-32"),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}
"""What is no JSON: whole bodies."""

DEEP = {
    "brackets": b"[" * _LEVELS + b"]" * _LEVELS,
    "braces": b'{"a":' * _LEVELS + b"0" + b"}" * _LEVELS,
}
"""JSON, but deeper than parsers go."""

CONSTANTS = frozenset({"no number", "infinity", "infinity below zero"})
"""Broken values that some clients write, and some protocols take."""

SCALARS = {"a bare number": b"42", "a bare text": b'"gate"', "a bare truth": b"true", "a bare nothing": b"null"}
"""JSON, but no object."""


def bodies(around: Callable[[bytes], bytes]) -> Iterator[tuple[str, bytes, bool]]:
    """Every body, by what is odd, and whether it is JSON that can be read. `around` makes a document about a value."""
    good = around(b"4")
    for name, value in ODD_VALUES.items():
        yield name, around(value), "more digits" not in name
    for name, value in BROKEN_VALUES.items():
        yield name, around(value), False
    for name, body in WHOLE.items():
        yield name, body, False
    for name, value in DEEP.items():
        yield f"{name} in brackets", value, False
        yield f"{name} in a document", around(value), False
    for name, body in SCALARS.items():
        yield name, body, True
    for cut in range(1, len(good), 3):
        yield f"cut off behind {cut} bytes", good[:cut], False
    yield "a mark of byte order before it", BOM + good, False
    yield "twice", good + good, False
