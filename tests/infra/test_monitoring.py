"""Monitoring runs every hour, a model that fails stops no other one, and people hear of both."""

import json
import time
from datetime import datetime
from io import BytesIO
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from cfnlint.api import lint
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from pydantic import BaseModel

from infra.cost import PRICES
from infra.machines.monitoring_machine import LONGEST_SECONDS, definition
from infra.machines.release_machine import Step
from tests.infra.synthesized import Deployment, states
from tidegate import messages
from tidegate.kernel import errors

DUE, MONITOR = (
    Step(f"arn:aws:lambda:eu-west-1:123456789012:function:{name}", seconds)
    for name, seconds in (("due", 120), ("monitor", 300))
)
MACHINE = definition(DUE, MONITOR, concurrency=5)


STATES = dict(states(MACHINE))
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}


def test_a_function_receives_all_fields_of_its_message_and_no_others() -> None:
    fields: dict[str, type[BaseModel]] = {
        "DueModels": messages.DueTask,
        "MonitorBatch": messages.MonitorTask,
        "MonitorOne": messages.MonitorTask,
    }
    assert set(fields) == set(TASKS)
    for name, message in fields.items():
        assert {key.removesuffix(".$") for key in TASKS[name]["Parameters"]} == set(message.model_fields)


def test_only_faults_that_can_pass_are_tried_again_and_every_task_outlasts_its_function() -> None:
    for name, state in TASKS.items():
        retried = {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
        assert {error for error in retried if not error.startswith("Lambda.")} == {errors.UnavailableError.__name__}
        assert state["TimeoutSeconds"] == (130 if name == "DueModels" else 310)


def test_a_fault_of_any_look_is_caught() -> None:
    for name in ("MonitorBatch", "MonitorOne"):
        assert TASKS[name]["Catch"][0]["ErrorEquals"] == ["States.ALL"]
    assert "Catch" not in TASKS["DueModels"]


def test_one_look_is_over_before_the_next_hours_begins() -> None:
    assert MACHINE["TimeoutSeconds"] == LONGEST_SECONDS < 3600


def test_cfn_lint_finds_nothing_in_the_state_machine() -> None:
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": "arn:aws:iam::123456789012:role/monitoring",
            "DefinitionString": json.dumps(MACHINE),
        },
    }
    assert [
        str(match) for match in lint(json.dumps({"Resources": {"Monitoring": machine}}), regions=["eu-west-1"])
    ] == []


class Functions:
    """Lambda as the machine's interpreter calls it: due answers from `pages`, monitor looks."""

    def __init__(self, pages: dict[str, tuple[list[list[str]], str]]) -> None:
        self.pages = pages
        self.looked: list[list[str]] = []
        self.times: set[datetime] = set()
        self.crashing: set[str] = set()  # models that end the function
        self.failing: set[str] = set()  # models that it cannot look at

    def invoke(self, **call: Any) -> dict[str, Any]:
        payload = json.loads(call["Payload"])
        due = call["FunctionName"] == DUE.arn
        answer = self.due(payload) if due else self.monitor(payload)
        if answer is None:
            fault = {"errorType": "Runtime.ExitError", "errorMessage": "signal: killed"}
            return {"FunctionError": "Unhandled", "Payload": BytesIO(json.dumps(fault).encode())}
        return {"Payload": BytesIO(json.dumps(answer.to_json()).encode())}

    def due(self, payload: dict[str, Any]) -> messages.Message:
        task = messages.DueTask.parse(payload)
        self.times.add(task.now)
        batches, after = self.pages[task.after]
        return messages.DueModels(batches=[messages.ModelBatch(models=models) for models in batches], after=after)

    def monitor(self, payload: dict[str, Any]) -> messages.Message | None:
        task = messages.MonitorTask.parse(payload)
        self.times.add(task.now)
        self.looked.append(task.models)
        if self.crashing & set(task.models):
            return None
        failed = sorted(self.failing & set(task.models))
        return messages.Monitored(outcome="failed" if failed else "monitored", failed=failed)


