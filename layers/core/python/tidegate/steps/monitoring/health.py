"""How served models stand, for people: all of them on one page, one with its verdicts, and seeing to one."""

from typing import Any

from tidegate.domain.monitoring import health
from tidegate.domain.monitoring.health import Health, HealthRecord, TrainingOutcome
from tidegate.domain.registry.route import Route
from tidegate.domain.serving.reporters import large
from tidegate.kernel import english
from tidegate.kernel.errors import ForbiddenError, NotFoundError
from tidegate.kernel.roles import principal, same_person
from tidegate.ports.monitoring import HealthRecords, Verdicts
from tidegate.ports.platform import Clock
from tidegate.ports.registry import ModelHeader, Models, RouteReader, Runs, Versions
from tidegate.ports.rollout import RolloutReader
from tidegate.steps.conflicts import twice
from tidegate.steps.monitoring.attempts import with_outcomes
from tidegate.steps.pages import MOST_EXAMINED, Asked, by_name, chosen, page, walked
from tidegate.steps.requests import Document, Sentence, view
from tidegate.steps.rollout.approvals import under_way
from tidegate.steps.trust import reporter_share

MODELS_ON_A_PAGE = 50  # each is read by four keys, one after the other
MODELS_EXAMINED = 200  # by one key each


_OVER = {
    TrainingOutcome.FAILED: "failed",
    TrainingOutcome.TURNED_AWAY: "ended without a new champion",
    TrainingOutcome.UNPROVEN: "ended without enough evidence",
}


class Acknowledge(Document):
    """Body of an acknowledgement."""

    reason: Sentence


def list_health(
    asked: Asked,
    owner: str | None,
    stands: str | None,
    *,
    models: Models,
    routes: RouteReader,
    rollouts: RolloutReader,
    health_records: HealthRecords,
    clock: Clock,
) -> dict[str, Any]:
    """A page of models by name with what serves, how it stands and what is under way; with an owner (in upper or lower
    case) or a health those that have it. Raises RequestInvalidError."""
    now, wanted = clock.now(), chosen("health", stands, Health)

    def keep(header: ModelHeader) -> bool:
        return (owner is None or header.owner.casefold() == owner.casefold()) and (
            wanted is None or _health(health_records.record(header.name)) is wanted
        )

    def show(header: ModelHeader) -> dict[str, Any]:
        route = routes.route(header.name)
        release = under_way(header.name, route, rollouts=rollouts, now=now)
        return _line(header, route, health_records.record(header.name)) | {"rollout": release["rollout"]}

    walk = walked(models.models, by_name)
    shown, following = page(
        asked,
        walk,
        by_name,
        show=show,
        keep=keep if owner or wanted else None,
        unless=MODELS_ON_A_PAGE,
        most=MODELS_ON_A_PAGE,
        examined=MODELS_EXAMINED if wanted else MOST_EXAMINED,
    )
    return {"health": shown, "next": following}


def show_health(
    model: str,
    *,
    models: Models,
    routes: RouteReader,
    runs: Runs,
    rollouts: RolloutReader,
    health_records: HealthRecords,
    verdicts: Verdicts,
) -> dict[str, Any]:
    """One model's line, its whole health record (null before the first look) with what became of its trainings by now,
    the verdicts it rests on (null when they are kept no longer) and what follows. Raises NotFoundError."""
    header, route = models.model(model), routes.route(model)
    record = health_records.record(model)
    if record is not None:
        record = with_outcomes(record, runs, rollouts)
    return {
        "model": _line(header, route, record),
        "health": view(record),
        "verdicts": _read(record, verdicts),
        "next_step": _next_step(model, route, record),
    }


