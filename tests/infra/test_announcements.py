"""How a change in the registry gets to people and systems, and what becomes of one that does not."""

import json
from dataclasses import replace
from typing import Any

import pytest

from infra.local.patterns import matches
from tests.builders.batch import START
from tests.builders.notifications import DRIFT, ENTRY, RUN, STEADY, looked
from tests.builders.rollouts import ASKED, OneRelease
from tests.infra.synthesized import Deployment, Resource
from tidegate.aws.announcements import change_of
from tidegate.aws.items import encode
from tidegate.domain.batch.batch_ledger import Act
from tidegate.domain.notifications.announcement import announcement
from tidegate.domain.registry.run import START_WITHIN, CandidateRun, RunStatus


def mappings(deployment: Deployment) -> dict[str, Resource]:
    """What calls the function, by the table whose stream it reads."""
    return {
        ("ledger" if "Ledger" in json.dumps(each.properties["EventSourceArn"]) else "registry"): each
        for each in deployment.resources("AWS::Lambda::EventSourceMapping")
        if each.stack.endswith("-Announcements")
    }


def lets_through(deployment: Deployment, record: dict[str, Any]) -> bool:
    ledger = record["dynamodb"]["Keys"]["pk"]["S"].startswith("LEDGER#")
    filters = mappings(deployment)["ledger" if ledger else "registry"].properties["FilterCriteria"]["Filters"]
    return any(matches(json.loads(entry["Pattern"]), record) for entry in filters)


def record(pk: str, sk: str, before: Any, after: Any) -> dict[str, Any]:
    """A record of the stream."""
    images = {"OldImage": before, "NewImage": after}
    keys = {"pk": {"S": pk}, "sk": {"S": sk}}
    kept = {name: keys | encode(image) for name, image in images.items() if image is not None}
    return {"eventName": "MODIFY" if before else "INSERT", "dynamodb": {"Keys": keys, **kept}}


def records() -> dict[str, dict[str, Any]]:
    house = OneRelease(ASKED)
    asked = house.begin()
    house.decide()
    run, rollout, health = (f"{kind}#trip-delay" for kind in ("RUN", "ROLLOUT", "HEALTH"))
    candidate = "RUN#r-3#CANDIDATE#001"
    fitted = CandidateRun(1, "sklearn.tree.DecisionTreeClassifier", {}, "roc_auc", 0.7, 1.0, 100)
    return {
        "entry": record("LEDGER#trip-delay", "0000000007", None, ENTRY),
        "rollout": record(rollout, "ROLLOUT#r-3", None, asked),
        "decision": record(rollout, "ROLLOUT#r-3", asked, house.at),
        "requested": record(run, "RUN#r-3", None, RUN),
        "step": record(run, "RUN#r-3", RUN, RUN),
        "candidate": record(run, candidate, None, fitted),
        "candidate again": record(run, candidate, fitted, fitted),
        "route": record("ROUTE#trip-delay", "ROUTE", None, ENTRY),
        "drift": record(health, "HEALTH", STEADY, looked(STEADY, DRIFT)),
        "drift at the first look": record(health, "HEALTH", None, looked(None, DRIFT)),
        **{
            status.value: record(run, "RUN#r-3", RUN, replace(RUN, status=status))
            for status in RunStatus
            if status.final
        },
    }


@pytest.mark.parametrize("what", records())
def test_the_function_is_called_for_what_is_announced_and_for_nothing_that_it_never_announces(
    what: str, deployment: Deployment
) -> None:
    written = records()[what]
    change = change_of(written)
    assert lets_through(deployment, written) is (change is not None and announcement(change) is not None)


def test_a_failing_change_is_tried_again_for_hours_and_then_kept_alone(deployment: Deployment) -> None:
    assert set(mappings(deployment)) == {"registry", "ledger"}
    for each in mappings(deployment).values():
        found = each.properties
        assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert found["BatchSize"] == 1
        assert 10 <= found["MaximumRetryAttempts"] <= 10_000
        assert 3600 <= found["MaximumRecordAgeInSeconds"] < 86_400  # the stream itself forgets after a day
        assert "-failures" in json.dumps(found["DestinationConfig"]["OnFailure"]["Destination"])
        assert found["StartingPosition"] == "TRIM_HORIZON"


