"""Why this answer: one captured prediction with all that led to it, for people.

Facts come from where they are recorded: the capture, the version and its run, the gate's report, the rollout. The score
is computed again by the very bytes that were registered, and taken apart by feature.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from tidegate.domain.evaluation.documents import read_report
from tidegate.domain.evaluation.shapley import MAX_ROWS, Z_95, attribute
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.registry.ledger import Action, LedgerEntry
from tidegate.domain.registry.route import FallbackRef
from tidegate.domain.registry.run import Run
from tidegate.domain.registry.version import Version
from tidegate.domain.serving.capture import MASK, UNANSWERED, hour_of
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.serving.prediction import answers, validate
from tidegate.domain.serving.routing import Reason, Why
from tidegate.kernel.errors import (
    ArtifactRejectedError,
    Fault,
    InvalidInputError,
    ModelFailedError,
    NewerDocumentError,
    NotFoundError,
    RequestInvalidError,
)
from tidegate.kernel.ids import uuid7_time
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import Table
from tidegate.messages import RunRef
from tidegate.ports.data import Catalog
from tidegate.ports.monitoring import Hours
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, Routes, Runs, Versions
from tidegate.ports.rollout import Rollouts
from tidegate.ports.serving import CaptureLookup, Scorer, ScorerLoader
from tidegate.steps.registry.ledger import newest_first
from tidegate.steps.requests import view
from tidegate.steps.run_files import RunFiles, named_in

Document = dict[str, Any]
REACH = timedelta(hours=1)  # on each side of the hour in the id: for clocks that differ
AHEAD = timedelta(minutes=15)  # likewise
TOLERANCE = 1e-6  # of a score: rows that are scored together may differ in the last digits
SCORING_MS = 5_000.0  # of the rows for one explanation, by the latency that was measured at evaluation
_UNUSABLE = (ArtifactRejectedError, InvalidInputError, ModelFailedError, NewerDocumentError, NotFoundError)

_REASONS: dict[str, str] = {
    Reason.CHAMPION: "version {0} was the champion",
    Reason.CANDIDATE: "version {0} was being rolled out, and the routing key fell into its share",
    Reason.HOLDBACK: "version {0}, the previous champion, was the holdback, and the routing key fell into its share",
    Reason.SPLIT: "version {0} was the second version of a split, and the routing key fell into its share",
    Reason.PREVIOUS_GOOD: "version {0} was the previous champion, and the artifact of the champion could not be used",
    Reason.NAMED: "the request asked for version {0}",
    Reason.FALLBACK: "no version answered, so the fallback did",
    UNANSWERED: "neither a version nor the fallback could answer",
}
_WHYS: Mapping[str, str] = {
    Why.KILLED: "the model was switched off",
    Why.NO_VERSION: "no version was serving yet",
    Why.NOT_LOADABLE: "the artifact of the chosen version could not be used",
    Why.SCORING_FAILED: "the chosen version could not score the request",
    Why.TIMED_OUT: "the chosen version exceeded its time limit",
    Why.CONTRACT_BROKEN: "the candidate rejected a request that the champion accepts",
    Why.RULE_VIOLATED: "an answer in the request broke a business rule",
}


@dataclass(frozen=True, slots=True)
class Explain:
    """Finds a prediction, reports what is known of it, and has it computed again."""

    models: Models
    catalog: Catalog
    runs: Runs
    versions: Versions
    routes: Routes
    rollouts: Rollouts
    artifacts: Artifacts
    captures: CaptureLookup
    hours: Hours
    load: ScorerLoader
    clock: Clock

    def prediction(self, model: str, prediction_id: str) -> dict[str, Any]:
        """Everything about one prediction. Parts that do not apply, or are not there any more, are null.

        Raises:
            RequestInvalidError: the id is none of a prediction.
            NotFoundError: there is no such model, or no capture of it has that id.
        """
        header = self.models.model(model)
        name = header.name
        record = self._captured(name, prediction_id.lower())
        version = None if record["version"] is None else self.versions.version(name, record["version"])
        by = _answered_by(record)
        fallback = self._fallback(name, record["route"]) if by == "fallback" else None
        report = self._report(version) if version else None
        made_of = self._made_of(version, report) if version else {}
        return {
            "id": record["id"],
            "model": {each: getattr(header, each) for each in ("name", "owner", "business_unit", "task")},
            "answer": {
                "by": by,
                **{each: record[each] for each in ("label", "score", "probabilities", "violations", "error")},
                "because": _in_words(record),
                "rule": fallback.rule.title if fallback else None,
            },
            "outcome": self._outcome(record),
            **self._computed(record, version, fallback, report),
            **{each: made_of.get(each) for each in ("version", "training", "gate", "people")},
            "capture": record,
        }

    def _captured(self, model: str, prediction_id: str) -> dict[str, Any]:
        try:
            at = uuid7_time(prediction_id)
        except ValueError:
            at = None
        if at is None or at > self.clock.now() + AHEAD:
            problem = "is not the id of a prediction (a UUID of version 7)" if at is None else "is from the future"
            raise RequestInvalidError(
                "the prediction id is not valid",
                [Fault("prediction", f"{prediction_id[:80]!r} {problem}")],
                next_step="give the `id` that came with the answer; `tidegate captures MODEL` lists some",
            )
        record = self.captures.find(model, prediction_id, at=at, reach=REACH)
        if record is None:
            raise _not_captured(prediction_id, model, hour_of(at - REACH), hour_of(at + REACH))
        return record

    def _outcome(self, record: Mapping[str, Any]) -> Any:
        """What was reported to have become of it; None while nothing was."""
        sources = self.hours.sources(record["model"], record["hour"], record["hour"]).get(record["hour"])
        return self.hours.outcomes(sources)[0].known.get(record["id"]) if sources and sources.feedback else None

    def _fallback(self, model: str, route: int | None) -> Fallback | None:
        """The fallback of the route's revision; None when it is not known or not there any more."""
        ref = None if route is None else self._fallback_ref(model, route)
        try:
            return Fallback.from_bytes(self.artifacts.get_verified(ref.key, ref.sha256)) if ref else None
        except _UNUSABLE:
            return None

    def _fallback_ref(self, model: str, revision: int) -> FallbackRef | None:
        """As the decisions of `domain.rollout.changes` had it: a promotion, or people's rollback, brings that of its
        version, a canary only where there is none yet."""
        canary = None
        for entry in newest_first(model, revision, routes=self.routes):
            if entry.run_id is None:
                continue
            action = Action(entry.action)
            if action not in {Action.FALLBACK, Action.PROMOTE, Action.ROLLBACK, Action.CANARY}:
                continue
            if action is Action.ROLLBACK and not self._returns(model, entry):
                continue
            number = entry.version or self.runs.run(model, entry.run_id).version
            ref = self.versions.version(model, number).fallback if number else None
            if ref and action is not Action.CANARY:
                return ref
            canary = ref or canary
        return canary

    def _returns(self, model: str, entry: LedgerEntry) -> bool:
        """Whether people rolled back to a version, and not one on its way in that left: an entry has the run of the
        version that it is about."""
        return entry.version is not None and self.versions.version(model, entry.version).run_id == entry.run_id

    # What comes out again

    def _computed(
        self, record: Mapping[str, Any], version: Version | None, fallback: Fallback | None, report: Document | None
    ) -> Document:
        """Inputs, the answer computed again, and its contributions; null where they cannot be had, and `why_not`."""
        scorer: Scorer | None = None
        why_not = "" if version else "the fallback answered, and a rule has no contributions"
        try:
            if version:
                scorer = self.load(self.artifacts.get_verified(version.artifact_key, version.artifact_sha256))
        except _UNUSABLE as error:
            why_not = f"the version cannot score the request again: {error.message}"
        asked = scorer or fallback
        hidden = self._hidden(record, asked.contract if asked else None, version)
        again = contributions = None
        if hidden:
            names = ", ".join(hidden)
            why_not = f"the capture hides {names}, as the spec or the data catalog says, so it cannot be computed again"
        elif asked:
            try:
                again = _again(asked, record, _spread(asked.contract, report))
                if scorer and version:
                    if report is None:
                        raise ArtifactRejectedError("its report, which names its training rows, cannot be used")
                    background = self._background(version, report)
                    row_ms = report["evaluation"]["latency_ms"]["p50"]
                    contributions = _contributions(scorer, record, again["score"], background, row_ms)
            except _UNUSABLE as error:
                why_not = error.message
        return {
            "inputs": _inputs(record["inputs"], asked.contract if asked else None, hidden),
            "threshold": asked.contract.threshold if asked and asked.contract.task == "binary" else None,
            "again": again,
            "contributions": contributions,
            "why_not": why_not,
        }

    def _hidden(self, record: Mapping[str, Any], contract: Contract | None, version: Version | None) -> list[str]:
        """Inputs that were sent and whose values the capture does not hold."""
        inputs, name = record["inputs"], record["model"]
        dropped = set(self.models.spec(name).capture.drop)
        if version:
            dropped |= set(self.models.spec(name, version.spec_digest).capture.drop)
        known = [feature.name for feature in contract.features] if contract else []
        absent = [each for each in known if each in dropped and each not in inputs]
        return [each for each, value in inputs.items() if value == MASK] + absent

    def _background(self, version: Version, report: Mapping[str, Any]) -> Table:
        """Training rows, by the hashes that the report leads to.

        Raises:
            NotFoundError, ArtifactRejectedError: they are not there, or not what they were.
        """
        files = RunFiles(RunRef(model=version.model, run_id=version.run_id), self.artifacts, named_in(report))
        try:
            reference = Reference.from_json(json.loads(files.read(RunFile.REFERENCE)))
        except ValueError as error:
            raise NotFoundError(f"the training rows of this version were not found: {error}") from None
        return Table.from_npz(self.artifacts.get_verified(reference.background, reference.background_sha256))

    # What the version was made of

    def _report(self, version: Version) -> Document | None:
        """The gate's report; None when it is not what the registry recorded."""
        try:
            report: Document = read_report(self.artifacts.get_verified(version.report_key, version.report_sha256))
        except _UNUSABLE:
            return None
        return report

    def _made_of(self, version: Version, report: Document | None) -> Document:
        run = self.runs.run(version.model, version.run_id)
        return {
            "version": view(version),
            "training": self._training(run, report["lineage"] if report else {}),
            "gate": report["verdict"] if report else None,
            "people": self._people(version, run),
        }

    def _training(self, run: Run, lineage: Mapping[str, Any]) -> dict[str, Any]:
        """`period` are the first and last moment of the rows it was trained on, where they have a time; `asked` is what
        the spec said, from (in) to (out)."""
        periods = lineage.get("periods") or {}
        spans = [periods[part] for part in ("fit", "validation") if periods.get(part)]
        left_out = [each for each in self.catalog.exclusions(run.dataset) if each.exclusion_id in run.exclusions]
        return {
            "dataset": run.dataset,
            "dataset_version": run.dataset_version,
            "asked": (lineage.get("split") or {}).get("train"),
            "period": [min(first for first, _ in spans), max(last for _, last in spans)] if spans else None,
            "rows": lineage.get("training_rows"),
            "left_out": lineage.get("left_out"),
            "exclusions": view(left_out),
        }

    def _people(self, version: Version, run: Run) -> dict[str, Any]:
        rollout = self.rollouts.rollout(version.model, version.run_id)
        approval = rollout.approval if rollout else None
        return {
            "spec_by": self.models.author(version.model, version.spec_digest),
            "requested_by": run.requested_by,
            "requested_at": view(run.requested_at),
            "requested_because": run.reason,
            "needs_approval": version.needs_approval,
            "approved_by": version.approved_by,
            "approved_at": view(approval.decided_at) if approval and version.approved_by else None,
            "approved_because": approval.reason if approval and version.approved_by else None,
            "promoted_at": view(rollout.promoted_at) if rollout else None,
        }


