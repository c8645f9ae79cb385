"""Measure what a trained image world model knows of actions, on your own images.

    keras-iwm evaluate runs/pretrain/model.keras --data photos/test
    keras-iwm evaluate runs/pretrain/model.keras --data photos/test \\
        --train-data photos/train --control runs/frozen/model.keras

`--data` and `--train-data` are folders of images (flat, or one folder per class) or
`.npz` files. With `--train-data`, probes read the action from pairs of latents.
`--control` is a model trained with `pretrain --encoder frozen-random`: MRR says
something of the features only beside its. The backend is chosen by KERAS_BACKEND.

It draws pictures beside `--report`, each as soon as it is there, then prints a table
and writes it as JSON to that file.
"""

import pathlib
import sys

from keras_iwm import datasets, evaluation, models, saving, visualization
from keras_iwm.commands.program import make_parser, save_picture, write_json


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("evaluate", __doc__)
    add = parser.add_argument
    add("model", help=".keras file of an ImageWorldModel")
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
    if not isinstance(model, models.ImageWorldModel):
        sys.exit(f"{path} holds no ImageWorldModel but a {type(model).__name__}")
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


def main(options=None):
    """Draw, measure, print and write."""
    arguments = parse_arguments(options)
    model = load_model(arguments.model)
    control = load_model(arguments.control) if arguments.control else None
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
    path = pathlib.Path(arguments.report)
    draw(model, arguments, images, path)
    report = evaluation.equivariance_report(
        model, images, train_images, control, batch_size=arguments.batch_size
    )
    print(evaluation.report_table(report))
    write_json(path, report)
    print(f"The report is in {path}, with pictures beside it")
