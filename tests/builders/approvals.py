"""Versions that wait for an approver."""

from typing import Any

from tests.builders.control_api import Answer, World
from tests.builders.specs import spec_text
from tidegate.messages import AskApproval, RunRef
from tidegate.steps.rollout import rollout as rollout_step

CY = "arn:aws:sts::123456789012:assumed-role/Approver/cy"
PATH = "/models/flight-delay"
TOKEN = "token-that-wakes-the-execution"
RULES = {"approval": "required", "shadow_minutes": 30, "probation_hours": 24}


def on_its_way(world: World, **rules: Any) -> str:
    """A model that version 1 serves and whose version 2 has come as far as its rules let it; returns its run."""
    world.with_model()
    for text in (spec_text(), spec_text(release=rules)):
        assert world.call("PUT", PATH, text).status == 200
        run_id = str(world.call("POST", f"{PATH}/runs").body["run"]["run_id"])
        world.run_to_the_end(run_id)
        world.clock.move(hours=1)
    return run_id


def waiting(world: World) -> str:
    """... and waits for an approver."""
    run_id = on_its_way(world, **RULES)
    asked = AskApproval(run=RunRef(model="flight-delay", run_id=run_id), token=TOKEN)
    world.step(rollout_step.ask, asked)
    return run_id


def answer(world: World, decision: str = "approve", *, actor: str = CY, **changes: Any) -> Answer:
    version = world.registry.version("flight-delay", 2)
    body = {
        "decision": decision,
        "reason": "better on every airport",
        "artifact_sha256": version.artifact_sha256,
        "report_sha256": version.report_sha256,
    }
    return world.call("POST", f"{PATH}/versions/2/approval", body | changes, actor=actor)
