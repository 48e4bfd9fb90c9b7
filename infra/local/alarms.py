"""CloudWatch alarms: evaluated every minute of the clock; a change of state runs its actions and is an event."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local.alarm_rules import EXTRA_PERIODS, State, breaches, evaluate, next_state
from infra.local.clock import Clock
from infra.local.delivery import Courier, DeliveryError
from infra.local.events import EventBus
from infra.local.metrics import Metrics, statistic
from infra.local.moto_server import MotoServer

log = logging.getLogger(__name__)

EVALUATE_EVERY_S = 60


@dataclass(frozen=True, slots=True)
class _Change:
    alarm: Any
    state: State
    previous: str
    reason: str
    when: datetime


class Alarms:
    """All alarms of the account. Queue depths are sampled as metrics just before an evaluation."""

    def __init__(self, moto: MotoServer, clock: Clock, metrics: Metrics, bus: EventBus, courier: Courier) -> None:
        self._moto = moto
        self._clock = clock
        self._metrics = metrics
        self._bus = bus
        self._courier = courier
        self._lock = threading.Lock()
        self._next_due = self._minute_after(clock.time())

    def next_due(self) -> float:
        """When alarms are evaluated next, in seconds since the epoch."""
        return self._next_due

    def evaluate_due(self) -> None:
        """Evaluates all alarms if their minute has come; only the latest minute when several have passed."""
        with self._lock:
            now = self._clock.time()
            if now < self._next_due:
                return
            self._next_due = self._minute_after(now)
            self._evaluate(self._next_due - EVALUATE_EVERY_S)

    def state(self, name: str) -> str:
        """OK, ALARM or INSUFFICIENT_DATA.

        Raises LookupError naming the alarms there are.
        """
        alarms = {alarm.name: alarm for alarm in self._moto.alarms()}
        if name not in alarms:
            raise LookupError(f"there is no alarm {name}; there are {', '.join(sorted(alarms)) or 'none'}")
        return str(alarms[name].state_value)

    @staticmethod
    def _minute_after(now: float) -> float:
        return (int(now // EVALUATE_EVERY_S) + 1) * float(EVALUATE_EVERY_S)

    def _evaluate(self, at: float) -> None:
        for queue, depth in self._moto.queue_depths().items():
            dimensions = {"QueueName": queue}
            self._metrics.put("AWS/SQS", "ApproximateNumberOfMessagesVisible", depth, dimensions, at=at - 1)
        alarms = self._moto.alarms()
        for alarm in alarms:
            if not alarm.rule:
                points = _datapoints(alarm, self._metrics, at)
                self._settle(alarm, _decided(alarm, points), _reason(alarm, points), at)
        for alarm in alarms:
            if alarm.rule:
                states = {other.name: other.state_value for other in self._moto.alarms()}
                state: State = "ALARM" if _composite(alarm.rule, states) else "OK"
                self._settle(alarm, state, f"{alarm.rule} is {state == 'ALARM'}", at)

    def _settle(self, alarm: Any, state: State, reason: str, at: float) -> None:
        previous = alarm.state_value
        if state == previous:
            return
        alarm.update_state(reason, "{}", state)
        when = datetime.fromtimestamp(at, UTC)
        self._act(_Change(alarm, state, previous, reason, when))
        self._bus.put(
            "aws.cloudwatch",
            "CloudWatch Alarm State Change",
            {
                "alarmName": alarm.name,
                "state": {"value": state, "reason": reason, "timestamp": _stamp(when)},
                "previousState": {"value": previous},
                "configuration": {"description": alarm.description},
            },
            resources=[alarm.alarm_arn],
            time=when,
        )

    def _act(self, change: _Change) -> None:
        alarm, state = change.alarm, change.state
        actions = {
            "ALARM": alarm.alarm_actions,
            "OK": alarm.ok_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }[state]
        if not alarm.actions_enabled or not actions:
            return
        subject = f'{state}: "{alarm.name}" in US East (N. Virginia)'
        for action in actions:
            is_function = action.split(":")[2] == "lambda"
            payload = _event(change, self._moto) if is_function else _message(change, self._moto)
            service = "lambda.alarms.cloudwatch.amazonaws.com" if is_function else "cloudwatch.amazonaws.com"
            try:
                self._courier.deliver(action, payload, service=service, source_arn=alarm.alarm_arn, subject=subject)
            except DeliveryError as error:
                log.warning("alarm %s could not act on %s: %s", alarm.name, action, error)


def _queries(alarm: Any) -> tuple[list[Any], int]:
    """The metric queries of a metric-math alarm and the period they share."""
    queries = alarm.metric_data_queries
    periods = [int(query.metric_stat.period) for query in queries if query.metric_stat]
    return queries, max(periods, default=int(alarm.period or 60))


def _datapoints(alarm: Any, metrics: Metrics, at: float) -> list[float | None]:
    """The value of each period of the evaluation range, newest first."""
    queries, period = _queries(alarm)
    count = int(alarm.evaluation_periods) + EXTRA_PERIODS
    return [_datapoint(alarm, queries, metrics, at - (i + 1) * period, at - i * period) for i in range(count)]


def _datapoint(alarm: Any, queries: list[Any], metrics: Metrics, start: float, end: float) -> float | None:
    if not queries:
        dimensions = {dimension.name: dimension.value for dimension in alarm.dimensions}
        found = metrics.between(alarm.namespace, alarm.metric_name, dimensions, start, end)
        return statistic(found, alarm.extended_statistic or alarm.statistic)
    values: dict[str, float | None] = {}
    for query in queries:
        if query.metric_stat:
            metric = query.metric_stat.metric
            dimensions = {dimension.name: dimension.value for dimension in metric.dimensions}
            found = metrics.between(metric.namespace, metric.metric_name, dimensions, start, end)
            values[query.id] = statistic(found, query.metric_stat.stat)
    pending = [query for query in queries if query.expression]
    for query in [*pending, *pending]:  # twice: an expression may use one that stands after it
        if query.id not in values and all(
            name in values or not any(name == other.id for other in queries)
            for name in re.findall(r"[a-zA-Z_]\w*", query.expression)
        ):
            values[query.id] = evaluate(query.expression, values)
    returned = [query.id for query in queries if str(query.return_data).lower() != "false"]
    return values.get(returned[0] if len(returned) == 1 else queries[-1].id)


def _decided(alarm: Any, points: list[float | None]) -> State:
    over = [None if p is None else breaches(p, alarm.comparison_operator, float(alarm.threshold)) for p in points]
    periods = int(alarm.evaluation_periods)
    return next_state(
        over,
        evaluation_periods=periods,
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or periods),
        treat_missing_data=alarm.treat_missing_data or "missing",
        current=alarm.state_value,
    )


def _reason(alarm: Any, points: list[float | None]) -> str:
    shown = ", ".join("no data" if p is None else f"{p:g}" for p in points[: int(alarm.evaluation_periods)])
    return f"Threshold Crossed: [{shown}], newest first, against {alarm.comparison_operator} {float(alarm.threshold):g}"


def _message(change: _Change, moto: MotoServer) -> str:
    """What an SNS topic is sent."""
    alarm = change.alarm
    return json.dumps(
        {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": moto.account,
            "AlarmArn": alarm.alarm_arn,
            "NewStateValue": change.state,
            "NewStateReason": change.reason,
            "StateChangeTime": _stamp(change.when),
            "Region": "US East (N. Virginia)",
            "OldStateValue": change.previous,
            "AlarmActions": alarm.alarm_actions,
            "OKActions": alarm.ok_actions,
            "InsufficientDataActions": alarm.insufficient_data_actions,
            "Trigger": {
                "MetricName": alarm.metric_name,
                "Namespace": alarm.namespace,
                "Statistic": alarm.statistic or alarm.extended_statistic,
                "Period": alarm.period,
                "EvaluationPeriods": alarm.evaluation_periods,
                "ComparisonOperator": alarm.comparison_operator,
                "Threshold": alarm.threshold,
                "TreatMissingData": alarm.treat_missing_data or "missing",
                "Dimensions": [{"name": d.name, "value": d.value} for d in alarm.dimensions],
            },
        }
    )


def _event(change: _Change, moto: MotoServer) -> Mapping[str, Any]:
    """What a function is sent."""
    alarm, when = change.alarm, change.when
    return {
        "source": "aws.cloudwatch",
        "alarmArn": alarm.alarm_arn,
        "accountId": moto.account,
        "time": _stamp(when),
        "region": moto.region,
        "alarmData": {
            "alarmName": alarm.name,
            "state": {"value": change.state, "reason": change.reason, "timestamp": _stamp(when)},
            "previousState": {"value": change.previous},
            "configuration": {"description": alarm.description},
        },
    }


def _stamp(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.000+0000"


def _composite(rule: str, states: Mapping[str, str]) -> bool:
    """Decides a composite alarm's rule: ALARM(name), OK(name), INSUFFICIENT_DATA(name), TRUE, FALSE, AND, OR, NOT."""
    words = re.findall(r'(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*"?([^")]+?)"?\s*\)|(AND|OR|NOT|TRUE|FALSE)\b|([()])', rule)
    rest: list[str | bool] = []
    for state, name, word, bracket in words:
        if state:
            rest.append(states.get(name.rsplit(":alarm:", 1)[-1]) == state)
        else:
            rest.append({"TRUE": True, "FALSE": False}.get(word, word or bracket))

    def either() -> bool:
        value = both()
        while rest and rest[0] == "OR":
            rest.pop(0)
            value = both() or value
        return value

    def both() -> bool:
        value = one()
        while rest and rest[0] == "AND":
            rest.pop(0)
            value = one() and value
        return value

    def one() -> bool:
        first = rest.pop(0)
        if first == "NOT":
            return not one()
        if first == "(":
            value = either()
            rest.pop(0)
            return value
        return bool(first)

    return either()
