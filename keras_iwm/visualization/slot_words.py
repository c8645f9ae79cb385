"""What an action's slots say in words: `brightness +20 %`, `hue -18°`."""

import keras
import numpy as np

JITTER_SLOTS = ("brightness", "contrast", "saturation", "hue")
_UNITS = ((100, " %"), (360, "°"))  # Of factors, and of hue in turns.


def value_in_words(slot, value):
    """Returns a parameter's value as its change: `+20 %` of a factor, `-18°` of hue.

    Slots that are not a colour jitter's are written as the number they are.
    """
    if slot not in JITTER_SLOTS:
        return f"{value:.3g}"
    change, unit = _change(slot, value)
    return f"{change:+d}{unit}" if change else f"0{unit}"


def error_in_words(slot, error):
    """Returns the distance between two values of a slot, such as `off 9°`."""
    factor, unit = (1, "") if slot not in JITTER_SLOTS else _UNITS[slot == "hue"]
    distance = factor * abs(error)
    # Two digits are enough, and small errors need them.
    digits = f"{distance:.0f}" if distance >= 10 else f"{distance:.2g}"
    return f"off {digits}{unit}"


def requests_in_words(requested):
    """Returns a text of some lines for each of the requested jitters."""
    if not isinstance(requested, (list, tuple)):
        requested = keras.ops.convert_to_numpy(requested)
    return [_request_in_words(parameters) for parameters in requested]


def _request_in_words(parameters):
    """Returns jitter parameters as lines such as `brightness +20 %`."""
    if not isinstance(parameters, dict):
        parameters = np.asarray(keras.ops.convert_to_numpy(parameters))
        if parameters.shape != (4,):
            raise ValueError(
                f"`requested` must have four parameters for each image, "
                f"{', '.join(JITTER_SLOTS)}. Received: shape {parameters.shape}"
            )
        parameters = dict(zip(JITTER_SLOTS, parameters.tolist(), strict=True))
    unknown = set(parameters) - set(JITTER_SLOTS)
    if unknown:
        raise ValueError(
            f"`requested` may hold {', '.join(JITTER_SLOTS)}. Received: "
            f"{', '.join(sorted(unknown))}"
        )
    lines = []
    for slot, value in parameters.items():
        # A change too small to be written is none.
        if _change(slot, value)[0]:
            lines.append(f"{slot} {value_in_words(slot, value)}")
    return "\n".join(lines) or "no change"


def _change(slot, value):
    """Returns how far a jitter's value is from no change, and the unit of that."""
    factor, unit = _UNITS[slot == "hue"]
    return round(factor * (value - (slot != "hue"))), unit
