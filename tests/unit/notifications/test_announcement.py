"""People hear of each thing that happens once; systems hear of every transition; nobody hears anything of the data."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders.notifications import AT, DRIFT, ENTRY, RUN, STEADY, looked
from tests.builders.present import present
from tests.builders.registry import numbered
from tests.builders.rollouts import ASKED, BY_HAND, EVE, PLAN, SHOWN_BAD, SHOWN_FINE, OneRelease
from tests.builders.specs import spec
from tidegate.cli.events_reference import page
from tidegate.domain.monitoring import health
from tidegate.domain.monitoring.health import Attempt, Findings, Trigger
from tidegate.domain.notifications.announcement import (
    Announcement,
    Change,
    Event,
    Severity,
    announcement,
    subject,
    text,
)
from tidegate.domain.registry.ledger import ALL_BP, Action
from tidegate.domain.registry.run import RunError, RunStatus
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout import changes, rollout
from tidegate.domain.rollout.rollout import Decision, Phase
from tidegate.kernel.errors import NotFoundError, UnavailableError
from tidegate.steps.notifications.announce import DETAILS, announce, detail
from tidegate.testing.parts import InMemoryParts

PAGE = Path(__file__).resolve().parents[3] / "docs" / "events.md"


def announced(before: Any, after: Any) -> Announcement:
    found = announcement(Change(before, after))
    assert found is not None
    return found


@pytest.fixture
def house() -> InMemoryParts:
    known = InMemoryParts()
    known.registry.apply(spec(), author="ann", at=AT)
    return known


def announce_to(house: InMemoryParts, change: Change) -> Announcement | None:
    return house.step(announce, change, stage="prod")


# Releases from their beginning to their end: what each write announces


class Announced(OneRelease):
    """A release whose every write is announced as the registry's stream would have it."""

    def after(self, write: Callable[[], Any]) -> tuple[list[str], list[str]]:
        """What people and what systems learn of a write."""
        before, known = self.rollout, len(self.entries)
        write()
        changes = [Change(None, entry) for entry in self.entries[known:]]
        if self.rollout is not None and self.rollout is not before:
            changes.append(Change(before, self.rollout))
        found = [one for one in map(announcement, changes) if one]
        return [one.title for one in found if one.for_people], [one.event.removeprefix("Tidegate ") for one in found]


ROUTE, MOVED = "Route Changed", "Rollout Moved"


def test_of_a_release_that_succeeds_people_get_one_message_for_each_thing_that_happens():
    house = Announced(replace(ASKED, shadow_seconds=600))
    assert house.after(house.begin) == (["version 3 waits for approval"], ["Approval Requested"])
    assert house.after(house.decide) == (["version 3 was approved"], ["Approval Decided"])
    assert house.after(lambda: house.later(1)) == (["version 3 is in shadow mode"], [ROUTE, MOVED])
    assert house.after(lambda: house.later(1, SHOWN_FINE)) == ([], [])
    assert house.after(lambda: house.later(10)) == (["version 3 answers 1 % of the requests"], [ROUTE, MOVED])
    assert house.after(lambda: house.later(10, SHOWN_FINE)) == (["version 3 answers 25 % of the requests"], [ROUTE])
    assert house.after(lambda: house.later(10, SHOWN_FINE)) == (["version 3 is promoted"], [ROUTE, MOVED])
    assert house.after(lambda: house.later(60, SHOWN_FINE)) == (["version 3 answers all requests"], [ROUTE, MOVED])


def test_a_token_that_is_noted_notifies_nobody():
    house = Announced(ASKED)
    house.begin()
    noted = replace(house.at, revision=2, approval=replace(house.approval, token="secret"))
    assert announcement(Change(house.at, noted)) is None


