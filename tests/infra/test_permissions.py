"""A second IAM decides about the roles: @cloud-copilot/iam-simulate, with AWS's list of actions, resources and keys.

Each role may make the calls that the flows see it make (calls.json, see tests/calls.py), and no others: what it may do
and never does is either taken from its policy or named in UNMADE with the reason.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from infra.local import iam
from tests import calls
from tests.calls import Call
from tests.infra.synthesized import Deployment, Resource
from tests.tools import installed

REGION, ACCOUNT = "us-east-1", "123456789012"
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
# Resources that AWS's service authorization reference does not have for the action, or has twice.
NOT_IN_THE_REFERENCE = {
    # Its refusals name the state machine, and a grant of it alone is enough (pull request 8486 of aws/aws-cdk).
    ("states:SendTaskSuccess", "stateMachine:tidegate-dev-release"),
    # Aliases and versions, which both look so; CodeDeploy's own managed policy allows it on every resource.
    ("lambda:GetProvisionedConcurrencyConfig", "function:tidegate-dev-inference"),
    ("lambda:GetProvisionedConcurrencyConfig", "function:tidegate-dev-inference:*"),
}


# Service and resource of an ARN, as calls.json names it.
NAMES = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:table/{name}",
    "AWS::KMS::Key": "kms:{region}:key/{name}",
    "AWS::KinesisFirehose::DeliveryStream": "firehose:{region}:deliverystream/{DeliveryStreamName}",
    "AWS::Lambda::Function": "lambda:{region}:function:{FunctionName}",
    "AWS::Logs::LogGroup": "logs:{region}:log-group:{LogGroupName}:*",
    "AWS::S3::Bucket": "s3:::{lower}",
    "AWS::SNS::Topic": "sns:{region}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{QueueName}",
    "AWS::StepFunctions::StateMachine": "states:{region}:stateMachine:{StateMachineName}",
}


def named(logical_id: str, body: dict[str, Any], attribute: str) -> str:
    """The ARN of a resource of a template."""
    name = logical_id[:-8]
    words = body["Properties"] | {"name": name, "lower": name.lower(), "region": f"{REGION}:{ACCOUNT}"}
    return f"arn:aws:{NAMES[body['Type']].format_map(words)}" + ("/stream/*" if attribute == "StreamArn" else "")


def resolved(value: Any, deployment: Deployment, stack: str) -> Any:  # noqa: PLR0911 - one for each form
    """A value of a template with ARNs in place of references."""
    match value:
        case {"Ref": str() as name} if name in PSEUDO:
            return PSEUDO[name]
        case {"Ref": str() as name}:
            return resolved({"Fn::GetAtt": [name, "Ref"]}, deployment, stack)
        case {"Fn::GetAtt": [str() as name, str() as attribute]}:
            return named(name, deployment.templates[stack]["Resources"][name], attribute)
        case {"Fn::ImportValue": str() as exported}:
            maker = exported.partition(":")[0]
            (output,) = (
                output["Value"]
                for output in deployment.templates[maker]["Outputs"].values()
                if output.get("Export", {}).get("Name") == exported
            )
            return resolved(output, deployment, maker)
        case {"Fn::Join": [separator, parts]}:
            return separator.join(resolved(part, deployment, stack) for part in parts)
        case dict():
            return {key: resolved(inner, deployment, stack) for key, inner in value.items()}
        case list():
            return [resolved(inner, deployment, stack) for inner in value]
        case _:
            return value


def policy(role: Resource, deployment: Deployment) -> dict[str, Any]:
    """All inline policies of a role as one."""
    documents = [each["PolicyDocument"] for each in role.properties.get("Policies", ())]
    statements = [statement for document in documents for statement in document["Statement"]]
    return {"Version": "2012-10-17", "Statement": resolved(statements, deployment, role.stack)}


def granted(role: str, document: dict[str, Any]) -> Iterator[Call]:
    """The calls that a policy names."""
    for statement in document["Statement"]:
        actions, resources = (
            each if isinstance(each, list) else [each] for each in (statement["Action"], statement["Resource"])
        )
        keys = statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", "")
        for action in actions:
            for resource in resources:
                kind = resource.split(":", 5)[5] if ":" in resource else resource
                for key in keys if isinstance(keys, list) else [keys]:
                    yield Call(role, action, f"{kind} {key}".strip())


class Policies(NamedTuple):
    """What is deployed of IAM: the policy of every role, and of the key."""

    policies: dict[str, dict[str, Any]]
    key_policy: dict[str, Any]

    def asked(self, call: Call) -> dict[str, Any]:
        """A call as IAM sees it, with a letter for what varies."""
        kind, _, key = call.resource.partition(" ")
        service = call.action.partition(":")[0]
        place = ":" if service == "s3" else f"{REGION}:{ACCOUNT}"
        sample = kind.replace("/*", "/x:x" if kind.startswith("execution:") else "/x")
        sample = sample.replace(":*", ":log-stream:x" if service == "logs" else ":x").replace("*", "x")
        return {
            "action": call.action,
            "resource": "*" if kind == "*" else f"arn:aws:{service}:{place}:{sample}",
            "context": {"dynamodb:LeadingKeys": [key.replace("*", "x")]} if key else {},
            "resourcePolicy": self.key_policy if service == "kms" else None,
        }

    def calls(self, role: str) -> list[Call]:
        """What the role's policy names, and what any role makes of its actions."""
        named = set(granted(role, self.policies[role]))
        actions = {call.action for call in named}
        return sorted({*named, *(call._replace(role=role) for call in calls.read() if call.action in actions)})


