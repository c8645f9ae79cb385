"""A head that fits an encoder."""

from keras_iwm.arguments import as_choice, as_count, as_optional
from keras_iwm.heads.denoising_steps_head import DenoisingStepsHead
from keras_iwm.heads.diffusion_head import DiffusionHead
from keras_iwm.heads.squared_error_head import SquaredErrorHead
from keras_iwm.seeds import hash_seed

HEADS = {
    "squared_error": SquaredErrorHead,
    "diffusion": DiffusionHead,
    "denoising_steps": DenoisingStepsHead,
}


def fitting_head(encoder, name, head_layers, head_dim, seed):
    """Make a head by name for the latents and the patches of an encoder.

    Args:
        encoder: `ViTEncoder`.
        name: One of `HEADS`.
        head_layers: Integer, blocks of the head.
        head_dim: Integer, their width, or `None` for the encoder's.
        seed: Integer or `None`, seed of noise, where the head draws some.

    Returns:
        A head named `"head"`, of the encoder's precision.
    """
    head = HEADS[as_choice("head", name, HEADS)]
    draws = {}
    if head is not SquaredErrorHead and seed is not None:
        # Not the numbers that views are drawn from.
        draws["seed"] = hash_seed(seed, 4)
    return head(
        encoder.hidden_dim,
        encoder.patch_size**2 * encoder.num_channels,
        hidden_dim=as_optional(as_count, "head_dim", head_dim) or encoder.hidden_dim,
        num_layers=as_count("head_layers", head_layers),
        dtype=encoder.dtype_policy,
        name="head",
        **draws,
    )
