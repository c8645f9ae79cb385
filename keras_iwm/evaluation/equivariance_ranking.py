"""Ranks of what is undone, composed and inverted in one image's bank."""

import numpy as np
from keras import ops

from keras_iwm.evaluation.bank_ranking import BankRanking
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.metrics.ranking_distances import prepare_bank, ranking_distances
from keras_iwm.metrics.ranks import ranks_from_distances, retrieval_distances


class EquivarianceRanking(BankRanking):
    """One image's bank, and predictions that start elsewhere than at the clean image.

    Like `BankRanking`, which ranks the predictions from the clean image alone, it is
    compiled at the first image and owns no weights.

    Args:
        model: `ImageWorldModel`.
        size: Integer, the number of entries of the bank.
        batch_size: Integer, the most entries that pass through the model at once.
        shuffle: Integer array of shape `(size,)`: a composition leads from entry `i`
            to entry `shuffle[i]`, and the shuffled-action controls are given its
            action instead of that of entry `i`.
    """

    def __init__(self, model, size, batch_size, shuffle):
        super().__init__(model, size, batch_size, shuffle, swapped_image=False)
        self.apply_destructive = model.view_generator.apply_destructive
        # One row an operation that the model's views use: it alone is applied, in the
        # middle of its range.
        space = self.action_space
        middles = space.destructive.middles()
        used = (middles != np.array(space.destructive.identity)).any(axis=1)
        flags = np.eye(space.action_dim, dtype="float32")[len(space.shared.scales) :]
        names = space.operation_names
        self.operation_names = tuple(
            name for name, is_used in zip(names, used, strict=True) if is_used
        )
        self.operation_parameters = middles[used]
        self.operation_flags = flags[used]
        # What the filled up rows of the last chunk lead to does not matter.
        rest = np.arange(size, self.num_chunks * self.chunk_size)
        self.order = np.concatenate([shuffle, rest]).astype("int32")

    def rank(self, image, parameters):
        """Rank the predictions of one image.

        Args:
            image: NumPy array `(height, width, num_channels)` in the value range.
            parameters: NumPy array `(size, k)`, of the model's shared operations.

        Returns:
            Dictionary of NumPy arrays, see `call`.
        """
        return self.predict_on_batch(
            {
                "image": np.asarray(image, "float32"),
                "parameters": self._rows(parameters),
                "order": self.order,
            }
        )

    def call(self, inputs):
        """Embed bank, clean and degraded images, predict, and rank.

        Returns:
            Dictionary of ranks of shape `(size,)`. In the bank: `composition`, and
            `undo` and `undo_without_flag` of shape `(num_operations, size)`, with
            `undo_nearest`, the entries that the predictions are nearest to. In the
            bank and the clean image, which is wanted: `inverse` and `round_trip`,
            both also with `_shuffled_action`, and `null_action` of shape `(1,)`.
        """
        image, rows = inputs["image"], inputs["parameters"]
        num_operations = len(self.operation_names)
        images = image[None]
        if num_operations:
            copies = ops.broadcast_to(images, (num_operations, *image.shape))
            degraded = self.apply_destructive(copies, self.operation_parameters)
            images = ops.concatenate([images, degraded])
        contexts = self._encode(images)
        clean = contexts[:1]
        bank = self._embed(image, self._chunks(rows), self._encode)
        entries = self._entries(bank)
        all_entries = ops.concatenate([entries, normalize_latents(clean)])

        identity = self.action_space.identity(rows.shape[0])
        others = ops.take(rows, inputs["order"], axis=0)
        forward = self.action_space.between(identity, rows)
        to_clean = self.action_space.between(rows, identity)
        others_to_clean = self.action_space.between(others, identity)
        predictions = ops.map(
            lambda action: self._predict(clean, action), self._chunks(forward)
        )
        # Second steps start at the bank's entries, or at the predictions of them.
        starts = ops.stack([ops.cast(bank, "float32"), self._as_latents(predictions)])
        own, to_others = self.wanted[:, 0], self.action_space.between(rows, others)
        itself = ops.full_like(own, self.size)
        other = inputs["order"] % self.size
        distances = self._distances(
            starts,
            {
                "inverse": (0, to_clean, itself),
                "inverse_shuffled_action": (0, others_to_clean, itself),
                "round_trip": (1, to_clean, itself),
                "round_trip_shuffled_action": (1, others_to_clean, itself),
                "composition": (1, to_others, other),
            },
            all_entries,
        )
        composed = distances.pop("composition")[:, : self.size]
        results = {"composition": ranks_from_distances(composed, other[: self.size])}
        to_itself = self._predict(clean, self._chunks(0.0 * forward)[0])[:1]
        distances["null_action"] = retrieval_distances(to_itself, all_entries)
        for name, value in distances.items():
            results[name] = ranks_from_distances(
                value, np.full(value.shape[0], self.size, "int32")
            )
        if num_operations:
            # An operation's context is the same for all of its chunks.
            starts = ops.broadcast_to(
                contexts[1:, None, None],
                (num_operations, self.num_chunks, 1, *contexts.shape[1:]),
            )
            steps = {"undo": {}, "undo_without_flag": {}}
            flags = ops.convert_to_tensor(self.operation_flags)
            for index in range(num_operations):
                steps["undo"][index] = (index, forward + flags[index], own)
                steps["undo_without_flag"][index] = (index, forward, own)
            for name, step in steps.items():
                distances = self._distances(starts, step, entries)
                results[name] = ops.stack(
                    [ranks_from_distances(value) for value in distances.values()]
                )
                if name == "undo":
                    results["undo_nearest"] = ops.stack(
                        [ops.argmin(value, axis=1) for value in distances.values()]
                    )
        return results

    def degrade(self, image):
        """Return a copy of an image for each operation, `(num_operations, ...)`."""
        copies = np.stack([np.asarray(image, "float32")] * len(self.operation_names))
        return ops.convert_to_numpy(
            self.apply_destructive(copies, self.operation_parameters)
        )

    def _distances(self, starts, steps, entries):
        """Distances to `entries` of what is predicted after each step.

        Args:
            starts: Latents `(num_starts, num_chunks, chunk_size or 1, num_patches,
                hidden_dim)`.
            steps: Dictionary of triples: which of the starts, actions
                `(num_chunks * chunk_size, action_dim)`, and the entry that is wanted of
                each. The steps follow each other in one loop, which is compiled once.
            entries: Normalised latents.

        Returns:
            Dictionary of tensors `(size, num_entries)`.
        """
        starts = ops.reshape(starts, (-1, *starts.shape[2:]))
        first, actions, wanted = zip(*steps.values(), strict=True)
        first = np.array(first) * self.num_chunks
        chosen = np.add.outer(first, np.arange(self.num_chunks)).reshape(-1)

        bank = prepare_bank(entries)

        def measure(step):
            context = ops.take(starts, step["start"], axis=0)
            prediction = self._predict(context, step["action"])
            return ranking_distances(prediction, bank, step["wanted"][:, None])

        distances = ops.map(
            measure,
            {
                "start": ops.convert_to_tensor(chosen.astype("int32")),
                "action": self._chunks(ops.concatenate(actions)),
                "wanted": self._chunks(ops.concatenate(wanted)),
            },
        )
        distances = ops.reshape(distances, (len(steps), -1, entries.shape[0]))
        return {name: distances[index, : self.size] for index, name in enumerate(steps)}

    def _as_latents(self, predictions):
        """Latents as the feature encoder makes them, from normalised predictions.

        The encoder's last step normalises, scales and shifts; normalising its output
        once more took each latent's own mean and deviation away. They follow from
        its having mean 0 and mean square 1 before scale and shift: the first says
        where it is centred, the second is a quadratic equation in the deviation.
        """
        shift = ops.cast(self.feature_encoder.norm.beta, "float32")
        weights = 1.0 / ops.cast(self.feature_encoder.norm.gamma, "float32")

        def centre(values):
            mean = ops.mean(weights * values, axis=-1, keepdims=True)
            return values - mean / ops.mean(weights)

        def mean_product(one, other):
            return ops.mean(ops.square(weights) * one * other, axis=-1, keepdims=True)

        predictions, centred = centre(predictions), centre(shift)
        square = mean_product(predictions, predictions)
        half = mean_product(predictions, centred)
        rest = mean_product(centred, centred) - 1.0
        root = ops.sqrt(ops.maximum(half * half - square * rest, 0.0))
        return (half + root) / square * predictions + (shift - centred)
