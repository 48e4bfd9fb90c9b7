"""Reads a synthesized CDK cloud assembly (cdk.out): its stacks in dependency order, templates and file assets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ACCOUNT, _REGION, _PARTITION = "${AWS::AccountId}", "${AWS::Region}", "${AWS::Partition}"


class AssemblyError(Exception):
    """The folder is not a cloud assembly that can be provisioned; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file asset: where it lies on this machine and the object it would be uploaded to."""

    id: str
    source: Path
    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack of the assembly; `template` is as CDK wrote it."""

    name: str
    template: Mapping[str, Any]
    assets: tuple[Asset, ...]
    depends_on: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Assembly:
    """The stacks, each after the ones it depends on."""

    folder: Path
    stacks: tuple[Stack, ...]

    def asset(self, bucket: str, key: str) -> Asset | None:
        """The asset uploaded to this object, or None."""
        for stack in self.stacks:
            for asset in stack.assets:
                if (asset.bucket, asset.key) == (bucket, key):
                    return asset
        return None


def read_assembly(folder: Path, *, account: str, region: str) -> Assembly:
    """Reads `folder`/manifest.json and all it names; nested assemblies (stages) are followed.

    Raises AssemblyError when a file is missing or a stack was synthesized for another account or region.
    """
    folder = folder.resolve()
    stacks = _stacks(folder, account, region)
    if not stacks:
        raise AssemblyError(f"{folder} holds no stacks; synthesize the app first: npx cdk synth")
    return Assembly(folder, tuple(_in_dependency_order(stacks)))


def _stacks(folder: Path, account: str, region: str) -> dict[str, tuple[Stack, str]]:
    artifacts = _json(folder / "manifest.json").get("artifacts", {})
    found: dict[str, tuple[Stack, str]] = {}
    for artifact_id, artifact in artifacts.items():
        properties = artifact.get("properties", {})
        if artifact["type"] == "cdk:cloud-assembly":
            found |= _stacks(folder / properties["directoryName"], account, region)
        if artifact["type"] != "aws:cloudformation:stack":
            continue
        name = properties.get("stackName", artifact_id)
        _check_environment(name, artifact.get("environment", ""), account, region)
        depends_on = artifact.get("dependencies", [])
        assets: list[Asset] = []
        for other in depends_on:
            if artifacts.get(other, {}).get("type") == "cdk:asset-manifest":
                assets += _assets(folder / artifacts[other]["properties"]["file"], account, region)
        template = _json(folder / properties["templateFile"])
        stack = Stack(name, template, tuple(assets), tuple(depends_on), properties.get("tags", {}))
        found[artifact_id] = (stack, artifact_id)
    return found


def _in_dependency_order(stacks: Mapping[str, tuple[Stack, str]]) -> Sequence[Stack]:
    done: dict[str, Stack] = {}

    def visit(artifact_id: str, path: tuple[str, ...]) -> None:
        if artifact_id in path:
            raise AssemblyError("stacks depend on each other in a cycle: " + " -> ".join((*path, artifact_id)))
        if artifact_id in done or artifact_id not in stacks:
            return
        stack, _ = stacks[artifact_id]
        for other in stack.depends_on:
            visit(other, (*path, artifact_id))
        done[artifact_id] = stack

    for artifact_id in stacks:
        visit(artifact_id, ())
    return list(done.values())


def _assets(file: Path, account: str, region: str) -> list[Asset]:
    return [
        Asset(
            id=asset_id,
            source=file.parent / asset["source"]["path"],
            bucket=_filled(destination["bucketName"], account, region),
            key=_filled(destination["objectKey"], account, region),
        )
        for asset_id, asset in _json(file).get("files", {}).items()
        for destination in asset["destinations"].values()
    ]


def _filled(text: str, account: str, region: str) -> str:
    return text.replace(_ACCOUNT, account).replace(_REGION, region).replace(_PARTITION, "aws")


def _check_environment(stack: str, environment: str, account: str, region: str) -> None:
    stack_account, _, stack_region = environment.removeprefix("aws://").partition("/")
    if stack_account not in ("", "unknown-account", account) or stack_region not in ("", "unknown-region", region):
        raise AssemblyError(
            f"stack {stack} was synthesized for {environment}; the local cloud is aws://{account}/{region}. "
            f"Synthesize it without an environment, or for that one."
        )


def _json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        raise AssemblyError(f"{file} does not exist; synthesize the app first: npx cdk synth") from None
    return content
