"""Published files that are damaged, unsafe, or of another network are refused whole."""

import json
import pickle
import sys
import types

import keras
import numpy as np
import pytest
import torch
from reference import published_vit

from keras_iwm.backbones import read_published
from keras_iwm.backbones.converters.published_licence import print_licence
from keras_iwm.models import read_published_world_model
from keras_iwm.saving.hub_files import hub_files
from keras_iwm.saving.read_safetensors import read_safetensors
from keras_iwm.saving.write_safetensors import write_safetensors

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="once is enough"
)
WIDE = {"num_heads": 2}


def write(folder, change=lambda state: None, config=None):
    state = published_vit.random_encoder(1)
    change(state)
    write_safetensors(folder / "model.safetensors", state)
    (folder / "config.json").write_text(json.dumps(config or {}))
    return folder


def test_all_that_does_not_fit_is_listed_at_once(tmp_path):
    def change(state):
        state["blocks.1.attn.q_norm.weight"] = np.ones(8, "float32")
        state["extra"] = np.ones(3, "float32")
        del state["norm.bias"], state["blocks.0.norm2.weight"]
        state["blocks.0.attn.proj.weight"] = np.ones((16, 15), "float32")
        state["blocks.1.mlp.fc1.bias"][3] = np.nan
        state["norm.weight"][0] = np.inf

    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        read_published(write(tmp_path, change), **WIDE)
    message = str(refusal.value)
    for part in (
        *(str(tmp_path), "norm.bias (16,)", "blocks.0.norm2.weight (16,)"),
        *("missing (2)", "unexpected (2)", "of another shape (1)"),
        *("blocks.1.attn.q_norm.weight (8,)", "extra (3,)", "NaN or infinite (2)"),
        "blocks.0.attn.proj.weight (16, 15), needed (16, 16)",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("patch_embed.proj.weight"), "patch_embed.proj.weight"),
        (lambda state: state.pop("pos_embed"), "pos_embed"),
        (lambda state: state.update(norm=np.ones((0, 3))), "norm"),
        (
            lambda state: state.update(
                {"patch_embed.proj.weight": np.ones((16, 3, 4, 5))}
            ),
            "needed",
        ),
        (lambda state: state.update({"blocks.7.x": np.ones(1)}), "blocks.2"),
        (lambda state: state.update({"module.norm.bias": np.ones(16)}), "there twice"),
    ],
)
def test_another_network_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_published(write(tmp_path, change), **WIDE)


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "vit_base_patch16_rpn_224"},
        {"architecture": "vit_base_patch16_224", "model_args": {"depth": 2}},
    ],
)
def test_another_function_of_the_same_names_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match="architecture"):
        read_published(write(tmp_path, config=config), **WIDE)


def test_what_the_weights_do_not_tell_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="`num_heads` must be given"):
        read_published(write(tmp_path))
    with pytest.raises(ValueError, match="`image_size` must have 9 patches"):
        read_published(tmp_path, image_size=16, **WIDE)
    state = published_vit.random_encoder(1, grid=(2, 3))
    write_safetensors(tmp_path / "model.safetensors", state)
    with pytest.raises(ValueError, match="`image_size` must be given"):
        read_published(tmp_path, **WIDE)
    assert read_published(tmp_path, image_size=(8, 12), **WIDE).grid_size == (2, 3)
    # A config of timm's tells size and statistics.
    facts = {"input_size": [3, 12, 8], "mean": [0.5, 0.5, 0.5], "std": [0.1, 0.2, 0.3]}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": facts}))
    encoder = read_published(tmp_path, **WIDE)
    assert (encoder.grid_size, encoder.std) == ((3, 2), (0.1, 0.2, 0.3))


class Payload:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('executed').touch()",)


