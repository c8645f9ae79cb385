"""Measurement of a world model, compiled once and repeatable."""

from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_boolean, as_count
from keras_iwm.array_arguments import check_images
from keras_iwm.evaluation.bank_ranking import BankRanking, check_world_model
from keras_iwm.evaluation.rank_summaries import HITS, mean_reciprocal
from keras_iwm.evaluation.retrieval_bank import RetrievalBank, check_bank
from keras_iwm.metrics.ranks import reciprocal_rank_chance
from keras_iwm.type_aliases import Array

NUM_SLOT_VALUES = 33


class WorldModelEvaluator:
    """Measure on fixed images how well a world model applies actions.

    For each image, the bank's augmented targets are embedded by the feature encoder,
    or normalised pixels for a `PixelWorldModel`. The predictor gets the encoder's
    latents of the clean, unmasked image and the action that leads to one entry,
    predicts all positions, and the bank is sorted by distance to the prediction. The
    mean reciprocal rank (MRR) of the wanted entries says whether the model can apply
    the action. Both sides are layer-normalised and flattened; distances and ties are
    those of `keras_iwm.metrics.retrieval_ranks`.

    MRR alone can be gamed: a predictor on a frozen random encoder can score above
    a trained one. Read it beside the controls, `rank_me` and a probe of the
    features. Numbers compare only for the same images and bank.

    What is compiled at the first image serves all further ones, and other models of the
    same structure. Weights and seeds of the model are not changed. Devices of
    `keras.distribution` share out the entries, however many images there are.

    Source: image world models, arXiv 2403.00504. The definition's details are this
    library's, so absolute values must not be compared with the paper's.

    Args:
        model: `ImageWorldModel`, or another model with a `feature_encoder`, a
            `predictor`, an `action_space` and a `view_generator`.
        images: Array or tensor of shape `(num_images, height, width, num_channels)`,
            integer or float, of the model's `image_size` and in its `value_range`.
        bank: `RetrievalBank`, whose slots are some of the model's; the others stay at
            their identity. Defaults to `RetrievalBank.for_actions` of 256 entries,
            which for colour jitter is the headline bank.
        batch_size: Positive integer, the most bank entries that are embedded at
            once: lower it if memory runs out. It does not change the result.
        swapped_image: Boolean, whether to measure the swapped-image control, which
            costs one more pass of the predictor over the bank.

    Raises:
        ValueError: If the model has no shared operations, or not those of the bank,
            the images do not fit the model, or there are fewer than 2 of them.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    evaluator = keras_iwm.evaluation.WorldModelEvaluator(model, images)
    evaluator.evaluate()["mrr"]
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        images: Array,
        bank: RetrievalBank | None = None,
        batch_size: int = 64,
        swapped_image: bool = True,
    ) -> None:
        check_world_model("model", model)
        default = RetrievalBank.for_actions(model.action_space)  # also a check
        bank = default if bank is None else bank
        check_bank(bank)
        swapped_image = as_boolean("swapped_image", swapped_image)
        batch_size = as_count("batch_size", batch_size)
        images = check_images(
            images, model.image_size, model.value_range, num_channels=model.num_channels
        )
        if len(images) < 2:
            raise ValueError(
                "`images` must be at least 2: the swapped-image control and the "
                f"spread between images need another one. Received: {len(images)}."
            )
        self.model, self.images, self.bank = model, images, bank
        self.batch_size = batch_size
        self.parameters = self._rows(bank)
        order = np.random.default_rng(bank.seed).permutation(bank.size)
        shuffle = self.shuffle = np.empty_like(order)
        shuffle[order] = np.roll(order, 1)  # one cycle: no entry stays in place
        self._ranking = BankRanking(
            model, bank.size, batch_size, shuffle, swapped_image
        )
        self._slot_rankings = {}  # by the number of a slot's values

    def evaluate(self, verbose: bool = True) -> dict[str, float]:
        """Measure the model as it is now.

        Args:
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary of floats:

            - `mrr`: mean reciprocal rank over entries and images, 1 at best.
            - `mrr_chance`: what a model that ignores the action scores.
            - `hit_at_1`, `hit_at_5`, `hit_at_10`: share of predictions whose wanted
              entry ranks so well.
            - `mrr_shuffled_action`: control, each prediction is ranked for an entry
              whose action it was not given; about chance, or below.
            - `mrr_swapped_image`: control, predictions from the latents of another
              image; near chance if the image matters. Only with `swapped_image`.
            - `mrr_pooled`: the MRR by latents averaged over positions.
            - `bank_spread_ratio`: root mean square distance of the bank's latents
              from their mean, over that of the clean latents of the images from
              theirs; near 0 if the encoder is invariant to the jitter. NaN if all
              images have the same latents.
        """
        measured = self.rank_bank(verbose=verbose)
        ranks = measured["ranks"]
        results = {
            "mrr": mean_reciprocal(ranks),
            "mrr_chance": reciprocal_rank_chance(self.bank.size),
            **{f"hit_at_{k}": float(np.mean(ranks <= k)) for k in HITS},
            "mrr_shuffled_action": mean_reciprocal(measured["ranks_shuffled"]),
            "mrr_pooled": mean_reciprocal(measured["ranks_pooled"]),
            "bank_spread_ratio": measured["bank_spread_ratio"],
        }
        if "ranks_swapped" in measured:
            results["mrr_swapped_image"] = mean_reciprocal(measured["ranks_swapped"])
        return results

    def evaluate_by_slot(self, verbose: bool = True) -> dict[str, float]:
        """Measure each slot alone, over its whole range.

        The bank of a slot has 33 evenly spaced values of it, or as many as it has, and
        the others at identity.

        Args:
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary of floats: for each slot, such as `hue`, `mrr_hue` and
            `parameter_error_hue`, the mean absolute difference between the wanted
            value and the retrieved one in the slot's own unit, which is about a
            third of its whole range by chance; `mrr_by_slot_chance`, and for a slot of
            another number of values, such as `flip`, `mrr_flip_chance`. Slots whose
            range is 0 are left out.
        """
        results = {"mrr_by_slot_chance": reciprocal_rank_chance(NUM_SLOT_VALUES)}
        for slot in self.slots:
            measured = self.rank_slot(slot, verbose)
            results[f"mrr_{slot}"] = mean_reciprocal(measured["ranks"])
            results[f"parameter_error_{slot}"] = float(np.mean(measured["errors"]))
            num_values = len(measured["values"])
            if num_values != NUM_SLOT_VALUES:
                results[f"mrr_{slot}_chance"] = reciprocal_rank_chance(num_values)
        return results

    @property
    def slots(self) -> tuple[str, ...]:
        """Tuple of strings, the bank's slots whose range is not 0."""
        shared = self.bank.action_space.shared
        slots = zip(shared.parameters, shared.scales, strict=True)
        return tuple(slot for slot, scale in slots if scale)

    def rank_bank(
        self, bank: RetrievalBank | None = None, verbose: bool = True
    ) -> dict[str, Any]:
        """Rank every prediction, for statistics of one's own.

        Args:
            bank: `RetrievalBank` of as many entries as the evaluator's own, which is
                the default. Nothing is compiled again for another one.
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary: `ranks`, `ranks_shuffled`, `ranks_pooled` and, with
            `swapped_image`, `ranks_swapped`, NumPy arrays of shape
            `(num_images, size)`, whose reciprocals `evaluate` averages; and the float
            `bank_spread_ratio`.

        Raises:
            ValueError: If the bank has another size.
        """
        if bank is not None and bank.size != self.bank.size:
            raise ValueError(
                f"`bank` must have {self.bank.size} entries, as the evaluator's. "
                f"Received: {bank.size}. Make an evaluator for it."
            )
        parameters = self.parameters if bank is None else self._rows(bank)
        measured, mean, squares = {}, 0.0, 0.0
        for index in tqdm(range(len(self.images)), "World model", disable=not verbose):
            results = self._rank_image(self._ranking, index, parameters[index])
            # Running mean and squared deviations: latents of many images are large.
            latents = results.pop("clean_targets").astype("float64")
            step = latents - mean
            mean = mean + step / (index + 1)
            squares += np.sum(step * (latents - mean))
            for key, value in results.items():
                measured.setdefault(key, []).append(value)
        del measured["nearest"]
        measured = {key: np.array(values) for key, values in measured.items()}
        image_variance = squares / len(self.images)
        bank_variance = np.mean(measured.pop("bank_variance"), dtype="float64")
        ratio = bank_variance / image_variance if image_variance else np.nan
        return {**measured, "bank_spread_ratio": float(np.sqrt(ratio))}

    def rank_slot(self, slot: str, verbose: bool = True) -> dict[str, np.ndarray]:
        """Rank every prediction for the evenly spaced values of one slot.

        Args:
            slot: String, one of `slots`, such as `"hue"`.
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary of NumPy arrays: `values`, `(33,)` or as many as the slot has,
            its values; `ranks` and `errors`, `(num_images, 33)`, the latter the
            distance of the retrieved value from the wanted one.

        Raises:
            ValueError: If the bank has no such slot.
        """
        parameters, values = self._slot_values(slot)
        ranks, errors = [], []
        for index in tqdm(range(len(self.images)), slot, disable=not verbose):
            result = self._rank_image(self._slot_ranking(values), index, parameters)
            ranks.append(result["ranks"])
            errors.append(np.abs(values[result["nearest"]] - values))
        return {"values": values, "ranks": np.array(ranks), "errors": np.array(errors)}

    def retrieve(self, index: int) -> dict[str, np.ndarray]:
        """Look up every prediction for one image in its bank.

        Args:
            index: Integer, which of the images.

        Returns:
            Dictionary of NumPy arrays: `parameters`, `(size, k)`, the model's shared
            parameters of each bank entry; `ranks`, `(size,)`, the rank of the entry
            that each prediction wants; `nearest`, `(size,)` integers, the entry that
            each prediction is nearest to.
        """
        parameters = self.parameters[index]
        result = self._rank_image(self._ranking, index, parameters)
        found = {name: result[name] for name in ("ranks", "nearest")}
        return {"parameters": parameters, **found}

    def sweep(self, index: int, slot: str) -> dict[str, np.ndarray]:
        """Look up the predictions for one image as one slot runs over its range.

        Args:
            index: Integer, which of the images.
            slot: String, one of `slots`, such as `"hue"`.

        Returns:
            Dictionary of NumPy arrays, the entries being 33 evenly spaced values of
            the slot: `values`, `(33,)`; `parameters`, `(33, k)`, of each entry, the
            other slots at identity; `ranks`, `(33,)`, the rank of the
            entry that each prediction wants; `nearest`, `(33,)` integers, the entry
            that each prediction is nearest to.

        Raises:
            ValueError: If the bank has no such slot.
        """
        parameters, values = self._slot_values(slot)
        result = self._rank_image(self._slot_ranking(values), index, parameters)
        found = {name: result[name] for name in ("ranks", "nearest")}
        return {"values": values, "parameters": parameters, **found}

    def _rows(self, bank):
        """The model's shared parameters of the bank of each image."""
        parameters = bank.parameters(len(self.images))
        return self.model.action_space.rows(bank.slots, parameters)

    def _slot_values(self, slot):
        """The model's shared parameters that sweep a slot, and its values alone."""
        swept = self.bank.slot_parameters(slot, NUM_SLOT_VALUES)
        values = swept[:, self.bank.slots.index(slot)]
        return self.model.action_space.rows(self.bank.slots, swept), values

    def _slot_ranking(self, values):
        """The ranking of a slot's bank, compiled once for each number of values."""
        count = len(values)
        if count not in self._slot_rankings:
            self._slot_rankings[count] = BankRanking(
                self.model, count, self.batch_size, np.arange(count), False
            )
        return self._slot_rankings[count]

    def _rank_image(self, ranking, index, parameters):
        """Rank one image's predictions; the next image is its swapped one."""
        other = self.images[(index + 1) % len(self.images)]
        return ranking.rank(self.images[index], other, parameters)
