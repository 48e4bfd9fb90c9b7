"""People at work on what is served, through the deployed API, with the rights that their roles give them."""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.flows.conftest import SHALLOW, House
from tests.flows.rollouts import BOOSTED
from tidegate.cli import exits
from tidegate.cli.client import Client, NotAllowedError
from tidegate.cli.main import main


@pytest.fixture(scope="module")
def model(house: House) -> str:
    """A model whose second version replaced its first."""
    for candidates in (SHALLOW, BOOSTED):
        assert house.release("operated", candidates=candidates)["status"] == "accepted"
    return "operated"


@pytest.fixture
def as_role(house: House) -> Callable[[str], dict[str, str]]:
    """Credentials of somebody who has the policy of a role and nothing else."""

    def credentials(role: str) -> dict[str, str]:
        name = f"a-{role}"
        try:
            return house.cloud.env(name)
        except KeyError:
            ssm = house.cloud.client("ssm")
            arn = ssm.get_parameter(Name=f"/tidegate/dev/{role}-policy")["Parameter"]["Value"]
            house.cloud.add_user(name, [arn])
            return house.cloud.env(name)

    return credentials


def client(house: House, name: str) -> Client:
    return Client.from_session(house.cloud.session(name), "dev", endpoint_url=house.cloud.endpoint_url)


