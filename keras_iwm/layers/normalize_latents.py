"""Layer normalisation of latents without scale or shift."""

from keras import ops

from keras_iwm.array_arguments import as_tensor
from keras_iwm.type_aliases import Tensor


def normalize_latents(latents: Tensor) -> Tensor:
    """Normalise each latent over its features, without scale or shift.

    The I-JEPA family compares predictions with target latents normalised like
    this, which takes the target's scale out of the loss (image world models,
    arXiv 2403.00504, section 3).

    Args:
        latents: Tensor of shape `(..., hidden_dim)`, any float dtype.

    Returns:
        Float32 tensor of the same shape, with mean 0 and variance 1 over the
        last axis.

    Example:

    ```python
    latents = keras.random.normal((2, 16, 32))
    normalised = keras_iwm.layers.normalize_latents(latents)
    ```
    """
    latents = as_tensor("latents", latents)
    centred = latents - ops.mean(latents, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return centred * ops.rsqrt(variance + 1e-6)
