"""Segment images with a pretrained world model.

    python examples/segmentation.py runs/pretrain/model.keras \\
        --train-images train/images --train-masks train/masks \\
        --eval-images val/images --eval-masks val/masks \\
        --num-classes 11 --ignore-label 11 --image-size 96 128

The mask of `scene.jpg` is `scene.png`, a grey or palette PNG whose values are classes.
While training, images and masks are flipped and cropped together. `--protocol` says
what learns beside the head: `frozen` nothing, `encoder` the encoder, `predictor` the
predictor on the frozen encoder, `end_to_end` both.

The output folder gets `summary.json` with the mean IoU, that of each class, and that of
the most frequent class everywhere; `history.csv`; `segmentation.png`; `model.keras`;
and a checkpoint after every epoch, from which the same command goes on with a run that
was stopped.
"""

import argparse
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from PIL import Image

from keras_iwm import callbacks, datasets, downstream, metrics, visualization
from keras_iwm.downstream.image_segmenter import HEADS
from keras_iwm.downstream.world_model_backbone import PROTOCOLS
from keras_iwm.whole_file import whole_file


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", help="an ImageWorldModel, .keras")
    for part in ("train", "eval"):
        add(f"--{part}-images", required=True, help="folder of images")
        add(f"--{part}-masks", required=True, help="folder of PNGs of classes")
    add("--num-classes", type=int, required=True)
    add("--ignore-label", type=int, help="label of pixels that do not count")
    add("--class-names", nargs="+", help="for table and picture")
    add("--image-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    add("--protocol", choices=PROTOCOLS, default="predictor")
    add("--head", choices=HEADS, default="attentive")
    add("--random-predictor", action="store_true", help="the control")
    add("--epochs", type=int, default=40)
    add("--batch-size", type=int, default=16)
    add("--learning-rate", type=float, help="peak; by default scaled by batch size")
    add("--predictor-multiplier", type=float, default=0.1, help="if it is pretrained")
    add("--drop-path-rate", type=float, default=0.0)
    add("--smallest-crop", type=float, default=0.5, help="share of an image's sides")
    add("--seed", type=int, default=0)
    add("--output", default="runs/segmentation")
    return parser.parse_args()


class FlippedCrops(datasets.ImageArray):
    """Batches of images and masks, each pair flipped and cropped alike.

    What is done to a pair is a function of the seed, the epoch and the batch.
    """

    def __init__(self, images, masks, smallest_crop, batch_size, seed):
        super().__init__(
            images,
            masks,
            min(batch_size, len(images)),
            seed=seed,
        )
        self.smallest_crop = smallest_crop

    def load_batch(self, index):
        """Return images and masks of batch `index`."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        pairs = [
            self.augment(*pair, rng)
            for pair in zip(*super().load_batch(index), strict=True)
        ]
        images, masks = zip(*pairs, strict=True)
        return np.stack(images), np.stack(masks)

    def augment(self, image, mask, rng):
        """Return a random part of an image and its mask, at the image's size."""
        height, width = mask.shape
        share = rng.uniform(self.smallest_crop, 1.0)
        left, top = rng.uniform(0, 1 - share, 2) * (width, height)
        box = (left, top, left + share * width, top + share * height)
        methods = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
        pair = [
            np.asarray(Image.fromarray(part).resize((width, height), method, box))
            for part, method in zip((image, mask), methods, strict=True)
        ]
        return [part[:, ::-1] for part in pair] if rng.random() < 0.5 else pair


def make_segmenter(model, arguments, steps):
    """Return a compiled segmenter on copies of the model's parts."""
    backbone = downstream.WorldModelBackbone.from_world_model(
        model, arguments.protocol, arguments.random_predictor, arguments.drop_path_rate
    )
    segmenter = downstream.ImageSegmenter(
        backbone, arguments.num_classes, arguments.head, arguments.ignore_label
    )
    segmenter.compile(
        downstream.finetuning_recipe(
            segmenter,
            steps,
            arguments.batch_size,
            arguments.learning_rate,
            predictor_multiplier=arguments.predictor_multiplier,
        )
    )
    return segmenter


def measure(predict, images, masks, arguments):
    """Return the metric over batches of images, and the predicted classes."""
    metric = metrics.MeanIntersectionOverUnion(
        arguments.num_classes, arguments.ignore_label
    )
    classes = []
    for start in range(0, len(images), arguments.batch_size):
        chosen = slice(start, start + arguments.batch_size)
        logits = predict(images[chosen])
        metric.update_state(masks[chosen], logits)
        classes.append(logits.argmax(axis=-1))
    return metric, np.concatenate(classes)


def most_frequent(masks, num_classes, ignore_label):
    """Return a function that predicts one class everywhere."""
    counts = np.bincount(masks[masks != ignore_label], minlength=num_classes)
    logits = np.eye(num_classes)[counts[:num_classes].argmax()]
    return lambda images: np.broadcast_to(logits, (*images.shape[:3], num_classes))


def main():
    """Train, measure, and write everything down."""
    arguments = parse_arguments()
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    checkpoints = output / "checkpoints"
    found = callbacks.RunCheckpoint.latest(checkpoints)
    config = output / "config.json"
    if found and config.is_file() and json.loads(config.read_text()) != vars(arguments):
        sys.exit(f"{output} holds a run of other options: choose another --output")
    with whole_file(config) as unfinished:
        unfinished.write_text(json.dumps(vars(arguments), indent=2))
    keras.utils.set_random_seed(arguments.seed)
    model = keras.models.load_model(arguments.model)
    size = tuple(arguments.image_size or model.image_size)
    train = datasets.load_segmentation(
        arguments.train_images, arguments.train_masks, size
    )
    held_out = datasets.load_segmentation(
        arguments.eval_images, arguments.eval_masks, size
    )
    dataset = FlippedCrops(
        *train, arguments.smallest_crop, arguments.batch_size, arguments.seed
    )
    steps = arguments.epochs * len(dataset)
    history = output / "history.csv"
    checkpoint = callbacks.RunCheckpoint(checkpoints, every_seconds=600)
    segmenter, epoch = checkpoint.resume(
        dataset, lambda: make_segmenter(model, arguments, steps), history
    )
    for name, masks in (("--train-masks", train[1]), ("--eval-masks", held_out[1])):
        segmenter.check_labels(masks, name)
    start = time.perf_counter()
    segmenter.fit(
        dataset,
        initial_epoch=epoch,
        epochs=arguments.epochs,
        callbacks=[
            callbacks.HistoryFile(history),
            checkpoint,
        ],
        verbose=2,
    )
    segmenter.save(output / "model.keras")
    seconds = time.perf_counter() - start

    metric, classes = measure(segmenter.predict_on_batch, *held_out, arguments)
    majority = most_frequent(train[1], arguments.num_classes, arguments.ignore_label)
    names = arguments.class_names or [
        f"class {label}" for label in range(arguments.num_classes)
    ]
    per_class = metric.per_class()
    summary = {
        "backend": keras.backend.backend(),
        "options": vars(arguments),
        "seconds": seconds,
        "mean_iou": float(metric.result()),
        "mean_iou_most_frequent": float(
            measure(majority, *held_out, arguments)[0].result()
        ),
        "iou": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(names, per_class, strict=True)
        },
    }
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    chosen = np.linspace(0, len(classes) - 1, 4).astype("int64")  # videos repeat
    visualization.plot_segmentation(
        held_out[0][chosen],
        held_out[1][chosen],
        classes[chosen],
        class_names=names,
        ignore_label=arguments.ignore_label,
        value_range=model.value_range,
    ).savefig(output / "segmentation.png")
    for name, value in zip(names, per_class, strict=True):
        print(f"{name:20s} {100 * value:5.1f} %")
    for name in ("mean_iou", "mean_iou_most_frequent"):
        print(f"{name:24s} {100 * summary[name]:5.1f} %")


if __name__ == "__main__":
    main()
