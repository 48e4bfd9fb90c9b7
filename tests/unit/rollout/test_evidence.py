"""From capture records to what the arms of a rollout did."""

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.captures import AT, SLOW_MS, asked, feedback, lines, rollout, sure
from tests.builders.serving import GOOD, MODEL, Serving, breaks, fail, onnx, second
from tidegate.domain.rollout.canary import ArmCounts, Look
from tidegate.domain.rollout.evidence import CAPTURED_WITHIN, Labels, Tally
from tidegate.domain.rollout.rollout import Phase, Rollout
from tidegate.domain.serving.capture import Capture, CapturePolicy, ShadowAnswer
from tidegate.domain.serving.prediction import PredictionRequest


def looks(captures: Iterable[Capture], of: Rollout | None = None) -> tuple[Look, ...]:
    tally = Tally(of or rollout())
    for record in lines(captures):
        tally.add(record)
    return tally.looks()


def candidate(*captures: Capture, of: Rollout | None = None) -> ArmCounts:
    (look,) = looks(captures, of)
    return look.candidate


# What is counted


def test_a_request_counts_once_and_its_scores_by_row() -> None:
    counts = candidate(asked(3, scores=[0.2, 0.21, 0.9]), asked())
    assert counts == ArmCounts(requests=2, scores=(1, 1, 1, 1))


@pytest.mark.parametrize(
    ("why", "counted"),
    [
        ("scoring_failed", {"errors": 1}),
        ("not_loadable", {"errors": 1}),
        ("contract_broken", {"errors": 1}),
        ("timed_out", {"timeouts": 1}),
    ],
)
def test_a_version_that_did_not_answer_has_an_error_or_a_time_out_and_no_score(
    why: str, counted: dict[str, Any]
) -> None:
    by_champion = asked(2, reason=f"champion:{why}", version=3, error="E")
    assert candidate(by_champion) == ArmCounts(requests=1, unavailable=1, scores=(0, 0, 0, 0), **counted)
    by_fallback = asked(2, reason=f"fallback:{why}", version=None, error="E")
    assert candidate(by_fallback) == ArmCounts(requests=1, fallbacks=1, unavailable=1, scores=(0, 0, 0, 0), **counted)


def test_a_champion_that_is_passed_over_for_the_version_before_it_has_an_error() -> None:
    (look,) = looks([asked(arm="champion", reason="previous_good:not_loadable", version=2)])
    assert look.champion == ArmCounts(requests=1, errors=1, unavailable=1, scores=(0, 0, 0, 0))
    assert look.candidate == ArmCounts(scores=(0, 0, 0, 0))


@pytest.mark.parametrize(
    ("why", "more"), [("scoring_failed", {}), ("timed_out", {"timeouts": 1}), ("not_loadable", {})]
)
def test_a_request_that_nobody_answered_is_an_error_and_neither_slow_nor_a_fallback(
    why: str, more: dict[str, Any]
) -> None:
    nobody = asked(reason=f"unanswered:{why}", version=None, latency_ms=900.0, predictions=[{"id": why}], error="E")
    assert candidate(nobody) == ArmCounts(requests=1, errors=1, unavailable=1, scores=(0, 0, 0, 0), **more)


def test_a_broken_rule_counts_once_for_a_request_and_its_row_has_no_score() -> None:
    broke = asked(4, scores=[0.1, 0.3, 0.3, 0.9], violations=[[], ["a"], ["a", "b"], []])
    assert candidate(broke) == ArmCounts(requests=1, violations=1, scores=(1, 0, 0, 1))


def guarded() -> Capture:
    """A request whose second row the version's guard gave to the fallback."""
    first, second = asked(2, scores=[0.1, 0.3]).predictions
    marked = {"unusual": True, "fallback": True, "why": "unusual"}
    return asked(2, predictions=[first, {**second, **marked}])


