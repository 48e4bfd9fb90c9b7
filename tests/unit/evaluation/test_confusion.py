"""What is answered where a class is true, against scikit-learn's own counts and shares."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from tests.builders.present import present
from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.calibration import wilson
from tidegate.domain.evaluation.confusion import confusion


def answered(rows: int = 500, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(7)
    target = chance.integers(0, classes, rows)
    return target, np.where(chance.random(rows) < 0.7, target, chance.integers(0, classes, rows))


def test_counts_recall_and_precision_are_those_of_scikit_learn() -> None:
    target, decided = answered()
    found = confusion(target, decided, range(4), Resampling(500))
    assert found.counts == tuple(map(tuple, confusion_matrix(target, decided).tolist()))
    recall = recall_score(target, decided, average=None)
    precision = precision_score(target, decided, average=None)
    assert [present(each).value for each in found.recall] == pytest.approx(recall)
    assert [present(each).value for each in found.precision] == pytest.approx(precision)


def test_a_share_has_the_interval_of_the_rows_it_is_a_share_of() -> None:
    target, decided = answered()
    found = present(confusion(target, decided, range(4), Resampling(500, confidence=0.9)).recall[2])
    of = target == 2
    assert (found.low, found.high) == wilson((decided[of] == 2).sum(), of.sum(), 0.9)
    assert found.low < found.value < found.high


def test_a_class_that_never_comes_or_is_never_answered_has_no_share() -> None:
    found = confusion(np.array([0, 0, 1]), np.array([0, 2, 0]), range(3), Resampling(3))
    assert found.counts == ((1, 0, 1), (1, 0, 0), (0, 0, 0))
    assert found.recall[2] is None
    assert found.precision[1] is None
    assert present(found.recall[1]).value == present(found.precision[2]).value == 0


def test_rows_of_one_day_share_their_luck() -> None:
    chance = np.random.default_rng(3)
    day = np.repeat(np.arange(30), 100)
    target = chance.integers(0, 2, 3_000)
    good = chance.random(30)[day]
    decided = np.where(chance.random(3_000) < good, target, 1 - target)
    rows, days = (confusion(target, decided, range(2), Resampling(3_000, cluster)) for cluster in (None, day))
    assert rows.counts == days.counts
    for share in ("recall", "precision"):
        for each, clustered in zip(getattr(rows, share), getattr(days, share), strict=True):
            assert each.value == clustered.value
            assert clustered.high - clustered.low > 2 * (each.high - each.low)
