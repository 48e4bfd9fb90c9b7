"""Sections of a page that show what a version is: verdict, data, features, what it takes, where it comes from."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tidegate.domain.data.dataset import Exclusion
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.kernel import english
from tidegate.kernel.metrics.registry import find
from tidegate.plots import pictures
from tidegate.plots.blocks import Block, Check, Checks, Facts, Figure, Note, Section, Table
from tidegate.plots.numbers import Document, interval, moment, number, percent, period, person, size, words
from tidegate.plots.pictures import Row, Words
from tidegate.ports.evaluation import Dossier
from tidegate.spec.estimators.nested import text_of
from tidegate.spec.features import Feature
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task

OUTCOMES = {
    "pass": "passed",
    "fail": "failed",
    "insufficient_data": "too little data",
    "not_applicable": "informational",
}
_FIRST = ("fail", "insufficient_data", "pass", "not_applicable")
_PARTS = {"fit": "training", "validation": "validation", "holdout": "holdout"}


def verdict(dossier: Dossier) -> Section:
    """Every check of the gate, what blocks first; and the metric beside those it was compared with."""
    checks = sorted(dossier.report.verdict.checks, key=lambda each: _FIRST.index(each.outcome))
    shown = [Check(words(each.name), each.outcome, OUTCOMES[each.outcome], each.statement) for each in checks]
    counts = Counter(check.word for check in shown)
    lead = (
        f"Of {len(shown)} checks: {', '.join(f'{counts[word]} {word}' for word in OUTCOMES.values() if counts[word])}."
    )
    return Section("verdict", "Verdict of the gate", (_compared(dossier.report.evaluation), Checks(shown)), lead)


def _compared(evaluation: Evaluation) -> Figure:
    metric, champion, baseline = evaluation.metric, evaluation.champion, evaluation.baseline
    arms = [("this version", evaluation.candidate, True)]
    if champion and champion.estimate:
        arms.append((f"champion: version {champion.version}", champion.estimate, False))
    fallback = evaluation.sections.fallback
    arms.append(("baseline", baseline.estimate, False))
    if fallback and fallback.rule != baseline.rule:
        arms.append(("fallback", fallback.estimate, False))
    rows = [Row(name, found, shown) for name, found, shown in arms]
    table = [[row.name, interval(row.found)] for row in rows]
    gains = {"baseline": evaluation.gain_over_baseline, "champion": evaluation.gain_over_champion}
    table += [[f"gain over {name}", interval(gain)] for name, gain in gains.items() if gain]
    table += [
        [name, interval(found) if found else "not defined on these rows"]
        for name, found in evaluation.metrics.items()
        if name != metric
    ]
    better = "higher" if evaluation.higher_is_better else "lower"
    caption = (
        f"{metric} on {evaluation.rows:,} held-out rows with intervals of {percent(evaluation.confidence)}; "
        f"{better} is better. {find(metric).sentence} The baseline is {baseline.rule}."
    )
    said = "; ".join(f"{row.name} {interval(row.found)}" for row in rows)
    svg = pictures.intervals(rows, Words(f"{metric} compared", said), label=metric)
    return Figure(svg, caption, Table(("", f">{metric} and others"), table), unfolded=True)


def data(dossier: Dossier) -> Section:
    """Where the rows come from, which period, what was left out."""
    dataset, version, lineage = dossier.dataset, dossier.data, dossier.report.lineage
    files = english.count(len(version.files), "file")
    facts = [
        ("Dataset", f"{dataset.name}: {dataset.description}" if dataset.description else dataset.name),
        ("Origin", dataset.origin),
        ("Licence", dataset.licence),
        ("Owner", dataset.owner),
        ("Version", f"{version.version}, added {version.added_at:%Y-%m-%d %H:%M} by {person(version.added_by)}"),
        (
            "Content",
            f"{english.count(version.rows, 'row')}, {english.count(version.duplicate_rows, 'duplicate')}; {files}",
        ),
        ("Personal data", ", ".join(dataset.pii) or "none declared"),
        ("Known only after the fact", ", ".join(dataset.outcome) or "none declared"),
        ("Held out", _held_out(dossier.spec)),
    ]
    if version.lineage:
        facts.append(("Made of", version.lineage))
    blocks: list[Block] = [Facts(facts)]
    if "rows" in lineage:
        blocks.append(_parts(lineage))
        blocks.append(Note(_left_out(lineage)))
    blocks.append(_excluded(dossier.exclusions))
    blocks += [Note(f"Note on the data: {note}.") for note in lineage.get("notes", ())]
    return Section("data", "Data", blocks)


def _held_out(spec: ModelSpec) -> str:
    whole = f"whole groups of {spec.group}" if spec.group else ""
    if spec.time:
        return f"the latest rows by {spec.time}{whole and f', {whole}'}"
    return f"{whole or 'rows'} drawn at random (seed {spec.seed}){'' if whole else f', stratified by {spec.target}'}"


def _parts(lineage: Document) -> Table:
    timed = any(lineage["periods"].values())
    rows = [
        [
            name,
            number(lineage["rows"][part]),
            *([period(lineage["periods"][part])] if timed else []),
            _target(lineage["target"][part]),
        ]
        for part, name in _PARTS.items()
    ]
    caption = (
        "Candidates are fitted on training and chosen on validation; the version is fitted on both and judged on "
        "the holdout."
    )
    return Table(("part", ">rows", *(["first and last row"] if timed else []), "target"), rows, caption)


def _target(found: Document) -> str:
    if "classes" in found:
        total = sum(found["rows"]) or 1
        pairs = zip(found["classes"], found["rows"], strict=True)
        return ", ".join(f"{number(label)} {percent(rows / total)}" for label, rows in pairs)
    return f"mean {number(found['mean'])}, {number(found['low'])} to {number(found['high'])}"


def _left_out(lineage: Document) -> str:
    left = ", ".join(f"{words(why)} {rows:,}" for why, rows in lineage["left_out"].items() if rows)
    copied = lineage.get("copied_to_holdout", 0)
    twins = (
        f" {english.count(copied, 'holdout row is a copy', 'holdout rows are copies')} of training rows."
        if copied
        else ""
    )
    return f"Rows left out: {left}.{twins}" if left else f"No rows were left out.{twins}"


def _excluded(exclusions: Sequence[Exclusion]) -> Block:
    if not exclusions:
        return Note("No periods of the dataset are excluded.")
    rows = [
        [f"{each.start:%Y-%m-%d %H:%M} to {each.end:%Y-%m-%d %H:%M}", each.reason, person(each.author)]
        for each in exclusions
    ]
    return Table(("excluded period", "reason", "by"), rows)


def features(dossier: Dossier) -> Section:
    """What the model is asked with, and what the data says of it."""
    strengths = dossier.report.lineage.get("strength_alone", {})
    missing = {column.name: column.missing for column in dossier.data.columns}
    rows = [
        [
            each.name,
            f"{each.kind.value}{f', {each.unit}' if each.unit else ''}",
            _allowed(each),
            "yes" if each.missing == "allow" else "no",
            percent(missing.get(each.name)),
            number(strengths.get(each.name)),
            each.description,
        ]
        for each in dossier.spec.features
    ]
    head = ("feature", "kind", "allowed", "may be missing", ">missing in data", ">strength alone", "meaning")
    blocks: list[Block] = [_filled(head, rows)]
    computed: Sequence[Document] = dossier.report.lineage.get("computed") or ()
    if computed:
        lines = [
            [each["name"], each["expression"], each["unit"] or "", _learned(each), each["description"]]
            for each in computed
        ]
        caption = "Computed inside the model from the features above; requests do not send them."
        blocks.append(_filled(("computed feature", "expression", "unit", "learned", "meaning"), lines, caption))
    measure = "R2, 0 without" if dossier.spec.task is Task.REGRESSION else "AUC, 0.5 without"
    lead = (
        f"{english.count(len(rows), 'feature')}. Strength alone is how well the feature by itself predicts the target "
        f"in training ({measure} skill, 1 at best), by the target's mean in each of 64 ranges or values, each row "
        "by the means of the other half of the rows. With few rows it is lower than the same measure of the raw values."
    )
    return Section("features", "Features", blocks, lead)


def _filled(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Table:
    """Without columns that say nothing in any row."""
    kept = [place for place in range(len(head)) if any(row[place] for row in rows)]
    return Table([head[place] for place in kept], [[row[place] for place in kept] for row in rows], caption)


def _learned(computed: Document) -> str:
    return "; ".join(
        f"{english.count(each['groups'], 'rate')} by {', '.join(each['by'])}, overall {number(each['overall'])}"
        for each in computed["learned"]
    )


def _allowed(feature: Feature) -> str:
    if feature.categories:
        return ", ".join(feature.categories[:8]) + (", ..." if len(feature.categories) > 8 else "")
    match feature.min, feature.max:
        case None, None:
            return "any known category" if feature.unseen == "reject" else "any"
        case low, None:
            return f"from {number(low)}"
        case None, high:
            return f"up to {number(high)}"
        case low, high:
            return f"{number(low)} to {number(high)}"


def compute(dossier: Dossier) -> Section:
    """What serving takes, and what training took."""
    found, lineage = dossier.report.evaluation, dossier.report.lineage
    latency, parity = found.latency_ms, found.parity
    tried: Sequence[Document] = lineage.get("candidates", ())
    flips = "" if parity.flips is None else f"; {english.count(parity.flips, 'label differs', 'labels differ')}"
    differs = "values" if parity.flips is None else "scores"
    differs += f" differ by at most {parity.judged:.2g}{parity.unit} from scikit-learn's on {parity.rows:,} rows{flips}"
    cost, seconds = found.sections.cost, sum(each["fit_seconds"] for each in tried)
    facts = [
        ("One row", f"{number(latency.p50)} ms in the median, {number(latency.p99)} ms at the 99th percentile"),
        ("Loading", f"{number(found.load_ms)} ms"),
        ("Artifact", f"{size(found.artifact_bytes)} of ONNX"),
        ("Memory", f"{found.peak_memory_mib:.0f} MiB at most during evaluation"),
        ("Parity", differs),
        ("Search", f"{english.count(len(tried), 'candidate')}, fitted in {number(seconds)} s"),
    ]
    if cost:
        shown = f"{cost.per_1000_usd:.3g} USD for 1,000 requests at {cost.memory_mb:,} MB (estimate)"
        facts.append(("Cost", shown))
    return Section("compute", "Time, memory and cost", (Facts(facts),))


def lineage(dossier: Dossier) -> Section:
    """What the version was made from, by whom, so that it can be made again."""
    found, version = dossier.report.lineage, dossier.version
    facts = [
        (
            "Run",
            f"{version.run_id}, requested by {person(found['requested_by'])} at {moment(found['requested_at'])} UTC",
        ),
        ("Spec", f"sha256 {found['spec_digest']}, written by {person(dossier.spec_author)}"),
        ("Dataset version", f"{found['dataset']} {found['dataset_version']}"),
        ("Artifact", f"sha256 {version.artifact_sha256}"),
        ("Gate report", f"sha256 {version.report_sha256}"),
        ("Code", version.code_version),
        ("Locked packages", f"sha256 {version.lock_hash}"),
        ("Made with", _environment(found.get("environment") or {})),
        ("Seed", str(found["seed"])),
    ]
    rows = [
        [
            each["estimator"].rsplit(".", 1)[-1] + (" (chosen)" if each["index"] == found["selected"] else ""),
            text_of(each["parameters"], number=number),
            number(each["value"]),
            number(each["fit_seconds"]),
        ]
        for each in found["candidates"]
    ]
    metric = dossier.report.evaluation.metric
    tried = Table(("candidate", "parameters", f">{metric} on validation", ">fit, s"), rows)
    return Section("lineage", "Lineage", (Facts(facts), tried))


def _environment(found: Document) -> str:
    """The parts that numbers depend on most; the gate's report has all."""
    if not found:
        return "not recorded"
    packages = found.get("packages", {})
    named = [f"{name} {packages[name]}" for name in ("scikit-learn", "numpy", "skl2onnx") if name in packages]
    return f"Python {found['python']}, {', '.join(named)}, on {found['machine']}"


