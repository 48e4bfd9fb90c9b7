"""The first spec that `tidegate init` writes: of the shipped examples, and of columns as odd as they come."""

import importlib
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.builders.command_line import Cli
from tests.builders.data import DATASET, READY
from tests.builders.loopback import Loopback
from tidegate.cli import exits, first_spec
from tidegate.cli.first_spec import Role
from tidegate.domain.data.checks import Demands, column_faults, value_faults
from tidegate.domain.training.contracts import feature_contracts
from tidegate.kernel.errors import InvalidInputError
from tidegate.ml.frames import PandasReader
from tidegate.spec.model import ModelSpec

ROWS = 400


def about(**said: Any) -> dict[str, Any]:
    return {"name": "odd", "owner": "ops@example.com", "outcome": [], "pii": [], "time": None} | said


def profiled(table: pd.DataFrame, pii: tuple[str, ...] = ()) -> dict[str, Any]:
    """The version's document, as the API answers it after registration read this table as CSV."""
    frame = PandasReader().read({"odd.csv": table.to_csv(index=False).encode()})
    columns = [
        {
            "name": each.name,
            "type": str(each.type),
            "missing": each.missing,
            "distinct": each.distinct,
            "low": each.low,
            "high": each.high,
            "mean": each.mean,
            "top": [list(pair) for pair in each.top],
        }
        for each in frame.profiles(private=pii)
    ]
    return {"version": "0123456789abcdef", "rows": len(frame), "columns": columns}


def spec_of(table: pd.DataFrame, target: str, task: str | None = None, **said: Any) -> tuple[ModelSpec, str]:
    """The spec, which is checked against the very rows as training does, and its text."""
    dataset, version = about(**said), profiled(table, tuple(said.get("pii", ())))
    fitting = first_spec.task_of(next(each for each in version["columns"] if each["name"] == target), task)
    columns = first_spec.judged(dataset, version, target)
    text = first_spec.written("odd-model", dataset, version, target=target, columns=columns, task=fitting)
    spec = ModelSpec.parse_yaml(text)
    frame = PandasReader().read({"odd.csv": table.to_csv(index=False).encode()})
    features = feature_contracts(spec)
    demands = Demands(
        dataset="odd",
        task=spec.task.value,
        target=spec.target,
        features=features,
        positive_class=spec.positive_class,
        time=spec.time,
        ids=spec.ids,
        outcome=tuple(dataset["outcome"]),
    )
    assert column_faults(demands, frame.types) == []
    texts = [each.name for each in features if each.kind == "categorical"]
    rows = frame.table([each.name for each in features], as_text=texts)
    assert value_faults(features, rows, np.ones(len(frame), dtype=bool)) == []
    return spec, text


def kinds(spec: ModelSpec) -> dict[str, str]:
    return {feature.name: str(feature.kind) for feature in spec.features}


def odd_table() -> pd.DataFrame:
    numbers = range(ROWS)
    return pd.DataFrame(
        {
            "order id": [f"o-{each}" for each in numbers],
            "row": [each + 7 for each in numbers],
            "yes": [("on", "off")[each % 2] for each in numbers],
            "a: b # c": [each % 7 / 3 for each in numbers],
            "null": [each % 12 + 1 for each in numbers],
            "- dash": [-5.5 + each % 3 for each in numbers],
            'quo"te': [each * 1e-7 for each in numbers],
            "ünïcode": [("ä", "ö", "ü", "true", "1")[each % 5] for each in numbers],
            "town": [f"town {each % 97}" for each in numbers],
            "note": [f"text of {max(each, 1)}" for each in numbers],
            "same": ["x"] * ROWS,
            "empty": [None] * ROWS,
            "seen_at": pd.date_range("2026-01-01", periods=ROWS, freq="h").strftime("%Y-%m-%dT%H:%M:%S"),
            "gap": [None if each % 4 else float(each % 9) for each in numbers],
            "flag": [bool(each % 3) for each in numbers],
            "cost_total": [each % 50 for each in numbers],
            "bought": [bool(each * 7 % 5 < 2) for each in numbers],
        }
    )


