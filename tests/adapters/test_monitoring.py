"""What ports.HealthRecords, Verdicts and Hours promise, held against the fakes and against DynamoDB and S3 (moto)."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.due import handler as due
from functions.monitor import handler as monitor
from tests.adapters.conftest import BUCKET, LEDGER, TABLE
from tests.builders.monitoring import FEATURES, Traffic
from tests.builders.registry import promoted, registered
from tests.builders.reported import reported
from tests.builders.specs import a_spec
from tests.builders.threads import at_once
from tests.context import CONTEXT
from tidegate.aws import unpacking
from tidegate.aws.clients import s3
from tidegate.aws.monitoring import DynamoHealthRecords, S3Hours, S3Verdicts, unpacked
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRoutes
from tidegate.aws.table import Table
from tidegate.domain.monitoring.health import Attempt, Health, HealthRecord, TrainingOutcome, Trigger
from tidegate.domain.monitoring.quarantine import UnreadableError, because
from tidegate.domain.registry.ledger import Seen
from tidegate.domain.serving.capture import Capture, CapturePolicy, hour_of, records
from tidegate.kernel.errors import ConflictError, NotFoundError, UnavailableError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import RunRef
from tidegate.ports.monitoring import Sources
from tidegate.testing.monitoring import InMemoryHealthRecords, InMemoryHours, InMemoryVerdicts

AT = datetime(2026, 1, 5, 12, 10, tzinfo=UTC)
LATER = AT + timedelta(days=1)
MODEL = "flight-delay"
FIRST = HealthRecord(
    MODEL,
    revision=1,
    health=Health.DRIFTED,
    since=AT,
    looked_at=AT,
    version=3,
    reasons=("wind has drifted",),
    attempts=(
        Attempt("r-1", Trigger.DRIFT, AT, TrainingOutcome.PROMOTED, AT + timedelta(hours=1)),
        Attempt("r-2", Trigger.QUALITY, AT),
    ),
    wanted=Trigger.SCHEDULE,
    last_trained_at=AT,
    verdicts_key="verdicts/model=flight-delay/2026-01-05-12.json",
    summary={"windows": [{"hours": 24, "rows": 1, "live": {"value": 0.75}}]},
)


@pytest.fixture
def health_records(where: str) -> Any:
    return InMemoryHealthRecords() if where == "memory" else DynamoHealthRecords(TABLE)


@pytest.fixture
def verdicts(where: str) -> Any:
    return InMemoryVerdicts() if where == "memory" else S3Verdicts(BUCKET)


class Kept:
    """Hours in memory, or in the objects that Firehose writes."""

    def __init__(self, where: str) -> None:
        self.memory = InMemoryHours() if where == "memory" else None
        self.hours: Any = self.memory or S3Hours(BUCKET)

    def capture(self, model: str, hour: str, key: str, records: Sequence[dict[str, Any]]) -> None:
        if self.memory:
            self.memory.capture([{**record, "model": model, "hour": hour} for record in records], key=key)
        else:
            self._put("captures", model, hour, key, records)

    def report(self, model: str, hour: str, key: str, records: Sequence[dict[str, Any]]) -> None:
        records = [{"reported": record.get("time")} | record for record in records]
        if self.memory:
            self.memory.report(model, hour, records, key=key)
        else:
            self._put("feedback", model, hour, key, records)

    @staticmethod
    def _put(folder: str, model: str, hour: str, key: str, records: Sequence[dict[str, Any]]) -> None:
        body = gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records))
        s3().put_object(Bucket=BUCKET, Key=f"{folder}/model={model}/hour={hour}/{key}.jsonl.gz", Body=body)


@pytest.fixture
def kept(where: str) -> Kept:
    return Kept(where)


def ids(lines: Any) -> list[str]:
    return [json.loads(line)["id"] for part in lines for block in part for line in block.splitlines()]


def test_a_health_record_comes_back_as_it_was_saved(health_records: Any) -> None:
    assert health_records.record(MODEL) is None
    health_records.save(FIRST)
    assert health_records.record(MODEL) == FIRST
    assert health_records.record("other") is None


def test_each_revision_replaces_the_one_before_it_and_the_same_again_does_nothing(health_records: Any) -> None:
    health_records.save(FIRST)
    health_records.save(FIRST)
    second = replace(FIRST, revision=2, health=Health.STEADY, wanted=None, summary=None)
    health_records.save(second)
    health_records.save(second)
    assert health_records.record(MODEL) == second


@pytest.mark.parametrize("revision", [1, 2, 4])
def test_a_health_record_decided_on_another_one_is_refused(revision: int, health_records: Any) -> None:
    health_records.save(FIRST)
    second = replace(FIRST, revision=2)
    health_records.save(second)
    with pytest.raises(ConflictError, match="the health of flight-delay was changed"):
        health_records.save(replace(FIRST, revision=revision, health=Health.STEADY))
    assert health_records.record(MODEL) == second


def test_of_two_racing_health_records_one_wins(health_records: Any) -> None:
    health_records.save(FIRST)
    racing = [replace(FIRST, revision=2, held_back=each) for each in ("one", "two")]
    outcomes = at_once(*(lambda s=each: health_records.save(s) for each in racing))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "NoneType"]
    assert health_records.record(MODEL) == racing[outcomes.index(None)]


@pytest.mark.usefixtures("aws")
def test_a_write_whose_answer_was_lost_is_found_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Table._send

    def twice(self: Table, writes: Sequence[Any]) -> None:
        send(self, writes)  # type: ignore[arg-type]
        send(self, writes)  # type: ignore[arg-type]

    monkeypatch.setattr(Table, "_send", twice)
    health_records = DynamoHealthRecords(TABLE)
    health_records.save(FIRST)
    assert health_records.record(MODEL) == FIRST


def test_verdicts_of_the_same_hour_replace_each_other(verdicts: Any) -> None:
    key = verdicts.write(MODEL, "2026-01-05-12", {"windows": []})
    assert key == "verdicts/model=flight-delay/2026-01-05-12.json"
    assert verdicts.write(MODEL, "2026-01-05-12", {"windows": [{"hours": 24, "psi": 0.25}]}) == key
    assert verdicts.read(key) == {"windows": [{"hours": 24, "psi": 0.25}]}
    with pytest.raises(NotFoundError):
        verdicts.read("verdicts/model=flight-delay/2026-01-05-13.json")


def test_a_verdict_that_json_cannot_hold_is_not_written(verdicts: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        verdicts.write(MODEL, "2026-01-05-12", {"psi": float("nan")})


def test_a_model_was_asked_since_an_hour_or_not(kept: Kept) -> None:
    kept.capture(MODEL, "2026-01-05-12", "a", [{"id": "p1"}])
    assert kept.hours.asked(MODEL, "2026-01-05-12")
    assert kept.hours.asked(MODEL, "2025-12-31-23")
    assert not kept.hours.asked(MODEL, "2026-01-05-13")
    assert not kept.hours.asked("flight", "2025-12-31-23")


def test_sources_name_the_hours_with_captures_or_feedback_and_grow_with_what_is_added(kept: Kept) -> None:
    for hour in ("2026-01-05-09", "2026-01-05-10", "2026-01-05-12", "2026-01-05-13"):
        kept.capture(MODEL, hour, "a", [{"id": f"p-{hour}"}])
    kept.capture("flight-delay-2", "2026-01-05-11", "a", [{"id": "other"}])
    kept.report(MODEL, "2026-01-05-11", "f", [{"id": "q", "time": AT.isoformat(), "outcome": 1}])
    before = kept.hours.sources(MODEL, "2026-01-05-10", "2026-01-05-12")
    assert list(before) == ["2026-01-05-10", "2026-01-05-11", "2026-01-05-12"]
    assert [(len(each.captures), len(each.feedback)) for each in before.values()] == [(1, 0), (0, 1), (1, 0)]
    kept.capture(MODEL, "2026-01-05-10", "b", [{"id": "p2"}])
    kept.report(MODEL, "2026-01-05-12", "f", [{"id": "q", "time": AT.isoformat(), "outcome": 1}])
    after = kept.hours.sources(MODEL, "2026-01-05-10", "2026-01-05-12")
    assert [(len(each.captures), len(each.feedback)) for each in after.values()] == [(2, 0), (0, 1), (1, 1)]
    assert ids(kept.hours.lines(after["2026-01-05-10"])) == ["p-2026-01-05-10", "p2"]


@pytest.mark.usefixtures("aws")
def test_sources_show_the_bytes_of_captures_and_feedback() -> None:
    kept, hour = Kept("aws"), "2026-01-05-12"
    kept.capture(MODEL, hour, "a", [{"id": "p1"}])
    kept.capture(MODEL, hour, "b", [{"id": "p2"}])
    kept.report(MODEL, hour, "f", [{"id": "p1", "time": AT.isoformat(), "outcome": 1}])
    kept.capture(MODEL, "2026-01-05-13", "c", [{"id": "p3"}])
    sources = kept.hours.sources(MODEL, hour, hour)[hour]
    sizes = [len(S3Artifacts(BUCKET).get(key)) for key in (*sources.captures, *sources.feedback)]
    assert sources.stored_bytes == sum(sizes) > 0


@pytest.mark.usefixtures("aws")
def test_objects_of_several_packed_parts_are_read_to_the_end() -> None:
    parts = [
        gzip.compress(b"".join(b'{"id":"p%d"}\n' % row for row in range(start, start + 40_000)))
        for start in (0, 40_000)
    ]
    s3().put_object(Bucket=BUCKET, Key="captures/model=m/hour=2026-01-05-12/a.gz", Body=b"".join(parts))
    hours = S3Hours(BUCKET)
    found = ids(hours.lines(hours.sources("m", "2026-01-05-12", "2026-01-05-12")["2026-01-05-12"]))
    assert found == [f"p{row}" for row in range(80_000)]


@pytest.mark.parametrize("last", [b"", b"\n"])
def test_lines_come_whole_however_long_and_whether_or_not_the_last_one_ends(last: bytes) -> None:
    lines = [b'{"id":"p%d","inputs":"%s"}' % (row, b"x" * (997 * row % 70_000)) for row in range(60)]
    lines.insert(30, b'{"id":"long","inputs":"%s"}' % (b"x" * 900_000))
    given = b"\n".join(lines) + last
    parts = [gzip.compress(given[start : start + 300_000]) for start in range(0, len(given), 300_000)]
    blocks = list(unpacked(b"".join(parts)))
    assert 2 < len(blocks) < len(lines)
    assert [line for block in blocks for line in block.splitlines()] == lines


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[: len(data) // 2], lambda data: b"{}\n" + data]
)
def test_an_object_that_is_damaged_is_not_taken_for_a_short_one(damage: Callable[[bytes], bytes]) -> None:
    data = gzip.compress(b'{"id":"p1"}\n' * 100)
    with pytest.raises(UnreadableError, match="is not a complete gzip file"):
        list(unpacked(damage(data)))


@pytest.mark.parametrize("content", [b"x" * 2**23, b"{}\n" * 2**23], ids=["one line", "many lines"])
def test_an_object_that_unpacks_to_more_than_is_ever_stored_is_not_read_on(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MAX_UNPACKED", 2**24)
    with pytest.raises(UnreadableError, match="unpacks to more than is ever stored"):
        list(unpacked(gzip.compress(content, 1)))


BROKEN = {
    "gzip": b"\x1f\x8b\x08garbage",
    "cut": gzip.compress(b'{"id":"p1"}\n' * 100)[:-9],
    "no gzip": b'{"id":"p1"}\n',
    "no JSON": gzip.compress(b'{"id":"p1"\n'),
    "no object": gzip.compress(b"[1]\n"),
    "no time": gzip.compress(b'{"id":"p1","outcome":1}\n'),
    "no zone": gzip.compress(b'{"id":"p1","outcome":1,"time":"2026-01-05T12:00:00"}\n'),
    "no outcome": gzip.compress(b'{"id":"p1","time":"2026-01-05T12:00:00Z","outcome":[]}\n'),
    "no id": gzip.compress(b'{"id":7,"time":"2026-01-05T12:00:00Z","outcome":1}\n'),
    "nested": gzip.compress(b"[" * 100_000 + b"\n"),
    "not UTF-8": gzip.compress(b'{"id":"\xff"}\n'),
}


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_object_of_feedback_is_named_and_the_others_are_read(broken: str) -> None:
    kept, hour = Kept("aws"), "2026-01-05-12"
    kept.capture(MODEL, hour, "a", [{"id": "p"}])
    for key in ("a", "c"):
        kept.report(MODEL, hour, key, [{"id": key, "time": AT.isoformat(), "outcome": True}])
    bad = f"feedback/model={MODEL}/hour={hour}/b.jsonl.gz"
    s3().put_object(Bucket=BUCKET, Key=bad, Body=BROKEN[broken])
    outcomes, unread = kept.hours.outcomes(kept.hours.sources(MODEL, hour, hour)[hour])
    assert outcomes.known == {"a": True, "c": True}
    assert list(unread) == [bad]


@pytest.mark.usefixtures("aws")
def test_a_broken_object_of_captures_raises_by_itself_and_the_next_ones_follow() -> None:
    kept, hour = Kept("aws"), "2026-01-05-12"
    for key in ("a", "c"):
        kept.capture(MODEL, hour, key, [{"id": key}])
    s3().put_object(Bucket=BUCKET, Key=f"captures/model={MODEL}/hour={hour}/b.jsonl.gz", Body=BROKEN["cut"])
    sources, found = kept.hours.sources(MODEL, hour, hour)[hour], []
    for lines in kept.hours.lines(replace(sources, captures=(*sources.captures, "captures/gone"))):
        try:
            found += ids([lines])
        except Exception as error:  # noqa: BLE001
            found.append(because(error))
    assert found == ["a", "is not a complete gzip file", "c", "cannot be fetched"]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "KMS.DisabledException", "SlowDown"])
def test_an_object_that_s3_refuses_is_not_the_object_s_fault(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, hour = Kept("aws"), "2026-01-05-12"
    kept.capture(MODEL, hour, "a", [{"id": "a"}])
    kept.report(MODEL, hour, "a", [{"id": "a", "time": AT.isoformat(), "outcome": True}])
    sources = kept.hours.sources(MODEL, hour, hour)[hour]

    class Refusing:
        def get_object(self, **_: str) -> None:
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject")  # type: ignore[typeddict-item]

    monkeypatch.setattr("tidegate.aws.monitoring.s3", Refusing)
    for read in (lambda: kept.hours.outcomes(sources), lambda: ids(kept.hours.lines(sources))):
        with pytest.raises(UnavailableError, match=code):
            read()


@pytest.mark.usefixtures("aws")
def test_an_hour_whose_count_is_broken_is_as_if_it_were_not_counted() -> None:
    hours = S3Hours(BUCKET)
    hours.keep(MODEL, 3, "2026-01-05-11", {"rows": 1})
    key = f"profiles/model={MODEL}/hour=2026-01-05-12/version=3.json"
    s3().put_object(Bucket=BUCKET, Key=key, Body=b"{")
    assert hours.counted(MODEL, 3, ["2026-01-05-11", "2026-01-05-12"]) == {"2026-01-05-11": {"rows": 1}}


def test_many_objects_are_read_in_their_order(kept: Kept) -> None:
    wanted = [f"p{number:02d}" for number in range(30)]
    for each in wanted:
        kept.capture(MODEL, "2026-01-05-12", each, [{"id": each}])
    sources = kept.hours.sources(MODEL, "2026-01-05-12", "2026-01-05-12")["2026-01-05-12"]
    assert ids(kept.hours.lines(sources)) == wanted
    assert ids(kept.hours.lines(Sources())) == []


def test_of_several_outcomes_the_one_reported_last_counts(kept: Kept) -> None:
    hour = "2026-01-05-12"
    kept.capture(MODEL, hour, "a", [{"id": "p"}])
    said = [("a", 2, "late"), ("b", 3, "on time"), ("c", 1, "unknown")]
    for key, minutes, outcome in said:
        reported = (AT + timedelta(minutes=minutes)).isoformat()
        kept.report(MODEL, hour, key, [{"id": "p", "time": reported, "outcome": outcome}])
    kept.report(MODEL, hour, "d", [{"id": "q", "time": AT.isoformat().replace("+00:00", "Z"), "outcome": 2.5}])
    outcomes, unread = kept.hours.outcomes(kept.hours.sources(MODEL, hour, hour)[hour])
    assert (outcomes.known, unread) == ({"p": "on time", "q": 2.5}, {})


def test_counted_hours_are_kept_by_version(kept: Kept) -> None:
    hours = ["2026-01-05-11", "2026-01-05-12", "2026-01-05-13"]
    kept.hours.keep(MODEL, 3, hours[1], {"rows": 1})
    kept.hours.keep(MODEL, 3, hours[1], {"rows": 2})
    kept.hours.keep(MODEL, 4, hours[0], {"rows": 3})
    assert kept.hours.counted(MODEL, 3, hours) == {hours[1]: {"rows": 2}}
    assert kept.hours.counted(MODEL, 3, []) == {}


# The functions, as they are wired on AWS


@pytest.fixture
def served(cold: Callable[..., None]) -> DynamoRoutes:
    """A model with a champion, and handlers that are not wired yet."""
    cold(
        REGISTRY_TABLE=TABLE,
        LEDGER_TABLE=LEDGER,
        ARTIFACTS_BUCKET=BUCKET,
        CAPTURES_BUCKET=BUCKET,
        STAGE="test",
        INFERENCE_MEMORY_MB="1024",
        GB_SECOND_USD="1e-05",
        REQUEST_USD="1e-06",
        GB_MONTH_USD="0.023",
    )
    registry = DynamoRoutes(TABLE, LEDGER)
    registry.apply(a_spec(features=FEATURES), author="ann", at=AT)
    reference = json.dumps(Traffic().reference().to_json()).encode()
    files = {RunFile.REFERENCE: reference}
    report = reported(RunRef(model=MODEL, run_id="r-001"), S3Artifacts(BUCKET), files)
    promoted(registry, registered(registry, "r-001", **report))
    return registry


def asked(rows: int, wind: float) -> None:
    """Captures of this hour, in as many objects as Firehose may make of them."""
    made, at = Traffic().rows(rows, wind=wind), datetime.now(UTC)
    lines = []
    for place in range(rows):
        score = float(made["score"][place])
        inputs = {"wind": float(made["wind"][place]), "line": str(made["line"][place])}
        answer = {"id": f"p-{place}", "label": score >= 0.5, "score": score, "probabilities": {}}
        given: dict[str, Any] = {"latency_ms": 1.0, "cold": False, "request_id": f"q-{place}", "instances": [inputs]}
        capture = Capture(MODEL, 1, "champion", "champion", 1, at, **given, predictions=[answer])
        lines += list(records(capture, CapturePolicy()))
    for number in range(4):
        Kept("aws").capture(MODEL, hour_of(at), f"part-{number}", lines[number::4])


def parts_of(printed: str) -> set[tuple[str, ...]]:
    """What EMF lines are of, beside service and stage."""
    found = [json.loads(line) for line in printed.splitlines() if "_aws" in line]
    return {tuple(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"][-1][2:]) for line in found}


def of_model(printed: str) -> dict[str, Any]:
    """The line whose numbers add up over models."""
    lines = [json.loads(line) for line in printed.splitlines() if "_aws" in line]
    (found,) = [line for line in lines if "Drifted" in line]
    return dict(found)


def test_a_drifting_model_is_found_counted_and_recorded(
    served: DynamoRoutes, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(1_000, wind=26)
    found = due.handler({"after": "", "now": LATER.isoformat()}, CONTEXT)
    assert found == {"batches": [{"models": [MODEL]}], "after": ""}
    answer = monitor.handler({"models": [MODEL], "now": LATER.isoformat()}, CONTEXT)
    assert answer == {"outcome": "monitored", "failed": []}
    record = DynamoHealthRecords(TABLE).record(MODEL)
    assert record is not None
    assert (record.health, record.version, record.wanted) == (Health.DRIFTED, 1, Trigger.DRIFT)
    verdicts = S3Verdicts(BUCKET).read(record.verdicts_key)
    assert verdicts["windows"][0]["rows"] == 1_000
    (spent,) = verdicts["cost"]["hours"].values()
    assert spent["usage"] == {"1": [1_000, 1_000, 1_000, 0, 0]}
    assert spent["bytes"] > 10_000
    printed = capsys.readouterr().out
    assert parts_of(printed) == {("model",), ("model", "feature"), ("model", "target"), ("business_unit",)}
    line = of_model(printed)
    assert (line["Drifted"], line["RetrainingWanted"], line["Rows"]) == ([1.0], [1.0], [1_000.0])
    dimensions = [set(names) for names in line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]]
    assert dimensions == [{"service", "stage"}, {"service", "stage", "model"}]


def test_a_model_without_metrics_of_its_own_counts_in_the_sums(
    served: DynamoRoutes, capsys: pytest.CaptureFixture[str]
) -> None:
    served.apply(a_spec(features=FEATURES, monitoring={"own_metrics": False}), author="ann", at=LATER)
    asked(1_000, wind=26)
    monitor.handler({"models": [MODEL], "now": LATER.isoformat()}, CONTEXT)
    printed = capsys.readouterr().out
    assert of_model(printed)["Drifted"] == [1.0]
    assert parts_of(printed) == {(), ("business_unit",)}


def test_a_model_that_cannot_be_looked_at_is_named_and_the_others_are_looked_at(
    served: DynamoRoutes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = monitor.handler({"models": ["no-such", MODEL], "now": LATER.isoformat()}, CONTEXT)
    assert answer == {"outcome": "failed", "failed": ["no-such"]}
    record = DynamoHealthRecords(TABLE).record(MODEL)
    assert record is not None
    assert (record.version, record.tampered, record.reasons) == (1, "", ())
    assert record.ledger_seen == Seen(1, DynamoRoutes(TABLE, LEDGER).ledger(MODEL)[0].hash)
    assert "not looked at" in caplog.messages
    line = of_model(capsys.readouterr().out)
    assert (line["model"], line["Drifted"]) == (MODEL, [0.0])
