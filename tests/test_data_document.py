"""The programs in docs/data.md run, where their packages are installed."""

import importlib.util
import pathlib
import re

import keras
import pytest

DOCUMENT = pathlib.Path(__file__).parents[1] / "docs" / "data.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="once is enough")
@pytest.mark.parametrize(
    "block", BLOCKS, ids=["shards", "clips", "torch", "webdataset", "hugging_face"]
)
def test_program_runs(block, tmp_path, monkeypatch):
    for name in ("webdataset", "datasets"):
        spec = importlib.util.find_spec(name)
        # A folder of tests is called so too.
        if f"import {name}\n" in block and (spec is None or spec.origin is None):
            pytest.skip(f"{name} is not installed")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block, str(DOCUMENT), "exec"), names)
    assert int(names["model"].optimizer.iterations) == 4
