"""The model half of the control API: apply a spec after checking it against the catalog, and look at what there is."""

from typing import Any

from tidegate.domain.data.dataset import ColumnProfile, ColumnType, Dataset, DatasetVersion
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.version import SHOWN_AS_STATUS, Version, VersionStatus, status_now
from tidegate.domain.rollout.changes import rollback_target, shares
from tidegate.domain.rollout.rollout import Phase
from tidegate.domain.training.contracts import rollout_plan
from tidegate.kernel import english, values
from tidegate.kernel.errors import Fault, NotFoundError, RequestInvalidError, SpecInvalidError
from tidegate.kernel.fault_words import did_you_mean
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import RunRef
from tidegate.ports.data import Catalog
from tidegate.ports.monitoring import HealthRecords, Verdicts
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, RouteReader, Versions
from tidegate.ports.rollout import RolloutReader
from tidegate.spec.features import FeatureKind
from tidegate.spec.model import ModelSpec
from tidegate.steps.pages import Asked, by_name, chosen, first_names, number, page, walked
from tidegate.steps.requests import demand_unreserved, version_number, view
from tidegate.steps.rollout.approvals import under_way
from tidegate.steps.rollout.forecasts import expected

MAX_SPEC_BYTES = 256 * 1024

_UNFIT: dict[FeatureKind, frozenset[ColumnType]] = {
    FeatureKind.NUMERIC: frozenset({ColumnType.TEXT, ColumnType.TIME}),
    FeatureKind.INTEGER: frozenset({ColumnType.TEXT, ColumnType.TIME}),
    FeatureKind.BOOLEAN: frozenset({ColumnType.TEXT, ColumnType.TIME}),
    FeatureKind.CATEGORICAL: frozenset({ColumnType.TIME}),
    FeatureKind.TIME: frozenset(ColumnType) - {ColumnType.TIME},
}


def list_models(asked: Asked, *, models: Models) -> dict[str, Any]:
    """A page of models, by name. Raises RequestInvalidError."""
    shown, following = page(asked, walked(models.models, by_name), by_name)
    return {"models": shown, "next": following}


def show_model(
    name: str, *, models: Models, routes: RouteReader, rollouts: RolloutReader, clock: Clock
) -> dict[str, Any]:
    """A model and what is served of it (`route` is null before the first promotion), which version a rollback returns
    to unless another is named, and the release that is under way. Raises NotFoundError."""
    header, route = models.model(name), routes.route(name)
    return {
        "model": view(header),
        "route": view(route),
        "serves": view(shares(route)) if route else [],
        "rollback_to": rollback_target(route),
        "under_way": under_way(name, route, rollouts=rollouts, now=clock.now()),
    }


def apply_model(
    name: str,
    text: str,
    *,
    actor: str,
    models: Models,
    catalog: Catalog,
    health_records: HealthRecords,
    verdicts: Verdicts,
    clock: Clock,
    only_checked: bool = False,
) -> dict[str, Any]:
    """Check a spec and, unless it is `only_checked`, make it the model's current one; the same spec again changes
    nothing. `forecast` says how long a release by this spec would take, null where nothing is known of the traffic.

    Raises:
        SpecInvalidError: every fault at once, those of the spec itself, those of what it demands of a canary, or those
            against the dataset it names.
        RequestInvalidError: the spec is for another model than the address says, or is too large, or the name is
            reserved.
        ForbiddenError: it is the model of a doctor that somebody else started.
    """
    spec = read_spec(text)
    if spec.name != name:
        raise RequestInvalidError(
            "the spec is for another model",
            [Fault("name", f"{spec.name!r} is not the {name!r} of the address")],
            next_step=f"send it to /models/{spec.name}",
        )
    demand_unreserved(name, spec.owner, made_by=_applied_by(name, models), actor=actor)
    rollout_plan(spec)
    warnings: list[str] = []
    checked: DatasetVersion | None = None
    try:
        dataset = catalog.dataset(spec.dataset)
        checked = catalog.version(spec.dataset) if dataset.latest else None
    except NotFoundError:
        near = did_you_mean(spec.dataset, first_names(catalog.datasets))
        warnings.append(f"dataset {spec.dataset} is not registered yet, so its columns were not checked{near}")
    else:
        faults = catalog_faults(spec, dataset, checked)
        if faults:
            raise SpecInvalidError(
                f"{english.count(len(faults), 'fault')} against dataset {spec.dataset}",
                faults,
                next_step=f"see its columns: tidegate data show {spec.dataset} latest",
            )
        if checked is None:
            warnings.append(f"dataset {spec.dataset} has no ready version yet, so its columns were not checked")
        warnings += [f"feature {n!r} is personal data (PII)" for n in spec.feature_names if n in dataset.pii]
    changed = not only_checked and models.apply(spec, author=actor, at=clock.now())
    return {
        "model": name,
        "digest": spec.digest,
        "changed": changed,
        "checked_against": checked.version if checked else None,
        "warnings": warnings,
        "forecast": expected(spec, health_records=health_records, verdicts=verdicts),
    }


