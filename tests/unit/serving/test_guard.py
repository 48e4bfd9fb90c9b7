"""The input guard: what it flags, how often, what it misses, and what it costs."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.domain.serving.contract import Contract, FeatureContract, Guard, Inputs
from tidegate.domain.serving.guard import MOST_CELLS, Detector, fit, leaving
from tidegate.kernel.table import Table

ROWS = 20_000
CARRIERS = ("AA", "B6", "UA", "WN")
FEATURES = (
    FeatureContract("wind", "numeric", missing="allow"),
    FeatureContract("fare", "numeric"),
    FeatureContract("hour", "integer"),
    FeatureContract("rain", "numeric"),
    FeatureContract("holiday", "boolean"),
    FeatureContract("gust", "numeric", missing="allow"),
    FeatureContract("carrier", "categorical", categories=CARRIERS, missing="allow"),
)
CONTRACT = Contract("flight-delay", "regression", FEATURES)


def rows(count: int = ROWS, seed: int = 0) -> dict[str, Any]:
    """A normal, a heavy tail, whole numbers, many zeros, a rare truth, mostly gaps, and texts."""
    chance = np.random.default_rng(seed)
    return {
        "wind": np.where(chance.random(count) < 0.01, np.nan, chance.normal(10, 2, count)),
        "fare": chance.lognormal(4, 1, count),
        "hour": chance.integers(5, 24, count).astype(float),
        "rain": np.where(chance.random(count) < 0.9, 0.0, chance.exponential(0.1, count).round(2)),
        "holiday": (chance.random(count) < 0.03).astype(float),
        "gust": np.where(chance.random(count) < 0.7, np.nan, chance.normal(25, 5, count)),
        "carrier": chance.choice(CARRIERS, count, p=[0.5, 0.3, 0.19, 0.01]),
    }


def inputs(columns: dict[str, Any], contract: Contract = CONTRACT) -> Inputs:
    return contract.inputs(Table(columns))


def guarded(contract: Contract = CONTRACT, columns: dict[str, Any] | None = None, **options: Any) -> Contract:
    learned = fit(contract, inputs(columns or rows(), contract), **{"share": 0.001, "answer": "model", **options})
    return replace(contract, guard=learned)


def detector(contract: Contract) -> Detector:
    found = Detector.of(contract)
    assert found is not None
    return found


GUARDED = guarded()
DETECTOR = detector(GUARDED)
TYPICAL = {
    "wind": 10.0, "fare": 55.0, "hour": 12.0, "rain": 0.0, "holiday": 0.0, "gust": np.nan, "carrier": "AA",
}  # fmt: skip


def score(**changes: Any) -> float:
    columns = {name: np.array([value]) for name, value in {**TYPICAL, **changes}.items()}
    return float(DETECTOR.scores(inputs(columns))[0])


def flagged(**changes: Any) -> bool:
    columns = {name: np.array([value]) for name, value in {**TYPICAL, **changes}.items()}
    return DETECTOR.unusual(inputs(columns)) == [0]


@pytest.mark.parametrize(
    "far",
    [
        {"wind": 10 + 8 * 2.0},
        {"wind": 10 - 8 * 2.0},
        {"fare": 60_000.0},
        {"fare": -500.0},
        {"hour": 60.0},
        {"rain": 20.0},
        {"gust": 80.0},
        {"wind": 3e38},
    ],
)
def test_one_number_far_out_is_flagged_in_an_otherwise_typical_row(far: dict[str, float]) -> None:
    assert flagged(**far)
    assert not flagged()


@pytest.mark.parametrize(
    "near",
    [{"wind": 16.0}, {"fare": 2_000.0}, {"hour": 24.0}, {"rain": 0.5}, {"gust": 41.0}, {"carrier": "WN"}],
)
def test_what_training_had_or_nearly_had_is_not(near: dict[str, Any]) -> None:
    assert not flagged(**near)


def test_texts_that_are_scored_by_value_give_the_same_marks_as_those_scored_row_by_row() -> None:
    columns = rows(2_000, seed=3)
    columns["wind"][::50] = 90.0
    columns["carrier"] = np.where(np.arange(2_000) % 40 == 0, "ZZ", columns["carrier"])
    given = inputs(columns)
    values, codes = np.unique(given.categorical[:, 0].astype(np.str_), return_inverse=True)
    found = DETECTOR.unusual_of(given.numeric, [DETECTOR.text_scores(0, values.tolist())[codes]])
    assert found.tolist() == DETECTOR.unusual(given)
    assert len(found) >= 40


def test_several_rare_values_together_are_flagged_though_none_of_them_is_alone() -> None:
    rare: dict[str, Any] = {"wind": 15.5, "fare": 1_000.0, "holiday": 1.0, "carrier": "WN", "gust": 37.0}
    assert not any(flagged(**{name: value}) for name, value in rare.items())
    assert flagged(**rare)


def test_two_common_values_that_never_come_together_are_not_seen() -> None:
    """The price of a product of marginals: snow in July passes, each of them being common."""
    contract = Contract("weather", "regression", (FeatureContract("a", "numeric"), FeatureContract("b", "numeric")))
    chance = np.random.default_rng(1)
    a = chance.normal(size=ROWS)
    detecting = detector(guarded(contract, {"a": a, "b": a + chance.normal(0, 0.01, ROWS)}))
    apart = inputs({"a": np.array([1.5]), "b": np.array([-1.5])}, contract)
    assert detecting.unusual(apart) == []


def test_the_score_rises_with_the_distance_beyond_the_range() -> None:
    wind = [score(wind=10 + 2 * sd) for sd in (1, 3, 5, 6, 8, 10, 50)]
    assert wind == sorted(wind)
    assert score(wind=30.0) > score(wind=18.5) + 30


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
def test_the_promised_share_of_new_rows_from_the_same_source_is_flagged(share: float) -> None:
    detecting = detector(guarded(share=share))
    found = len(detecting.unusual(inputs(rows(200_000, seed=9)))) / 200_000
    assert found == pytest.approx(share, rel=0.35)


def test_of_few_rows_the_share_is_promised_too_since_each_is_scored_by_the_others() -> None:
    """Scored by histograms that hold them, training rows look more usual than new ones: more would be flagged."""
    shares = []
    for seed in range(40):
        detecting = detector(guarded(columns=rows(200, seed=seed), share=0.05))
        shares.append(len(detecting.unusual(inputs(rows(2_000, seed=1_000 + seed)))) / 2_000)
    assert np.mean(shares) == pytest.approx(0.05, abs=0.015)


def test_fewer_rows_than_the_share_needs_still_give_a_threshold() -> None:
    detecting = detector(guarded(columns=rows(60)))
    assert detecting.unusual(inputs(rows(60))) == []
    assert detecting.unusual(
        inputs({name: np.array([value]) for name, value in {**TYPICAL, "wind": 400.0}.items()})
    ) == [0]


def test_tied_scores_are_not_flagged() -> None:
    contract = Contract("coins", "regression", (FeatureContract("side", "categorical", categories=("heads", "tails")),))
    sides = np.array(["heads"] * 995 + ["tails"] * 5)
    detecting = detector(guarded(contract, {"side": sides}))
    assert detecting.unusual(inputs({"side": sides}, contract)) == []


def test_a_missing_value_is_judged_by_how_often_training_lacked_it() -> None:
    columns = rows()
    columns["carrier"][:2] = ""
    detecting = detector(guarded(columns=columns))
    lacks = {
        name: float(
            detecting.scores(inputs({**{k: np.array([v]) for k, v in TYPICAL.items()}, name: np.array([gap])}))[0]
        )
        for name, gap in (("gust", np.nan), ("wind", np.nan), ("carrier", ""))
    }
    assert lacks["gust"] < lacks["wind"] < lacks["carrier"]


def test_a_missing_value_hides_nothing_that_is_far_out_beside_it() -> None:
    assert flagged(wind=np.nan, fare=90_000.0)
    assert flagged(fare=90_000.0, gust=np.nan, carrier="")


def test_a_category_that_training_never_had_scores_no_less_than_the_rarest() -> None:
    assert score(carrier="ZZ") > score(carrier="WN") > score(carrier="UA") > score(carrier="AA")


def test_columns_without_a_value_or_with_one_are_no_obstacle() -> None:
    contract = Contract(
        "odd",
        "regression",
        tuple(FeatureContract(name, "numeric", missing="allow") for name in ("never", "same", "plain")),
    )
    chance = np.random.default_rng(2)
    columns = {"never": np.full(500, np.nan), "same": np.full(500, 7.0), "plain": chance.normal(size=500)}
    detecting = detector(guarded(contract, columns, share=0.01))

    def found(never: float, same: float, plain: float) -> list[int]:
        row = {"never": np.array([never]), "same": np.array([same]), "plain": np.array([plain])}
        return detecting.unusual(inputs(row, contract))

    assert found(np.nan, 7.0, 0.0) == []
    assert found(np.nan, 700.0, 0.0) == [0]
    assert found(np.nan, np.nan, 0.0) == found(3.0, 7.0, 0.0)


def test_contracts_of_numbers_of_texts_or_of_nothing_but_times_are_guarded() -> None:
    for kept in ({"wind"}, {"carrier"}, {"wind", "carrier"}):
        contract = replace(CONTRACT, features=tuple(each for each in FEATURES if each.name in kept))
        detecting = detector(guarded(contract))
        assert detecting.scores(inputs(rows(10), contract)).shape == (10,)
    time_only = replace(CONTRACT, features=(FeatureContract("at", "time"),))
    assert detector(guarded(time_only, {"at": np.arange(5.0)})).unusual(inputs({"at": np.arange(9.0)}, time_only)) == []


def test_times_are_passed_over() -> None:
    contract = replace(CONTRACT, features=(*FEATURES, FeatureContract("at", "time")))
    columns = rows() | {"at": np.arange(float(ROWS))}
    later = rows(1_000, seed=3) | {"at": np.full(1_000, 9e9)}
    found = detector(guarded(contract, columns)).scores(inputs(later, contract))
    assert found == pytest.approx(DETECTOR.scores(inputs(later)))


def test_a_guard_survives_json_and_the_same_rows_give_the_same_in_any_order() -> None:
    text = json.dumps(GUARDED.to_json(), allow_nan=False)
    assert Contract.from_json(json.loads(text)) == GUARDED
    order = np.random.default_rng(4).permutation(ROWS)
    shuffled = {name: column[order] for name, column in rows().items()}
    assert guarded(columns=shuffled) == GUARDED


def test_a_contract_of_before_has_no_guard() -> None:
    document = CONTRACT.to_json()
    del document["guard"]
    old = Contract.from_json(document)
    assert old.guard is None
    assert Detector.of(old) is None


@pytest.mark.parametrize("part", ["numbers", "texts", "threshold"])
def test_a_guard_that_lacks_a_part_or_is_another_contracts_is_refused(part: str) -> None:
    document = json.loads(json.dumps(GUARDED.to_json()))
    del document["guard"][part]
    with pytest.raises(ValueError, match="not a serving contract"):
        Contract.from_json(document)
    if part == "threshold":
        return
    document = json.loads(json.dumps(GUARDED.to_json()))
    document["guard"][part][0]["name"] = "another"
    with pytest.raises(ValueError, match="'another'"):
        Contract.from_json(document)


def test_what_is_stored_stays_small() -> None:
    guard = GUARDED.guard
    assert isinstance(guard, Guard)
    assert max(len(each.edges) for each in guard.numbers) <= MOST_CELLS + 1
    assert len(json.dumps(GUARDED.to_json()["guard"])) < 500 * len(FEATURES)


def test_parts_add_up_to_the_score_and_show_which_feature_it_is() -> None:
    one = inputs({name: np.array([value]) for name, value in {**TYPICAL, "fare": 60_000.0}.items()})
    parts = DETECTOR.parts(one)
    assert parts.sum(axis=1) == pytest.approx(DETECTOR.scores(one))
    names = [feature.name for feature in (*CONTRACT.numeric, *CONTRACT.categorical)]
    assert names[int(parts[0].argmax())] == "fare"


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.floats(width=32, allow_nan=True, allow_infinity=False),
            st.floats(width=32, allow_nan=True, allow_infinity=False),
            st.sampled_from(["a", "b", "c", ""]),
        ),
        min_size=1,
        max_size=60,
    ),
    st.floats(0.001, 0.1),
)
@example([(-3.4028234663852886e38, 3.4028234663852886e38, "a")], 0.001)
def test_whatever_the_columns_hold_scores_are_numbers_and_the_threshold_flags_few_of_them(
    values: list[tuple[float, float, str]], share: float
) -> None:
    features = (
        FeatureContract("x", "numeric", missing="allow"),
        FeatureContract("y", "numeric", missing="allow"),
        FeatureContract("z", "categorical", categories=("a", "b"), missing="allow"),
    )
    contract = Contract("any", "regression", features)
    columns = {
        "x": np.array([v[0] for v in values]),
        "y": np.array([v[1] for v in values]),
        "z": [v[2] for v in values],
    }
    columns["z"] = np.array(columns["z"])
    given_inputs = inputs(columns, contract)
    found = guarded(contract, columns, share=share)
    detecting = detector(Contract.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))))
    scores = detecting.scores(given_inputs)
    assert np.isfinite(scores).all()
    assert detecting.unusual(given_inputs) == (scores > detecting.threshold).nonzero()[0].tolist()
    assert len(detecting.unusual(given_inputs)) <= share * (len(values) + 1) + 1e-9


def test_scoring_a_request_takes_no_longer_than_a_few_steps_of_numpy() -> None:
    """Bound by a ratio, since machines differ: to one look-up in a small array, and for many rows to one pass of
    `searchsorted` over each column."""
    one, many = inputs(rows(1, seed=5)), inputs(rows(1_000, seed=5))
    small, edges = np.zeros(14), np.linspace(0, 1, 24)
    columns = [np.ascontiguousarray(many.numeric[:, 0], dtype=np.float64) for _ in FEATURES]
    step = best(lambda: np.add(small, small).sum(), 200)
    passes = best(lambda: [edges.searchsorted(column) for column in columns], 5)
    assert best(lambda: DETECTOR.unusual(one), 200) < 20 * step
    assert best(lambda: DETECTOR.unusual(many), 5) < 25 * passes


def best(call: Callable[[], object], number: int) -> float:
    """Seconds a call takes when nothing else disturbs it."""
    taken = []
    for _ in range(60):
        started = time.perf_counter()
        for _ in range(number):
            call()
        taken.append((time.perf_counter() - started) / number)
    return min(taken)


SEASONAL = Contract(
    "sales",
    "regression",
    (
        FeatureContract("month", "integer"),
        FeatureContract("price", "numeric"),
        FeatureContract("wind", "numeric"),
        FeatureContract("campaign", "categorical", categories=("c1", "c2", "c3", "c4")),
        FeatureContract("carrier", "categorical", categories=CARRIERS),
    ),
)


def year(first: int, last: int, seed: int, count: int = 8_000) -> tuple[dict[str, Any], Any]:
    """Rows from one month to another, and their moments: a month, a rising price and a campaign of each month; wind and
    carrier stay as they are."""
    chance = np.random.default_rng(seed)
    at = chance.uniform(first, last + 1, count)
    month = np.floor(at)
    columns = {
        "month": month,
        "price": 10 + 3 * at + chance.normal(0, 0.5, count),
        "wind": chance.normal(10, 2, count),
        "campaign": np.char.add("c", month.astype(int).astype(str)),
        "carrier": chance.choice(CARRIERS, count),
    }
    return columns, at


def test_columns_that_leave_their_range_by_themselves_are_found_in_any_order_of_the_rows() -> None:
    columns, at = year(1, 4, seed=1)
    assert leaving(SEASONAL, inputs(columns, SEASONAL), at) == ("month", "price", "campaign")


@pytest.mark.parametrize("count", [30, 500, 20_000])
def test_columns_that_stay_as_they_are_do_not_leave(count: int) -> None:
    for seed in range(10):
        assert leaving(CONTRACT, inputs(rows(count, seed))) == ()


def test_a_season_that_training_could_not_know_is_not_marked_and_what_is_odd_is() -> None:
    columns, at = year(1, 4, seed=1)
    june, _ = year(6, 6, seed=2)
    plain = detector(guarded(SEASONAL, columns))
    left_out = leaving(SEASONAL, inputs(columns, SEASONAL), at)
    known = detector(guarded(SEASONAL, columns, left_out=left_out))
    assert len(plain.unusual(inputs(june, SEASONAL))) == 8_000
    assert len(known.unusual(inputs(june, SEASONAL))) < 8_000 * 0.003
    june["wind"][:50] = 40.0
    assert set(range(50)) <= set(known.unusual(inputs(june, SEASONAL)))
    june["month"][100:150] = np.nan
    assert set(range(100, 150)) <= set(known.unusual(inputs(june, SEASONAL)))
