"""A batch from the request to the totals, without a cloud: what is planned, kept, missing and refused."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.close_failed import handler as function
from tests.builders.batch import CONTRACT, Scorer, fallback_of
from tests.builders.specs import spec_document
from tests.context import CONTEXT
from tests.documents.forms import hold
from tidegate import wiring
from tidegate.aws.items import encode
from tidegate.domain.batch.batch import TOTALS, Batch, identity, record_of, success_of
from tidegate.domain.batch.batch_ledger import Act, BatchEntry, verify
from tidegate.domain.registry.route import FallbackRef, Route, Served
from tidegate.formats import csv_records
from tidegate.kernel.address import Address
from tidegate.kernel.errors import (
    ArtifactRejectedError,
    ConflictError,
    DatasetInvalidError,
    ForbiddenError,
    InputChangedError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from tidegate.messages import FinishTask, NoteTask, PlanCursor, PlanTask, ScoreTask
from tidegate.ml import batches
from tidegate.spec.model import ModelSpec
from tidegate.steps.batch import work
from tidegate.steps.batch.batch import StartBatch, show_batch, start_batch, start_recorded_batch
from tidegate.steps.batch.work import finish, note, plan, score_part
from tidegate.testing.batch import InMemoryBatchLedger, InMemoryBatchRuns
from tidegate.testing.parts import InMemoryParts

ANA = "arn:aws:sts::123456789012:assumed-role/Sales/ana"
PLACES = (("*", "data/batch/"), ("role/Sal*", "lake/sales/"), ("user/eve", "lake/hr/"))
INPUT, OUTPUT = "s3://data/batch/in/", "s3://data/batch/out/"
HOME = Address.parse(OUTPUT, "output")
LINES = [f"{at},{at * 10},{at % 24},EWR" for at in range(1, 11)]


class BatchWorld(InMemoryParts):
    """Objects, executions and one model that serves."""

    def __init__(self) -> None:
        super().__init__(load=lambda _onnx: Scorer(CONTRACT))
        self.registry.apply(ModelSpec.parse(spec_document(name="delay", ids=["id"])), author="ann", at=self.clock.now())
        sha256 = self.artifacts.put("runs/m/1/model.onnx", b"onnx")
        rule = self.artifacts.put("runs/m/1/fallback.json", fallback_of(CONTRACT).to_bytes())
        fallback = FallbackRef("runs/m/1/fallback.json", rule, "1")
        self.routed(champion=Served(3, "runs/m/1/model.onnx", sha256), fallback=fallback)
        self.upload("a.csv", LINES[:6])
        self.upload("b.csv", LINES[6:])

    def routed(self, **parts: Any) -> None:
        """What serves from now on."""
        self.registry._routes["delay"] = Route("delay", 1, **parts)

    def upload(self, name: str, lines: list[str], header: str = "id,distance,hour,origin") -> None:
        self.batch_objects.upload(INPUT + name, "\n".join([header, *lines, ""]).encode())

    def start(self, **changes: Any) -> dict[str, Any]:
        body = StartBatch.read({"input": INPUT, "output": OUTPUT} | changes)
        return self.step(start_batch, "delay", body, actor=ANA, places=PLACES)

    def show(self, model: str = "delay") -> dict[str, Any]:
        shown = self.step(show_batch, model, OUTPUT, actor=ANA, places=PLACES)
        return dict(shown["batch"])

    @property
    def attempt(self) -> dict[str, Any]:
        """What the state machine hands on to each step."""
        given = self.batch_runs.inputs[-1]
        return {name: given[name] for name in ("output", "record_sha256")}

    def plan(self, seconds: float = 900) -> list[dict[str, Any]]:
        cursor = PlanCursor.model_validate(self.batch_runs.inputs[-1]["cursor"])
        for _ in range(100):
            task = PlanTask(step="plan", cursor=cursor, **self.attempt)
            answer = self.step(plan, task, files=batches, remaining_seconds=self.seconds(seconds))
            if answer.next == "score":
                return list(json.loads(self.batch_objects.document(Address(answer.bucket, answer.key))))
            cursor = answer.cursor
        raise AssertionError("planning never ends")

    @staticmethod
    def seconds(first: float) -> Any:
        """Enough for one look at the clock, and then too little, when `first` is small."""
        left = iter([900.0, *[first] * 100])
        return lambda: next(left)

    def score(self, part: dict[str, Any]) -> Any:
        task = ScoreTask.parse(self.attempt | {"part": part})
        return self.step(score_part, task, files=batches)

    def finish(self) -> Any:
        return self.step(finish, FinishTask(step="finish", **self.attempt))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> BatchWorld:
    monkeypatch.setattr(csv_records, "PART_ROWS", 4)
    return BatchWorld()


def test_a_folder_becomes_parts_rows_and_totals(world: BatchWorld) -> None:
    begun = world.start()
    assert (begun["batch"]["status"], begun["batch"]["version"], begun["resumed"]) == ("running", 3, False)
    parts = world.plan()
    assert [(part["key"], part["first_row"], part["rows"]) for part in parts] == [
        ("batch/in/a.csv", 1, 4),
        ("batch/in/a.csv", 5, 2),
        ("batch/in/b.csv", 1, 4),
    ]
    assert world.score(parts[0]).to_json() == {"rows": 4, "faulty": 0, "kept": False}
    assert world.show()["done"] == {"parts": 1, "rows": 4}
    assert world.show()["planned"] == {"parts": 3, "rows": 10}
    for part in parts[1:]:
        world.score(part)
    assert world.finish().complete
    shown = world.show()
    assert (shown["status"], shown["totals"]["rows"], shown["totals"]["faulty"]) == ("succeeded", 10, 0)
    texts = [world.batch_objects.document(HOME / f"part-{number:06d}.csv").decode() for number in (1, 2, 3)]
    assert [line.split(",")[1] for text in texts for line in text.splitlines()[1:]] == [str(at) for at in range(1, 11)]


def test_planning_that_runs_out_of_time_goes_on_where_it_was(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SCAN_BYTES", 20)
    world.start()
    at_once = world.plan()
    other = BatchWorld()
    other.start()
    assert other.plan(seconds=1) == at_once
    assert len([name for name in other.batch_objects.stored if "/plan/" in name]) > 2


def test_a_part_that_is_there_is_kept_and_one_that_says_something_else_is_not(world: BatchWorld) -> None:
    world.start()
    (first, *_) = world.plan()
    world.score(first)
    assert world.score(first).kept
    world.batch_objects.put(HOME / "part-000001.csv", b"somebody else's", "text/csv", {"batch": "another"})
    assert not world.score(first).kept


def test_missing_parts_fail_the_batch_with_the_reason_and_the_same_request_goes_on(world: BatchWorld) -> None:
    batch_id = world.start()["batch"]["batch_id"]
    parts = world.plan()
    world.score(parts[0])
    cause = json.dumps({"errorMessage": "RequestId: 1 Error: Runtime exited", "errorType": "Runtime.ExitError"})
    noted = NoteTask(step="note", **world.attempt, part=2, error="Runtime.ExitError", cause=cause)
    world.step(note, noted)
    ended = world.finish()
    assert not ended.complete
    assert ended.reason == (
        "2 of 3 parts were not scored; part 2 (s3://data/batch/in/a.csv rows 5 to 6): "
        "Runtime.ExitError: RequestId: 1 Error: Runtime exited; "
        "part 3 (s3://data/batch/in/b.csv rows 1 to 4): no reason was recorded"
    )
    world.batch_runs.end(batch_id, "FAILED", ended.reason)
    assert (world.show()["status"], world.show()["reason"]) == ("failed", ended.reason)

    served = Served(4, "runs/m/2/model.onnx", "f" * 64)
    world.routed(champion=served)
    again = world.start()
    assert again["resumed"]
    assert (again["batch"]["version"], again["batch"]["attempt"]) == (3, 2)
    for part in world.plan():
        world.score(part)
    assert world.finish().complete
    assert world.start()["batch"]["status"] == "succeeded"
    assert len(world.batch_runs.attempts[batch_id]) == 2


def test_a_batch_that_is_recorded_and_not_started_is_shown_as_that_and_started_by_its_record(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(InMemoryBatchRuns):
        def start(self, batch_id: str, number: int, document: Mapping[str, Any]) -> None:
            raise UnavailableError("Step Functions does not answer")

    runs, world.batch_runs = world.batch_runs, Refusing()
    with pytest.raises(UnavailableError):
        world.start()
    (entry,) = world.batch_ledger.entries("delay")
    assert world.show()["status"] == "requested"
    with pytest.raises(UnavailableError):
        world.step(start_recorded_batch, entry)
    world.clock.at += timedelta(minutes=10)
    assert not world.step(start_recorded_batch, entry)
    assert (world.show()["status"], world.show()["reason"]) == (
        "failed",
        "it was recorded and not started within 10 minutes",
    )

    world.batch_runs = runs
    image = encode(entry)
    keys = {"pk": {"S": "BATCHES#delay"}, "sk": {"S": "ENTRY#0000000001"}}
    event = {"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": keys | image}}]}
    monkeypatch.setattr(wiring, "of", lambda _: world)
    for _ in range(2):
        assert function.handler(event, CONTEXT) == {}
    assert (world.show()["status"], world.show()["attempt"]) == ("running", 1)
    assert world.attempt == {"output": OUTPUT, "record_sha256": entry.record_sha256}
    for part in world.plan():
        world.score(part)
    assert world.finish().complete
    assert world.show()["status"] == "succeeded"


def test_the_same_request_twice_is_one_execution(world: BatchWorld) -> None:
    world.start()
    assert world.start()["batch"]["attempt"] == 1
    assert len(world.batch_runs.inputs) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ["hour"]}, "ids: is"),
        ({"input": "s3://data/batch/in/a.csv"}, "input: is"),
    ],
)
def test_an_output_is_not_given_to_another_request(world: BatchWorld, changes: dict[str, Any], words: str) -> None:
    world.start()
    with pytest.raises(ConflictError, match=words):
        world.start(**changes)


def test_an_input_that_was_changed_is_another_request_and_stops_a_part(world: BatchWorld) -> None:
    world.start()
    (first, *_) = world.plan()
    world.upload("a.csv", LINES[:2])
    with pytest.raises(ConflictError, match=r"a\.csv was changed, added or removed"):
        world.start()
    with pytest.raises(ConflictError, match=r"a\.csv was changed after the batch had begun"):
        world.score(first)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": "data/in"}, "does not have the form s3://bucket/folder/"),
        ({"output": INPUT + "deeper/"}, "the output folder is inside the input folder"),
        ({"input": "s3://data/batch/nothing/"}, "the input has nothing to score"),
    ],
)
def test_a_request_that_cannot_be_met_says_what_is_wrong(
    world: BatchWorld, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        world.start(**changes)
    assert not world.batch_runs.inputs


@pytest.mark.parametrize("path", ["input", "output"])
@pytest.mark.parametrize(
    "place",
    ["s3://data/datasets/x.csv", "s3://others/x.csv", "s3://data/runs/", "s3://lake/hr/", "s3://lake/sales-secret/"],
)
def test_a_batch_reads_and_writes_nothing_but_where_its_caller_may(world: BatchWorld, path: str, place: str) -> None:
    world.batch_objects.upload(place.removesuffix("x.csv") + "x.csv", b"id,distance,hour,origin\n")
    with pytest.raises(ForbiddenError) as caught:
        world.start(**{path: place})
    assert caught.value.message.endswith(f"as {path}; they can use s3://data/batch/ and s3://lake/sales/")
    assert "batch_places" in caught.value.next_step
    assert not world.batch_runs.inputs


@pytest.mark.parametrize(
    ("actor", "may"),
    [
        ("arn:aws:iam::123456789012:user/people/eve", True),
        ("arn:aws:sts::123456789012:assumed-role/Sales/eve", False),  # who takes a role chooses the session's name
        ("arn:aws:sts::123456789012:federated-user/eve", False),
        ("arn:aws:iam::123456789012:root", False),
    ],
)
def test_a_place_is_for_those_who_are_named(world: BatchWorld, actor: str, may: bool) -> None:
    world.start()
    try:
        world.step(show_batch, "delay", "s3://lake/hr/out/", actor=actor, places=PLACES)
    except NotFoundError:
        assert may  # it is no batch's
    except ForbiddenError:
        assert not may


def test_a_record_that_was_changed_after_the_caller_was_checked_is_not_followed(world: BatchWorld) -> None:
    world.start()
    first, *_ = world.plan()
    record = json.loads(world.batch_objects.document(record_of(HOME)))
    forged = json.dumps(record | {"input": "s3://lake/hr/"}).encode()
    world.batch_objects.upload(str(record_of(HOME)), forged)
    for later in (world.plan, lambda: world.score(first), world.finish):
        with pytest.raises(ArtifactRejectedError, match=r"batch\.json was changed after the attempt began"):
            later()


def test_formats_are_not_mixed(world: BatchWorld) -> None:
    world.batch_objects.upload(INPUT + "c.parquet", b"PAR1")
    with pytest.raises(InvalidInputError, match="the input mixes formats"):
        world.start()
    world.batch_objects.upload(INPUT + "d.gz", b"x")
    with pytest.raises(InvalidInputError, match=r"neither \.csv nor \.parquet"):
        world.start()


def test_a_model_that_serves_nothing_answers_no_batch(world: BatchWorld) -> None:
    world.registry._routes.clear()
    with pytest.raises(ConflictError, match="serves no version"):
        world.start()
    world.routed(champion=Served(3, "k", "s"), killed=True)
    with pytest.raises(ConflictError, match="switched off"):
        world.start()


def test_an_output_without_a_batch_or_of_another_model_is_not_found(world: BatchWorld) -> None:
    with pytest.raises(NotFoundError, match="is not the output of a batch"):
        world.show()
    world.start()
    with pytest.raises(NotFoundError, match="of a batch of model 'delay'"):
        world.show("price")


def test_parts_whose_input_is_at_fault_end_the_batch_with_the_reason_of_each_file(world: BatchWorld) -> None:
    batch_id = world.start()["batch"]["batch_id"]
    for part in world.plan()[1:2]:
        world.score(part)

    def noted(part: int, error: str, cause: str, *, by_input: bool) -> None:
        world.step(note, NoteTask(step="note", **world.attempt, part=part, error=error, cause=cause, by_input=by_input))

    noted(1, "DatasetInvalidError", "its pages are corrupt", by_input=True)
    assert not world.finish().complete
    noted(3, "Lambda.Unknown", "signal: killed", by_input=False)
    assert not world.finish().complete
    noted(3, "InputChangedError", "b.csv was removed", by_input=True)
    with pytest.raises(DatasetInvalidError) as raised:
        world.finish()
    assert str(raised.value) == (
        "2 of 3 parts were not scored; "
        "part 1 (s3://data/batch/in/a.csv rows 1 to 4): DatasetInvalidError: its pages are corrupt; "
        "part 3 (s3://data/batch/in/b.csv rows 1 to 4): InputChangedError: b.csv was removed"
    )
    world.batch_runs.end(batch_id, "SUCCEEDED", str(raised.value))
    assert (world.show()["status"], world.show()["reason"]) == ("failed", str(raised.value))


def test_an_object_that_was_removed_stops_a_part_as_one_that_was_changed_does(world: BatchWorld) -> None:
    world.start()
    first, *_ = world.plan()
    del world.batch_objects.stored[f"{INPUT}a.csv"]
    with pytest.raises(InputChangedError, match=r"a\.csv was removed after the batch had begun"):
        world.score(first)


def test_a_file_without_a_needed_column_is_named_with_the_column(world: BatchWorld) -> None:
    world.upload("b.csv", ["1,2"], header="id,hour")
    world.start()
    with pytest.raises(DatasetInvalidError, match=r"in/b\.csv lacks columns .*distance.*origin"):
        world.plan()


def test_a_quote_that_is_never_closed_is_found_with_its_row(world: BatchWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_RECORD_BYTES", 30)
    world.upload("a.csv", ["1,10,1,EWR", '2,20,2,"EWR', *LINES])
    world.start()
    with pytest.raises(DatasetInvalidError, match=r"a\.csv: row 2: a quoted value does not end"):
        world.plan()


def test_the_ledger_says_who_had_what_scored_by_what_and_what_came_of_it(world: BatchWorld) -> None:
    batch_id = world.start()["batch"]["batch_id"]
    assert world.start()["batch"]["attempt"] == 1
    world.batch_runs.end(batch_id, "FAILED", "no reason")
    world.start()
    for part in world.plan():
        world.score(part)
    assert world.finish().complete
    assert world.start()["batch"]["status"] == "succeeded"
    entries = world.batch_ledger.entries("delay")
    assert [(entry.action, entry.attempt, entry.rows) for entry in entries] == [
        ("batch_start", 1, None),
        ("batch_resume", 2, None),
        ("batch_complete", None, 10),
    ]
    assert {(entry.actor, entry.version, entry.input, entry.output, entry.objects) for entry in entries} == {
        (ANA, 3, INPUT, OUTPUT, 2)
    }
    success = world.batch_objects.document(HOME / "_SUCCESS.json")
    assert entries[-1].success_sha256 == hashlib.sha256(success).hexdigest()
    hold(TOTALS, success)
    hold(Batch.FORM, world.batch_objects.document(record_of(HOME)))
    assert verify("delay", entries, world.batch_ledger.head("delay").hash) is None


def test_an_end_that_comes_twice_keeps_the_totals_that_the_ledger_has(world: BatchWorld) -> None:
    world.start()
    for part in world.plan():
        world.score(part)
    world.finish()
    written = world.batch_objects.document(HOME / "_SUCCESS.json")
    world.clock.move(hours=1)
    world.finish()
    assert world.batch_objects.document(HOME / "_SUCCESS.json") == written
    assert len(world.batch_ledger.entries("delay")) == 2


def test_an_end_that_went_unrecorded_is_recorded_by_the_next_call(world: BatchWorld) -> None:
    world.start()
    for part in world.plan():
        world.score(part)
    kept, world.batch_ledger = world.batch_ledger, InMemoryBatchLedger()
    world.finish()
    world.batch_ledger = kept
    assert world.show()["status"] == "running"
    world.batch_runs.end(world.show()["batch_id"], "FAILED", "UnavailableError")
    assert world.start()["resumed"]
    assert all(world.score(part).kept for part in world.plan())
    world.finish()
    success = world.batch_objects.document(success_of(HOME))
    assert world.batch_ledger.entries("delay")[-1].success_sha256 == hashlib.sha256(success).hexdigest()
    assert world.start()["batch"]["status"] == "succeeded"


NOT_OURS = r"batch\.json was not written by Tidegate, or was changed since"
EVE = "arn:aws:iam::123456789012:user/eve"
FORGERIES: list[dict[str, Any]] = [
    {"version": 9},
    {"artifact_key": "runs/other/model.onnx"},
    {"artifact_sha256": "f" * 64},
    {"fallback_key": "runs/other/fallback.json"},
    {"fallback_sha256": "f" * 64},
    {"output": "s3://lake/hr/out/"},
    {"format": "parquet"},
    {"started_by": EVE},
    {"batch_id": "0" * 20},
    {"batch_id": None},
]


def forge(world: BatchWorld, **changes: Any) -> None:
    """Write the record as Tidegate does, but for this; its id is right unless that is what is forged."""
    record = Batch.from_json(json.loads(world.batch_objects.document(record_of(HOME))))
    forged = replace(record, **changes)
    if "batch_id" not in changes:
        said = (forged.model, forged.version, forged.sources, forged.output, forged.ids)
        forged = replace(forged, batch_id=identity(*said))
    world.batch_objects.upload(str(record_of(HOME)), json.dumps(forged.to_json()).encode())


def untouched(world: BatchWorld, calls: int) -> bool:
    return len(world.batch_ledger.entries("delay")) == len(world.batch_runs.inputs) == calls


@pytest.mark.parametrize("changes", FORGERIES, ids=str)
def test_a_record_that_was_forged_after_the_batch_began_is_neither_continued_nor_shown(
    world: BatchWorld, changes: dict[str, Any]
) -> None:
    world.batch_runs.end(world.start()["batch"]["batch_id"], "FAILED", "no reason")
    forge(world, **changes)
    with pytest.raises(ArtifactRejectedError, match=NOT_OURS):
        world.start()
    with pytest.raises((ArtifactRejectedError, NotFoundError), match=rf"{NOT_OURS}|is not the output of a batch"):
        world.show()
    assert untouched(world, 1)


@pytest.mark.parametrize("changes", FORGERIES, ids=str)
def test_a_record_that_was_forged_before_any_batch_began_starts_and_shows_nothing(
    world: BatchWorld, changes: dict[str, Any]
) -> None:
    other = BatchWorld()
    other.start()
    world.batch_objects.upload(str(record_of(HOME)), other.batch_objects.document(record_of(HOME)))
    forge(world, **changes)
    with pytest.raises(ArtifactRejectedError, match=NOT_OURS):
        world.start()
    with pytest.raises((ArtifactRejectedError, NotFoundError), match=rf"{NOT_OURS}|is not the output of a batch"):
        world.show()
    assert untouched(world, 0)


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"schema": 1, "sources": 3}'])
def test_something_else_by_the_name_of_the_record_is_refused(world: BatchWorld, record: bytes) -> None:
    world.batch_objects.upload(str(record_of(HOME)), record)
    for asked in (world.start, world.show):
        with pytest.raises(ArtifactRejectedError, match=NOT_OURS):
            asked()


def test_the_record_of_another_output_does_not_take_its_attempts_and_totals(world: BatchWorld) -> None:
    other = "s3://data/batch/other/"
    world.start(output=other)
    copied = world.batch_objects.document(record_of(Address.parse(other, "output")))
    world.batch_objects.upload(str(record_of(HOME)), copied)
    for asked in (world.start, world.show):
        with pytest.raises(ArtifactRejectedError, match=NOT_OURS):
            asked()
    assert untouched(world, 1)


def test_a_start_that_died_after_it_wrote_the_record_is_made_good_by_the_same_request(world: BatchWorld) -> None:
    world.start()
    world.batch_ledger.chains.clear()
    world.batch_runs.attempts.clear()
    with pytest.raises(NotFoundError, match="is not the output of a batch"):
        world.show()
    world.clock.move(hours=1)
    assert world.start()["batch"]["attempt"] == 1
    assert [entry.action for entry in world.batch_ledger.entries("delay")] == ["batch_start"]
    assert world.show()["status"] == "running"


def test_forged_totals_complete_no_batch(world: BatchWorld) -> None:
    batch_id = world.start()["batch"]["batch_id"]
    totals = {"parts": 3, "rows": 10**9, "faulty": 0, "batch_id": batch_id, "ended_at": "2020-01-01T00:00:00+00:00"}
    world.batch_objects.upload(str(success_of(HOME)), json.dumps(TOTALS.mark() | totals).encode())
    world.batch_runs.end(batch_id, "FAILED", "no reason")
    assert world.show()["status"] == "failed"
    assert world.start()["resumed"]
    for part in world.plan():
        world.score(part)
    world.finish()
    assert [entry.rows for entry in world.batch_ledger.entries("delay")] == [None, None, 10]
    assert world.show()["totals"]["rows"] == 10


def test_totals_that_were_changed_after_the_end_are_not_shown_and_the_same_request_restores_them(
    world: BatchWorld,
) -> None:
    batch_id = world.start()["batch"]["batch_id"]
    for part in world.plan():
        world.score(part)
    world.finish()
    written = world.batch_objects.document(success_of(HOME))
    world.batch_objects.upload(str(success_of(HOME)), written.replace(b'"rows":10', b'"rows":11'))
    world.batch_runs.end(batch_id, "SUCCEEDED")
    assert world.show()["totals"] is None
    world.clock.move(hours=1)
    assert world.start()["resumed"]
    world.plan()
    world.finish()
    assert world.batch_objects.document(success_of(HOME)) == written
    assert world.show()["status"] == "succeeded"


def test_totals_of_somebody_else_are_not_taken_for_those_of_the_batch(world: BatchWorld) -> None:
    world.batch_objects.put(HOME / "_SUCCESS.json", b'{"rows": 7}', "application/json", {})
    assert world.start()["batch"]["status"] == "running"
    for part in world.plan():
        world.score(part)
    assert world.finish().complete
    assert world.show()["totals"]["rows"] == 10


OTHERS: dict[str, Any] = {
    "model": "other", "seq": 9, "at": datetime(2020, 1, 1, tzinfo=UTC), "actor": "mallory", "action": Act.RESUME,
    "batch_id": "b", "version": 77, "artifact_sha256": "f" * 64, "input": "s3://x/", "output": "s3://y/", "objects": 99,
    "attempt": 8, "rows": 1, "faulty": 1, "success_sha256": "e" * 64, "record_sha256": "d" * 64,
    "previous_hash": "0" * 64, "hash": "f" * 64,
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(BatchEntry)])
def test_no_part_of_an_entry_can_be_changed_unseen(world: BatchWorld, name: str) -> None:
    world.start()
    world.start(output="s3://data/batch/other/")
    first, second = world.batch_ledger.entries("delay")
    head = world.batch_ledger.head("delay").hash
    assert verify("delay", [first, second], head) is None
    broken = verify("delay", [replace(first, **{name: OTHERS[name]}), second], head)
    assert broken is not None
    assert broken.seq == 1
    cut = verify("delay", [first], head)
    assert cut is not None
    assert "the record of the newest batch entry names a newer entry" in cut.problem
