"""Line and bar charts as SVG, by hand: no plotting library is locked for the little that is drawn here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP = 380, 240, 56, 64  # of one panel's axes, and the room around it
_GAP = 90
_NAMES, _BARS, _ROW = 250, 480, 28  # of a bar chart: room for names, the longest bar, and a row's height
_COLOURS = ("#0b6e99", "#c8553d", "#7a7a7a")  # told apart by dashes as well, for those who do not see colours
_DASHES = ("", "7 4", "2 3")


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
    parts = _opened(title, description, _LEFT + len(panels) * (_WIDTH + _GAP) - _GAP + 24, _TOP + _HEIGHT + 84)
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({_LEFT + index * (_WIDTH + _GAP)} {_TOP})">')
        parts += _panel(panel)
        parts.append("</g>")
    for index, name in enumerate(panels[0].lines):
        x, y = _LEFT + 150 * index, _TOP + _HEIGHT + 66
        parts.append(_path(f"M{x} {y - 4}h28", index))
        parts.append(f'<text x="{x + 36}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def bars(title: str, description: str, across: str, rows: Mapping[str, tuple[float, float]], ours: str) -> str:
    """A bar for each name as long as the first number's logarithm, and a thin line on to the second, which is no
    smaller. Both are above zero. The bar of `ours` has a colour of its own."""
    lowest = math.floor(math.log10(min(low for low, _ in rows.values())))
    highest = max(lowest + 1, math.ceil(math.log10(max(high for _, high in rows.values()))))

    def along(number: float) -> float:
        return _BARS * (math.log10(number) - lowest) / (highest - lowest)

    height = len(rows) * _ROW
    parts = _opened(title, description, _NAMES + _BARS + 100, _TOP + height + 64)
    parts.append(f'<g transform="translate({_NAMES} {_TOP})">')
    for power in range(lowest, highest + 1):
        x = along(10.0**power)
        parts.append(f'<path d="M{x:.1f} 0v{height}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{height + 18}" text-anchor="middle">{10.0**power:,g}</text>')
    for index, (name, (low, high)) in enumerate(rows.items()):
        y, colour = index * _ROW, _COLOURS[0] if name == ours else _COLOURS[2]
        parts.append(f'<text x="-8" y="{y + 18}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect y="{y + 6}" width="{along(low):.1f}" height="{_ROW - 12}" fill="{colour}"/>')
        parts.append(
            f'<path d="M{along(low):.1f} {y + _ROW / 2}H{along(high):.1f}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{along(high) + 6:.1f}" y="{y + 18}">{low:,.3g}</text>')
    parts.append(f'<text x="{_BARS / 2}" y="{height + 40}" text-anchor="middle">{escape(across)}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _opened(title: str, description: str, width: int, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" fill="#222"',
        'aria-labelledby="title description" font-family="sans-serif" font-size="12">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]


def _panel(panel: Panel) -> list[str]:
    widest = max(panel.x)
    parts = [f'<text y="-12" font-size="13">{escape(panel.title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _down(share)
        parts.append(f'<path d="M0 {y:.1f}h{_WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    for quarter in range(5):
        x = _WIDTH * quarter / 4
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT + 18}" text-anchor="middle">{widest * quarter / 4:,.0f}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT + 36}" text-anchor="middle">{escape(panel.across)}</text>')
    if panel.limit is not None:
        y = _down(panel.limit)
        parts.append(f'<path d="M0 {y:.1f}h{_WIDTH}" stroke="#222" stroke-width="0.8"/>')
        parts.append(f'<text x="{_WIDTH}" y="{y - 5:.1f}" text-anchor="end">promised: {100 * panel.limit:g} %</text>')
    for index, shares in enumerate(panel.lines.values()):
        points = [f"{_WIDTH * x / widest:.1f} {_down(share):.1f}" for x, share in zip(panel.x, shares, strict=True)]
        parts.append(_path("M" + "L".join(points), index))
    return parts


def _down(share: float) -> float:
    return _HEIGHT * (1 - share)


def _path(steps: str, index: int) -> str:
    dashes = f' stroke-dasharray="{_DASHES[index]}"' if _DASHES[index] else ""
    return f'<path d="{steps}" fill="none" stroke="{_COLOURS[index]}" stroke-width="2"{dashes}/>'
