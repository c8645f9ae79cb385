"""Which weights a model has, as they stand in a file."""


def weight_shapes(model):
    """Places and shapes of all that Keras would write of a model.

    Keras keeps this to itself: without its hook, weights too many go unnoticed, and
    those that are missing or of another shape are left to Keras.

    Args:
        model: `keras.Model`, built.

    Returns:
        Dictionary from the place in the file to the shape, or `None`.
    """
    try:
        from keras.src.saving import saving_lib

        class Places(saving_lib.H5IOStore):
            """Notes what would be written where."""

            def __init__(self):
                self.entries = {}

            def __bool__(self):
                return True

            def make(self, path, metadata=None):
                return self.entries.setdefault(path, {})

        places = Places()
        saving_lib._save_state(model, places, None, "", set())
    except (ImportError, AttributeError, TypeError):
        return None
    return {
        "/".join(["", *filter(None, [path]), "vars", str(name)]): tuple(value.shape)
        for path, entry in places.entries.items()
        for name, value in entry.items()
    }


def differences(expected, found):
    """Say how two lists of weights differ.

    Args:
        expected: Dictionary from places to shapes, of the model, or `None`.
        found: The same of the file.

    Returns:
        String, empty if they agree.
    """
    if expected is None:
        return ""
    shapes = {
        place: f"{place} is {found[place]}, not {expected[place]}"
        for place in expected
        if place in found and tuple(found[place]) != tuple(expected[place])
    }
    parts = (
        ("Missing", [place for place in expected if place not in found]),
        ("Unexpected", [place for place in found if place not in expected]),
        ("Of another shape", list(shapes.values())),
    )
    return " ".join(
        f"{title} ({len(places)}): {shorten(places)}."
        for title, places in parts
        if places
    )


def shorten(places, most=20):
    """The first of many names."""
    more = len(places) - most
    return ", ".join(places[:most]) + (f" and {more} more" if more > 0 else "")
