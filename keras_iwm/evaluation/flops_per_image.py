"""The arithmetic that a model needs for one image."""

import math

from keras_iwm.arguments import as_boolean, as_count, as_optional
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.models.image_world_model import ImageWorldModel


def flops_per_image(
    model, num_context=None, num_targets=None, num_blocks=1, training=False
):
    """Count the floating-point operations of a model for one image.

    To compare sizes, conditionings and masks before a run, or, divided by the time of
    a step, to see how much of a machine's peak is used. A multiplication with its
    addition counts as 2 operations.

    Counted are the products with weights (patch embedding, query, key, value and
    output of attention, both layers of each MLP, projections, conditioning, the online
    probe) and the two products inside attention, between queries and keys and between
    weights and values. Not counted is what is no such product: norms, softmax, GELU,
    biases, positions, the loss, the optimizer, the moving average, and the making of
    views. By XLA's own count, a forward pass of views that are given has 0.5 % more
    operations for `iwm_small_224`, 1.4 % more for the narrow `iwm_tiny_32`.

    A training step adds 2 further forward passes for each part with a gradient
    (one for its inputs, one for its weights), and 1 for the blocks of parts made with
    `remat`, which are computed again. That is a few percent too much: images need no
    gradient. The target encoder has none, and a part without trainable weights is
    counted as having none.

    Args:
        model: `ViTEncoder`, `WorldModelPredictor` or `ImageWorldModel`.
        num_context: Positive integer, patches that the encoder sees of the image and
            hands to the predictor. By default what the mask of an `ImageWorldModel`
            leaves visible, or all patches of the grid for a part of its own. An
            encoder may be asked for more: those of a larger image.
        num_targets: Positive integer, positions to predict; in each block, if blocks
            are predicted apart. By default the mask's, or all of the grid.
        num_blocks: Positive integer, blocks that a `WorldModelPredictor` predicts
            apart from each other. An `ImageWorldModel` knows its own.
        training: Boolean, whether to count a training step instead of a forward pass.

    Returns:
        Integer, operations for one image. Times the batch size, those of a step.

    Raises:
        ValueError: If the model is of another kind, or a number is not positive or
            is given for a model that does not use it.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    forward = keras_iwm.evaluation.flops_per_image(model)
    step = keras_iwm.evaluation.flops_per_image(model, training=True)
    serving = keras_iwm.evaluation.flops_per_image(model.feature_encoder)
    ```
    """
    check_numbers(model, num_context, num_targets, num_blocks)
    training = as_boolean("training", training)
    if isinstance(model, ViTEncoder):
        forward, blocks = encoder_flops(model, num_context or model.num_patches)
        return with_backward(model, forward, blocks) if training else forward
    if isinstance(model, WorldModelPredictor):
        num_patches = math.prod(model.grid_size)
        forward, blocks = predictor_flops(
            model, num_context or num_patches, num_targets or num_patches, num_blocks
        )
        return with_backward(model, forward, blocks) if training else forward
    mask = model.view_generator.mask
    num_context = num_context or mask.num_context
    total = flops_per_image(model.feature_encoder)
    total += flops_per_image(model.encoder, num_context, training=training)
    total += flops_per_image(
        model.predictor,
        num_context,
        num_targets or mask.num_targets,
        mask.num_blocks if mask.separate_blocks else 1,
        training=training,
    )
    if model.num_classes is not None:
        probe = product_flops(1, model.encoder.hidden_dim, model.num_classes)
        total += with_backward(model.probe, probe) if training else probe
    return total


def encoder_flops(encoder, num_patches):
    """Return the operations of an encoder's forward pass, and of its blocks alone."""
    patch_values = encoder.num_channels * encoder.patch_size**2
    num_tokens = encoder.num_prefix_tokens + num_patches
    blocks = blocks_flops(encoder, num_tokens, encoder.hidden_dim)
    embedding = product_flops(num_patches, patch_values, encoder.hidden_dim)
    return embedding + blocks, blocks


def predictor_flops(predictor, num_context, num_targets, num_blocks):
    """Return the operations of a predictor's forward pass, and of its blocks alone."""
    width, action_dim = predictor.predictor_dim, predictor.action_dim
    num_tokens = num_context + num_targets
    conditioning = 0
    if predictor.conditioning == "sequence":
        num_tokens += action_dim
        conditioning = product_flops(1, action_dim, width)
    elif predictor.conditioning == "feature":
        conditioning = product_flops(1, action_dim, width)
        conditioning += 3 * product_flops(num_targets, width, width)
    blocks = blocks_flops(predictor, num_tokens, width)
    projections = product_flops(num_context + num_targets, predictor.hidden_dim, width)
    forward = projections + conditioning + blocks
    return num_blocks * forward, num_blocks * blocks


def blocks_flops(model, num_tokens, width):
    """Return the operations of a model's transformer blocks on one sequence."""
    attention = product_flops(num_tokens, width, 4 * width)
    # Queries with keys, then weights with values, over all heads together.
    attention += 2 * product_flops(num_tokens, width, num_tokens)
    products = 3 if getattr(model, "gated_mlp", False) else 2
    mlp = products * product_flops(num_tokens, width, model.mlp_dim)
    return model.num_layers * (attention + mlp)


def product_flops(rows, inner, columns):
    """Return the operations of a product (rows, inner) x (inner, columns)."""
    return 2 * rows * inner * columns


def with_backward(part, forward, blocks=0):
    """Return the operations of a part's forward and backward pass."""
    if not part.trainable_variables:
        return forward
    return 3 * forward + (blocks if getattr(part, "remat", False) else 0)


def check_numbers(model, num_context, num_targets, num_blocks):
    """Refuse another kind of model, and numbers that it does not use."""
    if not isinstance(model, (ViTEncoder, WorldModelPredictor, ImageWorldModel)):
        raise ValueError(
            "`model` must be a ViTEncoder, a WorldModelPredictor or an "
            f"ImageWorldModel. Received: {type(model).__name__}."
        )
    as_optional(as_count, "num_context", num_context)
    as_optional(as_count, "num_targets", num_targets)
    as_count("num_blocks", num_blocks)
    if isinstance(model, ViTEncoder) and num_targets is not None:
        raise ValueError(
            "`num_targets` is for predictors: an encoder has none. Received: "
            f"num_targets={num_targets}. Give `num_context` alone."
        )
    if not isinstance(model, WorldModelPredictor) and num_blocks != 1:
        raise ValueError(
            "`num_blocks` is for a WorldModelPredictor alone. Received: "
            f"num_blocks={num_blocks} for a {type(model).__name__}. Leave it out."
        )
