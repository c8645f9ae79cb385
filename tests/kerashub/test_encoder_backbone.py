"""An encoder as a backbone of KerasHub; `make test-kerashub` runs this."""

import inspect
import pathlib
import re

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops
from keras_hub.src.tests import test_case

from keras_iwm import kerashub
from keras_iwm.backbones import ViTEncoder
from keras_iwm.kerashub import EncoderBackbone, EncoderImageConverter

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3)).astype("float32")
LABELS = np.array([0, 1, 2, 0])
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs/keras.md"


def make_encoder(**arguments):
    sizes = {"image_size": (16, 24), "patch_size": 8, "hidden_dim": 16}
    return ViTEncoder(**{**sizes, "num_layers": 2, "num_heads": 2, **arguments})


def make_classifier():
    """A classifier that resizes, with weights other than those of the start."""
    classifier = kerashub.EncoderImageClassifier(
        EncoderBackbone(make_encoder()),
        num_classes=3,
        preprocessor=kerashub.EncoderImageClassifierPreprocessor(
            EncoderImageConverter(image_size=(16, 24))
        ),
    )
    classifier.set_weights([w + 0.1 for w in classifier.get_weights()])
    return classifier


class TestKerasHubsOwnChecks(test_case.TestCase):
    """What KerasHub asks of each of its own backbones."""

    def test_as_a_vision_backbone(self):
        self.run_vision_backbone_test(
            EncoderBackbone,
            {"encoder": make_encoder()},
            IMAGES,
            expected_output_shape=(4, 2, 3, 16),
            expected_pyramid_output_keys=["P3"],
            expected_pyramid_image_sizes=[(2, 3)],
            run_data_format_check=False,  # ours is channels last, whatever Keras says
        )

    def test_saving(self):
        self.run_model_saving_test(EncoderBackbone, {"encoder": make_encoder()}, IMAGES)

    def test_as_an_image_classifier(self):
        classifier = make_classifier()
        self.run_task_test(
            kerashub.EncoderImageClassifier,
            {
                "backbone": classifier.backbone,
                "num_classes": 3,
                "preprocessor": classifier.preprocessor,
            },
            (IMAGES, LABELS),
            expected_output_shape=(4, 3),
        )


def test_latents_lie_on_their_grid():
    backbone = EncoderBackbone(make_encoder())
    grid = ops.convert_to_numpy(backbone(IMAGES))
    latents = ops.convert_to_numpy(backbone.encoder(IMAGES))
    for row in range(2):
        for column in range(3):
            np.testing.assert_array_equal(
                grid[:, row, column], latents[:, 3 * row + column]
            )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_classifier_pools_all_patches(data_format):
    keras.config.set_image_data_format(data_format)
    try:
        classifier = make_classifier()
        logits = classifier.predict(IMAGES, verbose=0)
    finally:
        keras.config.set_image_data_format("channels_last")
    latents = ops.convert_to_numpy(classifier.backbone.encoder(IMAGES))
    kernel, bias = classifier.output_dense.get_weights()
    np.testing.assert_allclose(logits, latents.mean(axis=1) @ kernel + bias, atol=1e-5)


def test_a_classifier_comes_back_from_its_preset_and_from_its_backbones(tmp_path):
    photos = np.random.default_rng(1).integers(0, 256, (4, 40, 31, 3), "uint8")
    classifier = make_classifier()
    classifier.fit(photos, LABELS, verbose=0)
    classifier.save_to_preset(str(tmp_path))
    loaded = keras_hub.models.ImageClassifier.from_preset(str(tmp_path))
    np.testing.assert_array_equal(
        loaded.predict(photos, verbose=0), classifier.predict(photos, verbose=0)
    )
    fresh = keras_hub.models.ImageClassifier.from_preset(str(tmp_path), num_classes=7)
    assert fresh.predict(photos, verbose=0).shape == (4, 7)
    backbone = keras_hub.models.Backbone.from_preset(str(tmp_path))
    np.testing.assert_array_equal(
        backbone.predict(IMAGES, verbose=0),
        classifier.backbone.predict(IMAGES, verbose=0),
    )


