"""The arithmetic that a model needs for one image."""

import math

import keras

from keras_iwm.arguments import as_boolean, as_count, as_optional
from keras_iwm.backbones.dynamics_predictor import DynamicsPredictor
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.models.pretraining_model import PretrainingModel


def flops_per_image(
    model: keras.Model,
    num_context: int | None = None,
    num_targets: int | None = None,
    num_blocks: int = 1,
    training: bool = False,
) -> int:
    """Count the floating-point operations of a model for one image, or one clip.

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

    Of a `LatentDynamicsModel` it is a clip of `num_frames` that is counted: its frames,
    the prediction of each, and the rollout. A mask of attention saves nothing.

    A training step adds 2 further forward passes for each part with a gradient
    (one for its inputs, one for its weights), and 1 for the blocks of parts made with
    `remat`, which are computed again. That is a few percent too much: images need no
    gradient. The target encoder has none, and a part without trainable weights is
    counted as having none.

    Args:
        model: `ViTEncoder`, `VideoEncoder`, `WorldModelPredictor`, `DynamicsPredictor`,
            or a pretraining model of any method, which knows how many patches each of
            its parts sees.
        num_context: Positive integer, patches that an encoder or predictor sees of
            the image. By default all patches of the grid. An encoder may be asked for
            more: those of a larger image.
        num_targets: Positive integer, positions that a predictor is to predict, in
            each block if blocks are predicted apart. By default all of the grid.
        num_blocks: Positive integer, blocks that a predictor predicts apart from each
            other.
        training: Boolean, whether to count a training step instead of a forward pass.

    Returns:
        Integer, operations for one image or clip. Times the batch size, those of a
        step.

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
    if isinstance(model, PretrainingModel):
        passes = model.forward_passes()
        if model.probe is not None:
            passes.append((model.probe, {}))
        return sum(part_flops(part, training, **numbers) for part, numbers in passes)
    return part_flops(model, training, num_context, num_targets, num_blocks)


def part_flops(
    part,
    training,
    num_context=None,
    num_targets=None,
    num_blocks=1,
    rows=1,
    num_steps=None,
    rolls_out=False,
):
    """Return the operations of one part, each time that it runs.

    Parts that are neither encoder nor predictor are rows times dense kernels.
    """
    if isinstance(part, ViTEncoder):
        forward, blocks = encoder_flops(part, num_context or part.num_patches)
    elif isinstance(part, WorldModelPredictor):
        num_patches = math.prod(part.grid_size)
        forward, blocks = predictor_flops(
            part, num_context or num_patches, num_targets or num_patches, num_blocks
        )
    elif isinstance(part, DynamicsPredictor):
        num_steps = num_steps or part.num_frames - 1
        forward, blocks = dynamics_flops(part, num_steps, rolls_out)
    else:
        kernels = [w for w in part.weights if len(w.shape) == 2]
        forward = sum(product_flops(rows, *kernel.shape) for kernel in kernels)
        blocks = 0
    return with_backward(part, forward, blocks) if training else forward


def encoder_flops(encoder, num_patches):
    """Return the operations of an encoder's forward pass, and of its blocks alone."""
    patch_values = encoder.num_channels * encoder.patch_embedding.pixels_in_patch
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
    projections = product_flops(num_context, predictor.hidden_dim, width)
    projections += product_flops(num_targets, width, predictor.output_dim)
    forward = projections + conditioning + blocks
    return num_blocks * forward, num_blocks * blocks


def dynamics_flops(predictor, num_steps, rolls_out):
    """Return the operations of so many steps, and of its blocks that `remat` repeats.

    All at once, each token is compared with all others; in a rollout, which repeats
    nothing, with those of its step and of steps before.
    """
    num_patches, width = predictor.num_patches, predictor.predictor_dim
    projections = 2 * product_flops(num_patches, predictor.hidden_dim, width)
    projections += product_flops(1, predictor.action_dim + predictor.state_dim, width)
    num_tokens = predictor.tokens_per_step
    blocks = blocks_flops(predictor, num_steps * num_tokens, width)
    if rolls_out:
        blocks = num_steps * blocks_flops(predictor, num_tokens, width)
        for num_before in range(num_steps):
            compared = product_flops(num_tokens, width, num_before * num_tokens)
            blocks += predictor.num_layers * 2 * compared
    forward = num_steps * projections + blocks
    return forward, 0 if rolls_out else blocks


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
    predictors = (WorldModelPredictor, DynamicsPredictor)
    if not isinstance(model, (ViTEncoder, *predictors, PretrainingModel)):
        raise ValueError(
            "`model` must be a ViTEncoder, a WorldModelPredictor, a DynamicsPredictor "
            f"or a pretraining model. Received: {type(model).__name__}."
        )
    as_optional(as_count, "num_context", num_context)
    as_optional(as_count, "num_targets", num_targets)
    as_count("num_blocks", num_blocks)
    knows_its_own = isinstance(model, (DynamicsPredictor, PretrainingModel))
    if knows_its_own and num_context is not None:
        raise ValueError(
            "`num_context` is for encoders and predictors of masked patches: a "
            f"{type(model).__name__} knows its own. Received: num_context="
            f"{num_context}. Leave it out, or count the parts one by one."
        )
    if not isinstance(model, WorldModelPredictor) and num_targets is not None:
        raise ValueError(
            "`num_targets` is for predictors: an encoder has none, and a pretraining "
            f"model knows its own. Received: num_targets={num_targets}. Leave it out."
        )
    if not isinstance(model, WorldModelPredictor) and num_blocks != 1:
        raise ValueError(
            "`num_blocks` is for a WorldModelPredictor alone. Received: "
            f"num_blocks={num_blocks} for a {type(model).__name__}. Leave it out."
        )
