"""Monitoring in Amazon States Language: every hour, all served models, page by page and batch by batch.

    DueModels -> Monitor (Map over batches; of one that fails, each model alone) -> more? -> DueModels ...

A model that cannot be looked at stops no other one. When there was any, the execution fails at its end, so that an
alarm reports; the next hour's looks at them again.
"""

from infra.machines.release_machine import LAMBDA_FAULTS, UNAVAILABLE, Definition, Step, task

LONGEST_SECONDS = 50 * 60  # the next hour's has begun by then

# Faults that pass within minutes; what lasts longer is for the next hour.
_RETRIES = [LAMBDA_FAULTS, UNAVAILABLE]
_NOW = {"now.$": "$.now"}
MONITORED, FAILED = "monitored", "failed"  # what becomes of a batch; as messages.Monitored calls it


def definition(due: Step, monitor: Step, *, concurrency: int) -> Definition:
    """The state machine; `concurrency` is how many batches are looked at at once."""
    alone = {
        "Type": "Map",
        "Comment": "One of the batch stops its function: by itself it stops nobody else.",
        "ItemsPath": "$.models",
        "MaxConcurrency": 1,
        "ItemSelector": {**_NOW, "models.$": "States.Array($$.Map.Item.Value)"},
        "ItemProcessor": _inline("MonitorOne", {"MonitorOne": _looks(monitor, "Missed"), "Missed": _ends(FAILED)}),
        "ResultPath": "$.outcomes",
        "Next": "AnyMissed",
    }
    batch = _inline(
        "MonitorBatch",
        {
            "MonitorBatch": _looks(monitor, "OneByOne"),
            "OneByOne": alone,
            "AnyMissed": _any_failed("AllLookedAt?"),
            "AllLookedAt?": _choice("$.failed", "BatchFailed", "BatchMonitored"),
            "BatchFailed": _ends(FAILED),
            "BatchMonitored": _ends(MONITORED),
        },
    )
    states: Definition = {
        "Begin": {
            "Type": "Pass",
            "Comment": "One time for all models; trainings are damped by it.",
            "Parameters": {"now.$": "$$.State.EnteredTime", "after": "", "missed": False},
            "Next": "DueModels",
        },
        "DueModels": {
            **task(due, {**_NOW, "after.$": "$.after"}, "$.page", retries=_RETRIES),
            "Next": "Monitor",
        },
        "Monitor": {
            "Type": "Map",
            "ItemsPath": "$.page.batches",
            "MaxConcurrency": concurrency,
            "ItemSelector": {**_NOW, "models.$": "$$.Map.Item.Value.models"},
            "ItemProcessor": batch,
            "ResultPath": "$.outcomes",
            "Next": "AnyFailed",
        },
        "AnyFailed": _any_failed("Failed?"),
        "Failed?": _choice("$.failed", "NoteFailure", "More?"),
        "NoteFailure": {"Type": "Pass", "Result": True, "ResultPath": "$.missed", "Next": "More?"},
        "More?": {
            "Type": "Choice",
            "Choices": [
                {"Not": {"Variable": "$.page.after", "StringEquals": ""}, "Next": "NextPage"},
                {"Variable": "$.missed", "BooleanEquals": True, "Next": "SomeMissed"},
            ],
            "Default": "Monitored",
        },
        "NextPage": {
            "Type": "Pass",
            "Parameters": {**_NOW, "after.$": "$.page.after", "missed.$": "$.missed"},
            "Next": "DueModels",
        },
        "Monitored": {"Type": "Succeed"},
        "SomeMissed": {
            "Type": "Fail",
            "Error": "NotLookedAt",
            "Cause": "some models could not be judged; the log of monitor names each with the reason",
        },
    }
    return {
        "Comment": "Judges the traffic of served models every hour.",
        "StartAt": "Begin",
        "TimeoutSeconds": LONGEST_SECONDS,
        "States": states,
    }


def _looks(monitor: Step, when_it_fails: str) -> Definition:
    """Look at models. The outcome is all that goes on; a function that dies leaves its input to what follows."""
    return {
        **task(monitor, {**_NOW, "models.$": "$.models"}, retries=_RETRIES),
        "OutputPath": "$.outcome",
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.fault", "Next": when_it_fails}],
        "End": True,
    }


def _any_failed(following: str) -> Definition:
    return {
        "Type": "Pass",
        "Parameters": {"any.$": f"States.ArrayContains($.outcomes, '{FAILED}')"},
        "ResultPath": "$.failed",
        "Next": following,
    }


def _choice(variable: str, yes: str, no: str) -> Definition:
    return {
        "Type": "Choice",
        "Choices": [{"Variable": f"{variable}.any", "BooleanEquals": True, "Next": yes}],
        "Default": no,
    }


def _ends(outcome: str) -> Definition:
    return {"Type": "Pass", "Result": outcome, "End": True}


def _inline(start: str, states: Definition) -> Definition:
    return {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": start, "States": states}
