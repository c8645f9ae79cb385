"""What a model holds after a call that failed, on JAX."""

import contextlib
import threading
from collections.abc import Iterator

from keras_iwm.backend.kept_state import KeptState

# Parts of a model are models too, so a lock of each would not do.
ONE_AT_A_TIME = threading.RLock()
STATES = {
    2: ("trainable", "non_trainable"),
    3: ("trainable", "non_trainable", "metrics"),
    4: ("trainable", "non_trainable", "optimizer", "metrics"),
}


class JaxKeptState(KeptState):
    """A Keras model that keeps its state when a step fails or is interrupted.

    Keras takes the values out of a model's variables before the first step of an
    epoch, and each step takes over the buffers of the state that it gets. Whatever is
    raised between then and the state's return would leave a model without weights.
    Here the newest state is always where Keras looks for it.

    For the same reason `predict`, `evaluate` and the methods of one batch take turns,
    in whatever threads and for whatever models: a state is one step's alone.
    """

    def evaluate(self, *args, **kwargs):
        """Evaluate as Keras does."""
        with self.kept():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """Predict as Keras does."""
        with self.kept():
            return super().predict(*args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """Train on a batch as Keras does."""
        with self.kept():
            return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """Test on a batch as Keras does."""
        with self.kept():
            return super().test_on_batch(*args, **kwargs)

    def predict_on_batch(self, *args, **kwargs):
        """Predict for a batch as Keras does."""
        with self.kept():
            return super().predict_on_batch(*args, **kwargs)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Give the variables their values back, as `fit` does of its own."""
        with ONE_AT_A_TIME:
            try:
                yield
            finally:
                self.jax_state_sync()
                self._jax_state = None

    def jax_state_sync(self):
        """Give the variables their values, unless a failed step has used them up.

        Raises:
            RuntimeError: If it has.
        """
        state = getattr(self, "_jax_state", None)
        if state and not self._jax_state_synced:
            arrays = [array for part in state.values() for array in part]
            if any(array.is_deleted() for array in arrays):
                raise RuntimeError(
                    "The step failed while it ran, as for want of memory, after it had "
                    "taken over the model's weights: they are lost. Load the last "
                    "checkpoint, or make the model again."
                )
        super().jax_state_sync()

    def _get_jax_state(self, *args, purge_model_variables=False, **parts):
        """Return the state, and keep it before the variables lose it."""
        state = super()._get_jax_state(*args, **parts)
        if purge_model_variables:
            self._keep(state)
            self._jax_state_synced = False
            self._purge_model_variables(*args, **parts)
        return state

    def _make_function(self, step_function, **arguments):
        """Make what a call runs, of steps that leave their state behind."""

        def kept_step(state, data):
            results = []
            try:
                # An interrupt is raised as a call returns, and would take the result
                # of a plain one with it, whose state is the only one there is.
                results.extend(map(step_function, [state], [data]))
            finally:
                self._keep(results[0][1] if results else state)
            return results[0]

        return super()._make_function(kept_step, **arguments)

    def _keep(self, state):
        """Put a step's state where `jax_state_sync` takes it from."""
        names = (f"{part}_variables" for part in STATES[len(state)])
        # Not through Keras's setter, which looks for layers in it.
        self.__dict__["_jax_state"] = dict(zip(names, state, strict=True))
