"""What a deployment costs: every price, every assumption and every product of the two, in one table.

    python -m infra.cost [--predictions N] [--models N] [--json]

No free tier is deducted. Prices are AWS's list prices for us-east-1, without tax; other regions often cost more.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.settings import DeploymentSettings

PRICES_OF = "2025-12"
SOURCE = "AWS price pages, us-east-1"

# What the templates contain; a test counts them there.
ALARM_METRICS = 72
DASHBOARDS = 2
KEYS = 1
MEMORY_MB = {"feedback": 512, "due": 512, "monitor": 1769}

SECONDS_A_MONTH = 30 * 86_400
HOURS_A_MONTH = 30 * 24
BATCH_MODELS = 25  # that monitoring looks at in one call
GB = 1024.0  # MB


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for `per` units."""

    usd: float
    per: float
    unit: str
    page: str

    @property
    def each(self) -> float:
        """US dollars for one unit."""
        return self.usd / self.per


PRICES = {
    "lambda-requests": Price(0.20, 1_000_000, "requests", "aws.amazon.com/lambda/pricing"),
    "lambda-x86_64": Price(0.0000166667, 1, "GB-seconds", "aws.amazon.com/lambda/pricing"),
    "lambda-arm64": Price(0.0000133334, 1, "GB-seconds", "aws.amazon.com/lambda/pricing"),
    "http-api": Price(1.00, 1_000_000, "requests up to 512 KB", "aws.amazon.com/api-gateway/pricing"),
    "dynamodb-read": Price(0.125, 1_000_000, "read request units", "aws.amazon.com/dynamodb/pricing/on-demand"),
    "dynamodb-write": Price(0.625, 1_000_000, "write request units", "aws.amazon.com/dynamodb/pricing/on-demand"),
    "s3-get": Price(0.0004, 1_000, "GET requests", "aws.amazon.com/s3/pricing"),
    "s3-put": Price(0.005, 1_000, "PUT requests", "aws.amazon.com/s3/pricing"),
    "s3-storage": Price(0.023, 1, "GB-months", "aws.amazon.com/s3/pricing"),
    "logs": Price(0.50, 1, "GB written", "aws.amazon.com/cloudwatch/pricing"),
    "logs-storage": Price(0.03, 1, "GB-months", "aws.amazon.com/cloudwatch/pricing"),
    "alarm": Price(0.10, 1, "metrics in alarms", "aws.amazon.com/cloudwatch/pricing"),
    "metric": Price(0.30, 1, "custom metrics", "aws.amazon.com/cloudwatch/pricing"),
    "dashboard": Price(3.00, 1, "dashboards", "aws.amazon.com/cloudwatch/pricing"),
    "firehose": Price(0.029, 1, "GB taken in", "aws.amazon.com/firehose/pricing"),
    "firehose-partition": Price(0.020, 1, "GB partitioned", "aws.amazon.com/firehose/pricing"),
    "firehose-object": Price(0.005, 1_000, "objects partitioned", "aws.amazon.com/firehose/pricing"),
    "firehose-jq": Price(0.07, 1, "JQ processing hours", "aws.amazon.com/firehose/pricing"),
    "trace": Price(5.00, 1_000_000, "traces recorded", "aws.amazon.com/xray/pricing"),
    "transition": Price(0.025, 1_000, "state transitions", "aws.amazon.com/step-functions/pricing"),
    "event": Price(1.00, 1_000_000, "custom events", "aws.amazon.com/eventbridge/pricing"),
    "mail": Price(2.00, 100_000, "e-mails", "aws.amazon.com/sns/pricing"),
    "key": Price(1.00, 1, "keys", "aws.amazon.com/kms/pricing"),
    "transfer-out": Price(0.09, 1, "GB to the internet", "aws.amazon.com/ec2/pricing/on-demand"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """So many units of something, and why so many."""

    what: str
    price: str
    quantity: float
    because: str

    @property
    def usd(self) -> float:
        """What the line costs."""
        return self.quantity * PRICES[self.price].each


def idle(settings: DeploymentSettings) -> list[Line]:
    """A month in which nothing happens but hourly monitoring, which finds no model."""
    return [
        Line("alarms", "alarm", ALARM_METRICS, "the first 10 of an account are free"),
        Line("dashboard", "dashboard", DASHBOARDS, "the first 3 of an account are free"),
        Line("key of the topics", "key", KEYS, "CloudWatch cannot publish under AWS's own"),
        Line("deployed code", "s3-storage", 0.15, "zipped layers in the CDK's bucket"),
        Line("datasets, models, registry", "s3-storage", 1, "for each GB you keep"),
        Line("monitoring, state machine", "transition", 7 * HOURS_A_MONTH, "7 states each hour"),
        Line(
            "monitoring, due",
            f"lambda-{settings.architecture}",
            HOURS_A_MONTH * MEMORY_MB["due"] / GB,
            f"1 s each hour at {MEMORY_MB['due']} MB",
        ),
    ]


def serving(predictions: int, models: int, settings: DeploymentSettings) -> list[Line]:
    """A month of single predictions, each its own request, spread over the month.

    Args:
        predictions: requests a month.
        models: how many models they are for.
        settings: memory, architecture and route lifetime.
    """
    memory_gb = settings.inference_memory_mb / GB
    warm_seconds, cold_seconds, cold_share = 0.015, 1.0, 0.005
    environments = max(2, predictions // 20_000_000)
    refreshes = environments * models * SECONDS_A_MONTH / max(1, settings.route_ttl_seconds)
    log_gb = predictions * 1_700 / 1e9
    objects = min(predictions, models * SECONDS_A_MONTH // 60)
    return [
        Line("API", "http-api", predictions, "one request each"),
        Line("function, requests", "lambda-requests", predictions, "one each"),
        Line(
            "function, warm",
            f"lambda-{settings.architecture}",
            predictions * warm_seconds * memory_gb,
            f"{warm_seconds * 1000:.0f} ms each at {settings.inference_memory_mb} MB",
        ),
        Line(
            "function, cold starts",
            f"lambda-{settings.architecture}",
            predictions * cold_share * cold_seconds * memory_gb,
            f"{cold_share:.1%} of requests, {cold_seconds:.0f} s each",
        ),
        Line(
            "registry",
            "dynamodb-read",
            min(predictions, refreshes) * 3,
            f"{environments} environments refresh each route every {settings.route_ttl_seconds} s",
        ),
        Line("models", "s3-get", predictions * cold_share, "one for each cold start"),
        Line("logs", "logs", log_gb, "1.7 KB each: access log, metrics, platform lines"),
        Line("logs kept", "logs-storage", log_gb * settings.log_retention_days / 30, "for the retention period"),
        Line("metrics", "metric", 4 + 4 * models, "4 names, in all and for each model"),
        Line("traces", "trace", predictions, "at most: 1 a second, and 5 % of what comes beyond"),
        Line(
            "captures, sending",
            f"lambda-{settings.architecture}",
            predictions * 0.010 * memory_gb,
            "10 ms each, after the response",
        ),
        Line("captures, taken in", "firehose", predictions * 5_000 / 1e9, "billed as 5 KB each"),
        Line("captures, partitions", "firehose-partition", predictions * 800 / 1e9, "0.8 KB each"),
        Line("captures, keys", "firehose-jq", predictions * 0.001 / 3600, "1 ms each"),
        Line("captures, objects", "firehose-object", objects, "one a minute and model at most"),
        Line("captures, writes", "s3-put", objects, "the same objects"),
        Line("captures kept", "s3-storage", predictions * 200 / 1e9, "0.2 KB each, gzipped; for each month kept"),
        Line("answers", "transfer-out", predictions * 1_000 / 1e9, "1 KB each"),
    ]


def feedback(outcomes: int, models: int, settings: DeploymentSettings) -> list[Line]:
    """A month of outcomes, reported as `tidegate feedback` does, once they are all known.

    Args:
        outcomes: predictions of the month whose outcome is reported.
        models: how many models they are for.
        settings: architecture.
    """
    requests = math.ceil(outcomes / 500)
    objects = min(outcomes, 2 * models * HOURS_A_MONTH)
    gb = outcomes * 150 / 1e9
    return [
        Line("API", "http-api", requests, "one for 500 outcomes"),
        Line(
            "function",
            f"lambda-{settings.architecture}",
            requests * 0.1 * MEMORY_MB["feedback"] / GB,
            f"0.1 s each at {MEMORY_MB['feedback']} MB",
        ),
        Line("taken in", "firehose", gb, "0.15 KB each, many in a record"),
        Line("partitions", "firehose-partition", gb, "the same"),
        Line("keys", "firehose-jq", outcomes * 0.001 / 3600, "1 ms each"),
        Line("objects", "firehose-object", objects, "two for each model and hour of predictions"),
        Line("writes", "s3-put", objects, "the same objects"),
        Line("kept", "s3-storage", outcomes * 40 / 1e9, "0.04 KB each, gzipped; for each month kept"),
        Line("metrics", "metric", 1 + models, "1 name, in all and for each model"),
    ]


def monitoring(models: int, settings: DeploymentSettings) -> list[Line]:
    """A month of looking every hour at models that are asked all the time; beside what monitoring costs when idle.

    Args:
        models: how many are asked.
        settings: architecture.
    """
    looks = HOURS_A_MONTH * models
    week = 7 * 24
    return [
        Line(
            "monitor",
            f"lambda-{settings.architecture}",
            looks * 10 * MEMORY_MB["monitor"] / GB,
            f"10 s for each look at a model, at {MEMORY_MB['monitor']} MB",
        ),
        Line(
            "state machine",
            "transition",
            HOURS_A_MONTH * math.ceil(models / BATCH_MODELS),
            f"one each hour for {BATCH_MODELS} models",
        ),
        Line("lists", "s3-put", looks * (1 + week * 60 // 1_000 + 2), "a week of objects, 1,000 a page"),
        Line("captures and feedback read", "s3-get", looks * (10 + 60 + 60 + 2), "an hour's objects, counted 3 times"),
        Line("profiles read", "s3-get", looks * week, "a week of hours for each look"),
        Line("profiles written", "s3-put", looks * 3, "hours counted: begun, full, with their outcomes"),
        Line("verdicts written", "s3-put", looks, "one a look"),
        Line("profiles, verdicts kept", "s3-storage", looks * 200_000 / 1e9, "0.2 MB a look; for each month kept"),
        Line("registry, read", "dynamodb-read", looks * 20, "model, route, version, health, rollout"),
        Line("registry, written", "dynamodb-write", looks * 5, "how the model stands, 5 KB"),
        Line("announcing", f"lambda-{settings.architecture}", looks * 0.05, "each write is read, 0.1 s at 512 MB"),
        Line("metrics", "metric", 10 + 10 * models, "10 names, in all and for each model"),
        Line("metrics of targets", "metric", 6 * models, "3 names for each target, 2 targets a model"),
        Line("metrics of cost, quality", "metric", 6 * models, "4 + 2 names for each model"),
        Line(
            "metrics of versions, unit",
            "metric",
            4 + 8 * models,
            "4 names: for a business unit, and for 2 versions a model",
        ),
    ]


def release(settings: DeploymentSettings) -> list[Line]:
    """One run of the release state machine: six candidates on some 100,000 rows, and the default rollout, which looks
    once a minute at a canary of 40 minutes and then 500 times in a day of probation."""
    training_gb, step_gb = settings.training_memory_mb / GB, settings.step_memory_mb / GB
    seconds_training = 20 + 6 * 30 + 60
    looks = 40 + 500
    return [
        Line(
            "fits",
            f"lambda-{settings.architecture}",
            seconds_training * training_gb,
            f"prepare 20 s, 6 candidates of 30 s, refit 60 s, at {settings.training_memory_mb} MB",
        ),
        Line("other steps", f"lambda-{settings.architecture}", 40 * step_gb, "evaluation 30 s, the rest 10 s"),
        Line("looks", f"lambda-{settings.architecture}", looks * step_gb, f"{looks} in the rollout, 1 s each"),
        Line("looks, captures", "s3-put", looks * 2, "lists of objects, which cost what PUTs do"),
        Line("state machine", "transition", 25 + 3 * looks, "states entered; 3 for each look"),
        Line("registry", "dynamodb-write", 60 + 10 * looks, "each step notes what it did; 10 KB a look"),
        Line("tables and reports", "s3-put", 10, "objects of the run"),
        Line("announcing", f"lambda-{settings.architecture}", looks * 0.05, "each write is read, 0.1 s at 512 MB"),
        Line("events", "event", 18, "changes of route, rollout and run"),
        Line("messages", "mail", 9, "for each address"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.cost", description="Estimate what a deployment costs per month."
    )
    parser.add_argument("--predictions", type=int, default=1_000_000, help="predictions per month (default: 1,000,000)")
    parser.add_argument("--models", type=int, default=1, help="number of models that share them (default: 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    chosen = parser.parse_args(arguments)
    settings = DeploymentSettings()
    tables = {
        "a month idle": idle(settings),
        f"{chosen.predictions:,} predictions a month, in addition": serving(
            chosen.predictions, chosen.models, settings
        ),
        "an outcome reported for each of them": feedback(chosen.predictions, chosen.models, settings),
        f"monitoring for a month, models asked: {chosen.models:,}": monitoring(chosen.models, settings),
        "one release run": release(settings),
    }
    if chosen.json:
        print(json.dumps({"source": SOURCE, "prices_of": PRICES_OF, "tables": _as_json(tables)}))
        return 0
    for title, lines in tables.items():
        print(f"\n{title}")
        for line in lines:
            price = PRICES[line.price]
            print(f"  {line.what:<28}{line.usd:>9.4f}  {line.quantity:>13,.2f} {price.unit:<22} {line.because}")
        print(f"  {'total, USD':<28}{sum(line.usd for line in lines):>9.2f}")
    print(f"\nprices: {SOURCE}, as of {PRICES_OF}; no free tier deducted")
    for price in PRICES.values():
        usd = f"{price.usd:.10f}".rstrip("0").rstrip(".")
        print(f"  {usd:>12} USD for {price.per:>9,.0f} {price.unit:<22} {price.page}")
    return 0


def _as_json(tables: dict[str, list[Line]]) -> dict[str, Any]:
    return {
        title: {
            "usd": round(sum(line.usd for line in lines), 4),
            "lines": [
                {
                    "what": line.what,
                    "usd": round(line.usd, 6),
                    "quantity": line.quantity,
                    "unit": PRICES[line.price].unit,
                    "unit_price_usd": PRICES[line.price].each,
                    "because": line.because,
                }
                for line in lines
            ],
        }
        for title, lines in tables.items()
    }


if __name__ == "__main__":
    sys.exit(main())