def test_odd_columns_get_the_kind_and_the_range_that_their_rows_keep() -> None:
    spec, text = spec_of(odd_table(), "bought")
    assert spec.task == "binary"
    assert spec.positive_class is True
    assert spec.ids == ("order id", "row")
    assert kinds(spec) == {
        "yes": "categorical",
        "a: b # c": "numeric",
        "null": "integer",
        "- dash": "numeric",
        'quo"te': "numeric",
        "ünïcode": "categorical",
        "town": "categorical",
        "gap": "integer",
        "flag": "boolean",
    }
    by_name = {feature.name: feature for feature in spec.features}
    assert (by_name["null"].min, by_name["null"].max) == (1, 12)  # every value of it occurs: the range is the range
    assert by_name["a: b # c"].min == 0
    assert by_name["- dash"].min is not None
    assert by_name["- dash"].min < -5.5
    assert set(by_name["ünïcode"].categories or ()) == {"ä", "ö", "ü", "true", "1"}
    assert by_name["town"].categories is None
    assert by_name["gap"].missing == "allow"
    for left, why in (
        ("note", "different texts"),
        ("same", "same value"),
        ("empty", "no values"),
        ("seen_at", "a time"),
    ):
        assert any(f"#   {left}: " in line and why in line for line in text.splitlines()), left
    assert "# - {name: cost_total" in text
    assert "# time: seen_at" in text
    assert dict(spec.baseline)["kind"] == "group_rate"
    assert spec.gate.min_rows == 72


def test_what_the_dataset_says_of_its_columns_is_heeded() -> None:
    table = odd_table()
    spec, text = spec_of(table, "bought", outcome=["a: b # c"], pii=["town"], time="seen_at")
    assert spec.time == "seen_at"
    assert not {"a: b # c", "town"} & set(kinds(spec))
    assert "#   town: declared as personal data" in text
    assert "#   a: b # c: an outcome column of the dataset" in text


@pytest.mark.parametrize(
    ("target", "task", "positive"),
    [("yes", "binary", {"on", "off"}), ("ünïcode", "multiclass", {None}), ("null", "regression", {None})],
)  # fmt: skip
def test_the_task_follows_from_the_target(target: str, task: str, positive: set[Any]) -> None:
    spec, _ = spec_of(odd_table(), target)
    assert spec.task == task
    assert spec.positive_class in positive


@pytest.mark.parametrize(("often", "rare", "positive"), [("yes", "no", "yes"), ("Y", "N", "Y"), ("up", "down", "down")])
def test_the_positive_class_is_yes_however_often_it_occurs(often: str, rare: str, positive: str) -> None:
    rows = ROWS // 4
    table = pd.DataFrame({"x": [1, 2, 3, 4] * rows, "settled": [rare, often, often, often] * rows})
    assert spec_of(table, "settled")[0].positive_class == positive


@pytest.mark.parametrize(
    ("target", "bound"), [("yes", "metric_at_least"), ("ünïcode", "metric_at_most"), ("null", "metric_at_most")]
)
def test_the_target_shown_is_one_that_the_metric_can_have(target: str, bound: str) -> None:
    (shown,) = re.findall(r"# targets: (\{.*\})", spec_of(odd_table(), target)[1])
    assert bound in shown


def test_the_task_can_be_chosen_and_what_nothing_can_be_learned_of_is_refused() -> None:
    assert spec_of(odd_table(), "null", "multiclass")[0].task == "multiclass"
    for target, task, why in (
        ("same", None, "the same value in every row"),
        ("seen_at", None, "is a time column"),
        ("town", "regression", "is a text column; regression needs numbers"),
        ("null", "binary", "has 12 different values; binary needs two"),
        ("order id", None, "has 400 different values; at most"),
    ):
        with pytest.raises(InvalidInputError, match=why):
            spec_of(odd_table(), target, task)
    with pytest.raises(InvalidInputError, match="has no column no"):
        first_spec.judged(about(), profiled(odd_table()), "no")


