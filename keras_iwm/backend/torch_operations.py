"""The operations of a transformer block on Torch."""

from torch.nn import functional


def layer_norm(tokens, gamma, beta, epsilon):
    """See `operations.layer_norm`.

    Keras reads the number of features off the tokens, which Torch's ONNX exporter
    takes for a number that may change.
    """
    gamma, beta = gamma.value.float(), beta.value.float()
    outputs = functional.layer_norm(tokens.float(), gamma.shape, gamma, beta, epsilon)
    return outputs.to(tokens.dtype)
