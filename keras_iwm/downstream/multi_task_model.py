"""One predictor for several tasks."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.array_arguments import check_batch_of_images
from keras_iwm.datasets.multi_task_batches import MultiTaskBatches
from keras_iwm.downstream.downstream_model import (
    DownstreamModel,
    check_backbone,
    check_class_labels,
    labels_name,
)
from keras_iwm.downstream.image_segmenter import check_mask_size, pixel_logits
from keras_iwm.downstream.world_model_backbone import WorldModelBackbone
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class MultiTaskModel(DownstreamModel):
    """Solve several tasks with one predictor, told by a token which one is meant.

    A learned token of the image's task joins the predictor's sequence, so one
    predictor gives each task the latents that it needs, to a head of its own (image
    world models, arXiv 2403.00504, section 5). The images of all tasks pass through
    encoder and predictor together.

    Train it with `compile` and `fit` on `MultiTaskBatches`, one loss for each task;
    Keras adds them up. Measure each task by itself, on its own number of images, by
    `predict` with that task alone and a metric.

    Args:
        backbone: `WorldModelBackbone` with the protocol `"predictor"` or
            `"end_to_end"`.
        heads: Dictionary from task names to layers that turn latents into outputs:
            `AttentiveHead` and `LinearHead` classify images, and with `per_patch`, as
            `DeepLabHead`, pixels. Layers of your own get `(batch_size, num_patches,
            hidden_dim)`, or with an attribute `per_patch` that is true `(batch_size,
            rows, columns, hidden_dim)`. The model makes heads like these, with new
            weights.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Dictionary from task names, of one or several of the tasks, to
            images of shape `(batch_size, height, width, num_channels)` in the
            encoder's `value_range`. The number of images may differ, their size may
            not.
        training: Boolean, whether to drop paths.

    Returns:
        Dictionary from the same task names to the outputs of the heads; logits of
        pixels have the images' height and width.

    Raises:
        ValueError: If the backbone has no predictor, or a name or head will not do;
            when called, if a task is unknown or the sizes differ; in `fit` and
            `evaluate`, if a task has no data, or labels do not fit its head.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    generator = np.random.default_rng(0)
    animals = generator.integers(0, 256, (16, 32, 32, 3), "uint8")
    places = generator.integers(0, 256, (8, 32, 32, 3), "uint8")
    data = {
        "animals": (animals, np.arange(16) % 5),
        "places": (places, np.arange(8) % 3),
    }

    multi_task = keras_iwm.downstream.MultiTaskModel(
        keras_iwm.downstream.WorldModelBackbone.from_world_model(model),
        {
            "animals": keras_iwm.downstream.AttentiveHead(5, num_heads=3),
            "places": keras_iwm.downstream.LinearHead(3),
        },
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    multi_task.compile(
        keras_iwm.downstream.finetuning_recipe(multi_task, steps=2, batch_size=16),
        loss={"animals": loss, "places": loss},
        metrics={"animals": ["accuracy"], "places": ["accuracy"]},
    )
    multi_task.fit(keras_iwm.datasets.MultiTaskBatches(data, batch_size=16))

    logits = multi_task.predict({"places": places})["places"]  # (8, 3)
    accuracy = np.mean(logits.argmax(axis=-1) == data["places"][1])
    ```
    """

    # Keras knows them for a single output alone.
    ignored_arguments = ("class_weight",)

    def __init__(
        self,
        backbone: WorldModelBackbone,
        heads: Mapping[str, keras.layers.Layer],
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        if check_backbone(backbone).predictor is None:
            raise ValueError(
                "`backbone` must have a predictor, which the tasks share. Received: "
                f"protocol {backbone.protocol!r}. Choose 'predictor' or 'end_to_end', "
                "or an `ImageClassifier` for each task."
            )
        check_heads(heads)
        self.backbone = backbone
        self.heads = {
            name: type(head).from_config({**head.get_config(), "name": f"{name}_head"})
            for name, head in heads.items()
        }
        for head in self.heads.values():
            rank = 4 if is_per_patch(head) else 3
            head.build((None,) * (rank - 1) + (backbone.hidden_dim,))
        # One weight for each: vectors are not decayed, a matrix would be.
        self.task_tokens = {
            name: self.add_weight(
                shape=(backbone.predictor.predictor_dim,),
                initializer=keras.initializers.TruncatedNormal(stddev=0.02),
                name=f"{name}_token",
            )
            for name in heads
        }
        self.built = True
        if not trainable:
            self.trainable = False

    # The number of images differs by task: `export` wants a signature from the user.
    input_signature = None

    def call(
        self, inputs: dict[str, Tensor], training: bool | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs of each task for its images."""
        self._check_inputs(inputs)
        names = [name for name in self.heads if name in inputs]
        images = [ops.convert_to_tensor(inputs[name]) for name in names]
        counts = [ops.shape(part)[0] for part in images]
        tokens = [
            ops.repeat(ops.expand_dims(self.task_tokens[name], 0), count, axis=0)
            for name, count in zip(names, counts, strict=True)
        ]
        latents = self.backbone(
            ops.concatenate(images),
            training=training,
            task_token=ops.concatenate(tokens),
        )
        outputs, start = {}, 0
        for name, count in zip(names, counts, strict=True):
            part = latents[start : start + count]
            outputs[name] = self._apply_head(self.heads[name], part, images[0].shape)
            start += count
        return outputs

    def _apply_head(self, head, latents, images_shape):
        """Return the outputs of a head; a segmentation's at the images' size."""
        if not is_per_patch(head):
            return head(latents)
        patch_size = self.backbone.encoder.patch_size
        return pixel_logits(head, latents, images_shape[1:3], patch_size)

    def check_labels(self, labels: Any, name: str) -> None:
        """Refuse labels of a task that are none of its classes, nor ignored."""
        losses = self.loss if self.compiled and isinstance(self.loss, dict) else {}
        if not isinstance(labels, dict):
            raise ValueError(
                f"`{name}` must be a dictionary from task names to labels. Received: "
                f"{type(labels).__name__}."
            )
        for task, array in labels.items():
            num_classes = getattr(self.heads.get(task), "num_classes", None)
            if not num_classes:
                continue
            array, loss = np.asarray(ops.convert_to_numpy(array)), losses.get(task)
            ignored = getattr(loss, "ignore_class", None)
            if ignored is not None:
                array = array[array != ignored]
            check_class_labels(array, num_classes, f"{name}[{task!r}]", loss)

    def check_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, name: str = "x"
    ) -> None:
        """Refuse data that lack a task or do not fit, see `TrainedModel`."""
        self._check_inputs(x)
        missing = [task for task in self.heads if task not in x]
        if y is not None and missing:
            raise ValueError(
                f"The data must have all tasks, {list(self.heads)}. Missing: "
                f"{missing}. For one task alone, use `predict` and a metric."
            )
        for task, images in x.items():
            check_batch_of_images(
                images, self.num_channels, self.value_range, f"{name}[{task!r}]"
            )
            masks = y.get(task) if isinstance(y, dict) else None
            if masks is not None and is_per_patch(self.heads[task]):
                label = f"{labels_name(name)}[{task!r}]"
                check_mask_size(masks.shape, images.shape, label)
        super().check_batch(x, y, sample_weight, name)

    def _look(self, source, name):
        """Check all that `MultiTaskBatches` hold, or the first batch of others."""
        if not isinstance(source, MultiTaskBatches):
            return super()._look(source, name)
        self.check_batch(source.images, source.labels, name=name)
        return source

    def _check_inputs(self, inputs):
        """Refuse inputs of another kind, of unknown tasks, and of different sizes."""
        if not isinstance(inputs, dict) or not inputs:
            raise ValueError(
                "The inputs must be a dictionary from task names to images. Received: "
                f"{type(inputs).__name__}. Write "
                f"{{{next(iter(self.heads))!r}: images}}."
            )
        unknown = [name for name in inputs if name not in self.heads]
        if unknown:
            raise ValueError(
                f"The inputs must be of the tasks {list(self.heads)}. Received: "
                f"{unknown}."
            )
        sizes = {name: tuple(inputs[name].shape[1:3]) for name in inputs}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "The images of all tasks must have one size, since they pass through "
                f"the encoder together. Received: {sizes}. Resize them, or call the "
                "model for each task by itself."
            )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "backbone": serialize(self.backbone),
            "heads": {name: serialize(head) for name, head in self.heads.items()},
        }


def is_per_patch(head):
    """Whether a head takes a grid of latents, and its outputs are of patches."""
    return bool(getattr(head, "per_patch", False))


def check_heads(heads):
    """Refuse what is no dictionary from usable names to layers.

    Args:
        heads: What the user gave.

    Raises:
        ValueError: If there is no head, a head is no layer, or a name cannot be part
            of a weight's path.
    """
    if not isinstance(heads, dict) or not heads:
        raise ValueError(
            "`heads` must be a dictionary from task names to layers, with at least one "
            f"task. Received: {type(heads).__name__}."
        )
    for name, head in heads.items():
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9][\w-]*", name):
            raise ValueError(
                "Names of tasks in `heads` must consist of letters, digits, '_' and "
                f"'-', and begin with a letter or digit. Received: {name!r}."
            )
        if not isinstance(head, keras.layers.Layer):
            raise ValueError(
                f"`heads[{name!r}]` must be a layer, such as `AttentiveHead("
                f"num_classes, num_heads)`. Received: {head!r}."
            )
