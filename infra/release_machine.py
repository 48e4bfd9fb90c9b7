"""The release state machine in Amazon States Language: what happens, in which order, and what is tried again.

The document that travels through it is described in tidegate/messages.py: each state adds its answer under its own
name, and a function receives only what it needs.
"""

from collections.abc import Mapping
from typing import Any

from tidegate.errors import UnavailableError

Definition = dict[str, Any]

# Faults that can pass, in groups with their own patience. Everything else fails the run at once.
_RETRIES: list[Definition] = [
    {
        "ErrorEquals": [
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 6,
        "BackoffRate": 2,
        "MaxDelaySeconds": 60,
        "JitterStrategy": "FULL",
    },
    {
        "ErrorEquals": [UnavailableError.__name__],
        "IntervalSeconds": 1,
        "MaxAttempts": 4,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    },
    # A killed process: once more, since a crash by its own input would only repeat itself.
    {"ErrorEquals": ["Runtime.ExitError"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1},
]
_CATCH: list[Definition] = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.fault", "Next": "Settle"}]
_RUN = {"run.$": "$.run"}


def definition(functions: Mapping[str, str], *, training_concurrency: int, timeout_seconds: int) -> Definition:
    """The state machine.

    Args:
        functions: ARN of each function by name (prepare, train, select, evaluate, gate, register, promote, settle).
        training_concurrency: candidates fitted at once.
        timeout_seconds: after which the whole execution counts as lost.
    """
    fit = _task(functions["train"], {"run.$": "$.run", "candidate.$": "$.candidate", "purpose.$": "$.purpose"})
    states: Definition = {
        "Begin": {
            "Type": "Pass",
            "Comment": "The execution's input is the run; everything else is added beside it.",
            "Parameters": {"run": {"model.$": "$.model", "run_id.$": "$.run_id"}},
            "Next": "Prepare",
        },
        "Prepare": {
            **_task(functions["prepare"], {"model.$": "$.run.model", "run_id.$": "$.run.run_id"}, "$.plan"),
            "Catch": _CATCH,
            "Next": "Train",
        },
        "Train": {
            "Type": "Map",
            "ItemsPath": "$.plan.candidates",
            "MaxConcurrency": training_concurrency,
            "ItemSelector": {**_RUN, "candidate.$": "$$.Map.Item.Value", "purpose": "validate"},
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "Fit",
                "States": {"Fit": {**fit, "End": True}},
            },
            "ResultPath": "$.results",
            "Catch": _CATCH,
            "Next": "Select",
        },
        "Select": {
            **_task(
                functions["select"],
                {**_RUN, "candidates.$": "$.plan.candidates", "results.$": "$.results"},
                "$.selection",
            ),
            "Catch": _CATCH,
            "Next": "Refit",
        },
        "Refit": {
            **_task(
                functions["train"], {**_RUN, "candidate.$": "$.selection.candidate", "purpose": "final"}, "$.fitted"
            ),
            "Catch": _CATCH,
            "Next": "Evaluate",
        },
        "Evaluate": {
            **_task(functions["evaluate"], {**_RUN, "fitted.$": "$.fitted"}, "$.evaluated"),
            "Catch": _CATCH,
            "Next": "Gate",
        },
        "Gate": {
            **_task(
                functions["gate"],
                {**_RUN, "fitted.$": "$.fitted", "evaluated.$": "$.evaluated"},
                "$.verdict",
            ),
            "Catch": _CATCH,
            "Next": "Register",
        },
        "Register": {
            **_task(
                functions["register"],
                {**_RUN, "fitted.$": "$.fitted", "evaluated.$": "$.evaluated", "verdict.$": "$.verdict"},
                "$.registered",
            ),
            "Catch": _CATCH,
            "Next": "Accepted?",
        },
        "Accepted?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.registered.accepted", "BooleanEquals": True, "Next": "Promote"}],
            "Default": "Rejected",
        },
        "Promote": {
            **_task(
                functions["promote"],
                {
                    **_RUN,
                    "version.$": "$.registered.version",
                    "champion_version.$": "$.evaluated.champion_version",
                },
                "$.promoted",
            ),
            "Catch": _CATCH,
            "Next": "Serves?",
        },
        "Serves?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.promoted.serves", "BooleanEquals": True, "Next": "Promoted"}],
            "Default": "Overtaken",
        },
        "Promoted": {"Type": "Succeed"},
        "Overtaken": {
            "Type": "Succeed",
            "Comment": "Another version became the champion meanwhile; the version says so, and to train again.",
        },
        "Rejected": {"Type": "Succeed", "Comment": "The gate did its work: a version turned away is no failure."},
        "Settle": {
            **_task(
                functions["settle"],
                {**_RUN, "error.$": "$.fault.Error", "cause.$": "$.fault.Cause"},
                "$.settled",
            ),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.unsettled", "Next": "Unsettled"}],
            "Next": "Failed",
        },
        "Failed": {"Type": "Fail", "ErrorPath": "$.settled.error", "CausePath": "$.settled.message"},
        "Unsettled": {
            "Type": "Fail",
            "Comment": "The event rule on failed executions calls settle once more.",
            "ErrorPath": "$.fault.Error",
            "CausePath": "$.fault.Cause",
        },
    }
    return {
        "Comment": "From a dataset to a served model, or to the reasons why not.",
        "StartAt": "Begin",
        "TimeoutSeconds": timeout_seconds,
        "States": states,
    }


def _task(function_arn: str, parameters: Mapping[str, Any], result_path: str = "") -> Definition:
    """Call a function. Its ARN as the resource makes its answer the result as it is, without an envelope."""
    task: Definition = {"Type": "Task", "Resource": function_arn, "Parameters": dict(parameters), "Retry": _RETRIES}
    return {**task, "ResultPath": result_path} if result_path else task
