"""Models in folders that several processes write: what is in them, who writes it."""

import json
import shutil

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

from keras_iwm.command_line import main
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW
from keras_iwm.saving import check_file, load_model, save_shards, write_shards
from keras_iwm.saving.open_safetensors import open_safetensors
from keras_iwm.saving.shard_folder import ShardFolder
from keras_iwm.saving.write_safetensors import stream_safetensors
from keras_iwm.saving.write_shards import INDEX, groups_of, own_pieces, shard_path

once = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="no backend has a part in it"
)


@pytest.fixture(scope="module")
def model():
    """A world model with random seeds and moments, as after some steps."""
    keras.utils.set_random_seed(0)
    model = ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False, seed=3, drop_path_rate=0.1
    )
    model.compile(AdamW(1e-3))
    model.optimizer.build(model.trainable_variables)
    draws = np.random.default_rng(0)
    for variables in groups_of(model).values():
        for variable in variables:
            shape = tuple(variable.shape)
            if keras.backend.is_float_dtype(variable.dtype):
                variable.assign(draws.normal(size=shape).astype("float32"))
            else:
                variable.assign(draws.integers(0, 2**30, shape).astype(variable.dtype))
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Its folder."""
    folder = tmp_path_factory.mktemp("whole") / "shards"
    save_shards(model, folder)
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the folder, to be spoilt."""
    return shutil.copytree(folder, tmp_path / "copy")


def values(model):
    return [
        ops.convert_to_numpy(variable)
        for variables in groups_of(model).values()
        for variable in variables
    ]


