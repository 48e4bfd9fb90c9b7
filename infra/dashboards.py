"""The bodies of the two CloudWatch dashboards, as plain data: one of the platform, one of a model that is chosen on it.

Their format is CloudWatch's "Dashboard Body Structure and Syntax". Places are in a grid of 24 columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.constructs.alarms import FIVE_MINUTES, HOUR, NAMESPACE, Dimensions
from tidegate.kernel.drift.registry import COMPARED

COLUMNS = 24
CHOSEN = "__model__"  # stands for the chosen model, and can be no model's name
# What a spec may demand of live traffic, and in which unit.
TARGETS = {
    "metric_at_least": "the model's metric",
    "metric_at_most": "the model's metric",
    "latency_p99_ms": "ms",
    "availability_at_least": "share of requests",
    "demographic_parity": "share of positive decisions",
    "cost_per_1000_usd_at_most": "USD",
}
_RANGE = "-PT24H"
_REFUSED = ("ArtifactRejected", "NewerArtifact", "ArtifactUnavailable")

Body = dict[str, Any]
Lines = list[list[Any]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the platform's dashboard shows, by names that may be tokens. Of functions, what they are called for short
    and their names; `functions` are those that run in the background."""

    region: str
    stage: str
    serving_api: str
    control_api: str
    inference: str
    control: str
    announce: str
    steps: Mapping[str, str]
    functions: Mapping[str, str]
    release_machine: str  # this and the next two: ARNs
    monitoring_machine: str
    retraining_machine: str
    failures_queue: str
    alarms: Sequence[str]  # their ARNs


@dataclass(frozen=True, slots=True)
class _Source:
    """One function's own metrics."""

    service: str
    stage: str

    @property
    def own(self) -> Dimensions:
        return {"service": self.service, "stage": self.stage}

    @property
    def of_chosen(self) -> Dimensions:
        return {**self.own, "model": CHOSEN}

    def search(self, metric: str, stat: str, *, by: str, of: str = "", period: int = FIVE_MINUTES) -> list[Any]:
        """One line for each value of a dimension; `of` a model, where that is not the dimension itself."""
        names = ["service", "stage", *(["model"] if of else []), by]
        values = {"MetricName": metric, **self.own, **({"model": of} if of else {})}
        expression = _search(names, values, stat, period)
        return [{"expression": expression, "label": f"${{PROP('Dim.{by}')}}", "period": period}]


