from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.actions import ColorJitter, Flip, RelativeCrop, Transform
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.evaluation import (
    RetrievalBank,
    WorldModelEvaluator,
    evaluate_world_model,
)
from keras_iwm.evaluation.bank_ranking import BankRanking
from keras_iwm.metrics import reciprocal_rank_chance
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW
from keras_iwm.views import MultiBlockMask, ViewGenerator

SIZE, PATCH, GRID = 20, 4, (5, 5)


def make_model(conditioning="feature", dtype="float32", **view_arguments):
    """A tiny world model whose predictor's action matters from the start."""
    keras.utils.set_random_seed(0)
    views = ViewGenerator(SIZE, MultiBlockMask(GRID), seed=0, **view_arguments)
    encoder = ViTEncoder(SIZE, PATCH, 16, 1, 2, dtype=dtype, name="encoder")
    predictor = WorldModelPredictor(
        GRID, 16, 16, 1, 2,
        action_dim=views.action_space.action_dim,
        conditioning=conditioning,
        dtype=dtype, name="predictor",
    )  # fmt: skip
    return ImageWorldModel(encoder, predictor, views)


def some_images(num_images=3):
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (num_images, SIZE, SIZE, 3)).astype("uint8")


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def normalized(latents):
    latents = numbers(latents)
    deviation = np.sqrt(latents.var(axis=-1, keepdims=True) + 1e-6)
    return (latents - latents.mean(axis=-1, keepdims=True)) / deviation


def reference(model, images, bank):
    """The headline definition, written out with eager calls and plain loops."""
    scores = {"mrr": [], "mrr_pooled": [], "mrr_swapped_image": []}
    hits, bank_variances, clean_latents = [], [], []
    all_parameters = bank.parameters(len(images))
    ids = np.repeat(np.arange(25, dtype="int32")[None], bank.size, axis=0)
    for index, image in enumerate(images):
        parameters = ops.convert_to_tensor(all_parameters[index])
        repeated = np.repeat(image[None], bank.size, axis=0).astype("float32")
        views = model.view_generator.apply_shared(
            ops.convert_to_tensor(repeated), parameters
        )
        entries = normalized(model.target_encoder(views, training=False))
        identity = model.action_space.identity(bank.size)
        action = model.action_space.between(identity, parameters)
        other = images[(index + 1) % len(images)]
        clean_latents.append(normalized(model.target_encoder(image[None])).ravel())
        for key, context_image in (("mrr", image), ("mrr_swapped_image", other)):
            context = model.target_encoder(
                np.repeat(context_image[None], bank.size, axis=0), training=False
            )
            prediction = normalized(model.predictor(context, ids, ids, action))
            distances = np.sqrt(
                np.square(prediction[:, None] - entries[None]).sum(axis=(2, 3))
            )
            ranks = 1 + np.sum(distances < np.diag(distances)[:, None], axis=1)
            scores[key].append(1 / ranks)
            if key == "mrr":
                hits.append(ranks <= 5)
                pooled = prediction.mean(axis=1)[:, None] - entries.mean(axis=1)[None]
                distances = np.sqrt(np.square(pooled).sum(axis=2))
                ranks = 1 + np.sum(distances < np.diag(distances)[:, None], axis=1)
                scores["mrr_pooled"].append(1 / ranks)
        entries = entries.reshape(bank.size, -1)
        bank_variances.append(np.square(entries - entries.mean(0)).sum(1).mean())
    results = {key: np.mean(values) for key, values in scores.items()}
    results["hit_at_5"] = np.mean(hits)
    clean = np.array(clean_latents)
    image_variance = np.square(clean - clean.mean(0)).sum(1).mean()
    results["bank_spread_ratio"] = np.sqrt(np.mean(bank_variances) / image_variance)
    return results


def test_result_equals_the_definition_written_out():
    model, images, bank = make_model(), some_images(), RetrievalBank(24, seed=5)
    results = evaluate_world_model(model, images, bank, batch_size=10, verbose=False)
    assert set(results) == {
        "mrr", "mrr_chance", "hit_at_1", "hit_at_5", "hit_at_10", "mrr_pooled",
        "mrr_shuffled_action", "mrr_swapped_image", "bank_spread_ratio",
    }  # fmt: skip
    expected = reference(model, images, bank)
    for key, value in expected.items():
        # Room for one swap of far neighbours by rounding, not for more.
        assert results[key] == pytest.approx(value, rel=2e-3), key
    assert results["bank_spread_ratio"] == pytest.approx(
        expected["bank_spread_ratio"], rel=1e-4
    )


