"""Lambda's API in front of the Lambda host: Invoke, metrics of every invocation, what becomes of failed events."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from infra.local import iam
from infra.local.async_events import Event
from infra.local.calls import ApiCall, HttpAnswer
from infra.local.delivery import Courier, DeliveryError
from infra.local.functions import FunctionConfig, Invocation
from infra.local.lambda_host import LambdaHost, UnknownFunctionError
from infra.local.metrics import Metrics
from infra.local.moto_server import MotoServer

log = logging.getLogger(__name__)

MAX_EVENT_BYTES = 1024 * 1024


class MeteredHost(LambdaHost):
    """A Lambda host that counts every invocation, also those it starts by itself, in the AWS/Lambda metrics.

    Attributes:
        on_invoked: gets function and invocation of each that ran.
    """

    def __init__(self, metrics: Metrics, **settings: Any) -> None:
        self._metrics = metrics
        self.on_invoked: Callable[[str, Invocation], None] = lambda _function, _invocation: None
        self._running: dict[str, int] = {}
        self._count_lock = threading.Lock()
        super().__init__(**settings)

    def invoke(
        self, name_or_arn: str, payload: bytes, *, timeout_s: float | None = None, trace_id: str | None = None
    ) -> Invocation:
        """As LambdaHost's."""
        invoke = super().invoke
        return self._counted(name_or_arn, lambda: invoke(name_or_arn, payload, timeout_s=timeout_s, trace_id=trace_id))

    def _attempt(self, event: Event) -> Invocation:
        attempt = super()._attempt
        return self._counted(event.arn, lambda: attempt(event))

    def _counted(self, name_or_arn: str, run: Callable[[], Invocation]) -> Invocation:
        name = self.config(name_or_arn).name
        with self._count_lock:
            self._running[name] = running = self._running.get(name, 0) + 1
        try:
            invocation = run()
        finally:
            with self._count_lock:
                self._running[name] -= 1
        self._record(name, name_or_arn.rpartition("function:")[2], invocation, running)
        return invocation

    def _record(self, name: str, called: str, invocation: Invocation, running: int) -> None:
        """`called` is the name with the alias or version that was asked for, whose metrics AWS keeps apart too."""
        function = {"FunctionName": name}
        sets = [{}, function] if called == name else [{}, function, function | {"Resource": called}]

        def put(metric: str, value: float, unit: str = "Count") -> None:
            for dimensions in sets:
                self._metrics.put("AWS/Lambda", metric, value, dimensions, unit=unit)

        put("Throttles", float(invocation.is_throttled))
        if invocation.is_throttled:
            return
        self.on_invoked(name, invocation)
        put("Invocations", 1)
        put("Errors", float(not invocation.is_ok))
        put("Duration", invocation.duration_ms, "Milliseconds")
        put("ConcurrentExecutions", running)


