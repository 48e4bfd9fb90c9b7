"""Draws docs/house.svg, the picture of the house, from import-linter's contracts in pyproject.toml.

So the picture shows what is enforced. Usage: python scripts/house.py > docs/house.svg
"""

import sys
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, SIDE, GAP, ROW = 980, 250, 10, 54
ABOUT = {
    "functions": "one Lambda each: parse, wire, step, serialise",
    "testing": "fakes, for users' tests too",
    "control": "the control API, a module for each resource",
    "wiring": "builds what a function needs",
    "telemetry": "logs and metrics",
    "aws": "adapters, one a port",
    "ml": "learning libraries",
    "plots": "pages and pictures",
    "steps": "use cases",
    "ports": "what steps need of the world",
    "messages": "what steps pass on",
    "formats": "other people's formats",
    "domain": "pure decisions, by flow",
    "spec": "the model spec, one file a section",
    "kernel": "tables, ids, errors, settings, expressions",
}
ASIDE = (
    (
        "tidegate.cli",
        "the tidegate command",
        "commands/ and pages/",
        "",
        "may import every layer on the left",
        "is never deployed",
    ),
    ("infra", "the CDK app", "stacks/, machines/, constructs/", "", "imports settings, routes, spec and errors"),
    ("infra.local", "the local cloud", "", "knows AWS, but not Tidegate"),
)


def contract(name: str) -> list[list[str]]:
    """The layers of a contract, top first; names that stand side by side in one list."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (found,) = [each for each in contracts if each["name"] == name]
    return [[part.strip().removeprefix("tidegate.") for part in layer.split("|")] for layer in found["layers"]]


def box(x: float, y: float, width: float, height: float, kind: str, *lines: str) -> str:
    """A rectangle with a title and smaller lines under it, at its top."""
    title, *rest = lines
    parts = [f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>']
    middle = x + width / 2
    parts.append(f'<text class="title" x="{middle:g}" y="{y + 22:g}">{escape(title)}</text>')
    parts += [
        f'<text class="about" x="{middle:g}" y="{y + 22 + 17 * at:g}">{escape(line)}</text>'
        for at, line in enumerate(rest, 1)
    ]
    return "\n".join(parts)


def row(names: list[str], x: float, y: float, width: float, *, height: float, kind: str) -> str:
    """Boxes side by side."""
    each = (width - GAP * (len(names) - 1)) / len(names)
    boxes = []
    for at, name in enumerate(names):
        lines = [name, ABOUT[name]] if name in ABOUT else [name]
        boxes.append(box(x + at * (each + GAP), y, each, height, kind, *lines))
    return "\n".join(boxes)


def picture() -> str:
    """The whole SVG."""
    left, y, parts = GAP, GAP, []
    inner = WIDTH - SIDE - 3 * GAP
    folders = contract("The order of the domain's folders")
    for names in contract("The layers of the house"):
        if names == ["domain"]:
            height = 50 + len(folders) * 42
            parts.append(box(left, y, inner, height, "layer", "domain", ABOUT["domain"]))
            for at, part in enumerate(folders):
                parts.append(row(part, left + GAP, y + 48 + at * 42, inner - 2 * GAP, height=34, kind="folder"))
        else:
            height = ROW
            parts.append(row(names, left, y, inner, height=height, kind="layer"))
        y += height + GAP
    side = left + inner + GAP
    tall = (y - GAP * len(ASIDE)) / len(ASIDE)
    for at, (name, *about) in enumerate(ASIDE):
        parts.append(box(side, GAP + at * (tall + GAP), SIDE, tall - GAP / 2, "aside", name, *about))
    parts.append(
        f'<text class="about" x="{left + inner / 2:g}" y="{y + 14:g}">'
        "Each box may import what lies below it. Boxes side by side do not import each other.</text>"
    )
    style = (
        "text{font-family:sans-serif;text-anchor:middle;fill:#1d2b33}.title{font-size:15px;font-weight:600}"
        ".about{font-size:11.5px}.layer{fill:#e3f1f0;stroke:#5a9a96}.folder{fill:#fff;stroke:#9fc6c3}"
        ".aside{fill:#f3efe4;stroke:#b9a76f}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 26:g}" role="img">\n'
        "<title>The packages of Tidegate and what may import what</title>\n"
        f'<style>{style}</style>\n<rect width="{WIDTH}" height="{y + 26:g}" fill="#fff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    sys.stdout.write(picture())
