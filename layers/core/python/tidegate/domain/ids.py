"""Identifiers that sort by time, made from a time and randomness that are both arguments."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
RANDOM_BYTES = 8
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def uuid7(at: datetime, randomness: bytes) -> str:
    """UUID version 7 (RFC 9562): milliseconds, then the microseconds within (method 3), then 62 random bits.

    `randomness` is `RANDOM_BYTES` long.
    """
    milliseconds, microseconds = divmod((at - _EPOCH) // _MICROSECOND, 1000)
    fraction = (microseconds << 12) // 1000
    tail = int.from_bytes(randomness[:RANDOM_BYTES]) & ((1 << 62) - 1)
    digits = f"{milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | tail:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7_time(text: str) -> datetime:
    """When a UUID of version 7 (in lower case) was made, to the millisecond; raises ValueError for anything else."""
    if not _UUID7.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no UUID of version 7")
    try:
        return _EPOCH + timedelta(milliseconds=int(text[:8] + text[9:13], 16))
    except OverflowError:
        raise ValueError(f"{text} is of a time that no calendar here has") from None


def run_id(at: datetime, chance: str) -> str:
    """`r-20260105t123015123-4f9c2a`: sorts by time, is readable and a valid name of an execution.

    `chance` (hex digits) keeps two runs of one millisecond apart.
    """
    utc = at.astimezone(UTC)
    return f"r-{utc:%Y%m%dt%H%M%S}{utc.microsecond // 1000:03d}-{chance}"
