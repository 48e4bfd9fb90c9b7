"""The rule language: what it computes, what is missing, and that nothing else can be reached with it."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.kernel.expressions.compile import Expression, compile_expression
from tidegate.kernel.expressions.language import FUNCTIONS, MAX_LENGTH, ExpressionError, Type

NAMES = {
    "hour": Type.NUMBER,
    "wind": Type.NUMBER,
    "carrier": Type.TEXT,
    "cancelled": Type.BOOLEAN,
    "wind dir": Type.NUMBER,
    "score": Type.NUMBER,
    "label": Type.ANY,
    "due": Type.TIME,
}


def value(text, **values):
    return compile_expression(text, NAMES).value(values)


def problems(text, **options):
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, NAMES, **options)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("0.1 + 0.02 * hour", {"hour": 10}, pytest.approx(0.3)),
        ("-(hour - 3) / 2", {"hour": 7}, -2),
        ("0 <= score <= 1", {"score": 1.0}, True),
        ("0 <= score < 1", {"score": 1.0}, False),
        ("carrier == 'UA' and not cancelled", {"carrier": "UA", "cancelled": False}, True),
        ("cancelled == 1", {"cancelled": True}, True),
        ("cancelled == 1", {"cancelled": 1.0}, True),
        ("label == false", {"label": False}, True),
        ("label == False or label == 'no'", {"label": "no"}, True),
        ("label < 3", {"label": "no"}, None),
        ("min(hour, 3) + max(1, 2, hour) + abs(-1)", {"hour": 5}, 9),
        ("exp(log(hour))", {"hour": 5}, pytest.approx(5)),
        ("bucket(hour, 6, 12.5, 18)", {"hour": 5}, 0),
        ("bucket(hour, 6, 12.5, 18)", {"hour": 6}, 1),
        ("bucket(hour, -6, 12.5, 18)", {"hour": 99}, 3),
        ("hour > 1", {"hour": float("inf")}, None),
        ("input('wind dir') / 90", {"wind dir": 180}, 2),
        ("  hour  ", {"hour": 4}, 4),
        ("(hour +\n wind)", {"hour": 4, "wind": 1}, 5),
    ],
)
def test_arithmetic_comparisons_and_logic_mean_what_they_say(text, values, expected):
    assert value(text, **values) == expected


@pytest.mark.parametrize("missing", [{}, {"hour": None}, {"hour": float("nan")}])
def test_what_is_computed_from_a_missing_value_is_missing(missing):
    assert value("hour + 1", **missing) is None
    assert value("hour > 1", **missing) is None
    assert value("not hour > 1", **missing) is None
    assert value("is_missing(hour)", **missing) is True
    assert value("carrier == 'UA'", carrier="") is None


def test_logic_is_decided_as_soon_as_one_side_decides_it():
    assert value("hour > 1 and score > 1", score=0) is False
    assert value("hour > 1 or score < 1", score=0) is True
    assert value("hour > 1 and score < 1", score=0) is None
    assert value("hour > 1 or score > 1", score=0) is None
    assert value("0 <= hour <= score < 0", score=1) is False


@pytest.mark.parametrize("text", ["1 / 0", "log(0)", "log(-1)", "exp(1e6)", "1e308 * 10", "1e308 * 10 - 1e308 * 10"])
def test_a_result_that_is_no_finite_number_is_missing(text):
    assert value(text) is None


def test_a_misspelt_name_is_reported_with_its_place_and_what_is_near():
    assert problems("0 <= scor and hours > 1") == [
        "there is no value 'scor'; did you mean 'score'? (at character 6)",
        "there is no value 'hours'; did you mean 'hour'? (at character 15)",
    ]


def test_places_count_characters_also_behind_other_scripts_and_line_breaks():
    assert problems(" 'é漢' == nope") == ["there is no value 'nope' (at character 10)"]
    assert problems("(hour +\n nope)") == ["there is no value 'nope' (at character 10)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("hour +", "cannot be read"),
        ("hour; wind", "cannot be read"),
        ("hour = 3", "cannot be read"),
        ("(" * 300, "cannot be read"),
        ("\0", "cannot be read"),
        ("carrier + 1", "arithmetic needs a number, this is a text"),
        ("carrier < 3", "a text cannot be compared with a number"),
        ("not hour", "`not` needs a boolean, this is a number"),
        ("hour and wind", "`and` needs a boolean"),
        ("hour ** 2", "`**` is not part of the language"),
        ("hour % 2", "`%`"),
        ("hour in (1, 2)", "`in`"),
        ("hour if cancelled else wind", "`if ... else`"),
        ("hour.real", "an attribute"),
        ("().__class__", "an attribute"),
        ("hour[0]", "a subscript"),
        ("[hour for hour in wind]", "is not part of the language"),
        ("lambda: 1", "`lambda`"),
        ("(hour := 3)", "`:=`"),
        ("f'{hour}'", "an f-string"),
        ("b'x'", "this literal"),
        ("None", "this literal"),
        ("1j", "this literal"),
        ("...", "this literal"),
        ("~hour", "`~`"),
        ("open('x')", "open is not a function"),
        ("__import__('os')", "__import__ is not a function"),
        ("mn(hour)", "did you mean 'min'?"),
        ("minute(1)", "minute is not a function"),
        ("min()", "min takes at least one argument"),
        ("log(hour, 2)", "log takes one argument"),
        ("is_missing()", "is_missing takes one argument"),
        ("min(*hour)", "only plain arguments"),
        ("max(hour, key=abs)", "only plain arguments"),
        ("input(hour)", "one name in quotes"),
        ("input('nope')", "there is no value 'nope'"),
        ("9" * 400, "too large a number"),
        ("1" + "+1" * 200, "nested more than"),
    ],
)
def test_everything_else_is_refused_with_a_reason(text, said):
    assert said in "; ".join(problems(text))


def test_a_text_that_is_too_long_is_not_even_read():
    assert problems("1" * (MAX_LENGTH + 1)) == [f"has {MAX_LENGTH + 1} characters; at most {MAX_LENGTH} are allowed"]


def test_an_expression_has_to_be_what_is_wanted():
    assert problems("hour + 1", wanted=Type.BOOLEAN) == ["is a number, but must be a boolean"]
    assert problems("carrier", wanted=Type.NUMBER) == ["is a text, but must be a number"]
    assert compile_expression("cancelled", NAMES, wanted=Type.NUMBER).value({"cancelled": True}) is True


def test_an_expression_says_what_it_looks_at():
    found = compile_expression("hour > 1 and is_missing(input('wind dir')) and 'carrier' != carrier", NAMES)
    assert found.names == {"hour", "wind dir", "carrier"}
    assert found.type is Type.BOOLEAN


def test_without_names_any_name_is_taken_as_it_comes():
    assert compile_expression("gust + 1").value({"gust": 2}) == 3


ODD = [
    *NAMES,
    *FUNCTIONS,
    "true",
    "False",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "lambda",
    "__class__",
    "import",
]
TOKENS = st.sampled_from(
    [*ODD, *"+-*/()<>=!,.:[]{}'\"\\@~^&|%;#\n é\0", "<=", "==", "**", ":=", "0", "1e999", "0x1f", "1_0"]
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**40), 10**40), st.floats(), st.text(max_size=3), st.just("")
)


def tried(text):
    try:
        return compile_expression(text, NAMES), ()
    except ExpressionError as error:
        return None, error.problems


@settings(max_examples=600)
@example("{}.__class__", {})
@example("min(label, 'a')", {"label": "7"})
@given(
    st.one_of(
        st.lists(TOKENS, max_size=25).map(" ".join),
        st.lists(TOKENS, max_size=25).map("".join),
        st.text(string.printable, max_size=60),
        st.text(max_size=40),
    ),
    st.dictionaries(st.sampled_from(sorted(NAMES)), VALUES),
)
def test_any_text_is_refused_with_problems_or_computes_a_plain_value(text, values):
    found, refused = tried(text)
    if found is None:
        assert refused
        assert all(problem.position is None or 1 <= problem.position <= len(text) + 1 for problem in refused)
        return
    assert isinstance(found, Expression)
    assert type(found.value(values)) in {type(None), bool, int, float, str}


def numbers():
    leaf = st.sampled_from(["hour", "wind", "2", "0.5", "0"])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({' '.join(parts)})"),
            st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda parts: "{}({}, {})".format(*parts)),
            inner.map(lambda part: f"abs({part})"),
        ),
        max_leaves=12,
    )


@settings(max_examples=200)
@given(numbers(), st.integers(-5, 5), st.integers(-5, 5))
def test_arithmetic_agrees_with_pythons(text, hour, wind):
    expected = eval(text, {"__builtins__": {"min": min, "max": max, "abs": abs}}, {"hour": hour, "wind": wind})  # noqa: S307
    assert value(text, hour=hour, wind=wind) == pytest.approx(expected)
