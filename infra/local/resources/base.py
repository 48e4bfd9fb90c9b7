"""How a CloudFormation type is taught to moto's engine: a function that creates it, and a decorator around that.

@resource("AWS::SNS::TopicPolicy")
def topic_policy(new: New) -> Made: ...      # a type moto lacks

@extends("AWS::S3::Bucket")
def bucket(new: New, made: Any) -> None: ... # what moto's own type leaves out
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import moto.cloudformation.parsing as cloudformation
from moto.cloudformation.custom_model import CustomModel
from moto.core.common_models import CloudFormationModel

from infra.local import limit_checks
from infra.local.assembly import Assembly
from infra.local.firehose import Stream


class ResourceError(Exception):
    """A resource of a template cannot be made locally; the message names stack, logical id and type."""


@dataclass(slots=True)
class Provisioned:
    """What the templates declared and the parts of the local cloud start from, gathered while stacks are created."""

    assembly: Assembly
    account: str
    region: str
    client: Callable[[str], Any]
    state_machines: Any
    scratch: Path
    functions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    function_code: dict[str, Path] = field(default_factory=dict)
    layers: dict[str, Path] = field(default_factory=dict)
    invoke_configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    apis: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stages: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    routes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    integrations: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    delivery_streams: dict[str, Stream] = field(default_factory=dict)
    declared_only: list[str] = field(default_factory=list)

    def declare_only(self, resource: str) -> None:
        """Notes a resource that exists in name only."""
        if resource not in self.declared_only:
            self.declared_only.append(resource)


@dataclass(frozen=True, slots=True)
class New:
    """One resource to be made: its properties with every intrinsic function resolved."""

    type: str
    logical_id: str
    stack: str
    name: str
    properties: Mapping[str, Any]
    world: Provisioned

    def client(self, service: str) -> Any:
        """A boto3 client that may do everything, as CloudFormation's role may."""
        return self.world.client(service)

    def arn(self, service: str, resource: str) -> str:
        """An ARN in this cloud's account and region."""
        return f"arn:aws:{service}:{self.world.region}:{self.world.account}:{resource}"

    def fail(self, why: str) -> ResourceError:
        """An error to raise that says which resource it is about."""
        return ResourceError(f"{self.stack}/{self.logical_id} ({self.type}): {why}")


class Made:
    """A resource that exists: what Ref gives, and what Fn::GetAtt gives by attribute name."""

    def __init__(self, physical_id: str, **attributes: Any) -> None:
        self.physical_resource_id = physical_id
        self._attributes = attributes

    def get_cfn_attribute(self, name: str) -> Any:
        """The value of Fn::GetAtt; a missing one is an error, where moto's engine would leave it out silently."""
        if name not in self._attributes:
            raise ResourceError(f"{self.physical_resource_id} has no attribute {name}; it has {set(self._attributes)}")
        return self._attributes[name]

    @staticmethod
    def is_created() -> bool:
        """All resources are there at once."""
        return True


_world: list[Provisioned] = []


def provision_into(world: Provisioned | None) -> None:
    """Says where resources created from now on report to; None when provisioning is over."""
    _world[:] = [world] if world else []


def resource(
    type_name: str, name_property: str = "", *, upserts: bool = False
) -> Callable[[Callable[[New], Made]], Callable[[New], Made]]:
    """Teaches moto a type it lacks.

    Args:
        name_property: the property that names it, a generated name otherwise.
        upserts: making it again over one of the same name changes that in place.
    """

    def register(create: Callable[[New], Made]) -> Callable[[New], Made]:
        _teach(type_name, name_property, lambda new, *_, **__: create(new))
        if upserts:
            UPDATES[type_name] = lambda new, _made: create(new)
        return create

    return register


def extends(
    type_name: str, *, upserts: bool = False
) -> Callable[[Callable[[New, Any], Any]], Callable[[New, Any], Any]]:
    """Adds to a type moto has: the function gets moto's object, and may return another in its place. With `upserts` it
    is also what changes a resource in place."""
    ours = [m for m in CloudFormationModel.__subclasses__() if m.cloudformation_type() == type_name]
    moto_model = ours[-1]

    def register(amend: Callable[[New, Any], Any]) -> Callable[[New, Any], Any]:
        def create(new: New, *arguments: Any, **kwargs: Any) -> Any:
            made = moto_model.create_from_cloudformation_json(*arguments, **kwargs)
            return amend(new, made) or made

        _teach(type_name, moto_model.cloudformation_name_type(), create, moto_model.has_cfn_attr)
        if upserts:
            UPDATES[type_name] = amend
        return amend

    return register


