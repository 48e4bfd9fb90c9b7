"""A table's stream reaches the functions that listen to it as Lambda's event source mappings deliver it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.cloud import LocalCloud
from infra.local.streams import read_listener

Write = dict[str, Any]


class Table:
    """The sample's table: writes to it, and what a listener was then given."""

    def __init__(self, cloud: LocalCloud, name: str) -> None:
        self.cloud = cloud
        self.listener = name
        self.client = cloud.client("dynamodb")
        (self.name,) = self.client.list_tables()["TableNames"]
        cloud.settle()
        self._seen = len(self._lines())

    def key(self, sk: str, group: str = "a") -> Write:
        return {"pk": {"S": f"{self.listener}#{group}"}, "sk": {"S": sk}}

    def put(self, *names: str, group: str = "a", **attributes: str) -> None:
        for sk in names:
            item = {**self.key(sk, group), **{name: {"S": value} for name, value in attributes.items()}}
            self.client.put_item(TableName=self.name, Item=item)

    def put_together(self, *items: tuple[str, dict[str, str]]) -> None:
        """In one request, so that they come in one batch."""
        puts = [
            {"Put": {"TableName": self.name, "Item": {**self.key(sk), **{k: {"S": v} for k, v in given.items()}}}}
            for sk, given in items
        ]
        self.client.transact_write_items(TransactItems=puts)

    def notes(self) -> dict[str, str | None]:
        """What the listener's items of one group say."""
        of = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": self.key("")["pk"]}}
        items = self.client.query(TableName=self.name, ConsistentRead=True, **of)["Items"]
        return {item["sk"]["S"]: item.get("note", {}).get("S") for item in items}

    def batches(self) -> list[list[dict[str, Any]]]:
        """The batches the listener got since the test began."""
        assert self.cloud.settle()
        return self._lines()[self._seen :]

    def names(self) -> list[list[str]]:
        return [[record["dynamodb"]["Keys"]["sk"]["S"] for record in batch] for batch in self.batches()]

    def _lines(self) -> list[list[dict[str, Any]]]:
        lines = self.cloud.log_lines(f"/sample/{self.listener}")
        return [json.loads(line)["records"] for line in lines if line.startswith('{"records"')]


@pytest.fixture
def table(clean: LocalCloud) -> Table:
    return Table(clean, "reporter")


@pytest.fixture
def split(clean: LocalCloud) -> Table:
    return Table(clean, "splitter")


