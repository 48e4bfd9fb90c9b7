"""Answers on the holdout that break business rules, of the model and of its fallback."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.builders.evaluation import CONTRACT
from tidegate.domain.evaluation.broken_rules import broken_rules, first_scores
from tidegate.domain.evaluation.sections import BrokenRows
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract, OutputRule
from tidegate.kernel.table import Column, Table

HOLDOUT = Table(
    {"carrier": np.array(["UA", "AA", "UA"]), "wind": np.array([1.0, -1.0, 2.0]), "hour": np.array([1.0, 2.0, 3.0])}
)
SCORES: Column = np.array([[0.25, 0.75], [0.5, 0.5], [0.75, 0.25]], dtype=np.float32)
BY_GROUP: dict[Any, Any] = {("UA",): (0.625, 0.375), ("nowhere",): (0.0625, 0.9375)}
FALLBACK = FittedRule("group_rate", (0.375, 0.625), by=("carrier",), texts=(True,), groups=BY_GROUP)


def ruled(*rules: OutputRule) -> Contract:
    return replace(CONTRACT, rules=rules)


def test_without_rules_nothing_is_broken() -> None:
    found = broken_rules(CONTRACT, HOLDOUT, SCORES, FALLBACK)
    assert (found.holdout_rows, found.rows, found.by_rule) == (3, BrokenRows(0, 0), ())


def test_rows_count_for_who_answers_them_and_once_however_many_rules_they_break() -> None:
    contract = ruled(
        OutputRule("low", "score < 0.6"),
        OutputRule("lower", "score < 0.5"),
        OutputRule("calm", "score < 0", when="wind < 0"),
    )
    found = broken_rules(contract, HOLDOUT, SCORES, FALLBACK)
    assert {rule.name: (rule.candidate, rule.fallback) for rule in found.by_rule} == {
        "low": (1, 1), "lower": (2, 1), "calm": (1, 1),
    }  # fmt: skip
    assert found.rows == BrokenRows(candidate=2, fallback=1)
    assert [(rule.when, rule.require) for rule in found.by_rule] == [
        (None, "score < 0.6"), (None, "score < 0.5"), ("wind < 0", "score < 0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "rows", "score"),
    [
        (OutputRule("low", "score < 0.5"), 1, 0.625),  # of the first row that breaks it
        (OutputRule("low", "score < 0.9"), 0, 0.9375),  # of a group that the holdout does not have
        (OutputRule("low", "score < 0.9", when="wind > 0"), 0, None),  # what looks at more than the group says nothing
        (OutputRule("low", "score < 1"), 0, None),
    ],
)
def test_the_shown_score_is_the_first_with_which_the_fallback_breaks_a_rule(
    rule: OutputRule, rows: int, score: float | None
) -> None:
    (found,) = broken_rules(ruled(rule), HOLDOUT, SCORES, FALLBACK).by_rule
    assert (found.fallback, found.fallback_score) == (rows, score)


def test_a_fallback_without_groups_is_one_answer_for_all() -> None:
    (found,) = broken_rules(
        ruled(OutputRule("low", "score < 0.5")), HOLDOUT, SCORES, FittedRule("constant", (0.25, 0.75))
    ).by_rule
    assert (found.fallback, found.fallback_score) == (3, 0.75)


def test_of_several_answers_that_break_a_rule_the_first_is_kept() -> None:
    broken = [(), ("a",), ("a", "b"), ("b",)]
    given = [{"score": score} for score in (0.1, 0.2, 0.3, 0.4)]
    assert first_scores(broken, given) == {"a": 0.2, "b": 0.3}
