"""The three backends agree, each in a process of its own.

The tests run under one backend alone (JAX if it is installed): they would
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
        env = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": str(WORKER.parents[2]),
        }
        env.pop("XLA_FLAGS", None)  # compiled as for a user
        result = subprocess.run(
            [sys.executable, str(WORKER), *map(str, arguments)],
            env=env,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"{backend}: {result.stderr[-3000:]}"


def load_arrays(path):
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def test_same_weights_and_views_give_the_same_three_steps_and_colors(tmp_path):
    on_all_backends("compute", tmp_path)
    # Adam amplifies the rounding noise of small gradients, and so do batch norms.
    tolerances = {
        **{"sgd_latents": 1e-6, "sgd_pixels": 1e-6, "adamw_latents": 1e-4},
        **{"colors": 1e-4, "heads": 3e-5, "contrastive": 1e-5},
    }
    for name, tolerance in tolerances.items():
        first, *others = (
            load_arrays(tmp_path / f"{name}_{backend}.npz") for backend in BACKENDS
        )
        for other in others:
            for index, (one, two) in enumerate(zip(other, first, strict=True)):
                is_loss = index == 0 and name.startswith(("sgd", "adamw"))
                np.testing.assert_allclose(
                    one, two, rtol=1e-6, atol=1e-5 if is_loss else tolerance
                )


def test_files_cross_backends_and_go_on_training(tmp_path):
    on_all_backends("save", tmp_path)
    assert len(list(tmp_path.glob("*.keras"))) == len(BACKENDS)
    on_all_backends("load", tmp_path)
