"""Series as SVG. matplotlib comes in with the first picture, so that a cloud nobody looks at starts without it."""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING

from infra.local.dashboard_series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_DRAWN = 10  # lines; the others are in the table
_PIXELS_AN_INCH = 96
# Okabe and Ito's colours, which colour-blind people can distinguish, and four more.
_COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"),
    *("#7f7f7f", "#8c564b", "#b5a300", "#5b4ea5"),
)
_STYLE = {
    "font.size": 9,
    "axes.edgecolor": "#8a949e",
    "axes.labelcolor": "#414d5c",
    "xtick.color": "#414d5c",
    "ytick.color": "#414d5c",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "tidegate",
}
_drawing = threading.Lock()  # matplotlib draws for one thread at a time


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything a picture depends on; pixels as CSS has them, times in seconds since the epoch."""

    series: tuple[Series, ...]
    unit: str
    stacked: bool
    floor: float | None
    start: float
    end: float
    width: int
    height: int


def svg(picture: Picture) -> bytes:
    """The picture; the same one is drawn once."""
    with _drawing:
        return _drawn(picture)


@lru_cache(maxsize=256)
def _drawn(picture: Picture) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        size = picture.width / _PIXELS_AN_INCH, picture.height / _PIXELS_AN_INCH
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        shown = sorted(picture.series, key=lambda each: -max(value for _, value in each.points))[:MAX_DRAWN]
        drawn = [each for each in picture.series if each in shown]
        (_stack if picture.stacked else _lines)(axes, drawn)
        _label(axes, picture)
        longest = max(len(each.label) for each in drawn)
        columns = max(1, int(picture.width / (6.0 * longest + 46)))
        figure.legend(
            loc="outside lower left",
            ncols=min(columns, len(drawn)),
            frameon=False,
            fontsize=8.5,
            handlelength=1.2,
            columnspacing=1.2,
            borderaxespad=0.2,
        )
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return out.getvalue()


def _lines(axes: Axes, series: list[Series]) -> None:
    """Lines that break where periods have no value, with dots where a value stands alone."""
    for colour, each in zip(_COLOURS, series, strict=False):
        values = dict(each.points)
        first, last, length = each.points[0][0], each.points[-1][0], each.period_s
        moments = [first + length * number for number in range(round((last - first) / length) + 1)]
        shown = [values.get(moment, math.nan) for moment in moments]
        alone = [
            number
            for number, moment in enumerate(moments)
            if moment in values and not {moment - length, moment + length} & values.keys()
        ]
        times = [_day(moment) for moment in moments]
        axes.plot(times, shown, label=each.label, color=colour, linewidth=1.5, marker="o", ms=3.5, markevery=alone)


def _stack(axes: Axes, series: list[Series]) -> None:
    """Steps on top of each other; a period without a value counts nothing."""
    length = max(each.period_s for each in series)
    moments = sorted({moment for each in series for moment, _ in each.points})
    edges = sorted({edge for moment in moments for edge in (moment, moment + length)})
    below = [0.0] * len(edges)
    for colour, each in zip(_COLOURS, series, strict=False):
        points = dict(each.points)
        above = [low + points.get(edge, 0.0) for edge, low in zip(edges, below, strict=True)]
        times = [_day(edge) for edge in edges]
        axes.fill_between(times, below, above, step="post", label=each.label, color=colour, alpha=0.75, linewidth=0.6)
        below = above


def _label(axes: Axes, picture: Picture) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    days = ["UTC", "%Y UTC", "%b %Y UTC", *["%Y-%m-%d UTC"] * 3]
    formatter = ConciseDateFormatter(locator, tz=UTC, offset_formats=days)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.set_xlim(_day(picture.start), _day(picture.end))
    if picture.floor is not None:
        flat = all(value <= picture.floor for each in picture.series for _, value in each.points)
        axes.set_ylim(bottom=picture.floor, top=picture.floor + 1 if flat else None)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.set_ylabel(picture.unit)
    axes.grid(axis="y", color="#e3e7ea", linewidth=0.7)
    axes.set_axisbelow(True)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.4g}"


def _day(epoch_s: float) -> float:
    """A time as matplotlib counts it: in days since 1970."""
    return epoch_s / 86_400
