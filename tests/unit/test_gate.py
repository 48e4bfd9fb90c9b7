"""The verdict, case by case."""

import json
from dataclasses import replace

import pytest

from tidegate.domain.evaluation import (
    BaselineValue,
    ChampionValue,
    Estimate,
    Evaluation,
    LatencyMs,
    Parity,
)
from tidegate.domain.gate import CHECKS, Outcome, Policy, decide

PASS, FAIL = Outcome.PASS, Outcome.FAIL
LITTLE, NONE = Outcome.INSUFFICIENT_DATA, Outcome.NOT_APPLICABLE

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
                "ONNX and scikit-learn scores differ by at most 1.2e-07 on 28,128 rows (tolerance 0.0001); "
                "no row changes its label"
            ),
        ),
        ("latency_p99", PASS, "scoring one row takes 0.02 ms (p50) and 0.05 ms (p99) of 50 ms allowed"),
        ("load_time", PASS, "loading takes 12 ms of 5000 ms allowed"),
        ("artifact_size", PASS, "the artifact has 3 MiB of 100 MiB allowed"),
        ("fallback", NONE, "the fallback was not evaluated"),
        ("business_rules", NONE, "no business rules are declared"),
    ]


def test_fallback_and_broken_rules_are_told_and_never_judged():
    fallback = {"rule": "constant", "value": 0.5, "low": 0.49, "high": 0.51}
    rules = {
        "holdout_rows": 28_128,
        "rows": {"candidate": 2_813, "fallback": 7},
        "by_rule": [
            {"name": "in-range", "when": None, "require": "score <= 0.9", "candidate": 2_813, "fallback": 7},
            {"name": "other", "when": None, "require": "score >= 0", "candidate": 0, "fallback": 0},
        ],
    }
    gain = {"value": 0.24, "low": 0.23, "high": 0.25}
    told = replace(GOOD, sections={"fallback": fallback | {"gain": gain}, "rules": rules})
    assert decide(told, POLICY).accepted
    assert check(told, "fallback").statement == (
        "when no version can answer, constant does: roc_auc 0.500 [0.490, 0.510]; "
        "the candidate gains 0.240 [0.230, 0.250] over it"
    )
    assert check(told, "business_rules").statement == (
        "2,813 of 28,128 answers (10 %) break a business rule (in-range 2,813); the fallback answers in their place; "
        "the fallback itself would break one on 7 rows"
    )
    assert check(told, "business_rules").value == pytest.approx(0.1, abs=1e-4)
    assert {check(told, name).outcome for name in ("fallback", "business_rules")} == {NONE}


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


def test_a_champion_that_cannot_be_scored_blocks_and_the_reason_is_told():
    champion = ChampionValue(3, None, "the holdout lacks its column wind_speed")
    verdict = decide(replace(GOOD, champion=champion, gain_over_champion=None), POLICY)
    assert not verdict.accepted
    assert verdict.reasons == (
        "version 3 serves and could not be scored on this holdout: the holdout lacks its column wind_speed",
    )


def test_rows_that_the_champion_was_trained_on_are_told():
    found = check(replace(GOOD, champion=replace(GOOD.champion, seen_rows=1200)), "not_worse_than_champion")
    assert "(1,200 of the 28,128 rows were in that version's training data)" in found.statement


def test_for_a_loss_better_is_below():
    verdict = decide(LOSS, POLICY)
    assert verdict.accepted
    assert verdict.checks[1].statement == (
        "log_loss 0.410 [0.400, 0.420] is 0.030 [0.020, 0.040] below the baseline (group_rate by carrier, hour)"
        " (less is better)"
    )
    worse = check(replace(LOSS, gain_over_baseline=Estimate(-0.03, -0.04, -0.02)), "beats_baseline")
    assert "is 0.030 [0.020, 0.040] above the baseline" in worse.statement


@pytest.mark.parametrize(
    ("evaluation", "target", "outcome", "ending"),
    [
        (GOOD, 0.731, PASS, "the lower end of the interval, the one that counts, reaches it"),
        (GOOD, 0.74, FAIL, "is to be at least 0.74: the lower end, 0.731, does not reach it, so it is not shown"),
        (GOOD, 0.76, FAIL, "the whole interval misses it"),
        (LOSS, 0.42, PASS, "is to be at most 0.42: the upper end of the interval, the one that counts, reaches it"),
        (LOSS, 0.415, FAIL, "the upper end, 0.420, does not reach it, so it is not shown"),
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
                "roc_auc was undefined in 21 of 2,000 resamples; "
                "the holdout has too few rows of a class (or too little variety)"
            ),
        ),
        (
            {"confidence": 0.999},
            "2,000 resamples do not carry a 99.9 % interval; set gate.resamples to 10,000 or more",
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


@pytest.mark.parametrize(("flips", "told"), [(1, "1 row changes its label"), (1500, "1,500 rows change their label")])
def test_flipped_labels_within_the_tolerance_are_counted_but_do_not_block(flips, told):
    found = check(replace(GOOD, parity=Parity(28_128, 1e-7, 1e-4, flips)), "parity")
    assert found.outcome is PASS
    assert found.statement.endswith(told)


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
