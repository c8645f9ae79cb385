"""What everything that is fitted shares."""

import inspect
import re
from typing import Any

import keras
from keras import ops

from keras_iwm.array_arguments import check_batch_of_clips, check_batch_of_images
from keras_iwm.backend import loss_tracker, make_replicas, seed_states, sound_step
from keras_iwm.first_batch import first_batch
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.models.check_learning_rate import check_learning_rate
from keras_iwm.models.fault_counter import FaultCounter
from keras_iwm.type_aliases import Config

# Steps after which XLA on TensorFlow has won back some seconds of compilation.
LONG_RUN = 500


class TrainedModel(ComposedModel):
    """A Keras model that trains on one device or many, and resumes exactly.

    Where Keras leaves copies of a model to themselves, `replicas` makes them agree.
    A file holds the seeds beside the weights, one state for all copies.

    Before the first step, `fit`, `evaluate` and `predict` look at the data on the
    host: at arrays, and at the first batch of what is loaded. A compiled step cannot
    raise, and images of another range than `value_range` train on nonsense. Subclasses
    have `num_channels` and `value_range`.
    """

    # Arguments of `fit` and `evaluate` that a model has no use for.
    ignored_arguments = ()
    # Whether batches are of clips, `(clips, frames, height, width, channels)`.
    takes_clips = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.replicas = make_replicas()
        self.faults = FaultCounter()

    @property
    def skipped_steps(self) -> int:
        """How many steps in a row, up to the last, `fit` has skipped as not finite."""
        return int(self.faults.in_a_row.numpy())

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile like any Keras model.

        With `jit_compile="auto"`, the default, `fit` turns XLA on for TensorFlow too
        where a run is long enough to win the time of compilation back. On Torch steps
        run eagerly by default; `jit_compile=True` compiles their transformer blocks
        and what makes views, which needs a C++ compiler on CPUs and up to a minute in
        the first step. A `Transform` of your own must then compute from tensors alone,
        as it must on the other backends.

        Args:
            *args: What `keras.Model.compile` takes.
            **kwargs: What `keras.Model.compile` takes.
        """
        super().compile(*args, **kwargs)
        self._chooses_xla = (
            kwargs.get("jit_compile", "auto") == "auto" and not self.run_eagerly
        )

    def compile_from_config(self, config: Config) -> None:
        """Compile as a saved model was; Keras leaves this to an own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Fit like any Keras model, after a look at the data.

        Args:
            *args: What `keras.Model.fit` takes: `x`, `y`, `batch_size`, ...
            **kwargs: What `keras.Model.fit` takes.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If images or labels cannot be meant for this model, or the
                learning rate is not finite.
        """
        arguments = self._checked("fit", args, kwargs)
        if self.compiled:
            check_learning_rate(self.optimizer, count_steps(arguments))
        validation = arguments.get("validation_data")
        if isinstance(validation, (tuple, list)):
            self.check_batch(*validation, name="validation_data[0]")
        elif validation is not None:
            arguments["validation_data"] = self._look(validation, "validation_data")
        if self.compiled and self._chooses_xla and self.replicas.gains_by_xla(self):
            self.jit_compile = count_steps(arguments) >= LONG_RUN
        self.faults.restart()
        self.start_anew_for(arguments["x"], "train_function")
        return super().fit(**arguments)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate like any Keras model, after a look at the data.

        Args:
            *args: What `keras.Model.evaluate` takes.
            **kwargs: What `keras.Model.evaluate` takes.

        Returns:
            What `keras.Model.evaluate` returns.

        Raises:
            ValueError: If images or labels cannot be meant for this model.
        """
        arguments = self._checked("evaluate", args, kwargs)
        self.start_anew_for(arguments["x"], "test_function")
        return super().evaluate(**arguments)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict like any Keras model, after a look at the data.

        Args:
            *args: What `keras.Model.predict` takes.
            **kwargs: What `keras.Model.predict` takes.

        Returns:
            What `keras.Model.predict` returns.

        Raises:
            ValueError: If images cannot be meant for this model.
        """
        arguments = self._checked("predict", args, kwargs)
        self.start_anew_for(arguments["x"], "predict_function")
        return super().predict(**arguments)

    def check_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, name: str = "x"
    ) -> None:
        """Refuse images that cannot be meant. Subclasses also check labels.

        Args:
            x: Images, or clips if the model takes them, an array or tensor.
            y: Labels, or `None`.
            sample_weight: Weights, or `None`.
            name: String, the images' name in messages.

        Raises:
            ValueError: If shape or dtype are not those of images, or values are not in
                the model's range, or hardly fill it.
        """
        if hasattr(x, "shape"):
            self.check_inputs(x, name)

    def check_inputs(self, x: Any, name: str) -> None:
        """Refuse images, or clips if the model takes them, that cannot be meant."""
        check = check_batch_of_clips if self.takes_clips else check_batch_of_images
        check(x, self.num_channels, self.value_range, name)

    def check_paths(self) -> None:
        """Refuse weights that share a path: Keras on Torch knows them by it.

        Raises:
            ValueError: If two do, as those of two parts of one name.
        """
        paths = [variable.path for variable in self.variables]
        if len(set(paths)) == len(paths):
            return
        repeated = sorted({path for path in paths if paths.count(path) > 1})
        names = sorted({path.split("/")[0] for path in repeated})
        raise ValueError(
            "The parts of a model need names of their own, or their weights hide each "
            f"other. Received twice: {', '.join(names)}, such as {repeated[0]!r}. Make "
            "the parts with different `name`s."
        )

    def make_train_function(self, force: bool = False) -> Any:
        """Make the function that `fit` runs, once the replicas are ready for it."""
        self.check_paths()
        self._check_frozen()
        self.replicas.prepare(self)
        return super().make_train_function(force)

    def _check_frozen(self):
        """Refuse layers frozen or thawed since the optimizer met the weights."""
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        known = getattr(optimizer, "_trainable_variables", None)
        if not optimizer.built or known is None:
            return
        if {id(v) for v in known} != {id(v) for v in self.trainable_variables}:
            raise ValueError(
                "Layers were frozen or thawed after the optimizer had been built: it "
                f"knows {len(known)} trainable weights, the model has "
                f"{len(self.trainable_variables)}. Call `compile` again, with a new "
                "optimizer."
            )

    def _checked(self, method, args, kwargs):
        """The arguments of a method by name, after a look at the data."""
        signature = inspect.signature(getattr(keras.Model, method))
        arguments = signature.bind(self, *args, **kwargs).arguments
        del arguments["self"]
        # What Keras passes to itself, such as a validation's batches.
        arguments.update(arguments.pop("kwargs", {}))
        for name in self.ignored_arguments:
            if arguments.get(name) is not None:
                raise ValueError(
                    f"`{name}` is not used by a {type(self).__name__}. Received it in "
                    f"`{method}`. Leave it out."
                )
        if arguments.get("y") is not None:
            self.check_batch(arguments["x"], arguments["y"])
        else:
            arguments["x"] = self._look(arguments.get("x"), "x")
        return arguments

    def _look(self, source, name):
        """Check the first batch of a source; return the source to go on with."""
        batch, source = first_batch(source)
        if isinstance(batch, (tuple, list)):
            self.check_batch(*batch, name=name)
        elif batch is not None:
            self.check_batch(batch, name=name)
        return source

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the metrics' results, of all replicas together.

        The loss is NaN as long as no step has counted: a mean of none.
        """
        results = super().get_metrics_result()
        if "loss" in results:
            counted = loss_tracker(self).count > 0
            results["loss"] = ops.where(counted, results["loss"], float("nan"))
        return self.replicas.average(results)

    def train_step(self, *arguments: Any) -> Any:
        """Take a step as Keras does, the replicas together.

        If the loss, a gradient or the learning rate is not finite, the step is
        skipped: weights, the optimizer's state, seeds and metrics stay as they were,
        so that training goes on as if the batch had not been there.
        """
        with self.replicas.step(self):
            return sound_step(self, *arguments)

    def get_compile_config(self) -> Config | None:
        """Return the compile arguments, without what the backend has resolved.

        Whether to compile the step is for the backend that loads the file.
        """
        config = super().get_compile_config()
        config.pop("jit_compile", None)
        return config

    def save_own_variables(self, store: Any) -> None:
        """Store the seeds beside the weights."""
        super().save_own_variables(store)
        for name, seed in self._named_seeds().items():
            store[name] = ops.convert_to_numpy(seed).astype("int64")

    def load_own_variables(self, store: Any) -> None:
        """Load the seeds along with the weights.

        A seed that the file has not, as of stochastic depth that was off, stays.
        """
        stored = set(store.keys())
        for name, seed in self._named_seeds().items():
            if name in stored:
                seed.assign(store[name])
        names = [name for name in stored if not name.startswith("seed.")]
        super().load_own_variables({name: store[name] for name in names})

    def _named_seeds(self):
        """The seeds by the place of their layer, which no other model changes."""
        seeds = {}
        for seed in seed_states(self):
            # Keras numbers generators over all models that a process has made.
            place = re.sub(r"seed_generator(_\d+)?/", "", seed.path).split("/")[:-1]
            name = ".".join(["seed", *place])
            seeds[f"{name}.{sum(other.startswith(name) for other in seeds)}"] = seed
        return seeds


def count_steps(arguments):
    """Steps of a call of `fit`, or 0 where the data do not tell.

    Args:
        arguments: Dictionary of the arguments of `keras.Model.fit`.
    """
    epochs = arguments.get("epochs", 1) - arguments.get("initial_epoch", 0)
    steps, x = arguments.get("steps_per_epoch"), arguments["x"]
    if steps is None and hasattr(x, "num_batches"):
        steps = x.num_batches
    elif steps is None and hasattr(x, "shape"):
        steps = -(-len(x) // (arguments.get("batch_size") or 32))
    return epochs * (steps or 0)
