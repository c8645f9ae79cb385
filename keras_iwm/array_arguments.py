"""Checks of arrays."""


def check_values(images, value_range, name="images"):
    """Placeholder until the real check arrives."""
