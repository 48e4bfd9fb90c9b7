"""Look at a served model: count what it was asked, judge it against its reference, and record what follows.

Two clocks. Captures are named by the clocks of the functions that answered, so windows end with this function's own
clock. What is damped, kept up and given up goes by the state machine's time `now`, as everything about trainings does.

Nothing depends on how often or when a look is repeated: an hour is counted again only when captures or feedback were
added to it, and a look finds the same as the one before it, but for `looked_at`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tidegate.domain.evaluation import targets
from tidegate.domain.evaluation.targets import PERCENTILE, Held, Target
from tidegate.domain.monitoring import costs, health, hours, quality, quarantine
from tidegate.domain.monitoring.costs import Bill, Prices, Spent
from tidegate.domain.monitoring.findings import VERDICT, Window, findings, moved
from tidegate.domain.monitoring.health import Findings, Health, HealthRecord, Trigger
from tidegate.domain.monitoring.hours import Counting, Hour
from tidegate.domain.monitoring.quality import AgeGroup, Maturity, Parity, Quality
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles import drift
from tidegate.domain.profiles.drift import DriftPolicy
from tidegate.domain.profiles.profile import Profile
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.forecast import Lately
from tidegate.domain.serving.capture import CAPTURE_RECORD, HOUR, hour_of
from tidegate.domain.serving.feedback import FEEDBACK_RECORD
from tidegate.domain.serving.reporters import Reports, behind
from tidegate.domain.serving.service_level import ServiceLevel
from tidegate.domain.training.contracts import stated_targets
from tidegate.kernel.errors import ArtifactRejectedError, NewerDocumentError, NotFoundError
from tidegate.kernel.metrics.metric import Array, FromProbabilities
from tidegate.kernel.metrics.registry import find
from tidegate.kernel.prefixes import RunFile
from tidegate.ports.monitoring import HealthRecords, Hours, Sources, Verdicts
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, RouteReader, Routes, Runs, Versions
from tidegate.ports.rollout import RolloutReader
from tidegate.spec.model import ModelSpec
from tidegate.spec.monitoring import MonitoringRules
from tidegate.steps.conflicts import twice
from tidegate.steps.monitoring.attempts import with_outcomes
from tidegate.steps.monitoring.due import REACH
from tidegate.steps.pages import CHUNK, walked
from tidegate.steps.registry.ledger import look_at_ledger
from tidegate.steps.run_files import RunFiles

SAMPLED_ROWS = 20_000  # answers by which quality is measured, at most
EARLIER_WINDOWS = 9  # by which is known what traffic is usual
KEPT_COSTS = timedelta(days=31)
NET_DAYS = 7  # over which value is set against cost
TARGET_HOURS = 24  # that targets are held against
NAMED_SHARE = 0.1  # of outcomes, from which on their reporter is named
PARITY_LIMIT = 0.1  # of groups that are monitored and that no target names
MATURE = 0.8  # of the share of labels that there ever is
_AGES_HOURS = (0, 1, 6, 24, 72, 168, 336, 720)
_ONE_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found, with its numbers for dashboards and alarms.

    `metrics` are of the model and add up over models; `apart` are those that do not, each with what it is of: model,
    version, feature or business unit. `own` says whether the model has metrics of its own.
    """

    record: HealthRecord
    metrics: Mapping[str, float]
    apart: Sequence[tuple[Mapping[str, str], Mapping[str, float]]]
    own: bool = True


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the captures say. `volume` has the model's predictions by hour, as far back as is needed; `spent` what it
    used in the hours that were counted, `day` has the version's own of the last day."""

    findings: Findings
    volume: Mapping[str, int]
    replaced: str = ""  # a file of the version that is not what was registered
    spent: Mapping[str, Spent] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    maturity: Maturity | None = None
    day: "_Day | None" = None
    unread: Mapping[str, str] = field(default_factory=dict)
    reports: Reports = field(default_factory=Reports)
    lately: Lately = field(default_factory=Lately)  # in the longest window


@dataclass(frozen=True, slots=True)
class _Day:
    """What the targets are held against: of a version, over the last `TARGET_HOURS`."""

    first: str
    service: ServiceLevel
    live: Quality
    parity: tuple[Parity, ...]


