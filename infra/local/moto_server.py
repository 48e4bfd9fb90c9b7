"""The one place that reaches into moto: its switches, its stores, and the few methods that must behave differently.

moto is pinned by the lock file; when it moves, this file, contents.py, stack_updates.py, table_changes.py,
stepfunctions.py and task_tokens.py are what to look at. Everything else in the local cloud talks to moto as a client
does, over its HTTP interface.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol
from unittest.mock import patch

# Before every other part of moto: it builds its table of CloudFormation types from what this imports.
import moto.cloudformation.parsing as cloudformation
from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction
from moto.awslambda_simple.models import LambdaSimpleBackend, lambda_simple_backends
from moto.cloudformation.models import Stack, cloudformation_backends
from moto.cloudwatch import models as cloudwatch_models
from moto.cloudwatch.models import Alarm, cloudwatch_backends
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.core.model_instances import reset_model_data
from moto.core.models import MockAWS
from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.events.models import Rule, events_backends
from moto.iam.access_control import PermissionResult
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.exceptions import NotFoundException
from moto.iam.models import AWSManagedPolicy, IAMBackend, iam_backends
from moto.kms.models import kms_backends
from moto.logs import models as logs_models
from moto.logs.models import LogGroup, logs_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3 import models as s3_models
from moto.s3.models import FakeBucket, s3_backends
from moto.scheduler.models import Schedule, scheduler_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends
from moto.sts.models import sts_backends
from werkzeug.test import run_wsgi_app

from infra.local import attribute_values, contents, iam
from infra.local.calls import HttpAnswer, environ_of
from infra.local.limits import most
from infra.local.objects import Objects
from infra.local.sigv4 import SignedRequest
from infra.local.table_changes import TableChanges

MOST_POINTS = 10_000  # data points that the APIs of CloudWatch find; alarms and dashboards go by `Metrics`
MOST_LINES = 5_000  # of a log stream


class InvokeFunction(Protocol):
    """Calls a function by name or ARN; gives its answer and its error, neither unless it waits."""

    def __call__(self, name_or_arn: str, event: bytes, *, wait: bool) -> tuple[bytes, str | None]: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """What an access key stands for."""

    secret: str
    token: str | None
    principal: iam.Principal


class MotoServer:
    """moto, switched on for one account and region. Only one can be open in a process, since moto's state is global.

    Args:
        account, region: the only ones there are.
        invoke: how a function is called when something inside moto (SNS, a log subscription, S3, SQS) calls it.
        now: the cloud's time.
        objects: where the contents of S3 objects are.

    Attributes:
        changes: the streams of the tables.
        now: the cloud's time.
    """

    _open = threading.Lock()

    def __init__(
        self, account: str, region: str, invoke: InvokeFunction, now: Callable[[], datetime], objects: Objects
    ) -> None:
        if not MotoServer._open.acquire(blocking=False):
            raise RuntimeError("a local cloud is open in this process already; close it first, or use another process")
        self.account = account
        self.region = region
        self.now = now
        self._objects = objects
        self.changes = TableChanges(account, region, now)
        self._undo = ExitStack()
        self._undo.callback(MotoServer._open.release)
        self._application = DomainDispatcherApplication(create_backend_app)
        # Each request asks twice which of moto's hundreds of services it is for: half a millisecond.
        patched = patch.object(self._application, "get_backend_for_host", cache(self._application.get_backend_for_host))
        self._undo.enter_context(patched)
        self._callers: dict[str, Caller] = {}
        self._one_at_a_time = {"dynamodb": threading.Lock(), "s3": threading.Lock()}
        try:
            self._switch_on(invoke)
        except BaseException:
            self._undo.close()
            raise

    def close(self) -> None:
        """Forgets everything and puts moto back as it was."""
        self._undo.close()

    def forward(self, service: str, request: SignedRequest, host: str) -> HttpAnswer:
        """moto's own answer to a request.

        Calls of DynamoDB and S3 go one after the other: moto checks a condition and writes in two steps, and of two
        conditional writes at once both would win.
        """
        with self._one_at_a_time.get(service, contextlib.nullcontext()):
            body, line, headers = run_wsgi_app(self._application, environ_of(request, host), buffered=True)
            status = int(line.split(" ")[0])
            if service == "dynamodb":
                (self.changes.commit if status < 300 else self.changes.discard)()
        return HttpAnswer(status, dict(headers), b"".join(body))

    # --- what is kept between two starts ------------------------------------------------------------------------------

    def contents(self, without: Collection[str]) -> dict[str, Any]:
        """What tables, and buckets but a few, hold at one moment."""
        with self._one_at_a_time["dynamodb"], self._one_at_a_time["s3"]:
            return {
                "tables": contents.tables(self.account, self.region),
                "buckets": contents.buckets(self.account, without),
            }

    def put_back(self, saved: Mapping[str, Any], objects: Objects) -> list[str]:
        """Fills tables and buckets that are empty, which no stream reports; returns those that are not there.

        Raises:
            FileNotFoundError: the content of an object is gone.
        """
        with self._one_at_a_time["dynamodb"], self._one_at_a_time["s3"]:
            lacking = contents.put_items(self.account, self.region, saved.get("tables", {}))
            self.changes.discard()
            return lacking + contents.put_objects(self.account, saved.get("buckets", {}), objects)

    def set_access_key(self, user: str, keys: Mapping[str, str]) -> None:
        """Gives a user's only access key the id and secret that it had before."""
        (key,) = iam_backends[self.account]["aws"].users[user].access_keys
        key.access_key_id, key.secret_access_key = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]

    # --- who calls ----------------------------------------------------------------------------------------------------

    def caller(self, access_key: str) -> Caller | None:
        """The user or assumed role an access key belongs to, None when nobody has it."""
        if found := self._callers.get(access_key):
            return found
        backend = iam_backends[self.account]["aws"]
        for user in list(backend.users.values()):
            for key in user.access_keys:
                if key.access_key_id == access_key and key.status == "Active":
                    principal = iam.Principal("user", user.arn, self.account, user.name, user_id=user.id)
                    return Caller(key.secret_access_key, None, principal)
        role = sts_backends[self.account]["aws"].get_assumed_role_from_access_key(access_key)
        if role is None:
            return None
        name = role.role_arn.rsplit("/", 1)[-1]
        principal = iam.Principal("role", role.arn, self.account, name, role.role_arn, role.user_id)
        caller = Caller(role.secret_access_key, role.session_token, principal)
        self._callers[access_key] = caller  # unlike a user's, these keys never change hands
        return caller

    def assume_role(self, role_arn: str, session_name: str) -> dict[str, str]:
        """Credentials of a role as its service gets them, in the names of environment variables."""
        role = sts_backends[self.account]["aws"].assume_role(self.region, session_name, role_arn, "", 3600 * 12, "")
        return {
            "AWS_ACCESS_KEY_ID": role.access_key_id,
            "AWS_SECRET_ACCESS_KEY": role.secret_access_key,
            "AWS_SESSION_TOKEN": role.session_token,
        }

    def identity_policies(self, principal: iam.Principal) -> tuple[list[iam.Document], iam.Document | None]:
        """The policies of a user or role, and its permissions boundary."""
        backend = iam_backends[self.account]["aws"]
        if principal.kind == "user":
            user = backend.get_user(principal.name)
            holders = [user, *backend.get_groups_for_user(principal.name)]
            boundary = None
        elif principal.role_arn is not None:
            role = backend.get_role_by_arn(principal.role_arn)
            holders = [role]
            boundary = (role.permissions_boundary or {}).get("PermissionsBoundaryArn")
        else:
            return [], None
        documents = [self._document(text) for holder in holders for text in _policy_texts(holder)]
        return documents, self._managed(boundary) if boundary else None

    def trust_policy(self, role_arn: str) -> iam.Document | None:
        """Who may assume a role; None when there is no such role."""
        try:
            role = iam_backends[self.account]["aws"].get_role_by_arn(role_arn)
        except NotFoundException:
            return None
        return self._document(role.assume_role_policy_document)

    def resource_policy(self, arn: str) -> iam.Document | None:
        """The policy attached to a bucket, queue, topic, key or function; None when it has none."""
        parts = arn.split(":")
        name = parts[-1]
        policy: Any = None
        match parts[2]:
            case "s3":
                bucket = s3_backends[self.account]["aws"].buckets.get(name.partition("/")[0])
                policy = bucket.policy if bucket else None
            case "sqs":
                queue = sqs_backends[self.account][self.region].queues.get(name)
                policy = queue.policy if queue else None
            case "sns":
                topic = sns_backends[self.account][self.region].topics.get(":".join(parts[:6]))
                policy = topic.policy if topic else None
            case "kms":
                policy = self._key_policy(name)
            case "lambda":
                return self._function_policy(parts[6])
        return self._document(policy) if policy else None

    def _key_policy(self, name: str) -> str | None:
        """Of a key named key/ID or alias/NAME."""
        keys = kms_backends[self.account][self.region]
        key_id = name.removeprefix("key/") if name.startswith("key/") else keys.get_key_id_from_alias(name)
        key = keys.keys.get(key_id or "")
        return key.policy if key else None

    def _function_policy(self, name: str) -> iam.Document | None:
        function = self.function(name)
        return {"Statement": list(function.policy.statements)} if function else None

    def _managed(self, arn: str) -> iam.Document:
        return self._document(_default_version(iam_backends[self.account]["aws"].get_policy(arn)))

    @staticmethod
    def _document(text: Any) -> iam.Document:
        if isinstance(text, bytes):
            text = text.decode()
        return iam.parsed(text if isinstance(text, str) else json.dumps(text))

    # --- what the moving parts read and write -------------------------------------------------------------------------

    def function(self, name: str) -> Any:
        """moto's record of a function, None when there is none."""
        try:
            return lambda_simple_backends[self.account][self.region].get_function(name)
        except LambdaClientError:
            return None

    def stream_mappings(self) -> Sequence[Mapping[str, Any]]:
        """The configuration of every enabled event source mapping of a table's stream."""
        found = lambda_simple_backends[self.account][self.region].list_event_source_mappings("", "")
        return [one.get_configuration() for one in found if ":dynamodb:" in one.event_source_arn and one.enabled]

    def rules(self) -> Iterator[Rule]:
        """Every EventBridge rule of every bus."""
        for bus in list(events_backends[self.account][self.region].event_buses.values()):
            yield from list(bus.rules.values())

    def schedules(self) -> Iterator[Schedule]:
        """Every EventBridge Scheduler schedule of every group."""
        for group in list(scheduler_backends[self.account][self.region].schedule_groups.values()):
            yield from list(group.schedules.values())

    def alarms(self) -> Sequence[Alarm]:
        """Every CloudWatch alarm."""
        return list(cloudwatch_backends[self.account][self.region].alarms.values())

    def dashboards(self) -> Mapping[str, str]:
        """The bodies of the CloudWatch dashboards, as JSON, by name."""
        found = cloudwatch_backends[self.account][self.region].dashboards
        return {name: str(found[name].body) for name in sorted(found)}

    def topics(self) -> Sequence[str]:
        """The ARNs of every SNS topic."""
        return list(sns_backends[self.account][self.region].topics)

    def queue_depths(self) -> dict[str, int]:
        """Messages waiting to be received, by queue name."""
        queues = sqs_backends[self.account][self.region].queues
        return {name: len(queue.messages) for name, queue in list(queues.items())}

    def queue_messages(self, name: str) -> list[str]:
        """The bodies waiting in a queue; nothing is received by looking."""
        return [str(message.body) for message in sqs_backends[self.account][self.region].queues[name].messages]

    def put_metrics(self, namespace: str, data: list[dict[str, Any]]) -> None:
        """Stores data points where GetMetricStatistics and GetMetricData find them."""
        backend = cloudwatch_backends[self.account][self.region]
        backend.put_metric_data(namespace, data)
        if len(backend.metric_data) > 2 * MOST_POINTS:
            del backend.metric_data[:-MOST_POINTS]

    def put_log_events(self, group: str, stream: str, lines: Sequence[tuple[float, str]]) -> None:
        """Appends lines, each with its moment (seconds since the epoch), to a log stream; creates group and stream when
        they are missing."""
        logs = logs_backends[self.account][self.region]
        if group not in logs.groups:
            logs.create_log_group(group, {})
        if stream not in logs.groups[group].streams:
            logs.create_log_stream(group, stream)
        events = [{"timestamp": int(at * 1000), "message": line} for at, line in lines]
        there = logs.groups[group].streams[stream].events
        if len(there) > 2 * MOST_LINES:
            del there[:-MOST_LINES]
        logs.groups[group].put_log_events(stream, events)  # the backend's own takes none from a clock that was moved

    def create_stack(self, name: str, template: str, tags: dict[str, str]) -> None:
        """Creates a stack at once. Not by the API, which would turn an error of a resource into a bare HTTP 500."""
        backend = cloudformation_backends[self.account][self.region]
        with patch.object(Stack, "parse_template", staticmethod(json.loads)):  # moto's own reads it as YAML: slowly
            backend.create_stack(name=name, template=template, parameters={}, tags=tags)

    def state_machines(self) -> StepFunctionsParserBackend:
        """moto's interpreter of state machines."""
        return stepfunctions_parser_backends[self.account][self.region]

    # --- switches -----------------------------------------------------------------------------------------------------

    def _switch_on(self, invoke: InvokeFunction) -> None:
        BackendDict.reset()
        self._undo.callback(_forget_everything)
        config: dict[str, Any] = {
            "lambda": {"use_docker": False},
            "stepfunctions": {"execute_state_machine": True},
            "iam": {"load_aws_managed_policies": True},
        }
        self._undo.enter_context(patch.dict(default_user_config, config))
        self._undo.enter_context(_type_table())
        self._undo.enter_context(_quiet("moto"))

        def invoked(function: LambdaFunction, body: str, _request_headers: Any, response_headers: Any) -> bytes:
            """SNS, log subscriptions and Kinesis streams call their functions through this one."""
            answer, error = invoke(function.function_arn, body.encode(), wait=_waits(body))
            if error:
                response_headers["x-amz-function-error"] = error
            return answer

        def invoked_by_name(backend: LambdaSimpleBackend, function_name: str, qualifier: Any, **call: Any) -> bytes:
            """S3 notifications and SQS event sources call theirs through this one."""
            function = backend.get_function(function_name, qualifier)
            return invoked(function, call["body"], call["headers"], call["response_headers"])

        def undecided(_bucket: FakeBucket, *_: Any, **__: Any) -> PermissionResult:
            """Bucket policies are evaluated at the front door; moto would take every conditional Deny as met."""
            return PermissionResult.NEUTRAL

        def refused(_mock: MockAWS, *_: Any, **__: Any) -> None:
            """mock_aws would wipe the state of the local cloud in the same process."""
            raise RuntimeError("mock_aws cannot start while a LocalCloud is open in this process: it would empty it")

        def set_attribute(item: LimitedSizeDict, name: str, value: Any) -> None:
            """moto counts binary values by their base64, and stops 4 KB too early."""
            dict.__setitem__(item, name, value)
            if sum(len(key.encode()) + _stored_bytes(each) for key, each in item.items()) > most("item_bytes"):
                raise ItemSizeTooLarge

        def log_group_attribute(group: LogGroup, name: str) -> str:
            """CloudFormation's Arn of a log group means the group with all its streams."""
            return f"{group.arn}:*" if name == "Arn" else str(attribute(group, name))

        def utcnow() -> datetime:
            return self.now().replace(tzinfo=None)

        attribute = LogGroup.get_cfn_attribute
        for owner, name, replacement in (
            (LogGroup, "get_cfn_attribute", log_group_attribute),
            (LimitedSizeDict, "__setitem__", set_attribute),
            (s3_models, "tempfile", SimpleNamespace(SpooledTemporaryFile=self._objects.content)),
            *((module, "utcnow", utcnow) for module in (cloudwatch_models, logs_models, s3_models)),
            (LambdaFunction, "invoke", invoked),
            (LambdaSimpleBackend, "invoke", invoked_by_name),
            (FakeBucket, "get_permission", undecided),
            (MockAWS, "start", refused),
            (IAMBackend, "_init_aws_policies", _aws_policies),
            *self.changes.replacements(),
            *attribute_values.replacements(),
        ):
            self._undo.enter_context(patch.object(owner, name, replacement))


