"""The gate's report: the evaluation, the verdict on it, and what the version was made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from tidegate.domain.evaluation.documents import REPORT
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.evaluation.gate import Check, CheckOutcome, GateVerdict
from tidegate.domain.evaluation.sections import Sections
from tidegate.kernel.typed import from_json

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GateReport:
    """What is kept of a gate's decision.

    Attributes:
        target_changes: targets that differ from the champion's, in sentences.
        lineage: what the run's artifact was made of and with, and who asked for it.
    """

    model: str
    run_id: str
    task: str
    verdict: GateVerdict
    evaluation: Evaluation
    lineage: Document
    target_changes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            REPORT.field: REPORT.schema,
            "model": self.model,
            "run_id": self.run_id,
            "task": self.task,
            "metric": self.evaluation.metric,
            "higher_is_better": self.evaluation.higher_is_better,
            "verdict": self.verdict.to_json(),
            "evaluation": self.evaluation.to_json(),
            "target_changes": list(self.target_changes),
            "lineage": dict(self.lineage),
        }

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """Read what `to_json` wrote. Raises as `StoredForm.current` does."""
        given = REPORT.current(document)
        checks = (
            from_json(Check, each | {"outcome": CheckOutcome(each["outcome"])}) for each in given["verdict"]["checks"]
        )
        return cls(
            model=given["model"],
            run_id=given["run_id"],
            task=given["task"],
            verdict=GateVerdict(tuple(checks)),
            evaluation=Evaluation.from_json(given["evaluation"]),
            lineage=given["lineage"],
            target_changes=tuple(given.get("target_changes", ())),
        )


def sections_of(report: Document) -> Sections:
    """Only the sections of a report in its current form (`documents.read_report`)."""
    return from_json(Sections, report["evaluation"]["sections"])