def monitor(
    model: str,
    now: datetime,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: Routes,
    rollouts: RolloutReader,
    artifacts: Artifacts,
    hours: Hours,
    verdicts: Verdicts,
    health_records: HealthRecords,
    clock: Clock,
    prices: Prices,
) -> Looked:
    """Judge the champion's windows by the current spec's `monitoring` rules and save the model's health record.

    Captures are judged by the hour: a window is its full hours and the present one so far. It begins at the earliest
    with the champion's version, and after the hour in which somebody saw to the model: what was seen to is not held
    against it again. Hours of the last eight days are counted when something was added to them; older ones stay as they
    were counted.

    The ledger of what is served is verified from the entry on that the last look came to, and the route is held against
    it.

    Raises:
        NotFoundError: no such model.
        ConflictError: the health record was changed by others, twice.
        UnavailableError: the ledger changes faster than it can be read.
    """
    spec = models.spec(model)
    before, at = health_records.record(model), clock.now()
    came_to = before.ledger_seen if before else None
    ledger_seen, broken = look_at_ledger(model, came_to, routes=routes, versions=versions)
    last = _last(before, verdicts)
    seen = _Traffic(spec, hours, at).findings(
        _champion(model, routes, versions),
        artifacts,
        since=before.acknowledged_at if before else None,
        volume=last.get("volume", {}),
        now=now,
    )
    tampered = "; ".join(filter(None, (broken, seen.replaced)))
    bill = _bill(spec, last, seen.spent, prices, at)
    held = _held(spec, seen.day, bill)
    key = verdicts.write(model, hour_of(now), _document(model, seen, bill, held, now))
    trained = _trained(model, spec.monitoring, versions)
    lease = rollouts.lease(model)
    under_way = lease is not None and lease.until > now

    def save() -> HealthRecord:
        known = health_records.record(model)
        if known is not None:
            known = with_outcomes(replace(known, last_trained_at=trained), runs, rollouts)
        stands = health.look(known, seen.findings, _policy(spec.monitoring), model=model, under_way=under_way, now=now)
        apart = quarantine.marks(seen.unread)
        stands = replace(
            stands,
            last_trained_at=trained,
            verdicts_key=key,
            summary=_summary(seen, bill, held),
            tampered=tampered,
            ledger_seen=ledger_seen,
            quarantined=apart,
            seen=tuple(each for each in stands.seen if each in apart),
            reporters=_reporters(known, stands, seen.reports),
        )
        health_records.save(stands)
        return stands

    record = twice(save)
    own = spec.monitoring.own_metrics
    apart = [each for each in (*_apart(spec, seen, bill), *_of_targets(model, held)) if own or "model" not in each[0]]
    return Looked(record, _metrics(seen, record, bill, held), apart, own)


