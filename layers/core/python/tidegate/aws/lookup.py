"""One captured prediction out of all: its id holds its time, its time the hours, the rest is searched."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidegate.aws.captures import listed
from tidegate.aws.clients import answering, s3
from tidegate.aws.unpacking import lines
from tidegate.domain.monitoring.quarantine import UnreadableError
from tidegate.domain.serving.capture import CAPTURE_RECORD, hour_of
from tidegate.kernel.errors import Fault, NewerDocumentError, RequestInvalidError
from tidegate.kernel.prefixes import CAPTURES

MAX_SEARCHED_BYTES = 64 * 1024 * 1024  # packed: some 600,000 predictions
_THREADS = 4  # each unpacks in Python, so more of them would only hold more in memory
_BEGUN = re.compile(r"-(\d{4}(?:-\d\d){5})-")  # in the name Firehose gives an object


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    size: int
    off: timedelta  # between the prediction and the object's beginning


class S3CaptureLookup:
    """ports.CaptureLookup over the objects that Firehose writes: gzip, one record a line.

    A record is written within minutes, so the objects begun nearest to the prediction's time are read first.
    """

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def find(self, model: str, prediction_id: str, *, at: datetime, reach: timedelta) -> dict[str, Any] | None:
        """See ports.CaptureLookup."""
        searched = 0
        with ThreadPoolExecutor(_THREADS) as pool:
            objects = sorted(self._objects(model, at, reach), key=lambda each: each.off)
            for start in range(0, len(objects), _THREADS):
                if searched > MAX_SEARCHED_BYTES:
                    raise _too_much(prediction_id, start, len(objects))
                nearest = objects[start : start + _THREADS]
                for record in pool.map(lambda each: self._record(each.key, prediction_id), nearest):
                    if record is not None:
                        return record
                searched += sum(each.size for each in nearest)
        return None

    def _objects(self, model: str, at: datetime, reach: timedelta) -> list[_Object]:
        """Captures of a model in the hours within reach."""
        found = listed(self._bucket, CAPTURES, model, hour_of(at - reach), hour_of(at + reach))
        return [_Object(key, size, _off(key, at)) for key, _, size in found]

    def _record(self, key: str, prediction_id: str) -> dict[str, Any] | None:
        with answering("S3"):
            data = s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()
        named = prediction_id.encode()
        with suppress(UnreadableError):  # which monitoring reports
            for line in lines(data):
                if named not in line:
                    continue
                with suppress(NewerDocumentError, RecursionError, ValueError):
                    record: dict[str, Any] = CAPTURE_RECORD.read(line)
                    if record.get("id") == prediction_id:
                        return record
        return None


def _off(key: str, at: datetime) -> timedelta:
    """As far as can be when the name does not say."""
    begun = _BEGUN.search(key.rpartition("/")[2])
    return abs(datetime.strptime(begun[1] + "+0000", "%Y-%m-%d-%H-%M-%S%z") - at) if begun else timedelta.max


def _too_much(prediction_id: str, searched: int, there: int) -> RequestInvalidError:
    return RequestInvalidError(
        "there are more captures around the prediction's time than one search reads",
        [Fault("prediction", f"{prediction_id} is not in the nearest {searched} of {there} objects")],
        next_step="use the query for Athena in docs/captures.md",
    )
