"""Argument checks: what a wrong value should have been."""

import numpy as np


def as_number(name, value, low, high, below=False):
    """`value` as a float in [`low`, `high`], or a ValueError that says so.

    With `below` it must be smaller than `high`.
    """
    try:
        number = float("nan") if isinstance(value, (str, bool)) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    inside = low <= number < high if below else low <= number <= high
    if not inside or not np.isfinite(number):
        raise ValueError(
            f"`{name}` must be a finite number from {low:g} to "
            f"{'below ' if below else ''}{high:g}. Received: {name}={value!r}."
        )
    return number


def as_count(name, value, smallest=1):
    """`value` as an integer of at least `smallest`, or a ValueError that says so."""
    try:
        count = int(value)
        valid = not isinstance(value, bool) and count == value and count >= smallest
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ValueError(
            f"`{name}` must be an integer of at least {smallest}. Received: "
            f"{name}={value!r}."
        )
    return count


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


def as_value_range(value_range):
    """`value_range` as two rising floats, or a ValueError that says so."""
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = 0.0
    if not -float("inf") < low < high < float("inf"):
        raise ValueError(
            "`value_range` must be a pair (smallest, largest) of finite numbers, such "
            f"as (0, 255). Received: {value_range!r}."
        )
    return low, high


def as_size(name, value):
    """`value`, one integer or (height, width), as two positive integers."""
    try:
        height, width = (value, value) if np.ndim(value) == 0 else value
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


def as_transforms(name, transforms):
    """`transforms` as a tuple, each checked for what a slot of an action needs."""
    needed = ("sample", "apply", "difference", "parameters", "identity", "scales")
    if not isinstance(transforms, (list, tuple)):
        raise ValueError(
            f"`{name}` must be a list of Transform objects, () for none. Received: "
            f"{transforms!r}."
        )
    for transform in transforms:
        if not all(hasattr(transform, attribute) for attribute in needed):
            raise ValueError(
                f"`{name}` must hold Transform objects. Received: {transform!r}."
            )
        count = len(transform.parameters)
        if not 1 <= count == len(transform.identity) == len(transform.scales):
            raise ValueError(
                f"{type(transform).__name__} in `{name}` must have parameters, and one "
                f"identity and one scale for each of {transform.parameters}. "
                f"Received: {transform.identity} and {transform.scales}."
            )
    return tuple(transforms)
