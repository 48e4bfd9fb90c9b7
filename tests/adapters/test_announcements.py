"""From a write to the registry to an e-mail and an event: the table's stream, the function, SNS and EventBridge (moto).

Lambda hands over images as JSON, where bytes are base64; what filters pass over on AWS comes here too, and is dropped.
"""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from functions.announce import handler as announce
from tests.adapters.conftest import TABLE, client_of
from tests.builders.notifications import ENTRY
from tests.builders.registry import AT, a_run
from tests.builders.rollouts import ASKED, OneRelease
from tests.builders.specs import a_spec
from tests.context import CONTEXT
from tidegate.aws import clients
from tidegate.aws.announcements import EventBridgeEvents, SnsLetters, change_of
from tidegate.aws.items import PACK_BYTES, encode
from tidegate.aws.registry import DynamoRegistry
from tidegate.aws.table import Table, put
from tidegate.domain.notifications.announcement import Change
from tidegate.domain.registry.run import RunError
from tidegate.kernel.errors import UnavailableError
from tidegate.kernel.partitions import Partition
from tidegate.ports.notifications import Events, Letters
from tidegate.testing.notifications import InMemoryMessages

MODEL = "flight-delay"
KILL = replace(ENTRY, model=MODEL, action="kill", version=None)
Read = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def registry(cold: Callable[..., None]) -> DynamoRegistry:
    """A registry with a model, whose table has a stream; topic and bus end in queues."""
    clients.dynamodb().update_table(
        TableName=TABLE, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    topic = client_of("sns").create_topic(Name="tidegate-test-releases")["TopicArn"]
    arns = {name: _queue(name) for name in ("people", "systems")}
    client_of("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["people"])
    bus = client_of("events")
    bus.put_rule(Name="all", EventPattern=json.dumps({"source": ["tidegate"]}))
    bus.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arns["systems"]}])
    cold(REGISTRY_TABLE=TABLE, RELEASES_TOPIC=topic, STAGE="test")
    registry = DynamoRegistry(TABLE)
    registry.apply(a_spec(), author="ann", at=AT)
    return registry


def _queue(name: str) -> str:
    made = client_of("sqs").create_queue(QueueName=name)["QueueUrl"]
    arn: str = client_of("sqs").get_queue_attributes(QueueUrl=made, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    return arn


def received(name: str) -> list[dict[str, Any]]:
    """What a queue got, oldest first."""
    sqs = client_of("sqs")
    found = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in found.get("Messages", [])]


