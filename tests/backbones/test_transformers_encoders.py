"""Encoders of transformers other than I-JEPA, and timm's DINOv3: the same latents."""

import json

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_iwm.backbones import ViTEncoder, read_published
from keras_iwm.models import ImageWorldModel
from keras_iwm.saving.write_safetensors import write_safetensors

transformers = pytest.importorskip("transformers")

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same on each backend"
)
RNG = np.random.default_rng(0)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"image_size": 16, "patch_size": 4, "layer_norm_eps": 1e-3}
WIDE = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
MLP = {"intermediate_size": 24}
REGISTERS = {"num_register_tokens": 2}
KINDS = {
    "ViT": MLP,
    "ViT without biases": {**MLP, "qkv_bias": False},
    "ViTMAE": {**MLP, "mask_ratio": 0.0},
    "Dinov2": {**WIDE, "mlp_ratio": 2},
    "Dinov2, gated": {"use_swiglu_ffn": True},
    "Dinov2WithRegisters": {"num_register_tokens": 3},
    "Dinov2WithRegisters, gated": {**WIDE, **REGISTERS, "use_swiglu_ffn": True},
    "DINOv3ViT": {**MLP, **REGISTERS},
    "DINOv3ViT, gated": {
        **{**MLP, **WIDE, **REGISTERS, "use_gated_mlp": True, "hidden_act": "silu"},
        **{"key_bias": True, "image_size": (8, 24)},
    },
    "DINOv3ViT without biases": {
        **{**MLP, **REGISTERS, "query_bias": False, "value_bias": False},
    },
}
ON_ALL = ("ViT", "Dinov2WithRegisters, gated", "DINOv3ViT, gated")


def make_model(kind, **changes):
    """A model of transformers, no bias or norm of it at its start."""
    torch.manual_seed(0)
    name, arguments = kind.replace(" ", ",").split(",")[0], {**SIZES, **KINDS[kind]}
    config = getattr(transformers, f"{name}Config")(**{**arguments, **changes})
    model = getattr(transformers, f"{name}Model")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def latents_of(model, images):
    """Latents of the patches alone, in order."""
    pixels = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    pixels = torch.tensor(pixels.transpose(0, 3, 1, 2).astype("float32"))
    arguments, count = {}, pixels[0, 0].numel() // model.config.patch_size**2
    if model.config.model_type == "vit_mae":  # shuffles patches, by noise
        arguments["noise"] = torch.arange(count).repeat(len(images), 1).float()
    if model.config.model_type in ("vit", "vit_mae"):
        arguments["interpolate_pos_encoding"] = True
    with torch.no_grad():
        return model(pixels, **arguments).last_hidden_state[:, -count:].numpy()


def images_of(height, width):
    return RNG.integers(0, 256, (2, height, width, 3), "uint8")


