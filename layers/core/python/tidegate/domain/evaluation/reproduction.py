"""A version held against what was made of the same data by the same rules again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.domain.evaluation.evaluation import Evaluation

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing as it was recorded with the version, and as it was found now. None: there is no such thing."""

    what: str
    recorded: Any
    found: Any

    @property
    def equal(self) -> bool:
        """Exactly: numbers to their last bit."""
        return bool(self.recorded == self.found)


def compared(recorded: Document, found: Document) -> tuple[Compared, ...]:
    """Everything that either side has, in the order of the recorded side."""
    return tuple(Compared(what, recorded.get(what), found.get(what)) for what in {**recorded, **found})


def made(evaluation: Evaluation, lineage: Document, metrics: Collection[str]) -> dict[str, Any]:
    """What a run made and of what, as far as it must be equal when it is made again: no time, no memory, nothing that
    depends on what serves. `metric low` and `metric high` are the ends of the metric's interval. `metrics` names those
    that both runs measured, since newer code may measure more.
    """
    chosen: Document = next((each for each in lineage["candidates"] if each["index"] == lineage["selected"]), {})
    facts = {
        "artifact": lineage["artifact_sha256"],
        "dataset": lineage["dataset_version"],
        "exclusions": sorted(lineage["exclusions"]),
        "spec": lineage["spec_digest"],
        "seed": lineage["seed"],
        "estimator": chosen.get("estimator"),
        "parameters": chosen.get("parameters"),
        "validation": chosen.get("value"),
        "training rows": lineage["training_rows"],
        "holdout rows": evaluation.rows,
    }
    arms = {name: each for name, each in evaluation.metrics.items() if name in metrics}
    arms["baseline"] = evaluation.baseline.estimate
    for name, estimate in arms.items():
        if estimate is not None:
            facts |= {name: estimate.value, f"{name} low": estimate.low, f"{name} high": estimate.high}
    return facts


def made_with(lineage: Document) -> dict[str, Any]:
    """Code, lock and, where it was recorded, the environment of the final fit; a package as `package NAME`."""
    environment = dict(lineage.get("environment", {}))
    packages = environment.pop("packages", {})
    facts = {"code": lineage["code_version"], "lock": lineage["lock_hash"], **environment}
    return facts | {f"package {name}": version for name, version in sorted(packages.items())}
