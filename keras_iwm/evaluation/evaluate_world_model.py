"""One measurement of a world model."""

import keras

from keras_iwm.arguments import as_boolean
from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.evaluation.world_model_evaluator import WorldModelEvaluator
from keras_iwm.type_aliases import Array


def evaluate_world_model(
    model: keras.Model,
    images: Array,
    bank: RetrievalBank | None = None,
    batch_size: int = 64,
    by_slot: bool = False,
    verbose: bool = True,
) -> dict[str, float]:
    """Measure how well a world model applies actions, with all controls.

    The mean reciprocal rank (image world models, arXiv 2403.00504) by the headline
    definition: see `WorldModelEvaluator`, which this makes, uses once and drops. What
    it compiles is kept without the model, and serves others of the same structure.
    To log it in every epoch, use `keras_iwm.callbacks.WorldModelQuality`.

    Args:
        model: `ImageWorldModel`, or another model with what `WorldModelEvaluator`
            asks for.
        images: Array or tensor of shape `(num_images, height, width, num_channels)`
            of at least 2 images, best held out from training, of the model's
            `image_size` and in its `value_range`.
        bank: `RetrievalBank`, by default the model's, which for colour jitter is the
            headline bank of 256 entries. Report results on another bank under another
            name.
        batch_size: Positive integer, the most bank entries that are embedded at
            once: lower it if memory runs out. It does not change the result.
        by_slot: Boolean, whether to add the break-down by slot of the action.
        verbose: Boolean, whether to show progress over the images.

    Returns:
        Dictionary of floats: `mrr`, `mrr_chance`, `hit_at_1`, `hit_at_5`,
        `hit_at_10`, `mrr_shuffled_action`, `mrr_swapped_image`, `mrr_pooled` and
        `bank_spread_ratio`, as `WorldModelEvaluator.evaluate` describes them; with
        `by_slot` also those of `WorldModelEvaluator.evaluate_by_slot`.

    Raises:
        ValueError: If the model has no shared operations, or not those of the bank,
            the images do not fit the model, or there are fewer than 2 of them.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    results = keras_iwm.evaluation.evaluate_world_model(model, images)
    results["mrr"], results["mrr_chance"]
    ```
    """
    by_slot, verbose = as_boolean("by_slot", by_slot), as_boolean("verbose", verbose)
    evaluator = WorldModelEvaluator(model, images, bank, batch_size)
    results = evaluator.evaluate(verbose)
    if by_slot:
        results.update(evaluator.evaluate_by_slot(verbose))
    return results
