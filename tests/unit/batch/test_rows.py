"""A row of a file is taken, refused and answered as a request with it would be, whatever format the file has."""

import io
import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.batch import CONTRACT, FEATURES, Scorer, fallback_of
from tidegate.domain.batch.batch import Part, passed_names
from tidegate.domain.batch.rows import Rows, inputs, suspects
from tidegate.domain.serving import guard
from tidegate.domain.serving.contract import (
    Contract,
    FeatureContract,
    GuardAnswer,
    Inputs,
    OutputRule,
    PredictionInterval,
)
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.serving.prediction import answers, validate
from tidegate.kernel.errors import RequestInvalidError
from tidegate.kernel.table import Column
from tidegate.ml import batches
from tidegate.steps.batch.work import Answering, answer_rows


def answering(contract: Contract = CONTRACT, fallback: Fallback | None = None) -> Answering:
    return Answering.of(Scorer(contract), fallback)


def read(text: bytes, contract: Contract = CONTRACT, ids: tuple[str, ...] = ("id",)) -> Rows:
    start, rows = text.index(b"\n") + 1, text.count(b"\n") - 1
    part = Part(1, "a.csv", "e", start, len(text), 1, rows)
    return batches.rows_of("csv", part, len(text), contract, ids=ids, fetch=lambda a, b: text[a:b])


def read_parquet(frame: pd.DataFrame, contract: Contract = CONTRACT) -> Rows:
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    data = file.getvalue()
    part = Part(1, "a.parquet", "e", 0, 1, 1, len(frame))
    return batches.rows_of("parquet", part, len(data), contract, ids=["id"], fetch=lambda a, b: data[a:b])


VALUES = {
    "distance": st.one_of(st.none(), st.floats(-10, 7_000), st.just("far"), st.just(math.inf)),
    "hour": st.one_of(st.none(), st.integers(-2, 26), st.just(7.5)),
    "temp": st.one_of(st.none(), st.floats(allow_nan=False, width=32)),
    "cancelled": st.one_of(st.none(), st.booleans(), st.just("perhaps")),
    "origin": st.sampled_from(["EWR", "JFK", "LGA", "", None]),
    "dest": st.sampled_from(["ORD", "x" * 1_100, "", None, "é"]),
}
INSTANCES = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=12)


@settings(max_examples=60)
@given(INSTANCES)
def test_a_row_of_csv_is_refused_and_answered_as_a_request_with_it(instances: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(instances, dtype=object).assign(id=range(len(instances)))
    rows = read(frame.to_csv(index=False).encode())
    found = answer_rows(answering(), rows)
    for at, instance in enumerate(instances):
        asked = {name: None if value == "" else value for name, value in instance.items()}
        try:
            (expected,) = answers(CONTRACT, Scorer(CONTRACT).score(validate(CONTRACT, [asked])))
        except RequestInvalidError as error:
            paths = {fault.path.removeprefix("instances[0].") for fault in error.faults}
            assert {fault.path for fault in found.faults[at]} == paths
            assert math.isnan(found.score[at])
            continue
        assert at not in found.faults
        assert float(str(found.score[at])) == pytest.approx(expected["score"], abs=1e-6)
        assert CONTRACT.classes[found.label[at]] is expected["label"]


@settings(max_examples=60)
@given(INSTANCES)
def test_no_row_that_a_contract_refuses_goes_unsuspected(instances: list[dict[str, Any]]) -> None:
    rows = read(pd.DataFrame(instances, dtype=object).to_csv(index=False).encode(), ids=())
    suspected = suspects(CONTRACT, rows)
    for at in range(rows.count):
        try:
            validate(CONTRACT, [rows.instance(CONTRACT, at)])
        except RequestInvalidError:
            assert suspected[at]


def test_typed_columns_of_parquet_are_what_they_are() -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "distance": [100, 200, 9_000],
            "hour": [1.0, 2.0, np.nan],
            "temp": [1.5, np.nan, 2.5],
            "cancelled": [True, False, True],
            "origin": ["EWR", "JFK", None],
            "dest": [60_614, 60_615, 60_616],
            "other": [1, 2, 3],
        }
    )
    rows = read_parquet(frame)
    assert rows.instance(CONTRACT, 1) == {
        "distance": 200.0, "hour": 2.0, "temp": None, "cancelled": False, "origin": "JFK", "dest": "60615",
    }  # fmt: skip
    found = answer_rows(answering(), rows)
    assert {at: [fault.path for fault in faults] for at, faults in found.faults.items()} == {
        2: ["distance", "hour", "origin"]
    }
    assert list(rows.ids["id"]) == ["a", "b", "c"]


def test_a_line_with_another_number_of_fields_is_one_bad_row_among_good_ones() -> None:
    text = b'id,distance,hour,origin\n007,1,2,EWR\n1,2\nNA,5,6,JFK\n"x,y",1,2,EWR,9\n'
    rows = read(text)
    found = answer_rows(answering(), rows)
    assert {at: str(faults[0]) for at, faults in found.faults.items()} == {
        1: "has 2 values for 4 columns",
        3: "has 5 values for 4 columns",
    }
    assert rows.ids["id"].tolist() == ["007", None, "NA", None]


