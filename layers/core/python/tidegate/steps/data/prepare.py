"""Resolve a run's dataset, check it, and write the tables that every later step works on.

What the run was made from (dataset version, exclusions, code, lock) is recorded before anything can go wrong with it.
"""

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tidegate.domain.data.checks import Demands, Limits, Target, personal_faults, terms_faults, unknown_role_faults
from tidegate.domain.data.dataset import (
    Captured,
    ColumnType,
    Dataset,
    DatasetStatus,
    DatasetVersion,
    Exclusion,
    Reading,
)
from tidegate.domain.data.personal import LEAST_NUMBER, MOST_TEXTS, Finding, search
from tidegate.domain.data.preparation import Excluded, Prepared, SplitRule, columns_needed, prepare_rows, readable
from tidegate.domain.data.splits import Interval, Rolling, Rows, clusters, training_rows
from tidegate.domain.registry.run import Run
from tidegate.domain.serving import computed, guard
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.training.contracts import feature_contracts, serving_contract
from tidegate.domain.training.rules import fitted
from tidegate.kernel.errors import DatasetInvalidError, Fault
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import CLUSTER, RESERVED, ROW, TARGET, Column, Table, seconds
from tidegate.messages import CandidateRef, Plan, RunRef
from tidegate.ports.data import Catalog, DatasetFiles, Frame, FrameReader
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, RouteReader, Runs, Versions
from tidegate.spec.data import Period
from tidegate.spec.model import ModelSpec
from tidegate.spec.rules.rule import Rule
from tidegate.steps.data.catalog import read_version
from tidegate.steps.run_files import RunFiles

STAGE = "prepare"


def prepare(
    ref: RunRef,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: RouteReader,
    catalog: Catalog,
    files: DatasetFiles,
    reader: FrameReader,
    artifacts: Artifacts,
    clock: Clock,
    code_version: str,
    lock_hash: str,
    allowed_licences: Collection[str] = (),
) -> Plan:
    """Write fit, validation and holdout tables, the fitted baseline, the fallback and the plan; answer what to try.

    A retry uses the dataset version that the first attempt resolved, so it writes the same bytes again. A run that
    makes a version again uses that version's data and exclusions, and tries the candidate that was chosen then. Without
    `allowed_licences` every licence that is named will do.

    Raises:
        NotFoundError: the dataset, or a ready version of it, does not exist.
        DatasetInvalidError: the files cannot be read any more.
        DataCheckError: the data must not be trained on; every fault is named.
        ConflictError: the run is final.
    """
    run = runs.run(ref.model, ref.run_id)
    runs.note(ref.model, ref.run_id, STAGE, clock.now(), code_version=code_version, lock_hash=lock_hash)
    spec = models.spec(ref.model, run.spec_digest)
    dataset = catalog.dataset(spec.dataset)
    version = _ready(catalog.version(spec.dataset, run.dataset_version))
    exclusions = _exclusions(run, catalog)
    runs.note(
        ref.model,
        ref.run_id,
        STAGE,
        clock.now(),
        dataset_version=version.version,
        exclusions=tuple(exclusion.exclusion_id for exclusion in exclusions),
    )
    known = _champion_features(ref.model, models, versions, routes)
    kinds = {feature.name: feature.kind for feature in (*known, *feature_contracts(spec))}
    frame = read_version(version, files, reader, kinds)
    prepared = _check(spec, dataset, frame, exclusions, allowed_licences, version=version)
    if known and spec.time is None:
        prepared = replace(prepared, notes=(*prepared.notes, _SEEN_BEFORE))
    own = set(spec.feature_names)
    champion = [feature for feature in known if feature.name not in own and readable(feature, frame.types)]
    tables = _tables(spec, frame, prepared, champion, captured=version.captured is not None)
    training = training_rows(tables[RunFile.FIT], tables[RunFile.VALIDATION])
    rule = _fitted(spec.baseline, training, prepared)
    contract = _contract(spec, training, prepared.target, version.reading)
    asked = _fitted(spec.fallback, training, prepared) if spec.fallback else rule
    fallback = Fallback(replace(contract, computed=()), asked)
    judged = frame.row_hashes()[prepared.rows[prepared.split.holdout]]
    order = None if prepared.time is None else prepared.time[training[ROW]]
    plan = _describe(dataset, version, prepared, contract) | {
        "holdout_sha256": _sha256(judged),
        "leaving": list(guard.leaving(contract, contract.inputs(training), order)),
    }

    made = RunFiles(ref, artifacts, {})
    for file, table in tables.items():
        made.write(file, table.to_npz())
    made.write(RunFile.BASELINE, _json(rule.to_json()), content_type="application/json")
    made.write(RunFile.STAND_IN, fallback.to_bytes(), content_type="application/json")
    made.write(RunFile.PLAN, _json(plan), content_type="application/json")
    return Plan(
        dataset_version=version.version,
        candidates=[each for each in expand(spec) if run.reproduces is None or each.index == run.selected],
        train_rows=len(training),
        validation_rows=len(tables[RunFile.VALIDATION]),
        holdout_rows=len(tables[RunFile.HOLDOUT]),
        files=made.written,
        reproduction=run.reproduces is not None,
    )


