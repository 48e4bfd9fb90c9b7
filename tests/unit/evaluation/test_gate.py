"""The verdict, case by case."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.builders.present import present
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import BaselineValue, ChampionValue, Evaluation, LatencyMs, Parity
from tidegate.domain.evaluation.gate import CHECKS, CaptureLimits, CheckOutcome, Policy, decide, questions
from tidegate.domain.evaluation.sections import Captures, Sections
from tidegate.kernel.typed import from_json

PASS, FAIL = CheckOutcome.PASS, CheckOutcome.FAIL
LITTLE, NONE = CheckOutcome.INSUFFICIENT_DATA, CheckOutcome.NOT_APPLICABLE

POLICY = Policy(margin=0.005, min_rows=500, latency_p99_ms=50, load_ms=5000, artifact_mib=100)
GOOD = Evaluation(
    metric="roc_auc",
    higher_is_better=True,
    confidence=0.95,
    resamples=2000,
    undefined_resamples=0,
    resample_by="row",
    rows=28_128,
    clusters=28_128,
    candidate=Estimate(0.742, 0.731, 0.753),
    baseline=BaselineValue("group_rate by carrier, hour", Estimate(0.676, 0.665, 0.687)),
    champion=ChampionValue(3, Estimate(0.74, 0.729, 0.751), seen_rows=0),
    gain_over_baseline=Estimate(0.066, 0.055, 0.077),
    gain_over_champion=Estimate(0.002, -0.001, 0.0051),
    metrics={},
    parity=Parity(28_128, 1.2e-7, 1e-4, 0),
    latency_ms=LatencyMs(0.02, 0.05, 500),
    load_ms=12.0,
    artifact_bytes=3 << 20,
    peak_memory_mib=95.0,
)
LOSS = replace(
    GOOD,
    metric="log_loss",
    higher_is_better=False,
    candidate=Estimate(0.41, 0.4, 0.42),
    gain_over_baseline=Estimate(0.03, 0.02, 0.04),
    gain_over_champion=Estimate(0.01, 0.004, 0.016),
)


RESIDUALS = {"histogram": {"edges": [], "counts": []}, "by_prediction": []}


def said(**sections):
    """Sections as they are stored."""
    return from_json(Sections, sections)


def check(evaluation, name, policy=POLICY):
    return next(each for each in decide(evaluation, policy).checks if each.name == name)


def test_a_good_candidate_is_accepted_and_every_check_says_so_in_a_sentence():
    verdict = decide(GOOD, POLICY)
    assert verdict.accepted
    assert verdict.reasons == ()
    assert [(each.name, each.outcome, each.statement) for each in verdict.checks] == [
        ("enough_rows", PASS, "the holdout has 28,128 rows; at least 500 rows are needed"),
        (
            "beats_baseline",
            PASS,
            "roc_auc 0.742 [0.731, 0.753] is 0.066 [0.055, 0.077] above the baseline (group_rate by carrier, hour)",
        ),
        (
            "not_worse_than_champion",
            PASS,
            "roc_auc 0.742 [0.731, 0.753] is 0.0020 [-0.0010, 0.0051] above version 3: the margin is 0.005",
        ),
        ("metric_target", NONE, "no target is set for roc_auc"),
        (
            "parity",
            PASS,
            (
                "ONNX and scikit-learn scores differ by at most 1.2e-07 on 28,128 rows (gate.parity_tolerance "
                "allows 0.0001); no row changes its label"
            ),
        ),
        ("latency_p99", PASS, "scoring one row takes 0.02 ms (p50) and 0.05 ms (p99) of 50 ms allowed"),
        ("load_time", PASS, "loading takes 12 ms of 5000 ms allowed"),
        ("artifact_size", PASS, "the artifact takes 3 MiB of 100 MiB allowed"),
        ("cost", NONE, "the cost was not estimated"),
        ("fallback", NONE, "the fallback was not evaluated"),
        ("business_rules", NONE, "no business rules are declared"),
        ("calibration", NONE, "there are no probabilities or intervals to judge"),
        ("robustness", NONE, "no feature may be missing from a request"),
        ("flips", NONE, "no sensitive column to change is declared"),
        ("slices", NONE, "no slices are declared"),
        ("fairness", NONE, "no sensitive columns are declared"),
        ("captures", NONE, "no captured predictions are in the data"),
    ]


@pytest.mark.parametrize(("limit", "outcome"), [(None, NONE), (0.0013, PASS), (0.0012, FAIL)])
def test_the_estimated_cost_is_reported_and_held_against_its_target(limit, outcome):
    given = replace(GOOD, sections=said(cost={"per_1000_usd": 0.00123, "memory_mb": 1769}))
    found = check(given, "cost", replace(POLICY, cost_per_1000_usd=limit))
    assert (found.outcome, found.value, found.limit) == (outcome, 0.00123, limit)
    assert found.statement.startswith("1,000 predictions are estimated to cost 0.00123 USD: 0.05 ms of scoring each")


def ruled(**fallback: Any):
    """An evaluation in which the candidate broke a rule, and what the fallback did."""
    rule = {"name": "in-range", "when": None, "require": "score <= 0.9", "candidate": 2_813}
    other = {"name": "other", "when": None, "require": "score >= 0", "candidate": 0, "fallback": 0}
    rows = {"candidate": 2_813, "fallback": fallback["fallback"]}
    rules = {"holdout_rows": 28_128, "rows": rows, "by_rule": [rule | fallback, other]}
    return replace(GOOD, sections=said(rules=rules))


@pytest.mark.parametrize(("rows", "said_rows"), [(7, "7 rows"), (0, "0 rows")])
def test_a_fallback_that_breaks_a_rule_rejects_the_version_and_is_named(rows, said_rows):
    shown = ruled(fallback=rows, fallback_score=0.9048)
    assert not decide(shown, POLICY).accepted
    (reason,) = decide(shown, POLICY).reasons
    assert reason.endswith(
        f"the fallback breaks in-range (score <= 0.9) with the score 0.9048, on {said_rows} of the holdout: "
        "change the rule or the fallback"
    )


def test_answers_that_break_a_rule_are_reported_and_not_judged_where_the_fallback_keeps_it():
    found = check(ruled(fallback=0), "business_rules")
    assert found.outcome is CheckOutcome.PASS
    assert found.statement == (
        "2,813 of 28,128 answers (10 %) break a business rule (in-range 2,813); the fallback answers in their place; "
        "the fallback breaks none"
    )
    assert found.value == pytest.approx(0.1, abs=1e-4)


def test_the_fallback_is_reported_and_never_judged():
    fallback = {"rule": "constant", "value": 0.5, "low": 0.49, "high": 0.51}
    gain = {"value": 0.24, "low": 0.23, "high": 0.25}
    shown = replace(GOOD, sections=said(fallback=fallback | {"gain": gain}))
    assert decide(shown, POLICY).accepted
    assert check(shown, "fallback").statement == (
        "when no version can answer, constant does: roc_auc 0.500 [0.490, 0.510]; "
        "the candidate gains 0.240 [0.230, 0.250] over it"
    )
    assert check(shown, "fallback").outcome is NONE


EVE, OTHERS = "arn:aws:iam::1:user/eve", "arn:aws:sts::1:assumed-role/outcomes/i-{}"
SESSION_OF_EVE = "arn:aws:sts::1:assumed-role/Operator/Eve"
LIMITS = CaptureLimits(holdout_share=0.5, reporter_share=0.5, guard_margin=0.05)
HELD = Captures(
    rows=900,
    holdout_rows=14_064,
    reporters={EVE: 400, OTHERS.format(1): 300, OTHERS.format(2): 100, "": 100},
    guard_rows=500,
    candidate=Estimate(0.73, 0.72, 0.74),
    champion=Estimate(0.74, 0.73, 0.75),
    gain=Estimate(-0.01, -0.037, 0.01),
)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({}, ""),
        ({"holdout_rows": 14_065}, "50% of the holdout are captured predictions, more than 50%"),
        ({"reporters": {EVE: 501, "": 499}}, f"{EVE} reported 50% of their outcomes"),
        ({"reporters": {OTHERS.format(1): 300, OTHERS.format(2): 300, EVE: 1}}, "assumed-role/outcomes reported 100%"),
        (
            {"reporters": {EVE: 300, OTHERS.format("x"): 300, SESSION_OF_EVE: 300}},
            "eve (under several ARNs) reported 67%",
        ),
        ({"reporters": {"": 900}}, ""),
        ({"guard_rows": 499}, "cannot be compared with the champion on rows without captures (499 rows)"),
        ({"gain": None}, "cannot be compared"),
        (
            {"gain": Estimate(-0.01, -0.0371, 0.01)},
            "roc_auc is 0.730 [0.720, 0.740], the champion's 0.740 [0.730, 0.750]",
        ),
    ],
)
def test_people_are_asked_about_captures_beyond_a_limit_and_nothing_is_rejected_for_them(changed, word):
    evaluation = replace(GOOD, sections=Sections(captures=replace(HELD, **changed)))
    policy = replace(POLICY, captures=LIMITS)
    asked, found = questions(evaluation, policy), check(evaluation, "captures", policy)
    assert len(asked) == bool(word)
    assert all(word in each and each in found.statement for each in asked)
    assert found.outcome is (NONE if word else PASS)
    assert decide(evaluation, policy).accepted


def test_a_loss_is_held_against_the_guard_in_its_own_direction():
    held = replace(HELD, candidate=Estimate(0.41, 0.4, 0.42), champion=Estimate(0.4, 0.39, 0.41))
    worse = replace(held, gain=Estimate(-0.01, -0.021, 0.001))
    policy = replace(POLICY, captures=LIMITS)
    assert questions(replace(LOSS, sections=Sections(captures=worse)), policy)
    better = replace(held, gain=Estimate(0.01, -0.019, 0.03))
    assert questions(replace(LOSS, sections=Sections(captures=better)), policy) == ()


def test_the_list_of_checks_is_closed_and_each_is_named_as_its_function():
    assert [each.name for each in decide(GOOD, POLICY).checks] == [each.__name__ for each in CHECKS]


@pytest.mark.parametrize(
    ("gain", "outcome", "ending"),
    [
        (
            Estimate(0.066, 0.0001, 0.13),
            PASS,
            "is 0.0660 [0.0001, 0.1300] above the baseline (group_rate by carrier, hour)",
        ),
        (Estimate(0.066, 0.0, 0.13), FAIL, "it is not shown to be better than a rule without learning"),
        (Estimate(0.066, -0.001, 0.13), FAIL, "it is not shown to be better than a rule without learning"),
        (Estimate(-0.03, -0.04, -0.02), FAIL, ": it is worse than a rule without learning"),
    ],
)
def test_the_whole_interval_of_the_gain_over_the_baseline_must_lie_above_zero(gain, outcome, ending):
    found = check(replace(GOOD, gain_over_baseline=gain), "beats_baseline")
    assert found.outcome is outcome
    assert found.statement.endswith(ending)
    assert (found.value, found.low, found.high, found.limit) == (gain.value, gain.low, gain.high, 0)


@pytest.mark.parametrize(
    ("gain", "margin", "outcome", "ending"),
    [
        (Estimate(0.01, 0.002, 0.018), 0.0, PASS, "is 0.010 [0.002, 0.018] above version 3"),
        (Estimate(0.0, -0.004, 0.004), 0.005, PASS, "above version 3: the margin is 0.005"),
        (Estimate(0.0, -0.005, 0.005), 0.005, FAIL, "it may be worse by 0.005; the margin is 0.005"),
        (
            Estimate(0.001, -0.003, 0.005),
            0.0,
            FAIL,
            "may be worse by 0.0030; no margin is allowed",
        ),
        (
            Estimate(-0.02, -0.03, -0.01),
            0.005,
            FAIL,
            "is 0.020 [0.010, 0.030] below version 3: it is worse; the margin is 0.005",
        ),
        (
            Estimate(0.0, 0.0, 0.0),
            0.0,
            FAIL,
            "is the same as that of version 3: it is not shown to be better; no margin is allowed",
        ),
        (Estimate(0.0, 0.0, 0.0), 0.005, PASS, "is the same as that of version 3: the margin is 0.005"),
    ],
)
def test_the_gain_over_the_champion_is_held_against_the_margin(gain, margin, outcome, ending):
    found = check(replace(GOOD, gain_over_champion=gain), "not_worse_than_champion", replace(POLICY, margin=margin))
    assert found.outcome is outcome
    assert found.statement.endswith(ending)
    assert found.limit == -margin


def test_the_first_version_has_no_champion_to_be_held_against():
    found = check(replace(GOOD, champion=None, gain_over_champion=None), "not_worse_than_champion")
    assert found.outcome is NONE
    assert decide(replace(GOOD, champion=None, gain_over_champion=None), POLICY).accepted


def test_a_champion_that_cannot_be_scored_blocks_and_the_reason_is_reported():
    champion = ChampionValue(3, None, "the holdout lacks its column wind_speed")
    verdict = decide(replace(GOOD, champion=champion, gain_over_champion=None), POLICY)
    assert not verdict.accepted
    assert verdict.reasons == (
        "version 3 serves and could not be scored on this holdout: the holdout lacks its column wind_speed",
    )


def test_rows_that_the_champion_was_trained_on_are_reported():
    found = check(replace(GOOD, champion=replace(present(GOOD.champion), seen_rows=1200)), "not_worse_than_champion")
    assert "(1,200 of the 28,128 rows were in that version's training data)" in found.statement


def test_for_a_loss_better_is_below():
    verdict = decide(LOSS, POLICY)
    assert verdict.accepted
    assert verdict.checks[1].statement == (
        "log_loss 0.410 [0.400, 0.420] is 0.030 [0.020, 0.040] below the baseline (group_rate by carrier, hour)"
        " (lower is better)"
    )
    worse = check(replace(LOSS, gain_over_baseline=Estimate(-0.03, -0.04, -0.02)), "beats_baseline")
    assert "is 0.030 [0.020, 0.040] above the baseline" in worse.statement


@pytest.mark.parametrize(
    ("evaluation", "target", "outcome", "ending"),
    [
        (GOOD, 0.731, PASS, "the lower end of the interval, which decides, reaches it"),
        (
            GOOD,
            0.74,
            FAIL,
            "must be at least 0.74: the lower end, 0.731, does not reach it, so the target is not shown to be met",
        ),
        (GOOD, 0.76, FAIL, "the whole interval misses it"),
        (LOSS, 0.42, PASS, "must be at most 0.42: the upper end of the interval, which decides, reaches it"),
        (LOSS, 0.415, FAIL, "the upper end, 0.420, does not reach it, so the target is not shown to be met"),
        (LOSS, 0.39, FAIL, "the whole interval misses it"),
    ],
)
def test_the_unfavourable_end_of_the_interval_must_reach_the_target(evaluation, target, outcome, ending):
    found = check(evaluation, "metric_target", replace(POLICY, metric_target=target))
    assert found.outcome is outcome
    assert found.statement.endswith(ending)


@pytest.mark.parametrize(
    ("change", "statement"),
    [
        ({"rows": 312, "clusters": 312}, "the holdout has 312 rows; at least 500 are needed"),
        ({"resample_by": "day", "clusters": 12}, "the holdout has 12 days; at least 20 are needed"),
        (
            {"undefined_resamples": 21},
            (
                "roc_auc was undefined in 21 of 2,000 resamples "
                "(undefined when all rows are of one class); hold out more rows"
            ),
        ),
        (
            {"confidence": 0.999},
            "2,000 resamples are too few for a 99.9 % interval; set gate.resamples to 10,000 or more",
        ),
    ],
)
def test_too_little_evidence_is_neither_a_pass_nor_a_blame(change, statement):
    verdict = decide(replace(GOOD, **change), replace(POLICY, metric_target=0.7))
    outcomes = {each.name: each.outcome for each in verdict.checks}
    assert verdict.checks[0].statement == statement
    assert not verdict.accepted
    assert {name for name, outcome in outcomes.items() if outcome is LITTLE} == {
        "enough_rows",
        "beats_baseline",
        "not_worse_than_champion",
        "metric_target",
    }
    assert FAIL not in outcomes.values()


def test_the_least_resamples_a_spec_may_ask_for_carry_the_default_interval():
    assert check(replace(GOOD, resamples=200), "enough_rows").outcome is PASS


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"parity": Parity(100, 2e-4, 1e-4, 3)}, "parity"),
        ({"latency_ms": LatencyMs(20, 50.1, 500)}, "latency_p99"),
        ({"load_ms": 5000.1}, "load_time"),
        ({"artifact_bytes": (100 << 20) + 1}, "artifact_size"),
    ],
)
def test_each_computational_limit_blocks_by_itself(change, failed):
    verdict = decide(replace(GOOD, **change), POLICY)
    assert [each.name for each in verdict.checks if each.outcome is FAIL] == [failed]
    assert not verdict.accepted
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize(("flips", "said"), [(1, "1 row changes its label"), (1500, "1,500 rows change their label")])
def test_flipped_labels_within_the_tolerance_are_counted_but_do_not_block(flips, said):
    found = check(replace(GOOD, parity=Parity(28_128, 1e-7, 1e-4, flips)), "parity")
    assert found.outcome is PASS
    assert found.statement.endswith(said)


def test_parity_of_a_regression_compares_values_and_knows_no_labels():
    found = check(replace(GOOD, parity=Parity(177, 0.2, 1e-4, None, spread=1e6, of_spread=2e-7)), "parity")
    assert found.outcome is PASS
    assert (found.value, found.limit) == (2e-7, 1e-4)
    assert found.statement == (
        "ONNX and scikit-learn values differ by at most 2e-07 standard deviations of the target beyond rounding on 177 "
        "rows (gate.parity_tolerance allows 0.0001)"
    )


def test_large_numbers_are_written_without_needless_decimals():
    evaluation = replace(
        LOSS,
        metric="rmse",
        candidate=Estimate(12345.678, 12000.1, 12700.9),
        gain_over_baseline=Estimate(1500.5, 1200.4, 1800.6),
    )
    assert check(evaluation, "beats_baseline").statement.startswith(
        "rmse 12,346 [12,000, 12,701] is 1,500 [1,200, 1,801] below the baseline"
    )


def test_a_verdict_is_plain_json():
    document = json.loads(json.dumps(decide(GOOD, POLICY).to_json(), allow_nan=False))
    assert document["accepted"] is True
    assert document["reasons"] == []
    assert document["checks"][1] == {
        "name": "beats_baseline",
        "outcome": "pass",
        "statement": decide(GOOD, POLICY).checks[1].statement,
        "value": 0.066,
        "low": 0.055,
        "high": 0.077,
        "limit": 0.0,
    }


CALIBRATED = {
    "bins": [],
    "ece_uncorrected": 0.02,
    "ece": {"value": 0.012, "low": 0.008, "high": 0.021},
    "brier": {"value": 0.17, "low": 0.168, "high": 0.172},
}
LOSSES = [
    {"feature": "visib", "allowed": True, "drop": 0.021, "low": 0.018, "high": 0.024},
    {"feature": "wind", "allowed": True, "drop": 0.004, "low": 0.001, "high": 0.007},
    {"feature": "hour", "allowed": False},
]
FLIPS = [
    {"column": "sex", "values": ["f", "m"], "rows": 900, "changed": {"value": 0.04, "low": 0.03, "high": 0.05}},
    {"column": "member", "values": [0, 1], "rows": 900, "changed": {"value": 0.0, "low": 0.0, "high": 0.0}},
    {"column": "age", "problem": "it is not a feature of the model, so it cannot be changed"},
]
MEASURED = replace(GOOD, sections=said(calibration=CALIBRATED, robustness={"missing": LOSSES}, flips=FLIPS))


def test_one_feature_that_may_be_missing_is_the_only_one():
    shown = replace(GOOD, sections=said(robustness={"missing": [each for each in LOSSES if each["allowed"]][:1]}))
    assert check(shown, "robustness").statement.endswith(", the only feature that may be missing")


@pytest.mark.parametrize(
    ("name", "field", "value", "statement"),
    [
        (
            "calibration",
            "calibration_error",
            0.012,
            "the expected calibration error is 0.012 [0.008, 0.021], the Brier score 0.1700 [0.1680, 0.1720]",
        ),
        (
            "robustness",
            "robustness_loss",
            0.021,
            "without visib roc_auc is worse by 0.0210 [0.0180, 0.0240], the most of the 2 features that may be missing",
        ),
        (
            "flips",
            "flips",
            0.04,
            (
                "sex alone changes 0.040 [0.030, 0.050] of the decisions; "
                "member alone changes 0.000 [0.000, 0.000] of the decisions; "
                "age: it is not a feature of the model, so it cannot be changed"
            ),
        ),
    ],
)
def test_a_limit_is_kept_by_the_value_and_the_sentence_shows_its_interval(name, field, value, statement):
    def limited(limit: float) -> Policy:
        change: Any = {field: limit}
        return replace(POLICY, **change)

    shown = check(MEASURED, name)
    assert (shown.outcome, shown.statement, shown.value) == (NONE, statement, value)
    kept, missed = (check(MEASURED, name, limited(limit)) for limit in (value, 0.99 * value))
    assert (kept.outcome, kept.limit, missed.outcome) == (PASS, value, FAIL)
    assert kept.statement.startswith(f"{statement} (at most {value:g} is allowed): the value")
    assert missed.statement.endswith("the value itself, which decides, is above the limit")
    few = replace(MEASURED, rows=100)
    assert check(few, name, limited(1.0)).outcome is LITTLE


def test_a_model_that_gives_no_score_without_a_feature_fails_where_a_limit_is_set():
    silent = [{"feature": "gust", "allowed": True, "unscored": 28_128}, *LOSSES]
    shown = replace(GOOD, sections=said(robustness={"missing": silent}))
    found = check(shown, "robustness", replace(POLICY, robustness_loss=0.5))
    assert found.outcome is FAIL
    assert found.statement == "requests may omit gust, but the model gives no score without it"
    assert check(shown, "robustness").outcome is NONE


def test_the_coverage_of_a_regression_s_intervals_is_reported():
    interval = {"level": 0.9, "coverage": {"value": 0.894, "low": 0.884, "high": 0.904}, "width": 12.3456}
    found = check(replace(LOSS, sections=said(residuals=RESIDUALS | {"interval": interval})), "calibration")
    assert (found.outcome, found.value) == (NONE, 0.894)
    assert found.statement == "intervals of 0.9 contain 0.894 [0.884, 0.904] of the outcomes; they are 12.35 wide"
    assert check(replace(LOSS, sections=said(residuals=RESIDUALS | {"interval": None})), "calibration").value is None


def a_slice(value, gain, **changes):
    found = {"column": "carrier", "value": value, "rows": 1_234, "too_few": False, "lacking": "", "found": False}
    metric, said = {"value": 0.71, "low": 0.68, "high": 0.74}, ("value", "low", "high")
    return found | {"metric": metric, "gain_over_champion": gain and dict(zip(said, gain, strict=True))} | changes


FEW = a_slice("HA", None, too_few=True, lacking="30 of 100 rows", metric=None)
FOUND = {
    "path": [["carrier", "is", "EV"], ["hour", ">", 18.5]],
    "rows": 600,
    "metric": None,
    "words": "carrier is EV and hour above 18.5",
    "loss_over_rest": {"value": 0.12, "low": 0.05, "high": 0.19},
    "confirmed": True,
}


@pytest.mark.parametrize(
    ("slices", "outcome", "statement"),
    [
        (
            [a_slice("AA", (0.001, -0.02, 0.02)), a_slice("EV", (-0.01, -0.03, 0.01)), FEW],
            PASS,
            (
                "not shown to be worse in any of 2 slices, weakest on carrier EV (1,234 rows) roc_auc 0.710 "
                "[0.680, 0.740] is 0.010 [-0.010, 0.030] below version 3 (the margin is 0.005; intervals for all "
                "slices together); too little data to judge carrier HA (30 of 100 rows)"
            ),
        ),
        (
            [a_slice("AA", (0.001, -0.02, 0.02)), a_slice("EV", (-0.03, -0.05, -0.01))],
            FAIL,
            (
                "worse in 1 of 2 slices on carrier EV (1,234 rows) roc_auc 0.710 [0.680, 0.740] is 0.030 [0.010, "
                "0.050] below version 3 (the margin is 0.005; intervals for all slices together)"
            ),
        ),
        ([a_slice("EV", (-0.02, -0.03, -0.005))], PASS, None),  # exactly the margin is allowed
        (
            [FEW],
            LITTLE,
            (
                "no slice can be judged; too little data to judge carrier HA (30 of 100 rows); hold out more rows, or "
                "declare coarser slices"
            ),
        ),
    ],
)
def test_slices_are_held_against_the_champion(slices, outcome, statement):
    found = check(replace(GOOD, sections=said(slices=slices)), "slices")
    assert found.outcome is outcome
    assert statement is None or found.statement == statement
    if outcome is FAIL:
        assert (found.value, found.high, found.limit) == (-0.03, -0.01, -0.005)


def test_a_loss_that_grows_in_a_slice_is_worse_too():
    found = check(replace(LOSS, sections=said(slices=[a_slice("EV", (-0.03, -0.05, -0.01))])), "slices")
    assert found.outcome is FAIL
    assert "is 0.030 [0.010, 0.050] above version 3 (lower is better)" in found.statement


def test_found_slices_are_reported_when_they_are_confirmed():
    found = check(replace(GOOD, sections=said(found=[FOUND, FOUND | {"confirmed": False}])), "slices")
    assert (found.outcome, found.statement) == (
        NONE,
        (
            "no slices are declared; a search found larger errors where carrier is EV and hour above 18.5 "
            "(loss 0.12 [0.05, 0.19] above the rest)"
        ),
    )


def test_without_a_champion_that_can_be_scored_the_worst_slice_is_reported():
    slices = [a_slice("AA", None, metric={"value": 0.8, "low": 0.7, "high": 0.9}), a_slice("EV", None)]
    first = replace(GOOD, champion=None, gain_over_champion=None, sections=said(slices=slices))
    worst_of = "of 2 slices roc_auc is worst on carrier EV (1,234 rows): 0.710 [0.680, 0.740]"
    assert check(first, "slices").statement == f"no version serves yet; {worst_of}"
    odd = replace(first, champion=ChampionValue(3, None, "it is gone"))
    assert check(odd, "slices").statement == f"version 3 could not be scored; {worst_of}"
    worst = replace(LOSS, champion=None, sections=said(slices=slices))
    assert "log_loss is worst on carrier AA" in check(worst, "slices").statement
    assert {check(each, "slices").outcome for each in (first, odd, worst)} == {NONE}


def a_difference(value, rate="positive_rate"):
    ends = {"value": value, "low": value - 0.01, "high": value + 0.02}
    return ends | {"rate": rate, "highest": "m", "lowest": "f", "compared": ["f", "m"]}


@pytest.mark.parametrize(
    ("parity", "opportunity", "outcome"),
    [(0.1, 0.05, PASS), (0.101, 0.05, FAIL), (0.05, None, LITTLE), (0.2, None, FAIL), (None, None, LITTLE)],
)
def test_a_difference_between_groups_keeps_its_limit_by_its_value(parity, opportunity, outcome):
    differences = {
        "demographic_parity": parity and a_difference(parity),
        "equal_opportunity": opportunity and a_difference(opportunity, "true_positive_rate"),
        "equalized_odds": None,
    }
    policy = replace(POLICY, group_differences={"demographic_parity": 0.1, "equal_opportunity": 0.2})
    found = check(replace(GOOD, sections=said(fairness={"sex": {"groups": [], **differences}})), "fairness", policy)
    assert found.outcome is outcome
    assert ("cannot be judged: fewer than two groups have enough positive rows" in found.statement) is not bool(
        opportunity
    )
    if parity:
        assert (found.value, found.limit) == (parity, 0.1)


def test_differences_without_a_limit_are_reported():
    differences = {
        "demographic_parity": a_difference(0.12),
        "equal_opportunity": None,
        "equalized_odds": a_difference(0.3, "false_positive_rate"),
    }
    found = check(replace(GOOD, sections=said(fairness={"sex": {"groups": [], **differences}})), "fairness")
    assert (found.outcome, found.statement) == (
        NONE,
        (
            "no limit is set: demographic parity of sex: the share of positive decisions is 0.120 [0.110, 0.140] "
            "higher for m than for f; equalized odds of sex: the false positive rate is 0.300 [0.290, 0.320] higher "
            "for m than for f"
        ),
    )
