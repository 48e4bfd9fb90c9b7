"""The queue behind `offer` and what becomes of it when Firehose, or the registry, does not do its part."""

import time
from dataclasses import dataclass, field

import pytest

from tests.builders.captures import capture
from tests.builders.firehose import Policies, Stream
from tidegate.aws.capture_log import ATTEMPTS, MAX_WAITING, MAX_WAITING_BYTES, SULK_SECONDS, FirehoseCaptures
from tidegate.aws.signed import CallRefusedError
from tidegate.domain.serving.capture import MASK, CapturePolicy
from tidegate.kernel.errors import NotFoundError, UnavailableError
from tidegate.testing.platform import RecordedSignals


@dataclass
class CaptureQueue:
    stream: Stream = field(default_factory=Stream)
    signals: RecordedSignals = field(default_factory=RecordedSignals)
    policies: Policies = field(default_factory=Policies)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.log = FirehoseCaptures(
            self.stream,
            policies=self.policies,
            signals=self.signals,
            monotonic=lambda: self.now,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def dropped(self) -> float:
        return self.signals.counts.get("CapturesDropped", 0)


@pytest.fixture
def house() -> CaptureQueue:
    return CaptureQueue()


BUSY = UnavailableError("firehose is busy: ServiceUnavailableException")
DENIED = CallRefusedError("firehose", 400, "AccessDeniedException")
LATE = UnavailableError("firehose did not answer: TimeoutError")


def test_what_is_offered_is_delivered_once(house: CaptureQueue) -> None:
    house.log.offer(capture(2))
    house.log.offer(capture(1))
    assert house.stream.calls == 0
    house.log.deliver(1.0)
    house.log.deliver(1.0)
    assert [record["id"] for record in house.stream.records] == ["id-0", "id-1", "id-0"]
    assert (house.stream.calls, house.dropped) == (1, 0)


def billed(house: CaptureQueue) -> list[float]:
    return [record["billed_ms"] for record in house.stream.records]


def test_a_record_shows_its_invocation_and_the_delivery_before_it(house: CaptureQueue) -> None:
    house.stream.answers = [lambda _: house.sleep(0.03) or set(), lambda _: house.sleep(0.01) or set()]
    for handled_ms in (20.0, 25.0, 30.0):
        house.log.offer(capture(2))
        house.log.deliver(1.0, handled_ms)
    assert billed(house) == pytest.approx([20, 20, 25 + 30, 25 + 30, 30 + 10, 30 + 10])


def test_time_after_requests_without_a_capture_is_reported_by_the_next_one(house: CaptureQueue) -> None:
    house.stream.answers = [lambda _: house.sleep(0.03) or set()]
    house.log.offer(capture())
    house.log.deliver(1.0, 20.0)
    house.log.deliver(1.0, 5.0)  # a health check
    house.log.offer(capture())
    house.log.deliver(1.0, 25.0)
    assert billed(house) == pytest.approx([20, 25 + 30])


def test_what_follows_a_delivery_is_reported_by_the_next_request_too(house: CaptureQueue) -> None:
    house.log.offer(capture())
    house.log.deliver(1.0, 20.0)
    house.log.owe(0.04)
    house.log.offer(capture())
    house.log.deliver(1.0, 25.0)
    assert billed(house) == pytest.approx([20, 25 + 40])


def test_captures_that_wait_keep_the_time_of_their_own_invocation(house: CaptureQueue) -> None:
    house.stream.answers = [DENIED]
    for handled_ms in (20.0, 25.0):
        house.log.offer(capture())
        house.log.deliver(1.0, handled_ms)
    house.now += SULK_SECONDS
    house.log.deliver(1.0)
    assert billed(house) == pytest.approx([20, 25])


def test_only_the_records_that_failed_are_sent_again(house: CaptureQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.formats.firehose.MAX_RECORD_LINES", 1)
    house.stream.answers = [lambda _: {1, 2}, lambda data: {1}]
    house.log.offer(capture(4))
    house.log.deliver(1.0)
    assert sorted(record["id"] for record in house.stream.records) == ["id-0", "id-1", "id-2", "id-3"]
    assert (house.stream.calls, house.dropped) == (3, 0)


@pytest.mark.parametrize("fault", [BUSY, LATE])
def test_a_call_that_failed_is_tried_again(house: CaptureQueue, fault: Exception) -> None:
    house.stream.answers = [fault, fault]
    house.log.offer(capture())
    house.log.deliver(1.0)
    assert len(house.stream.records) == 1


def test_when_firehose_stays_away_captures_wait_and_responses_are_not_each_followed_by_time_outs(
    house: CaptureQueue,
) -> None:
    house.stream.answers = [LATE] * ATTEMPTS
    house.log.offer(capture())
    house.log.deliver(1.0)
    house.log.offer(capture())
    house.log.deliver(1.0)
    assert (house.stream.calls, house.stream.records) == (ATTEMPTS, [])
    house.now += SULK_SECONDS
    house.log.deliver(1.0)
    assert len(house.stream.records) == 2
    assert house.dropped == 0


def test_a_refusal_is_not_repeated_at_once_and_is_said_without_inputs(house: CaptureQueue) -> None:
    house.stream.answers = [DENIED]
    house.log.offer(capture())
    house.log.deliver(1.0)
    assert house.stream.calls == 1
    assert house.signals.said == [
        "captures are rejected {'stream': 'captures', 'why': 'AccessDeniedException'}",
        "captures wait for the next request to this environment {'predictions': 1}",
    ]


def test_no_attempt_begins_when_time_is_up(house: CaptureQueue) -> None:
    house.stream.answers = [BUSY] * ATTEMPTS
    house.log.offer(capture())
    house.log.deliver(0.01)
    assert house.stream.calls == 1


def test_without_any_time_nothing_is_sent_and_nothing_lost(house: CaptureQueue) -> None:
    house.log.offer(capture())
    house.log.deliver(-1.0)
    assert house.stream.calls == 0
    house.log.deliver(1.0)
    assert len(house.stream.records) == 1


def test_a_full_queue_drops_the_newest_and_counts_them(house: CaptureQueue) -> None:
    for _ in range(MAX_WAITING // 1_000):
        house.log.offer(capture(1_000))
    house.log.offer(capture(3, model="late"))
    house.log.deliver(1.0)
    assert {record["model"] for record in house.stream.records} == {"flight-delay"}
    assert len(house.stream.records) == MAX_WAITING
    assert house.dropped == 3
    house.log.deliver(1.0)
    assert house.dropped == 3


def test_what_firehose_does_not_take_is_kept_up_to_a_bound(house: CaptureQueue) -> None:
    big = capture(2_000, instances=[{"text": "x" * 5_000}] * 2_000)
    house.stream.answers = [LATE] * ATTEMPTS
    house.log.offer(big)
    house.log.deliver(1.0)
    assert house.dropped > 0
    house.now += SULK_SECONDS
    house.log.deliver(1.0)
    assert len(house.stream.records) + house.dropped == 2_000
    assert sum(map(len, house.stream.taken)) <= MAX_WAITING_BYTES


def test_a_capture_that_cannot_be_written_does_not_hold_up_the_others(house: CaptureQueue) -> None:
    house.log.offer(capture(instances=[{"odd": object()}]))
    house.log.offer(capture(instances=[]))
    house.log.offer(capture())
    house.log.deliver(1.0)
    assert (len(house.stream.records), house.dropped) == (1, 2)
    assert house.signals.said[0] == "a capture cannot be written {'model': 'flight-delay', 'why': 'TypeError'}"
    assert len(house.signals.said) == 2


# What may be kept


def test_the_policy_is_asked_for_once_a_minute(house: CaptureQueue) -> None:
    for _ in range(3):
        house.log.offer(capture())
        house.log.deliver(1.0)
    assert house.policies.asked == 1
    house.now += 61
    house.policies.found = CapturePolicy(sample=0.0)
    house.log.offer(capture())
    house.log.deliver(1.0)
    assert (house.policies.asked, len(house.stream.records)) == (2, 3)


@pytest.mark.parametrize("fault", [UnavailableError("busy"), NotFoundError("none"), KeyError("spec")])
def test_inputs_are_hidden_while_the_policy_was_never_read(house: CaptureQueue, fault: Exception) -> None:
    house.policies.found = fault
    house.log.offer(capture())
    house.log.deliver(1.0)
    (record,) = house.stream.records
    assert set(record["inputs"].values()) == {MASK}
    assert "N1" not in "".join(house.signals.said)


def test_a_policy_once_read_holds_while_the_registry_is_away(house: CaptureQueue) -> None:
    house.policies.found = CapturePolicy(drop=frozenset({"tailnum"}))
    house.log.offer(capture())
    house.log.deliver(1.0)
    house.now += 61
    house.policies.found = UnavailableError("busy")
    house.log.offer(capture())
    house.log.deliver(1.0)
    assert [record["inputs"] for record in house.stream.records] == [{"carrier": "UA", "hour": 7}] * 2


def test_an_offer_takes_microseconds(house: CaptureQueue) -> None:
    one = capture(100)
    times = []
    for _ in range(40):
        started = time.perf_counter()
        house.log.offer(one)
        times.append(time.perf_counter() - started)
    assert sorted(times)[len(times) // 2] < 20e-6


def waiting(house: CaptureQueue) -> float:
    return house.signals.counts.get("CapturesWaiting", 0)


def test_what_waits_is_counted_until_it_is_sent(house: CaptureQueue) -> None:
    house.stream.answers = [LATE] * ATTEMPTS
    house.log.offer(capture(30))
    house.log.deliver(1.0)
    assert waiting(house) == 30
    assert house.signals.said == ["captures wait for the next request to this environment {'predictions': 30}"]
    house.log.offer(capture(2))
    house.log.deliver(1.0)  # too soon to try again
    assert waiting(house) == 32
    house.now += SULK_SECONDS
    house.log.deliver(1.0)
    assert (waiting(house), house.dropped, len(house.stream.records)) == (0, 0, 32)


def test_what_there_is_no_time_to_send_is_counted_as_waiting(house: CaptureQueue) -> None:
    house.log.offer(capture(30))
    house.log.deliver(-0.2)
    assert (house.stream.calls, waiting(house)) == (0, 30)
    house.log.deliver(1.0)
    assert (len(house.stream.records), waiting(house)) == (30, 0)


def test_of_a_sample_nothing_seems_to_wait_once_it_is_sent(house: CaptureQueue) -> None:
    house.policies.found = CapturePolicy(sample=0.1)
    house.log.offer(capture(30))
    house.log.deliver(-0.2)
    house.log.deliver(1.0)
    assert (len(house.stream.records) < 30, waiting(house)) == (True, 0)


def test_what_is_dropped_waits_no_longer(house: CaptureQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    house.stream.answers = [DENIED]
    house.log.offer(capture(30))
    house.log.deliver(-0.2)
    monkeypatch.setattr("tidegate.aws.capture_log.MAX_WAITING_BYTES", 0)
    house.log.deliver(1.0)
    assert (waiting(house), house.dropped) == (0, 30)


def test_rules_that_cannot_be_read_at_first_are_asked_for_again_before_anything_is_masked(house: CaptureQueue) -> None:
    house.policies.faults = [UnavailableError("dynamodb did not answer")] * 2
    house.log.offer(capture(3))
    house.log.deliver(1.0)
    assert MASK not in str(house.stream.records)
    assert "CapturesMasked" not in house.signals.counts


def test_predictions_whose_inputs_are_masked_since_the_rules_are_not_known_are_counted(house: CaptureQueue) -> None:
    house.policies.faults = [UnavailableError("dynamodb did not answer")] * ATTEMPTS
    house.log.offer(capture(100))
    house.log.deliver(1.0)
    assert str(house.stream.records).count(MASK) >= 100
    assert house.signals.counts["CapturesMasked"] == 100
    assert house.signals.said == [
        "the capture policy cannot be read {'model': 'flight-delay', 'why': 'UnavailableError'}"
    ]
