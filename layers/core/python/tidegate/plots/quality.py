"""Sections of a page that show how good a version is: curves or residuals, calibration, decisions."""

from collections.abc import Sequence
from typing import Literal

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.evaluation.sections import Confusion, Coverage, Curves, Residuals, Threshold
from tidegate.plots import pictures
from tidegate.plots.blocks import Block, Cell, Facts, Figure, Matrix, Note, Section, Table, not_measured
from tidegate.plots.numbers import interval, number, percent
from tidegate.plots.pictures import Row, Words
from tidegate.spec.part import Task

_CHOSEN = {
    "default": "the default",
    "spec": "fixed in the spec",
    "value": "chosen on validation rows by what decisions are worth",
}
_LISTED_POINTS = 11
_DRAWN_CLASSES = 16
_MATRIX_CLASSES = 20
_LISTED_CONFUSIONS = 20


def performance(evaluation: Evaluation, task: Task) -> Section:
    """ROC and precision-recall curves of a binary model, recall and precision by class, residuals of a regression."""
    key, title, sections = "performance", "Performance", evaluation.sections
    if sections.curves:
        blocks = (_roc(sections.curves, evaluation), _precision(sections.curves, evaluation))
        return Section(key, title, blocks)
    if sections.residuals:
        return Section(key, title, _residuals(sections.residuals), "A residual is the outcome less the prediction.")
    if task is Task.MULTICLASS and sections.confusion:
        found = sections.confusion
        blocks = (_by_class(found, "recall"), _by_class(found, "precision"))
        return Section(key, title, blocks, "Several classes have no single curve, so each class is shown.")
    return not_measured(key, title)


_MEANING = {
    "recall": "Recall: the share of a class's rows that get this class as the answer.",
    "precision": "Precision: the share of the rows with a class as the answer that are of this class.",
}


def _by_class(found: Confusion, share: Literal["recall", "precision"]) -> Figure:
    """One of the two shares for each class, the worst first."""
    counts, shares = found.counts, found.recall if share == "recall" else found.precision
    rows = [sum(line) for line in (counts if share == "recall" else zip(*counts, strict=True))]
    known = [
        (Row(number(label), each), count)
        for label, each, count in zip(found.classes, shares, rows, strict=True)
        if each
    ]
    known.sort(key=lambda each: each[0].found.value)
    lacking = [number(label) for label, each in zip(found.classes, shares, strict=True) if not each]
    worst = known[0][0]
    said = f"Lowest for {worst.name}: {interval(worst.found)}."
    if lacking:
        said += f" No rows: {', '.join(lacking)}."
    drawn = [row for row, _ in known[:_DRAWN_CLASSES]]
    more = f" The lowest {len(drawn)} of {len(known)} are drawn." if len(drawn) < len(known) else ""
    svg = pictures.intervals(drawn, Words(f"{share.capitalize()} by class", said), label=share)
    counted = "rows of the class" if share == "recall" else "answers with the class"
    table = Table(
        ("class", f">{counted}", f">{share}"), [[row.name, number(count), interval(row.found)] for row, count in known]
    )
    return Figure(svg, f"{_MEANING[share]} {said}{more}", table)


