"""The readout of a split: labelled answers of both arms, from captures and feedback."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import orjson

from tidegate.domain.registry.ledger import Action, LedgerEntry
from tidegate.domain.registry.route import CandidateRole, Route
from tidegate.domain.rollout.readout import Labelled, Split, Worth, read_out
from tidegate.domain.serving.capture import CAPTURE_RECORD, hour_of
from tidegate.domain.serving.routing import Arm
from tidegate.kernel.errors import ConflictError, NewerDocumentError
from tidegate.kernel.values import class_name, class_of
from tidegate.ports.monitoring import Hours
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Routes
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task

MAX_BYTES = 24 * 1024 * 1024  # of captures and feedback, packed, in one readout: some 200,000 predictions
_RECENT = 500  # entries among which the split's first one is
_BROKEN = (AttributeError, KeyError, NewerDocumentError, TypeError, ValueError)


class _Row(NamedTuple):
    time: str
    id: str
    arm: Arm
    target: float
    scores: tuple[float, ...]
    right: bool


def show_readout(model: str, *, models: Models, routes: Routes, hours: Hours, clock: Clock) -> dict[str, Any]:
    """Which version of the model's split is better, by its metric and by value. `since` says from when on, and `until`
    has the last hour that was read where there was too much for one readout.

    Raises:
        NotFoundError: no such model.
        ConflictError: nothing is split.
    """
    spec, route = models.spec(model), routes.route(model)
    if route is None or route.champion is None or route.candidate_role is not CandidateRole.SPLIT:
        raise ConflictError(
            f"{model} has no split to read", next_step=f"begin one: tidegate split {model} --to N --percent P"
        )
    assert route.candidate is not None  # it has a role  # noqa: S101
    began = _began(route, routes.ledger(model, limit=_RECENT, newest_first=True))
    reading = _Reading(spec, revisions=range(began.seq, route.revision + 1))
    until = _read(reading, model, began.at, clock.now(), hours)
    declared = spec.value
    found = read_out(
        Split(route.candidate.version, route.champion.version, route.candidate_bp),
        reading.arm(Arm.CHAMPION),
        reading.arm(Arm.SPLIT),
        spec.metric,
        positive=reading.positive,
        threshold=reading.threshold,
        worth=Worth(declared.correct, declared.wrong, declared.currency) if declared else None,
    )
    return {"readout": found.to_json() | {"since": began.at.isoformat(), "until": until}}


def _began(route: Route, newest_first: Sequence[LedgerEntry]) -> LedgerEntry:
    """The entry from which on these two versions share the requests, whatever their shares."""
    began = newest_first[0]
    for entry in newest_first:
        pair = entry.version, entry.previous_version
        if entry.action != Action.SPLIT or route.candidate is None or route.champion is None:
            break
        if pair != (route.candidate.version, route.champion.version):
            break
        began = entry
    return began


def _read(reading: "_Reading", model: str, since: datetime, now: datetime, hours: Hours) -> str | None:
    """Read hour by hour, oldest first; the hour that was read last, where there is more than may be read at once."""
    size = 0
    last = None
    for hour, sources in hours.sources(model, hour_of(since), hour_of(now)).items():
        size += sources.stored_bytes
        if last and size > MAX_BYTES:
            return last
        last = hour
        outcomes, _ = hours.outcomes(sources)
        for lines in hours.lines(sources) if outcomes.known else ():
            with suppress(*_BROKEN):  # of an object, as far as it can be read; monitoring reports it
                for block in lines:
                    reading.add(block, outcomes.known)
    return None


class _Reading:
    """Labelled answers that the two versions gave by themselves, each id once."""

    def __init__(self, spec: ModelSpec, *, revisions: range) -> None:
        self._spec, self._revisions = spec, revisions
        self._rows: dict[str, _Row] = {}
        self._classes: tuple[str, ...] = ()

    @property
    def positive(self) -> int:
        """Place of the positive class among the classes."""
        name = class_name(self._spec.positive_class)
        return self._classes.index(name) if name in self._classes else min(1, max(len(self._classes) - 1, 0))

    @property
    def threshold(self) -> float:
        """Of binary decisions; where each version has its own, one half."""
        threshold = self._spec.decision.threshold
        return threshold if isinstance(threshold, float | int) else 0.5

    def add(self, block: bytes, outcomes: Mapping[str, Any]) -> None:
        """Lines of captures, and the outcomes of predictions."""
        for line in block.splitlines():
            with suppress(*_BROKEN):
                row = self._row(CAPTURE_RECORD.current(orjson.loads(line)), outcomes)
                if row is not None:
                    self._rows.setdefault(row.id, row)

    def arm(self, arm: Arm) -> Labelled:
        """Of one arm, by time."""
        rows = sorted(row for row in self._rows.values() if row.arm is arm)
        width = len(rows[0].scores) if rows else 1
        kind = np.float64 if self._spec.task is Task.REGRESSION else np.int64
        return Labelled(
            time=np.asarray([row.time for row in rows]),
            target=np.asarray([row.target for row in rows], dtype=kind),
            scores=np.asarray([row.scores for row in rows], dtype=np.float64).reshape(len(rows), width),
            right=np.asarray([row.right for row in rows], dtype=np.float64) if self._spec.value else None,
        )

    def _row(self, record: Mapping[str, Any], outcomes: Mapping[str, Any]) -> _Row | None:
        """None when it is not compared: of another route, not the version's own answer, or without a usable outcome."""
        arm, name = record["arm"], record["id"]
        own = ":" not in record["reason"] and not record["violations"] and record["version"] is not None
        if not (own and record["route"] in self._revisions and arm in {Arm.CHAMPION, Arm.SPLIT} and name in outcomes):
            return None
        outcome, score = outcomes[name], record["score"]
        if self._spec.task is Task.REGRESSION:
            tolerance = self._spec.value.tolerance if self._spec.value else None
            right = tolerance is not None and abs(score - outcome) <= tolerance
            return _Row(record["time"], name, Arm(arm), float(outcome), (float(score),), bool(right))
        given = record["probabilities"]
        self._classes = self._classes or tuple(sorted(given))
        target = class_of(outcome, self._classes)
        if target not in self._classes:
            return None
        scores = tuple(float(given[each]) for each in self._classes)
        right = class_name(record["label"]) == target
        return _Row(record["time"], name, Arm(arm), self._classes.index(target), scores, right)
