"""Listens to a table's stream: prints what it is given and fails as the items say."""

import json
import sys


def handler(event, context):
    records = event["Records"]
    sys.stdout.write(json.dumps({"records": records}) + "\n")
    failed = []
    for record in records:
        item = record["dynamodb"].get("NewImage", {})
        match item.get("listener", {}).get("S"):
            case "raises":
                raise ValueError("as the item says")
            case "fails":
                failed.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
            case "garbles":
                failed.append({"itemIdentifier": ""})
    return {"batchItemFailures": failed}
