"""From a dataset to a served model through the deployed state machine, and every way it must not go wrong."""

import json
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest

from examples.flights.build_dataset import OUTCOME
from tests.flows.conftest import SHALLOW, House, alarmed_on, to_parquet, wait_until
from tidegate.domain.serving.contract import Contract
from tidegate.kernel.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RequestInvalidError,
    UnavailableError,
)
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import Table
from tidegate.messages import RunRef
from tidegate.ml.training import OnnxFitter
from tidegate.spec.model import ModelSpec
from tidegate.spec.training import Candidate

ALARMS = ("release-errors", "release-errors-2", "release-failed")


def artifact(house: House, key: str) -> bytes:
    bucket = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/artifacts-bucket")["Parameter"]["Value"]
    body: bytes = house.cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def test_a_first_model_is_trained_gated_registered_and_served_with_the_scores_of_scikit_learn(house: House) -> None:
    linear = {"estimator": "sklearn.linear_model.LogisticRegression", "parameters": {"C": 0.3}}
    run = house.release("first", candidates=[linear, *SHALLOW])
    assert run["status"] == "accepted", run
    assert run["version"] == 1
    assert [candidate["index"] for candidate in run["candidates"]] == [0, 1]
    for fact in ("dataset_version", "lock_hash", "code_version", "spec_digest", "started_at", "ended_at"):
        assert run[fact], f"the run does not say its {fact}"

    june = house.flights[house.flights["month"] == 6].sample(200, random_state=2)
    instances = house.instances(june, "first")
    answer = house.client.predict("first", instances[:100])
    rest = house.client.predict("first", instances[100:])
    assert (answer["model"], answer["version"], answer["reason"]) == ("first", 1, "champion")
    predictions = answer["predictions"] + rest["predictions"]
    ids = [prediction["id"] for prediction in predictions]
    assert len(set(ids)) == 200
    milliseconds = [prediction_id[:13] for prediction_id in ids]  # a UUIDv7 begins with its time
    assert milliseconds == sorted(milliseconds)

    # The same candidate, fitted here by scikit-learn on the very rows the run recorded.
    report = house.client.report("first", 1)
    spec = ModelSpec.parse(house.client.spec("first")["spec"])
    expected = sklearn_scores(house, run, spec, june)
    served = np.array([prediction["score"] for prediction in predictions])
    assert np.abs(served - expected).max() <= spec.gate.parity_tolerance
    assert report["evaluation"]["parity"]["max_difference"] <= spec.gate.parity_tolerance

    page = drawn(house, "first", 1)
    assert "<svg" in page
    assert f"{report['evaluation']['candidate']['value']:.2f}" in page
    again = house.client.reproduce("first", 1, "again")["run"]
    assert house.over("first", again["run_id"])["status"] == "reproduced"
    assert house.client.reproduction("first", again["run_id"])["reproduction"]["equal"]


def drawn(house: House, model: str, number: int) -> str:
    """The page of a version, which is drawn once it is registered."""
    pages: list[str] = []

    def found() -> bool:
        with suppress(NotFoundError):
            pages.append(house.client.page(model, number))
        return bool(pages)

    wait_until(found, 60)
    return pages[0]


def sklearn_scores(house: House, run: dict[str, Any], spec: ModelSpec, rows: pd.DataFrame) -> Any:
    ref = RunRef(model=run["model"], run_id=run["run_id"])
    contract = Contract.from_json(json.loads(artifact(house, ref.key(RunFile.PLAN)))["contract"])
    fit, validation = (
        Table.from_npz(artifact(house, key)) for key in (ref.key(RunFile.FIT), ref.key(RunFile.VALIDATION))
    )
    training = Table({name: np.concatenate([fit[name], validation[name]]) for name in fit})
    chosen = run["candidates"][run["selected"]]
    candidate = Candidate(estimator=chosen["estimator"], parameters=chosen["parameters"])
    columns = {feature.name: rows[feature.name].to_numpy(dtype=float) for feature in contract.numeric}
    columns |= {
        feature.name: rows[feature.name].astype(str).to_numpy(dtype=np.str_) for feature in contract.categorical
    }
    exported = OnnxFitter().export(spec, contract, candidate, training, [Table(columns)])
    return exported.reference_scores[0][:, contract.positive]


