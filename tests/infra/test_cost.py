"""The cost page counts what the templates contain and adds up what it shows."""

import json

import pytest

from infra import cost
from infra.settings import DeploymentSettings
from tests.infra.synthesized import Deployment
from tidegate.steps.monitoring.due import BATCH_MODELS


def test_the_idle_bill_counts_what_is_deployed(deployment: Deployment) -> None:
    alarms = [alarm.properties for alarm in deployment.resources("AWS::CloudWatch::Alarm")]
    alarmed = sum(len([query for query in alarm.get("Metrics", []) if "MetricStat" in query]) or 1 for alarm in alarms)
    assert alarmed == cost.ALARM_METRICS
    assert len(list(deployment.resources("AWS::CloudWatch::Dashboard"))) == cost.DASHBOARDS
    assert len(list(deployment.resources("AWS::KMS::Key"))) == cost.KEYS


def test_monitoring_is_counted_as_it_is_deployed(deployment: Deployment) -> None:
    deployed = {
        function.properties["FunctionName"].rpartition("-")[2]: function.properties["MemorySize"]
        for function in deployment.resources("AWS::Lambda::Function")
        if "FunctionName" in function.properties
    }
    assert {name: deployed[name] for name in cost.MEMORY_MB} == cost.MEMORY_MB
    assert cost.BATCH_MODELS == BATCH_MODELS


def test_monitoring_of_a_model_is_counted_by_the_model_but_for_its_totals() -> None:
    one, forty = ({line.what: line.quantity for line in cost.monitoring(n, DeploymentSettings())} for n in (1, 40))
    assert forty["monitor"] == 40 * one["monitor"]
    assert (one["state machine"], forty["state machine"]) == (720, 2 * 720)
    assert (one["metrics"], forty["metrics"]) == (10 + 10, 10 + 40 * 10)
    assert (one["metrics of targets"], forty["metrics of targets"]) == (6, 40 * 6)
    assert (one["metrics of versions, unit"], forty["metrics of versions, unit"]) == (4 + 8, 4 + 40 * 8)


def test_nothing_that_is_billed_by_the_hour_is_deployed_in_dev(deployments: dict[str, Deployment]) -> None:
    types = {resource.type.split("::")[1] for resource in deployments["dev"].resources()}
    assert not types & {"EC2", "ECS", "EKS", "ElasticLoadBalancingV2", "NAT", "OpenSearchService", "RDS", "SageMaker"}
    (alias,) = deployments["dev"].resources("AWS::Lambda::Alias")
    assert "ProvisionedConcurrencyConfig" not in alias.properties


def test_serving_costs_in_proportion() -> None:
    settings = DeploymentSettings()
    one, ten = (
        {line.what: line.usd for line in cost.serving(predictions, 1, settings)}
        for predictions in (1_000_000, 10_000_000)
    )
    assert ten["API"] == pytest.approx(10 * one["API"]) == pytest.approx(10.0)
    assert one["function, warm"] == pytest.approx(1e6 * 0.015 * 1769 / 1024 * 0.0000166667)


def test_arm_is_a_fifth_cheaper_to_compute_on() -> None:
    warm = [
        next(line.usd for line in cost.serving(1_000_000, 1, settings) if line.what == "function, warm")
        for settings in (DeploymentSettings(), DeploymentSettings(architecture="arm64"))
    ]
    assert warm[1] / warm[0] == pytest.approx(0.8, abs=0.001)


def test_the_total_is_the_sum_of_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(["--json"]) == 0
    for table in json.loads(capsys.readouterr().out)["tables"].values():
        assert table["usd"] == pytest.approx(sum(line["usd"] for line in table["lines"]), abs=1e-3)


def test_the_deployment_page_shows_what_the_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    from infra.layers import ROOT

    cost.main([])
    page = (ROOT / "docs" / "cost.md").read_text("utf-8")
    assert capsys.readouterr().out.strip() in page, "paste the output of `python -m infra.cost` into docs/cost.md"
