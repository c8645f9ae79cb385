import copy
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from keras_iwm.actions import (
    ActionSpace,
    ColorJitter,
    Grayscale,
    Solarization,
    Transform,
)
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.evaluation import (
    EquivarianceEvaluator,
    RetrievalBank,
    equivariance_report,
    report_table,
)
from keras_iwm.evaluation.equivariance_ranking import EquivarianceRanking
from keras_iwm.evaluation.rank_summaries import clustered_mean
from keras_iwm.layers import normalize_latents
from keras_iwm.metrics import reciprocal_rank_chance
from keras_iwm.models import ImageWorldModel
from keras_iwm.views import MultiBlockMask, ViewGenerator

SIZE, PATCH, GRID = 20, 4, (5, 5)


def make_model(conditioning="feature"):
    """A tiny world model, all of whose weights matter."""
    views = ViewGenerator(SIZE, MultiBlockMask(GRID), seed=0)
    encoder = ViTEncoder(SIZE, PATCH, 16, 1, 2, name="encoder")
    predictor = WorldModelPredictor(
        GRID, 16, 16, 1, 2,
        action_dim=views.action_space.action_dim,
        conditioning=conditioning,
        name="predictor",
    )  # fmt: skip
    model = ImageWorldModel(encoder, predictor, views)
    generator = np.random.default_rng(3)
    model.set_weights(
        [
            weight + generator.normal(scale=0.1, size=weight.shape).astype("float32")
            for weight in model.get_weights()
        ]
    )
    return model


def some_images(num_images=3):
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (num_images, SIZE, SIZE, 3)).astype("uint8")


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


# A world that is understood in full: latents turn with an image's mean brightness.
# All images have the mean 100, which is the angle 1.


class AngleEncoder(keras.Model):
    """Latents (cos, sin, -cos, -sin) of an angle, which are normalised already."""

    image_size, value_range = (SIZE, SIZE), (0, 255)

    def __init__(self):
        super().__init__()
        self.norm = SimpleNamespace(gamma=np.ones(4), beta=np.zeros(4))

    def call(self, images, training=None):
        angles = ops.mean(ops.cast(images, "float32"), axis=(1, 2, 3)) / 100.0
        latents = ops.stack([ops.cos(angles), ops.sin(angles)], axis=-1)
        latents = np.sqrt(2.0) * ops.concatenate([latents, -latents], axis=-1)
        return ops.repeat(latents[:, None], 25, axis=1)


class AnglePredictor(keras.Model):
    """Turns latents by what brightness and the flag of `Darken` say."""

    def call(self, context_latents, context_ids, target_ids, action, training=None):
        turn = (0.8 * action[:, 0] + 0.25 * action[:, 4])[:, None, None]
        cos, sin = context_latents[..., :1], context_latents[..., 1:2]
        latents = ops.concatenate(
            [
                cos * ops.cos(turn) - sin * ops.sin(turn),
                sin * ops.cos(turn) + cos * ops.sin(turn),
            ],
            axis=-1,
        )
        return ops.concatenate([latents, -latents], axis=-1)


class Darken(Transform):
    """A fourth of the light is taken away: the angle 0.25."""

    parameters, identity, scales = ("darken",), (0.0,), (1.0,)

    def draw(self, uniforms):
        return ops.ones_like(uniforms)

    def apply(self, images, parameters):
        return images * (1.0 - 0.25 * ops.reshape(parameters, (-1, 1, 1, 1)))


def angle_world():
    """Model, images and bank, and the angles of the bank's entries."""
    jitter = ColorJitter(contrast=0.0, saturation=0.0, hue=0.0, probability=1.0)
    encoder = AngleEncoder()
    never = Solarization(probability=0.0)
    actions = ActionSpace([jitter], [Darken(probability=0.1), never])
    views = ViewGenerator(SIZE, MultiBlockMask(GRID), actions)
    model = SimpleNamespace(
        feature_encoder=encoder,
        predictor=AnglePredictor(),
        action_space=views.action_space,
        view_generator=views,
        image_size=encoder.image_size,
        value_range=encoder.value_range,
        num_channels=3,
        num_patches=25,
    )
    images = np.random.default_rng(1).uniform(70, 130, (3, SIZE, SIZE, 3))
    images += 100 - images.mean(axis=(1, 2, 3), keepdims=True)
    bank = RetrievalBank(23, [jitter])
    return model, images, bank, bank.parameters(3)[..., 0].astype("float64")


