"""AWS's own limits, in one table: each a number, the page that states it, and the module that holds it.

What moto takes without a word is refused by the module in the last column, with AWS's error name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024
_DOCS = "https://docs.aws.amazon.com/"


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be at most how much, where AWS says so, and which part of the local cloud holds it."""

    what: str
    number: int
    unit: str
    source: str
    enforced: str


LIMITS: Mapping[str, Limit] = {
    name: Limit(what, number, unit, _DOCS + page, enforced)
    for name, what, number, unit, page, enforced in (
        (
            "alarm_metrics",
            "metrics of an alarm that uses metric math",
            10,
            "metrics",
            "AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html",
            "limit_checks",
        ),
        (
            "execution_input",
            "input of an execution",
            256 * KIB,
            "bytes",
            "step-functions/latest/dg/service-quotas.html",
            "limit_checks",
        ),
        (
            "state_data",
            "input or result of a state",
            256 * KIB,
            "bytes",
            "step-functions/latest/dg/service-quotas.html",
            "stepfunctions",
        ),
        (
            "history_events",
            "events in the history of an execution",
            25_000,
            "events",
            "step-functions/latest/dg/service-quotas.html",
            "stepfunctions",
        ),
        (
            "transaction_items",
            "actions of a transaction",
            100,
            "items",
            "amazondynamodb/latest/developerguide/ServiceQuotas.html",
            "moto",
        ),
        (
            "transaction_bytes",
            "all items of a transaction",
            4 * MIB,
            "bytes",
            "amazondynamodb/latest/developerguide/ServiceQuotas.html",
            "limit_checks",
        ),
        (
            "item_bytes",
            "an item with the names of its attributes",
            400 * KIB,
            "bytes",
            "amazondynamodb/latest/developerguide/Constraints.html",
            "limit_checks",
        ),
        (
            "expression_bytes",
            "an expression",
            4 * KIB,
            "bytes",
            "amazondynamodb/latest/developerguide/Constraints.html",
            "limit_checks",
        ),
        (
            "managed_policy",
            "a managed policy without white space",
            6_144,
            "characters",
            "IAM/latest/UserGuide/reference_iam-quotas.html",
            "limit_checks",
        ),
        (
            "inline_policies",
            "all inline policies of a role without white space",
            10_240,
            "characters",
            "IAM/latest/UserGuide/reference_iam-quotas.html",
            "limit_checks",
        ),
        (
            "trust_policy",
            "the trust policy of a role without white space",
            2_048,
            "characters",
            "IAM/latest/UserGuide/reference_iam-quotas.html",
            "limit_checks",
        ),
        (
            "role_policies",
            "managed policies of a role",
            10,
            "policies",
            "IAM/latest/UserGuide/reference_iam-quotas.html",
            "limit_checks",
        ),
        (
            "environment",
            "all environment variables of a function",
            4 * KIB,
            "bytes",
            "lambda/latest/dg/gettingstarted-limits.html",
            "limit_checks",
        ),
        (
            "layers",
            "layers of a function",
            5,
            "layers",
            "lambda/latest/dg/gettingstarted-limits.html",
            "limit_checks",
        ),
        (
            "concurrency",
            "invocations of an account at the same time; new accounts often have 10",
            1_000,
            "invocations",
            "lambda/latest/dg/gettingstarted-limits.html",
            "lambda_host",
        ),
        (
            "unreserved_concurrency",
            "of them, the least that stay unreserved; all of them where an account has fewer",
            100,
            "invocations",
            "lambda/latest/dg/configuration-concurrency.html",
            "limit_checks",
        ),
        (
            "active_partitions",
            "partitions of a delivery stream within one buffer",
            500,
            "partitions",
            "firehose/latest/dev/limits.html",
            "firehose",
        ),
        (
            "presigned_seconds",
            "life of a presigned address",
            7 * 24 * 3600,
            "seconds",
            "AmazonS3/latest/userguide/using-presigned-url.html",
            "sigv4",
        ),
        (
            "event_entry",
            "an event on its way to the bus",
            256 * KIB,
            "bytes",
            "eventbridge/latest/userguide/eb-quota.html",
            "limit_checks",
        ),
        (
            "notification",
            "a message to a topic",
            256 * KIB,
            "bytes",
            "sns/latest/dg/sns-large-payload-raw-message-delivery.html",
            "limit_checks",
        ),
    )
}


def most(name: str) -> int:
    """The number of a limit."""
    return LIMITS[name].number
