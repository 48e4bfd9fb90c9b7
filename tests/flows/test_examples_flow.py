"""The examples of real data, as they stand: from their builder to a gated, served and reported version."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from examples.digits import build_dataset as digits
from examples.mortgage import build_dataset as mortgage
from tests.flows.conftest import ROOT, House, instances_of, wait_until
from tidegate.cli import exits
from tidegate.domain.serving.contract import SCORES_OUTPUT
from tidegate.domain.serving.prediction import answers, validate
from tidegate.kernel.errors import NotFoundError, RequestInvalidError
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import ROW, Table
from tidegate.messages import RunRef
from tidegate.ml.scoring import OnnxScorer, load

EXAMPLES = ROOT / "examples"
ASKED = 100  # rows of the holdout


@dataclass
class Example:
    """A version that was made of an example's own data by its own spec."""

    house: House
    spec: dict[str, Any]
    run: dict[str, Any]
    rows: pd.DataFrame

    @property
    def model(self) -> str:
        """Its name."""
        return str(self.spec["name"])

    @cached_property
    def report(self) -> dict[str, Any]:
        """The gate's report, with its slices and groups."""
        return self.house.client.report(self.model, self.run["version"])

    @property
    def evaluation(self) -> dict[str, Any]:
        """The evaluation's sections."""
        return dict(self.report["evaluation"]["sections"])

    @property
    def judged(self) -> pd.DataFrame:
        """The dataset's rows that judged, in the order of the holdout."""
        return self.rows.iloc[self.holdout[ROW]]

    @cached_property
    def scorer(self) -> OnnxScorer:
        """The stored artifact, opened here."""
        return load(self._stored("model.onnx"))

    @cached_property
    def holdout(self) -> Table:
        """The rows that judged."""
        return Table.from_npz(self._stored("holdout.npz"))

    @cached_property
    def page(self) -> str:
        """The report as HTML, which is drawn once the version is registered."""
        pages: list[str] = []

        def drawn() -> bool:
            with suppress(NotFoundError):
                pages.append(self.house.client.page(self.model, self.run["version"]))
            return bool(pages)

        wait_until(drawn)
        return pages[0]

    @cached_property
    def served(self) -> list[dict[str, Any]]:
        """What the endpoint answers for the first rows of the holdout."""
        answer = self.house.client.predict(self.model, self.instances)
        assert (answer["version"], answer["reason"]) == (self.run["version"], "champion")
        return list(answer["predictions"])

    @cached_property
    def instances(self) -> list[dict[str, Any]]:
        """The first rows of the holdout as requests."""
        names = [feature["name"] for feature in self.house.client.served(self.model)["features"]]
        return instances_of(self.judged[:ASKED], names)

    def check(self, name: str) -> dict[str, Any]:
        """One check of the gate."""
        (found,) = [check for check in self.report["verdict"]["checks"] if check["name"] == name]
        return dict(found)

    def demand_that_the_artifact_says_the_same(self) -> None:
        """The endpoint's answers are those of the stored bytes, whose scores the gate has judged."""
        contract = self.scorer.contract
        scores = self.scorer.score(validate(contract, self.instances))
        expected = answers(contract, scores)
        assert len(self.served) == ASKED
        assert [{name: one[name] for name in mine} for one, mine in zip(self.served, expected, strict=True)] == expected
        judged = Table.from_npz(self._stored("holdout_scores.npz"))[SCORES_OUTPUT]
        assert np.abs(judged[:ASKED] - scores).max() <= 1e-6

    def demand_that_the_page_is_one_file_that_names(self, *names: str) -> None:
        """No script, no style sheet, no picture of elsewhere."""
        assert self.page.lstrip().lower().startswith("<!doctype html>")
        assert self.page.count("<svg") >= 3
        assert not re.search(r"<script|<link|@import|<iframe|(?:src|href)\s*=\s*[\"'](?!#|data:)", self.page)
        text = re.sub(r"<[^>]+>", " ", self.page)
        for name in (self.model, *names):
            assert name in text, f"the page of {self.model} does not name {name}"

    def _stored(self, name: str) -> bytes:
        cloud = self.house.cloud
        bucket = cloud.client("ssm").get_parameter(Name="/tidegate/dev/artifacts-bucket")["Parameter"]["Value"]
        key = RunRef(model=self.model, run_id=self.run["run_id"]).key(RunFile(name))
        body: bytes = cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body


