"""Which change of what is served is allowed, and what must be written together with it.

Pure decisions on a route: nothing here touches a clock or a service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TypedDict

from tidegate.domain.registry.ledger import (
    ALL_BP,
    GENESIS,
    Action,
    Break,
    Cause,
    LedgerEntry,
    Share,
    canonical_sha256,
    chain,
    shares_of,
)
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.kernel import english
from tidegate.kernel.errors import ConflictError


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A changed route with everything that must be written together with it: its ledger entry, and the new status of
    each version (by number) whose status changes with it. `replaces` is the revision of the route that it was decided
    on, 0 when there was none."""

    route: Route
    entry: LedgerEntry
    statuses: Mapping[int, VersionStatus]
    replaces: int


class _Answering(TypedDict):
    version: int | None
    previous_version: int | None
    weight_bp: int


def shares(route: Route) -> tuple[Share, ...]:
    """Which versions answer, largest say first; a version of None is the fallback."""
    if route.killed:
        return (Share(None, ALL_BP),)
    champion = route.champion.version if route.champion else None
    if route.candidate is None or not route.candidate_bp:
        return (Share(champion, ALL_BP),)
    rest = Share(champion, ALL_BP - route.candidate_bp)
    return (rest, Share(route.candidate.version, route.candidate_bp))


def route_digest(route: Route) -> str:
    """SHA-256 (hex) of what a route says, as canonical JSON: all of it but the ledger's head, and without what is as it
    is when nobody has set it, so that a later field leaves the hashes of older routes as they are."""
    said = {each.name: getattr(route, each.name) for each in fields(route) if each.name != "ledger_head"}
    plain = {
        name: asdict(value) if isinstance(value, Served | FallbackRef) else value
        for name, value in said.items()
        if value
    }
    return canonical_sha256(plain)


def unacknowledged(model: str, problem: str) -> ConflictError:
    """A change that has to wait until somebody has looked into a break of the ledger."""
    return ConflictError(
        problem,
        next_step=f"see what differs (tidegate ledger verify {model}), and acknowledge it first: "
        f'tidegate ledger acknowledge {model} --reason "..."',
    )


def unrecorded(route: Route, entry: LedgerEntry) -> str:
    """What of a route does not follow from its newest ledger entry, in a sentence; empty when all does."""
    if route.revision != entry.seq:
        return f"the route is at revision {route.revision}, its newest entry is {entry.seq}"
    recorded, served = shares_of(entry), shares(route)
    if set(recorded) != set(served):
        return f"by the ledger {_listed(recorded)}; by the route {_listed(served)}"
    if entry.route_sha256 not in {None, route_digest(route)}:
        return (
            f"the route is not the one that entry {entry.seq} recorded: an artifact, the fallback, a version on trial "
            "or its fields were changed"
        )
    return ""


def _listed(found: Sequence[Share]) -> str:
    who = (("the fallback" if each.version is None else f"version {each.version}", each.weight_bp) for each in found)
    return english.listed(f"{name} answers {weight / 100:g} %" for name, weight in who)


def rollback_target(route: Route | None) -> int | None:
    """The version that a rollback returns to when nobody names one: the champion, when another version is on trial
    beside it, else the one that served before it."""
    if route is None or route.champion is None:
        return None
    if route.shadow or (route.candidate and route.candidate_role is not CandidateRole.HOLDBACK):
        return route.champion.version
    return route.previous.version if route.previous else None


def stand_in(route: Route | None, version: Version, cause: Cause) -> RouteChange | None:
    """Decide whether the fallback of a version's run answers while the model has no champion; None when it has one,
    when a canary is under way, or when the fallback is that of this or of a newer run. (Promotion brings a version's
    fallback with it.)"""
    current = route or Route(version.model, revision=0)
    ref, known = version.fallback, current.fallback
    if ref is None or current.champion or current.candidate or (known is not None and known.run_id >= ref.run_id):
        return None
    changed = replace(current, fallback=ref, fields=known_fields(current, version))
    return _change(current, changed, Action.FALLBACK, cause, {}, version=None, previous_version=None, run_id=ref.run_id)


