import numpy as np
import pytest
from keras import ops

from keras_iwm.downstream import (
    ImageClassifier,
    WorldModelBackbone,
    finetuning_recipe,
)
from keras_iwm.models import ImageWorldModel


def make_classifier():
    model = ImageWorldModel.from_preset("iwm_tiny_32", seed=0)
    backbone = WorldModelBackbone.from_world_model(model, "end_to_end")
    return ImageClassifier(backbone, 10)


def test_learning_rates_fall_layer_by_layer():
    classifier = make_classifier()
    optimizer = finetuning_recipe(
        classifier, 10, 64, 1.0, layer_decay=0.5, warmup_fraction=0.0, weight_decay=0.0
    )
    optimizer.build(classifier.trainable_variables)
    before = {v.path: ops.convert_to_numpy(v) for v in classifier.trainable_variables}
    # Adam's first step is the learning rate, whatever the gradient's size.
    optimizer.apply([ops.ones(v.shape) for v in classifier.trainable_variables])
    steps = {
        v.path: float(np.mean(before[v.path] - ops.convert_to_numpy(v)))
        for v in classifier.trainable_variables
    }
    expected = {
        "encoder/patch_embedding": 1 / 16,
        "encoder/block_00": 1 / 8,
        "encoder/block_01": 1 / 4,
        "encoder/block_02": 1 / 2,
        "encoder/norm": 1.0,
        "predictor/": 0.1,
        "head/": 1.0,
    }
    for path, step in steps.items():
        (wanted,) = [v for start, v in expected.items() if path.startswith(start)]
        np.testing.assert_allclose(step, wanted, rtol=1e-5, err_msg=path)


def test_the_rate_warms_up_and_falls():
    optimizer = finetuning_recipe(make_classifier(), 100, 256, warmup_fraction=0.1)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(rates, [0, 5e-4, 1e-3, 5.005e-4, 1e-6], atol=1e-8)


def test_wrong_settings_are_refused():
    classifier = make_classifier()
    with pytest.raises(ValueError, match="`steps` must be a positive integer"):
        finetuning_recipe(classifier, 0, 64)
    with pytest.raises(ValueError, match="`layer_decay` must be in"):
        finetuning_recipe(classifier, 10, 64, layer_decay=0)
    with pytest.raises(ValueError, match="`predictor_multiplier` must be positive"):
        finetuning_recipe(classifier, 10, 64, predictor_multiplier=0)
