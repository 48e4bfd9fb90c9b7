"""Lists of the control API: pages, their tokens and filters."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.chains import a_chain, batch_acts, hour
from tests.builders.control_api import DESCRIPTION, World
from tests.builders.registry import AT, a_run, a_version
from tests.builders.specs import spec_text
from tidegate.domain.batch.batch_ledger import Act
from tidegate.domain.data.dataset import Exclusion
from tidegate.domain.registry.ledger import LedgerEntry
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import RunStatus
from tidegate.domain.registry.version import VersionStatus
from tidegate.kernel.errors import RequestInvalidError
from tidegate.kernel.routes import CONTROL
from tidegate.steps import pages
from tidegate.steps.pages import Asked, page, walked
from tidegate.steps.registry import ledger

MODEL = "/models/flight-delay"
LIMIT_BYTES = 6 * 1024 * 1024  # that Lambda hands on


def listed(world: World, path: str, kind: str, **query: object) -> list[Any]:
    """A whole list, walked page by page."""
    found: list[Any] = []
    while True:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        answer = world.call("GET", f"{path}?{asked}" if asked else path)
        assert answer.status == 200, answer.body
        assert len(answer.raw["body"]) < LIMIT_BYTES / 4
        found += answer.body[kind]
        if answer.body["next"] is None:
            return found
        query["after"] = answer.body["next"]


@pytest.fixture
def world() -> World:
    world = World()
    world.with_model()
    return world


def crowded(world: World) -> None:
    """Seven of everything that is listed."""
    for number in range(1, 8):
        name = f"n-{number}"
        world.call("PUT", f"/datasets/{name}", DESCRIPTION)
        world.call("PUT", f"/models/{name}", spec_text(name=name))
        start = AT + timedelta(days=number)
        world.catalog.exclude(Exclusion("flights", f"e{7 - number}", start, start + timedelta(1), "storm", "ann", AT))
        version = world.catalog.version("flights")
        world.catalog.add_version(replace(version, version=f"{8 - number:016x}", added_at=start))
        world.registry.request(a_run(f"r-{number:03d}"), lease_until=None)
        world.registry.register(a_version(f"r-{number:03d}", VersionStatus.ACCEPTED), at=AT)
    world.registry._ledger["flight-delay"] = a_chain(7)
    world.batch_ledger.chains["flight-delay"] = batch_acts(7)


LISTS: list[tuple[str, str, str, list[Any]]] = [
    ("/datasets", "datasets", "name", ["flights", *(f"n-{number}" for number in range(1, 8))]),
    ("/models", "models", "name", ["flight-delay", *(f"n-{number}" for number in range(1, 8))]),
    ("/health", "health", "model", ["flight-delay", *(f"n-{number}" for number in range(1, 8))]),
    ("/datasets/flights/exclusions", "exclusions", "exclusion_id", [f"e{number}" for number in range(6, -1, -1)]),
    (f"{MODEL}/runs", "runs", "run_id", [f"r-{number:03d}" for number in range(7, 0, -1)]),
    (f"{MODEL}/versions", "versions", "number", [*range(7, 0, -1)]),
    (f"{MODEL}/ledger", "entries", "seq", [*range(1, 8)]),
    (f"{MODEL}/ledger", "batches", "seq", [*range(1, 8)]),
    (f"{MODEL}/ledger?order=newest", "entries", "seq", [*range(7, 0, -1)]),
]


@pytest.mark.parametrize("case", LISTS, ids=lambda case: f"{case[0]} {case[1]}")
def test_every_list_comes_page_by_page_and_each_entry_once(world: World, case: tuple[str, str, str, list[Any]]) -> None:
    crowded(world)
    path, kind, name, wanted = case
    path, _, order = path.partition("?")
    query = dict([order.split("=")]) if order else {}
    for limit in (1, 3, 7, 500):
        found = [each[name] for each in listed(world, path, kind, limit=limit, **query)]
        assert found == wanted


def test_the_versions_of_a_dataset_come_newest_first_whatever_their_hashes_are(world: World) -> None:
    crowded(world)
    shown = listed(world, "/datasets/flights/versions", "versions", limit=2)
    assert [each["added_at"] for each in shown] == sorted((each["added_at"] for each in shown), reverse=True)
    assert len({each["version"] for each in shown}) == len(shown) == 8
    assert {each["column_count"] for each in shown} == {7}
    assert not shown[0].keys() & {"columns", "files"}


def test_an_answer_without_parameters_has_the_fields_it_had_and_next(world: World) -> None:
    crowded(world)
    for path, kind, _, wanted in LISTS[:-1]:
        body = world.call("GET", path).body
        assert len(body[kind]) == len(wanted)
        assert body.keys() == ({"entries", "batches", "next"} if kind in {"entries", "batches"} else {kind, "next"})


# The mechanism


def names(count: int) -> str:
    return f"{count:07d}"


@given(
    before=st.sets(st.integers(0, 10**6), max_size=60),
    later=st.lists(st.integers(0, 10**6), max_size=40),
    limit=st.integers(1, 7),
    chunk=st.integers(1, 5),
    every=st.integers(1, 4),
)
def test_whoever_walks_sees_each_entry_once_in_order_while_others_are_added(
    before: set[int], later: list[int], limit: int, chunk: int, every: int
) -> None:
    there, seen, after = set(before), list[int](), None
    additions = iter(later)

    def find(*, after: str, limit: int) -> Sequence[int]:
        return [each for each in sorted(there) if names(each) > after][:limit]

    while True:
        shown, after = page(
            Asked("list", after, str(limit)),
            walked(find, names),
            names,
            keep=(lambda each: each % every == 0) if every > 1 else None,
            chunk=chunk,
        )
        assert len(shown) <= limit
        seen += shown
        if after is None:
            break
        there |= {each for each in [next(additions, None)] if each is not None}
    assert seen == sorted(set(seen))
    assert {each for each in before if each % every == 0} <= set(seen) <= there


def test_a_page_is_bounded_by_its_bytes_but_has_one_entry_at_least() -> None:
    large = "x" * (pages.MOST_BYTES * 2)
    entries = [large, "a", "b", large, "c"]

    def find(*, after: str, limit: int) -> Sequence[tuple[int, str]]:
        return [*enumerate(entries)][int(after or 0) :][:limit]

    seen, after = list[list[str]](), None
    while True:
        shown, after = page(
            Asked("list", after), walked(find, lambda each: str(each[0] + 1)), lambda each: str(each[0] + 1)
        )
        seen.append([each[1] for each in shown])
        if after is None:
            break
    assert seen == [[large], ["a", "b"], [large], ["c"]]


def test_a_filtered_page_looks_at_a_bounded_number_of_entries() -> None:
    looked = []

    def find(*, after: str, limit: int) -> Sequence[int]:
        found = [*range(int(after or 0) + 1, 10_001)][:limit]
        looked.extend(found)
        return found

    after, pages_read, seen = None, 0, list[int]()
    while pages_read == 0 or after is not None:
        looked.clear()
        shown, after = page(Asked("list", after), walked(find, str), str, keep=lambda each: each == 9_999)
        assert len(looked) <= pages.MOST_EXAMINED + pages.CHUNK
        seen, pages_read = seen + shown, pages_read + 1
    assert (seen, pages_read) == ([9_999], 5)


def test_a_page_reads_little_more_than_it_shows() -> None:
    read = []

    def find(*, after: str, limit: int) -> Sequence[int]:
        read.append(limit)
        return [*range(int(after or 0) + 1, 10_001)][:limit]

    page(Asked("list", None, "5"), walked(find, str), str)
    assert read == [6]


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.hex()))
def test_what_is_no_token_of_the_list_is_a_400(text: str) -> None:
    with pytest.raises(RequestInvalidError) as refused:
        _ = Asked("list", text).position
    assert refused.value.status == 400


# Tokens


@pytest.fixture
def token(world: World) -> str:
    crowded(world)
    return str(world.call("GET", f"{MODEL}/runs?limit=2&status=accepted").body["next"])


@pytest.mark.parametrize(
    "path",
    [
        f"{MODEL}/runs",
        f"{MODEL}/runs?status=failed",
        f"{MODEL}/versions?status=accepted",
        "/models/n-1/runs?status=accepted",
        f"{MODEL}/ledger",
        f"{MODEL}/ledger/verification",
        "/datasets",
        "/health",
    ],
)
def test_a_token_of_another_list_or_filter_is_a_400_with_a_sentence(world: World, token: str, path: str) -> None:
    assert world.call("GET", f"{MODEL}/runs?status=accepted&limit=5&after={token}").status == 200
    answer = world.call("GET", f"{path}{'&' if '?' in path else '?'}after={token}")
    assert answer.status == 400
    assert answer.body["errors"] == [{"path": "after", "problem": "is not a token of this list with these filters"}]
    assert "begin again without `after`" in answer.body["next_step"]


def test_a_changed_token_is_a_400(world: World, token: str) -> None:
    for position in range(0, len(token), 3):
        other = "A" if token[position] != "A" else "B"
        changed = token[:position] + other + token[position + 1 :]
        assert world.call("GET", f"{MODEL}/runs?status=accepted&after={changed}").status == 400


@pytest.mark.parametrize("position", ["x", "-1", "1.x", "1.2.3", "٣", "9" * 40])
@pytest.mark.parametrize("name", ["served.show_ledger", "served.verify_ledger", "versions.list_versions"])
def test_a_token_that_somebody_sealed_himself_is_a_400_too(world: World, name: str, position: str) -> None:
    sealed = Asked(json.dumps([name, "flight-delay", []])).token(position)
    path = CONTROL[name].address("flight-delay", after=sealed)
    assert world.call("GET", path).status == 400


# Parameters


@pytest.mark.parametrize(
    "route", [each for each in CONTROL.values() if each.method == "GET"], ids=lambda each: each.name
)
def test_a_parameter_that_a_route_does_not_take_is_a_400_that_names_it(world: World, route: Any) -> None:
    example = {"dataset": "flights", "model": "flight-delay", "version": "1", "run": "r-1", "prediction": "p"}
    path = route.address(*(example[name] for name in route.names), colour="red")
    answer = world.call("GET", path)
    assert answer.status == 400
    (fault,) = answer.body["errors"]
    assert (fault["path"], fault["problem"]) == ("colour", "no such parameter")
    assert fault.get("allowed", []) == [*route.query]
    assert all(name in answer.body["next_step"] for name in route.query)


def test_a_call_that_changes_something_takes_no_parameters_either(world: World) -> None:
    assert world.call("POST", f"{MODEL}/runs?token=x", {}).status == 400
    assert world.registry.runs("flight-delay") == []


def test_runs_and_versions_are_listed_by_status(world: World) -> None:
    crowded(world)
    world.registry.request(a_run("r-008"), lease_until=None)
    by_status = {RunStatus.REQUESTED: ["r-008"], RunStatus.ACCEPTED: LISTS[4][3], RunStatus.FAILED: []}
    for status, wanted in by_status.items():
        assert [each["run_id"] for each in listed(world, f"{MODEL}/runs", "runs", status=status, limit=2)] == wanted
    rejected = replace(world.registry.version("flight-delay", 3), status=VersionStatus.REJECTED)
    world.registry._versions["flight-delay", 3] = rejected
    assert [each["number"] for each in listed(world, f"{MODEL}/versions", "versions", status="rejected")] == [3]
    assert len(listed(world, f"{MODEL}/versions", "versions", status="accepted", limit=2)) == 6
    for path in ("runs", "versions", "rollouts"):
        answer = world.call("GET", f"{MODEL}/{path}?status=lost")
        assert (answer.status, answer.body["errors"][0]["path"]) == (422, "status")
        assert answer.body["errors"][0]["allowed"]


def test_rollouts_are_listed_open_or_ended() -> None:
    world = World()
    world.with_model()
    world.call("PUT", MODEL, spec_text(release={"steps": [5], "approval": "required"}))
    world.registry._ledger.clear()
    run = world.call("POST", f"{MODEL}/runs").body["run"]["run_id"]
    world.run_to_the_end(run)
    for status, wanted in {"open": [run], "ended": []}.items():
        assert [each["run_id"] for each in listed(world, f"{MODEL}/rollouts", "rollouts", status=status)] == wanted
    assert world.call("POST", f"{MODEL}/rollout/end", {"reason": "not today"}).status == 200
    for status, wanted in {"open": [], "ended": [run]}.items():
        assert [each["run_id"] for each in listed(world, f"{MODEL}/rollouts", "rollouts", status=status)] == wanted


# The ledger


def test_a_ledger_is_listed_for_a_period(world: World) -> None:
    crowded(world)
    period = {"since": hour(2).isoformat().replace("+", "%2B"), "until": hour(5).isoformat().replace("+", "%2B")}
    for kind in ("entries", "batches"):
        assert [each["seq"] for each in listed(world, f"{MODEL}/ledger", kind, limit=2, **period)] == [2, 3, 4]
    answer = world.call("GET", f"{MODEL}/ledger?since=noon")
    assert (answer.status, answer.body["errors"][0]["path"]) == (422, "since")
    answer = world.call("GET", f"{MODEL}/ledger?at=2026-01-05&limit=5")
    assert (answer.status, answer.body["errors"][0]["path"]) == (422, "limit")


def test_the_end_of_a_batch_that_was_recorded_late_holds_back_nothing_newer(world: World) -> None:
    crowded(world)
    acts = world.batch_ledger.chains["flight-delay"]
    ended = hour(1) + timedelta(minutes=35)
    acts[5:] = [replace(act, action=Act.COMPLETE, at=ended, attempt=None) for act in acts[5:]]  # at half past five
    pages, query = [], f"{MODEL}/ledger?order=newest&limit=3"
    while query:
        answer = world.call("GET", query).body
        pages.append([datetime.fromisoformat(each["at"]) for each in (*answer["entries"], *answer["batches"])])
        query = f"{MODEL}/ledger?order=newest&limit=3&after={answer['next']}" if answer["next"] else ""
    half_past_five = hour(5) + timedelta(minutes=30)
    recorded = [[half_past_five if at == ended else at for at in page] for page in pages]
    assert sum(map(len, recorded)) == 14
    assert all(min(newer) >= max(older) for newer, older in pairwise(recorded))
    assert [each["seq"] for each in listed(world, f"{MODEL}/ledger?order=newest", "batches")] == [*range(7, 0, -1)]


class Long(Sequence[LedgerEntry]):
    """200,000 entries of some 700 bytes, made when they are read; chained only by their numbers."""

    (first,) = a_chain(1, reason="r" * 300, run_id="r-1")

    def __len__(self) -> int:
        return 200_000

    def __getitem__(self, wanted: Any) -> Any:
        if isinstance(wanted, slice):
            return [self[index] for index in range(*wanted.indices(len(self)))]
        return replace(self.first, seq=wanted + 1, at=hour(wanted + 1), version=(wanted + 1) // 100 + 1)


@dataclass
class Grown(World):
    """A model with that ledger; `read` has how many entries each look at it read."""

    read: list[int] = field(default_factory=list)


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> Grown:
    world = Grown()
    world.with_model()
    world.registry._ledger["flight-delay"] = Long()  # type: ignore[assignment]
    read = world.registry.ledger

    def counted(model: str, **part: Any) -> list[LedgerEntry]:
        found = read(model, **part)
        world.read.append(len(found))
        return found

    monkeypatch.setattr(world.registry, "ledger", counted)
    return world


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_page_of_a_very_long_ledger_costs_a_page(grown: Grown, order: str) -> None:
    first = grown.call("GET", f"{MODEL}/ledger?order={order}")
    second = grown.call("GET", f"{MODEL}/ledger?order={order}&after={first.body['next']}")
    seqs = [each["seq"] for answer in (first, second) for each in answer.body["entries"]]
    expected = range(1, 1001) if order == "oldest" else range(200_000, 199_000, -1)
    assert seqs == [*expected]
    assert len(first.raw["body"]) < LIMIT_BYTES / 4
    assert sum(grown.read) <= 1_300


def test_the_newest_entries_of_a_period_are_read_no_further_than_its_beginning(grown: Grown) -> None:
    since = hour(199_950).isoformat().replace("+", "%2B")
    found = grown.call("GET", f"{MODEL}/ledger?order=newest&since={since}").body
    assert [each["seq"] for each in found["entries"]] == [*range(200_000, 199_949, -1)]
    assert (found["next"], sum(grown.read) <= 200) == (None, True)


def test_an_end_of_a_batch_that_was_recorded_late_hides_none_of_the_period(world: World) -> None:
    acts = batch_acts(5)
    late = replace(acts[3], action=Act.COMPLETE, at=hour(-900))
    world.batch_ledger.chains["flight-delay"] = [*acts[:3], late, acts[4]]
    since = hour(2).isoformat().replace("+", "%2B")
    found = listed(world, f"{MODEL}/ledger", "batches", order="newest", since=since, limit=1)
    assert [each["seq"] for each in found] == [5, 3, 2]


@pytest.mark.parametrize("seq", [1, 2, 99, 100, 123_456, 199_999, 200_000])
def test_what_served_at_a_moment_is_found_in_a_very_long_ledger(grown: Grown, seq: int) -> None:
    served = a_version("r-1", number=seq // 100 + 1, created_at=hour(seq // 100 * 100))
    grown.registry._versions["flight-delay", served.number] = served
    moment = (hour(seq) + timedelta(minutes=1)).isoformat().replace("+", "%2B")
    found = grown.call("GET", f"{MODEL}/ledger?at={moment}").body
    assert found["entry"]["seq"] == seq
    assert [each["by"]["seq"] for each in found["served"]] == [seq]
    assert sum(grown.read) <= 400


def verified(world: World) -> tuple[dict[str, Any], int]:
    """The last answer of a verification, and how many there were."""
    path, calls = f"{MODEL}/ledger/verification", 1
    answer = world.call("GET", path).body
    while answer["next"]:
        assert None in {answer["intact"], answer["batches"]["intact"]}
        answer, calls = world.call("GET", f"{path}?after={answer['next']}").body, calls + 1
    return answer, calls


@pytest.fixture
def sections(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Ledgers of several sections each."""
    monkeypatch.setattr(ledger, "SECTION", 4)
    monkeypatch.setattr(ledger, "_AT_A_TIME", 3)
    entries = a_chain(18, version=None)
    world.registry._ledger["flight-delay"] = entries
    world.registry._routes["flight-delay"] = Route("flight-delay", revision=18, ledger_head=entries[-1].hash)
    world.batch_ledger.chains["flight-delay"] = batch_acts(7)
    return world


