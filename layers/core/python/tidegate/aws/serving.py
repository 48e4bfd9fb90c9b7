"""What the inference function asks AWS for, without boto3: see `tidegate.aws.signed` for why."""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tidegate.aws.integrity import check
from tidegate.aws.items import Item, decode
from tidegate.aws.signed import Service, forget_credentials
from tidegate.domain.registry.route import Route
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.partitions import Partition, version_key

if TYPE_CHECKING:
    from tidegate.ports.registry import ModelHeader


@cache
def _dynamodb() -> Service:
    return Service("dynamodb", connect=1, read=1.5)  # a prediction that waits for a route must not wait for long


@cache
def _s3() -> Service:
    return Service("s3", connect=1, read=10)


@cache
def _firehose() -> Service:
    return Service("firehose", connect=0.5, read=1, attempts=1)  # of a batch, only what failed is sent again


def let_go() -> None:
    """Close connections and forget credentials: a snapshot of the environment must hold neither."""
    for service in (_dynamodb, _s3):
        service().close()
    forget_credentials()


class ServingTable:
    """Consistent reads of the registry's table."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, pk: str, sk: str) -> Item | None:
        """One item or None; raises UnavailableError."""
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        request = {"TableName": self._name, "Key": key, "ConsistentRead": True}
        item = _dynamodb().ask("DynamoDB_20120810.GetItem", request).get("Item")
        return None if item is None else {name: _bytes(value) for name, value in item.items()}

    def sort_keys(self, pk: str) -> Iterator[str]:
        """Sort keys of a partition; raises UnavailableError, CallRefusedError."""
        request: dict[str, Any] = {
            "TableName": self._name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
            "ProjectionExpression": "sk",
        }
        last: Any = {}
        while last is not None:
            page = _dynamodb().ask("DynamoDB_20120810.Query", request | ({"ExclusiveStartKey": last} if last else {}))
            yield from (item["sk"]["S"] for item in page["Items"])
            last = page.get("LastEvaluatedKey")


def _bytes(value: dict[str, Any]) -> dict[str, Any]:
    """Bytes travel as base64; only whole attributes are bytes here, never parts of one."""
    return {"B": b64decode(value["B"])} if "B" in value else value


class ServingRegistry:
    """ports.RouteReader, ModelNames and VersionHashes."""

    def __init__(self, table: ServingTable) -> None:
        self._table = table

    def route(self, model: str) -> Route | None:
        """See ports.RouteReader."""
        item = self._table.get(Partition.ROUTE.of(model), "ROUTE")
        return decode(Route, item) if item else None

    def model(self, name: str) -> "ModelHeader":
        """See ports.Models."""
        item = self._table.get(Partition.MODELS, name)
        if item is None:
            raise NotFoundError(f"no model {name!r}", next_step="see `tidegate model list`")
        from tidegate.ports.registry import ModelHeader

        return decode(ModelHeader, item)

    def names(self) -> Iterator[str]:
        """Of all models. Raises as the table does."""
        return self._table.sort_keys(Partition.MODELS)

    def registered_sha256(self, model: str, number: int) -> str:
        """See ports.VersionHashes."""
        item = self._table.get(Partition.VERSION.of(model), version_key(number))
        if item is None:
            raise NotFoundError(f"{model} has no version {number}", next_step=f"see `tidegate versions {model}`")
        return str(item["artifact_sha256"]["S"])


class ServingArtifacts:
    """ports.Artifacts, as far as answering needs them."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def get_verified(self, key: str, sha256: str) -> bytes:
        """See ports.Artifacts."""
        data = _s3().fetch(self._bucket, key)
        check(data, sha256, f"s3://{self._bucket}/{key}")
        return data


class CaptureStream:
    """A Firehose stream: what takes records for captures."""

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, records: Sequence[bytes]) -> list[bool]:
        """Whether the stream has taken each record.

        Raises:
            UnavailableError: no answer: whether it has taken them is not known.
            CallRefusedError: it takes none.
        """
        request = {
            "DeliveryStreamName": self.name,
            "Records": [{"Data": b64encode(each).decode()} for each in records],
        }
        answer = _firehose().ask("Firehose_20150804.PutRecordBatch", request)
        return ["ErrorCode" not in each for each in answer["RequestResponses"]]
