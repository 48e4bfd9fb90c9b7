"""Captured predictions there and back, in memory and on AWS; and the policy as the registry has it."""

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.adapters.conftest import BUCKET, TABLE, client_of
from tests.builders.captures import asked as served
from tests.builders.captures import capture, feedback, lines, rollout, sure
from tests.builders.specs import spec_document
from tidegate.aws.capture_log import DynamoCapturePolicies, FirehoseCaptures
from tidegate.aws.captures import S3CaptureReader
from tidegate.aws.evidence import S3ArmsReader
from tidegate.aws.lookup import S3CaptureLookup
from tidegate.aws.registry import DynamoCatalog, DynamoRegistry
from tidegate.aws.serving import CaptureStream
from tidegate.aws.table import Table
from tidegate.domain.data.dataset import Dataset
from tidegate.domain.rollout.rollout import Evidence, Rollout
from tidegate.domain.serving.capture import Capture, CapturePolicy
from tidegate.kernel.errors import NotFoundError, RequestInvalidError
from tidegate.kernel.ids import uuid7
from tidegate.kernel.prefixes import CAPTURES, FEEDBACK
from tidegate.spec.model import ModelSpec
from tidegate.testing.platform import FixedClock
from tidegate.testing.serving import InMemoryCaptures

AT = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
STREAM = "captures"


class Silent:
    def count(self, name: str, value: float = 1, **by: str) -> None:
        raise AssertionError(name)

    def warn(self, message: str, **facts: object) -> None:
        raise AssertionError(message, facts)


class Everything:
    def policy(self, model: str) -> CapturePolicy:
        return CapturePolicy()


def asked(minute: int, rows: int = 2, model: str = "flight-delay") -> Capture:
    at = AT + timedelta(minutes=minute)
    predictions = [{"id": uuid7(at, bytes([row] * 8)), "score": row / 10} for row in range(rows)]
    return capture(rows, model=model, at=at, predictions=predictions)


@pytest.fixture
def captures(where: str) -> Any:
    """A log and a reader of what went into it."""
    return InMemoryCaptures() if where == "memory" else S3CaptureReader(BUCKET)


@pytest.fixture
def keep(where: str, captures: Any, request: pytest.FixtureRequest) -> Callable[[Capture], None]:
    """Offer a capture and see it delivered."""

    def through_firehose(one: Capture) -> None:
        log = FirehoseCaptures(CaptureStream(STREAM), policies=Everything(), signals=Silent())
        log.offer(one)
        log.deliver(5.0)
        _partition_as_firehose_does()

    if where == "aws":
        request.getfixturevalue("over_http")
        _stream()
        return through_firehose
    return captures.offer


def _stream() -> None:
    client_of("firehose").create_delivery_stream(
        DeliveryStreamName=STREAM,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{BUCKET}",
            "Prefix": "raw/",
        },
    )


def _partition_as_firehose_does() -> None:
    """moto writes what it takes as it is; tests/local has the whole of it."""
    s3 = client_of("s3")
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="raw/").get("Contents", []):
        data = s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        first = json.loads(data.splitlines()[0])
        name = f"model={first['model']}/hour={first['hour']}/{entry['Key'].rpartition('/')[2]}.jsonl.gz"
        s3.put_object(Bucket=BUCKET, Key=CAPTURES + name, Body=gzip.compress(data))


def test_captures_come_back_by_model_and_hour_newest_first_and_each_once(
    captures: Any, keep: Callable[[Capture], None]
) -> None:
    for one in (asked(0), asked(1), asked(1), asked(45), asked(2, model="other")):
        keep(one)
    found = read(captures, "2026-01-05-12")
    wanted = [prediction["id"] for one in (asked(0), asked(1)) for prediction in one.predictions]
    assert [record["id"] for record in found] == sorted(wanted, reverse=True)
    assert {record["schema"] for record in found} == {1}
    assert len(read(captures, "2026-01-05-13")) == 2
    assert read(captures, "2026-01-05-11") == []


