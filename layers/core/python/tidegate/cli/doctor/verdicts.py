"""What a check says of what came: pure decisions, apart from the calls that ask."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tidegate.kernel import english

LARGEST_SKEW_SECONDS = 60.0  # AWS refuses signatures that are five minutes off
CONCURRENCY = 1_000  # what AWS gives an account that asks
LEAST_CONCURRENCY = 100
UNRESERVED = 100  # AWS keeps as much from being reserved
SLOW_START_SECONDS, START_LIMIT_SECONDS = 5.0, 10.0  # Lambda ends an initialisation after ten, and begins again
SHOWN, SHOWN_FAULTS = 3, 12
_INIT = re.compile(r"Init Duration: ([0-9.]+) ms")


class Outcome(StrEnum):
    """How a check ended. A skipped check proves nothing, and is no fault."""

    OK = "ok"
    SKIPPED = "skipped"
    WARN = "warn"
    FAIL = "fail"


_ORDER = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came, and what to do next; `denied`: it was skipped, since the credentials may not ask."""

    outcome: Outcome
    came: str
    next_step: str = ""
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A check that was made."""

    name: str
    tried: str
    verdict: Verdict
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "check": self.name,
            "outcome": self.verdict.outcome,
            "tried": self.tried,
            "came": self.verdict.came,
            "next_step": self.verdict.next_step,
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class Expected:
    """A permission that a role must have, or must not have."""

    role: str
    action: str
    resource: str
    allowed: bool


def ok(came: str) -> Verdict:
    """It is as it should be."""
    return Verdict(Outcome.OK, came)


def warn(came: str, next_step: str) -> Verdict:
    """It works, and somebody should look at it."""
    return Verdict(Outcome.WARN, came, next_step)


def fail(came: str, next_step: str) -> Verdict:
    """It does not work."""
    return Verdict(Outcome.FAIL, came, next_step)


def skipped(why: str, next_step: str = "", *, denied: bool = False) -> Verdict:
    """It was not tried, or could not be."""
    return Verdict(Outcome.SKIPPED, why, next_step, denied)


def together(parts: Sequence[Verdict]) -> Verdict:
    """One verdict of several: the worst outcome, and everything that came."""
    worst = max(parts, key=lambda part: _ORDER.index(part.outcome)).outcome
    steps = dict.fromkeys(part.next_step for part in parts if part.next_step)
    return Verdict(worst, "; ".join(part.came for part in parts), "; ".join(steps))


def clock(skew_seconds: float) -> Verdict:
    """Of this machine, against the time that AWS's answers carry; their resolution is a second."""
    apart = f"this machine's clock is {abs(skew_seconds):.1f} s {'ahead of' if skew_seconds > 0 else 'behind'} AWS's"
    if abs(skew_seconds) <= LARGEST_SKEW_SECONDS:
        return ok(apart)
    return fail(apart, "set the clock of this machine (NTP): AWS refuses signatures that are five minutes off")


def functions(found: Mapping[str, Mapping[str, Any] | None]) -> Verdict:
    """Every function exists, can be invoked, and is traced. None: there is no such function."""
    missing = [name for name, each in found.items() if each is None]
    if missing:
        return fail(f"not deployed: {_listed(missing)}", "deploy all stacks of this release again")
    there = {name: each for name, each in found.items() if each is not None}
    inactive = {
        name: f"{each.get('State')}, last update {each.get('LastUpdateStatus')}"
        for name, each in there.items()
        if each.get("State", "Active") not in {"Active", "Inactive"} or each.get("LastUpdateStatus") == "Failed"
    }
    if inactive:
        facts = [f"{name} ({state})" for name, state in inactive.items()]
        return fail(f"cannot be invoked: {_listed(facts)}", "deploy again, and look at the function in the console")
    untraced = [name for name, each in there.items() if each.get("TracingConfig", {}).get("Mode") != "Active"]
    if untraced:
        return warn(f"not traced: {_listed(untraced)}", "deploy again: somebody switched X-Ray off")
    return ok(f"{english.count(len(there), 'function')}, all active and traced")


