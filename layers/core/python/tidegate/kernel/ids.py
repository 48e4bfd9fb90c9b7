"""What names of models and datasets can be; and identifiers that sort by time, made from a time and randomness that are
both arguments."""

import re
from datetime import UTC, datetime, timedelta

DOCTOR_PREFIX = "tidegate-doctor-"  # of models and datasets that `tidegate doctor` makes and removes, and nobody else
DOCTOR = "tidegate doctor"  # their owner
NAME = "[a-z][a-z0-9-]{0,62}"  # of a model or a dataset; paths and keys are made of it
NAME_FORM = "names consist of lower-case letters, digits and dashes, and begin with a letter"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
RANDOM_BYTES = 8
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # two bits of it are the variant's
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def uuid7(at: datetime, randomness: bytes) -> str:
    """UUID version 7 (RFC 9562): milliseconds, then the microseconds within (method 3), then 62 random bits.

    `randomness` is `RANDOM_BYTES` long.
    """
    return uuid7s(at, randomness[:RANDOM_BYTES])[0]


def uuid7s(at: datetime, randomness: bytes) -> list[str]:
    """One for each `RANDOM_BYTES` of `randomness`, all of one moment."""
    milliseconds, microseconds = divmod((at - _EPOCH) // _MICROSECOND, 1000)
    first, fraction = f"{milliseconds:012x}", (microseconds << 12) // 1000
    head = f"{first[:8]}-{first[8:]}-7{fraction:03x}-"
    digits = randomness.hex()
    return [
        f"{head}{_VARIANT[digits[start]]}{digits[start + 1 : start + 4]}-{digits[start + 4 : start + 16]}"
        for start in range(0, len(digits), 2 * RANDOM_BYTES)
    ]


def uuid7_time(text: str) -> datetime:
    """When a UUID of version 7 (in lower case) was made, to the millisecond; raises ValueError for anything else."""
    if not UUID7.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not a UUID of version 7")
    try:
        return _EPOCH + timedelta(milliseconds=int(text[:8] + text[9:13], 16))
    except OverflowError:
        raise ValueError(f"{text} has a time beyond the calendar") from None


def run_id(at: datetime, chance: str) -> str:
    """`r-20260105t123015123-4f9c2a`: sorts by time, is readable and a valid name of an execution.

    `chance` (hex digits) keeps two runs of one millisecond apart.
    """
    utc = at.astimezone(UTC)
    return f"r-{utc:%Y%m%dt%H%M%S}{utc.microsecond // 1000:03d}-{chance}"
