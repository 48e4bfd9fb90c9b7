"""A deployed stage as the doctor sees it: clients with the engineer's own credentials, and the names of its parts."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError

from tidegate.aws.clients import code_of
from tidegate.cli.client import lacks
from tidegate.cli.doctor.roles import Places
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.roles import Role

if TYPE_CHECKING:
    import boto3

    from tidegate.cli.client import Client

T = TypeVar("T")

WAITING_EVERY_SECONDS = 15.0
_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 8})
_PARAMETERS = (
    *(f"{role}-policy" for role in Role),
    *("artifacts-bucket", "captures-bucket", "control-url", "data-bucket", "ledger-table", "registry-table"),
    *("release-state-machine", "serving-url"),
)
_ABSENT = frozenset(
    {
        "ExecutionDoesNotExist",
        "NoSuchBucket",
        "NoSuchEntity",
        "NotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
    }
)


class Stage:
    """Reads what is asked, once where it does not change. Every call has a time-out and is repeated when throttled.

    Attributes:
        aws: a client of a service, by its name.
        function: the configuration of a function, None when there is none.
    """

    def __init__(
        self,
        session: "boto3.Session",
        name: str,
        client: "Client",
        *,
        endpoint_url: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`endpoint_url` and `now`, if it is not this machine's time, are a local cloud's."""
        self.name = name
        self.is_local = endpoint_url is not None
        self.api = client
        self.prefix = f"tidegate-{name}"
        self.region = session.region_name
        self._pause = pause
        self._clock = clock
        self.now = now
        self.aws: Callable[[str], Any] = cache(
            lambda service: session.client(service, config=_CONFIG, endpoint_url=endpoint_url)
        )
        self.function: Callable[[str], dict[str, Any] | None] = cache(self._function)

    @cached_property
    def caller(self) -> dict[str, Any]:
        """STS's answer: account and ARN of the caller, with the headers of the answer."""
        answer: dict[str, Any] = self.aws("sts").get_caller_identity()
        return answer

    @cached_property
    def parameters(self) -> dict[str, str]:
        """What the stacks published, by short name.

        Raises:
            NotFoundError: the stage is not deployed, or only in part.
        """
        path = f"/tidegate/{self.name}/"
        pages = self.aws("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        found = {each["Name"].removeprefix(path): each["Value"] for page in pages for each in page["Parameters"]}
        for each in _PARAMETERS:
            if each not in found:
                raise lacks(self.name, self.region, path + each, local=self.is_local, others=bool(found))
        return found

    @property
    def places(self) -> Places:
        """What roles act on."""
        partition, at = self.caller["Arn"].split(":")[1], self.parameters
        here = f"{self.region}:{self.caller['Account']}"

        def table(name: str) -> str:
            return f"arn:{partition}:dynamodb:{here}:table/{at[name]}"

        def bucket(name: str) -> str:
            return f"arn:{partition}:s3:::{at[name]}"

        return Places(
            registry=table("registry-table"),
            ledger=table("ledger-table"),
            data=bucket("data-bucket"),
            artifacts=bucket("artifacts-bucket"),
            captures=bucket("captures-bucket"),
            release=at["release-state-machine"],
            capture_stream=f"arn:{partition}:firehose:{here}:deliverystream/{self.prefix}-captures",
            feedback_stream=f"arn:{partition}:firehose:{here}:deliverystream/{self.prefix}-feedback",
            topic=f"arn:{partition}:sns:{here}:{self.prefix}-releases",
        )

    def _function(self, name: str) -> dict[str, Any] | None:
        """The configuration of a function, None when there is none."""
        function = f"{self.prefix}-{name}"
        return present(lambda: dict(self.aws("lambda").get_function_configuration(FunctionName=function)))

    def machine(self, name: str) -> str:
        """The ARN of a state machine."""
        return self.parameters["release-state-machine"].rpartition(":")[0] + f":{self.prefix}-{name}"

    def role_of(self, kind: str, name: str) -> str:
        """The role of a state machine, a rule or a delivery stream."""
        if kind == "machine":
            return str(self.aws("stepfunctions").describe_state_machine(stateMachineArn=self.machine(name))["roleArn"])
        if kind == "rule":
            (target,) = self.aws("events").list_targets_by_rule(Rule=f"{self.prefix}-{name}")["Targets"]
            return str(target["RoleArn"])
        (destination,) = self.stream(name)["Destinations"]
        return str(destination["ExtendedS3DestinationDescription"]["RoleARN"])

    def stream(self, name: str) -> dict[str, Any]:
        """The description of a delivery stream.

        Raises:
            NotFoundError: it does not exist.
        """
        stream = f"{self.prefix}-{name}"
        found = present(lambda: self.aws("firehose").describe_delivery_stream(DeliveryStreamName=stream))
        if found is None:
            raise NotFoundError(f"the stream {stream} does not exist", next_step="deploy the Serving stack again")
        return dict(found["DeliveryStreamDescription"])

    def policy(self, role: str) -> dict[str, Any]:
        """The policy of a role of people, as it is now."""
        arn = self.parameters[f"{role}-policy"]
        version = self.aws("iam").get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = self.aws("iam").get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return dict(found)

    def log_lines(self, group: str, pattern: str, since: float, *, pages: int = 20) -> list[str]:
        """Messages of a log group with these words, newer than `since` (seconds since the epoch), oldest first; no more
        than so many pages are read."""
        paginator = self.aws("logs").get_paginator("filter_log_events")
        found = paginator.paginate(
            logGroupName=group,
            filterPattern=f'"{pattern}"',
            startTime=int(since * 1000),
        )
        return [each["message"] for page, _ in zip(found, range(pages), strict=False) for each in page["events"]]

    def until(
        self,
        ask: Callable[[], T],
        seconds: float,
        *,
        every: float = 2.0,
        waiting: Callable[[float], None] = lambda _seconds: None,
    ) -> T:
        """What `ask` answers as soon as it is true, or at last after so many seconds. `waiting` gets the seconds that
        are left, at once and then every 15 s."""
        due = self._clock()
        deadline = due + seconds
        while not (found := ask()) and (now := self._clock()) < deadline:
            if now >= due:
                waiting(deadline - now)
                due = now + WAITING_EVERY_SECONDS
            self._pause(every)
        return found


def present(ask: Callable[[], T], *codes: str) -> T | None:
    """The answer, or None for what does not exist and for faults of these names."""
    try:
        return ask()
    except ClientError as error:
        if code_of(error) in {*_ABSENT, *codes}:
            return None
        raise
