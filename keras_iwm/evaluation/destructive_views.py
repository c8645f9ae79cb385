"""The destructive operations of a view generator, with parameters that are given."""

from keras_iwm.views.view_generator import ViewGenerator


def destructive_views(view_generator):
    """Make a view generator whose shared operations are the destructive ones.

    Its `sample_shared`, `apply_shared` and `shared_identity` then draw, apply and
    leave out what the model's own applies to the source view alone.

    Args:
        view_generator: `ViewGenerator` of a model.

    Returns:
        A `ViewGenerator` without crop and without destructive operations.
    """
    return ViewGenerator(
        view_generator.image_size,
        view_generator.mask,
        crop=None,
        shared=view_generator.destructive,
        destructive=(),
        value_range=view_generator.value_range,
    )
