"""Train a model that paints images patch by patch, and let it complete some.

    python examples/complete_images.py                      # JAX
    KERAS_BACKEND=torch python examples/complete_images.py  # or tensorflow
    python examples/complete_images.py --data cifar10/train --limit 10000

It trains an autoregressive model with a diffusion head on random crops of the colour
photos that scikit-image and scikit-learn ship, or on a folder of images, and completes
images that it never saw from their first patches: with all of its noise, which shows
what it takes for possible, and with little, which shows what it takes for likely. The
pictures and the model are written to runs/complete_images/.
"""

import argparse
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

from keras_iwm import callbacks, datasets, models, optimizers, visualization

IMAGE_SIZE = 32
BATCH_SIZE = 64
NUM_HELD_OUT = 8  # images to complete
# Photos that no model trains on.
HELD_OUT = ("astronaut", "flower", "motorcycle")
# From all of the head's noise to little.
TEMPERATURES = {"possible": 1.0, "likely": 0.7}


def parse_arguments(options=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", help="folder of images; by default crops of the photos")
    add("--limit", type=int, default=10_000, help="train on at most so many images")
    add("--epochs", type=int, default=30)
    add("--order", default="raster", choices=("raster", "spiral", "morton", "snake"))
    add("--seed", type=int, default=0)
    add("--output", default="runs/complete_images")
    return parser.parse_args(options)


def load_data(arguments):
    """Images to train on, and others to complete."""
    if arguments.data is None:
        photos = datasets.load_sample_photos()
        held_out = {name: photos.pop(name) for name in HELD_OUT}
        train, _ = datasets.random_photo_crops(
            photos, arguments.limit, IMAGE_SIZE, seed=arguments.seed
        )
        return train, datasets.random_photo_crops(held_out, NUM_HELD_OUT, IMAGE_SIZE)[0]
    images, _ = datasets.load_images(
        arguments.data,
        image_size=IMAGE_SIZE,
        limit=arguments.limit + NUM_HELD_OUT,
        seed=arguments.seed,
    )
    return images[NUM_HELD_OUT:], images[:NUM_HELD_OUT]


def main(options=None):
    """Train the model and draw what it makes of the first patches of images."""
    arguments = parse_arguments(options)
    folder = pathlib.Path(arguments.output)
    keras.utils.set_random_seed(arguments.seed)
    train, held_out = load_data(arguments)

    def make_model():
        model = models.AutoregressiveModel.from_preset(
            "autoregressive_tiny_32",
            load_weights=False,
            head="diffusion",
            head_dim=256,
            order=arguments.order,
            normalize_targets=False,  # to know how bright a patch is
            seed=arguments.seed,
        )
        steps = arguments.epochs * -(-len(train) // BATCH_SIZE)
        recipe = optimizers.pretraining_recipe(steps, BATCH_SIZE, learning_rate=1.5e-3)
        model.compile(recipe.optimizer)
        return model

    images = datasets.ImageArray(train, batch_size=BATCH_SIZE, seed=arguments.seed)
    checkpoint = callbacks.RunCheckpoint(folder / "checkpoints", keep=1)
    model, epoch = checkpoint.resume(images, make_model)
    model.fit(
        images,
        initial_epoch=epoch,
        epochs=arguments.epochs,
        verbose=2,
        callbacks=[checkpoint],
    )
    model.save(folder / "model.keras")
    for name, temperature in TEMPERATURES.items():
        figure = visualization.plot_completions(
            model, held_out, num_completions=5, temperature=temperature
        )
        path = folder / f"{name}.png"
        visualization.save_figure(figure, path)
        print(f"Picture: {path}")


if __name__ == "__main__":
    main()
