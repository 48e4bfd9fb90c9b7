"""A number that people read, with how sure it is."""

from dataclasses import dataclass

from tidegate.kernel import figures


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval at the evaluation's confidence."""

    value: float
    low: float
    high: float

    @property
    def shown(self) -> str:
        """For people: `0.742 [0.731, 0.753]`."""
        return figures.interval(self.value, self.low, self.high)

    def rounded(self, number: float) -> str:
        """A number of the same unit with the decimals of `shown`."""
        return figures.within(number, self.low, self.high)
