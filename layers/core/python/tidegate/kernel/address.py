"""Addresses of objects and folders in S3."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from tidegate.kernel.errors import Fault, InvalidInputError

_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^\x00-\x1f]{0,900})")


@dataclass(frozen=True, slots=True)
class Address:
    """An object in S3, or all under a prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str, path: str) -> "Address":
        """Raises InvalidInputError, which names `path`, for what is no such address."""
        found = _ADDRESS.fullmatch(text)
        if not found:
            raise InvalidInputError(
                "not an address in S3", [Fault(path, f"{text[:200]!r} does not have the form s3://bucket/folder/")]
            )
        return cls(found["bucket"], found["key"])

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> "Address":
        return Address(self.bucket, self.key + name)

    def within(self, places: Collection[str]) -> bool:
        """Whether it lies in one of these places, each a bucket and a folder: `data/batch/`."""
        return any(f"{self.bucket}/{self.key}".startswith(place) for place in places)


def folder(address: Address) -> Address:
    """The address of a folder, with its slash."""
    return address if not address.key or address.key.endswith("/") else address / "/"


def hidden(key: str, within: str) -> bool:
    """Whether its name, or that of a folder on the way to it from the folder `within`, begins with . or _: readers of
    data lakes pass over such."""
    return any(part[:1] in {".", "_"} for part in key.removeprefix(within).split("/"))
