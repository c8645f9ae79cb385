"""How far converted encoders are from the packages that their weights are of.

    python benchmarks/conversion_table.py

For each backend, one process makes models of transformers and timm, whichever are
installed, with random weights, saves them, reads them with `read_published`, and
compares the latents of random images: at the models' own image size, and at a larger
one, where positions are resampled. The way back is compared too. Of V-JEPA 2 clips
are compared, also longer ones, and what the predictor says of patches that it does not
see. Largest absolute differences are printed, of latents whose largest value stands in
the last column.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BACKENDS = ("jax", "tensorflow", "torch")
PACKAGES = ("transformers", "timm")
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
    import transformers

    for name, sizes in {
        "IJepaModel": {},
        "IJepaModel, 8 blocks of 64": {
            **{"hidden_size": 64, "num_hidden_layers": 8, "num_attention_heads": 8},
            **{"intermediate_size": 96, "image_size": 48, "patch_size": 8},
        },
    }.items():
        config = transformers.IJepaConfig(
            **{
                **{"hidden_size": SIZES["width"], "intermediate_size": 768},
                **{"num_hidden_layers": SIZES["depth"], "layer_norm_eps": 1e-6},
                **{"num_attention_heads": SIZES["heads"]},
                **{"image_size": SIZES["image"], "patch_size": SIZES["patch"], **sizes},
            }
        )
        model = transformers.IJepaModel(config)

        def encode(pixels, model=model, size=config.image_size):
            other = pixels.shape[-1] != size
            return model(pixels, interpolate_pos_encoding=other).last_hidden_state

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

    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            continue
        for name, model, encode in globals()[f"{package}_models"]():
            add_noise(model)
            with tempfile.TemporaryDirectory() as folder:
                if package == "transformers":
                    model.save_pretrained(folder)
                else:
                    state = {k: v.numpy() for k, v in model.state_dict().items()}
                    write_safetensors(pathlib.Path(folder) / "model.safetensors", state)
                encoder = read_published(folder)
            height = encoder.image_size[0]
            compare(f"{name}, {height} pixels", encode, encoder, height, height)
            larger = height + 3 * encoder.patch_size
            compare(f"{name}, {larger} pixels", encode, encoder, larger, larger)
            if package == "transformers":
                with tempfile.TemporaryDirectory() as folder:
                    save_transformers(encoder, folder)
                    back = type(model).from_pretrained(folder).eval()
                compare(
                    f"{name}, the way back",
                    lambda pixels, back=back: back(pixels).last_hidden_state,
                    *(encoder, height, height),
                )
        if package == "transformers":
            for name, model in video_models():
                add_noise(model)
                compare_videos(name, model)
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
