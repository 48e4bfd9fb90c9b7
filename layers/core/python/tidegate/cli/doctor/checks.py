"""The checks of a stage, in the order in which they are made: each says what it tries, and what it needs first."""

import time
import traceback
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tidegate.aws.clients import code_of
from tidegate.cli.client import NotAllowedError
from tidegate.cli.doctor import removal, roles, trial, verdicts
from tidegate.cli.doctor.roles import Question
from tidegate.cli.doctor.stage import Stage, present
from tidegate.cli.doctor.trial import DAY_SECONDS, Trial
from tidegate.cli.doctor.verdicts import Expected, Line, Outcome, Verdict
from tidegate.kernel import english
from tidegate.kernel.errors import NotFoundError, TidegateError
from tidegate.kernel.roles import Role

STREAMS = ("captures", "feedback")
ERROR_LOG = "S3Delivery"
TRACE_SECONDS = 90.0
STOPPED_SECONDS = 90.0
LEFT_SECONDS = 3_600.0  # what is younger may be another doctor's, who is still at work
_THREADS = 8
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it tries in a clause, and the checks whose success it needs."""

    name: str
    tries: str
    make: Callable[[Trial], Verdict]
    needs: tuple[str, ...] = ()


def identity(at: Trial) -> Verdict:
    """Who asks, and whether the stage is there."""
    caller, found = at.stage.caller, at.stage.parameters
    where = f"account {caller['Account']}, {at.stage.region}"
    return verdicts.ok(f"{caller['Arn']} in {where}: stage {at.stage.name} has {len(found)} parameters")


def clock(at: Trial) -> Verdict:
    """The half of the time that the call took is the answer's way back."""
    before = at.stage.now().timestamp()
    answer = at.stage.aws("sts").get_caller_identity()
    here = (before + at.stage.now().timestamp()) / 2
    there = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp() + 0.5
    return verdicts.clock(here - there)


def functions(at: Trial) -> Verdict:
    """All of them, by name."""
    return verdicts.functions({name: at.stage.function(name) for name in roles.WRITES})


def permissions(at: Trial) -> Verdict:
    """Ask IAM's simulator, which takes the policies of the roles, their boundaries, and service control policies."""
    stage, found = at.stage, at.stage.places
    asked = [(_role_of(stage, each.role), each) for each in roles.of_functions(stage.prefix, at.name, found)]
    role_of, missing = cache(stage.role_of), dict[str, Verdict]()
    for named, each in roles.of_services(stage.prefix, found):
        try:
            asked.append((role_of(*named), each))
        except NotFoundError as error:
            missing[each.role] = verdicts.fail(error.message, error.next_step)
    at.say(f"  {english.count(len(asked), 'question')} to the simulator of IAM")
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = pool.map(lambda each: _simulated(stage, *each), asked)
    decided = {key: allowed for answer in answers for key, allowed in answer.items()}
    rest = verdicts.permissions([each for _, question in asked for each in question.expected], decided)
    return verdicts.together([*missing.values(), rest])


def people(at: Trial) -> Verdict:
    """Compare the policy of each role of people with the routes that the role has."""
    found = {str(role): roles.allowed_calls(at.stage.policy(role)) for role in Role}
    return verdicts.people(found, {str(role): roles.calls_of(role) for role in Role})


def quotas(at: Trial) -> Verdict:
    """Lambda's concurrency, and API Gateway's requests a second."""
    limit = at.stage.aws("lambda").get_account_settings()["AccountLimit"]
    reserved = at.stage.aws("lambda").get_function_concurrency(FunctionName=f"{at.stage.prefix}-inference")
    parts = [
        verdicts.concurrency(
            limit["ConcurrentExecutions"],
            limit["UnreservedConcurrentExecutions"],
            reserved.get("ReservedConcurrentExecutions", 0),
        )
    ]
    read = partial(at.stage.aws("service-quotas").get_service_quota, ServiceCode="apigateway", QuotaCode="L-8A5B8E43")
    found = present(read, *_DENIED)
    parts.append(verdicts.requests(found["Quota"]["Value"] if found else None, _throttle(at.stage)))
    return verdicts.together(parts)


def delivery(at: Trial) -> Verdict:
    """Both streams, their error logs, and what those say."""
    parts = []
    for name in STREAMS:
        stream, group = f"{at.stage.prefix}-{name}", f"/aws/kinesisfirehose/{at.stage.prefix}-{name}"
        try:
            status = at.stage.stream(name)["DeliveryStreamStatus"]
        except NotFoundError as error:
            parts.append(verdicts.fail(error.message, error.next_step))
            continue
        if status != "ACTIVE":
            parts.append(verdicts.fail(f"{stream} is {status}", "deploy the Serving stack again"))
            continue
        listed = present(
            partial(at.stage.aws("logs").describe_log_streams, logGroupName=group, logStreamNamePrefix=ERROR_LOG)
        )
        exists = bool((listed or {}).get("logStreams"))
        messages = at.stage.log_lines(group, "errorCode", at.stage.now().timestamp() - DAY_SECONDS) if exists else []
        parts.append(verdicts.error_log(stream, exists=exists, messages=messages))
    return verdicts.together(parts)


