"""Recipes make commands that their scripts understand, and judge what comes out."""

import importlib.util
import json
import pathlib
import subprocess

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("check", ROOT / "recipes" / "check.py")
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)


@pytest.mark.parametrize("name", check.NAMES)
def test_options_are_the_scripts_own(name):
    recipe = check.load(name)
    words = check.command(recipe, "photos", "run")
    options = {word for word in words if word.startswith("--")}
    assert set(recipe.SETTINGS) | set(recipe.DATA) | {"--output"} == options
    script = ROOT / recipe.SCRIPT
    name = script.name.replace("compare_methods", "compare")
    program = ROOT / "keras_iwm" / "commands" / name
    files = [script, program, program.with_name("pretraining_options.py")]
    source = "".join(path.read_text() for path in files if path.is_file())
    for option in options:
        assert f'"{option}"' in source, option
    assert 0 < recipe.SECONDS < 7200
    for value, tolerance in recipe.EXPECTED.values():
        assert 0 < tolerance < value


def test_a_comparison_is_judged_by_its_means(tmp_path):
    summary = {"mae": {"knn": {"mean": 0.25, "low": 0.2, "high": 0.3}}}
    (tmp_path / "comparison.json").write_text(json.dumps({"summary": summary}))
    assert check.results_of(tmp_path) == {"mae knn": 0.25}


def test_a_number_too_far_off_is_told():
    expected = {"mrr": (0.2, 0.02), "rankme": (10.0, 1.0)}
    lines, good = check.compare(expected, {"mrr": 0.219, "rankme": 9.5})
    assert good
    assert "TOO FAR" not in "".join(lines)
    lines, good = check.compare(expected, {"mrr": 0.23})
    assert not good
    assert all("TOO FAR" in line for line in lines)
    assert "missing" in lines[1]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="once is enough")
def test_the_command_is_printed():
    words = check.command(check.load("quickstart"), None, "runs/quickstart")
    command = [words[0], str(ROOT / "recipes" / "check.py"), "quickstart", "--print"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[0].split() == words