def test_a_row_that_a_guard_gave_to_the_fallback_is_no_fallback_and_no_error_and_has_no_score() -> None:
    assert candidate(guarded()) == ArmCounts(requests=1, scores=(1, 0, 0, 0))


def test_an_unusual_row_that_the_version_answered_counts_as_any_other() -> None:
    marked = asked(predictions=[{"id": "i", "score": 0.3, "unusual": True}])
    assert candidate(marked) == candidate(asked(scores=[0.3]))


def test_records_from_before_there_were_guards_count_as_before() -> None:
    tally = Tally(rollout())
    for record in lines([asked(scores=[0.3])]):
        del record["unusual"], record["fallback"]
        tally.add(record)
    assert [look.candidate for look in tally.looks()] == [candidate(asked(scores=[0.3]))]


def test_a_broken_rule_that_nobody_could_stand_in_for_is_a_violation_and_an_error() -> None:
    broke = asked(reason="unanswered:rule_violated", version=None, violations=[["a"]], predictions=[{"id": "i"}])
    assert candidate(broke) == ArmCounts(requests=1, errors=1, unavailable=1, violations=1, scores=(0, 0, 0, 0))


def test_a_rule_that_the_champion_broke_in_the_candidates_place_is_not_held_against_the_candidate() -> None:
    counts = candidate(asked(reason="champion:scoring_failed", version=3, violations=[["a"]]))
    assert (counts.errors, counts.violations, sum(counts.scores)) == (1, 0, 0)


def test_a_request_over_the_target_is_slow_unless_it_was_cold() -> None:
    counts = candidate(
        asked(latency_ms=SLOW_MS), asked(latency_ms=SLOW_MS + 0.1), asked(latency_ms=900.0, cold=True), asked()
    )
    assert (counts.requests, counts.slow) == (4, 1)


def test_without_edges_scores_are_not_compared() -> None:
    assert candidate(asked(), of=rollout(edges=())) == ArmCounts(requests=1)


def test_of_a_sample_requests_count_as_seen() -> None:
    tally = Tally(rollout())
    kept = lines([asked(20) for _ in range(50)], CapturePolicy(sample=0.5))
    assert 0 < len(kept) < 1_000
    for record in kept:
        tally.add(record)
    (look,) = tally.looks()
    assert (look.candidate.requests, sum(look.candidate.scores)) == (50, len(kept))


def test_a_record_that_is_there_twice_counts_once() -> None:
    one, other = asked(2, latency_ms=90.0), asked()
    assert looks([one, other, one, one]) == looks([one, other])


def test_rows_of_one_request_in_two_tallies_are_two_requests() -> None:
    first, second = lines([asked(2)])
    counted = []
    for record in (first, second):
        tally = Tally(rollout())
        tally.add(record)
        counted.append(tally.looks()[0].candidate.requests)
    assert counted == [1, 1]


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(chance: Any) -> None:
    captures = [
        asked(
            rows := 1 + place % 3,
            arm=("candidate", "champion", "fallback")[place % 3],
            reason=("candidate", "champion:timed_out", "unanswered:rule_violated", "fallback:not_loadable")[place % 4],
            route=5 + place % 2,
            latency_ms=100.0 * (place % 2),
            violations=[["a"] if row == place % 5 else [] for row in range(rows)],
        )
        for place in range(40)
    ]
    in_order = lines(captures)
    shuffled = in_order + in_order[::3]
    chance.shuffle(shuffled)
    found = []
    for order in (in_order, shuffled):
        tally = Tally(rollout(revisions=(5, 6)))
        for record in order:
            tally.add(record)
        found.append(tally.looks())
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_what_the_inference_function_captures_is_what_is_counted() -> None:
    house = Serving()
    house.release(1, onnx(0.0))
    house.falls_back()
    second(house, onnx(1.0), share_bp=5_000)
    breaks(house, onnx(1.0), fail)
    for place in range(40):
        request = PredictionRequest([GOOD, GOOD])
        house.parts.inference.predict(MODEL, request, os.urandom, request_id=f"r-{place}")
    revision = house.registry._routes[MODEL].revision
    (look,) = looks(house.captures.offered, rollout(revisions=(revision,)))
    assert look.candidate.requests + look.champion.requests == 40
    assert look.candidate.requests == look.candidate.errors > 0
    assert look.champion.errors == look.candidate.fallbacks == sum(look.candidate.scores) == 0
    assert sum(look.champion.scores) == 2 * look.champion.requests > 0


