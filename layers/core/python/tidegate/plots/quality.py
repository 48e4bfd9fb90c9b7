"""Sections of a page that tell how good a version is: curves or residuals, calibration, the threshold."""

from tidegate.domain.evaluation import Estimate
from tidegate.plots import pictures
from tidegate.plots.blocks import Block, Facts, Figure, Note, Section, Table, not_measured
from tidegate.plots.numbers import Document, interval, number, percent, read
from tidegate.plots.pictures import Words
from tidegate.spec import Task

_CHOSEN = {
    "default": "the default",
    "spec": "fixed in the spec",
    "value": "chosen on validation rows by what decisions are worth",
}
_LISTED_POINTS = 11


def performance(evaluation: Document, task: Task) -> Section:
    """ROC and precision-recall curves of a binary model, residuals of a regression."""
    key, title, sections = "performance", "Performance", evaluation["sections"]
    if sections.get("curves"):
        return Section(key, title, (_roc(evaluation), _precision(evaluation)))
    if sections.get("residuals"):
        return Section(key, title, _residuals(sections["residuals"]), "A residual is the outcome less the prediction.")
    if task is Task.MULTICLASS:
        return Section(key, title, (Note("Several classes have no single curve; see the metrics of the verdict."),))
    return not_measured(key, title)


def _roc(evaluation: Document) -> Figure:
    points, area = evaluation["sections"]["curves"]["roc"], evaluation["metrics"].get("roc_auc")
    told = f"Area under the curve: {interval(read(area))}." if area else "Area under the curve: not measured."
    svg = pictures.curve(
        points,
        Words("ROC curve", f"True positive rate against false positive rate. {told}"),
        across="false positive rate",
        up="true positive rate",
        chance=[(0, 0), (1, 1)],
    )
    return Figure(svg, f"Receiver operating characteristic. {told}", _thinned(points, "false positive rate", "true"))


def _precision(evaluation: Document) -> Figure:
    points, area = evaluation["sections"]["curves"]["pr"], evaluation["metrics"].get("average_precision")
    told = f"Average precision: {interval(read(area))}." if area else "Average precision: not measured."
    base = points[-1][1]  # all rows called positive
    svg = pictures.curve(
        points,
        Words("Precision and recall", f"Precision against recall. {told} Positives are {percent(base)} of the rows."),
        across="recall",
        up="precision",
        chance=[(0, base), (1, base)],
    )
    caption = f"Precision and recall. {told} Without skill precision is the share of positives, {percent(base)}."
    return Figure(svg, caption, _thinned(points, "recall", "precision"))


def _thinned(points: list[list[float]], across: str, up: str) -> Table:
    """So many points that a person reads them."""
    last = len(points) - 1
    places = dict.fromkeys(round(last * each / (_LISTED_POINTS - 1)) for each in range(_LISTED_POINTS))
    rows = [[f"{points[place][0]:.3f}", f"{points[place][1]:.3f}"] for place in places]
    return Table((f">{across}", f">{up}" if up == "precision" else f">{up} positive rate"), rows)


