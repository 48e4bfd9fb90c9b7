"""Make the example's files: every hour of a bicycle rental in Washington, D.C., in 2011, and how many bikes went out.

    python examples/bikes/build_dataset.py [FOLDER]

The rows are `bikeshare.csv.gz` beside this file: "Bike Sharing" by Fanaee-T and Gama (UCI Machine Learning Repository,
2013, doi 10.24432/C5W894; CC BY 4.0), of the year 2011, as the PyPI package ISLP 0.6.0 carries it (`Bikeshare.csv`, not
changed). The counts are Capital Bikeshare's, the weather is from freemeteo.com.

- One row is one hour. `rentals` is what went out: `casual` without, and `registered` with a membership.
- `started` is the beginning of the hour in local time, made of the source's day of the year and hour.
- Weather is given here in the units it was measured in; the source has shares of a range, which its description gives.
- `summer.csv` is what a model can learn from (April to August). `november.csv` and `december.csv` come later.
"""

import argparse
import io
from pathlib import Path

import pandas as pd

DATASET = "bikes"
PERIODS = {"summer": ("April", "May", "June", "July", "Aug"), "november": ("Nov",), "december": ("Dec",)}
_YEAR = pd.Timestamp("2011-01-01")
_SOURCE = Path(__file__).with_name("bikeshare.csv.gz")
_NAMES = {"mnth": "month", "hr": "hour", "weathersit": "weather", "bikers": "rentals"}
_RANGES = {"temp": (-8, 39), "atemp": (-16, 50), "hum": (0, 100), "windspeed": (0, 67)}
_MEASURED = {"temp": "temperature", "atemp": "feels_like", "hum": "humidity", "windspeed": "wind"}


def hours() -> pd.DataFrame:
    """The table, in the order of the source; temperatures in degrees Celsius, humidity in percent, wind in km/h."""
    table = pd.read_csv(_SOURCE)
    for name, (low, high) in _RANGES.items():
        table[name] = (low + table[name] * (high - low)).round(1) + 0.0  # no -0.0
    table.insert(0, "started", (_YEAR + pd.to_timedelta((table["day"] - 1) * 24 + table["hr"], unit="h")).astype(str))
    return table.rename(columns=_NAMES | _MEASURED)


def build(period: str = "summer") -> bytes:
    """The rows of one of the PERIODS as a CSV file."""
    table = hours()
    return table[table["month"].isin(PERIODS[period])].to_csv(index=False, lineterminator="\n").encode()


def main() -> None:
    """Write the files and say what they hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for period in PERIODS:
        content = build(period)
        (folder / f"{period}.csv").write_bytes(content)
        table = pd.read_csv(io.BytesIO(content))
        rentals, temperature = table["rentals"].mean(), table["temperature"].mean()
        print(f"{folder / period}.csv: {len(table):,} hours, {rentals:.0f} rentals in each, {temperature:.0f} °C")
    print("origin: UCI Bike Sharing (Fanaee-T and Gama, 2013); licence: CC-BY-4.0")


if __name__ == "__main__":
    main()
