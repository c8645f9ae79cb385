"""What all tests share."""

import importlib.util
import os

# TensorFlow imported before torch can crash the process.
if importlib.util.find_spec("torch"):
    import torch  # noqa: F401

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import pytest


@pytest.fixture(autouse=True)
def _same_start():
    """Give every test the same random initial weights, whatever ran before."""
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
