"""The local cloud on a small CDK app: provisioned unchanged, called through its APIs, ended without a trace."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.seconds_path import SecondsPath

from infra.local.cloud import LocalCloud
from tests.builders.waiting import eventually
from tests.local.calls import call, finished, reached, run


def test_a_function_runs_its_asset_with_layer_and_environment_of_the_template(cloud: LocalCloud) -> None:
    _, body = call(cloud, {"a": 1})
    assert body["event"] == {"a": 1}
    assert body["layer"] == "from the layer"
    assert body["table"].startswith("Storage-Table")


def test_alias_and_arn_reach_the_function_and_an_unknown_alias_does_not(cloud: LocalCloud) -> None:
    client = cloud.client("lambda")
    assert client.invoke(FunctionName="work:live", Payload=b"{}")["StatusCode"] == 200
    arn = f"arn:aws:lambda:us-east-1:{cloud.account}:function:work"
    assert client.invoke(FunctionName=arn, Payload=b"{}")["StatusCode"] == 200
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="work", Qualifier="nothing", Payload=b"{}")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="nobody", Payload=b"{}")


def test_an_error_of_the_function_is_named_as_lambda_names_it(cloud: LocalCloud) -> None:
    answer, body = call(cloud, {"do": "raise", "message": "no"})
    assert answer["FunctionError"] == "Unhandled"
    assert (body["errorType"], body["errorMessage"]) == ("SampleError", "no")


def test_an_event_is_retried_and_then_goes_to_the_failure_destination_with_request_and_response(
    clean: LocalCloud,
) -> None:
    answer = clean.client("lambda").invoke(
        FunctionName="work", InvocationType="Event", Payload=b'{"do": "raise", "message": "again"}'
    )
    assert answer["StatusCode"] == 202
    (text,) = eventually(lambda: clean.messages("failures"))
    message = json.loads(text)
    assert message["requestContext"]["approximateInvokeCount"] == 2
    assert message["requestPayload"] == {"do": "raise", "message": "again"}
    assert message["responsePayload"]["errorType"] == "SampleError"


def test_an_execution_runs_the_definition_and_calls_the_function(cloud: LocalCloud) -> None:
    done = run(cloud, {"hello": 1})
    assert done["status"] == "SUCCEEDED"
    assert json.loads(done["output"])["result"]["Payload"]["event"] == {"hello": 1}
    history = cloud.client("stepfunctions").get_execution_history(executionArn=done["executionArn"])["events"]
    assert [history[0]["type"], history[-1]["type"]] == ["ExecutionStarted", "ExecutionSucceeded"]


def test_retry_and_catch_match_the_names_of_the_functions_errors(cloud: LocalCloud) -> None:
    retried = run(cloud, {"do": "fail_once", "key": "retry"})
    assert retried["status"] == "SUCCEEDED"
    caught = json.loads(run(cloud, {"do": "raise"})["output"])
    assert caught["caught"] == {"yes": True}
    assert caught["failure"]["Error"] == "SampleError"
    assert json.loads(caught["failure"]["Cause"])["errorMessage"] == "as asked"


def test_a_function_that_runs_out_of_time_fails_its_state_as_sandbox_timedout(cloud: LocalCloud) -> None:
    caught = json.loads(run(cloud, {"do": "sleep", "seconds": 5})["output"])
    assert caught["failure"]["Error"] == "Sandbox.Timedout"


def test_an_uncaught_error_fails_the_execution_with_its_name(cloud: LocalCloud) -> None:
    failed = run(cloud, {"do": "exit"})
    assert failed["status"] == "FAILED"
    assert failed["error"] == "Runtime.ExitError"


def test_a_state_machine_may_do_only_what_its_role_may(cloud: LocalCloud) -> None:
    failed = run(cloud, {}, "DeniedArn")
    assert failed["status"] == "FAILED"
    assert "not authorized to perform: lambda:InvokeFunction" in failed["cause"]


def test_one_name_and_input_is_one_execution_and_the_same_name_later_is_refused(cloud: LocalCloud) -> None:
    states = cloud.client("stepfunctions")
    given = {"stateMachineArn": cloud.outputs["MachineArn"], "name": "once", "input": '{"do": "sleep", "seconds": 1}'}
    first, second = states.start_execution(**given), states.start_execution(**given)
    assert first["executionArn"] == second["executionArn"]
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        states.start_execution(**{**given, "input": "{}"})
    finished(cloud, first["executionArn"])
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        states.start_execution(**given)


def test_a_wait_state_ends_when_the_clock_is_moved_past_it(cloud: LocalCloud) -> None:
    states = cloud.client("stepfunctions")
    started = states.start_execution(stateMachineArn=cloud.outputs["MachineArn"], input='{"wait": 7200}')
    assert reached(cloud, started["executionArn"], "WaitStateEntered")
    cloud.advance(7100)
    assert states.describe_execution(executionArn=started["executionArn"])["status"] == "RUNNING"
    cloud.advance(100)
    assert finished(cloud, started["executionArn"])["status"] == "SUCCEEDED"


def test_a_patient_clock_stands_still_until_what_fell_due_has_been_done(cloud: LocalCloud) -> None:
    states, began = cloud.client("stepfunctions"), cloud.clock.time()

    def waiting(**given: Any) -> str:
        started = states.start_execution(stateMachineArn=cloud.outputs["MachineArn"], input=json.dumps(given))
        assert reached(cloud, started["executionArn"], "WaitStateEntered")
        return str(started["executionArn"])

    later, due = waiting(wait=86_400), waiting(wait=90, do="sleep", seconds=1.5)
    cloud.advance(3_600, patience_s=60)
    described = states.describe_execution(executionArn=due)
    assert described["status"] == "SUCCEEDED"
    assert described["stopDate"].timestamp() - began < 300
    assert cloud.clock.time() - began >= 3_600
    states.stop_execution(executionArn=later)


def test_a_wait_counts_from_when_its_state_was_entered(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has seen in the history that it waits may move the clock, however slow the interpreter's thread is."""
    original = SecondsPath._get_wait_seconds

    def slow(function: SecondsPath, env: Any) -> int:
        cloud.advance(7200)
        return original(function, env)

    monkeypatch.setattr(SecondsPath, "_get_wait_seconds", slow)
    states = cloud.client("stepfunctions")
    started = states.start_execution(stateMachineArn=cloud.outputs["MachineArn"], input='{"wait": 7200}')
    assert finished(cloud, started["executionArn"])["status"] == "SUCCEEDED"


