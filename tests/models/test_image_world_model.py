import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

import keras_iwm
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW
from keras_iwm.views import MultiBlockMask, ViewGenerator


def small_model(conditioning="feature", seed=3, **arguments):
    encoder_arguments = arguments.pop("encoder_arguments", {})
    encoder = ViTEncoder((16, 24), 4, 16, 2, 2, **encoder_arguments)
    views = ViewGenerator((16, 24), MultiBlockMask((4, 6)), seed=seed)
    predictor = WorldModelPredictor(
        (4, 6),
        16,
        12,
        2,
        2,
        action_dim=views.action_space.action_dim,
        conditioning=conditioning,
    )
    return ImageWorldModel(encoder, predictor, views, **arguments)


def random_images(count=8, seed=0, shape=(16, 24, 3)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape)).astype("uint8")


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


@pytest.mark.parametrize("conditioning", ["none", "sequence", "feature"])
def test_call_and_loss_equal_the_numpy_forward_pass(conditioning):
    model = small_model(conditioning)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    views = model.view_generator(random_images(4), training=True)
    views = {name: ops.convert_to_numpy(view) for name, view in views.items()}
    outputs = {k: ops.convert_to_numpy(v) for k, v in model(views).items()}

    context = numpy_vit.encode(model.encoder, views["source"], views["context_ids"])
    prediction = numpy_vit.predict(
        model.predictor,
        context["norm"],
        views["context_ids"],
        views["target_ids"],
        views["action"],
    )
    latents = layer_norm(
        numpy_vit.encode(model.target_encoder, views["target"])["norm"]
    )
    target = np.stack([t[i] for t, i in zip(latents, views["target_ids"], strict=True)])
    np.testing.assert_allclose(outputs["prediction"], prediction, atol=2e-5)
    np.testing.assert_allclose(outputs["target"], target, atol=2e-5)
    loss = model.compute_loss(y_pred=model(views))
    np.testing.assert_allclose(float(loss), np.mean((prediction - target) ** 2), 1e-5)


def test_teacher_starts_as_the_student_and_owns_no_trainable_weight():
    model = small_model()

    def check():
        own = model.encoder.trainable_variables + model.predictor.trainable_variables
        assert len(own) == len(model.encoder.weights) + len(model.predictor.weights)
        assert {id(v) for v in model.trainable_variables} == {id(v) for v in own}
        assert model.target_encoder.trainable_variables == []
        assert not any(w.trainable for w in model.target_encoder.weights)

    check()
    for teacher, student in zip(
        model.target_encoder.get_weights(), model.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(teacher, student)
    model.trainable = True
    check()
    model.trainable = False
    assert model.trainable_variables == []
    model.trainable = True
    check()


def test_every_weight_has_a_path_of_its_own():
    # Keras on Torch clears the gradients of the weights that it knows by their path.
    model = small_model(num_classes=3)
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths)
    if keras.backend.backend() == "torch":
        known = {id(parameter) for parameter in model.parameters()}
        assert all(id(weight.value) in known for weight in model.trainable_variables)


def closed_form(teacher, students, momenta):
    for student, momentum in zip(students, momenta, strict=True):
        teacher = [
            momentum * t.astype("float64") + (1 - momentum) * s
            for t, s in zip(teacher, student, strict=True)
        ]
    return teacher


class StudentHistory(keras.callbacks.Callback):
    """Student weights and optimizer updates after every batch."""

    def on_train_begin(self, logs=None):
        self.students, self.updates = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.students.append(self.model.encoder.get_weights())
        self.updates.append(int(ops.convert_to_numpy(self.model.optimizer.iterations)))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("eager", [False, True])
def test_target_encoder_follows_its_closed_form(policy, eager):
    keras.config.set_dtype_policy(policy)
    momentum = keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.9)
    model = small_model(ema_momentum=momentum)
    start = model.target_encoder.get_weights()
    model.compile(AdamW(1e-2), run_eagerly=eager)
    history = StudentHistory()
    model.fit(random_images(12), batch_size=4, verbose=0, callbacks=[history])
    momenta = [0.5, 0.6, 0.7]
    expected = closed_form(start, history.students, momenta)
    for teacher, value in zip(
        model.target_encoder.get_weights(), expected, strict=True
    ):
        assert teacher.dtype == np.float32
        np.testing.assert_allclose(teacher, value, atol=1e-6)
    assert np.abs(start[0] - model.target_encoder.get_weights()[0]).max() > 1e-4