@dataclass(frozen=True, slots=True)
class _Traffic:
    """A model's captures as they are at a moment of this function's clock."""

    spec: ModelSpec
    hours: Hours
    at: datetime

    def findings(
        self,
        version: Version | None,
        artifacts: Artifacts,
        *,
        since: datetime | None,
        volume: Mapping[str, int],
        now: datetime,
    ) -> _Seen:
        """All windows of a version, judged; or why they cannot be."""
        if version is None:
            return _Seen(Findings(None, judged=False, problem="no version serves"), volume)
        try:
            reference = _reference(version, artifacts)
        except ArtifactRejectedError as error:
            replaced = f"a file of version {version.number} was replaced: {error.message}"
            return _Seen(Findings(version.number, judged=False, problem=replaced), volume, replaced)
        if isinstance(reference, str):
            return _Seen(Findings(version.number, judged=False, problem=reference), volume)
        found = self._listed(version, since)
        listed = {name: each for name, each in found.items() if _is_hour(name)}
        strays = [key for name in found.keys() - listed for key in (*found[name].captures, *found[name].feedback)]
        try:
            counted = self._counted(version, reference, listed)
        except NewerDocumentError as error:
            return _Seen(Findings(version.number, judged=False, problem=_sentence(error)), volume)
        asked = {name: hour for name, hour in counted.items() if listed[name].captures}
        volume = dict(volume) | {name: hour.predictions for name, hour in asked.items()}
        spans = sorted(self.spec.monitoring.windows_hours)
        maturity = _maturity(counted, self.at)
        windows = tuple(self._window(span, counted, reference, maturity, volume) for span in spans)
        oldest = hour_of(self.at - (EARLIER_WINDOWS + 1) * timedelta(hours=spans[-1]))
        return _Seen(
            findings=findings(
                version.number,
                windows,
                target_shift=self.spec.monitoring.target_shift,
                window_from=now - timedelta(hours=spans[0]),
            ),
            windows=windows,
            maturity=maturity,
            day=self._day(counted, reference, maturity, windows),
            volume={name: count for name, count in sorted(volume.items()) if name >= oldest},
            spent={name: Spent(hour.usage, listed[name].stored_bytes) for name, hour in asked.items()},
            reports=sum((hour.reports for hour in counted.values()), Reports()),
            lately=Lately(
                hours=(self.at - self._first(version, since)) / _ONE_HOUR,
                requests=sum(used.requests for hour in asked.values() for used in hour.usage.values()),
                service=sum((hour.service for hour in asked.values()), ServiceLevel()),
            ),
            unread=dict.fromkeys(strays, "does not lie in the folder of an hour")
            | {key: why for hour in counted.values() for key, why in hour.unread.items()},
        )

    def _listed(self, version: Version, since: datetime | None) -> Mapping[str, Sources]:
        """Hours of the longest window, by name."""
        return self.hours.sources(self.spec.name, hour_of(self._first(version, since)), hour_of(self.at))

    def _first(self, version: Version, since: datetime | None) -> datetime:
        longest = timedelta(hours=max(self.spec.monitoring.windows_hours))
        return max(self.at - longest, version.created_at - _ONE_HOUR, *([since + _ONE_HOUR] if since else []))

    def _counted(self, version: Version, reference: Reference, listed: Mapping[str, Sources]) -> dict[str, Hour]:
        """Those hours; the ones that changed since they were counted, or were counted by other code, are counted again.

        Raises:
            NewerDocumentError: an hour that cannot be counted again was written by newer code.
        """
        model, number = self.spec.name, version.number
        known = self.hours.counted(model, number, tuple(listed))
        reach = hour_of(self.at - REACH)
        found: dict[str, Hour] = {}
        for name, sources in listed.items():
            document, mark = known.get(name), self._mark(sources)
            if document and document.get("layout") != reference.layout.digest:
                document = None
            current = document is not None and Hour.FORM.is_current(document) and document["sources"] == mark
            if document and (current or name < reach):
                found[name] = Hour.from_json(document)
            elif name >= reach:
                found[name] = self._count(sources, mark, number, reference)
                self.hours.keep(model, number, name, found[name].to_json())
        return found

    def _count(self, sources: Sources, mark: str, version: int, reference: Reference) -> Hour:
        """What can be read of an hour. Objects that cannot be counted are looked for one by one, and left out."""
        outcomes, unread = self.hours.outcomes(sources)

        def count(*keys: str) -> Hour:
            counting = Counting(
                reference,
                version=version,
                outcomes=outcomes,
                dropped=self.spec.capture.drop,
                sensitive=self._sensitive if reference.task == "binary" else (),
                tolerance=self._tolerance,
            )
            for lines in self.hours.lines(replace(sources, captures=keys)):
                counting.add(lines)
            hour = counting.hour(mark)
            json.dumps(hour.to_json(), allow_nan=False)  # as it will be kept
            return hour

        def tried(*keys: str) -> Hour | str:
            try:
                return count(*keys)
            except Exception as error:  # noqa: BLE001  whatever it is, it is these objects'; the others are counted
                return quarantine.because(error)

        hour = tried(*sources.captures)
        if isinstance(hour, str):
            faults = {key: why for key in sources.captures if isinstance(why := tried(key), str)}
            hour = tried(*(key for key in sources.captures if key not in faults))
            if isinstance(hour, str):  # each could be counted, all together cannot
                faults, hour = dict.fromkeys(sources.captures, hour), count()
            unread |= faults
        return replace(hour, unread=unread)

    def _mark(self, sources: Sources) -> str:
        """Names what an hour is counted from, and the rules by which."""
        rules = (self.spec.capture.drop, self._sensitive, self._tolerance)
        forms = [*CAPTURE_RECORD.mark().values(), *FEEDBACK_RECORD.mark().values()]  # newer code can read more
        parts = [sources.captures, sources.feedback, *rules, *forms]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    @property
    def _sensitive(self) -> tuple[str, ...]:
        """Features by whose groups decisions are counted: those to be monitored, and those that a target compares."""
        compared = self.spec.sensitive if self.spec.targets.governance.demographic_parity is not None else ()
        asked = [name for name in compared if name in self.spec.feature_names]
        return tuple(dict.fromkeys([*self.spec.monitoring.sensitive, *asked]))

    def _day(
        self, counted: Mapping[str, Hour], reference: Reference, maturity: Maturity, windows: Sequence[Window]
    ) -> _Day:
        first = hour_of(self.at - timedelta(hours=TARGET_HOURS))
        chosen = {name: hour for name, hour in counted.items() if name >= first}
        limit, rules = self.spec.targets.governance.demographic_parity, self.spec.monitoring
        judged = next((window.live for window in windows if window.hours == TARGET_HOURS), None)
        return _Day(
            first=first,
            service=sum((hour.service for hour in chosen.values()), ServiceLevel()),
            live=judged or _live(reference, _mature(chosen, maturity, self.at), rules),
            parity=tuple(
                _parity(column, list(chosen.values()), limit) for column in self._sensitive if limit is not None
            ),
        )

    @property
    def _tolerance(self) -> float | None:
        return self.spec.value.tolerance if self.spec.value else None

    def _window(
        self,
        span: int,
        counted: Mapping[str, Hour],
        reference: Reference,
        maturity: Maturity,
        volume: Mapping[str, int],
    ) -> Window:
        rules = self.spec.monitoring
        policy = DriftPolicy(rules.alpha, rules.thresholds, rules.min_rows)
        first = hour_of(self.at - timedelta(hours=span))
        chosen = {name: hour for name, hour in counted.items() if name >= first}
        profile = sum((hour.profile for hour in chosen.values()), Profile.empty(reference.layout))
        report = drift.judge(reference.layout, reference.profile, profile, policy, importances=reference.importances)
        predictions, usual = _volumes(volume, self.at, span)
        begun = volume.get(hour_of(self.at), 0)
        live = _live(reference, _mature(chosen, maturity, self.at), rules)
        return Window(
            hours=span,
            first=first,
            last=hour_of(self.at),
            rows=profile.rows,
            predictions=predictions,
            drift=replace(report, volume=drift.judge_volume(predictions, usual, begun=begun)),
            live=live,
            expected=_expected(reference, list(chosen.values()), rules) if live.live is None else None,
            parity=tuple(_parity(column, list(chosen.values())) for column in rules.sensitive),
            against=_against(reference, list(chosen.values()), rules),
            counts=moved(reference.layout, reference.profile, profile, report.features),
        )


