"""The page of a version: one HTML file that needs nothing else and runs nothing."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tidegate.plots import conduct, quality, record
from tidegate.plots.numbers import interval
from tidegate.ports.evaluation import Dossier
from tidegate.spec.features import FeatureKind


def draw(dossier: Dossier) -> str:
    """The page as HTML. The same dossier gives the same text; parts that were not measured are said to be missing."""
    evaluation, task = dossier.report.evaluation, dossier.spec.task
    booleans = {feature.name for feature in dossier.spec.features if feature.kind is FeatureKind.BOOLEAN}
    judged = (
        record.data(dossier),
        record.features(dossier),
        quality.performance(evaluation, task),
        quality.calibration(evaluation, task),
        quality.decisions(evaluation, task),
        conduct.slices(evaluation),
        conduct.fairness(evaluation, booleans),
        conduct.robustness(evaluation, booleans),
        conduct.explanations(evaluation),
        record.compute(dossier),
        record.lineage(dossier),
        record.approvals(dossier),
    )
    version, verdict = dossier.version, dossier.report.verdict
    return _template().render(
        model=version.model,
        number=version.number,
        description=dossier.spec.description,
        owner=dossier.spec.owner,
        accepted=verdict.accepted,
        reasons=verdict.reasons,
        headline=f"{evaluation.metric} {interval(evaluation.candidate)}",
        as_of=f"{version.created_at:%Y-%m-%d %H:%M} UTC",
        report_sha256=version.report_sha256,
        sections=(record.verdict(dossier), *judged, record.card(dossier, judged)),
    )


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")
