import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from harness import BACKBONE, fill, images, make_encoder, make_world_model

from keras_iwm.downstream import ImageClassifier
from keras_iwm.optimizers import AdamW
from keras_iwm.saving import load_encoder


def assert_same(loaded, encoder):
    assert loaded.name == encoder.name
    for one, two in zip(loaded.weights, encoder.weights, strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(two)
        )
    np.testing.assert_array_equal(
        loaded.predict_on_batch(images()), encoder.predict_on_batch(images())
    )


@pytest.fixture(scope="module")
def world_model():
    model = make_world_model()
    fill(model)
    model.compile(AdamW(1e-3))
    model.fit(images(), verbose=0)  # the teacher differs from the student
    return model


def test_the_teacher_is_loaded_out_of_a_world_model(world_model, tmp_path):
    world_model.save(tmp_path / "model.keras")
    assert_same(load_encoder(tmp_path / "model.keras"), world_model.target_encoder)


def test_an_encoder_alone_is_loaded(tmp_path):
    encoder = make_encoder()
    fill(encoder)
    encoder.save(tmp_path / "encoder.keras")
    assert_same(load_encoder(tmp_path / "encoder.keras"), encoder)


@pytest.mark.parametrize("change", ["bfloat16", "quantized"])
def test_what_was_changed_on_the_teacher_comes_along(change, tmp_path):
    model = make_world_model(**({"dtype": "bfloat16"} if change == "bfloat16" else {}))
    if change == "quantized":
        model.target_encoder.quantize("int8", type_check=False)
    model.save(tmp_path / "model.keras")
    assert_same(load_encoder(tmp_path / "model.keras"), model.target_encoder)


def test_a_model_without_an_encoder_of_its_own_is_refused(tmp_path):
    ImageClassifier(BACKBONE, 2).save(tmp_path / "classifier.keras")
    with pytest.raises(ValueError, match="ImageClassifier without an encoder"):
        load_encoder(tmp_path / "classifier.keras")
    make_encoder().save_weights(tmp_path / "encoder.weights.h5")
    with pytest.raises(ValueError, match="`path` must be a .keras file"):
        load_encoder(tmp_path / "encoder.weights.h5")


def rewrite(path, config=lambda text: text, weights=lambda file: None):
    """Changes a model file in place."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = config(parts["config.json"].decode()).encode()
    content = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        weights(file)
    parts["model.weights.h5"] = content.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def test_weights_of_another_encoder_are_listed(world_model, tmp_path):
    path = tmp_path / "model.keras"
    world_model.save(path)

    def change(file):
        blocks = file["feature_encoder/blocks"]
        del blocks[f"{sorted(blocks)[0]}"]
        file["feature_encoder/layers/token_norm/vars/9"] = np.zeros(3, "float32")

    rewrite(path, weights=change)
    with pytest.raises(ValueError, match="missing: blocks/.*unexpected: layers/tok"):
        load_encoder(path)
    world_model.save(path)

    def enlarge(text):
        config = json.loads(text)
        config["config"]["encoder"]["config"]["mlp_dim"] += 4
        return json.dumps(config)

    rewrite(path, config=enlarge)
    with pytest.raises(ValueError, match=r"of another shape: .*64\) instead of .*68\)"):
        load_encoder(path)


def test_a_stranger_s_file_is_looked_at_first(tmp_path):
    path = tmp_path / "model.keras"
    make_encoder().save(path)
    rewrite(path, config=lambda text: text.replace("ViTEncoder", "Lambda"))
    with pytest.raises(ValueError, match="is refused"):
        load_encoder(path)
