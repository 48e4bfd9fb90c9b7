"""How often windows are called drifted wrongly, and rightly, where the truth is known; beside two peers' default rules.

Both peers' rules are written here from their documentation and sources, and see the same rows.

Evidently (docs-old.evidentlyai.com/reference/data-drift-algorithm; `legacy/calculations/stattests` of its repository):
up to 1,000 reference rows Kolmogorov-Smirnov for numbers and chi-square against the reference's shares for categories,
drift at p < 0.05; beyond, the Wasserstein distance over the reference's standard deviation, and the Jensen-Shannon
distance (natural logarithm) for categories, drift from 0.1. A window drifts when half of its columns do, or more.

NannyML (`drift/univariate/calculator.py` and `methods.py` of its repository): the Jensen-Shannon distance (base 2), for
numbers in the bins of Doane's rule on the reference, for categories by value; alert above the constant 0.1, column by
column. It has no rule above columns, so a window's alarm is an alert of any column.

Every value comes from a lattice of 241 numbers or from eight categories, so a window is a multinomial draw and all
distances are exact on it. Kolmogorov-Smirnov p-values are the asymptotic ones.

How fast profiles are made is measured beside the peers themselves, see `speed`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from scripts.benchmarks import estimates, speed
from scripts.benchmarks.svg import Panel, chart
from tidegate.domain.profiles.drift import DriftOutcome, DriftPolicy, judge_features
from tidegate.domain.profiles.profile import OUTSIDE, ColumnLayout, Layout, Profile, reference
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.table import Table

SUMMARY = (
    "wrong and right drift alarms compared with Evidently's and NannyML's default rules; how fast rows are counted"
)
PLOT = Path(__file__).parents[2] / "docs" / "drift.svg"
TOOLS = ("tidegate", "evidently", "nannyml")
NAMES = {"tidegate": "Tidegate", "evidently": "Evidently's defaults", "nannyml": "NannyML's defaults"}
REFERENCE_ROWS = 20_000
SMALL_REFERENCE_ROWS = 1_000
RUN_WINDOWS = 20
_LARGER = (500, 5_000, 50_000)
SHOWN_ROWS = 500  # in the plot
_CLEAN_PER_REFERENCE = 5  # windows beside one reference have its luck in common
_RUNS_PER_REFERENCE = 10
_LATTICE = np.linspace(-6, 6, 241)
_CATEGORIES = 8
_ONE_IS_IMPORTANT = 0.3

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Calls = Mapping[str, tuple[Bools, Bools]]  # by tool: whether a window alarms, and whether any of its columns does


@dataclass(frozen=True, slots=True)
class Truth:
    """How far each feature has moved in each window of a run, in standard deviations [windows, features]. With
    `one_important` the first feature holds 30 % of the importance."""

    moved: Floats
    one_important: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """A column's distribution: numbers (normal, or log-normal when `skewed`), or eight uneven categories."""

    name: str
    categorical: bool = False
    skewed: bool = False

    @property
    def values(self) -> Floats:
        """What a row may hold, by rising value; of categories their positions."""
        if self.categorical:
            return np.arange(_CATEGORIES, dtype=np.float64)
        return np.exp(0.75 * _LATTICE) if self.skewed else _LATTICE

    def shares(self, moved: float) -> Floats:
        """Chance of each value. Categories are tilted by as many standard deviations of their logarithmic chance."""
        if not self.categorical:
            density = np.exp(-((_LATTICE - moved) ** 2) / 2)
            return np.asarray(density / density.sum())
        clean = 0.5 ** np.arange(_CATEGORIES)
        clean /= clean.sum()
        place = np.arange(_CATEGORIES) - clean @ np.arange(_CATEGORIES)
        tilted = clean * np.exp(moved * place / np.sqrt(clean @ place**2))
        return np.asarray(tilted / tilted.sum())


def features(count: int) -> list[Feature]:
    """Of ten features five are normal, two log-normal and three categorical."""
    return [Feature(f"f{i}", categorical=i % 10 in {2, 5, 8}, skewed=i % 10 in {3, 7}) for i in range(count)]