def test_a_stopped_execution_is_aborted_at_once_and_says_why(cloud: LocalCloud) -> None:
    states = cloud.client("stepfunctions")
    started = states.start_execution(stateMachineArn=cloud.outputs["MachineArn"], input='{"wait": 7200}')
    states.stop_execution(executionArn=started["executionArn"], error="Enough", cause="changed our mind")
    described = states.describe_execution(executionArn=started["executionArn"])
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Enough", "changed our mind")


def test_an_execution_that_takes_too_long_times_out_and_is_an_event(clean: LocalCloud) -> None:
    done = run(clean, {}, "ShortArn")
    assert done["status"] == "TIMED_OUT"
    assert done["stopDate"] > done["startDate"]
    (text,) = eventually(lambda: clean.messages("seen"))
    assert json.loads(text)["detail"]["status"] == "TIMED_OUT"


def test_what_is_published_to_a_topic_reaches_the_function_that_subscribed(cloud: LocalCloud) -> None:
    before = cloud.metric_sum("AWS/Lambda", "Invocations", {"FunctionName": "work"})
    topic = next(t["TopicArn"] for t in cloud.client("sns").list_topics()["Topics"])
    cloud.client("sns").publish(TopicArn=topic, Message="hello")
    cloud.settle()
    assert cloud.metric_sum("AWS/Lambda", "Invocations", {"FunctionName": "work"}) == before + 1
    assert cloud.messages("alarms")[-1] == "hello"


def test_what_is_published_is_kept_with_its_subject_and_attributes(cloud: LocalCloud) -> None:
    sns = cloud.client("sns")
    (topic,) = (t["TopicArn"] for t in sns.list_topics()["Topics"])
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["KmsMasterKeyId"]
    attributes = {"model": {"DataType": "String", "StringValue": "late"}}
    sns.publish(TopicArn=topic, Subject="Look", Message="at this", MessageAttributes=attributes)
    sns.publish(TopicArn=topic, Message="bare")
    with_subject, bare = cloud.notifications("alarms")[-2:]
    assert with_subject == {"subject": "Look", "message": "at this", "attributes": {"model": "late"}}
    assert bare == {"subject": None, "message": "bare", "attributes": {}}
    assert cloud.messages(topic)[-2:] == ["at this", "bare"]
    with pytest.raises(LookupError, match="there is no topic nowhere; there are alarms"):
        cloud.notifications("nowhere")


def test_codedeploy_is_declared_only(cloud: LocalCloud) -> None:
    declared = {name.rpartition("(")[2].rstrip(")") for name in cloud.declared_only}
    kinds = {"Application", "DeploymentConfig", "DeploymentGroup"}
    assert declared >= {f"AWS::CodeDeploy::{kind}" for kind in kinds}


