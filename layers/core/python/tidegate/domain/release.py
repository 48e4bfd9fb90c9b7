"""The registry's nouns: runs, versions and routes, and which change of what is served is allowed.

Plain frozen dataclasses: adapters store them, steps move them, nothing here touches a clock or a service. Times are
aware UTC datetimes. A version number is a small integer per model, counted from 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tidegate.domain.ledger import ALL_BP, LedgerEntry, Share, chain
from tidegate.domain.route import CandidateRole, FallbackRef, Route, Served
from tidegate.errors import ConflictError


class RunStatus(StrEnum):
    """Where a training run is. Those from ACCEPTED on are final."""

    REQUESTED = "requested"  # recorded, its execution not yet seen to start
    RUNNING = "running"  # a step is at work; `stage` says which
    ACCEPTED = "accepted"  # registered as a version that passed the gate
    REJECTED = "rejected"  # registered as a version that the gate turned away
    FAILED = "failed"  # ended by a fault; no version exists
    REPRODUCED = "reproduced"  # made a version again: the same artifact, the same numbers
    DIFFERS = "differs"  # made a version again, and not all is equal

    @property
    def final(self) -> bool:
        """A final run never changes again."""
        return self not in {RunStatus.REQUESTED, RunStatus.RUNNING}


class VersionStatus(StrEnum):
    """The lifecycle of a registered version."""

    REJECTED = "rejected"  # kept with its report, never served
    ACCEPTED = "accepted"  # passed the gate, not served yet
    CANDIDATE = "candidate"  # gets a share of the requests, beside the champion
    CHAMPION = "champion"  # serves the model's requests
    RETIRED = "retired"  # served once, replaced since
    OVERTAKEN = "overtaken"  # passed against a champion that was replaced before it could serve; never served
    WITHDRAWN = "withdrawn"  # passed the gate, but not its rollout; not served again

    @property
    def closed(self) -> bool:
        """A closed version never serves, and its status never changes."""
        return self in {VersionStatus.REJECTED, VersionStatus.OVERTAKEN, VersionStatus.WITHDRAWN}


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed: the error's class name and a sentence for people."""

    name: str
    message: str
    stage: str


@dataclass(frozen=True, slots=True)
class CandidateRun:
    """One fitted candidate: what was tried and how it scored on the validation rows."""

    index: int
    estimator: str
    parameters: Mapping[str, Any]
    metric: str
    value: float
    fit_seconds: float
    rows: int


@dataclass(frozen=True, slots=True)
class Run:
    """One pass through the release state machine, recorded from the request on, also when it fails."""

    model: str
    run_id: str
    status: RunStatus
    spec_digest: str
    dataset: str
    requested_by: str
    requested_at: datetime
    seed: int
    stage: str = "requested"
    reason: str = "manual"
    token: str | None = None
    execution: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    dataset_version: str | None = None
    exclusions: tuple[str, ...] = ()
    code_version: str | None = None
    lock_hash: str | None = None
    candidates: tuple[CandidateRun, ...] = ()
    selected: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    error: RunError | None = None
    target_changes: tuple[str, ...] = ()  # its spec's targets against those of the champion's spec, in sentences
    reproduces: int | None = None  # the version that this run makes again; it registers none itself


