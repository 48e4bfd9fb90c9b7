"""Serve a model: which version answers, its verified artifact, and the answer.

On the inference path: standard library and numpy only. What is kept between requests is bounded: routes by time and
number, sessions by bytes, refused artifacts by time.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidegate.domain.ids import RANDOM_BYTES, uuid7
from tidegate.domain.prediction import Contract, answers, validate
from tidegate.domain.release import Route, Served
from tidegate.domain.routing import Choice, Reason, choices
from tidegate.errors import ArtifactRejectedError, ConflictError, NotFoundError, TidegateError, UnavailableError
from tidegate.ports import Artifacts, Clock, Models, Routes, Scorer, ScorerLoader, Signals

STALE = timedelta(seconds=10)  # how long a route is served on after the registry failed, before it is asked again
REFUSED = timedelta(seconds=60)  # a refused artifact is not looked at again before this
UNANSWERED = timedelta(seconds=5)  # one that could not be fetched is not asked for again before this
MAX_ROUTES = 4_096


@dataclass(frozen=True, slots=True)
class _Known:
    route: Route | None
    until: datetime


@dataclass(frozen=True, slots=True)
class _Session:
    scorer: Scorer
    size: int


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: TidegateError
    until: datetime


class Inference:
    """Answers requests for every model of the registry. Kept for the life of the process."""

    def __init__(
        self,
        *,
        routes: Routes,
        models: Models,
        artifacts: Artifacts,
        load: ScorerLoader,
        clock: Clock,
        signals: Signals,
        route_ttl_seconds: float,
        cache_bytes: int,
    ) -> None:
        self._routes = routes
        self._models = models
        self._artifacts = artifacts
        self._load = load
        self._clock = clock
        self._signals = signals
        self._ttl = timedelta(seconds=route_ttl_seconds)
        self._cache_bytes = cache_bytes
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._served_last: dict[str, Served] = {}
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._refusals: dict[str, _Refusal] = {}

    def predict(self, model: str, instances: Sequence[Any], randomness: Callable[[int], bytes]) -> dict[str, Any]:
        """The answer to `instances`; every prediction gets an id that sorts by time.

        Raises:
            RequestInvalidError: the instances break the contract.
            NotFoundError: there is no such model.
            ConflictError: the model has no accepted version yet.
            ArtifactRejectedError: no version's artifact is what the registry recorded.
            UnavailableError: the registry or the artifacts cannot be reached, and nothing is known from before.
            ModelFailedError: the model gave a score that is no number.
        """
        choice, scorer = self._serving(model)
        inputs = validate(scorer.contract, instances)
        predictions = answers(scorer.contract, scorer.score(inputs))
        now, chance = self._clock.now(), randomness(RANDOM_BYTES * len(predictions))
        self._signals.count("Predictions", len(predictions))
        return _origin(model, choice) | {
            "predictions": [
                {"id": uuid7(now, chance[RANDOM_BYTES * row : RANDOM_BYTES * (row + 1)])} | prediction
                for row, prediction in enumerate(predictions)
            ]
        }

    def describe(self, model: str) -> dict[str, Any]:
        """What callers may know of a model: which version answers, why, and the contract of a request.

        Raises as `predict` does.
        """
        choice, scorer = self._serving(model)
        return _origin(model, choice) | _public(scorer.contract)

    def knows(self, model: str) -> bool:
        """Whether the model exists and is served, as far as this process has seen."""
        known = self._known.get(model)
        return known is not None and known.route is not None

    def _serving(self, model: str) -> tuple[Choice, Scorer]:
        route = self._route(model)
        order = choices(route, self._served_last.get(model)) if route else ()
        if not order:
            self._models.model(model)
            raise ConflictError(
                f"model {model!r} has no accepted version yet", next_step=f"train one: `tidegate train {model}`"
            )
        failure: TidegateError | None = None
        for choice in order:
            try:
                scorer = self._session(model, choice.served)
            except (ArtifactRejectedError, NotFoundError, UnavailableError) as error:
                failure = failure or error
                continue
            self._served_last[model] = choice.served
            return choice, scorer
        if isinstance(failure, UnavailableError):
            raise UnavailableError(f"the artifact of model {model!r} cannot be fetched now", next_step="try again")
        raise ArtifactRejectedError(
            f"model {model!r} has no artifact that is what the registry recorded",
            next_step="the model's owner is told by an alarm; a new release mends it",
        )

    def _route(self, model: str) -> Route | None:
        now, known = self._clock.now(), self._known.get(model)
        if known and now < known.until:
            return known.route
        try:
            route = self._routes.route(model)
        except Exception as error:  # also one that never passes, a lost permission say: what served yesterday still can
            if known is None or known.route is None:
                raise
            self._signals.count("RouteStale")
            if not isinstance(error, UnavailableError):
                self._signals.count("ServerErrors")  # it will not pass by itself, so the alarm is to tell
            why = str(error) if isinstance(error, TidegateError) else type(error).__name__
            self._signals.warn("the registry does not answer; the last known route serves on", model=model, why=why)
            self._keep(model, known.route, now + STALE)
            return known.route
        self._keep(model, route, now + self._ttl)
        return route

    def _keep(self, model: str, route: Route | None, until: datetime) -> None:
        self._known[model] = _Known(route, until)
        self._known.move_to_end(model)
        while len(self._known) > MAX_ROUTES:
            forgotten, _ = self._known.popitem(last=False)
            self._served_last.pop(forgotten, None)

    def _session(self, model: str, served: Served) -> Scorer:
        """The loaded artifact; bytes that are not what the registry recorded never become a session."""
        session = self._sessions.get(served.artifact_sha256)
        if session is not None:
            self._sessions.move_to_end(served.artifact_sha256)
            return session.scorer
        now, refusal = self._clock.now(), self._refusals.get(served.artifact_key)
        if refusal and now < refusal.until:
            raise refusal.error
        try:
            data = self._artifacts.get_verified(served.artifact_key, served.artifact_sha256)
            scorer = self._load(data)
            if scorer.contract.model != model:
                raise ArtifactRejectedError(
                    f"{served.artifact_key} holds model {scorer.contract.model!r}, not {model!r}"
                )
        except (ArtifactRejectedError, NotFoundError) as error:
            self._refuse(model, served, error, "ArtifactRejected", now + REFUSED)
            raise
        except UnavailableError as error:
            self._refuse(model, served, error, "ArtifactUnavailable", now + UNANSWERED)
            raise
        self._refusals.pop(served.artifact_key, None)
        self._sessions[served.artifact_sha256] = _Session(scorer, len(data))
        while sum(kept.size for kept in self._sessions.values()) > self._cache_bytes and len(self._sessions) > 1:
            self._sessions.popitem(last=False)
        return scorer

    def _refuse(self, model: str, served: Served, error: TidegateError, metric: str, until: datetime) -> None:
        now = self._clock.now()
        self._refusals = {key: refusal for key, refusal in self._refusals.items() if now < refusal.until}
        self._refusals[served.artifact_key] = _Refusal(error, until)
        self._signals.count(metric)
        self._signals.warn("an artifact is not served", model=model, version=served.version, why=str(error))


def _origin(model: str, choice: Choice) -> dict[str, Any]:
    origin = {"model": model, "version": choice.served.version, "reason": choice.reason.value}
    if choice.reason is Reason.PREVIOUS_GOOD:
        origin["detail"] = "the champion's artifact is not what the registry recorded, or cannot be fetched"
    return origin


def _public(contract: Contract) -> dict[str, Any]:
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
    return {"task": contract.task, "classes": list(contract.classes), "features": features}
