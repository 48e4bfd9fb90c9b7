"""Why an answer came out as it did: through the control API, with a real ONNX model, and by the command."""

import json
import math
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.builders import control_api
from tests.builders.approvals import CY, waiting
from tests.builders.approvals import answer as decide
from tests.builders.command_line import Cli
from tests.builders.control_api import Answer, World
from tests.builders.loopback import CONTRACT, Loopback, artifact
from tests.builders.registry import a_version
from tests.builders.reports import ANA, report_document
from tests.builders.specs import spec_text
from tidegate.cli import exits
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.monitoring.reference import Reference, profiled
from tidegate.domain.registry.route import FallbackRef
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.capture import Capture, CapturePolicy
from tidegate.domain.serving.contract import Contract, OutputRule
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.serving.prediction import answers, validate
from tidegate.kernel.ids import uuid7
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.roles import Role
from tidegate.kernel.routes import CONTROL
from tidegate.kernel.table import TARGET, Table
from tidegate.messages import RunRef
from tidegate.ml.scoring import load
from tidegate.testing.models import linear_onnx

MODEL = "flight-delay"
ROWS = 40
INSTANCE: dict[str, Any] = {"carrier": "UA", "hour": 19, "distance": 900.0}
PERIODS = {
    "fit": ["2013-01-01T05:00:00", "2013-03-31T22:00:00"],
    "validation": ["2013-04-01T05:00:00", "2013-04-30T22:00:00"],
    "holdout": ["2013-05-01T05:00:00", "2013-05-31T22:00:00"],
}


def training_rows() -> Table:
    chance = np.random.default_rng(0)
    return Table(
        {
            "carrier": chance.choice(["UA", "DL"], ROWS),
            "hour": chance.integers(5, 22, ROWS).astype(np.float64),
            "distance": chance.normal(800, 200, ROWS),
            TARGET: chance.integers(0, 2, ROWS),
        }
    )


class Reported:
    """A world whose version 1 serves, with all that evaluation leaves behind; its captures are asked about."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        world: World,
        *,
        contract: Contract = CONTRACT,
        background: tuple[str, ...] = ("carrier", "hour", "distance"),
    ) -> None:
        self.world = world
        self.contract = contract
        self.parity: dict[str, float] = {}
        self._patch, self._background = monkeypatch, background

    def release(self, *, exclude: bool = False, **background: list[float]) -> str:
        """Train and promote; returns the run. Columns given are what is kept of the training rows."""
        world = self.world
        if exclude:
            period = {"from": "2013-02-08", "to": "2013-02-10", "reason": "Nemo closed the airports"}
            assert world.call("POST", "/datasets/flights/exclusions", period).status == 201
        run_id = str(world.call("POST", f"/models/{MODEL}/runs").body["run"]["run_id"])
        self.evaluated(run_id, background)
        excluded = [each.exclusion_id for each in world.catalog.exclusions("flights")]
        at = world.clock.now()
        world.registry.note(MODEL, run_id, "prepare", at, exclusions=tuple(excluded))
        world.run_to_the_end(run_id)
        return run_id

    def evaluated(self, run_id: str, columns: dict[str, list[float]]) -> None:
        """What `evaluate` and `gate` keep of a run."""
        table, ref = training_rows(), RunRef(model=MODEL, run_id=run_id)
        shown = Table(
            dict(table.select(self._background).columns) | {name: np.array(columns[name]) for name in columns}
        )
        scores = load(self.world.artifact).score(self.contract.inputs(table))
        layout, profile = profiled(self.contract, table, scores, ())
        reference = Reference(
            layout, profile, {}, "roc_auc", Estimate(0.75, 0.74, 0.76), None, "binary", (False, True), 1, 0.5,
            background=ref.key(RunFile.BACKGROUND),
            background_sha256=self.world.artifacts.put(ref.key(RunFile.BACKGROUND), shown.to_npz()),
        )  # fmt: skip
        document = json.dumps(reference.to_json()).encode()
        pinned = self.world.artifacts.put(ref.key(RunFile.REFERENCE), document)

        def report(*, accepted: bool = True) -> dict[str, Any]:
            found = report_document(accepted=accepted)
            found["evaluation"]["sections"] = {"reference": {"sha256": pinned}}
            found["evaluation"]["parity"] |= self.parity
            found["lineage"] |= {"periods": PERIODS, "left_out": {"excluded_period": 12}}
            return found

        self._patch.setattr(control_api, "report_document", report)

    def captured(self, instance: dict[str, Any] = INSTANCE, **changes: Any) -> str:
        """A capture of what version 1 says to an instance; returns the prediction's id."""
        at = self.world.clock.now()
        prediction_id = uuid7(at, bytes([len(self.world.captures.offered)] * 8))
        sent = {feature.name: instance.get(feature.name) for feature in self.contract.features}
        (answer,) = answers(self.contract, load(self.world.artifact).score(validate(self.contract, [sent])))
        route = self.world.registry.route(MODEL)
        made = Capture(
            model=MODEL,
            version=1,
            arm="champion",
            reason="champion",
            route=route.revision if route else 0,
            at=at,
            latency_ms=3.25,
            cold=False,
            request_id="request-1",
            instances=[instance],
            predictions=[{"id": prediction_id, **answer, **changes.pop("answer", {})}],
        )
        self.world.captures.offer(replace(made, **changes))
        return prediction_id

    def ask(self, prediction_id: str, model: str = MODEL) -> Answer:
        return self.world.call("GET", f"/predictions/{model}/{prediction_id}")

    def explained(self, prediction_id: str) -> dict[str, Any]:
        answer = self.ask(prediction_id)
        assert answer.status == 200, answer.body
        return answer.body


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Reported:
    world = World(artifact=artifact())
    world.with_model()
    return Reported(monkeypatch, world)


