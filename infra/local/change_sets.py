"""What CloudFormation would do to a stack that gets another template: pure, from the templates alone.

A change set has the creations, updates and replacements in the order in which CloudFormation makes them, each after
what it refers to, and after them the removals: CloudFormation deletes what was removed or replaced when everything new
is there. What it would refuse is refused here before anything is touched; AWS notices some of it on the way and rolls
back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Template = Mapping[str, Any]

# The properties whose change replaces a resource, by type, and first the property that names it ("-": none that has to
# be unique). Source: createOnlyProperties and conditionalCreateOnlyProperties of the CloudFormation registry's schemas
# (https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html), to which a test holds it.
_REPLACED = {
    "AWS::ApiGatewayV2::Api": "- ProtocolType",
    "AWS::ApiGatewayV2::Integration": "- ApiId",
    "AWS::ApiGatewayV2::Route": "- ApiId",
    "AWS::ApiGatewayV2::Stage": "- ApiId StageName",
    "AWS::CDK::Metadata": "-",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::CompositeAlarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::CodeDeploy::Application": "ApplicationName ComputePlatform",
    "AWS::CodeDeploy::DeploymentConfig": "DeploymentConfigName ComputePlatform MinimumHealthyHosts "
    "TrafficRoutingConfig ZonalConfig",
    "AWS::CodeDeploy::DeploymentGroup": "- ApplicationName DeploymentGroupName",
    "AWS::DynamoDB::Table": "TableName ImportSourceSpecification KeySchema",
    "AWS::Events::Rule": "Name EventBusName",
    "AWS::Glue::Database": "- DatabaseName",
    "AWS::Glue::Table": "- CatalogId DatabaseName Name TableInput/Name",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName Description Path",
    "AWS::IAM::Policy": "-",
    "AWS::IAM::Role": "RoleName Path",
    "AWS::KMS::Key": "-",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName DatabaseSourceConfiguration DeliveryStreamType "
    "DirectPutSourceConfiguration KinesisStreamSourceConfiguration MSKSourceConfiguration",
    "AWS::Lambda::Alias": "- FunctionName Name",
    "AWS::Lambda::EventInvokeConfig": "- FunctionName Qualifier",
    "AWS::Lambda::EventSourceMapping": "- EventSourceArn SelfManagedEventSource StartingPosition "
    "StartingPositionTimestamp",
    "AWS::Lambda::Function": "FunctionName DurableConfig PackageType TenancyConfig",
    "AWS::Lambda::LayerVersion": "- CompatibleArchitectures CompatibleRuntimes Content Description LayerName "
    "LicenseInfo",
    "AWS::Lambda::Permission": "- Action EventSourceToken FunctionName FunctionUrlAuthType InvokedViaFunctionUrl "
    "Principal PrincipalOrgID SourceAccount SourceArn",
    "AWS::Lambda::Version": "- CodeSha256 Description FunctionName ProvisionedConcurrencyConfig RuntimePolicy",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::Logs::LogStream": "- LogGroupName LogStreamName",
    "AWS::Logs::SubscriptionFilter": "- FilterName LogGroupName",
    "AWS::S3::Bucket": "BucketName BucketNamePrefix BucketNamespace",
    "AWS::S3::BucketPolicy": "- Bucket",
    "AWS::SNS::Subscription": "- Endpoint Protocol Region TopicArn",
    "AWS::SNS::Topic": "TopicName FifoTopic",
    "AWS::SNS::TopicPolicy": "-",
    "AWS::SQS::Queue": "QueueName FifoQueue",
    "AWS::SQS::QueuePolicy": "-",
    "AWS::SSM::Parameter": "Name",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::Scheduler::ScheduleGroup": "Name",
    "AWS::StepFunctions::StateMachine": "StateMachineName StateMachineType",
}
# Attributes that change with a property of a resource that stays.
_ATTRIBUTES = {("AWS::DynamoDB::Table", "StreamSpecification"): "StreamArn"}


class UpdateRefusedError(Exception):
    """CloudFormation would not make this update; the message is AWS's, after the name of the stack."""