def _applied_by(name: str, models: Models) -> str | None:
    try:
        return models.model(name).applied_by
    except NotFoundError:
        return None


def read_spec(text: str) -> ModelSpec:
    """A spec from YAML or JSON text, whatever the text does.

    Raises:
        SpecInvalidError: with every fault.
        RequestInvalidError: more than `MAX_SPEC_BYTES`.
    """
    if len(text.encode()) > MAX_SPEC_BYTES:
        raise RequestInvalidError(f"a spec can have at most {MAX_SPEC_BYTES // 1024} KiB", status=413)
    return ModelSpec.parse_yaml(text)


def catalog_faults(spec: ModelSpec, dataset: Dataset, version: DatasetVersion | None) -> list[Fault]:
    """Where a spec does not fit its dataset: leaking features, unknown columns with near names, wrong types."""
    faults = [
        Fault(
            f"features[{index}].name",
            f"{feature.name!r} is an outcome column of dataset {dataset.name}, known only after the fact: leakage",
        )
        for index, feature in enumerate(spec.features)
        if feature.name in dataset.outcome
    ]
    faults += [
        Fault(
            f"features[{index}].categories",
            f"{feature.name!r} is personal data (PII) of dataset {dataset.name}, and many people see a spec; leave the "
            "categories out: they are learned from the training rows, and not shown",
        )
        for index, feature in enumerate(spec.features)
        if feature.name in dataset.pii and feature.categories is not None
    ]
    faults += [
        Fault(
            f"gate.slices[{index}]",
            f"{name!r} is personal data (PII) of dataset {dataset.name}, and all who read the report would see its "
            "values; slice by another column, or list this one in `sensitive` to have its groups compared",
        )
        for index, name in enumerate(spec.gate.slices)
        if name in dataset.pii and name not in spec.sensitive
    ]
    if version is None:
        return faults
    types = version.types
    used: list[tuple[str, str | None]] = [("target", spec.target), ("time", spec.time), ("group", spec.group)]
    used += [(f"ids[{index}]", name) for index, name in enumerate(spec.ids)]
    used += [(f"features[{index}].name", feature.name) for index, feature in enumerate(spec.features)]
    for path, name in used:
        if name is not None and name not in types:
            where = f"dataset {dataset.name} version {version.version}"
            faults.append(Fault(path, f"{name!r} is not a column of {where}{did_you_mean(name, types)}"))
    spelt = {column.name for column in version.columns if _spells_truth(version, column)}
    for index, feature in enumerate(spec.features):
        if feature.kind == "boolean" and feature.name in spelt:
            continue
        if feature.name in types and types[feature.name] in _UNFIT[feature.kind]:
            problem = f"{feature.name!r} holds {types[feature.name]} in the dataset; it cannot be {feature.kind}"
            faults.append(Fault(f"features[{index}].kind", problem))
    return faults


