"""The retraining state machine in Amazon States Language: find the trainings that monitoring wants, and start each
once.

Its input is empty, or names one model; a model whose training cannot be started keeps no other one from starting.
"""

from typing import Any

from infra.machines.release_machine import Definition, Step, task

LONGEST_SECONDS = 6 * 3600
POLL_SECONDS = 30  # the catalog reads a dataset in seconds or minutes; each look makes the history longer
AT_ONCE = 4  # labelled datasets; each may read gigabytes


def definition(retrain: Step) -> Definition:
    """The state machine; `retrain` is its one function."""
    not_started: list[dict[str, Any]] = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.fault", "Next": "NotStarted"}]
    one: Definition = {
        "LabelledRows": {
            **task(retrain, {"step": "labelled_dataset", "model.$": "$.model"}, "$.labelled"),
            "Comment": "Captures with known outcomes become a version of the dataset, which the catalog then reads.",
            "Catch": not_started,
            "Next": "Start",
        },
        "Start": {
            **task(
                retrain,
                {
                    "step": "start",
                    "model.$": "$.model",
                    "token.$": "$.token",
                    "actor.$": "$.actor",
                    "labelled.$": "$.labelled",
                },
                "$.started",
            ),
            "Catch": not_started,
            "Next": "Ready?",
        },
        "Ready?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.started.next", "StringEquals": "wait", "Next": "Wait"}],
            "Default": "Dealt with",
        },
        "Wait": {"Type": "Wait", "Seconds": POLL_SECONDS, "Next": "Start"},
        "Dealt with": {
            "Type": "Pass",
            "Comment": "Started, or held back: the model's health record says why.",
            "Result": {"outcome": "dealt with"},
            "End": True,
        },
        "NotStarted": {"Type": "Pass", "Result": {"outcome": "not started"}, "End": True},
    }
    states: Definition = {
        "Find": {**task(retrain, {"step": "find", "of.$": "$"}), "Next": "Any?"},
        "Any?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.wanted[0]", "IsPresent": True, "Next": "EachModel"}],
            "Default": "Done",
        },
        "EachModel": {
            "Type": "Map",
            "ItemsPath": "$.wanted",
            "MaxConcurrency": AT_ONCE,
            "ItemSelector": {
                "model.$": "$$.Map.Item.Value.model",
                "token.$": "$$.Map.Item.Value.token",
                "actor.$": "$$.Execution.Id",
            },
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "LabelledRows", "States": one},
            "ResultSelector": {"failed.$": "States.ArrayContains($[*].outcome, 'not started')"},
            "Next": "All?",
        },
        "All?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.failed", "BooleanEquals": True, "Next": "SomeNotStarted"}],
            "Default": "Done",
        },
        "SomeNotStarted": {
            "Type": "Fail",
            "Error": "TrainingNotStarted",
            "Cause": "a wanted training could not be started; this execution's history names it with the reason",
        },
        "Done": {"Type": "Succeed"},
    }
    return {
        "Comment": "Starts the trainings that monitoring wants.",
        "StartAt": "Find",
        "TimeoutSeconds": LONGEST_SECONDS,
        "States": states,
    }