def test_a_place_leads_to_what_is_behind_it_and_what_is_captured_meanwhile_moves_nothing(
    captures: Any, keep: Callable[[Capture], None]
) -> None:
    for minute in range(3):
        keep(asked(minute, 3))
    whole = list(captures.walk("flight-delay", "2026-01-05-12"))
    keep(asked(20))
    for number, (place, _) in enumerate(whole):
        assert list(captures.walk("flight-delay", "2026-01-05-12", place)) == whole[number + 1 :]


def read(captures: Any, hour: str) -> list[dict[str, Any]]:
    return [record for _, record in captures.walk("flight-delay", hour)]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("newest_in", ["a", "z"])
def test_of_objects_written_in_the_same_second_any_may_hold_the_newest(newest_in: str) -> None:
    for name, ids in {newest_in: ["id-3"], "m": ["id-1", "id-2"]}.items():
        body = "\n".join(json.dumps({"id": each}) for each in ids).encode()
        key = f"{CAPTURES}model=flight-delay/hour=2026-01-05-12/captures-1-2026-01-05-12-00-00-{name}-0-0-0-0.gz"
        client_of("s3").put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(body))
    found = read(S3CaptureReader(BUCKET), "2026-01-05-12")
    assert [record["id"] for record in found] == ["id-3", "id-2", "id-1"]


@pytest.mark.usefixtures("aws")
def test_a_walk_reads_only_the_objects_that_it_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for minute in range(6):
        put(AT.replace(minute=minute), {"id": f"id-{minute}"})
    reader, fetched = S3CaptureReader(BUCKET), []
    fetch = reader._read
    monkeypatch.setattr(reader, "_read", lambda key: fetched.append(key) or fetch(key))
    walk = reader.walk("m", "2026-01-05-12")
    places = [next(walk)[0], next(walk)[0]]
    behind = reader.walk("m", "2026-01-05-12", places[1])
    assert next(behind)[1]["id"] == "id-3"
    assert [key.split("-")[-7] for key in fetched] == ["05", "04", "04", "03"]


@pytest.mark.usefixtures("over_http")
def test_a_record_says_what_the_delivery_before_it_took() -> None:
    _stream()
    log = FirehoseCaptures(CaptureStream(STREAM), policies=Everything(), signals=Silent())
    log.offer(asked(0))
    started = time.monotonic()
    log.deliver(5.0, 20.0)
    took = 1e3 * (time.monotonic() - started)
    log.offer(asked(1))
    log.deliver(5.0, 30.0)
    _partition_as_firehose_does()
    second, _, first, _ = read(S3CaptureReader(BUCKET), "2026-01-05-12")
    assert first["billed_ms"] == pytest.approx(20.0)
    assert 30.0 < second["billed_ms"] <= 30.0 + took


# One of them


@pytest.fixture
def lookup(where: str, captures: Any) -> Any:
    return captures if where == "memory" else S3CaptureLookup(BUCKET)


def test_a_capture_is_found_by_its_id_in_the_hours_around_its_time(
    lookup: Any, keep: Callable[[Capture], None]
) -> None:
    for one in (asked(0, 3), asked(45), asked(2, model="other")):
        keep(one)
    wanted = asked(0, 3).predictions[1]["id"]
    hour = timedelta(hours=1)
    found = lookup.find("flight-delay", wanted, at=AT, reach=hour)
    assert (found["id"], found["model"], found["hour"]) == (wanted, "flight-delay", "2026-01-05-12")
    assert lookup.find("flight-delay", wanted, at=AT - hour, reach=hour) == found
    assert lookup.find("flight-delay", wanted, at=AT + hour, reach=hour) == found
    assert lookup.find("flight-delay", wanted, at=AT + 2 * hour, reach=hour) is None
    assert lookup.find("flight-delay", wanted, at=AT - 2 * hour, reach=hour) is None
    assert lookup.find("other", wanted, at=AT, reach=hour) is None


