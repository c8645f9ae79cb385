import warnings

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import jaccard_score

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.datasets import load_sample_photos, random_photo_crops
from keras_iwm.downstream import (
    ImageSegmenter,
    WorldModelBackbone,
    finetuning_recipe,
)
from keras_iwm.downstream.world_model_backbone import PROTOCOLS
from keras_iwm.models import ImageWorldModel
from keras_iwm.views import MultiBlockMask, ViewGenerator


def small_world_model():
    views = ViewGenerator(
        16, MultiBlockMask((4, 4), num_context=4, num_targets=7), seed=0
    )
    return ImageWorldModel(
        ViTEncoder(16, 4, 32, 1, 2, name="encoder"),
        WorldModelPredictor(
            (4, 4),
            32,
            32,
            1,
            2,
            action_dim=views.action_space.action_dim,
            name="predictor",
        ),
        views,
    )


def small_segmenter(protocol="frozen", num_classes=2, **arguments):
    backbone = WorldModelBackbone.from_world_model(small_world_model(), protocol)
    return ImageSegmenter(backbone, num_classes, **arguments)


def two_textures(num_images, half, seed, size=(16, 24)):
    """Images that change at some row or column from one photo into the other."""
    photos = load_sample_photos()
    crops = [
        random_photo_crops({name: photos[name]}, num_images, max(size), seed, half)[0]
        for name in ("coffee", "flower")
    ]
    rng = np.random.default_rng(seed)
    row, column = np.indices(size)
    masks = np.empty((num_images, *size), "uint8")
    for mask in masks:
        vertical = rng.random() < 0.5
        line = 4 * rng.integers(1, size[vertical] // 4)
        mask[:] = ((column if vertical else row) < line) ^ (rng.random() < 0.5)
    first, second = (part[:, : size[0], : size[1]] for part in crops)
    return np.where(masks[..., None], second, first), masks


@pytest.fixture(scope="module")
def scenes():
    train = two_textures(192, "left", 0)
    train[1][:, :, -4:] = 255  # no truth at the right border
    return *train, *two_textures(96, "right", 1)


@pytest.mark.parametrize(
    ("protocol", "head"),
    [*((protocol, "attentive") for protocol in PROTOCOLS), ("frozen", "linear")],
)
def test_every_protocol_learns_to_tell_textures_apart(protocol, head, scenes):
    train_images, train_masks, test_images, test_masks = scenes
    segmenter = small_segmenter(protocol, head=head, ignore_label=255)
    segmenter.compile(
        finetuning_recipe(
            segmenter,
            steps=84,
            batch_size=32,
            learning_rate=3e-3,
            predictor_multiplier=1.0,
        )
    )
    segmenter.fit(train_images, train_masks, batch_size=32, epochs=14, verbose=0)
    results = segmenter.evaluate(
        test_images, test_masks, batch_size=32, verbose=0, return_dict=True
    )
    # One class alone gives 0.25. The photos' other halves are tested.
    assert results["mean_iou"] > 0.45
    predictions = segmenter.predict(test_images, batch_size=32, verbose=0)
    np.testing.assert_allclose(
        results["mean_iou"],
        jaccard_score(
            test_masks.ravel(), predictions.argmax(-1).ravel(), average="macro"
        ),
        rtol=1e-6,
    )


def upsampling(size, count):
    """Matrix that interpolates `count` values, in the middles of their cells."""
    place = (np.arange(size) + 0.5) * count / size - 0.5
    distance = np.abs(place.clip(0, count - 1)[:, None] - np.arange(count))
    return np.maximum(0, 1 - distance)


def test_linear_logits_are_products_brought_to_the_size_of_the_images():
    segmenter = small_segmenter("predictor", 3)
    images = two_textures(2, "left", 0)[0]
    latents = ops.convert_to_numpy(segmenter.backbone(images)).astype("float64")
    centred = latents - latents.mean(axis=-1, keepdims=True)
    normalised = centred / np.sqrt(latents.var(axis=-1, keepdims=True) + 1e-6)
    kernel, bias = segmenter.head_layer.get_weights()
    logits = (normalised @ kernel + bias).reshape(2, 4, 6, 3)
    expected = np.einsum(
        "yr,xc,brck->byxk", upsampling(16, 4), upsampling(24, 6), logits
    )
    actual = segmenter(images)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(actual), expected, atol=2e-6)


def test_patches_exchange_information_before_the_attentive_head_classifies_them():
    latents = np.random.default_rng(0).normal(size=(1, 4, 6, 32)).astype("float32")
    moved = latents.copy()
    moved[0, 3, 5] += np.random.default_rng(1).normal(size=32)
    for head, changed in (("linear", 1), ("attentive", 24)):
        layer = small_segmenter(head=head).head_layer
        difference = ops.convert_to_numpy(layer(moved) - layer(latents))
        assert (np.abs(difference).max(axis=-1) > 1e-8).sum() == changed