@pytest.mark.parametrize("name", ["a.pth.tar", "a.pth", "a.pt", "a.bin"])
@pytest.mark.parametrize(
    "dump", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))]
)
def test_a_pickled_payload_is_refused_by_name_and_not_run(
    name, dump, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    dump({"encoder": {"a": Payload()}}, path)
    for read in (read_published, read_published_world_model):
        with pytest.raises(ValueError, match=name):
            read(path)
    assert not (tmp_path / "executed").exists()


def test_missing_and_foreign_files_are_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path, tmp_path / "none.pth"):
        with pytest.raises(ValueError, match="`path` must be a folder"):
            read_published(path)
    (tmp_path / "a.zip").touch()
    with pytest.raises(ValueError, match="of another kind"):
        read_published(tmp_path / "a.zip")
    (tmp_path / "a.pth").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="a.pth is refused"):
        read_published(tmp_path / "a.pth")
    (tmp_path / "config.json").write_text("[1, 2]")
    write_safetensors(tmp_path / "model.safetensors", {})
    with pytest.raises(ValueError, match="config.json must hold a dictionary"):
        read_published(tmp_path)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_safetensors(tmp_path / "out.safetensors", {"a": np.ones(1)})
    write_safetensors(folder / "in.safetensors", {"a": np.ones(1), "b": np.ones(1)})
    index = folder / "model.safetensors.index.json"
    for weight_map, message in (
        ({"a": "../out.safetensors"}, "must name files of its folder"),
        ({"a": ["in.safetensors"]}, "must name files of its folder"),
        ([], "must name files of its folder"),
        ({"a": "in.safetensors"}, "must have the same weights"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(ValueError, match=message):
            read_published(folder)


def entry(first, last, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": entry(0, 16, shape=(4,))}, "end at 16 of 8"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, "begins at 4"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, "begins at 0"),
        ({"a": entry(4, 8, shape=(1,))}, "begins at 4"),
        ({"a": entry(0, 4, shape=(1,))}, "end at 4 of 8"),
        ({"a": entry(0, 8, "I64", (1,))}, "'I64'"),
        ({"a": entry(0, 8, ["F32"])}, "damaged"),
        ({"a": entry(0, 8, shape=(3,))}, "in 8 bytes"),
        ({"a": entry(0, 8, shape=(-1, -2))}, "shape"),
        ({"a": entry(0, 8, shape=(True, 2))}, "shape"),
        ({"a": entry(0, 2**60, shape=(2**29, 2**29))}, "shape"),
        ({"a": entry(8, 0)}, "in -8 bytes"),
        ({"a": 3}, "damaged"),
        ([], "damaged"),
        (b'{"a": 1, "a": 2}', "same name"),
        (b"{" * 100_000, "damaged"),
    ],
)
def test_a_header_that_lies_is_refused(header, message, tmp_path):
    path = tmp_path / "a.safetensors"
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ValueError, match=message) as refusal:
        read_safetensors(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    "start", [b"", b"abc", b"\xff" * 8, bytes(8), b"\x05" + bytes(7)]
)
def test_a_length_that_lies_is_refused(start, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(start)
    with pytest.raises(ValueError, match="a.safetensors is damaged"):
        read_safetensors(tmp_path / "a.safetensors")


def test_the_hub_is_asked_for_config_and_weights_alone(tmp_path, monkeypatch, capsys):
    calls = []

    def snapshot_download(name, allow_patterns):
        calls.append((name, allow_patterns))
        return str(write(tmp_path))

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    for _ in range(2):
        read_published("hf://facebook/ijepa_small", **WIDE)
    patterns = ["config.json", "metadata.json", "*.weights.h5"]
    patterns += ["preprocessor_config.json", "*.safetensors", "*.index.json"]
    assert calls == [("facebook/ijepa_small", patterns)] * 2
    printed = capsys.readouterr().out
    assert printed.count("CC-BY-NC 4.0") == 1
    assert "facebook/ijepa_small" in printed
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"keras-iwm\[hub\]"):
        hub_files("hf://facebook/ijepa_small")
    for handle in (
        "hf://a",
        "hf://../a",
        "hf://a/b/c",
        "facebook/ijepa",
        3,
        "hf://a/..",
    ):
        with pytest.raises(ValueError, match="`handle`"):
            hub_files(handle)


@pytest.mark.parametrize(
    ("name", "licensed"),
    [
        ("/x/models--facebook--ijepa_vith14_1k/snapshots/1", True),
        ("downloads/IN22K-vit.g.16-600e.pth.tar", True),
        ("my/ijepa_model.pth.tar", False),
    ],
)
def test_licences_of_known_weights_are_printed(name, licensed, capsys):
    print_licence(name)
    assert ("CC-BY-NC" in capsys.readouterr().out) == licensed