def _champion(model: str, routes: RouteReader, versions: Versions) -> Version | None:
    route = routes.route(model)
    if route is None or route.champion is None:
        return None
    with suppress(NotFoundError):  # the look at the ledger says so
        return versions.version(model, route.champion.version)
    return None


def _reference(version: Version, artifacts: Artifacts) -> Reference | str:
    """The version's reference, or why there is none. Raises ArtifactRejectedError: it is not the one registered."""
    try:
        return Reference.from_json(json.loads(RunFiles.of_version(version, artifacts).read(RunFile.REFERENCE)))
    except NotFoundError:
        return f"version {version.number} has no reference; train again"
    except NewerDocumentError as error:
        return f"version {version.number}: {_sentence(error)}"
    except ValueError as error:
        return f"the reference of version {version.number} cannot be read ({error}); train again"


def _sentence(error: NewerDocumentError) -> str:
    return f"{error.message}; {error.next_step}"


def _last(record: HealthRecord | None, verdicts: Verdicts) -> dict[str, Any]:
    """The verdict of the last look."""
    if record is None or not record.verdicts_key:
        return {}
    try:
        return verdicts.read(record.verdicts_key)
    except (NotFoundError, ValueError):  # expired, or broken
        return {}


def _bill(spec: ModelSpec, last: Mapping[str, Any], counted: Mapping[str, Spent], prices: Prices, at: datetime) -> Bill:
    """What the last look knew, with the hours that were counted now in place of what it had of them."""
    known = last.get("cost", {}).get("hours", {})
    spent = {name: Spent.from_json(each) for name, each in known.items()} | dict(counted)
    oldest = hour_of(at - KEPT_COSTS)
    return Bill(
        hours={name: each for name, each in spent.items() if name >= oldest},
        until=hour_of(at),
        complete=costs.last_complete(at),
        prices=prices,
        declared=costs.Value(**spec.value.model_dump()) if spec.value else None,
    )


