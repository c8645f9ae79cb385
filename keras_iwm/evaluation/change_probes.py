"""What a change of one slot does to latents on average, and probes that read it."""

import functools

import numpy as np
from tqdm import tqdm

from keras_iwm.evaluation.probes import ridge_predictions

SEED = 0


class ChangeProbes:
    """Directions of change and linear probes, of pairs in which one slot changed.

    Args:
        changes: Array of shape `(num_pairs, num_layers, hidden_dim)`, by how much the
            latents' mean over patches changed, of each layer.
        amounts: Array of shape `(num_pairs, num_slots)`, how much of each slot it was.
    """

    def __init__(self, changes, amounts):
        self.changes = np.asarray(changes, "float64")
        self.amounts = np.asarray(amounts, "float64")

    def directions(self):
        """Mean change for one unit of each slot, `(num_layers, num_slots, hidden_dim)`.

        Latents are fitted by amounts, and not the other way round: the weights of a
        probe that reads an amount are another vector, which also avoids what other
        changes do.
        """
        products = np.einsum("ns,nld->lsd", self.amounts, self.changes)
        squares = np.sum(np.square(self.amounts), axis=0)
        return products / np.where(squares > 0, squares, 1.0)[:, None]

    @functools.cached_property
    def weights(self):
        """Ridge probes: `(num_layers, hidden_dim + 1, num_slots)`, intercepts last."""
        weights = []
        for changes in np.moveaxis(self.changes, 1, 0):
            points = np.concatenate([np.eye(changes.shape[1]), 0 * changes[:1]])
            outputs = ridge_predictions(changes, self.amounts, points)
            outputs[:-1] -= outputs[-1]
            weights.append(outputs)
        return np.array(weights)

    def squared_errors(self, changes, amounts):
        """Mean squared errors of the probes, `(num_layers, num_slots)`.

        Args:
            changes: Array `(num_entries, num_layers, hidden_dim)`.
            amounts: Array `(num_entries, num_slots)`.
        """
        outputs = np.einsum("nld,lds->nls", changes, self.weights[:, :-1])
        outputs += self.weights[:, -1]
        return np.mean(np.square(outputs - amounts[:, None]), axis=0)

    def permuted(self):
        """The same with the amounts of other pairs: what a probe reads by chance."""
        order = np.random.default_rng(SEED).permutation(len(self.amounts))
        return ChangeProbes(self.changes, self.amounts[order])


def changes_of_pairs(parts, changes, num_pairs, verbose):
    """Images and the same with one slot changed, in which images and slots take turns.

    Args:
        parts: List of `WorldModelParts`, all of which see the same pairs.
        changes: `ImageChanges`, or what has its methods.
        num_pairs: Integer.
        verbose: Boolean, whether to show progress.

    Returns:
        For each of the parts an array `(num_pairs, num_layers, hidden_dim)`, by how
        much the mean latents changed; the amounts `(num_pairs, num_slots)`; and for
        each of the parts the mean latent `(num_layers, hidden_dim)`.
    """
    generator = np.random.default_rng(SEED)
    order, number = generator.permutation(len(changes)), np.arange(num_pairs)
    images = order[number % len(order)]
    # Other slots each time that all images have had their turn.
    slots = (number + number // len(order)) % len(changes.slots)
    places = generator.uniform(-1, 1, num_pairs)
    settings = np.repeat(changes.null, num_pairs, axis=0)
    amounts = np.zeros((num_pairs, len(changes.slots)))
    for index, slot in enumerate(changes.slots):
        chosen = slots == index
        settings[chosen] = changes.settings(slot, places[chosen])
        amounts[chosen, index] = changes.amounts(slot, settings[chosen])
    found = [[] for _ in parts]
    for start in tqdm(
        range(0, num_pairs, parts[0].batch_size), "Pairs", disable=not verbose
    ):
        rows = slice(start, start + parts[0].batch_size)
        plain = changes.apply(
            images[rows], np.repeat(changes.null, len(images[rows]), 0)
        )
        changed = changes.apply(images[rows], settings[rows])
        for part, means in zip(parts, found, strict=True):
            means.append([part.encode(views)[1] for views in (plain, changed)])
    found = [np.concatenate(means, axis=1) for means in found]
    middles = [means.mean(axis=(0, 1)) for means in found]
    return [changed - plain for plain, changed in found], amounts, middles