def test_the_report_keeps_every_number_and_where_it_came_from(house: House, served_model: str) -> None:
    report = house.client.report(served_model, 1)
    assert report["verdict"]["accepted"]
    assert {check["name"] for check in report["verdict"]["checks"]} >= {
        "enough_rows", "beats_baseline", "not_worse_than_champion", "parity", "latency_p99",
    }  # fmt: skip
    evaluation = report["evaluation"]
    assert evaluation["candidate"]["low"] < evaluation["candidate"]["value"] < evaluation["candidate"]["high"]
    assert evaluation["differences"]["baseline"]["low"] > 0
    lineage = report["lineage"]
    run = house.client.runs(served_model)[0]
    for fact in ("spec_digest", "dataset_version", "lock_hash", "code_version", "seed"):
        assert lineage[fact] == run[fact]


def test_a_worse_second_model_is_rejected_and_the_champion_serves_on(house: House) -> None:
    assert house.release("guarded")["status"] == "accepted"
    stump = [{"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 1}}]
    run = house.release("guarded", candidates=stump)
    assert run["status"] == "rejected", run
    versions = {version["number"]: version for version in house.client.versions("guarded")}
    assert versions[1]["status"] == "champion"
    assert versions[2]["status"] == "rejected"
    assert any("version 1" in reason for reason in versions[2]["reasons"]), versions[2]["reasons"]
    assert house.client.served("guarded")["version"] == 1
    assert [entry["action"] for entry in house.client.ledger("guarded")] == ["fallback", "promote"]


def test_a_better_second_model_replaces_the_first_and_the_ledger_says_so(house: House) -> None:
    assert house.release("growing")["status"] == "accepted"
    forest = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 60}}
    run = house.release("growing", candidates=[forest])
    assert run["status"] == "accepted", house.client.version("growing", run["version"])["reasons"]
    assert {v["number"]: v["status"] for v in house.client.versions("growing")} == {1: "retired", 2: "champion"}
    entries = house.client.ledger("growing")
    assert [(entry["version"], entry["previous_version"]) for entry in entries] == [(None, None), (1, None), (2, 1)]
    assert all(entry["actor"] and entry["reason"] for entry in entries)


def test_of_two_releases_of_a_model_at_once_one_has_to_wait(house: House) -> None:
    house.client.apply_model("contested", json.dumps(house.spec("contested")))
    begun: list[dict[str, Any]] = []
    refused: list[str] = []

    def start(token: str) -> None:
        try:
            begun.append(house.client.start_run("contested", token)["run"])
        except ConflictError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start, args=(token,)) for token in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (run,) = begun
    assert len(refused) == 2
    assert all(run["run_id"] in message for message in refused)
    run = house.over("contested", run["run_id"])
    assert run["status"] == "accepted"
    assert [each["status"] for each in house.client.versions("contested")] == ["champion"]
    assert [entry["version"] for entry in house.client.ledger("contested")] == [None, 1]
    assert len(house.client.runs("contested")) == 1


def test_the_same_spec_data_and_seed_give_the_same_artifact(house: House) -> None:
    house.release("repeated")
    house.release("repeated")
    first, second = sorted(house.client.versions("repeated"), key=lambda version: version["number"])
    assert first["artifact_sha256"] == second["artifact_sha256"]


def test_the_same_start_token_twice_runs_once(house: House) -> None:
    house.client.apply_model("tokened", json.dumps(house.spec("tokened")))
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(house.client.start_run("tokened", "nightly"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["run"]["run_id"] for answer in answers}) == 1
    run = house.over("tokened", answers[0]["run"]["run_id"])
    assert run["status"] == "accepted"
    assert house.client.start_run("tokened", "nightly")["run"]["run_id"] == run["run_id"]
    assert len(house.client.runs("tokened")) == 1
    assert len(house.client.versions("tokened")) == 1


