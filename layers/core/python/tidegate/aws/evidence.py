"""What both arms of a rollout did, read from the objects that captures and feedback are kept in."""

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from tidegate.aws.captures import listed
from tidegate.aws.clients import answering, s3
from tidegate.aws.unpacking import lines
from tidegate.domain.monitoring.quarantine import UnreadableError
from tidegate.domain.rollout.evidence import BROKEN, Labels, Tally
from tidegate.domain.rollout.rollout import MOST_LOOKS, Evidence, Rollout
from tidegate.domain.serving.capture import CAPTURE_RECORD, hour_of
from tidegate.domain.serving.feedback import FEEDBACK_RECORD
from tidegate.kernel.prefixes import CAPTURES, FEEDBACK
from tidegate.ports.platform import Clock

REACH = timedelta(hours=2)  # beyond the time between two looks: for late deliveries, and for clocks that differ
REMEMBERED = timedelta(hours=2)  # beyond the reach
MAX_CAPTURE_BYTES = 32 * 1024 * 1024  # packed, in one look: some 300,000 predictions
MAX_FEEDBACK_BYTES = 2 * 1024 * 1024  # packed, in one look
_THREADS = 8
_ID = re.compile(rb'"id"\s*:\s*"([^"]*)"')  # the first one of a line; names in `inputs` come later


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    hour: str
    size: int
    mark: str  # what `Rollout.fetched` calls it


class S3ArmsReader:
    """ports.ArmsReader over the objects of captures and feedback: gzip, one record a line.

    Feedback lies under `feedback/model=<model>/hour=<hour of the prediction>/`; docs/feedback.md has its records.

    Read are the hours from two before to two after this function's clock, and those that `Rollout.fetched` names; where
    the plan has longer pauses between looks, as much further back. What comes later than that counts for nothing,
    labels too. Captures beyond `MAX_CAPTURE_BYTES`, and feedback beyond its bound, are left to the next look, oldest
    first; to join labels with captures that were counted before, as many of these are read again, and as much feedback,
    so that a prediction's label counts once.

    Records that cannot be read, and what stands behind damaged bytes of an object, count for nothing; monitoring
    reports them. Nothing is written: who asks twice gets the same evidence, and what came in between.
    """

    def __init__(self, bucket: str, *, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock

    def since_last_look(self, rollout: Rollout) -> Evidence:
        """See ports.ArmsReader.

        Raises:
            UnavailableError: S3 does not answer; nothing is counted then.
        """
        now, reach = self._clock.now(), REACH + _pause(rollout)
        counted = {mark for marks in rollout.fetched.values() for mark in marks}
        first, last = min([hour_of(now - reach), *rollout.fetched]), hour_of(now + REACH)
        reported = self._listed(FEEDBACK, rollout.model, first, last)
        feedback = _within(MAX_FEEDBACK_BYTES, [each for each in reported if each.mark not in counted])
        labelled = {each.hour for each in feedback}
        before = _within(
            MAX_FEEDBACK_BYTES, [each for each in reported if each.mark in counted and each.hour in labelled]
        )
        captures = self._listed(CAPTURES, rollout.model, first, last)
        new = _within(MAX_CAPTURE_BYTES, [each for each in captures if each.mark not in counted])
        again = _within(
            MAX_CAPTURE_BYTES, [each for each in captures if each.mark in counted and each.hour in labelled]
        )

        tally, labels = Tally(rollout), Labels()
        for each, found in self._read(feedback):
            for line in found:
                with suppress(*BROKEN):
                    labels.report(each.key, FEEDBACK_RECORD.read(line))
        for _, found in self._read(before):
            for line in found:
                with suppress(*BROKEN):
                    labels.reported_before(FEEDBACK_RECORD.read(line))
        served = _served_under(rollout.route_revisions)
        for each, found in self._read([*new, *again]):
            _fold(found, tally, labels, served if each.mark not in counted else None)
        unsettled = labels.settle(tally, now)

        done = [*new, *(each for each in feedback if each.key not in unsettled)]
        return Evidence(tally.looks(), _remembered(rollout, done, hour_of(now), hour_of(now - reach - REMEMBERED)))

    def _listed(self, prefix: str, model: str, first: str, last: str) -> list[_Object]:
        """Objects of a model from hour to hour, in order."""
        return [
            _Object(key, hour, size, mark=hashlib.sha256(key.encode()).hexdigest()[:10])
            for key, hour, size in listed(self._bucket, prefix, model, first, last)
        ]

    def _read(self, objects: Sequence[_Object]) -> Iterator[tuple[_Object, Iterable[bytes]]]:
        """Objects with their lines, in order; a few are fetched ahead, packed as they are."""
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead: deque[tuple[_Object, Future[bytes]]] = deque()
            for each in objects:
                ahead.append((each, pool.submit(self._get, each.key)))
                if len(ahead) > _THREADS:
                    yield _unpacked(*ahead.popleft())
            while ahead:
                yield _unpacked(*ahead.popleft())

    def _get(self, key: str) -> bytes:
        with answering("S3"):
            return s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()


def _pause(rollout: Rollout) -> timedelta:
    """The longest time between two looks."""
    plan = rollout.plan
    longest = max(plan.shadow_seconds, plan.deadline_seconds, plan.probation_seconds)
    return timedelta(seconds=max(plan.look_seconds, longest / MOST_LOOKS))


def _within(limit: int, objects: Iterable[_Object]) -> list[_Object]:
    """The first ones, up to so many bytes; at least one."""
    taken: list[_Object] = []
    size = 0
    for each in objects:
        size += each.size
        if taken and size > limit:
            break
        taken.append(each)
    return taken


def _unpacked(each: _Object, data: Future[bytes]) -> tuple[_Object, Iterable[bytes]]:
    return each, _whole(lines(data.result()))


def _whole(found: Iterator[bytes]) -> Iterator[bytes]:
    """As far as they can be read."""
    with suppress(UnreadableError):
        yield from found


def _remembered(rollout: Rollout, done: Iterable[_Object], present: str, oldest: str) -> dict[str, tuple[str, ...]]:
    """What was counted so far, by hour, without what is older than `oldest`.

    The present hour is always there, for an empty mapping would not replace the one before.
    """
    marks = {present: set[str]()} | {hour: set(known) for hour, known in rollout.fetched.items()}
    for each in done:
        marks.setdefault(each.hour, set()).add(each.mark)
    return {hour: tuple(sorted(known)) for hour, known in sorted(marks.items()) if hour >= oldest}


def _served_under(revisions: Iterable[int]) -> re.Pattern[bytes]:
    """What lines of these route revisions have; others seldom do, so most need not be read as JSON."""
    return re.compile(rb'"route"\s*:\s*(?:%s)\b' % b"|".join(b"%d" % revision for revision in revisions))


def _fold(found: Iterable[bytes], tally: Tally, labels: Labels, served: re.Pattern[bytes] | None) -> None:
    """Count the captures that match `served`, and find those that have labels."""
    for line in found:
        counts = served is not None and served.search(line) is not None
        named = _ID.search(line) if labels else None
        is_labelled = named is not None and named[1].decode(errors="replace") in labels
        if counts or is_labelled:
            with suppress(*BROKEN):
                record = CAPTURE_RECORD.read(line)
                if counts:
                    tally.add(record)
                if is_labelled:
                    labels.found(record)
