"""Time and memory of kNN and ridge on many features of random numbers.

    python benchmarks/probes.py --features 1000000 --width 1024 --queries 2048

The features stand in a file in memory's place, as `load_embeddings` gives them, or with
`--in-memory` as an array. Memory is the process's largest, less the features and what
there was before them; kNN's time is also told for `--all-queries`, in proportion.
"""

import argparse
import pathlib
import resource
import tempfile
import time

import numpy as np

from keras_iwm.evaluation import knn_accuracy, ridge_accuracy


def peak():
    """The largest memory that this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main():
    """Measure both probes, the one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=2048)
    parser.add_argument("--all-queries", type=int, default=50_000)
    parser.add_argument("--in-memory", action="store_true")
    arguments = parser.parse_args()
    draws = np.random.default_rng(0)
    labels = draws.integers(0, arguments.classes, arguments.features)
    centres = draws.normal(size=(arguments.classes, arguments.width)).astype("float32")
    shape = (arguments.features, arguments.width)

    def drawn(labels):
        noise = draws.standard_normal((len(labels), arguments.width), "float32")
        return centres[labels] + 8 * noise

    with tempfile.TemporaryDirectory() as folder:
        if arguments.in_memory:
            features = np.empty(shape, "float32")
        else:
            path = pathlib.Path(folder) / "features"
            features = np.memmap(path, "float32", "w+", shape=shape)
        for start in range(0, len(features), 10_000):
            rows = slice(start, start + 10_000)
            features[rows] = drawn(labels[rows])
        test_labels = draws.integers(0, arguments.classes, arguments.queries)
        test = drawn(test_labels)
        size = features.nbytes / 2**30
        print(f"{shape[0]} features of width {shape[1]}, {size:.2f} GiB")
        for name, probe in (("kNN", knn_accuracy), ("ridge", ridge_accuracy)):
            before, start = peak(), time.perf_counter()
            accuracy = probe(features, labels, test, test_labels)
            seconds = time.perf_counter() - start
            whole = ""
            if name == "kNN":
                factor = arguments.all_queries / arguments.queries
                whole = f", {factor * seconds:.0f} s for {arguments.all_queries}"
            print(
                f"{name:6} {seconds:8.1f} s for {arguments.queries} queries{whole}; "
                f"memory grew by {peak() - before:.2f} GiB; accuracy {accuracy:.3f}"
            )


if __name__ == "__main__":
    main()