def executed(functions: Functions) -> tuple[str, str]:
    """Status and error of an execution, by moto's interpreter."""
    with (
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
        patch.object(lambda_eval_utils, "boto_client_for", lambda **_: functions),
    ):
        client = boto3.client("stepfunctions", "eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
        role = "arn:aws:iam::123456789012:role/monitoring"
        machine = client.create_state_machine(name="monitoring", definition=json.dumps(MACHINE), roleArn=role)
        arn = client.start_execution(stateMachineArn=machine["stateMachineArn"], name="hour")["executionArn"]
        until = time.monotonic() + 30
        while (found := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < until
            time.sleep(0.02)
        return found["status"], found.get("error", "")


def test_all_models_of_all_pages_are_looked_at_with_one_time() -> None:
    functions = Functions({"": ([["a", "b"], ["c"]], "c"), "c": ([["d"]], "")})
    assert executed(functions) == ("SUCCEEDED", "")
    assert sorted(functions.looked) == [["a", "b"], ["c"], ["d"]]
    assert len(functions.times) == 1


def test_without_models_there_is_nothing_to_do() -> None:
    functions = Functions({"": ([], "")})
    assert executed(functions) == ("SUCCEEDED", "")
    assert functions.looked == []


@pytest.mark.parametrize("page", ["", "c"])
def test_a_model_that_ends_the_function_stops_no_other_one(page: str) -> None:
    functions = Functions({"": ([["a", "b"], ["c"]], "c"), "c": ([["d", "e"]], "")})
    functions.crashing = {"a" if page == "" else "d"}
    assert executed(functions) == ("FAILED", "NotLookedAt")
    alone = [["a"], ["b"]] if page == "" else [["d"], ["e"]]
    assert sorted(functions.looked) == sorted([["a", "b"], ["c"], ["d", "e"], *alone])


def test_a_model_that_could_not_be_looked_at_fails_the_execution_at_its_end() -> None:
    functions = Functions({"": ([["a", "b"], ["c"]], "c"), "c": ([["d"]], "")})
    functions.failing = {"b"}
    assert executed(functions) == ("FAILED", "NotLookedAt")
    assert sorted(functions.looked) == [["a", "b"], ["c"], ["d"]]


def test_a_batch_that_goes_well_model_by_model_is_no_failure() -> None:
    functions = Functions({"": ([["a", "b"]], "")})
    monitor = functions.monitor
    functions.monitor = lambda payload: None if len(payload["models"]) > 1 else monitor(payload)  # type: ignore[method-assign]
    assert executed(functions) == ("SUCCEEDED", "")
    assert functions.looked == [["a"], ["b"]]


def test_monitoring_runs_at_ten_past_every_hour_and_what_cannot_start_is_kept(deployment: Deployment) -> None:
    (rule,) = [rule for rule in deployment.resources("AWS::Events::Rule") if rule.properties.get("ScheduleExpression")]
    assert rule.properties["ScheduleExpression"] == "cron(10 * * * ? *)"
    (target,) = rule.properties["Targets"]
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] < 3600
    assert "-failures" in json.dumps(target["DeadLetterConfig"])
    name = f"tidegate-{deployment.stage}-monitoring"
    allowed = [
        statement
        for policy in deployment.resources("AWS::SQS::QueuePolicy")
        for statement in policy.properties["PolicyDocument"]["Statement"]
        if f":rule/{name}" in json.dumps(statement.get("Condition"))
    ]
    assert [statement["Action"] for statement in allowed] == ["sqs:SendMessage"]
    assert rule.properties["Name"] == name


def actions(deployment: Deployment, role: str) -> dict[str, str]:
    """Allowed actions of a role, with their resources."""
    (found,) = [each for each in deployment.resources("AWS::IAM::Role") if each.id.startswith(role)]
    allowed: dict[str, str] = {}
    for statement in found.properties["Policies"][0]["PolicyDocument"]["Statement"]:
        listed = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for action in listed:
            allowed[action] = allowed.get(action, "") + json.dumps(statement["Resource"])
    return allowed


OWN = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTelemetryRecords", "xray:PutTraceSegments"}


def test_due_reads_records_and_keys_and_no_captures(deployment: Deployment) -> None:
    assert set(actions(deployment, "DueRole")) == OWN | {"dynamodb:GetItem", "dynamodb:Query", "s3:ListBucket"}


def test_monitor_writes_profiles_verdicts_and_health_records_only(deployment: Deployment) -> None:
    allowed = actions(deployment, "MonitorRole")
    reads = {"dynamodb:GetItem", "dynamodb:Query", "s3:GetObject", "s3:ListBucket"}
    assert set(allowed) == OWN | reads | {"dynamodb:PutItem", "s3:PutObject"}
    written = [
        prefix
        for prefix in ("captures", "feedback", "profiles", "verdicts", "runs")
        if f"/{prefix}/*" in allowed["s3:PutObject"]
    ]
    assert written == ["profiles", "verdicts"]
    (role,) = [each for each in deployment.resources("AWS::IAM::Role") if each.id.startswith("MonitorRole")]
    (put,) = [
        statement
        for statement in role.properties["Policies"][0]["PolicyDocument"]["Statement"]
        if statement["Action"] == "dynamodb:PutItem"
    ]
    (key,) = put["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    assert key == "HEALTH#*"


def test_monitor_knows_the_prices_of_the_function_that_serves(deployment: Deployment) -> None:
    functions = {
        each.properties.get("FunctionName"): each.properties for each in deployment.resources("AWS::Lambda::Function")
    }
    serves = functions[f"tidegate-{deployment.stage}-inference"]
    shown = functions[f"tidegate-{deployment.stage}-monitor"]["Environment"]["Variables"]
    assert float(shown["TIDEGATE_INFERENCE_MEMORY_MB"]) == serves["MemorySize"]
    (architecture,) = serves["Architectures"]
    assert float(shown["TIDEGATE_GB_SECOND_USD"]) == PRICES[f"lambda-{architecture}"].usd
    assert float(shown["TIDEGATE_REQUEST_USD"]) == pytest.approx(1.2e-6)
    assert float(shown["TIDEGATE_GB_MONTH_USD"]) == pytest.approx(0.023)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("monitoring-failed", "ExecutionsFailed"),
        ("monitoring-timedout", "ExecutionsTimedOut"),
        ("drifted", "Drifted"),
        ("needs-redesign", "NeedsRedesign"),
        ("quarantined", "Quarantined"),
        ("cost-spike", "CostSpike"),
        ("retraining-wanted", "RetrainingWanted"),
    ],
)
def test_people_hear_of_what_monitoring_finds_and_of_its_own_faults(
    name: str, metric: str, deployment: Deployment
) -> None:
    alarms = {each.properties["AlarmName"]: each.properties for each in deployment.resources("AWS::CloudWatch::Alarm")}
    alarm = alarms[f"tidegate-{deployment.stage}-{name}"]
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == (metric, "Sum", 1)
    if alarm["Namespace"] == "Tidegate":
        assert {each["Name"]: each["Value"] for each in alarm["Dimensions"]} == {
            "service": "monitor",
            "stage": deployment.stage,
        }
