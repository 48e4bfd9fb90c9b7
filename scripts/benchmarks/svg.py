"""Line and bar charts of the benchmarks as SVG files, drawn as the pages of versions are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import PercentFormatter

from tidegate.plots.pictures import BLUE, GREY, VERMILION, Words, canvas

_STYLES = ((BLUE, "-"), (VERMILION, "--"), (GREY, ":"))  # dashes for those who do not see colours
_PANEL, _ROW = 4.4, 0.3  # inches


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: shares (0 to 1) over a number, a line for each name; `limit` is drawn as a thin line."""

    title: str
    across: str
    x: Sequence[float]
    lines: Mapping[str, Sequence[float]]
    limit: float | None = None


def chart(title: str, description: str, panels: Sequence[Panel]) -> str:
    """The whole picture, with a title and a description for those who cannot see it."""
    with canvas(Words(title, description), 3.4, _PANEL * len(panels)) as drawn:
        for place, panel in enumerate(panels, 1):
            axes = drawn.figure.add_subplot(1, len(panels), place, title=panel.title, xlabel=panel.across)
            for (name, shares), (colour, dashes) in zip(panel.lines.items(), _STYLES, strict=False):
                axes.plot(panel.x, shares, dashes, color=colour, label=name if place == 1 else None)
            if panel.limit is not None:
                axes.axhline(panel.limit, color="black", linewidth=0.8)
                axes.annotate(
                    f"promised: {100 * panel.limit:g} %", (max(panel.x), panel.limit), ha="right", va="bottom"
                )
            axes.set(xlim=(0, max(panel.x)), ylim=(0, 1.02))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        drawn.figure.suptitle(title)
        drawn.figure.legend(loc="outside lower left", ncols=len(_STYLES))
    return _file(drawn.svg)


def bars(title: str, description: str, across: str, rows: Mapping[str, tuple[float, float]], ours: str) -> str:
    """A bar for each name as long as the first number's logarithm, and a thin line on to the second, which is no
    smaller. Both are above zero. The bar of `ours` has a colour of its own."""
    with canvas(Words(title, description), 1.2 + _ROW * len(rows), 2 * _PANEL) as drawn:
        axes = drawn.figure.add_subplot(xlabel=across)
        axes.set_xscale("log")
        lowest, highest = min(low for low, _ in rows.values()), max(high for _, high in rows.values())
        axes.set_xlim(10.0 ** math.floor(math.log10(lowest)), 1.5 * highest)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        for place, (name, (low, high)) in enumerate(rows.items()):
            colour = BLUE if name == ours else GREY
            axes.barh(place, low, 0.6, color=colour)
            axes.plot([low, high], [place, place], color=colour)
            axes.annotate(f" {low:,.3g}", (high, place), va="center")
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        drawn.figure.suptitle(title)
    return _file(drawn.svg)


def _file(svg: str) -> str:
    """An element of a page as a file of its own."""
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"
