"""See whether a world model uses what probes find in its latents.

    keras-iwm intervene iwm_tiny_32
    keras-iwm intervene runs/pretrain/model.keras --data photos/test \\
        --train-data photos/train --control runs/frozen/model.keras

The model is a `.keras` file or a preset. Latents of images of `--data` are moved along
what each slot of the action does to those of `--train-data`, and what the model then
predicts is compared with what it does when it is told the action. Both are folders of
images or `.npz` files, of different photos; without them crops of the photos that the
dependencies ship are taken, of which the package's presets have not seen the test's.
Models of clips, which predict the next frame, get clips made of these photos; they
are larger, so ask for few (`--images 10`).

`--control` is a model trained with `pretrain --encoder frozen-random`. The backend is
chosen by KERAS_BACKEND.

It prints a table with 95 % intervals over photos, writes it as JSON to `--report`, and
draws pictures beside that.
"""

import pathlib
import sys

import numpy as np

from keras_iwm import datasets, evaluation, models, saving, visualization
from keras_iwm.commands.program import make_parser, save_picture, write_json

HELD_OUT = ("astronaut", "flower", "motorcycle")


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("intervene", __doc__)
    add = parser.add_argument
    add("model", help=".keras file or preset of a world model that is told actions")
    add("--data", help="folder or .npz file, held out")
    add("--train-data", help="the same, of other photos, which directions come from")
    add("--control", help=".keras file of a predictor on a frozen random encoder")
    add("--images", type=int, default=60, help="images of --data, at random")
    add("--train-images", type=int, default=2048, help="the same of --train-data")
    add("--batch-size", type=int, default=64, help="lower it if memory runs out")
    add("--seed", type=int, default=0, help="of the choice of images")
    add("--report", default="interventions.json")
    arguments = parser.parse_args(options)
    if bool(arguments.data) != bool(arguments.train_data):
        parser.error("--data and --train-data go together: probes need photos of both")
    return arguments


def load_model(name):
    """Load a model of a file or a preset, or say why not."""
    try:
        if pathlib.Path(name).suffix == ".keras":
            return saving.load_model(name)
        return models.ImageWorldModel.from_preset(name)
    except ValueError as error:
        sys.exit(str(error))


def load_data(arguments, model):
    """Return the arguments of an evaluator that say what is measured on."""
    counts = arguments.train_images, arguments.images
    if hasattr(model, "predict_next"):
        if arguments.data:
            sys.exit("A model of clips is measured on moving photos: leave out --data")
        return load_scenes(model, *counts, arguments.seed)
    if arguments.data:
        paths = arguments.train_data, arguments.data
        train, test = (
            datasets.load_images(path, model.image_size, count, arguments.seed)[0]
            for path, count in zip(paths, counts, strict=True)
        )
        return {"train_images": train, "images": test}
    height, width = model.image_size
    if height != width or model.num_channels != 3:
        sys.exit("The photos make square images in colour: pass --data")
    photos = datasets.load_sample_photos()
    held_out = {name: photos.pop(name) for name in HELD_OUT}
    (train, _), (test, photo_ids) = (
        datasets.random_photo_crops(part, count, height, arguments.seed)
        for part, count in zip((photos, held_out), counts, strict=True)
    )
    return {"train_images": train, "images": test, "photo_ids": photo_ids}


def load_scenes(model, num_train, num_test, seed):
    """Return scenes of the photos that `split="train"` has, and of those for tests."""
    maker = datasets.MovingPhotos(image_size=model.image_size, num_sprites=0)
    held_out = list(datasets.MovingPhotos(split="test").photos)
    is_test = np.isin(list(maker.photos), held_out)
    # Photos take turns, so these are enough of each part.
    scenes = maker.draw_scenes(len(is_test) * (num_train + num_test), seed)
    chosen = is_test[scenes.photo_ids]
    return {
        "train_images": scenes.take(np.flatnonzero(~chosen)[:num_train]),
        "images": scenes.take(np.flatnonzero(chosen)[:num_test]),
        "clip_maker": maker,
    }


def main(options=None):
    """Measure, print, write and draw."""
    arguments = parse_arguments(options)
    model = load_model(arguments.model)
    control = load_model(arguments.control) if arguments.control else None
    data = load_data(arguments, model)
    # Each of the images to learn from is changed once.
    data["num_pairs"] = len(data["train_images"])
    data["batch_size"] = arguments.batch_size
    try:
        evaluator = evaluation.InterventionEvaluator(model, **data)
        if control is not None:
            control = evaluation.InterventionEvaluator(control, **data)
        report = evaluation.intervention_report(evaluator, control)
    except ValueError as error:
        sys.exit(str(error))
    print(evaluation.intervention_table(report))
    path = pathlib.Path(arguments.report)
    write_json(path, report)
    source = arguments.data or "crops of photos"
    caption = f"{arguments.model} on {source}, seed {arguments.seed}"
    for name, plot, shown in (
        ("slopes", visualization.plot_interventions, report),
        ("images", visualization.plot_moved_latents, evaluator),
    ):
        picture = path.with_name(f"{path.stem}_{name}.png")
        save_picture(picture, plot, shown, caption=caption)
    print(f"The report is in {path}, with pictures beside it")
