"""Files with a fault planted in each: refused by name, and no code of theirs runs."""

import functools
import io
import json
import pathlib
import pickle
import stat
import tempfile
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest
from harness import (
    MODELS,
    compile_model,
    fit,
    freeze_and_enable_lora,
    leave,
    values,
)

import keras_iwm
from keras_iwm.saving import check_file, load_model

WEIGHTS = "model.weights.h5"
KERNEL = "layers/dense/vars/0"


@functools.cache
def good():
    """What a good file holds, by name."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        return members_of(path)


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, **arguments):
    with zipfile.ZipFile(path, "w", **arguments) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_weights(path, plant):
    """A file whose weights `plant` has changed, by their open HDF5 file."""
    buffer = io.BytesIO(good()[WEIGHTS])
    with h5py.File(buffer, "r+") as file:
        plant(file)
    return write(path, {**good(), WEIGHTS: buffer.getvalue()})


def with_config(path, plant):
    """A file whose config `plant` has changed."""
    config = json.loads(good()["config.json"])
    plant(config)
    return write(path, {**good(), "config.json": json.dumps(config)})


def dense(config):
    return config["config"]["layers"][1]


@pytest.mark.parametrize(
    ("name", "change"), [("feature", freeze_and_enable_lora), ("multi_task", leave)]
)
def test_what_was_saved_passes(name, change, tmp_path):
    model = MODELS[name]()
    change(model)
    compile_model(name, model)
    fit(name, model)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    for weight, other in zip(
        values(model.weights), values(loaded.weights), strict=True
    ):
        np.testing.assert_array_equal(weight, other)
    model.save_weights(tmp_path / "model.weights.h5")
    check_file(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_few_bits_pass(mode, tmp_path):
    layer = keras.layers.Dense(30)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.quantize(mode)
    model.save(tmp_path / "model.keras")
    check_file(tmp_path / "model.keras")


def test_files_of_runs_pass(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    checkpoint = keras_iwm.callbacks.RunCheckpoint(tmp_path)
    data = np.zeros((4, 4)), np.zeros((4, 3))
    model.fit(*data, verbose=0, callbacks=[checkpoint])
    load_model(tmp_path / "epoch_0001.keras")


def test_half_precision_and_files_of_own_classes_pass(tmp_path):
    @keras.saving.register_keras_serializable(package="a_stranger_to_keras")
    class OwnDense(keras.layers.Dense):
        pass

    for dtype in ("bfloat16", "float16"):
        layer = OwnDense(3, dtype=dtype)
        model = keras.Sequential([keras.Input((4,)), layer])
        model.save(tmp_path / "model.keras")
        check_file(tmp_path / "model.keras")
        layer.kernel.assign(layer.kernel * np.inf)
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match="NaN or infinity in 12 of 12"):
            check_file(tmp_path / "model.keras")


class Planted:
    """Pickled, it makes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("/tmp/keras_iwm_was_here", "w")