# What a step may note of a running run besides its stage; everything else of it has its own way to change.
RUN_FACTS = frozenset(
    {
        "artifacts",
        "code_version",
        "dataset_version",
        "exclusions",
        "execution",
        "lock_hash",
        "metrics",
        "seed",
        "selected",
        "target_changes",
    }
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to change by a release what a model serves. One whose `until` is past keeps nobody out."""

    model: str
    run_id: str
    holder: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """A trained model that went through the gate, with all that is needed to serve it and to answer for it."""

    model: str
    number: int
    status: VersionStatus
    run_id: str
    spec_digest: str
    dataset: str
    dataset_version: str
    artifact_key: str
    artifact_sha256: str
    report_key: str
    report_sha256: str
    metric: str
    value: float
    low: float
    high: float
    reasons: tuple[str, ...]
    created_at: datetime
    created_by: str
    lock_hash: str
    code_version: str
    fallback: "FallbackRef | None" = None
    needs_approval: bool = False  # a second pair of eyes has to see it before it serves
    approval_reasons: tuple[str, ...] = ()  # why, in sentences
    approved_by: str | None = None  # the IAM ARN of whoever approved it
    features: tuple[str, ...] = ()  # the fields it is asked with

    @property
    def may_serve(self) -> bool:
        """Whether nobody has to be asked any more."""
        return not self.needs_approval or self.approved_by is not None


class Action(StrEnum):
    """What a ledger entry says was done."""

    FALLBACK = "fallback"  # the rule of a newer run answers, since no version does
    SHADOW = "shadow"  # a version scores the same requests, its answers go nowhere
    CANARY = "canary"  # a version on its way in gets a share
    WITHDRAW = "withdraw"  # a version on its way in leaves
    PROMOTE = "promote"  # a version became the champion
    END_WATCH = "end_watch"  # the champion has proved itself: the holdback leaves
    ROLLBACK = "rollback"  # a version that has served is the champion again, alone
    KILL = "kill"  # the fallback answers everything
    RESUME = "resume"  # the champion answers again
    SPLIT = "split"  # a second version gets a fixed share
    END_SPLIT = "end_split"  # the champion answers alone again


@dataclass(frozen=True, slots=True)
class Cause:
    """Who changes what is served, when and why; `actor` and `approved_by` are IAM ARNs."""

    at: datetime
    actor: str
    reason: str
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A changed route with everything that must be written together with it: its ledger entry, and the new status of
    each version (by number) whose status changes with it."""

    route: Route
    entry: LedgerEntry
    statuses: Mapping[int, VersionStatus]


def shares(route: Route) -> tuple[Share, ...]:
    """Which versions answer, largest say first; a version of None is the fallback."""
    if route.killed:
        return (Share(None, ALL_BP),)
    champion = route.champion.version if route.champion else None
    if route.candidate is None or not route.candidate_bp:
        return (Share(champion, ALL_BP),)
    rest = Share(champion, ALL_BP - route.candidate_bp)
    return (rest, Share(route.candidate.version, route.candidate_bp))


def approval_reasons(*, asked_for: bool, target_changes: Sequence[str]) -> tuple[str, ...]:
    """Why somebody who did not make a version has to agree before it serves; empty when nobody has to.

    Targets say what is good enough, so whoever makes versions must not move them alone.

    Args:
        asked_for: the spec's `release.approval` is `required`.
        target_changes: how the spec's targets differ from those of the champion's spec; none for a first version.
    """
    asked = ("the model's spec asks for a second pair of eyes",) if asked_for else ()
    return (*asked, *(f"a target was changed: {change}" for change in target_changes))


def one_step_back(route: Route | None) -> int | None:
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
        replace(current, shadow=Served.of(version), fields=known_fields(current, version)),
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
        candidate=Served.of(version),
        candidate_bp=share_bp,
        candidate_role=CandidateRole.CANARY,
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


def withdraw(route: Route | None, version: Version, cause: Cause) -> RouteChange | None:
    """Decide how `version`, on its way in or shadowing, leaves; None when it is not on trial. What served before serves
    all requests."""
    if route is None or not _on_its_way_in(route, version.number):
        return None
    champion = route.champion.version if route.champion else None
    return _change(
        route,
        _alone(route),
        Action.WITHDRAW,
        cause,
        {version.number: VersionStatus.WITHDRAWN},
        version=champion,
        previous_version=version.number,
        run_id=version.run_id,
    )


def end_watch(route: Route | None, version: Version, cause: Cause) -> RouteChange | None:
    """Decide how `version`, the champion, answers alone; None when nothing is held back beside it."""
    if route is None or route.candidate is None or not watched(route, version.number):
        return None
    return _change(
        route,
        _alone(route),
        Action.END_WATCH,
        cause,
        {route.candidate.version: VersionStatus.RETIRED},
        version=version.number,
        previous_version=route.candidate.version,
        run_id=version.run_id,
    )


def step_back(route: Route, version: int, cause: Cause) -> RouteChange | None:
    """Decide how the version held back beside `version` answers all requests again; None when nothing is.

    Its fallback does not come with it: that of the newer version was measured on newer data.
    """
    if not watched(route, version) or route.candidate is None:
        return None
    back = route.candidate
    changed = replace(_alone(route), champion=back, previous=None)
    statuses = {back.version: VersionStatus.CHAMPION, version: VersionStatus.RETIRED}
    return _change(route, changed, Action.ROLLBACK, cause, statuses, version=back.version, previous_version=version)


def watched(route: Route, version: int) -> bool:
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
        champion=Served.of(version),
        previous=current.champion,
        candidate=held,
        candidate_bp=holdback_bp if held else 0,
        candidate_role=CandidateRole.HOLDBACK if held else None,
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

    Its fallback comes with it. Whatever is on trial beside the champion leaves. The replaced champion does not become
    `previous`: it is not to answer when `version` cannot. A killed model stays killed.

    Raises:
        ConflictError: nothing was ever promoted, or the version has never served.
    """
    current = _served(route, version.model)
    trial = current.candidate or current.shadow
    if current.champion and current.champion.version == version.number and trial is None:
        return None
    served = {VersionStatus.CHAMPION, VersionStatus.RETIRED, VersionStatus.CANDIDATE}
    if version.status not in served or _on_its_way_in(current, version.number):
        raise ConflictError(
            f"{version.model} version {version.number} is {version.status} and was never promoted",
            next_step=f"name one that was: `tidegate ledger {version.model}` lists them",
        )
    stays = current.champion is not None and current.champion.version == version.number
    leaves = trial if stays else current.champion
    changed = replace(
        _alone(current),
        champion=Served.of(version),
        previous=current.previous if stays else None,
        fallback=version.fallback or current.fallback,
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
    changed = replace(current, killed=False)
    champion = current.champion.version if current.champion else None
    if current.candidate is None:
        return _change(current, changed, Action.RESUME, cause, {}, version=champion, previous_version=None)
    return _change(
        current,
        changed,
        Action.RESUME,
        cause,
        {},
        version=current.candidate.version,
        previous_version=champion,
        weight_bp=current.candidate_bp,
    )


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
            f"{model} is killed: the fallback answers everything",
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
        candidate=Served.of(version),
        candidate_bp=share_bp,
        candidate_role=CandidateRole.SPLIT,
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
    changed = replace(current, candidate=None, candidate_bp=0, candidate_role=None)
    return _change(
        current,
        changed,
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
) -> RouteChange:
    """The next revision with its entry chained to the ledger."""
    entry = chain(
        LedgerEntry(
            model=current.model,
            seq=current.revision + 1,
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
        ),
        current.ledger_head,
    )
    return RouteChange(replace(changed, revision=entry.seq, ledger_head=entry.hash), entry, statuses)


def known_fields(route: Route, version: Version) -> tuple[str, ...]:
    """Fields of requests that no version of the route refuses, once `version` is part of it.

    Callers send a new version's fields before it answers alone, and go on sending them when it is rolled back; a
    version that does not know a field passes it over.
    """
    return tuple(sorted({*route.fields, *version.features}))


def _alone(route: Route) -> Route:
    """The route without what is on trial."""
    return replace(route, candidate=None, candidate_bp=0, candidate_role=None, shadow=None)


def _leaving(route: Route) -> dict[int, VersionStatus]:
    """Statuses of those on trial once they have left."""
    leaving = {route.shadow.version: VersionStatus.WITHDRAWN} if route.shadow else {}
    if route.candidate:
        on_its_way_in = route.candidate_role is CandidateRole.CANARY
        leaving[route.candidate.version] = VersionStatus.WITHDRAWN if on_its_way_in else VersionStatus.RETIRED
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
    how = f"with {route.candidate_bp / 100:g} % ({route.candidate_role})" if route.candidate else "as a shadow"
    return ConflictError(f"{model} version {candidate.version} is on trial {how}", next_step=out)
