"""A head that learns the whole distribution of a patch, by diffusion."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_choice, as_count, as_positive, shown
from keras_iwm.heads.cosine_schedule import cosine_schedule
from keras_iwm.heads.denoising_head import DenoisingHead
from keras_iwm.type_aliases import Config, Tensor

NUM_STEPS = 1000
PREDICTIONS = ("noise", "clean")


@keras.saving.register_keras_serializable(package="keras_iwm")
class DiffusionHead(DenoisingHead):
    """Learn the distribution of a patch, given a condition, by taking noise away.

    Squared error learns the mean of all patches that could stand somewhere, which may
    be none of them. Here a small network learns to denoise the patch, given what the
    transformer says of it, and sampling starts from noise and takes it away step by
    step: a patch that could stand there (diffusion loss, arXiv 2406.11838). The noisy
    patch never enters the transformer, so one pass of it serves several levels of
    noise.

    Patches are to be normalised to mean 0 and variance 1. As in the paper there are
    1000 steps of noise by the cosine schedule, and the network starts by answering
    zero. Unlike there, the variance of the steps back is not learned.

    Args:
        condition_dim: Integer, features of a condition, the transformer's output.
        patch_dim: Integer, values of a patch.
        hidden_dim: Integer, width of the network. Patches of more values need more.
        num_layers: Integer, residual blocks of the network.
        prediction: What the network answers: `"noise"`, as in the paper, or `"clean"`,
            the patch itself, which is said to make better features when most levels
            are noisy (arXiv 2403.05196).
        num_noise_levels: Integer, at how many levels of noise each patch is seen.
        signal_beta: Optional pair of positive numbers `(a, b)`. By default all steps
            of the schedule are as likely. With a pair, the signal's share in the
            variance of the noisy patch is drawn from this Beta distribution: with
            `(0.03, 1)`, for features the best of arXiv 2403.05196, there is next to no
            signal in most of them.
        seed: Optional integer, seed of levels and noise. Without training they are the
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
    head = keras_iwm.heads.DiffusionHead(condition_dim=64, patch_dim=48)
    conditions = keras.random.normal((2, 16, 64))
    targets = keras.random.normal((2, 16, 48))
    outputs = head(conditions, targets, training=True)
    outputs["prediction"].shape  # (2, 16, 4, 48)
    patches = head.sample(conditions, num_steps=10, seed=0)  # (2, 16, 48)
    ```
    """

    def __init__(
        self,
        condition_dim: int,
        patch_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 3,
        prediction: str = "noise",
        num_noise_levels: int = 4,
        signal_beta: tuple[float, float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.prediction = as_choice("prediction", prediction, PREDICTIONS)
        self.signal_beta = None if signal_beta is None else as_beta(signal_beta)
        shares = cosine_schedule(NUM_STEPS)
        super().__init__(
            condition_dim,
            patch_dim,
            hidden_dim,
            num_layers,
            num_noise_levels,
            seed,
            shares,
            step_probabilities(shares, self.signal_beta),
            **kwargs,
        )

    def add_noise(
        self, targets: Tensor, steps: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return noisy patches, and what the network is to answer.

        Args:
            targets: Float32 tensor of shape `(..., 1, patch_dim)`, clean patches.
            steps: Integer tensor of shape `(..., num_levels)`, from 1 to 1000.
            noise: Float32 tensor of shape `(1, ..., num_levels, patch_dim)`.

        Returns:
            Two float32 tensors of shape `(..., num_levels, patch_dim)`, the second of
            which may have one level for all.
        """
        share = self._share(steps)
        noisy = ops.sqrt(share) * targets + ops.sqrt(1 - share) * noise[0]
        return noisy, noise[0] if self.prediction == "noise" else targets

    def sample(
        self,
        conditions: Tensor,
        temperature: float = 1.0,
        num_steps: int = 100,
        seed: int | keras.random.SeedGenerator | None = None,
    ) -> Tensor:
        """Draw a patch for each condition.

        Args:
            conditions: Tensor of shape `(..., condition_dim)`.
            temperature: Float of at least 0 that multiplies the noise added on the way
                back, but not that which is begun with.
            num_steps: Integer from 1 to 999, evenly spaced steps to take.
            seed: Optional integer or `keras.random.SeedGenerator`. By default the head
                goes on with its own.

        Returns:
            Float32 tensor of shape `(..., patch_dim)`.
        """
        num_steps = as_count("num_steps", num_steps, 1, NUM_STEPS - 1)
        # Not from the last step: there is so little signal in it that an error in the
        # noise would be hundreds of times as large in the patch.
        steps = np.linspace(0, NUM_STEPS * num_steps / (num_steps + 1), num_steps + 1)
        steps = steps.round().astype(int)[::-1]
        chain = [
            (now, *self._factors(self.shares[now], self.shares[then]))
            for now, then in zip(steps[:-1], steps[1:], strict=True)
        ]
        return self._sample_chain(conditions, chain, temperature, seed)

    def _factors(self, share, next_share):
        """What patch, answer and new noise are multiplied by, in a step back.

        The mean of what is less noisy lies between the noisy and the clean patch, which
        is answered or follows from the noise that is.
        """
        kept = share / next_share
        of_clean = np.sqrt(next_share) * (1 - kept) / (1 - share)
        of_noisy = np.sqrt(kept) * (1 - next_share) / (1 - share)
        deviation = np.sqrt((1 - kept) * (1 - next_share) / (1 - share))
        if self.prediction == "clean":
            return of_noisy, of_clean, deviation
        of_clean /= np.sqrt(share)
        return of_noisy + of_clean, -of_clean * np.sqrt(1 - share), deviation

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "prediction": self.prediction,
            "signal_beta": self.signal_beta,
        }


def step_probabilities(shares, signal_beta):
    """Probability of each step, the zeroth left out.

    A step stands for the shares from its own to that of the step before it, the last
    one for all below.

    Args:
        shares: Array of the signal's share after each step.
        signal_beta: Pair of numbers of the share's Beta distribution, or `None` if
            all steps are as likely.

    Returns:
        Float64 array of one number less than `shares`, whose sum is 1.
    """
    if signal_beta is None:
        return np.full(len(shares) - 1, 1 / (len(shares) - 1))
    a, b = signal_beta
    low, high = np.append(shares[1:-1], 0.0), shares[:-1]
    middle = (low + high) / 2
    # Of the density's two powers, the one that may be infinite at the nearer end is
    # integrated exactly; the other hardly changes within a step.
    near_zero = (high**a - low**a) / a * (1 - middle) ** (b - 1)
    near_one = ((1 - low) ** b - (1 - high) ** b) / b * middle ** (a - 1)
    masses = np.where(middle < 0.5, near_zero, near_one)
    return masses / np.sum(masses)


def as_beta(value):
    """`value` as the two positive numbers of a Beta distribution."""
    try:
        first, second = () if isinstance(value, (str, bytes, dict, set)) else value
        return as_positive("first", first), as_positive("second", second)
    except (TypeError, ValueError):
        raise ValueError(
            "`signal_beta` must be two positive numbers, such as (0.03, 1), or None. "
            f"Received: {shown(value)}."
        ) from None
