import keras
import numpy as np
import pytest
from harness import images, make_classifier
from keras import ops

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.datasets import load_sample_photos, random_photo_crops
from keras_iwm.downstream import (
    ImageClassifier,
    WorldModelBackbone,
    finetuning_recipe,
)
from keras_iwm.downstream.world_model_backbone import PROTOCOLS
from keras_iwm.models import ImageWorldModel
from keras_iwm.views import MultiBlockMask, ViewGenerator


def small_world_model(predictor_layers=1):
    views = ViewGenerator(
        16, MultiBlockMask((4, 4), num_context=4, num_targets=7), seed=0
    )
    return ImageWorldModel(
        ViTEncoder(16, 4, 32, 1, 2, name="encoder"),
        WorldModelPredictor(
            (4, 4),
            32,
            32,
            predictor_layers,
            2,
            action_dim=views.action_space.action_dim,
            name="predictor",
        ),
        views,
    )


@pytest.fixture(scope="module")
def photos():
    photos = load_sample_photos()
    chosen = {name: photos[name] for name in ("coffee", "astronaut", "flower")}
    train = random_photo_crops(chosen, 240, 16, seed=0, half="left")
    test = random_photo_crops(chosen, 120, 16, seed=1, half="right")
    return *train, *test


@pytest.mark.parametrize("head", ["attentive", "linear"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_learns_to_tell_photos_apart(protocol, head, photos):
    if head == "linear" and protocol not in ("frozen", "predictor"):
        pytest.skip("a head and a protocol are independent of each other")
    train_images, train_labels, test_images, test_labels = photos
    backbone = WorldModelBackbone.from_world_model(small_world_model(), protocol)
    classifier = ImageClassifier(backbone, 3, head=head)
    classifier.compile(
        finetuning_recipe(
            classifier,
            steps=60,
            batch_size=48,
            learning_rate=5e-3,
            predictor_multiplier=1.0,
        ),
    )
    classifier.fit(train_images, train_labels, batch_size=48, epochs=12, verbose=0)
    accuracy = classifier.evaluate(
        test_images, test_labels, batch_size=120, verbose=0, return_dict=True
    )["accuracy"]
    assert accuracy > 0.55  # chance is a third; another half of each photo


def test_a_saved_classifier_trains_on_with_its_optimizer(photos, tmp_path):
    images, labels = photos[0][:48], photos[1][:48]
    backbone = WorldModelBackbone.from_world_model(
        small_world_model(2), "predictor", drop_path_rate=0.3
    )
    classifier = ImageClassifier(backbone, 3)
    classifier.compile(finetuning_recipe(classifier, steps=4, batch_size=48))
    classifier.fit(images, labels, batch_size=48, epochs=2, verbose=0)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.models.load_model(tmp_path / "classifier.keras")
    assert loaded.optimizer.learning_rate_multipliers["^predictor(/|$)"] == 0.1
    for model in (classifier, loaded):
        model.fit(images, labels, batch_size=48, epochs=2, verbose=0, shuffle=False)
        assert int(model.optimizer.iterations) == 4
    for one, two in zip(classifier.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(one), ops.convert_to_numpy(two), atol=1e-6
        )


def test_labels_that_are_no_classes_are_refused_before_training(photos):
    backbone = WorldModelBackbone.from_world_model(small_world_model(), "frozen")
    classifier = ImageClassifier(backbone, 2)
    classifier.compile("sgd")
    images, labels, test_images, test_labels = photos
    with pytest.raises(ValueError, match="classes from 0 to 1.*from 0 to 2"):
        classifier.fit(images, labels)
    with pytest.raises(ValueError, match="validation_data"):
        classifier.fit(images, labels % 2, validation_data=(test_images, test_labels))
    with pytest.raises(ValueError, match="classes from 0 to 1"):
        classifier.evaluate(images, labels - 1)
    with pytest.raises(ValueError, match="must hold integers, or probabilities"):
        classifier.fit(images, np.eye(3)[labels])
    with pytest.raises(ValueError, match="`head` must be one of"):
        ImageClassifier(backbone, 2, head="mean")
    with pytest.raises(ValueError, match="at least 2"):
        ImageClassifier(backbone, 1)


def test_attention_of_the_head_is_what_pools_its_values(photos):
    backbone = WorldModelBackbone.from_world_model(small_world_model(), "frozen")
    classifier = ImageClassifier(backbone, 3)
    latents = backbone(photos[0][:2])
    attention = ops.convert_to_numpy(classifier.head_layer.attention(latents))
    assert attention.shape == (2, 2, 16)
    np.testing.assert_allclose(attention.sum(axis=-1), 1.0, atol=1e-6)


def test_sizes_can_take_turns():
    classifier = make_classifier()
    classifier.compile("sgd")
    labels = np.arange(4) % 2
    for side in (16, 24, 16, 20):
        pictures = images(size=side)
        logits = ops.convert_to_numpy(classifier(pictures))
        np.testing.assert_allclose(
            classifier.predict(pictures, verbose=0), logits, atol=1e-5
        )
        expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), labels]
        loss = classifier.evaluate(pictures, labels, verbose=0, return_dict=True)
        np.testing.assert_allclose(loss["loss"], expected.mean(), rtol=1e-4)
        # One batch, whose loss stands before its step.
        history = classifier.fit(pictures, labels, verbose=0).history
        np.testing.assert_allclose(history["loss"], expected.mean(), rtol=1e-4)
