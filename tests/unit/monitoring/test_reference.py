"""A reference is read back as it was written."""

import json
from dataclasses import replace

import pytest

from tests.builders.trials import rows, value
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.recalibration import Recalibration
from tidegate.domain.monitoring.quality import LossByScore
from tidegate.domain.monitoring.reference import Reference, background, profiled
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.errors import NewerDocumentError
from tidegate.kernel.table import TARGET

CONTRACT = Contract(
    "sales",
    "regression",
    (
        FeatureContract("region", "categorical"),
        FeatureContract("price", "numeric"),
        FeatureContract("noise", "numeric"),
    ),
)


def reference() -> Reference:
    table = rows()
    scores = value(CONTRACT.inputs(table))
    layout, profile = profiled(CONTRACT, table, scores, ())
    return Reference(
        layout=layout,
        profile=profile,
        importances={"price": 0.5, "region": 0.1},
        metric="mae",
        design=Estimate(1.0, 0.9, 1.1),
        loss_by_score=LossByScore.learn("mae", table[TARGET], scores[:, 0]),
        task="regression",
        classes=(),
        positive=1,
        threshold=0.5,
        confidence=0.9,
        hidden=("region",),
        background="runs/sales/r1/background.npz",
        background_sha256="ab" * 32,
    )


@pytest.mark.parametrize(
    "written",
    [
        reference(),
        replace(
            reference(),
            loss_by_score=None,
            task="binary",
            classes=(False, True),
            positive=0,
            threshold=0.2,
            recalibration=Recalibration("platt", 0, (((0.8, -0.1),),)),
        ),
        replace(reference(), task="multiclass", classes=("a", "b", "c"), importances={}, hidden=()),
    ],
)
def test_a_reference_is_read_back_as_it_was_written(written: Reference) -> None:
    assert Reference.from_json(json.loads(json.dumps(written.to_json(), allow_nan=False))) == written


def test_a_reference_of_a_newer_schema_is_refused() -> None:
    with pytest.raises(NewerDocumentError, match=r"the reference has schema 2, .* reads up to 1"):
        Reference.from_json(reference().to_json() | {"schema": 2})


def test_a_small_background_is_all_training_rows_in_their_order() -> None:
    table = rows(150)
    shown = background(CONTRACT, table, ("region",), seed=3)
    assert list(shown) == ["price", "noise"]
    assert shown["price"].tolist() == table["price"].tolist()


def test_another_seed_draws_another_background() -> None:
    table = rows()
    first, second = (background(CONTRACT, table, (), seed)["price"].tolist() for seed in (1, 2))
    assert first != second
    assert background(CONTRACT, table, (), 1)["price"].tolist() == first
