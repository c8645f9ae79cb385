"""Measure what a trained world model knows of actions, on your own data.

    keras-iwm evaluate runs/pretrain/model.keras --data photos/test
    keras-iwm evaluate runs/pretrain/model.keras --data photos/test \\
        --train-data photos/train --control runs/frozen/model.keras

`--data` and `--train-data` are folders of images (flat, or one folder per class) or
`.npz` files. With `--train-data`, probes read the action from pairs of latents.
`--control` is a model trained with `pretrain --encoder frozen-random`: MRR says
something of the features only beside its. The backend is chosen by KERAS_BACKEND.

A model of dynamics is measured on the `.npz` file of clips that `--data` names, with
`frames`, `actions` and, if the file has them, `motions`: what `dynamics_report` takes.
`--control` is one that was trained on a frozen untrained encoder.

    keras-iwm evaluate dynamics.keras --data clips.npz --control untrained.keras

It draws pictures beside `--report`, each as soon as it is there, then prints a table
and writes it as JSON to that file.
"""

import pathlib
import sys

import numpy as np

from keras_iwm import datasets, evaluation, models, saving, visualization
from keras_iwm.commands.program import make_parser, save_picture, write_json

CLIP_ARRAYS = ("frames", "actions", "motions")


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("evaluate", __doc__)
    add = parser.add_argument
    add("model", help=".keras file of an ImageWorldModel or a LatentDynamicsModel")
    add("--data", required=True, help="folder or .npz file, best held out")
    add("--train-data", help="the same, for the probes of the action")
    add("--control", help=".keras file of a predictor on a frozen random encoder")
    add("--retrieval-images", type=int, default=60, help="images of --data, at random")
    add("--train-images", type=int, default=4096, help="the same of --train-data")
    add("--batch-size", type=int, default=64, help="lower it if memory runs out")
    add("--seed", type=int, default=0, help="of the choice of images")
    add("--report", default="report.json")
    return parser.parse_args(options)


def load_model(path):
    """Load a world model, or say why not."""
    try:
        model = saving.load_model(path)
    except ValueError as error:
        sys.exit(str(error))
    if not isinstance(model, (models.ImageWorldModel, models.LatentDynamicsModel)):
        sys.exit(
            f"{path} holds no ImageWorldModel or LatentDynamicsModel but a "
            f"{type(model).__name__}"
        )
    return model


def draw(model, arguments, images, path):
    """Draw what the model retrieves."""
    evaluator = evaluation.EquivarianceEvaluator(
        model, images, batch_size=arguments.batch_size, swapped_image=False
    )
    pictures = {
        "retrieval": visualization.plot_retrieval,
        "sweep": visualization.plot_action_sweep,
    }
    if evaluator.operation_names:
        pictures["undo"] = visualization.plot_undo
    caption = f"{arguments.model} on {arguments.data}, seed {arguments.seed}"
    for name, plot in pictures.items():
        picture = path.with_name(f"{path.stem}_{name}.png")
        save_picture(picture, plot, evaluator, caption=caption)


def measure_dynamics(model, control, arguments, path):
    """Measure a model of dynamics on clips, and draw; return the report."""
    clips = load_clips(arguments.data)
    report = evaluation.dynamics_report(
        model, **clips, control=control, seed=arguments.seed
    )
    caption = f"{arguments.model} on {arguments.data}, seed {arguments.seed}"
    pictures = {"rollout": (visualization.plot_rollout, report)}
    if len(model.slots) > 1:
        first = (clips[name][:4] for name in ("frames", "actions"))  # room for four
        evaluator = evaluation.DynamicsEvaluator(model, *first)
        landscape = evaluation.energy_landscape(evaluator)
        pictures["landscape"] = (visualization.plot_energy_landscape, landscape)
    for name, (plot, found) in pictures.items():
        picture = path.with_name(f"{path.stem}_{name}.png")
        save_picture(picture, plot, found, caption=caption)
    return report


def load_clips(path):
    """Read clips and what is known of them, or say what is missing."""
    if pathlib.Path(path).suffix != ".npz":
        sys.exit(f"--data must be an .npz file of frames and actions, not {path}")
    with np.load(path) as file:
        clips = {name: file[name] for name in file.files if name in CLIP_ARRAYS}
    missing = {"frames", "actions"} - set(clips)
    if missing:
        sys.exit(f"{path} holds no {sorted(missing)}")
    return clips


def measure_images(model, control, arguments, path):
    """Measure an image world model, and draw; return the report."""
    images, _ = datasets.load_images(
        arguments.data, model.image_size, arguments.retrieval_images, arguments.seed
    )
    train_images = None
    if arguments.train_data:
        train_images, _ = datasets.load_images(
            arguments.train_data,
            model.image_size,
            arguments.train_images,
            arguments.seed,
        )
    draw(model, arguments, images, path)
    return evaluation.equivariance_report(
        model, images, train_images, control, batch_size=arguments.batch_size
    )


def main(options=None):
    """Draw, measure, print and write."""
    arguments = parse_arguments(options)
    model = load_model(arguments.model)
    control = load_model(arguments.control) if arguments.control else None
    path = pathlib.Path(arguments.report)
    over_time = isinstance(model, models.LatentDynamicsModel)
    measure = measure_dynamics if over_time else measure_images
    report = measure(model, control, arguments, path)
    print(evaluation.report_table(report))
    write_json(path, report)
    print(f"The report is in {path}, with pictures beside it")
