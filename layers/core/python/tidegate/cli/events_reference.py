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
# What Tidegate tells people and other systems

Each transition of a release, and of how a served model stands, is told twice: as a message to people (SNS), and as an
event to other systems (EventBridge). Both come from the registry's own stream of changes (function `announce`), so what
was recorded is told, also when whoever recorded it died right afterwards.

| detail type | when | people |
| --- | --- | --- |
| `Tidegate Route Changed` | what is served changed: each entry of the ledger | yes; a shadow is told by its rollout |
| `Tidegate Rollout Moved` | a version on its way in entered another phase | only what changed nothing that is served |
| `Tidegate Approval Requested` | a version waits for an approver | yes |
| `Tidegate Approval Decided` | an approver decided | yes |
| `Tidegate Run Ended` | a training run was accepted, rejected, or failed | yes |
| `Tidegate Health Changed` | a served model drifted, needs redesign, was seen to, or is steady | yes |

A promotion is a changed route and a moved rollout: systems get both, people one message.

**At least once.** An event may come again, with the same `id`: drop what you have seen. Events of one model may
overtake each other; `at` orders them, and `revision` orders those of one ledger, rollout or model's health. What cannot
be told is tried again for hours, and then its place in the stream goes to the failures queue, which has an alarm
([operations.md](operations.md#when-something-was-not-announced)).

**What is in them.** Names, numbers, hashes, the ARNs of those who acted and the reasons they gave. Of a drift: how
often a feature's values lie in which range, or are of which known category. Never inputs, rows, predictions, nor the
words of a training fault, which may quote data.

## Messages to people

The topic is `tidegate-<stage>-releases`; each address in `alarm_emails` is subscribed to it, and the output
`ReleasesTopic` of the data stack has its ARN. A message has the attributes `model`, `owner`, `business_unit`, `event`
(the detail type) and `severity`, by which a subscription can choose. What asks its reader for something, of one
owner's models, is this filter policy:

```json
{"owner": ["you@example.com"], "severity": ["action_needed", "warning"]}
```

| severity | asks its reader for |
| --- | --- |
| `info` | nothing |
| `action_needed` | a decision that somebody waits for |
| `warning` | a look: something ended otherwise than hoped, or was rolled back |
"""
_EVENTS = """\
## Events to other systems

They are on the account's default bus, with the source `tidegate`. A rule for all changes of what two models serve:

```json
{"source": ["tidegate"], "detail-type": ["Tidegate Route Changed"], "detail": {"model": ["flight-delay", "demand"]}}
```

`schema` is 1. New fields, and new values of those that are enumerated, may come without a new number; what a field
means does not change without one.

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
    told = _told(_EXAMPLE)
    message = f"{subject(told, stage=_STAGE)}\n\n{text(told, stage=_STAGE)}"
    event = json.dumps(detail(_EXAMPLE, told, stage=_STAGE).to_json(), indent=2)
    example = f"```text\n{message}\n```\n\n```json\n{event}\n```\n"
    return "\n".join([_INTRODUCTION, _EVENTS, example, *_schemas()])


def _told(change: Change) -> Announcement:
    found = announcement(change)
    if found is None:
        raise ValueError("the example is no transition")
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
