"""What a pretraining run costs: operations, memory, communication, and its duration.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --utilisation 0.3 --images 142e6 --epochs 10
    python benchmarks/scaling.py --check     # what Torch keeps, against the model

A model of costs, not a measurement: operations are counted from the preset, weights
are those of the made model, and the utilisation of the device is what you say.
docs/scaling.md explains the terms and says which of them were checked.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

PRESETS = ("iwm_base_224_equivariant", "iwm_large_224_equivariant")
GIB = 2**30


def parse_arguments():
    """Read the command line; the defaults are an H100 and ImageNet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--presets", nargs="+", default=PRESETS)
    add("--devices", type=int, nargs="+", default=[1, 8, 64])
    add("--batch-size", type=int, default=2048, help="of all devices together")
    add("--images", type=float, default=1_281_167, help="in the data set")
    add("--epochs", type=float, default=300)
    add(
        "--utilisation", type=float, default=0.45, help="share of the peak that is used"
    )
    add("--peak", type=float, default=989e12, help="FLOP/s of a device, bfloat16")
    add("--node", type=int, default=8, help="devices that share a fast link")
    add("--fast-link", type=float, default=450e9, help="bytes/s within a node")
    add("--slow-link", type=float, default=50e9, help="bytes/s between nodes, a device")
    add("--check", action="store_true", help="measure activations on Torch instead")
    return parser.parse_args()


def block_values(model, num_tokens, width):
    """Count the values that a stack of blocks keeps for its backward pass.

    A token keeps, in each block: its input, both norms' outputs, query, key and value,
    the mixed values, the stream between attention and MLP, and the MLP's hidden
    features before and after GELU. Fused attention keeps no weights.
    """
    return model.num_layers * num_tokens * (8 * width + 2 * model.mlp_dim)


def activation_bytes(model):
    """Bytes, in bfloat16, kept for one image between forward and backward pass."""
    mask = model.view_generator.mask
    blocks = mask.num_passes
    encoder, predictor = model.encoder, model.predictor
    values = block_values(encoder, mask.num_context, encoder.hidden_dim)
    values += blocks * block_values(
        predictor, mask.num_context + mask.num_targets, predictor.predictor_dim
    )
    return 2 * values


def state_bytes(model):
    """Bytes of weights, gradients, both moments and the teacher, all in float32."""
    learned = model.encoder.count_params() + model.predictor.count_params()
    return 4 * (4 * learned + model.target_encoder.count_params())


def average_seconds(model, devices, arguments):
    """Seconds to average the gradients in a ring, without overlap with anything."""
    learned = model.encoder.count_params() + model.predictor.count_params()
    link = arguments.fast_link if devices <= arguments.node else arguments.slow_link
    return 2 * (devices - 1) / devices * 4 * learned / link


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
    expected = 2 * activation_bytes(model)  # float32
    print(f"{preset}, float32, MiB an image: {measured / 2**20:.1f} kept by Torch,")
    print(f"{expected / 2**20:.1f} by the model of costs: {measured / expected:.2f}")


def main():
    """Print the tables."""
    arguments = parse_arguments()
    if arguments.check:
        os.environ["KERAS_BACKEND"] = "torch"
        check_activations()
        return
    import keras_iwm

    print(f"utilisation {arguments.utilisation:.0%} of {arguments.peak:.3g} FLOP/s")
    print(
        f"{arguments.images:,.0f} images, {arguments.epochs:g} epochs, "
        f"batch {arguments.batch_size}\n"
    )
    durations = []
    print("| preset | GFLOP an image | state, GiB | activations an image, MiB |")
    print("|---|---|---|---|")
    for preset in arguments.presets:
        model = keras_iwm.models.ImageWorldModel.from_preset(preset, load_weights=False)
        flops = keras_iwm.evaluation.flops_per_image(model, training=True)
        print(
            f"| {preset} | {flops / 1e9:.1f} | {state_bytes(model) / GIB:.2f} "
            f"| {activation_bytes(model) / 2**20:.0f} |"
        )
        for devices in arguments.devices:
            local = arguments.batch_size / devices
            compute = local * flops / (arguments.peak * arguments.utilisation)
            exchange = average_seconds(model, devices, arguments)
            steps = arguments.epochs * arguments.images / arguments.batch_size
            memory = state_bytes(model) + local * activation_bytes(model)
            seconds = compute + exchange
            hours = steps * seconds / 3600
            durations.append(
                f"| {preset} | {devices} | {arguments.batch_size / seconds:,.0f} "
                f"| {exchange / seconds:.1%} | {memory / GIB:.0f} "
                f"| {hours:,.1f} | {hours * devices:,.0f} |"
            )
    print(
        "\n| preset | devices | images/s | exchange | GiB a device | hours "
        "| device hours |\n|---|---|---|---|---|---|---|"
    )
    print("\n".join(durations))


if __name__ == "__main__":
    main()
