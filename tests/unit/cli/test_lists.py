"""Commands that list: they show some entries, say how to see more, and walk the pages."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders.chains import a_chain, hour
from tests.builders.command_line import Cli
from tests.builders.control_api import DESCRIPTION
from tests.builders.loopback import Loopback
from tests.builders.registry import a_run, a_version
from tests.builders.specs import spec_text
from tidegate.cli import exits
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.version import VersionStatus
from tidegate.steps import pages
from tidegate.steps.registry import ledger

LISTS = {  # the command, the name of its list, and what names an entry
    "data list": ("datasets", "name"),
    "data show flights": ("versions", "version"),
    "model list": ("models", "name"),
    "runs flight-delay": ("runs", "run_id"),
    "versions flight-delay": ("versions", "number"),
    "ledger flight-delay": ("entries", "seq"),
}


@pytest.fixture
def crowded(server: Loopback) -> Loopback:
    """Seven of everything that commands list."""
    world = server.world
    world.with_model()
    ready = world.catalog.version("flights")
    for number in range(1, 7):
        world.call("PUT", f"/datasets/n-{number}", DESCRIPTION)
        world.call("PUT", f"/models/n-{number}", spec_text(name=f"n-{number}"))
        added = ready.added_at + timedelta(days=number)
        world.catalog.add_version(replace(ready, version=f"{9 - number:016x}", added_at=added))
    for number in range(1, 8):
        world.registry.request(a_run(f"r-{number:03d}"), lease_until=None)
        world.registry.register(a_version(f"r-{number:03d}", VersionStatus.ACCEPTED), at=ready.added_at)
    world.registry._ledger["flight-delay"] = a_chain(7)
    return server


@pytest.mark.parametrize("command", LISTS)
def test_a_list_shows_some_and_says_how_to_see_more(
    run: Cli, crowded: Loopback, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, name = LISTS[command]
    assert run(*command.split(), "--all", "--json") == exits.OK
    assert run.document["next"] is None
    whole = [each[name] for each in run.document[kind]]
    assert len(whole) == 7
    assert run(*command.split()) == exits.OK
    assert "for more" not in run.out
    shown, after = list[Any](), list[str]()
    while True:
        assert run(*command.split(), "--limit", "3", *after, "--json") == exits.OK
        page = [each[name] for each in run.document[kind]]
        shown = [*page, *shown] if command.startswith("ledger") else [*shown, *page]  # its newest are the last
        if run.document["next"] is None:
            break
        assert len(page) == 3
        after = ["--after", run.document["next"]]
    assert shown == whole
    assert run(*command.split(), "--limit", "3") == exits.OK
    first = "first" if command.endswith("list") else "newest"
    assert f"these are the {first} 3; for more: --limit N or --all\n" in run.out
    monkeypatch.setattr(pages, "MOST_BYTES", 1)  # a page for each entry
    assert run(*command.split(), "--all", "--json") == exits.OK
    assert [each[name] for each in run.document[kind]] == whole


def test_a_list_is_filtered_and_a_wrong_filter_or_token_is_explained(run: Cli, crowded: Loopback) -> None:
    assert run("runs", "flight-delay", "--status", "failed") == exits.OK
    assert run.out == "no runs\n"
    assert run("versions", "flight-delay", "--status", "accepted", "--limit", "2") == exits.OK
    assert "these are the newest 2" in run.out
    assert run("versions", "flight-delay", "--status", "lost") == exits.INVALID
    assert "rolled_back" in run.err
    assert run("runs", "flight-delay", "--after", "r-003") == exits.INVALID
    assert "after: is not a token of this list with these filters" in run.err
    since = hour(6).isoformat()
    assert run("ledger", "flight-delay", "--since", since, "--json") == exits.OK
    assert [each["seq"] for each in run.document["entries"]] == [6, 7]
    assert run("ledger", "flight-delay", "--since", since, "--at", since) == exits.INVALID
    assert run("ledger", "flight-delay", "--until", since, "--limit", "2", "--json") == exits.OK
    assert [each["seq"] for each in run.document["entries"]] == [4, 5]


def test_a_long_ledger_is_verified_section_by_section(
    run: Cli, crowded: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SECTION", 3)
    entries = crowded.world.registry._ledger["flight-delay"] = a_chain(7, version=None)
    crowded.world.registry._routes["flight-delay"] = Route("flight-delay", 7, ledger_head=entries[-1].hash)
    assert run("ledger", "verify", "flight-delay") == exits.OK
    assert run.err == "3 entries verified so far\n6 entries verified so far\n"
    assert "the ledger is intact, 7 entries" in run.out
    entries[4] = replace(entries[4], reason="nothing to see")
    assert run("ledger", "verify", "flight-delay") == exits.BROKEN
    assert "BROKEN at entry 5" in run.out
