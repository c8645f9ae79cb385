import keras
import numpy as np
import pytest

from keras_iwm.views import ClipViewGenerator, RandomResizedCrop, VideoBlockMask

MASKS = [
    VideoBlockMask((2, 4, 6), num_context=7, num_targets=11),
    VideoBlockMask((2, 4, 6), 2, (0.5, 0.5), num_context=5, num_targets=9),
]
CLIPS = np.random.default_rng(0).integers(0, 256, (3, 4, 20, 30, 3), "uint8")


def make_views(**changes):
    arguments = {"image_size": (16, 24), "num_frames": 4, "masks": MASKS, "seed": 1}
    return ClipViewGenerator(**{**arguments, **changes})


def test_all_frames_share_the_crop_of_their_clip():
    crop = RandomResizedCrop((16, 24), scale=(0.2, 0.9))
    views = make_views(crop=crop)
    outputs = views(CLIPS, training=False)
    clips = keras.ops.convert_to_numpy(outputs["clips"])
    assert clips.shape == (3, 4, 16, 24, 3)
    sizes = [crop.num_draws, *(mask.num_draws for mask in MASKS)]
    draws = views.draw(3, sizes, training=False)
    boxes = crop.sample(draws[0], 20, 30)
    for frame in range(4):
        images = keras.ops.convert_to_tensor(CLIPS[:, frame].astype("float32"))
        expected = keras.ops.convert_to_numpy(crop.apply(images, boxes))
        np.testing.assert_allclose(clips[:, frame], expected, atol=1e-3)
    for key, place in (("context_ids", 0), ("target_ids", 1)):
        for mask, uniforms, found in zip(MASKS, draws[1:], outputs[key], strict=True):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(mask(uniforms)[place]),
                keras.ops.convert_to_numpy(found),
            )


def test_without_a_crop_clips_stay_as_they_are():
    clips = CLIPS[:, :, :16, :24]
    views = make_views(crop=None)(clips, training=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(views["clips"]), clips, atol=1e-3
    )


def test_training_draws_anew_and_evaluation_does_not():
    views = make_views()
    first, second, third = (
        keras.ops.convert_to_numpy(views(CLIPS, training=training)["target_ids"][0])
        for training in (False, False, True)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_views(masks=[]), "`masks`"),
        (lambda: make_views(masks=[3]), "`masks`"),
        (lambda: make_views(num_frames=0), "`num_frames`"),
        (lambda: make_views()(CLIPS[:, :3]), "must be clips"),
        (lambda: make_views()(CLIPS[:, 0]), "must be clips"),
        (lambda: make_views()(CLIPS[..., :2]), "channels last"),
        (lambda: make_views(crop=None)(CLIPS), "Without a crop"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
