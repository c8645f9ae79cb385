"""Every switch on every model: precision, memory, freezing, low rank, int8, files."""

import gc
import warnings

import keras
import numpy as np
import pytest
from harness import (
    CHANGES,
    MODELS,
    block_denses,
    compile_model,
    data_of,
    encoders_and_predictors,
    fill,
    fit,
    freeze_and_enable_lora,
    images,
    inputs_of,
    make,
    make_encoder,
    make_world_model,
    outputs_of,
    quantize,
    values,
)
from keras import ops

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.datasets import ImageArray
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW

BACKEND = keras.backend.backend()
TRAINED = [name for name in MODELS if name != "predictor"]  # alone it has no loss
# Where every model is compiled, those that are made of the same parts as another one
# are left to Torch.
ALIKE = {"sequence", "none", "masked_autoencoder", "contrastive", "backbone"}
ALIKE = set() if BACKEND == "torch" else ALIKE | {"multi_task", "dynamics"}
on_every_model = pytest.mark.parametrize("name", [n for n in MODELS if n not in ALIKE])
no_half_products = pytest.mark.skipif(
    BACKEND == "jax", reason="XLA's CPU client has no float16 matrix product"
)


@pytest.fixture(scope="module", autouse=True)
def _quick_collection():
    """Keras collects garbage for each variable that `quantize` and LoRA replace."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def plain():
    """Outputs of each model in float32 with no switch, made once."""
    keras.config.set_dtype_policy("float32")
    return {name: outputs_of(name, make(name)) for name in MODELS}


# The conditionings differ in their weights, not in what can be done to the blocks.
@pytest.mark.parametrize(
    ("name", "change"),
    [
        (name, change)
        for name in MODELS
        for change in (CHANGES[:1] if name in ("sequence", "none") else CHANGES)
    ],
)
def test_a_file_gives_the_same_outputs_flags_and_moments(name, change, tmp_path):
    model = make(name)
    change(model)
    compile_model(name, model)
    model.optimizer.build(model.trainable_variables)
    moments = moments_of(model)
    draws = np.random.default_rng(3)
    for variable in moments:
        variable.assign(draws.uniform(size=variable.shape).astype("float32"))
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    loaded_moments = moments_of(loaded)
    for one, two in zip(values(moments), values(loaded_moments), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(
        outputs_of(name, loaded), outputs_of(name, model), atol=1e-6
    )


def moments_of(model):
    return [v for v in model.optimizer.variables if v.shape]


@pytest.mark.parametrize(
    "policy",
    [
        "mixed_bfloat16",
        pytest.param("mixed_float16", marks=no_half_products),
        "bfloat16",
    ],
)
@on_every_model
def test_half_precision_computes_nearly_the_same(name, policy, plain):
    outputs = outputs_of(name, make(name, dtype=policy))
    error = np.abs(outputs - plain[name]).mean()
    assert 0 < error < 0.03 * np.abs(plain[name]).mean()


@pytest.fixture(scope="module")
def float32_distance():
    return distance_of_the_teacher("float32")


def distance_of_the_teacher(policy):
    model = make("feature", dtype=policy)
    model.reset_target_encoder()
    start = values(model.target_encoder.weights)
    compile_model("feature", model)
    fit("feature", model, epochs=10)
    end = values(model.target_encoder.weights)
    return np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(start, end, strict=True)))


@pytest.mark.parametrize(
    "policy",
    [
        "mixed_bfloat16",
        pytest.param("mixed_float16", marks=no_half_products),
        "bfloat16",
    ],
)
def test_the_teacher_moves_as_far_in_half_precision(policy, float32_distance):
    ratio = distance_of_the_teacher(policy) / float32_distance
    assert 0.8 < ratio < 1.25


@on_every_model
def test_recomputed_activations_and_idle_drop_path_change_no_output(name, plain):
    model = make(name, remat=True, drop_path_rate=0.5)
    np.testing.assert_allclose(outputs_of(name, model), plain[name], atol=1e-6)
    dropped = outputs_of(name, model, training=True)
    assert np.abs(dropped - plain[name]).max() > 1e-2


@on_every_model
def test_low_rank_updates_are_in_the_outputs(name, plain):
    model = make(name)
    layers = block_denses(model)
    assert len(layers) == 8 * len(encoders_and_predictors(model))
    for layer in layers:
        layer.enable_lora(2)
    np.testing.assert_allclose(outputs_of(name, model), plain[name], atol=1e-6)
    for layer in layers:
        layer.lora_kernel_b.assign(layer.lora_kernel_b + 1.0)
    assert np.abs(outputs_of(name, model) - plain[name]).max() > 1e-2


@on_every_model
def test_int8_computes_nearly_the_same(name, plain):
    model = make(name)
    quantize(model)
    assert {layer.quantization_mode for layer in block_denses(model)} == {"int8"}
    # Of outputs of mean 0.8, as the latents of the final norm are.
    scale = 0.8 / np.abs(plain[name]).mean()
    error = scale * np.abs(outputs_of(name, model) - plain[name]).mean()
    assert 0 < error < 0.05


@pytest.mark.parametrize("name", TRAINED)
def test_all_switches_together_train(name):
    model = make(name, dtype="mixed_bfloat16", remat=True, drop_path_rate=0.3)
    freeze_and_enable_lora(model)
    learns = {id(v) for v in model.trainable_variables}
    learned = values(model.trainable_variables)
    still = [
        v
        for part in encoders_and_predictors(model)
        for v in part.weights
        if id(v) not in learns
    ]
    frozen = values(still)
    compile_model(name, model)
    history = fit(name, model, epochs=2).history
    assert np.isfinite(history["loss"]).all()
    moved = [
        np.abs(a - b).max()
        for a, b in zip(learned, values(model.trainable_variables), strict=True)
    ]
    assert np.mean(np.array(moved) > 0) > 0.9
    for before, after in zip(frozen, values(still), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", TRAINED if BACKEND == "torch" else ["feature"])
def test_a_validation_is_the_evaluation_of_the_same_data(name):
    model = make(name)
    compile_model(name, model)
    inputs, targets = data_of(name)
    sources = [(inputs, targets)]
    if not isinstance(inputs, dict):
        sources.append(ImageArray(inputs, targets, batch_size=4, shuffle=False))
    for source in sources:
        history = fit(name, model, validation_data=source).history
        evaluated = model.evaluate(inputs, targets, verbose=0, return_dict=True)
        np.testing.assert_allclose(history["val_loss"], [evaluated["loss"]], rtol=1e-5)


@pytest.mark.parametrize("num_channels", [1, 12])
@on_every_model
def test_any_number_of_channels(name, num_channels):
    model = make(name, num_channels=num_channels)
    outputs = outputs_of(name, model, num_channels=num_channels)
    assert np.isfinite(outputs).all()
    assert outputs.std() > 0.01
    if name == "predictor":
        return
    # Every channel counts.
    changed = images(num_channels).copy()
    changed[..., -1] = 255 - changed[..., -1]
    (arguments,) = inputs_of(name, num_channels)
    if not isinstance(arguments, dict):
        other = keras.tree.flatten(model(changed, training=False))
        other = np.concatenate([np.ravel(value) for value in values(other)])
        assert np.abs(other - outputs).max() > 1e-3


@on_every_model
def test_weights_go_to_a_model_with_drop_path_and_back(name, tmp_path, plain):
    path = tmp_path / "model.weights.h5"
    make(name).save_weights(path)
    dropping = MODELS[name](drop_path_rate=0.2)
    dropping.load_weights(path)
    dropping.save_weights(path)
    back = MODELS[name]()
    back.load_weights(path)
    np.testing.assert_array_equal(outputs_of(name, back), plain[name])


@on_every_model
def test_the_image_data_format_changes_nothing(name, plain):
    keras.config.set_image_data_format("channels_first")
    try:
        outputs = outputs_of(name, make(name))
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(outputs, plain[name])


@pytest.mark.skipif(
    BACKEND == "torch",
    reason="tests/backend/test_torch_compiled_parts.py has all models",
)
@pytest.mark.parametrize("name", ["encoder", "classifier"])
def test_compiled_outputs_are_the_eager_ones(name, plain):
    model = make(name)
    model.compile(jit_compile=True)
    outputs = model.predict(inputs_of(name)[0], verbose=0)
    np.testing.assert_allclose(outputs.ravel(), plain[name], atol=2e-5)


def test_intermediates_feed_a_functional_head():
    encoder = make("encoder")
    inputs = keras.Input((16, 16, 3))
    stages = encoder(inputs, return_intermediates=True)
    assert list(stages) == ["stem", "block_00", "block_01", "norm"]
    head = keras.layers.Dense(3)
    joined = [stages["block_00"], stages["norm"]]
    model = keras.Model(inputs, head(keras.layers.Concatenate()(joined)))
    eager = encoder(images(), return_intermediates=True)
    expected = head(ops.concatenate([eager["block_00"], eager["norm"]], axis=-1))
    np.testing.assert_allclose(*values([model(images()), expected]), atol=1e-6)


@pytest.mark.parametrize("change", CHANGES)
def test_a_functional_model_comes_back_as_its_encoder_was_changed(change, tmp_path):
    encoder = make("encoder")
    change(encoder)
    inputs = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling1D()(encoder(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    model.compile(AdamW(1e-2), "mse")
    model.fit(images(), np.ones((len(images()), 2)), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    state = [m.weights + m.optimizer.variables for m in (model, loaded)]
    for one, two in zip(*map(values, state), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(*values([loaded(images()), model(images())]), atol=1e-6)


def test_one_graph_takes_images_of_any_size():
    encoder = make("encoder")
    inputs = keras.Input((None, None, 3))
    latents = encoder(inputs)
    assert latents.shape == (None, None, 16)
    model = keras.Model(inputs, latents)
    for size in (16, 24):
        pictures = images(size=size)
        pair = [model(pictures), encoder(pictures)]
        np.testing.assert_allclose(*values(pair), atol=1e-6)


def test_an_encoder_is_exported_after_a_call(tmp_path):
    encoder = make("encoder")
    expected = values([encoder(images().astype("float32"))])[0]
    if BACKEND == "torch":
        torch = pytest.importorskip("torch")
        program = torch.export.export(encoder, (torch.zeros((4, 16, 16, 3)),))
        exported = program.module()(torch.tensor(images().astype("float32")))
    else:
        tensorflow = pytest.importorskip("tensorflow")
        encoder.export(tmp_path / "encoder", format="tf_saved_model", verbose=False)
        if BACKEND == "jax":
            # Written, but TensorFlow's XLA is older than JAX's and lacks its `erf`.
            assert (tmp_path / "encoder" / "saved_model.pb").stat().st_size > 0
            return
        loaded = tensorflow.saved_model.load(str(tmp_path / "encoder"))
        exported = loaded.serve(tensorflow.constant(images().astype("float32")))
    result = np.asarray(exported.detach() if BACKEND == "torch" else exported)
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_parts_of_one_name_are_refused():
    space = make_world_model().view_generator
    encoder = ViTEncoder(16, 4, 16, 1, 2, name="net")
    predictor = WorldModelPredictor(
        (4, 4), 16, 16, 1, 2, action_dim=space.action_space.action_dim, name="net"
    )
    with pytest.raises(ValueError, match="net"):
        ImageWorldModel(encoder, predictor, space)


def test_the_name_of_an_encoder_changes_nothing():
    """Even if it was the teacher of another model."""
    trained = []
    for encoder in (make_encoder(), make_world_model().target_encoder):
        encoder.trainable = True
        model = ImageWorldModel.from_encoder(encoder, ema_momentum=0.9, seed=0)
        fill(model)
        model.compile(keras.optimizers.SGD(0.05))
        fit("feature", model, epochs=2)
        trained.append(values(model.weights))
    for one, two in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, two)


def test_losses_of_layers_are_in_the_evaluated_loss_of_a_world_model():
    model = make("feature")
    evaluated = []
    for strength in (0.0, 10.0):
        block_denses(model)[0].kernel.regularizer = keras.regularizers.L2(strength)
        compile_model("feature", model)
        evaluated.append(model.evaluate(data_of("feature")[0], verbose=0))
    added = 10 * (values([block_denses(model)[0].kernel])[0] ** 2).sum()
    np.testing.assert_allclose(evaluated[1] - evaluated[0], added, rtol=1e-4)


@pytest.mark.parametrize("name", ["feature", "classifier", "segmenter"])
def test_images_of_another_range_are_refused_before_the_first_step(name):
    model = make(name)
    compile_model(name, model)
    before = values(model.weights)
    with pytest.raises(ValueError, match="value_range"):
        model.fit((images() / 255).astype("float32"), data_of(name)[1], verbose=0)
    for one, two in zip(before, values(model.weights), strict=True):
        np.testing.assert_array_equal(one, two)