def _stored_bytes(value: Any) -> int:
    if not isinstance(value, DynamoType):
        return len(str(value).encode())
    return len(value.value) * 3 // 4 if value.is_binary() else int(value.size())


def _waits(body: str) -> bool:
    """A queue waits for the function's verdict; SNS, S3 and log subscriptions invoke asynchronously, as on AWS."""
    records = json.loads(body).get("Records") or [{}]
    return bool(records[0].get("eventSource") == "aws:sqs")


def _aws_policies(backend: IAMBackend) -> list[AWSManagedPolicy]:
    """The policies that AWS itself defines, built once by a process; that takes a second."""
    return [copy(policy) for policy in _built_aws_policies(backend.account_id, backend.region_name)]


@cache
def _built_aws_policies(account: str, region: str) -> list[AWSManagedPolicy]:
    policies = json.loads(aws_managed_policies_data)
    return [AWSManagedPolicy.from_data(name, account, region, policy) for name, policy in policies.items()]


def _policy_texts(holder: Any) -> Iterator[Any]:
    policies = holder.policies
    yield from policies.values() if isinstance(policies, Mapping) else policies
    for managed in holder.managed_policies.values():
        yield _default_version(managed)


def _default_version(managed: Any) -> Any:
    return next(version.document for version in managed.versions if version.is_default)


def _forget_everything() -> None:
    BackendDict.reset()
    reset_model_data()


@contextmanager
def _type_table() -> Iterator[None]:
    """moto caches its table of CloudFormation types when first asked; ours have to be in it."""
    caches = (cloudformation.get_model_list, cloudformation.get_model_map, cloudformation.get_name_type_map)
    for kept in caches:
        kept.cache_clear()
    yield


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """moto logs as errors what is none: a Choice that asks whether a field is present, an attribute of ours."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
