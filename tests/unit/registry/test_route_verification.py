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
from tidegate.domain.registry.ledger import Cause, LedgerEntry, Seen, chain, hidden_by_a_kill
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.domain.rollout import changes
from tidegate.domain.rollout.changes import RouteChange, route_digest, unrecorded
from tidegate.kernel.errors import ConflictError, LedgerBrokenError
from tidegate.steps.registry import ledger
from tidegate.steps.registry.ledger import Acknowledge, acknowledge, look_at_ledger
from tidegate.testing.monitoring import InMemoryHealthRecords
from tidegate.testing.platform import FixedClock
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

    def acknowledged(self, reason: str = "looked into it") -> dict[str, Any]:
        return acknowledge(
            MODEL,
            Acknowledge(reason=reason),
            actor="olga",
            models=self.registry,
            routes=self.registry,
            health_records=self.health_records,
            clock=FixedClock(AT),
        )

    def changed(self, change: RouteChange | None) -> None:
        assert change
        self.registry.change(change)

    def laundered(self, change: RouteChange | None) -> None:
        """A change as code that looks at the route alone would write it."""
        assert change
        self.registry._ledger[MODEL].append(change.entry)
        self.registry._routes[MODEL] = change.route


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


def test_a_fallback_that_no_version_was_registered_with_is_found() -> None:
    house = Records()
    for number in (1, 2):
        version = house.registry.version(MODEL, number)
        house.registry._versions[MODEL, number] = replace(version, fallback=FallbackRef("f9", "9" * 64, version.run_id))
    assert "a fallback of run r-002 that no version was registered with" in house.look()
    assert house.verified()["intact"] is False


# Changes after a break, and its acknowledgement


@pytest.mark.parametrize("name", TAMPERING)
def test_no_change_builds_on_a_route_that_nobody_recorded(name: str) -> None:
    house = Records()
    house.rewrite(**TAMPERING[name][0])
    before = house.route
    older = house.registry.version(MODEL, 1)
    with pytest.raises(ConflictError):
        house.changed(changes.resume(before, MODEL, BECAUSE) or changes.rollback(before, older, BECAUSE))
    assert (house.route, len(house.registry.ledger(MODEL))) == (before, 2)


def test_a_kill_never_waits_and_the_break_shows_at_its_entry() -> None:
    house = Records()
    house.rewrite(fallback=FallbackRef("f1", "e" * 64, "r-001"))
    house.changed(changes.kill(house.route, MODEL, BECAUSE))
    assert house.route.killed
    found = house.verified()
    assert (found["intact"], found["break"]["seq"]) == (False, 3)
    assert hidden_by_a_kill(house.registry.ledger(MODEL)[::-1])
    house.acknowledged()
    assert not hidden_by_a_kill(house.registry.ledger(MODEL)[::-1])


def test_a_route_that_was_changed_before_an_entry_shows_for_ever() -> None:
    house = Records()
    house.rewrite(fallback=FallbackRef("f1", "e" * 64, "r-001"))
    house.laundered(changes.kill(house.route, MODEL, BECAUSE))
    house.laundered(changes.resume(house.route, MODEL, BECAUSE))
    house.laundered(changes.rollback(house.route, house.registry.version(MODEL, 2), BECAUSE))  # a good fallback again
    found = house.verified()
    assert (found["intact"], found["break"]["seq"]) == (False, 3)
    assert "it replaced another route than entry 2 recorded" in found["break"]["problem"]
    assert "entry 3" in house.look()