def platform(parts: Parts) -> Body:
    """Traffic, errors, latency, cost, drift and releases of everything, with every alarm on top."""
    inference, monitor = _Source("inference", parts.stage), _Source("monitor", parts.stage)
    feedback = _Source("feedback", parts.stage)
    api, control = {"ApiId": parts.serving_api}, {"ApiId": parts.control_api}
    releases = {"StateMachineArn": parts.release_machine}
    cost = _search(["service", "stage", "model"], {"MetricName": "CostUSD", **monitor.own}, "Sum", HOUR)
    page = _Page(parts.region)
    page.alarms("Alarms", parts.alarms)
    page.numbers(
        _number("Requests", _lines("AWS/ApiGateway", ["Count"], api)),
        _number("Server errors", _lines("AWS/ApiGateway", ["5xx"], api)),
        _number("Latency p99 (ms)", _lines("AWS/ApiGateway", ["Latency"], api, "p99")),
        _number("Answers by fallbacks", _lines(NAMESPACE, ["FallbackServed"], inference.own)),
        _number("Cost of all models (USD)", [[{"expression": f"SUM({cost})", "label": "CostUSD", "period": HOUR}]]),
        _number("Releases begun", _lines("AWS/States", ["ExecutionsStarted"], releases)),
    )
    page.section("Traffic")
    page.graphs(
        _graph("Requests to the serving API", "requests", _lines("AWS/ApiGateway", ["Count", "4xx", "5xx"], api)),
        _graph("Requests by model", "requests", [inference.search("Requests", "Sum", by="model")], stacked=True),
        _graph(
            "Predictions and reported outcomes",
            "rows",
            [*_lines(NAMESPACE, ["Predictions"], inference.own), *_lines(NAMESPACE, ["Feedback"], feedback.own)],
        ),
    )
    page.section("Errors")
    page.graphs(
        _graph(
            "Inference faults",
            "faults",
            [
                *_lines("AWS/Lambda", ["Errors", "Throttles"], {"FunctionName": parts.inference}),
                *_lines(
                    NAMESPACE,
                    ["ServerErrors", *_REFUSED, "RouteStale", "CapturesDropped", "CapturesMasked"],
                    inference.own,
                ),
            ],
        ),
        _graph(
            "Model failures by model", "failures", [inference.search("ModelFailures", "Sum", by="model")], stacked=True
        ),
        _graph(
            "Answers by fallbacks, by reason",
            "rows",
            [inference.search("FallbackServed", "Sum", by="why")],
            stacked=True,
        ),
        _graph("Requests to the control API", "requests", _lines("AWS/ApiGateway", ["Count", "4xx", "5xx"], control)),
        _graph("Errors of functions in the background", "errors", _functions("Errors", parts.functions, "Sum")),
        _graph(
            "Events that could not be handled",
            "messages",
            _lines("AWS/SQS", ["ApproximateNumberOfMessagesVisible"], {"QueueName": parts.failures_queue}, "Maximum"),
        ),
    )
    page.section("Latency")
    page.graphs(
        _graph(
            "Latency of the serving API",
            "ms",
            [*_lines("AWS/ApiGateway", ["Latency"], api, "p50"), *_lines("AWS/ApiGateway", ["Latency"], api, "p99")],
        ),
        _graph("Latency by model, p99", "ms", [inference.search("LatencyMs", "p99", by="model")]),
        _graph(
            "Time in the functions, p99",
            "ms",
            _functions("Duration", {"inference": parts.inference, "control": parts.control}, "p99"),
        ),
    )
    page.section("Cost")
    page.graphs(
        _graph(
            "Cost by model", "USD an hour", [monitor.search("CostUSD", "Sum", by="model", period=HOUR)], stacked=True
        ),
        _graph(
            "Cost by business unit",
            "USD an hour",
            [monitor.search("CostUSD", "Sum", by="business_unit", period=HOUR)],
            stacked=True,
        ),
        _graph(
            "Value by model, where declared",
            "USD an hour",
            [monitor.search("ValueUSD", "Sum", by="model", period=HOUR)],
            floor=None,
        ),
    )
    page.section("Drift")
    page.graphs(
        _graph(
            "Models drifted, needing redesign, to be trained",
            "models",
            _lines(NAMESPACE, ["Drifted", "NeedsRedesign", "RetrainingWanted"], monitor.own, period=HOUR),
        ),
        _graph(
            "Drifted, by model",
            "drifted",
            [monitor.search("Drifted", "Maximum", by="model", period=HOUR)],
            stacked=True,
        ),
        _graph(
            "Quality lost since design, by model",
            "units of the metric",
            [monitor.search("QualityLoss", "Maximum", by="model", period=HOUR)],
            floor=None,
        ),
    )
    page.section("Releases")
    took = _lines("AWS/States", ["ExecutionTime"], releases, "Maximum")
    page.graphs(
        _graph("Releases", "runs", _executions(parts.release_machine)),
        _graph("Time of a release", "minutes", _reckoned("ExecutionTime", "took / 60000", took=took)),
        _graph("Time of its steps", "ms", _functions("Duration", parts.steps, "Maximum")),
        _graph(
            "Announcements behind",
            "ms",
            _lines("AWS/Lambda", ["IteratorAge"], {"FunctionName": parts.announce}, "Maximum"),
        ),
        _graph("Looks at models", "runs", _executions(parts.monitoring_machine)),
        _graph("Trainings started by monitoring", "runs", _executions(parts.retraining_machine)),
    )
    return page.body()


