"""ModelSpec: the one file a data scientist writes.

    spec = ModelSpec.parse_yaml(Path("flight-delay.yaml").read_text())

Everything about a model that people decide is here; everything else is measured. The spec is content-addressed: its
`digest` names it in the registry, so a version always points at exactly the text it was trained from.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self, get_args

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from tidegate.kernel import english, fault_words
from tidegate.kernel.errors import Fault, SpecInvalidError
from tidegate.kernel.plain_text import text_faults
from tidegate.spec import strict_yaml
from tidegate.spec.checks import cross_faults, parameter_faults
from tidegate.spec.data import DataChecks, Split
from tidegate.spec.features import MAX_COMPUTED, MAX_FEATURES, ComputedFeature, Feature
from tidegate.spec.gate import ChosenMetric, GatePolicy
from tidegate.spec.monitoring import MonitoringRules
from tidegate.spec.output_rules import MAX_RULES, OutputRule
from tidegate.spec.part import ColumnName, ModelName, Scalar, Section, Task
from tidegate.spec.release import ReleaseRules
from tidegate.spec.rules.registry import BaselineRule, FallbackRule, kinds
from tidegate.spec.rules.rule import Place
from tidegate.spec.serving import GUARD_TAG, CaptureRules, GuardRules, InputGuard
from tidegate.spec.targets import Decision, Targets, ValueRules
from tidegate.spec.training import MAX_CANDIDATES, Candidate


class ModelSpec(Section):
    """A model as people declare it. See docs/model-spec.md for a page with examples."""

    name: ModelName
    owner: str = Field(min_length=3, max_length=200, description="Owner of the model: an e-mail address or a team.")
    business_unit: str = Field(
        min_length=1, max_length=100, description="Who pays for the model. Becomes a tag and a metric dimension."
    )
    description: str = Field("", max_length=2_000)
    task: Task
    dataset: ModelName = Field(description="Name in the data catalog.")
    target: ColumnName
    positive_class: Scalar | None = Field(None, description="Binary only: the class whose probability is the score.")
    time: ColumnName | None = None
    group: ColumnName | None = None
    ids: tuple[ColumnName, ...] = ()
    sensitive: tuple[ColumnName, ...] = Field(
        (), max_length=8, description="Columns whose groups are compared for fairness; they need not be features."
    )
    features: tuple[Feature, ...] = Field(min_length=1, max_length=MAX_FEATURES)
    computed: tuple[ComputedFeature, ...] = Field((), max_length=MAX_COMPUTED)
    candidates: tuple[Candidate, ...] = Field(min_length=1, max_length=MAX_CANDIDATES)
    metric: ChosenMetric = Field(description="The deciding metric: a name, or a mapping of `name` and parameters.")
    baseline: BaselineRule
    fallback: FallbackRule | None = Field(None, description="Answers when no version can; the baseline if left out.")
    rules: tuple[OutputRule, ...] = Field((), max_length=MAX_RULES)
    guard: InputGuard = Field(GuardRules(), description="Marks inputs unlike those of training; `none` turns it off.")
    decision: Decision = Decision()
    interval: float | None = Field(
        None,
        ge=0.5,
        le=0.99,
        description="Regression only: answers have an interval that contains this share of outcomes.",
    )
    split: Split = Split()
    checks: DataChecks = DataChecks()
    gate: GatePolicy = GatePolicy()
    targets: Targets = Targets()
    capture: CaptureRules = CaptureRules()
    release: ReleaseRules = ReleaseRules()
    monitoring: MonitoringRules = MonitoringRules()
    value: ValueRules | None = Field(None, description="What a right decision earns and a wrong one costs.")
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        parts = {name: getattr(self, name) for name in ModelSpec.model_fields}
        parts |= {name: dict(enumerate(parts[name])) for name in _LISTS}
        faults = cross_faults(parts)
        if faults:
            listed = "; ".join(str(fault) for fault in faults)
            raise PydanticCustomError("cross_field", "{faults}", {"faults": listed})
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the order of the spec."""
        return tuple(feature.name for feature in self.features)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON: the spec's identity."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def canonical_json(self) -> str:
        """One byte sequence for one meaning: sorted keys, no spaces, defaults written out."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def parse_yaml(cls, text: str) -> Self:
        """Read a spec from YAML (of which JSON is a part).

        Raises:
            SpecInvalidError: with every fault, each with its path and, where it is a choice, the allowed values.
        """
        return cls.parse(strict_yaml.read(text))

    @classmethod
    def parse(cls, document: object, *, stored: bool = False) -> Self:
        """Like `parse_yaml`, from an already decoded document. A `stored` one is read though an estimator lost a
        parameter since, or today's rules for text are stricter."""
        if not isinstance(document, dict):
            raise SpecInvalidError(
                "a spec is a mapping of names to values", [Fault("", f"got {fault_words.spelled(document)}")]
            )
        document = _respelled(document)
        faults: list[Fault] = []
        try:
            faults += () if stored else text_faults(document)
            spec = cls.model_validate(document)
            spec.canonical_json()
        except ValidationError as error:
            details = [detail for detail in error.errors() if detail["type"] != "cross_field"]
            faults += [_fault_of(detail) for detail in details if not _only_echoes(detail, details)]
            parts = _valid_parts(document)
            faults += cross_faults(parts) + parameter_faults(parts["candidates"])
            raise _invalid(faults) from None
        except (RecursionError, ValueError):
            fault = Fault("", "it is nested too deeply, refers to itself, or holds a value that JSON cannot represent")
            raise SpecInvalidError("the spec cannot be stored", [fault]) from None
        faults += () if stored else parameter_faults(dict(enumerate(spec.candidates)))
        if faults:
            raise _invalid(faults)
        return spec