def _spells_truth(version: DatasetVersion, column: ColumnProfile) -> bool:
    """Whether the commonest texts of a column are spellings of truth values; training reads all of them."""
    if version.reading.rules == 1 or column.type is not ColumnType.TEXT:
        return False
    try:
        return all(values.read("boolean", text, decimal=version.reading.decimal) is not None for text, _ in column.top)
    except values.NotAValueError:
        return False


def show_spec(name: str, digest: str | None, *, models: Models) -> dict[str, Any]:
    """The current spec, or the one with that digest. Raises NotFoundError."""
    spec = models.spec(name, digest)
    return {"digest": digest or models.model(name).spec_digest, "spec": spec.model_dump(mode="json", by_alias=True)}


def list_versions(
    name: str, asked: Asked, status: str | None, *, models: Models, versions: Versions, routes: RouteReader
) -> dict[str, Any]:
    """A page of versions, newest first; with a status those that have it, `holdback` and `split` among them. Raises
    NotFoundError, RequestInvalidError."""
    models.model(name)
    route = routes.route(name)
    wanted = status if status in SHOWN_AS_STATUS else chosen("status", status, VersionStatus)

    def find(*, after: str, limit: int) -> list[Version]:
        return versions.versions(name, after=number(after), limit=limit)

    keep = (lambda version: status_now(version, route) == wanted) if wanted else None
    shown, following = page(
        asked, walked(find, _number), _number, keep=keep, show=lambda version: _version(version, route)
    )
    return {"versions": shown, "next": following}


def _number(version: Version) -> str:
    return str(version.number)


def show_version(
    name: str,
    number: str,
    *,
    models: Models,
    versions: Versions,
    routes: RouteReader,
    health_records: HealthRecords,
    verdicts: Verdicts,
) -> dict[str, Any]:
    """One version; on its way to users, with a `forecast` of how long that takes. Raises NotFoundError."""
    version, route = versions.version(name, version_number(name, number)), routes.route(name)
    ahead = None
    if version.status in {VersionStatus.ACCEPTED, VersionStatus.CANDIDATE}:
        spec = models.spec(name, version.spec_digest)
        ahead = expected(spec, health_records=health_records, verdicts=verdicts)
    return {"version": _version(version, route) | {"forecast": ahead}}


def _version(version: Version, route: Route | None) -> dict[str, Any]:
    return {**view(version), "status": status_now(version, route)}


def read_report(name: str, number: str, *, versions: Versions, artifacts: Artifacts) -> bytes:
    """The gate's report of a version, byte for byte as it was stored.

    Raises:
        NotFoundError: no such version.
        ArtifactRejectedError: somebody changed the stored report.
    """
    version = versions.version(name, version_number(name, number))
    return artifacts.get_verified(version.report_key, version.report_sha256)


def read_page(
    name: str, number: str, *, versions: Versions, rollouts: RolloutReader, artifacts: Artifacts
) -> dict[str, Any]:
    """The page of a version, as HTML text. That of an accepted version is held against its rollout, which knows its
    hash from the execution; nothing is decided on a rejected one's.

    Raises:
        NotFoundError: no such version, or it has no page.
        ArtifactRejectedError: somebody changed the stored page.
    """
    version = versions.version(name, version_number(name, number))
    key = RunRef(model=name, run_id=version.run_id).key(RunFile.PAGE)
    rollout = rollouts.rollout(name, version.run_id)
    try:
        if rollout is not None and rollout.page_sha256:
            html = artifacts.get_verified(key, rollout.page_sha256)
        elif rollout is not None and rollout.phase is Phase.APPROVAL:
            raise NotFoundError("the release drew no page, so nobody knows whose one is stored")
        else:
            html = artifacts.get(key)
    except NotFoundError:
        raise NotFoundError(
            f"version {version.number} of {name} has no page: pages are drawn within a minute of registration; "
            "drawing may have failed, or the version may be older than this feature",
            next_step=f"read the gate's report: tidegate report {name} {version.number}",
        ) from None
    return {"model": name, "version": version.number, "html": html.decode()}
