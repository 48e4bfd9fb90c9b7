"""What a call needs: the IAM actions, resources and condition keys of each operation, per the service authorization
reference. An operation that is not listed needs its own name on "*", so a policy that names resources denies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from infra.local.calls import ApiCall
from infra.local.iam import Permission
from infra.local.task_tokens import machine_of

Params = Mapping[str, Any]


class Resources:
    """Spells the ARNs of one account and region."""

    def __init__(self, account: str, region: str) -> None:
        self.account = account
        self.region = region

    def arn(self, service: str, resource: str) -> str:
        """arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE, or the ARN itself when it is one already."""
        return resource if resource.startswith("arn:") else f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def function(self, name: str, qualifier: str | None = None) -> str:
        """A function's ARN from whatever Invoke accepts: name, partial ARN, ARN, with or without a qualifier."""
        if not name.startswith("arn:"):
            name = self.arn("lambda", "function:" + name.rpartition("function:")[2])
        return f"{name}:{qualifier}" if qualifier and name.count(":") == 6 else name


def permissions_of(call: ApiCall, account: str) -> list[Permission]:
    """Everything the caller must be allowed for this call to go through."""
    resources = Resources(account, call.region)
    rule = _RULES.get(call.service)
    found = list(rule(call, resources)) if rule else []
    return found or [Permission(f"{call.action_prefix}:{call.operation}")]


def _one(call: ApiCall, *resources: str, action: str | None = None, **context: list[str]) -> Iterable[Permission]:
    keys = {key.replace("__", ":"): value for key, value in context.items() if value}
    return [Permission(f"{call.action_prefix}:{action or call.operation}", resources or ("*",), keys)]


# --- S3 ---------------------------------------------------------------------------------------------------------------

_S3_ACTIONS = {
    "HeadObject": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListBuckets": "ListAllMyBuckets",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "SelectObjectContent": "GetObject",
}


def _s3(call: ApiCall, _resources: Resources) -> Iterable[Permission]:
    params = call.params
    bucket = params.get("Bucket")
    if bucket is None:
        return _one(call, action=_S3_ACTIONS.get(call.operation))
    bucket_arn = f"arn:aws:s3:::{bucket}"
    prefix = params.get("Prefix") if "List" in call.operation else None
    listing = {"s3:prefix": [str(prefix)]} if prefix is not None else {}
    if call.operation == "DeleteObjects":
        return [
            Permission("s3:DeleteObjectVersion" if item.get("VersionId") else "s3:DeleteObject", (_key(bucket, item),))
            for item in params["Delete"]["Objects"]
        ]
    if "Key" not in params:
        return [Permission(f"s3:{_S3_ACTIONS.get(call.operation, call.operation)}", (bucket_arn,), listing)]
    object_arn = _key(bucket, params)
    if call.operation in ("CopyObject", "UploadPartCopy"):
        source = str(params["CopySource"]).lstrip("/").partition("?")[0]
        return [Permission("s3:GetObject", (f"arn:aws:s3:::{source}",)), Permission("s3:PutObject", (object_arn,))]
    action = _S3_ACTIONS.get(call.operation, call.operation)
    if params.get("VersionId") and action in ("GetObject", "DeleteObject", "GetObjectTagging", "DeleteObjectTagging"):
        action = action.replace("Object", "ObjectVersion", 1)
    context = {"s3:x-amz-server-side-encryption": [v]} if (v := params.get("ServerSideEncryption")) else {}
    needed = [Permission(f"s3:{action}", (object_arn,), context)]
    if params.get("Tagging") and call.operation in ("PutObject", "CreateMultipartUpload"):
        needed.append(Permission("s3:PutObjectTagging", (object_arn,)))
    return needed


def _key(bucket: str, item: Params) -> str:
    return f"arn:aws:s3:::{bucket}/{item['Key']}"


# --- DynamoDB ---------------------------------------------------------------------------------------------------------


