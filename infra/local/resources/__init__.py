"""The CloudFormation types that moto lacks or leaves incomplete; importing this package teaches it all of them."""

from infra.local.resources import apis, declared, functions, messaging, observability, storage
from infra.local.resources.base import (
    Provisioned,
    ResourceError,
    create_custom,
    create_named,
    provision_into,
    supported,
)

__all__ = [
    "Provisioned",
    "ResourceError",
    "apis",
    "create_custom",
    "create_named",
    "declared",
    "functions",
    "messaging",
    "observability",
    "provision_into",
    "storage",
    "supported",
]