@dataclass(frozen=True, slots=True)
class Case:
    """What is simulated: runs of windows of `rows` rows."""

    kind: str
    rows: int
    features: int
    runs: int
    windows: int
    reference_rows: int = REFERENCE_ROWS

    @property
    def truth(self) -> Truth:
        """What happens in a run."""
        moved = np.zeros((self.windows, self.features))
        match self.kind:
            case "sudden":
                moved[:, : self.features // 2] = 0.5
            case "gradual":
                moved[:, : self.features // 2] = np.arange(1, self.windows + 1)[:, None] / self.windows
            case "slight":
                moved[:, : self.features // 2] = 0.2
            case "single" | "single_important":
                moved[:, 0] = 0.5
            case "single_0.25":
                moved[:, 0] = 0.25
            case "single_0.1":
                moved[:, 0] = 0.1
        return Truth(moved, self.kind == "single_important")


def run(*, quick: bool) -> dict[str, Any]:
    """Shares of windows and runs. A full run also writes the plot to docs."""
    clean, runs, many = (100, 20, 10) if quick else (1000, 100, 20)
    false_alarms = [Case("clean", rows, count, clean, 1) for count in (10, 100) for rows in (500, 5_000, 50_000)]
    false_alarms += [
        Case("clean", rows, count, clean, 1, SMALL_REFERENCE_ROWS) for count in (10, 100) for rows in (500, 5_000)
    ]
    power = [
        Case(kind, rows, 10, runs, RUN_WINDOWS)
        for kind in ("sudden", "gradual", "single", "slight")
        for rows in (500, 5_000)
    ]
    power += [Case(kind, rows, 10, runs, RUN_WINDOWS) for kind in ("single_0.25", "single_0.1") for rows in _LARGER]
    power += [Case(kind, 5_000, 100, many, RUN_WINDOWS) for kind in ("sudden", "gradual", "single", "single_important")]
    shown = Case("clean", SHOWN_ROWS, 10, runs, RUN_WINDOWS)
    with ProcessPoolExecutor() as pool:  # everything is handed out before the first answer is awaited
        pending = _Pending(pool)
        for case in (*false_alarms, *power, shown):
            pending.simulate(case)
        found = pending.together()
    if not quick:
        PLOT.write_text(
            _plot(found[shown], found[Case("gradual", SHOWN_ROWS, 10, runs, RUN_WINDOWS)]), encoding="utf-8"
        )
    return {
        "windows": {"clean": clean, "runs_10_features": runs, "runs_100_features": many, "windows_a_run": RUN_WINDOWS},
        "promised_per_1000": 1000 * DriftPolicy().alpha,
        "false_alarms_per_1000": [
            {
                "tool": tool,
                "rows": case.rows,
                "features": case.features,
                "reference_rows": case.reference_rows,
                "value": _per_1000(found[case][tool][0]),
                "any_feature_per_1000": _per_1000(found[case][tool][1]),
            }
            for case in false_alarms
            for tool in TOOLS
        ],
        "power": [
            {
                "tool": tool,
                "kind": case.kind,
                "rows": case.rows,
                "features": case.features,
                **_caught(found[case][tool]),
            }
            for case in power
            for tool in TOOLS
        ],
        **estimates.run(quick=quick),
        **speed.run(quick=quick),
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One table of false alarms and one of power."""
    heads = [NAMES[tool] for tool in TOOLS]
    cells: dict[tuple[int, int, int], list[str]] = defaultdict(list)
    for row in figures["false_alarms_per_1000"]:
        key = row["reference_rows"], row["features"], row["rows"]
        cells[key].append(f"{row['value']:g} ({row['any_feature_per_1000']:g})")
    title = (
        f"false alarms per 1,000 windows without drift; in brackets windows in which any feature is called drifted "
        f"({figures['windows']['clean']:,} windows each, at most {figures['promised_per_1000']:g} promised)"
    )
    yield (
        title,
        ["reference rows", "features", "rows a window", *heads],
        [[*(f"{part:,}" for part in key), *said] for key, said in cells.items()],
    )
    runs: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for row in figures["power"]:
        delay = "-" if row["median_windows"] is None else f"{row['median_windows']:g}"
        said = f"{100 * row['caught']:.0f} %, {delay} ({100 * row['any_feature_caught']:.0f} %)"
        runs[row["kind"], row["features"], row["rows"]].append(said)
    title = (
        f"runs of {RUN_WINDOWS} windows with drift: share with an alarm, windows until the first (median); in brackets "
        f"runs in which any feature is called drifted"
    )
    yield (
        title,
        ["drift", "features", "rows a window", *heads],
        [[kind, f"{count:,}", f"{rows:,}", *said] for (kind, count, rows), said in runs.items()],
    )
    yield from estimates.tables(figures)
    yield from speed.tables(figures)


def _per_1000(called: Bools) -> float:
    return round(1000 * float(called.mean()), 1)


def _caught(calls: tuple[Bools, Bools]) -> dict[str, Any]:
    alarm, any_feature = calls
    caught = alarm.any(axis=1)
    first = alarm.argmax(axis=1)[caught] + 1
    return {
        "caught": float(caught.mean()),
        "median_windows": float(np.median(first)) if caught.any() else None,
        "caught_by_window": float(alarm.mean()),
        "any_feature_caught": float(any_feature.any(axis=1).mean()),
    }


@dataclass(slots=True)
class _Pending:
    """Simulations under way; no two share a seed."""

    pool: ProcessPoolExecutor
    parts: dict[Case, list[Future[Calls]]] = field(default_factory=dict)
    next_seed: int = 0

    def simulate(self, case: Case) -> None:
        """Hand out a case, with a new reference for every few runs, so that none decides."""
        size = _CLEAN_PER_REFERENCE if case.windows == 1 else _RUNS_PER_REFERENCE
        self.parts[case] = []
        for _ in range(case.runs // size):
            self.parts[case].append(self.pool.submit(_simulate, case, size, self.next_seed))
            self.next_seed += 1

    def together(self) -> dict[Case, Calls]:
        """All answers, [runs, windows] by case and tool."""
        return {
            case: {
                tool: _pair(np.concatenate([part.result()[tool][which] for part in parts]) for which in (0, 1))
                for tool in TOOLS
            }
            for case, parts in self.parts.items()
        }


def _pair(calls: Iterable[Bools]) -> tuple[Bools, Bools]:
    first, second = calls
    return first, second


@dataclass(frozen=True)
class _Column:
    """A feature's reference sample, as counts of its values."""

    feature: Feature
    before: npt.NDArray[np.int64]

    @cached_property
    def shares(self) -> Floats:
        return np.asarray(self.before / self.before.sum())

    @cached_property
    def deviation(self) -> float:
        values = self.feature.values
        return float(np.sqrt(self.shares @ (values - self.shares @ values) ** 2))

    @property
    def sample(self) -> npt.NDArray[Any]:
        """The reference's rows, sorted."""
        if self.feature.categorical:
            return np.repeat([f"c{index}" for index in range(_CATEGORIES)], self.before)
        return np.repeat(self.feature.values, self.before)

    def evidently(self, now: npt.NDArray[np.int64]) -> Bools:
        """Whether each window [n, values] is called drifted in this column."""
        rows, reference_rows = now[0].sum(), self.before.sum()
        current = now / rows
        if reference_rows > 1000:
            if self.feature.categorical:
                return np.asarray(_jensen_shannon(self.shares, current) * np.sqrt(np.log(2)) >= 0.1)
            gaps = np.abs(np.cumsum(current - self.shares, axis=1))[:, :-1]
            return np.asarray(gaps @ np.diff(self.feature.values) / max(self.deviation, 0.001) >= 0.1)
        if self.feature.categorical:
            there = (now > 0) | (self.before > 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = np.where(there, (now - rows * self.shares) ** 2 / (rows * self.shares), 0.0)
            return np.asarray(stats.chi2.sf(terms.sum(axis=1), there.sum(axis=1) - 1) < 0.05)
        apart = np.abs(np.cumsum(current - self.shares, axis=1)).max(axis=1)
        return np.asarray(stats.kstwo.sf(apart, round(rows * reference_rows / (rows + reference_rows))) < 0.05)

    def nannyml(self, now: npt.NDArray[np.int64]) -> Bools:
        """Whether each window is alerted on in this column."""
        rows = now[0].sum()
        if self.feature.categorical:
            return _jensen_shannon(self.shares, now / rows) > 0.1  # a value new to the reference is a bin of its own
        edges = np.histogram_bin_edges(self.sample, bins="doane")
        place = np.searchsorted(edges, self.feature.values, side="right") - 1
        place[self.feature.values == edges[-1]] -= 1
        inside = (self.feature.values >= edges[0]) & (self.feature.values <= edges[-1])
        bins = _one_hot(np.where(inside, place, len(edges) - 1), len(edges))
        return _jensen_shannon(self.shares @ bins, now / rows @ bins) > 0.1

    def cells(self, layout: ColumnLayout) -> Floats:
        """Matrix that turns counts by value into counts by cell of the layout."""
        if not self.feature.categorical:
            return _one_hot(layout.cells(self.feature.values), layout.size)
        known = {name: place for place, name in enumerate(layout.categories)}
        unseen = layout.size + OUTSIDE
        return _one_hot([known.get(f"c{index}", unseen) for index in range(_CATEGORIES)], layout.size)


def _simulate(case: Case, runs: int, seed: int) -> Calls:
    """One reference and all tools on the same windows."""
    chance = np.random.default_rng(seed)
    truth, rows = case.truth, case.rows
    columns = [
        _Column(feature, chance.multinomial(case.reference_rows, feature.shares(0.0)))
        for feature in features(case.features)
    ]
    layout, trained = _reference(columns, chance)
    cells: list[npt.NDArray[np.int64]] = []
    called: dict[str, list[Bools]] = {"evidently": [], "nannyml": []}
    for index, column in enumerate(columns):
        now = np.concatenate(
            [chance.multinomial(rows, column.feature.shares(moved), size=runs) for moved in truth.moved[:, index]]
        )
        cells.append((now @ column.cells(layout.features[index])).astype(np.int64))
        called["evidently"].append(column.evidently(now))
        called["nannyml"].append(column.nannyml(now))
    share, alert = (np.mean(called[tool], axis=0) for tool in ("evidently", "nannyml"))
    found = {
        "tidegate": _tidegate(layout, trained, cells, truth),
        "evidently": (share >= 0.5, share > 0),
        "nannyml": (alert > 0, alert > 0),
    }
    shape = (case.windows, runs)
    return {tool: _pair(np.asarray(each).reshape(shape).T for each in calls) for tool, calls in found.items()}


def _reference(columns: list[_Column], chance: np.random.Generator) -> tuple[Layout, Profile]:
    contract = Contract(
        model="simulated",
        task="regression",
        features=tuple(
            FeatureContract(each.feature.name, "categorical" if each.feature.categorical else "numeric")
            for each in columns
        ),
    )
    return reference(
        contract,
        Table({each.feature.name: chance.permutation(each.sample) for each in columns}),  # in the order of time
        score=np.zeros(1),
        target=np.zeros(1),
    )


def _tidegate(
    layout: Layout, trained: Profile, cells: list[npt.NDArray[np.int64]], truth: Truth
) -> tuple[list[bool], list[bool]]:
    """The features' verdict of `domain.profiles.drift` on every window."""
    rest = (1 - _ONE_IS_IMPORTANT) / max(len(layout.features) - 1, 1)
    weights = {column.name: rest for column in layout.features} | {layout.features[0].name: _ONE_IS_IMPORTANT}
    alarms, any_feature = [], []
    for window in zip(*(column.tolist() for column in cells), strict=True):
        profile = Profile(
            layout=trained.layout,
            rows=sum(window[0]),
            features=tuple(tuple(counts) for counts in window),
            score=trained.score,
            label=trained.label,
            target=trained.target,
        )
        importances = weights if truth.one_important else None
        verdict = judge_features(layout, trained, profile, DriftPolicy(), importances)
        alarms.append(verdict.outcome is DriftOutcome.DRIFTED)
        any_feature.append(bool(verdict.responsible))
    return alarms, any_feature


def _jensen_shannon(before: Floats, now: Floats) -> Floats:
    """Distances (base 2) of windows [n, cells] from the reference [cells]."""
    middle = (before + now) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(before > 0, before * np.log2(before / middle), 0.0)
        terms = terms + np.where(now > 0, now * np.log2(now / middle), 0.0)
    return np.asarray(np.sqrt(np.maximum(terms.sum(axis=1) / 2, 0.0)))


def _one_hot(place: Any, size: int) -> Floats:
    return np.eye(size)[np.asarray(place, dtype=np.intp)]


def _plot(clean: Calls, drifting: Calls) -> str:
    seen = list(range(RUN_WINDOWS + 1))

    def lines(found: Calls) -> dict[str, list[float]]:
        return {
            NAMES[tool]: [0.0, *np.maximum.accumulate(found[tool][0], axis=1).mean(axis=0).tolist()] for tool in TOOLS
        }

    left, right = lines(clean), lines(drifting)
    ends = ", ".join(f"{name} {100 * left[name][-1]:.0f} % and {100 * right[name][-1]:.0f} %" for name in left)
    return chart(
        f"Share of runs with a drift alarm so far, 10 features, windows of {SHOWN_ROWS} rows",
        f"Two line charts over the windows seen. Left, nothing drifts; right, half of the features drift slowly, by "
        f"one standard deviation at the end. With an alarm after {RUN_WINDOWS} windows, left and right: {ends}.",
        [
            Panel("wrongly: nothing drifts", "windows seen", seen, left),
            Panel("rightly: half of the features drift slowly", "windows seen", seen, right),
        ],
    )