def test_an_answer_that_breaks_a_rule_is_the_fallbacks_and_says_which_rule() -> None:
    rule = OutputRule("never_sure_of_short_ones", "score < 0.02 or score == 0.25", when="distance < 100")
    contract = replace(CONTRACT, rules=(rule,))
    rows = read(b"id,distance,hour,origin\n1,50,20,EWR\n2,5000,20,EWR\n", contract)
    found = answer_rows(answering(contract, fallback_of(contract)), rows)
    assert found.fallback.tolist() == [True, False]
    assert found.rule == {0: "never_sure_of_short_ones"}
    assert found.score[0] == np.float32(0.25)
    without = answer_rows(answering(contract), rows)
    assert list(without.faults) == [0]
    assert math.isnan(without.score[0])


@pytest.mark.parametrize("knows", [True, False], ids=["the fallback's own rule", "a newer version's rule"])
def test_a_fallback_that_breaks_a_rule_answers_nothing(knows: bool) -> None:
    contract = replace(CONTRACT, rules=(OutputRule("low", "score < 0.2", when="distance < 100"),))
    rows = read(b"id,distance,hour,origin\n1,50,20,EWR\n2,5000,20,EWR\n", contract)

    class Sure(Scorer):
        def score(self, inputs: Inputs) -> Column:
            scores = super().score(inputs)
            scores[:] = (0.1, 0.9)
            return scores

    found = answer_rows(Answering.of(Sure(contract), fallback_of(contract if knows else CONTRACT)), rows)
    (fault,) = found.faults[0]
    assert fault.problem.startswith("the model broke the rule 'low', and its fallback could not answer either: ")
    assert fault.problem.endswith("the fallback's score 0.25 for instance 0 breaks the business rule 'low'")
    assert (found.fallback.tolist(), found.score[1]) == ([False, False], np.float32(0.9))


def test_each_row_that_the_fallback_cannot_answer_has_its_own_reason() -> None:
    class Broken(Scorer):
        def score(self, inputs: Inputs) -> Column:
            return np.full_like(super().score(inputs), np.nan)

    contract = replace(CONTRACT, rules=(OutputRule("low", "score < 0.2"),))
    rows = read(b"id,distance,hour,origin\n1,50,20,EWR\n2,5000,20,EWR\n", contract)
    found = answer_rows(Answering.of(Broken(contract), fallback_of(contract)), rows)
    problems = [found.faults[row][0].problem for row in (0, 1)]
    assert problems[0] == problems[1]
    assert [each.count("the model ") for each in problems] == [1, 1]


def test_a_score_that_is_no_number_is_the_fallbacks_or_a_fault() -> None:
    class Broken(Scorer):
        def score(self, inputs: Inputs) -> Column:
            scores = super().score(inputs)
            scores[0] = np.nan
            return scores

    rows = read(b"id,distance,hour,origin\n1,50,20,EWR\n2,5000,20,EWR\n")
    helped = answer_rows(Answering.of(Broken(CONTRACT), fallback_of(CONTRACT)), rows)
    assert helped.fallback.tolist() == [True, False]
    assert not helped.faults
    assert list(answer_rows(Answering.of(Broken(CONTRACT), None), rows).faults) == [0]


def test_the_output_has_a_row_for_each_row_in_csv_and_in_parquet() -> None:
    text = b"id,row,distance,hour,origin\na,x,50,20,EWR\nb,y,-1,20,EWR\n"
    rows = read(text, ids=("id", "row"))
    found = answer_rows(answering(), rows)
    said = batches.write("csv", 11, rows, found, CONTRACT).decode().splitlines()
    assert said[0] == "row,id,input_row,score,label,probability_false,probability_true,fallback,rule,error".replace(
        "score,label", "label,score"
    )
    assert said[1].startswith("11,a,x,false,0.0")
    assert said[2] == "12,b,y,,,,,,,distance: is below the minimum 0 miles"
    data = batches.write("parquet", 11, rows, found, CONTRACT)
    frame = pd.read_parquet(io.BytesIO(data))
    assert frame["row"].tolist() == [11, 12]
    assert frame["score"].dtype == np.float32
    assert pd.isna(frame["label"][1])
    assert batches.write_faults(11, rows, found).decode().splitlines()[1:] == [
        "12,b,y,distance,-1,is below the minimum 0 miles"
    ]


def test_a_copied_column_takes_the_place_of_no_other_one() -> None:
    text = b"label,input_label,distance,hour,origin\na,b,50,20,EWR\n"
    rows = read(text, ids=("label", "input_label"))
    said = batches.write("csv", 1, rows, answer_rows(answering(), rows), CONTRACT).decode().splitlines()
    assert said[0].startswith("row,input_input_label,input_label,label,")
    assert said[1].startswith("1,a,b,")