def test_model_that_ignores_the_action_is_exactly_at_chance():
    model = make_model(conditioning="none")
    results = evaluate_world_model(
        model, some_images(2), RetrievalBank(32), by_slot=True, verbose=False
    )
    chance = reciprocal_rank_chance(32)
    assert results["mrr_chance"] == chance
    for key in ("mrr", "mrr_shuffled_action", "mrr_swapped_image", "mrr_pooled"):
        assert results[key] == pytest.approx(chance, rel=1e-6), key
    assert results["hit_at_1"] == pytest.approx(1 / 32, rel=1e-6)
    assert results["hit_at_10"] == pytest.approx(10 / 32, rel=1e-6)
    # Two entries that tie share their ranks, which is a little less than chance.
    assert results["mrr_hue"] == pytest.approx(reciprocal_rank_chance(33), rel=3e-2)


def test_collapsed_model_takes_the_middle_rank():
    model = make_model()
    for part in (model.target_encoder, model.predictor):
        part.set_weights([np.zeros_like(weight) for weight in part.get_weights()])
    results = evaluate_world_model(model, some_images(2), verbose=False)
    assert results["mrr"] == pytest.approx(2 / 257, rel=1e-6)
    assert results["hit_at_10"] == 0
    assert np.isnan(results["bank_spread_ratio"])


class PixelEncoder(keras.Model):
    """Latents are a patch's pixels and one constant, which keeps their scale."""

    image_size, value_range = (SIZE, SIZE), (0, 255)

    def call(self, images, training=None):
        images = ops.cast(images, "float32") / 255.0
        patches = ops.reshape(images, (-1, 5, PATCH, 5, PATCH * 3))
        patches = ops.reshape(ops.transpose(patches, (0, 1, 3, 2, 4)), (-1, 25, 48))
        return ops.concatenate([patches, ops.ones_like(patches[..., :1])], axis=-1)


class BrightnessPredictor(keras.Model):
    """A perfect world model of brightness: it multiplies the pixels."""

    def call(self, context_latents, context_ids, target_ids, action, training=None):
        factor = 1.0 + 0.8 * action[:, None, :1]
        changed = context_latents[..., :-1] * factor
        return ops.concatenate([changed, context_latents[..., -1:]], axis=-1)


def test_perfect_world_model_has_mrr_one():
    jitter = ColorJitter(contrast=0.0, saturation=0.0, hue=0.0, probability=1.0)
    encoder = PixelEncoder()
    views = ViewGenerator(SIZE, MultiBlockMask(GRID), [jitter])
    model = SimpleNamespace(
        feature_encoder=encoder,
        predictor=BrightnessPredictor(),
        action_space=views.action_space,
        view_generator=views,
        image_size=encoder.image_size,
        value_range=encoder.value_range,
        num_channels=3,
        num_patches=25,
    )
    images = some_images() // 2  # dark enough to be clipped nowhere
    bank = RetrievalBank(32, [jitter])
    results = evaluate_world_model(model, images, bank, by_slot=True, verbose=False)
    for key in ("mrr", "hit_at_1", "hit_at_10", "mrr_brightness"):
        assert results[key] == 1.0, key
    assert results["parameter_error_brightness"] == 0.0
    assert results["mrr_by_slot_chance"] == reciprocal_rank_chance(33)
    found = WorldModelEvaluator(model, images, bank).retrieve(1)
    assert np.array_equal(found["parameters"], bank.parameters(2)[1])
    assert np.array_equal(found["ranks"], np.ones(32))
    assert np.array_equal(found["nearest"], np.arange(32))
    # The wanted entry is never the one whose action was given.
    assert results["mrr_shuffled_action"] < 0.25
    assert results["mrr_swapped_image"] < 0.5
    assert not any("hue" in key for key in results)


def test_batch_size_does_not_change_the_result():
    model, images, bank = make_model(), some_images(2), RetrievalBank(9)
    results = [
        evaluate_world_model(model, images, bank, batch_size, verbose=False)
        for batch_size in (64, 4)
    ]
    assert results[1] == pytest.approx(results[0], rel=1e-2)


def test_model_is_left_as_it_was_and_can_be_fitted_on():
    model, images = make_model(), some_images(4)
    model.compile(AdamW(1e-3, weight_decay=0.04))
    model.fit(images, batch_size=4, epochs=2, verbose=0)
    state = [numbers(variable) for variable in model.variables]
    flags = [layer.trainable for layer in model._flatten_layers()]
    names = [metric.name for metric in model.metrics]
    evaluator = WorldModelEvaluator(model, images, RetrievalBank(8))
    evaluator.evaluate(verbose=False)
    assert all(
        np.array_equal(before, numbers(variable))
        for before, variable in zip(state, model.variables, strict=True)
    )
    assert flags == [layer.trainable for layer in model._flatten_layers()]
    assert names == [metric.name for metric in model.metrics]
    model.fit(images, batch_size=4, verbose=0)
    assert any(
        np.abs(before - numbers(variable)).max() > 0
        for before, variable in zip(state, model.variables, strict=True)
    )


