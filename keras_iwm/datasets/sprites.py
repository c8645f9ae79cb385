"""Sprites that move over a photo on their own, and the walls they bounce off."""

import numpy as np

from keras_iwm.datasets.photo_camera import UNIT, pack_photo, paint

_SHAPES = ("disc", "square", "diamond")
# Shares of the frame's shorter side.
_SMALLEST, _LARGEST, _WALL = 1 / 16, 1 / 8, 1 / 16
_WALL_SHARE = 0.5  # of all scenes with sprites


def draw_sprites(rng, middles, num_frames, num_sprites, image_size, max_speed):
    """Returns sprites in the first frame's sight that move straight, and their wall.

    A wall stands across the way of the first sprite, which touches it in one of the
    frames: so it moves no less between two frames for the wall.

    Args:
        rng: NumPy generator.
        middles: Floats `(count, 2)`, the row and column in the midst of each frame.
        num_frames, num_sprites: Integers.
        image_size: Pair of integers.
        max_speed: Float, pixels a frame; none is slower than a third of it.

    Returns:
        Dictionary of `positions`, `sizes`, `shapes` and `walls`, as `Scenes` has them.
    """
    count, side = len(middles), min(image_size)
    each = (count, num_sprites)
    sizes = rng.uniform(_SMALLEST * side, _LARGEST * side, each)
    reach = np.array(image_size) / 2 - sizes[..., None]
    start = middles[:, None] + reach * rng.uniform(-1, 1, (*each, 2))
    heading = rng.uniform(0, 2 * np.pi, each)
    speed = rng.uniform(max_speed / 3, max_speed, each)
    velocity = speed[..., None] * np.stack([np.sin(heading), np.cos(heading)], -1)
    shapes = rng.integers(len(_SHAPES), size=each)
    walled = rng.random(count) < _WALL_SHARE
    hit_times = rng.integers(1, max(2, num_frames - 1), count)
    walls = np.zeros((count, 3))
    if num_sprites:
        axis = np.argmax(abs(velocity[:, 0]), axis=-1)
        scene = np.arange(count)
        along = velocity[scene, 0, axis]
        half = _WALL * side / 2
        middle = start[scene, 0, axis] + along * hit_times
        middle += np.sign(along) * (sizes[:, 0] + half)
        walls = np.stack([axis, middle, np.full(count, 2 * half)], axis=-1)
        walls *= walled[:, None]
        start = _beside_walls(start, sizes, walls)
    times = np.arange(num_frames)[:, None, None]
    straight = start[:, None] + velocity[:, None] * times
    return {
        "positions": bounce(straight, sizes, walls),
        "sizes": sizes,
        "shapes": shapes,
        "walls": walls,
    }


def draw_colors(rng, shape, num_channels):
    """Returns bright colours, uint8: one channel is 255, and another 0."""
    colors = rng.integers(256, size=(*shape, num_channels))
    if num_channels > 1:
        order = np.argsort(colors, axis=-1)
        np.put_along_axis(colors, order[..., -1:], 255, axis=-1)
        np.put_along_axis(colors, order[..., :1], 0, axis=-1)
    return colors.astype("uint8")


def bounce(straight, sizes, walls):
    """Returns straight tracks thrown back by the walls that they meet.

    Args:
        straight: Floats `(count, frames, sprites, 2)`.
        sizes: Floats `(count, sprites)`.
        walls: Floats `(count, 3)`, as `Scenes` has them.

    Returns:
        Floats, of the tracks' shape.
    """
    mirrored, beyond = _mirrored(straight, sizes, walls)
    return np.where(beyond, mirrored, straight)


def reflect(positions, sizes, walls):
    """Returns tracks mirrored at their walls' faces: what bounced off, straight on."""
    return _mirrored(positions, sizes, walls)[0]


def paint_sprites(pixels, rows, columns, scenes, scene, path):
    """Paints the wall and then the sprites of a scene over its frames, in place.

    Args:
        pixels: Packed pixels `(frames, height, width, words)`.
        rows, columns: Integers `(frames, height, width)`, which place of the photo
            each pixel shows, in units of 1/256 pixel.
        scenes: `Scenes`.
        scene: Integer, which of them.
        path: Floats `(frames, 4)`, the camera's.
    """
    frames = len(path)
    # In float32, for speed: pixels of the frame in a unit of position.
    zoom = (np.exp(path[:, 2]) / UNIT).astype(np.float32)[:, None, None]
    axis, middle, thickness = scenes.walls[scene]
    if thickness > 0:
        middle = np.int64(np.rint(UNIT * middle))
        away = abs((rows, columns)[int(axis)] - middle).astype(np.float32)
        coverage = _coverage(away, thickness / 2, zoom)
        paint(pixels, coverage, _packed(scenes.wall_colors[scene]))
    centres = np.rint(UNIT * scenes.positions[scene, :frames]).astype(np.int64)
    for sprite, size in enumerate(scenes.sizes[scene]):
        shown = np.flatnonzero(scenes.visible[scene, :frames, sprite])
        centre = centres[shown, sprite, :, None, None]
        down = (rows[shown] - centre[:, 0]).astype(np.float32)
        right = (columns[shown] - centre[:, 1]).astype(np.float32)
        away = _distance(_SHAPES[scenes.shapes[scene, sprite]], down, right)
        coverage = _coverage(away, size, zoom[shown])
        colors = _packed(scenes.colors[scene, shown, sprite])[:, None, None]
        part = pixels[shown]
        paint(part, coverage, colors)
        pixels[shown] = part


def _beside_walls(start, sizes, walls):
    """Returns starts `(count, sprites, 2)` mirrored out of the walls, to their side."""
    return bounce(start[:, None], sizes, walls)[:, 0]


def _mirrored(positions, sizes, walls):
    """Returns tracks mirrored at their walls' faces, and where they lay behind them.

    A face is where a sprite's centre is when it touches the wall, on the side on which
    its track begins.
    """
    axis, middle, thickness = walls.T[:, :, None, None]
    along = np.where(axis == 1, positions[..., 1], positions[..., 0])
    side = np.where(along[:, :1] < middle, -1.0, 1.0)
    face = middle + side * (thickness / 2 + sizes[:, None])
    beyond = (thickness > 0) & (side * (along - face) < 0)
    mirrored = positions.copy()
    for number in range(2):
        on_axis = (axis == number) & (thickness > 0)
        mirrored[..., number] = np.where(
            on_axis, 2 * face - along, positions[..., number]
        )
    return mirrored, beyond[..., None]


def _distance(shape, down, right):
    """Returns how far from the centre places are, as the shape measures it."""
    if shape == "disc":
        return np.hypot(down, right)
    if shape == "square":
        return np.maximum(abs(down), abs(right))
    return abs(down) + abs(right)


def _coverage(away, size, zoom):
    """Returns the shares of pixels within a distance, with a border of one pixel."""
    away -= np.float32(UNIT * size)
    away *= -zoom
    away += np.float32(0.5)
    return np.clip(away, 0, 1, out=away)


def _packed(colors):
    """Returns colours `(..., num_channels)` as packed pixels `(..., words)`."""
    packed = pack_photo(colors.reshape(1, -1, colors.shape[-1]))
    return packed.reshape(*colors.shape[:-1], packed.shape[-1])
