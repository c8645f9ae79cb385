"""What interventions need of a world model: its contexts and what they lead to."""

import keras
import numpy as np
from keras import ops

from keras_iwm.backend import KeptState
from keras_iwm.distribution.device_batches import even_batch
from keras_iwm.evaluation.moved_encoder import MovedEncoder
from keras_iwm.layers.normalize_latents import normalize_latents


class WorldModelParts:
    """An encoder, with ways to look at and to move its tokens, and a predictor.

    Args:
        model: `ImageWorldModel` or `LatentDynamicsModel`.
        encoder: Its feature encoder, or another of the same shape.
        batch_size: Integer, how many images pass at once.
    """

    def __init__(self, model, encoder, batch_size):
        is_dynamics = predicts_frames(model)
        as_context = normalize_latents if is_dynamics else _as_they_are
        self.batch_size = even_batch(batch_size)
        self._contexts = _Contexts(encoder, as_context)
        self._moved = MovedEncoder(encoder, as_context)
        self._predictions = (_NextLatents if is_dynamics else _ViewLatents)(model)
        self.layers = self._moved.layers_moved

    def encode(self, images):
        """Contexts of images, and each layer's mean over patches.

        Args:
            images: NumPy array `(num_images, height, width, num_channels)`.

        Returns:
            Float32 NumPy arrays `(num_images, num_patches, hidden_dim)` and
            `(num_images, num_layers + 2, hidden_dim)`; the last layer is the context.
        """
        outputs = self._in_batches(self._contexts, {"images": images})
        return outputs["context"], outputs["means"]

    def move(self, images, moves):
        """Contexts of images whose tokens are moved, see `MovedEncoder`."""
        inputs = {"images": images, "moves": moves}
        return self._in_batches(self._moved, inputs)

    def predict(self, contexts, actions):
        """Normalised predictions, float32 `(n, num_patches, hidden_dim)`."""
        inputs = {"context": contexts, "action": actions}
        return self._in_batches(self._predictions, inputs)

    def _in_batches(self, model, inputs):
        """What a model makes of arrays, a batch after the other.

        The last one is filled up, so that only one shape is compiled.
        """
        count = len(next(iter(inputs.values())))
        outputs = []
        for start in range(0, count, self.batch_size):
            rows = np.minimum(np.arange(start, start + self.batch_size), count - 1)
            batch = {name: np.float32(array[rows]) for name, array in inputs.items()}
            outputs.append(model.predict_on_batch(batch))
        return keras.tree.map_structure(
            lambda *parts: np.concatenate(parts)[:count].astype("float32"), *outputs
        )


class _Contexts(KeptState, keras.Model):
    """Contexts of images, and the mean over patches behind each block."""

    def __init__(self, encoder, as_context):
        super().__init__(dtype="float32", autocast=False, name="contexts")
        self.encoder, self.as_context = encoder, as_context
        self.built = True

    def call(self, inputs):
        """Encode images."""
        tokens = self.encoder(
            inputs["images"], training=False, return_intermediates=True
        )
        tokens["norm"] = self.as_context(tokens["norm"])
        tokens = {name: ops.cast(part, "float32") for name, part in tokens.items()}
        means = [ops.mean(part, axis=1) for part in tokens.values()]
        return {"context": tokens["norm"], "means": ops.stack(means, axis=1)}


class _ViewLatents(KeptState, keras.Model):
    """What an image world model predicts of all patches of the other view."""

    def __init__(self, model):
        super().__init__(dtype="float32", autocast=False, name="view_latents")
        self.predictor = model.predictor
        self.ids = np.arange(model.num_patches, dtype="int32")[None]
        self.built = True

    def call(self, inputs):
        """Predict."""
        context = inputs["context"]
        ids = ops.convert_to_tensor(self.ids)
        ids = ops.broadcast_to(ids, context.shape[:2])
        latents = self.predictor(context, ids, ids, inputs["action"], training=False)
        return normalize_latents(latents)


class _NextLatents(KeptState, keras.Model):
    """What a dynamics model predicts of the next frame."""

    def __init__(self, model):
        super().__init__(dtype="float32", autocast=False, name="next_latents")
        self.model = model
        self.built = True

    def call(self, inputs):
        """Predict."""
        context, action = inputs["context"], inputs["action"]
        latents = self.model.predict_next(context[:, None], action[:, None])
        return normalize_latents(latents[:, 0])


def predicts_frames(model):
    """Whether a model predicts the next frame, and not another view of an image."""
    return hasattr(model, "predict_next")


def _as_they_are(latents):
    """Latents as the encoder makes them."""
    return latents
