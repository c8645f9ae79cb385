"""Clips held in memory, as batches for `fit`."""

from typing import Any

import numpy as np

from keras_iwm.arguments import as_count, as_optional
from keras_iwm.array_arguments import as_array
from keras_iwm.datasets.draw_place import draw_place
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.datasets.image_array import as_entries, check_images
from keras_iwm.datasets.read_clip import frame_numbers
from keras_iwm.type_aliases import Array


class ClipArray(EpochOrderedDataset):
    """Batches from an array of clips, in an order that a resumed run continues.

    Like handing the array to `fit`, but the order of the clips is a pure function of
    `(seed, epoch)`. To resume, set `epoch` and pass the same number as `initial_epoch`
    to `fit`. Of longer clips each epoch can have some frames, as `ClipFolder` draws
    them: `num_frames`, every `frame_stride`-th, from a place that is a pure function of
    `(seed, epoch)` too; with `shuffle=False` in the middle.

    Args:
        clips: Array `(num_clips, frames, height, width, num_channels)`, integers or
            floating point, in the model's `value_range`. Not copied.
        labels: Optional array `(num_clips, ...)`: classes, or what else goes with whole
            clips, such as the actions between all frames.
        num_frames: Optional positive integer, the frames handed out; by default all.
        frame_stride: Positive integer: 1 for neighbouring frames, 2 for every second
            frame, and so on.
        batch_size: Positive integer.
        shuffle: Boolean, whether every epoch has an order, and places, of its own.
        seed: Non-negative integer from which orders and places are drawn.
        drop_remainder: Boolean, whether to leave out the clips that do not fill a last
            batch.
        num_channels: Positive integer, the channels that the clips must have.

    Returns:
        Each batch is `(clips,)` or `(clips, labels)`, with the arrays' own dtypes and
        values.

    Raises:
        ValueError: If the arrays have the wrong rank, channels, dtype or length, if
            clips are too short, or if a number is out of its range.

    Example:

    ```python
    clips = np.random.default_rng(0).integers(0, 256, (20, 12, 32, 32, 3), "uint8")
    dataset = keras_iwm.datasets.ClipArray(clips, num_frames=8, batch_size=4)
    (batch,) = dataset[0]
    batch.shape  # (4, 8, 32, 32, 3)
    ```
    """

    def __init__(
        self,
        clips: Array,
        labels: Array | None = None,
        num_frames: int | None = None,
        frame_stride: int = 1,
        batch_size: int = 16,
        shuffle: bool = True,
        seed: int = 0,
        drop_remainder: bool = True,
        num_channels: int = 3,
    ) -> None:
        clips = as_array("clips", clips)
        if clips.ndim != 5 or 0 in clips.shape:
            raise ValueError(
                "`clips` must have shape (num_clips, frames, height, width, "
                f"{num_channels}), at least one clip. Received: shape {clips.shape}."
            )
        check_images(clips[:, 0], num_channels, "clips")
        labels = as_optional(as_entries, "labels", labels, len(clips))
        stride = as_count("frame_stride", frame_stride)
        if num_frames is None:
            num_frames = -(-clips.shape[1] // stride)
        num_frames = as_count("num_frames", num_frames)
        try:
            frame_numbers(clips.shape[1], (0.0, num_frames, stride))
        except ValueError as error:
            raise ValueError(
                f"`num_frames` is too large for the `clips`: {error}. Take fewer, or "
                "a smaller `frame_stride`."
            ) from error
        super().__init__(len(clips), batch_size, shuffle, seed, drop_remainder)
        self.clips = clips
        self.labels = labels
        self.num_frames = num_frames
        self.frame_stride = stride

    def load_batch(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` of the current epoch: `(clips,)` or with labels."""
        indices = self.batch_indices(index)
        places = [draw_place(self, clip, self.epoch) for clip in indices]
        frames = [
            frame_numbers(
                self.clips.shape[1], (place, self.num_frames, self.frame_stride)
            )
            for place in places
        ]
        clips = self.clips[indices[:, None], np.array(frames)]
        return (clips,) if self.labels is None else (clips, self.labels[indices])
