import numpy as np
import pytest

from keras_iwm.datasets import ClipArray
from keras_iwm.seeds import hash_seed


def numbered(num_clips=6, num_frames=12):
    """Clips whose pixels tell the clip and the frame."""
    values = 20 * np.arange(num_clips)[:, None] + np.arange(num_frames)
    pixels = np.broadcast_to(values[..., None, None, None], (*values.shape, 4, 5, 3))
    return pixels.astype("uint8")


def test_batches_follow_the_order_and_places_of_seed_and_epoch():
    dataset = ClipArray(numbered(), np.arange(6), 3, 2, batch_size=4, seed=9)
    assert len(dataset) == 1
    for epoch in range(6):
        dataset.epoch = epoch
        clips, labels = dataset[0]
        assert clips.shape == (4, 3, 4, 5, 3)
        np.testing.assert_array_equal(labels, dataset.order(epoch)[:4])
        for clip, label in zip(clips, labels, strict=True):
            place = hash_seed(hash_seed(9, epoch), int(label)) / 2**31
            expected = 20 * label + int(place * 8) + 2 * np.arange(3)
            np.testing.assert_array_equal(clip[:, 2, 2, 1], expected)


def test_whole_clips_come_with_what_goes_with_them():
    actions = np.random.default_rng(0).normal(size=(6, 11, 2)).astype("float32")
    clips = numbered()
    dataset = ClipArray(clips, actions, batch_size=6)
    read, labels = dataset[0]
    np.testing.assert_array_equal(read, clips[dataset.order(0)])
    np.testing.assert_array_equal(labels, actions[dataset.order(0)])
    (read,) = ClipArray(clips, frame_stride=5, batch_size=6, shuffle=False)[0]
    np.testing.assert_array_equal(read, clips[:, 1::5])  # of two places the second


def test_what_does_not_fit_is_named():
    clips = numbered()
    with pytest.raises(ValueError, match="12 frames, and 5 .* of 3 need 13"):
        ClipArray(clips, num_frames=5, frame_stride=3, batch_size=2)
    with pytest.raises(ValueError, match="`clips` must have shape"):
        ClipArray(clips[0])
    with pytest.raises(ValueError, match="`clips` must have shape .* 3"):
        ClipArray(clips[..., :2])
    with pytest.raises(ValueError, match="`labels` must have one entry"):
        ClipArray(clips, np.arange(5), batch_size=2)
    with pytest.raises(ValueError, match="`batch_size` must be at most"):
        ClipArray(clips, batch_size=7)
