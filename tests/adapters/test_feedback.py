"""Outcomes on their way into Firehose, and the function as it is wired on AWS (moto), from event to record."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from functions.feedback import handler as function
from tests.adapters.conftest import BUCKET, TABLE, client_of
from tests.builders.feedback import REPORTER
from tests.builders.registry import registered
from tests.builders.specs import a_spec
from tests.context import CONTEXT
from tidegate.aws.feedback import PAUSE_SECONDS, FirehoseFeedback
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.errors import UnavailableError
from tidegate.kernel.ids import uuid7
from tidegate.kernel.routes import SERVING
from tidegate.testing.serving import InMemoryFeedback

STREAM = "tidegate-test-feedback"
TAKEN, BUSY = {"RecordId": "1"}, {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"}


class Scripted:
    """A Firehose that answers call by call: an error to raise, or what it says of each record."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[list[bytes]] = []

    def put_record_batch(self, **call: Any) -> dict[str, Any]:
        assert call["DeliveryStreamName"] == STREAM
        self.sent.append([record["Data"] for record in call["Records"]])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"FailedPutCount": answer.count(BUSY), "RequestResponses": answer}


def keep(scripted: Scripted, *lines: bytes) -> list[float]:
    """Keep lines; the pauses that were made."""
    pauses: list[float] = []
    FirehoseFeedback(STREAM, client=lambda: scripted, sleep=pauses.append).keep(lines)
    return pauses


def refusal(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutRecordBatch")


def test_lines_travel_together_as_one_record() -> None:
    scripted = Scripted([TAKEN])
    assert keep(scripted, b"1", b"2", b"3") == []
    assert scripted.sent == [[b"1\n2\n3\n"]]


def test_only_what_was_not_taken_is_sent_again() -> None:
    long = [bytes([letter]) * 900_000 for letter in b"abc"]
    scripted = Scripted([TAKEN, BUSY, BUSY], [BUSY, TAKEN], [TAKEN])
    assert keep(scripted, *long) == list(PAUSE_SECONDS[:2])
    assert [[record[:1] for record in call] for call in scripted.sent] == [[b"a", b"b", b"c"], [b"b", b"c"], [b"b"]]


@pytest.mark.parametrize(
    "passing",
    [
        ConnectTimeoutError(endpoint_url="x"),
        refusal("ServiceUnavailableException", 503),
        refusal("ThrottlingException"),
    ],
)
def test_a_call_without_an_answer_is_made_again(passing: Exception) -> None:
    scripted = Scripted(passing, [TAKEN])
    assert len(keep(scripted, b"1")) == 1
    assert scripted.sent == [[b"1\n"]] * 2


def test_what_is_not_taken_in_the_end_is_unavailable_and_never_called_kept() -> None:
    scripted = Scripted(*[[BUSY]] * 10)
    with pytest.raises(UnavailableError, match="did not accept all"):
        keep(scripted, b"1")
    assert len(scripted.sent) == len(PAUSE_SECONDS) + 1


def test_what_will_not_pass_by_itself_is_not_tried_again() -> None:
    scripted = Scripted(refusal("AccessDeniedException"))
    with pytest.raises(ClientError):
        keep(scripted, b"1")


# The function


@pytest.fixture
def deployed(cold: Callable[..., None]) -> None:
    """Environment as the stack sets it, a function that is not wired yet, a model, and a stream into the bucket."""
    cold(REGISTRY_TABLE=TABLE, FEEDBACK_STREAM=STREAM, STAGE="test", MAX_BODY_BYTES="100000")
    client_of("firehose").create_delivery_stream(
        DeliveryStreamName=STREAM,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{BUCKET}",
            "Prefix": "raw/",
        },
    )
    registry, at = DynamoRegistry(TABLE), datetime.now(UTC) - timedelta(days=1)
    registry.apply(a_spec(), author="ann", at=at)
    registered(registry, "r-001", created_at=at)


def post(*items: dict[str, Any], model: str = "flight-delay") -> tuple[int, dict[str, Any]]:
    event = {
        "routeKey": SERVING["feedback"].key,
        "pathParameters": {"model": model},
        "headers": {"content-type": "application/json"},
        "requestContext": {"authorizer": {"iam": {"userArn": REPORTER.arn}}},
        "body": json.dumps({"feedback": items}),
        "isBase64Encoded": False,
    }
    answer = function.handler(event, CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def stored() -> list[dict[str, Any]]:
    s3 = client_of("s3")
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="raw/").get("Contents", [])
    bodies = [s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in found]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_every_log_keeps_the_lines_that_it_is_given(where: str, request: pytest.FixtureRequest) -> None:
    fake = InMemoryFeedback()
    if where == "aws":
        request.getfixturevalue("deployed")
    log = fake if where == "memory" else FirehoseFeedback(STREAM)
    for lines in ([b'{"id": "1"}', b'{"id": "2"}'], [b'{"id": "3"}']):
        log.keep(lines)
    kept = fake.records if where == "memory" else stored()
    assert sorted(each["id"] for each in kept) == ["1", "2", "3"]


@pytest.mark.usefixtures("deployed")
def test_reported_outcomes_are_stored_before_they_are_accepted_and_counted_by_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = datetime.now(UTC) - timedelta(hours=2)
    ids = [uuid7(at, bytes([row] * 8)) for row in range(3)]
    assert post(*({"id": each, "outcome": True} for each in ids)) == (200, {"accepted": 3})
    assert [(record["id"], record["hour"]) for record in stored()] == [(each, f"{at:%Y-%m-%d-%H}") for each in ids]
    emf = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    sets = {
        tuple(sorted(names)): (line["Feedback"], line.get("model"))
        for line in emf
        for names in line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    }
    assert sets == {
        ("service", "stage"): ([3.0], None),
        ("model", "service", "stage"): (3, "flight-delay"),
    }


@pytest.mark.usefixtures("deployed")
def test_an_unknown_model_is_not_found_and_neither_it_nor_its_outcomes_are_written_to_logs_or_metrics(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    status, _ = post({"id": uuid7(datetime.now(UTC), bytes(8)), "outcome": "s3cr3t"}, model="nobody")
    assert status == 404
    assert stored() == []
    assert capsys.readouterr().out + caplog.text == ""


@pytest.mark.usefixtures("deployed")
def test_without_its_stream_nothing_is_accepted_and_the_log_has_no_outcome(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TIDEGATE_FEEDBACK_STREAM", "gone")
    status, _ = post({"id": uuid7(datetime.now(UTC), bytes(8)), "outcome": "s3cr3t"})
    assert status == 500
    assert "s3cr3t" not in capsys.readouterr().out + caplog.text
    assert "request failed" in caplog.text
