"""What a drift statistic is: how far something has moved, from where on that is material, and its words.

Nothing is called drift for its size alone. Each statistic names the test that has to say first that the change is more
than chance (`domain.profiles.significance`); the size then decides whether it matters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Counts = Sequence[float]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far the distribution of a column has moved. A column has drifted when any distance exceeds its threshold.

    Attributes:
        name: of the number in a finding, and of the threshold among the spec's rules for monitoring.
        label: what people call it; `sentence` says what it is.
        measure: of the counts of two samples in the same cells, some of which hold rows. 0 for equal shares.
        threshold: unless the spec says otherwise; `most` is the largest possible distance, None if there is none.
    """

    name: str
    label: str
    sentence: str
    measure: Callable[[Counts, Counts], float]
    threshold: float
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Rise:
    """The share of a feature's rows that have one kind of fault, and by how much it may rise.

    Attributes:
        name: of the fault, in findings.
        cell: where a column counts such rows, as a place from the end (`domain.profiles.profile`).
        numbers, texts: what such values are called, in a numeric and in a categorical feature.
        sentence: what it is.
        threshold: rise of the share that is material.
        unfixable: rise from which a model must not be trained on such rows.
        between: whether it looks at columns only whose values training knew one by one.
    """

    name: str
    cell: int
    numbers: str
    texts: str
    sentence: str
    threshold: float
    unfixable: float
    between: bool = False