def test_target_encoder_moves_once_for_accumulated_gradients():
    model = small_model(ema_momentum=0.5)
    start = model.target_encoder.get_weights()
    model.compile(AdamW(1e-2, gradient_accumulation_steps=2))
    history = StudentHistory()
    model.fit(random_images(16), batch_size=4, verbose=0, callbacks=[history])
    assert history.updates == [0, 1, 1, 2]
    students = [history.students[1], history.students[3]]
    expected = closed_form(start, students, [0.5, 0.5])
    for teacher, value in zip(
        model.target_encoder.get_weights(), expected, strict=True
    ):
        np.testing.assert_allclose(teacher, value, atol=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has no such steps on Torch"
)
def test_several_steps_per_execution_equal_single_steps():
    results = []
    for steps in (1, 2):
        keras.utils.set_random_seed(1)
        model = small_model(ema_momentum=0.9)
        model.compile(AdamW(1e-3), steps_per_execution=steps)
        model.fit(random_images(16), batch_size=4, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for single, several in zip(*results, strict=True):
        np.testing.assert_allclose(single, several, atol=1e-6)


def test_frozen_encoder_and_its_teacher_do_not_move():
    model = small_model(ema_momentum=0.9)
    model.encoder.trainable = False
    model.compile(AdamW(1e-2))
    before, teacher = model.encoder.get_weights(), model.target_encoder.get_weights()
    predictor = model.predictor.get_weights()
    model.fit(random_images(8), batch_size=4, verbose=0)
    for old, new in zip(before, model.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(teacher, model.target_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(predictor[1] - model.predictor.get_weights()[1]).max() > 1e-4


def test_target_has_no_gradient_and_context_sees_no_masked_pixel():
    model = small_model()
    views = model.view_generator(random_images(2), training=True)
    views = {name: ops.convert_to_numpy(view) for name, view in views.items()}
    first = ops.convert_to_numpy(model(views)["prediction"])
    source = views["source"].copy()
    for image, context in zip(source, views["context_ids"], strict=True):
        for patch in set(range(24)) - set(context.tolist()):
            row, column = divmod(patch, 6)
            image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
    second = ops.convert_to_numpy(model({**views, "source": source})["prediction"])
    np.testing.assert_array_equal(first, second)


def test_labels_never_reach_the_encoder():
    images, labels = random_images(16), np.arange(16) % 3
    weights = []
    for num_classes, data in ((None, (images,)), (3, (images, labels))):
        keras.utils.set_random_seed(2)
        model = small_model(num_classes=num_classes)
        model.compile(AdamW(1e-3))
        history = model.fit(*data, batch_size=4, epochs=2, shuffle=False, verbose=0)
        weights.append(model.encoder.get_weights() + model.predictor.get_weights())
        loss = history.history["loss"]
    for alone, probed in zip(*weights, strict=True):
        np.testing.assert_allclose(alone, probed, atol=1e-6)
    assert set(history.history) == {"loss", "probe_accuracy"}
    assert loss[0] < 4  # the probe's cross-entropy stays out of the logged loss


def test_probe_learns_and_asks_for_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 64)
    images = rng.uniform(0, 60, (64, 16, 24, 3)) + 150 * labels[:, None, None, None]
    model = small_model(num_classes=2)
    model.compile(AdamW(1e-2))
    history = model.fit(images, labels, batch_size=16, epochs=8, verbose=0)
    assert history.history["probe_accuracy"][-1] > 0.9
    with pytest.raises(ValueError, match="needs labels"):
        model.fit(images, batch_size=16, verbose=0)


def test_evaluate_and_predict_do_not_depend_on_the_call():
    model = small_model()
    model.compile(AdamW(1e-3))
    images = random_images(8)
    assert model.evaluate(images, batch_size=4, verbose=0) == pytest.approx(
        model.evaluate(images, batch_size=4, verbose=0), abs=1e-7
    )
    first = model.predict(images, batch_size=4, verbose=0)
    second = model.predict(images, batch_size=4, verbose=0)
    np.testing.assert_array_equal(first["prediction"], second["prediction"])
    assert first["prediction"].shape == first["target"].shape


def test_saved_run_continues_exactly(tmp_path):
    images = random_images(16)

    def fit(model, epochs, initial_epoch=0):
        model.fit(
            images, batch_size=8, epochs=epochs, initial_epoch=initial_epoch,
            shuffle=False, verbose=0,
        )  # fmt: skip

    def new_model():
        keras.utils.set_random_seed(4)
        recipe = keras_iwm.optimizers.pretraining_recipe(8, 8, learning_rate=1e-2)
        model = small_model(
            ema_momentum=recipe.ema_momentum,
            encoder_arguments={"drop_path_rate": 0.3},
        )
        model.compile(recipe.optimizer)
        return model

    whole = new_model()
    fit(whole, 4)
    first = new_model()
    fit(first, 2)
    first.save(tmp_path / "run.keras")
    second = keras.models.load_model(tmp_path / "run.keras")
    fit(second, 4, initial_epoch=2)
    for one, two in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(second.trainable_variables) == len(whole.trainable_variables)


def test_a_stranger_to_the_training_seed_draws_other_views():
    images = random_images(8)
    actions = [
        ops.convert_to_numpy(
            small_model(seed=seed).view_generator(images, training=True)["action"]
        )
        for seed in (1, 2)
    ]
    assert np.abs(actions[0] - actions[1]).max() > 0.1


def test_frozen_encoder_is_frozen_after_loading(tmp_path):
    model = small_model(num_classes=3, name="world")
    model.encoder.trainable = False
    model.compile(AdamW(1e-3))
    model.fit(random_images(4), np.arange(4) % 3, batch_size=4, verbose=0)
    model.save(tmp_path / "frozen.keras")
    loaded = keras.models.load_model(tmp_path / "frozen.keras")
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    assert loaded.encoder.trainable_variables == []
    assert loaded.get_config() == model.get_config()


def test_compile_config_leaves_compilation_to_the_loading_backend():
    model = small_model()
    model.compile(AdamW(1e-3))
    assert "jit_compile" not in model.get_compile_config()


def test_separate_blocks_train_as_i_jepa():
    model = ImageWorldModel.from_preset(
        "ijepa_tiny_32", load_weights=False, patch_size=4, seed=0
    )
    assert model.view_generator.action_space.action_dim == 0
    images = random_images(4, shape=(32, 32, 3))
    outputs = model(images)
    num_blocks, num_targets = outputs["target"].shape[1:3]
    assert num_blocks == 4
    views = model.view_generator(images)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(views["source"]), ops.convert_to_numpy(views["target"])
    )
    latents = layer_norm(ops.convert_to_numpy(model.target_encoder(views["target"])))
    ids = ops.convert_to_numpy(views["target_ids"])
    assert ids.shape == (4, 4, num_targets)
    expected = np.stack([t[i] for t, i in zip(latents, ids, strict=True)])
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs["target"]), expected, atol=1e-5
    )
    model.compile(AdamW(1e-3))
    history = model.fit(images, batch_size=2, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_batch_of_one_trains():
    model = small_model()
    model.compile(AdamW(1e-3))
    loss = model.fit(random_images(1), batch_size=1, verbose=0).history["loss"]
    assert np.isfinite(loss).all()


def test_nan_pixels_do_not_poison_the_weights():
    images = random_images(8).astype("float32")
    images[5, 3, 3] = np.nan
    model = small_model()
    model.compile(AdamW(1e-3))
    with pytest.raises(ValueError, match="NaN or infinity in image 5"):
        model.fit(images, batch_size=4, verbose=0)
    # Behind the first batch of a loader nobody looks.
    model.fit(((part,) for part in (images[:4], images[4:])), verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 16, 24), "uint8"), "images"),
        (np.zeros((4, 16, 24, 1), "uint8"), "images"),
        (np.zeros((4, 3, 16, 24), "uint8"), "images"),
    ],
)
def test_wrong_images_are_refused_by_fit(images, message):
    model = small_model()
    model.compile(AdamW(1e-3))
    with pytest.raises(ValueError, match=message):
        model.fit(images, batch_size=4, verbose=0)


def test_incomplete_views_are_refused():
    with pytest.raises(ValueError, match="target_ids"):
        small_model()({"source": np.zeros((1, 16, 24, 3))})


def test_parts_that_do_not_fit_are_refused():
    model = small_model()
    other_grid = WorldModelPredictor((4, 4), 16, 12, 2, 2)
    with pytest.raises(ValueError, match="grid_size"):
        ImageWorldModel(model.encoder, other_grid, model.view_generator)
    other_action = WorldModelPredictor((4, 6), 16, 12, 2, 2, action_dim=5)
    with pytest.raises(ValueError, match="action_dim"):
        ImageWorldModel(model.encoder, other_action, model.view_generator)
    with pytest.raises(ValueError, match="ema_momentum"):
        small_model(ema_momentum=1.5)
    views = ViewGenerator((16, 24), MultiBlockMask((4, 6)), value_range=(0, 1))
    with pytest.raises(ValueError, match="value_range"):
        ImageWorldModel(model.encoder, model.predictor, views)
