import copy
import hashlib
import pickle

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import ImageFolder
from keras_iwm.datasets.hashed_names import hashed_names
from keras_iwm.datasets.image_paths import ImagePaths


def save(path, pixels, **kwargs):
    """Writes an array as a picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, "uint8")).save(path, **kwargs)


def plain(value, size=(8, 8)):
    """A picture of one grey value."""
    return np.full((*size, 3), value)


@pytest.fixture
def classes(tmp_path):
    """Two classes of six pictures whose grey value says which file they are."""
    for label, name in enumerate(("bird", "cat")):
        for number in range(6):
            save(tmp_path / name / f"{number}.png", plain(100 * label + number))
    return tmp_path


def test_class_folders_become_labels_in_alphabetical_order(classes):
    (classes / "ant").mkdir()
    save(classes / ".hidden" / "x.png", plain(0))
    save(classes / "cat" / "deeper" / "9.jpg", plain(109))
    save(classes / "cat" / "._0.png", plain(0))
    dataset = ImageFolder(classes, (8, 8), batch_size=1)
    assert dataset.class_names == ["ant", "bird", "cat"]
    images, labels = dataset.load()
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, [1] * 6 + [2] * 7)
    expected = [*range(6), *range(100, 106), 109]
    np.testing.assert_allclose(images[:, 0, 0, 0], expected, atol=1)
    images, labels = dataset.load([7, 0])
    assert images[:, 4, 4, 1].tolist() == [101, 0]
    assert labels.tolist() == [2, 1]


def test_batches_follow_the_order_of_seed_and_epoch(classes):
    dataset = ImageFolder(classes, (8, 8), batch_size=5, seed=2, num_threads=2)
    grey = np.array([*range(6), *range(100, 106)])
    for epoch in (0, 3):
        dataset.epoch = epoch
        for index in (1, 0):
            images, labels = dataset[index]
            wanted = dataset.order(epoch)[5 * index : 5 * index + 5]
            np.testing.assert_array_equal(images[:, 0, 0, 0], grey[wanted])
            np.testing.assert_array_equal(labels, wanted // 6)
    assert dataset.num_batches == 2


def test_fit_sees_every_epoch_in_its_order(classes):
    dataset = ImageFolder(classes, (8, 8), batch_size=4, seed=5)
    read = []
    load_batch = dataset.load_batch

    def record(index):
        batch = load_batch(index)
        read.append((dataset.epoch, batch[0][:, 0, 0, 0].tolist()))
        return batch

    dataset.load_batch = record
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile("sgd", loss="mse")

    class Start(keras.callbacks.Callback):
        """Forgets what Keras read before training."""

        def on_train_begin(self, logs=None):
            read.clear()

    model.fit(dataset, epochs=3, verbose=0, callbacks=[Start()])
    grey = np.array([*range(6), *range(100, 106)])
    expected = [
        (epoch, grey[part].tolist())
        for epoch in range(3)
        for part in dataset.order(epoch).reshape(3, 4)
    ]
    assert read == expected


def test_the_shorter_side_fits_and_the_centre_is_kept(tmp_path):
    # Left, middle and right thirds; the middle is what a square crop keeps.
    pixels = np.zeros((20, 60, 3))
    pixels[:, 20:40] = (10, 200, 30)
    save(tmp_path / "wide.png", pixels)
    save(tmp_path / "tall.bmp", pixels.transpose(1, 0, 2))
    images, labels = ImageFolder(tmp_path, (10, 10), batch_size=1).load()
    assert labels is None
    inner = images[:, 1:-1, 1:-1].reshape(-1, 3)
    np.testing.assert_array_equal(inner, np.tile([10, 200, 30], (len(inner), 1)))
    # An exact halving is the Pillow resize itself.
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    save(tmp_path / "half" / "noise.png", noise)
    read, _ = ImageFolder(tmp_path / "half", (16, 16), batch_size=1).load()
    picture = Image.fromarray(noise.astype("uint8"))
    expected = picture.resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(read[0], np.asarray(expected), atol=1)


def test_every_kind_of_file_becomes_upright_rgb(tmp_path):
    save(tmp_path / "a.webp", plain(50), lossless=True)
    save(tmp_path / "b.JPEG", plain(60))
    Image.fromarray(np.full((8, 8), 70, "uint8")).save(tmp_path / "c.png")
    Image.fromarray(np.full((8, 8), 80, "uint8")).save(tmp_path / "d.gif")
    Image.fromarray(plain(90).astype("uint8")).quantize(4).save(tmp_path / "e.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: rotate 90 degrees clockwise to view.
    turned = plain(0)
    turned[:, :4] = 255
    save(tmp_path / "f.jpg", turned, exif=exif, quality=100)
    (tmp_path / "notes.txt").write_text("no image")
    images, _ = ImageFolder(tmp_path, (8, 8), batch_size=1).load()
    assert images.shape == (6, 8, 8, 3)
    np.testing.assert_allclose(images[:5, 0, 0, 0], [50, 60, 70, 80, 90], atol=3)
    assert images[5, :3].min() > 240
    assert images[5, 5:].max() < 15


def test_split_holds_out_a_share(classes):
    dataset = ImageFolder(classes, (8, 8), batch_size=4)
    train, held_out = dataset.split(1 / 3, seed=1)
    train_images, train_labels = train.load()
    images, labels = held_out.load()
    values = np.concatenate([train_images, images])[:, 0, 0, 0]
    assert sorted(values.tolist()) == [*range(6), *range(100, 106)]
    np.testing.assert_array_equal(labels, images[:, 0, 0, 0] // 100)
    np.testing.assert_array_equal(train_labels, train_images[:, 0, 0, 0] // 100)
    again, _ = ImageFolder(classes, (8, 8), batch_size=4).split(1 / 3, seed=1)
    assert again.paths == train.paths
    np.testing.assert_array_equal(
        np.concatenate([batch for batch, _ in held_out]), images
    )
    # A batch prepared by one part is never handed out by the other.
    assert train.num_batches == train.num_samples // 4
    assert len(train[0][0]) == 4
    with pytest.raises(ValueError, match="leave image files on both sides"):
        train.split(0.001)
    with pytest.raises(ValueError, match="`fraction` must be a finite number"):
        train.split(2)
    with pytest.raises(ValueError, match="fewer than the batch size"):
        dataset.split(0.8)


def test_a_file_stays_on_its_side_whatever_comes_or_goes(classes):
    def sides():
        train, held_out = ImageFolder(classes, 8, 1).split(0.3, seed=3)
        return [{str(path) for path in part.paths} for part in (train, held_out)]

    train, held_out = sides()
    # The hash itself, as any other system must compute it.
    for path in train | held_out:
        name = "/".join(path.split("/")[-2:])
        digest = hashlib.blake2b(f"3/{name}".encode(), digest_size=6).hexdigest()
        assert (path in held_out) == (int(digest, 16) / 2**48 < 0.3)
    (classes / "bird" / "0.png").unlink()
    for number in range(40):
        save(classes / "cat" / f"new_{number}.png", plain(0))
    new_train, new_held_out = sides()
    assert not new_train & held_out
    assert not new_held_out & train
    assert new_held_out - held_out
    # How a system writes an accent does not matter.
    folder = classes / "bird"
    numbers = []
    for name in ("\u00e9.png", "e\u0301.png"):
        numbers.append(hashed_names(ImagePaths(folder, name.encode() + b"\0"), 0)[0])
    assert numbers[0] == numbers[1]
    many = b"".join(b"%d.jpg\0" % number for number in range(10_000))
    shares = hashed_names(ImagePaths(folder, many), 5)
    assert abs((shares < 0.1).mean() - 0.1) < 0.01


def test_unusable_folders_and_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="existing folder"):
        ImageFolder(tmp_path / "missing", (8, 8))
    with pytest.raises(ValueError, match="has no file ending in"):
        ImageFolder(tmp_path, (8, 8))
    save(tmp_path / "good.png", plain(1))
    save(tmp_path / "cat" / "good.png", plain(1))
    with pytest.raises(ValueError, match="not both"):
        ImageFolder(tmp_path, (8, 8))
    with pytest.raises(ValueError, match="`image_size`"):
        ImageFolder(tmp_path / "cat", (8,))
    with pytest.raises(ValueError, match="`num_threads`"):
        ImageFolder(tmp_path / "cat", (8, 8), batch_size=1, num_threads=0)
    content = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cat" / "broken.png").write_bytes(content[: len(content) // 2])
    dataset = ImageFolder(tmp_path / "cat", (8, 8), batch_size=2, bad_files="raise")
    with pytest.raises(ValueError, match=r"broken\.png could not be read"):
        dataset[0]
    with pytest.raises(ValueError, match=r"broken\.png could not be read"):
        dataset.load()


@pytest.mark.parametrize("workers", [{"num_threads": 2}, {"num_processes": 2}])
def test_folders_can_be_copied_and_pickled(classes, workers):
    dataset = ImageFolder(classes, 8, batch_size=4, seed=3, **workers)
    for used in (False, True):
        copies = [
            copy.copy(dataset),
            copy.deepcopy(dataset),
            pickle.loads(pickle.dumps(dataset)),
        ]
        for other in copies:
            assert len(other) == len(dataset) == 3
            for index in (2, 0):
                for read, wanted in zip(other[index], dataset[index], strict=True):
                    np.testing.assert_array_equal(read, wanted)
            other.epoch = 7
            assert dataset.epoch == int(used)
        dataset.epoch = 1  # and some batches of epoch 1 are prepared
        dataset[1]


def test_the_length_is_the_number_of_batches(classes):
    dataset = ImageFolder(classes, np.int64(8), 5, drop_remainder=False)
    assert len(dataset) == dataset.num_batches == 3
    assert [len(images) for images, _ in dataset] == [5, 5, 2]
    assert dataset.image_size == (8, 8)