# Views


def _answered_by(record: Mapping[str, Any]) -> str:
    """An answer that broke a business rule was replaced by the fallback's, row by row; so is one to an unusual input,
    where the guard says so."""
    if record["reason"].partition(":")[0] == UNANSWERED:
        return "nobody"
    return "fallback" if record["version"] is None or record["violations"] or record.get("fallback") else "version"


def _in_words(record: Mapping[str, Any]) -> str:
    reason, _, why = record["reason"].partition(":")
    said: str = _REASONS.get(reason, reason).format(record["version"])
    if record["violations"] and reason != UNANSWERED:
        rules = ", ".join(record["violations"])
        return f"{said}, but its answer broke a business rule ({rules}), so the fallback answered"
    if record["version"] is not None and record.get("fallback"):
        return f"{said}, but the input is unlike the training rows, so the fallback answered"
    if why == Why.RULE_VIOLATED and record["version"] is not None:
        return said  # it was another row whose answer broke a rule
    return f"{said}: {_WHYS.get(why, why)}" if why else said


def _inputs(given: Mapping[str, Any], contract: Contract | None, hidden: Sequence[str]) -> list[Document]:
    """In the contract's order, then what else was sent; `used` are those that the answer depends on."""
    features = {feature.name: feature for feature in contract.features} if contract else {}
    return [
        {
            "name": name,
            "value": None if name in hidden else given.get(name),
            "unit": features[name].unit if name in features else None,
            "hidden": name in hidden,
            "used": name in features or contract is None,
        }
        for name in dict.fromkeys([*features, *given])
    ]


