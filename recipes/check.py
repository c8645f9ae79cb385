"""Run a recipe and compare what comes out with what it promises.

    python recipes/check.py quickstart
    python recipes/check.py cifar10 --data FOLDER
    python recipes/check.py methods --data FOLDER

It takes as long as the recipe says, and ends with status 1 if a number is too far off.
"""

import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = ("quickstart", "cifar10", "tiny_imagenet", "methods")


def load(name):
    """The recipe of this name, a module."""
    path = ROOT / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def command(recipe, data, output):
    """The words of the recipe's command."""
    words = [sys.executable, str(ROOT / recipe.SCRIPT), "--output", str(output)]
    for option, folder in recipe.DATA.items():
        words += [option, str(pathlib.Path(data) / folder)]
    for option, value in recipe.SETTINGS.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [option, *map(str, values)]
    return words


def results_of(output):
    """The numbers of a run; of a comparison the means over seeds, by method."""
    comparison = output / "comparison.json"
    if not comparison.is_file():
        return json.loads((output / "summary.json").read_text())
    summary = json.loads(comparison.read_text())["summary"]
    return {
        f"{method} {name}": value["mean"]
        for method, values in summary.items()
        for name, value in values.items()
    }


def compare(expected, results):
    """Lines that tell how far off each number is, and whether all are near enough."""
    lines, good = [], True
    for name, (value, tolerance) in expected.items():
        found = results.get(name)
        near = found is not None and abs(found - value) <= tolerance
        good = good and near
        shown = "missing" if found is None else f"{found:.4f}"
        lines.append(
            f"{name:22} {shown:>9}  expected {value:g} +- {tolerance:g}"
            + ("" if near else "  TOO FAR OFF")
        )
    return lines, good


def main():
    """Run one recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=NAMES)
    parser.add_argument("--data", help="folder of the recipe's data")
    parser.add_argument("--output", help="folder for the run, runs/RECIPE by default")
    parser.add_argument("--print", action="store_true", help="print the command only")
    arguments = parser.parse_args()
    recipe = load(arguments.recipe)
    if recipe.DATA and arguments.data is None:
        parser.error(f"{arguments.recipe} needs --data, a folder with {recipe.DATA}.")
    output = pathlib.Path(arguments.output or f"runs/{arguments.recipe}")
    words = command(recipe, arguments.data, output)
    print(" ".join(words), f"\n{recipe.SECONDS} s of training on {recipe.MACHINE}")
    if arguments.print:
        return
    subprocess.run(words, check=True)
    results = results_of(output)
    lines, good = compare(recipe.EXPECTED, results)
    print("\n".join(lines))
    sys.exit(not good)


if __name__ == "__main__":
    main()
