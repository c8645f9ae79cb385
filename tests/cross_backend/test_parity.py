"""The three backends agree, each in a process of its own.

The tests run in the session of one backend alone (JAX if it is installed): they would
do the same work in the others.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

BACKENDS = [
    name for name in ("jax", "tensorflow", "torch") if importlib.util.find_spec(name)
]
WORKER = pathlib.Path(__file__).with_name("worker.py")

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != BACKENDS[0] or len(BACKENDS) < 2,
    reason="runs once for all backends",
)


def on_all_backends(*arguments):
    for backend in BACKENDS:
        result = subprocess.run(
            [sys.executable, str(WORKER), *map(str, arguments)],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": str(WORKER.parents[2]),
            },
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"{backend}: {result.stderr[-3000:]}"


@pytest.mark.parametrize(("optimizer", "tolerance"), [("sgd", 1e-6), ("adamw", 1e-4)])
def test_same_weights_and_views_give_the_same_three_steps(
    tmp_path, optimizer, tolerance
):
    on_all_backends("train", tmp_path, optimizer)
    results = []
    for backend in BACKENDS:
        with np.load(tmp_path / f"{optimizer}_{backend}.npz") as arrays:
            results.append([arrays[name] for name in arrays.files])
    for other in results[1:]:
        np.testing.assert_allclose(other[0], results[0][0], atol=1e-5)
        for one, two in zip(other[1:], results[0][1:], strict=True):
            np.testing.assert_allclose(one, two, atol=tolerance)


def test_files_cross_backends_and_go_on_training(tmp_path):
    on_all_backends("save", tmp_path)
    assert len(list(tmp_path.glob("*.keras"))) == len(BACKENDS)
    on_all_backends("load", tmp_path)
