"""Outcomes on their way to S3, through Firehose. They are kept when Firehose has taken them: it holds what it took for
24 hours while S3 is away.

Delivery is at least once, and a batch whose answer was lost is sent again: readers take copies for one.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from tidegate.aws.clients import answering, firehose
from tidegate.formats.firehose import Packed, batches, packed
from tidegate.kernel.errors import UnavailableError

PAUSE_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0)  # between attempts; the caller's API call may last 30 s


class FirehoseFeedback:
    """ports.FeedbackLog over a delivery stream."""

    def __init__(
        self, stream: str, *, client: Callable[[], Any] = firehose, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._stream = stream
        self._client = client
        self._sleep = sleep

    def keep(self, lines: Iterable[bytes]) -> None:
        """See ports.FeedbackLog. A line is far below what Firehose takes in one record."""
        found, _ = packed(lines)
        for batch in batches(found):
            self._put(batch)

    def _put(self, batch: list[Packed]) -> None:
        left = self._refused(batch)
        for pause in PAUSE_SECONDS:
            if not left:
                return
            self._sleep(pause)
            left = self._refused(left)
        if left:
            raise UnavailableError("Firehose did not accept all of the feedback", next_step="send all of it again")

    def _refused(self, batch: list[Packed]) -> list[Packed]:
        """What Firehose has not taken of a batch."""
        try:
            with answering("Firehose"):
                answer = self._client().put_record_batch(
                    DeliveryStreamName=self._stream, Records=[{"Data": each.data} for each in batch]
                )
        except UnavailableError:
            return batch
        results = answer["RequestResponses"]
        return [each for each, said in zip(batch, results, strict=True) if said.get("ErrorCode")]
