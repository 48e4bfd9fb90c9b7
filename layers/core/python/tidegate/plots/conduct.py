"""Sections of a page that show how a version behaves: on slices, between groups, with faulty inputs, and by what."""

from collections.abc import Collection, Sequence

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.evaluation.sections import (
    Dependence,
    Fairness,
    FoundSlice,
    GroupDifference,
    Guard,
    Importance,
    Noise,
    Rates,
    Slice,
)
from tidegate.kernel import english
from tidegate.plots import pictures
from tidegate.plots.blocks import Block, Figure, Note, Section, Table, not_measured
from tidegate.plots.numbers import interval, number, percent, words
from tidegate.plots.pictures import Row, Words

_DRAWN = 16  # rows of a picture; its table has them all
_RATES = ("positive_rate", "true_positive_rate", "false_positive_rate")
_DIFFERENCES = ("demographic_parity", "equal_opportunity", "equalized_odds")


def slices(evaluation: Evaluation) -> Section:
    """Declared slices next to the champion, and slices that were found."""
    key, title, sections = "slices", "Slices", evaluation.sections
    declared: Sequence[Slice] = sections.slices or ()
    found: Sequence[FoundSlice] = sections.found or ()
    if not declared and not found:
        return not_measured(key, title, "no slices are declared (gate.slices), and none was found by search")
    blocks: list[Block] = []
    judged = [(each, each.metric) for each in declared if each.metric]
    judged.sort(key=lambda each: each[1].value, reverse=not evaluation.higher_is_better)
    if judged:
        blocks.append(_judged(evaluation, judged))
    lacking = [f"{_place(each)} ({each.lacking or 'too few rows'})" for each in declared if not each.metric]
    if lacking:
        blocks.append(Note(f"Too little data to judge: {', '.join(lacking)}."))
    if not declared:
        blocks.append(Note("No slices are declared (gate.slices)."))
    if found:
        rows = [
            [
                each.words,
                number(each.rows),
                interval(each.metric) if each.metric else "–",
                interval(each.loss_over_rest),
                "confirmed" if each.confirmed else "not confirmed" + _because(each),
            ]
            for each in found
        ]
        head = ("found by search", ">rows", f">{evaluation.metric}", ">loss above the rest", "on other rows")
        caption = "Where the model errs most: found on one half of the holdout, measured on the other."
        blocks.append(Table(head, rows, caption))
    return Section(key, title, blocks, "One number for all rows can hide errors in some of them.")


def _because(found: FoundSlice) -> str:
    return f": {found.lacking}" if found.lacking else ""


def _judged(evaluation: Evaluation, judged: Sequence[tuple[Slice, Estimate]]) -> Figure:
    metric, whole = evaluation.metric, evaluation.candidate.value
    worst, value = judged[0]
    drawn = judged[:_DRAWN]
    said = f"{metric} is worst on {_place(worst)}: {interval(value)}; on all rows it is {number(whole)}."
    svg = pictures.intervals(
        [Row(_place(each), found) for each, found in drawn],
        Words("Slices", said),
        label=metric,
        line=whole,
    )
    more = f" The {len(drawn)} worst of {len(judged)} are drawn." if len(drawn) < len(judged) else ""
    rows = [
        [
            _place(each),
            number(each.rows),
            interval(found),
            interval(each.gain_over_champion) if each.gain_over_champion else "–",
        ]
        for each, found in judged
    ]
    head = ("slice", ">rows", f">{metric}", ">gain over champion")
    return Figure(svg, f"{said} The dashed line is the value on all rows.{more}", Table(head, rows))


def _place(part: Slice) -> str:
    return f"{part.column} {part.value}"


def fairness(evaluation: Evaluation, booleans: Collection[str]) -> Section:
    """Groups of each sensitive column, the differences between them, and decisions that turn with the column alone.
    `booleans` are the features that are true or false."""
    key, title, sections = "fairness", "Fairness", evaluation.sections
    columns = sections.fairness or {}
    flips = sections.flips
    if not columns and not flips:
        return not_measured(key, title, "no sensitive columns are declared (sensitive)")
    blocks: list[Block] = []
    for column, found in columns.items():
        blocks += _groups(column, found, evaluation.metric)
    if flips:
        rows = [
            [
                each.column,
                interval(each.changed) if each.changed else "–",
                number(each.rows),
                each.problem
                or ", ".join(_value(value, boolean=each.column in booleans) for value in each.values or ()),
            ]
            for each in flips
        ]
        caption = "Share of rows whose decision changes when only the column's value changes."
        blocks.append(Table(("column", ">decisions changed", ">rows", "values tried"), rows, caption))
    return Section(key, title, blocks)


