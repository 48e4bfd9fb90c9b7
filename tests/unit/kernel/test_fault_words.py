"""The hint to who typed a name."""

import pytest

from tidegate.kernel.fault_words import did_you_mean, near_names


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("carier", ["carrier", "dest"], ["carrier"]),
        ("CARRIER", ["carrier", "dest"], ["carrier"]),
        ("Mean Temp", ["mean_temp", "max_temp"], ["mean_temp"]),
        ("roc-auc", ["roc_auc", "accuracy"], ["roc_auc"]),
        ("hour", ["Hour", "HOUR", "day"], ["Hour", "HOUR"]),
        (
            "logisticregression",
            ["sklearn.linear_model.LogisticRegression"],
            ["sklearn.linear_model.LogisticRegression"],
        ),
        ("weather", ["carrier", "dest"], []),
        (7, ["seven"], []),
        ("a" * 300, ["a" * 300], []),
    ],
)
def test_near_names_are_found_whatever_their_case_and_the_signs_between_words(
    typed: object, known: list[str], meant: list[str]
) -> None:
    assert near_names(typed, known) == meant
    assert did_you_mean(typed, known) == (f"; did you mean {' or '.join(map(repr, meant))}?" if meant else "")
