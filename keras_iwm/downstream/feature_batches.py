"""Batches of features that are in memory."""

import keras
import numpy as np
from tqdm import tqdm


class FeatureBatches(keras.utils.PyDataset):
    """Batches of some rows of features for all epochs, shuffled by the seed alone.

    Keras takes them as one long epoch, since beginning an epoch costs it more than
    many steps of a linear layer.
    """

    def __init__(self, features, labels, rows, epochs, batch_size, seed):
        super().__init__()
        self.features = features
        self.labels = labels.astype("int32")
        self.rows = rows
        self.seed = seed
        # Equal batches, since one of few images would count as much as the others.
        self.batches_per_epoch = -(-len(rows) // batch_size)
        self.epochs = epochs
        self._shuffled = (None, None)

    def __len__(self):
        return self.epochs * self.batches_per_epoch

    def __getitem__(self, index):
        epoch, batch = divmod(index, self.batches_per_epoch)
        if self._shuffled[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._shuffled = (epoch, generator.permutation(self.rows))
        rows = np.array_split(self._shuffled[1], self.batches_per_epoch)[batch]
        return self.features[rows], self.labels[rows]


def fit_with_progress(model, batches, description, verbose):
    """Fit a compiled model on all batches, with a bar if it takes over 3 seconds.

    Args:
        model: Compiled `keras.Model`.
        batches: `FeatureBatches`.
        description: String, what the bar says.
        verbose: Boolean, whether there is a bar.
    """
    bar = tqdm(total=len(batches), desc=description, disable=not verbose, delay=3)
    with bar:
        advance = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda step, logs: bar.update()
        )
        model.fit(batches, shuffle=False, verbose=0, callbacks=[advance])
