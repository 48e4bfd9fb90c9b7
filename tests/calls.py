"""Which calls each role makes: noted by the flows, kept in tests/infra/calls.json, put to a second IAM by
tests/infra/test_permissions.py.

The flows fail on a call that is not in the list. When it is meant:

    UPDATE_CALLS=add scripts/test tests/flows -k NAME      # adds what these flows make
    UPDATE_CALLS=all scripts/test tests/flows              # all flows: what none of them makes is dropped
"""

import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from infra.local import iam

LIST = Path(__file__).parent / "infra" / "calls.json"
UPDATE = os.environ.get("UPDATE_CALLS", "")
# Names that CloudFormation makes: stack, logical id with its hash, and something random.
_MADE_NAME = re.compile(r"tidegate-[a-z]+-([a-z]+)-([a-z]+?)[0-9a-f]{8}-[a-z0-9]+", re.IGNORECASE)
_RUN_FILE = re.compile(r"^([^/]+/(?:runs|tables)/).*/([^/]+)$")  # each is written by one role
_OBJECT = re.compile(r"^([^/]+/[^/]+/).*?(_tidegate/[a-z]+\.json|_SUCCESS\.json)?$")


class Call(NamedTuple):
    """An action on a kind of resource: the ARN without partition, region and account, "*" for what varies, and the kind
    of partition key where an item of a table is meant."""

    role: str
    action: str
    resource: str

    def __str__(self) -> str:
        return " ".join(self)


def kind_of(permission: iam.Permission) -> str:
    """The kind of resource that a permission is asked for."""
    resource = re.sub(r"^arn:aws:\w+:[\w-]*:\d*:", "", permission.resources[0])
    resource = _MADE_NAME.sub(lambda found: found[2], resource)
    if permission.action == "s3:PutObject" and _RUN_FILE.match(resource):
        return _RUN_FILE.sub(r"\1*/\2", resource)
    if permission.action.startswith("s3:"):
        return _OBJECT.sub(lambda found: f"{found[1]}*{found[2] or ''}", resource)
    resource = re.sub(r"(/stream/|^execution:[^:/]+[:/]).*", r"\1*", resource)
    keys = {re.sub("#.*", "#*", key) for key in permission.context.get("dynamodb:LeadingKeys", ())}
    return " ".join([resource, *sorted(keys)])


def role_of(principal: iam.Principal) -> str:
    """Stack and logical id, such as Release/Train."""
    found = _MADE_NAME.search(principal.name)
    return f"{found[1]}/{found[2].removesuffix('Role')}" if found else principal.name


READS = ("dynamodb:GetItem", "dynamodb:Query")


class Unmade(NamedTuple):
    """Calls that roles may make and seldom or never do here: shell patterns, and why they may."""

    role: str
    action: str
    resource: str
    reason: str


ONE_STATEMENT = "puts and updates of a transaction are in one statement: see infra/constructs/permissions.py"
BY_LAMBDA = "Lambda itself makes it with the role of the function"
BY_STEP_FUNCTIONS = "Step Functions itself makes it with the role, to write its log and its traces"
BY_FIREHOSE = "Firehose asks for it, and a stream that meets no error makes few of its calls"
BY_CODEDEPLOY = "CodeDeploy makes it; the local cloud has none"
FOR_404 = "without it S3 answers 403 for an object that is missing, not 404"
PEOPLE_NAME_KEYS = "people choose where a batch writes, so its functions may write anything below that"
UNMADE = (
    Unmade("*", "logs:CreateLogStream", "log-group:/aws/lambda/*", BY_LAMBDA),
    Unmade("*", "logs:PutLogEvents", "log-group:/aws/lambda/*", BY_LAMBDA),
    Unmade("*", "xray:Put*", "[*]", BY_LAMBDA),
    Unmade("*", "sqs:SendMessage", "tidegate-dev-failures", BY_LAMBDA + ", for an event that failed for good"),
    Unmade("*Machine", "logs:*", "[*]", BY_STEP_FUNCTIONS),
    Unmade("*Machine", "xray:Get*", "[*]", BY_STEP_FUNCTIONS),
    Unmade("Batch/Machine", "states:*Execution", "execution:tidegate-dev-batch/[*]", "it looks after its parts"),
    Unmade("Serving/CodeRelease", "*", "*", BY_CODEDEPLOY),
    *(Unmade(f"Serving/{stream}", "*", "*", BY_FIREHOSE) for stream in ("Captures", "Outcomes")),
    Unmade("Announcements/Announce", "kms:*", "key/AlarmKey", "SNS makes it with the role of whoever publishes"),
    Unmade("*", "s3:ListBucket", "*", FOR_404),
    Unmade("Batch/*", "s3:*Object", "data/batch/[*]*.json", PEOPLE_NAME_KEYS),
    Unmade("Release/Rollout", "s3:GetObject", "captures/feedback/[*]", "a rollout that demands outcomes takes days"),
    *(
        Unmade(role, "dynamodb:GetItem", "table/Ledger*", "looks for its own entry when an answer is lost")
        for role in ("Release/CloseFailed", "Release/Register", "Release/Rollout")
    ),
    Unmade("Release/Rollout", "states:SendTaskSuccess", "*", "wakes itself when an approval came before its question"),
    Unmade("Release/Select", "dynamodb:Query", "table/Registry*", "says why it could not note its choice"),
    *(
        Unmade(role, action, "table/Registry *", ONE_STATEMENT)
        for role in ("Control/Control", "Release/Catalog", "Release/CloseFailed", "Release/Register", "Release/Rollout")
        for action in ("dynamodb:PutItem", "dynamodb:UpdateItem")
    ),
)


