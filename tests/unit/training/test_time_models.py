"""A model whose features are times: prepared, trained, judged, served, explained, monitored and labelled."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import onnx
import pytest

from tests.builders.labels import record
from tests.builders.monitoring import outcome_of
from tests.builders.release import house_with
from tests.builders.specs import spec
from tests.builders.tables import trips
from tidegate.domain.data.dataset import ColumnType
from tidegate.domain.monitoring.labelled_dataset import LeftOut
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.drift import DriftPolicy, judge
from tidegate.domain.profiles.profile import MASKED, MISSING, TYPE_FAULT, Layout, captured, count
from tidegate.domain.serving.capture import MASK
from tidegate.domain.serving.contract import Contract, FeatureContract, Rulebook
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.serving.prediction import answers, validate
from tidegate.kernel.errors import ArtifactRejectedError, DataCheckError
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import Table
from tidegate.messages import EvaluateTask, Fitted, RunRef, SlicesAndGroupsTask, TrainTask
from tidegate.ml.fairness import FairlearnGroups
from tidegate.ml.frames import PandasReader
from tidegate.ml.scoring import load
from tidegate.ml.slices import tree_leaves
from tidegate.ml.training import OnnxFitter
from tidegate.spec.model import ModelSpec
from tidegate.steps.data.catalog import read_version
from tidegate.steps.evaluation.evaluate import _mismatch, evaluate
from tidegate.steps.evaluation.explain import _contributions
from tidegate.steps.evaluation.gate import lineage
from tidegate.steps.evaluation.slices_and_groups import slices_and_groups
from tidegate.steps.monitoring.labelled_dataset import labelled_dataset
from tidegate.steps.run_files import RunFiles
from tidegate.steps.training.train import train

FEATURES: list[dict[str, Any]] = [
    {"name": "line", "kind": "categorical"},
    {"name": "wind", "kind": "numeric"},
    {"name": "at", "kind": "time"},
    {"name": "due", "kind": "time", "missing": "allow"},
]
COMPUTED = [
    {"name": "hour_due", "expression": "hour(due)"},
    {"name": "weekend", "expression": "weekday(due) >= 5"},
    {"name": "lead_hours", "expression": "seconds_between(due, at) / 3600", "unit": "h"},
    {"name": "usual", "expression": "group_rate(hour_due, min_rows=10)"},
]
RULES = [{"name": "night-is-calm", "when": "hour(due) < 3", "require": "score < 0.9"}]


def deliveries(rows: int = 1500) -> dict[str, Any]:
    """Trips that are late more often when they are due in the evening; some have no time at which they are due."""
    chance = np.random.default_rng(4)
    columns = trips(rows, seed=4)
    ahead = chance.integers(1, 3000, rows)
    due = [
        np.datetime64(at) + np.timedelta64(int(minutes), "m") for at, minutes in zip(columns["at"], ahead, strict=True)
    ]
    hours = np.array([moment.astype("datetime64[h]").astype(int) % 24 for moment in due])
    late = chance.random(rows) < np.where(hours >= 17, 0.8, 0.15)
    gaps = chance.random(rows) < 0.05
    columns["due"] = [None if gap else f"{moment}Z" for moment, gap in zip(due, gaps, strict=True)]
    return columns | {"late": late.tolist()}


def asked(**changes: Any) -> ModelSpec:
    tree = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 20}}
    document: dict[str, Any] = {"features": FEATURES, "computed": COMPUTED, "rules": RULES, "candidates": [tree]}
    fallback = {"kind": "arithmetic", "expression": "0.2 + 0.5 * (hour(due) >= 17)"}
    return spec(**(document | {"fallback": fallback, "gate": {"resamples": 200, "min_rows": 100}} | changes))


class Trained:
    """A run that is ready for its verdict."""

    def __init__(self) -> None:
        self.house = house_with(deliveries())
        self.ref: RunRef = self.house.request(asked())
        plan = self.house.prepare(self.ref)
        ports: dict[str, Any] = {"runs": self.house.registry, "artifacts": self.house.artifacts}
        ports |= {"models": self.house.registry, "clock": self.house.clock}
        task = TrainTask(run=self.ref, files=plan.files, candidate=plan.candidates[0], purpose="final")
        fitted = train(task, fitter=OnnxFitter(), **ports)
        assert isinstance(fitted, Fitted)
        ports |= {"versions": self.house.registry}
        to_evaluate = EvaluateTask(run=self.ref, files=plan.files, fitted=fitted)
        evaluated = evaluate(to_evaluate, routes=self.house.registry, load=load, **ports)
        parts = SlicesAndGroupsTask(run=self.ref, files=plan.files, fitted=fitted, evaluated=evaluated)
        slices_and_groups(parts, search=tree_leaves, groups=FairlearnGroups(), **ports)
        run = self.house.registry.run(self.ref.model, self.ref.run_id)
        self.lineage = lineage(run, fitted, RunFiles(self.ref, self.house.artifacts, plan.files | fitted.files))

    def table(self, key: str) -> Table:
        return Table.from_npz(self.house.artifacts.get(key))

    def document(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.house.artifacts.get(key))
        return found

    @property
    def onnx(self) -> bytes:
        return self.house.artifacts.get(self.ref.key(RunFile.ARTIFACT))


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained()


def instances(rows: Table) -> list[dict[str, Any]]:
    """The rows as callers send them: with an offset, or without one for UTC."""
    made = []
    for index in range(len(rows)):
        row = {name: rows[name].tolist()[index] for name in ("line", "wind")}
        at, due = (sent(rows[name][index]) for name in ("at", "due"))
        made.append(row | {"at": at, "due": due})
    return made


def sent(seconds: float) -> str | None:
    if np.isnan(seconds):
        return None
    at = datetime.fromtimestamp(seconds, UTC)
    zone = UTC if int(seconds) % 2 else datetime.fromisoformat("2000-01-01T00:00-05:00").tzinfo
    return at.astimezone(zone).isoformat() if int(seconds) % 3 else at.replace(tzinfo=None).isoformat()


def test_a_request_is_scored_as_training_scored_the_same_row(trained: Trained) -> None:
    holdout = trained.table(trained.ref.key(RunFile.HOLDOUT))
    expected = trained.table(trained.ref.key(RunFile.REFERENCE_SCORES))["scores"]
    scorer = load(trained.onnx)
    graph = onnx.load_from_string(trained.onnx).graph
    assert [value.name for value in graph.input] == ["numeric", "categorical", "times"]
    scores = scorer.score(validate(scorer.contract, instances(holdout)))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    evening = (holdout["due"] // 3600 % 24 >= 17) & ~np.isnan(holdout["due"])
    assert scores[evening, 1].mean() > scores[~evening, 1].mean() + 0.3


def test_the_run_s_record_and_report_hold_the_times_and_what_is_computed_of_them(trained: Trained) -> None:
    contract = Contract.from_json(trained.document(trained.ref.key(RunFile.PLAN))["contract"])
    assert [(each.name, each.estimator) for each in contract.times] == [("at", False), ("due", False)]
    assert [(each["name"], each["expression"]) for each in trained.lineage["computed"]] == [
        (each["name"], each["expression"]) for each in COMPUTED
    ]
    assert load(trained.onnx).contract.times == contract.times
    assert set(trained.lineage["strength_alone"]) == {"line", "wind"}


def test_tables_hold_whole_seconds_and_gaps(trained: Trained) -> None:
    fit = trained.table(trained.ref.key(RunFile.FIT))
    assert {fit[name].dtype for name in ("at", "due")} == {np.dtype(np.float64)}
    assert not np.isnan(fit["at"]).any()
    assert 0.01 < np.isnan(fit["due"]).mean() < 0.1
    assert (fit["at"] % 86_400 == 8 * 3600).all()


def test_the_evaluation_measures_times_where_that_means_something(trained: Trained) -> None:
    sections = trained.document(trained.ref.key(RunFile.EVALUATION))["sections"]
    assert next(iter(sections["importance"]))["feature"] == "due"
    assert {each["feature"] for each in sections["importance"]} == {"line", "wind", "at", "due"}
    assert {each["feature"] for each in sections["dependence"]} == {"line", "wind"}
    assert [each["feature"] for each in sections["robustness"]["missing"] if each["allowed"]] == ["due"]
    assert sections["robustness"]["missing"][0]["drop"] > 0.05
    assert [each["feature"] for each in sections["robustness"]["worst_case"]] == ["wind"]
    assert sections["rules"]["by_rule"][0]["name"] == "night-is-calm"
    found = trained.document(trained.ref.key(RunFile.SLICES_AND_GROUPS))["found"]
    assert not any(step[0] in {"at", "due"} for each in found for step in each["path"])


def test_rules_and_the_fallback_read_the_time_of_a_request(trained: Trained) -> None:
    contract = load(trained.onnx).contract
    night, noon = "2026-02-01T02:30:00+00:00", "2026-02-01T02:30:00-10:00"
    broken = [Rulebook.of(contract).broken({"due": due}, {"score": 0.95}) for due in (night, noon, None)]
    assert broken == [("night-is-calm",), (), ()]
    fallback = Fallback.from_bytes(trained.house.artifacts.get(trained.ref.key(RunFile.FALLBACK)))
    evening = {"line": "red", "wind": 1.0, "at": "2026-02-01", "due": "2026-02-01T18:00:00"}
    rows = [evening, evening | {"due": "2026-02-01T18:00:00+02:00"}, evening | {"due": None}]
    validate(fallback.contract, rows)
    scores = [each["score"] for each in fallback.answers(rows)]
    assert scores[:2] == pytest.approx([0.7, 0.2])
    table = Table({"due": np.array([1_769_968_800.0, np.nan])})
    np.testing.assert_allclose(fallback.rule.scores(table)[:, 1], [scores[0], scores[2]])


def test_an_explanation_gives_a_time_its_part(trained: Trained) -> None:
    scorer = load(trained.onnx)
    background = trained.table(trained.ref.key(RunFile.BACKGROUND))
    inputs = {"line": "red", "wind": 20.0, "at": "2026-02-20T08:00:00Z", "due": "2026-02-20T20:15:00Z"}
    (answer,) = answers(scorer.contract, scorer.score(validate(scorer.contract, [inputs])))
    record = {"id": "p1", "inputs": inputs}
    found = _contributions(scorer, record, answer["score"], background, 0.05)
    assert {each["name"] for each in found["features"]} == {"line", "wind", "at", "due"}
    assert found["features"][0]["name"] == "due"
    assert found["features"][0]["value"] > 0.2
    assert found["rest"] == pytest.approx(0, abs=0.05)


def captures_of(later: Table) -> list[dict[str, Any]]:
    return [{"inputs": each, "score": 0.5, "label": True} for each in instances(later)]


def test_a_later_period_of_time_is_no_drift_but_missing_and_wrong_times_are(trained: Trained) -> None:
    reference = Reference.from_json(trained.document(trained.ref.key(RunFile.REFERENCE)))
    training = trained.table(trained.ref.key(RunFile.FIT))
    half_a_year = 180 * 86_400.0
    later = Table({**training.columns, "at": training["at"] + half_a_year, "due": training["due"] + half_a_year})
    records = captures_of(later)

    def times(records: list[dict[str, Any]]) -> tuple[dict[str, tuple[int, ...]], str]:
        profile = captured(reference.layout, records)
        counts = dict(zip((each.name for each in reference.layout.features), profile.features, strict=True))
        found = judge(reference.layout, reference.profile, profile, DriftPolicy(), importances=reference.importances)
        shown = (*found.features.findings, *found.quality.findings)
        drifted = [each.statement for each in shown if each.outcome == "drifted"]
        return counts, "; ".join(each for each in drifted if each.startswith(("at", "due")))

    here = captured(reference.layout, captures_of(training)).features
    assert here == count(reference.layout, training).features
    counts, drifted = times(records)
    assert drifted == ""
    assert counts["at"][0] == len(later)
    assert counts["due"][0] + counts["due"][MISSING] == len(later)
    wrong = [each | {"inputs": each["inputs"] | {"at": place % 2 or "noon"}} for place, each in enumerate(records)]
    counts, drifted = times(wrong)
    assert counts["at"][TYPE_FAULT] == len(later)
    assert "at has 100.00 % values of a wrong type" in drifted
    hidden = [each | {"inputs": each["inputs"] | {"at": MASK, "due": None}} for each in records]
    counts, drifted = times(hidden)
    assert counts["at"][MASKED] == len(later)
    assert "due has 100.00 % missing values" in drifted
    assert Layout.from_json(json.loads(json.dumps(reference.layout.to_json()))) == reference.layout


# Data


def test_a_column_that_holds_no_times_and_a_time_of_another_kind_are_refused() -> None:
    house = house_with(deliveries())
    wrong = [{"name": "wind", "kind": "time"}, {"name": "due", "kind": "categorical"}, *FEATURES[2:3]]
    computed = [{"name": "a", "expression": "hour(wind) + hour(at)"}]
    changes: dict[str, Any] = {"features": wrong, "computed": computed, "rules": [], "fallback": None}
    with pytest.raises(DataCheckError) as caught:
        house.prepare(house.request(asked(baseline={"kind": "prior"}, **changes)))
    faults = {fault.path: fault for fault in caught.value.faults}
    assert "is time in the spec, but number in the dataset" in faults["features.wind"].problem
    assert "declare it with" in faults["features.due"].problem
    assert faults["features.due"].allowed == ("time",)


def test_missing_constant_and_equal_times_are_faults() -> None:
    columns = deliveries()
    columns["same"] = ["2026-01-01"] * len(columns["at"])
    columns["again"] = columns["at"]
    house = house_with(columns)
    features = [
        *FEATURES[:3],
        {"name": "due", "kind": "time"},
        *({"name": n, "kind": "time"} for n in ("same", "again")),
    ]
    computed = [{"name": "a", "expression": "hour(due) + hour(same) + hour(again) + hour(at)"}]
    with pytest.raises(DataCheckError) as caught:
        house.prepare(house.request(asked(features=features, computed=computed)))
    shown = {fault.path: fault.problem for fault in caught.value.faults}
    assert set(shown) == {"features.due", "features.same", "features.again"}
    assert "are missing, which the spec rejects" in shown["features.due"]
    assert "is the same in every training row" in shown["features.same"]
    assert "equals features.at" in shown["features.again"]


def test_an_artifact_that_takes_no_times_does_not_fit_a_contract_with_some(trained: Trained) -> None:
    model = onnx.load_from_string(trained.onnx)
    contract = json.loads(model.metadata_props[0].value)
    contract["features"] = [each for each in contract["features"] if each["name"] != "at"]
    contract["computed"] = [each for each in contract["computed"] if each["name"] != "lead_hours"]
    model.metadata_props[0].value = json.dumps(contract)
    with pytest.raises(ArtifactRejectedError, match="input times has shape"):
        load(model.SerializeToString())


def test_a_champion_to_which_a_column_was_no_time_is_not_compared() -> None:
    holdout = Table({"due": np.zeros(3)})
    timed, numeric = (Contract("m", "regression", (FeatureContract("due", kind),)) for kind in ("time", "numeric"))
    assert _mismatch(numeric, timed, holdout) == "due is numeric for it, but not for this version"
    assert _mismatch(timed, numeric, holdout) == "due is time for it, but not for this version"
    assert _mismatch(timed, timed, holdout) == _mismatch(timed, Contract("m", "regression", ()), holdout) == ""


# LabelledRows

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def asked_before(number: int, **inputs: Any) -> dict[str, Any]:
    given = {"line": "red", "wind": 12.5, "at": "2026-03-09T08:00:00+02:00", "due": "2026-03-11T20:00:00.75Z"}
    return record(NOW - timedelta(minutes=number), number, inputs=given | inputs)


def test_labelled_captures_come_back_as_rows_with_the_times_that_were_sent() -> None:
    house = house_with(deliveries())
    house.clock.at = NOW
    house.registry.apply(asked(), author="ana", at=NOW)
    records = [
        asked_before(1),
        asked_before(2, due=None),
        asked_before(3, due="soon"),
        asked_before(4, at="2026-01-05T08:00:00Z"),  # a row of the time that the dataset covers
    ]
    house.hours.capture(records)
    for each in records:
        house.hours.report("trip-delay", each["hour"], [outcome_of(each["id"], outcome=True, at=NOW)])
    base = house.catalog.version("trips")
    labelled = house.step(labelled_dataset, "trip-delay", captures=house.hours)
    version = house.register(house.catalog.version("trips", labelled.dataset_version))
    assert version.rows == base.rows + 2
    assert version.types["due"] is version.types["at"] is ColumnType.TIME
    assert f"1 {LeftOut.CONTRACT}" in labelled.note
    assert f"1 {LeftOut.EARLIER}" in labelled.note
    table = read_version(version, house.files, PandasReader()).table(["trip", "at", "due"])
    mine = table["trip"] == ""
    assert [str(each) for each in table["at"][mine]] == ["2026-03-09T06:00:00.000000"] * 2
    assert sorted(str(each) for each in table["due"][mine]) == ["2026-03-11T20:00:00.000000", "NaT"]
