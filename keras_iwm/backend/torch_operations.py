"""The operations of a transformer block and of views on Torch."""

import torch
from keras import ops
from torch.nn import functional


def layer_norm(tokens, gamma, beta, epsilon):
    """See `operations.layer_norm`.

    Keras reads the number of features off the tokens, which Torch's ONNX exporter
    takes for a number that may change.
    """
    gamma, beta = ops.cast(gamma, "float32"), ops.cast(beta, "float32")
    outputs = functional.layer_norm(tokens.float(), gamma.shape, gamma, beta, epsilon)
    return outputs.to(tokens.dtype)


def distances_between(queries, entries):
    """See `operations.distances_between`; one pass, and no difference is held."""
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(queries, entries, compute_mode=mode)


def product(left, right):
    """See `operations.product`."""
    if torch.get_float32_matmul_precision() == "highest":
        return left @ right
    return (left.double() @ right.double()).float()


def clip(pixels):
    """See `operations.clip`.

    Keras makes tensors of the bounds, which takes five times as long.
    """
    return pixels.clamp(0.0, 1.0)
