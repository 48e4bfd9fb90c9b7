"""How the tests of the local cloud call it."""

from __future__ import annotations

import json
from typing import Any

from infra.local.cloud import LocalCloud
from tests.builders.waiting import eventually


def run(cloud: LocalCloud, body: dict[str, Any], machine: str = "MachineArn", timeout_s: float = 20) -> dict[str, Any]:
    states = cloud.client("stepfunctions")
    started = states.start_execution(stateMachineArn=cloud.outputs[machine], input=json.dumps(body))
    return finished(cloud, started["executionArn"], timeout_s)


def finished(cloud: LocalCloud, arn: str, timeout_s: float = 20) -> dict[str, Any]:
    states = cloud.client("stepfunctions")

    def look() -> dict[str, Any] | None:
        described: dict[str, Any] = states.describe_execution(executionArn=arn)
        return described if described["status"] != "RUNNING" else None

    found = eventually(look, timeout_s)
    assert found, "the execution is still running"
    return found


def reached(cloud: LocalCloud, arn: str, event: str) -> bool:
    """Whether this becomes the last thing that the execution did."""
    states = cloud.client("stepfunctions")
    return bool(eventually(lambda: states.get_execution_history(executionArn=arn)["events"][-1]["type"] == event))


def call(cloud: LocalCloud, event: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    answer = cloud.client("lambda").invoke(FunctionName="work", Payload=json.dumps(event).encode())
    return answer, json.loads(answer["Payload"].read())
