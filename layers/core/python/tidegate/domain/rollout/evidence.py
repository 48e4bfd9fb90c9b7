"""From capture records (docs/captures.md) to what both arms of a rollout did: a `canary.Look` per route revision.

    tally = Tally(rollout)
    for record in records: tally.add(record)
    tally.looks()

What is counted over requests is counted once for each `request_id`, whatever number of rows it has; scores and losses
are counted by row, and only where the side's own version gave the answer, not another version or the fallback in its
place. A request counts as seen when any of its rows was kept, also when captures are a sample. Nothing is remembered
from one tally to the next: the rows of a request that are spread over two count as two requests, and so does a record
that is delivered twice. Within a tally each id counts once.

A row that a version's input guard gave to the fallback is the version's deliberate answer: the guard is part of its
contract, and its champion may have none. So it is no fallback and no error of that side, or guarding would count as
failing. Its score is left out, since a rule's scores beside a model's would look like another distribution; its loss is
counted, since that is what users got, and a guard must not hide the rows that a version is bad at.

A record's side is its `arm`; what nobody but the fallback was to answer has none. Which side is the candidate depends
on the phase. In CANARY it is the arm `candidate`. In PROBATION it is the arm `champion`, the promoted version, next to
the one held back. In SHADOW it is the `shadow` part of each record, next to what answered; requests without that part
are not compared, and a shadow breaks no business rules, since none are applied to it. Both answered the same requests,
so what happened to both at once is counted too, and scores where both have one.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tidegate.domain.rollout.canary import ArmCounts, Look, loss_at, loss_millionths, score_counts
from tidegate.domain.rollout.rollout import Phase, Rollout
from tidegate.domain.serving.capture import UNANSWERED
from tidegate.domain.serving.feedback import Claim, outcomes_that_count, read_claim
from tidegate.domain.serving.routing import COMPARED_ARMS, Arm, Why
from tidegate.kernel.errors import NewerDocumentError, ScoringTimeoutError
from tidegate.kernel.values import class_of

# How long labels wait for the capture of their prediction, which Firehose holds back for about a minute.
CAPTURED_WITHIN = timedelta(minutes=10)
_ERRORS = frozenset({Why.SCORING_FAILED, Why.NOT_LOADABLE, Why.CONTRACT_BROKEN})
# What `Tally.label` needs.
_JOINED = ("id", "route", "arm", "reason", "violations", "score", "probabilities", "fallback", "shadow")
_OWN = frozenset({"", Why.RULE_VIOLATED})  # the rule was broken by the side's own version, not by another in its place

Record = Mapping[str, Any]
# What a record of another form raises.
BROKEN = (AttributeError, KeyError, NewerDocumentError, RecursionError, TypeError, ValueError)


@dataclass(slots=True)
class _Side:
    """Counts of one side, as they grow. `broke` has its requests, and whether a row of each broke a rule."""

    broke: dict[str, bool] = field(default_factory=dict)
    requests: int = 0
    errors: int = 0
    timeouts: int = 0
    fallbacks: int = 0
    slow: int = 0
    unavailable: int = 0
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    losses: "array[float]" = field(default_factory=lambda: array("d"))
    labelled: "array[float]" = field(default_factory=lambda: array("d"))  # scores of the predictions that have a label

    def counts(self, edges: Sequence[float]) -> ArmCounts:
        return ArmCounts(
            requests=self.requests,
            errors=self.errors,
            timeouts=self.timeouts,
            fallbacks=self.fallbacks,
            violations=sum(self.broke.values()),
            slow=self.slow,
            scores=score_counts(self.scores, edges) if edges else (),
            losses=len(self.losses),
            loss_millionths=sum(loss_millionths(loss, 1.0) for loss in self.losses),
            unavailable=self.unavailable,
            loss_at=loss_at(self.losses),
            labelled=score_counts(self.labelled, edges) if edges and self.labelled else (),
        )

    def count(self, request: str, happened: Mapping[str, bool]) -> None:
        """A request, by its first row: the other rows say the same."""
        self.broke[request] = False
        self.requests += 1
        for name, did in happened.items():
            setattr(self, name, getattr(self, name) + did)


@dataclass(slots=True)
class _Pair:
    candidate: _Side = field(default_factory=_Side)
    champion: _Side = field(default_factory=_Side)
    both: _Side = field(default_factory=_Side)  # what happened to both at once; of a shadow's requests only


class Tally:
    """Counts what was served under a rollout's route revisions, record by record. Other records change nothing."""

    def __init__(self, rollout: Rollout) -> None:
        self._phase = rollout.phase
        self._slow_ms = rollout.plan.slow_ms
        self._edges = rollout.score_edges
        self._pairs: dict[int | None, _Pair] = {revision: _Pair() for revision in sorted(rollout.route_revisions)}
        self._ids: set[str] = set()
        self._labelled: set[str] = set()

    def add(self, record: Record) -> None:
        """Count a record; one with the id of another that was counted is a copy of it."""
        pair = self._pairs.get(record.get("route"))
        if pair is None or record["id"] in self._ids:
            return
        self._ids.add(record["id"])
        own = self._side(pair, record)
        if own is None:
            return
        request = record["request_id"] or record["id"]
        reason, _, why = record["reason"].partition(":")
        first = request not in own.broke
        happened = self._happened(record, reason, why) if first else {}
        if first:
            own.count(request, happened)
        if record["violations"]:
            own.broke[request] |= why in _OWN
        scores = not record["violations"] and not why and not record.get("fallback")
        if self._phase is Phase.SHADOW:
            self._add_shadow(pair, request, record, happened, scores=scores)
        elif scores:
            own.scores.append(_score(record))

    def label(self, record: Record, outcome: Any) -> None:
        """Count the loss of a captured prediction whose outcome is known by now; of one id only once.

        The loss of a classification is (1 - p)^2, p being the probability that was given to the true class: the Brier
        score's term for that class (Brier 1950, Monthly Weather Review 78:1-3), bounded by 1. That of a regression is
        the absolute error as a share of the distance between the outermost score edges, at most 1; without such a
        distance there is none. An outcome that is no class of the version, or no number, is passed over.
        """
        pair = self._pairs.get(record.get("route"))
        if pair is None or record["id"] in self._labelled:
            return
        self._labelled.add(record["id"])
        own = self._side(pair, record)
        if own is None:
            return
        if not record["violations"] and ":" not in record["reason"]:
            self._add_loss(own, record, outcome)
        if self._phase is Phase.SHADOW and record["shadow"]["error"] is None:
            self._add_loss(pair.candidate, record["shadow"], outcome)

    def looks(self) -> tuple[Look, ...]:
        """One for each revision under which anything was counted, in their order."""
        return tuple(
            Look(
                pair.candidate.counts(self._edges),
                pair.champion.counts(self._edges),
                pair.both.counts(self._edges) if self._phase is Phase.SHADOW else None,
            )
            for pair in self._pairs.values()
            if any(side.requests or side.losses for side in (pair.candidate, pair.champion))
        )

    def _side(self, pair: _Pair, record: Record) -> _Side | None:
        """The side of what answered; None when the record is not compared."""
        arm = record["arm"]
        if arm not in COMPARED_ARMS:
            return None
        match self._phase:
            case Phase.SHADOW:
                return pair.champion if record["shadow"] else None
            case Phase.PROBATION:
                return pair.candidate if arm == Arm.CHAMPION else pair.champion
            case _:
                return pair.champion if arm == Arm.CHAMPION else pair.candidate

    def _happened(self, record: Record, reason: str, why: str) -> dict[str, bool]:
        """What is counted over requests, for the one that a row belongs to."""
        unanswered, by_nobody = reason == UNANSWERED, record["version"] is None
        return {
            "errors": unanswered or why in _ERRORS,
            "timeouts": why == Why.TIMED_OUT,
            "fallbacks": by_nobody and not unanswered,
            "slow": not unanswered and self._is_slow(record),
            "unavailable": unanswered or by_nobody or why in _ERRORS or why == Why.TIMED_OUT,
        }

    def _add_shadow(
        self, pair: _Pair, request: str, record: Record, beside: Mapping[str, bool], *, scores: bool
    ) -> None:
        """`beside` is what happened to what answered; empty unless this is the request's first row. Scores are compared
        where both have one."""
        shadow = record["shadow"]
        error = shadow["error"]
        if beside:
            timed_out = error == ScoringTimeoutError.__name__
            happened = {
                "errors": error is not None and not timed_out,
                "timeouts": timed_out,
                "slow": error is None and self._is_slow(shadow),
                "unavailable": error is not None,
            }
            pair.candidate.count(request, happened)
            pair.both.count(request, {name: did and beside[name] for name, did in happened.items()})
        if error is None and scores:
            ours, theirs = _score(shadow), _score(record)
            pair.candidate.scores.append(ours)
            pair.champion.scores.append(theirs)
            pair.both.scores.append(max(ours, theirs))

    def _is_slow(self, answer: Record) -> bool:
        return not answer["cold"] and answer["latency_ms"] > self._slow_ms

    def _add_loss(self, side: _Side, answer: Record, outcome: Any) -> None:
        loss = self._loss(answer, outcome)
        if loss is not None:
            side.losses.append(loss)
            if answer.get("score") is not None and not answer.get("fallback"):
                side.labelled.append(_score(answer))

    def _loss(self, answer: Record, outcome: Any) -> float | None:
        """In [0, 1] for a classification; above 1 where a regression is off by more than its bound."""
        if answer["probabilities"]:
            given: float | None = answer["probabilities"].get(class_of(outcome, answer["probabilities"]))
            return None if given is None else (1 - given) ** 2
        bound = self._edges[-1] - self._edges[0] if self._edges else 0.0
        if not bound or type(outcome) not in {int, float} or not math.isfinite(outcome):
            return None
        return float(abs(answer["score"] - outcome) / bound)


