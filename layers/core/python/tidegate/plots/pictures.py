"""Pictures as SVG elements that stand in a page: vector, small, and distinguishable without colour too.

Each takes plain numbers and the words that stand in for the picture. The same arguments give the same text. Text stays
text, measured with DejaVu Sans and shown in the reader's own font, which is no wider.
"""

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tidegate.domain.evaluation.estimate import Estimate

# Okabe and Ito's colours, which colour-blind people can distinguish. Markers and dashes distinguish them in grey.
BLUE, VERMILION, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#6b7580"
_LABEL_CHARACTERS = 24
_WIDTH, _HEIGHT = 4.2, 2.9  # inches
_POINTS = 72  # in an inch; the SVG's unit
_PAD = 3.0  # points around everything
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8a949e",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.labelcolor": "#1f2933",
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "text.color": "#1f2933",
    "text.parse_math": False,
    "xtick.color": "#1f2933",
    "ytick.color": "#1f2933",
}

_TIDIED = tuple(
    (re.compile(pattern, re.DOTALL), instead)
    for pattern, instead in (
        (r"<defs>\s*<style.*?</style>\s*</defs>", ""),
        (r'<g id="[^"]*"/>', ""),
        (r'<g id="[^"]*">', "<g>"),
        (r' transform="rotate\(-0 [^"]*"', ""),
        (r"font-family: [^;]*;", "font-family: system-ui, sans-serif;"),
        (r"xlink:href", "href"),
        (r"\s*\n\s*", "\n"),
    )
)


@dataclass(frozen=True, slots=True)
class Words:
    """What stands in for a picture: its name, and what is to be seen in it."""

    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Row:
    """A number with its interval; `highlighted` sets it off from the others by colour and marker."""

    name: str
    found: Estimate
    highlighted: bool = True


@dataclass(slots=True)
class Canvas:
    """A figure, and what became of it."""

    figure: Figure
    svg: str = ""
    _alone: Axes | None = None

    def axes(self, *, across: str, up: str = "") -> Axes:
        """One pair of axes that fills it, but for a figure's legend below. Nothing else gets room outside of it: add
        subplots to the figure for that."""
        self.figure.set_layout_engine("none")
        self._alone = self.figure.add_subplot(xlabel=across, ylabel=up)
        return self._alone

    def arrange(self) -> None:
        """Gives the axes that fill it the room that their labels leave."""
        if self._alone is None:
            return
        for _ in range(2):  # the number of ticks depends on the room, and the room on how wide their labels are
            self._alone.set_position(_room(self.figure, self._alone))


@contextmanager
def canvas(words: Words, height: float = _HEIGHT, width: float = _WIDTH) -> Iterator[Canvas]:
    """A figure to draw on, of this size in inches; its `svg` is there once the block has ended."""
    style = _STYLE | {"svg.hashsalt": words.title}
    with mpl.rc_context(style), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        drawn = Canvas(Figure(figsize=(width, height), layout="constrained"))
        yield drawn
        drawn.arrange()
        out = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(drawn.figure).print_svg(out, metadata=nothing)  # type: ignore[no-untyped-call]
        drawn.svg = _embedded(out.getvalue().decode(), words)


def _embedded(document: str, words: Words) -> str:
    """The SVG element alone, with its words in it, and without anything that could touch the page around it."""
    head, _, inside = document[document.index("<svg") :].partition(">")
    viewbox = re.findall(r'viewBox="[^"]+"', head)[0]
    for pattern, instead in _TIDIED:
        inside = pattern.sub(instead, inside)
    title, description = escape(words.title), escape(words.description)
    named = f"<title>{title}</title><desc>{description}</desc>"
    return f'<svg {viewbox} role="img" aria-label="{title}">{named}{inside.strip()}'


def intervals(rows: Sequence[Row], words: Words, *, label: str, line: float | None = None) -> str:
    """Numbers with their intervals, one below the other; a dashed `line` at what they are compared with."""
    with canvas(words, 0.62 + 0.25 * max(2, len(rows))) as drawn:
        axes = drawn.axes(across=label)
        for place, row in enumerate(rows):
            colour, marker = (BLUE, "o") if row.highlighted else (GREY, "D")
            axes.plot([row.found.low, row.found.high], [place, place], color=colour, solid_capstyle="butt")
            axes.plot([row.found.value], [place], color=colour, marker=marker, markersize=5)
        if line is not None:
            axes.axvline(line, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1)
        _named(axes, [row.name for row in rows])
        axes.xaxis.set_major_locator(_ticks())
    return drawn.svg


def rates(names: Sequence[str], series: Sequence[tuple[str, Sequence[float | None]]], words: Words) -> str:
    """Several rates of each group, one group below the other."""
    markers, colours = ("o", "s", "^"), (BLUE, GREEN, VERMILION)
    with canvas(words, 1.0 + 0.25 * max(2, len(names))) as drawn:
        axes = drawn.axes(across="share of the rows")
        for (name, values), marker, colour in zip(series, markers, colours, strict=False):
            known = [(value, place) for place, value in enumerate(values) if value is not None]
            across, up = [value for value, _ in known], [place for _, place in known]
            axes.plot(across, up, marker, color=colour, label=name, markersize=5.5, markerfacecolor="none", mew=1.5)
        _named(axes, names)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(_ticks())
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        drawn.figure.legend(loc="lower left", ncols=2, handletextpad=0.2, columnspacing=1)
    return drawn.svg


