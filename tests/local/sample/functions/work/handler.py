"""Does what its event says, so that one function serves all tests of the local cloud."""

import calendar
import datetime as dt
import json
import os
import sys
import time

import boto3
from sample_layer import GREETING

COUNTS: dict[str, int] = {}


class SampleError(Exception):
    pass


class PassingError(Exception):
    pass


def handler(event, context):
    if "requestContext" in event:
        return {"statusCode": 200, "body": json.dumps({"path": event["rawPath"], "layer": GREETING})}
    match event.get("do", "echo"):
        case "raise":
            raise SampleError(event.get("message", "as asked"))
        case "sleep":
            time.sleep(event["seconds"])
        case "fail_once":
            COUNTS[event["key"]] = COUNTS.get(event["key"], 0) + 1
            if COUNTS[event["key"]] == 1:
                raise PassingError("the first time always fails")
        case "call":
            client = boto3.client(event["service"])
            answer = getattr(client, event["operation"])(**event.get("with", {}))
            body = answer.pop("Body", None)
            answer.pop("ResponseMetadata", None)
            return json.loads(json.dumps({**answer, **({"Body": body.read().decode()} if body else {})}, default=str))
        case "metric":
            sys.stdout.write(
                json.dumps(
                    {
                        "_aws": {
                            "Timestamp": int(time.time() * 1000),
                            "CloudWatchMetrics": [
                                {
                                    "Namespace": "Sample",
                                    "Dimensions": [["model"], []],
                                    "Metrics": [{"Name": "Refused", "Unit": "Count"}],
                                }
                            ],
                        },
                        "model": "late",
                        "Refused": event["value"],
                    }
                )
                + "\n"
            )
        case "hold":
            sys.stdout.write(json.dumps({"held": event}) + "\n")
        case "clock":
            at = dt.datetime.now(dt.UTC)
            return {
                "time": time.time(),
                "time_ns": time.time_ns() / 1e9,
                "gmtime": calendar.timegm(time.gmtime()),
                "now": at.timestamp(),
                "naive": dt.datetime.now().timestamp(),  # noqa: DTZ005
                "utcnow": dt.datetime.utcnow().replace(tzinfo=dt.UTC).timestamp(),  # noqa: DTZ003
                "today": dt.datetime.today().timestamp(),  # noqa: DTZ002
                "remaining_ms": context.get_remaining_time_in_millis(),
                "is_datetime": isinstance(at + dt.timedelta(1), dt.datetime),
            }
        case "exit":
            sys.stdout.flush()
            os._exit(3)
    return {"event": event, "table": os.environ["TABLE"], "layer": GREETING}
