"""A head for which squared error is a valid loss, since noise goes in small steps."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.heads.cosine_schedule import cosine_schedule
from keras_iwm.heads.denoising_head import DenoisingHead
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class DenoisingStepsHead(DenoisingHead):
    """Predict, by squared error, the patch with one step less of noise.

    Squared error is right where what is predicted is Gaussian around its mean, and
    patches are not. But if noise is added to a patch in steps, then the patch before
    a step, given that behind it, is nearly Gaussian, and with a variance that is known:
    that of the step. So its mean is all there is to learn. The network sees the patch
    behind a step and the condition, and predicts the one before it:

        before = sqrt(1 - v) * behind + sqrt(v) * prediction

    with `v` the variance of the step. Patches of variance 1 keep it at every step, and
    then the prediction's target has variance 1 too, whatever the step; it starts at
    zero. A sample begins with noise and takes the same steps, adding noise of variance
    `v` to all but the last.

    How it differs from `DiffusionHead`, whose network it has: there is a handful of
    steps, each learned as it is taken, so nothing is derived from a prediction of the
    noise or of the clean patch; the target is a patch as noisy as the chain has it.
    The fewer the steps, the less Gaussian they are: see `num_steps`. As there, the
    transformer attends to clean patches only.

    Args:
        condition_dim: Integer, features of a condition, the transformer's output.
        patch_dim: Integer, values of a patch, normalised to mean 0 and variance 1.
        hidden_dim: Integer, width of the network.
        num_layers: Integer, residual blocks of the network.
        num_steps: Integer of at least 2, steps of noise, by the cosine schedule.
        num_noise_levels: Integer, at how many steps each patch is seen.
        seed: Optional integer, seed of steps and noise. Without training they are the
            same at every call.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        conditions: Tensor of shape `(..., condition_dim)`.
        targets: Tensor of shape `(..., patch_dim)`, clean patches.
        training: Boolean.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(..., num_noise_levels, patch_dim)`: their mean squared difference is the loss.

    Raises:
        ValueError: If an argument cannot be meant, or a size is not as announced.

    Example:

    ```python
    head = keras_iwm.heads.DenoisingStepsHead(condition_dim=64, patch_dim=48)
    conditions = keras.random.normal((2, 16, 64))
    targets = keras.random.normal((2, 16, 48))
    outputs = head(conditions, targets, training=True)
    outputs["prediction"].shape  # (2, 16, 4, 48)
    patches = head.sample(conditions, seed=0)  # (2, 16, 48)
    ```
    """

    noises_per_level = 2

    def __init__(
        self,
        condition_dim: int,
        patch_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 3,
        num_steps: int = 16,
        num_noise_levels: int = 4,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.num_steps = as_count("num_steps", num_steps, 2, 10_000)
        super().__init__(
            condition_dim,
            patch_dim,
            hidden_dim,
            num_layers,
            num_noise_levels,
            seed,
            cosine_schedule(self.num_steps),
            np.full(self.num_steps, 1 / self.num_steps),
            **kwargs,
        )

    def add_noise(
        self, targets: Tensor, steps: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return patches behind a step, and what the network is to answer.

        Args:
            targets: Float32 tensor of shape `(..., 1, patch_dim)`, clean patches.
            steps: Integer tensor of shape `(..., num_levels)`, from 1 to `num_steps`.
            noise: Float32 tensor of shape `(2, ..., num_levels, patch_dim)`: the noise
                of all steps before, and of this one.

        Returns:
            Two float32 tensors of shape `(..., num_levels, patch_dim)`.
        """
        share, share_before = self._share(steps), self._share(steps - 1)
        kept = share / share_before
        before = (
            ops.sqrt(share_before) * targets + ops.sqrt(1 - share_before) * noise[0]
        )
        behind = ops.sqrt(kept) * before + ops.sqrt(1 - kept) * noise[1]
        return behind, (before - ops.sqrt(kept) * behind) / ops.sqrt(1 - kept)

    def sample(
        self,
        conditions: Tensor,
        temperature: float = 1.0,
        seed: int | keras.random.SeedGenerator | None = None,
    ) -> Tensor:
        """Draw a patch for each condition.

        Args:
            conditions: Tensor of shape `(..., condition_dim)`.
            temperature: Float of at least 0 that multiplies the noise added on the way
                back, but not that which is begun with.
            seed: Optional integer or `keras.random.SeedGenerator`. By default the head
                goes on with its own.

        Returns:
            Float32 tensor of shape `(..., patch_dim)`.
        """
        kept = self.shares[1:] / self.shares[:-1]
        chain = [
            (
                step,
                np.sqrt(kept[step - 1]),
                np.sqrt(1 - kept[step - 1]),
                np.sqrt(1 - kept[step - 1]) if step > 1 else 0.0,
            )
            for step in range(self.num_steps, 0, -1)
        ]
        return self._sample_chain(conditions, chain, temperature, seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_steps": self.num_steps}
