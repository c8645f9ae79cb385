"""The README's Python runs as it stands, one block after the other."""

import pathlib
import re

import keras
import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="once is enough")
def test_blocks_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    # What comments beside the code promise.
    assert names["latents"].shape == (128, 36, 96)
    assert "gamma" in names["own"].action_space.slots