def assert_close(latents, expected):
    np.testing.assert_allclose(ops.convert_to_numpy(latents), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.5


@pytest.mark.parametrize("old_names", [True, False])
@pytest.mark.parametrize(
    "kind",
    [kind if kind in ON_ALL else pytest.param(kind, marks=on_torch) for kind in KINDS],
)
def test_latents_are_those_of_transformers(kind, old_names, tmp_path):
    model = make_model(kind)
    model.save_pretrained(tmp_path, save_original_format=old_names)
    encoder = ViTEncoder.from_preset(tmp_path)
    registers = getattr(model.config, "num_register_tokens", 0)
    assert encoder.num_prefix_tokens == 1 + registers
    images = images_of(*encoder.image_size)
    assert_close(encoder(images), latents_of(model, images))
    # At another size, as transformers does it there.
    height, width = encoder.image_size
    images = images_of(height + 8, width + 12)
    assert_close(encoder(images), latents_of(model, images))


@on_torch
@pytest.mark.parametrize(("kind", "size"), [("ViT", (8, 24)), ("Dinov2", (16, 16))])
def test_classifiers_are_read_and_images_need_not_be_square(kind, size, tmp_path):
    model = make_model(kind, image_size=size)
    name = type(model).__name__.replace("Model", "ForImageClassification")
    classifier = getattr(transformers, name)(model.config).eval()
    part = getattr(classifier, classifier.base_model_prefix)
    part.load_state_dict(model.state_dict(), strict=False)
    classifier.save_pretrained(tmp_path)
    encoder = read_published(tmp_path)
    assert encoder.image_size == size
    pixels = images_of(*size)
    with torch.no_grad():
        inputs = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        inputs = torch.tensor(inputs.transpose(0, 3, 1, 2).astype("float32"))
        expected = part(inputs).last_hidden_state[:, 1:].numpy()
    assert_close(encoder(pixels), expected)


def timm_state(model):
    """The arrays of a DINOv3 of transformers as timm names them."""
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    names = {
        **{"embeddings.cls_token": "cls_token", "norm1": "norm1", "norm2": "norm2"},
        **{"embeddings.register_tokens": "reg_token", "attention.o_proj": "attn.proj"},
        **{"embeddings.patch_embeddings": "patch_embed.proj", "norm": "norm"},
        **{"layer_scale1.lambda1": "gamma_1", "layer_scale2.lambda1": "gamma_2"},
        **{"attention.q_proj.bias": "attn.q_bias"},
        **{"attention.v_proj.bias": "attn.v_bias", "mlp.down_proj": "mlp.fc2"},
        "mlp.up_proj": "mlp.fc1_x" if model.config.use_gated_mlp else "mlp.fc1",
        "mlp.gate_proj": "mlp.fc1_g",
    }
    found = {}
    for name, array in state.items():
        block, inner = "", name
        if name.startswith("model.layer."):
            _, _, index, inner = name.split(".", 3)
            block = f"blocks.{index}."
        if inner == "attention.q_proj.weight":
            parts = [name.replace("q_proj", f"{part}_proj") for part in "qkv"]
            joint = np.concatenate([state[part] for part in parts])
            found[f"{block}attn.qkv.weight"] = joint
        for theirs, ours in names.items():
            if inner == theirs or inner.startswith(f"{theirs}."):
                found[block + ours + inner.removeprefix(theirs)] = array
    return found


def save_timm(folder, model, architecture):
    write_safetensors(folder / "model.safetensors", timm_state(model))
    config = {"architecture": architecture, "pretrained_cfg": {"input_size": [3, 8, 8]}}
    (folder / "config.json").write_text(json.dumps(config))


@on_torch
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("gated", [True, False])
def test_latents_of_timms_dinov3_are_the_same(gated, biased, tmp_path):
    changes = {"query_bias": biased, "value_bias": biased, "key_bias": False}
    changes |= {"layer_norm_eps": 1e-5}  # no file tells it
    model = make_model("DINOv3ViT, gated" if gated else "DINOv3ViT", **changes)
    save_timm(tmp_path, model, f"vit_small_patch4_dinov3{'_qkvb' if biased else ''}")
    encoder = read_published(tmp_path, num_heads=model.config.num_attention_heads)
    assert (encoder.image_size, encoder.positions) == ((8, 8), "rotary_scaled")
    for size in ((8, 8), (16, 12)):
        images = images_of(*size)
        assert_close(encoder(images), latents_of(model, images))
    patch_ids = np.array([[2, 0], [1, 3]])
    gathered = encoder(images_of(8, 8), patch_ids=patch_ids)
    assert gathered.shape == (2, 2, encoder.hidden_dim)


@on_torch
def test_what_turns_otherwise_is_refused(tmp_path):
    model = make_model("DINOv3ViT")
    save_timm(tmp_path, model, "vit_small_patch16_lingbot")
    with pytest.raises(ValueError, match="only those of timm's dinov3"):
        read_published(tmp_path, num_heads=2)
    save_timm(tmp_path, model, "vit_small_patch16_dinov3")  # has biases
    with pytest.raises(ValueError, match=r"unexpected.*blocks\.0\.attn\.q_bias"):
        read_published(tmp_path, num_heads=2)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`positions` must be 'rotary_scaled'"):
        read_published(tmp_path, positions="rotary")
    for changes in ({"rope_theta": 50.0}, {"hidden_act": "relu"}):
        make_model("DINOv3ViT", **changes).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="rope_theta 100"):
            read_published(tmp_path)
    deit = transformers.DeiTConfig(**{**SIZES, **MLP})
    transformers.DeiTModel(deit).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a model_type of ijepa, vit"):
        read_published(tmp_path)


@on_torch
def test_pretraining_goes_on_from_a_dinov3(tmp_path):
    make_model("DINOv3ViT").save_pretrained(tmp_path)
    encoder = ViTEncoder.from_preset(tmp_path)
    model = ImageWorldModel.from_encoder(
        encoder, predictor_layers=1, predictor_dim=16, predictor_heads=2
    )
    assert model.predictor.positions == "rotary_scaled"
    model.compile(keras.optimizers.SGD(0.01))
    history = model.fit(images_of(16, 16), batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@on_torch
def test_a_known_licence_goes_into_files_and_metadata(tmp_path, capsys):
    folder = tmp_path / "dinov3-vits16-pretrain-lvd1689m"
    make_model("DINOv3ViT").save_pretrained(folder)
    encoder = read_published(folder)
    assert "under the DINOv3 License: read its terms" in capsys.readouterr().out
    model = ImageWorldModel.from_encoder(
        encoder, predictor_layers=1, predictor_dim=16, predictor_heads=2
    )
    model.save_to_preset(tmp_path / "preset", facts={"licence": "mine"})
    metadata = json.loads((tmp_path / "preset/metadata.json").read_text())
    assert metadata["licence"] == "the DINOv3 License"
    again = ViTEncoder.from_preset(tmp_path / "preset")
    assert again.licence == "the DINOv3 License"
