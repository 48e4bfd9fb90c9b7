"""Captured predictions on their way to S3: a bounded queue, then Firehose.

Delivery is at least once: when the answer to a call is lost, its records are sent again. Readers know copies by id.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tidegate.aws.items import Item, decode
from tidegate.domain.serving.capture import UNKNOWN, Capture, CapturePolicy, line, policy_of, records
from tidegate.formats.firehose import Packed, batches, packed
from tidegate.kernel.documents import DATASET, MODEL, SPEC
from tidegate.kernel.errors import NotFoundError, UnavailableError
from tidegate.kernel.partitions import Partition

if TYPE_CHECKING:
    from tidegate.ports.platform import Signals
    from tidegate.ports.serving import CapturePolicies

MAX_WAITING = 5_000  # predictions in the queue
MAX_WAITING_BYTES = 8 * 1024 * 1024  # encoded, not yet accepted by Firehose
POLICY_SECONDS = 60.0
ATTEMPTS = 3
PAUSE_SECONDS = (0.05, 0.2)  # between attempts; the records of one call fail by shard, so a short one helps
SULK_SECONDS = 15.0  # after a delivery that failed: the next responses are not each followed by time-outs


class Stream(Protocol):
    """What takes records: `tidegate.aws.serving.CaptureStream`."""

    @property
    def name(self) -> str:
        """For messages."""

    def put(self, records: Sequence[bytes]) -> list[bool]:
        """Whether each record is taken. UnavailableError: perhaps; any other fault: none is."""


class Items(Protocol):
    """Single items of the registry's table."""

    def get(self, pk: str, sk: str) -> Item | None:
        """One item or None."""


