"""Tables as people upload them."""

import csv
import io
from typing import Any

import numpy as np

ROWS = 600


def trips(rows: int = ROWS, *, seed: int = 0) -> dict[str, Any]:
    """Columns of a table of trips: 60 days from 2026-01-01, late when the weather is bad and the line is slow."""
    chance = np.random.default_rng(seed)
    day = np.sort(chance.integers(0, 60, rows))
    wind, line = chance.normal(20, 8, rows).round(2), chance.choice(["blue", "green", "red"], rows)
    signal = (wind - 20) / 8 + (line == "red") + chance.normal(size=rows) * 0.8
    return {
        "trip": [f"T{number}" for number in range(rows)],
        "at": [str(np.datetime64("2026-01-01T08:00:00") + np.timedelta64(int(offset), "D")) for offset in day],
        "line": line.tolist(),
        "driver": chance.choice([f"D{number}" for number in range(40)], rows).tolist(),
        "wind": wind.tolist(),
        "stops": chance.integers(3, 30, rows).tolist(),
        "delay": (signal * 10).round(1).tolist(),
        "late": (signal > 0.5).tolist(),
    }


def to_csv(columns: dict[str, Any]) -> bytes:
    """None becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()