# Which side, and which revision


def test_in_a_canary_the_arms_are_what_they_are_called() -> None:
    (look,) = looks([asked(), asked(), asked(arm="champion", reason="champion", version=3)])
    assert (look.candidate.requests, look.champion.requests) == (2, 1)


@pytest.mark.parametrize("arm", ["holdback", "candidate"])  # before 0.2.0 it was the candidate's
def test_on_probation_the_promoted_version_is_the_candidate_and_the_one_held_back_the_champion(arm: str) -> None:
    held = asked(arm=arm, reason="holdback"), asked(arm=arm, reason="holdback")
    served = [asked(arm="champion", reason="champion:timed_out"), *held]
    (look,) = looks(served, rollout(Phase.PROBATION))
    assert (look.candidate.requests, look.candidate.timeouts) == (1, 1)
    assert (look.champion.requests, look.champion.timeouts) == (2, 0)


def test_what_only_the_fallback_was_to_answer_has_no_side() -> None:
    nobodys = [asked(arm="fallback", reason="fallback:no_version", version=None)]
    for phase in (Phase.CANARY, Phase.PROBATION, Phase.SHADOW):
        assert looks(nobodys, rollout(phase)) == ()


def test_only_the_revisions_of_the_phase_count_and_each_has_its_look() -> None:
    served = [asked(route=7), asked(route=6), asked(route=7), asked(route=5), asked(route=4), asked(route=8)]
    found = looks(served, rollout(revisions=(7, 5)))
    assert [look.candidate.requests for look in found] == [1, 2]


def test_a_record_without_a_revision_counts_for_nothing() -> None:
    (record,) = lines([asked()])
    tally = Tally(rollout())
    tally.add(record | {"route": None})
    tally.add({name: value for name, value in record.items() if name != "route"})
    assert tally.looks() == ()


def shadowed(shadow: ShadowAnswer | None, **changes: Any) -> Capture:
    given: dict[str, Any] = {"arm": "champion", "reason": "champion", "version": 3, "shadow": shadow}
    return asked(**given | changes)


def test_in_the_shadow_phase_the_shadow_is_compared_with_what_answered() -> None:
    served = [
        shadowed(ShadowAnswer(4, [{"score": 0.1}, {"score": 0.9}], latency_ms=90.0), rows=2, scores=[0.3, 0.3]),
        shadowed(ShadowAnswer(4, [{"score": 0.1}], latency_ms=90.0, cold=True), latency_ms=90.0),
        shadowed(ShadowAnswer(4, (), latency_ms=90.0, error="ModelFailedError")),
        shadowed(ShadowAnswer(4, (), latency_ms=90.0, error="ScoringTimeoutError")),
        shadowed(ShadowAnswer(4, [{"score": 0.6}]), reason="fallback:timed_out", version=None),
    ]
    (look,) = looks(served, rollout(Phase.SHADOW))
    assert look.candidate == ArmCounts(requests=5, errors=1, timeouts=1, unavailable=2, slow=1, scores=(2, 0, 0, 1))
    assert look.champion == ArmCounts(requests=5, timeouts=1, fallbacks=1, unavailable=1, slow=1, scores=(0, 2, 1, 0))