class Action(StrEnum):
    """What becomes of a resource."""

    ADD = "add"
    MODIFY = "modify"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that an update touches.

    Attributes:
        properties: that changed, or that refer to what is replaced; of a replacement those that cause it.
        is_kept: the old resource stays in the account, outside the stack, since its template says Retain.
    """

    action: Action
    logical_id: str
    type: str
    properties: tuple[str, ...] = ()
    is_kept: bool = False

    def __str__(self) -> str:
        why = f": {', '.join(self.properties)}" if self.properties else ""
        fate = {Action.REPLACE: "; the old one is ", Action.REMOVE: "; it is "}.get(self.action, "")
        return f"{self.action:8}{self.logical_id} ({self.type}){why}" + (
            fate and fate + ("kept outside the stack" if self.is_kept else "deleted")
        )


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What an update does to one stack, in order. Reads as text, one line a resource."""

    stack: str
    changes: tuple[Change, ...]

    def of(self, *actions: Action) -> tuple[Change, ...]:
        """The changes with one of these actions, in order."""
        return tuple(change for change in self.changes if change.action in actions)

    def __str__(self) -> str:
        count = f"{len(self.changes)} change{'' if len(self.changes) == 1 else 's'}"
        return "\n".join([f"{self.stack}: {count}", *(f"  {change}" for change in self.changes)])


def change_set(stack: str, template: Template, deployed: Mapping[str, Template]) -> ChangeSet:
    """What deploying `template` over the stack does, which may be new.

    Args:
        deployed: the templates of all stacks of the account, by name.

    Raises:
        UpdateRefusedError: AWS would refuse it.
        LookupError: this module does not know what the change of a resource of that type does.
    """
    before = deployed.get(stack, {"Resources": {}})
    old, new = before["Resources"], template["Resources"]
    moved: set[tuple[str, str]] = set()  # what has another value afterwards: (logical id, attribute), "" for Ref
    changes: list[Change] = []
    for logical_id in _in_order(new):
        if logical_id not in old:
            changes.append(Change(Action.ADD, logical_id, new[logical_id]["Type"]))
        elif change := _change(logical_id, old[logical_id], new[logical_id], moved):
            changes.append(change)
            moved |= set(_moves(change))
    removed = [each for each in reversed(_in_order(old)) if each not in new]
    changes += [
        Change(Action.REMOVE, each, old[each]["Type"], is_kept=_keeps(old[each], "DeletionPolicy")) for each in removed
    ]
    made = ChangeSet(stack, tuple(changes))
    for reason in (*_faults(made, old, new), *_names(made, new, deployed), *_exports(stack, template, deployed, moved)):
        raise UpdateRefusedError(f"stack {stack}: {reason}")
    return made


def change_sets(templates: Mapping[str, Template], deployed: Mapping[str, Template]) -> tuple[ChangeSet, ...]:
    """Of stacks that are deployed one after the other, in this order. Raises as `change_set` does."""
    now, made = dict(deployed), []
    for stack, template in templates.items():
        made.append(change_set(stack, template, now))
        now[stack] = template
    return tuple(made)


def _change(logical_id: str, old: Any, new: Any, moved: set[tuple[str, str]]) -> Change | None:
    before, after = old.get("Properties", {}), new.get("Properties", {})

    def differs(path: str) -> bool:
        value = _at(after, path)
        return bool(_at(before, path) != value or any(_is_moved(each, moved) for each in references(value)))

    changed = tuple(name for name in sorted({*before, *after}) if differs(name))
    if not changed:
        return None
    kind = new["Type"]
    if causes := tuple(path for path in _replacing(kind) if differs(path)):
        return Change(Action.REPLACE, logical_id, kind, causes, _keeps(old, "UpdateReplacePolicy"))
    return Change(Action.MODIFY, logical_id, kind, changed)


def _moves(change: Change) -> Iterator[tuple[str, str]]:
    if change.action is Action.REPLACE:
        yield change.logical_id, "*"
    for name in change.properties:
        if attribute := _ATTRIBUTES.get((change.type, name)):
            yield change.logical_id, attribute


def _is_moved(reference: tuple[str, str], moved: set[tuple[str, str]]) -> bool:
    return reference in moved or (reference[0], "*") in moved


def _replacing(kind: str) -> list[str]:
    if kind.startswith("Custom::"):
        return []  # its own function decides
    if kind not in _REPLACED:
        raise LookupError(f"infra/local/change_sets.py does not say what replaces a resource of type {kind}")
    return [path for path in _REPLACED[kind].split() if path != "-"]


def _keeps(resource: Any, policy: str) -> bool:
    return bool(resource.get(policy, "Delete") in {"Retain", "RetainExceptOnCreate"})


