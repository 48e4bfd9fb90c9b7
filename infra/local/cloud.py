"""The local cloud: synthesized templates, provisioned on moto and set in motion, in this process and on loopback."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import patch

import boto3
import moto.cloudformation.parsing as cloudformation_engine
from moto.cloudformation.custom_model import CustomModel

from infra.local import limit_checks
from infra.local.account import Account
from infra.local.alarms import Alarms
from infra.local.assembly import Assembly, Stack, read_assembly
from infra.local.change_sets import ChangeSet, change_sets
from infra.local.clients import Clients, LocalSession
from infra.local.clock import Clock
from infra.local.control import Control
from infra.local.dashboards import Dashboards
from infra.local.delivery import Courier
from infra.local.events import EventBus
from infra.local.faults import Throttle
from infra.local.firehose import Firehose
from infra.local.front_door import FrontDoor, Witness
from infra.local.functions import FunctionConfig, Invocation
from infra.local.gateway import Gateway
from infra.local.gateways import build_gateways, read_api, resolve_endpoints
from infra.local.kept import Kept, Saver
from infra.local.lambda_bridge import FailedEvents, LambdaBridge, MeteredHost
from infra.local.limits import most
from infra.local.logs import Logs
from infra.local.metrics import Metrics
from infra.local.moto_server import MotoServer
from infra.local.objects import Objects
from infra.local.resources import (
    Provisioned,
    ResourceError,
    create_custom,
    create_named,
    provision_into,
    stable_names,
    supported,
)
from infra.local.stack_updates import update_stack
from infra.local.stepfunctions import StateMachines
from infra.local.streams import Streams

log = logging.getLogger(__name__)

ACCOUNT, REGION = "123456789012", "us-east-1"
STATE_FILE = "local.json"
_TICK_S = 1.0
_PATIENCE_S = 300.0
_REST_LOOK_S = 0.5
_MOST_PUBLISHED = 10_000  # notifications of a topic
_SETTLE_S = 10.0  # before the last save, for what is under way
_INLINE_BYTES = 64 * 1024  # of an object's content, where nothing is kept
_STOPPED = "the local cloud was stopped while this was under way; start it again"
_BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
# The smallest zip there is: moto wants content, the code runs from its folder.
_EMPTY_ZIP = b"PK\x05\x06" + bytes(18)

# What a person who owns the account and works with the platform does from a shell.
DEVELOPER_POLICY: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "cloudformation:Describe*",
                "cloudformation:List*",
                "cloudwatch:*",
                "dynamodb:*",
                "events:*",
                "execute-api:Invoke",
                "firehose:*",
                "iam:Get*",
                "iam:List*",
                "iam:SimulatePrincipalPolicy",
                "kms:*",
                "lambda:*",
                "logs:*",
                "s3:*",
                "scheduler:*",
                "servicequotas:Get*",
                "sns:*",
                "sqs:*",
                "ssm:*",
                "states:*",
                "xray:*",
            ],
            "Resource": "*",
        }
    ],
}


class ProvisioningError(Exception):
    """A stack cannot be created; the message names stack, resource and cause."""


class LocalCloud:
    """One account in one region. Make it with `start`, use it as a context manager, or call `close`.

    Attributes:
        endpoint_url: where the AWS APIs answer.
        outputs: the outputs of all stacks by key, with API addresses resolved to this machine.
        host: runs the functions.
        gateways: the HTTP APIs by name.
        clock: the cloud's time; move it with `advance`.
        dashboards_url: where the CloudWatch dashboards are, as a web page.
        metrics: every data point.
        declared_only: resources that exist in name only, since nothing local stands behind their type.
    """

    region, account = REGION, ACCOUNT

    @classmethod
    def start(
        cls,
        assembly: Path,
        *,
        runtime_dir: Path | None = None,
        state_dir: Path | None = None,
        keep: Path | None = None,
        on_progress: Callable[[str], None] = lambda _message: None,
        clock: Clock | None = None,
        developer_policy: Mapping[str, Any] = DEVELOPER_POLICY,
        event_retry_waits_s: Sequence[float] = (1.0, 2.0),
        concurrency: int = most("concurrency"),
        tick: bool = True,
    ) -> LocalCloud:
        """Provisions the stacks of a cdk.out folder and starts everything that moves.

        Args:
            runtime_dir: awslambdaric and boto3 as pip --target makes it (see LambdaHost); None uses this interpreter's.
            state_dir: gets local.json, by which other processes find this cloud.
            keep: a folder for what tables and buckets hold, the clock, the users' keys, metrics and logs. What an
                earlier cloud left there is put back; executions that it had under way are reported as aborted.
            on_progress: gets a line per step.
            developer_policy: what the user `developer` may do.
            event_retry_waits_s: before the retries of a failed asynchronous invocation (AWS: 60 and 120), and of a
                failed batch of a table's stream; the last one is for all that come after.
            concurrency: how many invocations the account may have at a time; new accounts often have 10.
            tick: fire schedules and evaluate alarms as real time passes; otherwise only `advance` does.

        Raises:
            AssemblyError: the folder is not an assembly for this account and region.
            ProvisioningError: a template cannot be provisioned.
            KeptStateError: what an earlier cloud left cannot be put back.
        """
        cloud = cls(read_assembly(assembly, account=ACCOUNT, region=REGION), clock or Clock())
        try:
            if keep is not None:
                cloud._kept = Kept(keep)
                cloud.clock.move_to(time.time() + cloud._kept.offset_s)
            cloud._start(runtime_dir, on_progress, developer_policy, event_retry_waits_s, concurrency)
            if state_dir is not None:
                cloud._state_dir = state_dir
                cloud._control = Control(cloud.status, partial(cloud.advance, patience_s=_PATIENCE_S))
                cloud._closing.callback(cloud._control.close)
                cloud._write_state(state_dir)
                cloud._closing.callback(cloud._remove_state, state_dir)
            if tick:
                cloud._start_ticking()
            if cloud._kept is not None:
                cloud._saver = Saver(cloud.save)
                cloud._closing.callback(cloud._close_kept)
        except BaseException:
            cloud.close()
            raise
        return cloud

    def __init__(self, assembly: Assembly, clock: Clock) -> None:
        self.clock = clock
        self._by_api: dict[str, Gateway] = {}
        self._configs: dict[str, FunctionConfig] = {}
        self.outputs: dict[str, str] = {}
        self.gateways: dict[str, Gateway] = {}
        self.declared_only: tuple[str, ...] = ()
        self._assembly = assembly
        self._users: dict[str, dict[str, str]] = {}
        self._ready = False
        self._state_dir: Path | None = None
        self._control: Control | None = None
        self._kept: Kept | None = None
        self._saver: Saver | None = None
        self._published: dict[str, deque[dict[str, Any]]] = {}
        self._closing = ExitStack()
        self._moving = threading.RLock()

    # --- using it -----------------------------------------------------------------------------------------------------

    @property
    def python_notice(self) -> str:
        """Under which Python functions run here, and what to do where their template asks for another."""
        here = self.host.python_version
        runtimes = {str(each.get("Runtime", "")).removeprefix("python") for each in self._world.functions.values()}
        if other := ", ".join(sorted(runtimes - {here.rpartition(".")[0]})):
            return (
                f"functions run under Python {here}, and on Lambda under {other}: results may differ. Install Python "
                f"{other}, then run scripts/build_layers --target local"
            )
        return f"functions run under Python {here}, as on Lambda"

    def env(self, user: str = "developer") -> dict[str, str]:
        """Environment variables with which another process is `user` in this cloud."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            **self._users[user],
        }

    def session(self, user: str = "developer") -> boto3.Session:
        """A boto3 session of a user; its clients come to this cloud."""
        keys = self._users[user]
        return LocalSession(self.endpoint_url, REGION, {name.lower(): value for name, value in keys.items()})

    def client(self, service: str, user: str = "developer") -> Any:
        """A boto3 client of a user."""
        return self.session(user).client(service)  # type: ignore[call-overload]

    def add_user(self, name: str, policy: Mapping[str, Any] | Sequence[str]) -> dict[str, str]:
        """Makes an IAM user with an inline policy, or with managed policies by ARN; returns its credentials, which are
        in the state file as well."""
        iam = self._clients.root("iam")
        iam.create_user(UserName=name)
        if isinstance(policy, Mapping):
            iam.put_user_policy(UserName=name, PolicyName="given", PolicyDocument=json.dumps(policy))
        else:
            for arn in policy:
                iam.attach_user_policy(UserName=name, PolicyArn=arn)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._users[name] = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        if self._kept is not None and (before := self._kept.users.get(name)):
            self._moto.set_access_key(name, before)
            self._users[name] = dict(before)
        if self._state_dir is not None:
            self._write_state(self._state_dir)
        return dict(self._users[name])

    def announce_ready(self) -> None:
        """Writes into the state file that every user is there."""
        self._ready = True
        if self._state_dir is not None:
            self._write_state(self._state_dir)

    def kill(self, function: str) -> int:
        """Kills every environment of a function, as a crashing machine would; returns how many were alive."""
        return self.host.kill(self._function_name(function))

    def recycle(self, function: str) -> None:
        """Forgets the warm environments of a function: its next invocation is a cold start."""
        self.host.recycle(self._function_name(function))

    def throttle(
        self, service: str, operations: Collection[str], *, role: str | None = None, times: int | None = None
    ) -> Throttle:
        """Has calls answered with the service's throttling error until the result is stopped: by `with
        cloud.throttle(...)`, or by its `stop`. Its `refused` counts them.

        Args:
            service: botocore's name of it, such as dynamodb.
            operations: as the API spells them, such as {"PutItem", "TransactWriteItems"}.
            role: only calls of roles whose name contains this; otherwise everyone's but the cloud's own.
            times: only so many calls; otherwise all of them.
        """
        throttle = Throttle(service, operations, role, times)
        self._door.throttle(throttle)
        return throttle

    def witness(self, witness: Witness) -> None:
        """Shows `witness` every decision of IAM from now on: who asked, for what, and why it was refused if it was."""
        self._door.witness(witness)

    def skew(self, function: str, seconds: float) -> None:
        """Puts the clock of a function's processes `seconds` ahead of the cloud's, behind it when negative.

        Its warm environments are forgotten. What Python's time and
        datetime modules say is off, not what compiled code asks the operating system. AWS refuses signatures that are
        15 minutes off, and so does this cloud.
        """
        config = self.host.config(self._function_name(function))
        self.host.add(replace(config, clock_skew_s=float(seconds)))

    def advance(self, seconds: float, *, patience_s: float = 0.0) -> None:
        """Moves the clock ahead: schedules fire in their order, alarms are evaluated. In state machines Wait states and
        waits before a retry end, and tasks that wait for their token's answer time out.

        Args:
            patience_s: how long the clock stands at each schedule and alarm until what is at work has come to an end or
                to a wait of its own. Once that was not long enough, it does not stand any more.
        """
        with self._moving:
            self.bus.next_due()  # learns of new schedules, so that they count from before the jump
            end = self.clock.time() + seconds
            while True:
                due = min(self.alarms.next_due(), self.bus.next_due() or math.inf)
                if due > end:
                    break
                self.clock.move_to(due)
                self._tick()
                if not self._rests(patience_s):
                    patience_s = 0.0
            self.clock.move_to(end)
            self._rests(patience_s)
        if self._state_dir is not None:
            self._write_state(self._state_dir)

    def settle(self, timeout_s: float = 60.0) -> bool:
        """Waits until the streams of the tables are read to their end, no asynchronous invocation is under way, every
        log line is in and Firehose has written what it took; False when it takes longer."""
        deadline = time.monotonic() + timeout_s
        while True:
            batches = self.streams.batches
            for part in (self.streams, self.host, self.firehose):
                if not part.drain(max(deadline - time.monotonic(), 0.0)):
                    return False
            if self.streams.batches == batches and self.streams.drain(0.0):
                return True  # else a stream was read meanwhile, and its function may have set the others in motion

    def metric_sum(self, namespace: str, name: str, dimensions: Mapping[str, str] | None = None) -> float:
        """The sum of a metric since the cloud started; see Metrics.total."""
        return self.metrics.total(namespace, name, dimensions)

    def alarm_state(self, name: str) -> str:
        """OK, ALARM or INSUFFICIENT_DATA, as of the last evaluation."""
        return self.alarms.state(name)

    def notifications(self, topic: str) -> list[dict[str, Any]]:
        """What was published to a topic since the start, oldest first: {"subject": text or None, "message": text,
        "attributes": {name: value}}. By name or ARN; raises LookupError naming the topics there are.
        """
        topics = {arn.rpartition(":")[2]: arn for arn in self._moto.topics()}
        short = topic.rpartition(":")[2]
        if short not in topics:
            raise LookupError(f"there is no topic {topic}; there are {', '.join(sorted(topics))}")
        return list(self._published.get(topics[short], []))

    def events_seen(self, source: str) -> list[dict[str, Any]]:
        """The events of a source (tidegate, aws.states) that came to the default bus, oldest first. Of all sources
        together the last 10,000 are kept."""
        return self.bus.seen(source)

    def messages(self, name: str) -> list[str]:
        """What waits in a queue, or what was published to a topic since the start; by name, ARN or queue URL.

        Raises LookupError naming the queues and topics there are.
        """
        short = name.rpartition(":")[2].rpartition("/")[2]
        topics = {arn.rpartition(":")[2]: arn for arn in self._moto.topics()}
        queues = self._moto.queue_depths()
        if ":sns:" not in name and short in queues:
            return self._moto.queue_messages(short)
        if short in topics:
            return [notification["message"] for notification in self.notifications(topics[short])]
        raise LookupError(f"there is no queue or topic {name}; there are {', '.join(sorted({*queues, *topics}))}")

    def log_lines(self, group: str) -> list[str]:
        """All lines of a log group, oldest first."""
        pages = self._clients.root("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        return [event["message"] for page in pages for event in page["events"]]

    def change_sets(self, assembly: Path) -> tuple[ChangeSet, ...]:
        """What `update` would do, without doing it.

        Raises:
            AssemblyError: the folder is not an assembly for this account and region.
            UpdateRefusedError: AWS would refuse a change; the message is its own.
        """
        return self._planned(read_assembly(assembly, account=ACCOUNT, region=REGION))

    def update(
        self, assembly: Path, *, on_progress: Callable[[str], None] = lambda _message: None
    ) -> tuple[ChangeSet, ...]:
        """Deploys an assembly over what is deployed, stack by stack, as `cdk deploy --all` does; returns what changed.

        Requests, executions and streams go on meanwhile. Stacks that the assembly does not have stay as they are.

        Args:
            on_progress: gets each change set as text, and what could not be deleted.

        Raises:
            AssemblyError: the folder is not an assembly for this account and region.
            UpdateRefusedError: AWS would refuse a change; nothing has been changed, also of other stacks.
            ProvisioningError: a change cannot be made; unlike AWS, what was done until then is not rolled back.
        """
        after = read_assembly(assembly, account=ACCOUNT, region=REGION)
        with self._moving:
            planned = self._planned(after)
            self._check_types(after)
            self._upload(after)
            self._world.assembly = after
            there = {stack.name for stack in self._assembly.stacks}
            for stack, changes in zip(after.stacks, planned, strict=True):
                with self._provisioning():
                    if stack.name not in there:
                        self._create(stack, on_progress)
                    elif changes.changes or stack.template != self._template(stack.name):
                        on_progress(str(changes))
                        for left in update_stack(self._world, stack.template, changes):
                            on_progress(left)
                    self._take_over()
            others = [
                stack for stack in self._assembly.stacks if stack.name not in {each.name for each in after.stacks}
            ]
            self._assembly = replace(after, stacks=(*after.stacks, *others))
        return planned

    def save(self) -> None:
        """Writes what is to be kept, as it is now; nothing without a folder for it."""
        if self._kept is not None:
            about = {
                "offset_s": self.clock.offset_s,
                "users": self._users,
                "ports": {"api": self._door.port, "dashboards": self._dashboards.port}
                | {name: gateway.port for name, gateway in self.gateways.items()},
                "executions": self._machines.running(),
            }
            assets = {asset.bucket for stack in self._assembly.stacks for asset in stack.assets}
            self._kept.save(self._moto, about, without=assets)

    def status(self) -> dict[str, Any]:
        """Where everything is, what the clock says, and when the state was saved last (real time, None: not yet)."""
        return {
            "endpoint_url": self.endpoint_url,
            "apis": {name: gateway.url for name, gateway in self.gateways.items()},
            "dashboards": self.dashboards_url,
            "users": sorted(self._users),
            "clock": self.clock.now().isoformat(timespec="seconds"),
            "clock_offset_s": self.clock.offset_s,
            "executions": len(self._machines.running()),
            "python": self.python_notice,
            "saved_at": self._saver.saved_at if self._saver else None,
        }

    def close(self) -> None:
        """Ends every process, thread and connection; nothing of the cloud is left but what it keeps."""
        self._closing.close()

    def __enter__(self) -> LocalCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- starting it --------------------------------------------------------------------------------------------------

    def _start(
        self,
        runtime_dir: Path | None,
        progress: Callable[[str], None],
        developer_policy: Mapping[str, Any],
        event_retry_waits_s: Sequence[float],
        concurrency: int,
    ) -> None:
        closing = self._closing
        scratch = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-cloud-")))
        objects = self._kept.objects if self._kept else Objects(scratch / "objects", inline_bytes=_INLINE_BYTES)
        self._moto = MotoServer(ACCOUNT, REGION, self._invoked_from_inside, self.clock.now, objects)
        closing.callback(self._moto.close)
        closing.callback(objects.close)
        self._door = FrontDoor(self._moto, self._port("api"))
        closing.callback(self._door.close)
        self.endpoint_url = self._door.url
        self._clients = Clients(
            self.endpoint_url, REGION, self._door.root_credentials, self._moto.assume_role, self._door.answer
        )
        closing.callback(self._clients.close)
        self.metrics = Metrics(self.clock.time, self._moto.put_metrics)
        self.logs = Logs(self._moto.put_log_events, self.metrics, self.clock)
        self.bus = EventBus(self._moto, self.clock, self.metrics)
        machines = self._machines = StateMachines(
            self._moto.state_machines(),
            self._clients,
            self.clock,
            self.bus,
            metrics=self.metrics,
            authorize=self._door.authorize,
        )
        closing.callback(machines.close)
        self.host = MeteredHost(
            self.metrics,
            concurrency=concurrency,
            runtime_dir=runtime_dir,
            on_log=self.logs.line,
            on_async_failure=self._failed_event,
            event_retry_waits_s=event_retry_waits_s,
            ahead_s=lambda: self.clock.offset_s,
        )
        courier = Courier(self._door, self._clients, self.host.invoke_async, self._put_event, self.logs.line)
        self.streams = Streams(
            self._moto,
            self._door,
            self.host,
            courier,
            role_of=self._role_of,
            clock=self.clock,
            metrics=self.metrics,
            retry_waits_s=event_retry_waits_s,
        )
        closing.callback(self.streams.close)
        closing.callback(self.host.close)
        closing.callback(self.streams.stop)
        closing.callback(machines.abort)
        self._bridge = LambdaBridge(self._moto, self.host)
        self.bus.courier = courier
        self.alarms = Alarms(self._moto, self.clock, self.metrics, self.bus, courier)
        self._dashboards = Dashboards(self._moto, self.metrics, self.clock.time, self._port("dashboards"))
        closing.callback(self._dashboards.close)
        self.dashboards_url = self._dashboards.url
        self._failed_events = FailedEvents(courier, self._role_of, self.clock.now)
        self._answer_calls(machines)

        self._world = Provisioned(
            self._assembly, ACCOUNT, REGION, self._clients.root, self._moto.state_machines(), scratch
        )
        self.firehose = Firehose(
            self._world.delivery_streams,
            self._clients.role,
            self.clock.now,
            self.metrics,
        )
        closing.callback(self.firehose.close)
        self._answer_of_account(Account(self._moto, self._world.functions, concurrency, self.clock.time))
        self._door.handle("firehose", "PutRecordBatch", self.firehose.put_record_batch)
        self._door.handle("firehose", "PutRecord", self.firehose.put_record)
        self._door.observe("firehose", "DeleteDeliveryStream", self.firehose.forget)
        self._concurrency = concurrency
        self._clients.root("ssm").put_parameter(Name=_BOOTSTRAP_PARAMETER, Value="30", Type="String")
        closing.callback(self._close_gateways)
        self._provision(progress)
        self.add_user("developer", developer_policy)
        progress(f"{len(self._world.functions)} functions, {len(self.gateways)} APIs: ready at {self.endpoint_url}")

    def _provision(self, progress: Callable[[str], None]) -> None:
        """The stacks, and in them what was kept."""
        self._check_types(self._assembly)
        self._upload(self._assembly)
        kept = self._kept
        with self._provisioning(), stable_names() if kept else contextlib.nullcontext():
            for stack in self._assembly.stacks:
                self._create(stack, progress)
            self._take_over()
        if kept is not None:
            for lacking in kept.put_back(self._moto, self.metrics, self.logs, self.clock.time()):
                progress(f"not put back: {lacking} is not in the templates any more")
            for execution in kept.executions:
                self._machines.lost(execution, _STOPPED)

    def _planned(self, after: Assembly) -> tuple[ChangeSet, ...]:
        now = {stack.name: stack.template for stack in self._assembly.stacks}
        return change_sets({stack.name: stack.template for stack in after.stacks}, now)

    def _template(self, stack: str) -> Mapping[str, Any]:
        return next(each.template for each in self._assembly.stacks if each.name == stack)

    def _answer_calls(self, machines: StateMachines) -> None:
        """The calls that do not go to moto, or not only."""
        self._door.handle("lambda", "Invoke", self._bridge.invoke)
        self._door.handle("events", "PutEvents", self.bus.put_events)
        self._door.handle("stepfunctions", "StopExecution", machines.stopping)
        self._door.handle("stepfunctions", "DescribeExecution", machines.describing)
        self._door.handle("stepfunctions", "SendTaskSuccess", machines.tokens.succeeded)
        self._door.handle("stepfunctions", "SendTaskFailure", machines.tokens.failed)
        self._door.handle("stepfunctions", "SendTaskHeartbeat", machines.tokens.beat)
        for operation in ("CreateEventSourceMapping", "UpdateEventSourceMapping"):
            self._door.observe("lambda", operation, lambda _call, _: self.streams.look())
        self._door.observe("cloudwatch", "PutMetricData", lambda call, _: self._metric_data(call.params))
        self._door.observe("logs", "PutLogEvents", lambda call, _: self._log_events(call.params))
        self._door.observe("sns", "Publish", lambda call, _: self._was_published(call.params))

    def _answer_of_account(self, account: Account) -> None:
        self.host.on_invoked = account.invoked
        self._door.handle("lambda", "GetAccountSettings", account.settings)
        self._door.handle("lambda", "GetFunctionConcurrency", account.reserve)
        self._door.handle("service-quotas", "GetServiceQuota", account.quota)
        self._door.handle("iam", "SimulatePrincipalPolicy", account.simulated)
        self._door.handle("xray", "GetTraceSummaries", account.traces)

    def _upload(self, assembly: Assembly) -> None:
        """What `cdk bootstrap` and the CDK leave in an account: the assets bucket with the assets."""
        s3 = self._clients.root("s3")
        there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        assets = {(asset.bucket, asset.key) for stack in assembly.stacks for asset in stack.assets}
        for bucket in {bucket for bucket, _ in assets} - there:
            s3.create_bucket(Bucket=bucket)
        for bucket, key in assets:
            s3.put_object(Bucket=bucket, Key=key, Body=_EMPTY_ZIP)

    @contextlib.contextmanager
    def _provisioning(self) -> Iterator[None]:
        provision_into(self._world)
        try:
            with (
                patch.object(CustomModel, "create_from_cloudformation_json", classmethod(create_custom)),
                patch.object(cloudformation_engine, "parse_and_create_resource", create_named),
            ):
                yield
        except ResourceError as error:
            raise ProvisioningError(str(error)) from error
        finally:
            provision_into(None)

    @staticmethod
    def _check_types(assembly: Assembly) -> None:
        known = supported()
        unknown = [
            f"{stack.name}/{logical_id} is a {resource['Type']}"
            for stack in assembly.stacks
            for logical_id, resource in stack.template.get("Resources", {}).items()
            if resource["Type"] not in known
        ]
        if unknown:
            raise ProvisioningError(
                "the local cloud cannot make: " + "; ".join(unknown) + ". Add the type to infra/local/resources."
            )

    def _create(self, stack: Stack, progress: Callable[[str], None]) -> None:
        started = time.monotonic()
        try:
            self._moto.create_stack(stack.name, json.dumps(stack.template), dict(stack.tags))
        except ResourceError:
            raise
        except Exception as error:
            raise ProvisioningError(f"stack {stack.name}: {type(error).__name__}: {error}") from error
        described = self._clients.root("cloudformation").describe_stacks(StackName=stack.name)["Stacks"][0]
        if described["StackStatus"] != "CREATE_COMPLETE":
            reason = described.get("StackStatusReason", "no reason given")
            raise ProvisioningError(f"stack {stack.name} is {described['StackStatus']}: {reason}")
        count = len(stack.template.get("Resources", {}))
        progress(f"stack {stack.name}: {count} resources in {time.monotonic() - started:.1f} s")

    def _take_over(self) -> None:
        """Functions, gateways, addresses and outputs follow what the stacks declare now."""
        self._add_functions()
        for api_id in set(self._by_api) - set(self._world.apis):
            self._by_api.pop(api_id).close()
        for api_id, gateway in self._by_api.items():
            gateway.configure(read_api(self._world, api_id, self._door))
        made = build_gateways(
            self._world, self._door, self.host, self.metrics, self.logs.line, there=self._by_api, port=self._port
        )
        for api_id, gateway in made.items():
            gateway.start()
            self._by_api[api_id] = gateway
        self.gateways = {str(self._world.apis[api_id]["Name"]): gateway for api_id, gateway in self._by_api.items()}
        urls = {api_id: gateway.url for api_id, gateway in self._by_api.items()}
        self._resolve_parameters(urls)
        pages = self._clients.root("cloudformation").get_paginator("describe_stacks").paginate()
        self.outputs = {
            output["OutputKey"]: resolve_endpoints(str(output["OutputValue"]), urls)
            for page in pages
            for stack in page["Stacks"]
            for output in stack.get("Outputs", [])
        }
        self.declared_only = tuple(self._world.declared_only)

    def _port(self, name: str) -> int:
        """The port of an address, as it was before."""
        return self._kept.port(name) if self._kept else 0

    def _close_kept(self) -> None:
        """Saves what there is once what is under way has ended, or has had a while to."""
        self.settle(_SETTLE_S)
        if self._saver is not None:
            self._saver.close()

    def _close_gateways(self) -> None:
        for gateway in self._by_api.values():
            gateway.close()

    def _add_functions(self) -> None:
        configs = [self._function_config(name, properties) for name, properties in self._world.functions.items()]
        reserved = {config.name: config.reserved_concurrency for config in configs if config.reserved_concurrency}
        if over := limit_checks.reservation_fault(reserved, self._concurrency):
            raise ProvisioningError(over)
        for config in configs:
            known = self._configs.get(config.name)
            if known is None or replace(known, role_env=config.role_env) != config:
                self.host.add(config)
                self._configs[config.name] = config
        for name in set(self._configs) - {config.name for config in configs}:
            self.host.forget(name)
            del self._configs[name]
        self.streams.look()

    def _function_config(self, name: str, properties: Mapping[str, Any]) -> FunctionConfig:
        invoke = self._world.invoke_configs.get(name, {})
        reserved = properties.get("ReservedConcurrentExecutions")
        # In AWS's own runtime the SDK signs at once; here it finds the loopback endpoint first.
        role_env = {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            **self._moto.assume_role(properties["Role"], name),
        }
        return FunctionConfig(
            name=name,
            arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
            handler=properties["Handler"],
            code_dir=self._world.function_code[name],
            layer_dirs=tuple(self._world.layers[arn] for arn in properties.get("Layers", [])),
            environment={k: str(v) for k, v in properties.get("Environment", {}).get("Variables", {}).items()},
            timeout_s=float(properties.get("Timeout", 3)),
            memory_mb=int(properties.get("MemorySize", 128)),
            role_env=role_env,
            reserved_concurrency=None if reserved is None else int(reserved),
            max_event_retries=int(invoke.get("MaximumRetryAttempts", 2)),
            on_failure_arn=invoke.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
            dead_letter_arn=properties.get("DeadLetterConfig", {}).get("TargetArn"),
            log_group=properties.get("LoggingConfig", {}).get("LogGroup"),
            max_event_age_s=float(invoke.get("MaximumEventAgeInSeconds", 6 * 3600)),
        )

    def _resolve_parameters(self, urls: Mapping[str, str]) -> None:
        """Parameters that hold an API's address get the one it has on this machine."""
        ssm = self._clients.root("ssm")
        for page in ssm.get_paginator("describe_parameters").paginate():
            for described in page["Parameters"]:
                value = ssm.get_parameter(Name=described["Name"])["Parameter"]["Value"]
                resolved = resolve_endpoints(value, urls)
                if resolved != value:
                    ssm.put_parameter(Name=described["Name"], Value=resolved, Overwrite=True)

    def _write_state(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / STATE_FILE
        state = {
            "endpoint_url": self.endpoint_url,
            "region": REGION,
            "account": ACCOUNT,
            "credentials": self._users["developer"],
            "users": self._users,
            "apis": {name: gateway.url for name, gateway in self.gateways.items()},
            "outputs": self.outputs,
            "clock_offset_s": self.clock.offset_s,
            "dashboards": self.dashboards_url,
            "pid": os.getpid(),
            "ready": self._ready,
        }
        if self._control is not None:
            state["control"] = {"url": self._control.url, "token": self._control.token}
        part = file.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps(state, indent=2) + "\n")
        part.replace(file)

    @staticmethod
    def _remove_state(folder: Path) -> None:
        file = folder / STATE_FILE
        with contextlib.suppress(FileNotFoundError):
            if json.loads(file.read_text())["pid"] == os.getpid():
                file.unlink()

    # --- moving -------------------------------------------------------------------------------------------------------

    def _start_ticking(self) -> None:
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(_TICK_S):
                try:
                    with self._moving:
                        self._tick()
                except Exception:
                    log.exception("the local cloud's clock failed")

        thread = threading.Thread(target=tick, name="local-cloud-clock", daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        self._closing.callback(end)

    def _tick(self) -> None:
        self.bus.fire_due()
        self.firehose.tick()
        self.alarms.evaluate_due()

    def _rests(self, within_s: float) -> bool:
        """Whether, within so many seconds, every state machine waits for the clock or has ended, and what follows from
        tables, events and log lines has been done. Requests of users do not count."""
        deadline = time.monotonic() + within_s
        while within_s > 0:
            left = max(deadline - time.monotonic(), 0.0)
            if not (self.streams.drain(left) and self.host.drain(left, requests=False)):
                return False
            if len(self._machines.running()) <= self.clock.waiting():
                return True
            if left == 0.0:
                return False
            time.sleep(_REST_LOOK_S)
        return False

    def _put_event(self, bus: str, event: Mapping[str, Any]) -> None:
        self.bus.route(bus, event)

    def _invoked_from_inside(self, name_or_arn: str, event: bytes, *, wait: bool) -> tuple[bytes, str | None]:
        return self._bridge.invoked_from_inside(name_or_arn, event, wait=wait)

    def _failed_event(self, config: FunctionConfig, payload: bytes, invocation: Invocation) -> None:
        self._failed_events.take(config, payload, invocation)

    def _role_of(self, function: str) -> str:
        return str(self._world.functions[function]["Role"])

    def _function_name(self, name: str) -> str:
        """A function by its name, or by a part of it that only one has (the construct id it was declared with)."""
        names = self._world.functions
        found = [full for full in names if full == name] or [full for full in names if name.lower() in full.lower()]
        if len(found) != 1:
            raise LookupError(f"{name!r} names {len(found)} functions; there are {', '.join(sorted(names))}")
        return found[0]

    def _metric_data(self, params: Mapping[str, Any]) -> None:
        """Metrics put by API count in alarms; moto has them already."""
        for datum in params.get("MetricData", []):
            dimensions = {d["Name"]: d["Value"] for d in datum.get("Dimensions", [])}
            values = datum.get("Values") or [datum.get("Value", 0.0)]
            counts = datum.get("Counts") or [1] * len(values)
            repeated = [float(v) for v, n in zip(values, counts, strict=True) for _ in range(int(n))]
            self.metrics.note(params["Namespace"], datum["MetricName"], repeated, dimensions)

    def _log_events(self, params: Mapping[str, Any]) -> None:
        for event in params.get("logEvents", []):
            self.logs.extract(event["message"])

    def _was_published(self, params: Mapping[str, Any]) -> None:
        topic = params.get("TopicArn") or params.get("TargetArn")
        if topic:
            attributes = params.get("MessageAttributes") or {}
            notification = {
                "subject": params.get("Subject"),
                "message": str(params.get("Message", "")),
                "attributes": {name: given.get("StringValue") for name, given in attributes.items()},
            }
            self._published.setdefault(str(topic), deque(maxlen=_MOST_PUBLISHED)).append(notification)
