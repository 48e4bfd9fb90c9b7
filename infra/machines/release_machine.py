"""The release state machine in Amazon States Language: what happens, in which order, and what is tried again.

The document that travels through it is described in tidegate/messages.py: each state adds its answer under its own
name, and a function receives only what it needs. A step that finds the data or the spec at fault says so in its answer:
the run is closed and the execution succeeds, so that alarms on failed ones are about the platform.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.kernel.errors import UnavailableError

Definition = dict[str, Any]

# Approval, shadow, canary and probation may each last 30 days (spec/release.py); training and the gate have the rest.
LONGEST_SECONDS = 125 * 86_400
TASK_SLACK_SECONDS = 10  # beyond the function's own time-out, which says more

# Faults that can pass, in groups with their own patience. Everything else fails the run at once.
LAMBDA_FAULTS: Definition = {
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
}
UNAVAILABLE: Definition = {
    "ErrorEquals": [UnavailableError.__name__],
    "IntervalSeconds": 1,
    "MaxAttempts": 4,
    "BackoffRate": 2,
    "JitterStrategy": "FULL",
}
# A killed process: once more, since a crash by its own input would only repeat itself.
_CRASHED: Definition = {
    "ErrorEquals": ["Runtime.ExitError"],
    "IntervalSeconds": 1,
    "MaxAttempts": 1,
    "BackoffRate": 1,
}
# The account's concurrency is used up, which may be 10 for all functions: work waits for its turn. A thousand tries
# take five days, all that is left to training and the gate; other executions end sooner.
_THROTTLED: Definition = {
    "ErrorEquals": ["Lambda.TooManyRequestsException"],
    "IntervalSeconds": 2,
    "MaxAttempts": 1_000,
    "BackoffRate": 2,
    "MaxDelaySeconds": 900,
    "JitterStrategy": "FULL",
}
_RETRIES = [_THROTTLED, LAMBDA_FAULTS, UNAVAILABLE, _CRASHED]  # the first that names an error decides
# A rollout takes days, and a service's bad quarter of an hour must not end it. Ten tries take some 20 minutes, at most
# 41: less than the hour by which the model's lease outlasts a look.
_PATIENCE = {"IntervalSeconds": 5, "MaxAttempts": 10, "MaxDelaySeconds": 600}
_PATIENT_RETRIES = [LAMBDA_FAULTS | _PATIENCE, UNAVAILABLE | _PATIENCE, _CRASHED]
_CATCH: list[Definition] = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.fault", "Next": "CloseFailed"}]
_RUN = {"run.$": "$.run"}
_PREPARED = {"files.$": "$.plan.files"}


@dataclass(frozen=True, slots=True)
class Step:
    """A function that the state machine calls."""

    arn: str
    timeout_seconds: int


def definition(steps: Mapping[str, Step], *, partition: str, training_concurrency: int) -> Definition:
    """The state machine.

    Args:
        steps: functions by name (prepare, train, select, evaluate, reproduce, slices_and_groups, gate, register,
            report, rollout, close_failed).
        partition: of the region, such as aws.
        training_concurrency: candidates fitted at once.
    """
    states: Definition = {
        **_train(steps, training_concurrency),
        **_compare(steps),
        **_judge(steps),
        **_roll_out(steps, partition),
        **_fail(steps),
    }
    return {
        "Comment": "From a dataset to a served model, or to the reasons why not.",
        "StartAt": "Begin",
        "TimeoutSeconds": LONGEST_SECONDS,
        "States": states,
    }


def _train(steps: Mapping[str, Step], training_concurrency: int) -> Definition:
    """From the data to a fitted version, evaluated."""
    fit = task(
        steps["train"],
        {"run.$": "$.run", "files.$": "$.files", "candidate.$": "$.candidate", "purpose.$": "$.purpose"},
    )
    return {
        "Begin": {
            "Type": "Pass",
            "Comment": "The execution's input is the run; everything else is added next to it.",
            "Parameters": {
                "run": {"model.$": "$.model", "run_id.$": "$.run_id"},
                "drawn": {"page_sha256": None},
            },
            "Next": "Prepare",
        },
        "Prepare": {
            **task(steps["prepare"], {"model.$": "$.run.model", "run_id.$": "$.run.run_id"}, "$.plan"),
            "Catch": _CATCH,
            "Next": "Prepared?",
        },
        **unless_it_ends("Prepared", "$.plan", "Train"),
        "Train": {
            "Type": "Map",
            "ItemsPath": "$.plan.candidates",
            "MaxConcurrency": training_concurrency,
            "ItemSelector": {**_RUN, **_PREPARED, "candidate.$": "$$.Map.Item.Value", "purpose": "validate"},
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
            **task(
                steps["select"],
                {**_RUN, "candidates.$": "$.plan.candidates", "results.$": "$.results"},
                "$.selection",
            ),
            "Catch": _CATCH,
            "Next": "Selected?",
        },
        **unless_it_ends("Selected", "$.selection", "Refit"),
        "Refit": {
            **task(
                steps["train"],
                {**_RUN, **_PREPARED, "candidate.$": "$.selection.candidate", "purpose": "final"},
                "$.fitted",
            ),
            "Catch": _CATCH,
            "Next": "Refitted?",
        },
        **unless_it_ends("Refitted", "$.fitted", "Evaluate"),
        "Evaluate": {
            **task(steps["evaluate"], {**_RUN, **_PREPARED, "fitted.$": "$.fitted"}, "$.evaluated"),
            "Catch": _CATCH,
            "Next": "Evaluated?",
        },
        **unless_it_ends("Evaluated", "$.evaluated", "Reproduction?"),
    }


def _compare(steps: Mapping[str, Step]) -> Definition:
    """A run that made a version again ends with what is equal and what differs."""
    return {
        "Reproduction?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.plan.reproduction", "BooleanEquals": True, "Next": "Compare"}],
            "Default": "SlicesAndGroups",
        },
        "Compare": {
            **task(
                steps["reproduce"],
                {**_RUN, **_PREPARED, "fitted.$": "$.fitted", "evaluated.$": "$.evaluated"},
                "$.reproduced",
            ),
            "Comment": "The run made a version again: what is equal ends it, and what differs as well.",
            "Catch": _CATCH,
            "Next": "Compared?",
        },
        **unless_it_ends("Compared", "$.reproduced", "Compared"),
        "Compared": {"Type": "Succeed", "Comment": "Whether all is equal is in the run's record."},
    }


def _judge(steps: Mapping[str, Step]) -> Definition:
    """What the gate says of the version, and what people get to see of it."""
    return {
        "SlicesAndGroups": {
            **task(
                steps["slices_and_groups"],
                {**_RUN, **_PREPARED, "fitted.$": "$.fitted", "evaluated.$": "$.evaluated"},
                "$.slices_and_groups",
            ),
            "Catch": _CATCH,
            "Next": "Measured?",
        },
        **unless_it_ends("Measured", "$.slices_and_groups", "Gate"),
        "Gate": {
            **task(
                steps["gate"],
                {
                    **_RUN,
                    **_PREPARED,
                    "fitted.$": "$.fitted",
                    "evaluated.$": "$.evaluated",
                    "slices_and_groups.$": "$.slices_and_groups",
                },
                "$.verdict",
            ),
            "Catch": _CATCH,
            "Next": "Gated?",
        },
        **unless_it_ends("Gated", "$.verdict", "Register"),
        "Register": {
            **task(
                steps["register"],
                {**_RUN, "fitted.$": "$.fitted", "evaluated.$": "$.evaluated", "verdict.$": "$.verdict"},
                "$.registered",
            ),
            "Catch": _CATCH,
            "Next": "Registered?",
        },
        **unless_it_ends("Registered", "$.registered", "Report"),
        "Report": {
            **task(steps["report"], {**_RUN, "version.$": "$.registered.version"}, "$.drawn"),
            "Comment": "Draws the version's page, even if it was rejected. A release does not fail without the page.",
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.undrawn", "Next": "Accepted?"}],
            "Next": "Accepted?",
        },
        "Accepted?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.registered.accepted", "BooleanEquals": True, "Next": "RollOut"}],
            "Default": "Rejected",
        },
    }


def _roll_out(steps: Mapping[str, Step], partition: str) -> Definition:
    """The accepted version gets in step by step, unless people or evidence are against it."""
    return {
        "RollOut": {
            **task(
                steps["rollout"],
                {
                    **_RUN,
                    "version.$": "$.registered.version",
                    "champion_version.$": "$.evaluated.champion_version",
                    "page_sha256.$": "$.drawn.page_sha256",
                    "now.$": "$$.State.EnteredTime",
                },
                "$.rollout",
                retries=_PATIENT_RETRIES,
            ),
            "Comment": "One step of the rollout, which may stay where it is. It says when to look again.",
            "Catch": _CATCH,
            "Next": "Next?",
        },
        "Next?": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.rollout.next", "StringEquals": "approval", "Next": "AwaitApproval"},
                {"Variable": "$.rollout.next", "StringEquals": "wait", "Next": "Wait"},
                {"Variable": "$.rollout.serves", "BooleanEquals": True, "Next": "Promoted"},
            ],
            "Default": "NotPromoted",
        },
        "AwaitApproval": {
            "Type": "Task",
            "Comment": "The function keeps the token; an approver's decision sends it back.",
            "Resource": f"arn:{partition}:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {"FunctionName": steps["rollout"].arn, "Payload": {**_RUN, "token.$": "$$.Task.Token"}},
            "ResultPath": "$.answered",
            "TimeoutSecondsPath": "$.rollout.wait_seconds",
            "Retry": _PATIENT_RETRIES,
            "Catch": [{"ErrorEquals": ["States.Timeout"], "ResultPath": "$.unanswered", "Next": "RollOut"}, *_CATCH],
            "Next": "RollOut",
        },
        "Wait": {"Type": "Wait", "SecondsPath": "$.rollout.wait_seconds", "Next": "RollOut"},
        "Promoted": {"Type": "Succeed"},
        "NotPromoted": {
            "Type": "Succeed",
            "Comment": "Rejected, overtaken, or worse than what serves: the rollout says which.",
        },
        "Rejected": {"Type": "Succeed", "Comment": "The gate did its work: a rejected version is not a failure."},
    }


def unless_it_ends(done: str, answer: str, following: str, *, end: str = "EndRun") -> Definition:
    """What comes behind a step: `following`, or the end of the run (`end`) by what its answer says."""
    return {
        f"{done}?": {
            "Type": "Choice",
            "Choices": [{"Variable": f"{answer}.ends_run", "IsPresent": True, "Next": f"Not{done}"}],
            "Default": following,
        },
        f"Not{done}": {"Type": "Pass", "InputPath": f"{answer}.ends_run", "ResultPath": "$.fault", "Next": end},
    }


def _fail(steps: Mapping[str, Step]) -> Definition:
    """What is done about a run that cannot become a version, by a fault of people or of the platform."""
    close: Definition = {
        **task(steps["close_failed"], {**_RUN, "error.$": "$.fault.Error", "cause.$": "$.fault.Cause"}, "$.closed"),
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.not_closed", "Next": "NotClosed"}],
    }
    return {
        "EndRun": {**close, "Next": "Ended"},
        "Ended": {"Type": "Succeed", "Comment": "By the data, the spec or by hand: the run says why."},
        "CloseFailed": {**close, "Next": "Failed"},
        "Failed": {"Type": "Fail", "ErrorPath": "$.closed.error", "CausePath": "$.closed.message"},
        "NotClosed": {
            "Type": "Fail",
            "Comment": "The event rule on failed executions calls close_failed once more.",
            "ErrorPath": "$.fault.Error",
            "CausePath": "$.fault.Cause",
        },
    }


def task(
    step: Step, parameters: Mapping[str, Any], result_path: str = "", *, retries: list[Definition] = _RETRIES
) -> Definition:
    """Call a function. Its ARN as the resource makes its answer the result as it is, without an envelope."""
    task: Definition = {
        "Type": "Task",
        "Resource": step.arn,
        "Parameters": dict(parameters),
        "TimeoutSeconds": step.timeout_seconds + TASK_SLACK_SECONDS,
        "Retry": retries,
    }
    return {**task, "ResultPath": result_path} if result_path else task
