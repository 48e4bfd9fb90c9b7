"""Command line of the benchmarks: `scripts/bench NAME [--quick] [--json]`."""

import argparse
import importlib
import json
import sys
import time

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.machine import machine

# Each is a module here with SUMMARY, run(quick) -> figures, and tables(figures) -> [(title, headings, rows)]. One that
# keeps promises has failed(figures) -> those that it broke.
NAMES = (
    "attacks",
    "batch",
    "bootstrap",
    "drift",
    "forecast",
    "gate",
    "labels",
    "memory",
    "models",
    "readout",
    "release",
    "reliability",
    "serving",
    "values",
)

_WIDTH = 140  # of the tables in a file or a pipe


def main() -> int:
    """Run the named benchmark."""
    benchmarks = {name: importlib.import_module(f"scripts.benchmarks.{name}") for name in NAMES}
    listed = "\n".join(f"  {name:<12} {module.SUMMARY}" for name, module in benchmarks.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench", epilog=f"names:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: seconds instead of minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args()
    benchmark = benchmarks[arguments.name]

    started = time.perf_counter()
    figures = benchmark.run(quick=arguments.quick)
    answer = {
        "benchmark": arguments.name,
        "quick": arguments.quick,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
        **figures,
    }
    broken: list[str] = benchmark.failed(figures) if hasattr(benchmark, "failed") else []
    if broken:
        print(f"broken promises: {'; '.join(broken)}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(answer))
        return 1 if broken else 0
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for title, headings, rows in benchmark.tables(figures):
        table = Table(*headings, title=title, title_justify="left")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        console.print(table)
    described = ", ".join(f"{name} {value}" for name, value in answer["machine"].items())
    console.print(f"{benchmark.SUMMARY}\n{described}\ntook {answer['seconds']} s", highlight=False)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
