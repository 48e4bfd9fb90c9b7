"""The page docs/events.md, written from the events' own models.

    python -m tidegate.cli.events_reference > docs/events.md

A test holds the page equal to this.
"""

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from tidegate.domain.notifications.announcement import Announcement, Change, announcement, subject, text
from tidegate.domain.registry.ledger import GENESIS, LedgerEntry, chain
from tidegate.steps.notifications.announce import DETAILS, detail

_INTRODUCTION = """\
# Events and messages

Tidegate announces each transition of a release, and each change of a served model's health, in two ways: as a message
to people (SNS), and as an event to other systems (EventBridge). Both come from the registry's own stream of changes
(function `announce`). So what was recorded is announced, even if the function that recorded it died right afterwards.

| detail type | when | people |
| --- | --- | --- |
| `Tidegate Route Changed` | what is served changed: each entry of the ledger | yes; of a shadow, by its rollout |
| `Tidegate Rollout Moved` | a rollout entered another phase | only if nothing that is served changed |
| `Tidegate Approval Requested` | a version waits for an approver | yes |
| `Tidegate Approval Decided` | an approver decided | yes |
| `Tidegate Run Ended` | a training run was accepted, rejected, or failed | yes |
| `Tidegate Health Changed` | a served model drifted, needs redesign, was acknowledged, or is steady | yes |

A promotion is a changed route and a moved rollout: systems get both, people get one message.

**At least once.** An event may arrive again, with the same `id`: ignore ids that you have seen. Events of one model may
arrive out of order: `at` orders them, and `revision` orders those of one ledger, rollout or model's health. What cannot
be announced is retried for hours. Then its place in the stream goes to the failures queue, which has an alarm
([operations.md](operations.md#when-something-was-not-announced)).

**What they contain.** Names, numbers, hashes, the ARNs of those who acted and the reasons they gave. For a drift: how
often a feature's values are in which range, or in which known category. They never contain inputs, rows, predictions or
the text of a training fault, which may quote data.

## Messages to people

The topic is `tidegate-<stage>-releases`. Each address in `alarm_emails` is subscribed to it, and the output
`ReleasesTopic` of the data stack has its ARN. A message has the attributes `model`, `owner`, `business_unit`, `event`
(the detail type) and `severity`, by which a subscription can filter. This policy selects the messages about one owner's
models that ask for something:

```json
{"owner": ["you@example.com"], "severity": ["action_needed", "warning"]}
```

| severity | asks its reader for |
| --- | --- |
| `info` | nothing |
| `action_needed` | a decision that somebody waits for |
| `warning` | a check: something failed, or was rolled back |
"""
_EVENTS = """\
## Events to other systems

Events are on the account's default bus, with the source `tidegate`. This rule selects all changes of what two models
serve:

```json
{"source": ["tidegate"], "detail-type": ["Tidegate Route Changed"], "detail": {"model": ["flight-delay", "demand"]}}
```

`schema` is 1. New fields, and new values of enumerated fields, may come without a new number. The meaning of a field
does not change without one.

The message and the event of one entry:
"""
_STAGE = "prod"
_EXAMPLE = Change(
    None,
    chain(
        LedgerEntry(
            model="flight-delay",
            seq=7,
            at=datetime(2026, 1, 5, 12, tzinfo=UTC),
            actor="arn:aws:states:eu-west-1:123456789012:execution:tidegate-prod-release:r-20260105t110000000-4f9c2a",
            action="canary",
            version=4,
            previous_version=3,
            weight_bp=500,
            reason="canary step 2 of 4, 5 %: nothing against it in 1,200 requests",
            run_id="r-20260105t110000000-4f9c2a",
        ),
        GENESIS,
    ),
)


def page() -> str:
    """The whole page."""
    announced = _announced(_EXAMPLE)
    message = f"{subject(announced, stage=_STAGE)}\n\n{text(announced, stage=_STAGE)}"
    event = json.dumps(detail(_EXAMPLE, announced, stage=_STAGE).to_json(), indent=2)
    example = f"```text\n{message}\n```\n\n```json\n{event}\n```\n"
    return "\n".join([_INTRODUCTION, _EVENTS, example, *_schemas()])


def _announced(change: Change) -> Announcement:
    found = announcement(change)
    if found is None:
        raise ValueError("the example is not a transition")
    return replace(found, owner="you@example.com", business_unit="operations")


def _schemas() -> Iterator[str]:
    for event, model in DETAILS.items():
        schema = _plain(model.model_json_schema(mode="serialization"))
        schema.pop("description")
        said = inspect.cleandoc(model.__doc__ or "")
        yield f"### {event}\n\n{said}\n\n```json\n{json.dumps(schema, indent=2)}\n```\n"


def _plain(schema: Any) -> Any:
    """Without what does not hold for readers (new fields may come), and without pydantic's titles made of names."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: part for name, part in schema.items() if name != "additionalProperties"}
    return {name: _plain(part) for name, part in kept.items() if name != "title" or isinstance(part, dict)}


if __name__ == "__main__":
    click.echo(page(), nl=False)
