"""Compare methods of pretraining at equal compute, on your own images.

    keras-iwm compare --data photos/train --eval-data photos/test \\
        --methods iwm ijepa mae moco byol autoregressive --flops 2e13 --seeds 3
    keras-iwm compare --data photos/train --eval-data photos/test \\
        --methods iwm iwm:conditioning=none iwm:predictor_layers=2 --epochs-of iwm:10

Every method trains an encoder of the same size, `--preset`, with as many floating-point
operations, counted and not timed: a method whose step costs half takes twice as many
steps. The operations are `--flops`, or those of one method for some epochs.

A method may have settings of its own, `METHOD:NAME=VALUE,NAME=VALUE`: what its
`from_preset` takes, and `learning_rate` and `batch_size`, for methods differ in what
suits them. So an ablation is a comparison too. Nothing is tuned here: tune each method
as much, on other images, or say that you did not.

`--data` and `--eval-data` are folders with one folder of images for each class, or
`.npz` files with labels. Each run trains in a process of its own (`keras-iwm pretrain`,
in a folder of its own below `--output`, where log.txt tells how far it is) and is then
measured on frozen features: kNN, linear and attentive probe, a probe of 1 % of the
labels, RankMe, and how well the action between two views is read from them (R2);
with encoder and, where there is one, predictor finetuned; and, where there is a
predictor that is told the action, by MRR. Beside them stand untrained encoders and raw
pixels.

The output folder gets `comparison.json`, `comparison.md`, a table of means with 95 %
intervals over seeds (Student's t), `comparison.png`, abstraction by equivariance, and
for each method `curves_METHOD.png`, its training over all seeds.
Whatever ends it, the same command goes on where it was. Methods and seeds may be added.
"""

import argparse
import json
import os
import pathlib
import re
import sys

import keras
from tqdm import tqdm

from keras_iwm import backbones, datasets, evaluation, models, visualization
from keras_iwm.commands.compare_runs import measure, measure_pixels, train
from keras_iwm.commands.compare_table import markdown_table, picture_points, summarize
from keras_iwm.commands.pretraining_options import check_settings, parse_setting
from keras_iwm.commands.program import is_whole, make_parser, save_picture, write_json
from keras_iwm.datasets.open_images import open_images
from keras_iwm.datasets.open_store import is_url
from keras_iwm.whole_file import whole_file

# Settings of a method that are options of `keras-iwm pretrain`.
TRAINING = ("learning_rate", "batch_size")
CONTROL = "untrained"


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("compare", __doc__)
    add = parser.add_argument
    add("--data", required=True, help="to train on, with labels for the probes")
    add("--eval-data", required=True, help="the same, held out")
    add("--limit", type=int, help="train on so many images, chosen at random")
    add("--eval-limit", type=int, default=2000, help="test on so many")
    add("--methods", nargs="+", required=True, metavar="METHOD[:NAME=VALUE,...]")
    add("--preset", default="tiny_32", help="size of all methods: METHOD_tiny_32")
    compute = parser.add_mutually_exclusive_group(required=True)
    compute.add_argument("--flops", type=float, help="operations of a run, as 2e13")
    compute.add_argument("--epochs-of", metavar="METHOD:EPOCHS", help="or so many")
    add("--seeds", type=int, default=3, help="runs of each method")
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, help="peak; by default scaled by batch size")
    add("--probe-images", type=int, default=5000, help="of --data, with labels")
    add("--probe-epochs", type=int, default=10, help="of finetuning, attentive probe")
    add("--retrieval-images", type=int, default=20, help="of --eval-data, for MRR")
    add("--action-pairs", type=int, default=2048, help="of views, for action R2")
    add("--output", default="runs/compare")
    arguments = parser.parse_args(options)
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    return arguments


def read_method(text, arguments):
    """Return what METHOD:NAME=VALUE,... says, or end with what is wrong with it.

    Returns:
        Dictionary of `name`, `preset`, `settings` of `from_preset`, and `options` of
        `keras-iwm pretrain`.
    """
    method, _, words = text.partition(":")
    preset = f"{method}_{arguments.preset}"
    if preset not in backbones.PRESETS:
        known = [p for p in backbones.PRESETS if p.endswith(f"_{arguments.preset}")]
        known = [p.removesuffix(f"_{arguments.preset}") for p in known]
        sys.exit(f"--methods {text}: there is no {preset}. Methods: {', '.join(known)}")
    options = {name: getattr(arguments, name) for name in TRAINING}
    try:
        settings = dict(map(parse_setting, words.split(","))) if words else {}
        options |= {n: settings.pop(n) for n in TRAINING if n in settings}
        check_settings(preset, settings)
    except (argparse.ArgumentTypeError, ValueError) as error:
        sys.exit(f"--methods {text}: {error}")
    return {"name": text, "preset": preset, "settings": settings, "options": options}


def make_model(method, seed):
    """Make the untrained model of a method, or end with what is wrong with it."""
    keras.utils.set_random_seed(seed)
    model_class = models.method_of(method["preset"])
    try:
        settings = {"seed": seed, **method["settings"]}
        return model_class.from_preset(method["preset"], load_weights=False, **settings)
    except ValueError as error:
        sys.exit(f"--methods {method['name']}: {error}")