def test_low_rank_updates_alone_learn_and_come_back(tmp_path):
    classifier = make_classifier()
    backbone = classifier.backbone
    backbone.enable_lora(2)
    names = [variable.path.split("/", 1)[1] for variable in backbone.trainable_weights]
    assert names == [
        f"block_0{block}/attention/query_key_value/lora_kernel_{factor}"
        for block in range(2)
        for factor in "ab"
    ]
    before = backbone.get_weights()
    classifier.compile("sgd", "sparse_categorical_crossentropy")
    classifier.fit(IMAGES, LABELS, epochs=2, verbose=0)
    learns = {id(variable) for variable in backbone.trainable_weights}
    for variable, start in zip(backbone.weights, before, strict=True):
        moved = np.abs(ops.convert_to_numpy(variable) - start).max() > 0
        assert moved == (id(variable) in learns), variable.path
    backbone.save_to_preset(str(tmp_path))
    loaded = EncoderBackbone.from_preset(str(tmp_path))
    assert len(loaded.trainable_weights) == 4
    np.testing.assert_array_equal(*(b.predict(IMAGES) for b in (backbone, loaded)))


def test_int8_is_near_and_comes_back(tmp_path):
    backbone = EncoderBackbone(make_encoder())
    plain = backbone.predict(IMAGES, verbose=0)
    backbone.quantize("int8")
    rounded = backbone.predict(IMAGES, verbose=0)
    assert 0 < np.abs(rounded - plain).mean() < 0.05
    backbone.save_to_preset(str(tmp_path))
    loaded = EncoderBackbone.from_preset(str(tmp_path))
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), rounded)


def test_a_preset_is_loaded_in_another_precision(tmp_path):
    EncoderBackbone(make_encoder(), trainable=False).save_to_preset(str(tmp_path))
    loaded = EncoderBackbone.from_preset(str(tmp_path), dtype="mixed_bfloat16")
    assert loaded.encoder.dtype_policy.name == "mixed_bfloat16"
    assert keras.backend.standardize_dtype(loaded(IMAGES).dtype) == "bfloat16"
    assert not loaded.trainable_weights


def test_a_segmenter_of_kerashub_learns_and_comes_back(tmp_path):
    segmenter = keras_hub.models.DeepLabV3ImageSegmenter(
        keras_hub.models.DeepLabV3Backbone(
            EncoderBackbone(make_encoder()),
            spatial_pyramid_pooling_key="P3",
            upsampling_size=4,
            dilation_rates=[1],
            image_shape=(16, 24, 3),
        ),
        num_classes=2,
    )
    left = np.broadcast_to(np.arange(24) < 8, (4, 16, 24)).astype("int32")
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    segmenter.compile(keras.optimizers.Adam(1e-2), loss)
    masks = keras.utils.to_categorical(left, 2)
    losses = segmenter.fit(IMAGES, masks, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    segmenter.save(tmp_path / "segmenter.keras")
    loaded = keras.models.load_model(tmp_path / "segmenter.keras")
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0), segmenter.predict(IMAGES, verbose=0)
    )


def test_patches_of_no_power_of_two_have_no_level():
    encoder = make_encoder(image_size=12, patch_size=6)
    assert EncoderBackbone(encoder).pyramid_outputs == {}


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`encoder` must be an encoder"):
        EncoderBackbone(keras.layers.Dense(3))
    with pytest.raises(ValueError, match="`dtype` must be the encoder's"):
        EncoderBackbone(make_encoder(), dtype="bfloat16")
    with pytest.raises(ValueError, match="`image_size`"):
        EncoderImageConverter(image_size=(32, 0))
    with pytest.raises(ValueError, match="`antialias`"):
        EncoderImageConverter(32, antialias="yes")


def test_the_document_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in CODE.findall(DOCUMENT.read_text()):
        exec(compile(code, str(DOCUMENT), "exec"), names)
        if "history" in names:
            losses = names["history"].history["loss"]
            assert losses[-1] < losses[0]
    agree = names["logits"].argmax(axis=1) == names["expected"].argmax(axis=1)
    assert agree.mean() > 0.9


@pytest.mark.parametrize("name", [n for n in dir(kerashub) if n.startswith("Encoder")])
def test_examples_of_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = CODE.findall(inspect.getdoc(getattr(kerashub, name)))
    exec(compile(code, name, "exec"), {"np": np})
