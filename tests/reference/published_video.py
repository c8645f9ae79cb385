"""V-JEPA 2 of transformers in small, and under the names of its own code."""

import numpy as np
import torch
from reference import published_vit


def clips_of(frames, height, width):
    draws = np.random.default_rng(height)
    return draws.integers(0, 256, (2, frames, height, width, 3), "uint8")


def vjepa2_model(kind="VJEPA2Model", **changes):
    """A model of transformers, no bias or norm of it at its start."""
    import transformers

    torch.manual_seed(0)
    config = transformers.VJEPA2Config(
        **{
            **{"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2},
            **{"mlp_ratio": 2.0, "crop_size": 16, "patch_size": 4},
            **{"frames_per_clip": 4, "pred_hidden_size": 64, "num_pooler_layers": 1},
            **{"pred_num_attention_heads": 2, "pred_num_hidden_layers": 2, **changes},
        }
    )
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def pixels_of(clips):
    pixels = (clips / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return torch.tensor(np.moveaxis(pixels, -1, 2).astype("float32"))


def latents_of(model, clips):
    with torch.no_grad():
        outputs = model(pixels_of(clips), skip_predictor=True)
    return outputs.last_hidden_state.numpy()


def official_parts(model):
    """Its arrays as V-JEPA 2's code names them, with tables that it does not use."""
    parts = {"encoder": {}, "predictor": {}}
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    names = {
        "encoder": {"embeddings.patch_embeddings": "patch_embed"},
        "predictor": {"embeddings.predictor_embeddings": "predictor_embed"},
    }
    prefixes = {"encoder": "", "predictor": "predictor_"}
    for name, array in state.items():
        part, _, theirs = name.partition(".")
        if part not in parts or ".key." in name or ".value." in name:
            continue
        prefix = prefixes[part]
        if theirs.startswith(("layer.", "layernorm.", "proj.")):
            theirs = prefix + theirs
        theirs = theirs.replace("layer.", "blocks.").replace("layernorm.", "norm.")
        theirs = theirs.replace("attention.", "attn.").replace("query", "qkv")
        for ours, official in names[part].items():
            theirs = theirs.replace(ours, official)
        if ".query." in name:
            apart = [name.replace("query", p) for p in ("query", "key", "value")]
            array = np.concatenate([state[key] for key in apart])
        arrays = {theirs: array}
        if theirs == "embeddings.mask_tokens":
            arrays = {f"mask_tokens.{i}": token for i, token in enumerate(array)}
        parts[part] |= {f"module.backbone.{n}": array for n, array in arrays.items()}
    for part, name in (("encoder", "pos_embed"), ("predictor", "predictor_pos_embed")):
        parts[part][f"module.backbone.{name}"] = np.ones((1, 32, 8), "float32")
    return parts


def vjepa_parts(grid_size, dim, predictor_dim):
    """Two encoders and a predictor of V-JEPA, under the names of its code."""
    parts = published_vit.random_checkpoint(3, (3, 3), dim, predictor_dim)
    kernel = np.random.default_rng(5).normal(0, 0.2, (dim, 3, 2, 4, 4))
    for part, name in (
        ("encoder", "pos_embed"),
        ("target_encoder", "pos_embed"),
        ("predictor", "predictor_pos_embed"),
    ):
        width = predictor_dim if part == "predictor" else dim
        table = published_vit.uniform_power_positions(grid_size, width)
        parts[part][f"module.{name}"] = table.astype("float32")[None]
        parts[part] = {
            key.replace("module.", "module.backbone."): array
            for key, array in parts[part].items()
        }
        if part != "predictor":
            kernel = kernel + 0.1
            parts[part]["module.backbone.patch_embed.proj.weight"] = kernel.astype(
                "float32"
            )
    predictor = parts["predictor"]
    token = predictor.pop("module.backbone.mask_token")
    predictor["module.backbone.mask_tokens.0"] = token
    predictor["module.backbone.mask_tokens.1"] = token + 0.5
    return parts


def save(parts, path):
    torch.save(
        {
            part: {name: torch.tensor(array) for name, array in arrays.items()}
            for part, arrays in parts.items()
        },
        path,
    )
    return path
