"""YAML that means what it looks like: mappings with text names, lists and plain values, each written out.

    document = read(text)

Refused with line and column: aliases and anchors (a few of them expand to gigabytes), merge keys, tags, names given
twice (of which YAML keeps the last), names that are not texts, values that cannot exist (`2013-06-31`), and documents
that are nested too deeply or have too many values. Depth is bounded while the text is scanned, since PyYAML's scanner
takes time quadratic in it.
"""

from collections.abc import Hashable
from typing import Any

import yaml

from tidegate.kernel.errors import Fault, SpecInvalidError
from tidegate.kernel.plain_text import shown

MAX_DEPTH = 32
MAX_NODES = 50_000
MAX_DIGITS = 100  # of a number: PyYAML's reading of some forms is quadratic in them
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_SIGNS = {_MERGE, "tag:yaml.org,2002:value"}  # << and =, which are texts where they are no names
_WORDS = {  # PyYAML's, by how they begin
    "mapping values are not allowed": "a `:` is not possible here; check the indentation, or quote the text",
    "expected <block end>": "the indentation does not match the lines above",
    "could not find expected ':'": "a `:` is missing behind a name",
    "found character '\\t'": "a tab is not possible here; indent with spaces",
    "found character": "this character cannot begin a value; quote the text",
    "expected ',' or ']'": "a `,` or the closing `]` is missing",
    "expected ',' or '}'": "a `,` or the closing `}` is missing",
    "found unexpected end of stream": "a quote is not closed",
    "but found another document": "a second document begins here; keep one",
    "while scanning": "this is not YAML",
    "expected the node content": "a value is missing",
    "did not find expected": "a value is missing",
}


def read(text: str) -> Any:
    """The decoded document.

    Raises:
        SpecInvalidError: names every repeated name and every value that cannot exist; other faults end the reading.
    """
    try:
        loader = _Strict(text)
        document = loader.get_single_data()
    except yaml.YAMLError as error:
        raise SpecInvalidError("the spec is not valid YAML", [_fault(error, text)]) from None
    if loader.faults:
        raise SpecInvalidError("the spec is not valid YAML", loader.faults)
    return document


class _Strict(yaml.SafeLoader):
    """Raises yaml.YAMLError; `faults` has those after which reading could go on."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.faults: list[Fault] = []
        self._nodes = 0

    # Scanning

    def fetch_alias(self) -> None:
        self._refuse("aliases are not allowed; write the value out")

    def fetch_anchor(self) -> None:
        self._refuse("anchors are not allowed; write the value out where it is used")

    def fetch_tag(self) -> None:
        self._refuse("tags are not allowed; write the value without one")

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        super().fetch_flow_collection_start(token)
        self._bound()

    def add_indent(self, column: int) -> bool:
        added: bool = super().add_indent(column)
        self._bound()
        return added

    def _bound(self) -> None:
        if self.flow_level + len(self.indents) > MAX_DEPTH:
            self._refuse(f"it is nested too deeply; at most {MAX_DEPTH} levels are allowed")

    def _refuse(self, problem: str) -> None:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())

    # Building

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(f"it has too many values; at most {MAX_NODES:,} are allowed")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  PyYAML's signature
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.tag in {_TEXT, *_SIGNS} else self._value(node)
        return super().construct_object(node, deep)

    def _value(self, node: yaml.ScalarNode) -> Any:
        """A value that is no text: a number, a date, true, false or null."""
        said = node.value if len(node.value) <= MAX_DIGITS else f"{node.value[:20]}..."
        try:
            if len(node.value) <= MAX_DIGITS:
                return super().construct_object(node)
            problem = f"has more than {MAX_DIGITS} characters; quote it if it is a text"
        except (ValueError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            does_not = "is not a day or time that exists" if kind == "timestamp" else "is not a number"
            problem = f"{does_not}; correct it, or quote it if it is a text"
        self.faults.append(Fault(_place(node.start_mark), f"{said} {problem}"))
        return None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        found: dict[Hashable, Any] = {}
        for key, value in node.value:
            name, at = str(key.value), _place(key.start_mark)
            if key.tag == _MERGE:
                self.faults.append(Fault(at, "merge keys (<<) are not allowed; write the fields out"))
            elif key.tag != _TEXT:
                said = f"the name {name[:MAX_DIGITS]} is" if isinstance(key, yaml.ScalarNode) else "a name is"
                self.faults.append(Fault(at, f"{said} not a text; quote it"))
            elif name in found:
                self.faults.append(Fault(at, f"{name[:MAX_DIGITS]!r} is given twice in one mapping; keep one"))
            found[name] = self.construct_object(value, deep)
        return found


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _fault(error: yaml.YAMLError, text: str) -> Fault:
    """In our words, where they say more than PyYAML's."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Fault(f"line {line}", f"has the control character {shown(chr(int(error.character)))}; remove it")
    problem, mark = str(getattr(error, "problem", "")), getattr(error, "problem_mark", None)
    said = next((ours for theirs, ours in _WORDS.items() if problem.startswith(theirs)), problem)
    return Fault(_place(mark) if mark else "", said)
