"""Objects as Firehose writes them, gzip with one record a line, unpacked in bounded pieces."""

import gzip
import zlib
from collections.abc import Iterator
from io import BytesIO

from tidegate.domain.monitoring.quarantine import UnreadableError

MAX_LINE = 4 << 20  # bytes; a record of Firehose has at most 1,000 KiB
MAX_UNPACKED = 512 << 20  # bytes of an object; Firehose gathers at most 128 MiB
_BLOCK_BYTES = 1 << 18


def blocks(file: gzip.GzipFile, *broken: type[Exception]) -> Iterator[bytes]:
    """Lines, many whole ones at a time.

    Args:
        file: what unpacks.
        broken: what it raises for damaged bytes beside gzip's own errors.

    Raises:
        UnreadableError: it is not gzip, is incomplete, or has more or longer lines than Firehose writes.
    """
    size = 0
    damaged: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, *broken)
    try:
        while block := file.read(_BLOCK_BYTES):
            block += file.readline(MAX_LINE)
            size += len(block)
            if size > MAX_UNPACKED or (len(block) >= MAX_LINE and block[-1:] != b"\n"):
                raise UnreadableError("unpacks to more than is ever stored")
            yield block
    except damaged:
        raise UnreadableError("is not a complete gzip file") from None


def lines(data: bytes) -> Iterator[bytes]:
    """Lines of an object. Raises as `blocks` does."""
    with gzip.GzipFile(fileobj=BytesIO(data)) as file:
        for block in blocks(file):
            yield from block.splitlines()
