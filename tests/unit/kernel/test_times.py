"""Time features: Python's calendar, numpy's columns and the ONNX graph agree, from the spec to a served answer."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders.fronts import computed_by_onnxruntime
from tidegate.domain.data.dataset import ColumnType
from tidegate.domain.serving.computed import columns
from tidegate.domain.serving.contract import NO_TIME, TIMES_INPUT, ComputedContract, Contract, FeatureContract
from tidegate.domain.serving.prediction import validate
from tidegate.kernel.errors import RequestInvalidError
from tidegate.kernel.expressions.compile import compile_expression
from tidegate.kernel.expressions.times import seconds_of
from tidegate.kernel.table import Table, seconds
from tidegate.ml.frames import PandasReader

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXPRESSIONS = (
    "hour(due)",
    "weekday(due)",
    "month(due)",
    "day_of_year(due)",
    "seconds_between(due, sent)",
    "days_between(due, sent)",
    "is_missing(sent)",
    "hour(due) >= 22 or weekday(due) >= 5 and not is_missing(sent)",
    "bucket(seconds_between(due, sent) / 3600, 1, 24)",
)
CONTRACT = Contract(
    "toy",
    "regression",
    (FeatureContract("due", "time", missing="allow"), FeatureContract("sent", "time", missing="allow")),
    computed=tuple(ComputedContract(f"c{place}", text) for place, text in enumerate(EXPRESSIONS)),
)


def moments() -> st.SearchStrategy[datetime]:
    """Of the years 1 to 9999, with and without an offset; still of these years in UTC."""
    zones = st.none() | st.just(UTC) | st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    anywhere = st.datetimes(timezones=zones)
    ends = st.sampled_from([1, 4, 100, 400, 1900, 1969, 1970, 2000, 2024, 9999]).flatmap(
        lambda year: st.sampled_from(
            [
                datetime(year, 1, 1, tzinfo=UTC),
                datetime(year, 2, 28, 23, 59, 59, 999_999, UTC),
                datetime(year, 3, 1, tzinfo=UTC),
                datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC),
            ]
        )
    )
    return (anywhere | ends).filter(in_range)


def aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def in_range(at: datetime) -> bool:
    elapsed = aware(at) - EPOCH
    return datetime.min.replace(tzinfo=UTC) - EPOCH <= elapsed <= datetime.max.replace(tzinfo=UTC) - EPOCH


def as_table(pairs: list[tuple[datetime | None, datetime | None]]) -> Table:
    made = {"due": [due for due, _ in pairs], "sent": [sent for _, sent in pairs]}
    naive = {
        name: [None if at is None else (EPOCH + (aware(at) - EPOCH)).replace(tzinfo=None) for at in column]
        for name, column in made.items()
    }
    return Table({name: seconds(np.array(column, dtype="datetime64[us]")) for name, column in naive.items()})


def as_sent(pairs: list[tuple[datetime | None, datetime | None]]) -> list[dict[str, Any]]:
    return [
        {name: at.isoformat() for name, at in (("due", due), ("sent", sent)) if at is not None} for due, sent in pairs
    ]


def by_python(due: datetime | None, sent: datetime | None) -> list[float]:
    """The first six expressions, by datetime."""
    at, other = (None if each is None else EPOCH + (aware(each) - EPOCH) for each in (due, sent))
    between = math.nan
    if at is not None and other is not None:
        between = (at.replace(microsecond=0) - other.replace(microsecond=0)).total_seconds()
    parts = [math.nan] * 4 if at is None else [at.hour, at.weekday(), at.month, at.timetuple().tm_yday]
    return [*parts, float(np.float32(between)), float(np.float32(between / 86_400))]


@settings(max_examples=200)
@example([(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)), (None, None)])
@example([(datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC), None)])
@given(st.lists(st.tuples(st.none() | moments(), st.none() | moments()), min_size=1, max_size=12))
def test_training_the_graph_and_pythons_calendar_agree_on_all_times(
    pairs: list[tuple[datetime | None, datetime | None]],
) -> None:
    inputs = CONTRACT.inputs(as_table(pairs))
    ours = columns(CONTRACT, inputs)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours[:, :6], [by_python(*pair) for pair in pairs])
    np.testing.assert_array_equal(computed_by_onnxruntime(CONTRACT, inputs.feed()), ours)
    np.testing.assert_array_equal(validate(CONTRACT, as_sent(pairs)).times, inputs.times)


@settings(max_examples=100)
@given(st.none() | moments(), st.none() | moments())
def test_a_rule_sees_of_a_request_what_the_columns_hold(due: datetime | None, sent: datetime | None) -> None:
    table, (instance,) = as_table([(due, sent)]), as_sent([(due, sent)])
    row = {name: table[name].tolist()[0] for name in table}
    for text in EXPRESSIONS:
        rule = compile_expression(text)
        assert rule.value(instance) == rule.value(row), text
    exact = [compile_expression(text).value(instance) for text in EXPRESSIONS[:4]]
    np.testing.assert_array_equal([math.nan if each is None else each for each in exact], by_python(due, sent)[:4])


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2013-05-01", "2013-05-01T00:00:00"),
        ("2013-05-01 17:30", "2013-05-01T17:30:00"),
        ("2013-05-01T17:30:00Z", "2013-05-01T17:30:00"),
        ("2013-05-01T17:30:00.999999-05:00", "2013-05-01T22:30:00"),
        ("1969-12-31T23:59:59.5", "1969-12-31T23:59:59"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.9Z", "9999-12-31T23:59:59"),
    ],
)
def test_a_time_is_brought_to_utc_and_floored_to_its_second(text: str, utc: str) -> None:
    assert seconds_of(text) == (datetime.fromisoformat(utc).replace(tzinfo=UTC) - EPOCH).total_seconds()


@pytest.mark.parametrize(
    "text",
    [
        "2013-05-01",
        "2013-05-01T17:30",
        "2013-05-01 17:30:00.123456789Z",
        "2013-05-01 17:30 Z",
        "2013-05-01T17:30 -0500",
        "20130501",
        "2013-W18-3",
        "2013-05-01T17",
        "2013-05-01T17:30:00,5",
        "2013-05-01T17:30+05",
        "2013-05-01t17:30",
    ],
)
def test_datasets_and_requests_take_the_same_spellings(text: str) -> None:
    frame = PandasReader().read({"a.csv": f'at,n\n"{text}",1\n'.encode()})
    moment = frame.period("at") if frame.types["at"] is ColumnType.TIME else None
    assert (moment and moment[0].replace(microsecond=0).timestamp()) == seconds_of(text)


@pytest.mark.parametrize("missing", ["allow", "reject"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("tomorrow", "'tomorrow' is not a time in ISO 8601, like \"2013-05-01T17:30:00Z\", of the years 1 to 9999"),
        ("", "'' is not a time in ISO 8601"),
        ("20\x1b[2J", r"'20\x1b[2J' is not a time in ISO 8601"),
        ("x" * 1_000, "xxx... is not a time in ISO 8601"),
        ("2013-02-30", "is not a time in ISO 8601"),
        ("0001-01-01T00:00:00+01:00", "is not a time in ISO 8601"),
        ("9999-12-31T23:59:59-01:00", "is not a time in ISO 8601"),
        (1367429400, "is a number, not a time as text"),
        (True, "is a boolean, not a time as text"),
        (["2013-05-01"], "is a list, not a time as text"),
    ],
)
def test_a_request_whose_time_cannot_be_read_is_refused_with_an_example(value: Any, said: str, missing: Any) -> None:
    contract = Contract("toy", "regression", (FeatureContract("due", "time", missing=missing),))
    with pytest.raises(RequestInvalidError) as caught:
        validate(contract, [{"due": "2013-05-01"}, {"due": value}])
    (fault,) = caught.value.faults
    assert fault.path == "instances[1].due"
    assert said in str(fault)
    assert len(str(fault)) < 250


def test_a_missing_time_is_served_or_refused_as_the_contract_says() -> None:
    asked = [{"due": None}, {}]
    allowed = Contract("toy", "regression", (FeatureContract("due", "time", missing="allow"),))
    assert validate(allowed, asked).times.tolist() == [[NO_TIME], [NO_TIME]]
    with pytest.raises(RequestInvalidError) as caught:
        validate(Contract("toy", "regression", (FeatureContract("due", "time"),)), asked)
    assert [fault.problem for fault in caught.value.faults] == ["is null; the model needs a value", "is missing"]


def test_times_are_fed_only_to_models_that_have_some() -> None:
    plain = Contract("toy", "regression", (FeatureContract("size", "numeric"),))
    assert list(validate(plain, [{"size": 1}]).feed()) == ["numeric"]
    assert list(validate(CONTRACT, [{}]).feed()) == [TIMES_INPUT]
    assert Contract.from_json(json.loads(json.dumps(CONTRACT.to_json()))) == CONTRACT