class LambdaBridge:
    """Answers the Invoke operation and what calls functions from inside moto."""

    def __init__(self, moto: MotoServer, host: LambdaHost) -> None:
        self._moto = moto
        self._host = host

    def invoke(self, call: ApiCall, principal: iam.Principal) -> HttpAnswer:
        """The Invoke operation: RequestResponse, Event and DryRun."""
        del principal
        arn, missing = self._resolve(str(call.params["FunctionName"]), call.params.get("Qualifier"))
        if arn is None:
            return call.error("ResourceNotFoundException", missing, 404)
        payload = call.params.get("Payload") or b"{}"
        payload = payload.encode() if isinstance(payload, str) else payload
        try:
            json.loads(payload)
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            return call.error("InvalidRequestContentException", message, 400)
        match call.params.get("InvocationType", "RequestResponse"):
            case "DryRun":
                return HttpAnswer(204, {}, b"")
            case "Event":
                if len(payload) > MAX_EVENT_BYTES:
                    message = f"{len(payload)} byte payload is too large for the Event invocation type"
                    return call.error("RequestTooLargeException", f"{message} (limit {MAX_EVENT_BYTES} bytes)", 413)
                request_id = self._host.invoke_async(arn, payload)
                return HttpAnswer(202, {"x-amzn-RequestId": request_id}, b"")
        return self._answer(call, self._host.invoke(arn, payload))

    def invoked_from_inside(self, name_or_arn: str, payload: bytes, *, wait: bool) -> tuple[bytes, str | None]:
        """A function called by another service: (its answer, its error). An unwaited one answers nothing."""
        if not wait:
            self._host.invoke_async(name_or_arn, payload)
            return b"", None
        invocation = self._host.invoke(name_or_arn, payload)
        return invocation.payload, None if invocation.is_ok else invocation.function_error or "Unhandled"

    def _resolve(self, name: str, qualifier: str | None) -> tuple[str | None, str]:
        arn = name if name.startswith("arn:") else self._arn(name)
        function, _, in_name = arn.rpartition(":function:")[2].partition(":")
        qualifier = qualifier or in_name or None
        arn = self._arn(function) + (f":{qualifier}" if qualifier else "")
        missing = f"Function not found: {arn}"
        try:
            self._host.config(function)
        except UnknownFunctionError:
            return None, missing
        if qualifier and qualifier != "$LATEST" and self._moto.function(f"{function}:{qualifier}") is None:
            return None, missing
        return arn, ""

    def _arn(self, name: str) -> str:
        return f"arn:aws:lambda:{self._moto.region}:{self._moto.account}:function:{name.rpartition('function:')[2]}"

    @staticmethod
    def _answer(call: ApiCall, invocation: Invocation) -> HttpAnswer:
        headers = {"x-amzn-RequestId": invocation.request_id, "Content-Type": "application/json"}
        if invocation.status != 200:
            code = "TooManyRequestsException" if invocation.is_throttled else "RequestTooLargeException"
            refused = json.loads(invocation.payload or b"{}")
            answer = call.error(code, str(refused.get("message", "Rate Exceeded.")), invocation.status)
            body = {**json.loads(answer.body), **refused}
            return HttpAnswer(invocation.status, answer.headers, json.dumps(body).encode())
        if invocation.function_error:
            headers["X-Amz-Function-Error"] = invocation.function_error
        if call.params.get("LogType") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(invocation.log_tail.encode()).decode()
        headers["X-Amz-Executed-Version"] = "$LATEST"
        return HttpAnswer(200, headers, invocation.payload)


class FailedEvents:
    """Sends an event that failed for good to the function's destination and dead-letter queue, with its role."""

    def __init__(self, courier: Courier, role_of: Callable[[str], str], now: Callable[[], datetime]) -> None:
        self._courier = courier
        self._role_of = role_of
        self._now = now

    def take(self, config: FunctionConfig, payload: bytes, invocation: Invocation) -> None:
        """In AWS's envelopes: a destination gets request and response, a dead-letter queue the event itself."""
        if config.on_failure_arn:
            self._send(config, config.on_failure_arn, self._envelope(config, payload, invocation), {})
        if config.dead_letter_arn:
            error = _json(invocation.payload)
            message = error.get("errorMessage", "") if isinstance(error, dict) else ""
            attributes = {
                "RequestID": invocation.request_id,
                "ErrorCode": str(invocation.status),
                "ErrorMessage": str(message)[:1024] or "none",
            }
            self._send(config, config.dead_letter_arn, payload.decode(), attributes)

    def _send(self, config: FunctionConfig, arn: str, payload: Any, attributes: dict[str, str]) -> None:
        try:
            self._courier.deliver(
                arn,
                payload,
                service="lambda.amazonaws.com",
                source_arn=config.arn,
                role_arn=self._role_of(config.name),
                attributes=attributes,
            )
        except DeliveryError as error:
            log.warning("the failed event of %s was lost: %s did not accept it: %s", config.name, arn, error)

    def _envelope(self, config: FunctionConfig, payload: bytes, invocation: Invocation) -> dict[str, Any]:
        return {
            "version": "1.0",
            "timestamp": f"{self._now():%Y-%m-%dT%H:%M:%S}.000Z",
            "requestContext": {
                "requestId": invocation.request_id,
                "functionArn": f"{config.arn}:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": config.max_event_retries + 1,
            },
            "requestPayload": _json(payload),
            "responseContext": {
                "statusCode": invocation.status,
                "executedVersion": "$LATEST",
                "functionError": invocation.function_error,
            },
            "responsePayload": _json(invocation.payload),
        }


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