def _groups(column: str, found: Fairness, metric: str) -> list[Block]:
    rated = [(group, group.rates) for group in found.groups if group.rates]
    if not rated:
        plain = (column, ">rows", ">mean prediction", f">{metric}")
        rows = [
            [group.group, number(group.rows), number(group.mean_prediction), number(group.metric)]
            for group in found.groups
        ]
        return [Table(plain, rows, f"Groups of {column}")]
    head = (column, ">rows", *(f">{words(rate)}" for rate in _RATES), ">accuracy", f">{metric}")
    table = Table(
        head,
        [
            [
                group.group,
                number(group.rows),
                *(percent(rate) for rate in _shares(rates)),
                number(rates.accuracy),
                number(group.metric),
            ]
            for group, rates in rated
        ],
    )
    drawn = sorted(rated, key=lambda each: -each[0].rows)[:_DRAWN]
    differences = {measure: found.difference(measure) for measure in _DIFFERENCES}
    shown = "; ".join(_difference(measure, each) for measure, each in differences.items() if each)
    lacking = ", ".join(words(measure) for measure, each in differences.items() if not each)
    said = (
        f"Differences between groups of {column}: {shown}."
        if shown
        else f"Groups of {column}; fewer than two have enough rows to be compared."
    )
    if shown and lacking:
        said += f" Not compared, since fewer than two groups have enough rows for it: {lacking}."
    series = zip(_RATES, zip(*(_shares(rates) for _, rates in drawn), strict=True), strict=True)
    svg = pictures.rates(
        [group.group for group, _ in drawn],
        [(words(rate), list(values)) for rate, values in series],
        Words(f"Fairness by {column}", said),
    )
    return [Figure(svg, said, table)]


def _shares(rates: Rates) -> tuple[float | None, ...]:
    """In the order of `_RATES`."""
    return rates.positive_rate, rates.true_positive_rate, rates.false_positive_rate


def _difference(measure: str, found: GroupDifference) -> str:
    return f"{words(measure)} {interval(found.estimate)} ({found.highest} above {found.lowest})"


def _value(value: object, *, boolean: bool) -> str:
    """Of a feature; a truth value is a number to the model."""
    return number(bool(value) if boolean else value)


def robustness(evaluation: Evaluation, booleans: Collection[str]) -> Section:
    """What is lost when inputs are missing, inexact or extreme."""
    key, title, found = "robustness", "Robustness", evaluation.sections.robustness
    if not found:
        return not_measured(key, title)
    metric = evaluation.metric
    blocks: list[Block] = []
    missing = found.missing
    hurt = [(each.feature, each.loss) for each in missing if each.loss]
    if hurt:
        blocks.append(_missing(metric, hurt))
    if found.noise:
        blocks.append(_noise(metric, found.noise))
    silent = [each.feature for each in missing if each.unscored]
    if silent:
        blocks.append(Note(f"Without {', '.join(silent)} the model gives no score, although a request may omit it."))
    refused = [each.feature for each in missing if not each.allowed]
    if refused:
        blocks.append(Note(f"Requests without these are rejected: {', '.join(refused)}."))
    guard = evaluation.sections.guard
    if guard:
        blocks.append(Note(_guarded(metric, guard)))
    if found.worst_case:
        rows = [
            [
                each.feature,
                " to ".join(_value(end, boolean=each.feature in booleans) for end in (each.lowest, each.highest)),
                number(each.mean_change),
                number(each.largest_change),
            ]
            for each in found.worst_case
        ]
        caption = "How far one feature alone can move a score over its allowed values."
        blocks.append(Table(("feature", "values", ">mean change", ">largest change"), rows, caption))
    return Section(key, title, blocks)


