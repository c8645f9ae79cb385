"""Interventions on models whose use of their latents is known in closed form."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from scipy.linalg import hadamard
from scipy.stats import t as student

from keras_iwm.actions import ActionSpace, ChannelOffset, Flip
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.datasets import MovingPhotos
from keras_iwm.evaluation import (
    InterventionEvaluator,
    intervention_report,
    intervention_table,
)
from keras_iwm.evaluation.moved_encoder import MovedEncoder
from keras_iwm.evaluation.photo_jackknife import jackknife, sums_by_photo
from keras_iwm.evaluation.recovered_changes import (
    diagonal_share,
    explained_share,
    inner_products,
    slope_matrix,
)
from keras_iwm.models import ImageWorldModel, LatentDynamicsModel
from keras_iwm.views import MultiBlockMask, ViewGenerator

once = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="what a backend does is tested by the others on each",
)
SIZE, WIDTH = 8, 8
ROWS = hadamard(WIDTH).astype("float32")  # orthogonal, all but the first of mean 0
PHOTOS = np.array([0, 0, 1, 1, 2, 2])
SLOTS = ("offset_0", "offset_1")


class ToyEncoder(keras.Model):
    """Latents are linear in the two channels' means, far from the origin."""

    num_layers, hidden_dim, num_patches, num_prefix_tokens = 1, WIDTH, 4, 0

    def __init__(self, rows=(1, 2), **kwargs):
        super().__init__(**kwargs)
        self.rows = ROWS[list(rows)]
        self.blocks = [keras.layers.Identity(name="block_00")]
        self.built = True

    def call(self, images, training=None, return_intermediates=False, change=None):
        patches = ops.mean(ops.reshape(images, (-1, 2, 4, 2, 4, 2)), (2, 4))
        tokens = ops.reshape(patches, (-1, 4, 2)) @ self.rows + 20.0 * ROWS[3]
        names = ("stem", "block_00")
        found = {}
        for name in names:
            tokens = found[name] = change(name, tokens) if change else tokens
        return {**found, "norm": tokens} if return_intermediates else tokens

    def get_config(self):
        return {"rows": (5, 6), "name": self.name}  # what an untrained one looks at


class ToyPredictor(WorldModelPredictor):
    """Does what it is told, and uses its context as a matrix says."""

    def __init__(self, uses, scales):
        super().__init__((2, 2), WIDTH, 8, 1, 1, action_dim=2)
        self.uses = np.array(uses, "float32")
        self.scales = np.array(scales, "float32")

    def call(self, context, context_ids, target_ids, action, training=None):
        slots = ROWS[1:3]
        seen = context @ slots.T / WIDTH
        changed = seen @ self.uses + (action * self.scales)[:, None]
        return context + (changed - seen) @ slots


def toy_model(uses):
    space = ActionSpace([ChannelOffset(2, 0.1)])
    encoder = ToyEncoder()
    return SimpleNamespace(
        **{"feature_encoder": encoder, "encoder": encoder, "action_space": space},
        predictor=ToyPredictor(uses, space.shared.scales),
        view_generator=ViewGenerator(
            *(SIZE, MultiBlockMask(4)),
            **{"actions": space, "crop": None, "num_channels": 2},
            value_range=(0, 1),
        ),
        **{"image_size": (SIZE, SIZE), "value_range": (0, 1), "num_channels": 2},
        **{"num_patches": 4, "predicts_latents": True},
    )


def toy_images(count, seed):
    shape = (count, SIZE, SIZE, 2)
    return np.random.default_rng(seed).uniform(0.3, 0.7, shape).astype("float32")


def toy_report(uses):
    evaluator = InterventionEvaluator(
        *(toy_model(uses), toy_images(6, 0), toy_images(6, 1), PHOTOS),
        **{"num_pairs": 64, "batch_size": 16, "verbose": False},
    )
    return intervention_report(evaluator)


def values(part, name):
    return [part[slot][name]["value"] for slot in SLOTS]


def matrix(part):
    return [[x["value"] for x in row.values()] for row in part["matrix"].values()]


@pytest.fixture(scope="module")
def whole_report():
    return toy_report(np.eye(2))


