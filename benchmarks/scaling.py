"""What a pretraining run costs: operations, memory, communication, and its duration.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --utilisation 0.3 --images 142000000 --epochs 10
    python benchmarks/scaling.py --check activations   # what Torch keeps
    python benchmarks/scaling.py --check exchange      # two processes over loopback

Tables of `keras_iwm.sizing.estimate_run`, a model of costs. docs/scaling.md explains
the terms and says which of them were checked, and --check compares one of them with
this machine. Reading is measured by `benchmarks/input_pipeline.py`, saving by
`benchmarks/checkpoints.py`. `keras-iwm estimate` answers for one run.
"""

import argparse
import functools
import itertools
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "torch")

PRESETS = ("iwm_base_224_equivariant", "iwm_large_224_equivariant")
GIB = 2**30


def parse_arguments():
    """Read the command line; the defaults are an H100 and ImageNet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--presets", nargs="+", default=PRESETS)
    add("--device", default="h100", help="name in keras_iwm.sizing.DEVICES")
    add("--devices", type=int, nargs="+", default=[1, 8, 64])
    add("--batch-size", type=int, default=2048, help="of all devices together")
    add("--images", type=int, default=1_281_167, help="in the data set")
    add("--epochs", type=int, default=300)
    add("--utilisation", type=float, default=0.45, help="share of the peak")
    add("--decode-rate", type=float, default=1e9, help="by default never waited for")
    add("--check", choices=("activations", "exchange"))
    add("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def print_tables(arguments):
    """Print a row for each preset, number of devices and way to exchange."""
    import keras_iwm

    print(f"{arguments.utilisation:.0%} of the peak of {arguments.device}")
    print(
        f"{arguments.images:,} images, {arguments.epochs} epochs, "
        f"batch {arguments.batch_size}\n"
    )
    models = {
        preset: keras_iwm.models.method_of(preset).from_preset(
            preset, load_weights=False
        )
        for preset in arguments.presets
    }
    ways = {
        "after": {"overlap": False},
        "overlapped": {},
        "overlapped, bfloat16": {"exchange_dtype": "bfloat16"},
        "overlapped, all state sharded": {"sharded_state": "everything"},
    }
    print("| preset | GFLOP an image | state, GiB | activations an image, MiB |")
    print("|---|---|---|---|")
    rows = []
    for preset, model in models.items():
        flops = keras_iwm.evaluation.flops_per_image(model, training=True)
        for devices, (way, choices) in itertools.product(
            arguments.devices, ways.items()
        ):
            if devices == 1 and way != "after":
                continue
            found = keras_iwm.sizing.estimate_run(
                model,
                arguments.images,
                arguments.epochs,
                arguments.batch_size,
                arguments.device,
                devices,
                arguments.utilisation,
                decode_rate=arguments.decode_rate,
                read_rate=1e12,
                sharded_checkpoints=True,
                **choices,
            )
            share = found["parts"]["exchanging"] / found["step_seconds"]
            rows.append(
                f"| {preset} | {devices} | {way if devices > 1 else ''} "
                f"| {found['images_per_second']:,.0f} | {share:.1%} "
                f"| {found['memory_bytes'] / GIB:.0f} "
                f"| {found['hours']:,.1f} | {found['device_hours']:,.0f} |"
            )
            if devices == arguments.devices[0]:
                print(
                    f"| {preset} | {flops / 1e9:.1f} "
                    f"| {found['state_bytes'] / GIB:.2f} "
                    f"| {found['activation_bytes_per_image'] / 2**20:.0f} |"
                )
    print(
        "\n| preset | devices | exchange | images/s | waiting for it | GiB a device "
        "| hours | device hours |\n|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(rows))


def check_activations(preset="iwm_small_224", batch_size=2):
    """Compare what Torch keeps for the backward pass with the model of costs."""
    import numpy as np
    import torch

    import keras_iwm

    model = keras_iwm.models.ImageWorldModel.from_preset(
        preset, load_weights=False, seed=0
    )
    weights = {
        variable.value.untyped_storage().data_ptr() for variable in model.weights
    }
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = np.zeros((batch_size, *model.image_size, 3), "uint8")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images, training=True)
    measured = sum(kept.values()) / batch_size
    expected = 2 * keras_iwm.sizing.terms.kept_bytes(model)  # float32
    print(f"{preset}, float32, MiB an image: {measured / 2**20:.1f} kept by Torch,")
    print(f"{expected / 2**20:.1f} by the model of costs: {measured / expected:.2f}")


def check_exchange(turns=7):
    """Compare an average of two processes with what one sends to the other.

    The link's rate is that of 64 MiB sent and sent back; the model then says how long
    any number of bytes takes to be averaged.
    """
    import torch

    from keras_iwm.sizing import Device, terms

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()

    def seconds(action):
        action()
        found = []
        for _ in range(turns):
            torch.distributed.barrier()
            start = time.perf_counter()
            action()
            found.append(time.perf_counter() - start)
        return statistics.median(found)

    def to_and_fro(values):
        for sender in (0, 1):
            if rank == sender:
                torch.distributed.send(values, 1 - sender)
            else:
                torch.distributed.recv(values, sender)

    values = torch.ones(2**24)
    rate = 2 * values.nbytes / seconds(lambda: to_and_fro(values))
    device = Device("loopback", 1.0, 1.0, rate, rate, 2, 2, 1)
    if rank == 0:
        print(f"gloo over loopback, {rate / 1e9:.2f} GB/s one way\n")
        print("| MiB | averaged, ms | by the model, ms | ratio |\n|---|---|---|---|")
    for megabytes in (1, 4, 16, 64, 256):
        values = torch.ones(megabytes * 2**18)
        found = seconds(functools.partial(torch.distributed.all_reduce, values))
        expected = 2 * terms.pass_seconds(values.nbytes, 2, device)
        if rank == 0:
            print(
                f"| {megabytes} | {1000 * found:.1f} | {1000 * expected:.1f} "
                f"| {found / expected:.2f} |"
            )
    torch.distributed.destroy_process_group()


def main():
    """Print the tables, or check a term."""
    arguments = parse_arguments()
    if arguments.check == "activations":
        check_activations()
    elif arguments.check == "exchange" and not arguments.worker:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", "2", __file__, *sys.argv[1:], "--worker"]
        sys.exit(subprocess.run(command).returncode)
    elif arguments.check == "exchange":
        check_exchange()
    else:
        print_tables(arguments)


if __name__ == "__main__":
    main()