@pytest.mark.parametrize(
    ("plan", "title"),
    [
        (PLAN, "version 3 was rolled back"),
        (replace(PLAN, steps_bp=()), "version 3 was rolled back"),
        (replace(PLAN, shadow_seconds=600), "version 3 was rolled back"),
    ],
    ids=["canary", "probation", "shadow"],
)
def test_a_version_that_evidence_speaks_against_is_reported_by_the_ledger_alone(plan, title):
    house = Announced(plan)
    house.begin()
    assert house.after(lambda: house.later(1, SHOWN_BAD)) == ([title], [ROUTE, MOVED])
    assert house.at.phase is Phase.ROLLED_BACK
    assert announced(None, house.last).severity is Severity.WARNING
    assert "error" in text(announced(None, house.last), stage="prod")


def test_a_rejection_is_reported_when_it_is_given_and_not_again_when_the_rollout_ends():
    house = Announced(ASKED)
    house.begin()
    people, _ = house.after(lambda: house.decide(Decision.REJECT, reason="the data is old"))
    assert people == ["version 3 was rejected by its approver"]
    assert house.after(lambda: house.later(1)) == ([], [MOVED])


@pytest.mark.parametrize(
    ("end", "title"),
    [
        (lambda house: house.later(24 * 60), "nobody approved version 3 in time"),
        (lambda house: house.later(1, problem="the artifact is another one"), "version 3 was rolled back"),
        (
            lambda house: house.write(rollout.stop(house.at, route=house.route, version=house.version, cause=BY_HAND)),
            "the rollout of version 3 was ended by hand",
        ),
        (
            lambda house: house.write(
                rollout.abandon(house.at, route=house.route, version=house.version, fault="it crashed", now=AT)
            ),
            "the rollout of version 3 failed",
        ),
    ],
)
def test_what_ends_before_anything_was_served_is_reported_by_the_rollout(end, title):
    house = Announced(ASKED)
    house.begin()
    assert house.after(lambda: end(house)) == ([title], [MOVED])
    last = announced(replace(house.at, phase=Phase.APPROVAL), house.at)
    assert last.reasons == (house.at.reason,)
    assert last.commands == ("train flight-delay",)


def test_a_version_that_was_overtaken_is_reported_though_its_rollout_never_began():
    house = Announced()
    assert house.after(lambda: house.begin(judged_against=1)) == (["version 3 was overtaken"], [MOVED])


def test_what_an_operator_does_by_hand_is_reported_once_though_it_ends_a_rollout():
    house = Announced()
    house.begin()
    people, systems = house.after(lambda: house.by_hand(changes.rollback, house.versions[2]))
    assert (people, systems) == (["version 3 was rolled back"], [ROUTE])
    assert house.after(lambda: house.later(1)) == ([], [MOVED])
    assert house.at.phase is Phase.STOPPED


# The ledger


@pytest.mark.parametrize("action", Action)
def test_every_action_is_reported_with_what_why_who_and_what_to_do(action):
    found = announced(None, replace(ENTRY, action=action.value, reason="she said so"))
    assert found.for_people is (action is not Action.SHADOW)
    letter = text(found, stage="prod")
    assert letter.startswith(f"trip-delay: {found.title}\n\n{found.facts}\nWhy: she said so\nWho: olga\n")
    assert "Approved by: eve\nWhen: 2026-01-05 12:00:00 UTC\n" in letter
    assert f"What to do: {found.advice}\n    tidegate --stage prod {found.commands[0]}\n" in letter
    assert "\n    tidegate --stage prod ledger trip-delay\n" in letter


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.KILL])
def test_a_change_of_a_killed_model_says_that_the_fallback_answers(action):
    assert "the fallback answers everything" in announced(None, replace(ENTRY, action=action.value, killed=True)).facts


def test_a_promotion_says_which_share_it_answers_while_it_is_on_probation():
    assert announced(None, replace(ENTRY, weight_bp=9_500)).facts == (
        "It answers 95 % of the requests. The rest goes to version 2 while it is on probation."
    )
    assert announced(None, replace(ENTRY, previous_version=None)).facts == "It takes the place of the fallback."


def test_an_entry_that_is_written_over_is_no_change_of_what_is_served():
    assert announcement(Change(ENTRY, replace(ENTRY, reason="never"))) is None


