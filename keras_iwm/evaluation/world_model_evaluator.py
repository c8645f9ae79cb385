"""Measurement of a world model, compiled once and repeatable."""

import numpy as np
from tqdm import tqdm

from keras_iwm.actions.color_jitter import ColorJitter
from keras_iwm.evaluation.bank_ranking import BankRanking
from keras_iwm.evaluation.equivariance_ranking import EquivarianceRanking
from keras_iwm.evaluation.images import check_images
from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.metrics.ranks import reciprocal_rank_chance

NUM_SLOT_VALUES = 33
HITS = (1, 5, 10)


class WorldModelEvaluator:
    """Measure on fixed images how well a world model applies actions.

    For each image, the bank's augmented targets are embedded by the target
    encoder. The predictor gets the target encoder's latents of the clean, unmasked
    image and the action that leads to one entry, predicts all positions, and the
    bank is sorted by distance to the prediction. The mean reciprocal rank (MRR) of
    the wanted entries says whether the model can apply the action. Both sides are
    layer-normalised and flattened; distances and ties are those of
    `keras_iwm.metrics.retrieval_ranks`.

    MRR alone can be gamed: a predictor on a frozen random encoder can score above
    a trained one. Read it beside the controls, `rank_me` and a probe of the
    features. Numbers compare between models only for the same images and bank.

    What is compiled at the first image serves all further ones, and further calls
    after the model has trained on; make one evaluator and keep it.
    `evaluate_world_model` wraps it for a single measurement. Weights and seeds of
    the model are not changed.

    Source: image world models, arXiv 2403.00504. The definition's details are this
    library's, so absolute values must not be compared with the paper's.

    Args:
        model: `ImageWorldModel` whose view generator's first shared transform is a
            `ColorJitter`. Further shared transforms stay at their identity.
        images: Array or tensor of shape `(num_images, height, width, 3)`, integer
            or float, of the model's `image_size` and in its `value_range`.
        bank: `RetrievalBank`. Defaults to the headline bank of 256 entries.
        batch_size: Positive integer, the most bank entries that are embedded at
            once: lower it if memory runs out. It does not change the result.
        swapped_image: Boolean, whether to measure the swapped-image control, which
            costs one more pass of the predictor over the bank.

    Raises:
        ValueError: If the model has no colour jitter as its first shared transform,
            the images do not fit the model, or there are fewer than 2 of them.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    evaluator = keras_iwm.evaluation.WorldModelEvaluator(model, images)
    evaluator.evaluate()["mrr"]
    ```
    """

    def __init__(self, model, images, bank=None, batch_size=64, swapped_image=True):
        bank = RetrievalBank() if bank is None else bank
        shared = model.view_generator.shared
        if not shared or not isinstance(shared[0], ColorJitter):
            raise ValueError(
                "`model.view_generator` must have a ColorJitter as the first of its "
                "`shared` transforms: a bank's actions are jitters. Received: "
                f"shared={shared!r}. A model without actions, such as I-JEPA, is "
                "measured by its features alone."
            )
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(
                "`batch_size` must be a positive integer. Received: "
                f"batch_size={batch_size}."
            )
        images = check_images(images, model.image_size, model.value_range)
        if len(images) < 2:
            raise ValueError(
                "`images` must be at least 2: the swapped-image control and the "
                f"spread between images need another one. Received: {len(images)}."
            )
        self.model = model
        self.images = images
        self.bank = bank
        self.batch_size = int(batch_size)
        self.parameters = bank.parameters(len(images))
        order = np.random.default_rng(bank.seed).permutation(bank.size)
        shuffle = np.empty_like(order)
        shuffle[order] = np.roll(order, 1)  # one cycle: no entry stays in place
        self.shuffle = shuffle
        self._ranking = BankRanking(
            model, bank.size, self.batch_size, shuffle, swapped_image
        )
        self._slot_ranking = BankRanking(
            model, NUM_SLOT_VALUES, self.batch_size, np.arange(NUM_SLOT_VALUES), False
        )
        self._steps_ranking = EquivarianceRanking(
            model, bank.size, self.batch_size, shuffle
        )

    @property
    def operation_names(self):
        """Names of the destructive operations that the model's views use."""
        return self._steps_ranking.operation_names

    def evaluate(self, verbose=True):
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
            "mrr": _mean_reciprocal(ranks),
            "mrr_chance": reciprocal_rank_chance(self.bank.size),
            **{f"hit_at_{k}": float(np.mean(ranks <= k)) for k in HITS},
            "mrr_shuffled_action": _mean_reciprocal(measured["ranks_shuffled"]),
            "mrr_pooled": _mean_reciprocal(measured["ranks_pooled"]),
            "bank_spread_ratio": measured["bank_spread_ratio"],
        }
        if "ranks_swapped" in measured:
            results["mrr_swapped_image"] = _mean_reciprocal(measured["ranks_swapped"])
        return results

    def evaluate_by_slot(self, verbose=True):
        """Measure each slot of the jitter alone, over its whole range.

        The bank of a slot has 33 evenly spaced values of it and the others at
        identity.

        Args:
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary of floats: for each slot, such as `hue`, `mrr_hue` and
            `parameter_error_hue`, the mean absolute difference between the wanted
            value and the retrieved one in the slot's own unit, which is about a
            third of its whole range by chance; and `mrr_by_slot_chance`. Slots
            whose range is 0 are left out.
        """
        results = {}
        jitter = self.bank.jitter
        for slot, scale in zip(jitter.parameters, jitter.scales, strict=True):
            if scale == 0:
                continue
            measured = self.rank_slot(slot, verbose)
            results[f"mrr_{slot}"] = _mean_reciprocal(measured["ranks"])
            results[f"parameter_error_{slot}"] = float(np.mean(measured["errors"]))
        results["mrr_by_slot_chance"] = reciprocal_rank_chance(NUM_SLOT_VALUES)
        return results

    def rank_bank(self, bank=None, verbose=True):
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
        parameters = self.parameters
        if bank is not None:
            parameters = bank.parameters(len(self.images))
        measured, mean, squares = {}, 0.0, 0.0
        for index in tqdm(range(len(self.images)), "World model", disable=not verbose):
            results = self._rank_image(self._ranking, index, parameters[index])
            # Running mean and squared deviations: latents of many images are large.
            latents = results.pop("clean_latents").astype("float64")
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

    def rank_slot(self, slot, verbose=True):
        """Rank every prediction for the 33 evenly spaced values of one slot.

        Args:
            slot: String, one of the jitter's slots, such as `"hue"`.
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary of NumPy arrays: `values`, `(33,)`, the slot's values; `ranks`
            and `errors`, `(num_images, 33)`, the latter the distance of the retrieved
            value from the wanted one.

        Raises:
            ValueError: If the jitter has no such slot.
        """
        parameters, values = self._slot_values(slot)
        ranks, errors = [], []
        for index in tqdm(range(len(self.images)), slot, disable=not verbose):
            result = self._rank_image(self._slot_ranking, index, parameters)
            ranks.append(result["ranks"])
            errors.append(np.abs(values[result["nearest"]] - values))
        return {"values": values, "ranks": np.array(ranks), "errors": np.array(errors)}

    def retrieve(self, index):
        """Look up every prediction for one image in its bank.

        Args:
            index: Integer, which of the images.

        Returns:
            Dictionary of NumPy arrays: `parameters`, `(size, 4)`, the jitter of
            each bank entry; `ranks`, `(size,)`, the rank of the entry that each
            prediction wants; `nearest`, `(size,)` integers, the entry that each
            prediction is nearest to.
        """
        result = self._rank_image(self._ranking, index, self.parameters[index])
        return {
            "parameters": self.parameters[index],
            "ranks": result["ranks"],
            "nearest": result["nearest"],
        }

    def rank_steps(self, verbose=True):
        """Rank what is undone, composed and inverted, for `equivariance_report`.

        Args:
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary of NumPy arrays with one row an image, as
            `EquivarianceRanking.call` describes them.
        """
        steps = []
        images = zip(self.images, self.parameters, strict=True)
        for image, parameters in tqdm(
            images, "Undo and compose", len(self.images), disable=not verbose
        ):
            steps.append(self._steps_ranking.rank(image, parameters))
        return {name: np.array([step[name] for step in steps]) for name in steps[0]}

    def undo(self, index):
        """Look up the predictions for one image that was degraded first.

        Args:
            index: Integer, which of the images.

        Returns:
            Dictionary from each of `operation_names` to a dictionary of NumPy arrays:
            `degraded`, `(height, width, 3)`, the image under the operation, which is
            what the model saw; `parameters`, `(size, 4)`, the jitter of each bank
            entry; `ranks`, `(size,)`, the rank of the entry that each prediction
            wants; `nearest`, `(size,)` integers, the entry that each is nearest to.
        """
        parameters = self.parameters[index]
        result = self._steps_ranking.rank(self.images[index], parameters)
        degraded = self._steps_ranking.degrade(self.images[index])
        return {
            name: {
                "degraded": degraded[row],
                "parameters": parameters,
                "ranks": result["undo"][row],
                "nearest": result["undo_nearest"][row],
            }
            for row, name in enumerate(self.operation_names)
        }

    def sweep(self, index, slot):
        """Look up the predictions for one image as one slot runs over its range.

        Args:
            index: Integer, which of the images.
            slot: String, one of the jitter's slots, such as `"hue"`.

        Returns:
            Dictionary of NumPy arrays, the entries being 33 evenly spaced values of
            the slot: `values`, `(33,)`; `parameters`, `(33, 4)`, the jitter of each
            entry, the other slots at identity; `ranks`, `(33,)`, the rank of the
            entry that each prediction wants; `nearest`, `(33,)` integers, the entry
            that each prediction is nearest to.

        Raises:
            ValueError: If the jitter has no such slot.
        """
        parameters, values = self._slot_values(slot)
        result = self._rank_image(self._slot_ranking, index, parameters)
        return {
            "values": values,
            "parameters": parameters,
            "ranks": result["ranks"],
            "nearest": result["nearest"],
        }

    def _slot_values(self, slot):
        """Jitter parameters that sweep a slot, and the slot's values alone."""
        parameters = self.bank.slot_parameters(slot, NUM_SLOT_VALUES)
        return parameters, parameters[:, self.bank.jitter.parameters.index(slot)]

    def _rank_image(self, ranking, index, parameters):
        """Rank one image's predictions; the next image is its swapped one."""
        other = self.images[(index + 1) % len(self.images)]
        return ranking.rank(self.images[index], other, parameters)


def _mean_reciprocal(ranks):
    """Mean of one over each rank."""
    return float(np.mean(1.0 / np.asarray(ranks, "float64")))
