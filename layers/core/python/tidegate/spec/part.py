"""The strict pydantic base of every section, and the words that sections share."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from tidegate.kernel.expressions.language import MAX_LENGTH
from tidegate.kernel.ids import NAME

Scalar = bool | int | float | str
MAX_NAME = 128  # letters of a column's name
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
ModelName = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
ExpressionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)]


class Task(StrEnum):
    """What is predicted: one of two classes, one of several, or a number."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def spec_fault(problem: str) -> PydanticCustomError:
    # Pydantic treats the message as a template, so braces in it are passed as a value.
    return PydanticCustomError("spec", "{problem}", {"problem": problem})


def described(words: Mapping[str, str]) -> JsonDict:
    """JSON Schema of a choice, with a sentence for each value that editors show beside it."""
    return {"enum": list(words), "enumDescriptions": list(words.values())}
