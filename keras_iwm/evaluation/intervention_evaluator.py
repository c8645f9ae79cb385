"""Latents moved along what a slot of the action does to them."""

import functools
from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_boolean, as_choice, as_count
from keras_iwm.array_arguments import check_labels
from keras_iwm.datasets.moving_photos import MovingPhotos
from keras_iwm.evaluation.change_probes import ChangeProbes, changes_of_pairs
from keras_iwm.evaluation.changes_of import changes_of, check_model
from keras_iwm.evaluation.compared_latents import (
    as_targets,
    bank_of,
    distances_to,
    unit,
)
from keras_iwm.evaluation.untrained_copy import untrained_copy
from keras_iwm.evaluation.world_model_parts import WorldModelParts
from keras_iwm.type_aliases import Array

# Places of a slot's range, whose ends are -1 and 1, and beyond it.
INSIDE = (-1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0)
OUTSIDE = (-2.0, -1.5, 1.5, 2.0)
SEED = 0


class InterventionEvaluator:
    """Move the latents of images as a slot would, and see what a model predicts.

    A probe that reads a slot from latents says that it is there, not that anything
    depends on it. So the *direction of change* of each slot is found, by how much
    latents move on average when images change by one unit of it; the context of an
    image is moved along it; and the predictor, told that nothing happens, predicts. If
    the model uses the direction, it predicts what it would for the changed image.

    Predicted changes are written as sums of those that the slots really cause in the
    same image's latents. So an intervention has a slope for each slot, which is 1
    for the moved one and 0 for the others if the direction causes what it stands
    for, and nothing else. `intervention_report` makes a table of it, with controls.

    Args:
        model: `ImageWorldModel`, or another world model of latents; or
            `LatentDynamicsModel` without states.
        train_images: Array of shape `(num_images, height, width, num_channels)` of the
            model's `image_size` and in its `value_range`: directions and probes are
            fitted on these. For a `LatentDynamicsModel` `Scenes`.
        images: Array of images, or `Scenes`, like `train_images`, of other photos.
        photo_ids: Optional integer array of shape `(num_images,)`, which photo each of
            `images` is a crop of. By default each is of its own; `Scenes` know.
        clip_maker: `MovingPhotos` that the scenes are of. It renders them under other
            actions, and what the next frame then shows takes the changed image's place.
            For a `LatentDynamicsModel` alone.
        num_pairs: Positive integer, how many pairs of image and changed image
            directions and probes are fitted on. Slots and images take turns.
        batch_size: Positive integer, the most images that pass through the model at
            once.
        verbose: Boolean, whether to show progress.

    Raises:
        ValueError: If the model has no shared operations or predicts no latents, the
            images do not fit it, or they are of fewer than 2 photos.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), "uint8")
    evaluator = keras_iwm.evaluation.InterventionEvaluator(
        model, images[:4], images[4:], num_pairs=32
    )
    evaluator.directions["hue"].shape  # (96,)
    evaluator.retrieve(0, "hue")["moved"]  # which entry each place leads to
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        train_images: Array,
        images: Array,
        photo_ids: Array | None = None,
        clip_maker: MovingPhotos | None = None,
        num_pairs: int = 2048,
        batch_size: int = 64,
        verbose: bool = True,
    ) -> None:
        check_model(model)
        self.model = model
        self._train_changes, self.changes = (
            changes_of(model, clip_maker, part, name)
            for name, part in (("train_images", train_images), ("images", images))
        )
        self.num_pairs = as_count("num_pairs", num_pairs)
        self.batch_size = as_count("batch_size", batch_size)
        self.verbose = as_boolean("verbose", verbose)
        if photo_ids is None:
            photo_ids = self.changes.photo_ids
        photo_ids = check_labels(photo_ids, len(self.changes), "photo_ids")
        photos, self.photo_ids = np.unique(photo_ids, return_inverse=True)
        if len(photos) < 2:
            raise ValueError(
                "`images` must be of at least 2 photos, which intervals are over. "
                f"Received: {len(photos)}."
            )
        self.num_photos = len(photos)
        self.num_train_images = len(self._train_changes)
        self.slots = self.changes.slots
        self.parts = WorldModelParts(model, model.feature_encoder, self.batch_size)
        self.untrained_parts = WorldModelParts(
            model, untrained_copy(model), self.batch_size
        )
        self.layers = self.parts.layers
        self.places = np.sort([*INSIDE, *OUTSIDE])
        self.settings = np.stack(
            [self.changes.settings(slot, self.places) for slot in self.slots]
        )
        self.all_settings = np.concatenate([self.changes.null, *self.settings])
        self.amounts = np.stack(
            [
                self.changes.amounts(slot, settings)
                for slot, settings in zip(self.slots, self.settings, strict=True)
            ]
        )

    @property
    def directions(self) -> dict[str, np.ndarray]:
        """From each slot to the mean change of the context for one unit of it."""
        return dict(zip(self.slots, self.moves_by_layer[-1], strict=True))

    @functools.cached_property
    def probes(self):
        """Dictionary of `ChangeProbes`, fitted once; and the mean context."""
        changes, amounts, middles = changes_of_pairs(
            [self.parts, self.untrained_parts],
            self._train_changes,
            self.num_pairs,
            self.verbose,
        )
        trained = ChangeProbes(changes[0], amounts)
        return {
            "trained": trained,
            "untrained": ChangeProbes(changes[1], amounts),
            "permuted": trained.permuted(),
            "middle": middles[0][-1],
        }

    @functools.cached_property
    def moves_by_layer(self):
        """Moves for one unit of each slot, `(num_layers + 2, num_slots, d)`."""
        return self.probes["trained"].directions()

    @functools.cached_property
    def controls(self):
        """Dictionary of other moves of the context, each as long as the slot's own."""
        own = self.moves_by_layer[-1]
        others = {
            "probe_weights": self.probes["trained"].weights[-1, :-1].T,
            "other_slot": np.roll(own, 1, axis=0),
            "untrained_encoder": self.probes["untrained"].directions()[-1],
            "permuted_amounts": self.probes["permuted"].directions()[-1],
            "random": np.random.default_rng(SEED).normal(size=own.shape),
        }
        if len(own) == 1:
            del others["other_slot"]
        lengths = np.linalg.norm(own, axis=1, keepdims=True)
        return {name: lengths * unit(moves) for name, moves in others.items()}

    def images_of(self, index: int) -> np.ndarray:
        """Return the bank of an image: unchanged, then under every slot at every place.

        Args:
            index: Integer, which of the images.

        Returns:
            Float32 NumPy array `(1 + num_slots * num_places, height, width,
            num_channels)`.

        Raises:
            ValueError: If there is no such image.
        """
        index = as_count("index", index, 0, len(self.changes) - 1)
        settings = self.all_settings
        return self.changes.apply(np.full(len(settings), index), settings)

    def look(self, index: int) -> dict[str, np.ndarray]:
        """One image under all settings, and predictions without an intervention.

        Args:
            index: Integer, which of the images.

        Returns:
            Dictionary of arrays `(num_slots, num_places, num_patches, hidden_dim)`:
            `contexts` and `targets`, of the changed images, the latter normalised;
            `told`, predicted from the image and the action; `seen`, predicted from
            the changed image without one. Of the unchanged image `context`, `target`,
            `null_told` and `null_seen`, `(num_patches, hidden_dim)`. And the mean
            changes of each layer, `(num_slots, num_places, num_layers + 2, d)`: `means`
            and, of an untrained encoder, `untrained_means`.
        """
        settings, images = self.all_settings, self.images_of(index)
        start = self.changes.starts(index)[None]
        contexts, means = self.parts.encode(np.concatenate([start, images]))
        context, contexts, means = contexts[0], contexts[1:], means[1:]
        actions = self.changes.actions(settings)
        told = self.parts.predict(np.stack([context] * len(actions)), actions)
        seen = self.parts.predict(contexts, np.repeat(actions[:1], len(actions), 0))
        targets = as_targets(contexts)
        shape = (len(self.slots), len(self.places))
        untrained = self.untrained_parts.encode(images)[1]
        found = {"contexts": contexts, "targets": targets, "told": told, "seen": seen}
        found["means"] = means - means[:1]
        found["untrained_means"] = untrained - untrained[:1]
        found = {
            name: array[1:].reshape(*shape, *array.shape[1:])
            for name, array in found.items()
        }
        unchanged = {"context": context, "target": targets[0]}
        return {**found, **unchanged, "null_told": told[0], "null_seen": seen[0]}

    def predict(self, contexts: np.ndarray) -> np.ndarray:
        """Predictions without an action, of contexts with any number of axes before."""
        flat = contexts.reshape(-1, *contexts.shape[-2:])
        null = self.changes.actions(self.changes.null)
        outputs = self.parts.predict(flat, np.repeat(null, len(flat), axis=0))
        return outputs.reshape(contexts.shape)

    def moved(self, context: np.ndarray, moves: np.ndarray) -> np.ndarray:
        """Contexts moved by the amounts of all places.

        Args:
            context: Array `(num_patches, hidden_dim)`.
            moves: Array `(num_slots, hidden_dim)`, for one unit of each slot.

        Returns:
            Array `(num_slots, num_places, num_patches, hidden_dim)`.
        """
        steps = self.amounts[..., None] * moves[:, None]
        return (context + steps[:, :, None]).astype("float32")

    def retrieve(self, index: int, slot: str) -> dict[str, Any]:
        """Look up what an image is taken for as its latents are moved along a slot.

        It is looked for among the image under the slot at all places, and unchanged.

        Args:
            index: Integer, which of the images.
            slot: String, one of `slots`, such as `"hue"`.

        Returns:
            Dictionary of integer arrays `(num_places,)`, positions in `images_of`:
            `wanted`, of the slot's places from the lowest on; `told` and `moved`, which
            are nearest to the predictions that are told the action, and to those of the
            moved context.

        Raises:
            ValueError: If there is no such image or slot.
        """
        row = self.slots.index(as_choice("slot", slot, self.slots))
        found = self.look(index)
        moved = self.predict(self.moved(found["context"], self.moves_by_layer[-1]))
        wanted = 1 + np.arange(len(self.places)) + row * len(self.places)
        entries = np.array([0, *wanted])
        bank = bank_of(found)[entries]
        retrieved = {
            name: entries[np.argmin(distances_to(bank, predictions[row]), axis=1)]
            for name, predictions in (("told", found["told"]), ("moved", moved))
        }
        return {"wanted": wanted, **retrieved}
