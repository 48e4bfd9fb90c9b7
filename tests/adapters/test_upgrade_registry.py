"""Records of 0.1.0, copied to where today's code looks for them."""

from dataclasses import replace
from typing import Any

import pytest

from scripts.upgrade_registry import new_place, upgrade
from tests.adapters.conftest import LEDGER, TABLE
from tests.builders.chains import verified
from tests.builders.registry import AT, a_run, promoted, registered, requested
from tests.builders.specs import a_spec
from tidegate.aws import clients
from tidegate.aws.monitoring import DynamoHealthRecords
from tidegate.aws.registry import DynamoCatalog, DynamoRoutes
from tidegate.domain.data.dataset import Dataset
from tidegate.domain.monitoring.health import Health, HealthRecord
from tidegate.domain.registry.run import RunError
from tidegate.kernel.partitions import Partition

MODEL = "flight-delay"


def items(table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = clients.dynamodb().scan(TableName=table)["Items"]
    return found


def aged(table: str) -> None:
    """Move all records to where 0.1.0 had them."""
    for item in items(table):
        kind, _, name = item["pk"]["S"].partition("#")
        if kind in {Partition.MODELS, Partition.DATASETS, Partition.DATASET, Partition.BATCHES}:
            continue
        clients.dynamodb().delete_item(TableName=table, Key={key: item[key] for key in ("pk", "sk")})
        old = f"LEDGER#{name}" if kind == Partition.LEDGER else f"MODEL#{name}"
        sk = "WATCH" if kind == Partition.HEALTH else item["sk"]["S"]
        clients.dynamodb().put_item(TableName=TABLE, Item=item | {"pk": {"S": old}, "sk": {"S": sk}})


@pytest.fixture
def registry(aws: None) -> DynamoRoutes:
    """A model with two releases, a third run under way, and a dataset; as 0.1.0 stored them."""
    registry = DynamoRoutes(TABLE, LEDGER)
    registry.apply(a_spec(), author="ann", at=AT)
    for run_id in ("r-001", "r-002"):
        promoted(registry, registered(registry, run_id))
    requested(registry, replace(a_run("r-003"), token="mine"))
    DynamoHealthRecords(TABLE).save(HealthRecord(MODEL, 1, Health.STEADY, since=AT, looked_at=AT))
    DynamoCatalog(TABLE).put_dataset(Dataset("flights", "here", "CC0-1.0", "ann", (), (), None, "ann", AT))
    return registry


def seen(registry: DynamoRoutes) -> Any:
    return (
        registry.model(MODEL),
        registry.spec(MODEL),
        registry.runs(MODEL),
        registry.versions(MODEL),
        registry.route(MODEL),
        registry.ledger(MODEL),
        DynamoHealthRecords(TABLE).record(MODEL),
        DynamoCatalog(TABLE).dataset("flights"),
    )


def test_every_record_is_found_again_and_the_chain_holds(registry: DynamoRoutes) -> None:
    before = seen(registry)
    for table in (TABLE, LEDGER):
        aged(table)
    assert registry.route(MODEL) is None
    old = items(TABLE)

    copied, differing = upgrade(clients.dynamodb(), TABLE, LEDGER)
    assert seen(registry) == before
    assert verified(MODEL, registry)["intact"]
    assert (copied[Partition.VERSION], copied[Partition.LEDGER], differing) == (2, 2, [])
    assert [item for item in items(TABLE) if item in old] == old  # copied: older code goes on
    again = registry.request(replace(a_run("r-004"), token="mine"), lease_until=AT)
    assert again.run_id == "r-003"


def test_again_it_copies_what_is_missing_and_names_what_changed(registry: DynamoRoutes) -> None:
    for table in (TABLE, LEDGER):
        aged(table)
    upgrade(clients.dynamodb(), TABLE, LEDGER)
    registry.fail(MODEL, "r-003", RunError("TrainingFailedError", "it says", "train"), AT)
    copied, differing = upgrade(clients.dynamodb(), TABLE, LEDGER)
    assert (sum(copied.values()), differing) == (0, [f"RUN#{MODEL} RUN#r-003"])
    assert registry.run(MODEL, "r-003").status.final


def test_a_record_of_nobody_stops_it() -> None:
    with pytest.raises(ValueError, match="MODEL#delay NOTE is of no kind"):
        new_place({"pk": {"S": "MODEL#delay"}, "sk": {"S": "NOTE"}})
