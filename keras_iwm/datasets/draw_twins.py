"""Scenes that can happen, and twins of them that cannot."""

from typing import Literal

import numpy as np

from keras_iwm.arguments import as_choice, as_count, shown
from keras_iwm.datasets.moving_photos import MovingPhotos
from keras_iwm.datasets.scenes import Scenes
from keras_iwm.datasets.sprites import reflect
from keras_iwm.datasets.twins import Twins
from keras_iwm.seeds import hash_seed

EVENTS = ("vanishes", "jumps", "changes_color", "passes_wall")
_BLOCK = 256  # Scenes that are drawn at once, to choose from
_MAX_BLOCKS = 400
_SHORTEST_JUMP, _LONGEST_JUMP = 1 / 4, 1 / 2  # of the frame's shorter side


def draw_twins(
    maker: MovingPhotos,
    event: Literal["vanishes", "jumps", "changes_color", "passes_wall"],
    count: int,
    seed: int = 0,
) -> Twins:
    """Draws scenes in which something impossible happens, and possible twins of them.

    What a model expects of objects shows in where it is surprised. The camera is still
    and the first sprite in sight in all frames; its track is edited from a frame in the
    second half of the clip on, but for the last frame:

    - `"vanishes"`: it is gone. In half of the pairs it is the other way round: a sprite
      appears in a scene whose twin shows none.
    - `"jumps"`: it goes on from another place, a quarter to a half of a frame away.
    - `"changes_color"`: it has the complementary colour from then on.
    - `"passes_wall"`: it goes straight on where its twin bounces off a wall.

    No frame alone tells which twin is possible, unless a sprite is on a wall. But a
    sprite that vanishes, jumps or changes colour also changes more pixels than its
    twin: who expects the next frame to be like the last is surprised too, and what a
    model knows beyond that must be seen beside it, as
    `keras_iwm.evaluation.evaluate_surprise` shows it. Passing a wall changes no more
    pixels than bouncing off it.

    Args:
        maker: `MovingPhotos` with sprites that move and at least 4 frames. Its
            `split="test"` has photos that were held out.
        event: String, what happens.
        count: Positive integer, pairs.
        seed: Non-negative integer; the pairs are a pure function of it.

    Returns:
        `Twins`.

    Raises:
        ValueError: If the maker has no sprites or too short clips, or if its sprites
            are almost never seen to do that.

    Example:

    ```python
    from keras_iwm.datasets import MovingPhotos, draw_twins

    maker = MovingPhotos(image_size=32, num_frames=8, split="test")
    twins = draw_twins(maker, "passes_wall", count=2)
    twins.event_frames  # such as [4, 6]
    frames = maker.render(twins.impossible, twins.actions)  # (2, 8, 32, 32, 3)
    ```
    """
    if not isinstance(maker, MovingPhotos):
        raise ValueError(
            f"`maker` must be a MovingPhotos. Received: maker={shown(maker)}."
        )
    event = as_choice("event", event, EVENTS)
    count = as_count("count", count)
    seed = as_count("seed", seed, 0)
    if not maker.num_sprites or maker.num_frames < 4:
        raise ValueError(
            "`maker` must have at least one sprite and 4 frames. Received: num_sprites="
            f"{maker.num_sprites}, num_frames={maker.num_frames}."
        )
    chosen, found = [], 0
    for block in range(_MAX_BLOCKS):
        rng = np.random.default_rng([seed, block, 2])
        scenes = maker.draw_scenes(_BLOCK, hash_seed(seed, block))
        pairs = _EDITS[event](scenes, rng, maker)
        chosen.append(_take(pairs, np.flatnonzero(_all_seen(*pairs, maker))))
        found += len(chosen[-1][-1])
        if found >= count:
            break
    else:
        raise ValueError(
            f"`maker` must show sprites to which that can happen. Of {block + 1} "
            f"blocks of {_BLOCK} scenes, {found} had a sprite that stays in sight and "
            f"{event.replace('_', ' ')}. Give it a `max_speed` and `num_frames` "
            "with which sprites cross a part of the frame."
        )
    possible, impossible = (
        Scenes(*map(np.concatenate, zip(*scenes, strict=True))).take(slice(count))
        for scenes in list(zip(*chosen, strict=True))[:2]
    )
    return Twins(
        possible,
        impossible,
        np.zeros((count, maker.num_frames - 1, maker.action_dim), "float32"),
        np.concatenate([pairs[2] for pairs in chosen])[:count],
    )


