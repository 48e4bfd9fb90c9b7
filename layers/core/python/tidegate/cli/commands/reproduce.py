"""The command that makes a version again and says whether it is the same."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Command, Tool, pass_tool

if TYPE_CHECKING:
    from rich.console import Console

Document = Mapping[str, Any]


@click.command(cls=Command, short_help="Train VERSION of MODEL again and compare the result.")
@click.argument("model")
@click.argument("version", type=int)
@click.option("--token", metavar="TEXT", help="Idempotency token: the same token starts only one run.")
@click.option("--wait", is_flag=True, help="Follow the run to its end. The exit code shows the result.")
@click.option(
    "--timeout", default=3_600, show_default=True, type=click.IntRange(1), help="Maximum time to wait, in seconds."
)
@pass_tool
def reproduce(tool: Tool, model: str, version: int, *, token: str | None, wait: bool, timeout: int) -> int:
    """Train VERSION of MODEL again from its recorded inputs (spec, dataset version, exclusions, seed, candidate), and
    compare the ONNX file by hash, every metric exactly, and the environment.

    Nothing is registered, and nothing that is served changes. With --wait the exit code is 0 if everything is equal,
    and 1 if something differs or the run failed. Ctrl-C stops the display, not the run.

    \b
    Example:
      tidegate reproduce flight-delay 3 --wait
    """
    from tidegate.cli.pages import progress
    from tidegate.cli.pages import runs as runs_page

    token = token or f"cli-{uuid.uuid4().hex}"
    answer = tool.client.reproduce(model, version, token)
    run = answer["run"]
    again = f"tidegate reproduce {model} {version} --token {token} --wait"
    if not wait:

        def started(out: Any) -> None:
            out.print(f"{model}: run {run['run_id']} is {run['status']}")
            out.print(f"follow it: {again}", soft_wrap=True)

        tool.answer(answer, started)
        return exits.OK

    try:
        with progress.following(tool.err, model, run["run_id"], 1) as look:
            run = tool.client.wait_for_run(model, run["run_id"], on_look=look, timeout_seconds=timeout)
    except KeyboardInterrupt:
        tool.say(f"the run continues; follow it again: {again}")
        raise
    if run["status"] == "failed":
        tool.answer({"run": run, "reproduction": None}, lambda out: runs_page.outcome(out, run, None, None))
        return exits.FAILED
    found = tool.client.reproduction(model, run["run_id"])
    tool.answer(found, lambda out: show(out, found["reproduction"]))
    return exits.OK if found["reproduction"]["equal"] else exits.FAILED


def show(out: "Console", found: Document) -> None:
    """The verdict, what differs, and in what the environment does."""
    from rich.text import Text

    from tidegate.cli.pages.pieces import status, table

    compared, environment = found["compared"], found["environment"]
    artifact = next(each for each in compared if each["what"] == "artifact")
    different = [each for each in compared if not each["equal"]]
    verdict = status("reproduced" if found["equal"] else "differs")
    out.print(Text.assemble(f"{found['model']} version {found['version']}: ", verdict))
    same_file = f"the same ONNX file (sha256 {artifact['found']})"
    out.print(same_file if artifact["equal"] else "a different ONNX file", soft_wrap=True)
    out.print("the same metrics and data" if found["equal"] else f"{len(different)} of {len(compared)} facts differ")
    if different:
        out.print()
        table(out, ("what", "recorded", "now"), _rows(different))
    out.print()
    if not environment["recorded"]:
        out.print("the version is older than the record of packages: only code and lock are compared")
    if not environment["differences"]:
        out.print("same environment")
        return
    out.print("different environment:")
    table(out, ("what", "recorded", "now"), _rows(environment["differences"]))


def _rows(found: Sequence[Document]) -> list[tuple[str, str, str]]:
    return [(each["what"], _shown(each["recorded"]), _shown(each["found"])) for each in found]


def _shown(value: object) -> str:
    """Numbers in full: a difference may be in the last bit."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if len(text) == 64 else text
