"""What the benchmark of values draws is read alike by every reader of ours."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.benchmarks.values import EUROPEAN, FAULT, OTHERS, OURS, PLAIN, drawn, expected, read_otherwise
from tidegate.domain.data.dataset import Reading


@pytest.mark.parametrize("reader", OURS)
@given(seed=st.integers(0, 2**32), reading=st.sampled_from([PLAIN, EUROPEAN]))
def test_every_reader_takes_a_cell_for_the_same(reader: str, seed: int, reading: Reading) -> None:
    assert read_otherwise(OURS[reader], drawn(25, random.Random(seed)), [reading]) == []


def test_readers_differ_on_what_is_drawn() -> None:
    cells = drawn(500, random.Random(1))
    wanted = expected(cells, PLAIN)
    assert wanted != expected(cells, EUROPEAN)
    assert 50 < wanted.count(FAULT) < 450
    assert wanted.count(None) > 10
    assert all(len(read_otherwise(reader, cells)) > 50 for reader in OTHERS.values())
