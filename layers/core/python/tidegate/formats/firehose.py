"""Lines packed into Firehose records, and records into batches, within AWS's limits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# What Firehose accepts: before base64, in one record; lines it takes apart again; records and bytes in one call.
# docs.aws.amazon.com/firehose/latest/dev/limits.html and .../dynamic-partitioning-multirecord-deaggergation.html
MAX_RECORD_BYTES = 1000 * 1024
MAX_RECORD_LINES = 500
MAX_BATCH_RECORDS = 500
MAX_BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Packed:
    """A record as Firehose counts them: lines of JSON, and how many."""

    data: bytes
    lines: int


def packed(lines: Iterable[bytes]) -> tuple[list[Packed], int]:
    """Lines as few Firehose records, and how many lines fit in none.

    Firehose bills each record as a multiple of 5 KB; a line has about half of one.
    """
    full: list[Packed] = []
    held: list[bytes] = []
    size = too_long = 0

    def close() -> None:
        if held:
            full.append(Packed(b"\n".join(held) + b"\n", len(held)))

    for each in lines:
        if len(each) + 1 > MAX_RECORD_BYTES:
            too_long += 1
            continue
        if len(held) == MAX_RECORD_LINES or size + len(each) + 1 > MAX_RECORD_BYTES:
            close()
            held, size = [], 0
        held.append(each)
        size += len(each) + 1
    close()
    return full, too_long


def batches(found: Iterable[Packed]) -> Iterator[list[Packed]]:
    """Records by call, within the limits of one call."""
    batch: list[Packed] = []
    size = 0
    for each in found:
        if len(batch) == MAX_BATCH_RECORDS or size + len(each.data) > MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each.data)
    if batch:
        yield batch
