"""Two versions side by side, from documents as the API gives them."""

import copy
import io
from typing import Any

from rich.console import Console

from tests.builders.reports import report_document
from tests.builders.specs import spec_document
from tidegate.cli.pages.compare import Side, compared, render
from tidegate.spec.model import ModelSpec


def side(number: int, *, report: dict[str, Any] | None = None, **spec: Any) -> Side:
    header = {
        "model": "flight-delay",
        "number": number,
        "status": "accepted",
        "created_at": "2026-01-05T12:00:00+00:00",
    }
    parsed = ModelSpec.parse(spec_document(**spec)).model_dump(mode="json", by_alias=True)
    return Side(header, report or report_document(), parsed)


def changed(**evaluation: Any) -> dict[str, Any]:
    report = copy.deepcopy(report_document())
    report["evaluation"] |= evaluation
    return report


def shown(found: dict[str, Any]) -> str:
    written = io.StringIO()
    render(Console(file=written, width=140), found)
    return " ".join(written.getvalue().split())


def test_versions_of_one_spec_and_one_holdout_differ_in_nothing() -> None:
    found = compared(side(1), side(2))
    assert found["same_holdout"]
    assert found["spec"] == []
    assert "both were judged on the same rows, but not against each other" in shown(found)
    assert "the specs are the same" in shown(found)


def test_features_are_compared_by_name_and_not_by_place() -> None:
    features = spec_document()["features"]
    hour = {**features[1], "max": 24}
    found = compared(side(1), side(2, features=[hour, features[0], {"name": "a.b", "kind": "numeric"}]))
    assert found["features"] == {"added": ["a.b"], "removed": ["distance"]}
    assert {(each["path"], each["first"], each["second"]) for each in found["spec"] if each["first"] == 23} == {
        ("features.hour.max", 23.0, 24.0)
    }
    text = shown(found)
    assert "features added a.b features removed distance" in text
    assert "features.hour.max 23.0 24.0" in text
    assert "'kind'" not in text


def test_a_gain_at_the_gate_is_reported_since_it_was_measured_on_the_same_rows() -> None:
    champion = {"version": 1, "value": 0.7, "low": 0.69, "high": 0.71, "problem": "", "seen_rows": 0}
    gain = {"estimate": 0.05, "low": 0.04, "high": 0.06}
    judged = changed(champion=champion, differences={"baseline": gain, "champion": gain})
    for first, second in ((side(1), side(2, report=judged)), (side(2, report=judged), side(1))):
        found = compared(first, second)
        assert found["gain"] == {"of": 2, "over": 1, "value": 0.05, "low": 0.04, "high": 0.06}
        assert "version 2 gained 0.050 [0.040, 0.060] over version 1, on the same rows" in shown(found)
    assert compared(side(3), side(2, report=judged))["gain"] is None


def test_another_dataset_or_period_is_another_holdout() -> None:
    report = report_document()
    report["lineage"] |= {"dataset_version": "fedcba9876543210", "rows": {"fit": 5, "validation": 3, "holdout": 2}}
    found = compared(side(1), side(2, report=report))
    assert not found["same_holdout"]
    text = shown(found)
    assert "they were judged on different rows" in text
    assert "flights fedcba9876543210" in text
    assert "holdout rows – 2" in text


def test_versions_whose_holdouts_have_the_same_rows_are_comparable_however_the_rows_were_chosen() -> None:
    def hashed(sha256: str, **lineage: Any) -> dict[str, Any]:
        report = report_document()
        report["lineage"] |= {"holdout_sha256": sha256} | lineage
        return report

    periods = {
        "train": {"from": "2013-01-01", "to": "2013-05-01"},
        "holdout": {"from": "2013-05-01T06:30:00", "to": "2013-06-01"},
    }
    other = hashed("a" * 64, dataset_version="fedcba9876543210", seed=7)
    found = compared(side(1, report=hashed("a" * 64)), side(2, report=other, split=periods))
    assert found["same_holdout"]
    text = shown(found)
    assert "both were judged on the same rows" in text
    assert "split.holdout – 2013-05-01 06:30 to 2013-06-01" in text
    assert not compared(side(1, report=hashed("a" * 64)), side(2, report=hashed("b" * 64)))["same_holdout"]
    same = hashed("a" * 64)
    assert not compared(side(1, report=same), side(2, report=same, target="delayed"))["same_holdout"]


def test_slices_checks_and_metrics_that_one_side_lacks_are_dashes() -> None:
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    slices = [
        {"column": "carrier", "value": "EV", "rows": 900, "too_few": False, "metric": estimate},
        {"column": "carrier", "value": "HA", "rows": 9, "too_few": True, "metric": None},
    ]
    report = changed(sections={"slices": slices}, metrics={"roc_auc": estimate, "accuracy": estimate})
    report["verdict"]["checks"] = [{"name": "slices", "outcome": "fail", "statement": "worse"}]
    found = compared(side(1), side(2, report=report))
    assert found["slices"] == [
        {"name": "carrier EV", "first": None, "second": estimate},
        {"name": "carrier HA", "first": None, "second": None},
    ]
    text = shown(found)
    for part in ("carrier EV – 0.50 [0.40, 0.60]", "slices – FAIL", "beats baseline pass –", "log_loss – –"):
        assert part in text, part


def test_periods_are_left_out_where_neither_version_has_any() -> None:
    timeless = report_document()
    timeless["lineage"] |= {"periods": {"fit": None, "holdout": None}}
    assert "period" not in shown(compared(side(1, report=timeless), side(2, report=timeless)))
    timed = report_document()
    timed["lineage"] |= {"periods": {"holdout": ["2026-01-01T00:00:00", "2026-01-31T23:00:00"]}}
    text = shown(compared(side(1, report=timeless), side(2, report=timed)))
    assert "holdout period – 2026-01-01 .. 2026-01-31 23:00" in text
    assert "fit period" not in text
