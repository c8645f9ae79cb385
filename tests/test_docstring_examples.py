"""Every example in a docstring runs as it stands."""

import importlib
import inspect
import pkgutil
import re

import keras
import numpy as np
import pytest

import keras_iwm

EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def public_examples():
    """Yield the name and the code of every example of the public names."""
    for module in pkgutil.iter_modules(keras_iwm.__path__):
        # Optional rooms are not imported with the library; they have their own tests.
        if not module.ispkg or not hasattr(keras_iwm, module.name):
            continue
        package = importlib.import_module(f"keras_iwm.{module.name}")
        for name, value in inspect.getmembers(package):
            if name.startswith("_") or inspect.ismodule(value):
                continue
            docstring = inspect.getdoc(value) or ""
            for code in EXAMPLE.findall(docstring):
                yield pytest.param(code, id=f"{module.name}.{name}")


@pytest.mark.parametrize("code", list(public_examples()))
def test_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"keras": keras, "keras_iwm": keras_iwm, "np": np}
    exec(compile(code, "example", "exec"), names)
