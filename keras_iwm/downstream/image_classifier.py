"""The classifier on a pretrained world model."""

from typing import Any, Literal

import keras

from keras_iwm.arguments import as_choice, as_count
from keras_iwm.downstream.attentive_head import AttentiveHead
from keras_iwm.downstream.downstream_model import (
    DownstreamModel,
    check_backbone,
    check_class_labels,
)
from keras_iwm.downstream.linear_head import LinearHead
from keras_iwm.downstream.world_model_backbone import WorldModelBackbone
from keras_iwm.type_aliases import Config, Tensor

HEADS = ("attentive", "linear")


@keras.saving.register_keras_serializable(package="keras_iwm")
class ImageClassifier(DownstreamModel):
    """Classify images with a pretrained world model.

    The backbone's protocol decides what is trained beside the head: nothing
    (`"frozen"`, a probe), the encoder, the predictor, or both. Train it with
    `compile` and `fit`; `finetuning_recipe` gives the optimizer, and cross-entropy and
    accuracy are the defaults.

    Args:
        backbone: `WorldModelBackbone`; its encoder is a copy of the teacher.
        num_classes: Integer of at least 2, number of classes.
        head: `"attentive"` (one learned query, a cross-attention block, a linear
            layer) or `"linear"` (a linear layer on the average).
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)` in the
            encoder's `value_range`.
        training: Boolean, whether to drop paths.

    Returns:
        Float32 tensor of logits, `(batch_size, num_classes)`.

    Raises:
        ValueError: If the head is unknown; in `fit` and `evaluate`, if labels are out
            of range.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (16, 32, 32, 3), "uint8")
    labels = generator.integers(0, 3, 16)

    backbone = keras_iwm.downstream.WorldModelBackbone.from_world_model(
        model, protocol="predictor"
    )
    classifier = keras_iwm.downstream.ImageClassifier(backbone, num_classes=3)
    classifier.compile(
        keras_iwm.downstream.finetuning_recipe(classifier, steps=2, batch_size=8)
    )
    classifier.fit(images, labels, batch_size=8)
    ```
    """

    def __init__(
        self,
        backbone: WorldModelBackbone,
        num_classes: int,
        head: Literal["attentive", "linear"] = "attentive",
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        head = as_choice("head", head, HEADS)
        self.backbone = check_backbone(backbone)
        self.num_classes = as_count("num_classes", num_classes, 2)
        self.head = head
        if head == "linear":
            self.head_layer = LinearHead(self.num_classes, name="head")
        else:
            self.head_layer = AttentiveHead(
                self.num_classes,
                backbone.encoder.num_heads,
                dtype=backbone.encoder.dtype_policy,
                name="head",
            )
        self.head_layer.build((None, None, backbone.hidden_dim))
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
            loss: What `keras.Model.compile` takes. Defaults to the cross-entropy for
                integer labels; one-hot ones, of `AugmentedImages` say, need
                `keras.losses.CategoricalCrossentropy(from_logits=True)`.
            metrics: What `keras.Model.compile` takes. Defaults to the accuracy.
            **kwargs: Further arguments of `keras.Model.compile`.
        """
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metrics = ["accuracy"] if metrics is None else metrics
        super().compile(optimizer, loss, metrics=metrics, **kwargs)

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        """Return the logits of each image."""
        return self.head_layer(self.backbone(images, training=training))

    def compute_output_spec(
        self, images: Tensor, training: bool | None = None
    ) -> Tensor:
        """Return the logits as a symbolic tensor."""
        latents = self.backbone.compute_output_spec(images)
        return self.head_layer.compute_output_spec(latents)

    def check_labels(self, labels: Any, name: str) -> None:
        """Refuse labels that are none of the classes."""
        loss = self.loss if self.compiled else None
        check_class_labels(labels, self.num_classes, name, loss)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "head": self.head,
        }
