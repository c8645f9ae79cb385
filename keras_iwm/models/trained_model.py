"""A model whose copies on several devices train as one."""

import keras
from keras import ops

from keras_iwm.backend.own_draws import seed_states
from keras_iwm.backend.replicas import make_replicas


class TrainedModel(keras.Model):
    """A Keras model that trains on one device or many, and resumes exactly.

    Where Keras leaves copies of a model to themselves, `replicas` makes them agree.
    A file holds the seeds beside the weights, one state for all copies.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.replicas = make_replicas()

    def make_train_function(self, force=False):
        """Make the function that `fit` runs, once the replicas are ready for it."""
        self.replicas.prepare(self)
        return super().make_train_function(force)

    def get_metrics_result(self):
        """Return the metrics' results, of all replicas together."""
        return self.replicas.average(super().get_metrics_result())

    if keras.backend.backend() != "jax":

        def train_step(self, data):
            """Take Keras's step, the replicas together."""
            with self.replicas.step(self):
                return super().train_step(data)

    def get_compile_config(self):
        """Return the compile arguments, without what the backend has resolved.

        Whether to compile the step is for the backend that loads the file.
        """
        config = super().get_compile_config()
        config.pop("jit_compile", None)
        return config

    def save_own_variables(self, store):
        """Store the seeds beside the weights."""
        super().save_own_variables(store)
        for index, seed in enumerate(seed_states(self)):
            store[f"seed_{index}"] = ops.convert_to_numpy(seed).astype("int64")

    def load_own_variables(self, store):
        """Load the seeds along with the weights."""
        for index, seed in enumerate(seed_states(self)):
            seed.assign(store[f"seed_{index}"])
        names = list(store.keys())
        names = [name for name in names if not name.startswith("seed_")]
        super().load_own_variables({name: store[name] for name in names})