def test_a_long_ledger_is_verified_section_by_section(sections: World) -> None:
    found, calls = verified(sections)
    assert (found["intact"], found["entries"], found["batches"]["intact"], found["batches"]["entries"]) == (
        True,
        18,
        True,
        7,
    )
    assert (found["next"], calls) == (None, 5)


@pytest.mark.parametrize("place", [*range(1, 19)])
def test_a_change_anywhere_in_a_long_ledger_is_found_there(sections: World, place: int) -> None:
    entries = sections.registry._ledger["flight-delay"]
    entries[place - 1] = replace(entries[place - 1], reason="nothing to see")
    found, _ = verified(sections)
    assert (found["intact"], found["break"]["seq"], found["batches"]["intact"]) == (False, place, True)


def test_a_long_ledger_that_was_cut_or_added_to_is_broken_at_its_end(sections: World) -> None:
    entries = sections.registry._ledger["flight-delay"]
    last = entries.pop()
    assert verified(sections)[0]["break"]["seq"] == 18
    entries += [last, replace(last, seq=19)]
    assert verified(sections)[0]["break"]["seq"] == 19
    sections.registry._routes["flight-delay"] = Route("flight-delay", revision=8, ledger_head=entries[7].hash)
    found = verified(sections)[0]["break"]
    assert (found["seq"], "ends at entry 8" in found["problem"]) == (9, True)


def test_a_ledger_that_grows_between_two_sections_is_verified_to_its_new_end(sections: World) -> None:
    path = f"{MODEL}/ledger/verification"
    first = sections.call("GET", path).body
    entries = a_chain(20, version=None)
    sections.registry._ledger["flight-delay"] = entries
    sections.registry._routes["flight-delay"] = Route("flight-delay", revision=20, ledger_head=entries[-1].hash)
    answer = first
    while answer["next"]:
        answer = sections.call("GET", f"{path}?after={answer['next']}").body
    assert (answer["intact"], answer["entries"], answer["head"]) == (True, 20, entries[-1].hash)