def test_a_direction_that_causes_what_it_should_has_slope_1(whole_report):
    assert whole_report["settings"]["slots"] == list(SLOTS)
    for side in ("inside", "outside"):
        for way in ("told", "seen", "moved"):
            part = whole_report[side][way]
            np.testing.assert_allclose(matrix(part), np.eye(2), atol=2e-3)
            for name in ("diagonal_share", "explained", "cosine_with_told"):
                np.testing.assert_allclose(values(part, name), 1.0, atol=2e-3)
            assert part["mean"]["mrr"]["value"] == 1.0
        moved = whole_report[side]["moved"]
        assert max(values(moved, "off_manifold")) < 2e-3
        # Two slots: the other's direction causes the other, the untrained one none.
        part = whole_report[side]["other_slot"]
        np.testing.assert_allclose(np.abs(matrix(part)), 1 - np.eye(2), atol=2e-3)
        np.testing.assert_allclose(
            matrix(whole_report[side]["untrained_encoder"]), 0.0, atol=2e-2
        )
    places = whole_report["settings"]["places"]
    for slot in SLOTS:
        curve = [x["value"] for x in whole_report["curves"]["moved"][slot]]
        np.testing.assert_allclose(curve, places, atol=5e-3)


def test_moves_behind_several_layers_are_not_added_up(whole_report):
    for ways in whole_report["layers"].values():
        for part in ways.values():
            np.testing.assert_allclose(values(part, "slope"), 1.0, atol=2e-3)


def test_erasure_removes_exactly_one_slot(whole_report):
    erased = whole_report["erased"]
    np.testing.assert_allclose(values(erased["nothing"], "slope"), 1.0, atol=2e-3)
    left = [values(erased[slot], "slope") for slot in SLOTS]
    np.testing.assert_allclose(left, 1 - np.eye(2), atol=2e-3)
    assert values(erased["nothing"], "mrr") == [1.0, 1.0]
    for index, slot in enumerate(SLOTS):
        lost, kept = values(erased[slot], "mrr")[:: 1 - 2 * index]
        assert lost < 0.5


@once
def test_probes_read_what_the_model_does_not_use():
    report = toy_report([[0, 0], [0, 1]])
    for layer in report["probes"].values():
        for slot in SLOTS:
            assert layer[slot]["value"] > 0.999
            assert layer[slot]["selectivity"]["value"] > 0.9
    for way, slopes in (("told", [1, 1]), ("seen", [0, 1]), ("moved", [0, 1])):
        part = report["inside"][way]
        np.testing.assert_allclose(matrix(part), np.diag(slopes), atol=2e-3)


@once
def test_a_direction_that_causes_another_slot_has_no_share():
    report = toy_report([[0, 1], [0, 0.5]])
    part = report["inside"]["moved"]
    np.testing.assert_allclose(matrix(part), [[0, 1], [0, 0.5]], atol=5e-3)
    np.testing.assert_allclose(values(part, "diagonal_share"), [0, 1], atol=5e-3)


def test_report_is_json_and_its_table_shows_it(whole_report):
    assert json.loads(json.dumps(whole_report, allow_nan=False)) == whole_report
    lines = intervention_table(whole_report).splitlines()
    assert max(map(len, lines)) <= 98
    row = next(line for line in lines if "latents moved" in line)
    assert row.split()[2] == "1.00"
    with_control = {**whole_report, "control": whole_report}
    assert "The control model" in intervention_table(with_control)
    with pytest.raises(ValueError, match="`report` must be a dictionary from"):
        intervention_table({})


def test_jackknife_of_a_mean_is_the_usual_interval():
    values = np.random.default_rng(0).normal(size=(9, 2))
    photos = np.repeat([0, 1, 2], 3)
    sums = sums_by_photo(values, photos), sums_by_photo(np.ones((9, 1)), photos)
    found = jackknife(lambda total, count: total / count, sums)
    means = values.reshape(3, 3, 2).mean(axis=1)
    np.testing.assert_allclose(found["value"], values.mean(axis=0))
    margin = student.ppf(0.975, 2) * means.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found["high"] - found["value"], margin, rtol=1e-3)
    np.testing.assert_allclose(found["value"] - found["low"], margin, rtol=1e-3)


