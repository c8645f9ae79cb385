import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import WorldModelPredictor


def small_predictor(**changes):
    arguments = {
        "grid_size": (2, 3),
        "hidden_dim": 20,
        "predictor_dim": 16,
        "num_layers": 2,
        "num_heads": 2,
        "mlp_dim": 24,
        "action_dim": 5,
    }
    predictor = WorldModelPredictor(**{**arguments, **changes})
    rng = np.random.default_rng(1)
    for weight in predictor.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    return predictor


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(2, 3, 20)).astype("float32")
    context_ids = np.array([[0, 4, 5], [3, 1, 2]])
    target_ids = np.array([[1, 2], [0, 5]])
    action = rng.uniform(-1, 1, (2, 5)).astype("float32")
    return latents, context_ids, target_ids, action


@pytest.mark.parametrize("conditioning", ["none", "sequence", "feature"])
def test_prediction_equals_the_numpy_forward_pass(conditioning):
    predictor = small_predictor(conditioning=conditioning)
    prediction = predictor(*inputs())
    expected = numpy_vit.predict(predictor, *inputs())
    np.testing.assert_allclose(ops.convert_to_numpy(prediction), expected, atol=1e-5)


@pytest.mark.parametrize("conditioning", ["none", "sequence", "feature"])
def test_only_conditioned_predictors_see_the_action(conditioning):
    predictor = small_predictor(conditioning=conditioning)
    latents, context_ids, target_ids, action = inputs()
    first = predictor(latents, context_ids, target_ids, action)
    for slot in range(5):
        changed = action.copy()
        changed[:, slot] += 0.5
        second = predictor(latents, context_ids, target_ids, changed)
        difference = np.abs(ops.convert_to_numpy(first - second)).max()
        assert (difference > 1e-4) == (conditioning != "none")


def test_separate_blocks_equal_one_call_for_each_block():
    predictor = small_predictor()
    latents, context_ids, _, action = inputs()
    blocks = np.array([[[1, 2], [3, 2]], [[0, 5], [4, 5]]])
    together = ops.convert_to_numpy(predictor(latents, context_ids, blocks, action))
    assert together.shape == (2, 2, 2, 20)
    for block in range(2):
        apart = predictor(latents, context_ids, blocks[:, block], action)
        np.testing.assert_allclose(
            together[:, block], ops.convert_to_numpy(apart), atol=1e-6
        )


def test_order_of_targets_only_orders_the_predictions():
    predictor = small_predictor()
    latents, context_ids, target_ids, action = inputs()
    forward = predictor(latents, context_ids, target_ids, action)
    backward = predictor(latents, context_ids, target_ids[:, ::-1].copy(), action)
    np.testing.assert_allclose(
        ops.convert_to_numpy(forward)[:, ::-1],
        ops.convert_to_numpy(backward),
        atol=1e-6,
    )


def test_feature_conditioning_keeps_position_and_action_at_initialisation():
    predictor = WorldModelPredictor((4, 4), 32, 32, 1, 2, action_dim=7)
    tokens = numpy_vit.positions(4, 4, 32)[None].astype("float32")
    outputs = ops.convert_to_numpy(
        predictor.action_features(tokens, np.zeros((1, 7), "float32"))
    )
    # Different positions stay as far apart as they were, within a factor of three.
    spread_in, spread_out = tokens.std(axis=1).mean(), outputs.std(axis=1).mean()
    assert spread_in / 3 < spread_out < spread_in * 3


def test_config_round_trip_and_frozen_weights():
    predictor = small_predictor(
        conditioning="sequence", drop_path_rate=0.1, remat=True, trainable=False
    )
    config = predictor.get_config()
    rebuilt = WorldModelPredictor.from_config(config)
    assert rebuilt.get_config() == config
    assert rebuilt.trainable_variables == []
    assert all(not weight.trainable for weight in rebuilt.weights)


def test_drop_path_and_remat_train_alike():
    results = []
    for remat in (False, True):
        keras.utils.set_random_seed(5)
        predictor = small_predictor(drop_path_rate=0.5, remat=remat, num_layers=3)
        latents, context_ids, target_ids, action = inputs()
        first = ops.convert_to_numpy(
            predictor(latents, context_ids, target_ids, action, training=True)
        )
        second = ops.convert_to_numpy(
            predictor(latents, context_ids, target_ids, action, training=True)
        )
        assert np.abs(first - second).max() > 1e-4
        results.append((first, second))
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditioning": "film"}, "conditioning"),
        ({"action_dim": 0}, "action"),
        ({"predictor_dim": 18}, "multiple of 4"),
        ({"num_heads": 3}, "num_heads"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_predictor(**changes)


def test_wrong_actions_are_refused():
    latents, context_ids, target_ids, action = inputs()
    with pytest.raises(ValueError, match="null action"):
        small_predictor()(latents, context_ids, target_ids)
    with pytest.raises(ValueError, match=r"\(batch_size, 5\)"):
        small_predictor()(latents, context_ids, target_ids, action[:, :4])
