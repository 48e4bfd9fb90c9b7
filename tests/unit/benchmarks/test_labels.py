"""What the page of monitoring says of the two checks of reported outcomes; `scripts/bench labels` measures it all."""

import pytest

from scripts.benchmarks.labels import GUARDS, GUESSES, PROMISED, REVERSED, contradicted, people_asked

WINDOWS, VERSIONS = 100, 40


def share(name: str) -> float:
    outcomes = (GUESSES | REVERSED)[name]
    return sum(contradicted(outcomes, seed) for seed in range(WINDOWS)) / WINDOWS


def asked(name: str) -> float:
    return sum(people_asked(GUARDS[name], seed) for seed in range(VERSIONS)) / VERSIONS


@pytest.mark.simulation
def test_a_model_that_guesses_is_contradicted_as_rarely_as_promised_also_while_a_class_waits_for_its_labels() -> None:
    most = PROMISED + 3 * (PROMISED * (1 - PROMISED) / WINDOWS) ** 0.5
    assert share("guesses; independent rows") <= most
    assert share("guesses; 80 % of the positives have no label yet") <= most


@pytest.mark.simulation
def test_clusters_make_contradictions_of_guesses_and_hardly_any_of_a_model_that_knows_something() -> None:
    assert share("guesses; clusters of 10 rows") > 0.1  # so the page says
    assert share("AUC 0.64; clusters of 10 rows") <= 0.05
    assert share("AUC 0.76; 90 % of the positives with high scores have no label yet") <= 0.02


@pytest.mark.simulation
def test_most_outcomes_that_are_the_wrong_way_round_are_a_contradiction() -> None:
    assert share("AUC 0.76; 70 % of the outcomes are the wrong way round") >= 0.95


@pytest.mark.simulation
def test_people_are_asked_about_what_loses_the_margin_and_seldom_about_what_is_as_good() -> None:
    assert asked("as good; 2,000 rows") <= 0.05
    assert asked("worse by the margin; 2,000 rows") >= 0.85
    assert asked("worse by twice the margin; 600 rows") >= 0.95
