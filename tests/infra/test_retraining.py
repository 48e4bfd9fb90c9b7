"""An alarm starts the trainings that monitoring wants; what goes wrong with one is seen and stops no other."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from infra.local.patterns import matches
from infra.machines.release_machine import Step
from infra.machines.retraining_machine import AT_ONCE, LONGEST_SECONDS, POLL_SECONDS, definition
from tests.infra.synthesized import Deployment, Resource
from tidegate import messages
from tidegate.kernel import errors
from tidegate.steps.monitoring.labelled_dataset import READING, REGISTERING
from tidegate.steps.monitoring.retrain import MOST_AT_ONCE

MACHINE = definition(Step("retrain", 900))
ONE: dict[str, dict[str, Any]] = MACHINE["States"]["EachModel"]["ItemProcessor"]["States"]
STATES = MACHINE["States"] | ONE
INPUTS: dict[str, type[BaseModel]] = {
    "Find": messages.FindWanted,
    "LabelledRows": messages.LabelledDatasetTask,
    "Start": messages.StartTraining,
}
MOST_EVENTS = 25_000  # of one execution: docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html


def named(deployment: Deployment, kind: str, key: str, name: str) -> Resource:
    wanted = f"tidegate-{deployment.stage}-{name}"
    (found,) = (resource for resource in deployment.resources(kind) if resource.properties.get(key) == wanted)
    return found


def rule(deployment: Deployment) -> Resource:
    return named(deployment, "AWS::Events::Rule", "Name", "retraining-wanted")


def alarm(deployment: Deployment) -> dict[str, Any]:
    return named(deployment, "AWS::CloudWatch::Alarm", "AlarmName", "retraining-wanted").properties


def machine(deployment: Deployment) -> Resource:
    return named(deployment, "AWS::StepFunctions::StateMachine", "StateMachineName", "retrain")


def statements(deployment: Deployment, role: str) -> Iterator[dict[str, Any]]:
    for resource in deployment.resources("AWS::IAM::Role"):
        if resource.id.startswith(role):
            for policy in resource.properties["Policies"]:
                yield from policy["PolicyDocument"]["Statement"]


def allowed(deployment: Deployment, role: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for statement in statements(deployment, role):
        for action in statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]:
            found[action] = found.get(action, "") + json.dumps(statement["Resource"])
    return found


# The machine


@pytest.mark.parametrize("state", INPUTS)
def test_the_function_receives_all_fields_of_its_message_and_no_others(state: str) -> None:
    given = {key.removesuffix(".$") for key in STATES[state]["Parameters"]}
    assert given == set(INPUTS[state].model_fields)
    (step,) = INPUTS[state].model_fields["step"].annotation.__args__  # type: ignore[union-attr]
    assert STATES[state]["Parameters"]["step"] == step


def test_only_faults_that_can_pass_are_tried_again_and_no_model_stops_another() -> None:
    for name in INPUTS:
        retried = {error for retry in STATES[name]["Retry"] for error in retry["ErrorEquals"] if "." not in error}
        assert retried == {errors.UnavailableError.__name__}
    for name in ("LabelledRows", "Start"):
        (caught,) = ONE[name]["Catch"]
        assert (caught["ErrorEquals"], ONE[caught["Next"]]["Type"]) == (["States.ALL"], "Pass")
    assert "Catch" not in STATES["Find"]  # it fails the execution, which has an alarm


def test_waiting_for_datasets_fits_into_the_history_and_the_time_of_an_execution() -> None:
    looks = REGISTERING.total_seconds() / POLL_SECONDS + 1
    events_of_a_look = 5 + 2 + 2  # the task and its function, the choice, the wait
    assert MOST_AT_ONCE * (looks * events_of_a_look + 20) < MOST_EVENTS
    assert (READING + REGISTERING).total_seconds() * MOST_AT_ONCE / AT_ONCE < LONGEST_SECONDS


# How it begins


def test_the_machine_starts_when_the_alarm_goes_off_and_only_then(deployment: Deployment) -> None:
    def event(name: str, state: str) -> dict[str, Any]:
        detail = {"alarmName": name, "state": {"value": state}}
        return {"source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", "detail": detail}

    found, name = rule(deployment).properties, alarm(deployment)["AlarmName"]
    assert matches(found["EventPattern"], event(name, "ALARM"))
    assert not matches(found["EventPattern"], event(name, "OK"))
    assert not matches(found["EventPattern"], event("another", "ALARM"))
    (target,) = found["Targets"]
    assert target["Arn"] == {"Ref": machine(deployment).id}
    assert messages.OneModel.parse(json.loads(target["Input"])).model is None
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert "-failures" in json.dumps(target["DeadLetterConfig"])


def test_the_alarm_is_back_long_before_the_next_look_so_each_look_can_set_it_off(deployment: Deployment) -> None:
    found = alarm(deployment)
    assert (found["Namespace"], found["MetricName"], found["Statistic"]) == ("Tidegate", "RetrainingWanted", "Sum")
    assert (found["Threshold"], found["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
    assert found["TreatMissingData"] == "notBreaching"
    assert found["Period"] * found["EvaluationPeriods"] <= 60


def test_an_event_that_cannot_start_the_machine_is_kept(deployment: Deployment) -> None:
    name = rule(deployment).properties["Name"]
    senders = [
        statement
        for policy in deployment.resources("AWS::SQS::QueuePolicy")
        for statement in policy.properties["PolicyDocument"]["Statement"]
        if statement["Action"] == "sqs:SendMessage"
    ]
    assert any(f"rule/{name}" in json.dumps(statement["Condition"]) for statement in senders)


# What it may do


def test_the_function_makes_datasets_and_starts_releases_and_nothing_else(deployment: Deployment) -> None:
    found = allowed(deployment, "RetrainingRetrainRole")
    assert set(found) == {
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "lambda:InvokeFunction",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
        "states:StartExecution",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
    assert [prefix in found["s3:GetObject"] for prefix in ("/captures/*", "/feedback/*", "/datasets/*")] == [1, 1, 0]
    assert "/datasets/*" in found["s3:PutObject"]
    assert "Captures" not in found["s3:PutObject"]
    assert "-catalog" in found["lambda:InvokeFunction"]
    assert "-release" in found["states:StartExecution"]
    assert set(allowed(deployment, "RetrainingEventsRole")) == {"states:StartExecution"}


def test_faults_wake_people(deployment: Deployment) -> None:
    alarms = {
        found.properties["AlarmName"].removeprefix(f"tidegate-{deployment.stage}-"): found.properties
        for found in deployment.resources("AWS::CloudWatch::Alarm")
    }
    for name, metric in {"failed": "ExecutionsFailed", "timedout": "ExecutionsTimedOut"}.items():
        found = alarms[f"retraining-{name}"]
        assert found["MetricName"] == metric
        assert found["Dimensions"] == [{"Name": "StateMachineArn", "Value": {"Ref": machine(deployment).id}}]
    assert alarms["retrain-errors"]["Dimensions"][0]["Value"] == f"tidegate-{deployment.stage}-retrain"


def test_the_template_leaves_nothing_of_a_state_out(deployment: Deployment) -> None:
    """The CDK drops what is null."""
    pieces = machine(deployment).properties["DefinitionString"]["Fn::Join"][1]
    states = json.loads("".join(piece if isinstance(piece, str) else "x" for piece in pieces))["States"]
    assert {name: set(state) for name, state in states.items()} == {
        name: set(state) for name, state in MACHINE["States"].items()
    }