def test_a_change_comes_with_keys_and_both_images_as_on_aws(table: Table) -> None:
    before = table.cloud.clock.time()
    table.put("shape", note="old")
    table.put("shape", note="new")
    table.client.delete_item(TableName=table.name, Key=table.key("shape"))
    inserted, modified, removed = [record for batch in table.batches() for record in batch]
    assert [r["eventName"] for r in (inserted, modified, removed)] == ["INSERT", "MODIFY", "REMOVE"]
    stream_arn = table.client.describe_table(TableName=table.name)["Table"]["LatestStreamArn"]
    assert (modified["eventSource"], modified["awsRegion"], modified["eventSourceARN"]) == (
        "aws:dynamodb",
        "us-east-1",
        stream_arn,
    )
    change = modified["dynamodb"]
    assert change["Keys"] == table.key("shape")
    assert change["OldImage"] == {**table.key("shape"), "note": {"S": "old"}}
    assert change["NewImage"] == {**table.key("shape"), "note": {"S": "new"}}
    assert change["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert before - 1 <= change["ApproximateCreationDateTime"] <= table.cloud.clock.time()
    assert "OldImage" not in inserted["dynamodb"]
    assert "NewImage" not in removed["dynamodb"]
    numbers = [int(r["dynamodb"]["SequenceNumber"]) for r in (inserted, modified, removed)]
    assert numbers == sorted(set(numbers))
    assert len({r["eventID"] for r in (inserted, modified, removed)}) == 3


def test_the_writer_does_not_wait_and_a_batch_has_at_most_the_mappings_size(table: Table) -> None:
    table.put_together(*((f"n{number}", {}) for number in range(7)))
    batches = table.names()
    assert [sk for batch in batches for sk in batch] == [f"n{number}" for number in range(7)]
    assert max(len(batch) for batch in batches) == 3


def test_what_no_filter_lets_through_is_not_delivered(table: Table) -> None:
    table.client.put_item(TableName=table.name, Item={"pk": {"S": "other"}, "sk": {"S": "x"}})
    assert table.batches() == []


def test_an_update_that_makes_an_item_is_one_insert_and_one_that_changes_nothing_is_none(table: Table) -> None:
    update = {
        "TableName": table.name,
        "Key": table.key("upserted"),
        "UpdateExpression": "SET note = :note",
        "ExpressionAttributeValues": {":note": {"S": "x"}},
    }
    table.client.update_item(**update)
    table.client.update_item(**update)
    table.put("upserted", note="x")
    ((record,),) = table.batches()
    assert (record["eventName"], record["dynamodb"]["NewImage"]["note"]) == ("INSERT", {"S": "x"})


def test_a_transaction_that_fails_has_changed_nothing(table: Table) -> None:
    def of(name: str, part: str = "Key", **said: Any) -> dict[str, Any]:
        return {"TableName": table.name, part: table.key(name), **said}

    for name in ("there", "changed", "replaced", "gone"):
        table.put(name, note="before")
    before = table.notes()
    writes = [
        {"Put": of("made", "Item")},
        {"Update": of("changed", UpdateExpression="SET note = :it", ExpressionAttributeValues={":it": {"S": "after"}})},
        {"Put": of("replaced", "Item")},
        {"Delete": of("gone")},
    ]
    taken = of("there", "Item", ConditionExpression="attribute_not_exists(pk)")
    with pytest.raises(table.client.exceptions.TransactionCanceledException):
        table.client.transact_write_items(TransactItems=[*writes, {"Put": taken}])
    assert table.notes() == before
    table.put("after")
    assert [sk for batch in table.names() for sk in batch] == ["there", "changed", "replaced", "gone", "after"]
    table.client.transact_write_items(TransactItems=writes)
    del before["gone"]
    assert table.notes() == before | {"changed": "after", "replaced": None, "made": None, "after": None}


def test_from_the_first_item_reported_as_failed_a_batch_is_retried_then_sent_to_the_destination(table: Table) -> None:
    table.put_together(("f1", {}), ("f2", {"listener": "fails"}), ("f3", {}))
    table.put("f4")
    assert table.names() == [["f1", "f2", "f3"], ["f2", "f3"], ["f2", "f3"], ["f4"]]
    (text,) = table.cloud.messages("failures")
    message = json.loads(text)
    batch = message["DDBStreamBatchInfo"]
    assert (message["requestContext"]["condition"], message["requestContext"]["approximateInvokeCount"]) == (
        "RetryAttemptsExhausted",
        3,
    )
    assert message["requestContext"]["functionArn"].endswith(":function:reporter")
    assert (batch["batchSize"], batch["shardId"][:8]) == (2, "shardId-")
    assert int(batch["endSequenceNumber"]) == int(batch["startSequenceNumber"]) + 1
    assert batch["streamArn"].startswith("arn:aws:dynamodb:")


def test_an_identifier_that_names_no_record_fails_the_whole_batch(table: Table) -> None:
    table.put_together(("g1", {}), ("g2", {"listener": "garbles"}))
    assert table.names() == [["g1", "g2"]] * 3


def test_a_batch_that_fails_is_split_until_the_bad_record_is_alone(split: Table) -> None:
    split.put_together(("s1", {}), ("s2", {}), ("s3", {"listener": "raises"}), ("s4", {}))
    assert split.cloud.settle()
    split.put("s5")
    assert split.names() == [["s1", "s2", "s3", "s4"], ["s1", "s2"], ["s3", "s4"], *[["s3"]] * 3, ["s4"], ["s5"]]
    (text,) = split.cloud.messages("failures")
    message = json.loads(text)
    assert message["DDBStreamBatchInfo"]["batchSize"] == 1
    assert message["responseContext"]["functionError"] == "Unhandled"
    assert split.cloud.metric_sum("AWS/Lambda", "Errors", {"FunctionName": "splitter"}) >= 5


@pytest.fixture
def deny_reading(clean: LocalCloud) -> Iterator[tuple[Any, dict[str, str]]]:
    iam = clean._clients.root("iam")
    (role,) = (role["RoleName"] for role in iam.list_roles()["Roles"] if "reporterServiceRole" in role["RoleName"])
    policy = {"RoleName": role, "PolicyName": "deny"}
    yield iam, policy
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role_policy(**policy)


def test_a_function_whose_role_may_not_read_the_stream_gets_nothing_until_it_may(
    table: Table, deny_reading: tuple[Any, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    iam, policy = deny_reading
    deny = {"Effect": "Deny", "Action": "dynamodb:GetRecords", "Resource": "*"}
    iam.put_role_policy(**policy, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    with caplog.at_level(logging.WARNING):
        table.put("secret")
        assert table.batches() == []
    assert "dynamodb:GetRecords" in caplog.text
    iam.delete_role_policy(**policy)
    table.put("open")
    assert [sk for batch in table.names() for sk in batch] == ["secret", "open"]


def test_the_stream_can_be_read_by_its_own_api_too(table: Table) -> None:
    table.put("api")
    streams = table.cloud.client("dynamodbstreams")
    (stream,) = streams.list_streams(TableName=table.name)["Streams"]
    (shard,) = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = streams.get_records(ShardIterator=iterator)["Records"]
    assert records[-1]["dynamodb"]["Keys"] == table.key("api")


def test_a_mapping_made_by_the_api_at_latest_begins_with_what_comes_next(table: Table) -> None:
    def put(sk: str) -> None:  # no other listener wants these, so that only the mapping made here delivers them
        table.client.put_item(TableName=table.name, Item={"pk": {"S": "latest"}, "sk": {"S": sk}})

    put("before")
    client = table.cloud.client("lambda")
    (mapping, *_) = client.list_event_source_mappings(FunctionName="splitter")["EventSourceMappings"]
    made = client.create_event_source_mapping(
        FunctionName="reporter",
        EventSourceArn=mapping["EventSourceArn"],
        StartingPosition="LATEST",
        FilterCriteria={"Filters": [{"Pattern": '{"dynamodb": {"Keys": {"pk": {"S": ["latest"]}}}}'}]},
    )
    put("now")
    assert table.names() == [["now"]]
    client.delete_event_source_mapping(UUID=made["UUID"])
    put("after")
    assert table.names() == [["now"]]


def test_a_mapping_without_a_limit_retries_until_the_function_succeeds() -> None:
    configuration = {"UUID": "1", "FunctionArn": "f", "EventSourceArn": "s"}
    assert read_listener(configuration).retries is None
    assert read_listener({**configuration, "MaximumRetryAttempts": 0}).retries == 0


def test_only_who_may_reads_the_stream(table: Table) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    table.cloud.add_user("no-streams", policy)
    arn = table.client.describe_table(TableName=table.name)["Table"]["LatestStreamArn"]
    with pytest.raises(ClientError, match="dynamodb:DescribeStream"):
        table.cloud.client("dynamodbstreams", "no-streams").describe_stream(StreamArn=arn)
