"""What all tests share."""

import importlib.util
import os

# TensorFlow imported before torch can crash the process.
if importlib.util.find_spec("torch"):
    import torch  # noqa: F401

os.environ.setdefault("KERAS_BACKEND", "jax")
# Most of the time here goes into compiling small models: let XLA optimise less. The
# tests across backends, in processes of their own, run what a user runs.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

import keras
import pytest


@pytest.fixture(autouse=True)
def _same_start():
    """Give every test the same random initial weights, whatever ran before."""
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
