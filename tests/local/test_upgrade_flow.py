"""A stage with the templates of the last release, data in it and people asking, gets today's templates.

The code of functions and layers is today's before and after, since no release's code is kept: what differs are the
templates. Documents of older schemas are read in tests/unit, from tests/documents.

Here and not among the flows, since it needs a local cloud of its own: a process has only one at a time.
"""

import copy
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from examples.flights.build_dataset import OUTCOME, flights
from infra.app import build as synthesize
from infra.local.assembly import read_assembly
from infra.local.change_sets import Action, ChangeSet, UpdateRefusedError, change_sets
from infra.local.cloud import LocalCloud
from infra.settings import DeploymentSettings
from scripts.freeze_templates import FOLDER, ROOT, current_version, unpack
from tests.flows.conftest import SAMPLE_ROWS, House, to_parquet
from tidegate.cli.client import Client

MODEL = "kept"
HOLDS = {
    "AWS::ApiGatewayV2::Api",  # its address
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::KinesisFirehose::DeliveryStream",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",  # its subscriptions
    "AWS::SQS::Queue",
    "AWS::SSM::Parameter",
    "AWS::StepFunctions::StateMachine",  # its executions
}


def released(changelog: str) -> list[str]:
    """The versions of a changelog, newest first."""
    return re.findall(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)


def not_frozen(version: str, versions: list[str], frozen: Iterable[str]) -> list[str]:
    """The release before a version, if its templates ought to be there and are not; from 0.2.0 on they ought to."""
    before = versions[versions.index(version) + 1 :][:1]
    return [each for each in before if _number(each) >= (0, 2, 0) and each not in set(frozen)]


