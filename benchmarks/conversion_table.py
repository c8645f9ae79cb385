"""How far converted encoders are from the packages that their weights are of.

    python benchmarks/conversion_table.py

For each backend, one process makes models of transformers and timm, whichever are
installed, with random weights, saves them, reads them with `read_published`, and
compares the latents of random images: at the models' own image size, and at a larger
one, where positions are resampled. Of I-JEPA the way back is compared too. Of V-JEPA 2
clips are compared, also longer ones, and what the predictor says of patches that it
does not see. Largest absolute differences are printed, of latents whose largest value
stands in the last column.
"""

import argparse
import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BACKENDS = ("jax", "tensorflow", "torch")
SIZES = {"width": 192, "depth": 4, "heads": 3, "image": 112, "patch": 14}


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def transformers_models():
    """Yield names, models, and functions from pixels to latents."""
    import torch
    import transformers

    mlp, registers = {"intermediate_size": 768}, {"num_register_tokens": 4}
    gated = {**registers, **mlp, "use_gated_mlp": True, "hidden_act": "silu"}
    small = {
        **{"hidden_size": 64, "num_hidden_layers": 8, "num_attention_heads": 8},
        **{"intermediate_size": 96, "image_size": 48, "patch_size": 8},
    }
    for name, sizes in {
        "IJepaModel": mlp,
        "IJepaModel, 8 blocks of 64": small,
        "ViTModel": mlp,
        "ViTMAEModel": {**mlp, "mask_ratio": 0.0},
        "Dinov2Model": {},
        "Dinov2Model, gated MLP": {"use_swiglu_ffn": True},
        "Dinov2WithRegistersModel": registers,
        "DINOv3ViTModel": {**registers, **mlp},
        "DINOv3ViTModel, gated MLP": gated,
    }.items():
        kind = name.split("Model")[0]
        config = getattr(transformers, f"{kind}Config")(
            **{
                **{"hidden_size": SIZES["width"], "layer_norm_eps": 1e-6},
                **{"num_hidden_layers": SIZES["depth"]},
                **{"num_attention_heads": SIZES["heads"]},
                **{"image_size": SIZES["image"], "patch_size": SIZES["patch"], **sizes},
            }
        )
        model = getattr(transformers, f"{kind}Model")(config)

        def encode(pixels, model=model, config=config):
            count = pixels[0, 0].numel() // config.patch_size**2
            arguments = {}
            if config.model_type in ("ijepa", "vit", "vit_mae"):
                other = pixels.shape[-1] != config.image_size
                arguments["interpolate_pos_encoding"] = other
            if config.model_type == "vit_mae":  # which shuffles patches, by noise
                arguments["noise"] = torch.arange(count).float().repeat(2, 1)
            return model(pixels, **arguments).last_hidden_state[:, -count:]

        yield f"transformers {name}", model, encode


def video_models():
    """Yield names and models of clips."""
    import transformers

    for name, sizes in {
        "VJEPA2Model": {},
        "VJEPA2Model, 8 blocks of 64": {
            **{"hidden_size": 64, "num_hidden_layers": 8, "num_attention_heads": 2},
            **{"crop_size": 64, "patch_size": 8, "frames_per_clip": 4},
        },
    }.items():
        config = transformers.VJEPA2Config(
            **{
                **{"hidden_size": SIZES["width"], "crop_size": SIZES["image"]},
                **{"num_hidden_layers": SIZES["depth"], "frames_per_clip": 8},
                **{"num_attention_heads": SIZES["heads"], "patch_size": SIZES["patch"]},
                **{"pred_hidden_size": 96, "pred_num_attention_heads": 3},
                **{"pred_num_hidden_layers": 4, **sizes},
            }
        )
        yield f"transformers {name}", transformers.VJEPA2Model(config)


def timm_models():
    """Yield names, models, and functions from pixels to latents."""
    import torch
    from timm.layers import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer

    scale = {"init_values": 1e-5}
    gated = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": 5.5}
    for name, arguments in {
        "I-JEPA": {"class_token": False, "global_pool": "avg", "fc_norm": False},
        "MAE, DeiT": {},
        "DINOv2": scale,
        "DINOv2, registers": {**scale, "reg_tokens": 4, "no_embed_class": True},
        "DINOv2, gated MLP": {**scale, **gated},
    }.items():
        model = VisionTransformer(
            img_size=SIZES["image"],
            patch_size=SIZES["patch"],
            embed_dim=SIZES["width"],
            depth=SIZES["depth"],
            num_heads=SIZES["heads"],
            num_classes=0,
            dynamic_img_size=True,
            **arguments,
        )

        def encode(pixels, model=model):
            return model.forward_features(pixels)[:, model.num_prefix_tokens :]

        yield f"timm {name}", model, encode