@pytest.fixture(scope="module")
def angle_retrieval():
    model, images, bank, _ = angle_world()
    report = equivariance_report(model, images, bank=bank, batch_size=9, verbose=False)
    return report["retrieval"]


def test_perfect_world_model_undoes_composes_and_inverts(angle_retrieval):
    retrieval, (_, _, bank, angles) = angle_retrieval, angle_world()
    for section, names in {
        "bank": ["headline"],
        "slots": ["brightness"],
        "undo": ["darken"],
        "composition": ["direct", "composed"],
        "inverse": ["inverse", "round_trip", "null_action"],
    }.items():
        for name in names:
            for key in ("mrr", "hit_at_1", "hit_at_10", "mean_rank"):
                assert retrieval[section][name][key]["value"] == 1.0, (name, key)
                assert retrieval[section][name][key]["low"] == 1.0
    # What the model's views never apply is not measured.
    assert list(retrieval["undo"]) == ["darken", "darken_without_flag"]
    assert list(retrieval["slots"]) == ["brightness"]
    error = retrieval["slots"]["brightness"]["parameter_error"]
    assert error["value"] == 0.0
    # 33 values of step d: (33² - 1) / (3 * 33) * d
    assert error["chance"] == pytest.approx((33**2 - 1) / 99 * 0.8 / 32, rel=1e-5)

    # Without the flag each prediction is darker than wanted by the angle 0.25.
    distances = np.abs(angles[:, :, None] - 0.25 - angles[:, None, :])
    expected = 1 + (distances < 0.25).sum(axis=2)
    measured = retrieval["undo"]["darken_without_flag"]
    assert measured["mrr"]["value"] == pytest.approx(np.mean(1 / expected), rel=1e-4)
    assert measured["mean_rank"]["value"] == pytest.approx(expected.mean(), rel=1e-4)

    # On another entry's way back from entry i the clean image is missed by their
    # difference.
    order = np.random.default_rng(bank.seed).permutation(bank.size)
    others = np.empty_like(angles)
    others[:, order] = angles[:, np.roll(order, 1)]
    ended = angles + 1.0 - others
    entries = np.concatenate([angles, np.ones((3, 1))], axis=1)
    distances = np.abs(ended[:, :, None] - entries[:, None, :])
    expected = 1 + (distances < distances[:, :, -1:] - 1e-5).sum(axis=2)
    for name in ("inverse_shuffled_action", "round_trip_shuffled_action"):
        value = retrieval["inverse"][name]["mrr"]["value"]
        assert value == pytest.approx(np.mean(1 / expected), rel=1e-4)


def test_undo_looks_up_what_was_degraded():
    model, images, bank, _ = angle_world()
    undone = EquivarianceEvaluator(model, images, bank, batch_size=9).undo(1)
    assert list(undone) == ["darken"]
    np.testing.assert_allclose(undone["darken"]["degraded"], 0.75 * images[1], 1e-5)
    np.testing.assert_array_equal(undone["darken"]["nearest"], np.arange(23))
    np.testing.assert_array_equal(undone["darken"]["ranks"], 1.0)


def test_chance_lines(angle_retrieval):
    for section, num_entries in {
        "bank": 23, "slots": 33, "undo": 23, "composition": 23, "inverse": 24,
    }.items():  # fmt: skip
        for row in angle_retrieval[section].values():
            assert row["num_entries"] == num_entries
            harmonic = np.sum(1 / np.arange(1, num_entries + 1))
            assert row["mrr"]["chance"] == pytest.approx(harmonic / num_entries)
            assert row["hit_at_5"]["chance"] == pytest.approx(5 / num_entries)
            assert row["mean_rank"]["chance"] == (num_entries + 1) / 2


def test_model_that_ignores_the_action_is_exactly_at_chance():
    model = make_model(conditioning="none")
    # A bank no two entries of which are as good as equally far: those would tie.
    bank = RetrievalBank(16, seed=1)
    retrieval = equivariance_report(
        model, some_images(2), bank=bank, batch_size=8, verbose=False
    )["retrieval"]
    chance = reciprocal_rank_chance(16)
    for section in ("bank", "undo", "composition"):
        for name, row in retrieval[section].items():
            assert row["mrr"]["value"] == pytest.approx(chance, rel=1e-6), name
            assert row["mean_rank"]["value"] == pytest.approx(8.5, rel=1e-6), name
    assert len(retrieval["undo"]) == 6
    # On the way back it is not at chance, but no better than its control.
    rows = retrieval["inverse"]
    for name in ("inverse", "round_trip"):
        assert rows[name]["mrr"] == rows[f"{name}_shuffled_action"]["mrr"]


