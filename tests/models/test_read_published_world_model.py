"""An I-JEPA from a file of its own code, and what it is worth to go on from it."""

import re

import keras
import numpy as np
import pytest
import torch
from keras import ops
from reference import published_vit

from keras_iwm.backbones import ViTEncoder
from keras_iwm.models import ImageWorldModel, read_published_world_model
from keras_iwm.optimizers import AdamW
from keras_iwm.views import MultiBlockMask


def save(parts, path):
    content = {
        part: {name: torch.tensor(array) for name, array in state.items()}
        for part, state in parts.items()
    }
    torch.save(content, path)
    return path


def test_all_three_networks_are_the_published_ones(tmp_path):
    parts = published_vit.random_checkpoint(3, grid=(4, 4))
    path = save(parts, tmp_path / "small.pth.tar")
    model = read_published_world_model(path, num_heads=4, seed=0, num_classes=3)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")
    for part in ("encoder", "target_encoder"):
        latents = ops.convert_to_numpy(getattr(model, part)(images))
        expected = published_vit.encode(parts[part], images, 4)
        np.testing.assert_allclose(latents, expected, atol=1e-4)
    context_ids, target_ids = np.array([[0, 5, 9]] * 2), np.array([[3, 4]] * 2)
    outputs = model.predictor(
        expected[:, :3].astype("float32"), context_ids, target_ids
    )
    expected = published_vit.predict(
        parts["predictor"], expected[:, :3], context_ids, target_ids, 4
    )
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, atol=1e-4)
    assert model.predictor.conditioning == "none"
    assert model.view_generator.mask.separate_blocks
    assert model.view_generator.crop.flip_probability == 0
    assert len(model.target_encoder.trainable_variables) == 0


@pytest.mark.parametrize("part", ["predictor", "encoder", "target_encoder"])
def test_a_part_that_does_not_fit_is_refused(part, tmp_path):
    parts = published_vit.random_checkpoint(3)
    name = next(name for name in parts[part] if name.endswith("norm1.bias"))
    del parts[part][name]
    path = save(parts, tmp_path / "small.pth.tar")
    with pytest.raises(ValueError, match=f"{part},.*missing.*norm1.bias"):
        read_published_world_model(path, num_heads=2)
    del parts[part]
    with pytest.raises(ValueError, match=f"must hold '{part}'"):
        read_published_world_model(save(parts, path), num_heads=2)


def official_checkpoint(model):
    """The file that I-JEPA's code would write of a model of ours."""
    parts = {}
    for part in ("encoder", "target_encoder", "predictor"):
        network = getattr(model, part)
        values = {}
        for weight in network.weights:
            path = weight.path.removeprefix(f"{network.name}/")
            values[path] = ops.convert_to_numpy(weight)
        blocks, last_norm = "blocks.", "norm/"
        width = network.blocks[0].attention.query_bias.shape[0]
        table = published_vit.columns_first_positions(*network.grid_size, width)
        table = table.astype("float32")[None]
        if part == "predictor":
            blocks, last_norm = "predictor_blocks.", "predictor_norm/"
            state = {"predictor_pos_embed": table}
            state["mask_token"] = values.pop("mask_token").reshape(1, 1, -1)
        else:
            state = {"pos_embed": table}
            kernel = values.pop("patch_embedding/projection/kernel")
            size = network.patch_size
            kernel = kernel.reshape(size, size, -1, width).transpose(3, 2, 0, 1)
            state["patch_embed.proj.weight"] = kernel
        for path, value in values.items():
            name = path
            if path.endswith("query_bias"):
                other = values[path.replace("query", "value")]
                value = np.concatenate([value, 0 * value, other])
                name = path.replace("query_bias", "query_key_value/bias")
            if path.endswith("value_bias"):
                continue
            for ours, theirs in {
                **{"^block_0": blocks, "^norm/": last_norm},
                **{"attention_norm": "norm1", "mlp_norm": "norm2"},
                **{"patch_embedding/projection": "patch_embed.proj"},
                **{"attention/query_key_value": "attn.qkv"},
                **{"attention/output_projection": "attn.proj"},
                **{"mlp_hidden": "mlp.fc1", "mlp_output": "mlp.fc2"},
                **{"^input_projection": "predictor_embed"},
                **{"^output_projection": "predictor_proj"},
                **{"kernel$": "weight", "gamma$": "weight", "beta$": "bias", "/": "."},
            }.items():
                name = re.sub(ours, theirs, name)
            state[name] = value.T if path.endswith("kernel") else value
        parts[part] = {f"module.{name}": value for name, value in state.items()}
    return parts


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="once is enough")
def test_pretraining_goes_on_below_the_loss_of_a_random_start(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (32, 2, 2, 3), "uint8")
    images = np.kron(images, np.ones((1, 8, 8, 1), "uint8"))
    arguments = {"predictor_dim": 16, "predictor_layers": 2, "seed": 0}

    def untrained():
        encoder = ViTEncoder(16, 4, 32, 2, 4, positions="columns_first", name="encoder")
        return ImageWorldModel.from_encoder(
            encoder,
            **{"actions": (), "conditioning": "none", "latent_loss": "smooth_l1"},
            mask=MultiBlockMask(4, separate_blocks=True),
            **{"predictor_heads": 4, **arguments},
        )

    def loss_of(model):
        model.compile(AdamW(1e-3))
        return model.evaluate(images, batch_size=32, verbose=0)

    start = untrained()
    random_loss = loss_of(start)
    start.fit(images, batch_size=16, epochs=15, verbose=0)
    trained_loss = loss_of(start)
    path = save(official_checkpoint(start), tmp_path / "trained.pth.tar")
    model = read_published_world_model(path, num_heads=4, seed=0)
    for part in ("encoder", "target_encoder"):
        np.testing.assert_allclose(
            getattr(model, part).predict(images, verbose=0),
            getattr(start, part).predict(images, verbose=0),
            atol=1e-4,
        )
    # Views of the import have crops of their own.
    imported_loss = loss_of(model)
    assert imported_loss < 0.8 * random_loss
    assert trained_loss < 0.8 * random_loss
    model.fit(images, batch_size=16, epochs=1, verbose=0)
