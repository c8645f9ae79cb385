"""Models as folders: what was saved comes back, or nothing does."""

import json
import pathlib
import shutil
import subprocess
import sys
import types

import h5py
import keras
import numpy as np
import pytest
from harness import CHANGES, MODELS, compile_model, fit, make, make_encoder, outputs_of

from keras_iwm.backbones import (
    PRESETS,
    ViTEncoder,
    WorldModelPredictor,
    save_transformers,
)
from keras_iwm.models import ImageWorldModel
from keras_iwm.saving import weight_shapes


@pytest.fixture
def folder(tmp_path):
    """A preset of a tiny encoder."""
    make("encoder").save_to_preset(tmp_path / "preset", {"licence": "mine"})
    return tmp_path / "preset"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["encoder", "feature", "multi_task"])
def test_what_was_saved_comes_back(name, change, tmp_path):
    model = make(name)
    change(model)
    model.save_to_preset(tmp_path)
    loaded = type(model).from_preset(tmp_path)
    np.testing.assert_array_equal(outputs_of(name, model), outputs_of(name, loaded))
    assert [w.trainable for w in loaded.weights] == [w.trainable for w in model.weights]


def test_a_trained_model_leaves_its_optimizer_behind(tmp_path):
    model = make("feature")
    compile_model("feature", model)
    fit("feature", model)
    model.save_to_preset(tmp_path)
    loaded = ImageWorldModel.from_preset(tmp_path)
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert "optimizer" not in file


def test_the_folder_has_kerashubs_layout(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        *("config.json", "metadata.json", "model.weights.h5")
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["registered_name"] == "keras_iwm>ViTEncoder"
    assert {"module", "class_name", "config"} <= set(config)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["parameter_count"] == make_encoder().count_params()
    assert metadata["licence"] == "mine"
    assert metadata["keras_version"] == keras.__version__


def test_half_precision_halves_the_file(tmp_path):
    model = make("encoder")
    for dtype in ("float32", "float16"):
        model.save_to_preset(tmp_path / dtype, weights_dtype=dtype)
    loaded = ViTEncoder.from_preset(tmp_path / "float16")
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        assert two.dtype == "float32"
        np.testing.assert_array_equal(one.astype("float16"), two)
    with h5py.File(tmp_path / "float16" / "model.weights.h5") as file:
        kernel = file["layers/patch_embedding/projection/vars/0"]
        assert kernel.dtype == "float16"


def test_of_a_world_model_the_teacher_is_taken_and_learns(tmp_path):
    model = make("feature")
    model.save_to_preset(tmp_path)
    encoder = ViTEncoder.from_preset(tmp_path)
    assert encoder.name == "encoder"
    assert all(weight.trainable for weight in encoder.weights)
    np.testing.assert_array_equal(
        outputs_of("encoder", encoder), outputs_of("encoder", model.target_encoder)
    )


def test_without_weights_it_starts_at_random(folder):
    model = ViTEncoder.from_preset(folder, load_weights=False)
    assert model.get_config() == make_encoder().get_config()
    kernel = keras.ops.convert_to_numpy(model.patch_embedding.projection.kernel)
    saved = keras.ops.convert_to_numpy(make("encoder").patch_embedding.weights[0])
    assert not np.allclose(kernel, saved)
    (folder / "model.weights.h5").unlink()
    ViTEncoder.from_preset(folder, load_weights=False)


def test_saving_again_replaces_the_preset(folder):
    model = make_encoder()
    model.save_to_preset(folder)
    loaded = ViTEncoder.from_preset(folder)
    np.testing.assert_array_equal(
        outputs_of("encoder", model), outputs_of("encoder", loaded)
    )


def edit_weights(folder, edit):
    """Change the weights of a preset, and forget their checksum."""
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        edit(file)
    (folder / "metadata.json").unlink()


def remove(file):
    del file["layers/token_norm/vars/0"]


def add(file):
    file["layers/token_norm/vars/7"] = np.zeros(3, "float32")


def reshape(file):
    del file["layers/token_norm/vars/0"]
    file["layers/token_norm/vars/0"] = np.zeros(17, "float32")


def spoil(file):
    file["layers/token_norm/vars/0"][2] = np.nan


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (remove, r"Missing \(1\): /layers/token_norm/vars/0\."),
        (add, r"Unexpected \(1\): /layers/token_norm/vars/7\."),
        (
            reshape,
            r"Of another shape \(1\): /layers/token_norm/vars/0 is \(17,\)",
        ),
        (spoil, "/layers/token_norm/vars/0 holds NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, edit, message):
    edit_weights(folder, edit)
    with pytest.raises(ValueError, match=message) as refusal:
        ViTEncoder.from_preset(folder)
    assert str(folder) in str(refusal.value)


def test_weights_of_another_size_are_listed_on_both_sides(folder, tmp_path):
    other = ViTEncoder(16, 4, 8, 1, 2)
    other.save_to_preset(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.weights.h5", folder)
    (folder / "metadata.json").unlink()
    with pytest.raises(ValueError, match=r"Missing \(13\).*Of another shape \(17\)"):
        ViTEncoder.from_preset(folder)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        ViTEncoder.from_preset(folder)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "metadata.json"])
def test_a_cut_file_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"refused: its {name}"):
        ViTEncoder.from_preset(folder)


