"""What each role of a stage must be allowed, and what it must not be.

`WRITES` is the heart of it: which records of the registry a function writes. What is served (`ROUTE`) and the ledger
can be written by those that release, and by no other. `tests/infra/test_invariants.py` compares this with the
templates.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tidegate.cli.doctor.verdicts import Expected
from tidegate.kernel import routes
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES, DATASETS, FEEDBACK, RUNS, WRITTEN_BY
from tidegate.kernel.roles import Role

_RELEASING = (Partition.LEASE, Partition.ROLLOUT, Partition.ROUTE, Partition.VERSION)
_RUN = (Partition.RUN,)
PUT, UPDATE, DELETE = "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"
CHECK = "dynamodb:ConditionCheckItem"

WRITES: Mapping[str, Sequence[Partition]] = MappingProxyType(
    {
        "announce": (),
        "batch": (Partition.BATCHES,),
        "catalog": (Partition.DATASET, Partition.DATASETS),
        "close_failed": (*_RELEASING, Partition.RUN),
        "control": tuple(each for each in Partition if each is not Partition.LEDGER),
        "due": (),
        "evaluate": _RUN,
        "feedback": (),
        "gate": _RUN,
        "inference": (),
        "monitor": (Partition.HEALTH,),
        "prepare": _RUN,
        "register": (*_RELEASING, Partition.MODELS, Partition.RUN),
        "report": (),
        "reproduce": _RUN,
        "retrain": (Partition.DATASET, Partition.HEALTH, Partition.LEASE, Partition.RUN),
        "rollout": _RELEASING,
        "score": (),
        "select": _RUN,
        "slices_and_groups": _RUN,
        "train": _RUN,
    }
)
"""Every function, and the kinds of records in the registry that it writes."""

UPDATES_ONLY = frozenset({"evaluate", "gate", "prepare", "reproduce", "select", "slices_and_groups"})
"""Those that note something in the record of a run, and may not replace it."""

APPENDS = frozenset(name for name, kinds in WRITES.items() if Partition.ROUTE in kinds)
"""Those that put entries into the ledger."""


def calls_of(role: Role) -> frozenset[str]:
    """The calls that a role of people has, as its policy spells them: `GET/models/*`."""
    found = (each for table in (routes.CONTROL, routes.SERVING) for each in table.values() if role in each.roles)
    return frozenset(re.sub(r"\{\w+\}", "*", f"{each.method}{each.path}") for each in found)


def allowed_calls(policy: Mapping[str, Any]) -> frozenset[str]:
    """The calls that a policy allows, spelled alike; what else it allows is named as it stands."""
    found: set[str] = set()
    for statement in _many(policy["Statement"]):
        actions = _many(statement.get("Action", "everything but some actions"))
        resources = [str(each) for each in _many(statement.get("Resource", "everything but some resources"))]
        if statement["Effect"] != "Allow":
            continue
        if actions == ["execute-api:Invoke"]:
            found |= {each.partition("/$default/")[2] or each for each in resources}
        elif not all(action.startswith("ssm:GetParameter") for action in actions):  # where the APIs are
            found |= {f"{action} on {each}" for action in actions for each in resources}
    return frozenset(found)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True, slots=True)
class Places:
    """ARNs of what the roles act on."""

    registry: str
    ledger: str
    data: str
    artifacts: str
    captures: str
    release: str  # state machine
    capture_stream: str
    feedback_stream: str
    topic: str

    def logs(self, group: str, stream: str) -> str:
        """Of a log stream."""
        return f"{self.release.partition(':states:')[0]}:logs:{self._where}:log-group:{group}:log-stream:{stream}"

    def function(self, name: str) -> str:
        """Of a function, by its whole name."""
        return f"{self.release.partition(':states:')[0]}:lambda:{self._where}:function:{name}"

    @property
    def _where(self) -> str:
        _, _, _, region, account, *_ = self.release.split(":")
        return f"{region}:{account}"


@dataclass(frozen=True, slots=True)
class Question:
    """One call of IAM's simulator: some actions on some resources, by the keys that the items would have."""

    role: str
    actions: tuple[str, ...]
    resource: str
    keys: tuple[str, ...]
    allowed: bool

    @property
    def expected(self) -> list[Expected]:
        """What must come of it."""
        where = ", ".join([self.resource, *self.keys])
        return [Expected(self.role, action, where, self.allowed) for action in self.actions]


