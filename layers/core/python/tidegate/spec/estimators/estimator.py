"""What is known of an estimator without its library: all that spec, schema, docs, trainer and tests ask about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from tidegate.spec.part import Task

CLASSIFICATION = (Task.BINARY, Task.MULTICLASS)
REGRESSION = (Task.REGRESSION,)


class Probabilities(StrEnum):
    """What a classifier's scores are worth as probabilities, before anybody measured them on this data.

    Which learners distort: Niculescu-Mizil and Caruana 2005, "Predicting good probabilities with supervised learning",
    ICML. The evaluation measures the calibration error of every version (docs/evaluation.md).
    """

    NONE = "none"  # a regression
    SOUND = "sound"  # fitted by log loss, or averages of class shares
    DISTORTED = "distorted"  # ranks well; state targets.calibration_error_at_most where the probability is used


@dataclass(frozen=True, slots=True)
class Framework:
    """A learning library. `tidegate.ml.frameworks` has a module of the same name, which builds and converts.

    Attributes:
        name: first part of its estimators' dotted names.
        converter: the package that writes ONNX.
        seed, threads: what its estimators call these parameters, where they have them.
    """

    name: str
    title: str
    converter: str
    seed: str
    threads: str


@dataclass(frozen=True, slots=True)
class Estimator:
    """An estimator that a spec may name.

    Attributes:
        name: dotted name to import.
        words: a sentence for people.
        parameters: names of its parameters, between spaces; a test holds them equal to the library's own.
        encoding: of categories, unless a candidate says otherwise.
        scaled: whether numbers are standardised for it.
        keeps_gaps: whether it takes missing numbers; they become the median otherwise.
        sparse: whether one-hot columns stay sparse.
    """

    name: str
    framework: Framework
    tasks: tuple[Task, ...]
    words: str
    parameters: str
    encoding: Literal["onehot", "ordinal"] = "onehot"
    scaled: bool = True
    keeps_gaps: bool = False
    sparse: bool = False
    probabilities: Probabilities = Probabilities.NONE

    @property
    def title(self) -> str:
        """The class's own name."""
        return self.name.rpartition(".")[2]

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """What a candidate may set."""
        return tuple(self.parameters.split())

    @property
    def seed(self) -> str | None:
        """The parameter that takes the spec's seed; None when chance plays no part."""
        return self.framework.seed if self.framework.seed in self.parameter_names else None

    @property
    def threads(self) -> str | None:
        """The parameter that says how many cores it uses, which changes no score; None when it is always one."""
        return self.framework.threads if self.framework.threads in self.parameter_names else None