def test_a_flipped_bit_is_noticed(folder):
    content = bytearray((folder / "model.weights.h5").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.weights.h5").write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        ViTEncoder.from_preset(folder)


def test_code_in_a_config_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["config"]["norm"] = {"class_name": "__lambda__", "config": {"value": "x"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="code"):
        ViTEncoder.from_preset(folder)


def test_another_class_is_named(folder):
    with pytest.raises(ValueError, match="ViTEncoder.from_preset"):
        ImageWorldModel.from_preset(folder)
    with pytest.raises(ValueError, match="ViTEncoder.from_preset"):
        WorldModelPredictor.from_preset(folder)


def test_without_keras_hook_keras_refuses_what_is_missing(folder, monkeypatch):
    monkeypatch.setattr(weight_shapes, "weight_shapes", lambda model: None)
    edit_weights(folder, remove)
    with pytest.raises(ValueError, match="refused"):
        ViTEncoder.from_preset(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("iwm_huge",), "iwm_base_224_equivariant"),
        (("iwm_base_224_equivariant",), "load_weights=False"),
        (("iwm_tiny_32", "no"), "`load_weights`"),
        ((3,), "`preset`"),
    ],
)
@pytest.mark.parametrize("kind", [ViTEncoder, ImageWorldModel])
def test_names_without_weights_say_so(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind.from_preset(*arguments)


def test_trained_weights_are_not_changed(folder):
    with pytest.raises(ValueError, match="patch_size.*load_weights=False"):
        ViTEncoder.from_preset("iwm_tiny_32", patch_size=4)
    with pytest.raises(ValueError, match="patch_size.*load_weights=False"):
        ViTEncoder.from_preset(folder, load_weights=False, patch_size=4)


def test_a_named_size_makes_an_encoder():
    encoder = ViTEncoder.from_preset("iwm_tiny_96", load_weights=False, patch_size=8)
    assert (encoder.grid_size, encoder.num_layers) == ((12, 12), 12)
    assert encoder.hidden_dim == PRESETS["iwm_tiny_96"]["encoder"]["hidden_dim"]


def test_presets_come_from_the_hub_too(folder, monkeypatch):
    hub = types.SimpleNamespace(snapshot_download=lambda *_, **__: str(folder))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    encoder = ViTEncoder.from_preset("hf://somebody/encoder")
    np.testing.assert_array_equal(
        outputs_of("encoder", encoder), outputs_of("encoder", make("encoder"))
    )


def test_what_others_publish_is_a_preset(tmp_path):
    save_transformers(make("encoder"), tmp_path)
    encoder = ViTEncoder.from_preset(tmp_path, value_range=(0, 255))
    np.testing.assert_allclose(
        outputs_of("encoder", encoder),
        outputs_of("encoder", make("encoder")),
        atol=1e-5,
    )
    with pytest.raises(ValueError, match="`load_weights`"):
        ViTEncoder.from_preset(tmp_path, load_weights=False)


def test_facts_cannot_change_what_the_model_says(tmp_path):
    make_encoder().save_to_preset(tmp_path, {"weights_sha256": "0", "data": "mine"})
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert metadata["data"] == "mine"
    assert len(metadata["weights_sha256"]) == 64
    ViTEncoder.from_preset(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_a_file_too_large_is_not_read(folder, name):
    with open(folder / name, "r+b") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(ValueError, match=f"{name} has 16777217 bytes"):
        ViTEncoder.from_preset(folder)


def test_facts_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="`facts`"):
        make_encoder().save_to_preset(tmp_path, {"a": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MODELS)
def test_places_are_those_of_the_file(name, tmp_path):
    model = make(name)
    model.save_weights(tmp_path / "model.weights.h5")
    found = {}
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(
            lambda place, item: (
                found.update({f"/{place}": item.shape})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    assert weight_shapes.weight_shapes(model) == found


def test_a_fresh_process_loads_the_preset(folder, tmp_path):
    np.save(tmp_path / "expected.npy", outputs_of("encoder", make("encoder")))
    code = (
        "import numpy as np\n"
        "from harness import outputs_of\n"
        "from keras_iwm.backbones import ViTEncoder\n"
        f"encoder = ViTEncoder.from_preset({str(folder)!r})\n"
        f"expected = np.load({str(tmp_path / 'expected.npy')!r})\n"
        "np.testing.assert_array_equal(outputs_of('encoder', encoder), expected)\n"
    )
    tests = str(pathlib.Path(__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r})\n{code}"],
        check=True,
    )
