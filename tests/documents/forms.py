"""Frozen documents: one of each form that was ever stored, as the code of its time wrote it. They never change.

A test that makes a document holds it against the frozen one of its number:

    hold(VERDICT, document)

What the frozen one has, today's must have too, of the same type, because older code reads it. To take a part away, to
rename it or to change its meaning, make a new schema: write an upgrade function, and run the test with
UPDATE_DOCUMENTS=1, which freezes a document of a new number. A new part needs no new schema, unless the reader refuses
what it does not know.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidegate.cli.documents_reference import DOCUMENTS, Stored
from tidegate.kernel.documents import StoredForm

FOLDER = Path(__file__).parent


def frozen(stored: Stored) -> list[Path]:
    """Frozen documents of a kind: `2.json`, or `2-about-something.json`."""
    return sorted((FOLDER / stored.folder).glob("[0-9]*"))


def hold(form: StoredForm, document: Mapping[str, Any] | bytes) -> None:
    """Fails when a document of today has not all that the frozen one of its number has."""
    (stored,) = (each for each in DOCUMENTS if each.form is form)
    today = json.loads(document if isinstance(document, bytes) else json.dumps(document))
    file = FOLDER / stored.folder / f"{form.schema}.json"
    if os.environ.get("UPDATE_DOCUMENTS") and not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(today, indent=1) + "\n", "utf-8")
    before = json.loads(file.read_text("utf-8"))
    lost = [*_lost(before, today), *(f"{path} (new)" for path in _lost(today, before) if stored.strict)]
    assert not lost, f"the {form.name} has another form than schema {form.schema}: {', '.join(lost)}; see {__file__}"


def _lost(before: Any, today: Any, path: str = "") -> Iterator[str]:
    """Where `today` has no such part, or one of another type. Nothing (null, an empty list) is of every type."""
    if before is None or today is None:
        return
    if _type(before) != _type(today):
        yield f"{path} is no {_type(before)}"
    elif isinstance(before, dict):
        for name, part in before.items():
            if name in today:
                yield from _lost(part, today[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(before, list) and before and today:
        yield from _lost(before[0], today[0], f"{path}[]")


def _type(value: Any) -> str:
    return "number" if type(value) in {int, float} else type(value).__name__
