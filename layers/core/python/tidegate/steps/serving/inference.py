"""Serve a model: which version answers, its verified artifact, the answer, and the fallback where there is none.

On the inference path: standard library, numpy and orjson only. What is kept between requests is bounded: routes by time
and number, sessions and fallbacks by bytes, refused artifacts by time.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tidegate.domain.registry.route import FallbackRef, Route, Served
from tidegate.domain.serving.capture import UNANSWERED, Capture, ShadowAnswer
from tidegate.domain.serving.contract import Contract, Inputs, Rulebook
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.serving.guard import Detector
from tidegate.domain.serving.prediction import PredictionRequest, Validator, answers, validate
from tidegate.domain.serving.routing import BESIDE, Arm, Choice, Reason, Why, choose, named, serving
from tidegate.kernel.errors import (
    ArtifactRejectedError,
    ConflictError,
    ModelFailedError,
    NewerDocumentError,
    NotFoundError,
    RequestInvalidError,
    ScoringTimeoutError,
    TidegateError,
    UnavailableError,
)
from tidegate.kernel.ids import RANDOM_BYTES, uuid7s
from tidegate.steps.serving.sessions import Opened
from tidegate.steps.serving.timelimit import Pace, TimeLimit

if TYPE_CHECKING:  # not worth their share of a cold start
    from tidegate.ports.platform import Clock, Signals
    from tidegate.ports.registry import ModelNames, RouteReader, VerifiedArtifacts, VersionHashes
    from tidegate.ports.serving import CaptureLog, Scorer, ScorerLoader

T = TypeVar("T")
STALE = timedelta(seconds=10)  # how long a route is served on after the registry failed, before it is asked again
REFUSED = timedelta(seconds=60)  # a refused artifact is not looked at again before this
UNFETCHED = timedelta(seconds=5)  # one that could not be fetched is not asked for again before this
MAX_ROUTES = 4_096
# What is opened counts for the memory it takes, by measurement (docs/serving.md): so much for each byte of its object,
# and for a session so much more, whatever its size.
MEMORY_PER_BYTE = 8
SESSION_BYTES = 128 * 2**10
NEWER = "NewerArtifact"  # counts what newer code wrote and this code cannot read, as after a rollback of code
SPARE_SECONDS = 0.25  # of the invocation, kept for the fallback and for what follows the answer
SHADOW_SPARE_SECONDS = 1.0  # with less than this left, the shadow is passed over
_UNUSABLE = (ArtifactRejectedError, NewerDocumentError, NotFoundError, UnavailableError)
# The instances kept a version's contract.
_CHECKED = frozenset({Why.SCORING_FAILED, Why.TIMED_OUT, Why.RULE_VIOLATED, Why.UNUSUAL})


@dataclass(frozen=True, slots=True)
class _Known:
    """A route as it was read: from `due` on it is read again after a response, from `until` on before an answer."""

    route: Route | None
    due: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class _Session:
    scorer: "Scorer"
    validator: Validator
    rulebook: Rulebook
    detector: Detector | None
    pace: Pace


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: TidegateError
    until: datetime


@dataclass(frozen=True, slots=True)
class _Missed:
    """Why a version did not answer, the fault if it was one, and the reason it would have answered for."""

    why: Why
    error: Exception | None = None
    meant: Reason = Reason.CHAMPION


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Answers by row and who gave them. `arm` is the side the request was assigned to, `missed` says why the version
    that was to answer did not; `fault` is what the caller gets when nobody could, and answers are empty then."""

    version: int | None
    reason: Reason
    arm: Arm
    answers: list[dict[str, Any]]
    missed: _Missed | None = None
    violations: Sequence[Sequence[str]] = ()
    fault: Exception | None = None


