"""The operations of a transformer block and of views on Torch."""

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


def clip(pixels):
    """See `operations.clip`.

    Keras makes tensors of the bounds, which takes five times as long.
    """
    return pixels.clamp(0.0, 1.0)