def explained(call: Call) -> list[Unmade]:
    """The reasons why a role may make a call that it seldom or never makes."""
    return [each for each in UNMADE if all(map(fnmatchcase, call, each[:3]))]


def is_made(call: Call, made: Collection[Call]) -> bool:
    """Whether a role makes this call. Reads of a table are one, whatever the key."""
    table, _, key = call.resource.partition(" ")
    alike = [each.resource for each in made if each[:2] == call[:2]]
    any_key = call.action in READS or not key
    return call.resource in alike or (any_key and table in {resource.partition(" ")[0] for resource in alike})


@dataclass
class Calls:
    """What roles ask the local cloud for, from whichever thread."""

    seen: set[tuple[str, str, str, str]] = field(default_factory=set)
    made: set[Call] = field(default_factory=set)
    denied: set[Call] = field(default_factory=set)
    listed: set[Call] = field(default_factory=lambda: set(read()))

    def note(self, principal: iam.Principal, permission: iam.Permission, denied: iam.Denied | None) -> None:
        """Remember what a role asked for, and whether it got it."""
        keys = "".join(permission.context.get("dynamodb:LeadingKeys", ()))
        asked = (principal.name, permission.action, permission.resources[0], keys)
        if principal.kind == "role" and asked not in self.seen:
            self.seen.add(asked)
            call = Call(role_of(principal), permission.action, kind_of(permission))
            (self.denied if denied else self.made).add(call)

    def faults(self) -> list[str]:
        """In words: what was denied, and what is not in the list. They are not said again."""
        denied, self.denied = self.denied, set()
        new = set() if UPDATE else self.made - self.listed
        unlisted = {call for call in new if not is_made(call, self.listed) and not explained(call)}
        self.listed |= unlisted
        return [
            *(f"the role {call.role} was denied {call.action} on {call.resource}" for call in sorted(denied)),
            *(
                f"the role {call.role} called {call.action} on {call.resource}, which is not in {LIST.name}. "
                "If that is meant, run this test again with UPDATE_CALLS=add"
                for call in sorted(unlisted)
            ),
        ]

    def save(self) -> None:
        """Add what was made to the list. Several processes may do so."""
        with LIST.open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = written({*parsed(file.read()), *self.made})
            file.seek(0)
            file.truncate()
            file.write(text)


def read() -> list[Call]:
    """The list."""
    return list(parsed(LIST.read_text("utf-8")))


def parsed(text: str) -> Iterator[Call]:
    """The calls of a list."""
    for role, actions in json.loads(text or "{}").items():
        for action, resources in actions.items():
            for resource in resources:
                yield Call(role, action, resource)


def written(calls: set[Call]) -> str:
    """A list of these calls, sorted."""
    document: dict[str, dict[str, list[str]]] = {}
    for role, action, resource in sorted(calls):
        document.setdefault(role, {}).setdefault(action, []).append(resource)
    return json.dumps(document, indent=1) + "\n"