def _confusion(found: Confusion) -> Matrix | Table:
    """The whole table, or of very many classes what is confused most often."""
    names, counts = [number(label) for label in found.classes], found.counts
    mistakes = sorted(
        (
            (rows, sum(line), names[true], names[answer])
            for true, line in enumerate(counts)
            for answer, rows in enumerate(line)
            if rows and answer != true
        ),
        key=lambda each: -each[0],
    )
    if len(names) > _MATRIX_CLASSES:
        lines = [
            [true, answer, number(rows), percent(rows / of)] for rows, of, true, answer in mistakes[:_LISTED_CONFUSIONS]
        ]
        head = ("true class", "answer", ">rows", ">share of the true class")
        return Table(head, lines, f"The most common of {len(mistakes):,} confusions among {len(names)} classes.")
    most = "No answer is wrong."
    if mistakes:
        rows, of, true, answer = mistakes[0]
        most = f"The most common error is {answer} for {true}: {rows:,} of {of:,} rows, {percent(rows / of)}."
    caption = f"Held-out rows by true class (down) and answer (across), with the share of the line. {most}"
    matrix = [
        (
            name,
            [
                Cell(
                    number(rows),
                    f"{100 * rows / sum(line):.0f} %" if rows else "",
                    rows / max(1, sum(line)),
                    true == answer,
                )
                for answer, rows in enumerate(line)
            ],
        )
        for true, (name, line) in enumerate(zip(names, counts, strict=True))
    ]
    return Matrix("true / answer", names, matrix, caption)


def _roc(curves: Curves, evaluation: Evaluation) -> Figure:
    points, area = curves.roc, evaluation.metrics.get("roc_auc")
    said = f"Area under the curve: {interval(area)}." if area else "Area under the curve: not measured."
    svg = pictures.curve(
        points,
        Words("ROC curve", f"True positive rate against false positive rate. {said}"),
        across="false positive rate",
        up="true positive rate",
        chance=[(0, 0), (1, 1)],
    )
    return Figure(svg, f"Receiver operating characteristic. {said}", _thinned(points, "false positive rate", "true"))


def _precision(curves: Curves, evaluation: Evaluation) -> Figure:
    points, area = curves.pr, evaluation.metrics.get("average_precision")
    said = f"Average precision: {interval(area)}." if area else "Average precision: not measured."
    base = points[-1][1]  # all rows called positive
    svg = pictures.curve(
        points,
        Words("Precision and recall", f"Precision against recall. {said} Positives are {percent(base)} of the rows."),
        across="recall",
        up="precision",
        chance=[(0, base), (1, base)],
    )
    caption = f"Precision and recall. {said} Without skill precision is the share of positives, {percent(base)}."
    return Figure(svg, caption, _thinned(points, "recall", "precision"))


def _thinned(points: Sequence[Sequence[float]], across: str, up: str) -> Table:
    """So many points that a person reads them."""
    last = len(points) - 1
    places = dict.fromkeys(round(last * each / (_LISTED_POINTS - 1)) for each in range(_LISTED_POINTS))
    rows = [[f"{points[place][0]:.3f}", f"{points[place][1]:.3f}"] for place in places]
    return Table((f">{across}", f">{up}" if up == "precision" else f">{up} positive rate"), rows)


def _residuals(found: Residuals) -> list[Block]:
    histogram, groups = found.histogram, found.by_prediction
    edges, counts = histogram.edges, histogram.counts
    beyond = f"Rows below the range shown: {histogram.below:,}; above: {histogram.above:,}."
    bars = [
        [f"{number(low)} to {number(high)}", number(rows)]
        for low, high, rows in zip(edges, edges[1:], counts, strict=False)
    ]
    said = f"Residuals from {number(edges[0])} to {number(edges[-1])}, most rows in one bar: {max(counts):,}. {beyond}"
    middles = [(group.low + group.high) / 2 for group in groups]
    spread = [Estimate(group.p50, group.p05, group.p95) for group in groups]
    last = groups[-1]
    said = (
        f"Half of the residuals lie above the line, nine in ten in the band; for the largest predictions it goes from "
        f"{number(last.p05)} to {number(last.p95)}."
    )
    rows = [
        [f"{number(group.low)} to {number(group.high)}", *(number(getattr(group, part)) for part in _PARTS)]
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
                middles, spread, Words("Residuals by prediction", said), label="prediction", up="residual", line=0
            ),
            f"Residuals by size of the prediction. {said}",
            Table(("prediction", ">rows", ">mean", ">5 %", ">median", ">95 %"), rows),
        ),
    ]
    return blocks


_PARTS = ("rows", "mean", "p05", "p50", "p95")