def test_slopes_are_the_least_squares_fit_of_real_changes():
    generator = np.random.default_rng(0)
    changes, real, told = generator.normal(size=(3, 2, 5, 40))
    scores = inner_products(changes, real, told)
    gram, products = scores["gram"].sum(axis=0), scores["products"].sum(axis=1)
    flat = real.reshape(2, -1)
    expected, rest = zip(
        *(np.linalg.lstsq(flat.T, row.ravel(), rcond=None)[:2] for row in changes),
        strict=True,
    )
    slopes = slope_matrix(gram, products)
    np.testing.assert_allclose(slopes, expected, atol=1e-12)
    squares = scores["squares"].sum(axis=1)
    np.testing.assert_allclose(
        explained_share(gram, products, squares), 1 - np.ravel(rest) / squares
    )
    whole = np.abs(slopes).sum(axis=1)
    np.testing.assert_allclose(diagonal_share(slopes) * whole, np.abs(np.diag(slopes)))
    # A slot that changes nothing is recovered from nothing.
    gram[1], gram[:, 1], products[:, 1] = 0, 0, 0
    assert slope_matrix(gram, products)[0, 1] == 0


def test_moved_tokens_pass_through_the_blocks_behind():
    encoder = ViTEncoder(8, 4, 12, 2, 2, num_prefix_tokens=1)
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    moves = np.random.default_rng(1).normal(size=(2, 4, 12)).astype("float32")
    one = moves.copy()
    one[:, [0, 2, 3]] = 0
    moved = MovedEncoder(encoder, lambda latents: latents)
    tokens = ops.convert_to_numpy(encoder.blocks[0](encoder.embed(images)))
    shift = np.concatenate([np.zeros((2, 1, 12)), np.repeat(one[:, 1:2], 4, 1)], 1)
    tokens = encoder.blocks[1](tokens + shift.astype("float32"))
    expected = ops.convert_to_numpy(encoder.norm(tokens))[:, 1:]
    found = ops.convert_to_numpy(moved({"images": images, "moves": one}))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # With moves behind all layers, the context has moved as far as the last one says.
    found = ops.convert_to_numpy(moved({"images": images, "moves": moves}))
    last = moves[:, None, 3]
    along = (found - ops.convert_to_numpy(encoder(images))) * last
    size = np.sum(last**2, axis=-1)
    np.testing.assert_allclose(along.sum(-1), np.broadcast_to(size, (2, 4)), rtol=1e-4)


@once
def test_a_slot_of_two_values_is_measured_where_it_changes():
    encoder = ViTEncoder(8, 2, 8, 1, 1)
    model = ImageWorldModel.from_encoder(
        encoder, ActionSpace([Flip()]), predictor_layers=1, predictor_dim=8, crop=None
    )
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), "uint8")
    evaluator = InterventionEvaluator(
        model, images[:3], images[3:], num_pairs=8, verbose=False
    )
    assert "other_slot" not in evaluator.controls
    assert set(evaluator.amounts.ravel()) == {0.0, 1.0}
    found = evaluator.retrieve(0, "flip")
    assert len(found["wanted"]) == len(found["moved"]) == 12
    lengths = np.linalg.norm(list(evaluator.directions.values()), axis=1)
    for moves in evaluator.controls.values():
        np.testing.assert_allclose(np.linalg.norm(moves, axis=1), lengths, rtol=1e-6)