def _score(answer: Record) -> float:
    """Raises TypeError, ValueError when it is no number."""
    score = answer["score"]
    if type(score) not in {int, float} or not math.isfinite(score):
        raise ValueError("a score that is not a number")
    return float(score)


class Labels:
    """Outcomes that were reported for predictions, to be joined with the captures of these.

    Where labels come from (an object of feedback) is settled as a whole: when a capture was found for each of its
    labels, or none will come any more. What is settled counted in that look; it only keeps later labels of the same
    predictions from counting again (`reported_before`).
    """

    def __init__(self) -> None:
        self._by_source: dict[str, list[Claim]] = {}
        self._counted: set[str] = set()
        self._captured: dict[str, Record | None] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._captured)

    def __contains__(self, prediction_id: str) -> bool:
        """Whether a prediction has a label."""
        return prediction_id in self._captured

    def report(self, source: str, feedback: Record) -> None:
        """Take a label, as the record of feedback that it came in."""
        label = read_claim(feedback)
        self._by_source.setdefault(source, []).append(label)
        self._captured.setdefault(label.prediction, None)

    def reported_before(self, feedback: Record) -> None:
        """Take a label of a source that was settled in an earlier look."""
        self._counted.add(read_claim(feedback).prediction)

    def found(self, record: Record) -> None:
        """Take the capture record of a labelled prediction."""
        self._captured[record["id"]] = {name: record.get(name) for name in _JOINED}

    def settle(self, tally: Tally, now: datetime) -> frozenset[str]:
        """Count the labels of all settled sources, of several for one prediction the one that counts
        (`feedback.outcomes_that_count`); returns the other sources, which are to be read again."""
        sources = [source for source, labels in self._by_source.items() if self._is_settled(labels, now)]
        found = outcomes_that_count(label for source in sources for label in self._by_source[source])
        for prediction in found.known.keys() - self._counted:
            record = self._captured[prediction]
            if record is not None:
                with suppress(*BROKEN):
                    tally.label(record, found.known[prediction])
        return frozenset(self._by_source).difference(sources)

    def _is_settled(self, labels: Sequence[Claim], now: datetime) -> bool:
        return all(
            self._captured[label.prediction] is not None or now - label.reported > CAPTURED_WITHIN for label in labels
        )
