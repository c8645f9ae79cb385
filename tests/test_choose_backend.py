"""A backend that is missing is told of before Keras fails; processes without any."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="no backend takes part"
)
ROOT = pathlib.Path(__file__).parents[1]


def choose(tmp_path, installed, backend=None, config=None):
    """Runs `choose_backend` where only some packages are there; none is imported."""
    for name in installed:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "torch").mkdir(exist_ok=True)  # an empty folder is no package
    if config is not None:
        (tmp_path / "keras.json").write_text(config)
    path = ROOT / "keras_iwm" / "choose_backend.py"
    code = (
        f"import runpy, os; runpy.run_path({str(path)!r})['choose_backend'](); "
        "print(os.environ.get('KERAS_BACKEND'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    environment |= {"KERAS_HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    if backend:
        environment["KERAS_BACKEND"] = backend
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
    )


def test_without_tensorflow_another_one_is_taken_and_named(tmp_path):
    for config in (None, '{"backend": "tensorflow"}', "no JSON"):
        result = choose(tmp_path, ["jax"], config=config)
        assert result.stdout == "jax\n"
        assert "using jax" in result.stderr


def test_what_is_there_is_left_alone(tmp_path):
    assert choose(tmp_path, ["jax", "tensorflow"]).stdout == "None\n"
    assert choose(tmp_path, [], "jax").stderr == ""
    assert choose(tmp_path, [], None, '{"backend": "jax"}').stdout == "None\n"


def test_what_is_not_there_is_told_with_what_is(tmp_path):
    assert "none of JAX" in choose(tmp_path, []).stderr
    result = choose(tmp_path, ["jax"], "torch")
    assert "KERAS_BACKEND asks for the backend torch" in result.stderr
    assert "Set KERAS_BACKEND=jax" in result.stderr
    result = choose(tmp_path, [], None, '{"backend": "torch"}')
    assert "keras.json asks for the backend torch" in result.stderr
