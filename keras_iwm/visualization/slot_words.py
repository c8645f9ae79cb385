"""What an action's slots say in words: `brightness +20 %`, `hue -18°`, `gamma 0.8`."""

import numpy as np

_UNITS = {  # A change of 1 is so many of these.
    "brightness": (100, " %"),
    "contrast": (100, " %"),
    "saturation": (100, " %"),
    "hue": (360, "°"),
}
_MOST_LINES = 6


def value_in_words(slot, value):
    """Returns a parameter's value as its change: `+20 %` of a factor, `-18°` of hue.

    Slots that are not those of colour jitter are written as the number they are.
    """
    if slot not in _UNITS:
        return f"{value:.3g}"
    factor, unit = _UNITS[slot]
    change = round(factor * (value - (slot != "hue")))
    return f"{change:+d}{unit}" if change else f"0{unit}"


def error_in_words(slot, error):
    """Returns the distance between two values of a slot, such as `off 9°`."""
    factor, unit = _UNITS.get(slot, (1, ""))
    distance = factor * abs(error)
    # Two digits are enough, and small errors need them.
    digits = f"{distance:.0f}" if distance >= 10 else f"{distance:.2g}"
    return f"off {digits}{unit}"


def request_in_words(shared, parameters):
    """Returns what shared parameters change, as lines such as `brightness +20 %`.

    Args:
        shared: `TransformSequence` of an action space.
        parameters: NumPy array `(k,)`, its parameters.

    Returns:
        String: the largest changes, in the slots' order.
    """
    words = {}
    for index, slot in enumerate(shared.parameters):
        value = value_in_words(slot, parameters[index])
        # A change too small to be written is none.
        if value != value_in_words(slot, shared.identity[index]):
            words[index] = f"{slot.replace('_', ' ')} {value}"
    scales = np.array([scale or 1.0 for scale in shared.scales])
    sizes = np.abs(parameters - np.array(shared.identity)) / scales
    largest = sorted(words, key=lambda index: -sizes[index])[:_MOST_LINES]
    lines = [words[index] for index in sorted(largest)]
    if len(words) > len(lines):
        lines.append(f"and {len(words) - len(lines)} smaller changes")
    return "\n".join(lines) or "no change"
