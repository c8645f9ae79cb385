"""The terms that a run's cost is made of, each in closed form."""

import math

from keras_iwm.backbones.dynamics_predictor import DynamicsPredictor
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor

VALUE = 4  # bytes of a weight, gradient or moment, float32
KEPT = 2  # bytes of what is kept for the backward pass, bfloat16
# Bytes a second of one Keras file, which one core puts together: docs/scaling.md.
FILE = 220e6
BUCKET = 6_500_000  # gradients that are sent at once


def count_weights(model):
    """Return how many weights learn, and how many do not."""
    learned = sum(math.prod(v.shape) for v in model.trainable_weights)
    return learned, sum(math.prod(v.shape) for v in model.weights) - learned


def kept_bytes(model):
    """Return what one image keeps from the forward to the backward pass.

    A token keeps, in each block: its input, both norms' outputs, query, key and value,
    the mixed values, the stream between attention and MLP, and the MLP's hidden
    features before and after GELU. Fused attention keeps no weights. Blocks made with
    `remat` keep their input alone; one of them at a time is whole.
    """
    passes = list(model.forward_passes())
    if model.probe is not None:
        passes.append((model.probe, {}))
    values = [
        _kept_values(part, **numbers)
        for part, numbers in passes
        if part.trainable_weights
    ]
    return KEPT * sum(values)


def _kept_values(
    part,
    num_context=None,
    num_targets=None,
    num_blocks=1,
    rows=1,
    num_steps=None,
    rolls_out=False,
):
    """Values that one part keeps, told what `flops_per_image` is told."""
    if isinstance(part, ViTEncoder):
        num_tokens = part.num_prefix_tokens + (num_context or part.num_patches)
        width = part.hidden_dim
    elif isinstance(part, WorldModelPredictor):
        num_patches = math.prod(part.grid_size)
        num_tokens = (num_context or num_patches) + (num_targets or num_patches)
        num_tokens += part.action_dim if part.conditioning == "sequence" else 0
        num_tokens *= num_blocks
        width = part.predictor_dim
    elif isinstance(part, DynamicsPredictor):
        num_tokens = (num_steps or part.num_frames - 1) * part.tokens_per_step
        width = part.predictor_dim
    else:  # dense layers, in and out
        return rows * sum(sum(w.shape) for w in part.weights if len(w.shape) == 2)
    hidden = 3 if getattr(part, "gated_mlp", False) else 2
    block = num_tokens * (8 * width + hidden * part.mlp_dim)
    if getattr(part, "remat", False):
        return part.num_layers * num_tokens * width + block
    return part.num_layers * block


def state_bytes(learned, fixed, num_devices=1, sharded="nothing", accumulates=False):
    """Return what a device holds of weights, gradients and moments.

    Args:
        learned: Integer, weights that learn.
        fixed: Integer, the others: teachers and frozen parts.
        num_devices: Integer.
        sharded: `"nothing"`, `"optimizer"` for the two moments of each weight, or
            `"everything"`.
        accumulates: Boolean, whether gradients of several steps are added up.
    """
    moments = 2 * learned
    rest = 2 * learned + fixed + (learned if accumulates else 0)
    if sharded == "nothing":
        return VALUE * (rest + moments)
    if sharded == "optimizer":
        return VALUE * (rest + moments / num_devices)
    return VALUE * (rest + moments) / num_devices


def checkpoint_bytes(learned, fixed):
    """Return what a checkpoint holds: weights and moments, no gradients."""
    return VALUE * (3 * learned + fixed)


def pass_seconds(num_bytes, num_devices, device):
    """Return the seconds to hand so many bytes round once, all devices to all.

    A ring of `n` sends `(n - 1) / n` of the bytes over each link: within the devices
    that share the fast link, then each with its like in the other groups, which is a
    part of the bytes for each. Gathering, or adding up in parts, is one pass; an
    average that all get is two.
    """
    linked = min(num_devices, device.num_linked)
    groups = math.ceil(num_devices / device.num_linked)
    within = (linked - 1) / linked * num_bytes / device.fast_link
    between = (groups - 1) / groups * num_bytes / linked / device.slow_link
    return within + between


def exchanges(learned, fixed, num_devices, device, sharded, gradient_bytes):
    """Return what is exchanged in a step.

    Returns:
        Dictionary of seconds: in the `"forward"` pass, the `"backward"` pass, and
        `"after"` both.
    """

    def seconds(num_bytes):
        return pass_seconds(num_bytes, num_devices, device)

    gradients = seconds(gradient_bytes * learned)
    if sharded == "nothing":
        return {"forward": 0.0, "backward": 2 * gradients, "after": 0.0}
    weights = seconds(VALUE * learned)
    if sharded == "optimizer":
        return {"forward": 0.0, "backward": gradients, "after": weights}
    forward = seconds(VALUE * (learned + fixed))
    return {"forward": forward, "backward": weights + gradients, "after": 0.0}


def exposed_seconds(exchanged, forward, backward, learned):
    """Return the seconds of exchanges that overlapping them leaves.

    What is exchanged in a pass is hidden behind it, but for the last bucket of
    gradients, which waits for the end of the backward pass.
    """
    last = min(1.0, BUCKET / learned)
    hidden = min(exchanged["forward"], forward)
    hidden += min(exchanged["backward"] * (1 - last), backward)
    return sum(exchanged.values()) - hidden