def _invalid(faults: Sequence[Fault]) -> SpecInvalidError:
    return SpecInvalidError(f"{english.count(len(faults), 'fault')} in the spec", faults)


def _respelled(document: Mapping[str, Any]) -> dict[str, Any]:
    """A spec in today's words: specs from before 0.2.0 say `watch` for `monitoring` and `release.watch_hours` for
    `release.probation_hours`. Raises SpecInvalidError for one that gives a thing under both names."""
    respelled, faults = _renamed(document, "watch", "monitoring", "")
    release = respelled.get("release")
    if isinstance(release, dict):
        respelled["release"], more = _renamed(release, "watch_hours", "probation_hours", "release.")
        faults += more
    if faults:
        raise SpecInvalidError("the spec gives a setting twice", faults)
    return respelled


def _renamed(section: Mapping[str, Any], old: str, new: str, where: str) -> tuple[dict[str, Any], list[Fault]]:
    if old in section and new in section:
        return dict(section), [Fault(f"{where}{old}", f"is the old name of `{where}{new}`; keep that one only")]
    return {new if name == old else name: value for name, value in section.items()}, []


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a spec file, for editors and pipelines."""
    schema = ModelSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tidegate model spec"} | schema


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in {*kinds(), GUARD_TAG, "[key]"}:  # pydantic names union members and keys; people do not
            path += f".{part}" if path else part
    return path


def _only_echoes(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Pydantic calls a list too short when its items are wrong; the items' own faults say it better."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and len(other["loc"]) > len(place) for other in details
    )


def _fault_of(detail: ErrorDetails) -> Fault:
    context, given = detail.get("ctx", {}), detail["input"]
    path = _path(detail["loc"])
    match detail["type"]:
        case "enum" | "literal_error" | "union_tag_invalid":
            allowed = fault_words.choices(context)
            got = given.get("kind", given.get("name")) if isinstance(given, dict) else given
            near = fault_words.did_you_mean(got, allowed)
            listed = () if near and len(allowed) > MANY else allowed
            return Fault(path, f"{fault_words.spelled(got)} is not one of the choices{near}", listed)
        case "extra_forbidden":
            near = fault_words.did_you_mean(detail["loc"][-1], _fields_beside(detail["loc"]))
            return Fault(path, f"no such field{near or '; see `tidegate model schema`'}")
        case "union_tag_not_found":
            return Fault(f"{path}.kind", "is required", kinds(Place(path)))
        case kind:
            return Fault(path, fault_words.problem(kind, given, context, detail["msg"]))


MANY = 20  # choices: not listed to somebody who only mistyped one


def _fields_beside(location: tuple[int | str, ...]) -> set[str]:
    """The fields of the section in which a place lies."""
    sections: set[type[Section]] = {ModelSpec}
    for part in location[:-1]:
        inside = {
            inner
            for section in sections
            for name, field in section.model_fields.items()
            if part in {name, field.alias}
            for inner in _sections_in(field.annotation)
        }
        sections = inside or sections  # an index, a key or the name of a union's member leads to no other section
    return {field.alias or name for section in sections for name, field in section.model_fields.items()}


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


_INVALID = object()
_LISTS: Mapping[str, type[Section]] = {
    "features": Feature,
    "computed": ComputedFeature,
    "candidates": Candidate,
    "rules": OutputRule,
}


def _valid_parts(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a faulty document that are right by themselves, so that what they imply can still be checked:
    people mend a spec in one go when a typo in one place does not hide a fault in another. Of lists, the right items
    stay under their index."""
    parts: dict[str, Any] = {}
    for name, field in ModelSpec.model_fields.items():
        if name in _LISTS:
            item: TypeAdapter[Any] = TypeAdapter(_LISTS[name])
            listed = document.get(name)
            tried = enumerate(listed if isinstance(listed, list) else [])
            parts[name] = {index: part for index, raw in tried if (part := _valid(item, raw)) is not _INVALID}
        elif name in document:
            annotated: Any = Annotated[field.annotation, field]
            part = _valid(TypeAdapter(annotated), document[name])
            if part is not _INVALID:
                parts[name] = part
        elif not field.is_required():
            parts[name] = field.get_default(call_default_factory=True)
    return parts


def _valid(adapter: TypeAdapter[Any], value: object) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return _INVALID
