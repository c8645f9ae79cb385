"""A dense layer over tokens."""

from typing import Any

import keras
from keras import ops
from keras.activations import linear

from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class TokenDense(keras.layers.Dense):
    """`keras.layers.Dense` that flattens the tokens of a batch around its product.

    The result is the same. On XLA's CPU compiler the gradient of a product with
    a rank 3 input is several times slower than with the same data as rank 2.

    Args:
        units: Integer, number of output features.
        **kwargs: Passed to `keras.layers.Dense`.

    Call arguments:
        tokens: Tensor of shape `(batch_size, ..., features)`, with any number of axes
            between.

    Returns:
        Tensor of shape `(batch_size, ..., units)`.

    Example:

    ```python
    tokens = keras.random.normal((2, 16, 32))
    outputs = keras_iwm.layers.TokenDense(64)(tokens)  # (2, 16, 64)
    ```
    """

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """Apply the layer to every token."""
        if len(tokens.shape) == 2:
            return super().call(tokens, training=training)
        between = tokens.shape[1:-1]
        if None in between:
            between = ops.shape(tokens)[1:-1]
        flat = ops.reshape(tokens, (-1, tokens.shape[-1]))
        outputs = super().call(flat, training=training)
        return ops.reshape(outputs, (-1, *between, self.units))

    def is_plain(self, policy: Any) -> bool:
        """Whether it computes by `policy` what its weights say and no more."""
        return (
            type(self) is TokenDense
            and not self.lora_enabled
            and self.dtype_policy is policy  # not of another precision or quantised
            and self.activation is linear
            and self.activity_regularizer is None
        )

    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        """Quantise the kernel as `keras.layers.Dense` does, which refuses subclasses.

        Args:
            mode: String, such as `"int8"`.
            type_check: Boolean, whether to refuse subclasses of this class.
            config: Optional `keras.quantizers.QuantizationConfig`.
        """
        type_check = type_check and type(self) is not TokenDense
        super().quantize(mode, type_check=type_check, config=config)

    def save_own_variables(self, store: Any) -> None:
        """Store the kernel, low-rank updates added, and these beside it.

        Keras stores the sum alone and goes on from factors of zero, both of which
        have no gradient then: such a layer would not learn again.
        """
        super().save_own_variables(store)
        for name in self._low_rank_names():
            store[name] = getattr(self, name)

    def load_own_variables(self, store: Any) -> None:
        """Load the kernel, or its parts where low-rank updates are enabled."""
        names = filter(str.isdigit, list(store.keys()))
        super().load_own_variables({name: store[name] for name in names})
        for name in self._low_rank_names():
            if name in store:
                getattr(self, name).assign(store[name])

    def _low_rank_names(self):
        """Attributes that a layer with low-rank updates has to keep apart."""
        if not (self.built and self.lora_enabled):
            return ()
        scale = ("kernel_scale",) if self.quantization_mode else ()
        return ("lora_kernel_a", "lora_kernel_b", "_kernel", *scale)