def overtaken(route: Route | None, version: Version, *, judged_against: int | None) -> str:
    """Why an accepted version must not serve after all; empty when nothing speaks against it.

    `judged_against` is the champion that the gate compared it with. When another one serves by now, nobody knows
    whether the version is better than that one.
    """
    champion = route.champion.version if route and route.champion else None
    if version.status is not VersionStatus.ACCEPTED or champion in {judged_against, version.number}:
        return ""
    before = "nothing served" if judged_against is None else f"version {judged_against} served"
    now = "nothing serves" if champion is None else f"version {champion} serves"
    return f"it was judged when {before}, and {now} now: train again"


def shadow(route: Route | None, version: Version, cause: Cause) -> RouteChange | None:
    """Decide how `version` scores the same requests as the champion; None when it does.

    Raises:
        ConflictError: the version must not serve, or another one is on trial.
    """
    current = route or Route(version.model, revision=0)
    if current.shadow and current.shadow.version == version.number:
        return None
    _demand_admitted(current, version)
    champion = current.champion.version if current.champion else None
    return _change(
        current,
        replace(current, shadow=version.served, fields=known_fields(current, version)),
        Action.SHADOW,
        cause,
        {version.number: VersionStatus.CANDIDATE},
        version=champion,
        previous_version=None,
        run_id=version.run_id,
    )


def canary(route: Route | None, version: Version, share_bp: int, cause: Cause) -> RouteChange | None:
    """Decide how `version`, on its way in, gets a share of the requests; None when it has just that.

    Without a champion the fallback answers the rest; the version's own when the model has none yet.

    Raises:
        ConflictError: the version must not serve, or another one is on trial.
    """
    current = route or Route(version.model, revision=0)
    if current.candidate and current.candidate.version == version.number and current.candidate_bp == share_bp:
        return None
    _demand_admitted(current, version)
    champion = current.champion.version if current.champion else None
    changed = replace(
        _alone(current),
        candidate=version.served,
        candidate_bp=share_bp,
        candidate_role=CandidateRole.CANARY,
        salt=_salt(current, version),
        fallback=current.fallback or version.fallback,
        fields=known_fields(current, version),
    )
    return _change(
        current,
        changed,
        Action.CANARY,
        cause,
        {version.number: VersionStatus.CANDIDATE},
        version=version.number,
        previous_version=champion,
        weight_bp=share_bp,
        run_id=version.run_id,
    )


def roll_back_trial(route: Route | None, version: Version, cause: Cause) -> RouteChange | None:
    """Decide how `version`, on its way in or shadowing, leaves; None when it is not on trial. What served before serves
    all requests."""
    if route is None or not _on_its_way_in(route, version.number):
        return None
    champion = route.champion.version if route.champion else None
    return _change(
        route,
        _alone(route),
        Action.ROLLBACK,
        cause,
        {version.number: VersionStatus.ROLLED_BACK},
        version=champion,
        previous_version=version.number,
        run_id=version.run_id,
    )


def end_probation(route: Route | None, version: Version, cause: Cause) -> RouteChange | None:
    """Decide how `version`, the champion, answers alone; None when nothing is held back beside it."""
    if route is None or route.candidate is None or not on_probation(route, version.number):
        return None
    return _change(
        route,
        _alone(route),
        Action.END_PROBATION,
        cause,
        {route.candidate.version: VersionStatus.RETIRED},
        version=version.number,
        previous_version=route.candidate.version,
        run_id=version.run_id,
    )


def roll_back_promotion(route: Route, version: int, cause: Cause) -> RouteChange | None:
    """Decide how the version held back beside `version` answers all requests again; None when nothing is.

    Its fallback does not come with it: that of the newer version was measured on newer data.
    """
    if not on_probation(route, version) or route.candidate is None:
        return None
    back = route.candidate
    changed = replace(_alone(route), champion=back, previous=None)
    statuses = {back.version: VersionStatus.CHAMPION, version: VersionStatus.RETIRED}
    return _change(route, changed, Action.ROLLBACK, cause, statuses, version=back.version, previous_version=version)