def test_what_happened_to_a_shadow_and_the_champion_at_once_is_counted_and_scores_as_pairs() -> None:
    timed_out = {"reason": "fallback:timed_out", "version": None}
    served = [
        shadowed(ShadowAnswer(4, [{"score": 0.1}], latency_ms=90.0), scores=[0.9], latency_ms=90.0),
        shadowed(ShadowAnswer(4, [{"score": 0.1}], latency_ms=90.0), scores=[0.1]),
        shadowed(ShadowAnswer(4, (), error="ScoringTimeoutError"), **timed_out),
        shadowed(ShadowAnswer(4, (), error="ModelFailedError"), **timed_out),
    ]
    (look,) = looks(served, rollout(Phase.SHADOW))
    assert look.both == ArmCounts(requests=4, timeouts=1, unavailable=2, slow=1, scores=(1, 0, 0, 1))
    assert [each.both for each in looks([asked()])] == [None]  # a canary's arms answer different requests


def test_a_request_that_the_shadow_was_not_asked_is_not_compared() -> None:
    assert looks([shadowed(None)], rollout(Phase.SHADOW)) == ()


# Loss


def labelled(outcome: Any, *captures: Capture, of: Rollout | None = None) -> tuple[Look, ...]:
    tally = Tally(of or rollout())
    for record in lines(captures):
        tally.label(record, outcome)
    return tally.looks()


@pytest.mark.parametrize(
    ("outcome", "loss"),
    [(True, 0.04), (False, 0.64), ("true", 0.04), ("True", 0.04), (1, None), (None, None), ("maybe", None)],
)
def test_the_loss_of_a_class_is_the_square_of_what_its_probability_lacks(outcome: Any, loss: float | None) -> None:
    found = labelled(outcome, asked(**sure(true=0.8, false=0.2)))
    if loss is None:
        assert found == ()
    else:
        assert (found[0].candidate.losses, found[0].candidate.loss_millionths) == (1, round(loss * 1e6))
        assert found[0].candidate.requests == 0


@pytest.mark.parametrize("outcome", [3, 3.0, "3", "3.0"])
def test_of_many_classes_the_true_one_counts(outcome: Any) -> None:
    sure_of = sure(**{"1": 0.7, "2": 0.2, "3": 0.1})
    (look,) = labelled(outcome, asked(**{"predictions": sure(a=0.5)["predictions"]} | sure_of))
    assert look.candidate.loss_millionths == 810_000


@pytest.mark.parametrize(
    ("outcome", "millionths"),
    [(0.6, 0), (0.9, 500_000), (0.3, 500_000), (9.0, 1_000_000), (True, None), (float("nan"), None), ("0.6", None)],
)
def test_the_loss_of_a_number_is_bounded_by_the_width_of_the_edges(outcome: Any, millionths: int | None) -> None:
    found = labelled(outcome, asked(scores=[0.6]))
    assert [look.candidate.loss_millionths for look in found] == ([] if millionths is None else [millionths])


@pytest.mark.parametrize("edges", [(), (0.5,)])
def test_without_a_width_a_number_has_no_loss(edges: tuple[float, ...]) -> None:
    assert labelled(0.9, asked(), of=rollout(edges=edges)) == ()


def test_only_answers_of_the_sides_own_version_have_a_loss() -> None:
    others = [
        asked(reason="champion:timed_out", version=3, **sure(true=0.8)),
        asked(reason="fallback:timed_out", version=None, **sure(true=0.8)),
        asked(reason="unanswered:timed_out", version=None, predictions=[{"id": "i"}]),
        asked(violations=[["a"]], **sure(true=0.8)),
        asked(arm="fallback", reason="fallback:killed", version=None, **sure(true=0.8)),
        asked(route=4, **sure(true=0.8)),
    ]
    assert labelled(True, *others) == ()