def _take(pairs, indices):
    """Returns the pairs at these positions."""
    possible, impossible, event_frames = pairs
    return possible.take(indices), impossible.take(indices), event_frames[indices]


def _all_seen(possible, impossible, event_frames, maker):
    """Returns which pairs have the first sprite in sight, and an event in time."""
    num_frames = maker.num_frames
    seen = (num_frames // 2 <= event_frames) & (event_frames <= num_frames - 2)
    for scenes in (possible, impossible):
        away = abs(scenes.positions[:, :, 0] - scenes.camera[:, None, :2])
        reach = np.array(maker.image_size) / 2 - scenes.sizes[:, :1]
        seen &= (away <= reach[:, None]).all(axis=(1, 2))
    return seen


def _from_events(scenes, rng):
    """Returns the frames of events, and which frames of each clip are not before it.

    Events of scenes with walls are put beyond the clip, where they do not count.
    """
    count, num_frames = scenes.visible.shape[:2]
    event_frames = rng.integers(num_frames // 2, num_frames - 1, count)
    event_frames[scenes.walls[:, 2] > 0] = num_frames
    return event_frames, np.arange(num_frames) >= event_frames[:, None]


def _vanish(scenes, rng, maker):
    """Returns twins one of which loses, or gains, its first sprite."""
    event_frames, after = _from_events(scenes, rng)
    appears = rng.random(len(after))[:, None] < 0.5
    possible, impossible = scenes.visible.copy(), scenes.visible.copy()
    possible[:, :, 0] = ~appears
    impossible[:, :, 0] = ~appears ^ after
    return (
        scenes._replace(visible=possible),
        scenes._replace(visible=impossible),
        event_frames,
    )


def _jump(scenes, rng, maker):
    """Returns twins one of which has its first sprite elsewhere."""
    event_frames, after = _from_events(scenes, rng)
    side = min(maker.image_size)
    length = rng.uniform(_SHORTEST_JUMP * side, _LONGEST_JUMP * side, len(after))
    heading = rng.uniform(0, 2 * np.pi, len(after))
    jump = length[:, None] * np.stack([np.sin(heading), np.cos(heading)], axis=-1)
    positions = scenes.positions.copy()
    positions[:, :, 0] += after[..., None] * jump[:, None]
    return scenes, scenes._replace(positions=positions), event_frames


def _change_color(scenes, rng, maker):
    """Returns twins one of which has its first sprite in another colour."""
    event_frames, after = _from_events(scenes, rng)
    colors = scenes.colors.copy()
    colors[:, :, 0] = np.where(after[..., None], 255 - colors[:, :, 0], colors[:, :, 0])
    return scenes, scenes._replace(colors=colors), event_frames


def _pass_wall(scenes, rng, maker):
    """Returns twins one of which has its first sprite go straight on at the wall."""
    positions = scenes.positions.copy()
    reflected = reflect(scenes.positions, scenes.sizes, scenes.walls)
    first = scenes.positions[:, :, 0]
    times = np.arange(first.shape[1])[:, None]
    # It goes on as it began: the event lies in the second half of the clip.
    straight = first[:, :1] + times * (first[:, 1:2] - first[:, :1])
    bounced = (abs(straight - first) > 1e-6).any(axis=-1)
    positions[:, :, 0] = np.where(bounced[..., None], reflected[:, :, 0], first)
    event_frames = np.where(bounced.any(axis=1), bounced.argmax(axis=1), len(times))
    return scenes, scenes._replace(positions=positions), event_frames


_EDITS = dict(zip(EVENTS, (_vanish, _jump, _change_color, _pass_wall), strict=True))
