"""What AWS refuses, or takes and never does, and neither cdk-nag nor cfn-lint sees: held over every template."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk.assertions import Template

from infra.constructs.alarms import Alarms
from infra.local import limit_checks
from infra.local.lambda_host import MAX_REQUEST_BYTES
from infra.local.limits import most
from infra.settings import MOST_BODY_BYTES, DeploymentSettings
from tests.infra.conftest import STAGES
from tests.infra.synthesized import PSEUDO, Deployment, deployed
from tidegate.kernel.errors import InvalidInputError
from tidegate.kernel.roles import Role


def values(value: Any) -> Iterator[Any]:
    """A value and everything within it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from values(each)


def metrics(alarm: dict[str, Any]) -> list[str]:
    """The functions whose metric a sum of several takes."""
    return [
        query["MetricStat"]["Metric"]["Dimensions"][0]["Value"]
        for query in alarm.get("Metrics", ())
        if "MetricStat" in query
    ]


def test_no_alarm_looks_at_more_metrics_than_aws_lets_it(deployment: Deployment) -> None:
    for alarm in deployment.resources("AWS::CloudWatch::Alarm"):
        assert len(metrics(alarm.properties)) <= most("alarm_metrics"), alarm


@pytest.mark.parametrize("metric", ["errors", "throttles"])
def test_every_step_of_a_release_is_in_one_of_the_alarms_of_its_class(deployment: Deployment, metric: str) -> None:
    name = f"tidegate-{deployment.stage}-release-{metric}"
    classes = [
        metrics(alarm.properties)
        for alarm in deployment.resources("AWS::CloudWatch::Alarm")
        if alarm.properties["AlarmName"].startswith(name)
    ]
    steps = [
        function.properties["FunctionName"]
        for function in deployment.resources("AWS::Lambda::Function")
        if function.stack.endswith(("-Release", "-Announcements"))
    ]
    assert sorted(function for part in classes for function in part) == sorted(steps)