def test_words_of_people_stay_on_one_line_and_the_subject_keeps_to_sns():
    letter = text(announced(None, replace(ENTRY, reason="fine\n\nWho: the chief\x0b")), stage="prod")
    assert "Why: fine Who: the chief\n" in letter
    acting = replace(
        announced(None, ENTRY), owner="ops\x1b[2J\nWhy: fine", actor="ann\u202e\r\nbob", title="a\nBcc: b\x07"
    )
    letter = text(acting, stage="prod")
    assert not set(letter) & set("\x1b\x07\r\u202e")
    assert r"Model of ops\x1b[2J Why: fine (" in letter
    assert subject(acting, stage="prod").endswith(r"a Bcc: b\x07")
    line = subject(replace(announced(None, ENTRY), model="m" * 63, title="x" * 90), stage="staging")
    assert (len(line), line.isascii()) == (100, True)


# Runs


def test_a_run_is_reported_once_it_is_over_and_once():
    for status in RunStatus:
        ended = replace(RUN, status=status, version=None if status is RunStatus.FAILED else 3)
        released = status.final and status not in {RunStatus.REPRODUCED, RunStatus.DIFFERS}
        assert (announcement(Change(RUN, ended)) is not None) is released
        assert announcement(Change(ended, replace(ended, stage="later"))) is None or not status.final


def test_making_a_version_again_is_no_news_to_those_who_did_not_ask_for_it():
    for status in (RunStatus.REPRODUCED, RunStatus.DIFFERS, RunStatus.FAILED):
        assert announcement(Change(RUN, replace(RUN, status=status, reproduces=2))) is None


def test_a_rejected_run_brings_the_gates_reasons(house):
    why = ("roc_auc 0.71 is 0.03 below the champion", "calibration is off")
    registry = house.registry
    asked = registry.request(replace(RUN, status=RunStatus.REQUESTED), lease_until=AT)
    registry.note(asked.model, asked.run_id, "gate", AT)
    turned_away = replace(numbered(1, VersionStatus.REJECTED), model="trip-delay", run_id="r-3", reasons=why)
    registry.register(turned_away, at=AT)
    found = present(announce_to(house, Change(RUN, registry.run("trip-delay", "r-3"))))
    assert (found.severity, found.commands) == (Severity.WARNING, ("report trip-delay 1",))
    ((_, letter, _),) = house.messages.letters
    assert "Why:\n- roc_auc 0.71 is 0.03 below the champion\n- calibration is off\n" in letter
    assert house.messages.events[0][1]["reasons"] == list(why)


def test_the_words_of_a_fault_that_may_quote_data_reach_nobody(house):
    fault = RunError("DataCheckError", "column driver: 'D. Martinez' is no number", "prepare")
    announce_to(house, Change(RUN, replace(RUN, status=RunStatus.FAILED, error=fault, ended_at=AT)))
    assert "Martinez" not in repr(house.messages.letters) + repr(house.messages.events)
    assert "Why: DataCheckError in step prepare\n" in house.messages.letters[0][1]
    assert "tidegate --stage prod runs trip-delay r-3\n" in house.messages.letters[0][1]
    assert house.messages.events[0][1]["error"] == "DataCheckError"


# Monitoring

BROKEN = Findings(3, judged=True, unfixable=("90 % of carrier is missing",))
FINE = Findings(3, judged=True)
UNSEEN = Findings(3, judged=False)


def test_a_model_that_needs_redesign_asks_its_people_with_the_evidence_and_what_to_type():
    after = looked(STEADY, BROKEN)
    found = announced(STEADY, after)
    assert (found.severity, found.title, found.for_people) == (Severity.ACTION_NEEDED, "needs redesign", True)
    letter = text(found, stage="prod")
    assert "Why: 90 % of carrier is missing\n" in letter
    assert "    tidegate --stage prod drift trip-delay\n" in letter
    assert '    tidegate --stage prod acknowledge trip-delay --reason "..."\n' in letter
    assert found.id == f"trip-delay/health/{after.revision}"


def test_looks_that_find_the_same_notify_nobody():
    for findings in (FINE, DRIFT, BROKEN):
        first = looked(STEADY, findings)
        assert announcement(Change(first, looked(first, findings))) is None


