"""The examples of real data beside the flights: the same file each time, valid specs, and rows that keep them."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from examples.bikes import build_dataset as bikes
from examples.diabetes import build_dataset as diabetes
from examples.digits import build_dataset as digits
from examples.mortgage import build_dataset as mortgage
from tidegate.cli.main import main
from tidegate.domain.data.checks import value_faults
from tidegate.domain.data.dataset import ColumnType
from tidegate.domain.data.personal import MOST_TEXTS, search
from tidegate.domain.training.contracts import feature_contracts
from tidegate.ml.frames import PandasFrame, PandasReader
from tidegate.spec.model import ModelSpec

FOLDER = Path(__file__).resolve().parents[3] / "examples"
BUILDERS = {"bikes": bikes, "mortgage": mortgage, "diabetes": diabetes, "digits": digits}


def path(name: str) -> Path:
    return FOLDER / name / f"{name}.yaml"


@pytest.fixture(params=sorted(BUILDERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def builder(name: str) -> ModuleType:
    return BUILDERS[name]


@pytest.fixture
def frame(builder: ModuleType) -> PandasFrame:
    return PandasReader().read({"rows.csv": builder.build()})


@pytest.fixture
def spec(name: str) -> ModelSpec:
    return ModelSpec.parse_yaml(path(name).read_text())


def test_model_check_passes_the_spec(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "check", str(path(name))]) == 0
    assert "valid" in capsys.readouterr().out


def test_the_spec_can_be_read_again_as_it_is_stored(spec: ModelSpec) -> None:
    assert ModelSpec.parse_yaml(spec.canonical_json()).digest == spec.digest


def test_all_rows_keep_the_spec(spec: ModelSpec, builder: ModuleType, frame: PandasFrame) -> None:
    assert spec.dataset == builder.DATASET
    features = feature_contracts(spec)
    texts = {feature.name for feature in features if feature.kind == "categorical"}
    table = frame.table(spec.feature_names, as_text=texts)
    assert value_faults(features, table, np.arange(len(frame))) == []
    assert not frame.table([spec.target], as_text={spec.target})[spec.target].tolist().count("")


def test_the_readme_names_the_commands_and_the_spec(name: str, spec: ModelSpec) -> None:
    text = (FOLDER / name / "README.md").read_text()
    files = (f"examples/{name}/build_dataset.py", f"examples/{name}/{name}.yaml")
    commands = (f"data add {spec.dataset}", f"train {spec.name}", f"report {spec.name}")
    for words in (*files, *(f"tidegate {command}" for command in commands)):
        assert words in text


def test_the_dataset_is_the_same_file_each_time_and_holds_nothing_that_looks_personal(
    builder: ModuleType, frame: PandasFrame
) -> None:
    assert builder.build() == builder.build()
    texts = [column for column, kind in frame.types.items() if kind is ColumnType.TEXT]
    assert [finding for column in texts for finding in search(column, frame.distinct(column, MOST_TEXTS))] == []


def test_the_builder_says_what_it_wrote_and_where_it_is_from(
    builder: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["build_dataset.py", str(tmp_path / "rows.csv")])
    builder.main()
    written = tmp_path / "rows.csv"
    written = written / "summer.csv" if written.is_dir() else written
    assert written.read_bytes() == builder.build()
    said = capsys.readouterr().out
    assert "rows.csv" in said
    assert "licence: " in said


def test_the_groups_of_the_mortgages_were_treated_as_differently_as_the_source_says() -> None:
    table = mortgage.applications()
    assert len(table) == 2_380
    approved = table.groupby("race")["approved"].mean()
    assert approved["Black"] == pytest.approx(243 / 339)
    assert approved["other"] == pytest.approx(1852 / 2041)
    refused = table[~table["approved"]]
    assert len(refused) == 285  # Stock and Watson: 12 percent


def test_a_writer_of_digits_wrote_each_of_them_about_equally_often() -> None:
    table = digits.digits()
    written = table.groupby(["writer", "digit"]).size().unstack()
    assert (len(table), *written.shape) == (1_797, 14, 10)
    assert written.min().min() >= 9
    assert written.max().max() <= 15


def test_the_bikes_are_those_of_2011_in_the_units_they_were_measured_in() -> None:
    table = bikes.hours()
    assert len(table) == 8_645
    assert table["rentals"].sum() == 1_243_103  # as UCI has for 2011
    assert (table["rentals"] == table["casual"] + table["registered"]).all()
    assert table["started"].iloc[[0, -1]].tolist() == ["2011-01-01 00:00:00", "2011-12-31 23:00:00"]
    july = table[table["month"] == "July"]["temperature"]
    assert 25 < july.mean() < 29
    assert set(table["month"]) > {month for months in bikes.PERIODS.values() for month in months}
