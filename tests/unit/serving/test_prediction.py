import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.serving import prediction
from tidegate.domain.serving.contract import Contract, FeatureContract, OutputRule, PredictionInterval, Rulebook
from tidegate.domain.serving.prediction import Validator, answers, parse_request, validate
from tidegate.kernel.errors import ModelFailedError, RequestInvalidError
from tidegate.kernel.table import Table

CONTRACT = Contract(
    model="flight-delay",
    task="binary",
    features=(
        FeatureContract("carrier", "categorical", categories=("AA", "UA"), unseen="reject"),
        FeatureContract("distance", "numeric", minimum=0, maximum=5000, unit="miles"),
        FeatureContract("hour", "integer", minimum=0, maximum=23),
        FeatureContract("dest", "categorical", missing="allow"),
        FeatureContract("holiday", "boolean"),
        FeatureContract("wind", "numeric", missing="allow"),
    ),
    classes=(False, True),
)
GOOD = {"carrier": "UA", "distance": 1400, "hour": 7, "dest": "IAH", "holiday": False, "wind": 10.5}


def refused(*instances, contract=CONTRACT):
    with pytest.raises(RequestInvalidError) as caught:
        validate(contract, instances)
    return caught.value


def problem_of(**change):
    (fault,) = refused(GOOD | change).faults
    return fault


# The contract


@pytest.mark.parametrize(
    "contract",
    [
        CONTRACT,
        Contract("m", "multiclass", (FeatureContract("x", "numeric"),), classes=("a", "b", "c"), threshold=0.4),
        Contract("m", "regression", (FeatureContract("x", "numeric"),)),
        Contract("m", "regression", (FeatureContract("x", "numeric"),), interval=PredictionInterval(0.9, 2.5)),
    ],
)
def test_a_contract_survives_its_json(contract):
    assert Contract.from_json(json.loads(json.dumps(contract.to_json()))) == contract


@pytest.mark.parametrize(
    "document",
    [{}, {"model": "m"}, CONTRACT.to_json() | {"rule": 1}, CONTRACT.to_json() | {"features": [{"name": "x"}]}, []],
)
def test_a_contract_with_a_part_missing_or_unknown_is_not_read(document):
    with pytest.raises(ValueError, match="serving contract"):
        Contract.from_json(document)


# The body


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (b"", 400, ""),
        (b"{", 400, ""),
        (b'{"instances": [{}]} x', 400, ""),
        (b'\xff{"instances": []}', 400, ""),
        (b"[" * 100_000, 400, ""),
        (b'{"instances": [' + b"9" * 5000 + b"]}", 400, ""),
        (b"[]", 422, ""),
        (b"null", 422, ""),
        (b'"instances"', 422, ""),
        (b"{}", 422, "instances"),
        (b'{"instances": null}', 422, "instances"),
        (b'{"instances": {}}', 422, "instances"),
        (b'{"instances": NaN}', 400, ""),
        (b'{"instances": []}', 422, "instances"),
        (b'{"instances": [{}, {}, {}, {}]}', 422, "instances"),
        (b'{"instances": [{}], "explain": true}', 422, "explain"),
    ],
)
def test_a_body_of_another_shape_is_the_callers_fault_and_says_where(body, status, path):
    with pytest.raises(RequestInvalidError) as caught:
        parse_request(body, max_instances=3)
    assert caught.value.status == status
    assert [fault.path for fault in caught.value.faults] == ([] if path is None else [path])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"carrier": "UA", "hour": 7}',
            (
                "the body is one instance, not an object with a list `instances`; wrap it: "
                '{"instances": [{"carrier": ..., ...}]}'
            ),
        ),
        (
            b'[{"a \\"b": 1}]',
            'the body is a list, not an object with a list `instances`; wrap it: {"instances": [{"a \\"b": ...}]}',
        ),
        (b'{"instances": {"hour": 7}}', 'instances: is an object, not a list; wrap it: {"instances": [{"hour": ...}]}'),
        (
            b'{"Instance": [{"hour": 7}]}',
            "Instance: no such field; did you mean 'instances'? (allowed: instances, routing_key)",
        ),
        (b'{"routing_key": "x"}', "instances: is required: a list of objects, one for each prediction"),
        (b"[1, 2]", "the body is a list, not an object with a list `instances`"),
        (b'{"instances": {}}', "instances: is an object, not a list"),
    ],
)
def test_an_instance_without_the_object_around_it_is_shown_how_to_be_wrapped(body, said):
    with pytest.raises(RequestInvalidError) as caught:
        parse_request(body, max_instances=3)
    (fault,) = caught.value.faults
    assert str(fault) == said


