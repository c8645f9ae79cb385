"""Clips of still photos, whose motion is known exactly."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from keras_iwm.arguments import as_count, as_number, as_size, shown
from keras_iwm.array_arguments import as_array
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.datasets.photo_camera import (
    LARGEST_LOG_ZOOM,
    camera_paths,
    pack_photo,
    sample_photo,
    seen_positions,
    unpack_pixels,
)
from keras_iwm.datasets.photo_windows import (
    named_photos,
    part_of_photos,
    shrink_photo,
    uneven_windows,
)
from keras_iwm.datasets.sample_photos import load_sample_photos
from keras_iwm.datasets.scenes import Scenes
from keras_iwm.datasets.sprites import draw_colors, draw_sprites, paint_sprites
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Array, Size


class MovingPhotos(EpochOrderedDataset):
    """Clips made of still photos: a camera pans, zooms and turns, sprites move.

    Everything about them is known: where the camera is, what leads from frame to frame
    (the action), where each sprite is and what it bounces off. No download is needed.
    Each batch is `(frames, actions)`; a model of masked video ignores the actions.

    The camera moves by an action's slots, each in [-1, 1] and drawn uniformly: it pans
    `max_pan` pixels of the frame down and right, then zooms in by the factor
    `exp(max_log_zoom)` and turns `max_turn` degrees counterclockwise (so the picture
    turns clockwise) about the frame's centre. What an action does to a frame depends on
    nothing else. Beyond its borders a photo is mirrored.

    Sprites (discs, squares, diamonds) keep to the photo and move on their own, straight
    on, one in front of the other. In half of the scenes a wall stands in the way of the
    first one, and all bounce off it.

    A pan by whole pixels, without zoom or turn, moves the picture to the bit; elsewhere
    photos are read bilinearly, places rounded to 1/256 pixel. All is a pure function of
    the seed: epoch `e` has clips of its own, and a resumed run gets the same ones.

    Args:
        photos: Dictionary or list of uint8 arrays `(height, width, num_channels)`, or
            one array of them, the same `num_channels` in all. By default those of
            `load_sample_photos`. Those whose shorter side is more than four times the
            frame's longer side are shrunk to it.
        image_size: Integer or pair (height, width), the frames'.
        num_frames: Integer of at least 2, frames in a clip.
        batch_size: Positive integer, clips in a batch.
        max_pan: Number from 0 to 1000, pixels of the frame.
        max_log_zoom: Number from 0 to 1.
        max_turn: Number from 0 to 180, degrees.
        num_sprites: Integer of at least 0.
        max_speed: Number from 0 to 1000, the sprites', in pixels a frame.
        clips_per_epoch: Integer of at least `batch_size`.
        split: `None` for all photos, `"train"` or `"test"` for one of the two parts:
            every fifth photo, beginning with the third, is for tests.
        seed: Non-negative integer from which all clips are drawn.

    Attributes:
        photos: Dictionary from names, or positions, to the photos as they are used.
        slots: Tuple of the names of the action's slots.
        action_dim: Integer, their number.
        max_action: float64 `(action_dim,)`, what 1 in each slot stands for: pixels,
            pixels, log zoom, degrees.

    Returns:
        Each batch is `(frames, actions)`: uint8
        `(batch_size, num_frames, height, width, num_channels)` and float32
        `(batch_size, num_frames - 1, action_dim)`; `actions[:, t]` leads from frame `t`
        to frame `t + 1`.

    Raises:
        ImportError: If the photos are left out and scikit-image, scikit-learn or
            Pillow is missing.
        ValueError: If photos are no pictures, too small or too even, or an argument
            is out of range.

    Example:

    ```python
    from keras_iwm.datasets import MovingPhotos

    maker = MovingPhotos(image_size=32, num_frames=4, batch_size=2, split="train")
    frames, actions = maker[0]
    frames.shape, actions.shape  # (2, 4, 32, 32, 3), (2, 3, 4)

    # Two pixels to the right, three times.
    action = np.array([0, 2, 0, 0]) / maker.max_action
    scenes = maker.draw_scenes(1, seed=7)
    frames = maker.render(scenes, np.tile(action, (1, 3, 1)))
    ```
    """

    slots = ("pan_rows", "pan_columns", "log_zoom", "turn")

    def __init__(
        self,
        photos: Mapping[Any, Array] | Sequence[Array] | np.ndarray | None = None,
        image_size: Size = 64,
        num_frames: int = 8,
        batch_size: int = 32,
        max_pan: float = 4.0,
        max_log_zoom: float = 0.1,
        max_turn: float = 6.0,
        num_sprites: int = 1,
        max_speed: float = 2.0,
        clips_per_epoch: int = 1024,
        split: Literal["train", "test"] | None = None,
        seed: int = 0,
    ) -> None:
        batch_size = as_count("batch_size", batch_size)
        clips_per_epoch = as_count("clips_per_epoch", clips_per_epoch, batch_size)
        super().__init__(clips_per_epoch, batch_size, shuffle=False, seed=seed)
        self.image_size = as_size("image_size", image_size)
        self.num_frames = as_count("num_frames", num_frames, 2)
        self.max_action = np.array(
            [
                *2 * [as_number("max_pan", max_pan, 0, 1000)],
                as_number("max_log_zoom", max_log_zoom, 0, 1),
                as_number("max_turn", max_turn, 0, 180),
            ]
        )
        self.action_dim = len(self.slots)
        self.num_sprites = as_count("num_sprites", num_sprites, 0, 1000)
        self.max_speed = as_number("max_speed", max_speed, 0, 1000)
        photos = named_photos(load_sample_photos() if photos is None else photos)
        self.photos = {
            name: shrink_photo(photo, self.image_size)
            for name, photo in part_of_photos(photos, split).items()
        }
        self.num_channels = next(iter(self.photos.values())).shape[-1]
        self._packed = [pack_photo(photo) for photo in self.photos.values()]
        drift = (self.num_frames - 1) * self.max_action[0]
        self._windows = [
            uneven_windows(name, photo, self.image_size, drift)
            for name, photo in self.photos.items()
        ]

    def draw_scenes(
        self, count: int, seed: int = 0, num_frames: int | None = None
    ) -> Scenes:
        """Draws what clips show; photos take turns, in an order that is drawn too.

        Args:
            count: Positive integer.
            seed: Non-negative integer; the scenes are a pure function of it.
            num_frames: Optional positive integer, for how many frames the sprites'
                tracks go on, by default the maker's.

        Returns:
            `Scenes`. Cameras look straight at the photo, at log zoom 0.
        """
        count = as_count("count", count)
        if num_frames is None:
            num_frames = self.num_frames
        num_frames = as_count("num_frames", num_frames)
        rng = np.random.default_rng([as_count("seed", seed, 0), 0])
        photo_ids = rng.permutation(np.arange(count) % len(self._packed))
        chosen, rest = rng.random(count), rng.random((count, 2))
        corners = np.stack(
            [
                self._windows[photo][int(share * len(self._windows[photo]))]
                for photo, share in zip(photo_ids, chosen, strict=True)
            ]
        )
        middles = corners + (np.array(self.image_size) - 1) / 2 + rest
        sprites = draw_sprites(
            rng,
            middles,
            num_frames,
            self.num_sprites,
            self.image_size,
            self.max_speed,
        )
        colors = draw_colors(rng, (count, 1, self.num_sprites), self.num_channels)
        each = (count, num_frames, self.num_sprites)
        return Scenes(
            photo_ids=photo_ids,
            camera=np.pad(middles, ((0, 0), (0, 2))),
            colors=np.broadcast_to(colors, (*each, self.num_channels)).copy(),
            visible=np.ones(each, bool),
            wall_colors=draw_colors(rng, (count,), self.num_channels),
            **sprites,
        )

    def draw_actions(
        self, count: int, num_steps: int | None = None, seed: int = 0
    ) -> np.ndarray:
        """Draws actions, each slot uniform in [-1, 1].

        Args:
            count: Positive integer.
            num_steps: Optional positive integer, by default as a clip has.
            seed: Non-negative integer; the actions are a pure function of it.

        Returns:
            float32 `(count, num_steps, action_dim)`.
        """
        count = as_count("count", count)
        if num_steps is None:
            num_steps = self.num_frames - 1
        num_steps = as_count("num_steps", num_steps)
        rng = np.random.default_rng([as_count("seed", seed, 0), 1])
        return rng.uniform(-1, 1, (count, num_steps, self.action_dim)).astype("float32")

    def render(self, scenes: Scenes, actions: Array) -> np.ndarray:
        """Makes frames: the camera starts at `scenes.camera` and follows the actions.

        Args:
            scenes: `Scenes`, whose tracks have at least `steps + 1` frames.
            actions: Numbers `(count, steps, action_dim)`, one row a scene. Values
                beyond [-1, 1] are motions beyond the maker's largest.

        Returns:
            uint8 `(count, steps + 1, height, width, num_channels)`.
        """
        path = self.camera_path(scenes, actions)
        frames = np.empty(
            (*path.shape[:2], *self.image_size, self.num_channels), dtype="uint8"
        )
        for scene, photo in enumerate(scenes.photo_ids):
            rows, columns = seen_positions(path[scene], self.image_size)
            pixels = sample_photo(self._packed[photo], rows, columns)
            paint_sprites(pixels, rows, columns, scenes, scene, path[scene])
            frames[scene] = unpack_pixels(pixels, self.num_channels)
        return frames

    def camera_path(self, scenes: Scenes, actions: Array) -> np.ndarray:
        """Returns where the camera is at each frame that `render` would make.

        Args:
            scenes: `Scenes`.
            actions: Numbers `(count, steps, action_dim)`.

        Returns:
            float64 `(count, steps + 1, 4)`: row and column of the frame's centre in the
            photo, log zoom, angle in radians.
        """
        if not isinstance(scenes, Scenes):
            raise ValueError(
                "`scenes` must be Scenes, as `draw_scenes` makes. Received: "
                f"scenes={shown(scenes)}."
            )
        actions = as_array("actions", actions).astype("float64")
        count, num_frames = scenes.visible.shape[:2]
        fits = actions.ndim == 3 and actions.shape[::2] == (count, self.action_dim)
        if not fits or actions.shape[1] >= num_frames or not np.isfinite(actions).all():
            raise ValueError(
                f"`actions` must be finite numbers ({count}, steps, {self.action_dim}) "
                f"with at most {num_frames - 1} steps. Received: shape {actions.shape}."
                " For longer clips pass `num_frames` to `draw_scenes`."
            )
        units = self.max_action * [1, 1, 1, np.pi / 180]
        path = camera_paths(scenes.camera, actions * units)
        if abs(path[..., 2]).max() > LARGEST_LOG_ZOOM:
            raise ValueError(
                f"`actions` must keep the log zoom within {LARGEST_LOG_ZOOM:g}. "
                f"Received actions that lead to {path[..., 2].min():g} and "
                f"{path[..., 2].max():g}. Use fewer or smaller ones."
            )
        return path

    def draw_clips(self, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Draws scenes and actions and renders them.

        Args:
            count: Positive integer.
            seed: Non-negative integer; the clips are a pure function of it.

        Returns:
            Tuple `(frames, actions)`, as in a batch.
        """
        actions = self.draw_actions(count, seed=seed)
        return self.render(self.draw_scenes(count, seed), actions), actions

    def load_batch(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` of the current epoch: `(frames, actions)`."""
        seed = hash_seed(hash_seed(self.seed, self.epoch), index)
        mine = self.batch_indices(index) % self.batch_size
        actions = self.draw_actions(self.batch_size, seed=seed)[mine]
        scenes = self.draw_scenes(self.batch_size, seed).take(mine)
        return self.render(scenes, actions), actions
