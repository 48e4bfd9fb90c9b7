"""Every form that was ever stored is read, and a newer one is refused by each reader with what to do."""

import io
import json
import os
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest

import tidegate
from tests.documents.forms import FOLDER, frozen, hold
from tidegate.aws.items import encode
from tidegate.cli.documents_reference import DOCUMENTS, Stored, table
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.registry.ledger import Action
from tidegate.kernel.documents import DATASET, MODEL, SPEC, StoredForm
from tidegate.kernel.errors import NewerDocumentError
from tidegate.kernel.table import Table

SOURCE = Path(tidegate.__path__[0])
PAGE = FOLDER.parents[1] / "docs" / "stored-documents.md"
FILES = [(stored, file) for stored in DOCUMENTS for file in frozen(stored)]
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def kinds(stored: Stored) -> str:
    return stored.folder


@pytest.mark.parametrize(("stored", "file"), FILES, ids=[f"{stored.folder}-{file.name}" for stored, file in FILES])
def test_every_form_that_was_ever_stored_is_read(stored: Stored, file: Path) -> None:
    assert stored.read(file.read_bytes()) is not None


@pytest.mark.parametrize("stored", DOCUMENTS, ids=kinds)
def test_there_is_a_frozen_document_of_each_form(stored: Stored) -> None:
    numbers = {int(re.match(r"\d+", file.name)[0]) for file in frozen(stored)}  # type: ignore[index]
    assert numbers == set(range(1, stored.form.schema + 1)), f"see {FOLDER / 'forms.py'}"
    for file in frozen(stored):
        if file.suffix == ".json":
            number = json.loads(file.read_text("utf-8")).get(stored.form.field, 1)
            assert file.name.startswith(str(int(number["N"]) if isinstance(number, dict) else number))


@pytest.mark.parametrize("stored", DOCUMENTS, ids=kinds)
def test_a_newer_form_is_refused_by_its_reader_with_what_to_do(stored: Stored) -> None:
    newer = stored.form.schema + 1
    data = frozen(stored)[-1].read_bytes()
    if stored.form is Table.FORM:
        arrays: dict[str, Any] = {Table.FORM.field: np.array(newer), **Table.from_npz(data).columns}
        out = io.BytesIO()
        np.savez(out, **arrays)
        data = out.getvalue()
    else:
        mark = {"N": str(newer)} if stored.item else newer
        data = json.dumps(json.loads(data) | {stored.form.field: mark, "unknown": {"S": "part"}}).encode()
    with pytest.raises(NewerDocumentError) as refused:
        stored.read(data)
    assert refused.value.message == (
        f"the {stored.form.name} has schema {newer}, which newer code wrote; this code reads up to {stored.form.schema}"
    )
    assert refused.value.next_step.startswith("deploy the newer code again")


@pytest.mark.parametrize("stored", [each for each in DOCUMENTS if each.item], ids=kinds)
def test_records_of_the_registry_keep_their_form(stored: Stored) -> None:
    assert stored.item is not None
    hold(stored.form, encode(filled(stored.item)))


@pytest.mark.parametrize("stored", [each for each in DOCUMENTS if each.item], ids=kinds)
def test_every_value_of_an_enumeration_that_was_ever_stored_is_read(stored: Stored) -> None:
    assert stored.item is not None
    known = [json.dumps(item) for file in frozen_values(stored) for item in json.loads(file.read_text("utf-8"))]
    for item in known:
        stored.read(item.encode())
    turns = max(map(len, _enumerations(stored.item)), default=0)
    today = {json.dumps(encode(filled(stored.item, turn=turn))) for turn in range(turns)}
    file = FOLDER / stored.folder / f"values-{stored.form.schema}.json"
    if os.environ.get("UPDATE_DOCUMENTS") and today and not file.exists():
        file.write_text("[\n" + ",\n".join(sorted(today)) + "\n]\n", "utf-8")
    frozen_now = file.read_text("utf-8") if file.exists() else ""
    new = [value for value in _values(stored.item) if f'"S": "{value}"' not in frozen_now]
    assert not new, f"older code cannot read {', '.join(new)}: that is a new schema; see {FOLDER / 'forms.py'}"


