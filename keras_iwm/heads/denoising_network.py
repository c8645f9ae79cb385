"""The small network of the heads that denoise."""

import math

import keras
from keras import ops

from keras_iwm.heads.adaptive_block import AdaptiveBlock
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.layers.token_dense import TokenDense

STEP_FEATURES = 256
LONGEST_PERIOD = 10_000
LAST_STEP = 1000.0  # what the last step is called, whatever the number of steps


class DenoisingNetwork(keras.layers.Layer):
    """An MLP with adaptive norm that is told the noise and a condition.

    It stands on each patch alone (arXiv 2406.11838, section 3.2). Norms and the output
    start at zero, so the first answer is zero.

    Args:
        patch_dim: Integer, values of a patch.
        hidden_dim: Integer, width.
        num_layers: Integer, number of residual blocks.
        num_steps: Integer, number of steps of noise.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        noisy: Float32 tensor of shape `(..., num_levels, patch_dim)`: each patch at
            some levels of noise.
        steps: Integer tensor that broadcasts to `(..., num_levels)`, the number of
            steps of noise that are in it.
        conditions: Tensor of shape `(..., condition_dim)`.

    Returns:
        Float32 tensor of shape `(..., num_levels, patch_dim)`.
    """

    def __init__(self, patch_dim, hidden_dim, num_layers, num_steps, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.hidden_dim = hidden_dim
        self.num_steps = num_steps
        policy = self.dtype_policy

        def dense(units, name, **kwargs):
            return TokenDense(units, dtype=policy, name=name, **kwargs)

        def small():
            return keras.initializers.RandomNormal(stddev=0.02)

        self.patch_layer = dense(hidden_dim, "patch")
        self.step_layer = dense(
            hidden_dim, "step", activation="silu", kernel_initializer=small()
        )
        self.step_output = dense(hidden_dim, "step_output", kernel_initializer=small())
        self.condition_layer = dense(hidden_dim, "condition")
        self.blocks = [
            AdaptiveBlock(hidden_dim, dtype=policy, name=f"block_{index}")
            for index in range(num_layers)
        ]
        self.modulation = dense(
            2 * hidden_dim, "modulation", kernel_initializer="zeros"
        )
        self.output_layer = dense(patch_dim, "output", kernel_initializer="zeros")

    def build(self, noisy_shape, steps_shape, conditions_shape):
        """Create the weights."""
        hidden_shape = (*noisy_shape[:-1], self.hidden_dim)
        self.patch_layer.build(noisy_shape)
        self.step_layer.build((None, STEP_FEATURES))
        self.step_output.build(hidden_shape)
        self.condition_layer.build(conditions_shape)
        for block in self.blocks:
            block.build(hidden_shape, hidden_shape)
        self.modulation.build(hidden_shape)
        self.output_layer.build(hidden_shape)

    def call(self, noisy, steps, conditions):
        """Answer for each patch at each of its levels of noise."""
        steps = self.step_output(self.step_layer(self._step_features(steps)))
        conditions = self.condition_layer(ops.cast(conditions, self.compute_dtype))
        conditions = ops.silu(steps + conditions[..., None, :])
        tokens = self.patch_layer(ops.cast(noisy, self.compute_dtype))
        for block in self.blocks:
            tokens = block(tokens, conditions)
        shift, scale = ops.split(self.modulation(conditions), 2, axis=-1)
        tokens = ops.cast(normalize_latents(tokens), self.compute_dtype)
        tokens = tokens * (1 + scale) + shift
        return ops.cast(self.output_layer(tokens), "float32")

    def _step_features(self, steps):
        """Sines and cosines of the number of steps."""
        places = ops.arange(STEP_FEATURES // 2, dtype="float32")
        rates = ops.exp(-math.log(LONGEST_PERIOD) * places / (STEP_FEATURES // 2))
        steps = ops.cast(steps, "float32") * (LAST_STEP / self.num_steps)
        angles = steps[..., None] * rates
        features = ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)
        return ops.cast(features, self.compute_dtype)
