"""The tripwire: a change of any template shows here. When it is meant, write the snapshot again and commit it:

UPDATE_SNAPSHOT=1 scripts/test tests/infra/test_snapshot.py
"""

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.synthesized import Deployment

SNAPSHOT = Path(__file__).with_name("snapshot.json")
UPDATE = "UPDATE_SNAPSHOT=1 scripts/test tests/infra/test_snapshot.py"


def masked(templates: dict[str, dict[str, Any]]) -> str:
    """The templates without what changes with every edit of a source file; tags have a test of their own."""
    kept = {
        stack: {
            name: {key: _without_tags(value) for key, value in resource.items() if key != "Metadata"}
            for name, resource in template["Resources"].items()
        }
        for stack, template in templates.items()
    }
    text = json.dumps(kept, indent=1, sort_keys=True)
    text = re.sub(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}", r"\1-hash", text)
    return re.sub(r"\b[0-9a-f]{64}\b", "sha256", text) + "\n"


def _without_tags(value: Any) -> Any:
    return {key: inner for key, inner in value.items() if key != "Tags"} if isinstance(value, dict) else value


def test_the_templates_are_as_they_were(deployments: dict[str, Deployment]) -> None:
    now = masked(deployments["prod"].templates)
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(now, "utf-8")
    before = SNAPSHOT.read_text("utf-8") if SNAPSHOT.exists() else ""
    if now != before:
        changes = list(difflib.unified_diff(before.splitlines(), now.splitlines(), "snapshot", "now", n=2, lineterm=""))
        pytest.fail(
            "\n".join([*changes[:80], f"{len(changes)} lines differ; if that is meant: {UPDATE}"]), pytrace=False
        )