def test_a_body_of_the_right_shape_is_handed_on_unchecked():
    assert parse_request(b'{"instances": [{"a": []}, 3]}', max_instances=2).instances[1] == 3


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(documents, st.booleans())
def test_a_body_is_read_as_the_standard_library_reads_it(document, escaped):
    text = json.dumps(document, ensure_ascii=escaped)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return
    assert repr(prediction.read_json(body, constants=True)) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        "[-0, -0.0, 1E5, 0e1, 1e400, -1e400, NaN, -Infinity]",
        "[18446744073709551615, 18446744073709551616, -9223372036854775808, -9223372036854775809]",
        "[0.1234567890123456789012345, 123456789012345678901234567890.5]",
        ' {"a": [1.0, 1, true, null]} \n',
    ],
)
def test_odd_json_is_read_as_the_standard_library_reads_it(text):
    assert repr(prediction.read_json(text.encode(), constants=True)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[01]", "[1] 2", '{"a" 1}', '"\t"', "\ufeff[]", "nul", "[" * 2_000])
def test_a_fault_is_reported_in_the_standard_librarys_words(text):
    faults: tuple[str, ...]
    try:
        json.loads(text)
    except RecursionError:
        faults = ("it is nested too deeply; at most 64 levels are read",)
    except ValueError as error:
        faults = (str(error),)
    with pytest.raises(RequestInvalidError) as caught:
        prediction.read_json(text.encode())
    assert tuple(fault.problem for fault in caught.value.faults) == faults


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [{"a": 1, "a": 2}]}',
        '{"instances": [{"a": 1}, {"b": ":", "a" : 1, "a"\t: 2}]}',
        '{"instances": [{"a": "\\u003a", "b": 1, "b": 2}]}',
        '{"instances": [{"a": 1, "\\u0061": 2}]}',
        '{"instances": [{"a": "12:30", "b": 1, "b": 2}]}',
        '{"instances": [], "instances": [{"a": 1}]}',
        '{"instances": [{"a": {"b": 1, "b": 2}}]}',
        '{"inputs": [{"name": "a", "parameters": {"x": 1, "x": 2}}]}',
        '{"a": 1, "b": 2, "a": 3}',
        '[{"a": 1, "a": 2}]',
    ],
)
def test_a_name_given_twice_is_a_fault(body):
    with pytest.raises(RequestInvalidError) as caught:
        prediction.read_json(body.encode())
    assert caught.value.status == 400
    assert "is given twice in one object" in caught.value.faults[0].problem


@pytest.mark.parametrize("rows", [1, 3, 500])
def test_a_body_without_repeated_names_is_read_once_only(rows, monkeypatch):
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("read twice"))
    document = {"instances": [{"carrier": "UA", "hour": 3, "at": "2013-01-05T18:00:00"}] * rows, "routing_key": "k"}
    for separators in ((",", ":"), (", ", ": ")):
        assert prediction.read_json(json.dumps(document, separators=separators).encode()) == document


pairs = st.tuples(st.sampled_from(["a", "b", ":", 'c"']), st.sampled_from([1, ":", "1:2", '": "']))
repeatable = st.lists(pairs, max_size=4)


@given(st.lists(repeatable, max_size=3), st.sampled_from([":", " : ", ":\t"]), st.booleans())
def test_names_are_distinguished_whatever_the_texts_hold(rows, colon, escaped):
    def written(row):
        return "{" + ",".join(f"{json.dumps(name)}{colon}{json.dumps(value)}" for name, value in row) + "}"

    body = '{"instances":[' + ",".join(map(written, rows)) + "]}"
    body = body.replace("a", "\\u0061") if escaped and '"' in body else body
    body = body.replace("inst\\u0061nces", "instances")
    if any(len(dict(row)) < len(row) for row in rows):
        with pytest.raises(RequestInvalidError, match="not valid JSON"):
            prediction.read_json(body.encode())
    else:
        assert prediction.read_json(body.encode()) == {"instances": [dict(row) for row in rows]}


# Instances


def test_good_instances_become_the_models_two_tensors():
    inputs = validate(CONTRACT, [GOOD, GOOD | {"dest": None, "holiday": True, "wind": None, "hour": 8.0}])
    assert inputs.numeric.dtype == np.float32
    np.testing.assert_array_equal(inputs.numeric, [[1400, 7, 0, 10.5], [1400, 8, 1, np.nan]])
    assert inputs.categorical.tolist() == [["UA", "IAH"], ["UA", ""]]