def model(*, region: str, stage: str) -> Body:
    """Quality, drift by feature, arms, fallback and cost of the model that is chosen on the dashboard.

    Models are found by their metrics, so none is named when the dashboard is deployed. The variable is of the kind that
    replaces text, since search expressions name the model too.
    """
    inference, monitor, feedback = (_Source(name, stage) for name in ("inference", "monitor", "feedback"))
    page = _Page(region)
    live = _lines(NAMESPACE, ["LiveQuality"], monitor.of_chosen, "Average", period=HOUR)
    page.text(
        f"# {CHOSEN}\n`tidegate status` shows its owner and its health, `tidegate drift {CHOSEN}` the findings.", 2
    )
    page.numbers(
        _number("Requests", _lines(NAMESPACE, ["Requests"], inference.of_chosen)),
        _number("Latency p99 (ms)", _lines(NAMESPACE, ["LatencyMs"], inference.of_chosen, "p99")),
        _number("By the fallback (%)", _share_of_fallback(inference)),
        _number("Live quality, latest", live, whole=False),
        _number("Outcomes reported", _lines(NAMESPACE, ["Feedback"], feedback.of_chosen)),
        _number("Cost (USD)", _lines(NAMESPACE, ["CostUSD"], monitor.of_chosen)),
    )
    _quality(page, inference, monitor, feedback)
    _targets(page, monitor)
    _drift(page, monitor)
    _arms(page, inference, monitor)
    _fallback(page, inference)
    _traffic(page, inference, monitor)
    _cost(page, monitor)
    return page.body() | {"variables": [_variable(inference)]}


def _quality(page: "_Page", inference: _Source, monitor: _Source, feedback: _Source) -> None:
    page.section("Quality")
    page.graphs(
        _graph(
            "Quality: live, expected, at design",
            "the model's metric",
            _lines(
                NAMESPACE,
                ["LiveQuality", "ExpectedQuality", "DesignQuality"],
                monitor.of_chosen,
                "Average",
                period=HOUR,
            ),
            floor=None,
        ),
        _graph(
            "Quality lost since design",
            "units of the metric",
            _lines(NAMESPACE, ["QualityLoss"], monitor.of_chosen, "Maximum", period=HOUR),
            floor=None,
        ),
        _graph(
            "Predictions, outcomes reported",
            "rows an hour",
            [
                *_lines(NAMESPACE, ["Predictions"], inference.of_chosen, period=HOUR),
                *_lines(NAMESPACE, ["Feedback"], feedback.of_chosen, period=HOUR),
            ],
        ),
    )


def _targets(page: "_Page", monitor: _Source) -> None:
    page.section("Targets")
    page.graphs(
        *(_against_limit(monitor, name, unit) for name, unit in TARGETS.items()),
        _graph(
            "Targets missed",
            "1: yes",
            [monitor.search("TargetMissed", "Maximum", by="target", of=CHOSEN, period=HOUR)],
        ),
    )


def _drift(page: "_Page", monitor: _Source) -> None:
    page.section("Drift")
    page.graphs(
        _graph(
            "Drift of the features most responsible",
            COMPARED.label,
            [monitor.search("FeatureShift", "Maximum", by="feature", of=CHOSEN, period=HOUR)],
        ),
        _graph(
            "What has drifted",
            "1: yes",
            _lines(
                NAMESPACE, ["FeatureDrift", "PredictionDrift", "DataQuality"], monitor.of_chosen, "Maximum", period=HOUR
            ),
        ),
        _graph(
            "What follows",
            "1: yes",
            _lines(
                NAMESPACE, ["Drifted", "RetrainingWanted", "NeedsRedesign"], monitor.of_chosen, "Maximum", period=HOUR
            ),
        ),
    )


def _arms(page: "_Page", inference: _Source, monitor: _Source) -> None:
    page.section("Arms")
    page.graphs(
        _graph(
            "Requests by version",
            "requests an hour",
            [monitor.search("Requests", "Sum", by="version", of=CHOSEN, period=HOUR)],
            stacked=True,
        ),
        _graph(
            "Errors beside the champion, by reason",
            "requests",
            [
                _named(inference.search(f"{arm}Errors", "Sum", by="why", of=CHOSEN), f"{arm.lower()}: ")
                for arm in ("Candidate", "Holdback", "Split")
            ],
            stacked=True,
        ),
        _graph(
            "Rule violations by arm, unusual inputs, errors of the shadow",
            "rows",
            [
                inference.search("RuleViolations", "Sum", by="arm", of=CHOSEN),
                *_lines(NAMESPACE, ["Unusual", "ShadowErrors"], inference.of_chosen),
            ],
        ),
    )


