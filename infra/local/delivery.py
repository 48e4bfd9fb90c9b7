"""Carries what one service sends to another: to a function, state machine, queue, topic, bus or log group.

Every delivery is authorised as on AWS: by the target's resource policy for the sending service, or by the role that
the sender was given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.local.clients import Clients
from infra.local.front_door import FrontDoor

_ACTIONS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}


class DeliveryError(Exception):
    """The target did not take it; `code` is what a dead-letter queue gets."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Parcel:
    arn: str
    payload: Any
    text: str
    role_arn: str | None
    subject: str | None
    message_group: str | None
    attributes: Mapping[str, str]

    @property
    def kind(self) -> str:
        """The service the target belongs to."""
        return self.arn.split(":")[2]


class Courier:
    """Delivers JSON payloads. `invoke_async` starts a function, `put_event` takes an event for another bus."""

    def __init__(
        self,
        door: FrontDoor,
        clients: Clients,
        invoke_async: Callable[[str, bytes], str],
        put_event: Callable[[str, Mapping[str, Any]], None],
        put_log: Callable[[str, str], None],
    ) -> None:
        self._door = door
        self._clients = clients
        self._invoke_async = invoke_async
        self._put_event = put_event
        self._put_log = put_log

    def deliver(
        self,
        arn: str,
        payload: Any,
        *,
        service: str,
        source_arn: str,
        role_arn: str | None = None,
        subject: str | None = None,
        message_group: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Sends `payload` to `arn` on behalf of `source_arn`.

        Raises DeliveryError when the target refuses: no permission, no such target, throttled.
        """
        text = payload if isinstance(payload, str) else json.dumps(payload)
        parcel = _Parcel(arn, payload, text, role_arn, subject, message_group, attributes or {})
        try:
            if role_arn is None:
                self._check(parcel, service, source_arn)
            self._send(parcel)
        except ClientError as error:
            raise DeliveryError(error.response["Error"]["Code"], error.response["Error"]["Message"]) from error
        except (LookupError, ValueError) as error:
            raise DeliveryError("RESOURCE_NOT_FOUND", str(error)) from error

    def _check(self, parcel: _Parcel, service: str, source_arn: str) -> None:
        if parcel.kind in {"events", "logs"}:
            return  # the same account's buses and log groups are open to rules of the account
        if parcel.kind not in _ACTIONS:
            raise DeliveryError("NO_PERMISSIONS", f"{parcel.arn} can only be reached with a role")
        needed = [(_ACTIONS[parcel.kind], parcel.arn)]
        if parcel.kind == "sns" and (key := self._topic_key(parcel.arn)):
            needed += [("kms:GenerateDataKey", key), ("kms:Decrypt", key)]
        for action, resource in needed:
            denied = self._door.authorize_service(service, action, resource, source_arn)
            if denied:
                raise DeliveryError("NO_PERMISSIONS", denied.message)

    def _send(self, parcel: _Parcel) -> None:
        arn, text, role_arn = parcel.arn, parcel.text, parcel.role_arn
        typed = {name: {"DataType": "String", "StringValue": value} for name, value in parcel.attributes.items()}
        match parcel.kind:
            case "lambda" if role_arn is None:
                self._invoke_async(arn, text.encode())
            case "lambda":
                self._client("lambda", role_arn).invoke(FunctionName=arn, InvocationType="Event", Payload=text.encode())
            case "states":
                self._client("stepfunctions", role_arn).start_execution(stateMachineArn=arn, input=text)
            case "sqs":
                group = {"MessageGroupId": parcel.message_group} if parcel.message_group else {}
                self._client("sqs", role_arn).send_message(
                    QueueUrl=self._queue_url(arn), MessageBody=text, MessageAttributes=typed, **group
                )
            case "sns":
                given = {"Subject": parcel.subject[:100]} if parcel.subject else {}
                self._client("sns", role_arn).publish(TopicArn=arn, Message=text, MessageAttributes=typed, **given)
            case "events":
                self._put_event(arn.rpartition("/")[2], parcel.payload)
            case "logs":
                self._put_log(arn.rpartition("log-group:")[2].removesuffix(":*"), text)
            case "firehose":
                self._client("firehose", role_arn).put_record(
                    DeliveryStreamName=arn.rpartition("/")[2], Record={"Data": text.encode()}
                )
            case _:
                raise DeliveryError("TARGET_NOT_SUPPORTED", f"the local cloud does not deliver to {arn}")

    def _topic_key(self, arn: str) -> str | None:
        """The key a topic is encrypted with: who publishes needs it too."""
        key = self._clients.root("sns").get_topic_attributes(TopicArn=arn)["Attributes"].get("KmsMasterKeyId")
        if not key or key.startswith("alias/aws/"):
            return None
        return str(self._clients.root("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"])

    def _client(self, service: str, role_arn: str | None) -> Any:
        return self._clients.role(service, role_arn) if role_arn else self._clients.root(service)

    def _queue_url(self, arn: str) -> str:
        return str(self._clients.root("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"])
