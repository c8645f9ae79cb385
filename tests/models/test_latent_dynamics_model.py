"""A model of frames and actions: what is fitted, in which forms, and what learns."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import PRESETS, VideoEncoder, ViTEncoder
from keras_iwm.evaluation import flops_per_image
from keras_iwm.layers import VarianceCovarianceRegularizer
from keras_iwm.models import LatentDynamicsModel
from keras_iwm.optimizers import AdamW
from keras_iwm.saving import load_encoder

DRAWS = np.random.default_rng(0)
FRAMES = DRAWS.integers(0, 256, (4, 4, 16, 16, 3), "uint8")
ACTIONS = DRAWS.uniform(-1, 1, (4, 3, 2)).astype("float32")
STATES = DRAWS.normal(size=(4, 4, 5)).astype("float32")
BATCH = {"frames": FRAMES, "actions": ACTIONS}
BACKEND = keras.backend.backend()
# What differs between backends is who moves the teacher, and how a part is frozen.
WAYS = ["frozen", "teacher"] + ["teacher_free"] * (BACKEND == "torch")
in_every_way = pytest.mark.parametrize("learning", WAYS)
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="nothing differs here")


def make_model(learning="frozen", encoder=None, **arguments):
    keras.utils.set_random_seed(0)
    encoder = encoder or ViTEncoder(16, 8, 24, 1, 2, name="encoder")
    arguments = {"num_frames": 4, "seed": 0, **arguments}
    return LatentDynamicsModel.from_encoder(
        encoder, ("across", "down"), learning=learning, **arguments
    )


def stir(model):
    """Move all weights, so that none is what it starts as."""
    draws = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight + draws.normal(0, 0.05, weight.shape).astype("float32"))


def values(variables):
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


def moved(before, after):
    return [
        not np.array_equal(*pair) for pair in zip(before, values(after), strict=True)
    ]


@in_every_way
def test_outputs_and_loss_equal_the_numpy_forward_pass(learning):
    model = make_model(learning, state_dim=5)
    stir(model)
    outputs = model({**BATCH, "states": STATES}, training=True)

    def latents_of(encoder):
        latents = numpy_vit.encode(encoder, FRAMES.reshape(16, 16, 16, 3))["norm"]
        return numpy_vit.normalized(latents).reshape(4, 4, 4, 24)

    own, targets = latents_of(model.encoder), latents_of(model.feature_encoder)[:, 1:]
    prediction = numpy_vit.predict_next(
        model.predictor, own[:, :-1], ACTIONS, STATES[:, :-1]
    )
    first = [own[:, :1], ACTIONS[:, :1], STATES[:, :1]]
    second = numpy_vit.predict_next(
        model.predictor,
        np.concatenate(
            [own[:, :1], numpy_vit.predict_next(model.predictor, *first)], 1
        ),
        *(ACTIONS[:, :2], STATES[:, :2]),
    )
    expected = {"prediction": prediction, "target": targets, "rollout": second}
    if learning == "teacher_free":
        expected["latents"] = own
    assert set(outputs) == set(expected)
    for name, numbers in expected.items():
        result = ops.convert_to_numpy(ops.stop_gradient(outputs[name]))
        np.testing.assert_allclose(result, numbers, atol=5e-5)
    loss = np.abs(prediction - targets).mean() + np.abs(second - targets[:, :2]).mean()
    if learning == "teacher_free":
        latents = ops.convert_to_tensor(own.reshape(4, 16, 24).astype("float32"))
        loss += float(model.regularizer(latents))
    result = model.compute_loss(y_pred=outputs, training=False)
    np.testing.assert_allclose(float(ops.stop_gradient(result)), loss, rtol=1e-4)


def arrays(batch):
    return (batch["frames"], batch["actions"]), {"batch_size": 2}


def dictionary(batch):
    return (batch,), {"batch_size": 2}


class Batches(keras.utils.PyDataset):
    """Pairs of frames and actions, in two batches."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        part = slice(2 * index, 2 * index + 2)
        return FRAMES[part], ACTIONS[part]


def dataset(batch):
    return (Batches(),), {}


def generator(batch):
    return ((Batches()[index] for index in range(2)),), {}


def tf_data(batch):
    tf = pytest.importorskip("tensorflow")
    pairs = tf.data.Dataset.from_tensor_slices((batch["frames"], batch["actions"]))
    return (pairs.batch(2),), {}