def on_probation(route: Route, version: int) -> bool:
    """Whether `version` is the champion with the one before it held back beside it."""
    champion = route.champion
    return champion is not None and champion.version == version and route.candidate_role is CandidateRole.HOLDBACK


def promote(route: Route | None, version: Version, cause: Cause, *, holdback_bp: int = 0) -> RouteChange | None:
    """Decide how `version` becomes the champion; None when it already is (the request came twice).

    Its fallback comes with it. The champion of before keeps `holdback_bp` of the requests. A killed model stays killed:
    the new champion answers once people resume it.

    Raises:
        ConflictError: the version must not serve, or another one is on trial.
    """
    current = route or Route(version.model, revision=0)
    if current.champion and current.champion.version == version.number:
        return None
    _demand_admitted(current, version)
    held = current.champion if holdback_bp and not current.killed else None
    changed = replace(
        _alone(current),
        champion=version.served,
        previous=current.champion,
        candidate=held,
        candidate_bp=holdback_bp if held else 0,
        candidate_role=CandidateRole.HOLDBACK if held else None,
        salt=_salt(current, version) if held else None,
        fallback=version.fallback or current.fallback,
        fields=known_fields(current, version),
    )
    statuses = {version.number: VersionStatus.CHAMPION}
    if current.champion:
        statuses[current.champion.version] = VersionStatus.CANDIDATE if held else VersionStatus.RETIRED
    replaced = current.champion.version if current.champion else None
    return _change(
        current,
        changed,
        Action.PROMOTE,
        cause,
        statuses,
        version=version.number,
        previous_version=replaced,
        weight_bp=ALL_BP - changed.candidate_bp,
        run_id=version.run_id,
    )


def rollback(route: Route | None, version: Version, cause: Cause) -> RouteChange | None:
    """Decide how `version`, which has served, answers all requests again; None when it does so already.

    Its fallback comes with it, also in place of another one. Whatever is on trial beside the champion leaves. The
    replaced champion does not become `previous`: it is not to answer when `version` cannot. A killed model stays so.

    Raises:
        ConflictError: nothing was ever promoted, or the version has never served.
    """
    current = _served(route, version.model)
    trial = current.candidate or current.shadow
    fallback = version.fallback or current.fallback
    if current.champion == version.served and trial is None and current.fallback == fallback:
        return None
    served = {VersionStatus.CHAMPION, VersionStatus.RETIRED, VersionStatus.CANDIDATE}
    if version.status not in served or _on_its_way_in(current, version.number):
        raise ConflictError(
            f"{version.model} version {version.number} is {version.status} and was never promoted",
            next_step=f"name a promoted one: `tidegate ledger {version.model}` lists them",
        )
    stays = current.champion is not None and current.champion.version == version.number
    leaves = trial if stays else current.champion
    changed = replace(
        _alone(current),
        champion=version.served,
        previous=current.previous if stays else None,
        fallback=fallback,
        fields=known_fields(current, version),
    )
    statuses = _leaving(current) | {version.number: VersionStatus.CHAMPION}
    if current.champion and not stays:
        statuses[current.champion.version] = VersionStatus.RETIRED
    return _change(
        current,
        changed,
        Action.ROLLBACK,
        cause,
        statuses,
        version=version.number,
        previous_version=leaves.version if leaves else None,
        run_id=version.run_id,
    )


def kill(route: Route | None, model: str, cause: Cause) -> RouteChange | None:
    """Decide how the fallback answers everything; None when it does so by an earlier kill. Trials end.

    Raises:
        ConflictError: nothing was ever promoted.
    """
    current = _served(route, model)
    if current.killed:
        return None
    changed = replace(_alone(current), killed=True)
    replaced = current.champion.version if current.champion else None
    return _change(current, changed, Action.KILL, cause, _leaving(current), version=None, previous_version=replaced)


def resume(route: Route | None, model: str, cause: Cause) -> RouteChange | None:
    """Decide how the champion of a killed model answers again, beside a canary that began meanwhile; None when the
    model is not killed (the request came twice).

    Raises:
        ConflictError: nothing was ever promoted.
    """
    current = _served(route, model)
    if not current.killed:
        return None
    return _change(current, replace(current, killed=False), Action.RESUME, cause, {}, **_answering(current))


