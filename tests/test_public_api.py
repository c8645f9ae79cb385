"""Every public class is registered and rebuilds from its config."""

import inspect

import keras
import numpy as np
import pytest

import keras_iwm
from keras_iwm import (
    actions,
    backbones,
    downstream,
    evaluation,
    layers,
    metrics,
    models,
    optimizers,
    views,
)

BACKBONE = downstream.WorldModelBackbone(
    backbones.ViTEncoder((16, 24), 4, 16, 1, 2, name="encoder"),
    backbones.WorldModelPredictor((4, 6), 16, 12, 1, 2, name="predictor"),
    "end_to_end",
)
EXAMPLES = [
    actions.Brightness(0.3, probability=0.5),
    actions.Contrast(0.3, probability=0.5),
    actions.Saturation(0.3, probability=0.5),
    actions.Hue(0.2, probability=0.5),
    actions.ColorJitter(0.1, 0.2, 0.3, 0.05, probability=0.7, strength=1.5),
    actions.Grayscale(probability=0.4),
    actions.GaussianBlur((0.3, 0.9), probability=0.4),
    actions.Solarization(0.6, probability=0.4),
    actions.ChannelGain(4, 0.3, probability=0.5),
    actions.ChannelOffset(4, 0.3, probability=0.5),
    actions.ChannelDropout(4, probability=0.5),
    actions.Flip(probability=0.5),
    actions.Rotation(20.0, probability=0.5),
    actions.RelativeCrop((0.5, 0.9), probability=0.5),
    actions.TransformChain([actions.Brightness(0.3), actions.Hue()], 0.5),
    actions.ActionSpace([actions.Hue(0.2)], [actions.Grayscale(0.5)]),
    views.RandomResizedCrop((16, 24), (0.4, 0.9), (0.8, 1.2), 0.3),
    layers.TokenDense(7, activation="relu", use_bias=False),
    layers.TokenNorm(epsilon=1e-5),
    layers.PatchEmbedding(4, 12),
    layers.SelfAttention(3, "zeros"),
    layers.TransformerBlock(2, 9, block_index=3, drop_path_rate=0.1, remat=True),
    layers.ActionTokens(12),
    layers.ActionFeatures(12),
    layers.AttentivePooling(3),
    views.MultiBlockMask((5, 6), num_blocks=3, scale=(0.1, 0.15), num_context=10),
    views.ViewGenerator(
        (20, 24),
        views.MultiBlockMask((5, 6)),
        actions=actions.ActionSpace([actions.Hue(0.2)], [actions.Grayscale(0.5)]),
        value_range=(-1, 1),
        seed=4,
    ),
    backbones.ViTEncoder(
        (16, 24), 4, 16, 1, 2, 20, 0.1, (0, 1), num_channels=2, mean=0.4, remat=True
    ),
    backbones.WorldModelPredictor(
        (4, 6), 16, 12, 1, 2, 20, 5, "sequence", drop_path_rate=0.1, remat=True
    ),
    models.ImageWorldModel.from_preset(
        "iwm_tiny_32",
        seed=3,
        num_classes=4,
        ema_momentum=keras.optimizers.schedules.PolynomialDecay(0.9, 10, 1.0),
    ),
    BACKBONE,
    downstream.ImageClassifier(BACKBONE, 5, head="linear"),
    downstream.MultiTaskModel(
        BACKBONE,
        {
            "one": downstream.AttentiveHead(5, 2),
            "two": downstream.LinearHead(3, per_patch=True),
        },
    ),
    downstream.AttentiveHead(5, 2),
    downstream.LinearHead(5),
    downstream.ImageSegmenter(BACKBONE, 5, head="attentive", ignore_label=255),
    downstream.LinearHead(5, per_patch=True),
    downstream.AttentiveHead(5, 2, per_patch=True),
    downstream.DeepLabHead(5, 16),
    metrics.MeanReciprocalRank(name="rank"),
    metrics.HitRate(5),
    metrics.MeanIntersectionOverUnion(4, ignore_label=255),
    evaluation.RetrievalBank(64, [actions.ColorJitter(probability=1.0)], seed=9),
    downstream.LinearProbeModel(6, 3),
    optimizers.AdamW(1e-2, keras.optimizers.schedules.CosineDecay(0.1, 9), 0.8, 0.95),
    optimizers.AdamW(learning_rate_multipliers={"^encoder/": 0.1}),
]


def public_classes():
    modules = (
        *(actions, backbones, downstream, evaluation, layers, metrics, models),
        *(optimizers, views),
    )
    for module in modules:
        for name, value in vars(module).items():
            if inspect.isclass(value) and not name.startswith("_"):
                yield value


def test_every_public_class_with_a_config_has_an_example():
    configured = {c for c in public_classes() if hasattr(c, "get_config")}
    assert configured - {type(e) for e in EXAMPLES} == {actions.Transform}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: type(e).__name__)
def test_object_rebuilds_from_its_serialised_config(example):
    config = keras.saving.serialize_keras_object(example)
    assert config["registered_name"] == f"keras_iwm>{type(example).__name__}"
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(rebuilt) == config


def test_public_things_have_docstrings_with_examples():
    modules = (
        *(keras_iwm.callbacks, keras_iwm.datasets, keras_iwm.distribution),
        keras_iwm.visualization,
        *(actions, backbones, downstream, evaluation, layers, metrics, models),
        *(optimizers, views),
    )
    for module in modules:
        for name, value in vars(module).items():
            is_public = inspect.isclass(value) or inspect.isfunction(value)
            if is_public and not name.startswith("_"):
                assert value.__doc__, name
                assert "```python" in value.__doc__, f"{name} has no example"


def test_weights_of_the_whole_model_survive_saving(tmp_path):
    model = next(e for e in EXAMPLES if isinstance(e, models.ImageWorldModel))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