def _exclusions(run: Run, catalog: Catalog) -> list[Exclusion]:
    """All that there are; of a run that makes a version again, those that the version was made with."""
    found = catalog.exclusions(run.dataset)
    return found if run.reproduces is None else [each for each in found if each.exclusion_id in run.exclusions]


def expand(spec: ModelSpec) -> list[CandidateRef]:
    """Every combination of every candidate's grid: candidates as listed, parameters by name, values as listed."""
    points = []
    for candidate in spec.candidates:
        names = sorted(candidate.grid)
        for values in itertools.product(*(candidate.grid[name] for name in names)):
            parameters = {**candidate.parameters, **dict(zip(names, values, strict=True))}
            points.append((candidate, dict(sorted(parameters.items()))))
    return [
        CandidateRef(index=index, estimator=candidate.estimator, parameters=parameters, encode=candidate.encode)
        for index, (candidate, parameters) in enumerate(points)
    ]


def _ready(version: DatasetVersion) -> DatasetVersion:
    if version.status is DatasetStatus.READY:
        return version
    raise DatasetInvalidError(
        f"dataset {version.dataset} version {version.version} is {version.status}",
        [Fault("dataset", version.problem or "its files have not been read yet")],
        next_step=f"see `tidegate data show {version.dataset}`",
    )


_SEEN_BEFORE = (
    "split: has no time column, so the champion may be judged here on rows that it learned from, which speaks for it; "
    "later rows judge both alike: name a `time` column"
)


def _check(
    spec: ModelSpec,
    dataset: Dataset,
    frame: Frame,
    exclusions: Sequence[Exclusion],
    allowed_licences: Collection[str],
    *,
    version: DatasetVersion,
) -> Prepared:
    """All checks, in this function and in `prepare_rows`; all faults at once."""
    suspected = _suspected(dataset, frame)
    vouched = set(spec.checks.not_personal)
    personal = [finding for finding in suspected if finding.column not in vouched]
    demands = Demands(
        dataset=dataset.name,
        task=spec.task.value,
        target=spec.target,
        features=feature_contracts(spec),
        positive_class=spec.positive_class,
        time=spec.time,
        group=spec.group,
        ids=spec.ids,
        outcome=dataset.outcome,
        vouched=tuple(feature.name for feature in spec.features if feature.known_in_advance),
        personal=(*dataset.pii, *(finding.column for finding in personal)),
        reading=version.reading,
    )
    rule = SplitRule(
        holdout_fraction=spec.split.holdout_fraction,
        validation_fraction=spec.split.validation_fraction,
        seed=spec.seed,
        train=_interval(spec.split.train),
        holdout=_interval(spec.split.holdout),
        rolling=Rolling(spec.split.holdout_days, spec.split.train_days) if spec.split.holdout_days else None,
    )
    periods = [Interval(_moment(exclusion.start), _moment(exclusion.end)) for exclusion in exclusions]
    excluded = Excluded(dataset.time or spec.time, periods)
    table = frame.table(columns_needed(demands, excluded, frame.types), as_text=_texts(demands.features))
    monitoring = spec.monitoring
    limits = Limits(
        duplicate_rows=spec.checks.duplicate_rows_at_most,
        missing_target=spec.checks.missing_target_at_most,
        target_drift=replace(Limits().target_drift, alpha=monitoring.alpha, thresholds=monitoring.thresholds),
        target_shift=monitoring.target_shift,
    )
    known = [
        *terms_faults(dataset, allowed_licences),
        *personal_faults(dataset.name, personal),
        *unknown_role_faults(frame.types, [("checks.not_personal", name) for name in spec.checks.not_personal]),
        *_judged_column_faults(spec, frame.types),
    ]
    prepared = prepare_rows(
        demands,
        rule,
        excluded,
        types=frame.types,
        table=table,
        hashes=frame.row_hashes(),
        limits=limits,
        known=known,
        captured=version.captured.rows if version.captured else 0,
    )
    said = [f"pii.{each.column}: {each}; the spec says not_personal" for each in suspected if each.column in vouched]
    return replace(prepared, notes=(*prepared.notes, *said))