def timm_dinov3_models():
    """Yield architectures, models, and functions from pixels to latents."""
    import torch
    from timm.models.eva import Eva

    for name, arguments in {
        "dinov3": {"qkv_bias": False},
        "dinov3_qkvb": {"qkv_bias": True},
        "plus_dinov3_qkvb": {"swiglu_mlp": True, "swiglu_align_to": 8},
    }.items():
        model = Eva(
            img_size=SIZES["image"],
            patch_size=SIZES["patch"],
            embed_dim=SIZES["width"],
            depth=SIZES["depth"],
            num_heads=SIZES["heads"],
            num_classes=0,
            init_values=1e-5,
            rope_type="dinov3",
            rope_temperature=100,
            rope_rotate_half=True,
            use_rot_pos_emb=True,
            use_abs_pos_emb=False,
            num_reg_tokens=4,
            use_fc_norm=False,
            dynamic_img_size=True,
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-5),
            **arguments,
        )

        def encode(pixels, model=model):
            return model.forward_features(pixels)[:, model.num_prefix_tokens :]

        yield f"vit_small_patch14_{name}", model, encode


def work():
    """Compare all models on one backend."""
    import torch  # before TensorFlow
    from keras import ops

    from keras_iwm.backbones import read_published, save_transformers
    from keras_iwm.models import read_published_video_model
    from keras_iwm.saving.write_safetensors import write_safetensors

    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    rows = {}

    def compare(name, encode, encoder, *sides):
        images = torch.randint(0, 256, (2, *sides, 3), generator=generator)
        pixels = (images.movedim(-1, -3) / 255 - mean) / std
        with torch.no_grad():
            expected = encode(pixels).numpy()
        latents = ops.convert_to_numpy(encoder(images.numpy().astype("float32")))
        rows[name] = [float(abs(latents - expected).max()), float(abs(expected).max())]

    def add_noise(model):
        model.eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))

    def compare_videos(name, theirs):
        with tempfile.TemporaryDirectory() as folder:
            theirs.save_pretrained(folder)
            ours = read_published_video_model(folder)

        def encode(pixels):
            return theirs(pixels, skip_predictor=True).last_hidden_state

        num_patches = ours.encoder.num_patches
        order = torch.randperm(num_patches, generator=generator).repeat(2, 1)
        masks = order[:, : num_patches // 4], order[:, num_patches // 2 :]

        def predict(pixels):
            outputs = theirs(pixels, *([mask] for mask in masks))
            return outputs.predictor_output.last_hidden_state

        def predict_ours(clips):
            latents = ops.convert_to_numpy(ours.encoder(clips))
            context_ids, target_ids = (mask.numpy() for mask in masks)
            context = latents[:, context_ids[0]]
            return ours.predictor(context, context_ids, target_ids, mask_index=1)

        frames, size = ours.encoder.num_frames, ours.encoder.image_size[0]
        clip = f"{name}, {{}} frames of {size} pixels"
        compare(clip.format(frames), encode, ours.encoder, frames, size, size)
        compare(clip.format(2 * frames), encode, ours.encoder, 2 * frames, size, size)
        compare(f"{name}, predictor", predict, predict_ours, frames, size, size)

    def compare_images(name, model, encode, save):
        add_noise(model)
        with tempfile.TemporaryDirectory() as folder:
            save(model, pathlib.Path(folder))
            encoder = read_published(folder)
        height = encoder.image_size[0]
        compare(f"{name}, {height} pixels", encode, encoder, height, height)
        larger = height + 3 * encoder.patch_size
        compare(f"{name}, {larger} pixels", encode, encoder, larger, larger)
        if "IJepaModel" in name:
            with tempfile.TemporaryDirectory() as folder:
                save_transformers(encoder, folder)
                back = type(model).from_pretrained(folder).eval()
            compare(
                f"{name}, the way back",
                lambda pixels: back(pixels).last_hidden_state,
                *(encoder, height, height),
            )

    def save_timm(model, folder, config=None):
        state = {name: value.numpy() for name, value in model.state_dict().items()}
        write_safetensors(folder / "model.safetensors", state)
        (folder / "config.json").write_text(json.dumps(config or {}))

    def save_dinov3(model, folder, architecture):
        size = {"input_size": [3, SIZES["image"], SIZES["image"]]}
        config = {"architecture": architecture, "pretrained_cfg": size}
        save_timm(model, folder, config)

    if importlib.util.find_spec("transformers"):
        for name, model, encode in transformers_models():
            compare_images(name, model, encode, lambda m, f: m.save_pretrained(f))
        for name, model in video_models():
            add_noise(model)
            compare_videos(name, model)
    if importlib.util.find_spec("timm"):
        for name, model, encode in timm_models():
            compare_images(name, model, encode, save_timm)
        for name, model, encode in timm_dinov3_models():
            save = functools.partial(save_dinov3, architecture=name)
            compare_images(f"timm {name}", model, encode, save)
    print(json.dumps(rows))


def main():
    """Start a process for each backend and print the table."""
    arguments = parse_arguments()
    if arguments.worker:
        work()
        return
    columns = {}
    for backend in arguments.backends:
        environment = {**os.environ, "KERAS_BACKEND": backend}
        result = subprocess.run(
            [sys.executable, __file__, "--worker"],
            env=environment,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise SystemExit(f"{backend}: {result.stderr[-3000:]}")
        columns[backend] = json.loads(result.stdout.splitlines()[-1])
    print(f"| source | {' | '.join(columns)} | largest latent |")
    print(f"|---|{'---|' * (len(columns) + 1)}")
    for name, (_, largest) in next(iter(columns.values())).items():
        cells = [f"{rows[name][0]:.1e}" for rows in columns.values()]
        print(f"| {name} | {' | '.join(cells)} | {largest:.1f} |")


if __name__ == "__main__":
    main()
