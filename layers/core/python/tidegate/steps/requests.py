"""JSON in and out of the control API: request documents that name every fault, and views of the domain's nouns."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from tidegate.kernel import english, fault_words
from tidegate.kernel.errors import Fault, ForbiddenError, NotFoundError, RequestInvalidError
from tidegate.kernel.ids import DOCTOR, DOCTOR_PREFIX, NAME
from tidegate.kernel.plain_text import text_faults

Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]
Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _midnight(value: object) -> object:
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if type(value) is date else value


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_midnight), AfterValidator(_in_utc)]
"""A time or a day (its midnight); without a zone it is UTC."""


class Document(BaseModel):
    """A request body. Unknown fields are refused, so that a misspelt option is not silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, body: object) -> Self:
        """Check a decoded body.

        Raises:
            RequestInvalidError: with every fault and its path.
        """
        if not isinstance(body, dict):
            raise RequestInvalidError("the body must be a JSON object", [Fault("", f"got {_json_type(body)}")])
        faults = text_faults(body)
        try:
            found = cls.model_validate(body)
        except ValidationError as error:
            faults += [cls._fault(detail) for detail in error.errors(include_url=False)]
        if faults:
            raise RequestInvalidError(f"{english.count(len(faults), 'fault')} in the request", faults)
        return found

    @classmethod
    def _fault(cls, detail: ErrorDetails) -> Fault:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
        kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
        if kind in {"enum", "literal_error"}:
            allowed = fault_words.choices(context)
            near = fault_words.did_you_mean(given, allowed)
            return Fault(path, f"{fault_words.spelled(given)} is not one of the choices{near}", allowed)
        problem = fault_words.problem(kind, given, context, detail["msg"])
        if kind == "extra_forbidden" and len(detail["loc"]) == 1:
            names = tuple(field.alias or name for name, field in cls.model_fields.items())
            return Fault(path, f"{problem}{fault_words.did_you_mean(path, names)}", names)
        return Fault(path, problem)


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)


def demand_unreserved(name: str, owner: str, *, made_by: str | None, actor: str) -> None:
    """Names of the doctor's are for what it makes: it removes them, and nobody changes one while it looks.

    Raises:
        RequestInvalidError: another owner would lose it.
        ForbiddenError: somebody else made it.
    """
    if not name.startswith(DOCTOR_PREFIX):
        return
    if owner != DOCTOR:
        raise RequestInvalidError(
            "the name is reserved",
            [Fault("name", f"{name!r} begins like the names of what `tidegate doctor` makes and removes")],
            next_step="take another name",
        )
    if made_by not in {None, actor}:
        raise ForbiddenError(
            f"{name} was made by the doctor that {made_by} started",
            next_step="wait until it is done; `tidegate doctor --remove` removes what it may have left",
        )


def version_number(model: str, text: str) -> int:
    """The number of a version in an address. Raises NotFoundError for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFoundError(
            f"{model} has no version {text!r}; versions are numbers", next_step=f"see `tidegate versions {model}`"
        )
    return int(text)


def view(value: Any) -> Any:  # noqa: PLR0911  one for each kind of value
    """A domain value as plain JSON: dataclasses by field name, times in ISO 8601, a number that is none as null."""
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(key): view(item) for key, item in value.items()}
        case list() | tuple():
            return [view(item) for item in value]
        case float() if not math.isfinite(value):
            return None
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: view(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value