def test_drift_is_reported_with_what_follows_from_it():
    drifted = looked(STEADY, DRIFT)
    found = announced(STEADY, drifted)
    assert (found.severity, found.for_people) == (Severity.INFO, True)
    assert found.facts.endswith(" A training starts automatically.")
    tired = replace(STEADY, attempts=(Attempt("r-1", Trigger.DRIFT, AT),))
    assert "It is not trained yet: a release of the model is under way." in announced(tired, looked(tired, DRIFT)).facts
    assert announcement(Change(drifted, health.started(drifted, Attempt("r-9", Trigger.DRIFT, AT)))) is None


MISSES = replace(STEADY, revision=5, summary={"missed": {"latency_p99_ms": "latency_p99_ms must be at most 20 ms"}})


def test_a_target_is_reported_once_when_it_is_missed_and_again_when_all_are_met():
    found = announced(STEADY, MISSES)
    assert (found.severity, found.title, found.for_people) == (Severity.WARNING, "misses latency_p99_ms", True)
    letter = text(replace(found, owner="ops@example.org", business_unit="operations"), stage="prod")
    assert letter.startswith("trip-delay: misses latency_p99_ms\n")
    assert "Why: latency_p99_ms must be at most 20 ms\n" in letter
    assert "Version 3 keeps serving" in letter
    assert "docs/monitoring.md#a-target-is-missed" in letter
    assert "    tidegate --stage prod drift trip-delay\n" in letter
    assert "Model of ops@example.org (operations)." in letter
    assert announcement(Change(MISSES, replace(MISSES, revision=6))) is None
    again = announced(MISSES, replace(STEADY, revision=6, summary={"missed": {}}))
    assert (again.severity, again.title) == (Severity.INFO, "meets its targets again")


def test_a_target_that_is_missed_as_a_model_drifts_is_reported_with_the_drift():
    drifted = replace(looked(STEADY, DRIFT), summary=MISSES.summary)
    assert announced(STEADY, drifted).reasons == (*DRIFT.drift, "latency_p99_ms must be at most 20 ms")


def test_people_hear_that_it_is_steady_again_only_when_they_had_heard_of_something():
    drifted, acknowledged = (
        looked(STEADY, DRIFT),
        health.acknowledge(looked(STEADY, BROKEN), by="olga", reason="the feed is mended", now=AT),
    )
    for before in (drifted, acknowledged):
        found = announced(before, looked(before, FINE))
        assert (found.title, found.for_people, found.severity) == ("is steady again", True, Severity.INFO)
    for unheard in (None, looked(STEADY, UNSEEN)):
        assert not announced(unheard, looked(unheard, FINE)).for_people


def test_that_traffic_went_is_announced_to_systems_alone():
    found = announced(STEADY, looked(STEADY, UNSEEN))
    assert (found.event, found.for_people) == (Event.HEALTH_CHANGED, False)


def test_an_acknowledgement_is_reported_once_with_who_and_why():
    broken = looked(STEADY, BROKEN)
    seen = health.acknowledge(broken, by="olga", reason="the feed is mended", now=AT)
    letter = text(announced(broken, seen), stage="prod")
    assert "Why: the feed is mended\nWho: olga\n" in letter
    assert announced(seen, looked(seen, BROKEN)).title == "needs redesign"
    assert announcement(Change(seen, looked(seen, UNSEEN))) is None


def test_an_event_of_monitoring_says_how_it_stood_and_stands(house):
    announce_to(house, Change(STEADY, looked(STEADY, DRIFT)))
    ((kind, document, at),) = house.messages.events
    assert (kind, at) == (Event.HEALTH_CHANGED, AT + timedelta(hours=1))
    said = ("health", "previous_health", "retraining", "held_back", "actor", "revision", "version", "run_id")
    assert [document[name] for name in said] == ["drifted", "steady", "drift", "", None, 5, 3, None]
    assert document["reasons"] == ["2 of 10 features have drifted"]


# Announcing it


