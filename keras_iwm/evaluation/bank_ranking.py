"""Ranking of the predictions for one image in its bank, compiled once."""

import numpy as np
from keras import ops

from keras_iwm.arguments import as_object
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.distribution.device_batches import even_batch, split_batch
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.layers.shared_program import SharedProgram
from keras_iwm.metrics.ranking_distances import prepare_bank, ranking_distances
from keras_iwm.metrics.ranks import ranks_from_distances


class BankRanking(SharedProgram):
    """One image's bank, the predictions for it, and their ranks.

    It shares the feature encoder and the predictor with the world model and owns no
    weights. `predict_on_batch` compiles `call` at the first image and serves every
    further one, also after the weights have changed, and other models of the same
    structure. Chunks of `chunk_size` entries pass through encoder and predictor one
    after the other, so memory holds one chunk's activations and the bank's latents.
    Devices that share out batches share out each chunk.

    Args:
        model: `ImageWorldModel`.
        size: Integer, the number of entries of the bank.
        batch_size: Integer, the most entries that are embedded at once.
        shuffle: Integer array of shape `(size,)`: entry `shuffle[i]` is what the
            shuffled-action control wants of prediction `i`.
        swapped_image: Boolean, whether to predict from another image's context too.
    """

    def __init__(self, model, size, batch_size, shuffle, swapped_image):
        super().__init__(model, size, batch_size, swapped_image)
        self.feature_encoder = model.feature_encoder
        self.predictor = model.predictor
        self.action_space = model.action_space
        # Methods, not what they are of, which would be tracked and never be built.
        self.apply_shared = model.view_generator.apply_shared
        self.targets_of = getattr(model, "targets_of", self._encode)
        self.size = size
        self.num_chunks = -(-size // batch_size)
        self.chunk_size = even_batch(-(-size // self.num_chunks))
        # Which entries the ranks of each row are asked for, filled up like the rows.
        self.wanted = np.zeros((self.num_chunks * self.chunk_size, 2), "int32")
        self.wanted[:size] = np.stack([np.arange(size), shuffle], axis=1)
        self.swapped_image = swapped_image
        self.ids = np.arange(model.num_patches, dtype="int32")[None]
        self.built = True

    def rank(self, image, other_image, parameters):
        """Rank the predictions of one image.

        Args:
            image: NumPy array `(height, width, num_channels)` in the value range.
            other_image: NumPy array like it, for the swapped-image control.
            parameters: NumPy array `(size, k)`, of the model's shared operations.

        Returns:
            Dictionary of NumPy arrays, see `call`.
        """
        return self.predict_on_batch(
            {
                "image": np.asarray(image, "float32"),
                "other_image": np.asarray(other_image, "float32"),
                "parameters": self._rows(parameters),
                "wanted": self.wanted,
            }
        )

    def call(self, inputs):
        """Embed bank and clean image, predict every entry, and rank.

        Returns:
            Dictionary of `ranks`, `ranks_shuffled`, `ranks_pooled` and, if asked
            for, `ranks_swapped`, all of shape `(size,)`; `nearest`, `(size,)`, the
            entry that each prediction is nearest to; `clean_targets`,
            `(num_patches * output_dim,)`; `bank_variance`, `()`, the mean squared
            distance of the bank's entries from their mean.
        """
        names = ("image", "other_image")[: 1 + self.swapped_image]
        images = ops.stack([inputs[name] for name in names])
        clean = self._encode(images)
        parameters = inputs["parameters"]
        identity = self.action_space.identity(len(self.wanted))
        action = self._chunks(self.action_space.between(identity, parameters))
        parameters = self._chunks(parameters)
        bank = self._entries(self._embed(inputs["image"], parameters, self.targets_of))

        pooled = prepare_bank(ops.mean(bank, axis=1))
        bank = prepare_bank(bank)

        def measure(chunk):
            action, wanted = chunk["action"], chunk["wanted"]
            prediction = self._predict(clean[:1], action)
            distances = {
                "ranks": ranking_distances(prediction, bank, wanted),
                "ranks_pooled": ranking_distances(
                    ops.mean(prediction, axis=1), pooled, wanted[:, :1]
                ),
            }
            if self.swapped_image:
                prediction = self._predict(clean[1:], action)
                distances["ranks_swapped"] = ranking_distances(
                    prediction, bank, wanted[:, :1]
                )
            return distances

        wanted = inputs["wanted"]
        chunks = {"action": action, "wanted": self._chunks(wanted)}
        distances = {
            key: ops.reshape(value, (-1, self.size))[: self.size]
            for key, value in ops.map(measure, chunks).items()
        }
        results = {key: ranks_from_distances(value) for key, value in distances.items()}
        results["ranks_shuffled"] = ranks_from_distances(
            distances["ranks"], wanted[: self.size, 1]
        )
        results["nearest"] = ops.argmin(distances["ranks"], axis=1)
        clean_targets = normalize_latents(self.targets_of(images[:1]))
        results["clean_targets"] = ops.reshape(clean_targets, (-1,))
        results["bank_variance"] = ops.mean(bank["squares"])
        return results

    def _rows(self, parameters):
        """Parameters filled up to whole chunks."""
        rows = np.zeros((self.num_chunks * self.chunk_size, parameters.shape[1]))
        rows[:] = self.action_space.shared.identity
        rows[: self.size] = parameters
        return rows.astype("float32")

    def _chunks(self, rows):
        """Rows as `(num_chunks, chunk_size, ...)`."""
        return ops.reshape(rows, (-1, self.chunk_size, *rows.shape[1:]))

    def _encode(self, images):
        """The feature encoder's latents."""
        return self.feature_encoder(images, training=False)

    def _embed(self, image, parameters, embed):
        """What `embed` makes of the bank of `image`, one chunk after the other."""
        image = ops.broadcast_to(image[None], (self.chunk_size, *image.shape))
        return ops.map(
            lambda rows: embed(self.apply_shared(image, split_batch(rows))), parameters
        )

    def _entries(self, latents):
        """What predictions are compared with: normalised, and no filled up rows."""
        latents = ops.reshape(latents, (-1, *latents.shape[2:]))
        return normalize_latents(latents[: self.size])

    def _predict(self, context, action):
        """Normalised predictions of all positions, of a chunk or for one context."""
        action, shape = split_batch(action), (self.chunk_size, *context.shape[1:])
        ids = ops.broadcast_to(ops.convert_to_tensor(self.ids), shape[:2])
        prediction = self.predictor(
            ops.broadcast_to(context, shape), ids, ids, action, training=False
        )
        return normalize_latents(prediction)


def check_world_model(name, model):
    """Refuse what cannot be ranked."""
    as_object(name, model, ("action_space",), "a model such as an ImageWorldModel")


def predicts_actions(model):
    """Whether a model has a predictor that leads from view to view, to be ranked."""
    space = getattr(model, "action_space", None)
    return (
        isinstance(getattr(model, "predictor", None), WorldModelPredictor)
        and space is not None
        and bool(space.shared.scales)
    )