def test_a_function_killed_in_the_middle_of_training_is_tried_again_and_leaves_one_whole_version(house: House) -> None:
    candidates = [{**SHALLOW[0], "parameters": {"max_depth": depth}} for depth in (4, 5)]
    house.client.apply_model("survivor", json.dumps(house.spec("survivor", candidates=candidates)))
    run = house.client.start_run("survivor")["run"]
    wait_until(lambda: house.client.run("survivor", run["run_id"])["stage"] == "train")
    house.cloud.kill("tidegate-dev-train")
    run = house.over("survivor", run["run_id"])
    assert run["status"] == "accepted", run
    assert [version["number"] for version in house.client.versions("survivor")] == [1]
    assert len(run["candidates"]) == 2
    assert any("signal: killed" in line for line in house.cloud.log_lines("/aws/lambda/tidegate-dev-train"))


def test_a_spec_that_names_a_column_known_only_afterwards_is_refused_at_once(house: House) -> None:
    document = house.spec("leaky")
    document["features"].append({"name": "dep_delay", "kind": "numeric"})
    with pytest.raises(RequestInvalidError) as caught:
        house.client.apply_model("leaky", json.dumps(document))
    assert any("dep_delay" in str(fault) for fault in caught.value.faults)


def test_a_leaking_column_that_nobody_declared_is_stopped_by_the_data_check(house: House) -> None:
    spring = house.flights[house.flights["month"] <= 5].sample(12_000, random_state=3)
    ready = house.register("undeclared", to_parquet(spring), outcome=[])
    assert ready["status"] == "ready"
    document = house.spec("hindsight", dataset="undeclared")
    document["features"].append({"name": "arr_delay", "kind": "numeric"})
    house.client.apply_model("hindsight", json.dumps(document))
    before = alarmed_on(house, *ALARMS)
    run = house.over("hindsight", house.client.start_run("hindsight")["run"]["run_id"])
    assert ended(house, run) == "SUCCEEDED"
    assert alarmed_on(house, *ALARMS) == before
    assert run["status"] == "failed"
    assert run["error"]["name"] == "DataCheckError"
    assert "arr_delay" in run["error"]["message"]
    assert house.client.versions("hindsight") == []


def test_a_candidate_that_cannot_be_fitted_ends_the_run_and_raises_no_alarm(house: House) -> None:
    before = alarmed_on(house, *ALARMS)
    boosted = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_bins": 1_000}}
    run = house.release("unfit", candidates=[*SHALLOW, boosted])
    assert ended(house, run) == "SUCCEEDED"
    assert alarmed_on(house, *ALARMS) == before
    assert (run["status"], run["error"]["name"]) == ("failed", "TrainingFailedError")
    assert "candidate 1" in run["error"]["message"]
    assert "max_bins" in run["error"]["message"]
    assert house.client.model("unfit")["under_way"]["lease"] is None


def test_a_fault_of_the_platform_fails_the_execution_and_is_what_the_alarms_count(house: House) -> None:
    before = alarmed_on(house, *ALARMS)
    with house.cloud.throttle("s3", {"PutObject"}, role="Prepare"):
        run = house.release("unlucky")
    assert ended(house, run) == "FAILED"
    assert (run["status"], run["error"]["name"]) == ("failed", "UnavailableError")
    after = alarmed_on(house, *ALARMS)
    grown = {name for name, count in after.items() if count > before[name]}
    assert grown == {"ExecutionsFailed", "Errors of tidegate-dev-prepare"}
    assert house.client.model("unlucky")["under_way"]["lease"] is None


def test_a_run_whose_start_was_lost_is_started_by_its_record(house: House) -> None:
    house.client.apply_model("orphan", json.dumps(house.spec("orphan")))
    with house.cloud.throttle("stepfunctions", {"StartExecution"}, role="Control") as refused:
        with suppress(UnavailableError):  # the same call repeated finds it started
            house.client.start_run("orphan", "lost")
        (run,) = house.client.runs("orphan")
        assert house.over("orphan", run["run_id"])["status"] == "accepted"
    assert refused.refused


