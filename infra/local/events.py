"""EventBridge: events find the targets of the rules they match, schedules fire when the clock passes them."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from infra.local import iam
from infra.local.calls import ApiCall, HttpAnswer
from infra.local.clock import Clock
from infra.local.delivery import Courier, DeliveryError
from infra.local.metrics import Metrics
from infra.local.moto_server import MotoServer
from infra.local.patterns import matches, target_input
from infra.local.schedules import next_time

log = logging.getLogger(__name__)

MAX_ENTRY_BYTES = 1024 * 1024
MAX_SEEN = 10_000
RULES, SCHEDULER = "events.amazonaws.com", "scheduler.amazonaws.com"


class EventBus:
    """All buses of the account. `courier` has to be set before the first event."""

    def __init__(self, moto: MotoServer, clock: Clock, metrics: Metrics) -> None:
        self._moto = moto
        self._clock = clock
        self._metrics = metrics
        self._passed: deque[dict[str, Any]] = deque(maxlen=MAX_SEEN)
        self._seen: dict[str, tuple[str, float]] = {}
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()
        self.courier: Courier

    # --- events -------------------------------------------------------------------------------------------------------

    def put_events(self, call: ApiCall, principal: iam.Principal) -> HttpAnswer:
        """The PutEvents operation."""
        del principal
        entries = [self._entry(entry) for entry in call.params.get("Entries", [])]
        body = {"FailedEntryCount": sum("ErrorCode" in entry for entry in entries), "Entries": entries}
        return HttpAnswer(200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode())

    def put(
        self,
        source: str,
        detail_type: str,
        detail: Mapping[str, Any],
        *,
        resources: Sequence[str] = (),
        bus: str = "default",
        time: datetime | None = None,
    ) -> str:
        """Takes an event and delivers it to the targets of every rule it matches; returns its id."""
        event: dict[str, Any] = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": self._moto.account,
            "time": f"{time or self._clock.now():%Y-%m-%dT%H:%M:%SZ}",
            "region": self._moto.region,
            "resources": list(resources),
            "detail": detail,
        }
        if bus == "default":
            self._passed.append(event)
        self.route(bus, event)
        return str(event["id"])

    def seen(self, source: str) -> list[dict[str, Any]]:
        """The events of a source that came to the default bus, oldest first; of all sources the last 10,000."""
        return [event for event in self._passed.copy() if event["source"] == source]

    def route(self, bus: str, event: Mapping[str, Any]) -> None:
        """Delivers an event that is on a bus."""
        for rule in self._moto.rules():
            pattern = rule.event_pattern.get_pattern()
            if rule.event_bus_name.rsplit("/", 1)[-1] != bus or rule.state == "DISABLED" or not pattern:
                continue
            if matches(pattern, event):
                self._to_targets(rule, event)

    def _entry(self, entry: Mapping[str, Any]) -> dict[str, str]:
        for field in ("Source", "DetailType", "Detail"):
            if not entry.get(field):
                reason = f"Parameter {field} is not valid. Reason: {field} is a required argument."
                return _refused("InvalidArgument", reason)
        if len(entry["Detail"].encode()) > MAX_ENTRY_BYTES:
            return _refused("InvalidArgument", "Total size of the entries in the request is over the limit.")
        if entry["Source"].startswith("aws."):
            return _refused("NotAuthorizedForSourceException", "Not authorized for the source.")
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            detail = None
        if not isinstance(detail, dict):
            return _refused("MalformedDetail", "Detail is malformed.")
        bus = str(entry.get("EventBusName") or "default").rsplit("/", 1)[-1]
        time = entry.get("Time")
        when = datetime.fromtimestamp(float(time), UTC) if isinstance(time, int | float) else None
        event_id = self.put(
            entry["Source"], entry["DetailType"], detail, resources=entry.get("Resources", []), bus=bus, time=when
        )
        return {"EventId": event_id}

    def _to_targets(self, rule: Any, event: Mapping[str, Any]) -> None:
        dimensions = {"RuleName": rule.name}
        self._metrics.put("AWS/Events", "TriggeredRules", 1, dimensions)
        for target in list(rule.targets):
            payload = target_input(target, event, rule.arn)
            self._metrics.put("AWS/Events", "Invocations", 1, dimensions)
            try:
                self.courier.deliver(
                    target["Arn"],
                    payload,
                    service=RULES,
                    source_arn=rule.arn,
                    role_arn=target.get("RoleArn"),
                    message_group=target.get("SqsParameters", {}).get("MessageGroupId"),
                )
            except DeliveryError as error:
                self._metrics.put("AWS/Events", "FailedInvocations", 1, dimensions)
                log.warning("rule %s could not deliver to %s: %s", rule.name, target["Arn"], error)
                self._to_dead_letters(target, payload, error, source=RULES, source_arn=rule.arn)

    def _to_dead_letters(
        self, target: Mapping[str, Any], payload: Any, error: DeliveryError, *, source: str, source_arn: str
    ) -> None:
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if queue is None:
            return
        attributes = {
            "RULE_ARN": source_arn,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": str(error),
        }
        role = target.get("RoleArn") if source == SCHEDULER else None
        try:
            self.courier.deliver(
                queue, payload, service=source, source_arn=source_arn, role_arn=role, attributes=attributes
            )
        except DeliveryError as lost:
            log.error("the dead-letter queue %s did not accept an event either: %s", queue, lost)  # noqa: TRY400

    # --- schedules ----------------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When the next schedule fires, in seconds since the epoch."""
        with self._lock:
            self._look()
            return min(self._due.values(), default=None)

    def fire_due(self) -> int:
        """Fires every schedule whose time has come, once each; returns how many."""
        now = self._clock.time()
        with self._lock:
            self._look()
            due = sorted((at, arn) for arn, at in self._due.items() if at <= now)
            for _, arn in due:
                del self._due[arn]  # its next time is counted from now: what was missed does not pile up
        for at, arn in due:
            self._fire(arn, at)
        return len(due)

    def _look(self) -> None:
        """Learns of new, changed and removed schedules."""
        now = self._clock.time()
        found: dict[str, tuple[str, str]] = {}
        for rule in self._moto.rules():
            if rule.scheduled_expression and rule.state != "DISABLED":
                found[rule.arn] = (rule.scheduled_expression, "UTC")
        for schedule in self._moto.schedules():
            if schedule.state == "ENABLED":
                found[schedule.arn] = (schedule.schedule_expression, schedule.schedule_expression_timezone)
        for arn in self._due.keys() - found.keys():
            del self._due[arn]
        for arn, (expression, timezone) in found.items():
            known = self._seen.get(arn)
            if known is None or known[0] != expression:
                self._seen[arn] = known = (expression, now)
                self._due.pop(arn, None)
            if arn not in self._due:
                due = next_time(expression, now, created=known[1], timezone=timezone)
                if due is not None:
                    self._due[arn] = due

    def _fire(self, arn: str, at: float) -> None:
        when = datetime.fromtimestamp(at, UTC)
        for rule in self._moto.rules():
            if rule.arn == arn:
                event = {
                    "version": "0",
                    "id": str(uuid.uuid4()),
                    "detail-type": "Scheduled Event",
                    "source": "aws.events",
                    "account": self._moto.account,
                    "time": f"{when:%Y-%m-%dT%H:%M:%SZ}",
                    "region": self._moto.region,
                    "resources": [arn],
                    "detail": {},
                }
                self._to_targets(rule, event)
        for schedule in self._moto.schedules():
            if schedule.arn == arn:
                self._fire_schedule(schedule, when)

    def _fire_schedule(self, schedule: Any, when: datetime) -> None:
        target = schedule.target
        payload = (
            str(target.get("Input") or "{}")
            .replace("<aws.scheduler.scheduled-time>", f"{when:%Y-%m-%dT%H:%M:%SZ}")
            .replace("<aws.scheduler.schedule-arn>", schedule.arn)
            .replace("<aws.scheduler.execution-id>", str(uuid.uuid4()))
            .replace("<aws.scheduler.attempt-number>", "1")
        )
        try:
            self.courier.deliver(
                target["Arn"], payload, service=SCHEDULER, source_arn=schedule.arn, role_arn=target.get("RoleArn")
            )
        except DeliveryError as error:
            log.warning("schedule %s could not deliver to %s: %s", schedule.name, target["Arn"], error)
            self._to_dead_letters(target, payload, error, source=SCHEDULER, source_arn=schedule.arn)


def _refused(code: str, message: str) -> dict[str, str]:
    return {"ErrorCode": code, "ErrorMessage": message}
