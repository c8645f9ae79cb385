"""What the latents of a batch differ by."""

from keras import ops

from keras_iwm.array_arguments import as_tensor
from keras_iwm.backend import gather_batch


def centre_latents(latents):
    """Take from each patch's latent the mean of all images at its position.

    What is left is what images differ by: latents that tell positions apart and no
    images leave nothing. On several devices the images of all of them are looked at.

    Args:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Returns:
        Float32 tensor of shape `(batch_size of all devices, num_patches, hidden_dim)`.
    """
    latents = gather_batch(as_tensor("latents", latents, num_axes=3))
    return latents - ops.mean(latents, axis=0, keepdims=True)