def tf_data_of_dictionaries(batch):
    tf = pytest.importorskip("tensorflow")
    return (tf.data.Dataset.from_tensor_slices(batch).batch(2),), {}


def torch_loader(batch):
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(batch[name]) for name in ("frames", "actions")]
    pairs = torch.utils.data.TensorDataset(*tensors)
    return (torch.utils.data.DataLoader(pairs, batch_size=2),), {}


PIPELINES = [dictionary, dataset, generator, tf_data, tf_data_of_dictionaries]


def test_all_pipelines_give_the_same_loss():
    model = make_model()
    start = values(model.weights)
    model.compile(AdamW(1e-3))
    losses = []
    for pipeline in (arrays, *PIPELINES, torch_loader):
        if pipeline in PIPELINES[3:] and not importlib.util.find_spec("tensorflow"):
            continue
        for weight, value in zip(model.weights, start, strict=True):
            weight.assign(value)
        for variable in model.optimizer.variables[2:]:
            variable.assign(0 * variable.value)
        model.optimizer.iterations.assign(0)
        parts, arguments = pipeline(BATCH)
        history = model.fit(*parts, **arguments, shuffle=False, verbose=0)
        losses.append(history.history["loss"][0])
    assert len(losses) >= 5
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


def test_evaluation_and_prediction_take_what_fit_takes():
    model = make_model()
    model.compile(AdamW(1e-3))
    losses = [model.evaluate(x, verbose=0) for x in (BATCH, Batches())]
    losses.append(model.evaluate(FRAMES, ACTIONS, verbose=0))
    history = model.fit(
        *(FRAMES, ACTIONS), validation_data=(FRAMES, ACTIONS), epochs=1, verbose=0
    ).history
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    assert history["val_loss"][0] < losses[0]
    one = model.predict(BATCH, verbose=0)["prediction"]
    for x in ((FRAMES, ACTIONS), Batches()):
        np.testing.assert_allclose(
            model.predict(x, verbose=0)["prediction"], one, atol=1e-5
        )


@in_every_way
def test_what_learns_and_what_is_saved(learning, tmp_path):
    model = make_model(
        learning, **({"ema_momentum": 0.5} if learning == "teacher" else {})
    )
    model.trainable = False
    model.trainable = True
    assert model.encoder.trainable == (learning != "frozen")
    model.compile(AdamW(1e-2))
    names = ["encoder", "predictor"] + ["target_encoder"] * (learning == "teacher")
    before = {name: values(getattr(model, name).weights) for name in names}

    def fit(part):
        history = part.fit(BATCH, batch_size=2, epochs=2, shuffle=False, verbose=0)
        return history.history["loss"]

    fit(model)
    for name in names:
        share = np.mean(moved(before[name], getattr(model, name).weights))
        assert share == 0 if (name, learning) == ("encoder", "frozen") else share > 0.9
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert loaded.slots == ("across", "down")
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    np.testing.assert_allclose(fit(model), fit(loaded), rtol=1e-5)
    encoder = load_encoder(path)
    images = FRAMES[:, 0]
    expected = keras.models.load_model(path).feature_encoder(images)
    np.testing.assert_allclose(*values([encoder(images), expected]), atol=1e-6)


@on_torch
def test_gradients_reach_the_encoder_through_the_targets_without_a_teacher():
    still = VarianceCovarianceRegularizer(0.0, 0.0, name="regularizer")
    model = make_model("teacher_free", regularizer=still, rollout_steps=0)
    model.predictor.trainable = False
    model.compile(AdamW(1e-2))
    before = values(model.encoder.weights)
    model.fit(BATCH, batch_size=4, verbose=0)
    assert np.mean(moved(before, model.encoder.weights)) > 0.9
    assert set(model(BATCH)) == {"prediction", "target", "latents"}


@on_torch
def test_a_video_encoder_sees_each_frame_as_a_still():
    encoder = VideoEncoder(16, 8, 24, 1, 2, num_frames=4, name="encoder")
    model = make_model(encoder=encoder)
    latents = model.encode(FRAMES)
    assert tuple(latents.shape) == (4, 4, 4, 24)
    expected = numpy_vit.normalized(ops.convert_to_numpy(encoder(FRAMES[:, 2])))
    np.testing.assert_allclose(values([latents])[0][:, 2], expected, atol=1e-5)
    model.compile(AdamW(1e-3))
    assert np.isfinite(model.fit(BATCH, batch_size=4, verbose=0).history["loss"]).all()