def permissions(expected: Sequence[Expected], decided: Mapping[Expected, bool]) -> Verdict:
    """What IAM decides for each role; `decided` says whether it is allowed."""
    unlike = [each for each in expected if decided[each] is not each.allowed]
    roles = len({each.role for each in expected})
    if not unlike:
        allowed = sum(each.allowed for each in expected)
        denied = len(expected) - allowed
        return ok(
            f"{english.count(roles, 'role')}: {english.count(allowed, 'call')} allowed, {denied} denied, as meant"
        )
    faults = [f"{each.role} {'may not' if each.allowed else 'may'} {each.action} on {each.resource}" for each in unlike]
    return fail(
        _listed(faults, "; ", SHOWN_FAULTS),
        "deploy again; if it stays, look for a service control policy, a boundary, or a policy attached by hand",
    )


def people(found: Mapping[str, Set[str]], wanted: Mapping[str, Set[str]]) -> Verdict:
    """Calls that the policies of people's roles allow, and those that they should."""
    faults = [f"{role} may {call}" for role in wanted for call in sorted(found[role] - wanted[role])]
    faults += [f"{role} may not {call}" for role in wanted for call in sorted(wanted[role] - found[role])]
    if faults:
        return fail(
            _listed(faults, "; ", SHOWN_FAULTS),
            "deploy the control stack again: the policies are older, or were changed",
        )
    return ok(", ".join(f"{role} has {english.count(len(calls), 'call')}" for role, calls in wanted.items()))


def concurrency(limit: int, unreserved: int, reserve: int) -> Verdict:
    """Of the account's invocations at a time, and what inference has of them."""
    have = f"{limit:,} invocations at a time, {reserve:,} of them reserved for inference"
    ask = f"ask Service Quotas for {CONCURRENCY:,} (AWS Lambda, Concurrent executions, L-B99A9384)"
    if limit < LEAST_CONCURRENCY:
        return warn(f"a new account's {have}: trainings wait for each other, predictions are refused early", ask)
    if limit < CONCURRENCY:
        return warn(have, ask)
    if not reserve and unreserved > UNRESERVED:
        return Verdict(Outcome.OK, have, "before you serve in earnest, deploy with -c inference_reserve=200")
    return ok(have)


def requests(limit: float | None, wanted: float | None) -> Verdict:
    """API Gateway's requests a second in the account, against what both APIs of the stage let through (None:
    unknown)."""
    if limit is None:
        return ok("API Gateway's quota was not read: servicequotas:GetServiceQuota is denied")
    have = f"API Gateway takes {limit:,.0f} requests a second"
    if wanted is None:
        return ok(have)
    have = f"{have}, the stage lets {wanted:,.0f} through"
    if limit >= wanted:
        return ok(have)
    return warn(have, "ask Service Quotas for more (API Gateway, Throttle rate, L-8A5B8E43), or lower throttle_rate")


def error_log(stream: str, *, exists: bool, messages: Sequence[str]) -> Verdict:
    """The log in which Firehose says what it could not deliver; `messages` of the last day."""
    if not exists:
        return fail(
            f"{stream} has no log stream for its errors", "deploy again: somebody deleted it, and errors leave no trace"
        )
    if messages:
        return warn(
            f"{stream} wrote {english.count(len(messages), 'error')} in the last day: {_short(messages[-1])}",
            "docs/captures.md lists the causes, and what to do for each",
        )
    return ok(f"{stream} delivers, and its error log is empty")


def served(shares: Sequence[Mapping[str, Any]], version: int) -> Verdict:
    """Whether one version answers everything."""
    if [(each["version"], each["weight_bp"]) for each in shares] == [(version, 10_000)]:
        return ok(f"version {version} answers all requests")
    return fail(
        f"version {version} should answer all requests, but {list(shares)} do", "read the log of the function rollout"
    )


