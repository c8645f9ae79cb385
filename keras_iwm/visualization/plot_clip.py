"""Clips as strips of frames."""

import numpy as np

from keras_iwm.arguments import as_names
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Figure, Names, ValueRange
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    hide_frame,
    new_figure,
    prepare_images,
    wrapped,
)

_SIDE = 1.1  # inches


def plot_clip(
    frames: Array,
    value_range: ValueRange = (0, 255),
    names: Names | None = None,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws clips, each a strip of its frames from left to right.

    Args:
        frames: Array `(num_frames, height, width, num_channels)` of one clip, or
            `(num_clips, num_frames, height, width, num_channels)`.
        value_range: Tuple `(low, high)` of the pixels.
        names: Optional names of the clips, written before them.
        rgb_channels: Three integers, the channels to draw red, green and blue. Frames
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If clips or names are not as described.

    Example:

    ```python
    from keras_iwm.datasets import MovingPhotos
    from keras_iwm.visualization import plot_clip

    frames, _ = MovingPhotos(image_size=32, num_frames=4).draw_clips(3)
    figure = plot_clip(frames)
    figure.savefig("clips.png")
    ```
    """
    frames = as_array("frames", frames)
    clips = frames[None] if frames.ndim == 4 else frames
    if clips.ndim != 5 or not clips.size:
        raise ValueError(
            "`frames` must have shape (num_frames, height, width, num_channels), or "
            "another axis of clips before, and at least one frame. Received: shape "
            f"{frames.shape}."
        )
    count, length = clips.shape[:2]
    pictures = prepare_images(
        clips.reshape(-1, *clips.shape[2:]), value_range, "frames", rgb_channels
    ).reshape(count, length, *clips.shape[2:4], 3)
    if names is not None:
        names = as_names("names", names)
        if len(names) != count:
            raise ValueError(
                f"`names` must name the {count} clips. Received: {len(names)} names."
            )
    height = _SIDE * clips.shape[2] / clips.shape[3]
    figure = new_figure(_SIDE * length + bool(names), height * count + 0.25)
    axes = figure.subplots(count, length, squeeze=False)
    for row, column in np.ndindex(count, length):
        axis = axes[row, column]
        axis.imshow(pictures[row, column])
        hide_frame(axis)
        if row == 0:
            axis.set_title(f"frame {column}", fontsize=TEXT_SIZE)
        if names and column == 0:
            axis.set_ylabel(
                wrapped(names[row], 12), fontsize=TEXT_SIZE, rotation=0, ha="right",
                va="center",
            )  # fmt: skip
    return figure