def test_a_regression_has_the_ends_of_its_interval() -> None:
    contract = replace(CONTRACT, task="regression", classes=(), interval=PredictionInterval(0.9, 2.0))
    rows = read(b"id,distance,hour,origin\na,50,20,EWR\n")
    found = answer_rows(answering(contract), rows)
    (expected,) = answers(contract, Scorer(contract).score(validate(contract, [rows.instance(contract, 0)])))
    assert (float(str(found.lower[0])), float(str(found.upper[0]))) == (expected["lower"], expected["upper"])


def guarded(answer: GuardAnswer) -> Contract:
    """Trained on short flights at noon."""
    text = "id,distance,hour,origin\n" + "".join(f"{at},{at % 90},{11 + at % 3},EWR\n" for at in range(400))
    rows = read(text.encode())
    given = inputs(CONTRACT, rows, np.arange(rows.count))
    return replace(CONTRACT, guard=guard.fit(CONTRACT, given, share=0.01, answer=answer))


@pytest.mark.parametrize("answer", ["model", "fallback"])
def test_a_row_far_from_those_of_training_is_marked_as_in_serving(answer: GuardAnswer) -> None:
    contract = guarded(answer)
    rows = read(b"id,distance,hour,origin\na,50,12,EWR\nb,5900,3,JFK\nc,-1,3,JFK\n", contract)
    found = answer_rows(answering(contract, fallback_of(contract)), rows)
    assert found.unusual.tolist() == [False, True, False]
    assert found.fallback.tolist() == [False, answer == "fallback", False]
    said = batches.write("csv", 1, rows, found, contract).decode().splitlines()
    column = said[0].split(",").index("unusual")
    assert [line.split(",")[column] for line in said[1:]] == ["false", "true", ""]


def test_times_are_checked_and_reach_the_model() -> None:
    contract = replace(CONTRACT, features=(*FEATURES, FeatureContract("leaves", "time")))
    text = b"id,distance,hour,origin,leaves\n1,5,6,EWR,2013-05-01T17:30:00Z\n2,5,6,EWR,soon\n3,5,6,EWR,\n"
    rows = read(text, contract)
    assert inputs(contract, rows, np.array([0])).times.tolist() == [[1_367_429_400]]
    faults = answer_rows(answering(contract), rows).faults
    assert {at: [fault.path for fault in found] for at, found in faults.items()} == {1: ["leaves"], 2: ["leaves"]}


def test_bytes_that_are_no_text_make_one_faulty_row() -> None:
    rows = read(b"id,distance,hour,origin,dest\n1,50,20,EWR,ORD\n2,50,20,EWR,\xff\n")
    found = answer_rows(answering(), rows)
    assert {at: str(faults[0]) for at, faults in found.faults.items()} == {
        1: "dest: holds a character that is not valid text"
    }
    assert b"\\udcff" in batches.write_faults(1, rows, found)


@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_columns_with_odd_cells_keep_their_values_whatever_the_order_of_a_set(seed: str) -> None:
    """As they did not: the good rows of columns that each had a cell that is no number were swapped."""
    code = """
from tidegate.domain.batch.batch import Part
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.ml.batches import rows_of
names = "abcdef"
contract = Contract("m", "regression", tuple(FeatureContract(name, "numeric") for name in names))
data = (",".join(names) + "\\n" + ",".join("x" * 6) + "\\n1,2,3,4,5,6\\n").encode()
part = Part(0, "a.csv", "", data.index(b"\\n") + 1, len(data), 0, 2)
rows = rows_of("csv", part, len(data), contract, ids=(), fetch=lambda start, stop: data[start:stop])
print([rows.given[name].value(1, "numeric") for name in names])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]"


def test_a_declared_word_among_texts_is_a_missing_value_that_the_contract_judges() -> None:
    features = (FeatureContract("word", "categorical", missing="allow"),)
    contract = Contract("m", "regression", features, missing_words=("", "unknown"))
    data = b"word\nx\nunknown\n\ny\n"
    part = Part(0, "a.csv", "", 5, len(data), 0, 3)
    rows = batches.rows_of("csv", part, len(data), contract, ids=(), fetch=lambda start, stop: data[start:stop])
    assert [rows.given["word"].value(row, "categorical") for row in range(3)] == ["x", None, "y"]
    assert not suspects(contract, rows).any()
    assert inputs(contract, rows, np.arange(3)).categorical.ravel().tolist() == ["x", "", "y"]


def test_columns_that_are_copied_have_different_names_whatever_they_are_called() -> None:
    names = ["label", "input_label", "flight", "probability_a", "input_input_label"]
    found = passed_names(names)
    assert found == ["input_input_input_label", "input_label", "flight", "input_probability_a", "input_input_label"]
    assert passed_names(["input_id", "id"], {"id"}) == ["input_id", "input_input_id"]