def test_every_action_that_a_ledger_ever_had_is_read() -> None:
    stored = "fallback shadow canary withdraw promote end_watch end_probation rollback kill resume split end_split"
    assert all(Action(each) for each in stored.split())


def frozen_values(stored: Stored) -> list[Path]:
    return sorted((FOLDER / stored.folder).glob("values-*.json"))


def _values(hint: Any) -> set[str]:
    return {str(value) for each in _enumerations(hint) for value in each}


def _enumerations(hint: Any) -> set[type[Enum]]:
    """Those within a type."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {hint}
    parts = [*get_args(hint), *(get_type_hints(hint).values() if is_dataclass(hint) else ())]
    return {found for part in parts for found in _enumerations(part)}


def filled(hint: Any, name: str = "", *, turn: int = 0) -> Any:
    """A value of a type, with something in every field; of an enumeration, the one whose turn it is."""
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(each for each in get_args(hint) if each is not type(None))
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{each.name: filled(hints[each.name], each.name, turn=turn) for each in fields(hint)})  # type: ignore[operator]
    if get_origin(hint) is tuple:
        members = get_args(hint)
        return tuple(filled(each, name, turn=turn) for each in members if each is not Ellipsis)
    if get_origin(hint) is Mapping:
        return {"key": filled(get_args(hint)[1], name, turn=turn)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint)[turn % len(hint)]
    return {datetime: AT, str: name, bool: True, int: 3, float: 1 / (1 + len(name)), Any: {"any": 1.5}}[hint]


def test_the_profile_of_a_reference_of_an_older_form_lies_in_its_upgraded_layout() -> None:
    data = (FOLDER / "reference" / "1-with-profiles-of-schema-1.json").read_text("utf-8")
    old = Reference.from_json(json.loads(data))
    assert old.profile.layout == old.layout.digest != json.loads(data)["profile"]["layout"]
    assert [len(counts) for counts in old.profile.features] == [column.size for column in old.layout.features]
    assert Reference.from_json(json.loads(json.dumps(old.to_json()))) == old


# The rule itself


class Changed:
    """Schema 1 called it `name`, schema 2 `title`, schema 3 has titles in capitals."""

    FORM: ClassVar = StoredForm(
        "thing",
        upgrades=(
            lambda document: {"title": document["name"]},
            lambda document: {"title": document["title"].upper()},
        ),
    )


@pytest.mark.parametrize(
    "document", [{"name": "a"}, {"schema": 1, "name": "a"}, {"schema": 2, "title": "a"}, {"schema": 3, "title": "A"}]
)
def test_an_older_form_takes_each_upgrade_that_it_lacks(document: dict[str, Any]) -> None:
    assert Changed.FORM.read(json.dumps(document))["title"] == "A"


@pytest.mark.parametrize("number", [0, -1, "2", None, 1.5, [1]])
def test_a_number_that_no_code_writes_is_no_document(number: Any) -> None:
    with pytest.raises(ValueError, match="which does not exist"):
        Changed.FORM.current({"schema": number, "title": "A"})


@pytest.mark.parametrize("text", ["[]", "1", "null", '"a"'])
def test_what_is_no_object_is_no_document(text: str) -> None:
    with pytest.raises(ValueError, match="the thing is not an object"):
        Changed.FORM.read(text)


def test_the_first_form_carries_no_number_unless_its_writer_always_wrote_one() -> None:
    assert StoredForm("thing").mark() == {}
    assert Changed.FORM.mark() == {"schema": 3}


def test_every_form_is_in_the_table() -> None:
    sources = [file.read_text("utf-8") for file in SOURCE.rglob("*.py") if file.name != "documents.py"]
    sources.append((SOURCE / "domain" / "evaluation" / "documents.py").read_text("utf-8"))
    named = {name for text in sources for name in re.findall(r'StoredForm\(\s*"([^"]+)"', text)}
    named |= {MODEL.name, SPEC.name, DATASET.name}
    assert named == {each.form.name for each in DOCUMENTS}
    assert len({each.folder for each in DOCUMENTS}) == len(DOCUMENTS)


def test_the_page_has_the_table() -> None:
    assert table() in PAGE.read_text("utf-8"), "write it again: python -m tidegate.cli.documents_reference"
