import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backbones import ViTEncoder
from keras_iwm.downstream import DeepLabHead, ImageSegmenter, WorldModelBackbone


def test_keras_cv_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match=r"pip install keras-cv"):
        DeepLabHead(3, 8).build((None, None, None, 16))
    with pytest.raises(ValueError, match="4, 8, 16 or 32.*Received: 14"):
        DeepLabHead(3, 14)


@pytest.fixture(scope="module")
def head():
    pytest.importorskip("keras_cv")
    head = DeepLabHead(num_classes=3, patch_size=8)
    head.build((None, None, None, 16))
    return head


def test_levels_have_the_strides_that_deeplab_wants(head):
    latents = np.random.default_rng(0).normal(size=(2, 4, 8, 16)).astype("float32")
    pyramid = head.deeplab.backbone
    fine, coarse = pyramid(latents)
    assert fine.shape == (2, 8, 16, 16)  # 4 pixels apart in images of 32 x 64
    assert coarse.shape == (2, 1, 2, 16)
    assert head(latents).shape == (2, 8, 16, 3)
    # The coarse level is one product with each block of 4 x 4 latents.
    kernel, bias = pyramid.get_layer("P5").get_weights()
    blocks = latents.reshape(2, 1, 4, 2, 4, 16)
    expected = np.einsum("bryclk,ylko->brco", blocks, kernel) + bias
    np.testing.assert_allclose(ops.convert_to_numpy(coarse), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"multiples of 32.*Received: \(40, 64\)"):
        head(np.zeros((1, 5, 8, 16), "float32"))


@pytest.mark.parametrize("patch_size", [4, 16, 32])
def test_every_patch_size_gives_logits_four_pixels_apart(patch_size):
    pytest.importorskip("keras_cv")
    head = DeepLabHead(num_classes=3, patch_size=patch_size)
    side = 64 // patch_size
    assert head(np.zeros((1, side, side, 8), "float32")).shape == (1, 16, 16, 3)


@pytest.mark.parametrize("protocol", ["frozen", "encoder"])
def test_deeplab_learns_what_is_bright_and_survives_saving(protocol, tmp_path):
    pytest.importorskip("keras_cv")
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 256, (24, 4, 8))
    values = corners.repeat(8, axis=1).repeat(8, axis=2)  # 32 x 64 pixels
    images = np.stack([values] * 3, axis=-1).astype("uint8")
    masks = (values > 128).astype("int32")
    masks[:, :2] = 9
    encoder = ViTEncoder((32, 64), 8, 16, 1, 2, name="encoder")
    backbone = WorldModelBackbone.from_world_model(encoder, protocol)
    segmenter = ImageSegmenter(backbone, 2, head="deeplab", ignore_label=9)
    before = encoder.get_weights()
    segmenter.compile(keras.optimizers.Adam(5e-3))
    segmenter.fit(images, masks, batch_size=8, epochs=10, verbose=0)
    results = segmenter.evaluate(
        images, masks, batch_size=8, verbose=0, return_dict=True
    )
    assert results["mean_iou"] > 0.6  # about 0.25 for one class alone
    after = segmenter.backbone.encoder.get_weights()
    moved = any(np.any(one != two) for one, two in zip(before, after, strict=True))
    assert moved == (protocol == "encoder")

    segmenter.save(tmp_path / "segmenter.keras")
    loaded = keras.models.load_model(tmp_path / "segmenter.keras")
    np.testing.assert_array_equal(
        segmenter.predict(images[:8], verbose=0), loaded.predict(images[:8], verbose=0)
    )
    assert len(loaded.trainable_variables) == len(segmenter.trainable_variables)
