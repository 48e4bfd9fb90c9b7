"""What became of predictions: what may be reported, what is kept of it, and how a file of it is sent."""

import base64
import json
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.captures import asked, lines, rollout, sure
from tests.builders.captures import feedback as label
from tests.builders.command_line import Cli
from tests.builders.feedback import ABOUT, NOW, REPORTER, FeedbackFunction, item, kept, prediction
from tests.builders.registry import registered
from tests.documents.forms import hold
from tidegate import wiring
from tidegate.cli import exits
from tidegate.cli.client import Client
from tidegate.cli.commands import feedback as command
from tidegate.cli.tool import Tool
from tidegate.domain.rollout.evidence import CAPTURED_WITHIN, Labels, Tally
from tidegate.domain.serving.feedback import (
    FEEDBACK_RECORD,
    MAX_FAULTS,
    MAX_ITEMS,
    Claim,
    Report,
    ReportedModel,
    Reporter,
    outcomes_that_count,
    parse_report,
    records,
)
from tidegate.kernel.errors import Fault, NotFoundError, RequestInvalidError, UnavailableError
from tidegate.kernel.ids import uuid7
from tidegate.kernel.values import class_name
from tidegate.steps.serving.feedback import KNOWN


def refused(*items: Any, about: ReportedModel = ABOUT["flight-delay"], listed: bool = True) -> dict[str, str]:
    with pytest.raises(RequestInvalidError) as caught:
        records(Report(items, listed), about, REPORTER, NOW)
    assert caught.value.status == 422
    return {fault.path: fault.problem for fault in caught.value.faults}


# What is kept


def test_a_record_lies_with_the_hour_of_its_prediction_and_has_the_outcome_as_it_was_reported() -> None:
    (record,) = kept(item(True, time="2026-01-05T14:00:00+02:00"))
    assert record == {
        "schema": 2,
        "id": prediction(),
        "model": "flight-delay",
        "hour": "2026-01-05-11",
        "time": "2026-01-05T12:00:00.000Z",
        "reported": "2026-01-05T12:30:00.000Z",
        "outcome": True,
        "reporter": REPORTER.arn,
        "correction": False,
    }
    hold(FEEDBACK_RECORD, record)


def test_without_a_time_an_outcome_is_known_now_and_ids_are_spelt_as_captures_spell_them() -> None:
    (record,) = kept(item("late", id=prediction().upper()))
    assert (record["time"], record["id"]) == (record["reported"], prediction())


@pytest.mark.parametrize("time", ["2026-01-05", "2026-01-05T00:00", "2026-01-05 00:00:00Z", None])
def test_days_and_times_without_a_zone_are_taken_as_utc(time: str | None) -> None:
    (record,) = kept(item(time=time))
    assert record["time"] == ("2026-01-05T00:00:00.000Z" if time else record["reported"])


@pytest.mark.parametrize("outcome", [True, False, 0, 1.5, "late", "ü" * 1024])
def test_a_class_is_a_boolean_a_number_or_a_text(outcome: Any) -> None:
    (record,) = kept(item(outcome))
    assert record["outcome"] is outcome


@given(st.integers(-1000, 1000))
def test_a_class_is_spelt_alike_whether_json_says_a_whole_number_with_a_point_or_without(number: int) -> None:
    assert class_name(number) == class_name(float(number)) == str(number)


def test_booleans_are_classes_of_their_own() -> None:
    assert [class_name(value) for value in (True, False, 1, 0.5, "True")] == ["true", "false", "1", "0.5", "True"]


# Which outcome counts

ANN, BOB, OPS = (f"arn:aws:iam::123456789012:user/{name}" for name in ("ann", "bob", "ops"))
SESSION = "arn:aws:sts::123456789012:assumed-role/outcomes/{}"


def said(outcome: Any, by: str, minutes: float = 0, *, known: float | None = None, correction: bool = False) -> Claim:
    reported = NOW + timedelta(minutes=minutes)
    time = reported if known is None else NOW + timedelta(minutes=known)
    return Claim("p", time, reported, outcome, by, correction)


