"""Random numbers of its own for every copy of a model."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops

from keras_iwm.arguments import as_object


@contextlib.contextmanager
def own_draws(model: keras.Model) -> Iterator[None]:
    """Context in which every copy of a model draws its own random numbers.

    Copies of a model have the same seeds, so that a checkpoint holds one state for
    all and can go on with any number of devices. Left at that, they would draw the
    same views, masks and dropped paths. Inside this context each copy's seeds are
    moved by a number hashed from its place among the copies, the first one's not at
    all; behind it they are moved back, having advanced as usual.

    The train step does this. You need it only to draw outside of `fit`, from
    TensorFlow's `strategy.run` or in a process of Torch. On JAX, and on one device,
    it changes nothing: one program draws for the whole batch.

    Args:
        model: `ImageWorldModel`.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    images = np.zeros((4, 32, 32, 3), "uint8")
    with keras_iwm.distribution.own_draws(model):
        views = model.view_generator(images, training=True)
    ```
    """
    as_object("model", model, ("replicas", "variables"), "a model of keras_iwm")
    offset = model.replicas.draw_offset()
    if offset is None:
        yield
        return
    seeds = seed_states(model)
    shifts = [ops.cast(ops.stack([offset, 0]), seed.dtype) for seed in seeds]
    for seed, shift in zip(seeds, shifts, strict=True):
        seed.assign(seed.value + shift)
    try:
        yield
    finally:
        for seed, shift in zip(seeds, shifts, strict=True):
            seed.assign(seed.value - shift)


def seed_states(model):
    """All seed generators' states, in a fixed order."""
    return [
        variable
        for variable in model.variables
        if variable.path.endswith("seed_generator_state")
    ]