def ledger(actions: Sequence[str], wanted: Sequence[str], proof: Mapping[str, Any]) -> Verdict:
    """The entries that the model's ledger must have, and its chain."""
    if not proof["intact"]:
        return fail(f"the chain is broken: {proof['break']}", "docs/operations.md, section When the chain is broken")
    if list(actions) != list(wanted):
        return fail(
            f"the ledger has the entries {', '.join(actions) or 'none'}, not {', '.join(wanted)}",
            "read the logs of the functions rollout and control",
        )
    return ok(f"{english.count(len(actions), 'entry', 'entries')} ({', '.join(actions)}), and the chain holds")


def arrived(asked: Iterable[str], found: Iterable[str], seconds: float) -> Verdict:
    """Which of the predictions are in S3."""
    wanted, there = set(asked), set(found)
    missing = wanted - there
    if not missing:
        count = english.count(len(wanted), "record was", "records were")
        return ok(f"{'all ' if len(wanted) > 1 else ''}{count} in S3 after {seconds:.0f} s")
    return fail(
        f"{len(missing)} of {english.count(len(wanted), 'record')} did not reach S3 within {seconds:.0f} s",
        "read the log of inference and the error log of Firehose; docs/captures.md lists the causes",
    )


def announced(count: int, missing: Sequence[str]) -> Verdict:
    """How many changes were made, and which of them were not announced, as the log of `announce` says."""
    if missing:
        return fail(
            f"not announced: {_listed(missing)}", "read the log of announce; docs/operations.md says how to go on"
        )
    return ok(f"{english.count(count, 'change was', 'changes were')} announced to people and to the event bus")


def traces(counted: Mapping[str, int]) -> Verdict:
    """How many traces X-Ray has of each function."""
    missing = [name for name, count in counted.items() if not count]
    if missing:
        return warn(
            f"X-Ray has no trace of {_listed(missing)}",
            "look at the role's xray:PutTraceSegments, and at the sampling rules of X-Ray",
        )
    return ok(", ".join(f"{english.count(count, 'trace')} of {name}" for name, count in counted.items()))


def cold_starts(lines: Mapping[str, Sequence[str]], *, local: bool = False) -> Verdict:
    """How long functions took to import their layers, by the REPORT lines of their logs. On a local cloud the time is
    that of a busy machine, and no fault."""
    longest = {
        name: max(float(match[1]) / 1000 for match in found)
        for name, each in lines.items()
        if (found := [match for line in each if (match := _INIT.search(line))])
    }
    if not longest:
        return skipped("no function has started in the last day", "train a model, then check again")
    slowest = max(longest, key=longest.__getitem__)
    seconds = longest[slowest]
    facts = f"{english.count(len(longest), 'function')} started, {slowest} slowest with {seconds:.1f} s"
    if local:
        return ok(f"{facts}; measured on this machine, which says nothing about Lambda")
    layers = "build the layers with the runtime's own Python, for bytecode: docs/deploy.md, section Layers"
    if seconds >= START_LIMIT_SECONDS:
        return fail(f"{facts}, and Lambda ends an initialisation after {START_LIMIT_SECONDS:.0f}", layers)
    return warn(facts, layers) if seconds >= SLOW_START_SECONDS else ok(facts)


def removed(  # noqa: PLR0917  what is counted, then what was waited for
    objects: int, records: int, entries: int, left: Sequence[str], announcements: Verdict, captured: Verdict
) -> Verdict:
    """What is gone, what stays by design, and what is still there by fault."""
    gone = f"{english.count(objects, 'object')} and {english.count(records, 'record')} are gone"
    if left:
        return fail(f"{gone}; still there: {_listed(left)}", "tidegate doctor --remove")
    stays = (
        f"{gone}; what stays: {english.count(entries, 'entry', 'entries')} in the ledger, which has no deletion; log "
        "lines, metrics, traces and executions for as long as AWS keeps them; messages that were sent"
    )
    if captured.outcome is not Outcome.OK:
        return warn(f"{stays}; {captured.came}: what arrives later stays", "tidegate doctor --remove, in an hour")
    if announcements.outcome is Outcome.OK:
        return ok(stays)
    return warn(f"{stays}; {announcements.came}, and will end in the failures queue", announcements.next_step)


def _listed(names: Sequence[str], between: str = ", ", most: int = SHOWN) -> str:
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _short(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= 200 else f"{text[:200]}..."