@pytest.fixture(scope="module")
def world(deployments: dict[str, Deployment]) -> Policies:
    dev = deployments["dev"]
    (key,) = dev.resources("AWS::KMS::Key")
    return Policies(
        {
            f"{role.stack.rpartition('-')[2]}/{role.id[:-8].removesuffix('Role')}": policy(role, dev)
            for role in dev.resources("AWS::IAM::Role")
        },
        resolved(key.properties["KeyPolicy"], dev, key.stack),
    )


@pytest.fixture(scope="module")
def decisions(world: Policies) -> dict[Call, tuple[bool, str]]:
    """What the simulator says of every call: whether it is allowed, and what AWS does not have of it."""
    put = {role: world.calls(role) for role in world.policies}
    questions = [
        {
            "principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.replace('/', '-')}/session",
            "policy": world.policies[role],
            "calls": list(map(world.asked, each)),
        }
        for role, each in put.items()
    ]
    modules = installed.node_modules()
    program = shutil.copy(installed.LOCKS / "simulate.cjs", modules.parent)
    done = subprocess.run(["node", program], input=json.dumps(questions), capture_output=True, text=True, check=True)
    return {
        call: tuple(answer)
        for role, answers in zip(put, json.loads(done.stdout), strict=True)
        for call, answer in zip(put[role], answers, strict=True)
    }


def test_aws_has_every_action_with_its_resource_and_keys(decisions: dict[Call, tuple[bool, str]]) -> None:
    faults = {call: fault for call, (_, fault) in decisions.items() if fault}
    assert {(call.action, call.resource) for call in faults} == NOT_IN_THE_REFERENCE, faults


def test_each_role_may_make_every_call_that_it_makes(decisions: dict[Call, tuple[bool, str]]) -> None:
    assert [str(call) for call in calls.read() if not decisions.get(call, (False,))[0]] == []


def test_no_role_may_make_a_call_that_it_never_makes(decisions: dict[Call, tuple[bool, str]]) -> None:
    made = calls.read()
    unmade = [call for call, (allowed, _) in decisions.items() if allowed and not calls.is_made(call, made)]
    needless = "\n".join(str(call) for call in unmade if not calls.explained(call))
    assert needless == "", "take them from the policy, or name them in UNMADE with the reason"
    reasons = [each for call in unmade for each in calls.explained(call)]
    assert [each for each in calls.UNMADE if each not in reasons] == [], "they are made now, or not allowed"


def test_a_call_that_only_others_make_is_denied(decisions: dict[Call, tuple[bool, str]]) -> None:
    assert not decisions[Call("Release/Train", "dynamodb:PutItem", "table/Registry ROUTE#*")][0]
    assert sum(not allowed for allowed, _ in decisions.values()) > 100


def test_the_local_cloud_decides_alike(world: Policies, decisions: dict[Call, tuple[bool, str]]) -> None:
    def allowed(call: Call) -> bool:
        principal = iam.Principal("role", f"arn:aws:iam::{ACCOUNT}:role/{call.role}", ACCOUNT, call.role)
        asked = world.asked(call)
        permission = iam.Permission(asked["action"], (asked["resource"],), asked["context"])
        policies = {"identity": [world.policies[call.role]], "resource_policy": asked["resourcePolicy"]}
        return iam.decide(principal, permission, **policies) is None

    assert [str(call) for call, (answer, _) in decisions.items() if allowed(call) != answer] == []


TRAIN = "Tidegate-dev-Release-TrainRole2EAAD23F-KHWX8CT25OWV"
CAPTURE = ("arn:aws:s3:::tidegate-dev-data-captures1234abcd-x1y2/captures/late/2026/a.json",)


def test_a_flow_is_failed_once_by_a_call_that_is_not_on_the_list_and_by_one_that_is_denied() -> None:
    noted = calls.Calls()
    train = iam.Principal("role", f"arn:aws:sts::{ACCOUNT}:assumed-role/{TRAIN}/f", ACCOUNT, TRAIN)
    for name in ("runs/late/1/model.onnx", "runs/late/2/model.onnx"):
        listed = f"arn:aws:s3:::tidegate-dev-data-artifacts1234abcd-x1y2/{name}"
        noted.note(train, iam.Permission("s3:PutObject", (listed,)), None)
    assert noted.faults() == []
    noted.note(train, iam.Permission("s3:PutObject", CAPTURE), None)
    noted.note(train, iam.Permission("s3:GetObject", CAPTURE), iam.Denied("no"))
    denied, unlisted = noted.faults()
    assert denied == "the role Release/Train was denied s3:GetObject on captures/captures/*"
    assert unlisted.startswith(
        "the role Release/Train called s3:PutObject on captures/captures/*, which is not in calls"
    )
    assert noted.faults() == []


def test_the_list_is_sorted_so_that_a_new_call_is_one_line() -> None:
    assert calls.written(set(calls.read())) == calls.LIST.read_text("utf-8")
