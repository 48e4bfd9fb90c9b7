"""The chain of a ledger, what breaks it, and what it says of a moment."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.registry.ledger import (
    GENESIS,
    Action,
    Break,
    LedgerEntry,
    RollbackCause,
    Serving,
    Share,
    chain,
    digest,
    served_at,
    verify,
)

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
ANN, EVE = "arn:aws:iam::123456789012:user/ann", "arn:aws:iam::123456789012:user/eve"


def a_ledger(*changes: dict[str, Any]) -> list[LedgerEntry]:
    """One entry an hour."""
    entries: list[LedgerEntry] = []
    for seq, change in enumerate(changes, 1):
        entry = LedgerEntry(
            model="flight-delay",
            seq=seq,
            at=AT + timedelta(hours=seq),
            actor=ANN,
            action="promote",
            version=seq,
            previous_version=None,
            weight_bp=10_000,
            reason="because",
        )
        entries.append(chain(replace(entry, **change), entries[-1].hash if entries else GENESIS))
    return entries


STORY = a_ledger(
    {"approved_by": EVE},
    {"version": 2, "previous_version": 1, "run_id": "r-2"},
    {"action": "split", "version": 1, "previous_version": 2, "weight_bp": 2_000},
    {"action": "kill", "version": None, "previous_version": 2, "killed": True},
    {"action": "rollback", "version": 1, "previous_version": 2, "killed": True, "weight_bp": 0},
    {"action": "resume", "version": 1, "previous_version": None},
)
HEAD = STORY[-1].hash


def served(entries: list[LedgerEntry], moment: datetime) -> tuple[Serving, ...]:
    return served_at(reversed(entries), moment)[1]


def broken(entries: list[LedgerEntry], head: str = HEAD) -> int | None:
    found = verify("flight-delay", entries, head)
    return found.seq if found else None


def test_a_ledger_as_it_was_written_is_intact():
    assert broken(STORY) is None
    assert verify("flight-delay", [], GENESIS) is None


def test_a_hash_depends_on_nothing_but_the_content():
    elsewhere = replace(STORY[0], at=STORY[0].at.astimezone(timezone(timedelta(hours=9))))
    assert digest(elsewhere) == digest(STORY[0])


OLD_CHAIN = Path(__file__).with_name("old_chain.json")  # as the code before 0.2.0 wrote it


def test_a_ledger_from_before_entries_had_causes_verifies_bit_by_bit_and_goes_on():
    written = json.loads(OLD_CHAIN.read_text("utf-8"))
    old = [LedgerEntry(**{**each, "at": datetime.fromisoformat(each["at"])}) for each in written]
    assert {each.action for each in old} >= {"withdraw", "end_watch"}
    assert verify("flight-delay", old, old[-1].hash) is None
    assert [Action(each.action) for each in old[2:5]] == [Action.ROLLBACK, Action.PROMOTE, Action.END_PROBATION]
    new = chain(replace(old[-1], seq=7, cause=RollbackCause.EVIDENCE.value), old[-1].hash)
    assert verify("flight-delay", [*old, new], new.hash) is None
    assert verify("flight-delay", [*old, replace(new, cause="hand")], new.hash) is not None
    assert verify("flight-delay", [*old, replace(new, cause=None)], new.hash) is not None


OTHERS = {
    "cause": "hand",
    "model": "other",
    "seq": 99,
    "at": AT,
    "actor": "arn:aws:iam::123456789012:user/mallory",
    "action": "nothing",
    "version": 77,
    "previous_version": 78,
    "weight_bp": 1,
    "reason": "nothing to see",
    "killed": None,
    "run_id": "r-99",
    "approved_by": "arn:aws:iam::123456789012:user/mallory",
    "previous_hash": "0" * 64,
    "hash": "f" * 64,
    "route_sha256": "e" * 64,
    "route_before_sha256": "e" * 64,
    "acknowledged": (Break(1, "nothing to see"),),
}


def test_the_tamperings_below_cover_every_field():
    assert set(OTHERS) == {field.name for field in fields(LedgerEntry)}


@pytest.mark.parametrize("position", range(len(STORY)))
@pytest.mark.parametrize("field", sorted(OTHERS))
def test_a_change_of_any_field_of_any_entry_is_found_there(position, field):
    value = not STORY[position].killed if field == "killed" else OTHERS[field]
    tampered = [*STORY]
    tampered[position] = replace(STORY[position], **{field: value})
    assert broken(tampered) == position + 1


@pytest.mark.parametrize("position", range(len(STORY)))
def test_an_entry_written_anew_with_a_right_hash_is_found_at_the_next_one(position):
    tampered = [*STORY]
    tampered[position] = chain(replace(STORY[position], reason="other"), STORY[position].previous_hash)
    assert broken(tampered) == position + 2


@pytest.mark.parametrize("position", range(len(STORY)))
def test_an_entry_that_was_taken_out_is_found(position):
    assert broken([*STORY[:position], *STORY[position + 1 :]]) == position + 1


@pytest.mark.parametrize("left", range(len(STORY)))
def test_a_tail_that_was_cut_off_is_found(left):
    assert broken(STORY[:left]) == left + 1


def test_an_entry_that_no_route_knows_is_found():
    extra = chain(replace(STORY[-1], seq=7), HEAD)
    assert broken([*STORY, extra]) == 7
    assert broken(STORY[:1], GENESIS) == 1


@given(st.permutations(range(len(STORY))))
def test_entries_in_another_order_are_found(order):
    assert (broken([STORY[position] for position in order]) is None) is (list(order) == sorted(order))


@pytest.mark.parametrize(
    ("hours", "shares"),
    [
        (0.5, []),
        (1, [Share(1, 10_000)]),
        (2.5, [Share(2, 10_000)]),
        (3.5, [Share(1, 2_000), Share(2, 8_000)]),
        (4.5, [Share(None, 10_000)]),
        (5.5, [Share(None, 10_000)]),
        (600, [Share(1, 10_000)]),
    ],
)
def test_the_ledger_says_what_served_at_any_moment(hours, shares):
    assert [serving.share for serving in served(STORY, AT + timedelta(hours=hours))] == shares


def test_the_ledger_says_by_whose_word_a_version_served():
    candidate, champion = served(STORY, AT + timedelta(hours=3.5))
    assert (candidate.entry.action, candidate.approved_by) == ("split", EVE)
    assert (champion.entry.seq, champion.approved_by) == (2, None)


def test_a_fallback_serves_since_the_kill_whatever_was_done_meanwhile():
    (serving,) = served(STORY, AT + timedelta(hours=5.5))
    assert (serving.entry.seq, serving.entry.action) == (4, "kill")


def test_clocks_that_disagree_do_not_hide_the_later_entry():
    entries = a_ledger({}, {"at": AT})
    assert [serving.share.version for serving in served(entries, AT + timedelta(minutes=1))] == [2]
