"""The forms of what the steps of a run write down, one document each: kernel/documents has the rule."""

from typing import Any

from tidegate.kernel.documents import StoredForm

_RENEW = "train the model again"

PLAN = StoredForm("plan of a run", renew=_RENEW)
ENVIRONMENT = StoredForm("environment of a run", renew=_RENEW)
EVALUATION = StoredForm("evaluation", renew=_RENEW)
SLICES_AND_GROUPS = StoredForm("slices and groups", renew=_RENEW)
REPORT = StoredForm("gate report", renew=_RENEW, field="format")
REPRODUCTION = StoredForm("comparison with a reproduced version", renew="reproduce the version again", field="format")


def read_report(data: bytes) -> dict[str, Any]:
    """The current form of a gate report, and of the evaluation in it. Raises NewerDocumentError."""
    report = REPORT.read(data)
    return {**report, "evaluation": EVALUATION.current(report["evaluation"])}