class Inference:
    """Answers requests for every model of the registry. Kept for the life of the process."""

    def __init__(
        self,
        *,
        routes: "RouteReader",
        models: "ModelNames",
        versions: "VersionHashes",
        artifacts: "VerifiedArtifacts",
        load: "ScorerLoader",
        clock: "Clock",
        signals: "Signals",
        captures: "CaptureLog",
        route_ttl_seconds: float,
        scoring_timeout_seconds: float,
        cache_bytes: int,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._routes = routes
        self._models = models
        self._versions = versions
        self._artifacts = artifacts
        self._load = load
        self._clock = clock
        self._signals = signals
        self._captures = captures
        self._stopwatch = stopwatch
        self._time_limit = TimeLimit()
        self._scoring_seconds = scoring_timeout_seconds
        self._ttl = timedelta(seconds=route_ttl_seconds)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._due: set[str] = set()
        self._served_last: dict[str, Served] = {}
        self._kept: Opened[Any] = Opened(cache_bytes, evicted=lambda number: signals.count("ArtifactEvicted", number))
        self._refusals: dict[Served | FallbackRef, _Refusal] = {}
        self._openings = 0  # objects fetched so far, to know a request that had to wait for one

    def predict(
        self,
        model: str,
        request: PredictionRequest,
        randomness: Callable[[int], bytes],
        *,
        request_id: str = "",
        remaining_seconds: Callable[[], float] = lambda: math.inf,
    ) -> dict[str, Any]:
        """The answer to a request; every prediction gets an id that sorts by time.

        `remaining_seconds` says how long the invocation may still take.

        Raises:
            RequestInvalidError: the instances break the contract.
            NotFoundError: there is no such model, or the version that the request names does not serve.
            ConflictError: the model has no accepted version, or is switched off, and has no fallback.
            ArtifactRejectedError: no version's artifact is what the registry recorded, and there is no fallback.
            NewerDocumentError: the route, or what it names, was written by newer code, and nothing else can answer.
            UnavailableError: the registry or the artifacts cannot be reached, and nothing is known from before.
            ModelFailedError: the model gave a score that is no number, and there is no fallback.
        """
        started = self._stopwatch()
        now, count = self._clock.now(), len(request.instances)
        ids = uuid7s(now, randomness(RANDOM_BYTES * count))
        route = self._served(model)
        key = ids[0] if request.routing_key is None else request.routing_key
        choices = self._choices(route, key, request.version)
        openings = self._openings
        outcome = self._outcome(route, choices, request.instances, remaining_seconds)
        latency_ms = 1e3 * (self._stopwatch() - started)
        cold = self._openings > openings
        missed, fault = outcome.missed, outcome.fault
        why = missed.why if missed else None
        reason = UNANSWERED if fault else outcome.reason.value
        error = missed.error if missed and missed.error else fault
        predictions = [{"id": each} | answer for each, answer in zip(ids, outcome.answers, strict=True)]
        self._captures.offer(
            Capture(
                model=model,
                version=outcome.version,
                arm=outcome.arm.value,
                reason=f"{reason}:{why}" if why else reason,
                route=route.revision,
                at=now,
                latency_ms=latency_ms,
                cold=cold,
                request_id=request_id,
                instances=[{}] * count if fault and why not in _CHECKED else request.instances,
                predictions=predictions,
                violations=outcome.violations,
                error=type(error).__name__ if error else "",
                shadow=None if fault else self._shadow(route, request.instances, remaining_seconds),
            )
        )
        if fault:
            raise fault
        self._signals.count("Predictions", count)
        return _origin(model, outcome.version, outcome.reason, missed) | {"predictions": predictions}

    def describe(self, model: str, version: int | None = None) -> dict[str, Any]:
        """What callers may know of a model: which version answers, why, and the contract of a request.

        While a second version has a share, it is the champion that is described, unless `version` names the other one.
        Raises as `predict` does.
        """
        route = self._served(model)
        missed = _none(route)
        for choice in self._choices(route if version is not None else replace(route, candidate=None), "", version):
            try:
                contract = self._session(model, choice.served).scorer.contract
            except _UNUSABLE as error:
                missed = _Missed(Why.NOT_LOADABLE, missed.error or error)
                continue
            late = missed if choice.reason is Reason.PREVIOUS_GOOD else None
            return _origin(model, choice.served.version, choice.reason, late) | _public(contract, route.fields)
        fallback = self._fallback(route, missed)
        return _origin(model, None, Reason.FALLBACK, missed) | _public(fallback.contract, route.fields)

    def serving(self, model: str) -> list[int]:
        """Numbers of the versions that a request may name. Raises as `predict` does."""
        return [served.version for served in serving(self._served(model))]

    def refresh(self, seconds: float = math.inf) -> float:
        """Read again the routes that were asked for in the second half of their time, and open what is new in them, so
        that no answer has to wait for registry or artifacts while requests come steadily. The fallback is opened too:
        it is there when the artifacts are not. What cannot be read, or is not begun within `seconds`, is left to the
        next answer. Returns the seconds it took."""
        started = self._stopwatch()
        due, self._due = self._due, set()
        for model in due:
            if self._stopwatch() - started >= seconds:
                break
            with suppress(Exception):
                route, known = self._routes.route(model), self._known.get(model)
                self._keep(model, route, self._clock.now(), self._ttl)
                if route is not None and self._stopwatch() - started < seconds:
                    self._open_ahead(route, is_new=known is None or known.route != route)
        return self._stopwatch() - started

    def know_ahead(self, models: Iterable[str], seconds: float) -> None:
        """Read the route of each model and open its fallback, as far as `seconds` last: who is asked later while the
        registry refuses has a route to follow and an answer to give. Routes are read again before the first answer."""
        started = self._stopwatch()
        for model in models:
            if self._stopwatch() - started >= seconds:
                return
            with suppress(Exception):  # this model is as unknown as before
                route = self._routes.route(model)
                if route is not None:
                    self._keep(model, route, self._clock.now(), timedelta(0))
                    self._fallback(route, _none(route))

    def _open_ahead(self, route: Route, *, is_new: bool) -> None:
        versions = (route.champion, route.candidate, route.shadow) if is_new else ()
        for served in filter(None, versions):
            with suppress(*_UNUSABLE):  # counted and reported where it was refused
                self._session(route.model, served)
        if route.fallback is not None:
            self._fallback(route, _none(route))

    def knows(self, model: str) -> bool:
        """Whether the model exists and is served, as far as this process has seen."""
        known = self._known.get(model)
        return known is not None and known.route is not None

    def _served(self, model: str) -> Route:
        """The route; raises NotFoundError or ConflictError when the model has none."""
        route = self._route(model)
        if route is None or (route.champion is None and route.candidate is None and route.fallback is None):
            self._models.model(model)
            raise _no_version(model)
        return route

    def _choices(self, route: Route, key: str, version: int | None) -> tuple[Choice, ...]:
        if version is not None:
            return named(route, version)
        return choose(route, key, self._served_last.get(route.model))

    def _outcome(
        self, route: Route, choices: Sequence[Choice], instances: Sequence[Any], remaining: Callable[[], float]
    ) -> _Outcome:
        """The answers of the first version that can give them, else of the fallback.

        A champion that fails is not followed by an earlier version: those are for artifacts that cannot be used.
        """
        first: _Missed | None = None  # of the version that was to answer
        champion: _Missed | None = None
        for choice in choices:
            missed, session, found = self._tried(route, choice, instances, remaining)
            if missed is None and session is not None:
                if choice.arm is Arm.CHAMPION:
                    self._served_last[route.model] = choice.served
                self._give_away(route, session, instances, found)
                outcome = self._within_rules(route, choice, session.rulebook, instances, found)
                break
            first = first or missed
            if choice.arm is Arm.CHAMPION:
                champion = champion or missed
                if missed is not None and missed.why is not Why.NOT_LOADABLE:
                    outcome = self._by_fallback(route, instances, missed)
                    break
        else:
            outcome = self._by_fallback(route, instances, champion or first or _none(route))
        if first is None:
            return outcome
        if first.meant is Reason.CHAMPION:
            return replace(outcome, arm=Arm.CHAMPION, missed=first)
        if first.meant is Reason.NAMED:
            return replace(outcome, arm=Arm.NAMED, missed=first)
        self._signals.count(_ERRORS[first.meant], why=first.why.value)
        return replace(outcome, arm=Arm(first.meant.value), missed=first)

    def _tried(
        self, route: Route, choice: Choice, instances: Sequence[Any], remaining: Callable[[], float]
    ) -> tuple[_Missed | None, _Session | None, list[dict[str, Any]]]:
        """What a version answers, or why it does not.

        Raises:
            RequestInvalidError: the instances break the contract of the champion, of the version that is named, or
                without a champion the candidate's. One that only a version beside the champion refuses is that
                version's fault: its users sent what is served well without it.
        """
        try:
            session = self._session(route.model, choice.served)
            inputs, found = self._scored(route, session, instances, remaining)
            return None, session, self._marked(session.detector, inputs, found)
        except RequestInvalidError as error:
            if choice.arm not in BESIDE or route.champion is None:
                raise
            return _Missed(Why.CONTRACT_BROKEN, error, choice.reason), None, []
        except _UNUSABLE as error:
            return _Missed(Why.NOT_LOADABLE, error, choice.reason), None, []
        except Exception as error:  # noqa: BLE001  whatever a model raises, its users get an answer
            said = str(error) if isinstance(error, TidegateError) else type(error).__name__
            self._signals.count("ModelFailures")
            self._signals.warn("a version did not answer", model=route.model, version=choice.served.version, why=said)
            why = Why.TIMED_OUT if isinstance(error, ScoringTimeoutError) else Why.SCORING_FAILED
            return _Missed(why, error, choice.reason), None, []

    def _scored(
        self, route: Route, session: _Session, instances: Sequence[Any], remaining: Callable[[], float]
    ) -> tuple[Inputs, list[dict[str, Any]]]:
        """Inputs and answers by row, within the time there is."""
        scorer = session.scorer
        inputs = session.validator.inputs(instances, frozenset(route.fields))
        seconds = min(self._scoring_seconds, remaining() - SPARE_SECONDS)
        try:
            scores = self._time_limit.call(lambda: scorer.score(inputs), seconds, session.pace, len(instances))
        except ScoringTimeoutError:
            scorer.stop()
            raise
        return inputs, answers(scorer.contract, scores)

    def _marked(self, detector: Detector | None, inputs: Inputs, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers, those to inputs that lie far from those of training marked."""
        rows = detector.unusual(inputs) if detector else []
        if rows:
            self._signals.count("Unusual", len(rows))
        for row in rows:
            found[row]["unusual"] = True
        return found

    def _give_away(
        self, route: Route, session: _Session, instances: Sequence[Any], found: list[dict[str, Any]]
    ) -> None:
        """Where the guard wants it, replace the answers to unusual inputs by the fallback's. Without one that can be
        used and keeps the rules the version's own stay, marked: it has an answer, and nobody has a better one."""
        if session.detector is None or session.detector.answer == "model":
            return
        rows = [row for row, answer in enumerate(found) if "unusual" in answer]
        if not rows:
            return
        missed = _Missed(Why.UNUSUAL)
        instead, fault = self._stood_in(route, [instances[row] for row in rows], missed, session.rulebook)
        if fault is None:
            for row, answer in zip(rows, instead, strict=True):
                found[row] = answer | {"why": Why.UNUSUAL.value, "unusual": True}

    def _within_rules(
        self, route: Route, choice: Choice, rulebook: Rulebook, instances: Sequence[Any], found: list[dict[str, Any]]
    ) -> _Outcome:
        """The answers, those of the version that break a business rule replaced by the fallback's."""
        outcome = _Outcome(choice.served.version, choice.reason, choice.arm, found)
        if not rulebook.rules:
            return outcome
        violations = [
            () if "fallback" in answer else rulebook.broken(each, answer)
            for each, answer in zip(instances, found, strict=True)
        ]
        rows = [row for row, names in enumerate(violations) if names]
        if not rows:
            return outcome
        self._signals.count("RuleViolations", len(rows), arm=choice.arm.value)
        names = ", ".join(sorted({name for row in rows for name in violations[row]}))
        broken = ModelFailedError(f"{route.model} gave an answer that breaks a business rule ({names})")
        missed = _Missed(Why.RULE_VIOLATED, broken, choice.reason)
        instead, fault = self._stood_in(route, [instances[row] for row in rows], missed, rulebook)
        if fault:
            return _Outcome(None, Reason.FALLBACK, choice.arm, [{}] * len(found), missed, violations, fault)
        for row, answer in zip(rows, instead, strict=True):
            mark = {"unusual": True} if "unusual" in found[row] else {}
            found[row] = answer | {"rule": violations[row][0]} | mark
        return replace(outcome, violations=violations)

    def _by_fallback(self, route: Route, instances: Sequence[Any], missed: _Missed) -> _Outcome:
        """The fallback's answers to a whole request."""
        found, fault = self._stood_in(route, instances, missed)
        return _Outcome(None, Reason.FALLBACK, Arm.FALLBACK, found, missed, fault=fault)

    def _stood_in(
        self, route: Route, instances: Sequence[Any], missed: _Missed, rulebook: Rulebook | None = None
    ) -> tuple[list[dict[str, Any]], Exception | None]:
        """The fallback's answers; empty ones, and what the caller gets, when it has none to give that keeps its own
        business rules and those of the version in whose place it answers.

        Raises:
            RequestInvalidError: the instances, which no version has looked at, break the fallback's contract.
            ConflictError: no version is to answer, and there is no fallback.
        """
        try:
            fallback = self._fallback(route, missed)
            if missed.why not in _CHECKED:
                validate(fallback.contract, instances, frozenset(route.fields))
            found = fallback.answers(instances)
            if rulebook is not None:
                rulebook.demand_kept(instances, found)
        except (RequestInvalidError, ConflictError):
            raise
        except Exception as fault:  # noqa: BLE001  whatever it is, the request is captured as unanswered
            return [{}] * len(instances), fault
        self._signals.count("FallbackServed", len(found), why=missed.why.value)
        return [answer | {"fallback": True} for answer in found], None

    def _fallback(self, route: Route, missed: _Missed) -> Fallback:
        """The route's fallback; what the version missed by is raised when there is none that can be used."""
        ref = route.fallback
        if ref is not None:
            try:
                made: Fallback = self._kept.get(
                    (route.model, ref.sha256), lambda: self._made(route.model, ref, Fallback.from_bytes, 0)
                )
            except _UNUSABLE as error:
                missed = _Missed(missed.why, missed.error or error)
            else:
                return made
        raise _unanswered(route.model, missed)

    def _shadow(self, route: Route, instances: Sequence[Any], remaining: Callable[[], float]) -> ShadowAnswer | None:
        """What the shadow says to the same request. It comes after the answer, and its failures are only counted."""
        if route.shadow is None or route.killed or remaining() < SHADOW_SPARE_SECONDS:
            return None
        version, openings, started = route.shadow.version, self._openings, self._stopwatch()
        found: list[dict[str, Any]] = []
        said = ""
        try:
            _, found = self._scored(route, self._session(route.model, route.shadow), instances, remaining)
        except Exception as error:  # noqa: BLE001  nothing of it reaches the caller
            said = type(error).__name__
            self._signals.count("ShadowErrors")
        latency_ms = 1e3 * (self._stopwatch() - started)
        return ShadowAnswer(version, found, latency_ms, said, self._openings > openings)

    def _route(self, model: str) -> Route | None:
        now, known = self._clock.now(), self._known.get(model)
        if known and now < known.until:
            if now >= known.due:
                self._due.add(model)
            return known.route
        try:
            route = self._routes.route(model)
        except Exception as error:  # also one that never passes, a lost permission say: what served yesterday still can
            if isinstance(error, NewerDocumentError):
                self._signals.count(NEWER)
            if known is None or known.route is None:
                raise
            self._signals.count("RouteStale")
            if not isinstance(error, UnavailableError):
                self._signals.count("ServerErrors")  # it will not pass by itself, so the alarm is to ring
            why = str(error) if isinstance(error, TidegateError) else type(error).__name__
            self._signals.warn("the registry does not answer; the last known route stays in use", model=model, why=why)
            self._keep(model, known.route, now, STALE)
            return known.route
        self._keep(model, route, now, self._ttl)
        return route

    def _keep(self, model: str, route: Route | None, now: datetime, ttl: timedelta) -> None:
        self._known[model] = _Known(route, now + ttl / 2, now + ttl)
        self._known.move_to_end(model)
        while len(self._known) > MAX_ROUTES:
            forgotten, _ = self._known.popitem(last=False)
            self._served_last.pop(forgotten, None)

    def _session(self, model: str, served: Served) -> _Session:
        """The loaded artifact; bytes that are not what the registry recorded never become a session."""
        made: _Session = self._kept.get(
            (model, served.version, served.artifact_sha256),
            lambda: self._made(model, served, self._session_of, SESSION_BYTES),
        )
        return made

    def _session_of(self, data: bytes) -> _Session:
        scorer = self._load(data)
        contract = scorer.contract
        return _Session(scorer, Validator(contract), Rulebook.of(contract), Detector.of(contract), Pace())

    def _made(self, model: str, ref: Served | FallbackRef, open_: Callable[[bytes], T], memory: int) -> tuple[T, int]:
        """What is made of a verified object, and what it counts for: `memory`, and so much for each of its bytes.

        Raises:
            ArtifactRejectedError, NewerDocumentError, NotFoundError, UnavailableError: and again for a while, without
                asking.
        """
        key, sha256 = _object(ref)
        now, refusal = self._clock.now(), self._refusals.get(ref)
        if refusal and now < refusal.until:
            raise refusal.error
        try:
            if isinstance(ref, Served) and self._versions.registered_sha256(model, ref.version) != sha256:
                raise ArtifactRejectedError(f"{model} version {ref.version} was registered with another artifact")
            data = self._artifacts.get_verified(key, sha256)
            made = open_(data)
            holds = _contract(made).model
            if holds != model:
                raise ArtifactRejectedError(f"{key} holds model {holds!r}, not {model!r}")
        except NewerDocumentError as error:
            self._refuse(model, ref, error, NEWER, now + REFUSED)
            raise
        except (ArtifactRejectedError, NotFoundError) as error:
            self._refuse(model, ref, error, "ArtifactRejected", now + REFUSED)
            raise
        except UnavailableError as error:
            self._refuse(model, ref, error, "ArtifactUnavailable", now + UNFETCHED)
            raise
        finally:
            self._openings += 1  # at the end, so that those who waited for it see it move
        self._refusals.pop(ref, None)
        return made, memory + MEMORY_PER_BYTE * len(data)

    def _refuse(
        self, model: str, ref: Served | FallbackRef, error: TidegateError, metric: str, until: datetime
    ) -> None:
        now, (key, _) = self._clock.now(), _object(ref)
        self._refusals = {each: refusal for each, refusal in list(self._refusals.items()) if now < refusal.until}
        self._refusals[ref] = _Refusal(error, until)
        self._signals.count(metric)
        version = ref.version if isinstance(ref, Served) else None
        self._signals.warn("an artifact is not served", model=model, version=version, key=key, why=str(error))


def _object(ref: Served | FallbackRef) -> tuple[str, str]:
    """Key and SHA-256."""
    return (ref.artifact_key, ref.artifact_sha256) if isinstance(ref, Served) else (ref.key, ref.sha256)


def _contract(opened: Any) -> Contract:
    contract: Contract = opened.contract if isinstance(opened, Fallback) else opened.scorer.contract
    return contract


def _none(route: Route) -> _Missed:
    """Why no version is to answer."""
    return _Missed(Why.KILLED if route.killed else Why.NO_VERSION)


def _no_version(model: str) -> ConflictError:
    return ConflictError(
        f"model {model!r} has no accepted version yet", next_step=f"train one: `tidegate train {model}`"
    )


def _unanswered(model: str, missed: _Missed) -> Exception:
    """What a caller gets when neither a version nor the fallback can answer."""
    match missed.error:
        case None if missed.why is Why.NO_VERSION:
            return _no_version(model)
        case None if missed.why is Why.KILLED:
            step = f"the model's owner resumes it: `tidegate resume {model}`"
            return ConflictError(f"model {model!r} is switched off and has no fallback", next_step=step)
        case NewerDocumentError() as error:
            return error
        case UnavailableError():
            return UnavailableError(
                f"the artifact of model {model!r} cannot be fetched at the moment", next_step="try again"
            )
        case Exception() as error if missed.why in _CHECKED:
            return error
        case _:
            return ArtifactRejectedError(
                f"model {model!r} has no artifact that matches its SHA-256 in the registry",
                next_step="an alarm notifies the model's owner; a new release fixes it",
            )


_DETAILS: Mapping[Why, str] = {
    Why.KILLED: "the model is switched off",
    Why.NO_VERSION: "no version of the model serves yet",
    Why.NOT_LOADABLE: "its artifact is not what the registry recorded, needs newer code, or cannot be fetched",
    Why.SCORING_FAILED: "it could not score this request",
    Why.TIMED_OUT: "it exceeded its time limit",
    Why.CONTRACT_BROKEN: "it rejects a request that the champion accepts",
}


_ERRORS: Mapping[Reason, str] = {
    Reason.CANDIDATE: "CandidateErrors",
    Reason.HOLDBACK: "HoldbackErrors",
    Reason.SPLIT: "SplitErrors",
}

_MEANT: Mapping[Reason, str] = {
    Reason.CANDIDATE: "the candidate",
    Reason.HOLDBACK: "the version held back",
    Reason.SPLIT: "the second version of the split",
    Reason.NAMED: "the requested version",
}


def _origin(model: str, version: int | None, reason: Reason, missed: _Missed | None = None) -> dict[str, Any]:
    """Who answers and why; with a `detail` when it is not the version that was to."""
    origin: dict[str, Any] = {"model": model, "version": version, "reason": reason.value}
    if missed is None:
        return origin
    if missed.why in {Why.KILLED, Why.NO_VERSION}:
        detail = f"{_DETAILS[missed.why]}; its fallback answers"
    else:
        detail = f"{_MEANT.get(missed.meant, 'the champion')} should have answered, but {_DETAILS[missed.why]}"
    return origin | {"why": missed.why.value, "detail": detail}


def _public(contract: Contract, fields: Sequence[str]) -> dict[str, Any]:
    """The contract; under `also`, `fields` that a request may have though this version does not ask for them."""
    features = [
        {
            name: value
            for name, value in {
                "name": feature.name,
                "kind": feature.kind,
                "unit": feature.unit,
                "minimum": feature.minimum,
                "maximum": feature.maximum,
                "categories": feature.categories,
                "unseen": feature.unseen if feature.kind == "categorical" else None,
                "missing": feature.missing,
            }.items()
            if value is not None
        }
        for feature in contract.features
    ]
    rules = [{"name": rule.name, "when": rule.when, "require": rule.require} for rule in contract.rules]
    about: dict[str, Any] = {"task": contract.task, "classes": list(contract.classes), "features": features}
    about["missing_words"] = list(contract.missing_words)
    about |= {"decimal": contract.decimal} if contract.decimal != "." else {}
    about |= {"time_format": contract.time_format} if contract.time_format else {}
    interval = {"interval": {"level": contract.interval.level}} if contract.interval else {}
    known = {feature.name for feature in contract.features}
    also = [name for name in fields if name not in known]
    return about | interval | ({"rules": rules} if rules else {}) | ({"also": also} if also else {})
