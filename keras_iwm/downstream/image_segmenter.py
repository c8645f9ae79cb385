"""Segmentation with a pretrained world model."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_choice, as_count, as_label
from keras_iwm.downstream.attentive_head import AttentiveHead
from keras_iwm.downstream.deeplab_head import DeepLabHead
from keras_iwm.downstream.downstream_model import (
    DownstreamModel,
    check_backbone,
    labels_name,
)
from keras_iwm.downstream.linear_head import LinearHead
from keras_iwm.downstream.world_model_backbone import WorldModelBackbone
from keras_iwm.metrics.mean_intersection_over_union import MeanIntersectionOverUnion
from keras_iwm.type_aliases import Config, Tensor

HEADS = ("linear", "attentive", "deeplab")


@keras.saving.register_keras_serializable(package="keras_iwm")
class ImageSegmenter(DownstreamModel):
    """Tell the class of every pixel with a pretrained world model.

    The head classifies the latents of the patches; its logits are brought to the
    images' size by bilinear interpolation. The backbone's protocol decides what is
    trained beside the head: nothing (`"frozen"`, a probe), the encoder, the
    predictor, or both.

    `compile` with an optimizer alone is enough: cross-entropy and mean IoU, both of
    which leave out the pixels with `ignore_label`, are its defaults. `fit` takes
    `sample_weight`, one weight for each image or for each pixel.

    Args:
        backbone: `WorldModelBackbone`; its encoder is a copy of the teacher.
        num_classes: Integer of at least 2, number of classes.
        head: `"linear"` (a linear layer on each latent), `"attentive"` (a transformer
            block over all latents before it) or `"deeplab"` (DeepLabV3+, which needs
            `pip install keras-cv`, image sides of multiples of 32 pixels, and
            patches of 4, 8, 16 or 32).
        ignore_label: Optional integer, the label of pixels that count neither in the
            loss nor in the metric.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)` in the
            encoder's `value_range`. Another size than the encoder's `image_size` is
            taken, a multiple of its patch size.
        training: Boolean, whether to drop paths.

    Returns:
        Float32 tensor of logits, `(batch_size, height, width, num_classes)`.

    Raises:
        ValueError: If the head is unknown; in `fit` and `evaluate`, if masks hold
            other labels or have another size than the images.
        ImportError: If the head is `"deeplab"` and KerasCV is not installed.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 32, 48, 3), "uint8")
    masks = generator.integers(0, 3, (8, 32, 48))
    masks[:, :2] = 255  # unknown at the upper border

    backbone = keras_iwm.downstream.WorldModelBackbone.from_world_model(
        model, protocol="predictor"
    )
    segmenter = keras_iwm.downstream.ImageSegmenter(
        backbone, num_classes=3, head="attentive", ignore_label=255
    )
    segmenter.compile(
        keras_iwm.downstream.finetuning_recipe(segmenter, steps=2, batch_size=4)
    )
    segmenter.fit(images, masks, batch_size=4)
    classes = segmenter.predict(images).argmax(axis=-1)  # (8, 32, 48)
    ```
    """

    # Keras knows no weights of classes for targets of this rank.
    ignored_arguments = ("class_weight",)

    def __init__(
        self,
        backbone: WorldModelBackbone,
        num_classes: int,
        head: Literal["linear", "attentive", "deeplab"] = "linear",
        ignore_label: int | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        head = as_choice("head", head, HEADS)
        self.backbone = check_backbone(backbone)
        self.num_classes = as_count("num_classes", num_classes, 2)
        self.head = head
        self.ignore_label = as_label("ignore_label", ignore_label)
        encoder = backbone.encoder
        if head == "linear":
            self.head_layer = LinearHead(self.num_classes, per_patch=True, name="head")
        elif head == "attentive":
            self.head_layer = AttentiveHead(
                self.num_classes,
                encoder.num_heads,
                per_patch=True,
                dtype=encoder.dtype_policy,
                name="head",
            )
        else:
            self.head_layer = DeepLabHead(
                self.num_classes, encoder.patch_size, name="head"
            )
        self.head_layer.build((None, None, None, backbone.hidden_dim))
        self.built = True
        if not trainable:
            self.trainable = False

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compile like any Keras model, with defaults for loss and metric.

        Args:
            optimizer: What `keras.Model.compile` takes.
            loss: What `keras.Model.compile` takes. Defaults to the cross-entropy,
                averaged over the pixels without `ignore_label`.
            metrics: What `keras.Model.compile` takes. Defaults to the mean IoU
                over the classes that occur in masks or predictions.
            **kwargs: Further arguments of `keras.Model.compile`.
        """
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=self.ignore_label
            )
        if metrics is None:
            metrics = [MeanIntersectionOverUnion(self.num_classes, self.ignore_label)]
        super().compile(optimizer, loss, metrics=metrics, **kwargs)

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        """Return the logits of each pixel."""
        images = ops.convert_to_tensor(images)
        latents = self.backbone(images, training=training)
        patch_size = self.backbone.encoder.patch_size
        return pixel_logits(self.head_layer, latents, images.shape[1:3], patch_size)

    def compute_output_spec(
        self, images: Tensor, training: bool | None = None
    ) -> Tensor:
        """Return the logits as a symbolic tensor."""
        self.backbone.compute_output_spec(images)  # refuses what does not fit
        shape = (*images.shape[:3], self.num_classes)
        return keras.KerasTensor(shape, dtype="float32")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss, after a look at the masks' size."""
        if y is not None:
            check_mask_size(y.shape, y_pred.shape, "y")
        weight = _pixel_weights(sample_weight, y)
        return super().compute_loss(x, y, y_pred, weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Return the metrics, which Keras builds before the loss."""
        check_mask_size(y.shape, y_pred.shape, "y")
        return super().compute_metrics(x, y, y_pred, _pixel_weights(sample_weight, y))

    def check_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, name: str = "x"
    ) -> None:
        """Refuse images and masks that cannot be meant, see `TrainedModel`."""
        if y is not None and len(y.shape) == 3:  # `check_labels` has a word for others
            check_mask_size(y.shape, x.shape, labels_name(name))
        super().check_batch(x, y, sample_weight, name)

    def check_labels(self, labels: Any, name: str) -> None:
        """Refuse masks with labels that are neither a class nor to be ignored."""
        if labels.ndim != 3 or labels.dtype.kind not in "iu":
            hint = ""
            if labels.ndim == 4:
                hint = " Take the last axis away: masks[..., 0], or masks.argmax(-1)."
            raise ValueError(
                f"`{name}` must hold integers of shape (num_images, height, width), "
                f"one class for each pixel. Received: shape {labels.shape}, dtype "
                f"{labels.dtype}.{hint}"
            )
        wrong = (labels < 0) | (labels >= self.num_classes)
        if self.ignore_label is not None:
            wrong &= labels != self.ignore_label
        if wrong.any():
            raise ValueError(
                f"`{name}` must hold classes from 0 to {self.num_classes - 1}, or the "
                f"ignore label, {self.ignore_label}. Received: labels "
                f"{np.unique(labels[wrong])[:10].tolist()}. Make the model with the "
                "right `num_classes` and `ignore_label`, or number the classes from 0."
            )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "head": self.head,
            "ignore_label": self.ignore_label,
        }


def _pixel_weights(sample_weight, masks):
    """Weights of pixels, made from those of images: Keras would add a last axis."""
    if sample_weight is None or len(sample_weight.shape) != 1:
        return sample_weight
    weights = ops.reshape(sample_weight, (-1, 1, 1))
    return weights * ops.ones_like(masks, dtype=weights.dtype)


def pixel_logits(head, latents, image_size, patch_size):
    """Classify pixels by a head for grids of latents, and bilinear interpolation.

    Args:
        head: Layer from latents `(batch_size, rows, columns, hidden_dim)` to logits.
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        image_size: Pair of integers, height and width of the images.
        patch_size: Integer, side of a patch in pixels.

    Returns:
        Tensor of logits, `(batch_size, height, width, num_classes)`.
    """
    grid_size = tuple(side // patch_size for side in image_size)
    latents = ops.reshape(latents, (-1, *grid_size, latents.shape[-1]))
    return ops.image.resize(
        head(latents), image_size, "bilinear", data_format="channels_last"
    )


def check_mask_size(mask_shape, image_shape, name):
    """Refuse masks whose known height and width are not the images'.

    Args:
        mask_shape: Shape of the masks, with `None` where it is not known.
        image_shape: Shape of the images, or of their logits.
        name: String, the masks' name in messages.

    Raises:
        ValueError: If the sizes differ.
    """
    mask_size, image_size = tuple(mask_shape[1:]), tuple(image_shape[1:3])
    if len(mask_size) != 2 or any(
        None not in (one, two) and one != two
        for one, two in zip(mask_size, image_size, strict=True)
    ):
        raise ValueError(
            f"`{name}` must have the images' height and width, one class for each "
            f"pixel: {image_size}. Received: {mask_size}. Resize the masks to the "
            "images' size, with nearest neighbours; "
            "keras_iwm.datasets.load_segmentation reads both at one size."
        )