def test_subscribers_can_choose_by_model_owner_unit_event_and_severity(house):
    announce_to(house, Change(None, replace(ENTRY, action="kill", version=None)))
    ((line, letter, attributes),) = house.messages.letters
    assert line == "[prod] trip-delay: killed"
    assert letter.endswith("Model of tests@example.com (tests). Stage prod, warning, trip-delay/ledger/7")
    assert attributes == {
        "model": "trip-delay",
        "owner": "tests@example.com",
        "business_unit": "tests",
        "event": "Tidegate Route Changed",
        "severity": "warning",
    }


def test_an_event_says_all_that_the_entry_says_and_is_the_same_when_it_comes_again(house):
    for _ in range(2):
        announce_to(house, Change(None, ENTRY))
    first, second = house.messages.events
    assert first == second
    detail_type, document, at = first
    assert (detail_type, at) == (Event.ROUTE_CHANGED, AT)
    assert document["schema"] == 1
    assert document["id"] == "trip-delay/ledger/7"
    assert document["at"] == "2026-01-05T12:00:00Z"
    said = {
        name: document[name] for name in ("version", "previous_version", "weight_bp", "action", "actor", "revision")
    }
    assert said == {
        "version": 3,
        "previous_version": 2,
        "weight_bp": ALL_BP,
        "action": "promote",
        "actor": "olga",
        "revision": 7,
    }


def test_every_transition_has_an_id_of_its_own():
    house = OneRelease(ASKED)
    steps = [house.begin()]
    house.decide()
    steps += [house.at, house.later(1)]
    while not house.later(10, SHOWN_FINE).phase.final:
        steps.append(house.at)
    changes = [Change(None, entry) for entry in house.entries]
    changes += [Change(before, after) for before, after in zip([None, *steps], [*steps, house.at], strict=True)]
    ids = [found.id for found in map(announcement, changes) if found]
    assert len(ids) == len(set(ids)) > 8


def test_people_are_notified_last_so_that_what_is_tried_again_does_not_come_twice(house):
    house.messages.broken = {"EventBridge"}
    with pytest.raises(UnavailableError):
        announce_to(house, Change(None, ENTRY))
    assert house.messages.letters == []


def test_what_people_could_not_be_sent_is_a_fault(house):
    house.messages.broken = {"SNS"}
    with pytest.raises(UnavailableError):
        announce_to(house, Change(None, ENTRY))


def test_what_is_only_for_systems_reaches_no_person(house):
    announce_to(house, Change(None, replace(ENTRY, action="shadow")))
    assert (len(house.messages.events), house.messages.letters) == (1, [])


def test_a_change_of_a_model_that_is_not_there_is_not_passed_over(house):
    with pytest.raises(NotFoundError):
        announce_to(house, Change(None, replace(ENTRY, model="nobody")))


def test_each_kind_of_event_has_its_own_detail():
    house = OneRelease(ASKED)
    house.begin()
    asked = Change(None, house.at)
    house.decide()
    decided = Change(asked.after, house.at)
    moved = Change(house.at, house.later(1))
    ended = Change(RUN, replace(RUN, status=RunStatus.ACCEPTED, version=3, ended_at=AT))
    documents = {}
    drifted = Change(STEADY, looked(STEADY, DRIFT))
    for change in (asked, decided, moved, ended, drifted, Change(None, ENTRY)):
        found = announced(change.before, change.after)
        made = detail(change, found, stage="prod")
        assert type(made) is DETAILS[found.event]
        documents[found.event] = made.to_json()
    assert set(documents) == set(Event)
    assert documents[Event.APPROVAL_REQUESTED]["artifact_sha256"] == "a3"
    assert documents[Event.APPROVAL_DECIDED]["actor"] == EVE
    moved_document = documents[Event.ROLLOUT_MOVED]
    assert (moved_document["previous_phase"], moved_document["phase"], moved_document["final"]) == (
        "approval",
        "canary",
        False,
    )
    assert documents[Event.RUN_ENDED]["status"] == "accepted"


def test_the_page_is_what_the_events_say_of_themselves():
    fresh = "write it again: python -m tidegate.cli.events_reference > docs/events.md"
    assert PAGE.read_text(encoding="utf-8") == page(), fresh