def _instance(contract: Contract, record: Mapping[str, Any]) -> Document:
    return {feature.name: record["inputs"].get(feature.name) for feature in contract.features}


def _spread(contract: Contract, report: Mapping[str, Any] | None) -> float:
    """What the scores differ by from row to row: 1 for probabilities. Of a regression, the standard deviation of its
    target as the report has it; 0 where none is known, so that a score is compared with its own size alone."""
    if contract.task != "regression":
        return 1.0
    return float((report["evaluation"]["parity"].get("spread") if report else None) or 0.0)


def _again(asked: Scorer | Fallback, record: Mapping[str, Any], spread: float) -> Document:
    """What comes out now, and how far it is from what was answered, which is the same up to `TOLERANCE` of the larger
    of that and `spread`; of an answer of its own that was never given, since the fallback's took its place, nothing can
    be said."""
    instance = _instance(asked.contract, record)
    if isinstance(asked, Fallback):
        (answer,) = asked.answers([instance])
    else:
        (answer,) = answers(asked.contract, asked.score(validate(asked.contract, [instance])))
    score, given = answer["score"], record["score"]
    known = given is not None and (isinstance(asked, Fallback) or _answered_by(record) == "version")
    difference = score - given if known else None
    same = None if difference is None else abs(difference) <= TOLERANCE * max(spread, abs(given))
    return {"label": answer.get("label"), "score": score, "difference": difference, "same": same}