@pytest.mark.parametrize(
    ("claims", "outcome", "reporter", "ignored"),
    [
        ([said(1, ANN), said(2, ANN, 1)], 2, ANN, False),
        ([said(1, ANN), said(2, ANN, 1, known=-5)], 1, ANN, False),
        ([said(1, ANN), said(2, BOB, 1)], 1, ANN, True),
        ([said(1, ANN), said(1.0, BOB, 1)], 1, ANN, False),
        ([said(1, ANN), said(2, BOB, 1), said(3, OPS, 2, correction=True)], 3, OPS, True),
        ([said(3, OPS, correction=True), said(1, ANN, 1), said(3, BOB, 2)], 3, OPS, False),
        ([said(3, OPS, correction=True), said(4, OPS, 1, correction=True)], 4, OPS, False),
        ([said(1, SESSION.format("a")), said(2, SESSION.format("b"), 1)], 2, SESSION.format("b"), False),
        ([said(1, ""), said(2, ANN, 1), said(3, BOB, 2)], 2, ANN, True),
    ],
)
def test_an_outcome_is_replaced_by_its_reporter_or_by_a_correction_alone(
    claims: list[Claim], outcome: Any, reporter: str, *, ignored: bool
) -> None:
    for order in (claims, claims[::-1], claims * 2):
        found = outcomes_that_count(order)
        assert (found.known["p"], found.reporters["p"], "p" in found.ignored) == (outcome, reporter, ignored)


@given(
    st.lists(
        st.builds(
            said,
            st.integers(0, 3),
            st.sampled_from([ANN, BOB, SESSION.format("a"), SESSION.format("b"), ""]),
            st.integers(0, 5),
            known=st.integers(-2, 5),
            correction=st.booleans(),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda each: (each.time, each.reported),
    ),
    st.randoms(use_true_random=False),
)
def test_what_counts_depends_on_no_order_and_nobody_else_changes_it(claims: list[Claim], chance: Any) -> None:
    found, mixed = outcomes_that_count(claims), list(claims)
    chance.shuffle(mixed)
    assert outcomes_that_count(mixed) == found
    late = max(each.reported for each in claims) + timedelta(minutes=1)
    stranger = Claim("p", late, late, 9, "arn:aws:iam::123456789012:user/eve", correction=False)
    if any(each.reporter and not each.correction for each in claims) or found.known["p"] in {
        each.outcome for each in claims if each.correction
    }:
        assert outcomes_that_count([*claims, stranger]).known == found.known


# What is refused


@pytest.mark.parametrize(
    ("wrong", "field", "word"),
    [
        ({"id": None}, "id", "is missing"),
        ({"id": 7}, "id", "version 7"),
        ({"id": "0b1f7f0e-6d0c-4d5a-9c6e-000000000001"}, "id", "version 7"),
        ({"id": prediction() + "\n"}, "id", "version 7"),
        ({"id": prediction(16)}, "id", "from the future"),
        ({"id": "ffffffff-ffff-7fff-bfff-ffffffffffff"}, "id", "from the future"),
        ({"id": prediction(-401 * 1440)}, "id", "400 days"),
        ({"outcome": None}, "outcome", "null"),
        ({"outcome": ""}, "outcome", "empty"),
        ({"outcome": [1]}, "outcome", "a list"),
        ({"outcome": {}}, "outcome", "an object"),
        ({"outcome": float("nan")}, "outcome", "finite"),
        ({"outcome": 10**400}, "outcome", "finite"),
        ({"outcome": "x" * 1025}, "outcome", "longer"),
        ({"outcome": "\ud800"}, "outcome", "valid text"),
        ({"time": "yesterday"}, "time", "not a day or time"),
        ({"time": 20260105}, "time", "not a day or time"),
        ({"time": "20260105"}, "time", "not a day or time"),
        ({"time": "0001-01-01T00:00:00+10:00"}, "time", "not a day or time"),
        ({"time": "2026-01-05T12:46Z"}, "time", "in the future"),
        ({"model": "flight-delay"}, "model", "no such field"),
        ({"note": "x"}, "note", "no such field"),
    ],
)
def test_a_fault_is_named_by_item_and_field(wrong: dict[str, Any], field: str, word: str) -> None:
    found = refused(item(), item() | wrong)
    assert list(found) == [f"feedback[1].{field}"]
    assert word in found[f"feedback[1].{field}"]


@pytest.mark.parametrize("outcome", ["12.5", True, "late"])
def test_a_regressions_outcome_is_a_number(outcome: Any) -> None:
    assert kept(item(-3), model="arrival")
    assert "a regression's is a number" in refused(item(outcome), about=ABOUT["arrival"])["feedback[0].outcome"]


def test_every_fault_is_reported_at_once() -> None:
    found = refused("x", {"outcome": None, "time": 1}, {"id": prediction()})
    assert list(found) == [
        "feedback[0]",
        *(f"feedback[1].{field}" for field in ("id", "time", "outcome")),
        "feedback[2].outcome",
    ]


def test_what_is_older_than_the_first_version_was_never_predicted() -> None:
    about = ABOUT["flight-delay"]
    young = replace(about, since=NOW - timedelta(minutes=44))
    assert "older than the model's first version" in refused(item(), about=young)["feedback[0].id"]
    assert list(refused(item(), about=replace(about, since=None))) == ["feedback[0].id"]
    assert records(Report([item()]), replace(about, since=NOW - timedelta(minutes=46)), REPORTER, NOW)


def test_faults_beyond_fifty_are_counted_and_not_listed() -> None:
    with pytest.raises(RequestInvalidError, match=r"^500 faults in the feedback; the first 50 are listed") as caught:
        kept(*[item(None)] * MAX_ITEMS)
    assert len(caught.value.faults) == MAX_FAULTS


def test_one_item_alone_has_faults_by_field() -> None:
    assert list(refused(item(None), listed=False)) == ["outcome"]


def test_two_outcomes_of_one_prediction_need_times_that_show_which_is_the_later() -> None:
    assert "in feedback[0]" in refused(item(True), item(False))["feedback[1].id"]
    assert len(kept(item(True), item(False, time="2026-01-05"))) == 2
    assert len(kept(item(3), item(3.0), item("3"))) == 3


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"\xff", 400, "UTF-8"),
        (b"{", 400, "line 1"),
        (b"[" * 100_000, 400, "deeply"),
        (b"[]", 422, "a list"),
        (b'{"feedback": {}}', 422, "an object"),
        (b'{"feedback": []}', 422, "empty"),
        (b'{"feedback": [1], "model": "m"}', 422, "no such field"),
        (json.dumps({"feedback": [1] * 501}).encode(), 422, "at most 500"),
    ],
)
def test_a_body_of_another_shape_is_refused(body: bytes, status: int, word: str) -> None:
    with pytest.raises(RequestInvalidError) as caught:
        parse_report(body)
    assert caught.value.status == status
    assert word in str(caught.value)