def values(found: dict[str, Any]) -> dict[str, float]:
    return {each["name"]: each["value"] for each in found["contributions"]["features"]}


# The whole


def test_an_answer_is_reported_with_all_that_led_to_it(noted: Reported) -> None:
    run_id = noted.release(exclude=True)
    noted.world.clock.move(minutes=5)
    prediction_id = noted.captured()
    found = noted.explained(prediction_id)
    assert found["id"] == prediction_id
    assert found["model"] == {
        "name": MODEL, "owner": "ops@example.com", "business_unit": "operations", "task": "binary"
    }  # fmt: skip
    assert found["answer"]["by"] == "version"
    assert found["answer"]["because"] == "version 1 was the champion"
    assert (found["answer"]["label"], found["threshold"]) == (True, 0.5)
    assert [(each["name"], each["value"], each["hidden"]) for each in found["inputs"]] == [
        ("carrier", "UA", False), ("hour", 19, False), ("distance", 900.0, False)
    ]  # fmt: skip
    assert (found["version"]["number"], found["version"]["run_id"]) == (1, run_id)
    assert found["training"]["period"] == ["2013-01-01T05:00:00", "2013-04-30T22:00:00"]
    assert (found["training"]["rows"], found["training"]["left_out"]) == (107000, {"excluded_period": 12})
    (exclusion,) = found["training"]["exclusions"]
    assert (exclusion["reason"], exclusion["start"][:10]) == ("Nemo closed the airports", "2013-02-08")
    assert [check["outcome"] for check in found["gate"]["checks"]] == ["pass", "pass", "not_applicable"]
    people = found["people"]
    assert people["requested_by"] == people["spec_by"] == ANA
    assert (people["approved_by"], people["needs_approval"]) == (None, False)
    assert people["promoted_at"] == "2026-01-05T12:00:00+00:00"
    assert found["capture"]["request_id"] == "request-1"
    assert (found["outcome"], found["why_not"]) == (None, "")