def _guarded(metric: str, guard: Guard) -> str:
    by = "the model answers them" if guard.answer == "model" else "the fallback answers them"
    said = (
        f"The input guard marks {guard.unusual_rows:,} of {guard.holdout_rows:,} held-out rows as unusual "
        f"(share {interval(guard.unusual)}; {guard.share:g} of rows like those of training); {by}."
    )
    if guard.features:
        named = ", ".join(f"{each.feature} ({percent(each.share)})" for each in guard.features[:3])
        said += f" The features that stand out most often: {named}."
    metrics = (
        (guard.metric.unusual, "on them"),
        (guard.metric.unusual_by_fallback, "on them by the fallback"),
        (guard.metric.usual, "on the others"),
    )
    shown = [f"{interval(found)} {where}" for found, where in metrics if found]
    return f"{said} {metric}: {', '.join(shown)}." if shown else said


def _missing(metric: str, hurt: Sequence[tuple[str, Estimate]]) -> Figure:
    worst, loss = hurt[0]
    of = f"the most of {len(hurt)}" if len(hurt) > 1 else "the only one that may be missing"
    said = f"Without {worst} {metric} is worse by {interval(loss)}, {of}."
    rows = [Row(feature, each) for feature, each in hurt]
    svg = pictures.intervals(rows[:_DRAWN], Words("Missing features", said), label=f"loss of {metric}", line=0)
    table = Table(("feature that is missing", f">loss of {metric}"), [[row.name, interval(row.found)] for row in rows])
    return Figure(svg, f"One feature missing from every row. {said}", table)


def _noise(metric: str, found: Sequence[Noise]) -> Figure:
    rows = [Row(english.count(each.sd, "standard deviation"), each.loss) for each in found]
    said = f"All numbers changed by a random error; at {rows[-1].name} {metric} is worse by {interval(rows[-1].found)}."
    svg = pictures.intervals(rows, Words("Inexact numbers", said), label=f"loss of {metric}", line=0)
    return Figure(svg, said, Table(("error", f">loss of {metric}"), [[row.name, interval(row.found)] for row in rows]))


def explanations(evaluation: Evaluation) -> Section:
    """What the model leans on, and how its answer changes with it."""
    key, title, sections = "explanations", "Explanations", evaluation.sections
    important, dependence = sections.importance, sections.dependence
    if not important and not dependence:
        return not_measured(key, title)
    blocks: list[Block] = [_importance(evaluation.metric, important)] if important else []
    blocks += [_dependence(each) for each in dependence if each.points]
    return Section(key, title, blocks, "Importance and dependence describe the model, not what causes the outcome.")


def _importance(metric: str, found: Sequence[Importance]) -> Figure:
    rows = [Row(each.feature, each.loss) for each in found]
    said = f"{rows[0].name} matters most: shuffled, {metric} is worse by {interval(rows[0].found)}."
    svg = pictures.intervals(rows[:_DRAWN], Words("Importance of features", said), label=f"loss of {metric}", line=0)
    more = f" The first {_DRAWN} of {len(rows)} are drawn." if len(rows) > _DRAWN else ""
    table = Table(("feature", f">loss of {metric}"), [[row.name, interval(row.found)] for row in rows])
    return Figure(svg, f"Loss when one feature is shuffled. {said}{more}", table)


def _dependence(found: Dependence) -> Figure:
    name, points = found.feature, found.points
    means = [point.mean for point in points]
    low, high = min(points, key=lambda each: each.mean.value), max(points, key=lambda each: each.mean.value)
    score = f"score of {found.class_name}" if found.class_name is not None else "mean score"
    boolean = found.kind == "boolean"
    least, most = (f"{number(each.mean.value)}, at {_value(each.at, boolean=boolean)}" for each in (low, high))
    said = f"{score[0].upper()}{score[1:]} by {name}: least, {least}, most, {most}."
    shown = Words(f"Dependence on {name}", said)
    if found.kind in {"numeric", "integer"}:
        svg = pictures.band([float(point.at) for point in points], means, shown, label=name, up=score)
    else:
        rows = [Row(_value(point.at, boolean=boolean), mean) for point, mean in zip(points, means, strict=True)]
        svg = pictures.intervals(rows, shown, label=score)
    rows_shown = [
        [_value(point.at, boolean=boolean), interval(mean), number(point.rows)]
        for point, mean in zip(points, means, strict=True)
    ]
    return Figure(svg, said, Table((name, f">{score}", ">training rows"), rows_shown))