def traces(at: Trial) -> Verdict:
    """Ask both APIs something, and look for the traces of that."""
    at.stage.api.models(limit=1)
    at.stage.api.health()
    names = ("control", "inference")

    def count(name: str) -> int:
        service, end = f'service("{at.stage.prefix}-{name}")', at.stage.now().timestamp() + 1
        found = at.stage.aws("xray").get_trace_summaries(StartTime=at.began, EndTime=end, FilterExpression=service)
        return len(found["TraceSummaries"])

    at.stage.until(lambda: all(map(count, names)), TRACE_SECONDS, every=5)
    return verdicts.traces({name: count(name) for name in names})


def starts(at: Trial) -> Verdict:
    """What Lambda wrote into the logs when functions started."""
    since = at.stage.now().timestamp() - DAY_SECONDS
    groups = {name: f"/aws/lambda/{at.stage.prefix}-{name}" for name in roles.WRITES}
    found = {
        name: present(partial(at.stage.log_lines, group, "Init Duration", since)) for name, group in groups.items()
    }
    return verdicts.cold_starts({name: lines for name, lines in found.items() if lines}, local=at.stage.is_local)


CHECKS: Sequence[Check] = (
    Check("identity", "asked STS who calls, and SSM for the stage", identity),
    Check("clock", "compared this machine's clock with AWS's", clock, ("identity",)),
    Check("functions", "looked for every function of this release", functions, ("identity",)),
    Check("permissions", "asked IAM's simulator what each role may do", permissions, ("functions",)),
    Check("people", "compared the policies of people's roles with the calls of this release", people, ("identity",)),
    Check("quotas", "read the account's quotas", quotas, ("functions",)),
    Check("delivery", "looked at the streams of Firehose and their error logs", delivery, ("identity",)),
    Check("traces", "called both APIs, and looked for the traces in X-Ray", traces, ("functions",)),
    Check("dataset", "uploaded a table of 400 rows", trial.dataset, ("functions",)),
    Check("training", "trained a model on it, and released it", trial.training, ("dataset",)),
    Check("answer", "asked the model", trial.answer, ("training",)),
    Check("ledger", "killed the model and let it resume, and verified the ledger", trial.ledger, ("training",)),
    Check("alarm", "counted a wanted training in a log line, as monitoring does", trial.alarm, ("ledger",)),
    Check("rollback", "asked the second version, and rolled back to the first", trial.rollback, ("alarm",)),
    Check("captures", "waited for the records of all predictions in S3", trial.captures, ("answer",)),
    Check("announced", "looked in the log of announce for all of it", trial.announced, ("training",)),
    Check("starts", "read how long functions took to start in the last day", starts, ("functions",)),
)


def chosen(names: Collection[str]) -> list[Check]:
    """The checks of these names and all that they need, in order; all checks without a name."""
    wanted = set(names) or {check.name for check in CHECKS}
    for check in reversed(CHECKS):  # what is needed stands before what needs it
        if check.name in wanted:
            wanted |= set(check.needs)
    return [check for check in CHECKS if check.name in wanted]


def make(at: Trial, checks: Sequence[Check], seen: Callable[[Line], None]) -> list[Line]:
    """Make the checks one by one; `seen` gets each line at once. What was made is removed at the end, also after a
    fault or an interrupt."""
    lines: dict[str, Line] = {}

    def noted(line: Line) -> None:
        lines[line.name] = line
        seen(line)

    try:
        for check in checks:
            missing = [name for name in check.needs if lines[name].verdict.outcome in {Outcome.FAIL, Outcome.SKIPPED}]
            if missing:
                denied = all(lines[name].verdict.denied for name in missing)
                verdict = verdicts.skipped(f"needs the check {missing[0]}, which did not succeed", denied=denied)
                noted(Line(check.name, check.tries, verdict, 0.0))
            else:
                noted(_made(check, at))
    finally:
        if at.made:
            noted(removed(at))
    return list(lines.values())


def left_behind(at: Trial) -> Line:
    """Remove what an earlier doctor made, unless it may still be at work."""
    age = at.stage.now().timestamp() - at.began
    if age > LEFT_SECONDS:
        return removed(at)
    came = f"{at.name} was made {age / 60:.0f} minutes ago: another doctor may be at work"
    return Line("removal", "looked for what earlier checks left", verdicts.skipped(came, "try again in an hour"), 0.0)