def acknowledge(
    route: Route | None, newest: LedgerEntry | None, model: str, found: Sequence[Break], cause: Cause
) -> RouteChange | None:
    """Decide how somebody acknowledges the breaks that were found: the chain goes on behind its `newest` entry, from
    the route as it is. None when nothing was found."""
    if not found:
        return None
    current = route or Route(model, revision=0)
    at = replace(current, revision=newest.seq if newest else 0, ledger_head=newest.hash if newest else GENESIS)
    change = _change(at, at, Action.ACKNOWLEDGE, cause, {}, **_answering(at), acknowledged=tuple(found))
    return replace(change, replaces=current.revision)


def _answering(route: Route) -> _Answering:
    """Who answers by a route that is not killed, in the words of an entry."""
    champion = route.champion.version if route.champion else None
    if route.candidate is None or not route.candidate_bp:
        return {"version": champion, "previous_version": None, "weight_bp": ALL_BP}
    return {"version": route.candidate.version, "previous_version": champion, "weight_bp": route.candidate_bp}


def split(route: Route | None, version: Version, share_bp: int, cause: Cause) -> RouteChange | None:
    """Decide how `version` gets a fixed share of the requests, in basis points; None when it has just that.

    Raises:
        ValueError: the share is not between 1 and 9,999.
        ConflictError: the model is killed or has no champion, the version is rejected or the champion itself, or
            another one is on trial.
    """
    if not 0 < share_bp < ALL_BP:
        raise ValueError(f"a share has 1 to {ALL_BP - 1} basis points, not {share_bp}")
    model = version.model
    current = _served(route, model)
    if current.killed:
        raise ConflictError(
            f"{model} is killed: the fallback answers all requests",
            next_step=f'resume it first: tidegate resume {model} --reason "..."',
        )
    if current.champion is None or current.champion.version == version.number:
        what = f"{model} version {version.number} is the champion" if current.champion else f"{model} has no champion"
        raise ConflictError(
            f"{what}; a split needs a champion and another version", next_step=f"see `tidegate versions {model}`"
        )
    if current.candidate and (
        current.candidate.version != version.number or current.candidate_role is not CandidateRole.SPLIT
    ):
        raise _on_trial(current, current.candidate)
    if current.shadow:
        raise _on_trial(current, current.shadow)
    if current.candidate and current.candidate_bp == share_bp:
        return None
    if version.status.closed:
        raise ConflictError(
            f"{model} version {version.number} is {version.status}",
            next_step=f"read why: tidegate report {model} {version.number}",
        )
    if not version.may_serve:
        raise _unapproved(version)
    changed = replace(
        current,
        candidate=version.served,
        candidate_bp=share_bp,
        candidate_role=CandidateRole.SPLIT,
        salt=_salt(current, version),
        fields=known_fields(current, version),
    )
    return _change(
        current,
        changed,
        Action.SPLIT,
        cause,
        {version.number: VersionStatus.CANDIDATE},
        version=version.number,
        previous_version=current.champion.version,
        weight_bp=share_bp,
        run_id=version.run_id,
    )


def end_split(route: Route | None, model: str, cause: Cause) -> RouteChange | None:
    """Decide how the champion answers alone after a split; None when nothing is split.

    Raises:
        ConflictError: the candidate is the canary of a release, or nothing was ever promoted.
    """
    current = _served(route, model)
    if current.candidate is None or current.champion is None:
        return None
    if current.candidate_role is not CandidateRole.SPLIT:
        raise _on_trial(current, current.candidate)
    return _change(
        current,
        _alone(current),
        Action.END_SPLIT,
        cause,
        {current.candidate.version: VersionStatus.RETIRED},
        version=current.champion.version,
        previous_version=current.candidate.version,
    )


