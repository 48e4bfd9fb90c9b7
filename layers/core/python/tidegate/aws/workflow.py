"""The release state machine on Step Functions."""

import json

from botocore.exceptions import ClientError

from tidegate.aws.clients import answering, code_of, step_functions

_WAITS_NO_MORE = {"InvalidToken", "TaskDoesNotExist", "TaskTimedOut"}


class StepFunctionsWorkflow:
    """ports.Workflow. The execution is named by the run, so Step Functions itself starts each run only once."""

    def __init__(self, state_machine_arn: str) -> None:
        self._arn = state_machine_arn

    def execution(self, run_id: str) -> str:
        """See ports.Workflow."""
        return f"{self._arn.replace(':stateMachine:', ':execution:', 1)}:{run_id}"

    def start(self, model: str, run_id: str) -> None:
        """See ports.Workflow; the execution's input is a `messages.RunRef`."""
        try:
            with answering("Step Functions"):
                step_functions().start_execution(
                    stateMachineArn=self._arn,
                    name=run_id,
                    input=json.dumps({"model": model, "run_id": run_id}),
                )
        except ClientError as error:
            if code_of(error) != "ExecutionAlreadyExists":
                raise

    def resume(self, token: str) -> None:
        """See ports.Workflow. A token answered before, perhaps by this very call, is one that waits no more."""
        try:
            with answering("Step Functions"):
                step_functions().send_task_success(taskToken=token, output="{}")
        except ClientError as error:
            if code_of(error) not in _WAITS_NO_MORE:
                raise
