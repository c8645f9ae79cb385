"""What the shared operations of an image world model really make of images."""

import numpy as np
from keras import ops


class ImageChanges:
    """Images, and what becomes of them when one slot of the action changes.

    A setting is a row of the shared operations' parameters; of a slot it says how far
    along its range it lies, from -1 over 0, no change, to 1, and beyond.

    Args:
        model: `ImageWorldModel`.
        images: NumPy array of images of the model.
    """

    def __init__(self, model, images):
        self.images, self.photo_ids = images, np.arange(len(images))
        self._space = model.action_space
        self._apply = model.view_generator.apply_shared
        shared = self._space.shared
        self.slots = tuple(
            slot
            for slot, scale in zip(shared.parameters, shared.scales, strict=True)
            if scale
        )
        self.null = np.asarray([shared.identity], "float32")

    def __len__(self):
        return len(self.images)

    def settings(self, slot, places):
        """Settings `(num_places, k)` of one slot at these places of its range."""
        shared = self._space.shared
        index = shared.parameters.index(slot)
        uniforms = np.full((len(places), len(shared.parameters)), 0.5, "float32")
        uniforms[:, index] = 0.5 + 0.5 * np.asarray(places)
        drawn = np.asarray(ops.convert_to_numpy(shared.draw(uniforms)))
        settings = np.repeat(self.null, len(places), axis=0)
        settings[:, index] = drawn[:, index]
        return settings

    def actions(self, settings):
        """Actions `(n, action_dim)` from the images as they are to these settings."""
        null = np.repeat(self.null, len(settings), axis=0)
        return np.asarray(ops.convert_to_numpy(self._space.between(null, settings)))

    def amounts(self, slot, settings):
        """How much of a slot each action holds, `(n,)`."""
        return self.actions(settings)[:, self._space.slots.index(slot)]

    def starts(self, index):
        """What the model sees of an image before anything changes."""
        return np.asarray(self.images[index], "float32")

    def apply(self, indices, settings):
        """The images of these indices, each under its own setting."""
        images = np.asarray(self.images[indices], "float32")
        return np.asarray(ops.convert_to_numpy(self._apply(images, settings)))
