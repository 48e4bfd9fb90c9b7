"""People at work on what is served, through the deployed API, with the rights that their roles give them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
