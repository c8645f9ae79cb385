"""How much of the exchange of gradients the backward pass hides, on Torch.

    python benchmarks/exchange.py
    python benchmarks/exchange.py --megabytes-a-second 50 --batch-size 16

Two processes of this machine train over gloo, through a link that is made slow: each
exchange first waits as long as its bytes would take, in a thread, so that the backward
pass can go on. Four kinds of steps take turns, a block of each at a time:

- nothing is exchanged,
- all is exchanged behind the backward pass,
- buckets leave while it goes on,
- they leave as bfloat16.

Prints the median seconds of a step of each kind, and which share of the time that an
exchange adds behind the backward pass is hidden.
"""

import argparse
import concurrent.futures
import json
import statistics
import time

import together
import tqdm

KINDS = ("nothing", "behind", "within", "bfloat16")


class SlowLink:
    """Stands in for `torch.distributed.all_reduce`, and is slow.

    Args:
        send: Function that it stands in for.
        speed: Float, bytes a second.
    """

    def __init__(self, send, speed):
        self.send, self.speed = send, speed
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.is_off = False

    def __call__(self, tensor, *arguments, async_op=False, **options):
        """Send at once, or, with `async_op`, when the link is free."""
        if not async_op:
            return self.send(tensor, *arguments, **options)
        self.sent = self.thread.submit(self.carry, tensor, *arguments, **options)
        self.sent.wait = self.sent.result
        return self.sent

    def carry(self, tensor, *arguments, **options):
        """Send a tensor as fast as the link is."""
        if self.is_off:
            return
        time.sleep(tensor.numel() * tensor.element_size() / self.speed)
        self.send(tensor, *arguments, **options)


def work(arguments):
    """Train in blocks of all kinds; print their seconds a step."""
    import numpy as np
    import torch
    import torch.distributed

    import keras_iwm

    torch.set_num_threads(1)
    together.join(arguments)
    link = SlowLink(torch.distributed.all_reduce, 1e6 * arguments.megabytes_a_second)
    torch.distributed.all_reduce = link
    model = keras_iwm.models.ImageWorldModel.from_preset(
        arguments.preset, load_weights=False, seed=0
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-4))
    side = model.encoder.image_size[0]
    count = arguments.steps * arguments.batch_size
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), "uint8")
    seconds = {kind: [] for kind in KINDS}
    for block in range(arguments.blocks + 1):
        for kind in KINDS:
            link.is_off = kind == "nothing"
            size = arguments.bucket_size
            model.replicas.bucket_size = 10**12 if kind == "behind" else size
            dtype = "bfloat16" if kind == "bfloat16" else "float32"
            keras_iwm.distribution.set_exchange_dtype(model, dtype)
            torch.distributed.barrier()
            start = time.perf_counter()
            model.fit(images, batch_size=arguments.batch_size, verbose=0)
            torch.distributed.barrier()
            if block:  # the first one warms up
                seconds[kind].append((time.perf_counter() - start) / arguments.steps)
    if arguments.process_index == 0:
        values = sum(np.prod(weight.shape) for weight in model.trainable_variables)
        print(json.dumps({"seconds": seconds, "megabytes": 4e-6 * float(values)}))


def main():
    """Start both processes, and print what they have measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="iwm_tiny_96")
    parser.add_argument("--batch-size", type=int, default=32, help="of a process")
    parser.add_argument("--blocks", type=int, default=5, help="turns of each kind")
    parser.add_argument("--steps", type=int, default=4, help="steps in a block")
    parser.add_argument("--bucket-size", type=int, default=500_000, help="gradients")
    parser.add_argument("--megabytes-a-second", type=float, default=100)
    together.add_options(parser)
    arguments = parser.parse_args()
    if arguments.coordinator:
        work(arguments)
        return
    options = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in vars(arguments).items()
        if value is not None
    ]
    with tqdm.tqdm(total=1, desc="Two processes") as progress:
        measured = together.run_together(__file__, options, "torch", 2, seconds=900)
        progress.update()
    result = json.loads(measured.splitlines()[-1])
    median = {kind: statistics.median(s) for kind, s in result["seconds"].items()}
    added = {kind: median[kind] - median["nothing"] for kind in KINDS[1:]}
    print(f"{result['megabytes']:.1f} MB of gradients")
    for kind in KINDS:
        low, high = min(result["seconds"][kind]), max(result["seconds"][kind])
        print(f"{kind:10} {median[kind]:.3f} s a step ({low:.3f} to {high:.3f})")
    for kind in KINDS[2:]:
        print(f"{kind:10} hides {1 - added[kind] / added['behind']:.0%}")


if __name__ == "__main__":
    main()
