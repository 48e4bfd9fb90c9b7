"""The streams of registry and ledger in, SNS and EventBridge out."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tidegate.aws.clients import answering, eventbridge, sns
from tidegate.aws.items import Item, decode
from tidegate.domain.monitoring.health import HealthRecord
from tidegate.domain.notifications.announcement import Change
from tidegate.domain.registry.ledger import LedgerEntry
from tidegate.domain.registry.run import Run
from tidegate.domain.rollout.rollout import Rollout
from tidegate.kernel.errors import UnavailableError
from tidegate.kernel.partitions import Partition

SOURCE = "tidegate"

Record = Mapping[str, Any]


def change_of(record: Record) -> Change | None:
    """One record of either stream, as Lambda hands it over; None for items that nobody is notified of.

    docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    """
    item: Record = record["dynamodb"]
    kind = _kind(item["Keys"]["pk"]["S"], item["Keys"]["sk"]["S"])
    if kind is None or "NewImage" not in item:
        return None
    before = decode(kind, _image(item["OldImage"])) if "OldImage" in item else None
    return Change(before, decode(kind, _image(item["NewImage"])))


def _kind(pk: str, sk: str) -> type[LedgerEntry | Run | Rollout | HealthRecord] | None:
    kinds: dict[str, type[LedgerEntry | Run | Rollout | HealthRecord]] = {
        Partition.LEDGER: LedgerEntry,
        Partition.RUN: Run,
        Partition.ROLLOUT: Rollout,
        Partition.HEALTH: HealthRecord,
    }
    if sk.startswith("TOKEN#") or sk.count("#") > 1:  # tokens, and a run's candidates, are items of their own
        return None
    return kinds.get(pk.partition("#")[0])


def _image(image: Record) -> Item:
    """An image as DynamoDB itself gives it: in JSON, Lambda's form, bytes are base64."""
    return {
        name: {"B": base64.b64decode(value["B"])} if isinstance(value.get("B"), str) else value
        for name, value in image.items()
    }


class SnsLetters:
    """ports.Letters. SNS does not drop repetitions: a message whose answer was lost may come twice."""

    def __init__(self, topic_arn: str) -> None:
        self._topic = topic_arn

    def send(self, subject: str, text: str, attributes: Mapping[str, str]) -> None:
        """See ports.Letters."""
        with answering("SNS"):
            sns().publish(
                TopicArn=self._topic,
                Subject=subject,
                Message=text,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )


class EventBridgeEvents:
    """ports.Events, on the default bus. An event whose answer was lost may come twice, with the same id."""

    def put(self, detail_type: str, detail: Mapping[str, Any], at: datetime) -> None:
        """See ports.Events."""
        entry: Any = {"Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail), "Time": at}
        with answering("EventBridge"):
            answer = eventbridge().put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            code = answer["Entries"][0].get("ErrorCode")
            raise UnavailableError(f"EventBridge rejected the event: {code}", next_step="try again")
