"""Make a dataset version of what a model has met since its dataset ends: captured predictions with known outcomes.

Each labelled dataset starts from the dataset's latest version, which people registered, so captures never pile up. The
same captures and feedback make the same file and the same version, so gathering again changes nothing.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from tidegate.domain.data.dataset import Captured, DataFile, Dataset, DatasetStatus, DatasetVersion, content_version
from tidegate.domain.monitoring.labelled_dataset import LabelledRows, LeftOut, Recipe, obstacle
from tidegate.domain.monitoring.quarantine import because
from tidegate.domain.serving.capture import CAPTURE_RECORD, hour_of, policy_of
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.feedback import Outcomes
from tidegate.domain.serving.reporters import tallied
from tidegate.domain.training.contracts import feature_contracts
from tidegate.messages import LabelledDataset
from tidegate.ports.data import Catalog, DatasetFiles, FrameWriter
from tidegate.ports.monitoring import Hours
from tidegate.ports.platform import Clock, Dispatcher
from tidegate.ports.registry import Models
from tidegate.spec.model import ModelSpec

ADDED_BY = "tidegate:monitoring"
READING = timedelta(minutes=8)  # of a function's fifteen; the rest is for writing
REGISTERING = timedelta(minutes=20)  # how long the catalog may take
FIXED_PERIODS = "its split has fixed periods, which new data would not change; use holdout_days"
_ID = re.compile(rb'"id"\s*:\s*"([^"]*)"')  # the first one of a line; names in `inputs` come later


def labelled_dataset(
    model: str,
    *,
    models: Models,
    catalog: Catalog,
    files: DatasetFiles,
    captures: Hours,
    writer: FrameWriter,
    dispatcher: Dispatcher,
    clock: Clock,
) -> LabelledDataset:
    """Register the model's dataset with the labelled captures behind its end, and say which version to train on.

    It is the dataset's latest version as it is when captures cannot be used, or when there are none; `note` says so.

    Raises:
        NotFoundError: no such model or dataset, or the dataset has no version that is ready.
        UnavailableError: a service did not answer; calling again does the same again.
    """
    spec = models.spec(model)
    dataset, base = catalog.dataset(spec.dataset), catalog.version(spec.dataset)
    recipe = _recipe(spec, dataset, base, catalog)
    until = clock.now() + REGISTERING
    policy = policy_of(spec.capture.model_dump(), dataset.pii)
    hindrance = FIXED_PERIODS if spec.split.train else obstacle(recipe, group=spec.group, policy=policy)
    if hindrance:
        return LabelledDataset(dataset_version=base.version, note=f"no captures are added: {hindrance}", until=until)
    found = _gather(model, recipe, captures, clock=clock, until=clock.now() + READING)
    if not found.rows:
        note = f"no labelled prediction is newer than version {base.version}{found.sentence_left_out()}"
        return LabelledDataset(dataset_version=base.version, note=note, until=until)
    data = writer.write(found.rows, recipe.types, found.cells)
    sha256 = files.put(dataset.name, data)
    added = DataFile(f"{model}-captures.parquet", sha256, len(data), files.key(dataset.name, sha256))
    version = DatasetVersion(
        dataset=dataset.name,
        version=content_version((file.sha256 for file in (*base.files, added)), recipe.reading),
        status=DatasetStatus.REGISTERING,
        files=(*base.files, added),
        added_by=ADDED_BY,
        added_at=clock.now(),
        base=base.version,
        lineage=found.sentence(model, base.version),
        captured=Captured(sha256, found.rows, tallied([found.reporters])),
        reading=recipe.reading,
    )
    if catalog.add_version(version):
        dispatcher.register_dataset(dataset.name, version.version)
    return LabelledDataset(dataset_version=version.version, note=version.lineage, until=clock.now() + REGISTERING)


def _recipe(spec: ModelSpec, dataset: Dataset, base: DatasetVersion, catalog: Catalog) -> Recipe:
    contract = Contract(model=spec.name, task=spec.task.value, features=feature_contracts(spec))
    exclusions = catalog.exclusions(dataset.name)
    return Recipe.of(
        contract,
        target=spec.target,
        time=spec.time,
        dataset=dataset,
        base=base,
        exclusions=exclusions,
        sent_within=timedelta(days=spec.monitoring.sent_within_days),
    )


def _gather(model: str, recipe: Recipe, captures: Hours, *, clock: Clock, until: datetime) -> LabelledRows:
    """Hours from the newest on, object by object, until there are enough rows or the time is up."""
    found = LabelledRows(recipe)
    sources = captures.sources(model, hour_of(recipe.after), hour_of(clock.now()))
    for hour in sorted((hour for hour in sources if sources[hour].feedback), reverse=True):
        outcomes = captures.outcomes(sources[hour])[0]
        left = set(outcomes.known)
        for blocks in captures.lines(sources[hour]):
            if clock.now() >= until:
                found.cut_short = True
            if found.cut_short:
                return found
            try:
                _take((line for block in blocks for line in block.splitlines()), outcomes, left, found)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this object's; the others are taken
                because(error)
                found.left_out[LeftOut.UNREADABLE] += 1
    return found


def _take(lines: Iterable[bytes], outcomes: Outcomes, left: set[str], found: LabelledRows) -> None:
    """Only lines with a known outcome are read; a prediction that is captured twice finds its outcome taken."""
    for line in lines:
        named = _ID.search(line)
        if named is None or (prediction := named[1].decode()) not in left:
            continue
        if found.full:
            found.cut_short = True
            return
        left.remove(prediction)
        found.take(CAPTURE_RECORD.read(line), outcomes.known[prediction], outcomes.reporters[prediction])
