"""The account's CloudWatch dashboards as a web page, drawn from their bodies and from what was recorded."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from infra.local.calls import HttpAnswer
from infra.local.dashboard_pictures import MAX_DRAWN, Picture, svg
from infra.local.dashboard_series import Series, Span, choices, chosen, of_widget
from infra.local.http_server import HttpServer
from infra.local.http_wire import Request
from infra.local.metrics import Metrics
from infra.local.moto_server import MotoServer

log = logging.getLogger(__name__)

HOURS = (3, 24, 72, 168)
_COLUMN_PX, _ROW_PX = 58, 46  # of CloudWatch's grid
_NARROW_PX = 380
_PATH = re.compile(r"/dashboards/(?P<name>[^/]+)(?:/(?P<widget>\d{1,3})\.svg)?")
_START = re.compile(r"-P(?:(?P<days>\d+)D)?(?:T(?P<hours>\d+)H)?")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
}


class _NotFoundError(Exception):
    """What was asked for is not there; the message says what is."""


@dataclass(frozen=True, slots=True)
class _View:
    """One dashboard as it was asked for, its variable replaced."""

    name: str
    body: Mapping[str, Any]
    models: Sequence[str]
    model: str
    hours: int
    span: Span

    def query(self, **more: str) -> str:
        given = {"hours": str(self.hours), **({"model": self.model} if self.model else {}), **more}
        return urlencode(given)


class Dashboards:
    """Serves the pages on a loopback port until it is closed.

    /                        the dashboards and how many alarms are on
    /dashboards/NAME         one of them; ?model= is the value of its variable, ?hours= how far it looks back
    /dashboards/NAME/N.svg   the picture of its Nth widget; with ?narrow=1 for small screens
    """

    def __init__(self, moto: MotoServer, metrics: Metrics, now: Callable[[], float], port: int = 0) -> None:
        self._moto = moto
        self._metrics = metrics
        self._now = now
        self._server = HttpServer(self._answer, "local-cloud-dashboards", port)
        self.port = self._server.port
        self.url = self._server.url

    def close(self) -> None:
        """Stops answering."""
        self._server.close()

    def _answer(self, request: Request) -> HttpAnswer:
        try:
            if request.method not in ("GET", "HEAD"):
                return _html(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET", "<p>There is nothing to change here.</p>")
            return self._answered(request.path, {key: values[0] for key, values in parse_qs(request.query).items()})
        except _NotFoundError as error:
            back = '<p><a href="/">All dashboards</a></p>'
            return _html(HTTPStatus.NOT_FOUND, "Not found", f"<p>{escape(str(error))}</p>{back}")
        except Exception:
            log.exception("the dashboards failed on %s", request.target)
            words = "<p>The page failed; the log of the local cloud says why.</p>"
            return _html(HTTPStatus.INTERNAL_SERVER_ERROR, "Failed", words)

    def _answered(self, path: str, query: Mapping[str, str]) -> HttpAnswer:
        if path == "/":
            return _html(HTTPStatus.OK, "Dashboards", self._overview())
        asked = _PATH.fullmatch(path)
        if asked is None:
            raise _NotFoundError(f"there is no page {path}; dashboards are at /dashboards/NAME")
        view = self._view(unquote(asked["name"]), query)
        if asked["widget"] is None:
            return _html(HTTPStatus.OK, view.name, self._page(view))
        return self._picture(view, int(asked["widget"]), narrow="narrow" in query)

    def _view(self, name: str, query: Mapping[str, str]) -> _View:
        bodies = self._moto.dashboards()
        if name not in bodies:
            raise _NotFoundError(f"there is no dashboard {name}; there are {', '.join(bodies) or 'none'}")
        body = json.loads(bodies[name])
        variables = body.get("variables", [])
        models, model = [], ""
        if variables:
            models = choices(variables[0], self._metrics)
            model = query.get("model", models[0] if models else "")
            if model and model not in models:
                raise _NotFoundError(
                    f"there are no metrics of {model!r} yet; there are of {', '.join(models) or 'none'}"
                )
            body = chosen(body, variables[0], model or "no model yet")
        asked = query.get("hours", "")
        end = 60.0 * math.ceil(self._now() / 60)
        known = self._metrics.known({"model": model} if model else {})
        own = _with_data(_hours(body.get("start", "")), known, end)
        hours = int(asked) if re.fullmatch(r"[1-9]\d{0,2}", asked) else own
        return _View(name, body, models, model, hours, Span(end - 3600 * hours, end))

    # --- pages --------------------------------------------------------------------------------------------------------

    def _overview(self) -> str:
        states = [alarm.state_value for alarm in self._moto.alarms()]
        shown = "".join(
            f'<li><a href="/dashboards/{quote(name)}">{escape(name)}</a></li>' for name in self._moto.dashboards()
        )
        return (
            f"<p>{states.count('ALARM')} of {len(states)} alarms are on.</p>"
            f'<ul class="names">{shown or "<li>no dashboards</li>"}</ul>'
        )

    def _page(self, view: _View) -> str:
        widgets = "".join(
            f'<section class="{escape(widget["type"])}" style="grid-area:{widget["y"] + 1}/{widget["x"] + 1}/'
            f'span {widget["height"]}/span {widget["width"]}">{self._widget(view, number, widget)}</section>'
            for number, widget in enumerate(view.body["widgets"])
        )
        return f'{_form(view)}<div class="grid">{widgets}</div>'

    def _widget(self, view: _View, number: int, widget: Mapping[str, Any]) -> str:
        properties = widget["properties"]
        match widget["type"]:
            case "text":
                return _markdown(properties["markdown"])
            case "alarm":
                return self._alarms(properties)
            case "metric":
                return self._metric(view, number, properties)
        return f"<p>A widget of type {escape(widget['type'])} is not drawn locally.</p>"

    def _alarms(self, properties: Mapping[str, Any]) -> str:
        wanted = set(properties["alarms"])
        found = [alarm for alarm in self._moto.alarms() if alarm.alarm_arn in wanted]
        rank = {"ALARM": 0, "INSUFFICIENT_DATA": 1, "OK": 2}
        items = "".join(
            f'<details class="{alarm.state_value}"{" open" if alarm.state_value == "ALARM" else ""}>'
            f"<summary><b>{_STATES[alarm.state_value]}</b> {escape(alarm.name)}</summary>"
            f"<p>{_inline(alarm.description or '')}</p></details>"
            for alarm in sorted(found, key=lambda alarm: (rank[alarm.state_value], alarm.name))
        )
        on = sum(alarm.state_value == "ALARM" for alarm in found)
        title = f"{properties.get('title', 'Alarms')}: {on} of {len(found)} on"
        return f'<h3>{escape(title)}</h3><div class="alarms">{items}</div>'

    def _metric(self, view: _View, number: int, properties: Mapping[str, Any]) -> str:
        name = escape(properties.get("title", ""))
        title = f"<h3>{name}</h3>"
        try:
            series = of_widget(properties, self._metrics, _span(view, properties))
        except ValueError as error:
            return f'{title}<p class="empty">{escape(str(error))}</p>'
        shown = [each for each in series if each.points]
        if not shown:
            return f'{title}<p class="empty">no data yet</p>'
        if properties.get("view") == "singleValue":
            return title + "".join(f'<p class="number">{_number(each.points[-1][1])}</p>' for each in shown)
        source = f"/dashboards/{quote(view.name)}/{number}.svg?"
        left_out = f"<p>The {MAX_DRAWN} highest of {len(shown)} are drawn.</p>" if len(shown) > MAX_DRAWN else ""
        latest = "; ".join(f"{each.label} {_number(each.points[-1][1])}" for each in shown[:MAX_DRAWN])
        return (
            f"{title}<picture>"
            f'<source media="(max-width: 700px)" srcset="{escape(source + view.query(narrow="1"))}">'
            f'<img loading="lazy" src="{escape(source + view.query())}" '
            f'alt="{name}, latest: {escape(latest)}"></picture>{left_out}{_table(series)}'
        )

    def _picture(self, view: _View, number: int, *, narrow: bool) -> HttpAnswer:
        widgets = view.body["widgets"]
        if number >= len(widgets) or widgets[number]["type"] != "metric":
            raise _NotFoundError(f"widget {number} of {view.name} has no picture")
        widget = widgets[number]
        properties = widget["properties"]
        span = _span(view, properties)
        shown = tuple(each for each in of_widget(properties, self._metrics, span) if each.points)
        if not shown:
            raise _NotFoundError(f"widget {number} of {view.name} has no data yet")
        axis = properties.get("yAxis", {}).get("left", {})
        picture = Picture(
            series=shown,
            unit=axis.get("label", ""),
            stacked=properties.get("stacked", False),
            floor=axis.get("min"),
            start=span.start,
            end=span.end,
            width=_NARROW_PX if narrow else _COLUMN_PX * widget["width"],
            height=_ROW_PX * widget["height"] - 30,
        )
        return HttpAnswer(HTTPStatus.OK, {**_HEADERS, "Content-Type": "image/svg+xml"}, svg(picture))


def _span(view: _View, properties: Mapping[str, Any]) -> Span:
    return Span(view.span.start, view.span.end, whole=bool(properties.get("setPeriodToTimeRange")))


def _hours(start: str) -> int:
    """Of a dashboard's `start`, such as -PT24H; three where it says nothing, as in CloudWatch."""
    read = _START.fullmatch(start)
    return 24 * int(read["days"] or 0) + int(read["hours"] or 0) if read else HOURS[0]