def test_ignored_pixels_change_neither_loss_nor_metric():
    segmenter = small_segmenter(num_classes=11, ignore_label=11)
    segmenter.compile("sgd")
    rng = np.random.default_rng(0)
    images = two_textures(6, "left", 0)[0]
    images[:3] = 255 - images[:3]
    masks = rng.integers(0, 9, (6, 16, 24))  # classes 9 and 10 never occur
    masks[rng.random(masks.shape) < 0.3] = 11
    masks[4:] = 11  # a batch without any truth
    # Sharper logits, so that several classes are predicted.
    segmenter.head_layer.set_weights(
        [rng.normal(size=(32, 11)), np.array([0.0] * 10 + [-50.0])]
    )
    logits = segmenter.predict(images, verbose=0).astype("float64")
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)

    def cross_entropy(rows):
        valid = masks[rows] != 11
        truth = np.where(valid, masks[rows], 0)
        chosen = np.take_along_axis(probabilities[rows], truth[..., None], -1)
        return -np.log(chosen[..., 0][valid]).mean()

    results = segmenter.evaluate(
        images[:4], masks[:4], batch_size=4, verbose=0, return_dict=True
    )
    np.testing.assert_allclose(results["loss"], cross_entropy(slice(4)), rtol=1e-5)
    valid = masks != 11
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = jaccard_score(
            masks[valid], logits.argmax(-1)[valid], average="macro"
        )
    np.testing.assert_allclose(results["mean_iou"], expected, rtol=1e-6)
    empty = segmenter.evaluate(
        images[4:], masks[4:], batch_size=2, verbose=0, return_dict=True
    )
    assert (empty["loss"], empty["mean_iou"]) == (0.0, 0.0)
    # A batch without truth has no gradient either.
    before = segmenter.get_weights()
    segmenter.fit(images[4:], masks[4:], batch_size=2, verbose=0)
    for one, two in zip(before, segmenter.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_masks_that_do_not_fit_are_refused_before_training(scenes):
    images, masks, *held_out = scenes
    segmenter = small_segmenter(head="linear")
    segmenter.compile("sgd")
    with pytest.raises(ValueError, match=r"classes from 0 to 1.*None.*labels \[255\]"):
        segmenter.fit(images, masks)
    segmenter = small_segmenter(head="linear", ignore_label=255)
    segmenter.compile("sgd")
    small = masks[:, ::2, ::2]
    with pytest.raises(ValueError, match=r"`y`.*\(16, 24\). Received: \(8, 12\).*near"):
        segmenter.fit(images, small)
    with pytest.raises(ValueError, match=r"`validation_data\[1\]` must have"):
        segmenter.fit(images, masks, validation_data=(held_out[0], held_out[1][:, ::2]))
    with pytest.raises(ValueError, match=r"integers of shape.*masks\[..., 0\]"):
        segmenter.evaluate(images, masks[..., None])
    with pytest.raises(ValueError, match="integers of shape.*float32"):
        segmenter.evaluate(images, masks.astype("float32"))
    with pytest.raises(ValueError, match=r"labels \[-1, 2\]"):
        segmenter.evaluate(images, np.where(masks == 0, -1, 2))
    with pytest.raises(ValueError, match="`head` must be one of"):
        small_segmenter(head="pyramid")
    with pytest.raises(ValueError, match="at least 2"):
        small_segmenter(num_classes=1)


def test_masks_in_a_dataset_are_refused_when_the_step_is_traced(scenes):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return scenes[0][:8], scenes[1][:8, ::2]

    segmenter = small_segmenter(ignore_label=255)
    segmenter.compile("sgd")
    with pytest.raises(ValueError, match=r"Received: \(8, 24\). Resize the masks"):
        segmenter.fit(Batches(), verbose=0)


def test_trained_segmenter_survives_saving(scenes, tmp_path):
    images, masks = scenes[0][:8], scenes[1][:8]
    segmenter = small_segmenter(head="attentive", ignore_label=255)
    segmenter.compile(finetuning_recipe(segmenter, steps=2, batch_size=8))
    segmenter.fit(images, masks, batch_size=8, verbose=0)
    segmenter.save(tmp_path / "segmenter.keras")
    loaded = keras.models.load_model(tmp_path / "segmenter.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(images)), ops.convert_to_numpy(segmenter(images))
    )
    assert len(loaded.trainable_variables) == len(segmenter.trainable_variables)
    # The compiled loss leaves the unknown pixels out after loading too.
    np.testing.assert_allclose(
        loaded.evaluate(images, masks, batch_size=8, verbose=0),
        segmenter.evaluate(images, masks, batch_size=8, verbose=0),
        rtol=1e-6,
    )
