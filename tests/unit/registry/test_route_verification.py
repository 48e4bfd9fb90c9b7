"""A route that nobody recorded, entries that are gone, artifacts that were never registered: all are found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.chains import verified
from tests.builders.registry import AT, a_run, a_version, requested
from tests.builders.release import SPEC
from tidegate.domain.monitoring.health import Health, HealthRecord
from tidegate.domain.registry.ledger import Cause, LedgerEntry, Seen
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.domain.rollout import changes
from tidegate.domain.rollout.changes import route_digest, unrecorded
from tidegate.steps.registry.ledger import look_at_ledger
from tidegate.testing.monitoring import InMemoryHealthRecords
from tidegate.testing.registry import InMemoryRegistry

MODEL = SPEC.name
BECAUSE = Cause(AT, "olga", "a test says so")


class Records:
    """Two versions, of which the second serves beside the first; and what an insider can do to their records."""

    def __init__(self) -> None:
        self.registry, self.health_records = InMemoryRegistry(), InMemoryHealthRecords()
        self.registry.apply(SPEC, author="ann", at=AT)
        for number in (1, 2):
            requested(self.registry, a_run(f"r-00{number}"))
            made = a_version(
                f"r-00{number}",
                artifact_key=f"k{number}",
                artifact_sha256=f"{number}" * 64,
                fallback=FallbackRef(f"f{number}", "f" * 64, f"r-00{number}"),
            )
            version = self.registry.register(made, at=AT)
            change = changes.promote(self.registry.route(MODEL), version, BECAUSE)
            assert change
            self.registry.change(change)

    @property
    def route(self) -> Route:
        found = self.registry.route(MODEL)
        assert found
        return found

    def rewrite(self, **facts: Any) -> None:
        """Put another route in its place, as somebody with write access to the table would."""
        self.registry._routes[MODEL] = replace(self.route, **facts)

    def cut(self) -> LedgerEntry:
        """Take the last entry away."""
        return self.registry._ledger[MODEL].pop()

    def look(self) -> str:
        """The hourly look, which keeps what it came to."""
        before = self.health_records.record(MODEL)
        seen, wrong = look_at_ledger(
            MODEL, before.ledger_seen if before else None, routes=self.registry, versions=self.registry
        )
        revision = before.revision + 1 if before else 1
        self.health_records.save(HealthRecord(MODEL, revision, Health.STEADY, AT, AT, ledger_seen=seen, tampered=wrong))
        return wrong

    def verified(self) -> dict[str, Any]:
        return verified(MODEL, self.registry, self.health_records)


OTHER = Served(1, "k2", "2" * 64)
TAMPERING: dict[str, tuple[dict[str, Any], str]] = {
    "another champion": ({"champion": Served(1, "k1", "1" * 64)}, "by the ledger version 2 answers 100 %"),
    "another artifact under the champion's number": ({"champion": Served(2, "k1", "1" * 64)}, "entry 2 recorded"),
    "a kill": ({"killed": True}, "by the route the fallback answers 100 %"),
    "a share": (
        {"candidate": OTHER, "candidate_bp": 1_000, "candidate_role": CandidateRole.SPLIT},
        "version 1 answers 10 %",
    ),
    "a shadow": ({"shadow": OTHER}, "entry 2 recorded"),
    "another fallback": ({"fallback": FallbackRef("f1", "e" * 64, "r-001")}, "entry 2 recorded"),
    "no version to go back to": ({"previous": None}, "entry 2 recorded"),
    "fields": ({"fields": ("anything",)}, "entry 2 recorded"),
    "a revision": ({"revision": 7}, "revision 7"),
}


def test_what_decisions_wrote_holds() -> None:
    house = Records()
    assert (house.look(), house.look()) == ("", "")
    assert house.verified()["intact"] is True
    record = house.health_records.record(MODEL)
    assert record
    assert record.ledger_seen == Seen(2, house.route.ledger_head)


@pytest.mark.parametrize("name", TAMPERING)
def test_a_route_that_nobody_recorded_is_found_by_the_hourly_look_and_by_whoever_verifies(name: str) -> None:
    facts, words = TAMPERING[name]
    house = Records()
    house.look()
    house.rewrite(**facts)
    assert words in house.look()
    found = house.verified()
    assert (found["intact"], found["break"]["seq"]) == (False, 2)
    assert words in found["break"]["problem"]


def test_the_last_entry_cannot_be_cut_off_together_with_the_head() -> None:
    house = Records()
    before = house.route
    entry = house.cut()
    house.rewrite(ledger_head=entry.previous_hash)
    assert "revision 2" in house.look()
    assert house.verified()["intact"] is False
    # Even when everything else is put back as it was before the entry:
    again = Records()
    first = again.registry.ledger(MODEL, limit=1)[0]
    again.look()
    again.cut()
    version = again.registry.version(MODEL, 1)
    again.rewrite(
        revision=1,
        champion=version.served,
        previous=None,
        fallback=version.fallback,
        ledger_head=first.hash,
        fields=version.features,
    )
    assert route_digest(again.route) == first.route_sha256
    assert "the hourly look saw another entry 2" in again.verified()["break"]["problem"]
    assert again.look()
    assert before.ledger_head == entry.hash


def test_a_look_that_found_a_fault_finds_it_again_until_it_is_mended() -> None:
    house = Records()
    house.look()
    kept = house.route
    house.rewrite(killed=True)
    assert house.look()
    assert house.look()
    house.rewrite(killed=kept.killed)
    assert house.look() == ""


def test_a_version_record_that_was_rewritten_with_the_route_is_found_by_the_hash_of_the_entry() -> None:
    house = Records()
    version = house.registry.version(MODEL, 2)
    changed = replace(version, artifact_key="k9", artifact_sha256="9" * 64)
    house.registry._versions[MODEL, 2] = changed
    assert "another artifact for version 2" in house.look()
    house.rewrite(champion=changed.served)
    assert "entry 2 recorded" in house.look()


def test_entries_from_before_routes_had_hashes_are_held_against_what_they_say() -> None:
    house = Records()
    old = replace(house.registry.ledger(MODEL)[-1], route_sha256=None)
    assert unrecorded(house.route, old) == ""
    assert "by the route the fallback" in unrecorded(replace(house.route, killed=True), old)


SOME: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "champion": lambda: st.builds(Served, st.integers(3, 9), st.text(), st.text()),
    "candidate_bp": lambda: st.integers(1, 9_999),
    "killed": lambda: st.just(True),
    "fields": lambda: st.lists(st.text(min_size=1), min_size=1).map(tuple),
    "shadow": lambda: st.builds(Served, st.integers(3, 9), st.text(), st.text()),
}


@given(st.data(), st.sampled_from(sorted(SOME)))
def test_the_hash_of_a_route_changes_with_every_field(data: st.DataObject, name: str) -> None:
    plain = Route("m", 3, fallback=FallbackRef("k", "s", "r"), ledger_head="h")
    assert route_digest(replace(plain, **{name: data.draw(SOME[name]())})) != route_digest(plain)
    assert route_digest(replace(plain, ledger_head="other")) == route_digest(plain)
