"""Random combinations of hostile arguments to everything public, counted.

    KERAS_BACKEND=torch python benchmarks/fuzz_arguments.py --calls 20000

Values and exceptions are those of `tests/hostile_arguments.py`. Each call replaces one
to three of a constructor's or function's right arguments, and at least one of the new
values is wrong. It is to be refused with a ValueError or TypeError that names one of
the replaced arguments; the table says how many were, and what the others did.
"""

import argparse
import collections
import pathlib
import random
import resource
import sys
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from hostile_arguments import CASES, HOSTILE, is_legal, outcome  # noqa: E402


def main():
    """Make the calls and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    draws = random.Random(arguments.seed)
    choices = collections.defaultdict(list)
    for name, argument, label in CASES:
        choices[name].append((argument, label))
    counts, examples = collections.Counter(), collections.defaultdict(set)
    slowest, start = (0.0, ""), time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(arguments.calls):
        name = draws.choice(list(choices))
        labels = dict(draws.sample(choices[name], draws.randint(1, 3)))
        right = [is_legal(name, *pair) for pair in labels.items()]
        if all(right):
            counts["not made: right after all"] += 1
            continue
        begin = time.monotonic()
        values = {key: HOSTILE[label] for key, label in labels.items()}
        found = outcome(name, values, is_right=any(right))
        slowest = max(slowest, (time.monotonic() - begin, f"{name} {labels}"))
        kind = found.split(":")[0]
        counts[kind] += 1
        if kind != "refused":
            examples[kind].add(f"{name} {labels}: {found[:200]}")
        if time.monotonic() - start > arguments.seconds:
            break
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    for kind, count in counts.most_common():
        print(f"{count:7d}  {kind}")
    print(f"{sum(counts.values())} calls in {time.monotonic() - start:.0f} s")
    print(f"memory grew by {growth / 1024:.0f} MiB; slowest {slowest[0]:.1f} s")
    for kind, lines in examples.items():
        print(f"\n{kind}, for instance", *sorted(lines)[:5], sep="\n  ")


if __name__ == "__main__":
    main()