def test_the_same_score_comes_out_again_and_the_contributions_add_up_to_it(noted: Reported) -> None:
    noted.release()
    found = noted.explained(noted.captured())
    again, parts = found["again"], found["contributions"]
    assert (again["same"], again["difference"], again["label"]) == (True, 0.0, True)
    assert (parts["of"], parts["class"], parts["background_rows"]) == ("probability", True, ROWS)
    assert parts["score"] == found["answer"]["score"]
    assert parts["base"] + sum(values(found).values()) == pytest.approx(parts["score"], abs=1e-6)
    assert abs(parts["rest"]) < 1e-6
    table = training_rows()
    scores = load(noted.world.artifact).score(CONTRACT.inputs(table))[:, 1]
    assert parts["base"] == pytest.approx(float(scores.mean()), abs=1e-6)
    sizes = [abs(each["value"]) for each in parts["features"]]
    assert sizes == sorted(sizes, reverse=True)
    assert values(found)["hour"] > 0
    assert all(each["low"] <= each["value"] <= each["high"] for each in parts["features"])


def test_the_same_prediction_is_explained_the_same_way_each_time(noted: Reported) -> None:
    noted.release()
    prediction_id = noted.captured()
    assert noted.explained(prediction_id) == noted.explained(prediction_id.upper())


def test_fields_that_other_versions_know_are_reported_and_not_used(noted: Reported) -> None:
    noted.release()
    found = noted.explained(noted.captured(INSTANCE | {"gate": "B12"}))
    assert [each["name"] for each in found["inputs"] if not each["used"]] == ["gate"]
    assert found["again"]["same"]


def test_an_answer_that_is_not_what_the_version_says_is_reported(noted: Reported) -> None:
    noted.release()
    found = noted.explained(noted.captured(answer={"score": 0.1}))
    assert found["again"]["same"] is False
    assert found["again"]["difference"] == pytest.approx(found["again"]["score"] - 0.1)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
def test_whether_the_same_value_comes_out_again_depends_on_no_unit(
    monkeypatch: pytest.MonkeyPatch, unit: float
) -> None:
    contract = replace(CONTRACT, task="regression", classes=())
    world = World(artifact=linear_onnx(contract, [2.0 * unit, 0.01 * unit], effects={"UA": 5.0 * unit}))
    world.with_model()
    noted = Reported(monkeypatch, world, contract=contract)
    noted.parity = {"spread": 20 * unit}
    noted.release()
    exact = noted.explained(noted.captured())["again"]
    for apart, same in ((1e-7, True), (1e-4, False)):
        again = noted.explained(noted.captured(answer={"score": exact["score"] + 20 * unit * apart}))["again"]
        assert again["same"] is same
    assert exact["same"]


def test_a_regression_is_explained_in_its_own_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = replace(CONTRACT, task="regression", classes=())
    world = World(artifact=linear_onnx(contract, [2.0, 0.01], effects={"UA": 5.0}))
    world.with_model()
    noted = Reported(monkeypatch, world, contract=contract)
    noted.release()
    found = noted.explained(noted.captured(INSTANCE | {"distance": 500.0}))
    assert (found["contributions"]["of"], found["contributions"]["class"]) == ("value", None)
    table = training_rows()
    assert values(found)["hour"] == pytest.approx(2 * (19 - table["hour"].mean()), rel=1e-4)
    assert values(found)["carrier"] == pytest.approx(5 * (table["carrier"] != "UA").mean(), rel=1e-4)
    assert found["threshold"] is None


def test_the_approver_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Reported(monkeypatch, World(artifact=artifact()))
    run_id = waiting(noted.world)
    decide(noted.world)
    noted.world.advance(run_id)
    found = noted.explained(noted.captured(version=2, arm="candidate", reason="candidate"))
    people = found["people"]
    assert (people["approved_by"], people["approved_because"]) == (CY, "better on every airport")
    assert people["approved_at"] == noted.world.clock.now().isoformat()
    assert "token" not in json.dumps(found)
    assert "fell into its share" in found["answer"]["because"]


def test_an_outcome_that_was_reported_is_shown(noted: Reported) -> None:
    noted.release()
    prediction_id = noted.captured()
    hours, ((_, record),) = noted.world.hours, noted.world.captures.walk(MODEL, "2026-01-05-12")
    hours.capture([record])
    at = "2026-01-06T00:00:00Z"
    hours.report(MODEL, record["hour"], [{"id": prediction_id, "time": at, "reported": at, "outcome": False}])
    assert noted.explained(prediction_id)["outcome"] is False


# What cannot be explained