def _dynamodb(call: ApiCall, resources: Resources) -> Iterable[Permission]:  # noqa: PLR0911 - one per operation
    params = call.params

    def table(name: str, index: str | None = None) -> str:
        return resources.arn("dynamodb", f"table/{name}") + (f"/index/{index}" if index else "")

    def on(action: str, name: str, keys: Iterable[str], index: str | None = None) -> Permission:
        leading = list(keys)
        context = {"dynamodb:LeadingKeys": leading} if leading else {}
        return Permission(f"dynamodb:{action}", (table(name, index),), context)

    match call.operation:
        case "BatchGetItem":
            return [
                on("BatchGetItem", name, _leading(request.get("Keys", [])))
                for name, request in params["RequestItems"].items()
            ]
        case "BatchWriteItem":
            return [
                on("BatchWriteItem", name, _leading([i for r in requests for i in _written(r)]))
                for name, requests in params["RequestItems"].items()
            ]
        case "TransactGetItems":
            return [on("GetItem", i["Get"]["TableName"], _leading([i["Get"]["Key"]])) for i in params["TransactItems"]]
        case "TransactWriteItems":
            names = {
                "Put": "PutItem",
                "Update": "UpdateItem",
                "Delete": "DeleteItem",
                "ConditionCheck": "ConditionCheckItem",
            }
            return [
                on(names[kind], item["TableName"], _leading([item.get("Key") or item.get("Item")]))
                for entry in params["TransactItems"]
                for kind, item in entry.items()
            ]
        case "Query":
            return [on("Query", params["TableName"], _query_keys(params), params.get("IndexName"))]
        case "Scan":
            return [on("Scan", params["TableName"], [], params.get("IndexName"))]
    if "TableName" in params:
        keys = [k for k in (params.get("Key"), params.get("Item")) if k]
        return [on(call.operation, params["TableName"], _leading(keys))]
    return _one(call, *([params["ResourceArn"]] if "ResourceArn" in params else []))


def _leading(items: Iterable[Params]) -> list[str]:
    """The partition keys among item keys. Only the name `pk` is known to be one without asking the table."""
    return [str(next(iter(item["pk"].values()))) for item in items if "pk" in item]


def _written(request: Params) -> list[Params]:
    return [body.get("Item") or body.get("Key") for body in request.values()]


def _query_keys(params: Params) -> list[str]:
    """The value the partition key is compared with, read from a condition such as `#pk = :pk AND ...`."""
    names, values = params.get("ExpressionAttributeNames", {}), params.get("ExpressionAttributeValues", {})
    for clause in str(params.get("KeyConditionExpression", "")).replace("(", " ").replace(")", " ").split(" AND "):
        left, _, right = (part.strip() for part in clause.partition("="))
        if names.get(left, left) == "pk" and right in values:
            return [str(next(iter(values[right].values())))]
    return []


# --- the others -------------------------------------------------------------------------------------------------------


