"""The input guard and what is captured."""

from typing import Annotated, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
)

from tidegate.spec.part import ColumnName, Section


class GuardRules(Section):
    """The input guard: which inputs are marked as unusual, and who answers them (docs/model-spec.md#input-guard)."""

    share: float = Field(0.001, gt=0, le=0.1, description="Share of inputs like those of training that may be marked.")
    answer: Literal["model", "fallback"] = Field(
        "model", description="Who answers an unusual input. The answer is marked either way."
    )


GUARD_TAG = "guard rules"


def _guard_tag(given: object) -> str | None:
    if given == "none":
        return "none"
    return GUARD_TAG if isinstance(given, dict | GuardRules) else None


InputGuard = Annotated[
    Annotated[Literal["none"], Tag("none")] | Annotated[GuardRules, Tag(GUARD_TAG)],
    Discriminator(
        _guard_tag,
        custom_error_type="guard",
        custom_error_message="is neither `none` nor a mapping of share and answer",
    ),
]


class CaptureRules(Section):
    """What is kept of every prediction (docs/captures.md). Features that are personal data in the data catalog are
    masked unless they are named here."""

    sample: float = Field(1.0, ge=0, le=1, description="Share of predictions that is stored, chosen by hash of the id.")
    mask: tuple[ColumnName, ...] = Field((), description="Features stored only as present or missing.")
    drop: tuple[ColumnName, ...] = Field((), description="Features that are not stored.")
    keep: tuple[ColumnName, ...] = Field((), description="Personal data that is deliberately stored unmasked.")