def approvals(dossier: Dossier) -> Section:
    """Who has to agree, how it would go out, and where to read what happened since."""
    version, rules = dossier.version, dossier.spec.release
    name = f"{version.model} {version.number}"
    asked = (
        f"a person must approve it within {english.count(rules.approval_hours, 'hour')}"
        if version.needs_approval
        else "none is required"
    )
    if dossier.report.verdict.accepted:
        steps = ", ".join(f"{step:g} %" for step in rules.steps)
        shadow = (
            f"{english.count(rules.shadow_minutes, 'minute')} in shadow mode, then " if rules.shadow_minutes else ""
        )
        shares = f"shares of the requests: {steps}" if steps else "all requests at once"
        way = f"{shadow}{shares}; on probation for {english.count(rules.probation_hours, 'hour')}"
        facts = [("Approval", asked), ("Rollout", way)]
    else:
        facts = [("Approval", "not requested, since the gate rejected it"), ("Rollout", "none")]
    facts += [
        ("Since then", f"tidegate rollout {version.model}; tidegate versions {name}; tidegate ledger {version.model}")
    ]
    lead = (
        f"As of {version.created_at:%Y-%m-%d %H:%M} UTC, when it was registered; the page does not show what "
        "happened later."
    )
    return Section("approvals", "Approvals and rollout", (Facts(facts),), lead)


