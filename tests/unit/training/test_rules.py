"""What holds for every rule of the registry, whichever it is: in the spec, when it learns, and when it answers."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.builders.specs import faults_of, toy_document
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.training.contracts import serving_contract
from tidegate.domain.training.rules import fitted
from tidegate.kernel.table import Table
from tidegate.spec.model import ModelSpec, json_schema
from tidegate.spec.part import Task
from tidegate.spec.rules.registry import RULES, FallbackRule, kind_of, kinds
from tidegate.spec.rules.rule import Place, Rule

CLASSES: dict[Task, tuple[Any, ...]] = {
    Task.BINARY: (False, True),
    Task.MULTICLASS: ("a", "b", "c"),
    Task.REGRESSION: (),
}
FITTING = [(each, task) for each in RULES for task in each.tasks[Place.FALLBACK]]
CELLS = st.tuples(st.sampled_from(["", "AA", "UA"]), st.sampled_from([np.nan, 0.0, 8.0, 23.0]), st.integers(0, 2))


def example(rule: type[Rule]) -> Rule:
    """The rule as its own example has it, with groups small enough for a few rows."""
    document = dict(rule.example)
    if "min_rows" in rule.model_fields:
        document["min_rows"] = 2
    found: Rule = TypeAdapter(FallbackRule).validate_python(document)
    return found


FEATURES = [
    {"name": "carrier", "kind": "categorical", "categories": ["AA", "UA"], "missing": "allow"},
    {"name": "hour", "kind": "integer", "missing": "allow"},
]


def document(task: Task, **changes: Any) -> dict[str, Any]:
    return toy_document(task, time="at", features=FEATURES, **changes)


def rows(cells: list[tuple[str, float, int]], task: Task) -> dict[str, Any]:
    carrier, hour, target = (np.array(part) for part in zip(*cells, strict=True))
    return {
        "table": Table({"carrier": carrier, "hour": hour.astype(float)}),
        "target": target % 2 if task is Task.BINARY else target * (1 if CLASSES[task] else 2.5),
        "classes": CLASSES[task],
        "order": np.arange(len(cells)),
    }


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("rule", RULES, ids=kind_of)
def test_the_spec_takes_a_rule_where_it_fits_and_names_the_choices_where_not(
    rule: type[Rule], task: Task, place: Place
) -> None:
    wanted = document(task, **{place: dict(rule.example)})
    if task in rule.tasks.get(place, ()):
        spec = ModelSpec.parse(wanted)
        assert getattr(spec, place).kind == kind_of(rule)
        assert ModelSpec.parse(json.loads(spec.canonical_json())) == spec
        return
    faults = faults_of(wanted)
    (path,) = (path for path in faults if path.startswith(place))
    allowed = kinds(place, task) if place in rule.tasks else kinds(place)
    assert f"(allowed: {', '.join(allowed)})" in faults[path]


@pytest.mark.parametrize("rule", RULES, ids=kind_of)
def test_the_schema_describes_a_rule_and_every_field_of_it(rule: type[Rule]) -> None:
    schema = json_schema()
    found = schema["$defs"][rule.__name__]
    assert found["properties"]["kind"]["const"] == kind_of(rule)
    assert " ".join(found["description"].split()) == " ".join((rule.__doc__ or "").split())
    assert all(field.get("description") for name, field in found["properties"].items() if name != "kind")
    for place in rule.tasks:
        assert kind_of(rule) in json.dumps(schema["properties"][place])


@pytest.mark.parametrize(("rule", "task"), FITTING, ids=str)
@given(cells=st.lists(CELLS, min_size=1, max_size=30))
def test_a_rule_answers_a_table_as_it_answers_each_row_and_after_it_was_stored(
    rule: type[Rule], task: Task, cells: list[tuple[str, float, int]]
) -> None:
    given_rows = rows(cells, task)
    found = fitted(example(rule), **given_rows)
    scores = found.scores(given_rows["table"])
    assert scores.shape == (len(cells), max(1, len(CLASSES[task])))
    assert np.isfinite(scores).all()
    if CLASSES[task]:
        assert scores.sum(axis=1) == pytest.approx(1)
        assert scores.min() >= 0
    stored = FittedRule.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert stored == found
    for row, (carrier, hour, _) in enumerate(cells):
        values = {"carrier": carrier or None, "hour": None if np.isnan(hour) else hour}
        assert stored.score(values) == tuple(scores[row])
    assert found.title.startswith(kind_of(rule))


@pytest.mark.parametrize(("rule", "task"), FITTING, ids=str)
def test_a_rule_serves_as_the_fallback(rule: type[Rule], task: Task) -> None:
    spec = ModelSpec.parse(document(task, fallback=dict(rule.example)))
    contract: Contract = serving_contract(spec, classes=CLASSES[task], positive=1, learned={})
    given_rows = rows([("AA", 8.0, 0), ("UA", 9.0, 1), ("UA", np.nan, 2)] * 20, task)
    stored = Fallback.from_bytes(Fallback(contract, fitted(example(rule), **given_rows)).to_bytes())
    (known, other) = stored.answers([{"carrier": "UA", "hour": 9}, {}])
    assert set(known) == set(other) >= ({"label"} if CLASSES[task] else {"score"})


@pytest.mark.parametrize(("rule", "task"), FITTING, ids=str)
def test_what_a_rule_learns_depends_on_training_rows_alone_and_on_all_that_it_names(
    rule: type[Rule], task: Task
) -> None:
    cells = [("AA", 8.0, 0), ("UA", 8.0, 1), ("UA", 9.0, 2), ("AA", np.nan, 1)] * 5
    found = fitted(example(rule), **rows(cells, task))
    assert found == fitted(example(rule), **rows(cells, task))
    named = {*example(rule).groups, *(found._compiled.names if found._compiled else ())}
    assert named <= {"carrier", "hour"}
    assert found.scores(Table({name: rows(cells, task)["table"][name] for name in named}), len(cells)).shape[0] == 20