def _suspected(dataset: Dataset, frame: Frame) -> list[Finding]:
    """Columns that look like personal data and are not declared as such, whether or not the spec uses them."""
    return [
        finding
        for name, kind in frame.types.items()
        if name not in dataset.pii
        and (kind is ColumnType.TEXT or (kind is ColumnType.INTEGER and _largest(frame, name) >= LEAST_NUMBER))
        for finding in search(name, frame.distinct(name, MOST_TEXTS))
    ]


def _largest(frame: Frame, column: str) -> float:
    return float(np.nanmax(frame.table([column])[column]))


def _texts(features: Sequence[FeatureContract]) -> set[str]:
    return {feature.name for feature in features if feature.kind == "categorical"}


def _interval(period: Period | None) -> Interval | None:
    return Interval(_moment(period.start), _moment(period.end)) if period else None


def _moment(at: datetime) -> np.datetime64:
    """Times of a dataset are UTC without saying so."""
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at, "us")


def _champion_features(
    model: str, models: Models, versions: Versions, routes: RouteReader
) -> tuple[FeatureContract, ...]:
    """Of what serves now; none when nothing does."""
    route = routes.route(model)
    if route is None or route.champion is None:
        return ()
    version = versions.version(model, route.champion.version)
    return feature_contracts(models.spec(model, version.spec_digest))


def _tables(
    spec: ModelSpec, frame: Frame, prepared: Prepared, champion: Sequence[FeatureContract], *, captured: bool
) -> dict[RunFile, Table]:
    """Fit, validation and holdout, and the guard where rows are captured. Features that only the champion has come
    along, so that both can be scored; so do, in the holdout, the columns that it is judged by and that are no features.
    """
    features = [*feature_contracts(spec), *champion]
    judged = _judged_columns(spec, frame, {feature.name for feature in features})
    read = frame.table([feature.name for feature in features], as_text=_texts(features))
    columns = Table({name: seconds(read[name]) for name in read})
    cluster = clusters(prepared.rows, spec.gate.resample_by, group=prepared.group, time=prepared.time)
    split = prepared.split
    parts = {RunFile.FIT: split.fit, RunFile.VALIDATION: split.validation, RunFile.HOLDOUT: split.holdout}
    if captured:
        parts[RunFile.GUARD] = split.guard
    tables = {}
    for file, positions in parts.items():
        rows = prepared.rows[positions]
        reserved = {TARGET: prepared.target.values[positions], CLUSTER: cluster[positions], ROW: rows}
        beside = judged.take(rows).columns if file is RunFile.HOLDOUT else {}
        tables[file] = Table({**columns.take(rows).columns, **beside, **reserved})
    return tables


def _judged_columns(spec: ModelSpec, frame: Frame, features: set[str]) -> Table:
    """Slice and sensitive columns that are no features; what is true or false as text."""
    names = [name for name in dict.fromkeys((*spec.gate.slices, *spec.sensitive)) if name not in features]
    return frame.table(names, as_text=[name for name in names if frame.types[name] is ColumnType.BOOLEAN])


