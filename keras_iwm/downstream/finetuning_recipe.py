"""The optimizer of finetuning."""

from keras.optimizers import schedules

from keras_iwm.optimizers.adamw import AdamW


def finetuning_recipe(
    model,
    steps,
    batch_size,
    learning_rate=None,
    layer_decay=0.75,
    predictor_multiplier=0.1,
    warmup_fraction=0.05,
    weight_decay=0.05,
    **optimizer_arguments,
):
    """Return the optimizer with which pretrained vision transformers are finetuned.

    AdamW with a linear warm-up and a cosine to a thousandth of the peak, and with
    layer-wise decay: the encoder's last block learns `layer_decay` times as fast as
    the head, the block below `layer_decay` times as fast as that, down to the patch
    embedding, so that the general features at the bottom move least (the recipe of
    masked autoencoders, arXiv 2111.06377, which image world models, arXiv 2403.00504,
    follow). A pretrained predictor learns a tenth as fast as a random one.

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
        predictor_multiplier: Positive float, the predictor's learning rate as a share
            of the head's. Give 1 for a predictor that was not pretrained.
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
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if int(value) != value or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value}."
            )
    if not 0 < layer_decay <= 1:
        raise ValueError(
            "`layer_decay` must be in (0, 1]; 0.65 to 0.9 is usual. Received: "
            f"layer_decay={layer_decay}."
        )
    if predictor_multiplier <= 0:
        raise ValueError(
            "`predictor_multiplier` must be positive. To freeze the predictor, probe "
            "the encoder with protocol 'frozen'. Received: "
            f"predictor_multiplier={predictor_multiplier}."
        )
    if learning_rate is None:
        learning_rate = 1e-3 * (batch_size / 256) ** 0.5
    num_layers = model.backbone.encoder.num_layers
    multipliers = {"^predictor/": predictor_multiplier}
    for index in range(num_layers):
        decay = layer_decay ** (num_layers - index)
        multipliers[f"^encoder/block_{index:02d}/"] = decay
    multipliers["^encoder/patch_embedding/"] = layer_decay ** (num_layers + 1)
    warmup_steps = int(warmup_fraction * steps)
    return AdamW(
        schedules.CosineDecay(
            0.0 if warmup_steps else learning_rate,
            max(1, steps - warmup_steps),
            alpha=1e-3,
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        ),
        weight_decay,
        learning_rate_multipliers=multipliers,
        **optimizer_arguments,
    )
