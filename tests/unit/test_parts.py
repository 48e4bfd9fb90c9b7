"""The parts in memory stand where those on AWS do."""

import pytest

from tidegate.domain.serving.capture import CapturePolicy
from tidegate.ports.registry import Models
from tidegate.testing.parts import InMemoryParts
from tidegate.wiring import Wiring, kept


def test_every_part_of_the_wiring_has_one_in_memory() -> None:
    parts = InMemoryParts()
    missing = [name for name, part in vars(Wiring).items() if isinstance(part, kept) and not hasattr(parts, name)]
    assert missing == []


def test_a_step_gets_what_it_asks_for_by_keyword_and_what_a_test_puts_in_its_place() -> None:
    def asks(task: str, *, models: Models, clock: object, policy: CapturePolicy | None = None, more: int = 1) -> object:
        return task, models, clock, policy, more

    parts = InMemoryParts()
    assert parts.step(asks, "t", clock=None) == ("t", parts.registry, None, None, 1)


def test_what_is_no_part_has_to_be_said() -> None:
    def asks(*, actor: str) -> str:
        return actor

    with pytest.raises(TypeError, match="actor"):
        InMemoryParts().step(asks)
