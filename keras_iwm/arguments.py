"""Argument checks: what a wrong value should have been."""


def as_number(name, value, low, high):
    """`value` as a float in [`low`, `high`], or a ValueError that says so."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise ValueError(
            f"`{name}` must be a number from {low:g} to {high:g}. Received: {value!r}."
        )
    return number


def as_interval(name, value, low, high):
    """`value` as two floats in rising order within [`low`, `high`]."""
    try:
        first, last = (float(number) for number in value)
    except (TypeError, ValueError):
        first = last = float("nan")
    if not low <= first <= last <= high:
        raise ValueError(
            f"`{name}` must be a pair (smallest, largest) within "
            f"[{low:g}, {high:g}]. Received: {value!r}."
        )
    return first, last


def as_size(name, value):
    """`value`, one integer or (height, width), as two positive integers."""
    try:
        height, width = (value, value) if isinstance(value, int) else value
        size = int(height), int(width)
        valid = size == (height, width) and min(size) >= 1
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            f"`{name}` must be a positive integer or a pair (height, width) of "
            f"them. Received: {value!r}."
        )
    return size
