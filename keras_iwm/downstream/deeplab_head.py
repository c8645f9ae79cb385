"""DeepLabV3+ as a segmentation head."""

from typing import Any

import keras

from keras_iwm.arguments import as_count
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.type_aliases import Config, Shape, Tensor

_STRIDES = (4, 32)  # Pixels between the features of the levels P2 and P5.


@keras.saving.register_keras_serializable(package="keras_iwm")
class DeepLabHead(keras.layers.Layer):
    """Segment images by KerasCV's DeepLabV3+ on the latents of their patches.

    DeepLabV3+ (arXiv 1802.02611) wants coarse features, `P5` with 32 pixels from one
    to the next, and fine ones, `P2` with 4. A vision transformer has a single level,
    from which both are made: `P2` by transposed convolutions that each double the
    grid, `P5` by one strided convolution (the simple feature pyramid of ViTDet, arXiv
    2203.16527). Latents are normalised over their features first.

    It needs KerasCV, `pip install keras-cv`, which needs TensorFlow on every
    backend. KerasCV's layers compute in the global dtype policy.

    Args:
        num_classes: Integer of at least 2, number of classes.
        patch_size: Integer, pixels from one latent to the next: 4, 8, 16 or 32.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, rows, columns, hidden_dim)`; rows and
            columns must make multiples of 32 pixels.
        training: Boolean, whether batch normalisation takes the batch's own
            statistics.

    Returns:
        Float32 tensor of logits, one for each 4 x 4 pixels:
        `(batch_size, rows * patch_size / 4, columns * patch_size / 4, num_classes)`.

    Raises:
        ImportError: If KerasCV is not installed.
        ValueError: If the patch size, or the images' size, does not fit the levels.

    Example:

    ```python
    import importlib.util

    if importlib.util.find_spec("keras_cv"):
        latents = keras.random.normal((2, 4, 8, 64))
        head = keras_iwm.downstream.DeepLabHead(num_classes=10, patch_size=8)
        logits = head(latents)  # (2, 8, 16, 10)
    ```
    """

    per_patch = True

    def __init__(self, num_classes: int, patch_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = as_count("num_classes", num_classes, 2)
        patch_size = as_count("patch_size", patch_size)
        if patch_size not in (4, 8, 16, 32):
            raise ValueError(
                "`patch_size` must be 4, 8, 16 or 32 for the DeepLab head. Received: "
                f"{patch_size}. Choose the linear or the attentive head."
            )
        self.patch_size = patch_size

    def build(self, latents_shape: Shape) -> None:
        """Create DeepLabV3+ over the two levels."""
        keras_cv = _require_keras_cv()
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "KerasCV's DeepLabV3+ follows Keras's `image_data_format`, which must "
                "be 'channels_last'. Received: 'channels_first'. Call "
                "keras.config.set_image_data_format('channels_last'), or choose the "
                "linear or the attentive head."
            )
        hidden_dim = latents_shape[-1]
        # Two convolutions that KerasCV's own head would put around an upsampling, at
        # 16 times the pixels and with a softmax behind them.
        segmentation_head = keras.Sequential(
            [
                keras.layers.Conv2D(256, 1, use_bias=False, name="mix"),
                keras.layers.BatchNormalization(name="mix_norm"),
                keras.layers.ReLU(name="mix_relu"),
                keras.layers.Conv2D(
                    self.num_classes, 1, dtype="float32", name="logits"
                ),
            ],
            name="segmentation_head",
        )
        self.deeplab = keras_cv.models.DeepLabV3Plus(
            self._feature_pyramid(keras_cv, hidden_dim),
            self.num_classes,
            segmentation_head=segmentation_head,
            name="deeplab",
        )

    def _feature_pyramid(self, keras_cv, hidden_dim):
        """Return a KerasCV backbone from a grid of latents to `P2` and `P5`."""
        latents = keras.Input((None, None, hidden_dim), name="latents")
        fine, stride = latents, self.patch_size
        while stride > _STRIDES[0]:
            fine = keras.layers.Conv2DTranspose(
                hidden_dim, 2, strides=2, activation="gelu", name=f"double_{stride}"
            )(fine)
            stride //= 2
        factor = _STRIDES[1] // self.patch_size
        coarse = keras.layers.Conv2D(hidden_dim, factor, factor, name="P5")(latents)
        # KerasCV looks levels up by the names of layers.
        fine = keras.layers.Identity(name="P2")(fine)
        pyramid = keras_cv.models.Backbone(
            inputs=latents, outputs=[fine, coarse], name="feature_pyramid"
        )
        pyramid.pyramid_level_inputs = {"P2": "P2", "P5": "P5"}
        return pyramid

    def call(self, latents: Tensor, training: bool | None = None) -> Tensor:
        """Return the logits of each 4 x 4 pixels."""
        size = tuple(side * self.patch_size for side in latents.shape[1:3])
        if any(side % _STRIDES[1] for side in size):
            raise ValueError(
                f"Image height and width must be multiples of {_STRIDES[1]} for the "
                f"DeepLab head. Received: {size}. Resize or crop images and masks, or "
                "choose the linear or the attentive head."
            )
        return self.deeplab(normalize_latents(latents), training=training)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "patch_size": self.patch_size,
        }


def _require_keras_cv():
    """Return the module, or raise a clear error if it is not installed."""
    try:
        import keras_cv
    except (ImportError, ValueError) as error:  # ValueError: TensorFlow is missing.
        raise ImportError(
            "The DeepLab head needs KerasCV: `pip install keras-cv`. The linear "
            "and the attentive head do without it."
        ) from error
    return keras_cv
