"""What a step with a fault changes: nothing. And how a run of faults ends."""

import pickle

import keras
import numpy as np
import pytest
from harness import make, values
from keras import ops

from keras_iwm.callbacks import NonFiniteError, StopOnNonFinite
from keras_iwm.datasets import ImageArray
from keras_iwm.optimizers import AdamW

BACKEND = keras.backend.backend()
on_torch_alone = pytest.mark.skipif(BACKEND != "torch", reason="once is enough")
NAN = float("nan")

# Batches with such an image have the fault; others are darker.
MARKS = {"gradient": 230.0, "loss": 250.0, "view": NAN}


def batch_of(number, fault=None):
    """Images and labels of a batch, one of the images planted with a fault."""
    draws = np.random.default_rng(number)
    images = draws.uniform(0, 200, (4, 16, 16, 3)).astype("float32")
    if fault is not None:
        images[2] = MARKS[fault]
    return images, np.arange(4) % 2


def plant(model):
    """Give a model a loss that has its faults where batches are marked."""
    whole = model.compute_loss

    def compute_loss(x, y, y_pred, sample_weight=None, training=True):
        loss = whole(x, y, y_pred, sample_weight, training=training)
        brightest = ops.max(ops.where(ops.isnan(x), 0.0, x))
        bad_loss = ops.where(brightest > 240, float("inf"), 0.0)
        # The root has no derivative at 0, and is 0.
        good = 1.0 - ops.cast((brightest > 220) & (brightest < 240), "float32")
        nothing = 0.0 * ops.cast(ops.sum(model.trainable_weights[0]), "float32")
        return loss + bad_loss + ops.sqrt(nothing + good) - good

    model.compute_loss = compute_loss
    if not hasattr(model, "make_views"):
        return
    make_views = model.make_views

    def make_bad_views(inputs, training=None):
        # Of NaN in images views are dark, so it is planted behind them.
        views = make_views(inputs, training)
        bad = ops.any(ops.isnan(inputs))
        return {**views, "source": ops.where(bad, NAN, views["source"])}

    model.make_views = make_bad_views


def make_planted(name, optimizer, **arguments):
    model = make(name, **arguments)
    plant(model)
    model.compile(optimizer)
    model.optimizer.build(model.trainable_variables)
    return model


def train(model, *batch):
    """Take one step, without the look at the data that `fit` begins with."""
    images, labels = batch_of(*batch)
    if hasattr(model, "target_encoder"):
        return model.train_on_batch(images, return_dict=True)
    return model.train_on_batch(images, labels, return_dict=True)


