"""One DynamoDB table of string keys pk and sk, as the registry uses it: consistent reads, conditional writes.

    table.write(put(pk, sk, item, when="attribute_not_exists(#sk)"))
    table.write(put(...), update(...))          # all or nothing
    table.write(put(...), other.its(put(...)))  # also across tables

In a condition `#name` is an attribute and `:name` a value; the names need no list of their own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from tidegate.aws.clients import answering, code_of, dynamodb
from tidegate.aws.items import NULL, Item
from tidegate.kernel.errors import UnavailableError

Write = dict[str, dict[str, Any]]  # as one entry of TransactItems
ABSENT = "attribute_not_exists(#sk)"  # in a condition: nothing is stored under the key yet


class RefusedError(Exception):
    """Nothing was written: a condition did not hold, or another transaction was at the same item.

    Read again and decide again; `refused[i]` says whether it was because of the i-th write.
    """

    def __init__(self, refused: tuple[bool, ...]) -> None:
        super().__init__("a condition failed, or another transaction was first")
        self.refused = refused


def put(pk: str, sk: str, item: Mapping[str, Any], *, when: str = "", **values: Any) -> Write:
    """Write a whole item."""
    return {"Put": {"Item": {**_key(pk, sk), **item}} | _condition(when, values)}


def update(
    pk: str,
    sk: str,
    item: Mapping[str, Any],
    *,
    first: Mapping[str, Any] | None = None,
    when: str = "",
    **values: Any,
) -> Write:
    """Set the attributes of `item`, leave others; those of `first` are set only where there is none yet."""
    gone = [name for name, value in item.items() if value == NULL]
    sets = [f"#{name} = :set_{name}" for name in item if name not in gone]
    sets += [f"#{name} = if_not_exists(#{name}, :set_{name})" for name in first or {}]
    expression = ("SET " + ", ".join(sets)) if sets else ""
    if gone:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in gone)
    given = {name: value for name, value in {**item, **(first or {})}.items() if name not in gone}
    parts = _condition(when, values)
    names = parts.pop("ExpressionAttributeNames", {}) | _names(expression)
    bound = parts.pop("ExpressionAttributeValues", {}) | {f":set_{name}": value for name, value in given.items()}
    return {
        "Update": {
            "Key": _key(pk, sk),
            "UpdateExpression": expression.strip(),
            "ExpressionAttributeNames": names,
            **({"ExpressionAttributeValues": bound} if bound else {}),
            **parts,
        }
    }


def check(pk: str, sk: str, *, when: str, **values: Any) -> Write:
    """Write nothing: refuse the transaction that it is part of unless the condition holds."""
    return {"ConditionCheck": {"Key": _key(pk, sk)} | _condition(when, values)}


class Table:
    """Reads are strongly consistent and paginated to their end; writes raise RefusedError when a condition fails."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, pk: str, sk: str) -> Item | None:
        """One item or None."""
        with answering("DynamoDB"):
            answer = dynamodb().get_item(TableName=self._name, Key=_key(pk, sk), ConsistentRead=True)
        return answer.get("Item")

    def query(
        self,
        pk: str,
        prefix: str = "",
        *,
        after: str = "",
        newest_first: bool = False,
        at_a_time: int | None = None,
        only: Sequence[str] = (),
    ) -> Iterator[Item]:
        """Items of a partition, in order of sk, read as they are needed: `at_a_time`, or as many as make 1 MB.

        Those whose sk starts with `prefix`, and stands behind the sk `after` (which starts with it too); of each the
        attributes `only`, or all.
        """
        values = {":pk": {"S": pk}} | ({":sk": {"S": prefix}} if prefix else {})
        asked: dict[str, Any] = {"Limit": at_a_time} if at_a_time else {}
        if only:
            asked["ProjectionExpression"] = ", ".join(f"#{name}" for name in only)
            asked["ExpressionAttributeNames"] = {f"#{name}": name for name in only}
        if after:
            asked["ExclusiveStartKey"] = _key(pk, after)
        while True:
            with answering("DynamoDB"):
                page = dynamodb().query(
                    TableName=self._name,
                    KeyConditionExpression="pk = :pk" + (" AND begins_with(sk, :sk)" if prefix else ""),
                    ExpressionAttributeValues=values,
                    ConsistentRead=True,
                    ScanIndexForward=not newest_first,
                    **asked,
                )
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def its(self, write: Write) -> Write:
        """The write, into this table, whichever table's transaction it is part of."""
        return {kind: {"TableName": self._name, **parts} for kind, parts in write.items()}

    def write(self, *writes: Write) -> None:
        """One write, or several all or nothing.

        botocore may repeat a write whose answer was lost. A transaction repeated so is applied once (it carries a
        client token); a single conditional write can be refused because of itself, so callers look at what is stored.

        Raises:
            RefusedError: a condition did not hold.
        """
        try:
            with answering("DynamoDB"):
                self._send(writes)
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                raise RefusedError((True,)) from None
            if code_of(error) == "TransactionCanceledException":
                self._cancelled(error)
            raise

    def _send(self, writes: tuple[Write, ...]) -> None:
        client: Any = dynamodb()
        named = [self.its(write) for write in writes]
        if len(named) > 1:
            client.transact_write_items(TransactItems=named)
        elif "Put" in named[0]:
            client.put_item(**named[0]["Put"])
        else:
            client.update_item(**named[0]["Update"])

    @staticmethod
    def _cancelled(error: ClientError) -> None:
        answer: Any = error.response
        codes = [str(reason.get("Code")) for reason in answer.get("CancellationReasons", ())]
        refused = tuple(code in {"ConditionalCheckFailed", "TransactionConflict"} for code in codes)
        if any(refused):
            raise RefusedError(refused) from None
        if {"ThrottlingError", "ProvisionedThroughputExceeded"}.intersection(codes):
            raise UnavailableError("DynamoDB is busy: throttled", next_step="try again") from error


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _names(expression: str) -> dict[str, str]:
    return {f"#{name}": name for name in re.findall(r"#(\w+)", expression)}


def _condition(when: str, values: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {"ConditionExpression": when} if when else {}
    if names := _names(when):
        parts["ExpressionAttributeNames"] = names
    if values:
        parts["ExpressionAttributeValues"] = {f":{name}": value for name, value in values.items()}
    return parts
