"""In which precision gradients travel between devices."""

from typing import Literal

from keras_iwm.arguments import as_choice, as_object
from keras_iwm.type_aliases import AnyModel


def set_exchange_dtype(
    model: AnyModel, dtype: Literal["float32", "bfloat16"] = "float32"
) -> None:
    """Choose the precision in which processes of Torch exchange a model's gradients.

    `"bfloat16"` halves what goes over the network. Each process rounds its gradients
    to eight bits, the average is rounded once more, and the optimizer gets the same
    numbers everywhere: copies stay equal. Weights and moments stay in their precision.

    It holds from the next call of `fit` on, in this run: no file of the model says it.
    Every process must choose the same.

    Args:
        model: Any model of this library that is fitted.
        dtype: `"float32"` or `"bfloat16"`.

    Raises:
        ValueError: If the model is none of this library's, the dtype is another one,
            or it is `"bfloat16"` on JAX or TensorFlow, which choose by themselves.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    keras_iwm.distribution.set_exchange_dtype(model, "float32")
    ```
    """
    as_object("model", model, ["replicas"], "a model of keras_iwm")
    model.replicas.set_exchange_dtype(
        as_choice("dtype", dtype, ("float32", "bfloat16"))
    )
