"""Make the example's dataset: 442 people with diabetes, and how far the disease had gone a year later.

    python examples/diabetes/build_dataset.py [diabetes.csv]

The rows come with scikit-learn (BSD-3-Clause; `load_diabetes`, here in the units they were measured in). Their source
is Efron, Hastie, Johnstone and Tibshirani, "Least Angle Regression" (Annals of Statistics 32, 2004, 407-499).

- One row is one person. `progression` is a measure of the disease one year after the other columns were measured, from
  25 to 346; the source does not name its unit.
- `sex` has two values that the source does not explain; they stay "sex 1" and "sex 2".
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_diabetes

DATASET = "diabetes"
_NAMES = {
    "bp": "blood_pressure",
    "s1": "cholesterol",
    "s2": "ldl",
    "s3": "hdl",
    "s4": "cholesterol_by_hdl",
    "s5": "log_triglycerides",
    "s6": "glucose",
}


def patients() -> pd.DataFrame:
    """The table, in the order of the source."""
    source: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    table = source.rename(columns=_NAMES | {"target": "progression"})
    table["sex"] = "sex " + table["sex"].astype(int).astype(str)
    table.insert(0, "patient", [f"P{number:03d}" for number in range(1, len(table) + 1)])
    return table


def build() -> bytes:
    """The whole table as one CSV file."""
    return patients().to_csv(index=False, lineterminator="\n").encode()


def main() -> None:
    """Write the file and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=Path("diabetes.csv"))
    target: Path = parser.parse_args().file
    target.write_bytes(build())
    outcome = patients()["progression"]
    print(
        f"{target}: {len(outcome)} people, {target.stat().st_size:,} bytes; progression from {outcome.min():g} to "
        f"{outcome.max():g}, mean {outcome.mean():.1f}, standard deviation {outcome.std():.1f}"
    )
    print("origin: Efron et al. 2004, in scikit-learn on PyPI; licence: BSD-3-Clause")


if __name__ == "__main__":
    main()
