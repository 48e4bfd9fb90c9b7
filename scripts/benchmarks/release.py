"""How often canaries are rolled back wrongly, and rightly, on streams where the truth is known; beside two peers."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scripts.benchmarks import canary_tools
from scripts.benchmarks.canary_tools import NEVER
from scripts.benchmarks.regimes import regimes
from scripts.benchmarks.streams import (
    ERROR_RATE,
    LATENCY_TARGET_MS,
    REQUESTS_PER_STEP,
    SLOW_SHARE,
    WEIGHTS,
    Array,
    Truth,
    simulate,
)
from scripts.benchmarks.svg import Panel, chart
from tidegate.domain.rollout.canary import DEMANDS, Metric, Policy

SUMMARY = "wrong and right rollbacks of simulated canaries, compared with fixed thresholds and a Mann-Whitney check"
PLOT = Path(__file__).parents[2] / "docs" / "canary.svg"
TOOLS = ("tidegate", "flagger", "kayenta")
NAMES = {"tidegate": "Tidegate", "flagger": "Flagger's defaults", "kayenta": "Kayenta's defaults"}
HEALTHY = Truth()
_TOLERATED = {demand.metric: demand.tolerance for demand in DEMANDS}
TOLERATED = Truth(errors=_TOLERATED[Metric.ERRORS], slower=1 + _TOLERATED[Metric.SLOW] / SLOW_SHARE)
# kind, by how much worse (points of error rate; per cent of the share over the latency target), truth
WORSE = (
    *(("errors", points, Truth(errors=points / 100)) for points in (1, 2, 5, 20)),
    *(("latency", per_cent, Truth(slower=1 + per_cent / 100)) for per_cent in (10, 50)),
)
SHOWN = ("errors", 5)  # in the plot
_CHUNK = 50  # releases at a time: their streams and evidence stay below 100 MiB


def run(*, quick: bool) -> dict[str, Any]:
    """Shares of releases. A full run also writes the plot to docs."""
    healthy, others, chunk = (50, 25, 25) if quick else (2000, 400, _CHUNK)
    releases = _Releases(chunk)
    with ProcessPoolExecutor() as pool:  # everything is handed out before the first answer is awaited
        pending = (
            releases.judged(pool, HEALTHY, healthy),
            releases.judged(pool, replace(HEALTHY, drift=True), others),
            releases.judged(pool, TOLERATED, others),
            releases.judged(pool, replace(HEALTHY, requests_per_look=1000), others),
        )
        pending_worse = {(kind, by): releases.judged(pool, truth, others) for kind, by, truth in WORSE}
        alike, drifting, tolerated, rarely = (_together(chunks) for chunks in pending)
        worse = {key: _together(chunks) for key, chunks in pending_worse.items()}
    if not quick:
        PLOT.write_text(_plot(alike, worse[SHOWN]), encoding="utf-8")
    return {
        "releases": {"aa": healthy, "other": others},
        "requests_per_look": HEALTHY.requests_per_look,
        "requests_per_step": REQUESTS_PER_STEP,
        "steps": list(WEIGHTS),
        "error_rate": ERROR_RATE,
        "slow_share": SLOW_SHARE,
        "promised": Policy().alpha,
        "aa_false_rollback": {tool: alike[tool].caught for tool in TOOLS},
        "aa_promoted": {tool: alike[tool].promoted for tool in TOOLS},
        "aa_drift_false_rollback": {tool: drifting[tool].caught for tool in TOOLS},
        "at_tolerance_rollback": {tool: tolerated[tool].caught for tool in TOOLS},
        "aa_1000_a_look_false_rollback": {tool: rarely[tool].caught for tool in TOOLS},
        "power": [
            {"worse": by, "kind": kind, "tool": tool, **found[tool].to_json()}
            for (kind, by), found in worse.items()
            for tool in TOOLS
        ],
        **regimes(60 if quick else 400),
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One table of wrong rollbacks and one of right ones."""
    aa, other = figures["releases"]["aa"], figures["releases"]["other"]
    heads = [NAMES[tool] for tool in TOOLS]
    yield (
        f"rolled back though no worse than tolerated (at most {100 * figures['promised']:g} % promised)",
        ["", "releases", *heads],
        [
            ["equal to the champion", f"{aa:,}", *_shares(figures["aa_false_rollback"])],
            ["equal; both arms' rates rise threefold", f"{other:,}", *_shares(figures["aa_drift_false_rollback"])],
            ["worse by just what is tolerated", f"{other:,}", *_shares(figures["at_tolerance_rollback"])],
            [
                "equal; checked after every 1,000 requests",
                f"{other:,}",
                *_shares(figures["aa_1000_a_look_false_rollback"]),
            ],
            ["equal, and promoted at the end", f"{aa:,}", *_shares(figures["aa_promoted"])],
        ],
    )
    yield (
        f"the candidate is worse ({other:,} releases each, checked after every 50 requests)",
        ["worse by", "tool", "rolled back", "after requests (median)", "users exposed", "promoted"],
        [
            [
                f"errors +{row['worse']} points" if row["kind"] == "errors" else f"{row['worse']} % more are slow",
                NAMES[row["tool"]],
                f"{100 * row['caught']:.1f} %",
                "-" if row["median_requests"] is None else f"{row['median_requests']:,}",
                f"{100 * row['exposed']:.2f} %",
                f"{100 * row['promoted']:.1f} %",
            ]
            for row in figures["power"]
        ],
    )
    yield _regimes(figures)


