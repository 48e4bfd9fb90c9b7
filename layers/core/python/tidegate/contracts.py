"""From a spec, and what was learned from the data, to the serving contract that travels inside the artifact."""

from collections.abc import Mapping, Sequence

from tidegate.domain.prediction import Contract, FeatureContract, Label, OutputRule
from tidegate.spec import FeatureKind, ModelSpec


def feature_contracts(
    spec: ModelSpec, learned: Mapping[str, Sequence[str]] | None = None
) -> tuple[FeatureContract, ...]:
    """The features' rules, in the spec's order; categories that the spec does not list come from `learned`."""
    return tuple(
        FeatureContract(
            name=feature.name,
            kind=feature.kind.value,
            minimum=feature.min,
            maximum=feature.max,
            categories=feature.categories
            if feature.categories is not None or feature.kind is not FeatureKind.CATEGORICAL or learned is None
            else tuple(learned[feature.name]),
            unseen=feature.unseen,
            missing=feature.missing,
            unit=feature.unit,
        )
        for feature in spec.features
    )


def serving_contract(
    spec: ModelSpec, *, classes: Sequence[Label], positive: int, learned: Mapping[str, Sequence[str]]
) -> Contract:
    """The contract of a model trained under `spec`. `classes` is empty for a regression."""
    return Contract(
        model=spec.name,
        task=spec.task.value,
        features=feature_contracts(spec, learned),
        classes=tuple(classes),
        positive=positive,
        rules=tuple(OutputRule(rule.name, rule.require, rule.when) for rule in spec.rules),
    )