def added(house: House, builder: ModuleType, **about: Any) -> pd.DataFrame:
    """Build the file and add it to the catalog."""
    content: bytes = builder.build()
    entry = {"name": f"{builder.DATASET}.csv", "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    house.client.describe_dataset(builder.DATASET, {"owner": "you@example.com"} | about)
    (plan,) = house.client.plan_uploads(builder.DATASET, [entry])
    house.client.upload(plan, lambda: io.BytesIO(content), len(content))
    version = house.client.add_dataset_version(builder.DATASET, [entry])["version"]
    found = house.client.wait_for_dataset(builder.DATASET, version)
    assert found["status"] == "ready", found["problem"]
    return pd.read_csv(io.BytesIO(content))


def trained(house: House, spec: str) -> dict[str, Any]:
    """Apply a spec and train it; the run once it is over."""
    model = yaml.safe_load(spec)["name"]
    house.client.apply_model(model, spec)
    run = house.client.start_run(model, None)["run"]
    return house.over(model, run["run_id"])


def released(house: House, builder: ModuleType, name: str, **about: Any) -> Example:
    """What the README's commands do, with the spec as it stands."""
    rows = added(house, builder, **about)
    text = (EXAMPLES / name / f"{name}.yaml").read_text()
    run = trained(house, text)
    assert run["status"] == "accepted", house.client.version(run["model"], run["version"])["reasons"]
    return Example(house, yaml.safe_load(text), run, rows)


# --- mortgages: groups and slices -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mortgages(house: House) -> Example:
    about = {"origin": "HMDA of the R package AER", "licence": "GPL-3.0-only", "outcome": list(mortgage.OUTCOME)}
    return released(house, mortgage, "mortgage", **about)


def test_a_mortgage_is_decided_by_the_bytes_that_were_judged_at_the_threshold_that_is_worth_most(
    mortgages: Example,
) -> None:
    mortgages.demand_that_the_artifact_says_the_same()
    threshold = mortgages.evaluation["threshold"]
    assert threshold["chosen_by"] == "value"
    assert threshold["value_per_1000"]["value"] > 0
    assert [one["label"] for one in mortgages.served] == [
        one["score"] >= threshold["value"] for one in mortgages.served
    ]


def test_the_races_are_compared_although_the_model_does_not_see_them(mortgages: Example) -> None:
    assert not {"race", "household", "insurance_denied"} & set(mortgages.instances[0])
    race = mortgages.evaluation["fairness"]["race"]
    groups = {group["group"]: group for group in race["groups"]}
    assert {name: group["rows"] for name, group in groups.items()} == mortgages.judged["race"].value_counts().to_dict()
    black, other = (groups[name]["positive_rate"] for name in ("Black", "other"))
    parity = race["demographic_parity"]
    assert parity["value"] == pytest.approx(other - black)
    assert parity["low"] > 0  # no luck of the holdout
    assert race["equalized_odds"] is None  # too few of one group were refused
    fairness = mortgages.check("fairness")
    assert fairness["outcome"] == "pass"
    assert "demographic parity of race" in fairness["statement"]


def test_mortgages_are_judged_apart_for_each_desk(mortgages: Example) -> None:
    slices = {(part["column"], part["value"]): part for part in mortgages.evaluation["slices"]}
    assert set(slices) == {(name, value) for name in ("condominium", "self_employed") for value in ("true", "false")}
    assert not any(part["too_few"] for part in slices.values())


def test_the_page_of_mortgages_names_groups_slices_and_what_decisions_are_worth(mortgages: Example) -> None:
    names = ("Black", "household", "demographic parity 0.2", "self_employed true", "USD for 1,000 decisions")
    mortgages.demand_that_the_page_is_one_file_that_names(*names, "housing_ratio / payment_ratio", "GPL-3.0-only")


def test_a_limit_that_the_model_does_not_keep_turns_it_away_and_the_version_before_serves_on(
    mortgages: Example,
) -> None:
    strict = (EXAMPLES / "mortgage" / "mortgage.yaml").read_text()
    strict = strict.replace("demographic_parity: 0.25", "demographic_parity: 0.19")  # as far apart as the bank's own
    strict = re.sub(r"  - estimator: .*RandomForest.*\n.*\n", "", strict)
    run = trained(mortgages.house, strict)
    assert run["status"] == "rejected"
    (reason,) = mortgages.house.client.version(mortgages.model, run["version"])["reasons"]
    assert "demographic parity of race" in reason
    assert "0.19 is allowed" in reason
    assert mortgages.house.client.served(mortgages.model)["version"] == mortgages.run["version"]


# --- diabetes: a number with its interval -----------------------------------------------------------------------------


def block_under(heading: str) -> str:
    """The commands of a section of the README, as one would paste them."""
    _, _, section = (ROOT / "README.md").read_text("utf-8").partition(f"\n## {heading}\n")
    return textwrap.dedent("".join(re.findall(r"(?:^    .*\n)+", section.partition("\n## ")[0], re.MULTILINE)))


@pytest.fixture(scope="module")
def patients(house: House, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Released by the commands of the README as they stand, pasted into a shell where a local cloud is up."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(EXAMPLES)
    for made in (".build", ".tidegate"):
        (folder / made).mkdir()
    keys = house.cloud.env()
    state = {"endpoint_url": house.cloud.endpoint_url, "region": keys["AWS_DEFAULT_REGION"], "stage": "dev"}
    credentials = {name: keys[name] for name in keys if "ACCESS_KEY" in name}
    (folder / ".tidegate" / "local.json").write_text(json.dumps(state | {"credentials": credentials}))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        ["bash", "-ec", block_under("Your model")],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == exits.OK, said.stdout + said.stderr
    assert "diabetes-progression" in said.stdout
    spec = yaml.safe_load((EXAMPLES / "diabetes" / "diabetes.yaml").read_text())
    (run,) = house.client.runs(spec["name"])
    return Example(house, spec, run, pd.read_csv(folder / ".build" / "diabetes.csv"))


def test_the_columns_that_the_readme_adds_as_outcomes_are_a_guard(patients: Example) -> None:
    """Pasting a block again with fewer options takes nothing away."""
    known = patients.house.client.dataset("diabetes")
    described = {field: known[field] for field in ("origin", "licence", "owner")}
    patients.house.client.describe_dataset("diabetes", described | {"outcome": ["progression"]})
    with pytest.raises(RequestInvalidError, match=r"outcome\.progression: would no longer be an outcome") as refused:
        patients.house.client.describe_dataset("diabetes", described)
    assert refused.value.status == 428
    assert patients.house.client.dataset("diabetes")["outcome"] == ["progression"]


def test_a_patients_number_comes_with_the_interval_that_was_measured(patients: Example) -> None:
    patients.demand_that_the_artifact_says_the_same()
    width = patients.evaluation["residuals"]["interval"]["width"]
    outcomes = patients.judged["progression"].to_numpy()[:ASKED]
    assert all(one["upper"] - one["lower"] == pytest.approx(width, rel=1e-5) for one in patients.served)
    held = [one["lower"] <= outcome <= one["upper"] for one, outcome in zip(patients.served, outcomes, strict=True)]
    assert np.mean(held) > 0.8


def test_the_holdout_says_how_many_outcomes_the_intervals_of_patients_hold(patients: Example) -> None:
    residuals = patients.evaluation["residuals"]
    coverage = residuals["interval"]["coverage"]
    assert coverage["low"] <= 0.9 + 0.05
    assert coverage["high"] >= 0.9
    histogram = residuals["histogram"]
    assert sum(histogram["counts"]) + histogram["below"] + histogram["above"] == len(patients.holdout)
    assert {group["group"] for group in patients.evaluation["fairness"]["sex"]["groups"]} == {"sex 1", "sex 2"}


def test_the_page_of_patients_shows_residuals_and_coverage(patients: Example) -> None:
    names = ("Residuals of the holdout", "Intervals of 90 %", "10 * bmi - 118", "sex 1", "BSD-3-Clause")
    patients.demand_that_the_page_is_one_file_that_names(*names)


# --- digits: ten classes ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numerals(house: House) -> Example:
    return released(house, digits, "digits", origin="UCI, in scikit-learn on PyPI", licence="CC-BY-4.0")


def test_a_digit_comes_with_the_probability_of_each_class(numerals: Example) -> None:
    numerals.demand_that_the_artifact_says_the_same()
    for one in numerals.served:
        assert set(one["probabilities"]) == set(digits.WORDS)
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert one["score"] == one["probabilities"][one["label"]] == max(one["probabilities"].values())
    right = [one["label"] == digit for one, digit in zip(numerals.served, numerals.judged["digit"], strict=False)]
    assert np.mean(right) > 0.85


def test_a_writer_is_either_learned_from_or_judged_on(numerals: Example) -> None:
    writers = set(numerals.judged["writer"])
    others = numerals.rows.drop(index=numerals.judged.index)
    assert len(writers) >= 3
    assert not writers & set(others["writer"])


def test_of_the_probability_of_a_digit_so_many_come_true(numerals: Example) -> None:
    calibration = numerals.evaluation["calibration"]
    assert sum(each["rows"] for each in calibration["bins"]) == len(numerals.holdout)
    assert numerals.check("calibration")["outcome"] == "pass"
    chosen = numerals.run["candidates"][numerals.run["selected"]]["estimator"]
    assert chosen == "sklearn.linear_model.LogisticRegression"  # the trees are right more often, and do not know it
    assert numerals.report["evaluation"]["metrics"]["accuracy"]["value"] > 0.85


def test_the_page_of_digits_has_all_classes_and_pixels(numerals: Example) -> None:
    names = (*digits.WORDS, "p01", "p77", "Expected calibration error", "log_loss", "CC-BY-4.0")
    numerals.demand_that_the_page_is_one_file_that_names(*names)
