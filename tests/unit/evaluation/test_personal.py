"""No value of a column that the catalog declares as personal leaves the files that only steps read."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.builders.present import present
from tests.builders.release import ReleaseHouse, house_with
from tests.builders.specs import spec
from tests.builders.tables import trips
from tidegate.domain.evaluation.report import GateReport
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import Table
from tidegate.messages import ReportTask
from tidegate.plots.page import draw
from tidegate.steps.data.datasets import show_version
from tidegate.steps.evaluation.report import report
from tidegate.testing.deployment import Released

ROWS = 1_500
# What is served, and what it is made of: read by steps and functions, and sent to nobody.
MODELS = {RunFile.PLAN, RunFile.BASELINE, RunFile.STAND_IN, RunFile.ARTIFACT, RunFile.FALLBACK}
TABLES = {RunFile.FIT, RunFile.VALIDATION, RunFile.HOLDOUT}
FEATURES = [
    {"name": "line", "kind": "categorical"},
    {"name": "nurse", "kind": "categorical"},
    {"name": "salary", "kind": "numeric", "missing": "allow"},
    {"name": "wind", "kind": "numeric", "missing": "allow"},
]


def columns() -> dict[str, Any]:
    """Of people: who was there, on whom much depends, and what they earn."""
    made = trips(ROWS)
    worse = [late != (n % 4 == 0) for n, late in enumerate(made["late"])]
    nurse = [f"Nurse Zwingli {n % 7 + 7 * each}" for n, each in enumerate(worse)]
    return made | {"nurse": nurse, "salary": [980_000 + 3 * (n % 900) + 5_000 * each for n, each in enumerate(worse)]}


@dataclass(frozen=True)
class OfPeople:
    """A release with its page."""

    house: ReleaseHouse
    released: Released

    @classmethod
    def of(cls, **changes: Any) -> "OfPeople":
        house = house_with(columns(), pii=("nurse", "salary"))
        gate = {"resample_by": "row", "resamples": 300, "slices": ["line"], "min_rows": 100}
        tree = [{"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 4}}]
        made = house.release(spec(**{"features": FEATURES, "gate": gate, "candidates": tree} | changes))
        house.step(report, ReportTask(run=made.run, version=made.version.number), draw=draw)
        return cls(house, made)

    def texts(self) -> Iterator[tuple[str, str]]:
        """All that is written but models and tables, with a name for each."""
        for key, data in self.house.artifacts.objects.items():
            name = key.rpartition("/")[2]
            if name.endswith(".npz") and name not in TABLES:
                yield name, str({name: column.tolist() for name, column in Table.from_npz(data).columns.items()})
            elif name not in MODELS | TABLES:
                yield name, data.decode()
        yield "the dataset's version", str(self.house.catalog.version("trips"))
        yield "the run", str(self.house.registry.run("trip-delay", "run-1"))
        yield "the version", str(self.released.version)

    def showing(self) -> set[str]:
        """What of it has a value of a person."""
        return {name for name, text in self.texts() if re.search(r"Zwingli|(?<![\d.])98\d,?\d{3}\b", text)}


@pytest.mark.attack("personal data", "look for values of people in what a release shows")
@pytest.mark.parametrize("capture", [{}, {"keep": ["nurse", "salary"]}], ids=["masked", "kept in captures"])
def test_nothing_that_people_read_of_a_release_has_a_value_of_a_person(
    capture: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # as functions log
    made = OfPeople.of(capture=capture)
    monitored = {RunFile.REFERENCE, RunFile.BACKGROUND}  # by which captures are judged and explained
    assert made.showing() == (monitored if capture else set())
    assert "Zwingli" not in caplog.text
    assert {RunFile.REPORT, RunFile.PAGE, RunFile.EVALUATION, RunFile.SLICES_AND_GROUPS} < dict(made.texts()).keys()
    found = GateReport.from_json(made.released.report).evaluation.sections
    assert {each.feature for each in found.importance} == {"line", "nurse", "salary", "wind"}
    assert {each.feature for each in found.dependence} == {"line", "wind"}


def test_groups_that_are_to_be_compared_are_named() -> None:
    found = GateReport.from_json(OfPeople.of(sensitive=["nurse"]).released.report).evaluation.sections
    groups = present(found.fairness)["nurse"].groups
    assert {each.group for each in groups} == {f"Nurse Zwingli {n}" for n in range(14)}


@pytest.mark.attack("personal data", "look at a dataset's version from before its column was declared personal")
def test_a_column_that_is_declared_personal_later_shows_no_value_of_the_versions_before() -> None:
    cells = columns()
    cells["pager"] = ["Zwingli", *map(str, range(1, len(cells["nurse"])))]  # a word among numbers makes a hint
    house = house_with(cells)
    assert "Zwingli" in shown(house)["hints"][0]
    assert "Zwingli" in str(shown(house)["columns"])
    house.describe(pii=("nurse", "salary", "pager"))
    assert "Zwingli" not in str(shown(house))
    (salary,) = (each for each in shown(house)["columns"] if each["name"] == "salary")
    assert (salary["low"], salary["high"], salary["mean"]) == (None, None, None)


def shown(house: ReleaseHouse) -> dict[str, Any]:
    version: dict[str, Any] = show_version("trips", "latest", catalog=house.catalog, clock=house.clock)["version"]
    return version