def of_functions(prefix: str, model: str, at: Places) -> Iterator[Question]:
    """What to ask of every function's role. `model` is any model's name."""
    for name, kinds in WRITES.items():
        yield Question(name, ("logs:PutLogEvents",), at.logs(f"/aws/lambda/{prefix}-{name}", "any"), (), allowed=True)
        yield Question(name, ("xray:PutTraceSegments",), "*", (), allowed=True)
        # The ledger of batches is a statement of its own; keys of two statements together are refused.
        write = UPDATE if name in UPDATES_ONLY else PUT
        for together in ({Partition.BATCHES}, set(kinds) - {Partition.BATCHES}):
            if asked := [each for each in kinds if each in together]:
                yield Question(name, (write,), at.registry, _keys(asked, model), allowed=True)
        if name in UPDATES_ONLY:
            yield Question(name, (PUT,), at.registry, _keys(kinds, model), allowed=False)
        if Partition.ROUTE not in kinds:
            yield Question(name, (PUT, UPDATE), at.registry, _keys([Partition.ROUTE], model), allowed=False)
        yield Question(name, (PUT, CHECK), at.ledger, _keys([Partition.LEDGER], model), allowed=name in APPENDS)
        yield Question(name, (UPDATE, DELETE), at.ledger, _keys([Partition.LEDGER], model), allowed=False)
        yield Question(name, (DELETE,), at.registry, _keys(kinds or [Partition.ROUTE], model), allowed=False)
        yield Question(name, ("s3:DeleteObject",), f"{at.artifacts}/{RUNS}{model}/x", (), allowed=False)
        for writer, files in WRITTEN_BY.items():
            for file in {each.prefix: each for each in files}.values():
                key = f"{at.artifacts}/{file.prefix}{model}/r/{file}"
                yield Question(name, ("s3:PutObject",), key, (), allowed=name == writer)
    for name, action, resource in _NEEDED:
        yield Question(name, (action,), resource(at, model), (), allowed=True)


_NEEDED = (
    ("inference", "firehose:PutRecordBatch", lambda at, _: at.capture_stream),
    ("inference", "s3:GetObject", lambda at, model: f"{at.artifacts}/{RUNS}{model}/x"),
    ("feedback", "firehose:PutRecordBatch", lambda at, _: at.feedback_stream),
    ("announce", "sns:Publish", lambda at, _: at.topic),
    ("catalog", "s3:GetObject", lambda at, model: f"{at.data}/{DATASETS}{model}/x"),
    ("control", "states:StartExecution", lambda at, _: at.release),
    ("control", "s3:PutObject", lambda at, model: f"{at.data}/{DATASETS}{model}/x"),
    ("close_failed", "states:StartExecution", lambda at, _: at.release),
    ("retrain", "states:StartExecution", lambda at, _: at.release),
    ("monitor", "s3:GetObject", lambda at, model: f"{at.captures}/{FEEDBACK}model={model}/x"),
)


_CALLED = {"release": "train", "monitoring": "monitor", "retrain": "retrain", "batch": "score"}  # by a state machine
_STARTED = {"monitoring": "monitoring", "retraining-wanted": "retrain"}  # by a rule


def of_services(prefix: str, at: Places) -> Iterator[tuple[tuple[str, str], Question]]:
    """What to ask of the roles of other services, each with kind and name of what has the role."""
    for machine, function in _CALLED.items():
        called = at.function(f"{prefix}-{function}")
        question = Question(f"state machine {machine}", ("lambda:InvokeFunction",), called, (), allowed=True)
        yield ("machine", machine), question
    for rule, machine in _STARTED.items():
        started = f"{at.release.rpartition(':')[0]}:{prefix}-{machine}"
        yield ("rule", rule), Question(f"rule {rule}", ("states:StartExecution",), started, (), allowed=True)
    for stream, folder in (("captures", CAPTURES), ("feedback", FEEDBACK)):
        name = f"delivery stream {stream}"
        log = at.logs(f"/aws/kinesisfirehose/{prefix}-{stream}", "S3Delivery")
        yield ("stream", stream), Question(name, ("s3:PutObject",), f"{at.captures}/{folder}x", (), allowed=True)
        yield ("stream", stream), Question(name, ("logs:PutLogEvents",), log, (), allowed=True)
        yield ("stream", stream), Question(name, ("s3:PutObject",), f"{at.artifacts}/{RUNS}x", (), allowed=False)


def _keys(kinds: Sequence[Partition], model: str) -> tuple[str, ...]:
    whole = {Partition.MODELS, Partition.DATASETS}
    return tuple(str(each) if each in whole else each.of(model) for each in kinds)
