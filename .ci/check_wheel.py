"""Builds wheel and sdist, and uses the wheel as a newcomer does, on each backend.

    python .ci/check_wheel.py
    python .ci/check_wheel.py --backends torch

The wheel must hold the files of keras_iwm that git knows, the sdist what builds it. For
each backend there is a fresh environment without the other two, in which the README's
first block, a save and a load, and `keras-iwm check` must run.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = ("jax", "tensorflow", "torch")
NEWCOMER = """
import importlib.util
import keras
import keras_iwm

assert "site-packages" in keras_iwm.__file__, keras_iwm.__file__
assert keras.backend.backend() == {backend!r}
for other in {others!r}:
    assert importlib.util.find_spec(other) is None, f"{{other}} is installed"

{readme}
loaded = keras.saving.load_model("world_model.keras")
np.testing.assert_array_equal(loaded.feature_encoder.predict(images), latents)
loaded.fit(images, batch_size=64)
keras_iwm.evaluation.evaluate_world_model(
    loaded, images[:2, :32, :32], keras_iwm.evaluation.RetrievalBank(size=4)
)
keras.utils.save_img("photos/good.png", images[0])
open("photos/bad.png", "w").write("no picture")
"""


def run(*command, status=0, **options):
    """Runs a command; its output is shown if it ends with another status."""
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **options
    )
    if result.returncode != status:
        sys.exit(f"{command}: {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def environment(folder, *requirements):
    """A new virtual environment with these packages; its folder of programs."""
    venv.create(folder, with_pip=True)
    pip = (folder / "bin/python", "-m", "pip", "install", "--quiet")
    run(*pip, "-c", ROOT / "constraints.txt", *requirements)
    return folder / "bin"


def build(folder):
    """Builds sdist and, from it, the wheel; the wheel's path."""
    programs = environment(folder / "build", "build")
    run(programs / "python", "-m", "build", "--outdir", folder, ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    known = set(run("git", "ls-files", "keras_iwm", cwd=ROOT).split())
    about = {"LICENSE", "METADATA", "RECORD", "WHEEL", "entry_points.txt"}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    others = {name for name in names if ".dist-info/" in name}
    assert names - others == known, (names - others) ^ known
    assert "keras_iwm/py.typed" in names, "type checkers would not read the types"
    assert {name.rpartition("/")[2] for name in others} == about | {"top_level.txt"}
    with tarfile.open(sdist) as archive:
        files = [member.name for member in archive if member.isfile()]
    names = {name.partition("/")[2] for name in files}
    names = {name for name in names if ".egg-info/" not in name}
    about = {"LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml"}
    assert names == known | about | {"setup.cfg"}, names ^ known
    return wheel


def use(wheel, backend, folder):
    """Installs the wheel with one backend, and takes a newcomer's first steps."""
    programs = environment(folder / backend, f"{wheel}[{backend},images]")
    home = folder / f"home-{backend}"
    (home / "photos").mkdir(parents=True)
    readme = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    others = [name for name in BACKENDS if name != backend]
    program = NEWCOMER.format(backend=backend, others=others, readme=readme[1])
    settings = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH"
    }
    settings |= {"KERAS_BACKEND": backend, "HOME": str(home)}
    run(programs / "python", "-c", program, cwd=home, env=settings)
    command = (programs / "keras-iwm", "check", "photos", "--decode")
    report = run(*command, status=1, cwd=home, env=settings)
    assert "1 bad files\n  photos/bad.png" in report, report
    print(f"{backend}: good", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wheel = build(pathlib.Path(name))
        for backend in arguments.backends:
            use(wheel, backend, pathlib.Path(name))
