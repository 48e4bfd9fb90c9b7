"""Does what its event says, so that one function serves all tests of the local cloud."""

import json
import os
import sys
import time

import boto3
from sample_layer import GREETING

COUNTS = {}


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
        case "exit":
            sys.stdout.flush()
            os._exit(3)
    return {"event": event, "table": os.environ["TABLE"], "layer": GREETING}
