"""What is exported says the same without Keras, for any number of images."""

import pathlib
import runpy

import keras
import numpy as np
import pytest
from harness import inputs_of, make
from keras import ops

from keras_iwm import backbones, downstream, models
from keras_iwm.backend.export_formats import PACKAGES, SUFFIXES

BACKEND = keras.backend.backend()
PROGRAM = pathlib.Path(__file__).parents[2] / "benchmarks" / "export_table.py"
TABLE = runpy.run_path(str(PROGRAM))
# OpenVINO (180 MB) is checked where it is installed; the extra `test` leaves it out.
MADE_HERE = [name for name, packages in PACKAGES.items() if BACKEND in packages]
RNG = np.random.default_rng(0)


def make_served(name, **arguments):
    """A model that was never called, and what to feed it with."""
    encoder = backbones.ViTEncoder(16, 4, 32, 2, 2, **arguments)
    inputs = {"images": RNG.uniform(0, 255, (3, 16, 16, 3)).astype("float32")}
    if name == "encoder":
        return encoder, inputs
    model = models.ImageWorldModel.from_encoder(encoder, conditioning=name)
    action_dim = model.action_space.action_dim
    inputs["action"] = RNG.uniform(-1, 1, (3, action_dim)).astype("float32")
    return downstream.LatentPredictor.from_world_model(model), inputs


def require(format):
    """Skip a format where what makes it or reads it is not installed."""
    pytest.importorskip(PACKAGES[format][BACKEND])
    pytest.importorskip(TABLE["RUNTIMES"][format])


def export_and_read(model, format, folder, **arguments):
    path = folder / f"model{SUFFIXES[format]}"
    model.export(path, format=format, verbose=False, **arguments)
    return TABLE["READERS"][format](str(path))


@pytest.mark.parametrize("format", MADE_HERE)
@pytest.mark.parametrize("name", ["encoder", "feature"])
def test_files_say_what_keras_says(name, format, tmp_path):
    require(format)
    model, inputs = make_served(name)
    serve = export_and_read(model, format, tmp_path)
    wanted = ops.convert_to_numpy(model(TABLE["alone"](inputs)))
    for count in (1, 2, 3):
        got = serve(TABLE["first"](inputs, count))
        np.testing.assert_allclose(got, wanted[:count], rtol=0, atol=2e-5)


def test_images_of_another_size_have_a_file_of_their_own(tmp_path):
    format = "tf_saved_model" if BACKEND == "jax" else "onnx"
    require(format)
    model, _ = make_served("encoder")
    images = RNG.integers(0, 256, (2, 24, 16, 3)).astype("uint8")
    signature = [keras.InputSpec(shape=(None, 24, 16, 3), dtype="uint8", name="images")]
    serve = export_and_read(model, format, tmp_path, input_signature=signature)
    wanted = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(serve({"images": images}), wanted, rtol=0, atol=2e-5)


def test_a_functional_model_around_an_encoder_is_exported_by_keras(tmp_path):
    format = "tf_saved_model" if BACKEND == "jax" else "onnx"
    require(format)
    encoder, inputs = make_served("encoder")
    images = keras.Input((16, 16, 3), name="images")
    pooled = keras.layers.GlobalAveragePooling1D()(encoder(images))
    model = keras.Model(images, keras.layers.Dense(3)(pooled))
    wanted = ops.convert_to_numpy(model(inputs["images"]))  # Keras wants a call
    serve = export_and_read(model, format, tmp_path)
    np.testing.assert_allclose(serve(inputs), wanted, rtol=0, atol=2e-5)


def test_downstream_models_know_what_they_take(tmp_path):
    format = "tf_saved_model" if BACKEND == "jax" else "onnx"
    require(format)
    model = make("segmenter")
    serve = export_and_read(model, format, tmp_path)
    images = inputs_of("segmenter")[0].astype("float32")
    wanted = ops.convert_to_numpy(model(images))
    got = serve({"images": images})
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("format", sorted(set(PACKAGES) - set(MADE_HERE)))
def test_what_cannot_be_made_here_is_refused_with_the_way_round(format, tmp_path):
    model, _ = make_served("encoder")
    with pytest.raises(ValueError, match=r"(?s)`format`.*KERAS_BACKEND="):
        export_and_read(model, format, tmp_path)


@pytest.mark.parametrize(
    ("change", "format"), [("mixed_bfloat16", "onnx"), ("int8", "openvino")]
)
def test_precisions_that_a_format_cannot_hold_are_refused(change, format, tmp_path):
    if format not in MADE_HERE:
        pytest.skip("not made here")
    model, _ = make_served("encoder", dtype=None if change == "int8" else change)
    if change == "int8":
        model.quantize("int8")
    with pytest.raises(ValueError, match=r"(?s)`format`.*in float32"):
        export_and_read(model, format, tmp_path)


@pytest.mark.parametrize("name", ["encoder", "classifier"])
def test_int8_files_say_what_keras_says(name, tmp_path):
    # Where a value lies between two steps of int8, another compiler's last bit tips
    # it: a few images in a hundred, by a part of what int8 itself costs.
    format = "torch" if BACKEND == "torch" else "tf_saved_model"
    require(format)
    model = make_served("encoder")[0] if name == "encoder" else make(name)
    shape = (64, *inputs_of(name)[0].shape[1:])
    images = RNG.uniform(0, 255, shape).astype("float32")
    float32 = ops.convert_to_numpy(model(images))
    model.quantize("int8")
    serve = export_and_read(model, format, tmp_path)
    wanted = ops.convert_to_numpy(model(images))
    np.testing.assert_array_less(0, np.abs(wanted - float32).max())
    apart = np.abs(serve({"images": images}) - wanted).reshape(64, -1).max(axis=1)
    assert np.quantile(apart, 0.75) <= 2e-5
    assert apart.max() < np.abs(wanted - float32).max()


def test_wrong_arguments_are_refused(tmp_path):
    model, _ = make_served("encoder")
    with pytest.raises(ValueError, match="`format`"):
        model.export(tmp_path / "model", format="keras")
    with pytest.raises(ValueError, match=r"`filepath` must end in '\.onnx'"):
        model.export(tmp_path / "model", format="onnx")
    shapes = [(None, None, None, 3), (None, 16, 16, None)]
    signatures = [[keras.InputSpec(shape=s, dtype="float32")] for s in shapes]
    for signature in (*signatures, "images", [None], keras.InputSpec(shape=(1, 2))):
        with pytest.raises(ValueError, match="`input_signature`"):
            model.export(tmp_path / "m.onnx", "onnx", input_signature=signature)


def test_a_world_model_names_what_to_export(tmp_path):
    model = models.ImageWorldModel.from_preset("iwm_tiny_32")
    with pytest.raises(ValueError, match="LatentPredictor"):
        model.export(tmp_path / "model")


@pytest.mark.skipif(BACKEND != "jax", reason="a limit of JAX")
def test_a_saved_model_from_jax_takes_any_number_of_images(tmp_path):
    model, _ = make_served("encoder")
    signature = [keras.InputSpec(shape=(1, 16, 16, 3), dtype="float32")]
    with pytest.raises(ValueError, match="first axis open"):
        model.export(tmp_path / "model", input_signature=signature)
