"""Makes the changes of a change set in a stack of moto, whose own update deletes first and replaces nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import OutputMap

from infra.local.change_sets import Action, ChangeSet
from infra.local.resources import Provisioned, existing, remove, update


def update_stack(world: Provisioned, template: Mapping[str, Any], changes: ChangeSet) -> list[str]:
    """Creates, changes and replaces in the order of the change set, and then deletes what is not needed any more.

    Returns:
        What could not be deleted, and why: as on AWS, the stack is updated all the same and does not have it any more.

    Raises:
        ResourceError: a resource cannot be made or changed; unlike AWS, what was done until then stays.
    """
    backend = cloudformation_backends[world.account][world.region]
    stack = next(each for each in backend.stacks.values() if each.name == changes.stack)
    resources = stack.resource_map
    made: dict[str, Any] = resources._parsed_resources  # noqa: SLF001
    leaving = [change for change in changes.of(Action.REPLACE, Action.REMOVE) if change.logical_id in made]
    as_declared = [existing(change.logical_id, resources) for change in leaving]
    going = [(change, old, made.pop(change.logical_id)) for change, old in zip(leaving, as_declared, strict=True)]
    stack.template = json.dumps(template)
    stack.template_dict = json.loads(stack.template)
    resources._template = stack.template_dict  # noqa: SLF001
    resources._resource_json_map = stack.template_dict["Resources"]  # noqa: SLF001
    resources.load()
    for change in changes.of(Action.ADD, Action.REPLACE, Action.MODIFY):
        here = resources[change.logical_id]  # made now, unless it is only changed
        if change.action is Action.MODIFY:
            made[change.logical_id] = update(existing(change.logical_id, resources), here)
    stack.output_map = OutputMap(resources, stack.template_dict, stack.stack_id)
    for name in [name for name, export in backend.exports.items() if export.exporting_stack_id == stack.stack_id]:
        del backend.exports[name]
    backend.exports.update({export.name: export for export in stack.exports})
    stack.status = "UPDATE_COMPLETE"
    left = []
    for change, old, its in going:
        if not change.is_kept:
            try:
                remove(old, its)
            except Exception as error:  # noqa: BLE001
                left.append(f"{old.stack}/{old.logical_id} ({old.type}) is not deleted: {error}")
    return left
