"""A spec means what it looks like: nothing is expanded, merged or dropped, and whatever it holds is an answer."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.specs import faults_of, spec_document
from tidegate.kernel.errors import SpecInvalidError
from tidegate.spec import strict_yaml
from tidegate.spec.model import ModelSpec

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [{','.join(['*a'] * 9)}]}}\n" for n in range(9))


def faults(text: str) -> dict[str, str]:
    with pytest.raises(SpecInvalidError) as caught:
        strict_yaml.read(text)
    return {fault.path: fault.problem for fault in caught.value.faults}


def refusal(read: Callable[[Any], object], given: object) -> str:
    """What is said of a document that is refused; every refusal has faults."""
    try:
        read(given)
    except SpecInvalidError as error:
        return str(error) if error.faults else pytest.fail("no faults")
    return ""


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (LAUGHS, "line 1, column 4", "anchors are not allowed"),
        (MERGES, "line 1, column 4", "anchors are not allowed"),
        ("a: *b", "line 1, column 4", "aliases are not allowed"),
        ("a: {<<: {b: 1}}", "line 1, column 5", "merge keys"),
        ("a: !!python/name:os.system", "line 1, column 4", "tags are not allowed"),
        ("a: !!binary aGk=", "line 1, column 4", "tags are not allowed"),
        ("seed: 1\nname: x\nseed: 2", "line 3, column 1", "'seed' is given twice"),
        ("a: {b: 1, 'b': 2}", "line 1, column 11", "'b' is given twice"),
        ("from: 2013-06-31", "line 1, column 7", "2013-06-31 is not a day or time that exists"),
        ("from: 2013-01-01T25:00:00", "line 1, column 7", "is not a day or time that exists"),
        ("seed: 0b", "", ""),
        ("seed: " + "9" * 5_000, "line 1, column 7", "has more than 100 characters"),
        ("seed: " + "1:" * 60_000 + "1", "line 1, column 7", "has more than 100 characters"),
        ("1: a", "line 1, column 1", "the name 1 is not a text"),
        ("yes: a", "line 1, column 1", "the name yes is not a text"),
        ("? [a]\n: b", "line 1, column 3", "a name is not a text"),
        ("a: \x1b[2J", "line 1", r"has the control character \x1b"),
        ("a: b\n---\nc: d", "line 2, column 1", "a second document begins here"),
        ("a:\n\tb: c", "line 2, column 1", "a tab is not possible here"),
        ("a: b: c", "line 1, column 5", "a `:` is not possible here"),
        ("a: 'b", "line 1, column 6", "a quote is not closed"),
        ("a: [b", "line 1, column 6", "a `,` or the closing `]` is missing"),
    ],
)  # fmt: skip
def test_what_would_mean_something_else_is_refused_with_its_place(text: str, place: str, problem: str) -> None:
    if place:
        found = faults(text)
        assert problem in found.get(place, ""), found
    else:
        assert strict_yaml.read(text) == {"seed": "0b"}


def test_every_repeated_name_and_impossible_value_is_reported_at_once() -> None:
    found = faults("a: 1\na: {b: 2013-02-30, c: 1, c: 2}\nd: 2013-13-01")
    assert set(found) == {"line 2, column 1", "line 2, column 8", "line 2, column 26", "line 3, column 4"}


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, "{a: " * 60_000, "- " * 120_000, "? " * 120_000,
     "a:\n" + "".join(" " * n + "- \n" for n in range(700)), "[" + "1," * 125_000 + "1]", "- [[[[[[" * 30_000],
)  # fmt: skip
def test_depth_and_number_are_bounded_before_they_cost_anything(text: str) -> None:
    began = time.process_time()
    found = faults(text)
    assert any("nested too deeply" in problem or "too many values" in problem for problem in found.values()), found
    assert time.process_time() - began < 20  # seconds; quadratic scanning takes hours


texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_what_yaml_writes_of_plain_values_is_read_back(value: Any) -> None:
    assert strict_yaml.read(yaml.safe_dump({"value": value})) == {"value": value}


@given(st.text(st.sampled_from("ab:-?[]{}&*!|>'\"#%@`,<= \n\t012.\\~")))
def test_any_text_is_a_document_or_a_fault_in_words(text: str) -> None:
    said = refusal(strict_yaml.read, text)
    assert not any(theirs in said for theirs in ("<unicode string>", "<block end>", "0x"))


def test_signs_that_yaml_gives_a_meaning_are_texts_where_they_are_values() -> None:
    assert strict_yaml.read("categories: [=, <<, '<<']") == {"categories": ["=", "<<", "<<"]}


# In a spec, together with its other faults


def test_text_that_acts_is_a_fault_beside_the_others_and_of_a_stored_spec_none() -> None:
    document = spec_document(owner="ops\x1b[2J", business_unit="a\nb", metric="roc_aux")
    assert set(faults_of(document)) == {"owner", "business_unit", "metric"}
    document = spec_document(owner="ops\x1b[2J")
    assert set(faults_of(document)) == {"owner"}
    stored = ModelSpec.parse(json.loads(json.dumps(document)), stored=True)
    assert ModelSpec.parse(json.loads(stored.canonical_json()), stored=True).digest == stored.digest


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"metric": "roc-auc"}, "metric", "did you mean 'roc_auc'?"),
        ({"candidates": [{"estimator": "LogisticRegresion"}]}, "candidates[0].estimator",
         "did you mean 'sklearn.linear_model.LogisticRegression'"),
        ({"candidates": [{"estimator": "sklearn.linear_model.LogisticRegression", "parameters": {"max_itr": 3}}]},
         "candidates[0].parameters.max_itr", "did you mean 'max_iter'?"),
        ({"baseline": {"kind": "group_rates", "by": ["carrier"]}}, "baseline", "did you mean 'group_rate'?"),
        ({"baseline": {"kind": "group_rate", "by": ["carier"]}}, "baseline.by[0]", "did you mean 'carrier'?"),
        ({"baseline": {"kind": "group_rate", "by": ["carrier"], "min_row": 3}}, "baseline.min_row",
         "did you mean 'min_rows'?"),
        ({"sensitve": ["carrier"]}, "sensitve", "did you mean 'sensitive'?"),
        ({"split": {"holdout_day": 3}}, "split.holdout_day", "did you mean 'holdout_days' or 'holdout'?"),
        ({"capture": {"mask": ["distanse"]}}, "capture.mask[0]", "did you mean 'distance'?"),
        ({"capture": {"sample": 3}}, "capture.sample", "3 is too large; give at most 1"),
        ({"capture": {"sample": "x"}}, "capture.sample", "'x' is not a number"),
        ({"seed": 1.5}, "seed", "1.5 is not a whole number"),
        ({"features": {}}, "features", "a mapping is not a list"),
        ({"split": []}, "split", "a list is not a mapping of names to values"),
        ({"owner": ["a"]}, "owner", "a list is not a text"),
        ({"split": {"train": {"from": "2013-02-30", "to": "2013-04-01"}}}, "split.train.from",
         "'2013-02-30' is not a day or time that exists"),
    ],
)  # fmt: skip
def test_a_fault_is_in_our_words_with_what_was_probably_meant(change: dict[str, Any], path: str, said: str) -> None:
    found = faults_of(spec_document(**change))
    assert said in found[path], found


@given(field=st.sampled_from(sorted(ModelSpec.model_fields)), value=values)
def test_no_fault_has_the_words_of_a_library(field: str, value: Any) -> None:
    said = refusal(ModelSpec.parse, spec_document() | {field: value})
    assert not any(theirs in said for theirs in ("Input should", "valid string", "unable to parse", "pydantic"))
