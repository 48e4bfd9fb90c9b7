"""A number that people read, with how sure it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval at the evaluation's confidence."""

    value: float
    low: float
    high: float
