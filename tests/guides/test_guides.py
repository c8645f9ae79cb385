"""Every guide is in keras.io's format and runs, in its reduced mode."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]
GUIDES = sorted((ROOT / "guides").glob("*.py"))
HEADER = (
    "Title",
    "Author",
    "Date created",
    "Last modified",
    "Description",
    "Accelerator",
)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_guide_has_the_format_of_keras_io(guide):
    text = guide.read_text()
    cells = text.split('"""')
    header = [line.split(": ", 1) for line in cells[1].strip().splitlines()]
    assert tuple(name for name, _ in header) == HEADER
    description = dict(header)["Description"]
    assert len(description) <= 100
    assert re.fullmatch(r"\d{4}/\d\d/\d\d", dict(header)["Date created"])
    # Text cells begin and end at column 0; code stands between them.
    assert all(line.startswith('"""') for line in text.splitlines() if '"""' in line)
    code = "\n".join(cells[2::2])
    assert len([line for line in code.splitlines() if line.strip()]) <= 300
    assert code.index('os.environ.setdefault("KERAS_BACKEND"') < code.index(
        "import keras"
    )


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_guide_runs(guide, tmp_path):
    result = subprocess.run(
        [sys.executable, str(guide)],
        cwd=tmp_path,
        env={
            **os.environ,
            "KERAS_BACKEND": keras.backend.backend(),
            "KERAS_IWM_REDUCED": "1",
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
