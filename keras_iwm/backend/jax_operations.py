"""The operations of a transformer block on JAX, with gradients in closed form.

A gradient that automatic differentiation pieces together keeps and moves more than the
closed form does. Torch has kernels; on TensorFlow, whose XLA is of another build, the
closed forms gained nothing.
"""

import math

import keras
from keras import ops


def layer_norm(tokens, gamma, beta, epsilon):
    """Normalise every token to mean 0 and variance 1, then scale and shift it.

    Computed in float32 whatever the tokens' dtype.

    Args:
        tokens: Float tensor of shape `(batch_size, num_patches, features)`.
        gamma: Tensor of shape `(features,)`.
        beta: Tensor of shape `(features,)`.
        epsilon: Float, added to the variance.

    Returns:
        Tensor of the shape and dtype of `tokens`.
    """
    num_tokens, features = tokens.shape[1:]
    flat = ops.cast(ops.reshape(tokens, (-1, features)), "float32")

    @ops.custom_gradient
    def normalize(flat, gamma, beta):
        centred = flat - ops.mean(flat, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        inverse = ops.rsqrt(variance + epsilon)

        def gradient(upstream):
            normal = centred * inverse
            scaled = upstream * gamma
            along = ops.mean(scaled * normal, axis=-1, keepdims=True)
            level = ops.mean(scaled, axis=-1, keepdims=True)
            return (
                inverse * (scaled - level - normal * along),
                ops.sum(upstream * normal, axis=0),
                ops.sum(upstream, axis=0),
            )

        return centred * inverse * gamma + beta, gradient

    outputs = normalize(flat, ops.cast(gamma, "float32"), ops.cast(beta, "float32"))
    return ops.cast(ops.reshape(outputs, (-1, num_tokens, features)), tokens.dtype)


def gelu(features):
    """Return the exact GELU, `features` times the normal distribution's CDF of them.

    The approximate form differs between backends.

    Args:
        features: Float tensor of any shape.

    Returns:
        Tensor of the same shape and dtype.
    """

    @ops.custom_gradient
    def multiply_by_cdf(features):
        values = ops.cast(features, "float32")
        cdf = 0.5 + 0.5 * ops.erf(values * math.sqrt(0.5))
        density = ops.exp(-0.5 * ops.square(values)) / math.sqrt(2 * math.pi)
        # Kept for the backward pass in place of the features.
        slope = ops.cast(cdf + values * density, features.dtype)

        def gradient(upstream):
            return upstream * slope

        return ops.cast(values * cdf, features.dtype), gradient

    return multiply_by_cdf(features)


def attend(query, key, value):
    """Return the mean of the values, weighted by how each key fits each query.

    Args:
        query: Tensor of shape `(batch_size, num_patches, num_heads, head_dim)`.
        key: Tensor of the same shape.
        value: Tensor of the same shape.

    Returns:
        Tensor of the same shape.
    """
    if has_accelerator():
        return ops.dot_product_attention(query, key, value)
    # JAX has no fused attention on a CPU. Heads that are brought forward once cost
    # less than a transposition in every product.
    query, key, value = (
        ops.transpose(part, (0, 2, 1, 3)) for part in (query, key, value)
    )
    query = query * (1 / math.sqrt(query.shape[-1]))
    similarity = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
    weights = ops.softmax(ops.cast(similarity, "float32"))
    mixed = ops.matmul(ops.cast(weights, value.dtype), value)
    return ops.transpose(mixed, (0, 2, 1, 3))


def has_accelerator():
    """Whether the backend sees another device than CPUs."""
    return not all(
        device.lower().startswith("cpu") for device in keras.distribution.list_devices()
    )