# Taking it in


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> FeedbackFunction:
    made = FeedbackFunction()
    monkeypatch.setattr(wiring, "of", lambda _: made)
    return made


def test_what_is_accepted_is_kept_and_counted_by_model(house: FeedbackFunction) -> None:
    answer = house.post({"feedback": [item(True), item(False, id=prediction(of=1))]})
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"accepted": 2})
    assert [record["outcome"] for record in house.feedback.records] == [True, False]
    assert house.meter.counts == {"Feedback": 2, "Feedback:flight-delay": 2}


def test_the_answer_says_how_many_outcomes_are_no_class_of_the_latest_version(house: FeedbackFunction) -> None:
    def said(*outcomes: Any) -> dict[str, Any]:
        items = [item(each, id=prediction(of=number)) for number, each in enumerate(outcomes)]
        return dict(json.loads(house.post({"feedback": items})["body"]))

    assert said("lost", True) == {"accepted": 2}  # a version that was registered before classes were recorded
    registered(house.registry, "r-002", classes=("false", "true"))
    house.clock.move(seconds=KNOWN.total_seconds())
    assert said("lost", 1, True, "True", "false") == {"accepted": 5, "of_no_class": 2}


def test_one_item_alone_is_accepted(house: FeedbackFunction) -> None:
    assert house.post(item())["statusCode"] == 200
    assert len(house.feedback.records) == 1


def test_a_record_says_who_reported_and_which_route_was_called(house: FeedbackFunction) -> None:
    for route in ("feedback", "corrections"):
        assert house.post(item(), route=route)["statusCode"] == 200
    found = [(record["reporter"], record["correction"]) for record in house.feedback.records]
    assert found == [(REPORTER.arn, False), (REPORTER.arn, True)]