def _volumes(volume: Mapping[str, int], at: datetime, span: int) -> tuple[int, list[int]]:
    """Predictions in the last `span` full hours, and in each earlier window that lies behind the first known hour."""
    counts = {_moment(name): count for name, count in volume.items()}
    present, length = at.replace(minute=0, second=0, microsecond=0), timedelta(hours=span)
    first = min(counts, default=present)

    def since(start: datetime) -> int:
        return sum(count for moment, count in counts.items() if start <= moment < start + length)

    earlier = [present - number * length for number in range(2, EARLIER_WINDOWS + 2)]
    return since(present - length), [since(start) for start in earlier if start >= first]


def _maturity(counted: Mapping[str, Hour], at: datetime) -> Maturity:
    """How many answers are labelled, by the age of their hour."""
    ages = {name: _age_hours(name, at) for name in counted}
    groups = []
    for low, high in zip(_AGES_HOURS, (*_AGES_HOURS[1:], None), strict=True):
        those = [counted[name] for name, age in ages.items() if age >= low and (high is None or age < high)]
        predictions, labelled = sum(hour.answers.rows for hour in those), sum(hour.labelled.rows for hour in those)
        groups.append(AgeGroup(low, high, predictions, labelled))
    return Maturity(tuple(groups))


def _mature(chosen: Mapping[str, Hour], maturity: Maturity, at: datetime) -> list[Hour]:
    """Hours whose labels have come, as far as they come at all: older than the age from which on the share that is
    labelled is nearly the largest there is."""
    most = max((group.share or 0.0 for group in maturity.groups), default=0.0)
    after = maturity.mature_after_hours(MATURE * most) if most else None
    return [] if after is None else [hour for name, hour in chosen.items() if _age_hours(name, at) >= after]


def _labelled(reference: Reference, chosen: Sequence[Hour]) -> tuple[Array, Array]:
    """Targets and scores, as in `metric.Rows`."""
    targets, scores = hours.merged([hour.labelled for hour in chosen], SAMPLED_ROWS)
    return targets if reference.task == "regression" else targets.astype(np.int64), scores


def _live(reference: Reference, chosen: Sequence[Hour], rules: MonitoringRules) -> Quality:
    targets, scores = _labelled(reference, chosen)
    return quality.live_quality(
        reference.metric,
        targets,
        scores,
        reference.design,
        margin=rules.quality_margin,
        min_rows=rules.min_rows,
        positive=reference.positive,
        threshold=reference.threshold,
        confidence=reference.confidence,
    )


def _against(reference: Reference, chosen: Sequence[Hour], rules: MonitoringRules) -> str:
    """Why outcomes are against the model, with the largest reporters; empty when they are not. However few have come
    yet: all of them would be trained on."""
    targets, scores = _labelled(reference, chosen)
    found = quality.contradiction(
        targets,
        scores,
        reference.design,
        task=reference.task,
        metric=reference.metric,
        positive=reference.positive,
        min_rows=rules.min_rows,
        confidence=reference.confidence,
    )
    shares = behind(sum((hour.reports for hour in chosen), Reports()).by, NAMED_SHARE) if found else {}
    by = [f"{who} reported {share:.0%} of them" for who, share in shares.items()]
    return "; ".join(filter(None, (found, *by)))


def _expected(reference: Reference, chosen: Sequence[Hour], rules: MonitoringRules) -> Quality | None:
    """Without labels; None for a metric that cannot be expected."""
    _, scores = hours.merged([hour.answers for hour in chosen], SAMPLED_ROWS)
    given: dict[str, Any] = {
        "margin": rules.quality_margin,
        "min_rows": rules.min_rows,
        "confidence": reference.confidence,
    }
    if reference.task == "regression":
        if reference.loss_by_score is None:
            return None
        return reference.loss_by_score.expected(scores.reshape(-1), reference.design, **given)
    if not isinstance(find(reference.metric).unlabelled, FromProbabilities):
        return None
    given |= {"positive": reference.positive, "threshold": reference.threshold}
    given |= {"recalibration": reference.recalibration}
    return quality.expected_quality(reference.metric, scores, reference.design, **given)


