"""Make the example's dataset: 1,797 handwritten digits of 8 x 8 pixels.

    python examples/digits/build_dataset.py [digits.csv]

The rows come with scikit-learn (`load_digits`). They are the test part of "Optical Recognition of Handwritten Digits"
by Alpaydin and Kaynak (UCI Machine Learning Repository, 1998, doi 10.24432/C50P49; CC BY 4.0).

- One row is one digit. `p00` ... `p77` are row and column of a pixel, 0 (paper) to 16 (ink).
- `digit` is what the writer was asked to write, as a word, since a class is a name and no number.
- `writer`: the file does not name its writers, but each wrote much the same sequence of digits, and the file keeps the
  order, so one sees where a new one begins. The bounds are those of Inria's scikit-learn course ("Sample grouping"); it
  finds 14 where the source speaks of 13 writers.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

DATASET = "digits"
PIXELS = tuple(f"p{row}{column}" for row in range(8) for column in range(8))
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FIRST_OF_WRITER = (0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667)


def digits() -> pd.DataFrame:
    """The table, in the order of the source."""
    images, classes = load_digits(return_X_y=True)
    table = pd.DataFrame(images.astype(np.int64), columns=list(PIXELS))
    rows = np.arange(len(table))
    table.insert(0, "image", [f"D{row:04d}" for row in rows])
    table.insert(1, "writer", [f"W{number:02d}" for number in np.searchsorted(_FIRST_OF_WRITER, rows, side="right")])
    table["digit"] = np.array(WORDS)[classes]
    return table


def build() -> bytes:
    """The whole table as one CSV file."""
    return digits().to_csv(index=False, lineterminator="\n").encode()


def main() -> None:
    """Write the file and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=Path("digits.csv"))
    target: Path = parser.parse_args().file
    target.write_bytes(build())
    table = digits()
    sizes = table["digit"].value_counts()
    print(
        f"{target}: {len(table):,} digits by {table['writer'].nunique()} writers, {target.stat().st_size:,} bytes; "
        f"{sizes.min()} to {sizes.max()} rows of each digit"
    )
    print("origin: UCI Optical Recognition of Handwritten Digits, in scikit-learn on PyPI; licence: CC-BY-4.0")


if __name__ == "__main__":
    main()
