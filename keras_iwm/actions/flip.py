"""A flip."""

import keras
from keras import ops

from keras_iwm.actions.pixels import per_image
from keras_iwm.actions.transform import Transform
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Flip(Transform):
    """Mirror each image left to right, or not.

    A geometric operation as an action: shared by both views, its slot says whether
    one is the mirror image of the other. Positions of patches do not tell; so keep
    `flip_probability` of the crop as it is, which mirrors both alike. The one
    parameter is 1 where an image is mirrored, else 0.

    Args:
        probability: Share of the images that are flipped or not with equal chance,
            from 0 to 1.

    Raises:
        ValueError: If `probability` is outside [0, 1].

    Example:

    ```python
    import keras
    from keras_iwm.actions import Flip

    flip = Flip()
    flipped = flip.sample(keras.random.uniform((4, flip.num_draws)))
    images = flip.apply(keras.random.uniform((4, 32, 32, 3)), flipped)
    ```
    """

    parameters = ("flip",)
    identity = (0.0,)
    scales = (1.0,)

    def draw(self, uniforms: Tensor) -> Tensor:
        """0 or 1, each as often."""
        return ops.cast(uniforms >= 0.5, "float32")

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images, mirrored where `(batch, 1)` says 1."""
        mirrored = ops.flip(images, axis=2)
        return ops.where(per_image(parameters) > 0.5, mirrored, images)

    def difference(self, source: Tensor, target: Tensor) -> Tensor:
        """1 where one of the two is mirrored: either way leads to the other."""
        return ops.abs(target - source)