def put(begun: datetime, *found: dict[str, Any]) -> None:
    """An object of captures as Firehose names and writes it."""
    name = f"tidegate-dev-captures-1-{begun:%Y-%m-%d-%H-%M-%S}-5f0c1d2e-7b1a-4c3d-8e9f-0a1b2c3d4e5f.jsonl.gz"
    data = gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in found))
    client_of("s3").put_object(Bucket=BUCKET, Key=f"{CAPTURES}model=m/hour={begun:%Y-%m-%d-%H}/{name}", Body=data)


def test_an_id_that_only_stands_in_another_record_s_inputs_is_not_found(aws: None) -> None:
    put(AT, {"id": "a", "inputs": {"trip": "b"}}, {"id": "c", "inputs": {}})
    lookup = S3CaptureLookup(BUCKET)
    assert lookup.find("m", "b", at=AT, reach=timedelta(hours=1)) is None
    assert lookup.find("m", "c", at=AT, reach=timedelta(hours=1)) == {"id": "c", "inputs": {}}


def test_objects_begun_nearest_to_the_time_are_searched_first_and_no_more_than_a_search_may(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(60):
        put(AT.replace(minute=minute), {"id": f"id-{minute}"})
    monkeypatch.setattr("tidegate.aws.lookup.MAX_SEARCHED_BYTES", 300)
    lookup = S3CaptureLookup(BUCKET)
    for minute in (3, 30, 58):
        at = AT.replace(minute=minute)
        assert lookup.find("m", f"id-{minute}", at=at, reach=timedelta(hours=1)) == {"id": f"id-{minute}"}
    with pytest.raises(RequestInvalidError, match="more captures around the prediction's time") as caught:
        lookup.find("m", "id-3", at=AT.replace(minute=50), reach=timedelta(hours=1))
    assert "of 60 objects" in str(caught.value)


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.parse(spec_document(**changes))


@pytest.fixture
def policies(aws: None) -> DynamoCapturePolicies:
    return DynamoCapturePolicies(Table(TABLE))


def test_the_policy_is_that_of_the_current_spec_and_of_its_dataset(policies: DynamoCapturePolicies) -> None:
    registry = DynamoRegistry(TABLE)
    registry.apply(spec(), author="ana", at=AT)
    assert policies.policy("flight-delay") == CapturePolicy()
    about = Dataset("flights", "PyPI", "CC0", "ops", ("carrier", "tailnum"), (), None, "ana", AT)
    DynamoCatalog(TABLE).put_dataset(about)
    assert policies.policy("flight-delay").mask == {"carrier", "tailnum"}
    registry.apply(spec(capture={"sample": 0.5, "keep": ["carrier"], "drop": ["hour"]}), author="ana", at=AT)
    changed = policies.policy("flight-delay")
    assert (changed.sample, changed.mask, changed.drop) == (0.5, {"tailnum"}, {"hour"})


def test_a_model_that_is_not_there_has_no_policy(policies: DynamoCapturePolicies) -> None:
    with pytest.raises(NotFoundError):
        policies.policy("nobody")


# Evidence of a rollout


HOUR = "2026-01-05-12"
LATER = "2026-01-05-13"


class Looking:
    """A rollout that is looked at again and again, with objects put before it as Firehose writes them."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.clock = FixedClock(AT)
        self._reader = S3ArmsReader(BUCKET, clock=self.clock)
        self._written = 0

    def write(self, found: list[dict[str, Any]], *, hour: str = HOUR, prefix: str = CAPTURES, model: str = "") -> str:
        self._written += 1
        name = f"tidegate-dev-captures-1-2026-01-05-12-30-00-{self._written:06d}.jsonl.gz"
        key = f"{prefix}model={model or self.rollout.model}/hour={hour}/{name}"
        data = b"".join(json.dumps(record).encode() + b"\n" for record in found)
        client_of("s3").put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(data))
        return key

    def report(self, *labels: dict[str, Any], hour: str = HOUR) -> None:
        self.write(list(labels), hour=hour, prefix=FEEDBACK)

    def look(self) -> Evidence:
        evidence = self._reader.since_last_look(self.rollout)
        self.rollout = replace(self.rollout, fetched=evidence.fetched or self.rollout.fetched)
        return evidence

    def requests(self) -> list[int]:
        """To the candidate, by look."""
        return [look.candidate.requests for look in self.look().looks]

    def losses(self) -> list[int]:
        return [look.candidate.losses for look in self.look().looks]


@pytest.fixture
def looking(aws: None) -> Looking:
    return Looking(rollout())


def test_each_object_is_counted_once_whenever_it_comes(looking: Looking) -> None:
    assert looking.requests() == []
    looking.write(lines([served(), served()]))
    looking.write(lines([served()]), hour=LATER)
    assert looking.requests() == [3]
    assert looking.requests() == []
    looking.write(lines([served()]))
    assert looking.requests() == [1]
    assert looking.requests() == []


BROKEN_RECORDS: list[Any] = [
    {"id": None}, {"id": 3, "arm": []}, {"reason": None}, {"score": None}, {"score": "x"}, {"latency_ms": "slow"},
    {"violations": None, "score": {}}, {"route": "5"}, {"schema": 0}, {"schema": 9},
]  # fmt: skip


@pytest.mark.parametrize("bad", BROKEN_RECORDS, ids=str)
def test_a_broken_record_does_not_stop_a_look_and_the_others_count(looking: Looking, bad: dict[str, Any]) -> None:
    fine, other = lines([served(), served()])
    looking.write([fine, other | bad])
    looking.write(lines([served()]))
    evidence = looking.look()
    (look,) = evidence.looks
    assert look.candidate.requests in {2, 3}  # of the broken one, at most that it was asked
    assert looking.requests() == []


@pytest.mark.parametrize(
    "bytes_",
    [b"\x1f\x8b\x08garbage", b"{}", gzip.compress(b"{\n[1]\n\xff\n", mtime=0)],
    ids=["damaged", "no gzip", "no records"],
)
@pytest.mark.parametrize("prefix", [CAPTURES, FEEDBACK])
def test_a_broken_object_does_not_stop_a_look(looking: Looking, prefix: str, bytes_: bytes) -> None:
    key = looking.write([], prefix=prefix)
    client_of("s3").put_object(Bucket=BUCKET, Key=key, Body=bytes_)
    (known,) = lines([served()])
    looking.write([known])
    now = AT.isoformat()
    said = {"id": known["id"], "time": now, "reported": now, "outcome": True}
    looking.report(said | {"time": "soon"}, said | {"id": "p"}, said)
    assert looking.requests() == [1]
    assert looking.requests() == []


@pytest.mark.usefixtures("aws")
def test_people_see_the_captures_that_can_be_read() -> None:
    folder = f"{CAPTURES}model=flight-delay/hour=2026-01-05-12/tidegate-dev-captures-1-2026-01-05-12-30-00-"
    whole = json.dumps({"id": "p1", "schema": 1}).encode() + b"\n"
    mixed = b'[]\n{\n{"id":"p3","schema":9}\n' + whole.replace(b"p1", b"p2")
    for name, data in {"a": b"no gzip", "b": gzip.compress(whole), "c": gzip.compress(mixed)}.items():
        client_of("s3").put_object(Bucket=BUCKET, Key=f"{folder}{name}.jsonl.gz", Body=data)
    assert [record["id"] for record in read(S3CaptureReader(BUCKET), "2026-01-05-12")] == ["p2", "p1"]


def test_evidence_is_the_same_until_it_is_written_down(looking: Looking) -> None:
    looking.write(lines([served(3)]))
    reader = S3ArmsReader(BUCKET, clock=looking.clock)
    assert reader.since_last_look(looking.rollout) == reader.since_last_look(looking.rollout) == looking.look()


def test_only_the_rollouts_own_model_and_revisions_count(looking: Looking) -> None:
    tricky = served(route=4, instances=[{"route": 5, "id": "x"}])
    looking.write(lines([served(route=4), served(route=55), served(), tricky]))
    looking.write(lines([served()]), model="flight-delay-2")
    looking.write([{name: value for name, value in record.items() if name != "route"} for record in lines([served()])])
    assert looking.requests() == [1]


def test_hours_from_two_before_to_two_after_the_clock_are_read(looking: Looking) -> None:
    for hour in ("2026-01-05-09", "2026-01-05-10", "2026-01-05-14", "2026-01-05-15", "2027-01-01-00"):
        looking.write(lines([served()]), hour=hour)
    assert looking.requests() == [2]
    assert set(looking.rollout.fetched) == {"2026-01-05-10", HOUR, "2026-01-05-14"}


def test_an_hour_that_was_counted_from_is_read_on_until_it_is_forgotten_and_never_counted_again(
    looking: Looking,
) -> None:
    looking.write(lines([served()]))
    assert looking.requests() == [1]
    looking.clock.move(hours=4)
    looking.write(lines([served(), served()]))
    assert looking.requests() == [2]
    assert HOUR in looking.rollout.fetched
    for _ in range(3):
        looking.clock.move(hours=1)
        assert looking.requests() == []
    assert HOUR not in looking.rollout.fetched
    looking.clock.move(days=3)
    assert looking.requests() == []


def test_where_looks_are_far_apart_it_is_read_further_back(looking: Looking) -> None:
    daily = replace(looking.rollout, plan=replace(looking.rollout.plan, look_seconds=86_400))
    looking.write(lines([served()]), hour="2026-01-04-13")
    assert looking.requests() == []
    looking.rollout = daily
    assert looking.requests() == [1]
    assert looking.requests() == []


def test_more_than_one_look_can_read_is_left_to_the_next(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.aws.evidence.MAX_CAPTURE_BYTES", 1)
    for hour in (LATER, HOUR, LATER):
        looking.write(lines([served(route=5 if hour == HOUR else 6)]), hour=hour)
    looking.rollout = replace(looking.rollout, route_revisions=(5, 6))
    looks = [look for _ in range(4) for look in looking.look().looks]
    assert [look.candidate.requests for look in looks] == [1, 1, 1]


def test_many_objects_are_read_each_to_its_end(looking: Looking) -> None:
    for _ in range(30):
        looking.write(lines([served(10, latency_ms=90.0), served(40, route=4)]))
    (look,) = looking.look().looks
    assert (look.candidate.requests, look.candidate.slow, sum(look.candidate.scores)) == (30, 30, 300)


def test_a_label_is_joined_with_its_capture_whichever_comes_first(looking: Looking) -> None:
    first, second = lines([served(**sure(true=0.8)), served(**sure(true=0.8))])
    looking.write([first])
    looking.report(feedback(first["id"], outcome=True, at=AT))
    looking.report(feedback(second["id"], outcome=True, at=AT))
    assert looking.losses() == [1]
    assert looking.losses() == []
    looking.write([second])
    assert looking.losses() == [1]
    assert looking.losses() == []


def test_a_label_that_comes_later_finds_a_capture_that_was_counted_before_and_counts_once(looking: Looking) -> None:
    (record,) = lines([served(**sure(true=0.8, false=0.2))])
    looking.write([record])
    assert looking.requests() == [1]
    looking.report(feedback(record["id"], outcome=True))
    (look,) = looking.look().looks
    assert (look.candidate.requests, look.candidate.losses, look.candidate.loss_millionths) == (0, 1, 40_000)
    looking.report(feedback(record["id"], outcome=False))
    assert looking.losses() == []


def test_labels_of_predictions_that_were_never_captured_are_given_up(looking: Looking) -> None:
    looking.report(feedback("nobody", outcome=True, at=AT))
    looking.look()
    assert looking.rollout.fetched == {HOUR: ()}
    looking.clock.move(minutes=11)
    looking.look()
    assert len(looking.rollout.fetched[HOUR]) == 1