def test_served_inputs_equal_those_of_training():
    rows = [GOOD, GOOD | {"carrier": "AA", "distance": 0.1, "wind": None, "dest": ""}]
    table = Table(
        {
            "carrier": np.array(["UA", "AA"]),
            "distance": np.array([1400, 0.1]),
            "hour": np.array([7.0, 7.0]),
            "dest": np.array(["IAH", ""]),
            "holiday": np.array([0.0, 0.0]),
            "wind": np.array([10.5, np.nan]),
        }
    )
    served, trained = validate(CONTRACT, rows), CONTRACT.inputs(table)
    np.testing.assert_array_equal(served.numeric, trained.numeric)
    assert served.categorical.tolist() == trained.categorical.tolist()


def test_what_may_be_missing_may_be_left_out():
    instance = {name: value for name, value in GOOD.items() if name not in {"dest", "wind"}}
    inputs = validate(CONTRACT, [instance])
    assert math.isnan(inputs.numeric[0, 3])
    assert inputs.categorical[0, 1] == ""


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("carrier", None, "is null; the model needs a value"),
        ("carrier", "", "is empty; the model needs a value"),
        ("carrier", "ZZ", "is not a known category"),
        ("carrier", 7, "is a number, not a text"),
        ("carrier", ["UA"], "is a list, not a text"),
        ("dest", "x" * 1025, "is longer than 1024 characters"),
        ("dest", "\ud800", "holds a character that is not valid text"),
        ("dest", "IAH\0", "holds a character that is not valid text"),
        ("dest", True, "is a boolean, not a text"),
        ("distance", None, "is null; the model needs a value"),
        ("distance", True, "is a boolean, not a number"),
        ("distance", "1400", "is a text, not a number"),
        ("distance", {}, "is an object, not a number"),
        ("distance", math.nan, "is not a finite number"),
        ("distance", math.inf, "is not a finite number"),
        ("distance", -0.5, "is below the minimum 0 miles"),
        ("distance", 5000.01, "is above the maximum 5000 miles"),
        ("distance", 10**400, "is above the maximum 5000 miles"),
        ("wind", 1e39, "is above the maximum 3.40282e+38"),
        ("wind", -math.inf, "is not a finite number"),
        ("hour", 1.5, "is not a whole number"),
        ("hour", 24, "is above the maximum 23"),
        ("hour", False, "is a boolean, not a number"),
        ("holiday", 1, "is a number, not true or false"),
        ("holiday", "true", "is a text, not true or false"),
    ],
)
def test_a_value_that_breaks_the_contract_is_named_with_its_place(field, value, problem):
    fault = problem_of(**{field: value})
    assert (fault.path, fault.problem) == (f"instances[0].{field}", problem)


def test_the_known_categories_are_reported_when_they_are_few():
    assert problem_of(carrier="ZZ").allowed == ("AA", "UA")
    many = FeatureContract("c", "categorical", categories=tuple(map(str, range(500))), unseen="reject")
    (fault,) = refused({"c": "x"}, contract=Contract("m", "regression", (many,))).faults
    assert (fault.problem, fault.allowed) == ("is not one of the 500 known categories", ())


def test_missing_and_unknown_fields_are_both_named():
    instance = {name: value for name, value in GOOD.items() if name != "hour"} | {"hours": 7}
    paths = {fault.path: fault.problem for fault in refused(GOOD, instance).faults}
    assert paths == {
        "instances[1].hour": "is missing",
        "instances[1].hours": "no such field in the model's contract",
    }


def test_fields_that_another_version_knows_are_passed_over_whatever_they_hold():
    plain = validate(CONTRACT, [GOOD, GOOD])
    more = validate(CONTRACT, [GOOD | {"gust": 31.5}, GOOD | {"gust": {"kn": None}}], frozenset({"gust", "carrier"}))
    np.testing.assert_array_equal(more.numeric, plain.numeric)
    assert more.categorical.tolist() == plain.categorical.tolist()


def test_what_another_version_knows_excuses_neither_other_fields_nor_the_versions_own():
    with pytest.raises(RequestInvalidError) as caught:
        validate(CONTRACT, [GOOD | {"gust": 31.5, "guts": 1, "hour": 24}], frozenset({"gust", "hour"}))
    assert {fault.path: fault.problem for fault in caught.value.faults} == {
        "instances[0].guts": "no such field in the model's contract",
        "instances[0].hour": "is above the maximum 23",
    }


@pytest.mark.parametrize("instance", [None, 3, "x", [], True])
def test_an_instance_that_is_no_object_is_one_fault(instance):
    (fault,) = refused(GOOD, instance).faults
    assert fault.path == "instances[1]"
    assert fault.problem.endswith("not an object")


