"""What an answer must keep, whoever gives it."""

from pydantic import (
    Field,
)

from tidegate.spec.part import ExpressionText, ModelName, Section

MAX_RULES = 50


class OutputRule(Section):
    """What an answer must keep, over the features, `score` and `label`; one that does not is the fallback's."""

    name: ModelName
    when: ExpressionText | None = Field(None, description="Only answers for which this is true are checked.")
    require: ExpressionText = Field(description="An answer for which this is false breaks the rule.")