def removed(at: Trial) -> Line:
    """Remove the trial's model, once nobody needs it any more."""
    line = _made(Check("removal", f"removed {at.name}", _removed), at)
    if line.verdict.outcome is not Outcome.SKIPPED:
        return line
    denied = verdicts.fail(line.verdict.came, "tidegate doctor --remove, with credentials that may delete")
    return replace(line, verdict=denied)


def _removed(at: Trial) -> Verdict:
    late = _verdict("announced", _caught_up, at)
    if working := _under_way(at):
        return verdicts.fail(
            f"nothing was removed: {english.count(len(working), 'run is', 'runs are')} still at work",
            "tidegate doctor --remove, once the executions have ended",
        )
    captured = _verdict("captures", trial.captures, at) if at.asked else verdicts.ok("")
    try:
        found = removal.remove(at.stage, at.name)
    except removal.NotOwnedError as error:
        return verdicts.fail(f"nothing was removed: {error}", "remove it by hand if it is yours")
    return verdicts.removed(found.objects, found.items, found.entries, found.left, late, captured)


def _caught_up(at: Trial) -> Verdict:
    """Who announces a change reads the model's owner: without it the change would be tried for hours."""
    _stop_runs(at)
    try:
        return trial.announced(at)
    except NotFoundError:
        return verdicts.ok("the dataset has no model yet")


def _stop_runs(at: Trial) -> None:
    """A run that is under way would write again what is removed."""
    for run in _under_way(at):
        present(partial(at.stage.aws("stepfunctions").stop_execution, executionArn=run["execution"]))
    at.stage.until(lambda: not _under_way(at), STOPPED_SECONDS)


def _under_way(at: Trial) -> list[dict[str, Any]]:
    """Runs that have not ended, and those whose version is on its way in."""
    try:
        runs = at.stage.api.runs(at.name)
        entering = {each["run_id"] for each in at.stage.api.rollouts(at.name, status="open")}
        return [run for run in runs if run["status"] not in trial.ENDED or run["run_id"] in entering]
    except NotFoundError:
        return []


def _made(check: Check, at: Trial) -> Line:
    at.say(f"{check.name} ...")
    began = time.monotonic()
    verdict = _verdict(check.name, check.make, at)
    return Line(check.name, check.tries, verdict, time.monotonic() - began)


def _verdict(  # noqa: PLR0911  one for each kind of fault
    name: str, make: Callable[[Trial], Verdict], at: Trial
) -> Verdict:
    """What the engineer may not ask is skipped; any other fault of a call is a failure."""
    try:
        return make(at)
    except NotAllowedError as error:
        return verdicts.skipped(error.message, error.next_step, denied=True)
    except TidegateError as error:
        return verdicts.fail(error.message, error.next_step)
    except ClientError as error:
        said = error.response["Error"].get("Message", "")
        if code_of(error) in _DENIED:
            return verdicts.skipped(
                f"your credentials may not call {error.operation_name}: {said}",
                "use credentials of a platform engineer; docs/deploy.md lists what they need",
                denied=True,
            )
        return verdicts.fail(
            f"{error.operation_name} answered {code_of(error)}: {said}", "try again; docs/operations.md has the runbook"
        )
    except BotoCoreError as error:
        return verdicts.fail(f"AWS did not answer: {error}", "check the network, then try again")
    except Exception as error:  # noqa: BLE001  what it looks at may be in any state: the other checks go on
        at.say(traceback.format_exc())
        return verdicts.fail(
            f"the check {name} found what it does not understand ({type(error).__name__}: {error})",
            "deploy the stacks again; if it stays so, report it with the traceback on standard error",
        )


def _role_of(stage: Stage, function: str) -> str:
    found = stage.function(function)
    if found is None:
        raise NotFoundError(f"the function {function} is not deployed", next_step="deploy all stacks")
    return str(found["Role"])


def _simulated(stage: Stage, role: str, question: Question) -> dict[Expected, bool]:
    """What IAM decides for each action of a question."""
    keys = {"ContextKeyName": "dynamodb:LeadingKeys", "ContextKeyType": "stringList", "ContextKeyValues": question.keys}
    answer = stage.aws("iam").simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=list(question.actions),
        ResourceArns=[question.resource],
        ContextEntries=[keys] if question.keys else [],
    )
    allowed = {each["EvalActionName"]: each["EvalDecision"] == "allowed" for each in answer["EvaluationResults"]}
    return {each: allowed[each.action] for each in question.expected}


def _throttle(stage: Stage) -> float | None:
    """Requests a second that both APIs let through together; None where that is not known."""
    wanted = []
    for name in ("control-url", "serving-url"):
        api = stage.parameters[name].partition("://")[2].partition(".")[0]
        found = present(partial(stage.aws("apigatewayv2").get_stage, ApiId=api, StageName="$default"), *_DENIED)
        wanted.append((found or {}).get("DefaultRouteSettings", {}).get("ThrottlingRateLimit"))
    return None if None in wanted else sum(wanted)
