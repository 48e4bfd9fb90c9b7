import pytest

from tidegate.kernel import figures


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.71, "0.71"),
        (0.75123, "0.7512"),
        (12.3456, "12.35"),
        (1234.5, "1,234"),
        (12345.6, "12,346"),
        (3.0, "3"),
        (1_000_000.0, "1,000,000"),
        (2.5e-7, "2.5e-07"),
    ],
)
def test_a_number_has_four_digits(value: float, said: str) -> None:
    assert figures.number(value) == said


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        ((0.7512, 0.7401, 0.7618), "0.751 [0.740, 0.762]"),
        ((0.05, 0.04, 0.06), "0.050 [0.040, 0.060]"),
        ((0.066, 0.0001, 0.13), "0.0660 [0.0001, 0.1300]"),
        ((5_213.0, 4_000.0, 6_400.0), "5,213 [4,000, 6,400]"),
        ((0.5, 0.5, 0.5), "0.500 [0.500, 0.500]"),
    ],
)
def test_an_interval_has_the_decimals_it_is_sure_of(estimate: tuple[float, float, float], said: str) -> None:
    assert figures.interval(*estimate) == said
