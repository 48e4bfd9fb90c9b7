"""A synthesized stage, in words that tests can ask in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a template."""

    stack: str
    id: str
    type: str
    properties: dict[str, Any]
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.stack}/{self.id}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One synthesized stage."""

    stage: str
    folder: Path
    templates: dict[str, dict[str, Any]]
    findings: dict[str, str]  # what cdk-nag's AwsSolutions rules found, by rule

    def resources(self, *types: str) -> Iterator[Resource]:
        """Every resource of these types, or of all."""
        for stack, template in self.templates.items():
            for name, body in template["Resources"].items():
                if not types or body["Type"] in types:
                    yield Resource(stack, name, body["Type"], body.get("Properties", {}), body)


def states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every state of a state machine, also those within Maps."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


# What AWS puts in place of names and ARNs is at most so long.
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "ap-southeast-2", "AWS::AccountId": "1" * 12}
API_ID = "a" * 10
GIVEN = f"arn:aws:lambda:{PSEUDO['AWS::Region']}:{PSEUDO['AWS::AccountId']}:function:".ljust(100, "g")


def deployed(value: Any) -> Any:
    """A value of a template as long as it may become."""
    match value:
        case {"Ref": name} if name in PSEUDO:
            return PSEUDO[name]
        case {"Ref": str() as name} | {"Fn::ImportValue": str() as name}:
            return API_ID if name.startswith("Api") or "RefApi" in name else GIVEN
        case {"Fn::GetAtt": _}:
            return GIVEN
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(deployed, parts))
        case dict():
            return {key: deployed(inner) for key, inner in value.items()}
        case _:
            return [deployed(inner) for inner in value] if isinstance(value, list) else value
