"""What an answer under load is held to, without a clock or a service."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ALWAYS = frozenset({"champion", "candidate", "holdback", "split"})
DYING_SECONDS = 0.1
CRASHED = '{"message":"Internal Server Error"}'  # the gateway's, when the function went away


@dataclass(frozen=True, slots=True)
class Truth:
    """What each version gives for each instance [float32], and the fallback [float64]; none of it asked of the server.

    The fallback's numbers are float64, since a rule's are.
    """

    versions: Mapping[int, npt.NDArray[np.float32]]
    fallback: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may answer a request: these versions (None: any that is known; the fallback is None among them), and besides
    them, for the reasons in `why`, another version or the fallback."""

    versions: frozenset[int | None] | None
    why: frozenset[str]


def faults(answer: Mapping[str, Any], rows: Sequence[int], truth: Truth, allowed: Allowed) -> list[str]:
    """What is wrong with an answer to the instances at `rows`; none when it is as it must be."""
    version, predictions = answer["version"], answer["predictions"]
    if len(predictions) != len(rows):
        return [f"{len(predictions)} predictions for {len(rows)} instances"]
    if version is not None and version not in truth.versions:
        return [f"version {version} is not known"]
    return [*_origin(answer, allowed), *_scores(version, predictions, rows, truth)]


def _origin(answer: Mapping[str, Any], allowed: Allowed) -> list[str]:
    version, reason, why = answer["version"], answer["reason"], answer.get("why")
    if why in allowed.why:
        return []
    said = f"version {version} answered as {reason} ({why})"
    expected = allowed.versions
    if expected is not None and version not in expected:
        return [f"{said}, but {sorted(map(str, expected))} serve"]
    if why is not None or reason not in ALWAYS:
        return [f"{said} without a fault that allows it"]
    return []


def _scores(
    version: int | None, predictions: Sequence[Mapping[str, Any]], rows: Sequence[int], truth: Truth
) -> list[str]:
    """A version's scores are the shortest decimals of its float32, so float32 compares them exactly."""
    fallen_back = [each.get("fallback", False) for each in predictions]
    if any(each is not (version is None) for each in fallen_back):
        return [f"version {version} answered, and {sum(fallen_back)} of {len(rows)} are marked as the fallback's"]
    expected = truth.fallback[list(rows)] if version is None else truth.versions[version][list(rows)]
    given = np.array([each["score"] for each in predictions], dtype=expected.dtype)
    return [
        f"instance {rows[at]}: version {version} gave {given[at]!r} instead of {expected[at]!r}"
        for at in np.flatnonzero(given != expected).tolist()
    ]


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was answered with a 5xx."""

    status: int
    began: float
    ended: float
    said: str
    phase: str

    @property
    def crashed(self) -> bool:
        """Whether the process went away, instead of the function saying what is wrong."""
        return self.said == CRASHED


def unexplained(failures: Collection[Failure], kills: Collection[float]) -> list[Failure]:
    """Those that are not the one request that a killed process was at work on. `kills` are moments; a process that was
    just hit may still be given its last request."""
    left = sorted(failures, key=lambda failure: failure.ended)
    for kill in sorted(kills):
        own = next((each for each in left if each.crashed and each.began - DYING_SECONDS <= kill <= each.ended), None)
        if own is not None:
            left.remove(own)
    return left


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB at a quarter, at half and at the end of a time, and the growth in its second half by a straight line."""

    quarter: float
    half: float
    end: float
    growth: float

    @classmethod
    def of(cls, samples: Sequence[tuple[float, float]], began: float, ended: float) -> "Memory | None":
        """From (time, MiB) of one process; None for one that did not live from the first quarter to the end."""
        times, sizes = np.array(samples).T
        quarter, slack = began + (ended - began) / 4, (ended - began) / 20
        if times[0] > quarter or times[-1] < ended - slack:
            return None
        middle = (began + ended) / 2
        later = times >= middle
        slope = np.polyfit(times[later] - middle, sizes[later], 1)[0]
        first, half, last = np.interp([quarter, middle, ended], times, sizes).round(1).tolist()
        return cls(first, half, last, round(float(slope * (ended - middle)), 2))


def timetable(phases: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Seconds for each phase, by its share of all shares."""
    whole = sum(phases.values())
    return {name: seconds * share / whole for name, share in phases.items()}