def _at(properties: Any, path: str) -> Any:
    for part in path.split("/"):
        properties = properties.get(part) if isinstance(properties, Mapping) else None
    return properties


# --- references -------------------------------------------------------------------------------------------------------


def references(value: Any) -> Iterator[tuple[str, str]]:
    """The logical ids and attributes that a part of a template refers to; the attribute is empty for Ref."""
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if key == "Ref":
            yield inner, ""
        elif key == "Fn::GetAtt":
            name, _, attribute = (inner if isinstance(inner, str) else ".".join(map(str, inner))).partition(".")
            yield name, attribute
        elif key == "Fn::Sub":
            text = inner if isinstance(inner, str) else inner[0]
            for name, attribute in re.findall(r"\$\{([A-Za-z0-9]+)(?:\.([A-Za-z0-9.]+))?\}", text):
                yield name, attribute
        yield from references(inner)


def _in_order(resources: Mapping[str, Any]) -> list[str]:
    """Every resource after those it refers to or depends on."""
    done: dict[str, None] = {}

    def visit(logical_id: str) -> None:
        if logical_id in done or logical_id not in resources:
            return
        resource = resources[logical_id]
        after = resource.get("DependsOn", [])
        for other in [after] if isinstance(after, str) else after:
            visit(other)
        for other, _ in references(resource.get("Properties", {})):
            visit(other)
        done[logical_id] = None

    for logical_id in resources:
        visit(logical_id)
    return list(done)


# --- refusals ---------------------------------------------------------------------------------------------------------


def _faults(made: ChangeSet, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Changes that no resource of the type takes."""
    wrong = [each for each in new if each in old and old[each]["Type"] != new[each]["Type"]]
    if wrong:
        yield (
            "Update of resource type is not permitted. The new template modifies resource type of the following "
            f"resources: [{', '.join(wrong)}]"
        )
    for change in made.of(Action.MODIFY):
        if change.type == "AWS::DynamoDB::Table":
            indexes = [
                {
                    index["IndexName"]
                    for index in _at(each[change.logical_id], "Properties/GlobalSecondaryIndexes") or ()
                }
                for each in (old, new)
            ]
            if len(indexes[0] ^ indexes[1]) > 1:
                yield "Cannot perform more than one GSI creation or deletion in a single update"


def _names(made: ChangeSet, new: Mapping[str, Any], deployed: Mapping[str, Template]) -> Iterator[str]:
    """Two resources of a name cannot be, not even while one goes: CloudFormation makes the new one first."""
    owners = {
        (resource["Type"], name): (stack, logical_id)
        for stack, template in deployed.items()
        for logical_id, resource in template["Resources"].items()
        if (name := _name(resource))
    }
    for change in made.of(Action.ADD, Action.REPLACE):
        name = _name(new[change.logical_id])
        owner = owners.get((change.type, name)) if name else None
        if owner == (made.stack, change.logical_id):
            yield (
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                f"Rename {name} and update the stack again."
            )
        elif owner:
            yield f"{name} already exists in stack {owner[0]}"


def _name(resource: Any) -> str | None:
    """The name that a template gives a resource, when all names of the type are unique."""
    property_name = _REPLACED.get(resource["Type"], "-").split()[0]
    name = resource.get("Properties", {}).get(property_name)
    return name if isinstance(name, str) else None


def _exports(
    stack: str, template: Template, deployed: Mapping[str, Template], moved: set[tuple[str, str]]
) -> Iterator[str]:
    """Exports that change or go while another stack, as it is deployed, imports them."""
    before, after = _exported(deployed.get(stack, {})), _exported(template)
    for name, value in before.items():
        users = [other for other, its in deployed.items() if other != stack and name in set(_imports(its))]
        if not users:
            continue
        if name not in after:
            yield f"Cannot delete export {name} as it is in use by {_listed(users)}."
        elif after[name] != value or any(_is_moved(each, moved) for each in references(value)):
            yield f"Cannot update export {name} as it is in use by {_listed(users)}."


def _exported(template: Template) -> dict[str, Any]:
    outputs = template.get("Outputs", {}).values()
    return {str(output["Export"]["Name"]): output["Value"] for output in outputs if "Export" in output}


def _imports(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "Fn::ImportValue" in value:
            yield str(value["Fn::ImportValue"])
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _imports(inner)


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
