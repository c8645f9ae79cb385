"""What the copies of a model must agree on, for the backend that runs."""

from keras_iwm.backend.own_draws import own_draws


class Replicas:
    """The devices that train one model, where a single program drives them all.

    So it is on JAX, whose arrays span devices: a batch is drawn, averaged and
    logged as a whole, and nothing is left to do. The other backends run one copy of
    the model on each device and have a subclass.
    """

    def prepare(self, model):
        """Get `model` ready to train, or refuse what cannot work."""

    def gains_by_xla(self, model):
        """Whether XLA, which Keras leaves off here, makes long runs faster."""
        return False

    def set_exchange_dtype(self, dtype):
        """Refuse to let gradients travel in another precision than their own."""
        if dtype != "float32":
            raise ValueError(
                '`dtype` must be "float32" on JAX and TensorFlow, which exchange '
                f"gradients by themselves. Received: dtype={dtype!r}. Leave it out, or "
                "train in processes of Torch."
            )

    def draw_offset(self):
        """What the copy that asks adds to its seeds; `None` if there is one copy."""

    def step(self, model):
        """Context of one train step of `model`, in each of its copies."""
        return own_draws(model)

    def average(self, results):
        """Metric results, a dictionary, averaged over the copies."""
        return results
