"""`tidegate traffic`: rows become requests at a rate, and what became of them is reported."""

import _thread
import signal
import threading
from pathlib import Path

import pytest

from tests.builders.command_line import Cli
from tests.builders.loopback import Loopback
from tidegate.cli import exits
from tidegate.cli.commands import traffic as command
from tidegate.kernel.errors import UnavailableError

PLAY = ("traffic", "flight-delay", "--from", "rows.csv", "--rate", "200")


@pytest.fixture
def trained(server: Loopback) -> Loopback:
    server.world.with_model()
    run = server.world.call("POST", "/models/flight-delay/runs").body["run"]
    server.world.run_to_the_end(run["run_id"])
    return server


@pytest.fixture
def rows(run: Cli) -> None:
    lines = [f"UA,{row % 24},{row + 0.5},{str(row % 3 == 0).lower()},{row}" for row in range(60)]
    Path("rows.csv").write_text("\n".join(["carrier,hour,distance,late,flight", *lines]))


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The outcomes that were reported; the loopback has no stream to keep them."""
    found: list[dict[str, object]] = []

    def feedback(_client: object, model: str, items: list[dict[str, object]]) -> dict[str, int]:
        assert model == "flight-delay"
        found.extend(items)
        return {"accepted": len(items)}

    monkeypatch.setattr("tidegate.cli.client.Client.feedback", feedback)
    return found


@pytest.mark.usefixtures("rows")
def test_each_row_is_one_request_of_what_the_version_asks_for(
    run: Cli, trained: Loopback, reported: list[dict[str, object]]
) -> None:
    assert run(*PLAY, "--outcomes", "late", "--json") == exits.OK, run.err
    assert run.document["sent"] == run.document["answered"] == run.document["outcomes"] == 60
    assert run.document["by_version"] == {"version 1": 60}
    assert run.document["by_reason"] == {"champion": 60}
    assert run.document["faults"] == {}
    assert sum(path.endswith("/predict") for _, path in trained.requests) == 60
    assert sum(each["outcome"] is True for each in reported) == 20
    assert len({each["id"] for each in reported}) == 60
    assert run(*PLAY) == exits.OK
    assert "60 answered; 0 outcomes reported" in run.out
    assert "by version: version 1 60" in run.out


@pytest.mark.usefixtures("rows", "trained")
def test_with_minutes_rows_are_repeated_at_the_rate_and_progress_is_shown(
    run: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SAID_EVERY", 0.3)
    assert (
        run("traffic", "flight-delay", "--from", "rows.csv", "--rate", "50", "--minutes", "0.03", "--json") == exits.OK
    )
    assert 60 < run.document["sent"] <= 95
    assert "a second; version 1" in run.err


@pytest.mark.usefixtures("rows", "trained")
def test_ctrl_c_ends_it_with_the_outcomes_of_what_was_answered(run: Cli, reported: list[dict[str, object]]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    try:
        threading.Timer(1.0, _thread.interrupt_main).start()
        assert run(*PLAY[:-1], "30", "--outcomes", "late", "--minutes", "1", "--json") == exits.OK
    finally:
        signal.signal(signal.SIGINT, before)
    assert 5 < run.document["answered"] < 60
    assert run.document["outcomes"] == len(reported) == run.document["answered"]
    assert "ending" in run.err


@pytest.mark.usefixtures("trained")
def test_rows_that_are_refused_are_counted_by_their_fault_and_all_refused_end_it(run: Cli) -> None:
    lines = [f"UA,{99 if row % 4 == 3 else 7},1" for row in range(40)]
    Path("rows.csv").write_text("\n".join(["carrier,hour,distance", *lines]))
    assert run(*PLAY, "--json") == exits.OK
    assert (run.document["answered"], sum(run.document["faults"].values())) == (30, 10)
    assert "hour" in next(iter(run.document["faults"]))
    Path("rows.csv").write_text("\n".join(["carrier,distance", *(["UA,7"] * 40)]))
    assert run(*PLAY) == exits.INVALID
    assert "hour: is not in the input, and the model needs it in every row" in run.err
    Path("rows.csv").write_text("\n".join(["carrier,hour,distance", *(["UA,99,7"] * 40)]))
    assert run(*PLAY) == exits.INVALID
    assert "none of the first 20 requests was answered" in run.err
    assert "hour" in run.err


@pytest.mark.usefixtures("rows", "trained")
def test_a_column_that_is_not_there_is_named_before_anything_is_sent(run: Cli) -> None:
    assert run(*PLAY, "--outcomes", "delayed") == exits.INVALID
    assert "--outcomes" in run.err
    assert "flight" in run.err


@pytest.mark.usefixtures("rows", "trained")
def test_outcomes_that_cannot_be_reported_now_are_reported_later(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "OUTCOMES_EVERY", 0.05)
    calls = []

    def feedback(_client: object, _model: str, items: list[object]) -> dict[str, int]:
        calls.append(len(items))
        if len(calls) == 1:
            raise UnavailableError("try again")
        return {"accepted": len(items)}

    monkeypatch.setattr("tidegate.cli.client.Client.feedback", feedback)
    assert run(*PLAY, "--outcomes", "late", "--json") == exits.OK
    assert run.document["outcomes"] == 60
    assert len(calls) >= 2


def test_a_file_without_rows_is_refused_with_the_option_of_this_command(run: Cli, trained: Loopback) -> None:
    Path("rows.csv").write_text("carrier,hour,distance\n")
    assert run(*PLAY) == exits.INVALID
    assert "give --from a file" in run.err
    assert "predict" not in run.err
