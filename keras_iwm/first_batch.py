"""A look at the first batch of whatever `fit` takes."""

import types

import keras


def first_batch(x):
    """Return the first batch of a data source, and the source to go on with.

    Args:
        x: What `keras.Model.fit` takes: an array, a `PyDataset`, a `tf.data.Dataset`,
            a loader or a generator.

    Returns:
        Pair: the first batch as the source yields it, an array itself, or `None` for
        what cannot be looked at; and `x`, or a generator that begins with what was
        taken from it.
    """
    if x is None or isinstance(x, (dict, list, tuple)) or hasattr(x, "shape"):
        return x, x
    if isinstance(x, keras.utils.PyDataset):
        return (x[0] if x.num_batches != 0 else None), x
    if hasattr(x, "element_spec") and hasattr(x, "take"):
        # A `tf.data.Dataset`: of one batch, so that no more are prepared.
        return next(iter(x.take(1)), None), x
    if isinstance(x, types.GeneratorType) or (
        hasattr(x, "__next__") and hasattr(x, "__iter__")
    ):
        first = next(x, None)
        return first, _rejoin(first, x)
    if hasattr(x, "__iter__"):
        return next(iter(x), None), x
    return None, x


def _rejoin(first, rest):
    """Yield what was taken from a generator, then the rest."""
    if first is not None:
        yield first
        yield from rest