def _with_data(own: int, known: tuple[float, float] | None, end: float) -> int:
    """So many hours to `end` that there is something to see: a dashboard's own, fewer where all there is is younger,
    and more where all there is is older."""
    if known is None:
        return own
    first, last = ((end - instant) / 3600 for instant in known)
    if last >= own:
        return next((each for each in HOURS if each > last), math.ceil(last) + 1)
    return next((each for each in (*HOURS, own) if each >= first and each <= own), own)


def _form(view: _View) -> str:
    hours = sorted({*HOURS, view.hours})
    fields = _select("hours", "Last", [(str(each), f"{each} hours") for each in hours], str(view.hours))
    if view.body.get("variables"):
        label = view.body["variables"][0].get("label", "")
        fields = _select("model", label, [(each, each) for each in view.models], view.model) + fields
    until = datetime.fromtimestamp(view.span.end, UTC)
    return (
        f'<form><a href="/">All dashboards</a>{fields}<button>Show</button>'
        f"<span>until {until:%Y-%m-%d %H:%M} UTC, by the local cloud's clock</span></form>"
    )


def _select(name: str, label: str, options: Sequence[tuple[str, str]], value: str) -> str:
    listed = "".join(
        f'<option value="{escape(each)}"{" selected" if each == value else ""}>{escape(words)}</option>'
        for each, words in options
    )
    return f'<label>{escape(label)} <select name="{name}">{listed}</select></label>'


