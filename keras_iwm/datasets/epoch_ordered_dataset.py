"""Batches in an order that is a pure function of the seed and the epoch."""

import keras
import numpy as np

from keras_iwm.arguments import as_count


class EpochOrderedDataset(keras.utils.PyDataset):
    """Base of the datasets: decides which samples make up which batch.

    The order of epoch `e` is a pure function of `(seed, e)`, so a resumed run
    continues exactly where the first one stopped, once `epoch` is set:

    ```python
    dataset.epoch = 12
    model.fit(dataset, initial_epoch=12, epochs=300)
    ```

    Where several processes train one model, each sets its `share` and gets that part
    of every batch; `batch_size` stays the size of the whole one:

    ```python
    dataset.share = (rank, num_processes)
    ```

    A subclass implements `load_batch`. Two habits of Keras are handled here:

    - `fit(shuffle=True)`, its default, asks for the batches in an order drawn from
      Python's global random state, which no checkpoint holds. So during an epoch
      the dataset hands out its batches in its own order, whatever number is asked.
    - `fit` calls `on_epoch_end` once before its first epoch, sometimes after an
      epoch of one batch in which it builds the model. That call does not count.

    One is not: with `steps_per_epoch`, TensorFlow reads on into the next epoch.

    It reads in the thread that asks (`workers=1`): Keras's own workers start before
    `on_epoch_begin` and mix what is left over from building into the first epoch.

    Args:
        num_samples: Integer, number of samples.
        batch_size: Positive integer, samples in a batch.
        shuffle: Boolean, whether every epoch has an order of its own. With `False`
            the samples come as they are stored.
        seed: Non-negative integer from which the orders are drawn.
        drop_remainder: Boolean, whether to leave out the samples that do not fill a
            last batch. A smaller last batch makes the step compile a second time.
    """

    def __init__(
        self, num_samples, batch_size, shuffle=True, seed=0, drop_remainder=True
    ):
        super().__init__(workers=1)
        batch_size = as_count("batch_size", batch_size)
        seed = as_count("seed", seed, 0)
        if drop_remainder and num_samples < batch_size:
            raise ValueError(
                f"`batch_size` must be at most the number of images, {num_samples}, "
                f"when `drop_remainder=True`. Received: batch_size={batch_size}. "
                "Use a smaller batch or `drop_remainder=False`."
            )
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_remainder = drop_remainder
        self.share = (0, 1)
        self.epoch = 0

    @property
    def epoch(self):
        """The epoch whose order is handed out next; set it to resume."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch):
        self._start_epoch(as_count("epoch", epoch, 0))
        # The next `on_epoch_end` is the one that `fit` calls before training.
        self._count_next_end = False

    @property
    def share(self):
        """Which part of every batch is handed out, `(rank, num_processes)`."""
        return self._share

    @share.setter
    def share(self, share):
        rank, num_processes = share
        num_processes = as_count("num_processes", num_processes)
        rank = as_count("rank", rank, 0)
        if rank >= num_processes or self.batch_size % num_processes:
            raise ValueError(
                "`share` must be (rank, num_processes) with rank < num_processes, and "
                f"the batch size {self.batch_size} a multiple of num_processes. "
                f"Received: share={share}. Change the batch size or start as many "
                "processes as divide it."
            )
        self._share = (rank, num_processes)

    @property
    def num_batches(self):
        """Number of batches in an epoch."""
        if self.drop_remainder:
            return self.num_samples // self.batch_size
        return -(-self.num_samples // self.batch_size)

    def __len__(self):
        """Returns the number of batches in an epoch, as Keras's datasets do."""
        return self.num_batches

    def order(self, epoch):
        """Returns the sample indices of one epoch, int64 `(num_samples,)`."""
        if not self.shuffle:
            return np.arange(self.num_samples)
        return np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)

    def batch_indices(self, index, epoch=None):
        """Returns the sample indices of a batch, or of this process's share of it.

        The batch is number `index` of the current epoch, or of `epoch`.
        """
        order = self._order if epoch in (None, self.epoch) else self.order(epoch)
        start = index * self.batch_size
        rank, num_processes = self.share
        return order[start : start + self.batch_size][rank::num_processes]

    def load_batch(self, index):
        """Returns batch `index` of the current epoch: `(images,)` or with labels."""
        raise NotImplementedError

    def __getitem__(self, index):
        """Returns batch `index`; during an epoch of Keras, the next batch."""
        if self._next_batch is not None:
            index = self._next_batch % self.num_batches
            self._next_batch += 1
        elif not 0 <= index < self.num_batches:
            raise IndexError(f"There are {self.num_batches} batches, not {index + 1}.")
        return self.load_batch(index)

    def on_epoch_begin(self):
        """Starts to hand out the batches of the current epoch in their order."""
        self._next_batch = 0

    def on_epoch_end(self):
        """Moves on to the next epoch's order."""
        began = self._next_batch is not None
        self._next_batch = None
        if began and self._count_next_end:
            self._start_epoch(self._epoch + 1)
        self._count_next_end = True

    def _start_epoch(self, epoch):
        """Makes `epoch` current."""
        self._epoch = epoch
        self._order = self.order(self._epoch)
        self._next_batch = None
