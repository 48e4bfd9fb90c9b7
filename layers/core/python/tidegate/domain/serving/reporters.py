"""Who reported the outcomes that a model is judged by and trained on, and whose part of them is large."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tidegate.kernel.roles import person, principal

MOST_NAMED = 20  # callers; the sessions of a role are one beyond that

By = Mapping[str, int]  # ARN of a reporter -> outcomes


@dataclass(frozen=True, slots=True)
class Reports:
    """Outcomes by who reported them, of predictions that were counted. `ignored` are predictions of which somebody else
    reported another outcome, `uncaptured` outcomes without a captured prediction."""

    by: By = field(default_factory=dict)
    ignored: int = 0
    uncaptured: int = 0

    def __add__(self, other: "Reports") -> "Reports":
        return Reports(tallied([self.by, other.by]), self.ignored + other.ignored, self.uncaptured + other.uncaptured)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(dict(document["by"]), document["ignored"], document["uncaptured"])


def tallied(found: Iterable[By]) -> dict[str, int]:
    """The sums, those with the most first; sessions beyond `MOST_NAMED` are summed by their role. Those of people who
    reported most in all their roles are named."""
    sums, people = Counter[str](), Counter[str]()
    for each in found:
        sums.update(each)
    for arn, count in sums.items():
        people[person(arn)] += count
    ranked = sorted(sums.items(), key=lambda pair: (-people[person(pair[0])], -pair[1], pair[0]))
    kept = Counter(dict(ranked[:MOST_NAMED]))
    for arn, count in ranked[MOST_NAMED:]:
        kept[principal(arn)] += count
    return dict(sorted(kept.items(), key=lambda pair: (-pair[1], pair[0])))


def large(by: By, share: float) -> dict[str, float]:
    """ARNs of those who gave more than this share of the outcomes, with the share of who is behind each: the role of
    all its sessions (`principal`), or the one `person` in all their roles, whichever gave more. An unknown reporter
    counts among all, and is nobody."""
    return {arn: part for arn, (_, part) in _parts(by).items() if part > share}


def behind(by: By, share: float) -> dict[str, float]:
    """The same by who is behind the ARNs, in words."""
    return {who: part for who, part in _parts(by).values() if part > share}


def _parts(by: By) -> dict[str, tuple[str, float]]:
    total, roles, people = sum(by.values()), Counter[str](), Counter[str]()
    for arn, count in by.items():
        roles[principal(arn)] += count
        people[person(arn)] += count
    return {
        arn: (f"{person(arn)} (under several ARNs)", people[person(arn)] / total)
        if people[person(arn)] > roles[principal(arn)]
        else (principal(arn), roles[principal(arn)] / total)
        for arn in by
        if arn
    }