def test_fifty_faults_are_listed_in_order_of_instances_and_all_are_counted():
    error = refused(*[{"carrier": 1, "distance": "x", "hour": 1.5, "holiday": 0}] * 30)
    assert error.summary == "120 faults in the instances; the first 50 are listed"
    assert [fault.path for fault in error.faults[:5]] == [
        "instances[0].carrier",
        "instances[0].distance",
        "instances[0].hour",
        "instances[0].holiday",
        "instances[1].carrier",
    ]
    assert len(error.faults) == 50


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 30),
    st.integers(),
    st.floats(),
    st.floats(-1, 30),
    st.sampled_from(["", "AA", "UA", "ZZ", "\0", "\ud800", "x" * 1025]),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=1),
    st.just({}),
)


TIMED = replace(
    CONTRACT,
    features=(
        *CONTRACT.features,
        FeatureContract("at", "time"),
        FeatureContract("sold", "time", missing="allow"),
        FeatureContract("paid", "boolean", missing="allow"),
        FeatureContract("stops", "integer", missing="allow"),
    ),
)
FULL = GOOD | {"at": "2013-05-01T17:30:00Z", "sold": None, "paid": True, "stops": 2}
moments = st.sampled_from(["2013-05-01", "2013-05-01T17:30:00.9+02:00", "0001-01-01T00:00:00+01:00", "noon"])
edges = st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**64 + 1, 10**39, 10**400, -0.0, 1e16, 3.5e38, 5000, 23.0])
fields = st.sampled_from([*(feature.name for feature in TIMED.features), "gust", "else"])


def judged(check, instances, also):
    """What a check says: the three tensors, or the faults."""
    try:
        inputs = check(instances, also)
    except RequestInvalidError as error:
        return error.summary, error.faults
    bits = inputs.numeric.view(np.uint32).tolist()
    return inputs.numeric.shape, bits, inputs.categorical.shape, inputs.categorical.tolist(), inputs.times.tolist()


@settings(max_examples=400)
@given(
    st.lists(st.dictionaries(fields, values | moments | edges, max_size=2), min_size=1, max_size=4),
    st.booleans(),
    st.sets(st.sampled_from([feature.name for feature in TIMED.features]), max_size=2),
)
def test_at_once_the_same_instances_are_accepted_as_value_by_value_and_become_the_same_bits(changes, shared, left_out):
    whole = [{name: value for name, value in (FULL | change).items() if name not in left_out} for change in changes]
    also = frozenset({"gust"} if shared else ())
    found = judged(Validator(TIMED).inputs, whole, also)
    assert found == judged(lambda *given: prediction._by_feature(TIMED, *given), whole, also)
    known = {feature.name for feature in TIMED.features} | also
    sound = all(row.keys() <= known for row in whole) and all(
        prediction._problem(feature, row) is None for row in whole for feature in TIMED.features
    )
    assert sound == (found[0] == (len(whole), 6))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"wind": None, "sold": "2013-04-01", "paid": None, "stops": None, "dest": None},
        {"distance": 0, "hour": 8.0, "dest": ""},
        {"wind": ...},
        {"gust": 3},
    ],
)
def test_what_keeps_the_contract_is_not_looked_at_value_by_value(change, monkeypatch):
    monkeypatch.setattr(prediction, "_by_feature", lambda *_: pytest.fail("was looked at"))
    row = {name: value for name, value in (FULL | change).items() if value is not ...}
    inputs = validate(TIMED, [FULL, row], frozenset({"gust"}))
    assert (len(inputs.numeric), len(inputs.categorical), len(inputs.times)) == (2, 2, 2)


def test_whole_numbers_beyond_a_float64_are_judged_exactly():
    contract = Contract("m", "regression", (FeatureContract("x", "integer", maximum=2.0**53),))
    assert validate(contract, [{"x": 2**53}]).numeric[0, 0] == 2.0**53
    (fault,) = refused({"x": 2**53 + 1}, contract=contract).faults
    assert fault.problem.startswith("is above the maximum")


@settings(max_examples=300)
@given(st.sampled_from(CONTRACT.features), st.lists(values, min_size=1, max_size=6))
def test_a_column_is_accepted_exactly_when_each_of_its_values_is(feature, column):
    each = [prediction._problem(feature, {feature.name: value}) is None for value in column]
    assert prediction._accepts(feature, column) == all(each)


# Answers


def test_an_answer_has_label_score_and_probabilities_in_the_contracts_words():
    scores = np.array([[0.9, 0.1], [0.25, 0.75]], dtype=np.float32)
    assert answers(CONTRACT, scores) == [
        {"label": False, "score": 0.1, "probabilities": {"false": 0.9, "true": 0.1}},
        {"label": True, "score": 0.75, "probabilities": {"false": 0.25, "true": 0.75}},
    ]


