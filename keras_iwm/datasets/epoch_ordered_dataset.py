"""Batches in an order that is a pure function of the seed and the epoch."""

import sys
from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_boolean, as_count
from keras_iwm.keras_callers import is_keras, keras_functions, keras_owner

# Keras's methods that go through a dataset.
_LOOPS = ("fit", "evaluate", "predict")


class EpochOrderedDataset(keras.utils.PyDataset):
    """Base of the datasets: decides which samples make up which batch.

    The order of epoch `e` is a pure function of `(seed, e)`, so a resumed run
    continues exactly where the first one stopped, once `epoch` is set, and `position`
    if it stopped within an epoch. `RunCheckpoint.resume` does both:

    ```python
    dataset.epoch = 12
    dataset.position = 40
    model.fit(dataset, initial_epoch=12, epochs=300)
    ```

    Keras's `BackupAndRestore` cannot: it restores the model and has nothing that sets
    a dataset, which starts again with the order of epoch 0.

    An epoch can be cut short, so that a run has as many steps as it is to have. Which
    images are left out changes from epoch to epoch:

    ```python
    dataset.batches_per_epoch = 90
    ```

    Where several processes train one model, each sets its `share` and gets that part
    of every batch; `batch_size` stays the size of the whole one:

    ```python
    dataset.share = (rank, num_processes)
    ```

    A subclass implements `load_batch`. Three habits of Keras are handled here:

    - `fit(shuffle=True)`, its default, asks for the batches in an order drawn from
      Python's global random state, which no checkpoint holds. So to Keras, during an
      epoch, the dataset hands out its batches in its own order, whatever is asked.
    - `fit`, `evaluate` and `predict` announce their epochs in the same words. Only
      those of `fit` count, so one dataset may serve for validation too.
    - `fit` also announces the end of an epoch before its first one, and never the end
      of one that an error or Ctrl-C cuts short. Neither counts.

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
        self,
        num_samples: int,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        drop_remainder: bool = True,
    ) -> None:
        super().__init__(workers=1)
        batch_size = as_count("batch_size", batch_size)
        seed = as_count("seed", seed, 0)
        shuffle = as_boolean("shuffle", shuffle)
        drop_remainder = as_boolean("drop_remainder", drop_remainder)
        if drop_remainder and num_samples < batch_size:
            raise ValueError(
                f"`batch_size` must be at most the number of samples, {num_samples}, "
                f"when `drop_remainder=True`. Received: batch_size={batch_size}. "
                "Use a smaller batch or `drop_remainder=False`."
            )
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_remainder = drop_remainder
        self.share = (0, 1)
        self._batches_per_epoch = None
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose order is handed out next; set it to resume."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = as_count("epoch", epoch, 0)
        self._order, self._next_order = self.order(self._epoch), None
        self._position = 0
        self._trained = self._evaluated = None

    @property
    def position(self) -> int:
        """The batch with which that epoch begins; set it to resume within an epoch."""
        return self._position

    @position.setter
    def position(self, position: int) -> None:
        position = as_count("position", position, 0)
        if position >= len(self):
            raise ValueError(
                f"`position` must be less than the {len(self)} batches of an epoch. "
                f"Received: {position}. Set `epoch` to the next one instead."
            )
        self._position = position

    @property
    def share(self) -> tuple[int, int]:
        """Which part of every batch is handed out, `(rank, num_processes)`."""
        return self._share

    @share.setter
    def share(self, share: tuple[int, int]) -> None:
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
    def batches_per_epoch(self) -> int:
        """The batches that an epoch hands out; set it to fewer than there are."""
        return self._batches_per_epoch or self._all_batches()

    @batches_per_epoch.setter
    def batches_per_epoch(self, count: int) -> None:
        count = as_count("batches_per_epoch", count, 1, self._all_batches())
        self._batches_per_epoch = count

    def _all_batches(self) -> int:
        """Number of batches that the samples make."""
        if self.drop_remainder:
            return self.num_samples // self.batch_size
        return -(-self.num_samples // self.batch_size)

    def __len__(self) -> int:
        """Returns the number of batches in a whole epoch, as Keras's datasets do."""
        return self.batches_per_epoch

    @property
    def num_batches(self) -> int:
        """Number of batches in an epoch, of which `position` may leave a part."""
        # Keras asks twice: what all epochs have, and what to read in this one.
        asks_for_all = sys._getframe(1).f_code.co_name == "num_batches"
        if asks_for_all or self._trained is None or self._evaluated is not None:
            return len(self)
        return len(self) - self._position

    def order(self, epoch: int) -> np.ndarray:
        """Returns the sample indices of one epoch, int64 `(num_samples,)`."""
        if not self.shuffle:
            return np.arange(self.num_samples)
        return np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)

    def batch_indices(self, index: int, epoch: int | None = None) -> np.ndarray:
        """Returns the sample indices of a batch, or of this process's share of it.

        The batch is number `index` of the current epoch, or of `epoch`.
        """
        order = self._order
        if epoch not in (None, self.epoch):
            # What is prepared for the next epoch asks for its order again and again.
            if self._next_order is None or self._next_order[0] != epoch:
                self._next_order = epoch, self.order(epoch)
            order = self._next_order[1]
        rank, num_processes = self.share
        batch = order[index * self.batch_size : (index + 1) * self.batch_size]
        # In one piece, as JAX puts a batch together of what its processes have.
        return np.array_split(batch, num_processes)[rank]

    def load_batch(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` of the current epoch: `(images,)` or with labels."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` of the current epoch; to Keras in one, the next."""
        caller = sys._getframe(1)
        asks_in_order = is_keras(caller) and caller.f_code.co_name != "__iter__"
        if asks_in_order and self._evaluated is not None:
            index = self._evaluated % len(self)
            self._evaluated += 1
        elif asks_in_order and self._trained is not None:
            index = self._trained % len(self)
            self._trained += 1
        elif not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches, not {index + 1}.")
        return self.load_batch(index)

    def on_epoch_begin(self) -> None:
        """Starts to hand out the batches of the current epoch in their order."""
        loops = [name for name in keras_functions(sys._getframe(1)) if name in _LOOPS]
        if loops[:1] in ([], ["fit"]):
            self._trained, self._evaluated = self._position, None
        else:
            self._evaluated = 0
        loop = keras_owner(sys._getframe(1), "_enumerate_iterator")
        if loop is not None and loop.steps_per_epoch is None:
            # Else the loop takes all epochs for as long as the first, and on
            # TensorFlow a step without data moves seeds.
            loop._num_batches = self.num_batches

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch's order, after an epoch of training."""
        if "reset" in keras_functions(sys._getframe(1)):
            self._trained = self._evaluated = None
        elif self._evaluated is not None:
            self._evaluated = None
        elif self._trained is not None:
            self.epoch = self._epoch + 1
