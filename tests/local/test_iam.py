"""Every call is signed, verified and authorised against real policies, actions and resources."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local import iam
from infra.local.clients import LocalSession
from infra.local.cloud import LocalCloud


def allow(*actions: str, on: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **more}


def deny(*actions: str, on: str = "*", **more: Any) -> dict[str, Any]:
    return {**allow(*actions, on=on, **more), "Effect": "Deny"}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def code(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture(scope="module")
def table(cloud: LocalCloud) -> str:
    return str(cloud.client("dynamodb").list_tables()["TableNames"][0])


@pytest.fixture(scope="module")
def bucket(cloud: LocalCloud) -> str:
    buckets = cloud.client("s3").list_buckets()["Buckets"]
    return next(str(b["Name"]) for b in buckets if b["Name"].startswith("storage-"))


def in_function(cloud: LocalCloud, service: str, operation: str, **params: Any) -> dict[str, Any]:
    event = {"do": "call", "service": service, "operation": operation, "with": params}
    answer = cloud.client("lambda").invoke(FunctionName="work", Payload=json.dumps(event).encode())
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    return body


def test_a_function_may_do_what_its_role_allows_and_nothing_else(cloud: LocalCloud, table: str) -> None:
    item = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    assert in_function(cloud, "dynamodb", "put_item", TableName=table, Item=item) == {}
    assert in_function(cloud, "dynamodb", "get_item", TableName=table, Key=item)["Item"] == item
    denied = in_function(cloud, "dynamodb", "delete_item", TableName=table, Key=item)
    assert "AccessDeniedException" in denied["errorMessage"]
    assert "not authorized to perform: dynamodb:DeleteItem on resource: arn:aws:dynamodb" in denied["errorMessage"]
    assert ":assumed-role/" in denied["errorMessage"]


def test_a_role_that_may_read_one_prefix_may_not_read_another(cloud: LocalCloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="open/a b+ü.txt", Body=b"hello")
    s3.put_object(Bucket=bucket, Key="closed/a.txt", Body=b"secret")
    assert in_function(cloud, "s3", "get_object", Bucket=bucket, Key="open/a b+ü.txt")["Body"] == "hello"
    assert "AccessDenied" in in_function(cloud, "s3", "get_object", Bucket=bucket, Key="closed/a.txt")["errorMessage"]


def test_a_statement_that_names_another_table_denies(cloud: LocalCloud, table: str) -> None:
    arn = f"arn:aws:dynamodb:us-east-1:{cloud.account}:table/other"
    cloud.add_user("other-table", policy(allow("dynamodb:*", on=arn)))
    client = cloud.client("dynamodb", "other-table")
    key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    assert code(client.get_item, TableName=table, Key=key) == "AccessDeniedException"
    put = {"Put": {"TableName": table, "Item": key}}
    assert code(client.transact_write_items, TransactItems=[put]) == "AccessDeniedException"


def test_leading_keys_restrict_items(cloud: LocalCloud, table: str) -> None:
    condition = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["mine"]}}
    cloud.add_user("leading", policy(allow("dynamodb:PutItem", "dynamodb:Query", Condition=condition)))
    client = cloud.client("dynamodb", "leading")
    client.put_item(TableName=table, Item={"pk": {"S": "mine"}, "sk": {"S": "1"}})
    assert code(client.put_item, TableName=table, Item={"pk": {"S": "yours"}, "sk": {"S": "1"}}) == (
        "AccessDeniedException"
    )
    query = {"TableName": table, "KeyConditionExpression": "pk = :p"}
    assert client.query(**query, ExpressionAttributeValues={":p": {"S": "mine"}})["Count"] == 1
    assert code(client.query, **query, ExpressionAttributeValues={":p": {"S": "yours"}}) == "AccessDeniedException"


def test_a_wrong_secret_an_unknown_key_and_a_stolen_token_are_refused(cloud: LocalCloud) -> None:
    keys = {name.lower(): value for name, value in cloud.env().items() if "KEY" in name}

    def sts(**changes: str) -> Any:
        return LocalSession(cloud.endpoint_url, "us-east-1", {**keys, **changes}).client("sts")

    assert sts().get_caller_identity()["Arn"].endswith("user/developer")
    assert code(sts(aws_secret_access_key="x" * 40).get_caller_identity) == "SignatureDoesNotMatch"
    unknown = "AKIAIOSFODNN7EXAMPLE"  # pragma: allowlist secret
    assert code(sts(aws_access_key_id=unknown).get_caller_identity) == "UnrecognizedClientException"
    assert code(sts(aws_session_token="made up").get_caller_identity) == "InvalidToken"


def test_a_body_changed_after_signing_is_refused(cloud: LocalCloud, table: str) -> None:
    client = cloud.client("dynamodb")

    def tamper(request: Any, **_: Any) -> None:
        request.body = request.body.replace(b"innocent", b"tampered")

    client.meta.events.register("before-send.dynamodb.PutItem", tamper)
    item = {"pk": {"S": "innocent"}, "sk": {"S": "1"}}
    assert code(client.put_item, TableName=table, Item=item) in ("InvalidSignatureException", "SignatureDoesNotMatch")


def test_an_assumed_role_has_the_roles_permissions_and_only_trusted_principals_get_it(cloud: LocalCloud) -> None:
    admin = cloud.add_user("admin", policy(allow("*")))
    iam_client = cloud.client("iam", "admin")
    trust = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{cloud.account}:user/admin"},
            "Action": "sts:AssumeRole",
        }
    )
    role = iam_client.create_role(RoleName="reads", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam_client.put_role_policy(
        RoleName="reads", PolicyName="p", PolicyDocument=json.dumps(policy(allow("sqs:ListQueues")))
    )
    given = cloud.client("sts", "admin").assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    session = LocalSession(
        cloud.endpoint_url,
        "us-east-1",
        {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        },
    )
    assert session.client("sqs").list_queues()["QueueUrls"]
    assert code(session.client("sns").list_topics) == "AccessDenied"
    cloud.add_user("stranger", policy(allow("sts:AssumeRole")))
    stranger = cloud.client("sts", "stranger")
    assert code(stranger.assume_role, RoleArn=role["Arn"], RoleSessionName="session") == "AccessDenied"
    assert admin["AWS_ACCESS_KEY_ID"].startswith("AKIA")


def test_a_managed_policy_of_aws_is_the_real_one(cloud: LocalCloud, bucket: str) -> None:
    cloud.add_user("reads-s3", ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"])
    client = cloud.client("s3", "reads-s3")
    client.list_objects_v2(Bucket=bucket)
    assert code(client.put_object, Bucket=bucket, Key="x", Body=b"") == "AccessDenied"


def test_a_presigned_url_works_for_whoever_holds_it_and_not_when_changed(cloud: LocalCloud, bucket: str) -> None:
    client = cloud.session().client("s3", config=Config(signature_version="s3v4"))
    client.put_object(Bucket=bucket, Key="shared.txt", Body=b"look")
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "shared.txt"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:  # noqa: S310
        assert answer.read() == b"look"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("shared", "secret"))  # noqa: S310
    caught.value.close()
    assert caught.value.code == 403


def test_an_unsigned_request_is_refused(cloud: LocalCloud) -> None:
    client = boto3.client(
        "s3", endpoint_url=cloud.endpoint_url, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
    )
    assert code(client.list_buckets) in ("403", "MissingAuthenticationToken")
    client.close()


# --- the decision itself ----------------------------------------------------------------------------------------------

WHO = iam.Principal("role", "arn:aws:sts::1:assumed-role/r/s", "1", "r", "arn:aws:iam::1:role/r")


def decided(
    statements: list[dict[str, Any]],
    *,
    action: str = "s3:GetObject",
    on: str = "arn:aws:s3:::b/k",
    context: dict[str, list[str]] | None = None,
    resource_policy: dict[str, Any] | None = None,
    boundary: dict[str, Any] | None = None,
) -> bool:
    permission = iam.Permission(action, (on,), context or {})
    return (
        iam.decide(WHO, permission, identity=[policy(*statements)], resource_policy=resource_policy, boundary=boundary)
        is None
    )


def test_an_explicit_deny_wins_over_every_allow() -> None:
    assert decided([allow("s3:*")])
    assert not decided([allow("s3:*"), deny("s3:GetObject", on="arn:aws:s3:::b/*")])
    everyone = policy({**deny("s3:*"), "Principal": "*"})
    assert not decided([allow("s3:*")], resource_policy=everyone)


def test_wildcards_span_slashes_and_question_marks_one_character() -> None:
    assert decided([allow("s3:Get*", on="arn:aws:s3:::b/?")])
    assert not decided([allow("s3:Get*", on="arn:aws:s3:::b/??")])
    assert decided([allow("S3:getobject", on="arn:aws:s3:::b*")])
    assert not decided([allow("s3:GetObject", on="arn:aws:s3:::B/k")])


def test_not_action_and_not_resource_exclude() -> None:
    assert not decided([{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}])
    assert not decided([{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*"}])


def test_a_resource_policy_that_names_the_role_suffices_and_one_for_the_account_does_not() -> None:
    named = policy({**allow("s3:GetObject"), "Principal": {"AWS": "arn:aws:iam::1:role/r"}})
    account = policy({**allow("s3:GetObject"), "Principal": {"AWS": "arn:aws:iam::1:root"}})
    assert decided([], resource_policy=named)
    assert not decided([], resource_policy=account)


def test_a_boundary_limits_what_policies_allow() -> None:
    assert not decided([allow("s3:*")], boundary=policy(allow("dynamodb:*")))
    assert decided([allow("s3:*")], boundary=policy(allow("s3:GetObject")))


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"s3:prefix": ["a/", "b/"]}}, {"s3:prefix": ["b/"]}, True),
        ({"StringEquals": {"s3:prefix": "a/"}}, {}, False),
        ({"StringEqualsIfExists": {"s3:prefix": "a/"}}, {}, True),
        ({"StringNotEquals": {"s3:prefix": "a/"}}, {}, True),
        ({"StringNotLike": {"s3:prefix": ["a/*", "b/*"]}}, {"s3:prefix": ["b/x"]}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": ["true"]}, False),
        ({"Null": {"s3:prefix": "true"}}, {}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3:max-keys": ["9"]}, True),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:events:*:1:rule/*"}},
            {"aws:SourceArn": ["arn:aws:events:x:1:rule/y"]},
            True,
        ),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, False),
        ({"ForAnyValue:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, list[str]], holds: bool) -> None:
    assert decided([allow("s3:GetObject", Condition=condition)], context=context) == holds