def _residuals(found: Document) -> list[Block]:
    histogram, groups = found["histogram"], found["by_prediction"]
    edges, counts = histogram["edges"], histogram["counts"]
    beyond = f"Rows below what is shown: {histogram.get('below', 0):,}; above: {histogram.get('above', 0):,}."
    bars = [
        [f"{number(low)} to {number(high)}", number(rows)]
        for low, high, rows in zip(edges, edges[1:], counts, strict=False)
    ]
    said = f"Residuals from {number(edges[0])} to {number(edges[-1])}, most rows in one bar: {max(counts):,}. {beyond}"
    middles = [(group["low"] + group["high"]) / 2 for group in groups]
    spread = [Estimate(group["p50"], group["p05"], group["p95"]) for group in groups]
    last = groups[-1]
    told = (
        f"Half of the residuals lie above the line, nine in ten in the band; for the largest predictions it goes from "
        f"{number(last['p05'])} to {number(last['p95'])}."
    )
    rows = [
        [f"{number(group['low'])} to {number(group['high'])}", *(number(group[part]) for part in _PARTS)]
        for group in groups
    ]
    blocks: list[Block] = [
        Figure(
            pictures.histogram(edges, counts, Words("Residuals", said), across="residual"),
            f"Residuals of the holdout. {beyond}",
            Table(("residual", ">rows"), bars),
        ),
        Figure(
            pictures.band(
                middles, spread, Words("Residuals by prediction", told), label="prediction", up="residual", line=0
            ),
            f"Residuals by size of the prediction. {told}",
            Table(("prediction", ">rows", ">mean", ">5 %", ">median", ">95 %"), rows),
        ),
    ]
    given = found.get("interval")
    if given:
        share, level = interval(read(given["coverage"])), percent(given["level"])
        text = f"Intervals of {level} hold {share} of the outcomes; they are {number(given['width'])} wide."
        blocks.append(Note(text))
    return blocks


_PARTS = ("rows", "mean", "p05", "p50", "p95")


def calibration(evaluation: Document, task: Task) -> Section:
    """Whether probabilities are what they say."""
    key, title, found = "calibration", "Calibration", evaluation["sections"].get("calibration")
    if task is Task.REGRESSION:
        return Section(key, title, (Note("A regression gives no probabilities that could be calibrated."),))
    if not found:
        return not_measured(key, title)
    points = [
        (each["mean_score"], Estimate(each["rate"], each["rate_low"], each["rate_high"])) for each in found["bins"]
    ]
    furthest = max(points, key=lambda each: abs(each[0] - each[1].value))
    said = (
        f"{len(points)} groups of rows by score. The two are furthest apart where {percent(furthest[0])} was said and "
        f"{percent(furthest[1].value)} came true."
    )
    rows = [
        [f"{each['low']:.3f} to {each['high']:.3f}", number(each["rows"]), f"{at:.3f}", interval(rate)]
        for each, (at, rate) in zip(found["bins"], points, strict=True)
    ]
    svg = pictures.reliability(points, Words("Calibration", said))
    facts = Facts(
        [
            ("Expected calibration error", interval(read(found["ece"]))),
            ("Brier score", interval(read(found["brier"]))),
        ]
    )
    table = Table(("score", ">rows", ">mean score", ">came true"), rows)
    lead = "Of the rows that are given 30 %, do 30 % come true?"
    return Section(key, title, (Figure(svg, said, table), facts), lead)


def threshold(evaluation: Document, task: Task) -> Section:
    """From which score the model says yes, and what that is worth."""
    key, title, found = "threshold", "Decisions", evaluation["sections"].get("threshold")
    if task is not Task.BINARY:
        return Section(key, title, (Note("Only a binary model has a threshold from which it says yes."),))
    if not found:
        return not_measured(key, title)
    value, chosen = found["value"], _CHOSEN.get(found["chosen_by"], found["chosen_by"])
    facts = [("Threshold", f"{value:.4g}, {chosen}")]
    if "value_per_1000" not in found:
        return Section(key, title, (Facts(facts), Note("What decisions are worth is not declared (value).")))
    unit = f"{found['currency']} for 1,000 decisions"
    facts.append(("Worth", f"{interval(read(found['value_per_1000']))} {unit}"))
    facts.append(("Worth at 0.5", f"{interval(read(found['at_default']))} {unit}"))
    points = found["curve"]
    best = max(points, key=lambda each: each[1])
    said = f"Worth of 1,000 decisions by threshold; on these rows the most, {number(best[1])}, at {best[0]:.2f}."
    svg = pictures.worth(points, value, Words("Worth by threshold", said), up=f"{found['currency']} for 1,000")
    rows = [[f"{at:.2f}", number(amount)] for at, amount in points[::10]]
    return Section(key, title, (Figure(svg, said, Table((">threshold", f">{unit}"), rows)), Facts(facts)))
