"""The dashboards as a web page, drawn from their bodies and from the metrics that the cloud recorded."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from infra import dashboards
from infra.local.cloud import LocalCloud
from infra.local.dashboard_series import Series, Span, choices, chosen, of_widget
from infra.local.dashboards import _with_data
from infra.local.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3600.0
NOW = 1_000 * HOUR
DAY = Span(NOW - 24 * HOUR, NOW)
OWN = {"service": "inference", "stage": "dev"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: NOW)


def lines(metrics: Metrics, *given: list[Any], span: Span = DAY) -> list[Series]:
    return of_widget({"metrics": list(given)}, metrics, span)


def values(series: Series) -> list[float]:
    return [value for _, value in series.points]


# --- what a widget shows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stat", "expected"), [("Sum", 10.0), ("Average", 2.5), ("Maximum", 4.0), ("p50", 2.5), ("p99", 3.97)]
)
def test_a_line_is_the_statistic_of_each_period(stat: str, expected: float, metrics: Metrics) -> None:
    metrics.put("Sample", "Took", [1, 2, 3, 4], OWN, at=NOW - 2 * HOUR + 5)
    metrics.put("Sample", "Took", [7], OWN, at=NOW - HOUR + 5)
    metrics.put("Sample", "Took", [99], {"service": "other"}, at=NOW - HOUR)
    metrics.put("Sample", "Took", [99], OWN, at=NOW - 25 * HOUR)
    line = ["Sample", "Took", "stage", "dev", "service", "inference", {"stat": stat, "period": 3600}]
    (found,) = lines(metrics, line)
    assert found.points[0] == (NOW - 2 * HOUR, pytest.approx(expected))
    assert found.points[1] == (NOW - HOUR, 7.0)
    assert len(found.points) == 2


def test_a_search_finds_what_has_exactly_its_dimensions_and_is_called_as_its_label_says(metrics: Metrics) -> None:
    for feature, value in (("wind", 0.4), ("carrier", 0.1)):
        metrics.put("Tidegate", "FeatureShift", value, OWN | {"model": "late", "feature": feature}, at=NOW - HOUR)
    metrics.put("Tidegate", "FeatureShift", 9, OWN | {"model": "other", "feature": "wind"}, at=NOW - HOUR)
    metrics.put("Tidegate", "FeatureShift", 9, OWN | {"model": "late"}, at=NOW - HOUR)
    metrics.put("Tidegate", "Rows", 9, OWN | {"model": "late", "feature": "wind"}, at=NOW - HOUR)
    query = '{Tidegate,service,stage,model,feature} MetricName="FeatureShift" stage="dev" model="late"'
    found = lines(metrics, [{"expression": f"SEARCH('{query}', 'Maximum', 3600)", "label": "${PROP('Dim.feature')}"}])
    assert [(each.label, values(each)) for each in found] == [("carrier", [0.1]), ("wind", [0.4])]


def test_a_search_can_be_summed(metrics: Metrics) -> None:
    for model, costs in (("a", (1, 2)), ("b", (10,))):
        for number, cost in enumerate(costs):
            metrics.put("Tidegate", "CostUSD", cost, {"model": model}, at=NOW - (number + 1) * HOUR)
    summed = "SUM(SEARCH('{Tidegate,model} MetricName=\"CostUSD\"', 'Sum', 3600))"
    (found,) = lines(metrics, [{"expression": summed, "label": "all"}])
    assert values(found) == [2, 11]
    (whole,) = lines(metrics, [{"expression": summed}], span=Span(DAY.start, DAY.end, whole=True))
    assert values(whole) == [13]


def test_what_is_reckoned_from_lines_is_shown_and_they_are_not(metrics: Metrics) -> None:
    metrics.put("Tidegate", "Predictions", [40], OWN, at=NOW - HOUR)
    metrics.put("Tidegate", "Predictions", [10], OWN, at=NOW - 2 * HOUR)
    metrics.put("Tidegate", "FallbackServed", [4], OWN, at=NOW - HOUR)
    named = ["service", "inference", "stage", "dev"]
    hidden = {"stat": "Sum", "period": 3600, "visible": False}
    (found,) = lines(
        metrics,
        [{"expression": "100 * FILL(fallback, 0) / predictions", "label": "share"}],
        ["Tidegate", "FallbackServed", *named, hidden | {"id": "fallback"}],
        ["Tidegate", "Predictions", *named, hidden | {"id": "predictions"}],
    )
    assert (found.label, values(found)) == ("share", [0, 10])


def test_long_ranges_have_longer_periods(metrics: Metrics) -> None:
    for hour in range(168):
        metrics.put("Sample", "Asked", [1] * 12, at=NOW - (hour + 0.5) * HOUR)
    (found,) = lines(metrics, ["Sample", "Asked", {"stat": "Sum", "period": 300}], span=Span(NOW - 168 * HOUR, NOW))
    assert len(found.points) <= 300
    assert sum(values(found)) == 168 * 12


@pytest.mark.parametrize(
    "expression", ["SEARCH('{Sample} Took', 'Sum', 60)", "SEARCH('Took', 'Sum', 60)", "RATE(took)"]
)
def test_what_is_not_computed_locally_says_so(expression: str, metrics: Metrics) -> None:
    metrics.put("Sample", "Took", 1, at=NOW - HOUR)
    with pytest.raises(ValueError, match="by the local cloud"):
        lines(metrics, [{"expression": expression}], ["Sample", "Took", {"id": "took"}])


def test_a_variable_is_one_of_the_models_that_were_asked_and_replaces_the_placeholder_everywhere(
    metrics: Metrics,
) -> None:
    body = dashboards.model(region="us-east-1", stage="dev")
    (variable,) = body["variables"]
    for model, stage in (("late", "dev"), ("fraud", "dev"), ("elsewhere", "prod")):
        metrics.put("Tidegate", "Requests", 1, {"service": "inference", "stage": stage, "model": model})
    metrics.put("Tidegate", "Requests", 1, OWN)
    assert choices(variable, metrics) == ["fraud", "late"]
    widgets = json.dumps(body["widgets"])
    assert widgets.count(dashboards.CHOSEN) > 40
    assert json.dumps(chosen(body["widgets"], variable, "late")) == widgets.replace(dashboards.CHOSEN, "late")


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [(0.2, 0.0, 3), (5.0, 4.0, 24), (23.0, 0.0, 24), (400.0, 0.5, 24), (400.0, 30.0, 72), (400.0, 200.0, 201)],
)
def test_a_page_opens_on_the_hours_in_which_something_was_recorded(
    first: float, last: float, hours: int, metrics: Metrics
) -> None:
    """`first` and `last` are so many hours ago."""
    for ago in (first, last):
        metrics.put("Tidegate", "Requests", 1, OWN | {"model": "late"}, at=NOW - ago * HOUR)
    metrics.put("Tidegate", "Requests", 1, OWN | {"model": "other"}, at=NOW - 700 * HOUR)
    assert metrics.known({"model": "nobody's"}) is None
    assert _with_data(24, metrics.known({"model": "late"}), NOW) == hours
    assert _with_data(24, None, NOW) == 24


# --- the page ---------------------------------------------------------------------------------------------------------


def get(cloud: LocalCloud, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type, text."""
    request = urllib.request.Request(cloud.dashboards_url + path, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


@pytest.fixture(scope="module")
def asked(cloud: LocalCloud) -> Iterator[LocalCloud]:
    """The cloud with the dashboard of a model, and the metrics of two models."""
    body = json.dumps(dashboards.model(region=cloud.region, stage="dev"))
    cloud.client("cloudwatch").put_dashboard(DashboardName="of-a-model", DashboardBody=body)
    now = cloud.clock.time()
    for model, rate in (("fraud", 3), ("late", 5)):
        own = OWN | {"model": model}
        for hour in range(1, 4):
            at = now - hour * HOUR
            cloud.metrics.put("Tidegate", "Requests", [1] * rate, own, at=at)
            cloud.metrics.put("Tidegate", "LatencyMs", [10, 12, 40], own, at=at)
    shift = {"service": "monitor", "stage": "dev", "model": "late", "feature": "<b>wind</b>"}
    cloud.metrics.put("Tidegate", "FeatureShift", 0.42, shift, at=now - HOUR)
    yield cloud
    cloud.client("cloudwatch").delete_dashboards(DashboardNames=["of-a-model"])


def section(page: str, title: str) -> str:
    """The widget of that title."""
    found = re.search(rf"<section[^>]*><h3>{re.escape(title)}</h3>.*?</section>", page, flags=re.DOTALL)
    assert found, title
    return found[0]


def picture_of(widget: str, *, narrow: bool = False) -> str:
    found = re.search(r'srcset="([^"]+)"' if narrow else r'<img[^>]* src="([^"]+)"', widget)
    assert found, widget
    return unescape(found[1])


def test_the_first_page_lists_the_dashboards_and_says_how_many_alarms_are_on(asked: LocalCloud) -> None:
    status, _, page = get(asked, "/")
    assert status == 200
    assert re.findall(r'href="/dashboards/([^"]+)"', page) == ["of-a-model", "sample"]
    assert re.search(r"\d+ of \d+ alarms are on", page)


def test_a_model_is_chosen_from_those_with_metrics_the_first_one_at_first(asked: LocalCloud) -> None:
    _, _, first = get(asked, "/dashboards/of-a-model")
    assert re.findall(r'<option value="([a-z]+)"( selected)?', first) == [("fraud", " selected"), ("late", "")]
    assert ">9<" in section(first, "Requests")
    _, _, other = get(asked, "/dashboards/of-a-model?model=late")
    assert ">15<" in section(other, "Requests")
    assert "<h1>late</h1>" in other


def test_a_widget_is_a_picture_with_its_numbers_beside_it(asked: LocalCloud) -> None:
    _, _, page = get(asked, "/dashboards/of-a-model?model=late")
    widget = section(page, "Latency")
    alt = re.search(r'alt="([^"]+)"', widget)
    assert alt
    assert alt[1].startswith("Latency, latest: LatencyMs p50 12; LatencyMs p99 39")
    assert re.search(r"<th>LatencyMs p50</th><td>12</td>.*<td>3</td></tr>", widget)
    widths = []
    for narrow in (False, True):
        status, kind, text = get(asked, picture_of(widget, narrow=narrow))
        assert (status, kind) == (200, "image/svg+xml")
        drawn = ET.fromstring(text)  # noqa: S314
        assert drawn.tag.endswith("svg")
        assert "LatencyMs p99" in text  # matplotlib notes what a glyph run says
        widths.append(float(drawn.attrib["width"].removesuffix("pt")))
    assert widths[0] > widths[1]


def test_names_in_metrics_are_no_markup(asked: LocalCloud) -> None:
    _, _, page = get(asked, "/dashboards/of-a-model?model=late")
    assert "&lt;b&gt;wind&lt;/b&gt;" in section(page, "Drift of the features most responsible")
    assert "<b>wind" not in page
    status, _, text = get(asked, picture_of(section(page, "Drift of the features most responsible")))
    assert status == 200
    ET.fromstring(text)  # noqa: S314


def test_of_many_lines_the_highest_are_drawn_and_all_are_in_the_table(asked: LocalCloud) -> None:
    for number in range(12):
        version = {"service": "monitor", "stage": "dev", "model": "late", "version": f"v{number}"}
        asked.metrics.put("Tidegate", "Requests", number + 1, version, at=asked.clock.time() - HOUR)
    widget = section(get(asked, "/dashboards/of-a-model?model=late")[2], "Requests by version")
    assert "The 10 highest of 12 are drawn." in widget
    assert len(re.findall(r"<tr><th>v\d+</th>", widget)) == 12
    _, _, text = get(asked, picture_of(widget))
    assert "<!-- v11 -->" in text
    assert "<!-- v1 -->" not in text


def test_a_widget_without_data_says_so(asked: LocalCloud) -> None:
    _, _, page = get(asked, "/dashboards/of-a-model?model=fraud")
    assert "no data yet" in section(page, "Drift of the features most responsible")
    assert "no data yet" in section(page, "Live quality, latest")


def test_before_anything_was_asked_the_page_is_there_without_data(cloud: LocalCloud) -> None:
    body = json.dumps(dashboards.model(region=cloud.region, stage="nobody"))
    cloud.client("cloudwatch").put_dashboard(DashboardName="quiet", DashboardBody=body)
    status, _, page = get(cloud, "/dashboards/quiet")
    cloud.client("cloudwatch").delete_dashboards(DashboardNames=["quiet"])
    assert status == 200
    graphs = re.findall(r'<section class="metric"', page)
    assert len(graphs) == page.count("no data yet") > 20
    assert "<img" not in page


def test_the_range_is_the_dashboards_own_unless_asked(asked: LocalCloud) -> None:
    _, _, page = get(asked, "/dashboards/of-a-model?model=late")
    assert '<option value="24" selected>' in page
    _, _, recent = get(asked, "/dashboards/of-a-model?model=late&hours=2")
    assert '<option value="2" selected>' in recent
    assert ">5<" in section(recent, "Requests")


def test_alarms_are_shown_with_their_state_and_their_text(asked: LocalCloud) -> None:
    client = asked.client("cloudwatch")
    (alarm,) = client.describe_alarms(AlarmNames=["refused"])["MetricAlarms"]
    text = "Too many are refused. Owner: somebody. Runbook: docs/operations.md#predictions-fail"
    kept = {key: alarm[key] for key in ("MetricName", "Namespace", "Statistic", "Period", "EvaluationPeriods")}
    limits = {key: alarm[key] for key in ("Threshold", "ComparisonOperator")}
    client.put_metric_alarm(AlarmName="on", AlarmDescription=text, **kept, **limits)
    client.set_alarm_state(AlarmName="on", StateValue="ALARM", StateReason="as asked")
    arn = client.describe_alarms(AlarmNames=["on"])["MetricAlarms"][0]["AlarmArn"]
    widget = {"type": "alarm", "x": 0, "y": 0, "width": 24, "height": 4, "properties": {"alarms": [arn]}}
    client.put_dashboard(DashboardName="alarms", DashboardBody=json.dumps({"widgets": [widget]}))
    _, _, page = get(asked, "/dashboards/alarms")
    client.delete_alarms(AlarmNames=["on"])
    client.delete_dashboards(DashboardNames=["alarms"])
    assert "1 of 1 on" in page
    assert re.search(r'<details class="ALARM" open><summary><b>In alarm</b> on</summary>', page)
    assert text in page


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/dashboards/none", "there is no dashboard none; there are of-a-model, sample"),
        ("/dashboards/of-a-model?model=nobody", "there are of fraud, late"),
        (f"/dashboards/of-a-model?model={quote('<script>')}", "&lt;script&gt;"),
        ("/dashboards/of-a-model/0.svg", "has no picture"),
        ("/dashboards/of-a-model/999.svg", "has no picture"),
        ("/elsewhere", "there is no page /elsewhere"),
    ],
)
def test_what_is_not_there_is_a_404_that_says_what_is(path: str, says: str, asked: LocalCloud) -> None:
    status, _, page = get(asked, path)
    assert status == 404
    assert says in page


def test_nothing_can_be_changed_on_the_page(asked: LocalCloud) -> None:
    assert get(asked, "/", method="POST")[0] == 405


def test_a_cloud_that_nobody_looks_at_starts_without_matplotlib() -> None:
    command = "import infra.local.cloud, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=False).returncode == 0