def test_people_change_what_is_served_and_the_ledger_shows_it(
    house: House, model: str, as_role: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = as_role("operator")
    state = {"endpoint_url": house.cloud.endpoint_url, "region": keys["AWS_DEFAULT_REGION"], "stage": "dev"}
    file = tmp_path / "operator.json"
    file.write_text(json.dumps(state | {"credentials": {name: keys[name] for name in keys if "ACCESS_KEY" in name}}))

    def shown(*command: str) -> Any:
        capsys.readouterr()
        code = main(["--json", f"--local={file}", *command])
        answer = capsys.readouterr().out
        assert code == exits.OK, answer
        return json.loads(answer)

    assert shown("rollback", model, "--reason", "worse in May")["serves"] == [{"version": 1, "weight_bp": 10_000}]
    split = shown("split", model, "--to", "2", "--percent", "20", "--reason", "look again")
    assert split["serves"] == [{"version": 1, "weight_bp": 8_000}, {"version": 2, "weight_bp": 2_000}]
    assert shown("kill", model, "--reason", "weather feed is down")["serves"] == [
        {"version": None, "weight_bp": 10_000}
    ]
    assert shown("model", "show", model)["route"]["killed"]
    assert shown("resume", model, "--reason", "weather feed is back")["serves"] == [{"version": 1, "weight_bp": 10_000}]

    entries = shown("ledger", model)["entries"]
    actions = ["fallback", "promote", "promote", "rollback", "split", "kill", "resume"]
    assert [entry["action"] for entry in entries] == actions
    assert {entry["actor"].rsplit("/")[-1] for entry in entries[3:]} == {"a-operator"}
    during = shown("ledger", model, "--at", entries[4]["at"])["served"]
    assert [(each["version"], each["weight_bp"], each["by"]["reason"]) for each in during] == [
        (2, 2_000, "look again"),
        (1, 8_000, "worse in May"),
    ]
    proof = shown("ledger", "verify", model)
    assert (proof["intact"], proof["entries"], proof["head"]) == (True, 7, entries[-1]["hash"])
    assert {version["number"]: version["status"] for version in house.client.versions(model)} == {
        1: "champion",
        2: "retired",
    }


def test_a_role_may_do_its_job_and_learns_whose_job_the_rest_is(house: House, model: str, as_role: Any) -> None:
    for role in ("viewer", "scientist", "approver", "operator"):
        as_role(role)
        assert model in [each["name"] for each in client(house, f"a-{role}").models()]
        assert client(house, f"a-{role}").verify_ledger(model)["intact"]
    for role in ("viewer", "scientist", "approver"):
        with pytest.raises(NotAllowedError, match="needs the role operator"):
            client(house, f"a-{role}").kill(model, "not my job")
    for role in ("viewer", "approver", "operator"):
        with pytest.raises(NotAllowedError, match="needs the role scientist"):
            client(house, f"a-{role}").start_run(model)
    with pytest.raises(NotAllowedError, match="needs the role scientist or operator"):
        client(house, "a-viewer").predict(model, [{}])
    run = client(house, "a-scientist").start_run(model)["run"]
    assert house.over(model, run["run_id"])["status"] in {"accepted", "rejected"}


def as_function(house: House, function: str) -> Any:
    """A client of DynamoDB with the rights of a function, and no others."""
    iam = house.cloud._clients.root("iam")
    role = next(
        role["RoleName"]
        for page in iam.get_paginator("list_roles").paginate()
        for role in page["Roles"]
        if role.get("Description") == f"What the function tidegate-dev-{function} may do"
    )
    document = iam.get_role_policy(RoleName=role, PolicyName="Permissions")["PolicyDocument"]
    house.cloud.add_user(f"as-{function}", ast.literal_eval(document))  # moto gives the document as Python writes it
    return house.cloud.client("dynamodb", f"as-{function}")


@pytest.mark.parametrize("function", ["control", "register", "rollout", "close_failed"])
def test_no_function_may_rewrite_the_ledger(house: House, model: str, function: str) -> None:
    table = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/ledger-table")["Parameter"]["Value"]
    dynamodb = as_function(house, function)
    key = {"pk": {"S": f"LEDGER#{model}"}, "sk": {"S": "0000000001"}}
    reason = {
        "Key": key,
        "UpdateExpression": "SET reason = :r",
        "ExpressionAttributeValues": {":r": {"S": "nothing to see"}},
    }
    before = dynamodb.get_item(TableName=table, Key=key)["Item"]
    for forbidden in (
        lambda: dynamodb.update_item(TableName=table, **reason),
        lambda: dynamodb.transact_write_items(TransactItems=[{"Update": {"TableName": table, **reason}}]),
        lambda: dynamodb.delete_item(TableName=table, Key=key),
        lambda: dynamodb.batch_write_item(RequestItems={table: [{"DeleteRequest": {"Key": key}}]}),
    ):
        with pytest.raises(ClientError) as caught:
            forbidden()
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert dynamodb.get_item(TableName=table, Key=key)["Item"] == before
    dynamodb.put_item(TableName=table, Item=before)  # a put is allowed; a new entry of nobody would hold up messages


@pytest.mark.parametrize("function", ["train", "evaluate", "gate", "monitor", "retrain"])
def test_a_function_that_releases_nothing_may_not_write_what_is_served(house: House, model: str, function: str) -> None:
    """As it did: a route item by the role of `train` changed answers, and no entry said so."""
    dynamodb = as_function(house, function)
    names = ("registry-table", "ledger-table")
    registry, ledger = (
        house.cloud.client("ssm").get_parameter(Name=f"/tidegate/dev/{name}")["Parameter"]["Value"] for name in names
    )
    key = {"pk": {"S": f"ROUTE#{model}"}, "sk": {"S": "ROUTE"}}
    route = dynamodb.get_item(TableName=registry, Key=key)["Item"]
    entry = {"pk": {"S": f"LEDGER#{model}"}, "sk": {"S": "0000000009"}}
    for forbidden in (
        lambda: dynamodb.put_item(TableName=registry, Item=route),
        lambda: dynamodb.put_item(TableName=registry, Item=route | {"pk": {"S": f"ROLLOUT#{model}"}}),
        lambda: dynamodb.put_item(TableName=registry, Item=route | {"pk": {"S": f"VERSION#{model}"}}),
        lambda: dynamodb.put_item(TableName=ledger, Item=entry),
        lambda: dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": registry, "Item": route}}]),
    ):
        with pytest.raises(ClientError) as caught:
            forbidden()
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