@pytest.mark.parametrize(("functions", "parts"), [(1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_a_class_of_more_than_ten_functions_has_more_than_one_alarm(functions: int, parts: list[int]) -> None:
    stack = Stack(App(), "S")
    names = [f"f{number}" for number in range(functions)]
    Alarms(stack, prefix="p", owner="o", topic_arn="t").add_class("many", "Errors", names, 3, "They fail.", runbook="r")
    alarms = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm").values()
    found = {alarm["Properties"]["AlarmName"]: metrics(alarm["Properties"]) for alarm in alarms}
    assert [len(part) for part in found.values()] == parts
    assert sorted(function for part in found.values() for function in part) == sorted(names)
    assert list(found) == ["p-many", "p-many-2", "p-many-3"][: len(parts)]


def test_nothing_is_appended_to_the_arn_of_a_log_group(deployment: Deployment) -> None:
    """It ends in ":*", so that what follows would match nothing."""
    groups = {group.id for group in deployment.resources("AWS::Logs::LogGroup")}
    for resource in deployment.resources():
        for found in values(resource.body):
            if isinstance(found, dict) and ("Fn::Join" in found or "Fn::Sub" in found):
                arns = {each[0] for each in values(found) if isinstance(each, list) and each[1:] == ["Arn"]}
                assert not arns & groups, resource


def test_firehose_may_write_the_error_logs_that_it_is_given(deployment: Deployment) -> None:
    streams = list(deployment.resources("AWS::KinesisFirehose::DeliveryStream"))
    for stream in streams:
        template = deployment.templates[stream.stack]["Resources"]
        destination = stream.properties["ExtendedS3DestinationConfiguration"]
        group, name = (
            template[destination["CloudWatchLoggingOptions"][key]["Ref"]]["Properties"][key]
            for key in ("LogGroupName", "LogStreamName")
        )
        role = template[destination["RoleARN"]["Fn::GetAtt"][0]]["Properties"]
        allowed = json.dumps(role["Policies"])
        assert f":log-group:{group}:log-stream:{name}" in allowed, stream
    assert len(streams) == 2


def test_policies_roles_and_environments_are_within_their_sizes(deployment: Deployment) -> None:
    for resource in deployment.resources():
        assert limit_checks.fault(resource.type, partial(deployed, resource.properties)) is None, resource


HOLDS_DATA = "it holds data: it keeps its logical id and whatever would replace it"
BOTH_IMAGES = "only another view type would replace it, and it has both images already"
GIVES_NO_NAME = "AWS gives the id, once: only another protocol would replace the API"
# An exported value cannot change while another stack imports it. Why each of these never does:
EXPORTS = {
    "Data:Artifacts82DD59A1.Arn": HOLDS_DATA,
    "Data:Artifacts82DD59A1.Ref": HOLDS_DATA,
    "Data:CapturesDE857D5D.Arn": HOLDS_DATA,
    "Data:CapturesDE857D5D.Ref": HOLDS_DATA,
    "Data:Data666C94C7.Arn": HOLDS_DATA,
    "Data:Data666C94C7.Ref": HOLDS_DATA,
    "Data:LedgerB7379752.Arn": HOLDS_DATA,
    "Data:LedgerB7379752.Ref": HOLDS_DATA,
    "Data:LedgerB7379752.StreamArn": BOTH_IMAGES,
    "Data:Registry4DB9CCA5.Arn": HOLDS_DATA,
    "Data:Registry4DB9CCA5.Ref": HOLDS_DATA,
    "Data:Registry4DB9CCA5.StreamArn": BOTH_IMAGES,
    "Data:Alarms04B5A0BF.Ref": "it has no name of its own and is no FIFO topic: nothing else would replace it",
    "Data:AlarmKeyE05DE300.Arn": "it is symmetric and encrypts; nothing else would replace it",
    "Serving:ApiF1A3B7F9.Ref": GIVES_NO_NAME,
    "Control:ApiF1A3B7F9.Ref": GIVES_NO_NAME,
}


def test_no_stack_exports_what_may_ever_change(deployment: Deployment) -> None:
    exported = set()
    for name, template in deployment.templates.items():
        for output in template.get("Outputs", {}).values():
            if "Export" in output:
                value = output["Value"]
                logical_id, attribute = (value["Ref"], "Ref") if "Ref" in value else value["Fn::GetAtt"]
                exported.add(f"{name.rpartition('-')[2]}:{logical_id}.{attribute}")
    assert exported == set(EXPORTS)


def test_what_is_exported_has_nothing_that_would_replace_it(deployment: Deployment) -> None:
    """Each property below is set as it will always be; CloudFormation replaces the resource when it changes."""
    data = deployment.templates[f"Tidegate-{deployment.stage}-Data"]["Resources"]
    table = data["Registry4DB9CCA5"]["Properties"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert {"TopicName", "FifoTopic"}.isdisjoint(data["Alarms04B5A0BF"]["Properties"])
    assert {"KeySpec", "KeyUsage", "MultiRegion"}.isdisjoint(data["AlarmKeyE05DE300"]["Properties"])
    for bucket in ("Artifacts82DD59A1", "CapturesDE857D5D", "Data666C94C7"):
        assert "BucketName" not in data[bucket]["Properties"]
    assert "TableName" not in table


def test_what_is_referred_to_by_name_is_made_first(deployment: Deployment) -> None:
    """Stacks that export nothing to each other still depend on each other."""
    manifest = json.loads((deployment.folder / "manifest.json").read_text("utf-8"))["artifacts"]
    order: list[str] = []
    pending = [name for name, artifact in manifest.items() if artifact["type"] == "aws:cloudformation:stack"]
    while pending:
        free = [name for name in pending if not set(manifest[name].get("dependencies", ())) & set(pending)]
        order += sorted(free)
        pending = [name for name in pending if name not in free]
    made = {
        name: stack
        for stack in order
        for resource in deployment.templates[stack]["Resources"].values()
        for key, name in resource.get("Properties", {}).items()
        if key in ("FunctionName", "StateMachineName", "QueueName", "TopicName") and isinstance(name, str)
    }
    for stack in order:
        text = json.dumps(deployment.templates[stack]["Resources"])
        for name, maker in made.items():
            if f":{name}" in text:
                assert order.index(maker) <= order.index(stack), (stack, name)


def test_the_longest_body_fits_into_an_event_whatever_it_holds() -> None:
    """As base64, beside the most that API Gateway takes of a request's line and headers."""
    assert MOST_BODY_BYTES * 4 / 3 + 10_240 * 2 < MAX_REQUEST_BYTES
    assert DeploymentSettings(max_body_bytes=MOST_BODY_BYTES).max_body_bytes == MOST_BODY_BYTES
    with pytest.raises(InvalidInputError, match="max_body_bytes"):
        DeploymentSettings(max_body_bytes=MOST_BODY_BYTES + 1)


def test_policies_of_people_have_fixed_names_and_nothing_that_would_replace_them(deployment: Deployment) -> None:
    """A permission set refers to a policy by its name; a description that changes would replace it."""
    names = []
    for policy in deployment.resources("AWS::IAM::ManagedPolicy"):
        assert (policy.properties["Description"], policy.properties["Path"]) == ("", "/"), policy
        names.append(deployed(policy.properties["ManagedPolicyName"]))
    assert sorted(names) == sorted(f"tidegate-{deployment.stage}-{role}-{PSEUDO['AWS::Region']}" for role in Role)
    for role in deployment.resources("AWS::IAM::Role"):
        assert {"RoleName", "Path"}.isdisjoint(role.properties), role


NEW_ACCOUNT = 10  # invocations at a time, for all functions


def reserves(deployment: Deployment) -> dict[str, int]:
    return {
        function.properties["FunctionName"]: function.properties["ReservedConcurrentExecutions"]
        for function in deployment.resources("AWS::Lambda::Function")
        if "ReservedConcurrentExecutions" in function.properties
    }


def test_only_inference_has_a_reserve_and_only_if_asked(deployments: dict[str, Deployment]) -> None:
    assert reserves(deployments["dev"]) == {}
    assert reserves(deployments["prod"]) == {"tidegate-prod-inference": STAGES["prod"].inference_reserve}


def test_a_new_account_takes_what_is_deployed_by_default(deployments: dict[str, Deployment]) -> None:
    """It has no concurrency to reserve."""
    assert limit_checks.reservation_fault(reserves(deployments["dev"]), NEW_ACCOUNT) is None
    assert limit_checks.reservation_fault(reserves(deployments["prod"]), NEW_ACCOUNT) is not None
    assert limit_checks.reservation_fault(reserves(deployments["prod"]), most("concurrency")) is None


def test_nothing_in_the_background_takes_more_than_half_of_a_new_account(deployments: dict[str, Deployment]) -> None:
    maps = {}
    for machine in deployments["dev"].resources("AWS::StepFunctions::StateMachine"):
        definition = "".join(
            part if isinstance(part, str) else "token" for part in machine.properties["DefinitionString"]["Fn::Join"][1]
        )
        for state in values(json.loads(definition)):
            if isinstance(state, dict) and state.get("Type") == "Map":
                maps[machine.properties["StateMachineName"]] = state["MaxConcurrency"]
                assert 0 < state["MaxConcurrency"] <= NEW_ACCOUNT // 2, machine
    assert len(maps) == 4


def test_a_reserve_that_is_smaller_than_what_stays_started_is_refused() -> None:
    DeploymentSettings(inference_reserve=5, provisioned_concurrency=5)
    with pytest.raises(InvalidInputError, match="inference_reserve"):
        DeploymentSettings(inference_reserve=4, provisioned_concurrency=5)