def assert_same(one, two):
    for first, second in zip(values(one), values(two), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_model_comes_back_and_becomes_one_file(model, folder, tmp_path, capsys):
    loaded = load_model(folder)
    assert_same(model, loaded)
    assert loaded.optimizer.weight_decay == model.optimizer.weight_decay
    without = load_model(folder, compile=False)
    assert not without.compiled
    np.testing.assert_array_equal(without.get_weights()[0], model.get_weights()[0])
    output = tmp_path / "model.keras"
    assert main(["merge", str(folder), "--output", str(output)]) is None
    assert f"{model.count_params():,} weights" in capsys.readouterr().out
    assert_same(model, keras.models.load_model(output))
    with pytest.raises(SystemExit, match="must end in .keras, and not be there"):
        main(["merge", str(folder), "--output", str(output)])
    with pytest.raises(SystemExit, match="has no index.json"):
        main(["merge", str(tmp_path), "--output", str(tmp_path / "other.keras")])


@once
def test_any_reader_of_safetensors_reads_a_shard(model, folder):
    from safetensors.numpy import load_file

    arrays = load_file(shard_path(folder, 0))
    name = f"model/00000/{model.variables[0].path}"
    np.testing.assert_array_equal(
        arrays[name], ops.convert_to_numpy(model.variables[0])
    )


@once
def test_every_process_writes_a_fair_part(model, monkeypatch):
    variables = [*model.variables, *model.optimizer.variables]
    sizes = [np.prod(v.shape, dtype=int) * 4 for v in variables]
    for count in (1, 2, 3, 8):
        holders = list(range(count))
        monkeypatch.setattr(
            write_shards,
            "pieces_of",
            lambda v, h=holders: [(tuple((0, side) for side in v.shape), h)],
        )
        parts = [own_pieces(variables, rank, count) for rank in range(count)]
        places = sorted(place for part in parts for place, _ in part)
        assert places == list(range(len(variables)))
        loads = [sum(sizes[place] for place, _ in part) for part in parts]
        assert max(loads) - min(loads) <= max(sizes)
        assert max(loads) <= 1.01 * sum(sizes) / count + 8


@once
def test_pieces_of_several_processes_are_put_together(model, tmp_path, monkeypatch):
    # Three processes; rows of even length are split over the first two.
    def pieces_of(variable):
        shape = tuple(variable.shape)
        if not shape or shape[-1] % 2:
            return [(tuple((0, side) for side in shape), [0, 1, 2])]
        rest, half = tuple((0, side) for side in shape[:-1]), shape[-1] // 2
        return [((*rest, (i * half, (i + 1) * half)), [i]) for i in range(2)]

    def read_piece(variable, index):
        return ops.convert_to_numpy(variable)[tuple(slice(*pair) for pair in index)]

    monkeypatch.setattr(write_shards, "pieces_of", pieces_of)
    monkeypatch.setattr(write_shards, "read_piece", read_piece)
    monkeypatch.setattr(write_shards, "_clear", lambda folder: None)
    monkeypatch.setattr(write_shards, "count_processes", lambda: 3)
    folder = tmp_path / "of_three"
    folder.mkdir()
    for rank in (1, 2, 0):  # the first one's index comes last
        monkeypatch.setattr(write_shards, "process_index", lambda r=rank: r)
        write_shards.write_shards(model, folder, {"a": 1}, {"b": np.arange(3.0)})
    shards = ShardFolder(folder)
    assert shards.num_shards == 3
    assert (shards.facts, list(shards.arrays)) == ({"a": 1}, ["b"])
    np.testing.assert_array_equal(shards.arrays["b"], np.arange(3.0))
    assert max(map(len, shards.pieces.values())) == 2
    assert_same(model, load_model(folder))
    # Any part of a variable, across the pieces.
    place, variable = max(
        enumerate(model.variables), key=lambda pair: len(pair[1].shape)
    )
    value = ops.convert_to_numpy(variable)
    index = [(0, side - 1) for side in value.shape]
    np.testing.assert_array_equal(
        shards.read("model", place, index), value[tuple(slice(*pair) for pair in index)]
    )
    shard_path(folder, 1).unlink()
    with pytest.raises(ValueError, match="has no shard_00001"):
        load_model(folder)


@once
def test_all_dtypes_survive(tmp_path):
    arrays = {
        dtype: np.arange(6).reshape(2, 3).astype(dtype)
        for dtype in (
            "float64",
            "float32",
            "float16",
            "int8",
            "uint32",
            "int64",
            "bool",
        )
    }
    arrays["bfloat16"] = np.arange(5).astype(ml_dtypes.bfloat16)
    arrays["scalar"] = np.array(3, "int32")
    entries = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    stream_safetensors(tmp_path / "a.safetensors", entries, arrays.__getitem__)
    *_, found = open_safetensors(tmp_path / "a.safetensors")
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@once
def test_no_changed_bit_goes_unnoticed(copy):
    draws = np.random.default_rng(0)
    # Beginnings are headers, which arrays are many times as long as.
    places = [(INDEX, place) for place in draws.integers(0, 2000, 20)]
    shard = shard_path(copy, 0).name
    places += [(shard, place) for place in draws.integers(0, 2000, 20)]
    size = (copy / shard).stat().st_size
    places += [(shard, place) for place in draws.integers(0, size, 20)]
    for name, place in places:
        content = (copy / name).read_bytes()
        changed = bytearray(content)
        changed[place] ^= 1 << draws.integers(8)
        (copy / name).write_bytes(changed)
        with pytest.raises(ValueError, match=r"refused|damaged"):
            ShardFolder(copy).check_bytes()
        (copy / name).write_bytes(content)
    check_file(copy)


def rewrite(folder, change_index=None, **changes):
    """Write the folder anew, as a stranger could, with checksums that are right."""
    _, _, _, arrays = open_safetensors(shard_path(folder, 0))
    arrays = {name: np.array(array) for name, array in arrays.items()}
    for name, change in changes.items():
        arrays = change(arrays, name)
    entries = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    stream_safetensors(shard_path(folder, 0), entries, arrays.__getitem__)
    if change_index is not None:
        index = json.loads((folder / INDEX).read_text())
        del index["checksum"]
        change_index(index)
        checksum = write_shards.index_checksum(index)
        (folder / INDEX).write_text(json.dumps({"checksum": checksum, **index}))


@once
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nan", "holds NaN or infinity"),
        ("code", "holds code, in a Lambda"),
        ("lost", "variables of model are lost"),
        ("last lost", "are not the .* of the one that it describes"),
        ("shape", "are not the .* of the one that it describes"),
        ("part", "values of .* are there, of"),
        ("foreign", "is of no model"),
        ("shards", "has 0 shards"),
        ("text", "has True shards"),
        ("wide", "declares"),
    ],
)
def test_what_a_stranger_writes_is_refused(copy, what, message):
    def spoil(arrays, _):
        names = sorted(name for name in arrays if name.startswith("model/"))
        first, last = names[0], names[-1]
        if what == "nan":
            arrays[first].flat[0] = np.nan
        elif what == "lost":
            del arrays[first]
        elif what == "last lost":
            del arrays[last]
        elif what == "shape":
            arrays[first] = np.zeros((2, 2), "float32")
        elif what == "part":
            arrays[first + "[1:2,0:1]"] = np.zeros((1, 1), "float32")
            del arrays[first]
        elif what == "foreign":
            arrays["other/00000/x"] = np.zeros(1)
        return arrays

    def change(index):
        if what == "code":
            index["config"]["config"]["encoder"]["class_name"] = "Lambda"
        elif what == "shards":
            index["num_shards"] = 0
        elif what == "text":
            index["num_shards"] = True
        elif what == "wide":
            index["config"]["config"]["encoder"]["config"]["hidden_dim"] = 10**9

    rewrite(copy, change, spoil=spoil)
    with pytest.raises(ValueError, match=f"(?s)copy.*{message}"):
        load_model(copy)


@once
def test_arguments_are_checked(model):
    with pytest.raises(ValueError, match="`model`"):
        save_shards(3, "folder")
    with pytest.raises(ValueError, match="`folder`"):
        save_shards(model, 3)