def _lambda(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    params = call.params
    action = {"Invoke": "InvokeFunction", "InvokeAsync": "InvokeAsync"}.get(call.operation, call.operation)
    if "FunctionName" in params:
        return _one(call, resources.function(str(params["FunctionName"]), params.get("Qualifier")), action=action)
    if "LayerName" in params:
        return _one(call, resources.arn("lambda", f"layer:{params['LayerName']}"))
    return _one(call)


def _by_param(**spelling: Callable[[Any, Resources], str]) -> Callable[..., Iterable[Permission]]:
    """The first of these parameters that is given names the resource."""

    def rule(call: ApiCall, resources: Resources) -> Iterable[Permission]:
        for name, spell in spelling.items():
            value = call.params.get(name)
            if value:
                values = value if isinstance(value, list) else [value]
                return [p for v in values for p in _one(call, spell(v, resources))]
        return _one(call)

    return rule


def _same(service: str, prefix: str = "") -> Callable[[Any, Resources], str]:
    return lambda value, resources: resources.arn(
        service, str(value) if str(value).startswith("arn:") else prefix + str(value)
    )


def _parameter(value: Any, resources: Resources) -> str:
    return resources.arn("ssm", "parameter/" + str(value).lstrip("/"))


def _ssm(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    if "Path" in call.params:
        path = str(call.params["Path"]).strip("/")
        return _one(call, resources.arn("ssm", f"parameter/{path}"), resources.arn("ssm", f"parameter/{path}/*"))
    names = call.params.get("Names") or [call.params["Name"]] if {"Names", "Name"} & call.params.keys() else []
    return [p for name in names for p in _one(call, _parameter(name, resources))]


def _sqs(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    action = call.operation.removesuffix("Batch")
    if "QueueUrl" in call.params:
        return _one(call, resources.arn("sqs", str(call.params["QueueUrl"]).rsplit("/", 1)[-1]), action=action)
    if "QueueName" in call.params:
        return _one(call, resources.arn("sqs", str(call.params["QueueName"])))
    return _one(call)


def _sns(call: ApiCall, _resources: Resources) -> Iterable[Permission]:
    arn = call.params.get("TopicArn") or call.params.get("TargetArn") or call.params.get("ResourceArn")
    action = call.operation.removesuffix("Batch")
    return _one(call, *([str(arn)] if arn else []), action=action)


def _events(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    if call.operation == "PutEvents":
        return [
            Permission(
                "events:PutEvents",
                (resources.arn("events", _bus(entry.get("EventBusName"))),),
                {"events:source": [entry.get("Source", "")], "events:detail-type": [entry.get("DetailType", "")]},
            )
            for entry in call.params.get("Entries", [])
        ]
    rule = call.params.get("Rule") or (call.params.get("Name") if "Rule" in call.operation else None)
    if rule:
        bus = str(call.params.get("EventBusName") or "default").rsplit("/", 1)[-1]
        return _one(call, resources.arn("events", f"rule/{rule}" if bus == "default" else f"rule/{bus}/{rule}"))
    return _one(call)


def _bus(name: str | None) -> str:
    return name if name and name.startswith("arn:") else f"event-bus/{name or 'default'}"


def _logs(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    params = call.params
    names = [n for n in (params.get("logGroupName"), params.get("logGroupIdentifier")) if n]
    names += params.get("logGroupNames") or params.get("logGroupIdentifiers") or []
    if not names:
        return _one(call)
    needed: list[Permission] = []
    for name in names:
        group = resources.arn("logs", f"log-group:{str(name).rpartition('log-group:')[2].removesuffix(':*')}")
        if call.operation in ("PutLogEvents", "GetLogEvents") and "logStreamName" in params:
            needed += _one(call, f"{group}:log-stream:{params['logStreamName']}")
        else:
            needed += _one(call, group, f"{group}:*")
    return needed


def _cloudwatch(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    if call.operation == "PutMetricData":
        return _one(call, cloudwatch__namespace=[str(call.params.get("Namespace", ""))])
    if "AlarmName" in call.params or "AlarmNames" in call.params:
        names = call.params.get("AlarmNames") or [call.params.get("AlarmName")]
        return [p for name in names for p in _one(call, resources.arn("cloudwatch", f"alarm:{name}"))]
    return _one(call)


def _kms(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    key = call.params.get("KeyId")
    if not key:
        return _one(call)
    name = str(key)
    return _one(call, resources.arn("kms", name if name.startswith(("arn:", "alias/")) else f"key/{name}"))


def _iam(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    for param, kind in (("RoleName", "role"), ("UserName", "user"), ("GroupName", "group")):
        if param in call.params:
            return _one(call, f"arn:aws:iam::{resources.account}:{kind}/{call.params[param]}")
    return _one(call, *([str(call.params["PolicyArn"])] if "PolicyArn" in call.params else []))


def _stack(value: Any, resources: Resources) -> str:
    return resources.arn("cloudformation", f"stack/{value}/*")


def _stepfunctions(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    """A task's answer concerns the state machine its token is from; a policy for "*" allows it too."""
    if "taskToken" in call.params:
        return _one(call, machine_of(str(call.params["taskToken"])) or "*")
    return _by_param(executionArn=_itself, stateMachineArn=_itself, mapRunArn=_itself)(call, resources)


def _itself(value: Any, _resources: Resources) -> str:
    return str(value)


def _schedule(call: ApiCall, resources: Resources) -> Iterable[Permission]:
    if "Name" in call.params:
        group = call.params.get("GroupName", "default")
        return _one(call, resources.arn("scheduler", f"schedule/{group}/{call.params['Name']}"))
    return _one(call)


_RULES: dict[str, Callable[[ApiCall, Resources], Iterable[Permission]]] = {
    "s3": _s3,
    "dynamodb": _dynamodb,
    "dynamodbstreams": _by_param(StreamArn=_itself),
    "lambda": _lambda,
    "stepfunctions": _stepfunctions,
    "ssm": _ssm,
    "sqs": _sqs,
    "sns": _sns,
    "events": _events,
    "logs": _logs,
    "cloudwatch": _cloudwatch,
    "kms": _kms,
    "iam": _iam,
    "sts": _by_param(RoleArn=_itself),
    "firehose": _by_param(DeliveryStreamName=_same("firehose", "deliverystream/")),
    "kinesis": _by_param(StreamARN=_itself, StreamName=_same("kinesis", "stream/")),
    "cloudformation": _by_param(StackName=_stack),
    "secretsmanager": _by_param(SecretId=_same("secretsmanager", "secret:")),
    "scheduler": _schedule,
    "athena": _by_param(WorkGroup=_same("athena", "workgroup/")),
}