def test_ranks_equal_the_definition_written_out():
    model, bank, image = make_model(), RetrievalBank(11, seed=5), some_images()[0]
    parameters = bank.parameters(1)[0]
    shuffle = np.roll(np.arange(11), 4)
    # Three chunks of four: one row is filled up.
    measured = EquivarianceRanking(model, 11, 4, shuffle).rank(image, parameters)
    views, encoder = model.view_generator, model.target_encoder
    ids = np.repeat(np.arange(25, dtype="int32")[None], 11, axis=0)
    repeated = np.repeat(image[None], 11, axis=0).astype("float32")
    identity = np.repeat([[1.0, 1.0, 1.0, 0.0]], 11, axis=0).astype("float32")
    clean = encoder(repeated, training=False)
    bank_latents = encoder(
        views.apply_shared(ops.convert_to_tensor(repeated), parameters), training=False
    )
    entries = np.concatenate(
        [
            numbers(normalize_latents(bank_latents)),
            numbers(normalize_latents(clean))[:1],
        ]
    )
    gamma, beta = numbers(encoder.norm.gamma), numbers(encoder.norm.beta)

    def predict(context, source, target, flag=None):
        action = numbers(views.action_space.between(source, target)).astype("float32")
        if flag is not None:
            action[:, 4 + flag] = 1.0
        prediction = model.predictor(context, ids, ids, action, training=False)
        return numbers(normalize_latents(prediction))

    def ranks(prediction, wanted, num_entries):
        distances = np.sqrt(
            np.square(prediction[:, None] - entries[None, :num_entries]).sum((2, 3))
        )
        of_wanted = np.take_along_axis(distances, np.asarray(wanted)[:, None], axis=1)
        return 1 + np.sum(distances < of_wanted * (1 - 1e-6), axis=1)

    def as_context(prediction):
        """By bisection: the deviation at which all is normal before scale and shift."""
        low, high = np.zeros_like(prediction[..., :1]), 10.0

        def before_norm(deviation):
            scaled = (deviation * prediction - beta) / gamma
            mean = scaled.mean(-1, keepdims=True) / (1 / gamma).mean()
            return scaled - mean / gamma, mean

        high = np.full_like(low, 10.0)
        for _ in range(60):
            middle = (low + high) / 2
            too_large = np.square(before_norm(middle)[0]).mean(-1, keepdims=True) > 1
            low, high = (
                np.where(too_large, low, middle),
                np.where(too_large, middle, high),
            )
        return (low * prediction - before_norm(low)[1]).astype("float32")

    predicted = as_context(predict(clean, identity, parameters))
    to_clean = np.full(11, 11)
    others = parameters[shuffle]
    expected = {
        "composition": ranks(predict(predicted, parameters, others), shuffle, 11),
        "inverse": ranks(predict(bank_latents, parameters, identity), to_clean, 12),
        "inverse_shuffled_action": ranks(
            predict(bank_latents, others, identity), to_clean, 12
        ),
        "round_trip": ranks(predict(predicted, parameters, identity), to_clean, 12),
        "round_trip_shuffled_action": ranks(
            predict(predicted, others, identity), to_clean, 12
        ),
        "null_action": ranks(predict(clean, identity, identity), to_clean, 12)[:1],
    }
    degraded = [
        transform.apply(
            ops.convert_to_tensor(repeated / 255), np.full((11, 1), value, "float32")
        )
        # The middle of the blur's range, 0.4 to 1.0; the others are on or off.
        for transform, value in zip(
            views.action_space.destructive.transforms, (1.0, 0.7, 1.0), strict=True
        )
    ]
    contexts = [encoder(255 * degrade, training=False) for degrade in degraded]
    for name, flags in (("undo", (0, 1, 2)), ("undo_without_flag", (None,) * 3)):
        expected[name] = np.stack(
            [
                ranks(predict(context, identity, parameters, flag), np.arange(11), 11)
                for context, flag in zip(contexts, flags, strict=True)
            ]
        )
    nearest = measured.pop("undo_nearest")
    at_best = measured["undo"] == 1
    np.testing.assert_array_equal(nearest[at_best], np.nonzero(at_best)[1])
    assert set(measured) == set(expected)
    for name, value in expected.items():
        assert measured[name].shape == value.shape, name
        # Room for one swap of near neighbours by rounding, not for more.
        assert np.abs(measured[name] - value).sum() <= 2, name
    assert len(set(np.concatenate([value.ravel() for value in expected.values()]))) > 5


