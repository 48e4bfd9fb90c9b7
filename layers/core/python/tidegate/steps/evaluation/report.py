"""Draw the page of a registered version, accepted or rejected, and keep it with the version.

The page shows what was known when the version was registered: no clock, nothing that changes later. So drawing it
again gives the same bytes.
"""

import json

from tidegate.domain.evaluation.report import GateReport
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import Drawn, ReportTask
from tidegate.ports.data import Catalog
from tidegate.ports.evaluation import Dossier, DrawPage
from tidegate.ports.registry import Artifacts, Models, Versions

CONTENT_TYPE = "text/html; charset=utf-8"


def report(
    task: ReportTask,
    *,
    models: Models,
    versions: Versions,
    catalog: Catalog,
    artifacts: Artifacts,
    draw: DrawPage,
) -> Drawn:
    """Gather what the page shows, draw it, store it.

    Raises:
        NotFoundError: the version, its dataset or its gate report does not exist.
        ArtifactRejectedError: somebody changed the gate's report.
    """
    ref = task.run
    version = versions.version(ref.model, task.version)
    found = GateReport.from_json(json.loads(artifacts.get_verified(version.report_key, version.report_sha256)))
    excluded = set(found.lineage["exclusions"])
    dossier = Dossier(
        version=version,
        spec=models.spec(ref.model, version.spec_digest),
        spec_author=models.author(ref.model, version.spec_digest),
        dataset=catalog.dataset(version.dataset),
        data=catalog.version(version.dataset, version.dataset_version),
        exclusions=tuple(each for each in catalog.exclusions(version.dataset) if each.exclusion_id in excluded),
        report=found,
    )
    page = draw(dossier).encode()
    return Drawn(
        page_sha256=artifacts.put(ref.key(RunFile.PAGE), page, content_type=CONTENT_TYPE),
        page_bytes=len(page),
    )