def calibration(evaluation: Evaluation, task: Task) -> Section:
    """Whether probabilities are what they say."""
    key, title, sections = "calibration", "Calibration", evaluation.sections
    found = sections.calibration
    if task is Task.REGRESSION:
        return Section(key, title, (Note(_coverage(sections.residuals.interval if sections.residuals else None)),))
    if not found:
        return not_measured(key, title)
    points = [(each.mean_score, each.rate) for each in found.bins]
    furthest = max(points, key=lambda each: abs(each[0] - each[1].value))
    said = (
        f"{len(points)} groups of rows by score. The largest gap: {percent(furthest[0])} was predicted and "
        f"{percent(furthest[1].value)} came true."
    )
    rows = [
        [f"{each.low:.3f} to {each.high:.3f}", number(each.rows), f"{at:.3f}", interval(rate)]
        for each, (at, rate) in zip(found.bins, points, strict=True)
    ]
    svg = pictures.reliability(points, Words("Calibration", said))
    facts = Facts(
        [
            ("Expected calibration error", interval(found.ece)),
            ("Brier score", interval(found.brier)),
        ]
    )
    table = Table(("score", ">rows", ">mean score", ">came true"), rows)
    lead = "Of the rows that are given 30 %, do 30 % come true?"
    return Section(key, title, (Figure(svg, said, table), facts), lead)


def _coverage(given: Coverage | None) -> str:
    """Of a regression: whether its intervals hold what they promise."""
    said = "A regression has no probabilities to calibrate"
    if not given:
        return f"{said}, and its spec declares no interval."
    share, level = interval(given.coverage), percent(given.level)
    return f"{said}. Intervals of {level} contain {share} of the outcomes; they are {number(given.width)} wide."


def decisions(evaluation: Evaluation, task: Task) -> Section:
    """What is answered where: the threshold of a binary model and its worth, and what is confused with what."""
    key, title = "decisions", "Decisions"
    found, confused = evaluation.sections.threshold, evaluation.sections.confusion
    if task is Task.REGRESSION:
        return Section(key, title, (Note("A regression answers with a number and makes no decision."),))
    if not found and not confused:
        return not_measured(key, title)
    blocks: list[Block] = _worth(found) if found else [Note("The answer is the class with the highest probability.")]
    if confused:
        blocks.append(_confusion(confused))
        if task is Task.BINARY:
            blocks.append(_shares(confused))
    return Section(key, title, blocks)


def _shares(found: Confusion) -> Table:
    """Recall and precision of both classes."""
    rows = [
        [number(label), *(interval(each) if each else "–" for each in shares)]
        for label, *shares in zip(found.classes, found.recall, found.precision, strict=True)
    ]
    caption = " ".join(_MEANING.values())
    return Table(("class", ">recall", ">precision"), rows, caption)


def _worth(found: Threshold) -> list[Block]:
    value, chosen = found.value, _CHOSEN[found.chosen_by]
    facts = [("Threshold", f"{number(value)}, {chosen}")]
    worth = found.worth
    if worth is None:
        return [Facts(facts), Note("The spec does not declare what decisions are worth (value).")]
    unit = f"{worth.currency} for 1,000 decisions"
    facts.append(("Worth", f"{interval(worth.value_per_1000)} {unit}"))
    facts.append(("Worth at 0.5", f"{interval(worth.at_default)} {unit}"))
    points = worth.curve
    best = max(points, key=lambda each: each[1])
    said = f"Worth of 1,000 decisions by threshold; on these rows the highest is {number(best[1])}, at {best[0]:.2f}."
    svg = pictures.worth(points, value, Words("Worth by threshold", said), up=f"{worth.currency} for 1,000")
    rows = [[f"{at:.2f}", number(amount)] for at, amount in points[::10]]
    return [Figure(svg, said, Table((">threshold", f">{unit}"), rows)), Facts(facts)]
