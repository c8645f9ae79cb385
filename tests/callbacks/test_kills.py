"""The short form of `benchmarks/kill_runs.py`."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import pytest

PROGRAM = pathlib.Path(__file__).parents[2] / "benchmarks" / "kill_runs.py"


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the whole program runs on each"
)
def test_a_run_survives_kills_at_random_moments(tmp_path):
    options = ("--kills", "2", "--backends", "torch", "--kinds", "shards")
    subprocess.run(
        [sys.executable, PROGRAM, *options, "--output", tmp_path / "kills.json"],
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])},
        check=True,
        capture_output=True,
    )
    (result,) = json.loads((tmp_path / "kills.json").read_text())
    assert (result["kills"], result["same"]) == (2, True)
