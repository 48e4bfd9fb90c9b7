"""Brings the records of a stage that ran Tidegate 0.1.0 to where 0.2.0 looks for them.

    .venv/bin/python -m scripts.upgrade_registry --stage dev [--profile P] [--region R]

In 0.1.0 all records of a model had one partition, and the ledger was in the registry's table. The records are copied,
and the old ones stay: what is deployed reads them until the new functions are there. docs/deploy.md says when to run
this. Running it again copies only what is missing, and names what was written in the meantime.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import click
from botocore.config import Config
from botocore.exceptions import ClientError

from tidegate.aws.clients import code_of
from tidegate.kernel.english import count
from tidegate.kernel.partitions import Partition

_OLD = "MODEL#"
_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 8})
_KINDS = {
    "SPEC": Partition.SPEC,
    "RUN": Partition.RUN,
    "TOKEN": Partition.RUN,
    "VERSION": Partition.VERSION,
    "ROUTE": Partition.ROUTE,
    "ROLLOUT": Partition.ROLLOUT,
    "LEASE": Partition.LEASE,
    "WATCH": Partition.HEALTH,
}

Item = dict[str, Any]


def new_place(item: Item) -> tuple[Partition, Item] | None:
    """The kind of a record of 0.1.0, and the record under its new key; None for one that stays where it is.

    Raises:
        ValueError: nobody of Tidegate wrote it.
    """
    pk, sk = str(item["pk"]["S"]), str(item["sk"]["S"])
    if pk.startswith(Partition.LEDGER.of("")):
        return Partition.LEDGER, item
    if not pk.startswith(_OLD):
        return None
    kind = _KINDS.get(sk.partition("#")[0])
    if kind is None:
        raise ValueError(f"the record {pk} {sk} is of no kind that Tidegate 0.1.0 wrote")
    moved = item | {"pk": {"S": kind.of(pk.removeprefix(_OLD))}}
    return kind, moved | {"sk": {"S": "HEALTH"}} if kind is Partition.HEALTH else moved


def upgrade(client: Any, registry: str, ledger: str) -> tuple[Counter[Partition], list[str]]:
    """Copy all records to their new places; how many of each kind were copied, and the keys of those that are there
    already with another content."""
    copied: Counter[Partition] = Counter()
    differing = []
    for item in _items(client, registry):
        place = new_place(item)
        if place is None:
            continue
        kind, moved = place
        table = ledger if kind is Partition.LEDGER else registry
        try:
            client.put_item(TableName=table, Item=moved, ConditionExpression="attribute_not_exists(sk)")
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            key = {name: moved[name] for name in ("pk", "sk")}
            if client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item") != moved:
                differing.append(f"{moved['pk']['S']} {moved['sk']['S']}")
        else:
            copied[kind] += 1
    return copied, differing


def _items(client: Any, table: str) -> Iterator[Item]:
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from page["Items"]


@click.command()
@click.option("--stage", required=True, help="The stage whose registry it is.")
@click.option("--profile", help="The AWS profile of an administrator.")
@click.option("--region", help="The region of the stage.")
def main(stage: str, profile: str | None, region: str | None) -> None:
    """Copies the records of Tidegate 0.1.0 to where 0.2.0 looks for them.

    Example: python -m scripts.upgrade_registry --stage dev --region eu-west-1
    """
    session = boto3.Session(profile_name=profile, region_name=region)
    parameters = session.client("ssm", config=_CONFIG)
    registry, ledger = (
        parameters.get_parameter(Name=f"/tidegate/{stage}/{name}")["Parameter"]["Value"]
        for name in ("registry-table", "ledger-table")
    )
    copied, differing = upgrade(session.client("dynamodb", config=_CONFIG), registry, ledger)
    for kind, number in sorted(copied.items()):
        click.echo(f"{kind}: {count(number, 'record')} copied")
    for key in differing:
        click.echo(f"{key}: changed since it was copied; the new record was kept", err=True)
    if not copied and not differing:
        click.echo("nothing to copy")


if __name__ == "__main__":
    main()
