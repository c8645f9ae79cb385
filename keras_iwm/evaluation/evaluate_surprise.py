"""Whether a model is surprised by what cannot happen."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_iwm.arguments import as_choice, as_count, as_object, shown
from keras_iwm.datasets.draw_twins import EVENTS, draw_twins
from keras_iwm.datasets.moving_photos import MovingPhotos
from keras_iwm.evaluation.expected_latents import (
    EXPECTATIONS,
    ExpectedLatents,
    is_dynamics,
)
from keras_iwm.evaluation.surprise import check_predicts_frames
from keras_iwm.type_aliases import AnyModel

_QUANTILE = 1.96


def evaluate_surprise(
    model: AnyModel,
    maker: MovingPhotos,
    num_pairs: int = 128,
    events: Sequence[str] = EVENTS,
    seed: int = 0,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Share of pairs in which the impossible clip surprises a model more.

    Pairs are the same until something happens that cannot, see
    `keras_iwm.datasets.draw_twins`. A clip's surprise is the mean of `surprise` over
    its frames. Guessing gets half of the pairs right. Noticing that much has changed
    gets more: hence the controls, which expect each frame to be like the last. What a
    model knows of objects is what it gets beyond them. `"passes_wall"` leaves them
    least to go by, for there both twins change as many pixels.

    Args:
        model: `LatentDynamicsModel` without states, or `VideoWorldModel`, best trained
            on moving photos like those of the maker: with sprites and walls.
        maker: `MovingPhotos` with sprites, of the model's frames, size, channels and,
            for a dynamics model, number of slots; best of `split="test"`.
        num_pairs: Positive integer, pairs of each event.
        events: Strings, of `"vanishes"`, `"jumps"`, `"changes_color"`,
            `"passes_wall"`.
        seed: Non-negative integer from which the pairs are drawn.
        batch_size: Positive integer, clips that are compared at once.

    Returns:
        Dictionary of dictionaries of strings and numbers, ready for `json.dump`:

        - `settings`: `num_pairs`, `seed` and, in words, what `interval` is.
        - `events`: for each event a dictionary of

            - `accuracy`: for each of `"prediction"` (the model), `"copy"` (the last
              step's latents as the expectation) and `"untrained"` (the same with an
              untrained encoder) a dictionary of `value`, the share of pairs, equal
              ones counted half, and the 95 % interval from `low` to `high`; and
              `chance`, 0.5.
            - `curves`: `frames`, counted from the event, and the mean of the model's
              surprise there, `possible` and `impossible`.

    Raises:
        ValueError: If model and maker do not fit each other, or an event is unknown.

    Example:

    ```python
    maker = keras_iwm.datasets.MovingPhotos(image_size=64, num_frames=4)
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False, num_frames=4
    )
    report = keras_iwm.evaluation.evaluate_surprise(
        model, maker, num_pairs=4, events=("vanishes",)
    )
    report["events"]["vanishes"]["accuracy"]["prediction"]["value"]
    ```
    """
    check_predicts_frames(model)
    _check_maker(model, maker)
    num_pairs = as_count("num_pairs", num_pairs)
    if not isinstance(events, (list, tuple)) or not events:
        raise ValueError(
            f"`events` must be a list of one or more of {EVENTS}. Received: "
            f"{shown(events)}."
        )
    events = [as_choice("events", event, EVENTS) for event in events]
    seed = as_count("seed", seed, 0)
    batch_size = as_count("batch_size", batch_size)
    expected = ExpectedLatents(model)
    return {
        "settings": {
            "num_pairs": num_pairs,
            "seed": seed,
            "interval": "95 %, Wilson's for a share of pairs",
        },
        "events": {
            event: _measure(expected, maker, event, num_pairs, seed, batch_size)
            for event in dict.fromkeys(events)
        },
    }


def share_of_pairs(impossible, possible):
    """Share of pairs in which the first is larger, with Wilson's interval.

    Args:
        impossible, possible: Floats `(num_pairs,)`.

    Returns:
        Dictionary of the floats `value`, `low` and `high`.
    """
    count = len(impossible)
    share = float(np.mean((impossible > possible) + 0.5 * (impossible == possible)))
    spread = _QUANTILE**2 / count
    middle = (share + spread / 2) / (1 + spread)
    margin = np.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return {
        "value": share,
        "low": float(max(0.0, middle - margin)),
        "high": float(min(1.0, middle + margin)),
    }


def _measure(expected, maker, event, num_pairs, seed, batch_size):
    """Accuracies and curves of one event."""
    twins = draw_twins(maker, event, num_pairs, seed)
    low, high = expected.model.encoder.value_range
    found = []
    for scenes in (twins.possible, twins.impossible):
        frames = maker.render(scenes, twins.actions)
        if (low, high) != (0, 255):
            frames = (low + frames / 255 * (high - low)).astype("float32")
        found.append(expected.differences(frames, twins.actions, batch_size))
    possible, impossible = found
    accuracy = {
        name: share_of_pairs(
            np.nanmean(impossible[name], axis=1), np.nanmean(possible[name], axis=1)
        )
        for name in EXPECTATIONS
    }
    curves = [
        _around_events(clips["prediction"], twins.event_frames) for clips in found
    ]
    return {
        "accuracy": {**accuracy, "chance": 0.5},
        "curves": {
            "frames": curves[0][0],
            "possible": curves[0][1],
            "impossible": curves[1][1],
        },
    }


def _around_events(values, event_frames):
    """Frames counted from the event, and the means there that all clips have."""
    num_frames = values.shape[1]
    first = int(np.isnan(values[0]).sum())
    frames = range(first - event_frames.min(), num_frames - event_frames.max())
    clips = np.arange(len(values))
    means = [float(values[clips, event_frames + frame].mean()) for frame in frames]
    return list(frames), means


def _check_maker(model, maker):
    """Refuse a maker whose clips the model does not take."""
    expected = "a MovingPhotos"
    as_object("maker", maker, ("image_size", "num_frames", "num_channels"), expected)
    encoder = model.encoder
    dynamics = is_dynamics(model)
    facts = [("image_size", encoder.image_size), ("num_channels", encoder.num_channels)]
    if dynamics:
        facts.append(("action_dim", model.action_dim))
    else:
        facts.append(("num_frames", encoder.num_frames))
    wrong = [fact for fact in facts if getattr(maker, fact[0]) != fact[1]]
    if dynamics and maker.num_frames > model.num_frames:
        wrong.append(("num_frames", f"at most {model.num_frames}"))
    if wrong:
        name, needed = wrong[0]
        raise ValueError(
            f"`maker.{name}` must be the model's, {needed}. Received: "
            f"{getattr(maker, name)}. Make another MovingPhotos."
        )
