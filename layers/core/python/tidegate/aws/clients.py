"""The one place that makes boto3 clients: explicit time-outs, standard retries, one client per service and process.

botocore repeats a call by itself after a lost connection or a throttle, so every write made through these clients must
bear being applied twice; each adapter says how it does. `AWS_ENDPOINT_URL` is honoured by boto3 itself.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectionError,  # noqa: A004  botocore's root of connection faults, not the built-in one
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
)

from tidegate.kernel.errors import UnavailableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

MAX_ATTEMPTS = 3
_PASSING = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_making = threading.Lock()


@cache
def dynamodb() -> "DynamoDBClient":
    """DynamoDB answers within milliseconds; a prediction that waits for a route must not wait for long."""
    client: DynamoDBClient = _client("dynamodb", connect=1, read=1.5)
    return client


@cache
def s3() -> "S3Client":
    """S3, with signatures of version 4 so that presigned URLs bind their headers."""
    client: S3Client = _client(
        "s3",
        connect=1,
        read=10,
        signature_version="s3v4",
        # A presigned URL must name the bucket's own region: S3 answers the global name of a new bucket with a redirect,
        # which breaks the signature. An IP address, as of a local cloud, keeps the bucket in the path.
        s3={"addressing_style": "virtual"},
        # Our own SHA-256 is sent and checked; the default CRC besides would only cost time and unsign presigned URLs.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return client


@cache
def step_functions() -> "SFNClient":
    """Step Functions."""
    client: SFNClient = _client("stepfunctions", connect=2, read=10)
    return client


@cache
def lambda_functions() -> "LambdaClient":
    """Lambda, for invocations that nobody waits for."""
    client: LambdaClient = _client("lambda", connect=2, read=10)
    return client


@cache
def firehose() -> Any:
    """Firehose, without botocore's retries: of a batch only the records that failed are sent again."""
    return _client("firehose", connect=0.5, read=1, attempts=1)


@cache
def sns() -> "SNSClient":
    """SNS."""
    client: SNSClient = _client("sns", connect=2, read=5)
    return client


@cache
def eventbridge() -> "EventBridgeClient":
    """EventBridge."""
    client: EventBridgeClient = _client("events", connect=2, read=5)
    return client


def _client(service: Any, *, connect: float, read: float, attempts: int = MAX_ATTEMPTS, **options: Any) -> Any:
    config = Config(
        connect_timeout=connect,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
        **options,
    )
    with _making:  # the default session is not safe to make clients from two threads at once
        return boto3.client(service, config=config)


def code_of(error: ClientError) -> str:
    """The service's name for the fault."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def answering(service: str) -> Iterator[None]:
    """Turn what may pass by itself (time-out, lost connection, throttle, 5xx) into UnavailableError; leave the rest."""
    try:
        yield
    except (ConnectionError, ConnectionClosedError, HTTPClientError, IncompleteReadError, ReadTimeoutError) as error:
        raise UnavailableError(f"{service} did not answer: {error}", next_step="try again") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code_of(error) in _PASSING or status >= 500:
            raise UnavailableError(f"{service} is busy: {code_of(error)}", next_step="try again") from error
        raise