def test_a_model_of_clips_is_told_and_shown_the_motion_of_the_camera():
    photos = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), "uint8")
    maker = MovingPhotos(photos, image_size=16, num_frames=3, max_turn=0)
    model = LatentDynamicsModel.from_encoder(
        ViTEncoder(16, 4, 12, 1, 2), maker.slots, predictor_layers=1, num_frames=3
    )
    scenes = maker.draw_scenes(6)
    evaluator = InterventionEvaluator(
        *(model, scenes, scenes.take([0, 1, 2, 3])),
        **{"clip_maker": maker, "num_pairs": 12, "batch_size": 8, "verbose": False},
    )
    assert evaluator.slots == ("pan_rows", "pan_columns", "log_zoom")
    assert evaluator.num_photos == 3
    found = evaluator.look(2)
    action = np.zeros((1, 1, 4), "float32")
    action[..., 1] = evaluator.places[3]
    frames = maker.render(scenes.take([2]), action)
    latents = ops.convert_to_numpy(model.encode(frames))
    np.testing.assert_allclose(found["context"], latents[0, 0], atol=1e-4)
    np.testing.assert_allclose(found["contexts"][1, 3], latents[0, 1], atol=1e-4)
    told = ops.convert_to_numpy(model.predict_next(latents[:, :1], action))
    np.testing.assert_allclose(found["told"][1, 3], told[0, 0], atol=1e-3)
    if keras.backend.backend() == "torch":
        report = intervention_report(evaluator)
        assert json.dumps(report, allow_nan=False)
        assert set(report["inside"]["moved"]) == {*evaluator.slots, "mean", "matrix"}
    for change, words in (
        ({"clip_maker": None}, "`clip_maker` must be MovingPhotos"),
        ({"images": photos}, "`images` must be Scenes"),
        ({"clip_maker": MovingPhotos(photos, 24)}, "`clip_maker` must have frames"),
    ):
        arguments = {"model": model, "train_images": scenes, "images": scenes}
        with pytest.raises(ValueError, match=words):
            InterventionEvaluator(**{**arguments, "clip_maker": maker, **change})
    with pytest.raises(ValueError, match="`clip_maker` is for a LatentDynamicsModel"):
        InterventionEvaluator(
            toy_model(np.eye(2)), toy_images(2, 0), toy_images(2, 0), clip_maker=maker
        )


def test_what_does_not_fit_is_refused():
    model, images = toy_model(np.eye(2)), toy_images(4, 0)
    for change, words in (
        ({"photo_ids": [0, 0, 0, 0]}, "`images` must be of at least 2 photos"),
        ({"photo_ids": [0, 1]}, "`photo_ids` must be integers of shape"),
        ({"images": images[..., :1]}, "`images` must have shape"),
        ({"model": SimpleNamespace()}, "`model` must be a world model"),
        ({"num_pairs": 0}, "`num_pairs` must be an integer"),
    ):
        arguments = {"model": model, "train_images": images, "images": images}
        with pytest.raises(ValueError, match=words):
            InterventionEvaluator(**{**arguments, **change})
    model.predicts_latents = False
    with pytest.raises(ValueError, match="`model` must predict latents after actions"):
        InterventionEvaluator(model, images, images)


@once
def test_pictures_show_what_was_measured(whole_report):
    pytest.importorskip("matplotlib")
    from keras_iwm.visualization import plot_interventions, plot_moved_latents

    figure = plot_interventions(whole_report)
    curves, matrices = figure.axes[:2], figure.axes[2:5]
    assert [axis.get_title() for axis in curves] == ["offset 0", "offset 1"]
    moved = curves[0].lines[3].get_xydata()
    np.testing.assert_allclose(moved[:, 0], moved[:, 1], atol=5e-3)
    values = np.array(matrices[0].images[0].get_array())
    np.testing.assert_allclose(values, np.eye(2), atol=2e-3)
    assert matrices[2].images[0].get_array().shape == (4, 2)

    evaluator = InterventionEvaluator(
        toy_model([[0, 0], [0, 1]]), toy_images(4, 0), toy_images(2, 1), verbose=False
    )
    found = evaluator.retrieve(1, "offset_1")
    for way in ("told", "moved"):
        np.testing.assert_array_equal(found[way], found["wanted"])
    assert len(set(evaluator.retrieve(1, "offset_0")["moved"])) == 1
    figure = plot_moved_latents(evaluator, 1, ["offset_1"], (0, 1, 1))
    (axis,) = figure.axes
    assert len(axis.images) == 36
    # All are found, so all frames are whole lines.
    assert {patch.get_linestyle() for patch in axis.patches} == {"-"}
    with pytest.raises(ValueError, match="`slots` must be a list of some of"):
        plot_moved_latents(evaluator, slots=["hue"])