class FirehoseCaptures:
    """ports.CaptureLog. `offer` is for the handler, `deliver` for the thread that works after the response."""

    def __init__(
        self,
        stream: Stream,
        *,
        policies: "CapturePolicies",
        signals: "Signals",
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stream = stream
        self._policies = policies
        self._signals = signals
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._queue: deque[Capture] = deque()
        self._waiting = 0
        self._dropped = 0
        self._masked = 0
        self._left_before = 0  # predictions that waited after the delivery before
        self._unsent: list[Packed] = []
        self._known: dict[str, tuple[CapturePolicy, float]] = {}
        self._not_before = 0.0
        self._offered = 0  # since the last response
        self._owed_ms = 0.0  # spent after responses, and in no record yet

    def offer(self, capture: Capture) -> None:
        """See ports.CaptureLog. When the queue is full, this one is dropped and counted."""
        rows = len(capture.predictions)
        with self._lock:
            if self._waiting + rows > MAX_WAITING:
                self._dropped += rows
                return
            self._waiting += rows
            self._offered += 1
            self._queue.append(capture)

    def deliver(self, seconds: float, handled_ms: float = 0.0) -> None:
        """Send what waits, within `seconds`; what Firehose does not take stays for the next time, up to a bound.

        The invocation has taken `handled_ms` so far. How long this delivery takes is known only after it: the record of
        the next request reports that, so that the records of an environment together show all of its time but the last.
        """
        started = self._monotonic()
        self._bill(handled_ms)
        if seconds > 0 and started >= self._not_before:
            until = started + seconds
            self._unsent += self._encoded(self._taken(), until)
            self._send(until)
        self._report()
        self._owed_ms += 1e3 * (self._monotonic() - started)

    def owe(self, seconds: float) -> None:
        """So much was spent after a response beside delivery: the record of the next request reports it."""
        self._owed_ms += 1e3 * seconds

    def _bill(self, handled_ms: float) -> None:
        """The invocation's time is that of the request it answered: an environment has one at a time."""
        with self._lock:
            if self._offered:
                self._queue[-1] = replace(self._queue[-1], billed_ms=handled_ms + self._owed_ms)
                self._owed_ms = 0.0
            self._offered = 0

    def _taken(self) -> list[Capture]:
        with self._lock:
            taken = list(self._queue)
            self._queue.clear()
            self._waiting = 0
        return taken

    def _encoded(self, captures: Sequence[Capture], until: float) -> list[Packed]:
        lines: list[bytes] = []
        for capture in captures:
            try:
                policy = self._policy(capture.model, until)
                lines += [line(record) for record in records(capture, policy)]
                self._masked += len(capture.predictions) if policy is UNKNOWN else 0
            except Exception as error:  # noqa: BLE001  the request was answered, and others wait behind this one
                self._signals.warn("a capture cannot be written", model=capture.model, why=type(error).__name__)
                self._drop(len(capture.predictions))
        found, too_long = packed(lines)
        self._drop(too_long)
        return found

    def _policy(self, model: str, until: float) -> CapturePolicy:
        """Kept for a minute. While it cannot be read, the last known one holds; with none known, inputs are hidden, so
        it is asked for several times."""
        policy, fresh_until = self._known.get(model, (UNKNOWN, 0.0))
        if self._monotonic() >= fresh_until:
            policy, why = self._read_policy(model, policy, until)
            if why:
                self._signals.warn("the capture policy cannot be read", model=model, why=why)
            fresh_until = self._monotonic() + (POLICY_SECONDS if policy is not UNKNOWN else SULK_SECONDS)
            self._known[model] = policy, fresh_until
        return policy

    def _read_policy(self, model: str, known: CapturePolicy, until: float) -> tuple[CapturePolicy, str]:
        """The policy, or the known one and why there is no other."""
        why = "no time was left"
        for attempt in range(ATTEMPTS if known is UNKNOWN else 1):
            if attempt and self._monotonic() + PAUSE_SECONDS[attempt - 1] < until:
                self._sleep(PAUSE_SECONDS[attempt - 1])
            if self._monotonic() >= until:
                break
            try:
                return self._policies.policy(model), ""
            except Exception as error:  # noqa: BLE001  whatever it is, nothing may be kept that is not known to be allowed
                why = type(error).__name__
        return known, why

    def _send(self, until: float) -> None:
        waiting, self._unsent = self._unsent, []
        failed = False
        for batch in batches(waiting):
            left = batch if failed else self._put(batch, until)
            failed = failed or bool(left)
            self._keep(left)
        if failed:
            self._not_before = self._monotonic() + SULK_SECONDS

    def _put(self, batch: list[Packed], until: float) -> list[Packed]:
        """The records of a batch that Firehose has not taken."""
        for attempt in range(ATTEMPTS):
            try:
                taken = self._stream.put([each.data for each in batch])
                batch = [each for each, kept in zip(batch, taken, strict=True) if not kept]
            except UnavailableError:
                pass
            except Exception as error:  # noqa: BLE001  whatever it is, what waits is tried again later
                why = getattr(error, "code", type(error).__name__)
                self._signals.warn("captures are rejected", stream=self._stream.name, why=why)
                return batch
            if not batch or attempt == ATTEMPTS - 1 or self._monotonic() + PAUSE_SECONDS[attempt] >= until:
                break
            self._sleep(PAUSE_SECONDS[attempt])
        return batch

    def _keep(self, left: Sequence[Packed]) -> None:
        size = sum(len(each.data) for each in self._unsent)
        for each in left:
            if size + len(each.data) > MAX_WAITING_BYTES:
                self._drop(each.lines)
            else:
                self._unsent.append(each)
                size += len(each.data)

    def _drop(self, predictions: int) -> None:
        with self._lock:
            self._dropped += predictions

    def _report(self) -> None:
        """What is dropped, masked since its policy is not known, or begins or ceases to wait: what waits in an
        environment that Lambda ends is lost, and the sum of `CapturesWaiting` shows it."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            left = self._waiting + sum(each.lines for each in self._unsent)
        masked, self._masked = self._masked, 0
        counts = {"CapturesDropped": dropped, "CapturesMasked": masked, "CapturesWaiting": left - self._left_before}
        if left > self._left_before:
            self._signals.warn("captures wait for the next request to this environment", predictions=left)
        self._left_before = left
        for name, number in counts.items():
            if number:
                self._signals.count(name, number)


@dataclass(frozen=True, slots=True)
class _Header:
    FORM: ClassVar = MODEL

    spec_digest: str


@dataclass(frozen=True, slots=True)
class _Spec:
    FORM: ClassVar = SPEC

    document: str


@dataclass(frozen=True, slots=True)
class _Personal:
    FORM: ClassVar = DATASET

    pii: tuple[str, ...] = ()


class DynamoCapturePolicies:
    """ports.CapturePolicies from the registry's table: the current spec and its dataset, without a schema library."""

    def __init__(self, table: Items) -> None:
        self._table = table

    def policy(self, model: str) -> CapturePolicy:
        """See ports.CapturePolicies."""
        digest = self._read(_Header, Partition.MODELS, model).spec_digest
        spec = json.loads(self._read(_Spec, Partition.SPEC.of(model), f"SPEC#{digest}").document)
        personal: tuple[str, ...] = ()
        with suppress(NotFoundError):  # a spec may come before its dataset
            personal = self._read(_Personal, Partition.DATASETS, spec["dataset"]).pii
        return policy_of(spec.get("capture", {}), personal)

    def _read(self, kind: Any, pk: str, sk: str) -> Any:
        item = self._table.get(pk, sk)
        if item is None:
            raise NotFoundError(f"the registry has no {pk} {sk}")
        return decode(kind, item)