def test_another_function_is_called_for_each_run_that_is_recorded_and_for_nothing_else(deployment: Deployment) -> None:
    (mapping,) = [
        each
        for each in deployment.resources("AWS::Lambda::EventSourceMapping")
        if not each.stack.endswith("-Announcements")
    ]
    assert "CloseFailed" in json.dumps(mapping.properties["FunctionName"])
    assert "Registry" in json.dumps(mapping.properties["EventSourceArn"])
    assert mapping.properties["MaximumRecordAgeInSeconds"] > START_WITHIN.total_seconds()
    patterns = [json.loads(each["Pattern"]) for each in mapping.properties["FilterCriteria"]["Filters"]]
    pattern, batches = patterns
    run = "RUN#flight-delay"
    recorded = record(run, "RUN#r-3", None, replace(RUN, status=RunStatus.REQUESTED))
    assert matches(pattern, recorded)
    begun = record(run, "RUN#r-3", replace(RUN, status=RunStatus.REQUESTED), replace(RUN, status=RunStatus.RUNNING))
    for other in (begun, *records().values()):
        assert not any(matches(each, other) for each in patterns)
    chained = record("BATCHES#flight-delay", "ENTRY#0000000001", None, START)
    assert matches(batches, chained)
    assert not matches(batches, record("BATCHES#flight-delay", "ACT#b#batch_start#1", None, START))
    assert not matches(
        batches, record("BATCHES#flight-delay", "ENTRY#0000000002", None, replace(START, action=Act.COMPLETE))
    )


def test_the_stream_has_what_was_before_and_what_is_after(deployment: Deployment) -> None:
    for table in deployment.resources("AWS::DynamoDB::Table"):
        assert table.properties["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_the_function_may_read_and_publish_and_nothing_else(deployment: Deployment) -> None:
    (role,) = [role for role in deployment.resources("AWS::IAM::Role") if role.id.startswith("AnnounceRole")]
    (policy,) = role.properties["Policies"]
    allowed: dict[str, str] = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        allowed |= dict.fromkeys(actions, json.dumps(statement["Resource"]))
    assert set(allowed) == {
        "dynamodb:DescribeStream",
        "dynamodb:GetItem",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        "events:PutEvents",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sns:Publish",
        "sqs:SendMessage",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
    assert "event-bus/default" in allowed["events:PutEvents"]
    assert "-releases" in allowed["sns:Publish"]
    assert "StreamArn" in allowed["dynamodb:GetRecords"]
    assert "-failures" in allowed["sqs:SendMessage"]


def test_people_subscribe_to_a_topic_of_its_own_under_the_alarms_key(deployment: Deployment) -> None:
    topics = {topic.id.removesuffix(topic.id[-8:]): topic for topic in deployment.resources("AWS::SNS::Topic")}
    assert set(topics) == {"Alarms", "Releases"}
    assert topics["Releases"].properties["TopicName"] == f"tidegate-{deployment.stage}-releases"
    assert topics["Releases"].properties["KmsMasterKeyId"] == topics["Alarms"].properties["KmsMasterKeyId"]
    subscribed = [
        (subscription.properties["TopicArn"]["Ref"], subscription.properties["Endpoint"])
        for subscription in deployment.resources("AWS::SNS::Subscription")
    ]
    mails = ["oncall@example.com"] if deployment.stage == "prod" else []
    assert sorted(subscribed) == sorted((topic.id, mail) for topic in topics.values() for mail in mails)


def test_late_announcements_and_a_failing_function_wake_people(deployment: Deployment) -> None:
    alarms = {
        alarm.properties["AlarmName"]: alarm.properties for alarm in deployment.resources("AWS::CloudWatch::Alarm")
    }
    prefix = f"tidegate-{deployment.stage}"
    name = f"{prefix}-announce"
    late = alarms[f"{prefix}-announcements-late"]
    assert (late["MetricName"], late["Threshold"], late["Statistic"]) == ("IteratorAge", 300_000, "Maximum")
    assert late["Dimensions"] == [{"Name": "FunctionName", "Value": name}]
    for kind in ("errors", "throttles"):
        of_the_class = [one for alarm, one in alarms.items() if alarm.startswith(f"{prefix}-release-{kind}")]
        assert name in json.dumps([one["Metrics"] for one in of_the_class])