def _judged_column_faults(spec: ModelSpec, types: Mapping[str, ColumnType]) -> list[Fault]:
    roles = [("gate.slices", name) for name in spec.gate.slices] + [("sensitive", name) for name in spec.sensitive]
    faults = unknown_role_faults(types, roles)
    for role, name in roles:
        if types.get(name) is ColumnType.TIME:
            said = "is a time column; use a column of the part that matters, such as the hour"
            faults.append(Fault(f"{role}.{name}", said))
        if name in RESERVED:
            faults.append(Fault(f"{role}.{name}", "is a reserved name; rename the column"))
    return faults


def _fitted(rule: Rule, training: Table, prepared: Prepared) -> FittedRule:
    """A rule of the spec on all training rows."""
    target = prepared.target
    return fitted(
        rule,
        table=training,
        target=training[TARGET],
        classes=target.classes,
        positive=target.positive,
        order=None if prepared.time is None else prepared.time[training[ROW]],
    )


def _contract(spec: ModelSpec, training: Table, target: Target, reading: Reading) -> Contract:
    """The contract with the categories and the group rates that training knows."""
    learned = {
        feature.name: [str(value) for value in np.unique(training[feature.name]) if value != ""]
        for feature in feature_contracts(spec)
        if feature.kind == "categorical"
    }
    contract = serving_contract(spec, classes=target.classes, positive=target.positive, learned=learned)
    contract = replace(
        contract,
        missing_words=reading.missing_words,
        decimal=reading.decimal,
        time_format=reading.time_format,
    )
    return computed.learned(contract, training, seed=spec.seed)[0]


def _describe(dataset: Dataset, version: DatasetVersion, prepared: Prepared, contract: Contract) -> dict[str, Any]:
    """The plan as JSON: what was learned of the data, for the steps that follow and for the report. `split` holds the
    periods that were asked for, `periods` the first and last rows in them."""
    split, rule = prepared.split, prepared.rule
    parts = {"fit": split.fit, "validation": split.validation, "holdout": split.holdout}
    return {
        "dataset": version.dataset,
        "dataset_version": version.version,
        "dataset_rows": version.rows,
        "personal": list(dataset.pii),
        "rows": {name: len(positions) for name, positions in parts.items()},
        "split": {"train": _asked(rule.train), "holdout": _asked(rule.holdout)},
        "periods": {name: _period(prepared, positions) for name, positions in parts.items()},
        "left_out": dict(prepared.left_out),
        "copied_to_holdout": prepared.copied,
        "notes": list(prepared.notes),
        "target": {name: _target(prepared.target, positions) for name, positions in parts.items()},
        "strength_alone": dict(prepared.strengths),
        "computed": computed.described(contract),
        "contract": contract.to_json(),
        **({"captured": _captured(version.captured, version.rows, prepared)} if version.captured else {}),
    }


def _sha256(hashes: Column) -> str:
    """Of rows in any order, by the hashes of all their cells."""
    return hashlib.sha256(np.sort(hashes).astype("<u8").tobytes()).hexdigest()


def _captured(captured: Captured, rows: int, prepared: Prepared) -> dict[str, Any]:
    """How many rows of the data, and of the holdout, are captured predictions, and who reported their outcomes."""
    held_out = prepared.rows[prepared.split.holdout] >= rows - captured.rows
    return {"rows": captured.rows, "holdout_rows": int(held_out.sum()), "reporters": dict(captured.reporters)}


def _asked(interval: Interval | None) -> list[str] | None:
    """Half-open: from is in, to is out. To the microsecond, since a rolling holdout ends that much after its last
    row."""
    return [str(interval.start), str(interval.end)] if interval else None


def _period(prepared: Prepared, positions: Rows) -> list[str] | None:
    """First and last moment."""
    if prepared.time is None:
        return None
    moments = prepared.time[prepared.rows[positions]]
    return [str(np.datetime_as_string(moment, unit="s")) for moment in (moments.min(), moments.max())]


def _target(target: Target, positions: Rows) -> dict[str, Any]:
    values = target.values[positions]
    if not target.classes:
        return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}
    counts = np.bincount(values, minlength=len(target.classes))
    return {"classes": list(target.classes), "rows": counts.tolist()}


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, allow_nan=False).encode()