def _teach(
    type_name: str, name_property: str, create: Callable[..., Any], has_attribute: Callable[[str], bool] | None = None
) -> None:
    """moto finds models by CloudFormationModel.__subclasses__(), where a later class for the same type wins."""

    def create_from_cloudformation_json(
        _cls: Any, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: Any
    ) -> Any:
        properties = cloudformation_json.get("Properties", {})
        new = New(
            type=type_name,
            logical_id=kwargs["LogicalId"],
            stack=kwargs["StackId"].split("/")[1],
            name=str(properties.get(name_property, resource_name)),
            properties=properties,
            world=_world[0],
        )
        return create(new, resource_name, cloudformation_json, account_id, region_name, **kwargs)

    methods = {
        "__module__": __name__,
        "cloudformation_type": staticmethod(lambda: type_name),
        "cloudformation_name_type": staticmethod(lambda: name_property),
        "create_from_cloudformation_json": classmethod(create_from_cloudformation_json),  # type: ignore[arg-type]
        "delete_from_cloudformation_json": classmethod(lambda _cls, *_: None),
        "has_cfn_attr": classmethod(lambda _cls, name: has_attribute(name) if has_attribute else True),
    }
    # moto keeps a class per (package, class name), so each type gets a class name of its own
    _TAUGHT.append(type("Local" + type_name.replace("::", ""), (CloudFormationModel,), methods))


_TAUGHT: list[type[CloudFormationModel]] = []  # __subclasses__() holds them weakly


def custom_resource(type_name: str) -> Callable[[Callable[[New], Made]], Callable[[New], Made]]:
    """Says what a Custom:: type does when it is created."""

    def register(create: Callable[[New], Made]) -> Callable[[New], Made]:
        CUSTOM[type_name] = create
        return create

    return register


CUSTOM: dict[str, Callable[[New], Made]] = {}


def create_custom(
    _cls: type[CustomModel], resource_name: str, cloudformation_json: Any, *_: Any, **kwargs: Any
) -> Made:
    """Stands in for moto's CustomModel, which would send the request to the provider's function through Docker."""
    type_name = kwargs["ResourceType"]
    properties = cloudformation_json.get("Properties", {})
    new = New(type_name, kwargs["LogicalId"], kwargs["StackId"].split("/")[1], resource_name, properties, _world[0])
    return CUSTOM[type_name](new)


def create_named(logical_id: str, resource_json: Any, resources_map: Any, account_id: str, region_name: str) -> Any:
    """Stands in for moto's function of the same arguments: an error says which resource it is about, and a KeyError
    does not pass for a resource that is missing."""
    stack, kind = resources_map["AWS::StackName"], resource_json["Type"]
    try:
        given = resource_json.get("Properties", {})
        if over := limit_checks.fault(kind, lambda: cloudformation.clean_json(given, resources_map)):
            raise ResourceError(f"{stack}/{logical_id} ({kind}): {over}")
        return _CREATE(logical_id, resource_json, resources_map, account_id, region_name)
    except ResourceError:
        raise
    except Exception as error:
        raise ResourceError(f"{stack}/{logical_id} ({kind}): {type(error).__name__}: {error}") from error


@contextmanager
def stable_names() -> Iterator[None]:
    """Resources that templates do not name get the same names every time, so that what is kept finds them again."""
    original = cloudformation.generate_resource_name

    def generate(kind: str, stack: str, logical_id: str) -> str:
        suffix = hashlib.sha256(f"{stack}/{logical_id}".encode()).hexdigest()[:12].upper()
        with patch.object(cloudformation, "random_suffix", lambda: suffix):
            return original(kind, stack, logical_id)

    with patch.object(cloudformation, "generate_resource_name", generate):
        yield


_CREATE = cloudformation.parse_and_create_resource

UPDATES: dict[str, Callable[[New, Any], Any]] = {}
REMOVALS: dict[str, Callable[[New, Any], Any]] = {}


def updates(type_name: str) -> Callable[[Callable[[New, Any], Any]], Callable[[New, Any], Any]]:
    """Says how a resource that exists gets other properties; the function may return another object in its place."""

    def register(update: Callable[[New, Any], Any]) -> Callable[[New, Any], Any]:
        UPDATES[type_name] = update
        return update

    return register


def existing(logical_id: str, resources_map: Any) -> New:
    """A resource that exists, with the properties that the map's template gives it now."""
    declared = resources_map._resource_json_map[logical_id]  # noqa: SLF001
    kind, made = declared["Type"], resources_map[logical_id]
    properties = cloudformation.clean_json(declared.get("Properties", {}), resources_map)
    named_by = cloudformation.resource_name_property_from_type(kind) or ""
    name = str(properties.get(named_by, made.physical_resource_id))
    return New(kind, logical_id, resources_map["AWS::StackName"], name, properties, _world[0])


def update(new: New, made: Any) -> Any:
    """Gives a resource that exists the properties of `new`; returns the object that stands for it from now on."""
    if over := limit_checks.fault(new.type, lambda: new.properties):
        raise new.fail(over)
    if new.type not in UPDATES and new.type not in CUSTOM:
        raise new.fail("the local cloud cannot update this type; say how in infra/local/resources/updates.py")
    change = UPDATES[new.type] if new.type in UPDATES else lambda each, _made: CUSTOM[each.type](each)
    try:
        return change(new, made) or made
    except ResourceError:
        raise
    except Exception as error:
        raise new.fail(f"{type(error).__name__}: {error}") from error


def remove(old: New, made: Any) -> None:
    """Deletes a resource that left its template or was replaced, as far as something is there to be deleted."""
    if removal := REMOVALS.get(old.type):
        removal(old, made)


def supported() -> set[str]:
    """Every type a template may use."""
    return set(cloudformation.get_model_map()) | set(CUSTOM) | set(cloudformation.NULL_MODELS)
