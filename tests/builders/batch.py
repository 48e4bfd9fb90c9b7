"""A model for batches whose answers show every input, and an entry of their ledger."""

from datetime import UTC, datetime

import numpy as np

from tidegate.domain.batch.batch_ledger import Act, BatchEntry
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import (
    Contract,
    FeatureContract,
    Inputs,
)
from tidegate.domain.serving.fallback import Fallback
from tidegate.kernel.table import Column

FEATURES = (
    FeatureContract("distance", "numeric", minimum=0, maximum=6_000, unit="miles"),
    FeatureContract("hour", "integer", minimum=0, maximum=23),
    FeatureContract("temp", "numeric", missing="allow"),
    FeatureContract("cancelled", "boolean", missing="allow"),
    FeatureContract("origin", "categorical", categories=("EWR", "JFK"), unseen="reject"),
    FeatureContract("dest", "categorical", missing="allow"),
)
CONTRACT = Contract("delay", "binary", FEATURES, classes=(False, True), threshold=0.4)

START = BatchEntry(
    model="delay",
    seq=0,
    at=datetime(2026, 1, 5, 12, tzinfo=UTC),
    actor="arn:aws:iam::123456789012:user/ana",
    action=Act.START,
    batch_id="b1",
    version=3,
    artifact_sha256="a" * 64,
    input="s3://data/in/",
    output="s3://data/out/",
    objects=2,
    attempt=1,
)


class Scorer:
    """Scores by arithmetic, so that every input shows in the answer."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    def score(self, inputs: Inputs) -> Column:
        numbers = np.nan_to_num(inputs.numeric, nan=-1).sum(axis=1) / 7_000
        letters = [sum(map(len, row)) for row in inputs.categorical]
        yes = ((numbers + np.array(letters) / 100) % 1).astype(np.float32)
        if self.contract.task == "regression":
            return yes[:, None]
        return np.stack([1 - yes, yes], axis=1)

    def stop(self) -> None:
        """Never too slow."""


def fallback_of(contract: Contract) -> Fallback:
    return Fallback(contract, FittedRule("prior", (0.75, 0.25)))
