"""What a trained model has to be compared with."""

import random

from keras_iwm.arguments import as_count, as_object
from keras_iwm.type_aliases import AnyModel


def untrained_copy(model: AnyModel, seed: int = 0) -> AnyModel:
    """Make an encoder of the same shape that has learned nothing.

    Features of a randomly initialised encoder are far from useless, so kNN, ridge
    and RankMe of a trained one mean something only beside its.

    It is the same at every call, and no stream of random numbers of the caller's is
    touched.

    Args:
        model: `ImageWorldModel`, or anything with an `encoder`.
        seed: Integer, for other copies.

    Returns:
        A freshly initialised encoder with the config of `model.encoder`.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), "uint8")
    encoder = keras_iwm.evaluation.untrained_copy(model)
    features = keras_iwm.evaluation.extract_features(encoder, images)
    keras_iwm.metrics.rank_me(features)
    ```
    """
    as_object("model", model, ("encoder",), "a model such as an ImageWorldModel")
    seed = as_count("seed", seed, 0)
    return rebuilt(model.encoder, seed, name="untrained_encoder")


def rebuilt(part, seed, **changes):
    """A model of the same class and config, freshly initialised, always the same."""
    config = {**part.get_config(), **changes}
    config.pop("part_changes", None)
    # Keras takes the seeds of new weights from Python's generator.
    state = random.getstate()
    # Not that of a model which was made after the caller's own `random.seed(0)`.
    random.seed(f"untrained {seed}")
    try:
        return type(part).from_config(config)
    finally:
        random.setstate(state)