@pytest.mark.parametrize(
    ("policy", "spec", "hidden"),
    [
        (CapturePolicy(mask=frozenset({"carrier"})), {}, ["carrier"]),
        (CapturePolicy(drop=frozenset({"hour"})), {"capture": {"drop": ["hour"]}}, ["hour"]),
        (CapturePolicy(hide_all=True), {}, ["carrier", "hour", "distance"]),
    ],
)
def test_with_hidden_inputs_everything_but_contributions_is_reported(
    noted: Reported, policy: CapturePolicy, spec: dict[str, Any], hidden: list[str]
) -> None:
    assert noted.world.call("PUT", f"/models/{MODEL}", spec_text(**spec)).status == 200
    noted.release()
    noted.world.captures._policy = policy
    found = noted.explained(noted.captured())
    assert found["contributions"] is found["again"] is None
    assert all(name in found["why_not"] for name in hidden)
    assert [each["name"] for each in found["inputs"] if each["hidden"]] == hidden
    assert found["gate"]["accepted"]


def test_a_missing_value_of_a_masked_input_hides_nothing_and_a_model_that_gives_no_number_is_reported(
    noted: Reported,
) -> None:
    noted.release()
    noted.world.captures._policy = CapturePolicy(mask=frozenset({"distance"}))
    found = noted.explained(noted.captured(INSTANCE, instances=[{"carrier": "UA", "hour": 19}]))
    assert [each["hidden"] for each in found["inputs"]] == [False] * 3
    assert (found["again"], found["contributions"]) == (None, None)
    assert "not a finite number" in found["why_not"]


def test_training_rows_that_the_model_gives_no_number_for_are_no_measure(noted: Reported) -> None:
    noted.release(distance=[math.nan] * ROWS)
    found = noted.explained(noted.captured())
    assert found["again"]["same"]
    assert "not give a finite number" in found["why_not"]


