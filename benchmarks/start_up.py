"""Seconds to import the library, and to the first training step, on each backend.

    python benchmarks/start_up.py --rounds 7

Every measurement is a process of its own. `import keras` and `import keras_iwm` take
turns, so that a noisy machine disturbs them alike. The first round only fills the
system's file cache and does not count. The medians are printed; `added` is the median
of the differences within a round: what this library costs on top of Keras. --output
writes JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import turns

# What the table shows, and how wide.
COLUMNS = {
    "import_keras": 13,
    "import_keras_iwm": 11,
    "added": 7,
    "build": 7,
    "first_step": 12,
    "altogether": 12,
}

IMPORT = """
import time
start = time.perf_counter()
import {module}
print("result", time.perf_counter() - start)
"""

# Seconds from the start of the program; the interpreter's own start is not in it.
FIRST_STEP = """
import time
start = time.perf_counter()
import numpy as np
import keras_iwm
imported = time.perf_counter()
model = keras_iwm.models.ImageWorldModel.from_preset({preset!r}, False, seed=0)
model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
images = np.zeros(({batch_size}, *model.image_size, 3), "uint8")
built = time.perf_counter()
model.fit(images, batch_size={batch_size}, verbose=0)
stepped = time.perf_counter()
print("result", imported - start, built - imported, stepped - built)
"""


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of each import")
    parser.add_argument("--step-rounds", type=int, default=3, help="first steps")
    parser.add_argument("--preset", default="iwm_tiny_32")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--backends", nargs="+", choices=turns.BACKENDS, default=turns.BACKENDS
    )
    parser.add_argument("--output", help="path of the JSON file")
    return parser.parse_args()


def seconds_of(program, backend):
    """Run a program in a fresh process, and return the seconds it tells."""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("result"))
    return [float(seconds) for seconds in line.split()[1:]]


def main():
    """Take the measurements in turns and report them."""
    arguments = parse_arguments()
    backends = turns.installed(arguments.backends)
    imports = {backend: {"keras": [], "keras_iwm": []} for backend in backends}
    steps = {backend: [] for backend in backends}
    for turn in range(arguments.rounds + 1):
        for backend in backends:
            for module, seconds in imports[backend].items():
                (duration,) = seconds_of(IMPORT.format(module=module), backend)
                if turn:
                    seconds.append(duration)
    program = FIRST_STEP.format(
        preset=arguments.preset, batch_size=arguments.batch_size
    )
    for _ in range(arguments.step_rounds):
        for backend in backends:
            steps[backend].append(seconds_of(program, backend))

    results = {}
    print(f"seconds; first step of {arguments.preset}, batch {arguments.batch_size}")
    print("backend     import keras  keras_iwm  added  build  first step  altogether")
    for backend in backends:
        keras, library = imports[backend]["keras"], imports[backend]["keras_iwm"]
        pairs = zip(keras, library, strict=True)
        parts = zip(*steps[backend], strict=True)
        imported, built, stepped = (statistics.median(part) for part in parts)
        results[backend] = {
            "import_keras": statistics.median(keras),
            "import_keras_iwm": statistics.median(library),
            "added": statistics.median(after - before for before, after in pairs),
            "build": built,
            "first_step": stepped,
            "altogether": imported + built + stepped,
            "rounds": {**imports[backend], "steps": steps[backend]},
        }
        print(f"{backend:11s}", end="")
        for column, width in COLUMNS.items():
            print(f"{results[backend][column]:{width}.2f}", end="")
        print()
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump({**vars(arguments), "results": results}, file, indent=2)


if __name__ == "__main__":
    main()
