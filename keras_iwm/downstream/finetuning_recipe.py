"""The optimizer of finetuning."""

import math
import posixpath
import re
from typing import Any

import keras
from keras.optimizers import schedules

from keras_iwm.arguments import as_count, as_number, as_object
from keras_iwm.optimizers.adamw import AdamW


def finetuning_recipe(
    model: keras.Model,
    steps: int,
    batch_size: int,
    learning_rate: float | None = None,
    layer_decay: float = 0.75,
    predictor_multiplier: float = 0.1,
    warmup_fraction: float = 0.05,
    weight_decay: float = 0.05,
    **optimizer_arguments: Any,
) -> AdamW:
    """Return the optimizer with which pretrained vision transformers are finetuned.

    AdamW with a linear warm-up and a cosine to a thousandth of the peak, and with
    layer-wise decay: the encoder's last block learns `layer_decay` times as fast as
    the head, the block below `layer_decay` times as fast as that, down to the patch
    embedding, so that the general features at the bottom move least (the recipe of
    masked autoencoders, arXiv 2111.06377, which image world models, arXiv 2403.00504,
    follow). A pretrained predictor learns a tenth as fast as a random one, which the
    backbone tells apart, so that the control is fair. What is frozen gets no rate.

    Drop path belongs to the backbone, `from_world_model(..., drop_path_rate=0.1)`;
    label smoothing to the loss, `keras.losses.CategoricalCrossentropy(
    label_smoothing=0.1)` on the one-hot labels that `AugmentedImages` hands out.

    Args:
        model: A downstream model with a `backbone`: `ImageClassifier`,
            `ImageSegmenter` or `MultiTaskModel`.
        steps: Positive integer, number of updates in the whole run.
        batch_size: Positive integer, images in an update.
        learning_rate: Float, the peak for the head. Defaults to 1e-3 for a batch of
            256, and with the square root of the batch size for others.
        layer_decay: Float in (0, 1]; 1 lets all blocks learn alike.
        predictor_multiplier: Positive float, a pretrained predictor's learning rate
            as a share of the head's. A random one (`random_predictor` of the
            backbone) learns as fast as the head.
        warmup_fraction: Float in [0, 1), share of the steps with a rising rate.
        weight_decay: Float.
        **optimizer_arguments: Passed to `AdamW`.

    Returns:
        A `keras_iwm.optimizers.AdamW`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    backbone = keras_iwm.downstream.WorldModelBackbone.from_world_model(
        model, protocol="end_to_end", drop_path_rate=0.1
    )
    classifier = keras_iwm.downstream.ImageClassifier(backbone, num_classes=10)
    optimizer = keras_iwm.downstream.finetuning_recipe(
        classifier, steps=1000, batch_size=64
    )
    ```
    """
    expected = "a model with a WorldModelBackbone, such as an ImageClassifier"
    as_object("model", model, ("backbone",), expected)
    steps, batch_size = as_count("steps", steps), as_count("batch_size", batch_size)
    for name, value, top in (
        ("layer_decay", layer_decay, 1.0),
        ("predictor_multiplier", predictor_multiplier, math.inf),
    ):
        if as_number(name, value, 0.0, top) == 0:
            raise ValueError(
                f"`{name}` must be positive. Received: {name}={value}. To leave "
                "weights as they are, freeze them: `layer.trainable = False`."
            )
    warmup_fraction = as_number("warmup_fraction", warmup_fraction, 0.0, 1.0)
    if learning_rate is None:
        learning_rate = 1e-3 * (batch_size / 256) ** 0.5
    learning_rate = as_number("learning_rate", learning_rate, 0.0, math.inf)
    warmup_steps = min(int(warmup_fraction * steps), steps - 1)
    return AdamW(
        schedules.CosineDecay(
            0.0 if warmup_steps else learning_rate,
            steps - warmup_steps,
            alpha=1e-3,
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        ),
        weight_decay,
        learning_rate_multipliers=_multipliers(
            model.backbone, layer_decay, predictor_multiplier
        ),
        **optimizer_arguments,
    )


def _multipliers(backbone, layer_decay, predictor_multiplier):
    """Factors of the learning rate for the parts of a backbone that learn."""
    encoder, predictor = backbone.encoder, backbone.predictor
    factors = [
        (layer, layer_decay**depth)
        for depth, layer in enumerate(reversed(encoder.blocks), start=1)
    ]
    stem = layer_decay ** (len(factors) + 1)
    factors.append((encoder.patch_embedding, stem))
    factors.append((encoder.position_embedding, stem))
    if predictor is not None:
        is_random = backbone.random_predictor
        factors.append((predictor, 1.0 if is_random else predictor_multiplier))
    return {
        _pattern(layer): factor for layer, factor in factors if layer.trainable_weights
    }


def _pattern(layer):
    """Regular expression for the paths of a layer's weights, and for no others."""
    paths = [weight.path for weight in layer.trainable_weights]
    return f"^{re.escape(posixpath.commonpath(paths))}(/|$)"
