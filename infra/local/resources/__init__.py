"""The CloudFormation types that moto lacks or leaves incomplete; importing this package teaches it all of them."""

from infra.local.resources import apis, declared, functions, messaging, observability, storage, updates
from infra.local.resources.base import (
    Provisioned,
    ResourceError,
    create_custom,
    create_named,
    existing,
    provision_into,
    remove,
    stable_names,
    supported,
    update,
)

__all__ = [
    "Provisioned",
    "ResourceError",
    "apis",
    "create_custom",
    "create_named",
    "declared",
    "existing",
    "functions",
    "messaging",
    "observability",
    "provision_into",
    "remove",
    "stable_names",
    "storage",
    "supported",
    "update",
    "updates",
]