def signed_get(url: str, keys: dict[str, str]) -> tuple[int, bytes]:
    request = AWSRequest("GET", url)
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
    prepared = urllib.request.Request(url, headers=dict(request.headers))  # noqa: S310
    try:
        with urllib.request.urlopen(prepared) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_api_answers_a_signed_request_at_the_address_in_outputs_and_parameters(cloud: LocalCloud) -> None:
    url = cloud.client("ssm").get_parameter(Name="/sample/url")["Parameter"]["Value"]
    assert url == cloud.outputs["ApiUrl"] == cloud.gateways["sample"].url
    status, body = signed_get(f"{url}/models/late", cloud.env())
    assert status == 200
    assert json.loads(body)["path"] == "/models/late"


def test_the_api_refuses_who_may_not_invoke_it_route_by_route(cloud: LocalCloud) -> None:
    arn = f"arn:aws:execute-api:us-east-1:{cloud.account}:{cloud.outputs['ApiId']}/$default/GET/models/late"
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": arn}
    keys = cloud.add_user("reader", {"Version": "2012-10-17", "Statement": [statement]})
    url = cloud.outputs["ApiUrl"]
    assert signed_get(f"{url}/models/late", keys)[0] == 200
    assert signed_get(f"{url}/models/early", keys)[0] == 403
    assert signed_get(f"{url}/models/late", {**keys, "AWS_SECRET_ACCESS_KEY": "x" * 40})[0] == 403


def test_what_the_template_says_of_a_bucket_and_a_table_is_so(cloud: LocalCloud) -> None:
    s3, dynamodb = cloud.client("s3"), cloud.client("dynamodb")
    bucket = next(b["Name"] for b in s3.list_buckets()["Buckets"] if b["Name"].startswith("storage-"))
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]
    assert len(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) == 1
    (table,) = dynamodb.list_tables()["TableNames"]
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["AttributeName"] == "expires"


def test_an_item_of_all_types_comes_back_as_it_was_put(cloud: LocalCloud) -> None:
    client = cloud.client("dynamodb")
    (table,) = client.list_tables()["TableNames"]
    values = {"S": "ü", "N": "1.50", "B": b"\x00\xff", "SS": ["a"], "NS": ["1"], "BS": [b"\xfe"], "BOOL": False}
    attributes = {kind.lower(): {kind: value} for kind, value in values.items()} | {"null": {"NULL": True}}
    key = {"pk": {"S": "types"}, "sk": {"S": "all"}}
    item = key | attributes | {"m": {"M": attributes | {"l": {"L": []}}}, "l": {"L": [*attributes.values(), {"M": {}}]}}
    client.put_item(TableName=table, Item=item)
    assert client.get_item(TableName=table, Key=key)["Item"] == item
    of = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": key["pk"]}}
    assert client.query(TableName=table, **of)["Items"] == [item]
    (got,) = client.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": key}}])["Responses"]
    assert got["Item"] == item
    assert client.delete_item(TableName=table, Key=key, ReturnValues="ALL_OLD")["Attributes"] == item


def test_of_many_conditional_writes_at_once_one_wins(cloud: LocalCloud) -> None:
    client = cloud.client("dynamodb")
    (table,) = client.list_tables()["TableNames"]

    def claim(_: int) -> bool:
        item = {"pk": {"S": "route"}, "sk": {"S": "current"}}
        try:
            client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(sk)")
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(24))) == 1


def test_logs_of_a_function_are_in_the_group_its_template_names(cloud: LocalCloud) -> None:
    call(cloud, {})
    cloud.settle()
    assert any(line.startswith("REPORT RequestId") for line in cloud.log_lines("/sample/work"))


def test_mock_aws_would_empty_the_cloud_and_is_refused(cloud: LocalCloud) -> None:
    from moto import mock_aws

    with pytest.raises(RuntimeError, match="mock_aws cannot start"), mock_aws():
        pass
    assert cloud.client("dynamodb").list_tables()["TableNames"]


def test_a_second_cloud_in_the_process_is_refused(cloud: LocalCloud, assembly: Path) -> None:
    with pytest.raises(RuntimeError, match="open in this process"):
        LocalCloud.start(assembly, tick=False)
    assert call(cloud, {})[0]["StatusCode"] == 200


@pytest.mark.parametrize(
    ("here", "notice"),
    [
        ("3.13.9", "functions run under Python 3.13.9, as on Lambda"),
        (
            "3.11.7",
            "functions run under Python 3.11.7, and on Lambda under 3.13: results may differ. Install Python 3.13,",
        ),
    ],
)
def test_a_cloud_says_whether_functions_run_under_their_own_python(cloud: LocalCloud, here: str, notice: str) -> None:
    with patch.object(cloud.host, "python_version", here):
        assert cloud.python_notice.startswith(notice)
