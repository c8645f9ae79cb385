import keras
import numpy as np
import pytest

from keras_iwm.datasets import MultiTaskBatches

SIZES = {"large": 23, "small": 5, "middle": 12}


def make_data(sizes=SIZES):
    """Images whose pixels are their own numbers, and labels that tell them apart."""
    return {
        name: (
            np.broadcast_to(np.arange(size)[:, None, None, None], (size, 4, 4, 3))
            .astype("uint8")
            .copy(),
            100 * position + np.arange(size),
        )
        for position, (name, size) in enumerate(sizes.items())
    }


def draws(dataset, num_epochs):
    """The numbers of the images drawn from each set, in their order."""
    drawn = {name: [] for name in dataset.images}
    for epoch in range(num_epochs):
        dataset.epoch = epoch
        for index in range(dataset.num_batches):
            images, labels = dataset[index]
            for position, name in enumerate(SIZES):
                numbers = images[name][:, 0, 0, 0]
                assert len(numbers) == dataset.batch_size // len(dataset.images)
                np.testing.assert_array_equal(labels[name], 100 * position + numbers)
                drawn[name].extend(numbers.tolist())
    return drawn


def test_every_image_is_drawn_once_before_any_is_drawn_again():
    dataset = MultiTaskBatches(make_data(), batch_size=12)
    assert dataset.num_batches == 23 // 4
    drawn = draws(dataset, num_epochs=5)
    for name, size in SIZES.items():
        assert len(drawn[name]) == 5 * 5 * 4
        passes = [
            drawn[name][start : start + size] for start in range(0, 5 * 5 * 4, size)
        ]
        for numbers in passes[:-1]:
            assert sorted(numbers) == list(range(size))
        assert len(set(passes[-1])) == len(passes[-1])
        assert passes[0] != passes[1] != sorted(passes[1])


def test_balanced_classes_stay_balanced_over_whole_passes():
    images = np.zeros((24, 4, 4, 3), "uint8")
    data = {
        "one": (images, np.arange(24) % 4),
        "two": (images[:8], np.repeat([0, 1], [6, 2])),
    }
    dataset = MultiTaskBatches(data, batch_size=8)
    batches = [dataset[index][1] for index in range(dataset.num_batches)]
    counts = {
        name: np.bincount(np.concatenate([labels[name] for labels in batches])).tolist()
        for name in data
    }
    assert counts == {"one": [6, 6, 6, 6], "two": [18, 6]}


def test_order_depends_on_seed_name_and_pass_alone():
    data = make_data()
    dataset = MultiTaskBatches(data, batch_size=12, seed=3)
    again = MultiTaskBatches(data, batch_size=12, seed=3)
    assert draws(dataset, 2) == draws(again, 2)
    other = MultiTaskBatches(data, batch_size=12, seed=4)
    assert draws(dataset, 1)["large"] != draws(other, 1)["large"]

    # Alone, with as many batches of as many images, a task sees the same images.
    alone = MultiTaskBatches(
        {"small": data["small"]}, batch_size=4, seed=3, batches_per_epoch=5
    )
    for epoch in range(3):
        dataset.epoch = alone.epoch = epoch
        for index in range(5):
            np.testing.assert_array_equal(
                dataset[index][1]["small"], alone[index][1]["small"]
            )
    # Sets of one size have orders of their own.
    twins = MultiTaskBatches({"a": data["large"], "b": data["large"]}, batch_size=46)
    _, labels = twins[0]
    assert labels["a"].tolist() != labels["b"].tolist()
    assert sorted(labels["a"]) == sorted(labels["b"])


def test_epochs_follow_each_other_as_when_they_are_set():
    dataset = MultiTaskBatches(make_data(), batch_size=12)
    expected = draws(MultiTaskBatches(make_data(), batch_size=12), num_epochs=3)
    drawn = {name: [] for name in SIZES}
    load_batch = dataset.load_batch

    def record(index):
        batch = load_batch(index)
        for name in SIZES:
            drawn[name].extend(batch[0][name][:, 0, 0, 0].tolist())
        return batch

    dataset.load_batch = record
    images = {name: keras.Input((4, 4, 3), name=name) for name in SIZES}
    numbers = {
        name: keras.layers.Dense(1)(keras.layers.Flatten()(image))
        for name, image in images.items()
    }
    model = keras.Model(images, numbers)
    model.compile("sgd", loss="mse")

    class Start(keras.callbacks.Callback):
        """Forgets what Keras read before training."""

        def on_train_begin(self, logs=None):
            for numbers in drawn.values():
                numbers.clear()

    model.fit(dataset, epochs=3, verbose=0, callbacks=[Start()])
    assert drawn == expected


def test_shares_of_processes_make_up_the_batch():
    whole = MultiTaskBatches(make_data(), batch_size=12)
    parts = [MultiTaskBatches(make_data(), batch_size=12) for _ in range(2)]
    for rank, part in enumerate(parts):
        part.share = (rank, 2)
    expected = whole[1][1]
    received = [part[1][1] for part in parts]
    for name in SIZES:
        shares = [labels[name] for labels in received]
        assert [len(share) for share in shares] == [2, 2]
        assert sorted(np.concatenate(shares)) == sorted(expected[name])
    with pytest.raises(ValueError, match="split the 4 images of each task"):
        whole.share = (0, 3)


def test_wrong_data_is_refused():
    data = make_data()
    images, labels = data["large"]
    with pytest.raises(ValueError, match="at least one task"):
        MultiTaskBatches({})
    with pytest.raises(ValueError, match="at least one task. Received: tuple"):
        MultiTaskBatches((images, labels))
    with pytest.raises(ValueError, match=r"data\['one'\].*must have shape"):
        MultiTaskBatches({"one": (images[..., :1], labels)})
    with pytest.raises(ValueError, match=r"data\['one'\].*one label for each of"):
        MultiTaskBatches({"one": (images, labels[:-1])})
    with pytest.raises(ValueError, match=r"one size.*'two': \(4, 2\)"):
        MultiTaskBatches({"one": (images, labels), "two": (images[:, :, :2], labels)})
    with pytest.raises(ValueError, match="multiple of the number of tasks.*8 for 3"):
        MultiTaskBatches(data, batch_size=8)
    with pytest.raises(ValueError, match="times the images of the largest, 23"):
        MultiTaskBatches(data, batch_size=72)
    assert MultiTaskBatches(data, 72, batches_per_epoch=2).num_batches == 2
    with pytest.raises(ValueError, match="`batches_per_epoch` must be an integer"):
        MultiTaskBatches(data, batch_size=12, batches_per_epoch=0)
