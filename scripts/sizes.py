"""The sizes in docs/deploy.md, beside AWS's limits: of each stack of a development stage, and of each layer.

    .venv/bin/python -m scripts.sizes            # prints them
    .venv/bin/python -m scripts.sizes --write    # writes them into the page, as scripts/generate does

A layer for Lambda is measured where `scripts/build_layers` has built it. A size that cannot be measured is taken over
from the page, as long as the layer's lock is the one it was measured with. A test compares the page with what can be
measured.
"""

import hashlib
import json
import math
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from infra import layers
from infra.local.limit_checks import policy_characters
from infra.local.limits import most
from tests.infra.synthesized import deployed
from tidegate.cli.tables import table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "deploy.md"
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MOST_RESOURCES, MOST_TEMPLATE_BYTES = 500, 1_000_000
LAMBDA_TARGETS = tuple(target for target in layers.TARGETS if target != "local")
_TABLE = re.compile(r"(<!-- sizes: (\w+) -->\n)(.*?)(<!-- end of sizes -->)", re.DOTALL)

Templates = Mapping[str, Mapping[str, Any]]


class UnknownSizeError(Exception):
    """A layer is not built, and its lock is not the one that the page knows; the message says what to run."""


def stacks(templates: Templates) -> str:
    """The table of the stacks, from their templates by name."""
    rows = []
    for name, template in sorted(templates.items(), key=lambda each: -len(each[1]["Resources"])):
        resources = template["Resources"].values()
        policies = [_characters(each["Properties"]) for each in resources if each["Type"] == "AWS::IAM::Role"]
        # Metadata has the paths of this machine.
        text = json.dumps({**template, "Resources": [{**each, "Metadata": None} for each in resources]})
        rows.append(
            (
                f"`{name.rpartition('-')[2]}`",
                ", ".join(f"`{each}`" for each in sorted(_functions(template))) or "–",
                f"{len(resources)}",
                f"{math.ceil(len(text) / 10_000) * 10} KB",
                f"{math.ceil(max(policies) / 100) * 100:,}" if policies else "–",
            )
        )
    return table(
        "stack",
        "functions",
        f"resources (of {MOST_RESOURCES})",
        f"template, rounded up (of {MOST_TEMPLATE_BYTES // 1000:,} KB)",
        f"longest policies of a role, rounded up (of {most('inline_policies'):,} characters)",
        rows=rows,
    )


def third_party_layers(templates: Templates, page: str) -> str:
    """The table of the layers; what is not built comes from the page.

    Raises:
        UnknownSizeError: neither knows a size.
    """
    known = {cells[0]: cells for cells in map(_cells, _between("layers", page).splitlines())}
    rows = []
    for layer in layers.LAYERS:
        lock = hashlib.sha256(layers.lock_file(layer).read_bytes()).hexdigest()[:8]
        before = known.get(f"`{layer}`", [])
        sizes = [
            _measured(target, layer) or _remembered(layer, lock, before, column)
            for column, target in enumerate(LAMBDA_TARGETS, start=2)
        ]
        functions = {name: used for template in templates.values() for name, used in _functions(template).items()}
        users = sorted(name for name, used in functions.items() if layer in used)
        rows.append((f"`{layer}`", ", ".join(f"`{name}`" for name in users), *sizes, f"`{lock}`"))
    named = (target.removeprefix("lambda-") for target in LAMBDA_TARGETS)
    return table("layer", "functions", *named, "lock", rows=rows)


def filled(page: str, templates: Templates) -> str:
    """The page with both tables written again."""
    made = {"stacks": stacks(templates), "layers": third_party_layers(templates, page)}
    return _TABLE.sub(lambda found: f"{found[1]}{made[found[2]]}{found[4]}", page)


def _measured(target: str, layer: str) -> str:
    try:
        made = layers.built(target, layer)
    except layers.NotBuiltError:
        return ""
    return (
        f"{made.size_bytes / 1e6:.0f} MB ({made.size_bytes / layers.LIMIT_BYTES * 100:.0f} %), bytecode {made.bytecode}"
    )


def _remembered(layer: str, lock: str, cells: list[str], column: int) -> str:
    if cells[-1:] != [f"`{lock}`"]:
        targets = " and ".join(f"scripts/build_layers --target {target}" for target in LAMBDA_TARGETS)
        raise UnknownSizeError(f"layers/{layer}/requirements.txt has changed: run {targets}, then scripts/generate")
    return cells[column]


def _between(name: str, page: str) -> str:
    return next((found[3] for found in _TABLE.finditer(page) if found[2] == name), "")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def _functions(template: Mapping[str, Any]) -> dict[str, set[str]]:
    """The functions of a template by their folder's name, each with its third-party layers."""
    return {
        each["Properties"]["FunctionName"].rpartition("-")[2]: {
            layer
            for layer in layers.LAYERS
            if any(used["Ref"].startswith(f"{layer.capitalize()}Layer") for used in each["Properties"]["Layers"])
        }
        for each in template["Resources"].values()
        if each["Type"] == "AWS::Lambda::Function"
    }


def _characters(role: Mapping[str, Any]) -> int:
    return sum(policy_characters(deployed(policy["PolicyDocument"])) for policy in role.get("Policies", ()))


def _synthesized() -> dict[str, Any]:
    from infra.app import build  # the CDK starts a process of its own
    from infra.settings import DeploymentSettings

    with tempfile.TemporaryDirectory() as folder:
        assembly = build(DeploymentSettings(code_version="test"), outdir=Path(folder), layers_target="local")
        files = assembly.glob("*.template.json")
        return {file.name.removesuffix(".template.json"): json.loads(file.read_text("utf-8")) for file in files}


def main(arguments: Iterable[str]) -> int:
    """Prints the tables or writes them into the page."""
    page = PAGE.read_text("utf-8")
    try:
        now = filled(page, _synthesized())
    except UnknownSizeError as error:
        print(f"sizes: {error}", file=sys.stderr)
        return 1
    if "--write" not in arguments:
        print(*map(partial(_between, page=now), ("stacks", "layers")), sep="\n")
    elif now != page:
        PAGE.write_text(now, "utf-8")
        print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