def test_nobody_reports_without_an_identity(house: FeedbackFunction) -> None:
    answer = house.post(item(), event={"requestContext": {}})
    assert (answer["statusCode"], house.feedback.records) == (401, [])


def test_of_a_request_with_a_fault_nothing_is_kept(house: FeedbackFunction) -> None:
    answer = house.post({"feedback": [item(), item(None)]})
    problem = json.loads(answer["body"])
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (422, "application/problem+json")
    assert [fault["path"] for fault in problem["errors"]] == ["feedback[1].outcome"]
    assert (house.feedback.records, house.meter.counts, house.meter.said) == ([], {}, [])


def test_what_could_not_be_kept_is_to_be_sent_again_and_is_not_counted(house: FeedbackFunction) -> None:
    house.feedback.down = True
    answer = house.post(item("s3cr3t"))
    problem = json.loads(answer["body"])
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "5")
    assert "counted twice" in problem["detail"]
    assert house.meter.counts == {}
    assert "s3cr3t" not in house.meter.said[0]


def test_a_fault_of_ours_is_a_500_that_says_nothing_of_it(
    house: FeedbackFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.feedback, "keep", lambda _: 1 / 0)
    answer = house.post(item("s3cr3t"))
    assert answer["statusCode"] == 500
    assert "s3cr3t" not in answer["body"] + "".join(house.meter.said)
    assert "division" not in answer["body"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{}", {"Content-Type": "text/csv"}, 415),
        (" " * 10_001, {}, 413),
        ("\ud800", {}, 400),
        ("", {}, 400),
    ],
)
def test_a_body_that_cannot_be_read_has_the_status_that_says_why(
    house: FeedbackFunction, body: str, headers: dict[str, str], status: int
) -> None:
    assert house.post(body, **headers)["statusCode"] == status


def test_a_body_in_base64_is_read(house: FeedbackFunction) -> None:
    body = base64.b64encode(json.dumps(item()).encode()).decode()
    assert house.post(body, event={"isBase64Encoded": True})["statusCode"] == 200


def test_a_model_is_looked_up_once_a_minute_and_one_that_is_not_there_each_time(house: FeedbackFunction) -> None:
    def status(model: str) -> int:
        return int(house.post(item(), model=model)["statusCode"])

    assert [status("flight-delay"), status("flight-delay"), house.registry.asked] == [200, 200, 1]
    house.clock.move(seconds=KNOWN.total_seconds())
    assert [status("flight-delay"), house.registry.asked] == [200, 2]
    assert [status("nobody"), status("nobody"), house.registry.asked] == [404, 404, 4]


# What a rollout makes of it


def test_of_two_outcomes_of_one_time_the_one_reported_later_counts() -> None:
    (record,) = lines([asked(**sure(true=0.8, false=0.2))])
    later = (NOW + timedelta(minutes=1)).isoformat()
    labels = Labels()
    labels.report("b", label(record["id"], outcome=True) | {"reported": later})
    labels.report("a", label(record["id"], outcome=False))
    labels.found(record)
    tally = Tally(rollout())
    labels.settle(tally, NOW)
    (look,) = tally.looks()
    assert look.candidate.loss_millionths == 40_000


def test_an_outcome_that_was_known_long_ago_waits_for_its_capture_from_when_it_was_reported() -> None:
    labels = Labels()
    labels.report("a", label("not captured yet", outcome=True) | {"time": "2013-01-01T00:00:00Z"})
    reported = datetime.fromisoformat(label("", outcome=True)["reported"])
    assert labels.settle(Tally(rollout()), reported + CAPTURED_WITHIN) == {"a"}
    assert labels.settle(Tally(rollout()), reported + CAPTURED_WITHIN + timedelta(seconds=1)) == frozenset()


# The command


class Api:
    """The API as the command sees it, over the function itself."""

    def __init__(self, house: FeedbackFunction, tool: Cli) -> None:
        self.house = house
        self.run = tool
        self.task = "binary"
        self.batches: list[int] = []
        self.away_after = 99
        self.waited: list[float] = []

    def model(self, name: str) -> dict[str, Any]:
        if name != "flight-delay":
            raise NotFoundError(f"no model {name!r}")
        return {"model": {"task": self.task}}

    def feedback(self, model: str, items: list[dict[str, Any]], *, correct: bool) -> dict[str, Any]:
        if len(self.batches) == self.away_after:
            raise UnavailableError("the serving API is busy: 503")
        self.batches.append(len(items))
        return self.house.intake.take(model, json.dumps({"feedback": items}).encode(), Reporter("arn", correct))

    def close(self) -> None:
        pass


