"""Published weights of V-JEPA and V-JEPA 2 give the published latents."""

import json

import keras
import numpy as np
import pytest
import torch
from keras import ops
from reference import published_vit
from reference.published_video import (
    clips_of,
    latents_of,
    official_parts,
    save,
    vjepa2_model,
    vjepa_parts,
)

from keras_iwm.backbones import VideoEncoder, ViTEncoder, read_published
from keras_iwm.saving.write_safetensors import write_safetensors

pytest.importorskip("transformers")

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same on each backend"
)


def assert_close(latents, expected):
    np.testing.assert_allclose(ops.convert_to_numpy(latents), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.5


SIZES = {
    "small": {},
    "wide": {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 1},
    "three frames a patch": {
        **{"tubelet_size": 3, "frames_per_clip": 6, "patch_size": 8},
        **{"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 40},
    },
}


@pytest.mark.parametrize(
    "size",
    [name if name == "small" else pytest.param(name, marks=on_torch) for name in SIZES],
)
def test_latents_are_those_of_transformers(size, tmp_path):
    model = vjepa2_model(**SIZES[size])
    model.save_pretrained(tmp_path)
    encoder = VideoEncoder.from_preset(tmp_path)
    assert encoder.positions == "rotary_tiled"
    assert encoder.tubelet_size == model.config.tubelet_size
    clips = clips_of(encoder.num_frames, *encoder.image_size)
    assert_close(encoder(clips), latents_of(model, clips))
    # A single frame is doubled, there as here.
    images = clips[:, 0]
    assert_close(encoder(images), latents_of(model, images[:, None]))


@on_torch
def test_longer_and_larger_clips_are_those_of_transformers(tmp_path):
    model = vjepa2_model()
    model.save_pretrained(tmp_path)
    encoder = read_published(tmp_path)
    clips = clips_of(10, 16, 16)
    assert_close(encoder(clips), latents_of(model, clips))
    clips = clips_of(4, 24, 24)
    # Transformers takes the config's size for that of the clips.
    larger = vjepa2_model(crop_size=24)
    larger.load_state_dict(model.state_dict())
    assert_close(encoder(clips), latents_of(larger, clips))
    told = read_published(tmp_path, image_size=24, num_frames=6)
    assert told.grid_size == (3, 6, 6)
    assert_close(told(clips), latents_of(larger, clips))


@on_torch
def test_classifiers_and_half_precision_are_read(tmp_path):
    model = vjepa2_model("VJEPA2ForVideoClassification")
    model.save_pretrained(tmp_path / "whole")
    clips = clips_of(4, 16, 16)
    encoder = ViTEncoder.from_preset(tmp_path / "whole")
    assert_close(encoder(clips), latents_of(model.vjepa2, clips))
    half = model.to(torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    kernel = read_published(tmp_path / "half").patch_embedding.projection.kernel
    expected = half.vjepa2.encoder.embeddings.patch_embeddings.proj.weight.detach()
    expected = expected.float().numpy().transpose(2, 3, 4, 1, 0).reshape(-1, 32)
    np.testing.assert_array_equal(ops.convert_to_numpy(kernel), expected)


@on_torch
def test_a_file_of_vjepa_2s_code_has_the_latents_of_transformers(tmp_path):
    model = vjepa2_model()
    parts = official_parts(model)
    parts["target_encoder"] = parts["encoder"]
    parts["encoder"] = {name: 0 * array for name, array in parts["encoder"].items()}
    encoder = read_published(save(parts, tmp_path / "vitl.pt"), num_heads=2)
    assert (encoder.positions, encoder.image_size) == ("rotary_tiled", (256, 256))
    assert encoder.num_frames == 64
    clips = clips_of(4, 16, 16)
    assert_close(encoder(clips), latents_of(model, clips))


@on_torch
@pytest.mark.parametrize("nested", [True, False])
def test_a_file_of_vjepas_code_has_the_published_latents(nested, tmp_path):
    # 28 features are 5 pairs for each axis, of which the last is cut off.
    parts = vjepa_parts((2, 3, 3), 28, 16)
    state = parts["target_encoder"]
    arguments = {"num_heads": 2, "num_frames": 4}
    if nested:
        path = save(parts, tmp_path / "vitl16.pth.tar")
        encoder = read_published(path, **arguments)
    else:
        write_safetensors(tmp_path / "model.safetensors", state)
        with pytest.raises(ValueError, match="`positions` must be given"):
            read_published(tmp_path, **arguments)
        encoder = read_published(tmp_path, positions="uniform_power", **arguments)
    assert encoder.positions == "uniform_power"
    assert encoder.grid_size == (2, 3, 3)
    clips = clips_of(4, 12, 12)
    assert_close(encoder(clips), published_vit.encode(state, clips, 2))
    patch_ids = np.array([[17, 0, 5], [3, 9, 12]])
    expected = published_vit.encode(state, clips, 2, patch_ids)
    assert_close(encoder(clips, patch_ids=patch_ids), expected)


@on_torch
def test_a_table_of_another_kind_is_kept(tmp_path):
    state = published_vit.random_encoder(3, (2, 3, 4), dim=16, tubelet_size=2)
    write_safetensors(tmp_path / "model.safetensors", state)
    arguments = {"num_heads": 2, "num_frames": 4, "image_size": (12, 16)}
    encoder = read_published(tmp_path, positions="learned", **arguments)
    clips = clips_of(4, 12, 16)
    assert_close(encoder(clips), published_vit.encode(state, clips, 2))
    with pytest.raises(ValueError, match="whose table is no other"):
        read_published(tmp_path, positions="uniform_power", **arguments)


@on_torch
def test_what_is_not_the_network_is_refused_whole(tmp_path):
    model = vjepa2_model()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for arguments, message in (
        ({"positions": "rows_first"}, "`positions` must be 'rotary_tiled'"),
        ({"positions": "rotary"}, "`positions` must be 'rotary_tiled'"),
        ({"num_heads": 4}, "`num_heads` must be 2"),
        ({"num_frames": 5}, "num_frames=5, tubelet_size=2"),
        ({"num_frames": 0}, "`num_frames`"),
        ({"image_size": 18}, "image_size"),
    ):
        with pytest.raises(ValueError, match=message):
            read_published(tmp_path, **arguments)
    for change in ({"hidden_act": "silu"}, {"crop_size": None}, {"model_type": "vit"}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ValueError, match="must have a config.json"):
            read_published(tmp_path)
    arrays = official_parts(model)["encoder"]
    del arrays["module.backbone.pos_embed"]  # without it there is no doubt
    path = tmp_path / "vitl.pt"
    with pytest.raises(ValueError, match="`num_heads` must share"):
        read_published(save({"encoder": arrays}, path), "encoder", num_heads=5)
    del arrays["module.backbone.blocks.1.attn.qkv.bias"]
    arrays["module.backbone.norms_block.0.weight"] = np.ones(32, "float32")
    with pytest.raises(ValueError, match=r"(?s)qkv\.bias.*norms_block"):
        read_published(save({"encoder": arrays}, path), "encoder", num_heads=2)
    with pytest.raises(ValueError, match="target_encoder"):
        read_published(path)
    images = tmp_path / "images"
    write_safetensors(images / "model.safetensors", published_vit.random_encoder(1))
    with pytest.raises(ValueError, match="must hold a VideoEncoder"):
        VideoEncoder.from_preset(images, num_heads=2)
    with pytest.raises(ValueError, match="`positions`"):
        read_published(images, num_heads=2, positions="rotary_tiled")
