"""Lambda `announce`: tells people (SNS) and other systems (EventBridge) what changed in the registry.

Called by the registry's stream. Changes are told in order; at the first that cannot be told it stops and names it, so
that Lambda comes back with that one and those behind it, and none before.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.announcements import EventBridgeEvents, SnsLetters, change_of
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.settings import AnnounceSettings
from tidegate.steps.notifications.announce import announce
from tidegate.telemetry import Meter, logger


@dataclass(frozen=True, slots=True)
class Wired:
    """The function's parts."""

    registry: DynamoRegistry
    letters: SnsLetters
    events: EventBridgeEvents
    meter: Meter
    stage: str


@cache
def wire() -> Wired:
    """Parts on AWS, made at the first invocation and kept."""
    settings = AnnounceSettings.from_env()
    return Wired(
        DynamoRegistry(settings.registry_table),
        SnsLetters(settings.releases_topic),
        EventBridgeEvents(),
        Meter("announce", stage=settings.stage),
        settings.stage,
    )


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Records of the stream in; which one could not be told out."""
    parts = wire()
    for record in event["Records"]:
        try:
            _tell(record, parts)
        except Exception as error:  # noqa: BLE001  whatever it is, Lambda is to come back with it
            number = record["dynamodb"]["SequenceNumber"]
            parts.meter.fault("not announced", error, keys=record["dynamodb"]["Keys"], sequence_number=number)
            return {"batchItemFailures": [{"itemIdentifier": number}]}
    return {"batchItemFailures": []}


def _tell(record: dict[str, Any], parts: Wired) -> None:
    change = change_of(record)
    if change is None:
        return
    told = announce(
        change,
        stage=parts.stage,
        models=parts.registry,
        versions=parts.registry,
        letters=parts.letters,
        events=parts.events,
    )
    if told:
        logger("announce").info("announced", extra={"id": told.id, "event": told.event, "people": told.for_people})
