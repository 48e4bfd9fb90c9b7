"""Cost against value, as people read it."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.builders.command_line import Cli
from tests.builders.health import FINE, MODEL, look, serving
from tests.builders.loopback import Loopback
from tests.builders.specs import spec_text
from tidegate.cli import exits
from tidegate.domain.monitoring.costs import Bill, Prices, Spent, Usage, Value

DOLLAR_A_SECOND = Prices(gb_second=1.0, request=0.0, gb_month=0.0, memory_mb=1024)
LATEST, OLD = "2026-01-05-11", "2025-12-28-12"
MINE, THEIRS = Usage(800, 1_000, 20e3, 90, 10), Usage(200, 250, 1e3, 10, 40)


@pytest.fixture
def stage(server: Loopback) -> Loopback:
    """A loopback stage with a model that serves."""
    serving(server.world)
    return server


def billed(
    stage: Loopback,
    model: str = MODEL,
    declared: Value | None = Value(0.5, 1.0),  # noqa: B008
    hours: Mapping[str, Spent] | None = None,
) -> Bill:
    """A look that found what the model used."""
    if model != MODEL:
        stage.world.call("PUT", f"/models/{model}", spec_text(name=model))
    spent = hours or {LATEST: Spent({"1": MINE, "fallback": THEIRS}, 2_500)}
    bill = Bill(
        dict(spent),
        "2026-01-05-12",
        LATEST,
        DOLLAR_A_SECOND,
        declared,
    )
    record = look(stage.world, FINE, model=model)
    found = bill.spike
    document = stage.world.verdicts.read(record.verdicts_key) | {"cost": bill.to_json()}
    key = stage.world.verdicts.write(model, LATEST, document)
    summary = record.summary | {"cost": {"spike": found.sentence if found else ""}}
    changes = {"verdicts_key": key, "summary": summary}
    stage.world.health_records.save(replace(record, revision=record.revision + 1, **changes))
    return bill


def test_a_models_versions_and_its_fallback_each_have_cost_beside_value(run: Cli, stage: Loopback) -> None:
    billed(stage)
    assert run("cost", MODEL, "--json") == exits.OK
    first, second = run.document["lines"]
    assert (first["version"], second["version"]) == ("1", "fallback")
    assert (first["usd"], first["right"], first["wrong"]) == (pytest.approx(20.0), 90, 10)
    assert first["stored_bytes"] == pytest.approx(2_000)
    assert first["value"] == pytest.approx(35.0)
    assert first["net_usd_per_1000"] == pytest.approx(350.0 - 20.0)
    assert second["value"] == pytest.approx(10 * 0.5 - 40)
    assert second["net_usd_per_1000"] == pytest.approx(-700.0 - 4.0)
    (unit,) = run.document["units"]
    assert (unit["business_unit"], unit["usd"], unit["value"]) == (
        "operations",
        pytest.approx(21.0),
        pytest.approx(0.0),
    )


def test_the_table_names_its_window_and_totals_by_business_unit(run: Cli, stage: Loopback) -> None:
    billed(stage)
    assert run("cost") == exits.OK
    assert run.out.startswith("7 days to 2026-01-05-12 UTC, as of the last look; cost in USD")
    lines = [line.split() for line in run.out.splitlines() if line]
    numbers = "1,000 21.0 s 2.5 kB 21.0000 100 50 0.00 USD 123.20 USD"
    assert lines[3] == [MODEL, *numbers.split()]
    assert lines[4][:2] == ["business", "unit"]
    assert lines[5][0] == "operations"
    assert run("cost", "--by", "unit") == exits.OK
    assert len(run.out.splitlines()) == 5


def test_hours_before_the_window_do_not_count(run: Cli, stage: Loopback) -> None:
    spent = Spent({"1": MINE})
    billed(stage, hours={LATEST: spent, OLD: spent})
    run("cost", MODEL, "--json")
    assert run.document["lines"][0]["predictions"] == 1_000
    run("cost", MODEL, "--days", "9", "--json")
    assert run.document["lines"][0]["predictions"] == 2_000


def test_a_model_that_declares_no_value_learns_what_to_do(run: Cli, stage: Loopback) -> None:
    billed(stage, declared=None)
    billed(stage, "demand")
    assert run("cost") == exits.OK
    assert f"{MODEL} has no value: declare `value` in the spec" in run.out
    assert "demand has no value" not in run.out
    run("cost", "--json")
    (unit,) = run.document["units"]
    assert (unit["value"], unit["net_usd_per_1000"]) == (None, None)
    assert unit["usd"] == pytest.approx(42.0)


def test_a_unit_weighs_its_models_by_what_they_decided(run: Cli, stage: Loopback) -> None:
    billed(stage, hours={LATEST: Spent({"1": Usage(300, 300, 0.0, 10, 0)})})
    billed(stage, "demand", Value(1.5), hours={LATEST: Spent({"1": Usage(100, 100, 0.0, 1, 0)})})
    run("cost", "--by", "unit", "--json")
    (unit,) = run.document["lines"]
    assert unit["net_usd_per_1000"] == pytest.approx((300 * 500 + 100 * 1_500) / 400)
    assert unit["value"] == pytest.approx(6.5)


def test_value_in_another_currency_is_reported_and_not_set_against_dollars(run: Cli, stage: Loopback) -> None:
    billed(stage, declared=Value(0.5, 1.0, "EUR"))
    run("cost", MODEL, "--json")
    line = run.document["lines"][0]
    assert (line["value"], line["currency"], line["net_usd_per_1000"]) == (pytest.approx(35.0), "EUR", None)


def test_a_spike_is_named_by_cost_and_by_status(run: Cli, stage: Loopback) -> None:
    quiet = Spent({"1": Usage(10, 10, 100.0)})
    hours = {f"2026-01-0{day}-11": quiet for day in (2, 3, 4)} | {LATEST: Spent({"1": Usage(90, 90, 900.0)})}
    found = billed(stage, hours=hours).spike
    assert found is not None
    for command in ("cost", "status"):
        assert run(command) == exits.OK
        assert found.sentence in run.out
    assert f"tidegate cost {MODEL}" in run.out


def test_models_that_were_never_looked_at_are_named(run: Cli, stage: Loopback) -> None:
    assert run("cost") == exits.OK
    assert run.out == f"\nnot judged yet: {MODEL}\n"
