"""How well a probe reads the action from a pair of latents."""

import keras
import numpy as np

from keras_iwm.arguments import as_boolean, as_count, as_object
from keras_iwm.array_arguments import check_images
from keras_iwm.evaluation.mlp_predictions import mlp_predictions
from keras_iwm.evaluation.pair_latents import PairLatents
from keras_iwm.evaluation.probes import ridge_predictions
from keras_iwm.evaluation.untrained_copy import untrained_copy
from keras_iwm.type_aliases import Array
from keras_iwm.views.view_generator import ViewGenerator

SEED = 0


def action_r2(
    model: keras.Model,
    train_images: Array,
    images: Array,
    num_pairs: int = 4096,
    batch_size: int = 64,
    verbose: bool = True,
    view_generator: ViewGenerator | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """R2 of probes that regress the action from pooled latents of two views.

    How much of what changed between two views features hold, for models of any method:
    near 1 they are equivariant, near 0 invariant. The source view is not masked, and
    neither view is cropped; both are embedded by the feature encoder, and by an
    untrained encoder: random features hold a good deal of an action. The views'
    operations are drawn from NumPy with a fixed seed, so they are the same on every
    backend. The probes are a ridge regression with the penalty of the least
    leave-one-out error, and a network of two hidden layers of 256.

    Args:
        model: `ImageWorldModel`, or another model with a `feature_encoder`.
        train_images: Array of shape `(num_images, height, width, num_channels)` of the
            views' `image_size` and in their `value_range`: the probes are fitted on
            these.
        images: Array of images like `train_images`, that the probes are scored on.
        num_pairs: Positive integer, how many pairs to fit on. Images take turns. A
            fourth as many are scored.
        batch_size: Positive integer, the pairs that are embedded at once.
        verbose: Boolean, whether to show progress over the batches.
        view_generator: Optional `ViewGenerator` with the operations, to ask models of
            different methods the same. By default the model's own.

    Returns:
        Dictionary from `linear` and `mlp` to a dictionary from each slot to a
        dictionary of the floats `value` (R2: 1 at best, 0 for a probe that knows
        nothing, below 0 for a worse one; NaN where a slot never changes),
        `untrained` and `chance`.

    Raises:
        ValueError: If the images do not fit the views, or these have no operations.

    Example:

    ```python
    model = keras_iwm.models.ContrastiveModel.from_preset("moco_tiny_32", False)
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), "uint8")
    results = keras_iwm.evaluation.action_r2(
        model,
        images[:40],
        images[40:],
        num_pairs=64,
        view_generator=keras_iwm.views.ViewGenerator(image_size=32, crop=None),
    )
    results["linear"]["hue"]["value"]
    ```
    """
    needed = ("feature_encoder", "encoder", "view_generator")
    as_object("model", model, needed, "a model such as an ImageWorldModel")
    views = model.view_generator if view_generator is None else view_generator
    needed = ("action_space", "apply_shared", "image_size", "value_range")
    as_object("view_generator", views, needed, "a ViewGenerator")
    if not views.action_space.slots:
        raise ValueError(
            "`view_generator` must have operations, whose action is to be read. "
            "Received one without. Pass a ViewGenerator(image_size, crop=None)."
        )
    facts = (views.image_size, views.value_range)
    train_images = check_images(
        train_images, *facts, "train_images", views.num_channels
    )
    images = check_images(images, *facts, "images", views.num_channels)
    num_pairs = as_count("num_pairs", num_pairs)
    batch_size = as_count("batch_size", batch_size)
    verbose = as_boolean("verbose", verbose)
    latents = PairLatents(views, (model.feature_encoder, untrained_copy(model)))
    train, train_actions = latents.of_pairs(
        train_images, num_pairs, (SEED, 0), batch_size, verbose
    )
    test, test_actions = latents.of_pairs(
        images, max(1, num_pairs // 4), (SEED, 1), batch_size, verbose
    )
    results = {}
    for name, predict in (("linear", ridge_predictions), ("mlp", mlp_predictions)):
        trained, untrained = (
            r2(test_actions, predict(train[encoder], train_actions, test[encoder]))
            for encoder in range(2)
        )
        results[name] = {
            slot: {
                "value": float(trained[index]),
                "untrained": float(untrained[index]),
                "chance": 0.0,
            }
            for index, slot in enumerate(views.action_space.slots)
        }
    return results


def r2(values, predictions):
    """Share of each column's variance that predictions explain, as scikit-learn's."""
    rest = np.sum(np.square(values - predictions), axis=0)
    whole = np.sum(np.square(values - values.mean(axis=0)), axis=0)
    return np.where(whole > 0, 1.0 - rest / np.where(whole > 0, whole, 1.0), np.nan)