def card(dossier: Dossier, others: Sequence[Section]) -> Section:
    """The fields of a model card (Mitchell et al. 2019, "Model Cards for Model Reporting", FAT*)."""
    spec, version = dossier.spec, dossier.version
    evaluation, lineage = dossier.report.evaluation, dossier.report.lineage
    periods = lineage.get("periods", {})
    slices, sensitive = ", ".join(spec.gate.slices), ", ".join(spec.sensitive)
    factors = "; ".join(filter(None, [slices and f"slices: {slices}", sensitive and f"groups: {sensitive}"]))
    gaps = [section.title.lower() for section in others if not section.measured]
    drawn = f"{evaluation.resamples:,} resamples by {evaluation.resample_by}"
    facts = {
        "Model details": f"{version.model} version {version.number}, a {spec.task.value} model of {spec.target}: "
        f"{_chosen(lineage)}, served as ONNX; registered {version.created_at:%Y-%m-%d}",
        "Owner": f"{spec.owner} ({spec.business_unit})",
        "Intended use": spec.description or "not stated: the spec has no description",
        "Factors": factors or "none declared: neither slices nor sensitive columns",
        "Metrics": f"{evaluation.metric} decides; measured: {', '.join(evaluation.metrics)}. Intervals of "
        f"{percent(evaluation.confidence)} from {drawn}",
        "Evaluation data": f"{evaluation.rows:,} held-out rows of {version.dataset}"
        + (f", {period(periods['holdout'])}" if periods.get("holdout") else f"; {_held_out(spec)}"),
        "Training data": f"{number(lineage.get('training_rows'))} rows of {version.dataset} {version.dataset_version}"
        + (f", from {moment(periods['fit'][0])} on" if periods.get("fit") else ""),
        "Quantitative analyses": "the sections above, each number with its interval",
        "Ethical considerations": _ethics(dossier),
        "Caveats": f"not measured: {', '.join(gaps)}" if gaps else "every section of this page has measurements",
    }
    lead = "The fields of Mitchell et al. 2019, “Model Cards for Model Reporting”, for auditors."
    return Section("card", "Model card", (Facts(list(facts.items())),), lead)


def _chosen(lineage: Document) -> str:
    chosen = [each for each in lineage.get("candidates", ()) if each["index"] == lineage.get("selected")]
    return str(chosen[0]["estimator"]) if chosen else "estimator not recorded"


def _ethics(dossier: Dossier) -> str:
    return "; ".join(_concerns(dossier)) or "no personal data among the features, and no sensitive columns declared"


def _concerns(dossier: Dossier) -> Iterator[str]:
    spec = dossier.spec
    used = [name for name in spec.feature_names if name in dossier.dataset.pii]
    if used:
        yield f"features that are personal data: {', '.join(used)}"
    direct = [name for name in spec.feature_names if name in spec.sensitive]
    if direct:
        yield f"sensitive columns that the model reads: {', '.join(direct)}"
    for check in dossier.report.verdict.checks:
        if check.name in {"fairness", "flips"} and spec.sensitive:
            yield f"{check.name} ({OUTCOMES[check.outcome]}): {check.statement}"