def _parity(column: str, chosen: Sequence[Hour], limit: float = PARITY_LIMIT) -> Parity:
    groups: list[str] = []
    decisions: list[bool] = []
    for hour in chosen:
        for group, (rows, positive) in hour.decisions.get(column, {}).items():
            groups += [group] * rows
            decisions += [True] * positive + [False] * (rows - positive)
    return quality.demographic_parity(column, groups, np.asarray(decisions, dtype=np.bool_), limit=limit)


def _held(spec: ModelSpec, day: _Day | None, bill: Bill) -> tuple[Held, ...]:
    """The last day against each target that live traffic shows; nothing while no version can be judged."""
    if day is None:
        return ()
    return tuple(_hold(each, spec.monitoring.min_rows, day, bill) for each in stated_targets(spec) if each.kind.live)


def _hold(target: Target, min_rows: int, day: _Day, bill: Bill) -> Held:
    service, live = day.service, day.live
    match target.name:
        case "latency_p99_ms":
            found, rows = service.latency_ms(PERCENTILE), sum(service.latency.values())
        case "availability_at_least":
            found, rows = service.availability(), service.requests
        case "cost_per_1000_usd_at_most":
            spent = bill.between(day.first, bill.complete)
            rows = spent.total.predictions
            each = 1e3 * spent.usd(bill.prices) / rows if rows else 0.0
            found = (each, each, each) if rows else None
        case "demographic_parity":
            return _hold_parity(target, min_rows, day.parity)
        case _:
            found = (live.live.value, live.live.low, live.live.high) if live.live and target.of == live.metric else None
            rows = live.rows
    return targets.hold(target, found, rows=rows, min_rows=min_rows)


def _hold_parity(target: Target, min_rows: int, compared: Sequence[Parity]) -> Held:
    """The column whose groups are furthest beyond the limit, by the end of the interval that counts."""
    known = [(each.difference, each) for each in compared if each.difference is not None]
    if not known:
        return targets.hold(target, None, rows=0, min_rows=min_rows, note="of the sensitive columns that are features")
    widest, worst = max(known, key=lambda pair: pair[0].low)
    rows = sum(group.rows for group in worst.groups)
    note = f"{worst.column}, {worst.high} against {worst.low}"
    return targets.hold(target, (widest.value, widest.low, widest.high), rows=rows, min_rows=min_rows, note=note)


def _document(model: str, seen: _Seen, bill: Bill, held: Sequence[Held], now: datetime) -> dict[str, Any]:
    """The whole verdict."""
    return {
        "schema": VERDICT.schema,
        "model": model,
        "version": seen.findings.version,
        "at": now.isoformat(),
        "problem": seen.findings.problem,
        "drift": list(seen.findings.drift),
        "quality": list(seen.findings.quality),
        "quarantined": quarantine.listed(dict(seen.unread)),
        "outcomes": seen.reports.to_json(),
        "unfixable": list(seen.findings.unfixable),
        "windows": [window.to_json() for window in seen.windows],
        "maturity": seen.maturity.to_json() if seen.maturity else None,
        "volume": dict(seen.volume),
        "lately": seen.lately.to_json(),
        "cost": bill.to_json(),
        "targets": [each.to_json() for each in held],
    }


def _summary(seen: _Seen, bill: Bill, held: Sequence[Held]) -> dict[str, Any]:
    spike = bill.spike
    return {
        "problem": seen.findings.problem,
        "windows": [window.summary for window in seen.windows],
        "outcomes": seen.reports.to_json(),
        "cost": {
            "hour": bill.complete,
            "requests": round(bill.last.total.requests),
            "usd": bill.last.usd(bill.prices),
            "spike": spike.sentence if spike else "",
        },
        "missed": {each.target.name: each.sentence for each in held if each.missed},
    }


def _metrics(seen: _Seen, record: HealthRecord, bill: Bill, held: Sequence[Held]) -> dict[str, float]:
    """Numbers by model. `QualityLoss` is how much worse the metric is than in the design phase, in its own units."""
    reports = [window.drift for window in seen.windows]
    gains = [each.gain for window in seen.windows for each in (window.live, window.expected) if each and each.gain]

    def any_drifted(verdict: str) -> float:
        return float(any(verdict in report.drifted for report in reports))

    return {
        "Quarantined": float(record.unseen),
        "Rows": float(seen.windows[0].rows if seen.windows else 0),
        "Drifted": float(bool(seen.findings.drift or seen.findings.quality)),
        "FeatureDrift": any_drifted("features"),
        "PredictionDrift": any_drifted("predictions"),
        "DataQuality": any_drifted("quality"),
        "NeedsRedesign": float(record.health is Health.NEEDS_REDESIGN),
        "Tampered": float(bool(record.tampered)),
        "RetrainingWanted": float(record.wanted is not None),
        "CostSpike": float(bill.spike is not None),
        "TargetsMissed": float(sum(each.missed for each in held)),
        **({"QualityLoss": max(-gain.value for gain in gains)} if gains else {}),
    }