def _table(series: Sequence[Series]) -> str:
    """The same in numbers, for those who do not see the picture or want to know exactly."""
    rows = "".join(f"<tr><th>{escape(each.label)}</th>{''.join(_cells(each))}</tr>" for each in series)
    heads = "".join(f"<th>{head}</th>" for head in ("", "latest", "at (UTC)", "lowest", "highest", "points"))
    return f"<details><summary>numbers</summary><table><tr>{heads}</tr>{rows}</table></details>"


def _cells(series: Series) -> Iterator[str]:
    if not series.points:
        yield '<td colspan="5">no data yet</td>'
        return
    values = [value for _, value in series.points]
    at = datetime.fromtimestamp(series.points[-1][0], UTC)
    for words in (
        _number(values[-1]),
        f"{at:%m-%d %H:%M}",
        _number(min(values)),
        _number(max(values)),
        str(len(values)),
    ):
        yield f"<td>{words}</td>"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _markdown(text: str) -> str:
    """Headings and paragraphs, which is what the dashboards' texts are made of."""
    lines = []
    for line in text.splitlines():
        marks, _, words = line.partition(" ") if line.startswith("#") else ("", "", line)
        tag = f"h{len(marks)}" if marks else "p"
        lines.append(f"<{tag}>{_inline(words)}</{tag}>")
    return "".join(lines)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _html(status: HTTPStatus, title: str, content: str) -> HttpAnswer:
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )
    return HttpAnswer(status, {**_HEADERS, "Content-Type": "text/html; charset=utf-8"}, page.encode())


_STATES = {"ALARM": "In alarm", "OK": "OK", "INSUFFICIENT_DATA": "No data"}
_STYLE = """
:root { color-scheme: light; font: 15px/1.4 system-ui, sans-serif; color: #16191f; background: #f2f3f3; }
body { margin: 0; }
main { max-width: 1480px; margin: 0 auto; padding: 12px 16px 40px; }
h1 { font-size: 1.5rem; margin: .3rem 0 .6rem; }
h2 { font-size: 1.15rem; margin: 0; }
h3 { font-size: .92rem; margin: 0 0 4px; }
p { margin: .2rem 0; }
code { font-size: .92em; background: #eef1f3; padding: 0 .25em; border-radius: 3px; }
form { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin-bottom: 12px; }
form span { color: #545b64; font-size: .87rem; }
select, button { font: inherit; padding: 2px 8px; }
.grid { display: grid; grid-template-columns: repeat(24, minmax(0, 1fr)); gap: 8px; }
section { background: #fff; border: 1px solid #d5dbdb; border-radius: 6px; padding: 8px 10px; min-width: 0; }
section.text { background: none; border: none; padding: 6px 0 0; }
section.text h1 { margin: 0; font-size: 1.3rem; }
img { width: 100%; height: auto; display: block; }
.number { font-size: 1.7rem; font-weight: 600; margin: 0; }
.empty { color: #687078; margin: 1.2rem 0; text-align: center; }
details summary { cursor: pointer; font-size: .82rem; color: #545b64; }
table { border-collapse: collapse; font-size: .8rem; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: right; padding: 1px 8px 1px 0; font-weight: normal; white-space: nowrap; }
tr > th:first-child { text-align: left; }
.alarms { display: grid; grid-template-columns: repeat(auto-fill, minmax(270px, 1fr)); gap: 4px 10px; }
.alarms details { border-left: 4px solid #1d8102; padding: 1px 8px; align-self: start; overflow-wrap: anywhere; }
.alarms summary { color: #16191f; font-size: .85rem; }
.alarms p { font-size: .85rem; }
.alarms .ALARM { border-color: #d13212; background: #fdf3f1; grid-column: 1 / -1; }
.alarms .ALARM b { color: #b1250b; }
.alarms .INSUFFICIENT_DATA { border-color: #879596; }
@media (max-width: 700px) {
  .grid { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  section { grid-area: auto / span 2 !important; }
  section:has(.number) { grid-area: auto / span 1 !important; }
}
"""
