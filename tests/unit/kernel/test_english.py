import pytest

from tidegate.kernel.english import count, noun


@pytest.mark.parametrize(
    ("number", "one", "many", "text"),
    [
        (0, "fault", "", "0 faults"),
        (1, "fault", "", "1 fault"),
        (2, "hour", "", "2 hours"),
        (1_200, "fault", "", "1,200 faults"),
        (1.0, "hour", "", "1 hour"),
        (0.5, "hour", "", "0.5 hours"),
        (1, "category", "categories", "1 category"),
        (0, "category", "categories", "0 categories"),
        (3, "category", "categories", "3 categories"),
        (1, "row was", "rows were", "1 row was"),
        (2, "row was", "rows were", "2 rows were"),
    ],
)
def test_a_noun_agrees_with_its_number(number, one, many, text):
    assert count(number, one, many) == text


def test_the_noun_alone():
    assert [noun(each, "point") for each in (0, 1, -2, 0.5)] == ["points", "point", "points", "points"]
