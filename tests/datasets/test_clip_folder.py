import copy
import pickle

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import ClipFolder, ImageFolder
from keras_iwm.seeds import hash_seed

NUM_FRAMES = 40


def save_frames(folder, values, size=(32, 24)):
    """Writes a folder of frames of one grey value each, named without zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values):
        pixels = np.full((size[1], size[0], 3), value, "uint8")
        Image.fromarray(pixels).save(folder / f"frame{number}.png")


def ramp(label=0):
    """Grey values that tell the frame, and the clip it is of."""
    return 40 * label + np.arange(NUM_FRAMES)


def read_values(clips):
    return clips[..., 0].mean(axis=(-2, -1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of three folders of frames; grey values tell the frame."""
    root = tmp_path_factory.mktemp("clips")
    for label in range(6):
        save_frames(root / "ab"[label // 3] / f"clip{label}", ramp(label), (8, 8))
    return root


def expected_place(seed, epoch, index):
    return hash_seed(hash_seed(seed, epoch), index) / 2**31


def test_each_epoch_has_its_order_and_its_places(folder):
    dataset = ClipFolder(folder, 8, 5, frame_stride=3, batch_size=2, seed=7)
    assert dataset.class_names == ["a", "b"]
    places = set()
    for epoch in (0, 4):
        dataset.epoch = epoch
        for index in (2, 0, 1):
            clips, labels = dataset[index]
            assert clips.shape == (2, 5, 8, 8, 3)
            assert clips.dtype == np.uint8
            wanted = dataset.order(epoch)[2 * index : 2 * index + 2]
            np.testing.assert_array_equal(labels, wanted // 3)
            for clip, number in zip(read_values(clips), wanted, strict=True):
                first = int(expected_place(7, epoch, int(number)) * (NUM_FRAMES - 12))
                places.add(first)
                frames = 40 * number + first + 3 * np.arange(5)
                np.testing.assert_array_equal(clip, frames)
    assert len(places) > 8
    # In memory, for a measurement, they lie in the middle.
    clips, labels = dataset.load([5, 0])
    expected = 40 * np.array([[5], [0]]) + 14 + 3 * np.arange(5)
    np.testing.assert_array_equal(read_values(clips), expected)
    assert labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="`num_frames` must be an integer"):
        ClipFolder(folder, 8, 0)


def test_long_videos_are_cut_into_parts(folder):
    dataset = ClipFolder(
        folder, 8, 4, batch_size=9, clips_per_video=3, shuffle=False, seed=2
    )
    assert dataset.num_samples == 18
    clips, labels = dataset.load()
    assert labels.tolist() == [0] * 9 + [1] * 9
    starts = np.array([int((part + 0.5) / 3 * 37) for part in range(3)])
    expected = 40 * np.repeat(np.arange(6), 3) + np.tile(starts, 6)
    np.testing.assert_array_equal(read_values(clips)[:, 0], expected)
    np.testing.assert_array_equal(np.concatenate([clip for clip, _ in dataset]), clips)
    # Over many epochs, each part has clips everywhere.
    dataset = ClipFolder(folder, 8, 4, batch_size=9, clips_per_video=3, seed=2)
    seen = []
    for epoch in range(30):
        dataset.epoch = epoch
        for index in range(2):
            parts = dataset.batch_indices(index) % 3
            values = read_values(dataset[index][0])[:, 0] % 40
            seen.append(np.stack([parts, values], axis=1))
    seen = np.concatenate(seen)
    for part in range(3):
        found = np.unique(seen[seen[:, 0] == part, 1])
        first, last = int(part / 3 * 37), int(np.ceil((part + 1) / 3 * 37)) - 1
        np.testing.assert_array_equal(found, np.arange(first, last + 1))
    train, held_out = dataset.split(0.4, seed=1)
    assert train.num_samples + held_out.num_samples == 18
    assert held_out.num_samples == 3 * len(held_out.paths) == len(held_out.labels)


def test_a_run_that_is_resumed_sees_what_is_left(folder):
    def batches(epoch, position, epochs):
        dataset = ClipFolder(folder, 8, 4, batch_size=2, seed=3)
        dataset.epoch, dataset.position = epoch, position
        seen = []
        load_batch = dataset.load_batch

        def record(index):
            batch = load_batch(index)
            seen.append((dataset.epoch, read_values(batch[0]).tolist()))
            return batch

        model = keras.Sequential(
            [keras.Input((4, 8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
        )
        model.compile("sgd", loss="mse")

        class Start(keras.callbacks.Callback):
            """Begins to record with training, and not with a look at the data."""

            def on_train_begin(self, logs=None):
                dataset.load_batch = record

        model.fit(
            dataset, initial_epoch=epoch, epochs=epochs, verbose=0, callbacks=[Start()]
        )
        return seen

    whole = batches(0, 0, 3)
    assert len(whole) == 9
    assert batches(1, 2, 3) == whole[5:]


@pytest.mark.parametrize("workers", [{"num_threads": 1}, {"num_processes": 2}])
def test_copies_threads_and_processes_read_the_same(folder, workers):
    expected = ClipFolder(folder, (8, 6), 4, batch_size=3, seed=1)
    dataset = ClipFolder(folder, (8, 6), 4, batch_size=3, seed=1, **workers)
    for other in (dataset, copy.copy(dataset), pickle.loads(pickle.dumps(dataset))):
        for index in (1, 0):
            for read, wanted in zip(other[index], expected[index], strict=True):
                np.testing.assert_array_equal(read, wanted)


def test_frames_may_be_of_any_kind_of_image(tmp_path):
    for clip in range(2):
        (tmp_path / f"{clip}").mkdir()
        for number in range(11):
            values = np.full((6, 6, 5), 1000 * clip + number, "uint16")
            np.save(tmp_path / f"{clip}" / f"{number}.npy", values)
    dataset = ClipFolder(tmp_path, 6, 11, batch_size=2, num_channels=5, shuffle=False)
    (clips,) = dataset[0]
    assert clips.dtype == np.uint16
    expected = 1000 * np.arange(2)[:, None] + np.arange(11)
    np.testing.assert_array_equal(clips[:, :, 3, 3, 4], expected)
    save_frames(tmp_path / "0", [7])
    with pytest.raises(ValueError, match="More than a tenth.*must have 5 channels"):
        ClipFolder(tmp_path, 6, 12, num_channels=5, batch_size=1).load()


def test_bad_clips_are_replaced_and_named(tmp_path):
    for number in range(20):
        save_frames(tmp_path / "clips" / f"{number:02}", [number] * 4, (8, 8))
    save_frames(tmp_path / "clips" / "short", [99] * 2, (8, 8))
    (tmp_path / "clips" / "07" / "frame2.png").write_bytes(b"")
    path = tmp_path / "skipped.csv"
    dataset = ClipFolder(
        tmp_path / "clips", 8, 3, batch_size=21, seed=5, skipped_csv=path
    )
    with pytest.warns(UserWarning, match="2 of 21 clips could not be used"):
        (clips,) = dataset[0]
    values = read_values(clips)[:, 0]
    good = sorted(set(range(20)) - {7})
    assert set(values) == set(good)
    reasons = {name.rpartition("/")[2]: why for name, why in dataset.skipped.items()}
    assert set(reasons) == {"07", "short"}
    assert "it has 2 frames, and 3 with a stride of 1 need 3" in reasons["short"]
    assert "frame2.png could not be read (it is empty)" in reasons["07"]
    assert len(path.read_text().splitlines()) == 3
    again = ClipFolder(tmp_path / "clips", 8, 3, batch_size=21, seed=5, num_processes=1)
    np.testing.assert_array_equal(again[0][0], clips)
    clips, _ = dataset.load()
    assert read_values(clips)[:, 0].tolist() == good
    with pytest.raises(ValueError, match="The clip .*07 could not be read"):
        ClipFolder(tmp_path / "clips", 8, 3, bad_files="raise").load()


def test_what_lies_in_a_folder_is_told_apart(tmp_path):
    root = tmp_path / "clips"
    save_frames(root / "b" / "two", [1, 2])
    save_frames(root / "b" / "two" / "deeper", [1, 2])
    save_frames(root / "a" / "one", [1, 2])
    (root / "a" / "film.rmvb").write_bytes(b"")
    (root / "a" / "notes.txt").write_text("")
    with pytest.warns(UserWarning, match=r"1 \.rmvb files .*1 \.txt files"):
        dataset = ClipFolder(root, 8, 1, batch_size=1, index=tmp_path / "index")
    names = [dataset.paths.name(number) for number in range(3)]
    assert names == ["a/one", "b/two", "b/two/deeper"]
    assert dataset.labels.tolist() == [0, 1, 1]
    again = ClipFolder(root, 8, 1, batch_size=1, index=tmp_path / "index")
    assert again.paths == dataset.paths
    with pytest.raises(ValueError, match="not both.* 1 clips .*such as two"):
        ClipFolder(root / "b", 8, 1)
    flat = ClipFolder(root / "a", 8, 1, batch_size=1)
    assert flat.labels is None
    with pytest.raises(ValueError, match="itself has 2 images, such as frame0.png"):
        ClipFolder(root / "a" / "one", 8, 1)
    with pytest.raises(ValueError, match="`index` must be a list of images"):
        ImageFolder(root, 8, 1, index=tmp_path / "index")
