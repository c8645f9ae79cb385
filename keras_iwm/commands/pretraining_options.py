"""The options of `keras-iwm pretrain`."""

import argparse
import json
import pathlib

from keras_iwm import backbones, models
from keras_iwm.commands.program import make_parser
from keras_iwm.models.preset_arguments import accepted_arguments


def parse_arguments(options, text):
    """Read the command line; with --resume, the options of the stopped run.

    Args:
        options: List of strings, or `None` for the process's own.
        text: What `--help` says of the program.
    """
    parser = make_parser("pretrain", text)
    add = parser.add_argument
    add("--data", help="folder, URL of shards, .npz file, or cifar10")
    add("--eval-data", help="the same, held out; by default a tenth of --data")
    add("--limit", type=int, help="train on so many images, chosen at random")
    add("--eval-limit", type=int, default=2000, help="the same for --eval-data")
    add(
        "--preset",
        default="iwm_tiny_32",
        choices=backbones.PRESETS,
        metavar="NAME",
        help="chooses size and method",
    )
    add("--num-frames", type=int, help="of a clip; by default the preset's")
    add("--frame-stride", type=int, default=1, help="of clips: 2 is every second frame")
    add("--clips-per-video", type=int, default=1, help="in an epoch")
    add("--image-size", type=int, help="pixels; by default the preset's")
    add("--patch-size", type=int, help="pixels; by default the preset's")
    add("--conditioning", choices=("feature", "sequence", "none"))
    add("--predictor-layers", type=int, help="depth; by default the preset's")
    add("--jitter-strength", type=float, default=None, help="2 is the strong jitter")
    add("--jitter-probability", type=float, default=None)
    add(
        "--settings", nargs="+", type=parse_setting, default=[], metavar="NAME=VALUE",
        help="other arguments of the method's from_preset",
    )  # fmt: skip
    add("--encoder", choices=("trained", "frozen-random"), default="trained")
    add("--epochs", type=int, default=100)
    add("--steps", type=int, help="updates, in place of --epochs")
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, help="peak; by default scaled by batch size")
    add(
        "--ema-momentum",
        type=float,
        help="of a teacher at the start; 1 at the end",
    )
    add("--drop-path-rate", type=float, default=0.0)
    add("--remat", action="store_true", help="gradient checkpointing")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
    )
    add("--jit-compile", action="store_true", help="where it is not the default")
    add("--evaluate-every", type=int, default=5, help="epochs between measurements")
    add("--retrieval-images", type=int, default=20, help="held-out images for MRR")
    add("--no-measurements", action="store_true", help="of the finished model")
    add("--reader-processes", type=int, default=0, help="read files in so many")
    add("--devices", type=int, default=1, help="train on so many; of one process")
    add("--model-parallel", type=int, default=1, help="of them, hold one model (JAX)")
    add("--shard-state", action="store_true", help="over all devices (JAX)")
    add("--exchange-dtype", choices=("float32", "bfloat16"), default="float32",
        help="of gradients on their way (Torch)")  # fmt: skip
    add("--coordinator", metavar="HOST:PORT", help="where process 0 is; or auto")
    add("--num-processes", type=int, help="that train together, on all hosts")
    add("--process-index", type=int, help="which of them this one is, from 0")
    add("--save-every", type=float, default=600, help="seconds, within an epoch")
    add("--sharded-checkpoints", action="store_true", help="all processes write them")
    add("--seed", type=int, default=0)
    add("--output", default="runs/pretrain")
    add("--tensorboard", action="store_true", help="write TensorBoard events")
    add("--resume", metavar="FOLDER", help="go on with the run in this folder")
    add("--stop-after", type=int, help="epochs to run now; --resume runs the others")
    arguments = parser.parse_args(options)
    if arguments.resume:
        path = pathlib.Path(arguments.resume, "config.json")
        if not path.is_file():
            parser.error(f"--resume {arguments.resume}: there is no {path}")
        try:
            saved = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            parser.error(
                f"{path} is damaged ({error}). Give the options of the run again, with "
                f"--output {arguments.resume}, in place of --resume"
            )
        saved.update(
            resume=arguments.resume,
            output=arguments.resume,
            stop_after=arguments.stop_after,
            devices=arguments.devices,
            model_parallel=arguments.model_parallel,
            shard_state=arguments.shard_state,
            exchange_dtype=arguments.exchange_dtype,
            coordinator=arguments.coordinator,
            num_processes=arguments.num_processes,
            process_index=arguments.process_index,
            tensorboard=saved["tensorboard"] or arguments.tensorboard,
        )
        return argparse.Namespace(**saved)
    if not arguments.data:
        parser.error("--data is needed, or --resume")
    if arguments.preset.startswith(models.LatentDynamicsModel.preset_prefixes):
        parser.error(
            f"--preset {arguments.preset} learns from frames and actions, which no "
            "--data holds: fit it in Python, as LatentDynamicsModel's example does"
        )
    arguments.settings = dict(arguments.settings)
    if arguments.limit and models.method_of(arguments.preset).takes_clips:
        parser.error("--limit is for images: folders of clips are read whole")
    try:
        check_settings(arguments.preset, model_settings(arguments))
    except ValueError as error:
        parser.error(str(error))
    return arguments


def parse_setting(text):
    """Read NAME=VALUE; a value that is no JSON is a string."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def model_settings(arguments):
    """Return what a run changes on its size: arguments of `from_preset`."""
    names = ("conditioning", "predictor_layers", "jitter_strength", "ema_momentum")
    names += ("jitter_probability", "image_size", "patch_size", "num_frames")
    given = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    return {**given, **arguments.settings}


def check_settings(preset, settings):
    """Refuse settings that a size's method has no use for.

    Args:
        preset: Name of a size.
        settings: Dictionary of arguments of `from_preset`.

    Raises:
        ValueError: If the method takes no argument of such a name.
    """
    method = models.method_of(preset)
    accepted = accepted_arguments(method)
    useless = sorted(set(settings) - accepted)
    if useless:
        raise ValueError(
            f"{', '.join(useless)}: of no use to {preset}, a {method.__name__}. "
            f"Leave it out, or choose another --preset. It takes: "
            f"{', '.join(sorted(accepted))}."
        )
