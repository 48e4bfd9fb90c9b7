"""The page of a version: what it shows, that it can hurt nobody, and that a gap in what was measured is shown."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from tests.builders.control_api import World
from tests.builders.present import present
from tests.builders.release import ReleaseHouse, house_with
from tests.builders.reports import report_document
from tests.builders.specs import spec
from tests.builders.tables import trips
from tidegate.domain.data.dataset import Exclusion
from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.confusion import confusion
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.evaluation.report import GateReport
from tidegate.domain.evaluation.sections import FoundSlice, Sections
from tidegate.domain.registry.ledger import Cause
from tidegate.domain.rollout.changes import promote
from tidegate.kernel.errors import ArtifactRejectedError, NotFoundError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import (
    ReportTask,
    RunRef,
)
from tidegate.plots import conduct, numbers, pictures, quality
from tidegate.plots.blocks import Matrix, Table
from tidegate.plots.page import draw
from tidegate.plots.pictures import Row, Words
from tidegate.ports.evaluation import Dossier
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task
from tidegate.steps.evaluation.report import CONTENT_TYPE, report
from tidegate.testing.registry import InMemoryArtifacts

LOGISTIC = [{"estimator": "sklearn.linear_model.LogisticRegression"}]
HOSTILE = "<img src=x onerror=alert(1)>$x^2$ & \"'"
KNOWN_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav", "section"),
    *("h1", "h2", "p", "a", "b", "br", "span", "div", "ul", "li", "dl", "dt", "dd", "details", "summary"),
    *("figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "desc", "g", "path", "use", "defs", "text", "clippath", "rect"),
}


def binary(**changes: Any) -> ModelSpec:
    """A spec under which everything is measured."""
    everything: dict[str, Any] = {
        "description": "Will a trip be late?",
        "candidates": LOGISTIC,
        "sensitive": ["line", "driver"],
        "gate": {"resample_by": "row", "resamples": 400, "slices": ["line", "stops"], "min_rows": 100, "margin": 0.05},
        "value": {"correct": 1, "wrong": 2, "currency": "EUR"},
        "decision": {"threshold": "value"},
        "features": [
            {"name": "line", "kind": "categorical"},
            {"name": "wind", "kind": "numeric", "unit": "mph", "missing": "allow"},
            {"name": "stops", "kind": "integer"},
        ],
    }
    return spec(**everything | changes)


def release(house: ReleaseHouse, wanted: ModelSpec, run_id: str = "run-1") -> ReportTask:
    """All steps up to `register`, for real."""
    released = house.release(wanted, run_id)
    return ReportTask(run=released.run, version=released.version.number)


def drawn(house: ReleaseHouse, task: ReportTask) -> str:
    """The page, by the step."""
    house.step(report, task, draw=draw)
    return house.artifacts.objects[task.run.key(RunFile.PAGE)].decode()


class Read(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that nobody closes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self._text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self._text.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._text).split())


@pytest.fixture(scope="module")
def house() -> ReleaseHouse:
    made = house_with(trips(3_000), pii=("driver",), description="Trips of a bus company")
    day = made.clock.now().replace(month=1, day=3)
    made.catalog.exclude(Exclusion("trips", "e1", day, day.replace(day=4), "strike", "ana", made.clock.now()))
    return made


@pytest.fixture(scope="module")
def task(house: ReleaseHouse) -> ReportTask:
    """The second version, judged against a first."""
    first = release(house, binary(), "run-0")
    house.promote(house.registry.version("trip-delay", first.version))
    return release(house, binary())


@pytest.fixture(scope="module")
def page(house: ReleaseHouse, task: ReportTask) -> str:
    return drawn(house, task)


@pytest.fixture(scope="module")
def found(house: ReleaseHouse, task: ReportTask) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(house.artifacts.objects[task.run.key(RunFile.REPORT)])
    return document


def estimates(document: Any) -> list[Estimate]:
    """Every number with an interval that a report holds, wherever it stands."""
    if isinstance(document, dict):
        if {"low", "high"} <= set(document) and document["low"] is not None:
            middles = [document[name] for name in ("value", "estimate", "drop", "mean") if name in document]
            if middles:
                return [Estimate(middles[0], document["low"], document["high"])]
        return [each for part in document.values() for each in estimates(part)]
    return [each for part in document for each in estimates(part)] if isinstance(document, list) else []


def test_every_number_with_an_interval_is_on_the_page(page: str, found: dict[str, Any]) -> None:
    text = Read(page).text
    said = [numbers.interval(each) for each in estimates(found["evaluation"])]
    assert len(said) > 40
    assert {each for each in said if each not in text} == set()


def test_the_page_shows_verdict_data_features_and_lineage(page: str, found: dict[str, Any]) -> None:
    text = Read(page).text
    for check in found["verdict"]["checks"]:
        assert check["statement"].replace("  ", " ") in text
    for part in (
        "Trips of a bus company", "strike", "CC0-1.0", "Will a trip be late?", "tests@example.com",
        "champion: version 1", found["lineage"]["spec_digest"], found["lineage"]["artifact_sha256"], "c0ffee", "10cc",
        "LogisticRegression (chosen)", "wind", "numeric, mph", "line blue", "EUR for 1,000 decisions",
        "tidegate rollout trip-delay", "As of 2026-01-05 12:00 UTC", "equal opportunity", "true positive rate",
        "the latest rows by at", "USD for 1,000 requests at 1,024 MB", "scikit-learn 1.", "skl2onnx 1.",
    ):  # fmt: skip
        assert part in text, part
    for part, rows in found["lineage"]["rows"].items():
        assert f"{rows:,}" in text, part


def test_the_page_says_what_the_input_guard_does_on_the_holdout(page: str, found: dict[str, Any]) -> None:
    guard = found["evaluation"]["sections"]["guard"]
    text = Read(page).text
    assert f"The input guard marks {guard['unusual_rows']:,} of {guard['holdout_rows']:,} held-out rows" in text
    assert "the model answers them." in text


def test_the_verdict_comes_first(page: str) -> None:
    text = Read(page).text
    places = [
        text.index(part)
        for part in ("accepted", "Of 17 checks", "Licence", "numeric, mph", "Expected calibration error")
    ]
    assert places == sorted(places)


def test_the_page_needs_nothing_and_runs_nothing(page: str) -> None:
    read = Read(page)
    assert set(read.tags) <= KNOWN_TAGS
    assert "default-src 'none'" in page
    for name, value in read.attributes:
        assert not name.startswith("on"), name
        assert name not in {"src", "srcset", "action"}
        assert name != "href" or (value or "").startswith("#")
    assert "url(" not in re.sub(r"url\(#\w+\)", "", page)
    assert len(page) < 1_000_000


def test_every_picture_has_words_and_numbers(page: str) -> None:
    read = Read(page)
    assert read.tags["svg"] == read.tags["figure"] == read.tags["details"] == read.tags["desc"] > 10
    assert read.tags["title"] == read.tags["svg"] + 1
    assert len(re.findall(r'<svg [^>]*role="img" aria-label="[^"]+"', page)) == read.tags["svg"]
    assert all(re.findall(r"<title>(.+?)</title><desc>(.+?)</desc>", page))
    used, made = set(re.findall(r'(?:url\(|href=")#(\w+)', page)), re.findall(r' id="(\w+)"', page)
    assert used <= set(made)
    assert {name for name, count in Counter(made).items() if count > 1} == set()


def test_the_same_version_is_drawn_the_same(house: ReleaseHouse, task: ReportTask, page: str) -> None:
    assert drawn(house, task) == page


def test_a_page_says_what_was_known_at_registration_and_not_what_came_later(
    house: ReleaseHouse, task: ReportTask, page: str
) -> None:
    """Else a second drawing, of a repeated step, would show another picture."""
    version = house.registry.version("trip-delay", task.version)
    house.registry.change(
        present(promote(house.registry.route("trip-delay"), version, Cause(house.clock.now(), "ana", "by hand")))
    )
    assert drawn(house, task) == page


def test_a_rejected_version_says_why_before_anything_else() -> None:
    house = house_with(trips(1_000))
    wanted = binary(targets={"metric_at_least": 0.99}, release={"approval": "required"})
    task = release(house, wanted)
    read = Read(drawn(house, task))
    reasons = house.registry.version("trip-delay", 1).reasons
    start = read.text.index("Why it was rejected")
    assert read.text.index(reasons[0]) < read.text.index("Verdict of the gate", start)
    assert "not requested, since the gate rejected it" in read.text


def test_a_regression_has_residuals_and_no_threshold() -> None:
    house = house_with(trips(1_000))
    wanted = binary(
        task="regression",
        target="delay",
        metric="mae",
        interval=0.9,
        candidates=[{"estimator": "sklearn.linear_model.Ridge"}],
        value=None,
        decision={},
    )
    page = drawn(house, release(house, wanted))
    text = Read(page).text
    for part in (
        "Residuals by size of the prediction",
        "Intervals of 90 % contain",
        "values differ by at most",
        "predicts the target in training (R2, 0 without skill",
        "has no probabilities",
        "lower is better",
    ):
        assert part in text, part
    assert not re.search(r"labels? (differ|flip)|changes? (its|their) label", text)
    assert "not measured" not in text.partition("Model card")[2].partition("flips")[0]


def test_a_model_of_several_classes_is_reported_too() -> None:
    house = house_with(trips(1_000))
    wanted = binary(
        task="multiclass", target="line", metric="accuracy", sensitive=["driver"], value=None, decision={},
        baseline={"kind": "prior"},
        features=[{"name": "wind", "kind": "numeric"}, {"name": "stops", "kind": "numeric"}],
        gate={"resample_by": "row", "resamples": 400, "slices": ["stops"]},
    )  # fmt: skip
    task = release(house, wanted)
    text = Read(drawn(house, task)).text
    for part in ("Several classes have no single curve", "Expected calibration error", "Score of "):
        assert part in text, part
    found = json.loads(house.artifacts.objects[task.run.key(RunFile.REPORT)])["evaluation"]["sections"]["confusion"]
    assert found["classes"] == ["blue", "green", "red"]
    for name, line, recall in zip(found["classes"], found["counts"], found["recall"], strict=True):
        said = " ".join(f"{rows} {100 * rows / sum(line):.0f} %" if rows else "0" for rows in line)
        assert f"{name} {said}" in text
        assert f"{name} {sum(line)} {numbers.interval(Estimate(**recall))}" in text
    for precision in filter(None, found["precision"]):
        assert numbers.interval(Estimate(**precision)) in text
    never = [name for name, each in zip(found["classes"], found["precision"], strict=True) if not each]
    assert ("No rows: " + ", ".join(never) in text) == bool(never)


def test_decisions_of_a_binary_model_are_counted_by_what_is_true(page: str, found: dict[str, Any]) -> None:
    text = Read(page).text
    (right, alarms), (missed, hits) = found["evaluation"]["sections"]["confusion"]["counts"]
    first, second = (f"{rows} {100 * rows / (right + alarms):.0f} %" for rows in (right, alarms))
    assert f"true / answer false true false {first} {second} true {missed} " in text
    assert right + alarms + missed + hits == found["evaluation"]["rows"]


def evaluation() -> Evaluation:
    return Evaluation.from_json(report_document()["evaluation"])


def confused(classes: int, rows: Sequence[Sequence[int]]) -> str:
    names = [f"c{number}" for number in range(classes)]
    target, decided = np.asarray(rows).T
    measured = confusion(target, decided, names, Resampling(len(rows)))
    section = quality.decisions(replace(evaluation(), sections=Sections(confusion=measured)), Task.MULTICLASS)
    table = section.blocks[1]
    assert isinstance(table, Table | Matrix)
    return f"{table.kind}: {table.caption} {table.rows if isinstance(table, Table) else ''}"


def test_the_commonest_confusion_is_said_and_of_many_classes_nothing_else() -> None:
    assert confused(3, [(0, 0), (1, 2), (1, 2), (2, 0)]).endswith(
        "The most common error is c2 for c1: 2 of 2 rows, 100 %. "
    )
    assert confused(3, [(0, 0), (1, 1)]).endswith("No answer is wrong. ")
    many = [(each, each) for each in range(30)] + [(4, 5), (4, 5), (7, 8)]
    rows = [["c4", "c5", "2", "66.7 %"], ["c7", "c8", "1", "50 %"]]
    assert confused(30, many) == f"table: The most common of 2 confusions among 30 classes. {rows}"


def test_a_page_without_a_time_column_says_how_rows_were_held_out_and_no_period() -> None:
    house = house_with(trips(1_000), time=None)
    text = Read(drawn(house, release(house, binary(time=None)))).text
    held_out = "rows drawn at random (seed 5), stratified by late"
    assert f"Held out {held_out}" in text
    assert f"200 held-out rows of trips; {held_out}" in text
    assert "first and last row" not in text
    assert "from – on" not in text
    grouped = house_with(trips(1_000), time=None)
    by_driver = binary(time=None, group="driver", sensitive=[])
    assert "Held out whole groups of driver drawn at random" in Read(drawn(grouped, release(grouped, by_driver))).text


def test_a_found_slice_of_too_few_days_says_so() -> None:
    found = FoundSlice((), "fog", 300, None, Estimate(0.2, 0.1, 0.3), confirmed=False)
    said = Sections(found=(replace(found, lacking="3 of 10 days or groups"), found))
    _, table = conduct.slices(replace(evaluation(), sections=said)).blocks
    assert isinstance(table, Table)
    assert [row[-1] for row in table.rows] == ["not confirmed: 3 of 10 days or groups", "not confirmed"]


def test_what_is_true_or_false_is_not_called_one_or_zero() -> None:
    columns = trips(1_000)
    columns["holiday"] = [number % 3 == 0 for number in range(1_000)]
    columns["late"] = [late != (number % 9 == 0) for number, late in enumerate(columns["late"])]
    features = [{"name": "wind", "kind": "numeric"}, {"name": "holiday", "kind": "boolean"}]
    house = house_with(columns)
    rules, baseline = {"resample_by": "row", "resamples": 400}, {"kind": "prior"}
    wanted = binary(features=features, sensitive=["holiday"], gate=rules, baseline=baseline)
    text = Read(drawn(house, release(house, wanted))).text
    assert "false, true" in text.partition("values tried")[2]
    assert "holiday false to true" in text
    assert re.search(r"Mean score by holiday: least, [\d.]+, at (true|false), most, [\d.]+, at (true|false)\.", text)


@pytest.mark.parametrize("champion", [False, True], ids=["nobody", "the champion"])
def test_what_is_true_or_false_is_called_so_though_only_the_champion_reads_it(champion: bool) -> None:
    columns = trips(3_000)
    columns["holiday"] = np.random.default_rng(1).choice([True, False], 3_000).tolist()
    house = house_with(columns)
    features = binary().model_dump(mode="json", exclude_none=True)["features"]
    if champion:
        first = binary(features=[*features, {"name": "holiday", "kind": "boolean"}])
        version = house.registry.version("trip-delay", release(house, first, "run-0").version)
        cause = Cause(house.clock.now(), "ana", "first")
        house.registry.change(present(promote(house.registry.route("trip-delay"), version, cause)))
    rules = {"resample_by": "row", "resamples": 400, "slices": ["holiday"], "min_rows": 100}
    task = release(house, binary(sensitive=["holiday"], gate=rules))
    found = json.loads(house.artifacts.objects[task.run.key(RunFile.SLICES_AND_GROUPS)])
    assert {each["value"] for each in found["slices"]} == {"true", "false"}
    assert {each["group"] for each in found["fairness"]["holiday"]["groups"]} == {"true", "false"}


def registered(world: World, *, accepted: bool = True) -> ReportTask:
    """A version whose evaluation has no sections, as the first ones had."""
    world.with_model()
    run_id = world.call("POST", "/models/flight-delay/runs").body["run"]["run_id"]
    version = world.run_to_the_end(run_id, accepted=accepted)
    return ReportTask(run=RunRef(model="flight-delay", run_id=run_id), version=version.number)


def say(world: World, task: ReportTask) -> None:
    world.step(report, task, draw=draw)


def test_what_was_not_measured_is_said_in_a_line() -> None:
    world = World()
    task = registered(world)
    say(world, task)
    text = Read(world.artifacts.objects[task.run.key(RunFile.PAGE)].decode()).text
    assert text.count("not measured for this version") >= 5
    assert "not measured: performance, calibration, decisions, slices, fairness, robustness, explanations" in text


def test_the_page_is_shown_by_the_control_api_and_its_lack_is_reported() -> None:
    world = World()
    task = registered(world)
    missing = world.call("GET", "/models/flight-delay/versions/1/page")
    assert missing.status == 404
    assert "tidegate report flight-delay 1" in missing.body["next_step"]
    say(world, task)
    shown = world.call("GET", "/models/flight-delay/versions/1/page")
    assert shown.body["html"].encode() == world.artifacts.objects[task.run.key(RunFile.PAGE)]
    assert world.call("GET", "/models/flight-delay/versions/2/page").status == 404


def test_a_tampered_gate_report_is_not_drawn() -> None:
    world = World()
    task = registered(world)
    world.artifacts.objects[task.run.key(RunFile.REPORT)] = json.dumps(report_document(accepted=False)).encode()
    with pytest.raises(ArtifactRejectedError):
        say(world, task)
    with pytest.raises(NotFoundError):
        say(world, task.model_copy(update={"version": 7}))


def test_the_page_is_stored_as_html(house: ReleaseHouse, task: ReportTask) -> None:
    types = []

    class Artifacts(InMemoryArtifacts):
        def put(self, key: str, data: bytes, *, content_type: str = "") -> str:
            types.append((key, content_type))
            return super().put(key, data)

    artifacts = Artifacts(dict(house.artifacts.objects))
    made = house.step(report, task, artifacts=artifacts, draw=draw)
    assert types == [(f"runs/trip-delay/{task.run.run_id}/report.html", CONTENT_TYPE)]
    assert made.page_bytes == len(artifacts.objects[task.run.key(RunFile.PAGE)])


def renamed(document: Any, names: dict[str, str]) -> Any:
    """Every text of a document with some words put in place of others."""
    if isinstance(document, dict):
        return {renamed(key, names): renamed(value, names) for key, value in document.items()}
    if isinstance(document, list):
        return [renamed(each, names) for each in document]
    if isinstance(document, str):
        for old, new in names.items():
            document = re.sub(rf"\b{old}\b", new.replace("\\", r"\\"), document)
    return document


def test_hostile_names_stay_text(house: ReleaseHouse, task: ReportTask, found: dict[str, Any]) -> None:
    version = house.registry.version("trip-delay", task.version)
    known = house.registry.spec("trip-delay", version.spec_digest).model_dump(mode="json", by_alias=True)
    names = {"wind": HOSTILE, "blue": f"</svg></title><script>{'x' * 300}\n", "green": "緑の線 🚌", "D1": "</style>"}
    known["description"] = known["owner"] = HOSTILE
    dossier = Dossier(
        version=replace(version, code_version=HOSTILE, created_by=HOSTILE),
        spec=ModelSpec.parse(renamed(known, {"wind": HOSTILE})),
        spec_author=HOSTILE,
        dataset=replace(house.catalog.dataset("trips"), description=HOSTILE, origin=HOSTILE, pii=(HOSTILE,)),
        data=house.catalog.version("trips"),
        exclusions=(),
        report=GateReport.from_json(renamed(found, names)),
    )
    read = Read(draw(dossier))
    assert set(read.tags) <= KNOWN_TAGS
    assert read.text.count(HOSTILE) > 10
    assert "緑の線 🚌" in read.text
    assert not any(name.startswith("on") for name, _ in read.attributes)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Estimate(0.75123, 0.70391, 0.78288), "0.751 [0.704, 0.783]"),
        (Estimate(323.4, 233.1, 395.2), "323 [233, 395]"),
        (Estimate(-0.0001, -0.02, 0.02), "0.000 [-0.020, 0.020]"),
        (Estimate(1.0, 1.0, 1.0), "1.000 [1.000, 1.000]"),
        (Estimate(12345.6, 12000.0, 12700.0), "12,346 [12,000, 12,700]"),
    ],
)
def test_an_interval_has_as_many_decimals_as_it_is_sure_of(found: Estimate, said: str) -> None:
    assert numbers.interval(found) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (True, "true"), (1234, "1,234"), (3.0, "3"), (0.123456, "0.1235"), (-5432.1, "-5,432"), ("a", "a")],
)
def test_a_number_is_short(value: object, said: str) -> None:
    assert numbers.number(value) == said


def test_a_picture_of_one_row_or_of_one_point_can_be_drawn() -> None:
    words, one = Words("One", "one row"), Estimate(-3.0, -3.0, -3.0)
    for svg in (
        pictures.intervals([Row("a", one)], words, label="x"),
        pictures.band([2.0], [one], words, label="x", up="y"),
        pictures.reliability([(0.0, Estimate(0.0, 0.0, 0.0))], words),
        pictures.rates(["a"], [("rate", [None])], words),
        pictures.histogram([0.0, 0.0], [5], words, across="x"),
        pictures.worth([[0.0, 1.0], [1.0, 1.0]], 0.5, words, up="EUR"),
    ):
        assert svg.startswith("<svg viewBox=")
        assert svg.endswith("</svg>")
        assert not np.char.count(svg, "nan")


@pytest.mark.parametrize("most", [0.03, 1.0, 14_000.0, 3e9])
@pytest.mark.parametrize("names", [["a"], ["a long name of a category", "b", "c"]])
def test_labels_have_the_room_that_matplotlib_would_give_them(most: float, names: list[str]) -> None:
    with pictures.canvas(Words("t", "d")) as drawn:
        axes = drawn.axes(across="across", up="up")
        axes.plot([0, most, -most / 3], [0, most, most / 7])
        if len(names) > 1:
            axes.set_yticks([0, most / 2, most], names)
        drawn.figure.legend(["line"], loc="lower left")
        drawn.arrange()
        ours = axes.get_position().get_points() * [302.4, 208.8]  # points
        drawn.figure.set_layout_engine("constrained")
        drawn.figure.legends[0].remove()
        drawn.figure.legend(["line"], loc="outside lower left")
        drawn.figure.draw_without_rendering()
        theirs = axes.get_position().get_points() * [302.4, 208.8]
    assert ours == pytest.approx(theirs, abs=6)
