"""Lambda `announce`: notifies people (SNS) and other systems (EventBridge) what changed in the registry.

Called by the registry's stream. Changes are announced in order; at the first that cannot be it stops and names it, so
that Lambda comes back with that one and those behind it, and none before.
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.aws.announcements import change_of
from tidegate.kernel.settings import AnnounceSettings
from tidegate.steps.notifications.announce import announce
from tidegate.telemetry import logger


class InOrder(BatchProcessor):
    """Stops at the first failure. Powertools' own goes on, and what it announced behind that would come twice."""

    def __init__(self) -> None:
        super().__init__(EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)

    def process(self) -> list[tuple[Any, ...]]:
        """Call the handler for each record up to the first that fails."""
        done: list[tuple[Any, ...]] = []
        for record in self.records:
            if self.fail_messages:
                break
            done.append(self._process_record(record))
        return done


@logger("announce").inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Records of the stream in; which one could not be announced out."""
    return process_partial_response(event, _announce, InOrder(), context)


def _announce(record: DynamoDBRecord) -> None:
    at, raw = wiring.of(AnnounceSettings), record.raw_event
    try:
        change = change_of(raw)
        if change is None:
            return
        announced = announce(
            change,
            stage=at.settings.stage,
            models=at.registry,
            versions=at.registry,
            letters=at.letters,
            events=at.events,
        )
    except Exception as error:
        number = raw["dynamodb"]["SequenceNumber"]
        at.meter.fault("not announced", error, keys=raw["dynamodb"]["Keys"], sequence_number=number)
        raise
    if announced:
        logger("announce").info(
            "announced", extra={"id": announced.id, "event": announced.event, "people": announced.for_people}
        )