def test_what_a_number_is_added_up_from_is_suspected() -> None:
    """As the casual and the registered riders are, of all rentals of an hour."""
    casual = [each * 31 % 83 for each in range(ROWS)]
    members = [each * 17 % 211 for each in range(ROWS)]
    table = pd.DataFrame(
        {
            "hour": [each % 24 for each in range(ROWS)],
            "casual": casual,
            "members": members,
            "rentals": [one + two for one, two in zip(casual, members, strict=True)],
            "rentals_billed": [each % 5 for each in range(ROWS)],
        }
    )
    spec, _ = spec_of(table, "rentals")
    assert kinds(spec) == {"hour": "integer"}
    judged = {each.name: each for each in first_spec.judged(about(), profiled(table), "rentals")}
    assert [name for name, each in judged.items() if each.role is Role.SUSPECT] == [
        "casual",
        "members",
        "rentals_billed",
    ]
    assert judged["casual"].kept().role is Role.FEATURE
    assert judged["casual"].dropped().role is Role.OUT


def test_a_table_of_too_many_columns_keeps_as_many_as_a_spec_may_have() -> None:
    wide = pd.DataFrame({f"f{at}": [row % (at % 40 + 2) for row in range(60)] for at in range(510)})
    spec, text = spec_of(wide, "f0")
    assert len(spec.features) == 500
    assert "at most 500 features" in text


def test_columns_of_ids_alone_make_no_spec() -> None:
    table = pd.DataFrame({"id": range(ROWS), "y": [each % 2 for each in range(ROWS)]})
    with pytest.raises(InvalidInputError, match="no column is left"):
        spec_of(table, "y")


@pytest.mark.parametrize(
    ("name", "target"), [("diabetes", "progression"), ("digits", "digit"), ("mortgage", "approved")]
)  # fmt: skip
def test_the_shipped_examples_get_a_spec(name: str, target: str) -> None:
    built = importlib.import_module(f"examples.{name}.build_dataset")
    spec, _ = spec_of(pd.read_csv(io.BytesIO(built.build())), target)
    assert spec.target == target
    assert len(spec.features) > 5


def registered(server: Loopback, table: pd.DataFrame) -> None:
    """The table as a dataset of the stage."""
    frame = PandasReader().read({"odd.csv": table.to_csv(index=False).encode()})
    catalog, version = server.world.catalog, replace(READY, dataset="odd", rows=len(frame), columns=frame.profiles())
    catalog.put_dataset(replace(DATASET, name="odd", outcome=(), pii=(), time=None))
    catalog.finish_version(version)


ASKED = ("init", "odd-model", "--dataset", "odd", "--target", "bought")


def test_the_command_writes_what_model_check_passes(run: Cli, server: Loopback) -> None:
    registered(server, odd_table())
    assert run(*ASKED, "--output", "odd.yaml") == exits.OK, run.err
    assert "cost_total" in run.err
    assert run.out == ""
    assert run("model", "check", "odd.yaml") == exits.OK, run.err
    assert run("model", "apply", "odd.yaml") == exits.OK, run.err
    assert run(*ASKED, "--output", "odd.yaml") == exits.INVALID
    assert "exists already" in run.err
    assert run(*ASKED) == exits.OK
    assert run.out == Path("odd.yaml").read_text("utf-8")
    assert run(*ASKED, "--json") == exits.OK
    assert run.document["spec"] == Path("odd.yaml").read_text("utf-8")
    assert run.document["suspects"] == ["cost_total"]
    assert run("init", "Not a name", *ASKED[2:]) == exits.INVALID


def test_on_a_terminal_suspects_are_asked_about(run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    registered(server, odd_table().assign(paid=[each % 3 for each in range(ROWS)]))
    monkeypatch.setattr("sys.stdin", Terminal("y\nn\n"))
    assert run(*ASKED) == exits.OK
    spec = ModelSpec.parse_yaml(run.out)
    assert "cost_total" in kinds(spec)
    assert "paid" not in kinds(spec)
    assert "#   paid: known only after the fact, as you said" in run.out
    assert "Is it known when a prediction is made?" in run.err
