"""The Python that develops and that of the Lambda runtime train the same bytes, give the same answers, and reproduce
each other's versions. What differs is named here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from infra import layers

PROGRAM = Path(__file__).with_name("train_and_reproduce.py")
LIBRARY = layers.ROOT / "layers" / "core" / "python"
MEASURED = {"evaluation.json", "report.json"}
"""They have times and memory; what else is in them, the reproduction compares."""


class Part(NamedTuple):
    """What came of one interpreter."""

    kept: Path
    said: dict[str, Any]

    def objects(self) -> dict[str, bytes]:
        """What was stored, but for what is measured."""
        files = [file for file in self.kept.rglob("*") if file.is_file() and file.name not in MEASURED]
        return {file.relative_to(self.kept).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Part, Part]:
    """Here, and then in the Python of the local cloud's functions."""
    runtime = layers.local_python()
    if runtime.version == ".".join(map(str, sys.version_info[:3])):
        pytest.skip(
            f"there is one Python to compare, {runtime.version}: with another for tests, and Python "
            f"{layers.LAMBDA_PYTHON} for functions (scripts/build_layers --target local), this test compares both"
        )
    folder = tmp_path_factory.mktemp("results")
    csv = folder / "trips.csv"
    csv.write_text(trips(), "utf-8")
    built = [layers.build("local", layer).folder / "python" for layer in ("training", "data", "serving")]
    here = run(sys.executable, [LIBRARY], csv, folder / "here")
    return here, run(runtime.path, [LIBRARY, *built], csv, folder / "there", here.kept)


def run(python: str, path: list[Path], csv: Path, kept: Path, *before: Path) -> Part:
    """The program in an interpreter, in the environment of a function."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, path)), "TZ": ":UTC", "LANG": "en_US.UTF-8"}
    command = [python, "-B", str(PROGRAM), *map(str, (csv, kept, *before))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Part(kept, json.loads(done.stdout))


def trips(rows: int = 1_000) -> str:
    """A table with something to learn."""
    chance = np.random.default_rng(7)
    line = chance.choice(["blue", "red", "green"], rows)
    wind, rain = chance.uniform(0, 60, rows).round(3), chance.exponential(3, rows).round(3)
    delay = (0.8 * wind + 2 * rain + 10 * (line == "red") + chance.normal(0, 12, rows)).round(3)
    lines = [",".join(map(str, each)) for each in zip(line, wind, rain, delay, delay > 40, strict=True)]
    return "\n".join(["line,wind,rain,delay,late", *lines, ""])


def test_everything_that_is_stored_has_the_same_bytes_but_for_what_names_the_environment(
    parts: tuple[Part, Part],
) -> None:
    here, there = (part.objects() for part in parts)
    assert here.keys() == there.keys()
    assert {key for key in here if key.endswith("/model.onnx")}
    assert {key.rpartition("/")[2] for key in here if here[key] != there[key]} == {"environment.json"}


def test_the_answers_are_the_same(parts: tuple[Part, Part]) -> None:
    here, there = (part.said["answers"] for part in parts)
    assert here == there
    assert len(here) == 3


def test_the_python_of_functions_reproduces_what_the_other_made(parts: tuple[Part, Part]) -> None:
    for model, found in parts[1].said["reproduced"].items():
        assert found["equal"], model
        different = {each for each in found["differences"] if not each.startswith("package ")}
        assert different == {"python"}, model
    assert len(parts[1].said["reproduced"]) == 3
