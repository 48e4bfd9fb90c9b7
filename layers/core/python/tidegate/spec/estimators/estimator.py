"""What is known of an estimator without its library: all that spec, schema, docs, trainer and tests ask about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from tidegate.spec.part import Task

CLASSIFICATION = (Task.BINARY, Task.MULTICLASS)
REGRESSION = (Task.REGRESSION,)


class Probabilities(StrEnum):
    """What a classifier's scores are worth as probabilities, before anybody measured them on this data.

    Which learners distort: Niculescu-Mizil and Caruana 2005, "Predicting good probabilities with supervised learning",
    ICML. The evaluation measures the calibration error of every version (docs/evaluation.md).
    """

    NONE = "none"  # a regression, or a classifier that only decides: a candidate when others around it have some
    SOUND = "sound"  # fitted by log loss, or averages of class shares
    DISTORTED = "distorted"  # ranks well; state targets.calibration_error_at_most where the probability is used


class Why(StrEnum):
    """Why an estimator of a library is left out; a test shows that each reason is true."""

    CONVERTER = "skl2onnx does not convert it"
    OPERATOR = "skl2onnx converts it for two classes only, with an operator that onnxruntime does not have"
    DECIDES = "it has no probabilities, and skl2onnx does not convert its decision function"
    DIFFERS = "it converts, but its ONNX scores differ from scikit-learn's by more than the gate tolerates"
    DATA = "it cannot be fitted on features and targets as they are"
    TARGETS = "it is for several targets"
    SIZE = "it converts, but fitting takes time by the cube of the rows, and the artifact holds every training row"
    INSTEAD = "it is not needed"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An estimator that a spec may not name, and why."""

    name: str
    why: Why
    words: str = ""

    @property
    def sentence(self) -> str:
        """The reason, for people."""
        return f"{self.why}; {self.words}" if self.words else str(self.why)


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


class Ability(StrEnum):
    """What an estimator may need of those inside it."""

    PROBABILITIES = "probabilities"
    DECISIONS = "decision function that skl2onnx converts"
    WEIGHTS = "way to weight rows"
    STACKED = "conversion by skl2onnx on top of others"


@dataclass(frozen=True, slots=True)
class Inner:
    """A parameter that takes other estimators.

    Attributes:
        many: a list of them.
        required: it has no default.
        needs: what an estimator there must be able to do.
        features: whether they are given the features; not so one that is given the scores of others.
    """

    parameter: str
    many: bool = False
    required: bool = False
    needs: tuple[Ability, ...] = (Ability.PROBABILITIES,)
    features: bool = True


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
        lacks: what it cannot do, beside probabilities, where others need it.
        passes_gaps: whether it hands missing numbers on to estimators inside that keep them.
        inner: the parameters that take other estimators.
        defaults: parameters that are set unless the spec sets them.
        refused: why a parameter may not have a value: {parameter: {value: sentence}}.
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
    lacks: tuple[Ability, ...] = ()
    passes_gaps: bool = False
    inner: tuple[Inner, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def only_inside(self) -> bool:
        """Whether it is a classifier without probabilities, so that it can only stand inside another estimator."""
        return self.tasks == CLASSIFICATION and self.probabilities is Probabilities.NONE

    def around(self, inner: Sequence["Estimator"]) -> "Estimator":
        """Its facts with these inside, which are all given the same columns: the most demanding one decides."""
        if not inner:
            return self
        return replace(
            self,
            encoding="onehot" if any(each.encoding == "onehot" for each in inner) else "ordinal",
            scaled=any(each.scaled for each in inner),
            keeps_gaps=self.passes_gaps and all(each.keeps_gaps for each in inner),
        )

    def unable(self, needs: Sequence[Ability]) -> Ability | None:
        """The first of these that it cannot do; a regression is not asked for probabilities."""
        lacks = (*self.lacks, Ability.PROBABILITIES) if self.only_inside else self.lacks
        return next((each for each in needs if each in lacks), None)

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
