"""`tidegate predict --output`: a batch from the command line, against the real control function on a loopback port."""

import json
from dataclasses import asdict, replace

import pytest

from tests.builders.command_line import Cli
from tests.builders.loopback import Loopback
from tidegate.cli import exits
from tidegate.domain.batch.batch import Batch, Part, parts_of, record_of, success_of
from tidegate.domain.batch.batch_ledger import completed
from tidegate.domain.registry.route import Route, Served
from tidegate.kernel.address import Address

INPUT, OUTPUT = "s3://data/batch/in/", "s3://data/batch/out/"
HOME = Address.parse(OUTPUT, "output")
BATCH = ("predict", "flight-delay", "--input", INPUT, "--output", OUTPUT)


@pytest.fixture
def asked(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """A model that serves, and something to score."""
    server.world.with_model()
    monkeypatch.setattr(
        server.world.registry, "route", lambda model: Route(model, 1, champion=Served(3, "runs/model.onnx", "0" * 64))
    )
    server.world.batch_objects.upload(INPUT + "a.csv", b"carrier\nUA\n")
    return server


def planned(server: Loopback) -> str:
    """As the machine does; returns the batch's id."""
    part = Part(1, "batch/in/a.csv", "e", 8, 11, 1, 1)
    listed = json.dumps([asdict(part)])
    server.world.batch_objects.put(parts_of(HOME), listed.encode(), "application/json", {})
    return next(iter(server.world.batch_runs.attempts))


def test_a_batch_is_started_and_says_where_it_goes(run: Cli, asked: Loopback) -> None:
    assert run(*BATCH, "--no-wait") == exits.OK
    assert "flight-delay version 3 scores s3://data/batch/in/" in run.out
    assert run(*BATCH, "--no-wait", "--json") == exits.OK
    assert (run.document["status"], run.document["attempt"]) == ("running", 1)


def test_a_batch_that_is_done_shows_its_totals_and_its_faults(run: Cli, asked: Loopback) -> None:
    assert run(*BATCH, "--no-wait") == exits.OK
    ended = {"batch_id": planned(asked), "ended_at": "2026-01-05T13:00:00+00:00"}
    totals = json.dumps({"parts": 1, "rows": 1, "faulty": 1, **ended}).encode()
    asked.world.batch_objects.put(success_of(HOME), totals, "application/json", {})
    batch = Batch.from_json(json.loads(asked.world.batch_objects.document(record_of(HOME))))
    asked.world.batch_ledger.append(completed(batch, totals))
    assert run(*BATCH) == exits.OK
    assert run.out.splitlines() == [
        "1 row scored by flight-delay version 3: s3://data/batch/out/",
        "1 of them have faults: s3://data/batch/out/_errors/",
    ]
    assert run("ledger", "flight-delay") == exits.OK
    lines = [line for line in run.out.splitlines() if " batch " in line]
    assert [" ".join(line.split()) for line in lines] == [
        "2026-01-05 12:00 batch start 3: 1 object DataScientist/ana s3://data/batch/in/ to s3://data/batch/out/",
        "2026-01-05 13:00 batch complete 3: 1 row DataScientist/ana s3://data/batch/out/, 1 with faults",
    ]
    assert run("ledger", "verify", "flight-delay") == exits.OK
    assert "flight-delay: the ledger of batches is intact, 2 entries" in run.out


def test_a_batch_that_was_struck_out_of_the_ledger_is_missed(run: Cli, asked: Loopback) -> None:
    assert run(*BATCH, "--no-wait") == exits.OK
    chain = asked.world.batch_ledger.chains["flight-delay"]
    chain[0] = replace(chain[0], output="s3://data/batch/elsewhere/")
    assert run("ledger", "verify", "flight-delay") == exits.BROKEN
    assert "the ledger of batches is BROKEN at entry 1" in run.out


def test_a_failed_batch_says_why_and_the_same_command_goes_on(
    run: Cli,
    asked: Loopback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(*BATCH, "--no-wait") == exits.OK
    runs, batch_id = asked.world.batch_runs, planned(asked)
    runs.end(batch_id, "FAILED", "1 of 1 parts were not scored")
    start = runs.start

    def fails_again(batch_id: str, number: int, document: object) -> None:
        start(batch_id, number, {})
        runs.end(batch_id, "FAILED", "1 of 1 parts were not scored")

    monkeypatch.setattr(runs, "start", fails_again)
    assert run(*BATCH) == exits.FAILED
    assert "resuming with the missing parts (attempt 2)" in run.err
    assert "0 of 1 parts, 0 of 1 rows" in run.err
    assert "the batch failed: 1 of 1 parts were not scored" in run.out


@pytest.mark.parametrize("given", [("--output", OUTPUT), ("--input", INPUT)])
def test_a_batch_needs_both_addresses(run: Cli, asked: Loopback, given: tuple[str, str]) -> None:
    assert run("predict", "flight-delay", *given) == exits.INVALID
    assert "a batch needs --input s3://... and --output s3://..." in run.err


def test_another_output_than_batches_may_have_is_refused(run: Cli, asked: Loopback) -> None:
    assert run("predict", "flight-delay", "--input", INPUT, "--output", "s3://data/runs/") == exits.NOT_ALLOWED
    assert "cannot use s3://data/runs/ as output; they can use s3://data/batch/" in run.err
    assert "batch_places" in run.err
