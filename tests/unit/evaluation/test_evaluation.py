"""An evaluation keeps its stored form."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import BaselineValue, ChampionValue, Evaluation, LatencyMs, Parity
from tidegate.domain.evaluation.sections import Sections, Slice
from tidegate.kernel.errors import NewerDocumentError

EVALUATION = Evaluation(
    metric="roc_auc",
    higher_is_better=True,
    confidence=0.95,
    resamples=2000,
    undefined_resamples=0,
    resample_by="row",
    rows=1000,
    clusters=1000,
    candidate=Estimate(0.74, 0.73, 0.75),
    baseline=BaselineValue("prior", Estimate(0.5, 0.5, 0.5)),
    champion=ChampionValue(1, Estimate(0.73, 0.72, 0.74), seen_rows=0),
    gain_over_baseline=Estimate(0.24, 0.23, 0.25),
    gain_over_champion=Estimate(0.01, 0.0, 0.02),
    metrics={"roc_auc": Estimate(0.74, 0.73, 0.75), "average_precision": None},
    parity=Parity(1000, 1e-7, 1e-4, 0),
    latency_ms=LatencyMs(0.1, 0.2, 500),
    load_ms=5.0,
    artifact_bytes=1000,
    peak_memory_mib=90.0,
    sections=Sections(slices=(Slice("carrier", "UA", 30, too_few=True, lacking="30 of 100 rows"),)),
)


@pytest.mark.parametrize(
    "evaluation",
    [
        EVALUATION,
        replace(EVALUATION, champion=None, gain_over_champion=None),
        replace(EVALUATION, champion=ChampionValue(1, None, "its task is another"), gain_over_champion=None),
    ],
)
def test_an_evaluation_survives_its_json(evaluation):
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_the_json_of_an_evaluation_calls_gains_differences_and_keeps_an_arm_flat():
    document = EVALUATION.to_json()
    assert document["champion"] == {
        "version": 1,
        "problem": "",
        "seen_rows": 0,
        "value": 0.73,
        "low": 0.72,
        "high": 0.74,
    }
    assert document["differences"]["champion"] == {"estimate": 0.01, "low": 0.0, "high": 0.02}


def test_its_stored_form_is_that_of_the_published_schema():
    schema = json.loads((Path(__file__).parents[3] / "docs/schemas/evaluation.json").read_text())
    jsonschema.validate(EVALUATION.to_json(), schema)
    with pytest.raises(jsonschema.ValidationError, match="rows"):
        jsonschema.validate(EVALUATION.to_json() | {"rows": "many"}, schema)


def test_one_of_newer_code_is_refused():
    with pytest.raises(NewerDocumentError, match="the evaluation has schema 2"):
        Evaluation.from_json(EVALUATION.to_json() | {"schema": 2})
