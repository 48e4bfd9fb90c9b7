"""What follows from verdicts: train again, hold back, ask people, or leave it alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidegate.domain.monitoring.health import (
    KEPT_ATTEMPTS,
    Attempt,
    Findings,
    Health,
    HealthRecord,
    Policy,
    TrainingOutcome,
    Trigger,
    acknowledge,
    look,
    started,
    with_outcomes,
)

NOW = datetime(2026, 1, 5, 12, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICY = Policy(
    retrain_on=frozenset({Trigger.DRIFT, Trigger.QUALITY}),
    every=None,
    cooldown=DAY,
    at_most=3,
    within=7 * DAY,
    give_up_after=2,
)
SCHEDULED = replace(POLICY, retrain_on=frozenset({Trigger.SCHEDULE}), every=7 * DAY)
STEADY = Findings(3, judged=True, window_from=NOW - DAY)
DRIFTED = replace(STEADY, drift=("wind has drifted",))
WORSE = replace(STEADY, quality=("roc_auc is worse",))
BROKEN = replace(DRIFTED, unfixable=("the feed of wind is broken",))


def looked(
    before: HealthRecord | None = None, findings: Findings = DRIFTED, policy: Policy = POLICY, **more: Any
) -> HealthRecord:
    given: dict[str, Any] = {"model": "trip-delay", "under_way": False, "now": NOW}
    return look(before, findings, policy, **given | more)


def attempt(
    number: int = 1, outcome: TrainingOutcome = TrainingOutcome.PROMOTED, *, ago: timedelta = 3 * DAY
) -> Attempt:
    at = NOW - ago
    ended = None if outcome is TrainingOutcome.UNDER_WAY else at + HOUR
    return Attempt(f"r-{number}", Trigger.DRIFT, at, outcome, ended)


def record(*attempts: Attempt, **fields: Any) -> HealthRecord:
    made = HealthRecord("trip-delay", revision=4, health=Health.STEADY, since=NOW - 9 * DAY, looked_at=NOW - HOUR)
    return replace(made, attempts=attempts, **fields)


@pytest.mark.parametrize(
    ("findings", "health"),
    [
        (STEADY, Health.STEADY),
        (replace(STEADY, judged=False), Health.UNKNOWN),
        (DRIFTED, Health.DRIFTED),
        (WORSE, Health.DRIFTED),
        (BROKEN, Health.NEEDS_REDESIGN),
    ],
)
def test_the_first_look_says_how_a_model_stands(findings: Findings, health: Health) -> None:
    found = looked(None, findings)
    assert (found.revision, found.health, found.since, found.looked_at) == (1, health, NOW, NOW)


def test_drift_and_lost_quality_ask_for_a_training_and_quality_is_named_first() -> None:
    assert looked(findings=DRIFTED).wanted is Trigger.DRIFT
    both = looked(findings=replace(DRIFTED, quality=WORSE.quality))
    assert (both.wanted, both.reasons) == (Trigger.QUALITY, ("roc_auc is worse", "wind has drifted"))


def test_what_people_did_not_ask_for_is_reported_and_nothing_starts() -> None:
    found = looked(policy=replace(POLICY, retrain_on=frozenset()))
    assert (found.health, found.wanted, found.reasons) == (Health.DRIFTED, None, ("wind has drifted",))


def test_a_model_that_cannot_be_judged_says_why() -> None:
    found = looked(findings=Findings(None, judged=False, problem="no version serves"))
    assert (found.health, found.reasons) == (Health.UNKNOWN, ("no version serves",))


def test_a_look_that_finds_the_same_changes_nothing_but_when_it_looked() -> None:
    first = looked(record())
    second = looked(first, now=NOW + HOUR)
    assert second == replace(first, revision=first.revision + 1, looked_at=NOW + HOUR)


def test_a_schedule_asks_when_its_time_has_come() -> None:
    early = record(last_trained_at=NOW - 7 * DAY + HOUR)
    assert looked(early, STEADY, SCHEDULED).wanted is None
    due = looked(early, STEADY, SCHEDULED, now=NOW + HOUR)
    assert (due.wanted, due.health) == (Trigger.SCHEDULE, Health.STEADY)


def test_no_training_starts_while_a_release_is_under_way() -> None:
    for found in (looked(record(), under_way=True), looked(record(attempt(outcome=TrainingOutcome.UNDER_WAY)))):
        assert (found.wanted, found.held_back) == (None, "a release of the model is under way")


def test_a_cooldown_holds_the_next_training_back() -> None:
    known = record(attempt(outcome=TrainingOutcome.TURNED_AWAY, ago=DAY - HOUR))
    found = looked(known)
    assert found.wanted is None
    assert "cooldown" in found.held_back
    assert looked(known, now=NOW + HOUR).wanted is Trigger.DRIFT


def test_only_so_many_trainings_start_within_a_while() -> None:
    ended = [attempt(1, TrainingOutcome.TURNED_AWAY, ago=7 * DAY), attempt(2, ago=5 * DAY), attempt(3, ago=4 * DAY)]
    known = record(*ended, attempt(4, TrainingOutcome.TURNED_AWAY, ago=2 * DAY))
    findings = replace(DRIFTED, window_from=NOW - 6 * DAY)
    assert looked(known, findings).held_back.startswith("3 trainings began within 7 days")
    assert looked(known, findings, now=NOW + 2 * DAY + HOUR).wanted is Trigger.DRIFT


def test_candidates_turned_away_in_a_row_end_the_loop() -> None:
    one, two = (attempt(number, TrainingOutcome.TURNED_AWAY) for number in (1, 2))
    assert looked(record(one)).health is Health.DRIFTED
    found = looked(record(one, two))
    assert (found.health, found.wanted) == (Health.NEEDS_REDESIGN, None)
    assert found.reasons[0] == "the last 2 candidates were rejected: runs r-1, r-2"
    assert looked(record(one, two, attempt(3), one)).health is Health.DRIFTED


def test_a_candidate_without_enough_evidence_says_nothing_of_the_next_one() -> None:
    turned, unproven = attempt(1, TrainingOutcome.TURNED_AWAY), attempt(2, TrainingOutcome.UNPROVEN)
    assert looked(record(turned, unproven, unproven, unproven)).health is Health.DRIFTED
    assert looked(record(turned, unproven, turned)).health is Health.NEEDS_REDESIGN


def test_drift_in_a_whole_window_after_a_promotion_ends_the_loop() -> None:
    known = record(attempt(7, ago=DAY + HOUR))
    found = looked(known)
    assert found.health is Health.NEEDS_REDESIGN
    assert found.reasons == ("it still drifts, although run r-7 was promoted", "wind has drifted")
    assert looked(known, replace(DRIFTED, window_from=NOW - DAY - 2 * HOUR)).health is Health.DRIFTED
    assert looked(known, STEADY).health is Health.STEADY


def test_a_model_in_need_of_people_stays_so_until_somebody_has_seen_to_it() -> None:
    broken = looked(record(), BROKEN)
    assert (broken.reasons, broken.wanted) == (BROKEN.unfixable, None)
    later = looked(broken, STEADY, now=NOW + DAY)
    assert (later.health, later.reasons, later.since) == (Health.NEEDS_REDESIGN, BROKEN.unfixable, NOW)
    seen = acknowledge(later, by="ann", reason="feed mended", now=NOW + DAY)
    assert (seen.health, seen.reasons, seen.acknowledged_by) == (Health.UNKNOWN, (), "ann")
    assert looked(seen, STEADY, now=NOW + DAY + HOUR).health is Health.STEADY


def test_failures_before_an_acknowledgement_count_no_more() -> None:
    turned_away = [attempt(number, TrainingOutcome.TURNED_AWAY) for number in (1, 2)]
    known = record(*turned_away, acknowledged_at=NOW - DAY)
    assert looked(known).health is Health.DRIFTED


def test_a_training_that_began_is_remembered_and_no_longer_wanted() -> None:
    wanted = looked(record())
    begun = started(wanted, attempt(1, TrainingOutcome.UNDER_WAY, ago=timedelta(0)))
    assert (begun.revision, begun.wanted) == (wanted.revision + 1, None)
    assert begun.attempts[-1].run_id == "r-1"
    for number in range(KEPT_ATTEMPTS):
        begun = started(begun, attempt(number + 2, TrainingOutcome.UNDER_WAY))
    assert [len(begun.attempts), begun.attempts[0].run_id] == [KEPT_ATTEMPTS, "r-2"]


def test_what_became_of_a_training_is_noted_once() -> None:
    known = record(attempt(1), attempt(2, TrainingOutcome.UNDER_WAY), attempt(3, TrainingOutcome.UNDER_WAY))
    settled = with_outcomes(known, {"r-1": (TrainingOutcome.FAILED, NOW), "r-2": (TrainingOutcome.TURNED_AWAY, NOW)})
    assert [each.outcome for each in settled.attempts] == [
        TrainingOutcome.PROMOTED,
        TrainingOutcome.TURNED_AWAY,
        TrainingOutcome.UNDER_WAY,
    ]
    assert settled.attempts[1].ended_at == NOW
    assert settled.revision == known.revision
