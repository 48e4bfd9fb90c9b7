import pytest

from tidegate.kernel.english import count, moment, noun


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


@pytest.mark.parametrize(
    ("iso", "said"),
    [
        ("2013-05-01T00:00:00Z", "2013-05-01"),
        ("2013-05-01", "2013-05-01"),
        ("2013-05-01T00:00", "2013-05-01"),
        ("2013-05-01T17:30:00+00:00", "2013-05-01 17:30"),
        ("2013-05-01T17:30:05", "2013-05-01 17:30:05"),
        ("2013-05-01T00:00:00.000000", "2013-05-01"),
        ("2013-05-01T23:59:00.000001", "2013-05-01 23:59:00.000001"),
    ],
)
def test_moments_are_as_people_write_them(iso: str, said: str) -> None:
    assert moment(iso) == said
