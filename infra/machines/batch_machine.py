"""Batch predictions in Amazon States Language: find the parts, score them at once, and see that all rows are there.

    Plan (again while there is more to look through) -> Score (a distributed map over the parts) -> Finish

A part that fails stops no other one, and the next attempt scores what is missing. Where the input is at fault, a
function says so in its answer, and the execution succeeds with the reason as its output, so that alarms on failed ones
are about the platform.
"""

from infra.machines.release_machine import Definition, Step, task, unless_it_ends

LONGEST_SECONDS = 7 * 86_400
_OUTPUT = {"output.$": "$.output", "record_sha256.$": "$.record_sha256"}


def definition(batch: Step, score: Step, *, partition: str, concurrency: int) -> Definition:
    """The state machine.

    Args:
        batch: plans, notes failures and finishes.
        score: scores one part.
        partition: of the region, such as aws.
        concurrency: parts scored at once.
    """
    states: Definition = {
        "Plan": {
            **task(batch, {**_OUTPUT, "step": "plan", "cursor.$": "$.cursor"}, "$.planned"),
            "Next": "Planned?",
        },
        **unless_it_ends("Planned", "$.planned", "All?"),
        "All?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.planned.next", "StringEquals": "plan", "Next": "PlanOn"}],
            "Default": "Score",
        },
        "PlanOn": {"Type": "Pass", "Parameters": {**_OUTPUT, "cursor.$": "$.planned.cursor"}, "Next": "Plan"},
        "Score": {
            "Type": "Map",
            "Label": "Parts",
            "ItemReader": {
                "Resource": f"arn:{partition}:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket.$": "$.planned.bucket", "Key.$": "$.planned.key"},
            },
            "MaxConcurrency": concurrency,
            "ItemSelector": {**_OUTPUT, "part.$": "$$.Map.Item.Value"},
            "ItemProcessor": _one_part(batch, score),
            "ResultPath": "$.outcomes",
            "Next": "Finish",
        },
        "Finish": {**task(batch, {**_OUTPUT, "step": "finish"}, "$.finished"), "Next": "Finished?"},
        **unless_it_ends("Finished", "$.finished", "Complete?"),
        "Complete?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.finished.complete", "BooleanEquals": True, "Next": "Complete"}],
            "Default": "PartsFailed",
        },
        "Complete": {"Type": "Succeed"},
        "EndRun": {"Type": "Pass", "Comment": "By its input: the output has why.", "InputPath": "$.fault", "End": True},
        "PartsFailed": {"Type": "Fail", "Error": "PartsFailed", "CausePath": "$.finished.reason"},
    }
    return {
        "Comment": "Every row of a file or a folder, scored by one version.",
        "StartAt": "Plan",
        "TimeoutSeconds": LONGEST_SECONDS,
        "States": states,
    }


def _one_part(batch: Step, score: Step) -> Definition:
    """A number is all that comes of it: the outcomes of all parts must fit into one document."""
    noted = {
        **_OUTPUT,
        "step": "note",
        "part.$": "$.part.number",
        "error.$": "$.fault.Error",
        "cause.$": "$.fault.Cause",
    }

    def note(*, by_input: bool) -> Definition:
        return {
            **task(batch, {**noted, "by_input": by_input}, "$.noted"),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.unnoted", "Next": "NotScored"}],
            "Next": "NotScored",
        }

    return {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "ScorePart",
        "States": {
            "ScorePart": {
                **task(score, {**_OUTPUT, "part.$": "$.part"}, "$.scored"),
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.fault", "Next": "NotePart"}],
                "Next": "Read?",
            },
            **unless_it_ends("Read", "$.scored", "Scored", end="NoteInput"),
            "NoteInput": note(by_input=True),
            "NotePart": note(by_input=False),
            "Scored": {"Type": "Pass", "Result": 1, "End": True},
            "NotScored": {"Type": "Pass", "Result": 0, "End": True},
        },
    }