def test_the_threshold_and_the_positive_class_decide_the_label():
    contract = Contract("m", "binary", CONTRACT.features, classes=("late", "on time"), positive=0, threshold=0.2)
    (answer,) = answers(contract, np.array([[0.2, 0.8]], dtype=np.float32))
    assert (answer["label"], answer["score"]) == ("late", 0.2)


def test_of_several_classes_the_likeliest_is_the_label():
    contract = Contract("m", "multiclass", CONTRACT.features, classes=(1, 2, 3))
    (answer,) = answers(contract, np.array([[0.2, 0.5, 0.3]], dtype=np.float32))
    assert answer == {"label": 2, "score": 0.5, "probabilities": {"1": 0.2, "2": 0.5, "3": 0.3}}


def test_a_regression_answers_with_its_score_only():
    contract = Contract("m", "regression", CONTRACT.features)
    assert answers(contract, np.array([[1.5], [-2]], dtype=np.float32)) == [{"score": 1.5}, {"score": -2.0}]


def test_a_regression_with_an_interval_answers_with_its_ends():
    contract = Contract("m", "regression", CONTRACT.features, interval=PredictionInterval(0.9, 0.1))
    assert answers(contract, np.array([[1.1], [-2]], dtype=np.float32)) == [
        {"score": 1.1, "lower": 1.0, "upper": 1.2},
        {"score": -2.0, "lower": -2.1, "upper": -1.9},
    ]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_scores_are_written_so_that_the_same_float32_is_read_back(numbers):
    scores = np.array(numbers, dtype=np.float32)[:, None]
    written = json.loads(json.dumps(answers(Contract("m", "regression", ()), scores)))
    np.testing.assert_array_equal(np.array([row["score"] for row in written], dtype=np.float32), scores[:, 0])
    assert all(len(repr(row["score"])) <= 14 for row in written)


@settings(max_examples=300)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_scores_are_the_decimals_that_numpy_writes(numbers):
    scores = np.array(numbers, dtype=np.float32)[:, None]
    written = [row["score"] for row in answers(Contract("m", "regression", ()), scores)]
    assert list(map(repr, written)) == [repr(float(str(score))) for score in scores[:, 0]]


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_not_served(score):
    with pytest.raises(ModelFailedError):
        answers(Contract("m", "regression", ()), np.array([[score]], dtype=np.float32))


# Routing keys and business rules


def test_a_routing_key_is_a_text_or_a_number_and_equal_numbers_are_one_key():
    def key(text):
        return parse_request(b'{"instances": [{}], "routing_key": ' + text + b"}", max_instances=1).routing_key

    assert key(b'"7"') == key(b"7") == key(b"7.0") == "7"
    assert (key(b"null"), key(b"0.5"), key(b'" a"')) == (None, "0.5", " a")
    for wrong in (b"true", b"[]", b"{}", b"1e999", b'""', b'"' + b"x" * 257 + b'"'):
        with pytest.raises(RequestInvalidError, match="routing_key"):
            key(wrong)


def test_a_rule_is_broken_only_when_its_condition_holds_and_its_demand_does_not():
    rules = (
        OutputRule("low", "score <= 0.5", when="hour > 22"),
        OutputRule("calm", "label == false or wind < 10"),
    )
    book = Rulebook.of(replace(CONTRACT, rules=rules))
    answer = {"label": True, "score": 0.9}
    assert book.broken({"hour": 23, "wind": 20}, answer) == ("low", "calm")
    assert book.broken({"hour": 22, "wind": 5}, answer) == ()
    assert book.broken({"hour": None}, answer) == ()
    assert book.broken({"hour": 23, "wind": 20}, {"score": 0.9}) == ("low",)


def test_rules_travel_with_the_contract_and_one_that_cannot_be_read_is_refused():
    ruled = replace(CONTRACT, rules=(OutputRule("low", "score <= 0.5"), OutputRule("b", "score > 0", when="true")))
    assert Contract.from_json(json.loads(json.dumps(ruled.to_json()))) == ruled
    older = {name: part for name, part in CONTRACT.to_json().items() if name != "rules"}
    assert Contract.from_json(older) == CONTRACT
    for wrong in ({"name": "a", "require": "score.real"}, {"name": "a"}, {"name": "a", "require": "1", "then": "x"}):
        with pytest.raises(ValueError, match=r"contract|attribute"):
            Contract.from_json(CONTRACT.to_json() | {"rules": [wrong]})