def test_a_run_that_an_operator_ends_lets_the_next_one_start_and_raises_no_alarm(house: House) -> None:
    before = alarmed_on(house, *ALARMS)
    house.client.apply_model("unwanted", json.dumps(house.spec("unwanted")))
    run = house.client.start_run("unwanted")["run"]
    wait_until(lambda: house.client.run("unwanted", run["run_id"])["status"] == "running")
    with pytest.raises(ConflictError, match="has held the release"):
        house.client.start_run("unwanted")
    answer = house.client.end_rollout("unwanted", "the wrong spec")
    assert answer["run"] == {"run_id": run["run_id"], "status": "failed"}
    assert house.client.model("unwanted")["under_way"]["lease"] is None
    again = house.client.start_run("unwanted")["run"]
    assert house.over("unwanted", again["run_id"])["status"] == "accepted"
    assert ended(house, run) == "SUCCEEDED"
    found = house.client.run("unwanted", run["run_id"])
    assert (found["status"], found["error"]["name"]) == ("failed", "Ended")
    assert found["error"]["message"].endswith("ended it: the wrong spec")
    assert [version["number"] for version in house.client.versions("unwanted")] == [1]
    assert alarmed_on(house, *ALARMS) == before


def ended(house: House, run: dict[str, Any]) -> str:
    """How the run's execution ended, once it has."""
    describe = house.cloud.client("stepfunctions").describe_execution
    wait_until(lambda: describe(executionArn=run["execution"])["status"] != "RUNNING")
    return str(describe(executionArn=run["execution"])["status"])


def test_every_fault_of_the_data_is_named_at_once(house: House) -> None:
    document = house.spec("picky")
    features = {feature["name"]: feature for feature in document["features"]}
    features["distance"]["max"] = 100
    features["hour"]["max"] = 12
    features["temp"]["missing"] = "reject"
    document["features"].append({"name": "flight", "kind": "categorical"})
    house.client.apply_model("picky", json.dumps(document))
    run = house.over("picky", house.client.start_run("picky")["run"]["run_id"])
    assert run["status"] == "failed"
    for name in ("distance", "hour", "temp"):
        assert name in run["error"]["message"], run["error"]


def test_an_aborted_execution_closes_its_run(house: House) -> None:
    house.client.apply_model("aborted", json.dumps(house.spec("aborted")))
    run = house.client.start_run("aborted")["run"]
    wait_until(lambda: house.client.run("aborted", run["run_id"])["stage"] in {"prepare", "train"})
    execution = house.client.run("aborted", run["run_id"])["execution"]
    house.cloud.client("stepfunctions").stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    wait_until(lambda: house.client.run("aborted", run["run_id"])["status"] == "failed")
    assert house.client.run("aborted", run["run_id"])["ended_at"]
    assert house.client.versions("aborted") == []


def test_excluded_periods_are_left_out_and_recorded(house: House) -> None:
    spring = house.flights[house.flights["month"] <= 5].sample(12_000, random_state=4)
    assert house.register("with-strike", to_parquet(spring), outcome=list(OUTCOME))["status"] == "ready"
    before = house.release("striking", dataset="with-strike")
    house.client.exclude("with-strike", "2013-02-01", "2013-03-01", "strike of the ground crew")
    after = house.release("striking", dataset="with-strike")
    assert before["exclusions"] == []
    assert len(after["exclusions"]) == 1
    assert after["candidates"][0]["rows"] < before["candidates"][0]["rows"]


def test_adding_the_same_bytes_again_changes_nothing(house: House) -> None:
    content = to_parquet(house.flights.head(2_000))
    first = house.register("same", content)
    assert house.register("same", content)["version"] == first["version"]
    assert len(house.client.dataset_versions("same")) == 1


def test_a_file_that_is_no_table_is_refused_with_its_name(house: House) -> None:
    outcome = house.register("broken", b"\x00\x01 this is no table")
    assert outcome["status"] == "failed"
    assert "broken.parquet" in outcome["problem"]
    house.client.apply_model("unfounded", json.dumps(house.spec("unfounded", dataset="broken")))
    with pytest.raises(InvalidInputError):
        house.client.start_run("unfounded")
