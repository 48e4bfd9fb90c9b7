"""What every command shares: the global options, the connection they describe, and the two ways of answering.

Only click is imported here: `tidegate --help` must not wait for boto3 or rich.
"""

import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tidegate.cli.local_file import STATE_FILE, upwards
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import InvalidInputError, NotFoundError, TidegateError
from tidegate.kernel.plain_text import escaped, one_line, shown

if TYPE_CHECKING:
    from rich.console import Console

    from tidegate.cli.client import Client
    from tidegate.cli.doctor.stage import Stage

STATE = StoredForm("state file of the local cloud", renew="start the local cloud again")
DEFAULT_STAGE = "dev"
LISTED = 50  # entries of a list, unless --limit says otherwise
_UNFOLDED = 10_000  # columns
_HINT = re.compile(r"(?<![\w./-])tidegate (?=[a-z])(?![a-z -]*--help)")


@dataclass
class Tool:
    """The state of one invocation."""

    profile: str | None = None
    region: str | None = None
    stage: str | None = None
    local: str | None = None
    user: str | None = None
    as_json: bool = False
    typed: dict[str, str] = field(default_factory=dict)  # the options of them that stood on the command line

    @cached_property
    def place(self) -> "Place":
        """Where the options point."""
        import boto3

        from tidegate.cli.client import aws_faults

        if self.local is not None:
            self._refuse_two_places()
            state = LocalState.read(self.local, self.user)
            stage = self.stage or state.stage or DEFAULT_STAGE
            return Place(state.session(), stage, state.endpoint_url, state.ahead_seconds)
        if self.user is not None:
            raise InvalidInputError(
                "--as names a user of the local cloud", next_step="on AWS, take a role by --profile or AWS_PROFILE"
            )
        with aws_faults():
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
        return Place(session, self.stage or DEFAULT_STAGE)

    @cached_property
    def client(self) -> "Client":
        """Signed access to the stage that the options name."""
        from tidegate.cli.client import Client

        return Client.from_session(self.place.session, self.place.stage, endpoint_url=self.place.endpoint_url)

    def now(self) -> datetime:
        """The time where the options point: the clock of a local cloud may have been moved."""
        return datetime.now(UTC) + timedelta(seconds=self.place.ahead_seconds)

    def stage_seen_by_its_engineer(self) -> "Stage":
        """The stage's parts in AWS, behind its APIs."""
        from tidegate.cli.doctor.stage import Stage

        place = self.place
        return Stage(place.session, place.stage, self.client, endpoint_url=place.endpoint_url, now=self.now)

    def close(self) -> None:
        """Let go of what was opened."""
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def out(self) -> "Console":
        """Standard output, for people; no colour unless it is a terminal and NO_COLOR is not set."""
        return _console(sys.stdout, self.repeated)

    @cached_property
    def err(self) -> "Console":
        """Standard error: progress, warnings and faults."""
        return _console(sys.stderr, self.repeated)

    def answer(self, document: object, render: Callable[["Console"], None]) -> None:
        """The command's one answer: a JSON document for machines, or `render`ed for people."""
        if self.as_json:
            click.echo(_json(document))
        elif self.out.is_terminal:
            render(self.out)
        else:
            with self.out.capture() as captured:
                render(self.out)
            click.echo("\n".join(line.rstrip() for line in captured.get().split("\n")), nl=False)

    def keep(self, text: str, path: str | None, name: str, *, done: str, show: bool) -> None:
        """Write a file, to `path` or as `name` into a new folder, say that it is `done`, and show it if asked."""
        where = Path(path) if path else Path(tempfile.mkdtemp(prefix="tidegate-")) / name
        try:
            where.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidInputError(f"{where} cannot be written: {error.strerror or error}") from None
        self.say(f"{done} {where}")
        if show:
            click.launch(str(where))

    def repeated(self, text: str) -> str:
        """The text, its `tidegate` commands with the connection options that were typed: pasted, they go there too."""
        options = [
            "--local"
            if (name, value) == ("local", STATE_FILE)
            else f"--{'as' if name == 'user' else name}={shlex.quote(value)}"
            for name, value in self.typed.items()
        ]
        return _HINT.sub(lambda _: " ".join(["tidegate", *options, ""]), text)

    def say(self, text: str) -> None:
        """A line about what is going on, on standard error."""
        click.echo(shown(self.repeated(text)), err=True)

    def warn(self, warnings: list[str]) -> None:
        """Things that are allowed and probably not meant."""
        for warning in warnings:
            self.say(f"warning: {warning}")

    def refuse(self, error: TidegateError, code: int) -> int:
        """Report a fault: every fault on a line of its own, then what to do; in JSON too when that was asked for."""
        summary = error.summary if isinstance(error, InvalidInputError) else error.message
        faults = error.faults if isinstance(error, InvalidInputError) else ()
        if self.as_json:
            refused = {"exit_code": code, "message": summary, "errors": [fault.to_json() for fault in faults]}
            refused["next_step"] = self.repeated(error.next_step)
            click.echo(_json({"error": refused}))
        self.say(f"error: {one_line(summary)}")
        for fault in faults:
            self.say(f"  {one_line(str(fault))}")
        if error.next_step:
            self.say(f"  next: {error.next_step}")
        return code

    def _refuse_two_places(self) -> None:
        named = [f"--{name}" for name in ("profile", "region") if getattr(self, name) is not None]
        if named:
            where = "--local" if "local" in self.typed else "TIDEGATE_LOCAL"
            raise InvalidInputError(
                f"{where} and {' and '.join(named)} name two places",
                next_step=f"leave out {where} to talk to AWS, or the other to talk to the local cloud",
            )


def _json(document: object) -> str:
    return escaped(json.dumps(document, indent=2, ensure_ascii=False))


