import numpy as np
import pytest
from keras import ops

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.downstream import (
    ImageClassifier,
    WorldModelBackbone,
    finetuning_recipe,
)
from keras_iwm.models import ImageWorldModel


def make_classifier(protocol="end_to_end", **arguments):
    model = ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False, seed=0)
    backbone = WorldModelBackbone.from_world_model(model, protocol, **arguments)
    return ImageClassifier(backbone, 10)


def first_steps(classifier, **arguments):
    """By path, how far Adam's first step goes: at any slope by the learning rate."""
    optimizer = finetuning_recipe(
        classifier,
        10,
        64,
        1.0,
        layer_decay=0.5,
        warmup_fraction=0.0,
        weight_decay=0.0,
        **arguments,
    )
    optimizer.build(classifier.trainable_variables)
    before = {v.path: ops.convert_to_numpy(v) for v in classifier.trainable_variables}
    optimizer.apply([ops.ones(v.shape) for v in classifier.trainable_variables])
    return {
        v.path: float(np.mean(before[v.path] - ops.convert_to_numpy(v)))
        for v in classifier.trainable_variables
    }


def check_steps(steps, expected):
    """Compare with the steps expected of all paths with a beginning."""
    starts = {start for path in steps for start in expected if path.startswith(start)}
    assert starts == set(expected)
    for path, step in steps.items():
        (wanted,) = [v for start, v in expected.items() if path.startswith(start)]
        np.testing.assert_allclose(step, wanted, rtol=1e-5, err_msg=path)


ENCODER = {
    "patch_embedding/": 1 / 16,
    "block_00/": 1 / 8,
    "block_01/": 1 / 4,
    "block_02/": 1 / 2,
    "norm/": 1.0,
}


def of_encoder(name):
    return {f"{name}/{part}": step for part, step in ENCODER.items()}


def test_learning_rates_fall_layer_by_layer():
    steps = first_steps(make_classifier())
    check_steps(steps, {**of_encoder("encoder"), "predictor/": 0.1, "head/": 1.0})


def test_a_random_predictor_learns_as_fast_as_the_head_without_being_told(tmp_path):
    classifier = make_classifier("predictor", random_predictor=True)
    check_steps(first_steps(classifier), {"predictor/": 1.0, "head/": 1.0})
    # The control stays one in a file.
    backbone = WorldModelBackbone.from_config(classifier.backbone.get_config())
    check_steps(
        first_steps(ImageClassifier(backbone, 10)), {"predictor/": 1.0, "head/": 1.0}
    )
    classifier = make_classifier("predictor")
    steps = first_steps(classifier, predictor_multiplier=0.3)
    check_steps(steps, {"predictor/": 0.3, "head/": 1.0})


@pytest.mark.parametrize("name", ["encoder_2", "my+encoder(1)"])
def test_names_of_the_parts_do_not_matter(name):
    backbone = WorldModelBackbone(
        ViTEncoder(32, 8, 48, 3, 3, name=name),
        WorldModelPredictor((4, 4), 48, 48, 2, 3, action_dim=5, name="encoder"),
        "end_to_end",
    )
    steps = first_steps(ImageClassifier(backbone, 10))
    check_steps(steps, {**of_encoder(name), "encoder/": 0.1, "head/": 1.0})


def test_low_rank_updates_and_frozen_parts_have_their_rates():
    classifier = make_classifier("encoder")
    encoder = classifier.backbone.encoder
    encoder.patch_embedding.trainable = False
    encoder.blocks[0].trainable = False
    for block in encoder.blocks[1:]:
        block.attention.query_key_value.enable_lora(2)
    expected = of_encoder("encoder")
    for frozen in ("patch_embedding", "block_00"):
        del expected[f"encoder/{frozen}/"]
    steps = first_steps(classifier)
    assert "encoder/block_01/attention/query_key_value/lora_kernel_a" in steps
    assert "encoder/block_01/attention/query_key_value/kernel" not in steps
    check_steps(steps, {**expected, "head/": 1.0})


def test_the_rate_warms_up_and_falls():
    optimizer = finetuning_recipe(make_classifier(), 100, 256, warmup_fraction=0.1)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(rates, [0, 5e-4, 1e-3, 5.005e-4, 1e-6], atol=1e-8)


def test_wrong_settings_are_refused():
    classifier = make_classifier()
    for name, value in (
        ("steps", 0),
        ("batch_size", "64"),
        ("layer_decay", 0),
        ("layer_decay", 1.1),
        ("predictor_multiplier", 0),
        ("predictor_multiplier", float("nan")),
        ("learning_rate", -1e-3),
        ("warmup_fraction", 2),
    ):
        arguments = {"steps": 10, "batch_size": 64, name: value}
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            finetuning_recipe(classifier, **arguments)


def test_positions_and_prefix_tokens_learn_as_slowly_as_the_patch_embedding():
    encoder = ViTEncoder(
        8, 4, 8, 3, 2, positions="learned", num_prefix_tokens=2, name="encoder"
    )
    classifier = ImageClassifier(WorldModelBackbone(encoder, protocol="encoder"), 3)
    expected = {**of_encoder("encoder"), "encoder/position_embedding/": 1 / 16}
    check_steps(first_steps(classifier), {**expected, "head/": 1.0})
