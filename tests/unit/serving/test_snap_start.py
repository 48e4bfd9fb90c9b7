"""What SnapStart asks of the inference function: its start is frozen once and resumed by many environments."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Fails at whatever a copy of this process must not share with another: a moment, chance, an open connection.
LOADED = """
import os, sys, time
import numpy, onnxruntime  # their own start is theirs

def refused(name):
    def asked(*_, **__):
        raise AssertionError(f"{name} was asked while the function was loaded")
    return asked

for module, names in ((time, ("time", "time_ns", "monotonic", "perf_counter")), (os, ("urandom", "getpid"))):
    for name in names:
        setattr(module, name, refused(name))
sys.addaudithook(lambda event, _: refused(event)() if event == "socket.connect" else None)
import functions.inference.handler
print("loaded")
"""


def test_nothing_that_ends_or_must_be_unique_is_made_while_the_function_is_loaded() -> None:
    path = f"{ROOT / 'layers/core/python'}:{ROOT}"
    run = subprocess.run(
        [sys.executable, "-c", LOADED], check=False, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": path}
    )
    assert (run.stdout, run.stderr) == ("loaded\n", "")
