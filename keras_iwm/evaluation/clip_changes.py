"""What actions really make of the scenes of moving photos."""

import numpy as np

from keras_iwm.arguments import as_object


class ClipChanges:
    """Scenes, and their next frame when one slot of the action changes.

    A setting is an action: of a slot it is how far along its range it lies. What is
    changed is compared with the next frame after an action of zeros, in which whatever
    moves on its own has moved too.

    Args:
        model: `LatentDynamicsModel`.
        maker: `MovingPhotos`, whose actions are the model's.
        scenes: `Scenes` of the maker.
        name: String, the argument's name in messages.
    """

    def __init__(self, model, maker, scenes, name):
        needed = ("render", "slots", "max_action", "image_size")
        as_object("clip_maker", maker, needed, "MovingPhotos")
        as_object(name, scenes, ("take", "photo_ids"), "Scenes of the `clip_maker`")
        if len(maker.slots) != model.action_dim:
            raise ValueError(
                f"`clip_maker` must have actions of {model.action_dim} slots, as the "
                f"model. Received: {maker.slots}."
            )
        if tuple(maker.image_size) != tuple(model.image_size):
            raise ValueError(
                f"`clip_maker` must have frames of {tuple(model.image_size)} pixels, "
                f"as the model. Received: {tuple(maker.image_size)}."
            )
        self.photo_ids = scenes.photo_ids
        self._maker, self._scenes = maker, scenes
        self._columns = {slot: index for index, slot in enumerate(maker.slots)}
        self.slots = tuple(
            slot
            for slot, largest in zip(maker.slots, maker.max_action, strict=True)
            if largest
        )
        self.null = np.zeros((1, len(maker.slots)), "float32")

    def __len__(self):
        return len(self.photo_ids)

    def settings(self, slot, places):
        """Actions `(num_places, action_dim)` of one slot at places of its range."""
        settings = np.repeat(self.null, len(places), axis=0)
        settings[:, self._columns[slot]] = places
        return settings

    def actions(self, settings):
        """The actions themselves."""
        return settings

    def amounts(self, slot, settings):
        """How much of a slot each action holds, `(n,)`."""
        return settings[:, self._columns[slot]]

    def starts(self, index):
        """A scene's frame before anything changes."""
        return self._frames([index], self.null)[0, 0]

    def apply(self, indices, settings):
        """The next frames of the scenes of these indices, each after its action."""
        return self._frames(indices, settings)[:, 1]

    def _frames(self, indices, settings):
        """Two frames of each of the scenes."""
        scenes = self._scenes.take(indices)
        return self._maker.render(scenes, settings[:, None]).astype("float32")
