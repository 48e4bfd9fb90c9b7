"""A training whose reply was lost: the command names its token, and no hint leads to where another one came from."""

import re
import shlex

import pytest

from tests.builders.command_line import Cli
from tests.builders.loopback import Loopback
from tests.builders.specs import spec_text
from tidegate.cli import exits
from tidegate.domain.registry.run import RunStatus
from tidegate.kernel.errors import UnavailableError

HINT = re.compile(r"tidegate ([a-z].*?)(?=$|; |, |`)", re.MULTILINE)
ACTS = ("train", "rollout flight-delay --end")


@pytest.fixture
def lost(run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that is recorded and not started; its token."""
    server.world.with_dataset()
    server.world.call("PUT", "/models/flight-delay", spec_text())

    def refuse(model: str, run_id: str) -> None:
        raise UnavailableError("Step Functions does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(server.world.workflow, "start", refuse)
        assert run("train", "flight-delay", "--wait") == exits.UNREACHABLE
    (found,) = server.world.registry.runs("flight-delay")
    assert found.status is RunStatus.REQUESTED
    assert found.token is not None
    assert f"tidegate train flight-delay --token {found.token}" in run.err
    return found.token


def hints(run: Cli) -> list[str]:
    """The commands that an answer names."""
    return [each.replace('"..."', "seen") for each in HINT.findall(f"{run.out}\n{run.err}")]


def test_hints_around_a_training_that_did_not_start_lead_to_its_end_and_never_in_a_circle(
    run: Cli, server: Loopback, lost: str
) -> None:
    begun = ["train flight-delay", "rollout flight-delay", "runs flight-delay", "model show flight-delay"]
    led: dict[str, list[str]] = {}
    open_ = [*begun]
    while open_:
        command = open_.pop(0)
        if command in led or (command.startswith(ACTS) and command not in begun):
            continue
        run(*shlex.split(command))
        led[command] = [each for each in hints(run) if each != command]
        open_ += led[command]

    def walked(command: str, before: tuple[str, ...]) -> set[str]:
        assert command not in before, f"in a circle: {before}"
        if command not in led:
            return {command}
        return {end for each in led[command] for end in walked(each, (*before, command))}

    ends = {end for command in begun for end in walked(command, ())}
    assert ends == {"rollout flight-delay --end --reason seen"}
    assert "rollout flight-delay" in led["train flight-delay"][-1]


def test_the_end_of_a_training_by_hand_lets_the_next_one_start(run: Cli, server: Loopback, lost: str) -> None:
    assert run("train", "flight-delay") == exits.CONFLICT
    assert run("rollout", "flight-delay", "--end", "--reason", "its reply was lost") == exits.OK
    (ended,) = server.world.registry.runs("flight-delay")
    assert f"run {ended.run_id} is ended" in run.out
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert "ended it: its reply was lost" in ended.error.message
    assert run("rollout", "flight-delay", "--end", "--reason", "once more") == exits.OK
    assert "nothing to end" in run.out
    assert run("train", "flight-delay") == exits.OK


def test_the_token_that_was_named_starts_the_run_that_was_recorded(run: Cli, server: Loopback, lost: str) -> None:
    assert run("train", "flight-delay", "--token", lost) == exits.OK
    (found,) = server.world.registry.runs("flight-delay")
    assert server.world.workflow.started == [("flight-delay", found.run_id)]


def test_a_reply_that_never_came_is_answered_with_the_token(
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.world.with_dataset()
    server.world.call("PUT", "/models/flight-delay", spec_text())
    monkeypatch.setattr("tidegate.cli.client.Client._ask", _lost)
    for command in ("train flight-delay", "reproduce flight-delay 1"):
        assert run(*command.split()) == exits.UNREACHABLE
        assert re.search(rf"one run starts: tidegate {command} --token cli-[0-9a-f]{{32}}$", run.err, re.MULTILINE)
    assert run("train", "flight-delay", "--token", "nightly-7") == exits.UNREACHABLE
    assert "tidegate train flight-delay --token nightly-7" in run.err


def _lost(*_: object, **__: object) -> None:
    raise UnavailableError("the control API cannot be reached", next_step="check the network")
