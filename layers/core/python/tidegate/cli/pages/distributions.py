"""How the rows of a window lie beside those of training, as bars: in the terminal and as a picture (SVG).

By hand: no plotting library is locked for the little that is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

MOST_BARS = 12
_EIGHTHS = " ▏▎▍▌▋▊▉"
_LABEL, _SPAN, _ROW, _TOP, _NUMBER = 240, 300, 34, 64, 60  # of the picture, in pixels
_COLOURS = ("#9a9a9a", "#0b6e99")


@dataclass(frozen=True, slots=True)
class Bar:
    """One cell of a feature: its share of the reference's rows and of the window's."""

    cell: str
    reference: float
    now: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """One feature's cells in their order, as far as they hold anything; `summary` says what is to be seen."""

    name: str
    summary: str
    bars: tuple[Bar, ...]


def distribution(
    name: str, summary: str, cells: Sequence[str], reference: Sequence[int], now: Sequence[int]
) -> Distribution | None:
    """Counts by cell as shares, the `MOST_BARS` largest in their order; None when either has no rows."""
    before, after = sum(reference), sum(now)
    if not (before and after):
        return None
    bars = [
        Bar(cell, was / before, is_now / after)
        for cell, was, is_now in zip(cells, reference, now, strict=True)
        if was or is_now
    ]
    kept = sorted(bars, key=lambda bar: max(bar.reference, bar.now), reverse=True)[:MOST_BARS]
    return Distribution(name, summary, tuple(bar for bar in bars if bar in kept))


def bar(share: float, widest: float, width: int) -> str:
    """A share as blocks, `width` characters for `widest`, by eighths of one."""
    eighths = round(8 * width * share / widest)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).strip()


def picture(title: str, found: Sequence[Distribution]) -> str:
    """All features below each other, two bars for each cell: the reference above, the window below."""
    width = _LABEL + _SPAN + _NUMBER + 24
    height = _TOP + sum(_height(each) for each in found)
    summary = "; ".join(each.summary for each in found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" fill="#222"',
        'aria-labelledby="title description" font-family="sans-serif" font-size="12">',
        f'<title id="title">{_text(title)}</title>',
        f'<desc id="description">{_text(summary)}</desc>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="24" font-size="16" font-weight="bold">{_text(title)}</text>',
    ]
    for index, name in enumerate(("reference", "this window")):
        x = 16 + 120 * index
        parts.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{_COLOURS[index]}"/>')
        parts.append(f'<text x="{x + 18}" y="46">{name}</text>')
    top = _TOP
    for each in found:
        parts += [f'<g transform="translate(0 {top})">', *_panel(each), "</g>"]
        top += _height(each)
    return "\n".join([*parts, "</svg>", ""])


def _height(found: Distribution) -> int:
    return 56 + _ROW * len(found.bars)


def _panel(found: Distribution) -> list[str]:
    widest = max(max(each.reference, each.now) for each in found.bars)
    parts = [f'<text x="16" y="24" font-size="14" font-weight="bold">{_text(found.name)}</text>']
    for row, each in enumerate(found.bars):
        y = 36 + _ROW * row
        parts.append(f'<text x="{_LABEL - 8}" y="{y + 18}" text-anchor="end">{_text(each.cell)}</text>')
        for index, share in enumerate((each.reference, each.now)):
            long, down = _SPAN * share / widest, y + 3 + 13 * index
            parts.append(
                f'<rect x="{_LABEL}" y="{down}" width="{long:.1f}" height="11" fill="{_COLOURS[index]}"/>'
                f'<text x="{_LABEL + long + 6:.1f}" y="{down + 10}" font-size="10">{100 * share:.1f} %</text>'
            )
    return parts


def _text(words: str) -> str:
    """Names come from data, and XML has no control characters."""
    return escape("".join(each if each.isprintable() else " " for each in words))