def acknowledge(
    model: str,
    body: Acknowledge,
    *,
    actor: str,
    models: Models,
    routes: RouteReader,
    versions: Versions,
    health_records: HealthRecords,
    clock: Clock,
) -> dict[str, Any]:
    """Somebody has seen to a model that needs redesign, which the next look judges anew, or to the objects that
    monitoring cannot read. Any other model is left as it is. Whose outcomes are too many, the stricter of the model's
    spec and the champion's says.

    Raises:
        NotFoundError: no such model.
        ForbiddenError: the outcomes that the health rests on are theirs.
        ConflictError: the health record was changed by others, twice.
    """
    most = reporter_share(model, None, routes.route(model), models=models, versions=versions)

    def acknowledged() -> dict[str, Any]:
        record = health_records.record(model)
        if record is None or not (record.health is Health.NEEDS_REDESIGN or record.unseen):
            return {"changed": False, "judged_afresh": False, "health": view(record)}
        _demand_another(record, actor, most)
        seen = health.acknowledge(record, by=actor, reason=body.reason, now=clock.now())
        health_records.save(seen)
        afresh = record.health is Health.NEEDS_REDESIGN
        return {"changed": True, "judged_afresh": afresh, "health": view(seen)}

    return twice(acknowledged)


def _demand_another(record: HealthRecord, actor: str, most: float) -> None:
    for arn, share in large(record.reporters, most).items():
        if same_person(arn, actor) or principal(arn) == principal(actor):
            raise ForbiddenError(
                f"you cannot acknowledge {record.model}: you reported {share:.0%} of the outcomes that it is judged by",
                next_step="ask another scientist or operator",
            )


# Views


def _health(record: HealthRecord | None) -> Health:
    return record.health if record else Health.UNKNOWN


def _line(header: ModelHeader, route: Route | None, record: HealthRecord | None) -> dict[str, Any]:
    """A model in short. `version` is the champion; `health` and what follows are of the last look."""
    return {
        "model": header.name,
        "owner": header.owner,
        "business_unit": header.business_unit,
        "version": route.champion.version if route and route.champion else None,
        "killed": route.killed if route else False,
        "health": _health(record).value,
        "since": view(record.since) if record else None,
        "reasons": list(record.reasons) if record else [],
        "looked_at": view(record.looked_at) if record else None,
        "retraining": view(record.wanted) if record else None,
        "held_back": record.held_back if record else "",
        "tampered": record.tampered if record else "",
        "quarantined": record.unseen if record else 0,
        "summary": view(record.summary) if record else None,
    }


def _read(record: HealthRecord | None, verdicts: Verdicts) -> dict[str, Any] | None:
    if record is None or not record.verdicts_key:
        return None
    try:
        return verdicts.read(record.verdicts_key)
    except NotFoundError:
        return None


def _next_step(model: str, route: Route | None, record: HealthRecord | None) -> str:  # noqa: PLR0911
    """What follows by itself, or what people may do about it, in a sentence."""
    if route is None or route.champion is None:
        return f"nothing serves yet: tidegate train {model} --wait"
    if record is None:
        return "nothing: it is judged within an hour of its first requests"
    if record.tampered:
        return f"somebody changed what belongs to it; see what still holds: tidegate ledger verify {model}"
    if record.health is Health.NEEDS_REDESIGN:
        return f'find the cause and fix it, then: tidegate acknowledge {model} --reason "..."'
    if record.unseen:
        objects = english.count(record.unseen, "object")
        return f'find out who wrote {objects} in quarantine, then: tidegate acknowledge {model} --reason "..."'
    at_work = next((each for each in record.attempts if each.outcome is TrainingOutcome.UNDER_WAY), None)
    if at_work:
        return f"run {at_work.run_id}, or the rollout of its version, is under way: tidegate rollout {model}"
    last = record.attempts[-1] if record.attempts else None
    if last and last.ended_at and last.ended_at > record.looked_at and last.outcome in _OVER:
        said = f"run {last.run_id} {_OVER[last.outcome]}: tidegate runs {model} {last.run_id}"
        return f"{said}; the next look decides whether another one starts"
    if record.held_back:
        return f"a training is due and waits: {record.held_back}"
    if record.wanted:
        return f"a training starts soon, because of {record.wanted}"
    if record.health is Health.DRIFTED:
        return f"the spec's monitoring.retrain_on does not ask for a training; start one: tidegate train {model}"
    return "nothing: it is judged again within the hour"