def _contributions(
    scorer: Scorer, record: Mapping[str, Any], score: float, background: Table, row_ms: float
) -> Document:
    """To the positive class's probability, the decided class's among several, or a regression's value: `score`, as it
    comes out for this row alone. `rest` is what base and contributions miss it by. Of a model that takes `row_ms` for a
    row, as many rows are scored as `SCORING_MS` has room for.

    Raises:
        NotFoundError: the background lacks a feature.
        ModelFailedError: a score is no finite number.
    """
    contract = scorer.contract
    lacking = [feature.name for feature in contract.features if feature.name not in background]
    if lacking:
        names = ", ".join(lacking)
        raise NotFoundError(f"the stored training rows of this version lack {names}, which the spec hid at training")
    instance = validate(contract, [_instance(contract, record)])
    match contract.task:
        case "binary":
            column = contract.positive
        case "multiclass":
            column = int(scorer.score(instance)[0].argmax())
        case "regression":
            column = 0
    found = attribute(
        lambda inputs: scorer.score(inputs)[:, column].astype(np.float64),
        instance,
        contract.inputs(background),
        seed=int.from_bytes(hashlib.sha256(record["id"].encode()).digest()[:8]),
        max_rows=int(min(MAX_ROWS, SCORING_MS / max(row_ms, 1e-3))),
    )
    if not np.isfinite(found.values).all():
        raise ModelFailedError("the version does not give a finite number for some of its stored training rows")
    ordered = [feature.name for feature in (*contract.numeric, *contract.categorical, *contract.times)]
    features = [
        {"name": name, "value": value, "error": error, "low": value - Z_95 * error, "high": value + Z_95 * error}
        for name, value, error in zip(ordered, found.values.tolist(), found.errors.tolist(), strict=True)
    ]
    return {
        "of": "value" if contract.task == "regression" else "probability",
        "class": contract.classes[column] if contract.classes else None,
        "base": found.base,
        "score": score,
        "rest": score - found.base - sum(found.values.tolist()),
        "features": sorted(features, key=lambda each: -abs(each["value"])),
        "background_rows": found.background_rows,
        "orders": found.orders,
        "scored_rows": found.scored_rows,
    }


def _not_captured(prediction_id: str, model: str, first: str, last: str) -> NotFoundError:
    return NotFoundError(
        f"prediction {prediction_id} was not captured: searched {model}, hours {first} to {last} (UTC)",
        next_step="try again in a few minutes: captures take that long to arrive. A spec may keep only a sample "
        "(capture.sample), and captures expire (capture_retention_days). Check the model and the stage.",
    )
