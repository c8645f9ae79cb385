"""Operations of transformer blocks and views on JAX, derivatives in closed form.

A gradient that automatic differentiation pieces together keeps and moves more than the
closed form does. Torch has kernels; on TensorFlow, whose XLA is of another build, the
closed forms gained nothing. JAX transposes them for `jax.grad`.
"""

import functools
import math

import jax
import jax.export
import jax.numpy as jnp
import keras
from keras import ops

from keras_iwm.backend import operations


def layer_norm(tokens, gamma, beta, epsilon):
    """See `operations.layer_norm`."""
    flat = jnp.reshape(tokens, (-1, tokens.shape[-1])).astype("float32")
    gamma, beta = ops.cast(gamma, "float32"), ops.cast(beta, "float32")
    outputs = normalize(flat, gamma, beta, epsilon)
    # While a model is exported, the first side is no number.
    return jnp.reshape(outputs, (-1, *tokens.shape[1:])).astype(tokens.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def normalize(flat, gamma, beta, epsilon):
    """Normalise rows, then scale and shift them."""
    normal, _ = standardize(flat, epsilon)
    return normal * gamma + beta


@normalize.defjvp
def normalize_jvp(epsilon, primals, tangents):
    """How the result moves with rows, scale and shift."""
    flat, gamma, beta = primals
    flat_step, gamma_step, beta_step = tangents
    normal, inverse = standardize(flat, epsilon)
    level = jnp.mean(flat_step, axis=-1, keepdims=True)
    along = jnp.mean(flat_step * normal, axis=-1, keepdims=True)
    normal_step = inverse * (flat_step - level - normal * along)
    step = normal_step * gamma + normal * gamma_step + beta_step
    return normal * gamma + beta, step


def standardize(flat, epsilon):
    """Rows with mean 0 and variance 1, and the inverse of their deviation."""
    centred = flat - jnp.mean(flat, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(variance + epsilon)
    return centred * inverse, inverse


@jax.custom_jvp
def gelu(features):
    """See `operations.gelu`."""
    if any(map(jax.export.is_symbolic_dim, features.shape)):
        # A model is exported. JAX writes `erf` in a form that TensorFlow cannot read
        # yet; Keras's own form is slower, and known to all.
        return keras.activations.gelu(features, approximate=False)
    values = features.astype("float32")
    return (values * normal_cdf(values)).astype(features.dtype)


@gelu.defjvp
def gelu_jvp(primals, tangents):
    """How the result moves with the features."""
    (features,), (step,) = primals, tangents
    values = features.astype("float32")
    cdf = normal_cdf(values)
    density = jnp.exp(-0.5 * jnp.square(values)) / math.sqrt(2 * math.pi)
    # Kept for the backward pass in place of the features.
    slope = (cdf + values * density).astype(features.dtype)
    return (values * cdf).astype(features.dtype), step * slope


def normal_cdf(values):
    """The normal distribution's cumulative distribution function."""
    return 0.5 + 0.5 * jax.lax.erf(values * math.sqrt(0.5))


def attend(query, key, value, mask=None):
    """See `operations.attend`."""
    if has_accelerator():
        return operations.attend(query, key, value, mask)
    # JAX has no fused attention on a CPU. Heads that are brought forward once cost
    # less than a transposition in every product.
    query, key, value = (
        ops.transpose(part, (0, 2, 1, 3)) for part in (query, key, value)
    )
    query = query * (1 / math.sqrt(query.shape[-1]))
    similarity = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
    similarity = ops.cast(similarity, "float32")
    if mask is not None:
        lowest = jnp.finfo("float32").min
        similarity = ops.where(operations.over_heads(mask), similarity, lowest)
    weights = ops.softmax(similarity)
    mixed = ops.matmul(ops.cast(weights, value.dtype), value)
    return ops.transpose(mixed, (0, 2, 1, 3))


def computed_once(pixels):
    """See `operations.computed_once`.

    XLA's fusions on CPUs repeat cheap operations for each use, however many they are in
    a row, and `optimization_barrier` is gone before them. What enters a conditional is
    there.
    """
    if 0 in pixels.shape:
        return pixels  # nothing to look at

    def choose(pixels):
        # Never so, but the compiler cannot know; both branches say the same.
        is_far = pixels[(0,) * pixels.ndim] < -1e30
        return jax.lax.cond(
            is_far, lambda far: jnp.abs(far) * jnp.sign(far), lambda near: near, pixels
        )

    return jax.lax.platform_dependent(pixels, cpu=choose, default=lambda given: given)


def product(left, right):
    """See `operations.product`."""
    return jnp.matmul(left, right, precision="highest")


def has_accelerator():
    """Whether the backend sees another device than CPUs."""
    return not all(
        device.lower().startswith("cpu") for device in keras.distribution.list_devices()
    )