def _change(
    current: Route,
    changed: Route,
    action: Action,
    cause: Cause,
    statuses: Mapping[int, VersionStatus],
    *,
    version: int | None,
    previous_version: int | None,
    weight_bp: int = ALL_BP,
    run_id: str | None = None,
    acknowledged: tuple[Break, ...] = (),
) -> RouteChange:
    """The next revision with its entry chained to the ledger."""
    changed = replace(changed, revision=current.revision + 1)
    entry = chain(
        LedgerEntry(
            model=current.model,
            seq=changed.revision,
            at=cause.at,
            actor=cause.actor,
            action=action.value,
            version=version,
            previous_version=previous_version,
            weight_bp=0 if changed.killed and version is not None else weight_bp,
            reason=cause.reason,
            killed=changed.killed,
            run_id=run_id,
            approved_by=cause.approved_by,
            cause=cause.rollback.value if action is Action.ROLLBACK else None,
            route_sha256=route_digest(changed),
            route_before_sha256=route_digest(current),
            acknowledged=acknowledged,
        ),
        current.ledger_head,
    )
    return RouteChange(replace(changed, ledger_head=entry.hash), entry, statuses, replaces=current.revision)


def known_fields(route: Route, version: Version) -> tuple[str, ...]:
    """Fields of requests that no version of the route refuses, once `version` is part of it.

    Callers send a new version's fields before it answers alone, and go on sending them when it is rolled back; a
    version that does not know a field passes it over.
    """
    return tuple(sorted({*route.fields, *version.features}))


def _alone(route: Route) -> Route:
    """The route without what is on trial."""
    return replace(route, candidate=None, candidate_bp=0, candidate_role=None, salt=None, shadow=None)


def _salt(route: Route, version: Version) -> int | None:
    """How keys are dealt while `version` is on trial: anew, or as they are when it has a share already."""
    on_trial = route.candidate is not None and route.candidate.version == version.number
    return route.salt if on_trial else version.number


def _leaving(route: Route) -> dict[int, VersionStatus]:
    """Statuses of those on trial once they have left."""
    leaving = {route.shadow.version: VersionStatus.ROLLED_BACK} if route.shadow else {}
    if route.candidate:
        on_its_way_in = route.candidate_role is CandidateRole.CANARY
        leaving[route.candidate.version] = VersionStatus.ROLLED_BACK if on_its_way_in else VersionStatus.RETIRED
    return leaving


def _on_its_way_in(route: Route, version: int) -> bool:
    if route.shadow and route.shadow.version == version:
        return True
    candidate = route.candidate
    return candidate is not None and candidate.version == version and route.candidate_role is CandidateRole.CANARY


def _demand_admitted(route: Route, version: Version) -> None:
    """Raises ConflictError unless the version may take the next step on its way in."""
    if version.status not in {VersionStatus.ACCEPTED, VersionStatus.CANDIDATE}:
        raise ConflictError(
            f"{version.model} version {version.number} is {version.status}; only an accepted version can be promoted",
            next_step=f"see `tidegate versions {version.model}`",
        )
    if not version.may_serve:
        raise _unapproved(version)
    for other in (route.candidate, route.shadow):
        if other and other.version != version.number:
            raise _on_trial(route, other)


def _unapproved(version: Version) -> ConflictError:
    return ConflictError(
        f"{version.model} version {version.number} needs an approval that it does not have",
        next_step=f'an approver decides: tidegate approve {version.model} {version.number} --reason "..."',
    )


def _served(route: Route | None, model: str) -> Route:
    if route is None:
        raise ConflictError(
            f"no version of {model} was ever promoted", next_step=f"train one: tidegate train {model} --wait"
        )
    return route


def _on_trial(route: Route, candidate: Served) -> ConflictError:
    model = route.model
    out = f'wait for its rollout, or end it: tidegate rollout {model} --end --reason "..."'
    if route.candidate_role is CandidateRole.SPLIT:
        out = f'end it first: tidegate split {model} --end --reason "..."'
    how = f"with {route.candidate_bp / 100:g} % ({route.candidate_role})" if route.candidate else "in shadow mode"
    return ConflictError(f"{model} version {candidate.version} is on trial {how}", next_step=out)