def test_evaluator_follows_the_weights_without_compiling_again(monkeypatch):
    calls = []
    call = BankRanking.call
    monkeypatch.setattr(
        BankRanking, "call", lambda self, inputs: calls.append(1) or call(self, inputs)
    )
    model, images = make_model(), some_images(3)
    evaluator = WorldModelEvaluator(model, images, RetrievalBank(8))
    first = evaluator.evaluate(verbose=False)
    traces = len(calls)
    generator = np.random.default_rng(2)
    model.set_weights(
        [
            weight + generator.normal(scale=0.3, size=weight.shape)
            for weight in model.get_weights()
        ]
    )
    second = evaluator.evaluate(verbose=False)
    again = len(calls) - traces
    # Torch runs eagerly: one call an image.
    assert again == (3 if keras.backend.backend() == "torch" else 0)
    assert second["bank_spread_ratio"] != first["bank_spread_ratio"]
    fresh = evaluate_world_model(model, images, RetrievalBank(8), verbose=False)
    assert second == pytest.approx(fresh, rel=1e-6)


def test_mixed_precision_model_is_measured():
    results = evaluate_world_model(
        make_model(dtype="mixed_bfloat16"), some_images(2), RetrievalBank(8),
        verbose=False,
    )  # fmt: skip
    assert all(np.isfinite(value) for value in results.values())


def test_ranks_are_those_whose_means_are_reported():
    model, images, bank = make_model(), some_images(), RetrievalBank(8)
    evaluator = WorldModelEvaluator(model, images, bank)
    results = {
        **evaluator.evaluate(verbose=False),
        **evaluator.evaluate_by_slot(verbose=False),
    }
    ranked = evaluator.rank_bank(verbose=False)
    assert ranked["ranks"].shape == (3, 8)
    for key, name in {
        "ranks": "mrr",
        "ranks_pooled": "mrr_pooled",
        "ranks_shuffled": "mrr_shuffled_action",
        "ranks_swapped": "mrr_swapped_image",
    }.items():
        assert np.mean(1 / ranked[key]) == pytest.approx(results[name], rel=1e-6)
    assert ranked["bank_spread_ratio"] == results["bank_spread_ratio"]
    swept = evaluator.rank_slot("hue", verbose=False)
    assert np.mean(1 / swept["ranks"]) == pytest.approx(results["mrr_hue"], rel=1e-6)
    assert swept["errors"].mean() == pytest.approx(results["parameter_error_hue"])

    # Another bank is ranked as an evaluator of its own would.
    doubled = RetrievalBank.doubled(8)
    other = WorldModelEvaluator(model, images, doubled).rank_bank(verbose=False)
    np.testing.assert_array_equal(
        evaluator.rank_bank(doubled, verbose=False)["ranks"], other["ranks"]
    )
    with pytest.raises(ValueError, match="must have 8 entries"):
        evaluator.rank_bank(RetrievalBank(9))


def test_sweep_of_a_slot_is_the_row_of_its_image():
    evaluator = WorldModelEvaluator(make_model(), some_images(), RetrievalBank(8))
    found = evaluator.sweep(2, "brightness")
    np.testing.assert_allclose(found["values"], np.linspace(0.6, 1.4, 33), rtol=1e-6)
    np.testing.assert_array_equal(found["parameters"][:, 0], found["values"])
    identity = np.tile([1.0, 1.0, 0.0], (33, 1))
    np.testing.assert_array_equal(found["parameters"][:, 1:], identity)
    swept = evaluator.rank_slot("brightness", verbose=False)
    np.testing.assert_array_equal(found["ranks"], swept["ranks"][2])
    errors = np.abs(found["values"][found["nearest"]] - found["values"])
    np.testing.assert_array_equal(errors, swept["errors"][2])
    with pytest.raises(ValueError, match="`slot`"):
        evaluator.sweep(0, "blur")


SLOTS = ("brightness", "contrast", "saturation", "hue")


@keras.saving.register_keras_serializable(package="test")
class Gamma(Transform):
    parameters, identity, scales = ("gamma",), (1.0,), (1.0,)

    def draw(self, uniforms):
        return 0.5 + uniforms

    def apply(self, images, parameters):
        return ops.power(images, ops.reshape(parameters, (-1, 1, 1, 1)))


