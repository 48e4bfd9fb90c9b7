"""The command that checks a deployed stage."""

import secrets
from typing import Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.kernel.errors import InvalidInputError
from tidegate.kernel.fault_words import did_you_mean


@click.command(cls=Command, short_help="Check a deployed stage, from permissions to a rollback.")
@click.option(
    "--only", multiple=True, metavar="CHECK", help="Only this check and those that it needs. Can be repeated."
)
@click.option("--list", "listing", is_flag=True, help="List the checks, and make none.")
@click.option("--remove", is_flag=True, help="Only remove what ended checks left behind, after an hour.")
@pass_tool
def doctor(tool: Tool, *, only: tuple[str, ...], listing: bool, remove: bool) -> int:
    """Check a deployed stage as its platform engineer: permissions of every role, quotas, clocks, delivery of captures,
    traces, and a model of its own from a dataset to a rollback. On AWS this takes about ten minutes.

    The model is named tidegate-doctor-TIME. It is removed at the end, also after Ctrl-C; the last line says what stays.
    No other model is touched. The alarm retraining-wanted fires once, and the topics get messages about the model.
    docs/deploy.md says what each check shows, and which permissions you need.

    The exit code is 1 if a check failed, and 5 if your credentials may not make the check identity or one of --only. A
    check that is skipped proves nothing; its line says why.

    \b
    Example:
      tidegate doctor --stage dev
      tidegate doctor --only quotas --only permissions
    """
    from tidegate.cli.doctor import checks, removal, synthetic
    from tidegate.cli.doctor.trial import Trial
    from tidegate.cli.doctor.verdicts import Line, Outcome
    from tidegate.cli.pages import doctor as page

    if listing:
        listed = [{"check": each.name, "tries": each.tries, "needs": list(each.needs)} for each in checks.CHECKS]
        tool.answer({"checks": listed}, lambda out: page.checks(out, listed))
        return exits.OK
    known = [check.name for check in checks.CHECKS]
    if unknown := [name for name in only if name not in known]:
        near = did_you_mean(unknown[0], known)
        raise InvalidInputError(f"there is no check {unknown[0]}{near}", next_step=f"choose from: {', '.join(known)}")
    stage = tool.stage_seen_by_its_engineer()

    def seen(line: Line) -> None:
        if not tool.as_json:
            page.line(tool.out, line)

    def trial(name: str) -> Trial:
        return Trial(stage, name, say=tool.say)

    if remove:
        lines = [checks.left_behind(trial(name)) for name in removal.leftovers(stage)]
        for line in lines:
            seen(line)
    else:
        name = synthetic.name(tool.now(), secrets.token_hex(2))
        lines = checks.make(trial(name), checks.chosen(only), seen)
    document: dict[str, Any] = {"stage": stage.name, "checks": [line.to_json() for line in lines]}
    tool.answer(document, lambda out: page.summary(out, lines))
    if any(line.verdict.outcome is Outcome.FAIL for line in lines):
        return exits.FAILED
    asked_for = {"identity", *only}
    denied = any(line.verdict.denied and line.name in asked_for for line in lines)
    return exits.NOT_ALLOWED if denied else exits.OK
