import keras
import numpy as np
import pytest

from keras_iwm.datasets import ImageArray


def numbered_images(count):
    """Images whose pixels are all their own number."""
    return np.broadcast_to(
        np.arange(count, dtype="float32")[:, None, None, None], (count, 2, 2, 3)
    )


class Recorder(keras.layers.Layer):
    """Keeps the first pixel of every image that `fit` shows it."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones")
        self.seen = []

    def call(self, images):
        if keras.ops.is_tensor(images) and not isinstance(images, keras.KerasTensor):
            try:
                pixels = keras.ops.convert_to_numpy(images)[:, 0, 0, 0]
            except Exception:  # A tracer, while Keras builds the model.
                pixels = []
            self.seen.extend(int(pixel) for pixel in pixels)
        return keras.ops.mean(images, axis=(1, 2, 3)) * self.scale


def fit_and_record(dataset, built, **kwargs):
    """Returns the numbers of the images in the order `fit` showed them."""
    recorder = Recorder()
    model = keras.Sequential([recorder])
    model.compile("sgd", loss="mse", run_eagerly=True)
    if built:
        model.build((None, 2, 2, 3))
    shown = []

    class Steps(keras.callbacks.Callback):
        """Moves what one training step showed to `shown`, dropping the build's."""

        def on_train_begin(self, logs=None):
            recorder.seen.clear()

        def on_train_batch_end(self, batch, logs=None):
            shown.extend(recorder.seen[: dataset.batch_size])
            recorder.seen.clear()

    model.fit(dataset, verbose=0, callbacks=[Steps()], **kwargs)
    return shown


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_fit_sees_the_order_of_seed_and_epoch(built, shuffle):
    dataset = ImageArray(numbered_images(10), np.zeros(10), batch_size=3, seed=4)
    # `shuffle` is the argument of `fit`: it must not matter.
    shown = fit_and_record(dataset, built, epochs=3, shuffle=shuffle)
    expected = [dataset.order(epoch)[:9] for epoch in range(3)]
    np.testing.assert_array_equal(shown, np.concatenate(expected))
    assert dataset.epoch == 3


@pytest.mark.parametrize("built", [False, True])
def test_a_resumed_fit_continues_the_order(built):
    def dataset():
        return ImageArray(numbered_images(8), np.zeros(8), batch_size=4, seed=1)

    whole = fit_and_record(dataset(), built, epochs=3)
    resumed = dataset()
    resumed.epoch = 2
    rest = fit_and_record(resumed, built, initial_epoch=2, epochs=3)
    assert rest == whole[16:]
    # The same object can be set back after it was used.
    resumed.epoch = 1
    rest = fit_and_record(resumed, built, initial_epoch=1, epochs=3)
    assert rest == whole[8:]


def test_fewer_steps_per_epoch_show_the_start_of_each_order():
    dataset = ImageArray(numbered_images(12), np.zeros(12), batch_size=2)
    if keras.backend.backend() == "tensorflow":
        pytest.skip("tf.data reads ahead into the epoch that was cut short")
    shown = fit_and_record(dataset, True, epochs=2, steps_per_epoch=2)
    expected = [dataset.order(epoch)[:4] for epoch in range(2)]
    np.testing.assert_array_equal(shown, np.concatenate(expected))


def test_an_epoch_cut_short_shows_the_start_of_each_order():
    dataset = ImageArray(numbered_images(12), np.zeros(12), batch_size=2)
    dataset.batches_per_epoch = 2
    assert len(dataset) == 2
    shown = fit_and_record(dataset, True, epochs=2)
    expected = [dataset.order(epoch)[:4] for epoch in range(2)]
    np.testing.assert_array_equal(shown, np.concatenate(expected))
    with pytest.raises(ValueError, match="`batches_per_epoch` .* from 1 to 6"):
        dataset.batches_per_epoch = 7


def test_every_epoch_has_an_order_of_its_own():
    dataset = ImageArray(numbered_images(50), batch_size=5, seed=3)
    orders = np.stack([dataset.order(epoch) for epoch in range(4)])
    np.testing.assert_array_equal(
        np.sort(orders, axis=1), np.tile(np.arange(50), (4, 1))
    )
    assert len(np.unique(orders, axis=0)) == 4
    assert (
        dataset.order(0)
        != ImageArray(numbered_images(50), seed=4, batch_size=5).order(0)
    ).any()


