"""The page docs/cli.md, written from the commands themselves.

    python -m tidegate.cli.reference > docs/cli.md

A test holds the page equal to this.
"""

from collections.abc import Iterator

import click

from tidegate.cli import exits
from tidegate.cli.main import cli

WIDTH = 80
_INTRODUCTION = """\
# The command line

`tidegate` does everything that a person or a pipeline does with Tidegate, through the signed control and serving APIs.
The same commands run against AWS and against the local cloud.

```console
$ tidegate --profile ml --region eu-west-1 --stage dev model list     # AWS
$ tidegate --local model list                                         # the local cloud of this folder
```

Where the APIs are is read from the SSM parameters `/tidegate/<stage>/control-url` and `/tidegate/<stage>/serving-url`.
`--local` takes address and credentials from `.tidegate/local.json`, which the local cloud writes while it is up, in
this folder or one above it; `--local=FILE` names another one, and `TIDEGATE_LOCAL=1` does what `--local` does. The
commands that Tidegate names as the next step repeat the --profile, --region, --stage and --local that were given.

With `--json` exactly one JSON document goes to standard output, also when the command fails:
`{"error": {"exit_code", "message", "errors", "next_step"}}`. Progress, warnings and faults for people go to standard
error. There is no colour when the output is not a terminal or `NO_COLOR` is set, and a table that goes to a file or a
pipe is not folded unless `COLUMNS` says how wide it may be.

Calls that got no answer, or 429 or 503, are repeated up to four times; every call of Tidegate may be repeated without
doing its work twice.
"""


def page() -> str:
    """The whole page."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in exits.MEANING.items())
    parts = [_INTRODUCTION, f"## Exit codes\n\n| code | meaning |\n| --- | --- |\n{codes}\n", "## Commands\n"]
    for path, text in _helps(cli, "tidegate", None):
        parts.append(f"### {path}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent=parent, info_name=name, **settings)
    lines = command.get_help(context).splitlines()
    yield context.command_path, "\n".join(line.rstrip() for line in lines)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _helps(command.commands[child], child, context)


if __name__ == "__main__":
    click.echo(page(), nl=False)
