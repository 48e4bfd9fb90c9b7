"""What the widgets of a dashboard show: their metrics, searches and reckonings as points over time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.local.alarm_rules import evaluate
from infra.local.metrics import Metrics, statistic

MAX_PERIODS = 300  # of a picture; longer ranges get longer periods, as CloudWatch gives them
_DEFAULT_PERIOD_S = 300
_SEARCH = r"SEARCH\('(?P<query>[^']+)',\s*'(?P<stat>[^']+)',\s*(?P<period>\d+)\)"
_QUERY = re.compile(r"\{(?P<schema>[^}]+)\}(?P<terms>.*)")


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a widget: (start of the period in seconds since the epoch, value), oldest first."""

    label: str
    period_s: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Span:
    """What is shown, in seconds since the epoch; `whole` makes one period of all of it."""

    start: float
    end: float
    whole: bool = False

    def periods(self, wanted_s: int) -> tuple[int, Sequence[float]]:
        """A length of periods at which there are not too many, and their beginnings."""
        if self.whole:
            return int(self.end - self.start), [self.start]
        length = wanted_s * math.ceil((self.end - self.start) / wanted_s / MAX_PERIODS)
        first = math.floor(self.start / length)
        return length, [float(number * length) for number in range(first, math.ceil(self.end / length))]


def of_widget(properties: Mapping[str, Any], metrics: Metrics, span: Span) -> list[Series]:
    """The visible lines of a metric widget, those without points too.

    Raises:
        ValueError: a line has an expression or a statistic that is not computed locally.
    """
    lines = [_Line.read(line, properties) for line in properties["metrics"]]
    known = {line.id: line.of_metric(metrics, span) for line in lines if line.id and not line.expression}
    found: list[Series] = []
    for line in lines:
        if not line.visible:
            continue
        found += line.of_expression(metrics, span, known) if line.expression else [line.of_metric(metrics, span)]
    return found


def choices(variable: Mapping[str, Any], metrics: Metrics) -> list[str]:
    """What a dashboard's variable can be: the values of a dimension among the metrics it searches."""
    found = _found(variable["search"], metrics)
    return sorted({dimensions[variable["populateFrom"]] for _, _, dimensions in found})


def chosen(part: Any, variable: Mapping[str, Any], value: str) -> Any:
    """A part of a dashboard's body with the variable's pattern replaced in every text."""
    match part:
        case str():
            return re.sub(variable["pattern"], lambda _: value, part)
        case list():
            return [chosen(each, variable, value) for each in part]
        case dict():
            return {key: chosen(each, variable, value) for key, each in part.items()}
    return part


@dataclass(frozen=True, slots=True)
class _Line:
    """One entry of a widget's `metrics`."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    expression: str
    label: str
    stat: str
    period_s: int
    id: str
    visible: bool

    @classmethod
    def read(cls, line: Sequence[Any], properties: Mapping[str, Any]) -> _Line:
        options = line[-1] if isinstance(line[-1], Mapping) else {}
        named = [part for part in line if isinstance(part, str)]
        return cls(
            namespace=named[0] if named else "",
            name=named[1] if named else "",
            dimensions=dict(zip(named[2::2], named[3::2], strict=True)),
            expression=options.get("expression", ""),
            label=options.get("label", named[1] if named else ""),
            stat=options.get("stat", properties.get("stat", "Average")),
            period_s=int(options.get("period", properties.get("period", _DEFAULT_PERIOD_S))),
            id=options.get("id", ""),
            visible=options.get("visible", True),
        )

    def of_metric(self, metrics: Metrics, span: Span) -> Series:
        named = self.namespace, self.name, self.dimensions
        return Series(self.label, *_points(metrics, named, self.stat, self.period_s, span))

    def of_expression(self, metrics: Metrics, span: Span, known: Mapping[str, Series]) -> list[Series]:
        if search := re.fullmatch(_SEARCH, self.expression):
            return list(self._searched(search, metrics, span))
        if search := re.fullmatch(rf"SUM\({_SEARCH}\)", self.expression):
            return [self._summed(list(self._searched(search, metrics, span)))]
        values = {name: dict(series.points) for name, series in known.items()}
        moments = sorted({moment for points in values.values() for moment in points})
        results = (
            (moment, evaluate(self.expression, {name: points.get(moment) for name, points in values.items()}))
            for moment in moments
        )
        points = tuple((moment, result) for moment, result in results if result is not None)
        return [Series(self.label, max((series.period_s for series in known.values()), default=self.period_s), points)]

    def _searched(self, search: re.Match[str], metrics: Metrics, span: Span) -> Iterator[Series]:
        for namespace, name, dimensions in _found(search["query"], metrics):
            label = self.label
            for key, value in dimensions.items():
                label = label.replace(f"${{PROP('Dim.{key}')}}", value)
            named = namespace, name, dimensions
            series = Series(label, *_points(metrics, named, search["stat"], int(search["period"]), span))
            if series.points:
                yield series

    def _summed(self, parts: Sequence[Series]) -> Series:
        totals: dict[float, float] = {}
        for part in parts:
            for moment, value in part.points:
                totals[moment] = totals.get(moment, 0.0) + value
        return Series(self.label, max((part.period_s for part in parts), default=0), tuple(sorted(totals.items())))


def _points(
    metrics: Metrics, named: tuple[str, str, Mapping[str, str]], stat: str, period_s: int, span: Span
) -> tuple[int, tuple[tuple[float, float], ...]]:
    """The length of a period and the statistic of each one that has values."""
    length, starts = span.periods(period_s)
    values = ((start, statistic(metrics.between(*named, start, start + length), stat)) for start in starts)
    return length, tuple((start, value) for start, value in values if value is not None)


def _found(query: str, metrics: Metrics) -> list[tuple[str, str, dict[str, str]]]:
    """Metrics that have exactly the dimensions of a search's schema, and its values; by their dimensions.

    Raises:
        ValueError: the search names no metric, or has terms other than NAME="value".
    """
    read = _QUERY.fullmatch(query.strip())
    terms = dict(re.findall(r'([\w.]+)="([^"]*)"', read["terms"])) if read else {}
    rest = re.sub(r'[\w.]+="[^"]*"', "", read["terms"]).strip() if read else query
    if read is None or rest or "MetricName" not in terms:
        raise ValueError(f"the search {query!r} is not supported by the local cloud")
    name = terms.pop("MetricName")
    namespace, *schema = read["schema"].split(",")
    sets = metrics.dimension_sets(namespace, name)
    matching = [each for each in sets if set(each) == set(schema) and terms.items() <= each.items()]
    return [(namespace, name, each) for each in sorted(matching, key=lambda each: sorted(each.items()))]
