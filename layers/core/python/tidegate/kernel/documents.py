"""Stored documents: each kind has a number for its form. Readers upgrade older forms and refuse newer ones.

    class Reference:
        FORM: ClassVar = StoredForm("reference", upgrades=(_hidden_named,), renew="train the model again")   # schema 2

    {**REFERENCE.mark(), ...}           # what a writer adds
    document = Reference.FORM.read(data)  # what a reader gets: the current form

A document without a number has schema 1. docs/stored-documents.md has the rule. On the inference path: standard library
only.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.kernel.errors import NewerDocumentError

Document = Mapping[str, Any]
Upgrade = Callable[[Document], Document]


@dataclass(frozen=True, slots=True)
class StoredForm:
    """A kind of stored document.

    Attributes:
        name: what people call one.
        upgrades: the first makes schema 2 of schema 1, and so on; a new schema is a new upgrade.
        renew: how to replace one that cannot be read, besides deploying the code that wrote it.
        field: has the number.
    """

    name: str
    upgrades: tuple[Upgrade, ...] = ()
    renew: str = ""
    field: str = "schema"

    @property
    def schema(self) -> int:
        """The number of the form that this code writes."""
        return 1 + len(self.upgrades)

    def mark(self) -> dict[str, int]:
        """What a writer adds to a document: its number, which is left out while it is 1."""
        return {self.field: self.schema} if self.upgrades else {}

    def read(self, data: bytes | str) -> Any:
        """The current form of a document in JSON. Raises as `current` does."""
        return self.current(json.loads(data))

    def current(self, document: Any) -> Any:
        """The current form of a document.

        Raises:
            NewerDocumentError: newer code wrote it.
            ValueError: it is no document of this kind.
        """
        try:
            number = document.get(self.field, 1)
        except AttributeError:
            raise ValueError(f"the {self.name} is not an object") from None
        for upgrade in self.missing(number):
            document = upgrade(document)
        return document

    def is_current(self, document: Document) -> bool:
        """Whether code that writes this form wrote the document."""
        return bool(document.get(self.field, 1) == self.schema)

    def missing(self, number: Any) -> tuple[Upgrade, ...]:
        """The upgrades that a document of that number needs. Raises as `current` does."""
        if number == self.schema:
            return ()
        if type(number) is not int or number < 1:
            raise ValueError(f"the {self.name} has schema {number!r}, which does not exist")
        if number > self.schema:
            raise NewerDocumentError(
                f"the {self.name} has schema {number}, which newer code wrote; this code reads up to {self.schema}",
                next_step="deploy the newer code again" + (f", or {self.renew}" if self.renew else ""),
            )
        return self.upgrades[number - 1 :]


# Of records that the inference function reads a part of, without what makes the whole record.
MODEL, SPEC = StoredForm("model"), StoredForm("spec")
# Schema 2 says which words mean missing, and which columns are texts; 3 how numbers and times are written.
DATASET = StoredForm("dataset", upgrades=(dict, dict))