def test_slots_that_a_bank_has_not_stay_at_identity():
    bank = RetrievalBank(8)
    model = make_model(actions=[Gamma(), ColorJitter()])
    evaluator = WorldModelEvaluator(model, some_images(2), bank)
    rows = evaluator.parameters[0]
    np.testing.assert_array_equal(rows[:, 1:], bank.parameters(1)[0])
    np.testing.assert_array_equal(rows[:, 0], np.ones(8))


def test_the_default_bank_moves_every_operation_of_the_model():
    model = make_model(
        actions=[ColorJitter(strength=2.0, probability=0.5), Gamma(probability=0.5)]
    )
    evaluator = WorldModelEvaluator(model, some_images(2))
    assert evaluator.bank.slots == (*SLOTS, "gamma")
    # Colour jitter in its default ranges, whatever the model trained with.
    headline = RetrievalBank().action_space.shared.transforms[0].get_config()
    bank = evaluator.bank.action_space.shared
    assert bank.transforms[0].get_config() == headline
    assert bank.transforms[1].probability == 1.0
    gamma = evaluator.parameters[..., 4]
    assert 0.5 <= gamma.min() < 0.52
    assert 1.48 < gamma.max() <= 1.5
    assert WorldModelEvaluator(make_model(), some_images(2)).bank.get_config() == (
        RetrievalBank().get_config()
    )


def test_an_operation_of_ones_own_is_measured_like_any_other():
    model = make_model(actions=[Gamma()])
    images, bank = some_images(), RetrievalBank(12, [Gamma()])
    results = evaluate_world_model(model, images, bank, by_slot=True, verbose=False)
    expected = reference(model, images, bank)
    for key, value in expected.items():
        assert results[key] == pytest.approx(value, rel=2e-3), key
    assert {"mrr_gamma", "parameter_error_gamma"} < set(results)
    found = WorldModelEvaluator(model, images, bank).sweep(0, "gamma")
    np.testing.assert_allclose(found["values"], np.linspace(0.5, 1.5, 33), rtol=1e-6)


def test_a_slot_of_two_values_has_a_chance_of_its_own():
    model = make_model(actions=[Flip(), RelativeCrop()])
    bank = RetrievalBank.for_actions(model.action_space, 8)
    evaluator = WorldModelEvaluator(model, some_images(2), bank)
    results = evaluator.evaluate_by_slot(verbose=False)
    assert results["mrr_flip_chance"] == reciprocal_rank_chance(2) == 0.75
    assert evaluator.rank_slot("flip", verbose=False)["values"].tolist() == [0, 1]
    assert "mrr_crop_top_chance" not in results
    # The rest of the box is in the middle while its top moves.
    swept = evaluator.sweep(0, "crop_top")["parameters"]
    np.testing.assert_allclose(swept[:, 1], np.linspace(0, 0.2, 33), atol=1e-6)
    np.testing.assert_allclose(swept[:, 2:], [[0.1, 0.8]] * 33, atol=1e-6)


@pytest.mark.parametrize("num_channels", [1, 12])
def test_images_of_other_channels_are_measured(num_channels):
    encoder = ViTEncoder(SIZE, PATCH, 16, 1, 2, num_channels=num_channels)
    model = ImageWorldModel.from_encoder(encoder, predictor_layers=1, seed=0)
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, num_channels))
    bank = RetrievalBank.for_actions(model.action_space, 8)
    results = evaluate_world_model(model, images, bank, verbose=False)
    assert 0 < results["mrr"] <= 1
    with pytest.raises(ValueError, match=f"width, {num_channels}"):
        WorldModelEvaluator(
            model,
            images[..., :1] if num_channels > 1 else np.repeat(images, 3, axis=-1),
        )


def test_a_model_without_shared_operations_is_refused():
    with pytest.raises(ValueError, match="measured by its features alone"):
        WorldModelEvaluator(make_model(conditioning="none", actions=()), some_images())
    with pytest.raises(ValueError, match="must have the slots .*'hue'"):
        WorldModelEvaluator(
            make_model(actions=[Gamma()]), some_images(), RetrievalBank(8)
        )


def test_images_that_do_not_fit_are_refused():
    model = make_model()
    with pytest.raises(ValueError, match="at least 2"):
        WorldModelEvaluator(model, some_images(1))
    with pytest.raises(ValueError, match="pixels"):
        WorldModelEvaluator(model, some_images()[:, :16])
    with pytest.raises(ValueError, match="batch_size"):
        WorldModelEvaluator(model, some_images(), batch_size=0)