@pytest.fixture
def changes(registry: DynamoRegistry) -> Read:
    """What the stream has, in the form in which Lambda hands it over."""
    # moto does not know the addresses that have the account in them.
    streams: Any = boto3.client("dynamodbstreams", config=Config(account_id_endpoint_mode="disabled"))
    (stream,) = streams.list_streams(TableName=TABLE)["Streams"]
    (shard,) = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]

    def read() -> list[dict[str, Any]]:
        place = streams.get_shard_iterator(
            StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        records = streams.get_records(ShardIterator=place["ShardIterator"])["Records"]
        return [json.loads(json.dumps(record, default=_as_lambda_does)) for record in records]

    return read


def _as_lambda_does(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value.timestamp()


def stored(partition: Partition, sk: str, record: Any) -> None:
    """An item of the model; entries are stored here too, since both streams give the same form of record."""
    Table(TABLE).write(put(partition.of(MODEL), sk, encode(record)))


def shown(records: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Subjects that people got and detail types that systems got."""
    assert announce.handler({"Records": records}, CONTEXT) == {"batchItemFailures": []}
    subjects = [message["Subject"] for message in received("people")]
    return subjects, [message["detail-type"] for message in received("systems")]


def test_what_is_written_is_reported(registry: DynamoRegistry, changes: Read) -> None:
    registry.fail(MODEL, _requested(registry).run_id, RunError("TrainingFailedError", "it says", "train"), AT)
    house = OneRelease(ASKED)
    house.begin()
    stored(Partition.ROLLOUT, "ROLLOUT#r-3", house.at)
    house.decide()
    stored(Partition.ROLLOUT, "ROLLOUT#r-3", house.at)
    stored(Partition.LEDGER, "0000000007", KILL)
    people, systems = shown(changes())
    assert people == [
        "[test] flight-delay: training failed",
        "[test] flight-delay: version 3 waits for approval",
        "[test] flight-delay: version 3 was approved",
        "[test] flight-delay: killed",
    ]
    assert systems == [
        "Tidegate Run Ended",
        "Tidegate Approval Requested",
        "Tidegate Approval Decided",
        "Tidegate Route Changed",
    ]


def _requested(registry: DynamoRegistry) -> Any:
    return registry.request(a_run("r-9"), lease_until=AT)


def test_a_message_and_an_event_arrive_as_they_were_made(registry: DynamoRegistry, changes: Read) -> None:
    stored(Partition.LEDGER, "0000000007", KILL)
    announce.handler({"Records": changes()}, CONTEXT)
    (letter,), (event,) = received("people"), received("systems")
    assert letter["Message"].startswith("flight-delay: killed\n\nThe fallback answers everything.")
    owner = registry.model(MODEL).owner
    assert letter["MessageAttributes"]["severity"] == {"Type": "String", "Value": "warning"}
    assert letter["MessageAttributes"]["owner"]["Value"] == event["detail"]["owner"] == owner
    assert (event["source"], event["time"]) == ("tidegate", "2026-01-05T12:00:00Z")
    assert (event["detail"]["schema"], event["detail"]["id"]) == (1, "flight-delay/ledger/7")


def test_each_channel_hands_over_what_it_is_given(where: str, request: pytest.FixtureRequest) -> None:
    fake = InMemoryMessages()
    letters: Letters = fake
    events: Events = fake
    if where == "aws":
        request.getfixturevalue("registry")
        letters, events = SnsLetters(os.environ["TIDEGATE_RELEASES_TOPIC"]), EventBridgeEvents()
    letters.send("a subject", "a text", {"model": MODEL})
    events.put("Tidegate Route Changed", {"schema": 1}, AT)
    if where == "aws":
        fake.letters += [(each["Subject"], each["Message"], _values(each)) for each in received("people")]
        fake.events += [(each["detail-type"], each["detail"], AT) for each in received("systems")]
    assert fake.letters == [("a subject", "a text", {"model": MODEL})]
    assert fake.events == [("Tidegate Route Changed", {"schema": 1}, AT)]


def _values(message: dict[str, Any]) -> dict[str, str]:
    return {name: each["Value"] for name, each in message["MessageAttributes"].items()}


def test_a_packed_record_is_read_as_it_was_written(registry: DynamoRegistry, changes: Read) -> None:
    """A rollout with so many looks that they are stored compressed."""
    house = OneRelease()
    house.begin()
    large = replace(house.at, fetched={str(hour): tuple(f"object-{n}" for n in range(500)) for hour in range(20)})
    assert max(len(part.get("B", b"")) for part in encode(large).values()) > 0, f"less than {PACK_BYTES} bytes"
    stored(Partition.ROLLOUT, "ROLLOUT#r-3", large)
    stored(Partition.ROLLOUT, "ROLLOUT#r-3", replace(large, revision=2))
    first, second = (found for found in map(change_of, changes()) if found)
    assert first == Change(None, large)
    assert second == Change(large, replace(large, revision=2))


def test_items_that_nobody_is_notified_of_are_passed_over(registry: DynamoRegistry, changes: Read) -> None:
    run = _requested(registry)
    registry.note(MODEL, run.run_id, "train", AT)
    stored(Partition.RUN, f"RUN#{run.run_id}#CANDIDATE#001", replace(KILL, model="no run"))
    stored(Partition.ROUTE, "ROUTE", KILL)
    clients.dynamodb().delete_item(TableName=TABLE, Key={"pk": {"S": f"ROUTE#{MODEL}"}, "sk": {"S": "ROUTE"}})
    records = changes()
    assert len(records) > 5
    assert shown(records) == ([], [])


def test_it_stops_at_the_first_change_that_cannot_be_announced_and_comes_back_to_it(
    registry: DynamoRegistry, changes: Read, caplog: pytest.LogCaptureFixture
) -> None:
    stored(Partition.LEDGER, "0000000001", replace(KILL, seq=1))
    stored(Partition.LEDGER, "0000000002", replace(KILL, seq=2, action="levitate", reason="an input: 42"))
    stored(Partition.LEDGER, "0000000003", replace(KILL, seq=3))
    records = [record for record in changes() if record["dynamodb"]["Keys"]["pk"]["S"].startswith("LEDGER#")]
    failed = records[1]["dynamodb"]["SequenceNumber"]
    assert announce.handler({"Records": records}, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": failed}]}
    assert [event["detail"]["id"] for event in received("systems")] == ["flight-delay/ledger/1"]
    (fault,) = [record for record in caplog.records if record.message == "not announced"]
    assert fault.__dict__["sequence_number"] == failed
    assert "an input" not in str(fault.__dict__)


def test_an_event_that_the_bus_turns_away_is_a_fault_that_passes(aws: None) -> None:
    clients.eventbridge.cache_clear()
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "later"}]}
    with Stubber(clients.eventbridge()) as bus:
        bus.add_response("put_events", refused)
        with pytest.raises(UnavailableError, match="ThrottlingException"):
            EventBridgeEvents().put("Tidegate Route Changed", {"schema": 1}, AT)
    clients.eventbridge.cache_clear()
