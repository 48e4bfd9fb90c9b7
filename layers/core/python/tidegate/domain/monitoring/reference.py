"""The reference of a version: what its rows, scores and quality were at training, for all that monitoring compares
later.

    reference = Reference.from_json(json.loads(artifacts.get(ref.reference_key)))

What captures hide (`hidden`) is not profiled here either: of such a feature is counted only whether a row has a value.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.recalibration import Recalibration
from tidegate.domain.monitoring.quality import LossByScore
from tidegate.domain.profiles import profile as profiles
from tidegate.domain.profiles.profile import Layout, Profile
from tidegate.domain.serving.contract import Contract, Label
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.table import TARGET, Column, Table

BACKGROUND_ROWS = 200


@dataclass(frozen=True, slots=True)
class Reference:
    """What a version's live traffic is compared with.

    Attributes:
        profile: features and target of the training rows, scores and labels of the holdout, in the cells of `layout`.
        importances: how much worse `metric` gets on the holdout when the feature is shuffled, never below 0; empty when
            that is not defined.
        design: `metric` on the holdout, with its interval at `confidence`.
        loss_by_score: of a regression judged by the mean of a loss.
        classes: in the order of the probabilities, `positive` being the place of the one whose probability is the score
            and `threshold` the score from which it is the answer.
        hidden: features whose values captures hide.
        recalibration: of a classifier, what its probabilities come to on the holdout; none in documents of older code.
        background: S3 key of some training rows (npz Table) of all other features, for explanations.
    """

    FORM: ClassVar = StoredForm("reference", renew="train the model again")

    layout: Layout
    profile: Profile
    importances: Mapping[str, float]
    metric: str
    design: Estimate
    loss_by_score: LossByScore | None
    task: Literal["binary", "multiclass", "regression"]
    classes: tuple[Label, ...]
    positive: int
    threshold: float
    confidence: float = 0.95
    hidden: tuple[str, ...] = ()
    background: str = ""
    background_sha256: str = ""
    recalibration: Recalibration | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "schema": self.FORM.schema,
            "layout": self.layout.to_json(),
            "profile": self.profile.to_json(),
            "importances": dict(self.importances),
            "design": {"metric": self.metric, "confidence": self.confidence, **asdict(self.design)},
            "loss_by_score": None if self.loss_by_score is None else self.loss_by_score.to_json(),
            "task": self.task,
            "classes": list(self.classes),
            "positive": self.positive,
            "threshold": self.threshold,
            "hidden": list(self.hidden),
            "background": self.background,
            "background_sha256": self.background_sha256,
            "recalibration": None if self.recalibration is None else self.recalibration.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises NewerDocumentError."""
        document = cls.FORM.current(document)
        design, loss = document["design"], document["loss_by_score"]
        recalibration = document.get("recalibration")
        layout, profile = Layout.from_json(document["layout"]), Profile.from_json(document["profile"])
        return cls(
            layout=layout,
            profile=replace(profile, layout=layout.digest),  # a layout of an older form had another one
            importances=dict(document["importances"]),
            metric=design["metric"],
            design=Estimate(design["value"], design["low"], design["high"]),
            loss_by_score=None if loss is None else LossByScore.from_json(loss),
            task=document["task"],
            classes=tuple(document["classes"]),
            positive=document["positive"],
            threshold=document["threshold"],
            confidence=design["confidence"],
            hidden=tuple(document["hidden"]),
            background=document["background"],
            background_sha256=document["background_sha256"],
            recalibration=None if recalibration is None else Recalibration.from_json(recalibration),
        )


def profiled(contract: Contract, training: Table, scores: Column, hidden: Collection[str]) -> tuple[Layout, Profile]:
    """Layout and profile of a version.

    Args:
        training: features and target of all training rows.
        scores: of the holdout [n, classes]: of rows that the model was fitted on, it is too sure.
        hidden: features that get no cells of values.
    """
    score, label = profiles.predicted(contract, scores)
    layout, profile = profiles.reference(contract, training, score=score, label=label, target=training[TARGET])
    if not hidden:
        return layout, profile
    no_values: dict[str, Any] = {"edges": (), "categories": (), "values": ()}
    features = tuple(replace(column, **no_values) if column.name in hidden else column for column in layout.features)
    layout = replace(layout, features=features)
    return layout, profiles.count(layout, training, score=score, label=label, target=training[TARGET])


def background(contract: Contract, training: Table, hidden: Collection[str], seed: int) -> Table:
    """Up to `BACKGROUND_ROWS` training rows, drawn by the seed, of the features that are not hidden."""
    shown = training.select(feature.name for feature in contract.features if feature.name not in hidden)
    return shown.take(_draw(len(training), BACKGROUND_ROWS, np.random.default_rng(seed)))


def _draw(rows: int, most: int, chance: np.random.Generator) -> Column:
    """Positions of at most so many rows, rising."""
    return np.sort(chance.choice(rows, min(rows, most), replace=False))
