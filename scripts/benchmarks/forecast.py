"""How long healthy canaries really take at low traffic, beside what was forecast for them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.domain.registry.ledger import ALL_BP
from tidegate.domain.rollout.betting import evidence_that_exceeds
from tidegate.domain.rollout.canary import Metric, Policy
from tidegate.domain.rollout.forecast import Forecast, Traffic, forecast
from tidegate.domain.rollout.rollout import Plan
from tidegate.domain.training.contracts import rollout_plan
from tidegate.spec.model import ModelSpec

SUMMARY = "requests that healthy canaries take until their promotion, and what was forecast"
REQUESTS_A_DAY = (200, 1_000, 5_000, 20_000)
FAILING = (0.001, 0.005, 0.02)
_SLOW = 0.005
_LOOKS = 60  # in as long as is forecast
_MARGINS = {"defaults": None, "margin of errors 0.02": 0.02}
_RATES = (Metric.ERRORS, Metric.SLOW)  # the others are rarer, or pass long before
_SPEC = {
    "name": "model",
    "description": "any",
    "owner": "owner@example.com",
    "business_unit": "any",
    "task": "binary",
    "dataset": "rows",
    "target": "y",
    "features": [{"name": "x", "kind": "numeric"}],
    "candidates": [{"estimator": "sklearn.linear_model.LogisticRegression"}],
    "metric": {"name": "roc_auc"},
    "baseline": {"kind": "constant", "value": 0},
}


def run(*, quick: bool) -> dict[str, Any]:
    """A row for each traffic: forecast and simulated, in requests of both arms."""
    releases = 60 if quick else 400
    plan = rollout_plan(ModelSpec.model_validate(_SPEC))
    rows = [
        _row(named, _with_margin(plan, margin), Traffic(a_day / 24, failing, _SLOW), releases)
        for named, margin in _MARGINS.items()
        for a_day in REQUESTS_A_DAY
        for failing in FAILING
    ]
    return {"releases": releases, "rows": rows}


def tables(figures: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    """One table; requests are those of both arms."""
    headings = ("plan", "requests a day", "failing", "forecast", "median", "one of ten", "9 of 10", "in 24 h", "said")
    rows = [
        (
            row["plan"],
            f"{row['requests_a_day']:,}",
            f"{100 * row['failing']:g} %",
            f"{row['forecast']:,}",
            f"{row['median']:,}",
            f"{row['forecast_slow']:,}",
            f"{row['slow']:,}",
            f"{100 * row['in_time']:.0f} %",
            row["chance"],
        )
        for row in figures["rows"]
    ]
    return [(f"{figures['releases']} healthy canaries each", headings, rows)]


def failed(figures: dict[str, Any]) -> list[str]:
    """Where the forecast is not what comes: half of the time and in nine of ten cases within a quarter, and the chance
    is the one that was said."""
    broken = []
    for row in figures["rows"]:
        named = f"{row['plan']}, {row['requests_a_day']} a day, {row['failing']:g} failing"
        for said, came in ((row["forecast"], row["median"]), (row["forecast_slow"], row["slow"])):
            if not 0.75 <= said / came <= 1.35:
                broken.append(f"{named}: {said} forecast, {came} taken")
        low, high = {"likely": (0.8, 1.0), "uncertain": (0.35, 0.97), "unlikely": (0.0, 0.65)}[row["chance"]]
        if not low <= row["in_time"] <= high:
            broken.append(f"{named}: {row['chance']} was said, and {row['in_time']:.0%} were in time")
    return broken


def _with_margin(plan: Plan, margin: float | None) -> Plan:
    demands = tuple(
        replace(each, margin=margin) if margin and each.metric not in {Metric.SCORES, Metric.SLOW} else each
        for each in plan.demands.demands
    )
    return replace(plan, demands=Policy(demands))


def _row(named: str, plan: Plan, traffic: Traffic, releases: int) -> dict[str, Any]:
    found = forecast(plan, traffic)
    if found is None or found.hours is None or found.slow_hours is None:
        raise ValueError(f"no forecast of {traffic}")
    hours = _simulated(plan, traffic, found, releases)
    requests = np.sort(hours) * traffic.requests_an_hour
    return {
        "plan": named,
        "requests_a_day": round(24 * traffic.requests_an_hour),
        "failing": traffic.failing,
        "forecast": found.requests,
        "median": round(float(np.median(requests))),
        "forecast_slow": round(found.slow_hours * traffic.requests_an_hour),
        "slow": round(float(np.quantile(requests, 0.9))),
        "in_time": float((hours <= plan.deadline_seconds / 3600).mean()),
        "chance": found.chance.value,
    }


def _simulated(plan: Plan, traffic: Traffic, found: Forecast, releases: int) -> npt.NDArray[np.float64]:
    """Hours until each healthy canary is promoted: requests come at random and look by look, steps follow the plan, and
    the evidence is that of the canary."""
    every = (found.hours or 0) / _LOOKS
    looks = round(3 * (found.slow_hours or 0) / every)
    chance = np.random.default_rng(20260105)
    ours, theirs, baked = np.zeros((3, releases, looks), dtype=np.int64)
    for release in range(releases):
        for look, (mine, others, may_end) in enumerate(_arrivals(plan, traffic, looks, every, chance)):
            ours[release, look], theirs[release, look], baked[release, look] = mine, others, may_end
    passed = baked.astype(np.bool_)
    for demand in plan.demands.demands:
        if demand.metric in _RATES:
            rate = traffic.slow if demand.metric is Metric.SLOW else traffic.failing
            failed = chance.binomial(theirs, rate), chance.binomial(ours, rate)
            evidence = evidence_that_exceeds(failed[0], theirs, failed[1], ours, -demand.margin)
            passed &= evidence >= -np.log(plan.demands.beta)
    ended = np.where(passed.any(axis=1), passed.argmax(axis=1) + 1, looks)
    return np.asarray(ended * every)


def _arrivals(
    plan: Plan, traffic: Traffic, looks: int, every: float, chance: np.random.Generator
) -> Iterator[tuple[int, int, bool]]:
    """Requests of both arms in each look, one `every` so many hours, and whether the last step has baked."""
    step = answered = 0
    since = 0.0
    for _ in range(looks):
        requests = chance.poisson(traffic.requests_an_hour * every)
        mine = int(chance.binomial(requests, plan.steps_bp[step] / ALL_BP))
        answered, since = answered + mine, since + every
        last = step + 1 == len(plan.steps_bp)
        baked = since * 3600 >= plan.bake_seconds and answered >= plan.min_requests
        yield mine, int(requests) - mine, last and baked
        if baked and not last:
            step, answered, since = step + 1, 0, 0.0