@pytest.mark.parametrize("name", TAMPERING)
def test_a_break_that_was_acknowledged_is_listed_and_the_ledger_is_intact_since(name: str) -> None:
    facts, words = TAMPERING[name]
    house = Records()
    house.look()
    house.rewrite(**facts)
    tampered = house.route
    answer = house.acknowledged()
    entry, route = answer["entry"], house.route
    assert replace(route, revision=tampered.revision, ledger_head=tampered.ledger_head) == tampered
    assert (entry["seq"], entry["action"], entry["actor"], entry["reason"]) == (
        3, "acknowledge", "olga", "looked into it",
    )  # fmt: skip
    assert unrecorded(route, house.registry.ledger(MODEL)[-1]) == ""
    (listed,) = house.registry.ledger(MODEL)[-1].acknowledged
    assert (listed.seq, words in listed.problem) == (2, True)
    assert house.acknowledged()["changed"] is False
    registered = house.registry.version(MODEL, 2)
    route = house.route
    resumed = changes.resume(route, MODEL, BECAUSE)
    house.changed(resumed or changes.rollback(route, registered, BECAUSE) or changes.kill(route, MODEL, BECAUSE))
    found = house.verified()
    assert (found["intact"], found["break"], found["entries"]) == (True, None, 4)
    assert [(each["seq"], each["entry"], each["by"]) for each in found["acknowledged"]] == [(2, 3, "olga")]
    assert house.look() == ""
    assert (house.route.champion, house.route.fallback) == (registered.served, registered.fallback)


def test_an_artifact_that_was_never_registered_is_no_matter_of_an_acknowledgement() -> None:
    house = Records()
    house.rewrite(champion=Served(2, "k1", "1" * 64))
    house.acknowledged()
    assert "another artifact for version 2" in house.look()
    assert house.acknowledged()["changed"] is False
    house.changed(changes.rollback(house.route, house.registry.version(MODEL, 2), BECAUSE))
    assert house.look() == ""


def test_entries_that_were_cut_off_or_changed_can_be_acknowledged_and_the_look_goes_on_behind() -> None:
    house = Records()
    house.changed(changes.kill(house.route, MODEL, BECAUSE))
    house.look()
    house.cut()
    entries = house.registry._ledger[MODEL]
    entries[0] = replace(entries[0], reason="nothing to see")
    with pytest.raises(ConflictError):
        house.changed(changes.resume(house.route, MODEL, BECAUSE))
    assert house.look()
    entry = house.acknowledged()["entry"]
    assert [each["seq"] for each in entry["acknowledged"]] == [1, 3, 3]
    assert house.look() == ""
    record = house.health_records.record(MODEL)
    assert record
    assert record.ledger_seen == Seen(3, entry["hash"])
    assert house.verified()["intact"]
    house.changed(changes.resume(house.route, MODEL, BECAUSE))
    entries[1] = replace(entries[1], reason="nothing to see")  # another one is another break
    found = house.verified()
    assert (found["intact"], found["break"]["seq"], len(found["acknowledged"])) == (False, 2, 3)


def test_an_entry_that_the_look_came_to_is_missed_however_long_the_ledger_that_took_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = Records()
    for _ in range(3):
        house.changed(changes.kill(house.route, MODEL, BECAUSE))
        house.changed(changes.resume(house.route, MODEL, BECAUSE))
    house.look()
    entries, head = house.registry._ledger[MODEL], ""
    for place, entry in enumerate(entries):
        entries[place] = chain(replace(entry, actor="nobody"), head)
        head = entries[place].hash
    house.rewrite(ledger_head=head)
    monkeypatch.setattr(ledger, "SECTION", 3)
    assert "the hourly look saw another entry 8" in house.look()
    assert "the hourly look saw another entry 8" in house.look()
    assert [each["seq"] for each in house.acknowledged()["entry"]["acknowledged"]] == [8]
    assert house.look() == ""


def test_what_an_acknowledgement_says_is_part_of_the_chain() -> None:
    house = Records()
    house.rewrite(killed=True)
    house.acknowledged()
    entries = house.registry._ledger[MODEL]
    entries[-1] = replace(entries[-1], acknowledged=())
    assert house.verified()["break"]["seq"] == 3


def test_an_entry_that_cannot_be_read_is_put_back_first(monkeypatch: pytest.MonkeyPatch) -> None:
    house = Records()
    read = house.registry.ledger

    def corrupt(model: str, *, after: int = 0, **part: Any) -> list[LedgerEntry]:
        if after < 1:
            raise LedgerBrokenError("entry 1 is corrupt", seq=1, next_step="compare it with a backup")
        return read(model, after=after, **part)

    monkeypatch.setattr(house.registry, "ledger", corrupt)
    assert house.verified()["break"] == {"seq": 1, "problem": "entry 1 is corrupt"}
    with pytest.raises(LedgerBrokenError, match="entry 1 is corrupt") as caught:
        house.acknowledged()
    assert "backup" in caught.value.next_step


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