def _apart(spec: ModelSpec, seen: _Seen, bill: Bill) -> list[tuple[Mapping[str, str], Mapping[str, float]]]:
    """Cost and value of the last complete hour; the quality of the champion; how far the features moved that are most
    responsible for its drift."""
    model = {"model": spec.name}
    unit = {"business_unit": spec.business_unit}
    whole = bill.metrics(bill.last)
    net = bill.net_per_1000(costs.days_before(bill.complete, NET_DAYS))
    measured = whole | _qualities(seen.windows) | ({} if net is None else {"NetUSDPer1000": net})
    versions = [(model | {"version": name}, bill.metrics(part)) for name, part in sorted(bill.last.parts.items())]
    shifts = [(model | {"feature": name}, {"FeatureShift": shift}) for name, shift in _shifts(seen.windows).items()]
    return [(model, measured), *versions, (unit, whole), *shifts]


def _of_targets(model: str, held: Sequence[Held]) -> list[tuple[Mapping[str, str], Mapping[str, float]]]:
    """By target: what was measured, where anything was, its limit, and whether it is missed."""
    return [
        (
            {"model": model, "target": each.target.name},
            {"TargetLimit": each.target.limit, "TargetMissed": float(each.missed)}
            | ({} if each.measured is None else {"TargetMeasured": each.measured}),
        )
        for each in held
    ]


def _qualities(windows: Sequence[Window]) -> dict[str, float]:
    """Of the shortest window that has each."""
    measured: dict[str, float] = {}
    for window in reversed(windows):
        measured["DesignQuality"] = window.live.design.value
        if window.live.live:
            measured["LiveQuality"] = window.live.live.value
        if window.expected and window.expected.live:
            measured["ExpectedQuality"] = window.expected.live.value
    return measured


def _shifts(windows: Sequence[Window]) -> dict[str, float]:
    """Distance from training of the features that the shortest window with any names."""
    verdict = next((window.drift.features for window in windows if window.drift.features.responsible), None)
    if verdict is None:
        return {}
    moved = {each.name: each.distance for each in verdict.findings if isinstance(each, drift.ColumnFinding)}
    return {name: moved[name] or 0.0 for name in verdict.responsible}


def _reporters(known: HealthRecord | None, stands: HealthRecord, reports: Reports) -> Mapping[str, int]:
    """Whose outcomes a look rests on; while people are asked, those of the look that asked them."""
    asked = known is not None and known.health is stands.health is Health.NEEDS_REDESIGN
    return known.reporters if known is not None and asked else reports.by


def _trained(model: str, rules: MonitoringRules, versions: Versions) -> datetime | None:
    """When the newest version was accepted; asked only where a schedule needs it."""
    if Trigger.SCHEDULE.value not in rules.retrain_on:
        return None
    walk = walked(lambda *, after, limit: versions.versions(model, after=int(after or 0), limit=limit), _number)
    return next((each.created_at for each in walk("", CHUNK) if each.status is not VersionStatus.REJECTED), None)


def _number(version: Version) -> str:
    return str(version.number)


def _policy(rules: MonitoringRules) -> health.Policy:
    return health.Policy(
        retrain_on=frozenset(map(Trigger, rules.retrain_on)),
        every=None if rules.every_days is None else timedelta(days=rules.every_days),
        cooldown=timedelta(hours=rules.cooldown_hours),
        at_most=rules.at_most,
        within=timedelta(days=rules.within_days),
        give_up_after=rules.give_up_after,
    )


def _is_hour(name: str) -> bool:
    try:
        return hour_of(_moment(name)) == name
    except ValueError:
        return False


def _moment(name: str) -> datetime:
    return datetime.strptime(name, HOUR).replace(tzinfo=UTC)


def _age_hours(name: str, at: datetime) -> float:
    """Age of the youngest answer of an hour."""
    return max((at - _moment(name) - _ONE_HOUR) / _ONE_HOUR, 0.0)