def _fallback(page: "_Page", inference: _Source) -> None:
    page.section("Fallback")
    page.graphs(
        _graph(
            "Answers by the fallback, by reason",
            "rows",
            [inference.search("FallbackServed", "Sum", by="why", of=CHOSEN)],
            stacked=True,
        ),
        _graph(
            "Share answered by the fallback",
            "%",
            _share_of_fallback(inference),
        ),
        _graph(
            "Faults",
            "requests",
            _lines(NAMESPACE, ["ModelFailures", "ServerErrors", "ClientErrors"], inference.of_chosen),
        ),
    )


def _traffic(page: "_Page", inference: _Source, monitor: _Source) -> None:
    page.section("Traffic and latency")
    page.graphs(
        _graph(
            "Requests and predictions", "count", _lines(NAMESPACE, ["Requests", "Predictions"], inference.of_chosen)
        ),
        _graph(
            "Latency",
            "ms",
            [
                *_lines(NAMESPACE, ["LatencyMs"], inference.of_chosen, "p50"),
                *_lines(NAMESPACE, ["LatencyMs"], inference.of_chosen, "p99"),
            ],
        ),
        _graph("Rows that were judged", "rows", _lines(NAMESPACE, ["Rows"], monitor.of_chosen, "Maximum", period=HOUR)),
    )


def _cost(page: "_Page", monitor: _Source) -> None:
    page.section("Cost")
    page.graphs(
        _graph(
            "Cost by version",
            "USD an hour",
            [monitor.search("CostUSD", "Sum", by="version", of=CHOSEN, period=HOUR)],
            stacked=True,
        ),
        _graph(
            "Cost, and value where declared",
            "USD an hour",
            _lines(NAMESPACE, ["CostUSD", "ValueUSD"], monitor.of_chosen, period=HOUR),
            floor=None,
        ),
        _graph(
            "Value less cost, per 1,000 predictions",
            "USD",
            _lines(NAMESPACE, ["NetUSDPer1000"], monitor.of_chosen, "Average", period=HOUR),
            floor=None,
        ),
        _graph(
            "Time billed by version",
            "ms an hour",
            [monitor.search("BilledMs", "Sum", by="version", of=CHOSEN, period=HOUR)],
            stacked=True,
        ),
        _graph("Stored", "bytes an hour", _lines(NAMESPACE, ["StoredBytes"], monitor.of_chosen, period=HOUR)),
        _graph(
            "Hours that cost far more than usual",
            "1: yes",
            _lines(NAMESPACE, ["CostSpike"], monitor.of_chosen, "Maximum", period=HOUR),
        ),
    )


def _share_of_fallback(inference: _Source) -> Lines:
    fallback = _lines(NAMESPACE, ["FallbackServed"], inference.of_chosen)
    predictions = _lines(NAMESPACE, ["Predictions"], inference.of_chosen)
    share = "100 * FILL(fallback, 0) / predictions"
    return _reckoned("by the fallback", share, fallback=fallback, predictions=predictions)