def _console(stream: Any, mended: Callable[[str], str]) -> "Console":
    """A console whose printed lines are `mended`, with letters spelled out that would act on the terminal; what goes to
    a file or a pipe is not folded."""
    from rich.console import Console
    from rich.segment import Segment

    class Mending(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(shown(segment.text), segment.style)

        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*(mended(each) if isinstance(each, str) else each for each in objects), **how)

    console = Mending(file=stream, highlight=False, emoji=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNFOLDED
    return console


@dataclass(frozen=True)
class Place:
    """A stage of an account and region, or of a local cloud, which has an endpoint."""

    session: Any
    stage: str
    endpoint_url: str | None = None
    ahead_seconds: float = 0.0  # of its clock


@dataclass(frozen=True)
class LocalState:
    """What the local cloud writes down about itself when it is up."""

    endpoint_url: str
    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str | None
    stage: str | None
    ahead_seconds: float

    def session(self) -> Any:
        """A boto3 session of the local cloud's user."""
        import boto3

        return boto3.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=self.session_token,
            region_name=self.region,
        )

    @classmethod
    def read(cls, name: str, user: str | None = None) -> "LocalState":
        """Read the state file; the default name is looked for in this folder and those above it. The credentials are
        those of a user, by default of `developer`.

        Raises:
            NotFoundError: there is no file, or no such user.
            InvalidInputError: it is not a state file.
        """
        path = upwards(Path(name)) if name == STATE_FILE else Path(name)
        start = "start the local cloud first: scripts/local up"
        try:
            document = STATE.read(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFoundError(f"there is no local cloud here: {name} does not exist", next_step=start) from None
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{path} cannot be read: {error}", next_step=start) from None
        try:
            users: Mapping[str, Any] = document.get("users", {})
            if user is not None and user not in users:
                raise NotFoundError(
                    f"the local cloud has no user {user}",
                    next_step=f"--as one of: {', '.join(sorted(users)) or 'none'}",
                )
            credentials: Mapping[str, Any] = document["credentials"] if user is None else users[user]
            return cls(
                endpoint_url=document["endpoint_url"],
                region=document["region"],
                access_key_id=credentials["AWS_ACCESS_KEY_ID"],
                secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
                session_token=credentials.get("AWS_SESSION_TOKEN"),
                stage=document.get("stage"),
                ahead_seconds=float(document.get("clock_offset_s", 0.0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{path} is not a state file of a local cloud: {error!r}", next_step=start
            ) from None


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is None or context.resilient_parsing:
        return
    tool, name = context.ensure_object(Tool), str(parameter.name)
    source = context.get_parameter_source(name)
    if name == "local" and source is ParameterSource.ENVIRONMENT and str(value).lower() in {"1", "true"}:
        value = STATE_FILE
    if name != "as_json" and source is ParameterSource.COMMANDLINE:
        tool.typed[name] = str(value)
    setattr(tool, name, value)


def global_options(*, root: bool) -> list[click.Option]:
    """Options of every command; the last one given wins, wherever it stands."""

    def option(*names: str, text: str, envvar: str | None = None, **more: Any) -> click.Option:
        # Environment variables belong to the root alone, or they would undo what was said before the subcommand.
        more |= {"envvar": envvar if root else None, "show_envvar": root, "hidden": not root}
        return click.Option(names, help=text, expose_value=False, callback=_keep, default=None, **more)

    return [
        option("--profile", metavar="NAME", text="AWS profile (or AWS_PROFILE)."),
        option("--region", metavar="NAME", text="AWS region (or AWS_REGION, or the profile's)."),
        option("--stage", metavar="NAME", text="Deployed stage; dev unless given.", envvar="TIDEGATE_STAGE"),
        option(
            "--local",
            metavar="[=FILE]",
            text=f"Talk to the local cloud that wrote FILE ({STATE_FILE}).",
            envvar="TIDEGATE_LOCAL",
        ),
        option(
            "--as",
            "user",
            metavar="USER",
            text="With --local: act as viewer, scientist, approver or operator.",
            envvar="TIDEGATE_AS",
        ),
        option("--json", "as_json", text="One JSON document on standard output.", is_flag=True, flag_value=True),
    ]


class Command(click.Command):
    """A command that takes the global options too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += global_options(root=False)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Where the hidden options are shown."""
        formatter.write_paragraph()
        formatter.write_text("--profile, --region, --stage, --local, --as and --json: see `tidegate --help`.")


class Group(click.Group):
    """A group whose commands and subgroups take the global options too; commands keep the order of definition."""

    command_class = Command

    def __init__(self, *args: Any, root: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += global_options(root=root)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """As defined: the order in which a person needs them."""
        return list(self.commands)


Group.group_class = Group

pass_tool = click.make_pass_decorator(Tool, ensure=True)


@dataclass(frozen=True)
class Part:
    """The part of a list that a command shows: at most `limit` entries (None: all), behind the token `after`."""

    limit: int | None
    after: str | None


def listing(limit: int = LISTED) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of a command that shows a list, which it takes as one `part`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--limit",
            default=limit,
            show_default=True,
            type=click.IntRange(1),
            metavar="N",
            help="Maximum number of entries.",
        )
        @click.option("--all", "whole", is_flag=True, help="Show all, however many there are.")
        @click.option("--after", metavar="TOKEN", help="Continue an earlier list: `next` of its --json output.")
        @wraps(command)
        def with_part(*args: Any, limit: int, whole: bool, after: str | None, **kwargs: Any) -> Any:
            return command(*args, part=Part(None if whole else limit, after), **kwargs)

        return with_part

    return decorate


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what can go wrong with a person's file into one line."""
    try:
        yield
    except FileNotFoundError:
        raise InvalidInputError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from None