def test_a_background_without_an_input_gives_no_contributions(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(artifact=artifact())
    world.with_model()
    noted = Reported(monkeypatch, world, background=("hour", "distance"))
    noted.release()
    found = noted.explained(noted.captured())
    assert found["again"]["same"]
    assert found["contributions"] is None
    assert "lack carrier" in found["why_not"]


@pytest.mark.parametrize(
    ("name", "why_not", "again"),
    [("model.onnx", "SHA-256", False), ("report.json", "its report", True), ("background.npz", "SHA-256", True)],
)
def test_objects_that_somebody_changed_are_not_used(noted: Reported, name: str, why_not: str, *, again: bool) -> None:
    run_id = noted.release()
    noted.world.artifacts.put(RunRef(model=MODEL, run_id=run_id).key(RunFile(name)), b"{}")
    found = noted.explained(noted.captured())
    assert (found["again"] is not None, found["contributions"]) == (again, None)
    assert why_not in found["why_not"]
    assert (found["gate"] is None) is (name == "report.json")
    assert found["version"]["number"] == 1


def test_a_version_without_a_reference_has_no_contributions(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Reported(monkeypatch, World(artifact=artifact()))
    noted.world.with_model()
    noted.world.run_to_the_end(str(noted.world.call("POST", f"/models/{MODEL}/runs").body["run"]["run_id"]))
    found = noted.explained(noted.captured())
    assert (found["again"]["same"], found["contributions"]) == (True, None)
    assert "reference.json" in found["why_not"]


def test_of_a_slow_model_fewer_rows_are_scored(noted: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    noted.release()
    prediction_id = noted.captured()
    many = noted.explained(prediction_id)["contributions"]
    monkeypatch.setattr("tidegate.steps.evaluation.explain.SCORING_MS", 1.2)  # a row takes 0.012 ms
    few = noted.explained(prediction_id)["contributions"]
    assert few["scored_rows"] <= 100 < many["scored_rows"] <= 40_000
    assert few["features"][0]["error"] > many["features"][0]["error"]


# Answers of the fallback


@pytest.fixture
def with_fallback(noted: Reported, monkeypatch: pytest.MonkeyPatch) -> Reported:
    """Version 1 came with a fallback that says 0.2 to everything."""
    rule = Fallback(noted.contract, FittedRule("prior", (0.8, 0.2)))
    sha256 = noted.world.artifacts.put("runs/flight-delay/run/fallback.json", rule.to_bytes())
    ref = FallbackRef("runs/flight-delay/run/fallback.json", sha256, "run")
    monkeypatch.setattr(control_api, "a_version", partial(a_version, fallback=ref))
    return noted


def test_an_answer_of_the_fallback_names_its_rule_and_why_it_answered(with_fallback: Reported) -> None:
    noted = with_fallback
    noted.release()
    answer = {"label": False, "score": 0.2, "probabilities": {"false": 0.8, "true": 0.2}}
    prediction_id = noted.captured(version=None, arm="fallback", reason="fallback:scoring_failed", answer=answer)
    found = noted.explained(prediction_id)
    assert (found["answer"]["by"], found["answer"]["rule"]) == ("fallback", "prior")
    assert "could not score" in found["answer"]["because"]
    assert found["again"]["same"]
    assert found["version"] is found["contributions"] is found["gate"] is None
    assert "a rule has no contributions" in found["why_not"]


def test_the_fallback_is_that_of_the_route_at_the_time(
    with_fallback: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = with_fallback
    noted.release()
    answered: dict[str, Any] = {
        "version": None,
        "arm": "fallback",
        "reason": "fallback:timed_out",
        "answer": {"score": 0.2},
    }
    before = noted.captured(**answered)
    newer = Fallback(noted.contract, FittedRule("constant", (0.4, 0.6)))
    sha256 = noted.world.artifacts.put("runs/flight-delay/newer/fallback.json", newer.to_bytes())
    ref = FallbackRef("runs/flight-delay/newer/fallback.json", sha256, "newer")
    monkeypatch.setattr(control_api, "a_version", partial(a_version, fallback=ref))
    noted.release()
    after = noted.captured(**answered)
    assert noted.explained(before)["answer"]["rule"] == "prior"
    found = noted.explained(after)
    assert (found["answer"]["rule"], found["again"]["same"]) == ("constant", False)


def test_of_an_answer_that_broke_a_rule_the_version_s_own_score_is_explained(
    with_fallback: Reported,
) -> None:
    noted = with_fallback
    noted.contract = replace(CONTRACT, rules=(OutputRule("not-sure", "score < 0.5"),))
    noted.world.artifact = linear_onnx(noted.contract, [0.1, 0.001], effects={"UA": 0.5, "DL": -0.5}, bias=-2.0)
    noted.release()
    prediction_id = noted.captured(
        reason="champion:rule_violated", violations=[["not-sure"]], answer={"label": False, "score": 0.2}
    )
    found = noted.explained(prediction_id)
    assert (found["answer"]["by"], found["answer"]["rule"], found["version"]["number"]) == ("fallback", "prior", 1)
    assert "broke a business rule (not-sure)" in found["answer"]["because"]
    assert (found["again"]["difference"], found["again"]["same"]) == (None, None)
    assert found["contributions"]["score"] == found["again"]["score"] > 0.5
    other = noted.explained(noted.captured(reason="champion:rule_violated", violations=[[]]))
    assert (other["answer"]["by"], other["answer"]["because"]) == ("version", "version 1 was the champion")


def test_an_unusual_input_that_the_guard_gave_to_the_fallback_is_reported_as_such(with_fallback: Reported) -> None:
    noted = with_fallback
    noted.release()
    marks = {"unusual": True, "fallback": True}
    found = noted.explained(noted.captured(reason="champion", answer={"label": False, "score": 0.2, **marks}))
    assert (found["answer"]["by"], found["answer"]["rule"], found["version"]["number"]) == ("fallback", "prior", 1)
    assert found["answer"]["because"] == (
        "version 1 was the champion, but the input is unlike the training rows, so the fallback answered"
    )
    assert (found["again"]["difference"], found["again"]["same"]) == (None, None)


def test_a_request_that_nobody_answered_is_reported_as_such(noted: Reported) -> None:
    noted.release()
    nothing = {"label": None, "score": None, "probabilities": None}
    found = noted.explained(
        noted.captured(version=None, arm="fallback", reason="unanswered:not_loadable", answer=nothing)
    )
    assert (found["answer"]["by"], found["again"], found["contributions"]) == ("nobody", None, None)
    assert "neither a version nor the fallback could answer" in found["answer"]["because"]


# Finding it


def test_an_id_that_was_not_captured_says_what_was_searched_and_what_to_do(noted: Reported) -> None:
    answer = noted.ask(uuid7(noted.world.clock.now(), bytes(8)))
    assert answer.status == 404
    assert "searched flight-delay, hours 2026-01-05-11 to 2026-01-05-13" in answer.body["detail"]
    assert all(word in answer.body["next_step"] for word in ("minutes", "capture.sample", "capture_retention_days"))


def test_the_prediction_of_another_model_is_not_shown(noted: Reported) -> None:
    noted.release()
    prediction_id = noted.captured()
    assert noted.ask(prediction_id).status == 200
    assert noted.world.call("PUT", "/models/other", spec_text(name="other")).status == 200
    answer = noted.ask(prediction_id, "other")
    assert (answer.status, "searched other," in answer.body["detail"]) == (404, True)
    assert noted.ask(prediction_id, "nobody").status == 404


@pytest.mark.parametrize(
    "wrong", ["x", "5f0c1d2e-7b1a-4c3d-8e9f-0a1b2c3d4e5f", "Z" * 300, "ffffffff-ffff-7000-8000-000000000000"]
)
def test_what_is_no_id_of_a_prediction_is_refused(noted: Reported, wrong: str) -> None:
    answer = noted.ask(wrong)
    assert answer.status == 422
    assert "UUID of version 7" in answer.faults[0]


def test_an_id_of_a_time_to_come_is_refused(noted: Reported) -> None:
    answer = noted.ask(uuid7(noted.world.clock.now() + timedelta(hours=1), bytes(8)))
    assert (answer.status, "is from the future" in answer.faults[0]) == (422, True)


def test_those_who_see_captures_may_ask() -> None:
    assert CONTROL["predictions.explain"].roles == {Role.SCIENTIST, Role.OPERATOR}


# The command


@pytest.fixture
def page(run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Reported:
    server.world.with_model()
    noted = Reported(monkeypatch, server.world)
    noted.release(exclude=True)
    return noted


def test_the_page_has_the_answer_its_origin_and_the_largest_contribution_first(run: Cli, page: Reported) -> None:
    prediction_id = page.captured(INSTANCE | {"gate": "B12"})
    assert run("explain", MODEL, prediction_id) == exits.OK
    said = " ".join(run.out.split())
    for part in (
        "flight-delay (binary), owner ops@example.com, operations",
        "answered by version 1",
        "version 1 was the champion",
        "yes, with the same score",
        "2013-01-01 05:00 .. 2013-04-30 22:00, 107,000 rows",
        "2013-02-08 .. 2013-02-10 by DataScientist/ana: Nemo closed the airports",
        "not required",
        "pass beats baseline",
        "also sent, but not inputs of this version: gate=B12",
        "the probability of true",
    ):
        assert part in said, part
    lines = [line.split() for line in run.out.splitlines()]
    bars = {words[0]: words[-1] for words in lines if words and words[0] in INSTANCE and "±" in words}
    assert list(bars) == [each["name"] for each in page.explained(prediction_id)["contributions"]["features"]]
    assert len(next(iter(bars.values()))) == 24
    assert run("explain", MODEL, prediction_id, "--json") == exits.OK
    assert run.document == page.explained(prediction_id)


def test_the_page_says_why_there_are_no_contributions(run: Cli, page: Reported) -> None:
    page.world.captures._policy = CapturePolicy(mask=frozenset({"carrier"}))
    assert run("explain", MODEL, page.captured()) == exits.OK
    assert "no contributions: the capture hides carrier" in run.out
    assert ["carrier", "hidden"] in [line.split() for line in run.out.splitlines()]


def test_the_page_of_an_unknown_id_is_an_error_with_a_next_step(run: Cli, page: Reported) -> None:
    assert run("explain", MODEL, uuid7(page.world.clock.now(), bytes(8))) == exits.NOT_FOUND
    assert "was not captured: searched flight-delay" in run.err
    assert "next: try again in a few minutes" in run.err
