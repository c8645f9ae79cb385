"""Published weights give the published latents, at the size they were trained at."""

import json

import keras
import numpy as np
import pytest
import torch
from keras import ops
from reference import published_vit

from keras_iwm.backbones import ViTEncoder, read_published, save_transformers
from keras_iwm.saving.read_safetensors import read_safetensors
from keras_iwm.saving.write_safetensors import write_safetensors

transformers = pytest.importorskip("transformers")

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same on each backend"
)


def images_of(height, width, channels=3):
    draws = np.random.default_rng(height)
    return draws.integers(0, 256, (2, height, width, channels), "uint8")


def assert_close(latents, expected):
    np.testing.assert_allclose(ops.convert_to_numpy(latents), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.5


TIMM = {
    "ijepa": {"grid": (2, 4), "depth": 3},
    "another MLP": {"dim": 24, "mlp": 40, "patch_size": 3},
    "class token": {"class_token": True},
    "registers": {
        **{"class_token": True, "registers": 4, "positions_of_prefix": False},
        "layer_scale": True,
    },
    "positions of registers": {"registers": 2, "grid": (3, 4)},
    "gated": {"class_token": True, "layer_scale": True, "gated": True, "mlp": 20},
}


@pytest.mark.parametrize("kind", TIMM)
def test_latents_of_timms_weights_are_the_published_networks(kind, tmp_path):
    sizes = {"grid": (3, 3), "patch_size": 4, **TIMM[kind]}
    state = published_vit.random_encoder(5, **sizes)
    write_safetensors(tmp_path / "model.safetensors", state)
    image_size = tuple(side * sizes["patch_size"] for side in sizes["grid"])
    encoder = read_published(tmp_path, image_size=image_size, num_heads=2)
    images = images_of(*image_size)
    assert encoder.positions == "learned_antialiased"
    assert_close(encoder(images), published_vit.encode(state, images, 2))
    # Prefix tokens stay with whatever patches are visible.
    patch_ids = np.array([[5, 0, 3], [1, 2, 4]])
    expected = published_vit.encode(state, images, 2, patch_ids)
    assert_close(encoder(images, patch_ids=patch_ids), expected)


@pytest.mark.parametrize("which", ["encoder", "target_encoder"])
def test_latents_of_a_file_of_ijepas_code_are_the_published_networks(which, tmp_path):
    parts = published_vit.random_checkpoint(3, grid=(4, 4))
    content = {
        part: {name: torch.tensor(array) for name, array in state.items()}
        for part, state in parts.items()
    }
    # What else is there, as the code writes it.
    scaler = {"scale": 65536.0, "growth_tracker": 7}
    content |= {"opt": {"state": {0: {"exp_avg": torch.ones(3)}}}, "scaler": scaler}
    content |= {"epoch": 300, "loss": 0.1, "batch_size": 128, "world_size": 16, "lr": 0}
    torch.save(content, tmp_path / "small.pth.tar")
    encoder = read_published(tmp_path / "small.pth.tar", which, num_heads=4)
    images = images_of(16, 16)
    assert encoder.positions == "columns_first"
    assert_close(encoder(images), published_vit.encode(parts[which], images, 4))


def ijepa_model(**changes):
    torch.manual_seed(0)
    config = transformers.IJepaConfig(
        **{
            **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4},
            **{"intermediate_size": 24, "image_size": 16, "patch_size": 4},
            **{"layer_norm_eps": 1e-3, **changes},
        }
    )
    model = transformers.IJepaModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def latents_of(model, images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    pixels = (images / 255 - np.array(mean)) / np.array(std)
    pixels = torch.tensor(pixels.transpose(0, 3, 1, 2).astype("float32"))
    native = np.broadcast_to(model.config.image_size, 2)
    other = images.shape[1:3] != tuple(native)
    with torch.no_grad():
        outputs = model(pixels, interpolate_pos_encoding=other)
    return outputs.last_hidden_state.numpy()


SIZES = {
    "small": {},
    "wide": {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 1},
    "wide image": {"image_size": (8, 24), "patch_size": 8, "num_hidden_layers": 3},
}


@pytest.mark.parametrize("old_names", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_latents_are_those_of_transformers(size, old_names, tmp_path):
    model = ijepa_model(**SIZES[size])
    model.save_pretrained(tmp_path, save_original_format=old_names)
    names = list(read_safetensors(tmp_path / "model.safetensors"))
    assert any(name.startswith("encoder.layer.") for name in names) == old_names
    encoder = read_published(tmp_path)
    images = images_of(*encoder.image_size)
    assert_close(encoder(images), latents_of(model, images))


@on_torch
def test_images_of_other_sizes_are_those_of_transformers(tmp_path):
    model = ijepa_model()
    model.save_pretrained(tmp_path)
    encoder = read_published(tmp_path / "model.safetensors")
    assert encoder.positions == "learned"
    for size in ((24, 16), (8, 12)):
        images = images_of(*size)
        assert_close(encoder(images), latents_of(model, images))


@on_torch
def test_fixed_positions_are_known_and_can_be_resampled_as_the_source_does(tmp_path):
    model = ijepa_model()
    table = published_vit.columns_first_positions(4, 4, 16).astype("float32")
    with torch.no_grad():
        model.embeddings.position_embeddings[:] = torch.tensor(table)
    model.save_pretrained(tmp_path)
    images, larger = images_of(16, 16), images_of(24, 24)
    encoder = read_published(tmp_path)
    assert encoder.positions == "columns_first"
    assert_close(encoder(images), latents_of(model, images))
    assert (
        np.abs(ops.convert_to_numpy(encoder(larger)) - latents_of(model, larger)).max()
        > 1e-3
    )
    learned = read_published(tmp_path, positions="learned")
    assert_close(learned(larger), latents_of(model, larger))
    with pytest.raises(ValueError, match="`positions`"):
        read_published(tmp_path, positions="rows_first")


@on_torch
def test_shards_classifiers_and_half_precision_are_read(tmp_path):
    model = ijepa_model()
    images = images_of(16, 16)
    encoder = read_published_of(model, tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    sharded = read_published(tmp_path / "shards")
    np.testing.assert_array_equal(sharded.predict(images), encoder.predict(images))
    classifier = transformers.IJepaForImageClassification(model.config)
    classifier.ijepa.load_state_dict(model.state_dict(), strict=False)
    of_classifier = read_published_of(classifier, tmp_path / "classifier")
    np.testing.assert_array_equal(
        of_classifier.predict(images), encoder.predict(images)
    )
    for dtype in (torch.bfloat16, torch.float16):
        folder = tmp_path / str(dtype)
        half = read_published_of(model.to(dtype), folder)
        expected = model.embeddings.position_embeddings.detach().float().numpy()[0]
        table = half.position_embedding.table
        np.testing.assert_array_equal(ops.convert_to_numpy(table), expected)


def read_published_of(model, folder):
    model.save_pretrained(folder)
    return read_published(folder)


@pytest.mark.parametrize("positions", ["rows_first", "learned"])
def test_transformers_has_the_latents_of_a_saved_encoder(positions, tmp_path):
    encoder = ViTEncoder(
        *((8, 12), 4, 16, 2, 4, 24),
        **{"value_range": (-1, 1), "mean": 0.4, "std": (0.2, 0.3, 0.4)},
        **{"positions": positions, "epsilon": 1e-4},
    )
    draws = np.random.default_rng(2)
    for weight in encoder.weights:
        weight.assign(weight + draws.normal(0, 0.2, weight.shape).astype("float32"))
    encoder.blocks[1].mlp_output.enable_lora(2)
    encoder.blocks[1].mlp_output.lora_kernel_b.assign_add(np.ones((2, 16), "float32"))
    save_transformers(encoder, tmp_path / "folder")
    model = transformers.IJepaModel.from_pretrained(tmp_path / "folder").eval()
    images = images_of(8, 12)
    prepared = json.loads((tmp_path / "folder/preprocessor_config.json").read_text())
    statistics = prepared["image_mean"], prepared["image_std"]
    assert prepared["size"] == {"height": 8, "width": 12}
    assert prepared["rescale_factor"] == pytest.approx(1 / 255)
    latents = ops.convert_to_numpy(encoder(images / 127.5 - 1))
    assert_close(latents_of(model, images, *statistics), latents)
    # And back.
    again = read_published(tmp_path / "folder", value_range=(-1, 1))
    assert (again.mean, again.std) == (encoder.mean, encoder.std)
    assert again.positions == positions
    assert_close(again(images / 127.5 - 1), latents)


@on_torch
@pytest.mark.parametrize(
    "changes", [{"num_prefix_tokens": 1}, {"layer_scale": 0.1}, {"gated_mlp": True}]
)
def test_what_transformers_cannot_hold_is_refused(changes, tmp_path):
    encoder = ViTEncoder(8, 4, 16, 1, 2, **changes)
    with pytest.raises(ValueError, match=next(iter(changes))):
        save_transformers(encoder, tmp_path)
    encoder = ViTEncoder(8, 4, 16, 1, 2)
    encoder.blocks[0].mlp_output.quantize("int8", type_check=False)
    with pytest.raises(ValueError, match="int8"):
        save_transformers(encoder, tmp_path)
    assert list(tmp_path.iterdir()) == []
