"""Partition keys: one kind of record each. `LEDGER` is alone in a table of its own, all others are in the registry's.

IAM can bound what a role may write by the partition key and by nothing finer. So each kind of record has partitions of
its own, and a role is given the kinds that its function writes.
"""

from enum import StrEnum


class Partition(StrEnum):
    """A kind of record. `MODELS` and `DATASETS` are one partition each; of the others there is one for each name."""

    MODELS = "MODELS"
    SPEC = "SPEC"
    RUN = "RUN"
    VERSION = "VERSION"
    ROUTE = "ROUTE"
    ROLLOUT = "ROLLOUT"
    LEASE = "LEASE"
    HEALTH = "HEALTH"
    BATCHES = "BATCHES"
    LEDGER = "LEDGER"
    DATASETS = "DATASETS"
    DATASET = "DATASET"

    def of(self, name: str) -> str:
        """The partition key of a model's, or a dataset's, records of this kind."""
        return f"{self}#{name}"

    @property
    def pattern(self) -> str:
        """What matches all partition keys of this kind in an IAM condition."""
        return str(self) if self in {Partition.MODELS, Partition.DATASETS} else f"{self}#*"


def version_key(number: int) -> str:
    """Where a version is, in its model's partition."""
    return f"VERSION#{number:06d}"
