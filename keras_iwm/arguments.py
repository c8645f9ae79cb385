"""Argument checks: what a wrong value should have been."""

import os
import pathlib

import numpy as np

LONGEST_VALUE = 200


def shown(value) -> str:
    """`value` as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def as_number(name, value, low, high, below=False) -> float:
    """`value` as a float in [`low`, `high`], or a ValueError that says so.

    With `below` it must be smaller than `high`.
    """
    try:
        refused = isinstance(value, (str, bytes, bool, np.bool_))
        number = float("nan") if refused else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    inside = low <= number < high if below else low <= number <= high
    if not inside or not np.isfinite(number):
        raise ValueError(
            f"`{name}` must be a finite number from {low:g} to "
            f"{'below ' if below else ''}{high:g}. Received: {name}={shown(value)}."
        )
    return number


def as_positive(name, value) -> float:
    """`value` as a float above zero, or a ValueError that says so."""
    if as_number(name, value, 0.0, float("inf")) == 0:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}.")
    return float(value)


def as_count(name, value, smallest=1, largest=None) -> int:
    """`value` as an integer in [`smallest`, `largest`], or a ValueError."""
    try:
        refused = isinstance(value, (bool, np.bool_)) or np.ndim(value) > 0
        count = smallest - 1 if refused else int(value)
        valid = bool(count == value) and count >= smallest
        # No size, step or seed needs more than 64 bits.
        valid = valid and count <= (2**63 - 1 if largest is None else largest)
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        limits = f"of at least {smallest}"
        limits = limits if largest is None else f"from {smallest} to {largest}"
        raise ValueError(
            f"`{name}` must be an integer {limits}. Received: {name}={shown(value)}."
        )
    return count


def as_optional(check, name, value, *limits):
    """`None`, or what `check` makes of `value`."""
    return None if value is None else check(name, value, *limits)


def as_label(name, value):
    """`value` as an integer, or `None` for none."""
    return as_optional(as_count, name, value, -(2**31))


def as_boolean(name, value) -> bool:
    """`value`, True or False (or 1 or 0), as a boolean."""
    if not isinstance(value, (bool, np.bool_, int)) or value not in (0, 1):
        raise ValueError(
            f"`{name}` must be True or False. Received: {name}={shown(value)}."
        )
    return bool(value)


def as_choice(name, value, choices) -> str:
    """`value`, which must be one of the strings in `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"`{name}` must be one of {tuple(choices)}. Received: "
            f"{name}={shown(value)}."
        )
    return value


def as_object(name, value, needed, expected):
    """`value`, which must have the attributes `needed`, as what is `expected` has."""
    missing = [attribute for attribute in needed if not hasattr(value, attribute)]
    if missing:
        raise ValueError(
            f"`{name}` must be {expected}. Received: {name}={shown(value)}, which has "
            f"no {missing[0]!r}."
        )
    return value


def as_interval(name, value, low, high) -> tuple[float, float]:
    """`value` as two floats in rising order within [`low`, `high`]."""
    first, last = _as_pair(value)
    if not low <= first <= last <= high:
        raise ValueError(
            f"`{name}` must be a pair (smallest, largest) within "
            f"[{low:g}, {high:g}]. Received: {shown(value)}."
        )
    return first, last


def as_value_range(value_range) -> tuple[float, float]:
    """`value_range` as two rising floats, or a ValueError that says so."""
    low, high = _as_pair(value_range)
    if not -float("inf") < low < high < float("inf"):
        raise ValueError(
            "`value_range` must be a pair (smallest, largest) of finite numbers, such "
            f"as (0, 255). Received: {shown(value_range)}."
        )
    return low, high


def _as_pair(value):
    """`value` as two floats, both NaN where it is no pair of finite numbers."""
    try:
        low, high = () if isinstance(value, (str, bytes, dict, set)) else value
        top = float("inf")
        return as_number("low", low, -top, top), as_number("high", high, -top, top)
    except (TypeError, ValueError):
        return float("nan"), float("nan")


def as_size(name, value) -> tuple[int, int]:
    """`value`, one integer or (height, width), as two positive integers."""
    try:
        if isinstance(value, (str, bytes, dict, set)):
            raise TypeError
        height, width = (value, value) if np.ndim(value) == 0 else value
        return as_count(name, height), as_count(name, width)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be a positive integer or a pair (height, width) of "
            f"them. Received: {shown(value)}."
        ) from None


def as_name(name, value) -> str:
    """`value`, a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"`{name}` must be a string that is not empty. Received: "
            f"{name}={shown(value)}."
        )
    return value


def as_names(name, value) -> tuple[str, ...]:
    """`value`, a list of strings, as a tuple."""
    names = tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else (None,)
    if not all(isinstance(part, str) for part in names):
        raise ValueError(
            f"`{name}` must be a list of strings. Received: {name}={shown(value)}."
        )
    return names


def as_grid(name, value) -> tuple[int, ...]:
    """`value`, the number of patches along each axis, as a tuple of integers."""
    return as_counts(name, value, "one for each axis, such as (14, 14)")


def as_counts(name, value, expected, smallest=1):
    """`value`, at least `smallest` positive integers as is `expected`, as a tuple."""
    try:
        is_list = np.ndim(value) == 1 and not isinstance(value, (str, bytes))
        counts = tuple(as_count(name, count) for count in value) if is_list else None
    except (TypeError, ValueError):
        counts = None
    if counts is None or len(counts) < smallest:
        raise ValueError(
            f"`{name}` must be positive integers, {expected}. Received: "
            f"{name}={shown(value)}."
        )
    return counts


def as_channel_values(name, values, num_channels) -> tuple[float, ...]:
    """One number, or one for each channel, as a tuple of one for each channel."""
    try:
        top = float("inf")
        numbers = [as_number(name, value, -top, top) for value in np.ravel(values)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) == 1:
        numbers = numbers * num_channels
    if len(numbers) != num_channels:
        raise ValueError(
            f"`{name}` must be a number, or one for each of the "
            f"{num_channels} channels. Received: {name}={shown(values)}."
        )
    return tuple(numbers)


def as_path(name, value) -> pathlib.Path:
    """`value`, the path of a file or folder."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise ValueError(f"`{name}` must be a path. Received: {name}={shown(value)}.")
    return pathlib.Path(value)


def as_transforms(name, transforms):
    """`transforms` as a tuple, each checked for what a slot of an action needs."""
    needed = ("sample", "apply", "difference", "parameters", "identity", "scales")
    if not isinstance(transforms, (list, tuple)):
        raise ValueError(
            f"`{name}` must be a list of Transform objects, () for none. Received: "
            f"{shown(transforms)}."
        )
    for transform in transforms:
        if not all(hasattr(transform, attribute) for attribute in needed):
            raise ValueError(
                f"`{name}` must hold Transform objects. Received: {shown(transform)}."
            )
        count = len(transform.parameters)
        if not 1 <= count == len(transform.identity) == len(transform.scales):
            raise ValueError(
                f"{type(transform).__name__} in `{name}` must have parameters, and one "
                f"identity and one scale for each of {transform.parameters}. "
                f"Received: {transform.identity} and {transform.scales}."
            )
    return tuple(transforms)
