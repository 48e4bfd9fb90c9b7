"""Which features a model leans on: how much worse it gets when one of them is shuffled."""

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.probe import Trial
from tidegate.kernel.errors import DataCheckError

REPEATS = 2
MOST_SCORED = 400_000  # rows in all: keeps a slow model of hundreds of features to a minute


def importances(trial: Trial) -> dict[str, Estimate]:
    """Permutation importance of each feature, the most important first (Breiman 2001, "Random forests", Machine
    Learning 45:5-32; of the served model's own rows, after Fisher, Rudin and Dominici 2019, JMLR 20:177).

    The value is how much worse the metric gets, on average over five shuffles of the feature; the interval says how
    much of that is the luck of the rows. Up to `MOST_SCORED` rows are scored in all: where features times rows are
    more, a draw of the rows is taken. Empty when the drawn rows do not define the metric.
    """
    names = [feature.name for feature in trial.contract.features]
    drawn = trial.draw(max(1, MOST_SCORED // (REPEATS * len(names))))
    chance = trial.chance("importance")
    found = {}
    for name in names:
        column = drawn.rows[name]
        shuffled = [drawn.rescored(name, chance.permutation(column)) for _ in range(REPEATS)]
        try:
            found[name] = drawn.loss(shuffled)
        except DataCheckError:
            return {}
    return dict(sorted(found.items(), key=lambda each: -each[1].value))
