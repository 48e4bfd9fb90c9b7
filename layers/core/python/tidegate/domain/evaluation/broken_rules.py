"""Answers on the holdout that break business rules, of the model and of its fallback."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.domain.evaluation.sections import BrokenRows, BrokenRule, Rules
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract, Rulebook
from tidegate.domain.serving.prediction import answers
from tidegate.kernel.table import Column, Table

Row = Mapping[str, Any]
Broken = tuple[str, ...]  # the names of the rules that one answer breaks


def broken_rules(contract: Contract, holdout: Table, scores: Column, fallback: FittedRule) -> Rules:
    """How many holdout rows would break each rule, by who answers; and whether the fallback would break one for any of
    its groups, as far as the rule looks at nothing else. `scores` are the model's [rows, classes].

    Raises:
        ModelFailedError: a score is not a finite number.
    """
    rulebook = Rulebook.of(contract)
    if not rulebook.rules:
        return Rules(len(holdout), BrokenRows(0, 0), ())
    rows = _rows(contract, holdout)
    by_model = _broken(rulebook, rows, answers(contract, scores))
    fallback_scores: Column = fallback.scores(holdout)
    given = answers(contract, fallback_scores)
    by_fallback = _broken(rulebook, rows, given)
    groups = _groups(fallback)
    given_to_groups = answers(contract, np.array([group_scores for _, group_scores in groups]))
    by_group = _broken(rulebook, [group for group, _ in groups], given_to_groups)
    shown = first_scores([*by_fallback, *by_group], [*given, *given_to_groups])
    return Rules(
        holdout_rows=len(holdout),
        rows=BrokenRows(sum(map(bool, by_model)), sum(map(bool, by_fallback))),
        by_rule=tuple(
            BrokenRule(
                name,
                when.text if when else None,
                require.text,
                candidate=sum(name in each for each in by_model),
                fallback=sum(name in each for each in by_fallback),
                fallback_score=shown.get(name),
            )
            for name, when, require in rulebook.rules
        ),
    )


def first_scores(broken: Iterable[Broken], given: Iterable[Row]) -> dict[str, float]:
    """By rule, the score of the first answer that breaks it."""
    found: dict[str, float] = {}
    for names, answer in zip(broken, given, strict=True):
        for name in names:
            found.setdefault(name, answer["score"])
    return found


def _rows(contract: Contract, holdout: Table) -> list[Row]:
    """The holdout as requests would have it."""
    names = [feature.name for feature in contract.features]
    columns = [holdout[name].tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _groups(fallback: FittedRule) -> list[tuple[Row, tuple[float, ...]]]:
    """The fallback's scores by group; those of all other rows are of the group of which nothing is known."""
    groups = [(dict(zip(fallback.by, key, strict=True)), scores) for key, scores in (fallback.groups or {}).items()]
    return [({}, fallback.overall), *groups]


def _broken(rulebook: Rulebook, rows: Sequence[Row], given: Sequence[Row]) -> list[Broken]:
    return [rulebook.broken(row, answer) for row, answer in zip(rows, given, strict=True)]