def test_batches_hold_images_with_their_labels():
    images, labels = numbered_images(7), np.arange(7) * 10
    dataset = ImageArray(images, labels, batch_size=3, drop_remainder=False)
    assert dataset.num_batches == 3
    for index, size in enumerate([3, 3, 1]):
        batch, batch_labels = dataset[index]
        assert batch.shape == (size, 2, 2, 3)
        assert batch.dtype == np.float32
        np.testing.assert_array_equal(batch[:, 0, 0, 0] * 10, batch_labels)
    ordered = ImageArray(images, batch_size=3, shuffle=False)
    assert ordered.num_batches == 2
    np.testing.assert_array_equal(ordered[1][0], images[3:6])
    with pytest.raises(IndexError):
        ordered[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((4, 3, 8, 8), "uint8")}, "Move the channels last"),
        ({"images": np.zeros((4, 8, 8), "uint8")}, "np.stack"),
        ({"images": np.zeros((4, 8, 8, 3), "bool")}, "Received: bool"),
        ({"images": np.zeros((4, 8, 8, 5), "uint8")}, "pass num_channels=5"),
        ({"labels": np.zeros(3)}, "one entry for each of the 4"),
        ({"batch_size": 5}, "drop_remainder=False"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    defaults = {"images": np.zeros((4, 8, 8, 3), "uint8"), "batch_size": 2}
    with pytest.raises(ValueError, match=message):
        ImageArray(**{**defaults, **arguments})
    with pytest.raises(ValueError, match="`epoch` must be an integer"):
        ImageArray(**defaults).epoch = -1


class Batches(keras.callbacks.Callback):
    """Notes the epochs and the steps of a run, and may interrupt it."""

    def __init__(self, dataset, interrupt_at=None):
        super().__init__()
        self.dataset, self.interrupt_at = dataset, interrupt_at
        self.epochs, self.steps = [], 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if batch == 0:
            self.epochs.append(self.dataset.epoch)
        if batch == self.interrupt_at:
            raise KeyboardInterrupt


class SumOfLabels(keras.losses.Loss):
    """Adds up to the same for the same batches in the same order, and to no other."""

    def call(self, y_true, y_pred):
        return y_true * keras.ops.mean(y_pred)


def labelled():
    images = np.random.default_rng(1).normal(size=(12, 2, 2, 3)).astype("float32")
    return ImageArray(images, np.arange(12, dtype="float32"), batch_size=4)


def linear_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.01), loss=SumOfLabels())
    return model


def test_passes_that_do_not_train_move_no_epoch():
    expected = linear_model()
    expected.fit(labelled(), epochs=3, verbose=0)

    dataset, model = labelled(), linear_model()
    batches = Batches(dataset)
    model.fit(
        dataset, validation_data=dataset, epochs=2, verbose=0, callbacks=[batches]
    )
    model.evaluate(dataset, verbose=0)
    model.predict(dataset, verbose=0)
    model.fit(dataset, initial_epoch=2, epochs=3, verbose=0, callbacks=[batches])
    assert batches.epochs == [0, 1, 2]
    for one, two in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_interrupted_epoch_does_not_count():
    dataset, model = labelled(), linear_model()
    first = dataset[0][1].tolist()
    with pytest.raises(KeyboardInterrupt):
        model.fit(dataset, verbose=0, callbacks=[Batches(dataset, interrupt_at=1)])
    assert dataset[0][1].tolist() == dataset[0][1].tolist() == first
    assert [labels.tolist() for _, labels in dataset][0] == first
    batches = Batches(dataset)
    model.fit(dataset, verbose=0, callbacks=[batches])
    assert batches.epochs == [0]
    assert dataset.epoch == 1


def test_an_epoch_can_begin_in_its_midst():
    whole, part = linear_model(), linear_model()
    whole.fit(labelled(), epochs=2, verbose=0)

    dataset = labelled()
    with pytest.raises(KeyboardInterrupt):
        part.fit(dataset, verbose=0, callbacks=[Batches(dataset, interrupt_at=1)])
    dataset.position = 2
    batches = Batches(dataset)
    part.fit(dataset, epochs=2, verbose=0, callbacks=[batches])
    assert (batches.epochs, batches.steps, dataset.position) == ([0, 1], 1 + 3, 0)
    for one, two in zip(part.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    for position in (3, -1, 0.5):
        with pytest.raises(ValueError, match="`position`"):
            dataset.position = position
