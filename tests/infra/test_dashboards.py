"""The two dashboards show what is emitted, and every alarm says where to read on."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from infra.dashboards import CHOSEN, TARGETS
from tests.infra.synthesized import Deployment
from tidegate.domain.evaluation.targets import KINDS

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "layers/core/python/tidegate"
# Where each service counts what it counts.
EMITTERS = {
    "inference": (
        CORE / "steps/serving/inference.py",
        CORE / "aws/capture_log.py",
        ROOT / "functions/inference/handler.py",
    ),
    "monitor": (CORE / "steps/monitoring/monitor.py", CORE / "domain/monitoring/costs.py"),
    "feedback": (CORE / "steps/serving/feedback.py",),
}
# From the services' own lists of metrics and dimensions.
AWS: dict[tuple[str, tuple[str, ...]], set[str]] = {
    ("AWS/ApiGateway", ("ApiId",)): {"Count", "4xx", "5xx", "Latency"},
    ("AWS/Lambda", ("FunctionName",)): {"Errors", "Throttles", "Duration", "IteratorAge"},
    ("AWS/SQS", ("QueueName",)): {"ApproximateNumberOfMessagesVisible"},
    ("AWS/States", ("StateMachineArn",)): {
        *("ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"),
        "ExecutionTime",
    },
}


def bodies(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """By name; what CloudFormation fills in stands as the JSON that says what."""
    found = {}
    for dashboard in deployment.resources("AWS::CloudWatch::Dashboard"):
        given = dashboard.properties["DashboardBody"]
        pieces = given["Fn::Join"][1] if isinstance(given, dict) else [given]
        text = "".join(piece if isinstance(piece, str) else json.dumps(json.dumps(piece))[1:-1] for piece in pieces)
        found[dashboard.properties["DashboardName"]] = json.loads(text)
    return found


def metrics(body: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Namespace, name and dimensions of every line and search; a searched dimension has no value."""
    for widget in body["widgets"]:
        for line in widget["properties"].get("metrics", []):
            named = [part for part in line if isinstance(part, str)]
            if named:
                yield named[0], named[1], dict(zip(named[2::2], named[3::2], strict=True))
            for schema, terms in re.findall(r"SEARCH\('{([^}]+)} ([^']+)'", str(line[-1].get("expression", ""))):
                namespace, *names = schema.split(",")
                values = dict(re.findall(r'(\w+)="([^"]+)"', terms))
                yield namespace, values.pop("MetricName"), dict.fromkeys(names, "") | values


def test_there_is_a_dashboard_of_the_platform_and_one_of_a_model(deployment: Deployment) -> None:
    prefix = f"tidegate-{deployment.stage}"
    assert set(bodies(deployment)) == {prefix, f"{prefix}-model"}


def test_no_widget_lies_on_another_one_or_beside_the_grid(deployment: Deployment) -> None:
    for body in bodies(deployment).values():
        for one in body["widgets"]:
            assert one["x"] >= 0
            assert one["x"] + one["width"] <= 24
        for one, other in combinations(body["widgets"], 2):
            beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            apart = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
            assert beside or apart, (one, other)


def test_every_alarm_is_on_the_dashboard_of_the_platform(deployment: Deployment) -> None:
    (shown,) = [
        widget["properties"]["alarms"]
        for widget in bodies(deployment)[f"tidegate-{deployment.stage}"]["widgets"]
        if widget["type"] == "alarm"
    ]
    alarms = list(deployment.resources("AWS::CloudWatch::Alarm"))
    assert len(shown) == len(set(shown)) == len(alarms)
    for alarm in alarms:
        name = f":alarm:{alarm.properties['AlarmName']}"
        assert sum(arn.endswith(name) for arn in shown) == 1, alarm


def test_every_metric_that_is_shown_is_emitted(deployment: Deployment) -> None:
    sources = {service: "".join(file.read_text("utf-8") for file in files) for service, files in EMITTERS.items()}
    found = [metric for body in bodies(deployment).values() for metric in metrics(body)]
    assert len(found) > 60
    for namespace, name, dimensions in found:
        if namespace == "Tidegate":
            assert dimensions["stage"] == deployment.stage, name
            assert f'"{name}"' in sources[dimensions["service"]], (dimensions["service"], name)
        else:
            assert name in AWS[namespace, tuple(dimensions)], (namespace, name, dimensions)


def test_a_model_shows_each_target_of_live_traffic_beside_its_limit(deployment: Deployment) -> None:
    assert set(TARGETS) == {kind.name for kind in KINDS if kind.live}
    shown = [
        (dimensions["target"], name)
        for _, name, dimensions in metrics(bodies(deployment)[f"tidegate-{deployment.stage}-model"])
        if "target" in dimensions
    ]
    wanted = {(target, name) for target in TARGETS for name in ("TargetMeasured", "TargetLimit")}
    assert set(shown) == wanted | {("", "TargetMissed")}


def test_the_model_is_chosen_from_those_that_were_asked(deployment: Deployment) -> None:
    (variable,) = bodies(deployment)[f"tidegate-{deployment.stage}-model"]["variables"]
    search = f'{{Tidegate,service,stage,model}} MetricName="Requests" service="inference" stage="{deployment.stage}"'
    assert variable == dict(
        cloudwatch.DashboardVariable(
            id="model",
            type=cloudwatch.VariableType.PATTERN,
            label="Model",
            input_type=cloudwatch.VariableInputType.SELECT,
            value=CHOSEN,
            values=cloudwatch.Values.from_search(search, "model"),
            default_value=cloudwatch.DefaultValue.FIRST,
            visible=True,
        ).to_json()
    )


def test_everything_on_the_dashboard_of_a_model_is_about_the_chosen_one(deployment: Deployment) -> None:
    body = bodies(deployment)[f"tidegate-{deployment.stage}-model"]
    shown = list(metrics(body))
    assert shown
    assert {dimensions["model"] for _, _, dimensions in shown} == {CHOSEN}
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", CHOSEN) is None, "a model could be called so"


def sections(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", (ROOT / "docs" / page).read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alarm_says_what_happened_whose_it_is_and_where_to_read_on(deployment: Deployment) -> None:
    owner = {"dev": "platform", "prod": "ml-platform"}[deployment.stage]
    for alarm in deployment.resources("AWS::CloudWatch::Alarm"):
        text = alarm.properties["AlarmDescription"]
        said = re.fullmatch(
            r"(?P<what>.+\.) (?P<whose>\S.+?\.) Runbook: docs/(?P<page>[\w-]+\.md)#(?P<at>[\w-]+)", text
        )
        assert said, (alarm, text)
        assert f"Owner: {owner}." in text or "wner: see `tidegate status`." in text, (alarm, text)
        assert said["at"] in sections(said["page"]), (alarm, text)
        assert len(text) <= 1024, alarm
        short = alarm.properties["AlarmName"].removeprefix(f"tidegate-{deployment.stage}-")
        assert re.search(rf"[`-]{short}`", (ROOT / "docs" / said["page"]).read_text("utf-8")), (short, said["page"])


@pytest.mark.parametrize("metric", ["CostSpike", "Drifted", "ModelFailures", "NeedsRedesign", "RetrainingWanted"])
def test_alarms_about_models_say_how_to_find_model_and_owner(metric: str, deployment: Deployment) -> None:
    (text,) = [
        alarm.properties["AlarmDescription"]
        for alarm in deployment.resources("AWS::CloudWatch::Alarm")
        if alarm.properties.get("MetricName") == metric
    ]
    assert "Model" in text
    assert "see `tidegate status`." in text