class _Page:
    """Widgets, placed from left to right and from top to bottom."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._widgets: list[Body] = []
        self._y = 0

    def body(self) -> Body:
        return {"start": _RANGE, "widgets": self._widgets}

    def alarms(self, title: str, arns: Sequence[str]) -> None:
        self._row("alarm", 6, [{"title": title, "alarms": list(arns)}])

    def text(self, markdown: str, height: int) -> None:
        self._row("text", height, [{"markdown": markdown}])

    def section(self, title: str) -> None:
        self.text(f"## {title}", 1)

    def numbers(self, *numbers: Body) -> None:
        """All in a row."""
        self._row("metric", 3, [number | {"region": self._region} for number in numbers])

    def graphs(self, *graphs: Body) -> None:
        """Three in a row."""
        for first in range(0, len(graphs), 3):
            self._row("metric", 6, [graph | {"region": self._region} for graph in graphs[first : first + 3]], of=3)

    def _row(self, kind: str, height: int, found: Sequence[Body], *, of: int = 0) -> None:
        width = COLUMNS // (of or len(found))
        self._widgets += [
            {"type": kind, "x": width * index, "y": self._y, "width": width, "height": height, "properties": each}
            for index, each in enumerate(found)
        ]
        self._y += height


def _graph(title: str, unit: str, lines: Lines, *, stacked: bool = False, floor: int | None = 0) -> Body:
    """Lines over time; `floor` is where the axis begins."""
    axis = {"label": unit, "showUnits": False} | ({} if floor is None else {"min": floor})
    return {
        "title": title,
        "view": "timeSeries",
        "stacked": stacked,
        "period": FIVE_MINUTES,
        "metrics": lines,
        "yAxis": {"left": axis},
    }


def _against_limit(monitor: _Source, target: str, unit: str) -> Body:
    """What was measured in the last 24 hours, and the limit that it is held against; empty where none is stated."""
    dimensions = {**monitor.of_chosen, "target": target}
    lines = _lines(NAMESPACE, ["TargetMeasured", "TargetLimit"], dimensions, "Average", period=HOUR)
    return _graph(f"Target {target}", unit, lines, floor=None)


def _number(title: str, lines: Lines, *, whole: bool = True) -> Body:
    """One value of the whole time that is shown, or the latest one."""
    return {"title": title, "view": "singleValue", "setPeriodToTimeRange": whole, "metrics": lines}


def _lines(
    namespace: str, metrics: Sequence[str], dimensions: Dimensions, stat: str = "Sum", *, period: int = FIVE_MINUTES
) -> Lines:
    """Metrics with the same dimensions; a percentile is named as such."""
    named = [part for pair in dimensions.items() for part in pair]
    return [
        [
            namespace,
            metric,
            *named,
            {"stat": stat, "period": period, "label": f"{metric} {stat}" if stat.startswith("p") else metric},
        ]
        for metric in metrics
    ]


def _executions(machine: str) -> Lines:
    ends = [f"Executions{end}" for end in ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")]
    return _lines("AWS/States", ends, {"StateMachineArn": machine})


def _functions(metric: str, names: Mapping[str, str], stat: str) -> Lines:
    """A metric of several functions, each under what it is called for short."""
    return [
        ["AWS/Lambda", metric, "FunctionName", name, {"stat": stat, "period": FIVE_MINUTES, "label": short}]
        for short, name in names.items()
    ]


def _reckoned(label: str, expression: str, **terms: Lines) -> Lines:
    """What is reckoned from metrics, by the names they have in the expression; they themselves are not drawn."""
    hidden = [[*line[:-1], line[-1] | {"id": name, "visible": False}] for name, (line,) in terms.items()]
    return [[{"expression": expression, "label": label}], *hidden]


def _named(line: list[Any], words: str) -> list[Any]:
    (found,) = line
    return [found | {"label": words + found["label"]}]


def _search(names: Sequence[str], values: Mapping[str, str], stat: str, period: int) -> str:
    """Every metric with exactly these dimensions; quoted values match whole."""
    terms = " ".join(f'{name}="{value}"' for name, value in values.items())
    return f"SEARCH('{{{','.join([NAMESPACE, *names])}}} {terms}', '{stat}', {period})"


def _variable(inference: _Source) -> Body:
    """A choice among the models that were asked in the last two weeks; that is how far CloudWatch's search looks."""
    terms = " ".join(f'{name}="{value}"' for name, value in {"MetricName": "Requests", **inference.own}.items())
    return {
        "type": "pattern",
        "pattern": CHOSEN,
        "inputType": "select",
        "id": "model",
        "label": "Model",
        "visible": True,
        "defaultValue": "__FIRST",
        "search": f"{{{NAMESPACE},service,stage,model}} {terms}",
        "populateFrom": "model",
    }
