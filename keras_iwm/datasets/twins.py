"""Pairs of scenes, one of which cannot happen."""

from typing import NamedTuple

import numpy as np

from keras_iwm.datasets.scenes import Scenes


class Twins(NamedTuple):
    """Possible scenes and their impossible twins, as `draw_twins` makes them.

    Twins are the same until the event. Render each with `actions`.

    Args:
        possible: `Scenes`.
        impossible: `Scenes`, as many.
        actions: float32 `(count, steps, action_dim)`: the camera is still.
        event_frames: Integers `(count,)`, the first frame of each pair that differs.

    Example:

    ```python
    import numpy as np
    from keras_iwm.datasets import MovingPhotos, draw_twins

    photos = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), "uint8")
    maker = MovingPhotos(photos, image_size=16, num_frames=4)
    twins = draw_twins(maker, "vanishes", count=3)
    frames = maker.render(twins.impossible, twins.actions)  # (3, 4, 16, 16, 3)
    ```
    """

    possible: Scenes
    impossible: Scenes
    actions: np.ndarray
    event_frames: np.ndarray