def test_what_the_guard_gave_to_the_fallback_has_a_loss_so_that_it_hides_no_rows() -> None:
    (prediction,) = asked(**sure(true=0.8)).predictions
    marked = asked(predictions=[{**prediction, "unusual": True, "fallback": True}])
    (guarded_look,), (look,) = labelled(True, marked), labelled(True, asked(**sure(true=0.8)))
    assert (guarded_look.candidate.losses, guarded_look.candidate.loss_at) == (1, look.candidate.loss_at)
    assert guarded_look.candidate.labelled == ()  # a rule's score is not among the scores that labels are held against


def test_a_label_counts_once_and_for_its_side() -> None:
    once = asked(arm="champion", reason="champion", **sure(true=0.5))
    (look,) = labelled(True, once, once, of=rollout(Phase.PROBATION))
    assert (look.candidate.losses, look.champion.losses) == (1, 0)


def test_a_shadow_has_a_loss_of_its_own() -> None:
    shadow = ShadowAnswer(4, [{"probabilities": {"true": 0.9}}])
    failed = ShadowAnswer(4, error="ModelFailedError")
    served = [shadowed(shadow, **sure(true=0.5)), shadowed(failed, **sure(true=0.5))]
    (look,) = labelled(True, *served, of=rollout(Phase.SHADOW))
    assert (look.candidate.losses, look.candidate.loss_millionths) == (1, 10_000)
    assert (look.champion.losses, look.champion.loss_millionths) == (2, 500_000)


# Labels


def settled(labels: Labels, now: datetime = AT) -> tuple[list[int], frozenset[str]]:
    """Losses in millionths, and the sources that have to be read again."""
    tally = Tally(rollout())
    unsettled = labels.settle(tally, now)
    return [look.candidate.loss_millionths for look in tally.looks()], unsettled


def test_a_label_finds_the_capture_of_its_prediction() -> None:
    (record,) = lines([asked(**sure(true=0.8, false=0.2))])
    labels = Labels()
    assert not labels
    labels.report("a", feedback(record["id"], outcome=True))
    assert labels
    assert record["id"] in labels
    assert "other" not in labels
    labels.found(record)
    assert settled(labels) == ([40_000], frozenset())


@pytest.mark.parametrize("latest_first", [True, False])
def test_the_latest_label_of_a_prediction_wins(latest_first: bool) -> None:
    (record,) = lines([asked(**sure(true=0.8, false=0.2))])
    early, late = (
        feedback(record["id"], outcome=True),
        feedback(record["id"], outcome=False, at=AT + timedelta(minutes=1)),
    )
    labels = Labels()
    for source, each in enumerate([late, early] if latest_first else [early, late]):
        labels.report(str(source), each)
    labels.found(record)
    assert settled(labels) == ([640_000], frozenset())


def test_labels_wait_for_captures_that_are_on_their_way() -> None:
    (there,) = lines([asked(**sure(true=0.8, false=0.2))])
    labels = Labels()
    labels.report("waits", feedback(there["id"], outcome=True))
    labels.report("waits", feedback("not captured yet", outcome=True))
    labels.found(there)
    assert settled(labels) == ([], {"waits"})
    assert settled(labels, AT + CAPTURED_WITHIN) == ([], {"waits"})
    assert settled(labels, AT + CAPTURED_WITHIN + timedelta(seconds=1)) == ([40_000], frozenset())


def test_one_source_does_not_wait_for_another() -> None:
    (there,) = lines([asked(**sure(true=0.8, false=0.2))])
    labels = Labels()
    labels.report("settled", feedback(there["id"], outcome=True))
    labels.report("waits", feedback("not captured yet", outcome=True))
    labels.found(there)
    assert settled(labels) == ([40_000], {"waits"})


def test_a_label_of_another_route_revision_is_settled_and_counts_for_nothing() -> None:
    (other,) = lines([asked(route=4, **sure(true=0.8))])
    labels = Labels()
    labels.report("a", feedback(other["id"], outcome=True))
    labels.found({name: value for name, value in other.items() if name != "route"})
    assert settled(labels) == ([], frozenset())
