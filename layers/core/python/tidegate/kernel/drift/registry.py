"""Every drift statistic. Another one is a file of its own, and a line here."""

from collections.abc import Mapping

from tidegate.kernel.drift.jensen_shannon import JENSEN_SHANNON
from tidegate.kernel.drift.missing import MISSING
from tidegate.kernel.drift.outside import OUTSIDE
from tidegate.kernel.drift.psi import PSI
from tidegate.kernel.drift.statistic import Distance, Rise
from tidegate.kernel.drift.strange import STRANGE
from tidegate.kernel.drift.type_fault import TYPE_FAULT

DISTANCES: Mapping[str, Distance] = {
    each.name: each
    for each in (
        PSI,
        JENSEN_SHANNON,
    )
}
RISES: Mapping[str, Rise] = {
    each.name: each
    for each in (
        MISSING,
        OUTSIDE,
        TYPE_FAULT,
        STRANGE,
    )
}
COMPARED = JENSEN_SHANNON  # what features are ordered and drawn by: bounded, so the same size means the same anywhere
