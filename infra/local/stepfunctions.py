"""Step Functions: moto's interpreter runs the definitions; what it leaves out or does otherwise is set right here.

This reaches into moto's interpreter (as `moto_server` does into the rest): it acts with the state machine's role
instead of no role, waits by the cloud's clock, ends a stopped execution at once and tells the event bus.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, cast
from unittest.mock import patch

from moto.stepfunctions.parser.api import ExecutionStatus, HistoryEventType, LambdaFunctionFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError, ProgramTimedOut
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.parser.utils import TMP_THREADS

from infra.local import iam
from infra.local.calls import ApiCall, HttpAnswer
from infra.local.clients import Clients
from infra.local.clock import Clock
from infra.local.events import EventBus
from infra.local.metrics import Metrics

_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
_CLOSE_S = 10.0


class StateMachines:
    """Sets moto's interpreter up for this cloud. Ends in two steps: `abort` what runs, then, when nothing answers its
    tasks any more, `close`."""

    def __init__(
        self, backend: StepFunctionsParserBackend, clients: Clients, clock: Clock, bus: EventBus, metrics: Metrics
    ) -> None:
        self._backend = backend
        self._clients = clients
        self._clock = clock
        self._bus = bus
        self._metrics = metrics
        self._starting = threading.Lock()
        self._stop_reasons: dict[str, tuple[str | None, str | None]] = {}
        self._undo = ExitStack()
        self._rewire()

    def abort(self) -> None:
        """Aborts running executions."""
        for machine in list(self._backend.state_machines):
            for execution in list(machine.executions):
                self._stop(cast("Execution", execution))

    def close(self) -> None:
        """Waits for the executions' threads and puts moto back as it was."""
        deadline = time.monotonic() + _CLOSE_S
        for thread in list(TMP_THREADS):
            thread.join(timeout=max(deadline - time.monotonic(), 0.01))
        TMP_THREADS.clear()
        self._undo.close()

    def stopping(self, call: ApiCall, principal: iam.Principal) -> HttpAnswer | None:
        """Remembers the error and cause of StopExecution, which moto drops."""
        del principal
        self._stop_reasons[str(call.params["executionArn"])] = (call.params.get("error"), call.params.get("cause"))
        return None

    def describing(self, call: ApiCall, principal: iam.Principal) -> HttpAnswer | None:
        """DescribeExecution of one that timed out, whose end moto does not tell; or that may do so at any moment."""
        del principal
        arn = str(call.params["executionArn"])
        for machine in self._backend.state_machines:
            for found in machine.executions:
                execution = cast("Execution", found)
                status = execution.exec_status
                if execution.exec_arn == arn and status in (ExecutionStatus.RUNNING, ExecutionStatus.TIMED_OUT):
                    ended = execution.stop_date if status == ExecutionStatus.TIMED_OUT else None
                    body = {
                        "executionArn": arn,
                        "stateMachineArn": machine.arn,
                        "name": execution.name,
                        "status": status.value,
                        "startDate": execution.start_date.timestamp(),
                        **({"stopDate": ended.timestamp()} if ended else {}),
                        "input": execution.execution_input,
                    }
                    return HttpAnswer(200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode())
        return None

    # --- what is different --------------------------------------------------------------------------------------------

    def _rewire(self) -> None:
        undo = self._undo
        for name, module in list(sys.modules.items()):
            if name.startswith("moto.stepfunctions.") and hasattr(module, "boto_client_for"):
                undo.enter_context(patch.object(module, "boto_client_for", self._client_for))
        machines = self

        original_start = StepFunctionsParserBackend.start_execution

        def start_execution(
            backend: StepFunctionsParserBackend,
            state_machine_arn: str,
            name: str | None = None,
            execution_input: str = "{}",
            trace_header: Any = None,
        ) -> Execution:
            if name:
                backend._validate_name(name)  # noqa: SLF001 - only the interpreter that does not execute calls it
            with machines._starting:  # two calls with one name must not both find that it is free
                return original_start(
                    backend, state_machine_arn, name or str(uuid.uuid4()), execution_input, trace_header
                )

        def started(execution: Execution) -> None:
            machines._announce(execution, "RUNNING")  # first: a short execution may end before this thread goes on
            original_run(execution)

        original_run = Execution.start

        def stop(execution: Execution, **_: Any) -> None:
            machines._stop(execution)

        def terminated(communication: BaseExecutionWorkerCommunication) -> None:
            machines._ended(communication.execution)

        def wait(_function: WaitFunction, env: Any, wait_seconds: float) -> None:
            machines._clock.wait(float(wait_seconds), env.is_running)

        original_error = StateTaskLambda._from_error  # noqa: SLF001

        def lambda_error(task: StateTaskLambda, env: Any, ex: Exception) -> FailureEvent:
            return machines._direct_lambda_error(env, ex) or original_error(task, env, ex)

        for owner, name, replacement in (
            (StepFunctionsParserBackend, "start_execution", start_execution),
            (Execution, "start", started),
            (Execution, "stop", stop),
            (BaseExecutionWorkerCommunication, "terminated", terminated),
            (WaitFunction, "_wait_interval", wait),
            (StateTaskLambda, "_from_error", lambda_error),
        ):
            undo.enter_context(patch.object(owner, name, replacement))

    def _client_for(self, region: str, service: str, state_credentials: Any = None) -> Any:
        """A client with the credentials of the state's role: what it may not do fails, as on AWS."""
        del region
        if state_credentials is None:
            return self._clients.root(service)  # readers and writers of distributed maps pass no role
        return self._clients.role(service, state_credentials.role_arn, "states")

    def _stop(self, execution: Execution) -> None:
        """Aborted at once; the task at work goes on until it is done, and its answer is thrown away."""
        if execution.exec_status != ExecutionStatus.RUNNING:
            return
        error, cause = self._stop_reasons.pop(execution.exec_arn, (None, None))
        execution.error, execution.cause = error, cause
        execution.stop_date = stop_date = dt.datetime.now(dt.UTC)
        execution.exec_status = ExecutionStatus.ABORTED
        worker = execution.exec_worker
        for _ in range(100):
            if worker is None or worker.env is not None:
                break
            threading.Event().wait(0.01)  # the worker's thread has only just started
        if worker is not None and worker.env is not None:
            worker.stop(stop_date=stop_date, error=error, cause=cause)
        self._announce(execution, "ABORTED")

    def _ended(self, execution: Execution) -> None:
        if execution.exec_status != ExecutionStatus.RUNNING:
            return  # it was stopped; that was the end
        env = cast("Environment", cast("ExecutionWorker", execution.exec_worker).env)
        state = env.program_state()
        execution.stop_date = dt.datetime.now(tz=dt.UTC)
        # The status comes last: whoever sees it finds the output or the error in place.
        if isinstance(state, ProgramEnded):
            execution.output = env.states.get_input()
            execution.exec_status = ExecutionStatus.SUCCEEDED
        elif isinstance(state, ProgramError):
            details: Mapping[str, Any] = state.error or {}
            execution.error, execution.cause = details.get("error"), details.get("cause")
            execution.exec_status = ExecutionStatus.FAILED
        elif isinstance(state, ProgramTimedOut):
            execution.exec_status = ExecutionStatus.TIMED_OUT
        else:
            execution.exec_status = ExecutionStatus.ABORTED
        self._announce(execution, str(execution.status))

    def _announce(self, execution: Execution, status: str) -> None:
        machine_arn = execution.state_machine.arn
        started = execution.start_date
        stopped = execution.stop_date
        dimensions = {"StateMachineArn": machine_arn}
        if status == "RUNNING":
            self._metrics.put("AWS/States", "ExecutionsStarted", 1, dimensions)
        else:
            for ending, metric in _METRICS.items():
                self._metrics.put("AWS/States", metric, float(ending == status), dimensions)
            took_ms = (stopped - started).total_seconds() * 1000 if stopped else 0.0
            self._metrics.put("AWS/States", "ExecutionTime", took_ms, dimensions, unit="Milliseconds")
        output = json.dumps(execution.output, separators=(",", ":")) if status == "SUCCEEDED" else None
        detail = {
            "executionArn": execution.exec_arn,
            "stateMachineArn": machine_arn,
            "name": execution.name,
            "status": status,
            "startDate": int(started.timestamp() * 1000),
            "stopDate": int(stopped.timestamp() * 1000) if stopped and status != "RUNNING" else None,
            "input": execution.execution_input,
            "inputDetails": {"included": True},
            "output": output,
            "outputDetails": {"included": True} if output is not None else None,
            "error": execution.error if status != "RUNNING" else None,
            "cause": execution.cause if status != "RUNNING" else None,
            "redriveCount": 0,
            "redriveStatus": "NOT_REDRIVABLE",
        }
        self._bus.put(
            "aws.states", "Step Functions Execution Status Change", detail, resources=[str(execution.exec_arn)]
        )

    @staticmethod
    def _direct_lambda_error(env: Any, ex: Exception) -> FailureEvent | None:
        """A refused call of a task that names a function's ARN has the same error names as lambda:invoke."""
        response: Callable[..., Any] | None = getattr(ex, "response", None)
        if response is None or isinstance(ex, lambda_eval_utils.LambdaFunctionErrorException):
            return None
        error, cause = StateTaskServiceLambda._error_cause_from_client_error(ex)  # type: ignore[arg-type]  # noqa: SLF001
        return FailureEvent(
            env=env,
            error_name=CustomErrorName(error),
            event_type=HistoryEventType.LambdaFunctionFailed,
            event_details=EventDetails(  # type: ignore[typeddict-item]
                lambdaFunctionFailedEventDetails=LambdaFunctionFailedEventDetails(error=error, cause=cause)
            ),
        )
