"""Bytes from a bucket are used when they are those that the registry recorded."""

import hashlib

from tidegate.kernel.errors import ArtifactRejectedError


def check(data: bytes, sha256: str, address: str) -> None:
    """Raises ArtifactRejectedError when the bytes at `address` have another SHA-256."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ArtifactRejectedError(
            f"{address} does not match: its SHA-256 is {found}, the registry recorded {sha256}",
            next_step="find out who wrote to the bucket; restore the object's recorded version",
        )