@pytest.fixture
def api(house: FeedbackFunction, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Api:
    made = Api(house, request.getfixturevalue("run"))
    monkeypatch.setattr(Tool, "client", made)
    monkeypatch.setattr(time, "sleep", made.waited.append)
    return made


def write(name: str, *rows: str) -> str:
    Path(name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return name


def test_the_client_sends_model_and_items(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(Client, "_serving", lambda _, *call, body: sent.append((*call, body)) or {"accepted": 1})
    for correct in (False, True):
        assert Client.feedback(Client.__new__(Client), "m", ({"id": "x"},), correct=correct) == {"accepted": 1}
    assert sent == [(route, "m", {"feedback": [{"id": "x"}]}) for route in ("feedback", "corrections")]


def test_an_operator_corrects_by_an_option(api: Api) -> None:
    file = write("labels.csv", "id,outcome", f"{prediction()},true")
    for options in ((), ("--correct",)):
        assert api.run("feedback", file, "--model", "flight-delay", *options) == exits.OK
    assert [record["correction"] for record in api.house.feedback.records] == [False, True]


def test_csv_is_reported_with_booleans_and_texts_and_without_what_is_not_known_yet(api: Api) -> None:
    ids = [prediction(of=at) for at in range(5)]
    rows = (f"{ids[0]},True,x", f"{ids[1]},FALSE,x", f"{ids[2]},007,x", f'{ids[3]},"a,b",x', f"{ids[4]},,x")
    file = write("labels.csv", "id,outcome,other", *rows)
    assert api.run("feedback", file, "--model", "flight-delay") == exits.OK
    assert api.run.out.splitlines() == [
        "flight-delay: 4 outcomes accepted; skipped 1 line without an outcome",
        "outcomes that somebody else reported first do not count; operators replace them with --correct",
    ]
    found = {record["id"]: record["outcome"] for record in api.house.feedback.records}
    assert [found.get(each) for each in ids] == [True, False, "007", "a,b", None]


def test_json_lines_keep_their_types_and_columns_are_named(api: Api) -> None:
    documents = [
        {"prediction": prediction(of=at), "late": late, "landed": "2026-01-05", "noise": [1]}
        for at, late in enumerate((True, 3, "x", None))
    ]
    file = write("labels.jsonl", *map(json.dumps, documents), "")
    options = ("--id-column", "prediction", "--outcome-column", "late", "--time-column", "landed")
    assert api.run("feedback", file, "--model", "flight-delay", *options, "--json") == exits.OK
    expected = {"model": "flight-delay", "accepted": 3, "of_no_class": 0, "without_outcome": 1}
    assert api.run.document == expected
    assert [record["outcome"] for record in api.house.feedback.records] == [True, 3, "x"]
    assert {record["time"] for record in api.house.feedback.records} == {"2026-01-05T00:00:00.000Z"}


def test_a_pipe_is_read(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    text = f"\ufeffoutcome,id\r\n1.0,{prediction()}\r\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert api.run("feedback", "-", "--model", "flight-delay") == exits.OK
    assert [record["outcome"] for record in api.house.feedback.records] == ["1.0"]


def test_a_regressions_outcomes_are_numbers_and_others_are_named_by_line_before_anything_is_sent(
    api: Api,
) -> None:
    api.task = "regression"
    file = write("y.csv", "id,outcome", *(f"{prediction(of=at)},{text}" for at, text in enumerate(("1.5", "x", "inf"))))
    assert api.run("feedback", file, "--model", "flight-delay") == exits.INVALID
    assert "line 3.outcome: 'x' is not a number" in api.run.err
    assert "line 4.outcome: 'inf' is not a number" in api.run.err
    assert api.batches == []


def test_batches_go_by_time_and_faults_are_named_by_line_while_the_others_are_accepted(api: Api) -> None:
    ids = [uuid7(NOW - timedelta(hours=1, seconds=at), bytes(8)) for at in range(1200)]
    rows = [f"{each},true" for each in ids]
    rows[3] = "x,true"
    rows[700] += "\x00"
    file = write("labels.csv", "id,outcome", *rows)
    assert api.run("feedback", file, "--model", "flight-delay") == exits.INVALID
    assert api.batches == [500, 500, 200]
    assert "500 of 1,200 outcomes were" in api.run.err
    caught = [line.strip() for line in api.run.err.splitlines() if line.strip().startswith("line ")]
    assert [line.partition(":")[0] for line in caught] == ["line 5.id", "line 702.outcome"]
    file = write("labels.csv", "id,outcome", *(f"{each},true" for each in ids))
    assert api.run("feedback", file, "--model", "flight-delay") == exits.OK
    assert len({record["id"] for record in api.house.feedback.records}) == 1200


def test_one_prediction_with_two_outcomes_in_a_file_is_named_by_both_lines(api: Api) -> None:
    file = write("labels.csv", "id,outcome", f"{prediction()},true", f"{prediction()},false")
    assert api.run("feedback", file, "--model", "flight-delay") == exits.INVALID
    assert "line 3.id: has another outcome in line 2" in api.run.err


def test_an_interrupted_file_says_how_far_it_came_and_that_it_can_be_sent_again(api: Api) -> None:
    api.away_after = 1
    ids = (uuid7(NOW - timedelta(seconds=at), bytes(8)) for at in range(600))
    file = write("labels.csv", "id,outcome", *(f"{each},1" for each in ids))
    assert api.run("feedback", file, "--model", "flight-delay") == exits.UNREACHABLE
    assert "500 of 600 outcomes were accepted before" in api.run.err
    assert "send the whole file again" in api.run.err


def test_predictions_of_many_hours_are_sent_no_faster_than_firehose_can_part_them(api: Api) -> None:
    ids = (uuid7(NOW - timedelta(hours=at // 2), bytes([at % 2] * 8)) for at in range(2000))
    file = write("labels.csv", "id,outcome", *(f"{each},1" for each in ids))
    assert api.run("feedback", file, "--model", "flight-delay") == exits.OK
    assert api.waited == [command.HOURS_SECONDS] * 3
    assert "waiting" in api.run.err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (("id,label", "x,1"), "outcome: is not a column of the header (allowed: id, label)"),
        (("id,outcome", "x,1,2"), "line 2: has a different number of fields"),
        (("id,outcome", 'x,"1"2'), "neither JSON lines nor CSV"),
        (("id,outcome", "x,"), "no line of labels has an outcome in 'outcome'"),
        (('{"id": "x"}',), "no line of labels has an outcome in 'outcome'"),
        (('{"id": "x", "outcome": 1}', "", '{"id": '), "line 3: is not valid JSON"),
        (('{"id": "x", "outcome": NaN}',), "line 1: is not valid JSON: NaN is not JSON"),
        (('[{"id": "x"}]',), "line 1: is not a JSON object"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_by_line_and_nothing_is_sent(
    api: Api,
    rows: tuple[str, ...],
    said: str,
) -> None:
    assert api.run("feedback", write("labels", *rows), "--model", "flight-delay") == exits.INVALID
    assert said in api.run.err
    assert api.batches == []


def test_a_time_column_that_was_named_must_be_there(api: Api) -> None:
    file = write("labels.csv", "id,outcome", f"{prediction()},1")
    assert api.run("feedback", file, "--model", "flight-delay", "--time-column", "when") == exits.INVALID
    assert "when: is not a column" in api.run.err


def test_an_unknown_model_and_a_missing_file_are_reported_in_a_line(api: Api) -> None:
    assert api.run("feedback", "nothing.csv", "--model", "flight-delay") == exits.INVALID
    assert "there is no file nothing.csv" in api.run.err
    assert api.run("feedback", write("l.csv", "id,outcome"), "--model", "nobody") == exits.NOT_FOUND


def test_a_fault_of_the_request_as_a_whole_keeps_its_words() -> None:
    fault = Fault("content-type", "is not JSON")
    assert command._by_line(fault, [], command.Columns("id", "outcome", "time", is_time_named=False)) == fault
