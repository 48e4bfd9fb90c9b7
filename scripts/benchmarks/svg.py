"""Line charts as SVG, by hand: no plotting library is locked for the little that is drawn here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP = 380, 240, 56, 64  # of one panel's axes, and the room around it
_GAP = 90
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
    width = _LEFT + len(panels) * (_WIDTH + _GAP) - _GAP + 24
    height = _TOP + _HEIGHT + 84
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" fill="#222"',
        'aria-labelledby="title description" font-family="sans-serif" font-size="12">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({_LEFT + index * (_WIDTH + _GAP)} {_TOP})">')
        parts += _panel(panel)
        parts.append("</g>")
    for index, name in enumerate(panels[0].lines):
        x, y = _LEFT + 150 * index, _TOP + _HEIGHT + 66
        parts.append(_path(f"M{x} {y - 4}h28", index))
        parts.append(f'<text x="{x + 36}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


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