def _regimes(figures: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    outage, shadow, labels = (figures[name] for name in ("after_outage", "shadow", "labels"))
    return (
        "what changes of regime, pairs and spread are worth (medians)",
        ["", "now", "without"],
        [
            ["5 points more errors fail after an outage, to a fresh start", f"{outage['worse_over_fresh']:g}", "1"],
            ["an equal candidate passes after an outage, to a fresh start", f"{outage['healthy_over_fresh']:g}", "1"],
            [
                "requests until a shadow fails that has 1 point more than 5 % common errors; not as pairs",
                f"{shadow['requests_paired']:,}",
                f"{shadow['requests_unpaired']:,}",
            ],
            ["labels until a loss of .25 beside .2 fails; as coins", f"{labels['betting']:,}", f"{labels['before']:,}"],
        ],
    )


def _shares(row: dict[str, float]) -> list[str]:
    return [f"{100 * row[tool]:.1f} %" for tool in TOOLS]


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a tool did with releases. `served` is how many requests the candidate had answered after each look."""

    stopped: Array
    promotions: npt.NDArray[np.bool_]
    served: Array
    seen: Array

    @property
    def caught(self) -> float:
        return float((self.stopped != NEVER).mean())

    @property
    def promoted(self) -> float:
        return float(self.promotions.mean())

    def to_json(self) -> dict[str, Any]:
        """`exposed`: of a whole canary's requests, the mean share that the candidate answered before it was stopped."""
        stopped = self.stopped != NEVER
        last = np.minimum(self.stopped, len(self.seen) - 1)
        return {
            "caught": self.caught,
            "median_requests": int(np.median(self.seen[last[stopped]])) if stopped.any() else None,
            "exposed": round(float(np.take_along_axis(self.served, last[:, None], 1).mean() / self.seen[-1]), 5),
            "promoted": self.promoted,
        }

    def share_stopped(self) -> list[float]:
        """After each look."""
        return [float((self.stopped <= look).mean()) for look in range(len(self.seen))]


@dataclass(slots=True)
class _Releases:
    """Judges simulated releases in parallel, `chunk` at a time; no two chunks share a seed."""

    chunk: int
    next_seed: int = 0

    def judged(self, pool: ProcessPoolExecutor, truth: Truth, releases: int) -> Iterator[dict[str, _Judged]]:
        """Hand out the work; the answers come chunk by chunk."""
        seeds = range(self.next_seed, self.next_seed + releases // self.chunk)
        self.next_seed = seeds.stop
        return pool.map(partial(_judge, truth, self.chunk), seeds)


def _together(chunks: Iterable[dict[str, _Judged]]) -> dict[str, _Judged]:
    """All chunks' releases by tool."""
    found = list(chunks)
    return {
        tool: _Judged(
            stopped=np.concatenate([chunk[tool].stopped for chunk in found]),
            promotions=np.concatenate([chunk[tool].promotions for chunk in found]),
            served=np.concatenate([chunk[tool].served for chunk in found]),
            seen=found[0][tool].seen,
        )
        for tool in TOOLS
    }


def _judge(truth: Truth, releases: int, seed: int) -> dict[str, _Judged]:
    """All tools on the same releases."""
    streams = simulate(truth, releases, seed)
    served = np.cumsum(streams.candidate.requests, axis=1)
    found = {
        "tidegate": canary_tools.tidegate(streams, Policy()),
        "flagger": canary_tools.flagger(streams),
        "kayenta": canary_tools.kayenta(streams),
    }
    return {tool: _Judged(each.stopped, each.promoted, served, streams.seen) for tool, each in found.items()}


def _plot(alike: dict[str, _Judged], worse: dict[str, _Judged]) -> str:
    seen = [0, *(int(requests) for requests in alike["tidegate"].seen)]
    kind, by = SHOWN

    def lines(found: dict[str, _Judged]) -> dict[str, list[float]]:
        return {NAMES[tool]: [0.0, *found[tool].share_stopped()] for tool in TOOLS}

    ends = ", ".join(
        f"{NAMES[tool]} {100 * alike[tool].caught:.1f} % and {100 * worse[tool].caught:.1f} %" for tool in TOOLS
    )
    return chart(
        "Share of canaries rolled back, checked after every 50 requests",
        f"Two line charts over the requests seen. Left, candidates equal to the champion; right, candidates with "
        f"{by} points more {kind}. Rolled back at the end, left and right: {ends}. Steps of 1, 5, 25 and 50 % of "
        f"{REQUESTS_PER_STEP:,} requests each; latency target {LATENCY_TARGET_MS} ms.",
        [
            Panel("wrongly: the candidate equals the champion", "requests seen", seen, lines(alike), Policy().alpha),
            Panel(f"rightly: {by} points more errors", "requests seen", seen, lines(worse)),
        ],
    )