def variables_of(model):
    """Weights, seeds, teacher, moments and counters; not what lowers a loss scale."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return [*model.variables, *optimizer.variables]


def state_of(model):
    return [ops.convert_to_numpy(variable).copy() for variable in variables_of(model)]


def assert_equal_states(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


POLICIES = ["float32", "mixed_bfloat16", "mixed_float16"]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        (name, policy)
        for name in ("feature", "classifier")
        for policy in POLICIES
        if BACKEND == "torch"
        # Elsewhere every model is compiled, and XLA's CPU has no float16 product.
        or policy == "float32"
        or (name == "feature" and policy == "mixed_bfloat16")
        or (name == "classifier" and policy == "mixed_float16" and BACKEND != "jax")
    ],
)
def test_a_step_with_a_fault_changes_nothing(name, policy):
    keras.config.set_dtype_policy(policy)
    optimizer = AdamW(1e-3, global_clipnorm=1.0)
    if policy == "mixed_float16":
        # Small enough that no step is skipped but those that should be.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
    model = make_planted(name, optimizer, drop_path_rate=0.1)
    start = state_of(model)
    train(model, 0)
    after_one = state_of(model)
    changed = [np.any(a != b) for a, b in zip(start, after_one, strict=True)]
    assert np.mean(changed) > 0.8
    for number, fault in enumerate(MARKS):
        train(model, 1, fault)
        assert_equal_states(state_of(model), after_one)
        assert model.skipped_steps == number + 1
        if policy == "mixed_float16":
            scale = ops.convert_to_numpy(model.optimizer.dynamic_scale)
            assert scale == 64.0 / 2 ** (number + 1)
    logs = train(model, 2)
    assert model.skipped_steps == 0
    assert np.isfinite(logs["loss"])
    end = state_of(model)
    # The same training without those batches.
    for variable, value in zip(variables_of(model), start, strict=True):
        variable.assign(value)
    if policy == "mixed_float16":
        model.optimizer.dynamic_scale.assign(8.0)
    train(model, 0)
    train(model, 2)
    if policy == "mixed_float16":  # the first step had another scale
        for a, b in zip(state_of(model), end, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)
    else:
        assert_equal_states(state_of(model), end)


OPTIMIZERS = {
    "adam": lambda: "adam",
    "accumulation": lambda: AdamW(1e-3, gradient_accumulation_steps=2),
    "clipped": lambda: keras.optimizers.SGD(0.1, momentum=0.9, clipvalue=0.1),
    "average": lambda: keras.optimizers.Lion(1e-3, use_ema=True),
}


@pytest.mark.parametrize("kind", OPTIMIZERS if BACKEND == "torch" else ["accumulation"])
def test_any_optimizer_skips(kind):
    model = make_planted("classifier", OPTIMIZERS[kind]())
    start = state_of(model)
    for number in range(3):
        train(model, number)
        before = state_of(model)
        train(model, 7, "gradient")
        assert_equal_states(state_of(model), before)
    for variable, value in zip(variables_of(model), start, strict=True):
        variable.assign(value)
    for number in range(3):
        train(model, number)
    assert_equal_states(state_of(model), before)


def test_logs_are_those_of_the_steps_that_were_taken():
    model = make_planted("classifier", keras.optimizers.SGD(0.01))
    start = state_of(model)
    histories = []
    for faults in ([None, "view", None, "loss"], [None, None]):
        for variable, value in zip(variables_of(model), start, strict=True):
            variable.assign(value)
        numbers = [0, 5, 1, 6] if len(faults) == 4 else [0, 1]
        batches = [batch_of(*pair) for pair in zip(numbers, faults, strict=True)]
        images, labels = map(np.concatenate, zip(*batches, strict=True))
        dataset = ImageArray(images, labels, batch_size=4, shuffle=False)
        histories.append(model.fit(dataset, verbose=0).history)
    assert histories[0] == histories[1]
    assert np.isfinite(histories[0]["loss"]).all()
    assert model.skipped_steps == 0
    # The mean of no step is no number, and not the best loss there has been.
    model.reset_metrics()
    assert np.isnan(train(model, 0, "view")["loss"])


def test_a_run_of_faults_ends_with_what_is_known():
    model = make_planted("classifier", keras.optimizers.SGD(0.01))
    batches = [batch_of(0), batch_of(1)]
    batches += [batch_of(number, "view") for number in range(2, 7)]
    images, labels = map(np.concatenate, zip(*batches, strict=True))
    dataset = ImageArray(images, labels, batch_size=4, shuffle=False)
    stop = StopOnNonFinite(3, dataset)
    with pytest.raises(NonFiniteError, match="warm-up") as caught:
        model.fit(dataset, epochs=2, callbacks=[stop], verbose=0)
    error = pickle.loads(pickle.dumps(caught.value))
    facts = error.epoch, error.step, error.skipped_steps, error.images
    assert facts == (0, 4, 3, [16, 17, 18, 19])
    assert error.learning_rate == pytest.approx(0.01)
    assert isinstance(error, FloatingPointError)
    weights = model.get_weights()
    assert all(np.isfinite(weight).all() for weight in weights)

    # Names of files, and the end of an epoch.
    dataset = ImageArray(images[:20], labels[:20], batch_size=4, shuffle=False)
    dataset.paths = [f"folder/{index:03d}.jpg" for index in range(20)]
    stop = StopOnNonFinite(3, dataset)
    with pytest.raises(NonFiniteError) as caught:
        model.fit(dataset, epochs=2, callbacks=[stop], verbose=0)
    message = str(caught.value)
    for words in ("3 steps in a row, up to step 4 of epoch 0", "rate: 0.01"):
        assert words in message
    assert "folder/016.jpg, folder/017.jpg, folder/018.jpg, folder/019.jpg" in message
    # The last finite loss is that of the second batch.
    model.set_weights(weights)
    taken = make("classifier")
    taken.compile(keras.optimizers.SGD(0.01))
    taken.set_weights(weights)
    train(taken, 0)
    second = taken.evaluate(*batch_of(1), verbose=0)[0]
    assert caught.value.last_loss == pytest.approx(second, rel=1e-4)


def forever(fault):
    """A good batch, then batches with a fault without end."""
    yield batch_of(0)
    while True:
        yield batch_of(1, fault)


def test_faults_are_counted_beyond_an_epoch_and_from_each_fit_anew():
    model = make_planted("classifier", keras.optimizers.SGD(0.01))
    steps = {"steps_per_epoch": 2, "epochs": 4, "verbose": 0}
    for _ in range(2):
        stop = StopOnNonFinite(4)
        with pytest.raises(NonFiniteError, match="dataset=dataset") as caught:
            model.fit(forever("gradient"), callbacks=[stop], **steps)
        assert (caught.value.epoch, caught.value.step) == (2, 0)
    history = model.fit(
        forever("loss"), callbacks=[StopOnNonFinite(8)], **steps
    ).history
    assert np.isfinite(history["loss"][0])
    assert np.isnan(history["loss"][1:]).all()


@keras.saving.register_keras_serializable(package="test")
class EndingRate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that is none any more after three steps."""

    def __call__(self, step):
        return ops.where(ops.cast(step, "float32") < 3, 0.01, NAN)

    def get_config(self):
        return {}


@on_torch_alone
@pytest.mark.parametrize("make_optimizer", [keras.optimizers.SGD, AdamW])
def test_a_learning_rate_that_is_no_number(make_optimizer):
    model = make("classifier")
    images, labels = (np.concatenate([part] * 4) for part in batch_of(0))
    optimizer = make_optimizer(0.01)
    model.compile(optimizer)
    optimizer.learning_rate = NAN
    with pytest.raises(ValueError, match="`learning_rate`.*nan now"):
        model.fit(images, labels, batch_size=4, verbose=0)
    model.compile(make_optimizer(EndingRate()))
    before = values(model.weights)
    with pytest.raises(ValueError, match="nan at the last step"):
        model.fit(images, labels, batch_size=4, verbose=0)
    assert_equal_states(values(model.weights), before)
    with pytest.raises(NonFiniteError) as caught:
        model.fit(
            (batch_of(number) for number in range(9)),
            callbacks=[StopOnNonFinite(2)],
            verbose=0,
        )
    assert np.isnan(caught.value.learning_rate)
    assert int(model.optimizer.iterations) == 3
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@on_torch_alone
def test_other_models_and_counts_are_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="TerminateOnNaN"):
        model.fit(
            np.zeros((4, 2)), np.zeros(4), callbacks=[StopOnNonFinite()], verbose=0
        )
    with pytest.raises(ValueError, match="`max_skipped`"):
        StopOnNonFinite(0)
