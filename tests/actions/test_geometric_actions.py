"""Flip, rotation and relative crop: against closed forms, and as actions that count."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from keras_iwm.actions import Flip, RelativeCrop, Rotation
from keras_iwm.backbones import ViTEncoder
from keras_iwm.datasets import load_sample_photos, random_photo_crops
from keras_iwm.evaluation import RetrievalBank, evaluate_world_model
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW


def images(channels=3, height=12, width=16):
    generator = np.random.default_rng(0)
    return generator.random((3, height, width, channels), "float32")


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def tensors(*arrays):
    return [ops.convert_to_tensor(array) for array in arrays]


@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("operation", [Flip(), Rotation(30.0), RelativeCrop()])
def test_identity_changes_nothing(operation, channels):
    pixels = images(channels)
    identity = np.repeat([operation.identity], 3, axis=0).astype("float32")
    changed = operation.apply(ops.convert_to_tensor(pixels), identity)
    np.testing.assert_array_equal(numbers(changed), pixels)


def test_flip_mirrors_where_it_says_so():
    pixels = images()
    flipped = numbers(
        Flip().apply(ops.convert_to_tensor(pixels), np.float32([[1], [0], [1]]))
    )
    np.testing.assert_array_equal(flipped[0], pixels[0, :, ::-1])
    np.testing.assert_array_equal(flipped[1], pixels[1])
    # One of the two mirrored is the same action, whichever it is.
    source, target = np.float32([[0], [1], [1]]), np.float32([[1], [0], [1]])
    action = numbers(Flip().difference(*tensors(source, target)))
    np.testing.assert_array_equal(action, [[1], [1], [0]])


@pytest.mark.parametrize("angle", [-90.0, 20.0, 90.0])
def test_rotation_equals_scipys(angle):
    pixels = images(2, 12, 12)
    turned = numbers(
        Rotation(180.0).apply(
            ops.convert_to_tensor(pixels), np.full((3, 1), angle, "float32")
        )
    )
    expected = ndimage.rotate(pixels, angle, axes=(1, 2), reshape=False, order=1)
    inside = np.s_[:, 3:9, 3:9]  # what comes from outside is filled in another way
    np.testing.assert_allclose(turned[inside], expected[inside], atol=1e-5)


def test_relative_crop_keeps_a_whole_box():
    # Boxes of whole pixels enlarged by 2: every other pixel pair averages to the box.
    pixels = images(3, 12, 16)
    boxes = np.float32([[0.25, 0.5, 0.5], [0.0, 0.0, 0.5], [0.5, 0.25, 0.5]])
    cropped = numbers(RelativeCrop((0.5, 1.0)).apply(pixels, boxes))
    for picture, result, (top, left, _) in zip(pixels, cropped, boxes, strict=True):
        top, left = int(12 * top), int(16 * left)
        box = picture[top : top + 6, left : left + 8]
        expected = ndimage.zoom(box, (2, 2, 1), order=1, mode="nearest", grid_mode=True)
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_relative_crop_says_where_the_target_lies_in_the_source():
    crop = RelativeCrop((0.5, 1.0))
    source = np.float32([[0.2, 0.0, 0.5], [0.0, 0.0, 1.0]])
    target = np.float32([[0.1, 0.25, 0.5], [0.0, 0.0, 0.5]])
    # Shifts in units of the source's box over the largest shift, 1; log 0.5 over log 2.
    expected = [[-0.2, 0.5, 0.0], [0.0, 0.0, -1.0]]
    action = numbers(crop.difference(*tensors(source, target)))
    np.testing.assert_allclose(action, expected, atol=1e-6)
    uniforms = np.random.default_rng(0).random((500, 4), "float32")
    drawn = numbers(crop.sample(uniforms))
    assert (drawn[:, :2] >= 0).all()
    assert (drawn[:, :2] + drawn[:, 2:] <= 1 + 1e-6).all()
    pairs = numbers(crop.difference(*tensors(drawn[:250], drawn[250:])))
    assert 0.5 < np.abs(pairs).max() <= 1


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="once is enough")
def test_a_flip_is_read_from_its_slot_and_from_nothing_else():
    """Positions do not give it away: told nothing, the model is at chance."""
    photos = load_sample_photos()
    held_out = {name: photos.pop(name) for name in ("coffee", "flower")}
    training, _ = random_photo_crops(photos, 1280, 16)
    test, _ = random_photo_crops(held_out, 24, 16, seed=1)
    scores = {}
    for conditioning in ("feature", "none"):
        keras.utils.set_random_seed(0)
        encoder = ViTEncoder(16, 4, 48, 1, 2, name="encoder", trainable=False)
        with pytest.warns(UserWarning, match="4 x 4"):
            model = ImageWorldModel.from_encoder(
                encoder,
                actions=[Flip()],
                conditioning=conditioning,
                predictor_layers=2,
                predictor_dim=48,
                crop=None,
                seed=0,
            )
        model.compile(AdamW(3e-3))
        epochs = 20 if conditioning == "feature" else 1
        model.fit(training, batch_size=64, epochs=epochs, verbose=0)
        bank = RetrievalBank.for_actions(model.action_space, 8)
        results = evaluate_world_model(model, test, bank, by_slot=True, verbose=False)
        scores[conditioning] = results["mrr_flip"]
    assert scores["none"] == results["mrr_flip_chance"] == 0.75
    assert scores["feature"] > 0.85
