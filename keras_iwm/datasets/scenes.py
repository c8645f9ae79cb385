"""What moving photos show, as numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Scenes(NamedTuple):
    """What clips of `MovingPhotos` show: photos, cameras, sprites and walls.

    `MovingPhotos.draw_scenes` draws them and `MovingPhotos.render` makes frames of
    them, so whatever is to be seen can be changed in between: tracks of the sprites are
    given for each frame. Rows and columns are those of the photo as the maker keeps it
    (`MovingPhotos.photos`), counted from the centre of its first pixel. At log zoom 0 a
    photo's pixel is as large as a frame's.

    Args:
        photo_ids: Integers `(count,)`, positions in `MovingPhotos.photos`.
        camera: Floats `(count, 4)`, where it looks in the first frame: row and column
            of the frame's centre, log zoom, angle in radians.
        positions: Floats `(count, frames, sprites, 2)`, rows and columns of the
            sprites' centres.
        colors: uint8 `(count, frames, sprites, num_channels)`.
        visible: Booleans `(count, frames, sprites)`.
        sizes: Floats `(count, sprites)`, half of a sprite's width.
        shapes: Integers `(count, sprites)`: 0 a disc, 1 a square, 2 a diamond.
        walls: Floats `(count, 3)`: the axis (0 a bar along a row, 1 along a column),
            where its middle lies on that axis, and its thickness, 0 where there is no
            wall. A wall crosses the whole photo, and sprites bounce off it.
        wall_colors: uint8 `(count, num_channels)`.

    Example:

    ```python
    import numpy as np
    from keras_iwm.datasets import MovingPhotos

    photos = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), "uint8")
    maker = MovingPhotos(photos, image_size=16, num_frames=4)
    scenes = maker.draw_scenes(3, seed=0)
    # The first scene five times, under five actions.
    same = scenes.take([0] * 5)
    frames = maker.render(same, maker.draw_actions(5, 3))  # (5, 4, 16, 16, 3)
    ```
    """

    photo_ids: np.ndarray
    camera: np.ndarray
    positions: np.ndarray
    colors: np.ndarray
    visible: np.ndarray
    sizes: np.ndarray
    shapes: np.ndarray
    walls: np.ndarray
    wall_colors: np.ndarray

    def take(self, indices: Sequence[int] | np.ndarray) -> "Scenes":
        """Returns the scenes at these positions, in their order."""
        return Scenes(*(values[indices] for values in self))
