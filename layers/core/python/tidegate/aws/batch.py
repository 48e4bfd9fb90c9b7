"""Batches in S3 and Step Functions."""

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from tidegate.aws.clients import answering, code_of, s3, step_functions
from tidegate.aws.objects import MISSING
from tidegate.domain.batch.batch import Source
from tidegate.kernel.address import Address, folder, hidden
from tidegate.kernel.errors import InputChangedError, InvalidInputError, NotFoundError
from tidegate.ports.batch import Attempt

_CHANGED = frozenset({"412", "PreconditionFailed", "ConditionalRequestConflict"})


class S3BatchObjects:
    """ports.BatchObjects. Every write is of a whole object whose name and contents follow from the batch, so that one
    which is repeated changes nothing."""

    def sources(self, address: Address, most: int) -> list[Source]:
        """See ports.BatchObjects."""
        try:
            whole = self._listed(address.bucket, address.key, most)
        except ClientError as error:
            if code_of(error) != "NoSuchBucket":
                raise
            raise InvalidInputError(f"there is no bucket {address.bucket}") from None
        exact = [source for source in whole if source.key == address.key]
        under = folder(address).key
        found = exact or [each for each in whole if each.key.startswith(under) and not hidden(each.key, under)]
        return [source for source in found if source.size]

    def _listed(self, bucket: str, prefix: str, most: int) -> list[Source]:
        found: list[Source] = []
        more: dict[str, Any] = {}
        while len(found) <= most:
            with answering("S3"):
                page = s3().list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            found += [Source(each["Key"], each["ETag"], each["Size"]) for each in page.get("Contents", [])]
            if not page.get("IsTruncated"):
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        return found

    def read(self, address: Address, etag: str, start: int, stop: int) -> bytes:
        """See ports.BatchObjects."""
        if stop <= start:
            return b""
        try:
            with answering("S3"):
                found = s3().get_object(
                    Bucket=address.bucket, Key=address.key, IfMatch=etag, Range=f"bytes={start}-{stop - 1}"
                )
                return found["Body"].read()
        except ClientError as error:
            what = "changed" if code_of(error) in _CHANGED else "removed" if code_of(error) in MISSING else ""
            if not what:
                raise
            raise InputChangedError(
                f"{address} was {what} after the batch had begun", next_step="start a new batch with another output"
            ) from None

    def document(self, address: Address) -> bytes:
        """See ports.BatchObjects."""
        try:
            with answering("S3"):
                return s3().get_object(Bucket=address.bucket, Key=address.key)["Body"].read()
        except ClientError as error:
            if code_of(error) in MISSING | {"NoSuchBucket"}:
                raise NotFoundError(f"there is no {address}") from None
            raise

    def create(self, address: Address, data: bytes) -> bool:
        """See ports.BatchObjects."""
        try:
            self._write(address, data, "application/json", IfNoneMatch="*")
        except ClientError as error:
            if code_of(error) in _CHANGED:
                return False
            raise
        return True

    def put(self, address: Address, data: bytes, content_type: str, facts: Mapping[str, str]) -> None:
        """See ports.BatchObjects."""
        self._write(address, data, content_type, Metadata=dict(facts))

    def _write(self, address: Address, data: bytes, content_type: str, **more: Any) -> None:
        with answering("S3"):
            s3().put_object(
                Bucket=address.bucket,
                Key=address.key,
                Body=data,
                ContentType=content_type,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=b64encode(sha256(data).digest()).decode(),
                **more,
            )

    def facts(self, address: Address) -> Mapping[str, str] | None:
        """See ports.BatchObjects."""
        try:
            with answering("S3"):
                return s3().head_object(Bucket=address.bucket, Key=address.key)["Metadata"]
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise

    def names(self, folder: Address, after: str) -> set[str]:
        """See ports.BatchObjects."""
        found: set[str] = set()
        more: dict[str, Any] = {"StartAfter": folder.key + after}
        while True:
            with answering("S3"):
                page = s3().list_objects_v2(Bucket=folder.bucket, Prefix=folder.key, Delimiter="/", **more)
            found |= {each["Key"].removeprefix(folder.key) for each in page.get("Contents", [])}
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}


class StepFunctionsBatches:
    """ports.BatchRuns. An execution is named by batch and attempt, so Step Functions itself starts each only once."""

    def __init__(self, state_machine_arn: str) -> None:
        self._machine = state_machine_arn

    def latest(self, batch_id: str) -> Attempt | None:
        """See ports.BatchRuns."""
        last: Attempt | None = None
        for number in count(1):
            found = self._attempt(batch_id, number)
            if found is None:
                return last
            last = found
        return last

    def _attempt(self, batch_id: str, number: int) -> Attempt | None:
        arn = self._machine.replace(":stateMachine:", ":execution:", 1)
        try:
            with answering("Step Functions"):
                found = step_functions().describe_execution(executionArn=f"{arn}:{batch_id}-{number}")
        except ClientError as error:
            if code_of(error) == "ExecutionDoesNotExist":
                return None
            raise
        if found["status"] == "SUCCEEDED":
            return Attempt(number, found["status"], _ended_by(found.get("output") or ""))
        return Attempt(number, found["status"], _reason(found.get("error") or "", found.get("cause") or ""))

    def start(self, batch_id: str, number: int, document: Mapping[str, Any]) -> None:
        """See ports.BatchRuns."""
        try:
            with answering("Step Functions"):
                step_functions().start_execution(
                    stateMachineArn=self._machine, name=f"{batch_id}-{number}", input=json.dumps(document)
                )
        except ClientError as error:
            if code_of(error) != "ExecutionAlreadyExists":
                raise


def _ended_by(output: str) -> str:
    """Why the input ended an execution that is otherwise sound; empty for one that is complete."""
    found = json.loads(output) if output else {}
    return str(found.get("Cause", ""))


def _reason(error: str, cause: str) -> str:
    """The words of a fault; Lambda wraps those of its own in JSON."""
    try:
        said = json.loads(cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        said = cause
    return said if error in {"", "PartsFailed"} else f"{error}: {said}" if said else error