def test_latents_come_back_from_normalised_ones():
    model = make_model()
    ranking = EquivarianceRanking(model, 4, 4, np.arange(4))
    latents = model.target_encoder(some_images(), training=False)
    assert np.abs(numbers(latents) - numbers(normalize_latents(latents))).max() > 0.1
    back = ranking._as_latents(normalize_latents(latents))
    np.testing.assert_allclose(numbers(back), numbers(latents), atol=2e-4)


def test_interval_counts_each_image_once():
    values = np.random.default_rng(0).random((7, 20))
    measured = clustered_mean(values)
    margin = 1.96 * stats.sem(values.mean(axis=1))
    assert measured["value"] == pytest.approx(values.mean())
    assert measured["low"] == pytest.approx(values.mean() - margin)
    assert measured["high"] == pytest.approx(values.mean() + margin)
    # The same numbers a hundred times each know no more.
    assert clustered_mean(np.repeat(values, 100, axis=1)) == pytest.approx(measured)


def test_report_and_table_with_probes_and_control():
    model, images = make_model(), some_images(3)
    control, bank = make_model(conditioning="none"), RetrievalBank(12)
    report = equivariance_report(
        model, images[:2], images, control, bank, num_pairs=40, verbose=False
    )
    assert json.loads(json.dumps(report)) == report
    json.dumps(report, allow_nan=False)
    for section, rows in report["retrieval"].items():
        assert list(report["control"]["retrieval"][section]) == list(rows)
    assert list(report["probes"]["mlp"]) == list(model.action_space.slots)
    lines = report_table(report).splitlines()
    assert max(map(len, lines)) <= 98
    rows = {line[:30].strip(): line[30:].split() for line in lines}
    headline = report["retrieval"]["bank"]["headline"]
    expected = [headline["mrr"][key] for key in ("value", "low", "high")]
    expected += [headline[f"hit_at_{k}"]["value"] for k in (1, 5, 10)]
    cells = [float(cell) for cell in rows["headline"] if cell != "to"]
    np.testing.assert_allclose(cells[:6], expected, atol=6e-4)
    assert cells[7] == pytest.approx(reciprocal_rank_chance(12), abs=6e-4)
    probes = report["probes"]
    expected = [probes[probe]["hue"]["value"] for probe in ("linear", "mlp")]
    cells = [float(cell) for cell in rows["hue"]]  # the last section with this row
    np.testing.assert_allclose(cells[0:4:2], expected, atol=6e-4)

    bare = copy.deepcopy(report)
    del bare["control"], bare["probes"]
    bare["bank_spread_ratio"] = None
    assert report_table(bare).endswith(": -")
    assert "control" not in report_table(bare)


def test_what_does_not_fit_is_refused_before_anything_is_measured(monkeypatch):
    def fail(*arguments, **keywords):
        raise AssertionError("measured")

    monkeypatch.setattr(keras.Model, "predict_on_batch", fail)
    model, images = make_model(), some_images()
    with pytest.raises(ValueError, match="at least 2"):
        equivariance_report(model, images[:1])
    with pytest.raises(ValueError, match="`train_images` must be .* pixels"):
        equivariance_report(model, images, images[:, :16])
    with pytest.raises(ValueError, match="num_pairs"):
        equivariance_report(model, images, images, num_pairs=0)
    other = SimpleNamespace(image_size=(32, 32), value_range=(0, 255))
    with pytest.raises(ValueError, match="`control.image_size` must be .*20, 20"):
        equivariance_report(model, images, control=other)
    space = ActionSpace(destructive=[Grayscale()])
    with pytest.raises(ValueError, match="features alone"):
        equivariance_report(SimpleNamespace(action_space=space), images)
    other = SimpleNamespace(**{**vars(other), "image_size": (20, 20)})
    other.action_space, other.num_channels = space, 3
    with pytest.raises(ValueError, match="features alone"):
        equivariance_report(model, images, control=other)