def symlink():
    info = zipfile.ZipInfo("metadata.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


ARCHIVES = {
    "traversal": ({"../../out.txt": b"x"}, "holds '../../out.txt'"),
    "absolute": ({"/tmp/out.txt": b"x"}, "holds '/tmp/out.txt'"),
    "backslash": ({"..\\out.txt": b"x"}, "out.txt"),
    "pickle": ({"weights.pkl": pickle.dumps(Planted())}, "holds 'weights.pkl'"),
    "pickled array": ({"model.weights.npz": b"x"}, "holds 'model.weights.npz'"),
    "asset": ({"assets/layers/lookup/vocabulary.txt": b"x"}, "holds 'assets/layers"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_nothing_else_is_in_a_file(name, tmp_path):
    extra, message = ARCHIVES[name]
    path = write(tmp_path / "model.keras", {**good(), **extra})
    with pytest.raises(ValueError, match=message) as refusal:
        check_file(path)
    assert str(path) in str(refusal.value)


def test_links_and_doubles_and_gaps_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    members = {n: c for n, c in good().items() if n != "metadata.json"}
    with zipfile.ZipFile(write(path, members), "a") as archive:
        archive.writestr(symlink(), "/etc/passwd")
    with pytest.raises(ValueError, match="model.keras.*metadata.json is a link"):
        check_file(path)
    with (
        zipfile.ZipFile(write(path, good()), "a") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr("config.json", b"{}")
    with pytest.raises(ValueError, match="model.keras.*one each of config.json"):
        check_file(path)
    for name in ("config.json", WEIGHTS):
        write(path, {n: c for n, c in good().items() if n != name})
        with pytest.raises(ValueError, match=f"model.keras.*holds no {name}"):
            check_file(path)


def peak_of(check):
    """Most bytes that Python and NumPy have held meanwhile."""
    tracemalloc.start()
    try:
        check()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_bombs_are_refused_before_they_take_memory(tmp_path):
    path = tmp_path / "model.keras"

    def refused(match):
        with pytest.raises(ValueError, match=match) as refusal:
            check_file(path)
        assert str(path) in str(refusal.value)

    # A thousandfold by compression; and a table of contents that counts twice.
    bomb = {WEIGHTS: bytes(2**26), "config.json": b"{}"}
    write(path, bomb, compression=zipfile.ZIP_DEFLATED)
    del bomb
    assert path.stat().st_size < 2**18
    assert peak_of(lambda: refused("is compressed: 67108864 bytes")) < 2**21
    content = write(path, good()).read_bytes()
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(WEIGHTS)
    size, larger = (n.to_bytes(4, "little") for n in (entry.file_size, 2**31))
    path.write_bytes(content.replace(size, larger))
    assert peak_of(lambda: refused("overlap, or it is cut off")) < 2**21

    def declare(file):
        del file[KERNEL]
        file.create_dataset(KERNEL, (2**40,), "float32", chunks=(2**20,))

    with_weights(path, declare)
    assert peak_of(lambda: refused("declares shape")) < 2**21

    def declare_contiguous(file):
        del file[KERNEL]
        file.create_dataset(KERNEL, (2**40,), "float32")  # nothing is written

    with_weights(path, declare_contiguous)
    assert peak_of(lambda: refused("declares shape .* 0 bytes are there")) < 2**21
    with_config(path, lambda config: dense(config)["config"].update(units=10**9))
    assert peak_of(lambda: refused("takes at least 1000000000 weights")) < 2**21


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ({"hidden_dim": 4000}, "takes at least 32000000 weights"),
        ({"num_layers": 10**9}, "takes at least"),
        ({"hidden_dim": 4e9}, "takes at least"),
        ({"image_size": [10**6, 10**6]}, "a grid of"),
        ({"image_size": [4096, 4096], "positions": "learned"}, "a table of 1048576"),
        ({"num_prefix_tokens": 10**9}, "takes at least"),
    ],
)
def test_a_model_is_no_larger_than_its_weights(sizes, match, tmp_path):
    encoder = keras_iwm.backbones.ViTEncoder(16, 4, 8, 1, 2)
    path = tmp_path / "model.keras"
    encoder.save(path)
    members = members_of(path)
    config = json.loads(members["config.json"])
    config["config"].update(sizes)
    write(path, {**members, "config.json": json.dumps(config)})
    with pytest.raises(ValueError, match=f"model.keras.*{match}"):
        check_file(path)


def soft(file):
    del file[KERNEL]
    file[KERNEL] = h5py.SoftLink("/layers/dense/vars/1")


def external(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/etc/other.h5", "/weights")


def outside(file):
    del file[KERNEL]
    parts = [("/etc/passwd", 0, 48)]
    file.create_dataset(KERNEL, (4, 3), "float32", external=parts)


def virtual(file):
    del file[KERNEL]
    layout = h5py.VirtualLayout((4, 3), "float32")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "weights", shape=(4, 3))
    file.create_virtual_dataset(KERNEL, layout)


def reference(file):
    group = file["layers/dense/vars"]
    del file[KERNEL]
    group.create_dataset("0", data=np.array([group.ref]), dtype=h5py.ref_dtype)


def text(file):
    del file[KERNEL]
    file[KERNEL] = np.array([b"import os"] * 12)


def circle(file):
    file["layers/dense/layers"] = file["layers"]


def type_alone(file):
    file["layers/type"] = np.dtype("float32")


def not_a_number(file):
    file[KERNEL][1, 2] = np.nan


WEIGHT_FAULTS = {
    soft: "refers to another",
    external: "refers to another",
    outside: "refers to another",
    virtual: "refers to another",
    reference: "holds no numbers",
    text: "holds no numbers",
    circle: "under two names",
    type_alone: "no weight",
    not_a_number: "NaN or infinity in 1 of 12",
}


@pytest.mark.parametrize("plant", WEIGHT_FAULTS, ids=lambda plant: plant.__name__)
def test_weights_are_plain_finite_numbers(plant, tmp_path):
    path = with_weights(tmp_path / "model.keras", plant)
    with pytest.raises(ValueError, match=f"model.keras.*{WEIGHT_FAULTS[plant]}"):
        check_file(path)
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(members_of(path)[WEIGHTS])
    with pytest.raises(ValueError, match=f"model.*h5.*{WEIGHT_FAULTS[plant]}"):
        check_file(weights)


def layer(class_name, module="keras.layers", registered_name=None, config=None):
    """Plant another layer."""
    return lambda described: dense(described).update(
        class_name=class_name,
        module=module,
        registered_name=registered_name,
        config=config or {},
    )


def activation(class_name, module, config):
    """Plant another activation."""
    described = {"class_name": class_name, "module": module, "config": config}
    return lambda whole: dense(whole)["config"].update(activation=described)


CONFIG_FAULTS = {
    "lambda layer": (layer("Lambda"), "holds code, in a Lambda"),
    "lambda": (activation("__lambda__", "builtins", {"value": "4wAA"}), "holds code"),
    "torch": (layer("TorchModuleWrapper"), "holds code"),
    "saved model": (layer("TFSMLayer", config={"filepath": "/tmp/x"}), "holds code"),
    "system": (activation("function", "os", "system"), "asks for system of os"),
    "class": (layer("Popen", "subprocess"), "asks for Popen of subprocess"),
    "hub": (layer("Backbone", "keras_hub.models"), "asks for Backbone"),
    "download": (activation("function", "keras.utils", "get_file"), "get_file"),
    "unsafe": (
        activation("function", "keras.config", "enable_unsafe_deserialization"),
        "asks for enable_unsafe",
    ),
    "own, not known": (layer("Own", None, "somebody>Own"), "asks for somebody>Own"),
    "own, by module": (layer("Own", "keras_iwm.layers"), "asks for Own"),
    "no module": (lambda config: dense(config).pop("module"), "asks for"),
    "type": (activation("__typespec__", "tensorflow", []), "asks for"),
    "no model": (lambda config: config.clear(), "describes no model"),
}


@pytest.mark.parametrize("name", CONFIG_FAULTS)
def test_configs_ask_for_known_parts_alone(name, tmp_path):
    plant, message = CONFIG_FAULTS[name]
    path = with_config(tmp_path / "model.keras", plant)
    with pytest.raises(ValueError, match=message) as refusal:
        check_file(path)
    assert str(path) in str(refusal.value)


def test_configs_that_are_no_json_are_refused(tmp_path):
    for config in (b"", b"{", b"\xff", b"[" * 100_000, b"[]", b'"text"'):
        path = write(tmp_path / "model.keras", {**good(), "config.json": config})
        with pytest.raises(ValueError, match="model.keras.*config"):
            check_file(path)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path):
    path = tmp_path / "model.keras"
    with_config(path, lambda config: dense(config)["config"].update(units=2))
    check_file(path)
    with pytest.raises(ValueError, match=r"(?s)model.keras cannot be loaded.*\(4, 2\)"):
        load_model(path)


def test_files_that_are_none_say_so(tmp_path):
    for name, content in (
        ("empty.keras", b""),
        ("text.keras", b"no archive" * 100),
        ("cut.keras", write(tmp_path / "model.keras", good()).read_bytes()[:-500]),
        ("pickle.weights.h5", pickle.dumps(Planted())),
        ("cut.weights.h5", good()[WEIGHTS][:-500]),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is damaged.*one before it"):
            check_file(path)
    with pytest.raises(ValueError, match="must be a file"):
        check_file(tmp_path / "nowhere.keras")
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(Planted()))
    with pytest.raises(ValueError, match="must end in"):
        check_file(path)


def test_changed_bits_are_refused_or_change_nothing(tmp_path):
    content = write(tmp_path / "model.keras", good()).read_bytes()
    draws = np.random.default_rng(0)
    path = tmp_path / "changed.keras"
    messages = []
    for place in draws.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[place] ^= 1 << draws.integers(8)
        path.write_bytes(changed)
        try:
            check_file(path)
            assert members_of(path) == good()  # a date, say
        except ValueError as refusal:
            messages.append(str(refusal))
    assert all(message.startswith(str(path)) for message in messages)
    assert len(messages) > 280
