"""What a model is judged by, and what the gate demands."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from tidegate.kernel.metrics.metric import Metric, Parameter
from tidegate.kernel.metrics.registry import METRICS, choose
from tidegate.spec.part import ColumnName, Section, described, spec_fault


def _metric(stated: object) -> Metric:
    if isinstance(stated, Metric):
        return stated
    name = stated.get("name") if isinstance(stated, dict) else stated
    if not isinstance(name, str) or name not in METRICS:
        listed = ", ".join(repr(each) for each in METRICS)
        raise PydanticCustomError("enum", "{expected}", {"expected": listed})
    try:
        return choose(stated if isinstance(stated, dict) else name)
    except ValueError as error:
        raise spec_fault(str(error)) from None


def _metric_schema() -> dict[str, Any]:
    """A name; those that take parameters may be a mapping of them."""
    mappings = [
        {
            "type": "object",
            "title": metric.label,
            "properties": {"name": {"const": metric.name}} | {each.name: _number(each) for each in metric.parameters},
            "required": ["name"],
            "additionalProperties": False,
        }
        for metric in METRICS.values()
        if metric.parameters
    ]
    return {"title": "Metric", "anyOf": [described({name: each.sentence for name, each in METRICS.items()}), *mappings]}


def _number(parameter: Parameter) -> dict[str, Any]:
    return {
        "type": "number",
        "minimum": parameter.least,
        "maximum": parameter.most,
        "default": parameter.default,
        "description": parameter.meaning,
    }


ChosenMetric = Annotated[
    Metric, PlainValidator(_metric), PlainSerializer(Metric.to_json), WithJsonSchema(_metric_schema())
]


class GatePolicy(Section):
    """What the gate demands beyond beating the baseline."""

    margin: float = Field(0.0, ge=0, description="Tolerated loss against the champion, in units of the metric.")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(2000, ge=200, le=20_000)
    min_rows: int = Field(500, ge=30, description="A smaller holdout is too little data to judge on.")
    resample_by: Literal["row", "group", "day"] = Field(
        "row", description="What is resampled together, since rows of one day or group are often alike."
    )
    parity_tolerance: float = Field(
        1e-4,
        gt=0,
        description="Largest allowed difference of scikit-learn and ONNX scores; of a regression, in standard "
        "deviations of the target.",
    )
    slices: tuple[ColumnName, ...] = Field(
        (),
        max_length=10,
        description="Columns whose values (or quartiles) form slices of the holdout; they need not be features.",
    )
