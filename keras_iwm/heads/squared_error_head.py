"""A head that predicts a patch's mean."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count, as_number
from keras_iwm.array_arguments import as_tensor
from keras_iwm.backend import gelu
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class SquaredErrorHead(keras.layers.Layer):
    """Predict a patch by squared error: the mean of all that could stand there.

    An MLP of pre-norm residual blocks on each patch alone, four times as wide inside.
    It takes the work of painting pixels off the transformer, whose latents make better
    features for it; there it has 12 blocks of width 2048 (autoregressive image models,
    arXiv 2401.08541, section 3). What is predicted is one patch, so there is nothing to
    draw: samples are sharp only where the patch is certain.

    Args:
        condition_dim: Integer, features of a condition, the transformer's output.
        patch_dim: Integer, values of a patch.
        hidden_dim: Integer, width of the blocks.
        num_layers: Integer, number of blocks.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        conditions: Tensor of shape `(..., condition_dim)`.
        targets: Tensor of shape `(..., patch_dim)`.
        training: Boolean, of no effect: other heads draw noise.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(..., patch_dim)`: their mean squared difference is the loss.

    Raises:
        ValueError: If a size is no positive integer, or not as announced.

    Example:

    ```python
    head = keras_iwm.heads.SquaredErrorHead(condition_dim=64, patch_dim=48)
    conditions = keras.random.normal((2, 16, 64))
    targets = keras.random.normal((2, 16, 48))
    outputs = head(conditions, targets, training=True)
    outputs["prediction"].shape  # (2, 16, 48)
    ```
    """

    def __init__(
        self,
        condition_dim: int,
        patch_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 2,
        **kwargs: Any,
    ) -> None:
        # Patches are float32 whatever the precision of the blocks.
        super().__init__(autocast=False, **kwargs)
        self.condition_dim = as_count("condition_dim", condition_dim)
        self.patch_dim = as_count("patch_dim", patch_dim)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        self.num_layers = as_count("num_layers", num_layers)

        def dense(units, name, **kwargs):
            return TokenDense(units, dtype=self.dtype_policy, name=name, **kwargs)

        def norm(name):
            return TokenNorm(dtype=self.dtype_policy, name=name)

        self.input_projection = dense(self.hidden_dim, "input_projection")
        indices = range(self.num_layers)
        self.block_norms = [norm(f"norm_{index}") for index in indices]
        self.block_inner = [
            dense(4 * self.hidden_dim, f"inner_{index}") for index in indices
        ]
        self.block_outer = [
            dense(self.hidden_dim, f"outer_{index}") for index in indices
        ]
        self.norm = norm("norm")
        # The first answer is zero, the mean of normalised patches.
        self.output_projection = dense(
            self.patch_dim, "output_projection", kernel_initializer="zeros"
        )
        self.input_projection.build((None, self.condition_dim))
        for layer in (*self.block_norms, *self.block_inner, self.norm):
            layer.build((None, self.hidden_dim))
        for layer in self.block_outer:
            layer.build((None, 4 * self.hidden_dim))
        self.output_projection.build((None, self.hidden_dim))
        self.built = True

    def call(
        self, conditions: Tensor, targets: Tensor, training: bool | None = None
    ) -> dict[str, Any]:
        """Predict the patches, beside the right ones."""
        targets = as_sized("targets", targets, self.patch_dim)
        return {"prediction": self._predict(conditions), "target": targets}

    def sample(
        self, conditions: Tensor, temperature: float = 1.0, seed: Any = None
    ) -> Tensor:
        """Return the mean patch of each condition.

        Args:
            conditions: Tensor of shape `(..., condition_dim)`.
            temperature: Float of at least 0, of no effect: a mean is not drawn.
            seed: Integer, `keras.random.SeedGenerator` or `None`, of no effect.

        Returns:
            Float32 tensor of shape `(..., patch_dim)`.
        """
        as_number("temperature", temperature, 0.0, float("inf"))
        return self._predict(conditions)

    def _predict(self, conditions):
        """The mean patch of each condition."""
        conditions = as_sized("conditions", conditions, self.condition_dim)
        hidden = self.input_projection(ops.cast(conditions, self.compute_dtype))
        blocks = (self.block_norms, self.block_inner, self.block_outer)
        for norm, inner, outer in zip(*blocks, strict=True):
            hidden = hidden + outer(gelu(inner(norm(hidden))))
        return ops.cast(self.output_projection(self.norm(hidden)), "float32")

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "condition_dim": self.condition_dim,
            "patch_dim": self.patch_dim,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
        }


def as_sized(name, value, size):
    """`value` as a float32 tensor whose last axis has `size` numbers."""
    tensor = as_tensor(name, value)
    if tensor.shape[-1] != size:
        raise ValueError(
            f"`{name}` must have {size} numbers in the last axis, as the head was made "
            f"for. Received shape: {tuple(tensor.shape)}."
        )
    return tensor
