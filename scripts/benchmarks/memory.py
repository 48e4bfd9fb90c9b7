"""How much memory to give the inference function: what a request and a start take and cost at each size.

Lambda gives processor time in proportion to memory: 1,769 MB are one whole vCPU
(docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html). So the processor time of the function's own process is
measured here, and what it becomes at each size is computed, with list prices. The model is that of `serving`.

What is not in it: TLS (the local cloud speaks HTTP), what Lambda does before it starts the process, and how fast a vCPU
is beside a core of this machine.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from infra.cost import GB, PRICES, PRICES_OF, SECONDS_A_MONTH, Price
from infra.settings import DeploymentSettings
from scripts.benchmarks.svg import bars

SUMMARY = "memory sizes of the inference function: milliseconds and dollars, from measured processor time"
PLOT = Path(__file__).resolve().parents[2] / "docs" / "memory.svg"
SIZES_MB = (512, 768, 1024, 1280, 1536, 1769, 3008)
VCPU_MB = 1769
STRICT_MS = 50.0
UNTIL_FAST = 30  # requests of a process, until it scores in the handler's own thread
AWAY_MS = 10.0  # after a response, for Firehose to answer: not processor time; docs/cost.md assumes the same
KEPT_SECONDS = 600.0  # assumed: how long Lambda keeps an idle environment; AWS promises nothing
GAPS_SECONDS = (1, 10, 60, 300, 900, 3600)
_PAGE = "aws.amazon.com/lambda/pricing"
_ON_DEMAND, _REQUEST = PRICES["lambda-x86_64"], PRICES["lambda-requests"]
_PROVISIONED = Price(0.0000041667, 1, "GB-seconds provisioned", _PAGE)
_PROVISIONED_WORK = Price(0.0000097222, 1, "GB-seconds of work there", _PAGE)
_CACHED = Price(0.0000015046, 1, "GB-seconds of a snapshot kept", _PAGE)
_RESTORED = Price(0.0001397998, 1, "GB restored", _PAGE)


@dataclass(frozen=True, slots=True)
class Work:
    """Processor time in milliseconds of a whole core, and memory.

    Attributes:
        answer_ms: a warm request of one instance, from the event to the posted response.
        answer_p99_ms: the same, 99th percentile.
        answer_100_ms: a warm request of 100 instances.
        after_ms: what follows a response: metrics, captures.
        init_ms: from process start to the handler: Python and imports.
        first_ms: the first request: route, artifact, session, answer.
        resident_mib: at most, with one small model open.
        sessions_share: of the function's memory for what is kept open.
    """

    answer_ms: float
    answer_p99_ms: float
    answer_100_ms: float
    after_ms: float
    init_ms: float
    first_ms: float
    resident_mib: float
    sessions_share: float


def run(*, quick: bool) -> dict[str, Any]:
    """Processor time and the curve that follows from it. A full run also writes the plot to docs."""
    settings = DeploymentSettings()
    work = _measured(quick=quick)
    curve = [point(work, size) for size in SIZES_MB]
    limits = (float(settings.inference_p99_ms), STRICT_MS)
    targets: list[dict[str, Any]] = [
        {"target_ms": limit, "warm_mb": cheapest(curve, "p99_ms", limit), "cold_mb": cheapest(curve, "cold_ms", limit)}
        for limit in limits
    ]
    chosen = point(work, settings.inference_memory_mb)
    if not quick:
        PLOT.write_text(plot(curve, targets[0]["cold_mb"]), encoding="utf-8")
    return {
        "cpu": {name: round(value, 3) for name, value in asdict(work).items()},
        "curve": curve,
        "cheapest_mb": targets[0]["cold_mb"],
        "targets": targets,
        "provisioned": {"memory_mb": settings.inference_memory_mb, **break_even(chosen)},
        "starts": [starts(work, settings.inference_memory_mb, gap) for gap in GAPS_SECONDS],
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """What was measured, the curve, the targets, and what keeping environments ready costs."""
    cpu = figures["cpu"]
    yield (
        "processor time, measured (milliseconds of a whole core)",
        ["what", "ms"],
        [[shown, f"{cpu[name]:,.2f}"] for name, shown in _SHOWN.items()]
        + [["at most resident, MiB", f"{cpu['resident_mib']:,.0f}"]],
    )
    yield (
        f"memory sizes, computed; billed with {AWAY_MS:.0f} ms of waiting; USD of {PRICES_OF}, us-east-1, x86_64",
        ["MB", "vCPU", "warm, ms", "p99", "100 rows", "cold", "billed", "USD/million", "fits"],
        [
            [
                str(row["memory_mb"]),
                f"{row['vcpu']:.2f}",
                *(f"{row[name]:,.1f}" for name in ("warm_ms", "p99_ms", "warm_100_ms")),
                f"{row['cold_ms']:,.0f}",
                f"{row['billed_ms']}",
                f"{row['usd_per_million']:.3f}",
                "yes" if row["fits"] else "no",
            ]
            for row in figures["curve"]
        ],
    )
    yield (
        "the cheapest size that answers in time (MB)",
        ["within, ms", "warm, p99", "also after a cold start"],
        [
            [f"{row['target_ms']:,.0f}", *(str(row[name] or "none") for name in ("warm_mb", "cold_mb"))]
            for row in figures["targets"]
        ],
    )
    provisioned = figures["provisioned"]
    ready = (
        f"environments kept ready, at {provisioned['memory_mb']} MB; USD a month, requests themselves left out\n"
        f"one provisioned costs {provisioned['usd_a_month']:.2f} idle, and is the cheaper one beyond "
        f"{provisioned['busy_share']:.0%} of its time: {provisioned['per_second']:,.0f} requests a second"
    )
    yield (
        ready,
        ["every", "cold share", "cold, ms", "first, ms", "on demand", "SnapStart", "provisioned"],
        [
            [
                f"{row['gap_seconds']:,} s",
                f"{row['cold_share']:.1%}",
                *(f"{row[name]:,.0f}" for name in ("cold_ms", "first_ms")),
                *(f"{row[name]:,.2f}" for name in ("on_demand_usd", "snap_start_usd", "provisioned_usd")),
            ]
            for row in figures["starts"]
        ],
    )


_SHOWN = {
    "answer_ms": "a warm request of one instance, to its answer",
    "answer_p99_ms": "the same, 99th percentile",
    "answer_100_ms": "a warm request of 100 instances",
    "after_ms": "what follows a response",
    "init_ms": "start: Python and imports",
    "first_ms": "the first request: route, artifact, session",
}


def vcpu(memory_mb: int) -> float:
    """How many vCPUs come with the memory."""
    return memory_mb / VCPU_MB


def stretched(cpu_ms: float, memory_mb: int) -> float:
    """Milliseconds that one thread takes for so much processor time: it cannot use more than one vCPU."""
    return cpu_ms / min(1.0, vcpu(memory_mb))


def point(work: Work, memory_mb: int) -> dict[str, Any]:
    """One memory size: milliseconds, US dollars for a million warm requests, and whether the function fits."""
    billed = billed_ms(work, memory_mb)
    return {
        "memory_mb": memory_mb,
        "vcpu": round(vcpu(memory_mb), 3),
        "warm_ms": round(stretched(work.answer_ms, memory_mb), 2),
        "p99_ms": round(stretched(work.answer_p99_ms, memory_mb), 2),
        "warm_100_ms": round(stretched(work.answer_100_ms, memory_mb), 2),
        "cold_ms": round(stretched(work.init_ms + work.first_ms, memory_mb), 1),
        "billed_ms": billed,
        "usd_per_million": round(1e6 * (billed * gb_ms(_ON_DEMAND, memory_mb) + _REQUEST.each), 4),
        "fits": fits(work, memory_mb),
    }


def billed_ms(work: Work, memory_mb: int) -> int:
    """Of a warm request of one instance: the answer, what follows it, and the wait for Firehose; whole milliseconds."""
    return math.ceil(stretched(work.answer_ms + work.after_ms, memory_mb) + AWAY_MS)


def gb_ms(price: Price, memory_mb: int) -> float:
    """US dollars for a millisecond at this size."""
    return price.each * memory_mb / GB / 1e3


def fits(work: Work, memory_mb: int) -> bool:
    """Whether what is resident leaves room for all that the function would keep open."""
    return work.resident_mib <= (1 - work.sessions_share) * memory_mb


def cheapest(curve: Sequence[Mapping[str, Any]], measure: str, limit_ms: float) -> int | None:
    """The size with the lowest cost that fits and keeps to the limit; the smaller one of two that cost the same."""
    kept = [row for row in curve if row["fits"] and row[measure] <= limit_ms]
    return min(kept, key=lambda row: (row["usd_per_million"], row["memory_mb"]))["memory_mb"] if kept else None


def break_even(row: Mapping[str, Any]) -> dict[str, float]:
    """From which use on a provisioned environment costs less than the same work on demand.

    Its price is lower for work and has a part that is always paid: worth it from `idle / (on demand - work there)` on.
    """
    busy = _PROVISIONED.each / (_ON_DEMAND.each - _PROVISIONED_WORK.each)
    return {
        "usd_a_month": round(1e3 * SECONDS_A_MONTH * gb_ms(_PROVISIONED, row["memory_mb"]), 2),
        "busy_share": round(busy, 4),
        "per_second": round(1e3 * busy / row["billed_ms"], 1),
    }


def cold_share(gap_seconds: float, kept_seconds: float = KEPT_SECONDS) -> float:
    """Of requests that come one by one at random, how many find no environment: the pause was longer than one is kept.

    Args:
        gap_seconds: between two requests on average; the pauses are exponential.
        kept_seconds: how long an idle environment is kept.
    """
    return math.exp(-kept_seconds / gap_seconds)


def starts(work: Work, memory_mb: int, gap_seconds: int) -> dict[str, Any]:
    """A month of one request each `gap_seconds`: what starts take, and the bill in US dollars for all three ways.

    The price of requests is left out, since it is the same; so is SnapStart's time to restore, which is not known.
    """
    requests, share = SECONDS_A_MONTH / gap_seconds, cold_share(gap_seconds)
    cold_requests, month_ms = requests * share, 1e3 * SECONDS_A_MONTH
    init, first = stretched(work.init_ms, memory_mb), stretched(work.first_ms, memory_mb)
    warm_ms, first_ms = (requests - cold_requests) * billed_ms(work, memory_mb), cold_requests * math.ceil(first)
    on_demand = gb_ms(_ON_DEMAND, memory_mb)
    return {
        "gap_seconds": gap_seconds,
        "cold_share": round(share, 4),
        "cold_ms": round(init + first, 1),
        "first_ms": round(first, 1),
        "on_demand_usd": round((warm_ms + first_ms + cold_requests * init) * on_demand, 4),
        "snap_start_usd": round(
            (warm_ms + first_ms) * on_demand
            + cold_requests * _RESTORED.each * memory_mb / GB
            + month_ms * gb_ms(_CACHED, memory_mb),
            4,
        ),
        "provisioned_usd": round(
            month_ms * gb_ms(_PROVISIONED, memory_mb)
            + requests * billed_ms(work, memory_mb) * gb_ms(_PROVISIONED_WORK, memory_mb),
            4,
        ),
    }


def plot(curve: Sequence[Mapping[str, Any]], chosen_mb: int | None) -> str:
    """Milliseconds and dollars of each size as SVG."""
    names = {row["memory_mb"]: f"{row['memory_mb']} MB: {row['usd_per_million']:.2f} USD a million" for row in curve}
    shown = ", ".join(
        f"{names[row['memory_mb']]}, {row['warm_100_ms']:.3g} and {row['cold_ms']:.4g} ms" for row in curve
    )
    return bars(
        "A request of 100 instances, warm and after a cold start, by memory",
        f"Horizontal bars on a logarithmic scale. Milliseconds warm and cold: {shown}.",
        "milliseconds, logarithmic: the bar warm, the line after a cold start",
        {names[row["memory_mb"]]: (row["warm_100_ms"], row["cold_ms"]) for row in curve},
        names.get(chosen_mb or 0, ""),
    )


def _measured(*, quick: bool) -> Work:
    from scripts.benchmarks.serving import serving_house  # and with it a cloud, which nobody needs who only computes

    calls = 300 if quick else 2_000
    with serving_house() as house, house.probe("memory_probe") as ask:
        one, hundred = ({"request": house.request(rows)} for rows in (1, 100))
        began = [ask(one) for _ in range(4 if quick else 12)][1:]
        alone, many = _one_by_one(ask, one, calls), _one_by_one(ask, hundred, calls // 2)
        held = ask({}, anew=False)
    answers = [answer for answer, _ in alone]
    return Work(
        answer_ms=fmean(answers),
        answer_p99_ms=float(np.percentile(answers, 99)),
        answer_100_ms=fmean(answer for answer, _ in many),
        after_ms=fmean(after for _, after in alone),
        init_ms=median(each["used_ms"] for each in began),
        first_ms=median(each["until_ms"] - each["used_ms"] for each in began),
        resident_mib=held["resident_mib"],
        sessions_share=held["sessions_share"],
    )


def _one_by_one(ask: Callable[..., dict[str, Any]], asked: dict[str, Any], calls: int) -> list[tuple[float, float]]:
    """Processor time of each warm request: for its answer, by the thread that gives it, and for what follows, by the
    others. From one request of a process to its next, since a second process answers while the first is still at
    work."""
    seen: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for number in range(calls):
        found = ask(asked, anew=number == 0)
        seen[found["pid"]].append(found)
    took = []
    for answers in seen.values():
        warm = answers[UNTIL_FAST:]
        for this, following in pairwise(warm):
            answer = following["mine_ms"] - this["mine_ms"]
            took.append((answer, following["used_ms"] - this["used_ms"] - answer))
    return took