def plan(arguments):
    """Return the methods, each with the operations of an image and its steps."""
    methods = [read_method(text, arguments) for text in arguments.methods]
    if len({folder_name(method["name"]) for method in methods}) < len(methods):
        sys.exit("--methods: the same one twice")
    for method in methods:
        model = make_model(method, 0)
        method["flops_per_image"] = evaluation.flops_per_image(model, training=True)
        method["parameters"] = model.feature_encoder.count_params()
    flops = arguments.flops
    if arguments.epochs_of:
        flops = operations_of(arguments, methods)
    for method in methods:
        images = flops / method["flops_per_image"]
        method["steps"] = max(1, round(images / method["options"]["batch_size"]))
    return methods


def operations_of(arguments, methods):
    """Return the operations of one of the methods for some epochs."""
    name, _, epochs = arguments.epochs_of.rpartition(":")
    costs = {method["name"]: method["flops_per_image"] for method in methods}
    if name not in costs or not epochs.isdigit():
        sys.exit(
            f"--epochs-of must be one of --methods and a number: {name or 'iwm'}:9"
        )
    if is_url(arguments.data) or pathlib.Path(arguments.data).is_dir():
        count = open_images(arguments.data, 32, batch_size=1).num_samples
    else:
        count = len(datasets.load_images(arguments.data)[0])
    return costs[name] * int(epochs) * min(count, arguments.limit or count)


def folder_name(name):
    """Return the name of a method as a part of a folder's name."""
    return re.sub(r"[^\w.=,-]", "_", name)


def training_words(method, arguments, seed, folder):
    """Return the options of `keras-iwm pretrain` for a run."""
    words = ["--data", arguments.data, "--eval-data", arguments.eval_data]
    if arguments.limit:
        words += ["--limit", arguments.limit]
    words += ["--preset", method["preset"], "--steps", method["steps"]]
    for name, value in method["options"].items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", value]
    if method["settings"]:
        settings = method["settings"].items()
        words += ["--settings", *(f"{n}={json.dumps(v)}" for n, v in settings)]
    words += ["--seed", seed, "--output", folder, "--no-measurements"]
    words += ["--eval-limit", min(500, arguments.eval_limit), "--retrieval-images", 2]
    return [str(word) for word in words]


def run_all(methods, arguments, settings):
    """Train and measure all runs; return their measurements by method and seed."""
    output = pathlib.Path(arguments.output)
    runs = {method["name"]: {} for method in methods} | {CONTROL: {}}
    bar = tqdm(total=arguments.seeds * (2 * len(methods) + 1), unit="step")
    for seed in range(arguments.seeds):
        for method in methods:
            folder = output / f"{folder_name(method['name'])}_seed_{seed}"
            bar.set_description(f"train {method['name']}, seed {seed}")
            train(folder, training_words(method, arguments, seed, folder))
            bar.update()
            bar.set_description(f"measure {method['name']}, seed {seed}")
            found = measure(folder, settings, seed)
            images = found["updates"] * method["options"]["batch_size"]
            flops = images * method["flops_per_image"]
            runs[method["name"]][seed] = {"flops": flops, "images": images, **found}
            bar.update()
        folder = output / f"{CONTROL}_seed_{seed}"
        bar.set_description(f"measure {CONTROL}, seed {seed}")
        if not (folder / "model.keras").is_file():
            with whole_file(folder / "model.keras") as unfinished:
                make_model(methods[0], seed).save(unfinished)
        runs[CONTROL][seed] = measure(folder, settings, seed, is_control=True)
        bar.update()
    bar.close()
    return runs


def main(options=None):
    """Run what is missing, and write what there is to know."""
    # Parent and children share an accelerator: none may take all of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    arguments = parse_arguments(options)
    output = pathlib.Path(arguments.output)
    config = output / "config.json"
    settings = {
        name: value
        for name, value in vars(arguments).items()
        if name not in ("methods", "seeds", "output")
    }
    if is_whole(config) and json.loads(config.read_text()) != settings:
        sys.exit(f"{output} holds a comparison of other options: choose another")
    methods = plan(arguments)
    output.mkdir(parents=True, exist_ok=True)
    write_json(config, settings)
    print(json.dumps(settings, indent=2))
    for method in methods:
        print(
            f"{method['name']:24} {method['flops_per_image'] / 1e6:8.1f} MFLOP an "
            f"image, {method['steps']} steps of {method['options']['batch_size']}"
        )
    runs = run_all(methods, arguments, settings)
    image_size = make_model(methods[0], 0).image_size
    pixels = measure_pixels(output / "pixels.json", settings, image_size)
    summary = summarize(runs | {"pixels": {0: pixels}})
    comparison = {
        "backend": keras.backend.backend(),
        "settings": settings,
        "methods": methods,
        "runs": runs,
        "pixels": pixels,
        "summary": summary,
    }
    write_json(output / "comparison.json", comparison)
    table = "\n".join(markdown_table(summary))
    (output / "comparison.md").write_text(table + "\n")
    print(table)
    caption = f"{arguments.preset} on {arguments.data}, {arguments.seeds} seeds"
    plot = visualization.plot_method_comparison
    points = picture_points(runs)
    save_picture(output / "comparison.png", plot, points, caption=caption)
    for method in methods:
        name = folder_name(method["name"])
        logs = [f"{name}_seed_{seed}/history.csv" for seed in range(arguments.seeds)]
        save_picture(
            output / f"curves_{name}.png",
            visualization.plot_training_curves,
            [output / log for log in logs],
            caption=f"{method['name']}, {caption}",
        )