def curve(
    points: Sequence[Sequence[float]], words: Words, *, across: str, up: str, chance: Sequence[Sequence[float]]
) -> str:
    """A curve in the unit square, and dashed what a model without skill would have."""
    with canvas(words) as drawn:
        axes = drawn.axes(across=across, up=up)
        axes.plot(*zip(*points, strict=True), color=BLUE, label="this version")
        axes.plot(*zip(*chance, strict=True), color=GREY, linestyle=(0, (4, 2)), linewidth=1.2, label="without skill")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.legend(loc="best")
    return drawn.svg


def reliability(
    points: Sequence[tuple[float, Estimate]], words: Words, *, across: str = "mean score", up: str = "came true"
) -> str:
    """What came true against what was said, and dashed where the two are the same."""
    with canvas(words) as drawn:
        axes = drawn.axes(across=across, up=up)
        most = min(1.0, 0.01 + 1.05 * max(max(at, found.high) for at, found in points))
        axes.plot([0, most], [0, most], color=GREY, linestyle=(0, (4, 2)), linewidth=1.2, label="perfectly calibrated")
        for at, found in points:
            axes.plot([at, at], [found.low, found.high], color=BLUE, linewidth=1.2)
        axes.plot(
            [at for at, _ in points], [found.value for _, found in points], "-o", color=BLUE, ms=4, lw=1, clip_on=False
        )
        axes.set(xlim=(0, most), ylim=(0, most))
        axes.legend(loc="best")
    return drawn.svg


def histogram(edges: Sequence[float], counts: Sequence[int], words: Words, *, across: str) -> str:
    """Rows by size of a number; a dashed line at zero."""
    with canvas(words) as drawn:
        axes = drawn.axes(across=across, up="rows")
        axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.35)
        axes.stairs(counts, edges, color=BLUE, linewidth=1)
        if edges[0] < 0 < edges[-1]:
            axes.axvline(0, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return drawn.svg


def band(
    across: Sequence[float], found: Sequence[Estimate], words: Words, *, label: str, up: str, line: float | None = None
) -> str:
    """A number along another one, with its interval as a band."""
    with canvas(words) as drawn:
        axes = drawn.axes(across=label, up=up)
        axes.fill_between(
            across, [each.low for each in found], [each.high for each in found], color=BLUE, alpha=0.2, lw=0
        )
        axes.plot(across, [each.value for each in found], "-o", color=BLUE, markersize=3.5)
        if line is not None:
            axes.axhline(line, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1)
        axes.xaxis.set_major_locator(_ticks())
    return drawn.svg


def worth(points: Sequence[Sequence[float]], chosen: float, words: Words, *, up: str) -> str:
    """What decisions are worth by threshold, and dashed the one that was chosen."""
    with canvas(words) as drawn:
        axes = drawn.axes(across="threshold", up=up)
        axes.plot(*zip(*points, strict=True), color=BLUE)
        axes.axvline(chosen, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1, label=f"chosen: {chosen:.3g}")
        axes.set_xlim(0, 1)
        axes.legend(loc="best")
    return drawn.svg


def _room(figure: Figure, axes: Axes) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of the axes, as shares of the figure, such that labels and legends fit around it.

    Matplotlib's constrained layout finds the same by drawing everything three times.
    """
    wide, high = _POINTS * figure.get_size_inches()
    now = axes.get_position()
    line, style = _extent("lp")[1], mpl.rcParams
    label = line + style["axes.labelpad"]
    across, up = _tick_labels(axes.xaxis), _tick_labels(axes.yaxis)
    widths = [(at, _extent(text)[0]) for at, text in across]
    outwards = _outwards(axes.xaxis)
    below = max(outwards + line + label, *(line / 2 - at * now.height * high for at, _ in up))
    above = max(line / 2 - (1 - at) * now.height * high for at, _ in up)
    if axes.yaxis.get_major_formatter().get_offset():
        above = max(above, line + _PAD)
    before = _outwards(axes.yaxis) + max(_extent(text)[0] for _, text in up) + (label if axes.get_ylabel() else 0)
    before = max(before, *(width / 2 - at * now.width * wide for at, width in widths))
    after = max(width / 2 - (1 - at) * now.width * wide for at, width in widths)
    legends = sum(each.get_window_extent().height * _POINTS / figure.dpi + _PAD for each in figure.legends)
    left, bottom = before + _PAD, below + _PAD + legends
    right, top = max(after, 0) + _PAD, max(above, 0) + _PAD
    return left / wide, bottom / high, 1 - (left + right) / wide, 1 - (bottom + top) / high


def _tick_labels(axis: Axis) -> list[tuple[float, str]]:
    """Where along an axis (0 to 1) its ticks are, and what they say."""
    low, high = axis.get_view_interval()
    places = axis.get_majorticklocs()
    along = [(float((place - low) / (high - low))) for place in places]
    named = zip(along, axis.get_major_formatter().format_ticks(list(places)), strict=True)
    return [(at, text) for at, text in named if -1e-9 <= at <= 1 + 1e-9] or [(0.5, "")]


def _outwards(axis: Axis) -> float:
    """How far from the axes tick labels begin, in points."""
    own, style = axis.get_tick_params(), mpl.rcParams
    return float(own.get("length", style["xtick.major.size"]) + style["xtick.major.pad"])


@lru_cache(maxsize=1024)
def _extent(text: str) -> tuple[float, float]:
    """Width and height of a text, in points."""
    font = FontProperties(family=_STYLE["font.sans-serif"], size=_STYLE["font.size"])
    width, height, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return width, height


def _ticks() -> MaxNLocator:
    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])


def _named(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(max(2, len(names)) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _short(name: str) -> str:
    """On one line, its beginning and its end."""
    plain = " ".join(name.split())
    if len(plain) <= _LABEL_CHARACTERS:
        return plain
    half = math.ceil(_LABEL_CHARACTERS / 2)
    return f"{plain[:half]}…{plain[half + 1 - _LABEL_CHARACTERS :]}"