def lost(changes: Iterable[ChangeSet]) -> list[str]:
    """What holds something and would not be the same afterwards."""
    return [
        f"{each.stack}: {change}"
        for each in changes
        for change in each.of(Action.REPLACE, Action.REMOVE)
        if change.type in HOLDS
    ]


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def frozen_versions() -> list[str]:
    return sorted((file.name.removesuffix(".json.gz") for file in FOLDER.glob("*.json.gz")), key=_number)


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DeploymentSettings(owner="tests", business_unit="quality")
    return synthesize(settings, outdir=tmp_path_factory.mktemp("today") / "cdk.out", layers_target="local")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest templates that are frozen and not of the version that is being made, if others are there."""
    versions = frozen_versions()
    older = [version for version in versions if version != current_version()] or versions
    return unpack(older[-1], tmp_path_factory.mktemp("released"))


def templates(assembly: Path) -> dict[str, Any]:
    read = read_assembly(assembly, account=LocalCloud.account, region=LocalCloud.region)
    return {stack.name: copy.deepcopy(dict(stack.template)) for stack in read.stacks}


@dataclass
class Upgrade:
    """What was there before, what was answered meanwhile, and what is there now."""

    house: House
    changes: tuple[ChangeSet, ...]
    held: dict[str, Any]
    statuses: list[int] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


def held(cloud: LocalCloud) -> dict[str, Any]:
    """Everything in tables and buckets, and the physical ids of what holds something."""
    dynamodb, s3 = cloud.client("dynamodb"), cloud.client("s3")
    found: dict[str, Any] = {}
    for stack in cloud.client("cloudformation").describe_stacks()["Stacks"]:
        described = cloud.client("cloudformation").describe_stack_resources(StackName=stack["StackName"])
        for each in described["StackResources"]:
            if each["ResourceType"] in HOLDS:
                found[f"{stack['StackName']}/{each['LogicalResourceId']}"] = each["PhysicalResourceId"]
    for table in dynamodb.list_tables()["TableNames"]:
        for item in dynamodb.scan(TableName=table)["Items"]:
            found[f"{table}/{item['pk']['S']}/{item['sk']['S']}"] = item
    for bucket in s3.list_buckets()["Buckets"]:
        if not bucket["Name"].startswith("cdk-"):
            for each in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                found[f"{bucket['Name']}/{each['Key']}"] = each["ETag"]
    return found


@pytest.fixture(scope="module")
def upgrade(before: Path, today: Path) -> Iterator[Upgrade]:
    runtime = ROOT / ".build" / "layers" / "local" / "runtime"
    with LocalCloud.start(before, runtime_dir=runtime, tick=False) as cloud:
        house = House(cloud, Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url), flights())
        spring = house.flights[house.flights["month"] <= 5].sample(SAMPLE_ROWS, random_state=1)
        data = to_parquet(spring.sort_values("scheduled"))
        assert house.register("flights-sample", data, outcome=list(OUTCOME))["status"] == "ready"
        assert house.release(MODEL)["status"] == "accepted"
        body = json.dumps({"instances": house.instances(house.flights.head(1), MODEL)}).encode()
        made = Upgrade(house, (), {})
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                answer = house.asked(f"/models/{MODEL}/predict", body)
                made.statuses.append(answer.status)
                made.versions.add(str(json.loads(answer.data).get("version")))

        assert house.asked(f"/models/{MODEL}/predict", body).status == 200
        assert cloud.settle()
        made.held = held(cloud)
        asking = threading.Thread(target=ask)
        asking.start()
        try:
            made.changes = cloud.update(today)
            answered = len(made.statuses)
            while len(made.statuses) < answered + 20 and asking.is_alive():
                done.wait(0.05)
        finally:
            done.set()
            asking.join()
        assert cloud.settle()
        yield made


def test_every_function_is_updated_and_nothing_that_holds_data_is_replaced(upgrade: Upgrade) -> None:
    done = Counter((change.action, change.type) for each in upgrade.changes for change in each.changes)
    assert done[Action.MODIFY, "AWS::Lambda::Function"] > 15
    assert done[Action.REPLACE, "AWS::Lambda::LayerVersion"] > 10
    assert done[Action.ADD, "AWS::Lambda::Version"] == done[Action.REMOVE, "AWS::Lambda::Version"] == 1
    assert lost(upgrade.changes) == []


def test_what_was_there_is_there(upgrade: Upgrade) -> None:
    now = held(upgrade.house.cloud)
    assert len(upgrade.held) > 60
    assert {key: now.get(key) for key in upgrade.held} == upgrade.held


def test_models_serve_throughout(upgrade: Upgrade) -> None:
    assert len(upgrade.statuses) > 20
    assert set(upgrade.statuses) == {200}
    assert len(upgrade.versions) == 1


def test_the_deployed_code_reads_what_was_written_before(upgrade: Upgrade) -> None:
    client, cloud = upgrade.house.client, upgrade.house.cloud
    alias = cloud.client("lambda").get_alias(FunctionName="tidegate-dev-inference", Name="live")
    assert alias["FunctionVersion"] == "2"
    verified = client.verify_ledger(MODEL)
    assert verified["intact"]
    assert verified["entries"] == len(client.ledger(MODEL)) > 0
    (version,) = client.versions(MODEL)
    assert client.version(MODEL, 1)["run_id"] == version["run_id"] == client.runs(MODEL)[0]["run_id"]
    assert client.report(MODEL, 1)
    assert client.spec(MODEL)["spec"]["name"] == MODEL
    assert [each["status"] for each in client.dataset_versions("flights-sample")] == ["ready"]
    hours = sorted({key.rpartition("hour=")[2].partition("/")[0] for key in upgrade.held if "hour=" in key})
    assert client.captures(MODEL, hours[0], 10)


def test_a_model_is_released_on_the_upgraded_stage(upgrade: Upgrade) -> None:
    assert upgrade.house.release("new")["status"] == "accepted"


def test_no_update_is_left_to_do(upgrade: Upgrade, today: Path) -> None:
    assert [each.changes for each in upgrade.house.cloud.change_sets(today)] == [()] * len(upgrade.changes)


# --- templates alone --------------------------------------------------------------------------------------------------


def renamed(template: Any, logical_id: str) -> Any:
    return json.loads(json.dumps(template).replace(f'"{logical_id}"', '"Renamed"'))


def test_a_renamed_table_is_refused_while_other_stacks_import_it(before: Path, today: Path) -> None:
    deployed = templates(before)
    deployed["Tidegate-dev-Data"] = renamed(deployed["Tidegate-dev-Data"], "LedgerB7379752")
    with pytest.raises(UpdateRefusedError, match=r"Cannot update export Tidegate-dev-Data:\S+Ledger\S+ as it is in us"):
        change_sets(templates(today), deployed)


def test_a_renamed_table_is_reported_where_nothing_imports_it(before: Path, today: Path) -> None:
    name = "Tidegate-dev-Data"
    deployed = {name: renamed(templates(before)[name], "LedgerB7379752")}
    (reported,) = lost(change_sets({name: templates(today)[name]}, deployed))
    assert re.fullmatch(r"Tidegate-dev-Data: remove  Renamed \(AWS::DynamoDB::Table\); it is deleted", reported)


def test_the_release_before_this_one_is_frozen() -> None:
    versions = released((ROOT / "CHANGELOG.md").read_text("utf-8"))
    missing = not_frozen(current_version(), versions, frozen_versions())
    assert not missing, f"{missing[0]} has no templates: check it out and run python -m scripts.freeze_templates"


def test_a_release_that_was_not_frozen_is_named() -> None:
    versions = released("# Changelog\n\n## 0.4.0\n\n## 0.3.0 - 2027-01-01\n\n## 0.2.0\n\n## 0.1.0\n")
    assert not_frozen("0.4.0", versions, ["0.2.0"]) == ["0.3.0"]
    assert not_frozen("0.3.0", versions, ["0.2.0"]) == []
    assert not_frozen("0.2.0", versions, []) == []
