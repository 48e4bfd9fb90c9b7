"""What an account says of itself: quotas, what a role may, and what X-Ray has seen."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.cloud import LocalCloud
from infra.local.limits import most


def simulated(cloud: LocalCloud, role: str, action: str, resource: str, *keys: str) -> str:
    context = {"ContextKeyName": "dynamodb:LeadingKeys", "ContextKeyType": "stringList", "ContextKeyValues": keys}
    answer = cloud.client("iam").simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=[action],
        ResourceArns=[resource],
        ContextEntries=[context] if keys else [],
    )
    (found,) = answer["EvaluationResults"]
    assert (found["EvalActionName"], found["EvalResourceName"]) == (action, resource)
    return str(found["EvalDecision"])


@pytest.fixture(scope="module")
def role(cloud: LocalCloud) -> str:
    """A role that may write some items and never delete an object."""
    keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["RUN#*"]}}
    document = (
        '{"Version": "2012-10-17", "Statement": ['
        '{"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "arn:aws:dynamodb:*:*:table/t", "Condition": '
        + str(keys).replace("'", '"')
        + '}, {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}]}'
    )
    iam = cloud._clients.root("iam")
    trust = '{"Version": "2012-10-17", "Statement": []}'
    arn = str(iam.create_role(RoleName="simulated", AssumeRolePolicyDocument=trust)["Role"]["Arn"])
    iam.put_role_policy(RoleName="simulated", PolicyName="given", PolicyDocument=document)
    return arn


TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/t"


def test_the_simulator_decides_as_a_call_would_be_decided(cloud: LocalCloud, role: str) -> None:
    put, delete = "dynamodb:PutItem", "dynamodb:DeleteItem"
    assert simulated(cloud, role, put, TABLE, "RUN#a", "RUN#b") == "allowed"
    assert simulated(cloud, role, put, TABLE, "RUN#a", "ROUTE#a") == "implicitDeny"
    assert simulated(cloud, role, put, f"{TABLE}x", "RUN#a") == "implicitDeny"
    assert simulated(cloud, role, delete, TABLE, "RUN#a") == "implicitDeny"
    assert simulated(cloud, role, "s3:DeleteObject", "arn:aws:s3:::bucket/key") == "explicitDeny"


def test_a_role_that_does_not_exist_cannot_be_simulated(cloud: LocalCloud) -> None:
    with pytest.raises(ClientError, match="NoSuchEntity"):
        simulated(cloud, "arn:aws:iam::123456789012:role/nobody", "s3:GetObject", "*")


def test_the_account_has_the_concurrency_that_the_cloud_was_given(cloud: LocalCloud) -> None:
    client, quotas = cloud.client("lambda"), cloud.client("service-quotas")
    limit = client.get_account_settings()["AccountLimit"]
    names = [function["FunctionName"] for page in pages(client) for function in page["Functions"]]
    reserved = [client.get_function_concurrency(FunctionName=name) for name in names]
    total = sum(each.get("ReservedConcurrentExecutions", 0) for each in reserved)
    assert limit["ConcurrentExecutions"] == most("concurrency")
    assert limit["UnreservedConcurrentExecutions"] == most("concurrency") - total
    quota = quotas.get_service_quota(ServiceCode="lambda", QuotaCode="L-B99A9384")["Quota"]
    assert quota["Value"] == most("concurrency")
    with pytest.raises(ClientError, match="NoSuchResource"):
        quotas.get_service_quota(ServiceCode="lambda", QuotaCode="L-00000000")


def pages(client: Any) -> Any:
    return client.get_paginator("list_functions").paginate()


def traces(cloud: LocalCloud, function: str) -> int:
    found = cloud.client("xray").get_trace_summaries(
        StartTime=time.time() - 60, EndTime=time.time() + 1, FilterExpression=f'service("{function}")'
    )
    return len(found["TraceSummaries"])


def test_a_function_that_is_traced_leaves_a_trace_of_each_invocation(cloud: LocalCloud) -> None:
    properties = cloud._world.functions["work"]
    cloud.client("lambda").invoke(FunctionName="work", Payload=b'{"do": "echo"}')
    assert traces(cloud, "work") == 0
    role = str(properties["Role"]).rpartition("/")[2]
    cloud._world.functions["work"] = {**properties, "TracingConfig": {"Mode": "Active"}}
    try:
        assert traces(cloud, "work") == 0  # its role may not write segments
        document = (
            '{"Version": "2012-10-17", "Statement": '
            '[{"Effect": "Allow", "Action": "xray:PutTraceSegments", "Resource": "*"}]}'
        )
        cloud._clients.root("iam").put_role_policy(RoleName=role, PolicyName="tracing", PolicyDocument=document)
        assert traces(cloud, "work") > 0
        assert traces(cloud, "another") == 0
    finally:
        cloud._world.functions["work"] = properties


def test_every_answer_carries_the_time(cloud: LocalCloud) -> None:
    headers = cloud.client("sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]
    assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 5
