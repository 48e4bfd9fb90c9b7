"""What answers when no version can: the spec's rule without learning, with all that is needed to take a request.

It is one JSON document of a run, pinned by its SHA-256 like an artifact. The contract in it is that of the run's model,
so that a request to a model without a version is checked as every other one is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract, Rulebook
from tidegate.domain.serving.prediction import answers
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import ArtifactRejectedError


@dataclass(frozen=True, slots=True)
class Fallback:
    """A fitted rule and the contract of its requests."""

    FORM: ClassVar = StoredForm("fallback", renew="train the model again", field="format")

    contract: Contract
    rule: FittedRule
    _rulebook: Rulebook = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rulebook", Rulebook.of(self.contract))

    def answers(self, instances: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """An answer for each instance, of the same shape as a model's; the instances keep a contract already.

        Raises:
            ModelFailedError: the rule gives no finite number, or an answer breaks a business rule.
        """
        found = answers(self.contract, np.array([self.rule.score(instance) for instance in instances]))
        self._rulebook.demand_kept(instances, found)
        return found

    def to_bytes(self) -> bytes:
        """The document; the same fallback gives the same bytes."""
        document = {"format": self.FORM.schema, "contract": self.contract.to_json(), "rule": self.rule.to_json()}
        return json.dumps(document, sort_keys=True, allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Fallback":
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactRejectedError: it is something else.
            NewerDocumentError: newer code wrote it.
        """
        try:
            document = cls.FORM.read(data)
            return cls(Contract.from_json(document["contract"]), FittedRule.from_json(document["rule"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtifactRejectedError(
                f"the fallback cannot be read ({error})", next_step="start a run; only its own step writes fallbacks"
            ) from None
