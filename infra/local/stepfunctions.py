"""Step Functions: moto's interpreter runs the definitions; what it leaves out or does otherwise is set right here.

This reaches into moto's interpreter (as `moto_server` does into the rest): it acts with the state machine's role
instead of no role, waits by the cloud's clock, ends a stopped execution at once and notifies the event bus.
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
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from moto.stepfunctions.parser.api import (
    ExecutionStatus,
    HistoryEventType,
    LambdaFunctionFailedEventDetails,
    MapRunFailedEventDetails,
)
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.common.retry.retrier_decl import RetrierDecl
from moto.stepfunctions.parser.asl.component.state import state as interpreter_state
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import (
    DistributedIterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
from moto.stepfunctions.parser.asl.component.state.wait.wait_function import timestamp as wait_until
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.seconds import Seconds
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.seconds_path import SecondsPath
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError, ProgramTimedOut
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.parser.utils import TMP_THREADS

from infra.local import iam
from infra.local.calls import ApiCall, HttpAnswer
from infra.local.clients import Clients
from infra.local.clock import Clock
from infra.local.events import EventBus
from infra.local.limits import most
from infra.local.metrics import Metrics
from infra.local.task_tokens import TaskTokens

_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
_CLOSE_S = 10.0
KEPT_EXECUTIONS = 100  # of a machine


class StateMachines:
    """Sets moto's interpreter up for this cloud. Ends in two steps: `abort` what runs, then, when nothing answers its
    tasks any more, `close`.

    Every time it reports, every wait and the limits of tasks that wait for a token are the cloud's. Functions run in
    real time, and so does the limit of a task that waits for its function, and that of a whole execution.

    Attributes:
        tokens: the task tokens, with the operations that answer them.
    """

    def __init__(
        self,
        backend: StepFunctionsParserBackend,
        clients: Clients,
        clock: Clock,
        bus: EventBus,
        *,
        metrics: Metrics,
        authorize: Callable[[iam.Principal, iam.Permission], iam.Denied | None],
    ) -> None:
        self._backend = backend
        self._clients = clients
        self._clock = clock
        self._bus = bus
        self._metrics = metrics
        self._authorize = authorize
        self.tokens = TaskTokens(clock)
        self._starting = threading.Lock()
        self._stop_reasons: dict[str, tuple[str | None, str | None]] = {}
        self._undo = ExitStack()
        self._rewire()

    def abort(self) -> None:
        """Aborts running executions."""
        for machine in list(self._backend.state_machines):
            for execution in list(machine.executions):
                self._stop(cast("Execution", execution))

    def running(self) -> list[dict[str, Any]]:
        """The executions under way, each as the event that reported its start."""
        return [
            _status_change(execution, "RUNNING")
            for machine in list(self._backend.state_machines)
            for execution in map(partial(cast, "Execution"), list(machine.executions))
            if execution.exec_status == ExecutionStatus.RUNNING
        ]

    def lost(self, detail: Mapping[str, Any], cause: str) -> None:
        """Reports that an execution of an earlier cloud was aborted, as it was `running` there."""
        self._report({**detail, "status": "ABORTED", "stopDate": int(self._clock.time() * 1000), "cause": cause})

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
        """DescribeExecution of one that timed out, whose end moto does not report; or that may do so at any moment."""
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
            execution.start_date = machines._clock.now()
            machines._announce(execution, "RUNNING")  # first: a short execution may end before this thread goes on
            original_run(execution)

        original_run = Execution.start

        def stop(execution: Execution, **_: Any) -> None:
            machines._stop(execution)

        def terminated(communication: BaseExecutionWorkerCommunication) -> None:
            machines._ended(communication.execution)

        original_error = StateTaskLambda._from_error  # noqa: SLF001

        def lambda_error(task: StateTaskLambda, env: Any, ex: Exception) -> FailureEvent:
            return machines._direct_lambda_error(env, ex) or original_error(task, env, ex)

        for owner, name, replacement in (
            (StepFunctionsParserBackend, "start_execution", start_execution),
            (Execution, "start", started),
            (Execution, "stop", stop),
            (BaseExecutionWorkerCommunication, "terminated", terminated),
            (StateTaskLambda, "_from_error", lambda_error),
        ):
            undo.enter_context(patch.object(owner, name, replacement))
        self._rewire_time()
        self._rewire_tasks()
        self._rewire_limits()

    def _rewire_time(self) -> None:
        """Everything but a function at work goes by the cloud's clock."""
        clock, undo = self._clock, self._undo
        retrying, published = threading.local(), threading.local()

        original_retry = RetrierDecl._eval_body  # noqa: SLF001

        def retry(retrier: RetrierDecl, env: Any) -> None:
            retrying.env = env
            original_retry(retrier, env)

        def sleep(seconds: float) -> None:
            clock.wait(float(seconds), retrying.env.is_running)

        def stamp() -> dt.datetime:
            published.at = clock.now()
            return cast("dt.datetime", published.at)

        def wait(function: WaitFunction, env: Any, wait_seconds: float) -> None:
            """From when the state was entered: who has seen that in the history may move the clock at once."""
            from_entry = isinstance(function, (Seconds, SecondsPath))  # a Timestamp's seconds count from now already
            passed_s = (clock.now() - published.at).total_seconds() if from_entry else 0.0
            clock.wait(wait_seconds - passed_s, env.is_running)

        original_environment = ExecutionWorker._get_evaluation_environment  # noqa: SLF001

        def environment(worker: ExecutionWorker) -> Environment:
            env = original_environment(worker)
            execution = env.states.context_object.context_object_data["Execution"]
            execution["StartTime"] = _stamp(cast("dt.datetime", execution["StartTime"]))  # moto keeps it as one
            return env

        def entered(**about: Any) -> dict[str, Any]:
            return {**about, "EnteredTime": _stamp(clock.now())}

        utc = SimpleNamespace(now=lambda: clock.now().replace(tzinfo=None), strptime=dt.datetime.strptime)
        for owner, name, replacement in (
            (RetrierDecl, "_eval_body", retry),
            (retrier_decl, "time", SimpleNamespace(sleep=sleep)),
            (ExecutionWorker, "_get_evaluation_environment", environment),
            (interpreter_state, "StateData", entered),
            (EventManager, "_get_current_timestamp", staticmethod(stamp)),
            (WaitFunction, "_wait_interval", wait),
            (wait_until, "datetime", SimpleNamespace(datetime=utc)),
        ):
            undo.enter_context(patch.object(owner, name, replacement))

    def _rewire_tasks(self) -> None:
        """Each attempt of a task that waits has a token of its own; what comes of a task of an ended execution is
        nobody's business any more, least of all its Retry's and Catch's."""
        original_evaluate = ExecutionState._evaluate_with_timeout  # noqa: SLF001

        def evaluate(state: ExecutionState, env: Any) -> None:
            token = self._token_for(state, env)
            try:
                original_evaluate(state, env)
            except Exception:
                if env.is_running():
                    raise
            finally:
                if token is not None:
                    self.tokens.close(token)

        def wait(_task: Any, env: Any, timeout_seconds: int, callback_endpoint: Any, heartbeat_endpoint: Any) -> Any:
            heartbeat_s = heartbeat_endpoint._heartbeat_seconds if heartbeat_endpoint else None  # noqa: SLF001
            return self.tokens.wait(callback_endpoint.callback_id, env, timeout_seconds, heartbeat_s)

        self._undo.enter_context(patch.object(ExecutionState, "_evaluate_with_timeout", evaluate))
        self._undo.enter_context(patch.object(StateTaskServiceCallback, "_eval_wait_for_task_token", wait))

    def _rewire_limits(self) -> None:
        """What AWS ends an execution for and moto does not: a history that is full, and a distributed map that may not
        start its children."""
        original_eval, original_map = CommonStateField._eval_body, DistributedIterationComponent._map_run  # noqa: SLF001

        def evaluate(state: CommonStateField, env: Any) -> None:
            # A state adds two events at least, and the end of the execution one.
            if env.event_manager._event_id_gen._next_id + 2 > most("history_events"):  # noqa: SLF001
                cause = f"The execution reached the maximum number of history events ({most('history_events')})."
                env.set_error({"error": "States.Runtime", "cause": cause})
                return
            original_eval(state, env)

        def map_run(component: DistributedIterationComponent, env: Any, eval_input: Any) -> None:
            details = env.aws_execution_details
            machine = env.states.context_object.context_object_data["StateMachine"]["Id"]
            name = details.role_arn.rpartition("/")[2]
            session = f"arn:aws:sts::{details.account}:assumed-role/{name}/states"
            principal = iam.Principal("role", session, details.account, name, details.role_arn)
            denied = self._authorize(principal, iam.Permission("states:StartExecution", (machine,)))
            if denied:
                raise FailureEventException(
                    FailureEvent(
                        env=env,
                        error_name=StatesErrorName(typ=StatesErrorNameType.StatesPermissions),
                        event_type=HistoryEventType.MapRunFailed,
                        event_details=EventDetails(  # type: ignore[typeddict-item]
                            mapRunFailedEventDetails=MapRunFailedEventDetails(
                                error=StatesErrorNameType.StatesPermissions.to_name(), cause=denied.message
                            )
                        ),
                    )
                )
            original_map(component, env, eval_input)

        def is_within(value: Any) -> bool:
            """moto counts a text without its quotes, and is one byte stricter otherwise."""
            return len(to_json_str(value, separators=(",", ":")).encode()) <= most("state_data")

        for name, module in list(sys.modules.items()):
            if name.startswith("moto.stepfunctions.") and hasattr(module, "is_within_size_quota"):
                self._undo.enter_context(patch.object(module, "is_within_size_quota", is_within))
        self._undo.enter_context(patch.object(CommonStateField, "_eval_body", evaluate))
        self._undo.enter_context(patch.object(DistributedIterationComponent, "_map_run", map_run))

    def _token_for(self, state: ExecutionState, env: Any) -> str | None:
        if not isinstance(state, StateTaskServiceCallback):
            return None
        if state.resource.condition != ResourceCondition.WaitForTaskToken:
            return None
        context = env.states.context_object.context_object_data
        token = self.tokens.issue(context["StateMachine"]["Id"], env)
        context["Task"] = {"Token": token}
        env.callback_pool_manager.add(token)
        return token

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
        execution.stop_date = stop_date = self._clock.now()
        execution.exec_status = ExecutionStatus.ABORTED
        worker = execution.exec_worker
        for _ in range(100):
            if worker is None or worker.env is not None:
                break
            threading.Event().wait(0.01)  # the worker's thread has only just started
        if worker is not None and worker.env is not None:
            worker.stop(stop_date=stop_date, error=error, cause=cause)
        self._clock.wake()
        self._announce(execution, "ABORTED")

    def _ended(self, execution: Execution) -> None:
        if execution.exec_status != ExecutionStatus.RUNNING:
            return  # it was stopped; that was the end
        env = cast("Environment", cast("ExecutionWorker", execution.exec_worker).env)
        state = env.program_state()
        execution.stop_date = self._clock.now()
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
        self._forget(str(execution.state_machine.arn))

    def _forget(self, machine_arn: str) -> None:
        """Lets go of the oldest executions of a machine that are over, with their histories; AWS does after 90 days."""
        for machine in self._backend.state_machines:
            if machine.arn == machine_arn and len(machine.executions) > 2 * KEPT_EXECUTIONS:
                with self._starting:
                    old = machine.executions[:-KEPT_EXECUTIONS]
                    under_way = [each for each in old if each.status == ExecutionStatus.RUNNING]
                    machine.executions[:-KEPT_EXECUTIONS] = under_way

    def _announce(self, execution: Execution, status: str) -> None:
        self._report(_status_change(execution, status))

    def _report(self, detail: Mapping[str, Any]) -> None:
        """Counts a change of an execution's status, and notifies the event bus of it."""
        dimensions = {"StateMachineArn": str(detail["stateMachineArn"])}
        status, stopped = detail["status"], detail["stopDate"]
        if status == "RUNNING":
            self._metrics.put("AWS/States", "ExecutionsStarted", 1, dimensions)
        else:
            for ending, metric in _METRICS.items():
                self._metrics.put("AWS/States", metric, float(ending == status), dimensions)
            took_ms = float(stopped - detail["startDate"]) if stopped else 0.0
            self._metrics.put("AWS/States", "ExecutionTime", took_ms, dimensions, unit="Milliseconds")
        name = "Step Functions Execution Status Change"
        self._bus.put("aws.states", name, detail, resources=[str(detail["executionArn"])])

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


def _status_change(execution: Execution, status: str) -> dict[str, Any]:
    """The detail of the event that reports an execution's status.

    docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    stopped = execution.stop_date
    output = json.dumps(execution.output, separators=(",", ":")) if status == "SUCCEEDED" else None
    return {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine.arn,
        "name": execution.name,
        "status": status,
        "startDate": int(execution.start_date.timestamp() * 1000),
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


def _stamp(moment: dt.datetime) -> str:
    """As the context object has it: 2019-03-26T20:14:13.192Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
