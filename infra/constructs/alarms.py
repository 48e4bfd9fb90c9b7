"""Alarms: how each of them is made, whichever stack it stands in."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch

from infra.constructs.arns import named_arn

NAMESPACE = "Tidegate"
MODEL_IN_STATUS = "Model and owner: see `tidegate status`."
MINUTE = 60
FIVE_MINUTES = 300
HOUR = 3600  # how often monitoring counts
MOST_METRICS = 10  # that AWS lets one alarm look at

Dimensions = Mapping[str, str]


def model_on_dashboard(prefix: str) -> str:
    """Whose an alarm is that counts over all models: the sentence for `Alarms.add`."""
    return f"Model: see the graphs by model on the dashboard {prefix}. Owner: see `tidegate status`."


class Alarms:
    """The alarms of one stack, in the order in which they were made; all of them notify the same topic.

    A description says what happened, whose it is, and at its end where the runbook is: `docs/PAGE.md#section`.
    """

    def __init__(self, stack: Stack, *, prefix: str, owner: str, topic_arn: str) -> None:
        """
        Args:
            stack: the stack they stand in.
            prefix: first part of their names.
            owner: who answers for the deployment, and so for every alarm that is not a model's.
            topic_arn: who hears of them.
        """
        self._stack = stack
        self._prefix = prefix
        self._owner = owner
        self._topic = topic_arn
        self.made: list[cloudwatch.CfnAlarm] = []

    @property
    def arns(self) -> list[str]:
        """Of all of them, by name."""
        return [named_arn("cloudwatch", f"alarm:{alarm.alarm_name}") for alarm in self.made]

    def add(
        self,
        name: str,
        namespace: str,
        metric: str,
        dimensions: Dimensions,
        meaning: str,
        *,
        runbook: str,
        whose: str = "",
        statistic: str = "Sum",
        threshold: float = 1,
        periods: int = 1,
        period: int = MINUTE,
    ) -> cloudwatch.CfnAlarm:
        """One metric, above or at a threshold for so many periods (seconds each) in a row.

        `runbook` is page and section in docs/, `whose` the sentence that says where model and owner are found; without
        one it is the deployment's owner.
        """
        percentile = statistic.startswith("p")
        return self._keep(
            cloudwatch.CfnAlarm(
                self._stack,
                name,
                **self._common(name, self._described(meaning, whose, runbook), threshold, periods),
                namespace=namespace,
                metric_name=metric,
                dimensions=[
                    cloudwatch.CfnAlarm.DimensionProperty(name=key, value=value) for key, value in dimensions.items()
                ],
                period=period,
                statistic=None if percentile else statistic,
                extended_statistic=statistic if percentile else None,
                # A percentile of a handful of calls says nothing.
                evaluate_low_sample_count_percentile="ignore" if percentile else None,
            )
        )

    def add_class(
        self, name: str, metric: str, functions: Sequence[str], threshold: int, meaning: str, *, runbook: str
    ) -> None:
        """The sum of several functions' metric, so that a class of functions wakes people once.

        A class of more than ten gets a second alarm, with "-2" behind its name, and so on.
        """
        described = self._described(meaning, "", runbook)
        for start in range(0, len(functions), MOST_METRICS):
            part = f"{name}-{start // MOST_METRICS + 1}" if start else name
            total = _sum(metric, functions[start : start + MOST_METRICS])
            self._keep(
                cloudwatch.CfnAlarm(self._stack, part, **self._common(part, described, threshold, 1), metrics=total)
            )

    def _described(self, meaning: str, whose: str, runbook: str) -> str:
        return f"{meaning} {whose or f'Owner: {self._owner}.'} Runbook: docs/{runbook}"

    def _common(self, name: str, description: str, threshold: float, periods: int) -> dict[str, Any]:
        return {
            "alarm_name": f"{self._prefix}-{name}",
            "alarm_description": description,
            "comparison_operator": "GreaterThanOrEqualToThreshold",
            "threshold": threshold,
            "evaluation_periods": periods,
            "treat_missing_data": "notBreaching",
            "alarm_actions": [self._topic],
            "ok_actions": [self._topic],
        }

    def _keep(self, alarm: cloudwatch.CfnAlarm) -> cloudwatch.CfnAlarm:
        self.made.append(alarm)
        return alarm


def _sum(metric: str, functions: Sequence[str]) -> list[cloudwatch.CfnAlarm.MetricDataQueryProperty]:
    single = [
        cloudwatch.CfnAlarm.MetricDataQueryProperty(
            id=f"m{index}",
            return_data=False,
            metric_stat=cloudwatch.CfnAlarm.MetricStatProperty(
                metric=cloudwatch.CfnAlarm.MetricProperty(
                    namespace="AWS/Lambda",
                    metric_name=metric,
                    dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name="FunctionName", value=function)],
                ),
                period=FIVE_MINUTES,
                stat="Sum",
            ),
        )
        for index, function in enumerate(functions)
    ]
    total = cloudwatch.CfnAlarm.MetricDataQueryProperty(
        id="total", expression="SUM(FILL(METRICS(), 0))", label=metric, return_data=True
    )
    return [*single, total]