@pytest.mark.skipif(BACKEND == "jax", reason="JAX traces each shape anew")
def test_clips_may_be_shorter():
    model = make_model(num_frames=5)
    model.compile(AdamW(1e-3))
    for count in (3, 4):
        short = {"frames": FRAMES[:, :count], "actions": ACTIONS[:, : count - 1]}
        history = model.fit(short, batch_size=4, verbose=0).history
        assert np.isfinite(history["loss"]).all()


@on_torch
def test_what_cannot_be_meant_is_refused():
    model = make_model()
    model.compile(AdamW(1e-3))
    nan = np.full_like(ACTIONS, np.nan)
    refused = {
        "a pair": (FRAMES, None),
        "actions` must have shape": (FRAMES, ACTIONS[:, :2]),
        "finite": (FRAMES, nan),
        "value_range": (FRAMES / 255, ACTIONS),
        "3 to 4 frames": (np.repeat(FRAMES, 2, axis=1), ACTIONS),
        "image_size": (FRAMES[:, :, :8], ACTIONS),
        "`states` must be there": ({**BATCH, "states": STATES}, None),
        "stands alone": (BATCH, ACTIONS),
        "dictionary with the keys": ({"images": FRAMES}, None),
        "frames, height, width": (FRAMES[:, 0], ACTIONS),
    }
    for words, (x, y) in refused.items():
        with pytest.raises(ValueError, match=words):
            model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="third member"):
        model.evaluate(Triples(), verbose=0)
    encoder = model.encoder
    for words, arguments in {
        "`regularizer` is for": {"regularizer": VarianceCovarianceRegularizer()},
        "`learning` must be one of": {"learning": "slowly"},
        "`rollout_steps` must be": {"rollout_steps": 4},
    }.items():
        with pytest.raises(ValueError, match=words):
            make_model(encoder=encoder, **arguments)
    with pytest.raises(ValueError, match="`slots` must be 2 names"):
        LatentDynamicsModel(encoder, model.predictor, slots=("one",))
    with pytest.raises(ValueError, match="`predictor.hidden_dim` must be 16"):
        LatentDynamicsModel(ViTEncoder(16, 8, 16, 1, 2), model.predictor)


class Triples(Batches):
    """With a member too many."""

    def __getitem__(self, index):
        return (*super().__getitem__(index), ACTIONS[:2])


@on_torch
def test_operations_of_a_clip_by_hand():
    encoder = ViTEncoder(16, 8, 24, 1, 2, name="encoder")
    model = make_model(encoder=encoder, state_dim=5, predictor_dim=12)
    tokens, width = 6, 12
    projections = 2 * (4 * 24 * width + 7 * width + 4 * width * 24)

    def block(num_tokens, num_seen):
        dense = 4 * width * width + 2 * width * 48
        return 2 * num_tokens * dense + 4 * num_tokens * num_seen * width

    forced = 3 * projections + block(3 * tokens, 3 * tokens)
    rolled = 2 * projections + block(tokens, tokens) + block(tokens, 2 * tokens)
    frame = flops_per_image(encoder)
    assert flops_per_image(model.predictor) == forced
    assert flops_per_image(model) == 4 * frame + forced + rolled
    # A frozen encoder has no backward pass.
    assert flops_per_image(model, training=True) == 4 * frame + 3 * (forced + rolled)
    teacher = make_model("teacher", state_dim=5, predictor_dim=12)
    assert flops_per_image(teacher, training=True) == (
        3 * (3 * frame + forced + rolled) + 3 * frame
    )
    with pytest.raises(ValueError, match="num_context"):
        flops_per_image(model.predictor, num_context=3)


@on_torch
def test_presets_have_the_sizes_that_they_are_named_after():
    model = LatentDynamicsModel.from_preset("dynamics_tiny_64", load_weights=False)
    assert model.slots == ("pan_rows", "pan_columns", "log_zoom", "turn")
    assert (model.num_frames, model.num_patches, model.learning) == (8, 64, "teacher")
    size = PRESETS["dynamics_large_256"]
    with keras.device("meta"):
        model = LatentDynamicsModel.from_preset("dynamics_large_256", False)
    assert (model.action_dim, model.state_dim, model.num_patches) == (7, 7, 256)
    predictor = model.predictor
    assert predictor.num_layers == size["predictor"]["num_layers"] == 24
    # 300 million are told of a predictor of this depth and width.
    assert predictor.count_params() / 1e6 == pytest.approx(304, abs=2)
