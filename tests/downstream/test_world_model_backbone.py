import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.downstream import ImageClassifier, WorldModelBackbone
from keras_iwm.downstream.world_model_backbone import PROTOCOLS
from keras_iwm.models import ImageWorldModel

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")


@pytest.fixture(scope="module")
def world_model():
    keras.utils.set_random_seed(1)  # not where the tests begin
    model = ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False, seed=0)
    # Student and teacher differ, and nothing is as it was initialised.
    rng = np.random.default_rng(0)
    for part in (model.encoder, model.predictor):
        part.set_weights(
            [w + 0.01 * rng.normal(size=w.shape) for w in part.get_weights()]
        )
    return model


def trained_parts(model):
    """Which parts of a classifier have trainable weights, by the weights' paths."""
    return {variable.path.split("/")[0] for variable in model.trainable_variables}


@pytest.mark.parametrize("protocol", ["frozen", "encoder"])
def test_latents_are_the_teachers(world_model, protocol):
    backbone = WorldModelBackbone.from_world_model(world_model, protocol)
    expected = ops.convert_to_numpy(world_model.target_encoder(IMAGES))
    np.testing.assert_allclose(
        ops.convert_to_numpy(backbone(IMAGES)), expected, atol=1e-6
    )


@pytest.mark.parametrize("protocol", ["predictor", "end_to_end"])
def test_latents_are_predicted_everywhere_after_the_null_action(world_model, protocol):
    backbone = WorldModelBackbone.from_world_model(world_model, protocol)
    ids = np.tile(np.arange(16, dtype="int32"), (4, 1))
    latents = world_model.target_encoder(IMAGES)
    expected = world_model.predictor(
        latents, ids, ids, world_model.action_space.null(4)
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(backbone(IMAGES)),
        ops.convert_to_numpy(expected),
        atol=1e-6,
    )


def test_a_random_predictor_keeps_the_encoder(world_model):
    pretrained = WorldModelBackbone.from_world_model(world_model)
    control = WorldModelBackbone.from_world_model(world_model, random_predictor=True)
    for one, two in zip(
        pretrained.encoder.get_weights(), control.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    kernels = [b.predictor.input_projection.kernel for b in (pretrained, control)]
    kernels = [ops.convert_to_numpy(kernel) for kernel in kernels]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_only_what_the_protocol_names_moves(world_model, protocol, tmp_path):
    backbone = WorldModelBackbone.from_world_model(
        world_model, protocol, drop_path_rate=0.1 if protocol != "frozen" else 0.0
    )
    classifier = ImageClassifier(backbone, 2, head="linear")
    expected = {
        "frozen": {"head"},
        "encoder": {"encoder", "head"},
        "predictor": {"predictor", "head"},
        "end_to_end": {"encoder", "predictor", "head"},
    }[protocol]
    assert trained_parts(classifier) == expected
    classifier.trainable = False
    assert not classifier.trainable_variables
    classifier.trainable = True
    assert trained_parts(classifier) == expected

    # Through a file first: what was frozen must come back frozen.
    classifier.save(tmp_path / "classifier.keras")
    outputs = ops.convert_to_numpy(classifier(IMAGES))
    classifier = keras.models.load_model(tmp_path / "classifier.keras")
    np.testing.assert_allclose(
        ops.convert_to_numpy(classifier(IMAGES)), outputs, atol=1e-6
    )
    assert trained_parts(classifier) == expected
    before = {v.path: ops.convert_to_numpy(v.value) for v in classifier.variables}
    teacher = world_model.target_encoder.get_weights()
    classifier.compile(
        keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    classifier.fit(IMAGES, np.array([0, 1, 0, 1]), batch_size=4, verbose=0)
    weights = {v.path for v in classifier.weights}
    moved = {
        variable.path.split("/")[0]
        for variable in classifier.variables
        if variable.path in weights
        and not np.array_equal(
            ops.convert_to_numpy(variable.value), before[variable.path]
        )
    }
    assert moved == expected
    for one, two in zip(teacher, world_model.target_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_larger_images_have_their_positions_resampled(world_model):
    backbone = WorldModelBackbone.from_world_model(world_model)
    images = np.repeat(np.repeat(IMAGES, 2, axis=1), 3, axis=2)
    assert backbone(images).shape == (4, 8 * 12, 96)
    # At the predictor's own size, the resampled positions are its positions.
    ids = np.tile(np.arange(16, dtype="int32"), (4, 1))
    latents = world_model.target_encoder(IMAGES)
    arguments = (latents, ids, ids, world_model.action_space.null(4))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(world_model.predictor(*arguments)),
        ops.convert_to_numpy(world_model.predictor(*arguments, grid_size=(4, 4))),
    )


def test_a_task_token_reaches_the_latents(world_model):
    backbone = WorldModelBackbone.from_world_model(world_model)
    tokens = np.zeros((4, 96), "float32")
    tokens[2] = np.random.default_rng(0).normal(size=96)
    with_tokens = ops.convert_to_numpy(backbone(IMAGES, task_token=tokens))
    same = ops.convert_to_numpy(backbone(IMAGES, task_token=np.zeros_like(tokens)))
    difference = np.abs(with_tokens - same).max(axis=(1, 2))
    assert difference[2] > 1e-3
    assert difference[[0, 1, 3]].max() < 1e-5


def test_wrong_parts_are_refused(world_model):
    make = WorldModelBackbone.from_world_model
    with pytest.raises(ValueError, match="must be one of"):
        make(world_model, "linear")
    with pytest.raises(ValueError, match="needs a world model with its predictor"):
        make(world_model.encoder, "predictor")
    assert make(world_model.encoder, "encoder").predictor is None
    with pytest.raises(ValueError, match="uses no predictor"):
        make(world_model, "encoder", random_predictor=True)
    with pytest.raises(ValueError, match="needs a `predictor`"):
        WorldModelBackbone(world_model.encoder, None, "predictor")
    with pytest.raises(ValueError, match="no use for a `predictor`"):
        WorldModelBackbone(world_model.encoder, world_model.predictor, "encoder")
    other = ImageWorldModel.from_preset("iwm_tiny_64", load_weights=False)
    with pytest.raises(ValueError, match="grid and width"):
        WorldModelBackbone(world_model.encoder, other.predictor, "predictor")
