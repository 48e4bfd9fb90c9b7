"""Every rule that a spec may name. Another one is a file of its own, and a line here."""

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args

from pydantic import (
    Field,
)

from tidegate.spec.part import Task
from tidegate.spec.rules.arithmetic import ArithmeticRule
from tidegate.spec.rules.constant import ConstantRule
from tidegate.spec.rules.group_rate import GroupRateRule
from tidegate.spec.rules.moving_average import MovingAverageRule
from tidegate.spec.rules.prior import PriorRule
from tidegate.spec.rules.rule import Place, Rule

RULES: tuple[type[Rule], ...] = (
    ConstantRule,
    PriorRule,
    GroupRateRule,
    MovingAverageRule,
    ArithmeticRule,
)


def kind_of(rule: type[Rule]) -> str:
    """What a spec calls it."""
    kind: str = get_args(rule.model_fields["kind"].annotation)[0]
    return kind


def kinds(place: Place | None = None, task: Task | None = None) -> tuple[str, ...]:
    """Of the rules that may stand at a place (at any, if None), for a task (for any, if None)."""
    places = tuple(Place) if place is None else (place,)
    fitting = {each: [task for at in places for task in each.tasks.get(at, ())] for each in RULES}
    return tuple(kind_of(each) for each, tasks in fitting.items() if (task in tasks if task else tasks))


def _one_for(place: Place) -> Any:
    those = tuple(each for each in RULES if place in each.tasks)
    return Annotated[Union[those], Field(discriminator="kind")]  # noqa: UP007


if TYPE_CHECKING:
    BaselineRule: TypeAlias = Rule
    FallbackRule: TypeAlias = Rule
else:
    BaselineRule = _one_for(Place.BASELINE)
    FallbackRule = _one_for(Place.FALLBACK)
